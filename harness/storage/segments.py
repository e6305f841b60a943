"""A cell's rows as bytes and back: what is stored of some trials, and how damage shows.

A segment has two lines of JSON: a header and the rows.  The header says whose rows they are, their
SHA-256, and the BLAS kernel that computed them.
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
"""Kernel of segments from before it was recorded."""
SCALARS = frozenset({int, float, str, bool})
TRIAL = re.compile(rb'\{"trial":(\d+)')
"""How a row begins.  In a string of JSON the first quote would follow a backslash."""


class DamageError(Exception):
    """Bytes that are not the segment that was written for the cell."""


class SchemaError(Exception):
    """A segment of another version of the harness."""


@dataclass(frozen=True)
class Segment:
    """Rows of some trials as they were written, the checksum found right."""

    payload: bytes
    kernel: str

    def trials(self) -> set[int]:
        """The trials it has, ten times faster than by `rows`."""
        return set(map(int, TRIAL.findall(self.payload)))

    def rows(self) -> list[Row]:
        """The rows.

        Raises
        ------
        DamageError
            If they are none that the runner writes.
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
        If it is not whole, or is of another cell.
    SchemaError
        If its header says another schema, which it may be right about: it is not touched.
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
