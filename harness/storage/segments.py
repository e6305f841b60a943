"""Segments: rows of some trials of a cell as bytes, with a checksum.

A segment has two lines of JSON, a header and the rows.  The header names the cell, the SHA-256 of
the rows and the BLAS kernel that computed them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.experiment import Row
from harness.storage.cell import Cell

SCHEMA = 1
UNKNOWN = "unknown"
"""Kernel of segments written before kernels were recorded."""
SCALARS = frozenset({int, float, str, bool})
TRIAL = re.compile(rb'\{"trial":(\d+)')
"""Start of a row; inside a JSON string the quotes would be escaped."""


class DamageError(Exception):
    """Bytes that are not a segment as it was written for the cell."""


class SchemaError(Exception):
    """A segment of another version of the harness."""


@dataclass(frozen=True)
class Segment:
    """Rows of some trials, checksum verified."""

    payload: bytes
    kernel: str

    def trials(self) -> set[int]:
        """The trials in it, ten times faster than by `rows`."""
        return set(map(int, TRIAL.findall(self.payload)))

    def rows(self) -> list[Row]:
        """The rows.

        Raises
        ------
        DamageError
            If the rows do not have the format that the runner writes.
        """
        try:
            rows = json.loads(self.payload)
            if not all(_is_row(row) for row in rows):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamageError from error
        return rows


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and type(row["trial"]) is int
        and isinstance(row["seconds"], (int, float))
        and SCALARS.issuperset(map(type, row.values()))
    )


def encode(cell: Cell, rows: Sequence[Row], kernel: str) -> tuple[str, bytes]:
    """A segment's file name and content."""
    ordered = [{"trial": int(row["trial"])} | row for row in rows]
    payload = json.dumps(ordered, separators=(",", ":")).encode()
    sha = hashlib.sha256(payload).hexdigest()
    header = {"schema": SCHEMA, "sha256": sha, **cell.facts, "kernel": kernel}
    trials = [row["trial"] for row in ordered]
    name = f"{min(trials):06d}-{max(trials):06d}-{sha[:12]}.json"
    return name, json.dumps(header).encode() + b"\n" + payload + b"\n"


def decode(cell: Cell, data: bytes) -> Segment:
    """The segment of a cell.

    Raises
    ------
    DamageError
        If it is damaged or belongs to another cell.
    SchemaError
        If its header names another schema; the file may be sound and is left alone.
    """
    try:
        line, payload, end = data.split(b"\n")
        header = json.loads(line)
        schema, sha = header["schema"], header["sha256"]
        own = all(header[key] == value for key, value in cell.facts.items())
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError from error
    if schema != SCHEMA:
        raise SchemaError(f"is of schema {str(schema)[:20]!r}; this version reads schema {SCHEMA}")
    if end or not own or hashlib.sha256(payload).hexdigest() != sha:
        raise DamageError
    return Segment(payload, str(header.get("kernel", UNKNOWN)))
