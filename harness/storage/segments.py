"""Segments: rows of some trials of a cell as bytes, with a checksum.

A segment has two lines of JSON, a header and the rows.  The header names the cell, the SHA-256 of
the rows and the BLAS kernel that computed them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from harness.errors import shown
from harness.experiment import ROW_COLUMNS, Row, is_scalar
from harness.status import Status
from harness.storage.cell import Cell, trial_seed

SCHEMA = 1
UNKNOWN = "unknown"
"""Kernel of segments written before kernels were recorded."""
STATUSES = frozenset(map(str, Status))


class DamageError(Exception):
    """Bytes that are not a segment as it was written for the cell."""


class SchemaError(Exception):
    """A segment of another version of the harness."""


@dataclass(frozen=True)
class Segment:
    """Rows of some trials, as the runner writes them for the cell."""

    rows: list[Row]
    kernel: str

    def trials(self) -> set[int]:
        """The trials in it."""
        return {int(row["trial"]) for row in self.rows}


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
        If it is damaged, belongs to another cell, or holds rows that no run of the cell writes.
        The checksum alone does not tell: whoever forges rows can compute it.
    SchemaError
        If its header names another schema; the file may be sound and is left alone.
    """
    try:
        line, payload, end = data.split(b"\n")
        header = json.loads(line)
        schema, sha = header["schema"], header["sha256"]
        same_cell = all(header[key] == value for key, value in cell.facts.items())
        kernel = header.get("kernel", UNKNOWN)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamageError from error
    if schema != SCHEMA:
        raise SchemaError(
            f"is of schema {shown(schema)[:20]!r}; this version reads schema {SCHEMA}"
        )
    if end or not same_cell or hashlib.sha256(payload).hexdigest() != sha:
        raise DamageError
    if not isinstance(kernel, str) or not kernel.isprintable():
        raise DamageError
    return Segment(_rows(cell, payload), kernel)


def _rows(cell: Cell, payload: bytes) -> list[Row]:
    """The rows in a payload; DamageError unless a run of the cell could have written them."""
    try:
        rows = json.loads(payload, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise DamageError from error
    if not (isinstance(rows, list) and rows and all(type(row) is dict for row in rows)):
        raise DamageError
    by_columns: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        by_columns.setdefault(tuple(row), []).append(row.values())
    for names, values in by_columns.items():
        _check(cell, dict(zip(names, zip(*values, strict=True), strict=True)))
    first = rows[0]  # to check the seeds of all rows would double the reading time
    if first["seed"] != trial_seed(cell, first["trial"]):
        raise DamageError
    return rows


def _check(cell: Cell, columns: Mapping[str, Sequence[Any]]) -> None:
    """Raise DamageError unless the columns, of rows that have the same ones, are a run's."""
    kinds = {name: set(map(type, values)) for name, values in columns.items()}
    sound = (
        set(ROW_COLUMNS).issubset(columns)
        and cell.columns.isdisjoint(columns)
        and all(columns)  # no name is empty
        and all(map(is_scalar, columns))
        and all(_are_scalars(values, kinds[name]) for name, values in columns.items())
        and kinds["trial"] == kinds["seed"] == {int}
        and min(columns["trial"]) >= 0
        and STATUSES.issuperset(columns["status"])
        and kinds["seconds"] <= {int, float}
        and all(0 <= seconds < math.inf for seconds in columns["seconds"])
    )
    if not sound:
        raise DamageError


def _are_scalars(values: Sequence[Any], kinds: Set[type]) -> bool:
    """Whether values of these types are all numbers, all booleans or all texts, or missing."""
    if kinds == {float}:
        return True
    if kinds == {int}:
        return is_scalar(min(values)) and is_scalar(max(values))
    known = {type(value) for value in values if value == value}  # NaN is missing
    return (len(known) <= 1 or known <= {int, float}) and all(map(is_scalar, values))


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError
    return values
