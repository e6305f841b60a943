"""Comparison of two results folders: equal, equal to a tolerance, or where they differ.

On one machine the same command gives the same table.  On another processor, matrix products differ
in the last bits, and an iteration may amplify the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import shown
from harness.storage.store import ReadOnlyStore

RTOL = 1e-9
"""Default tolerance: numbers are equal if |a - b| <= RTOL max(|a|, |b|)."""


@dataclass(frozen=True)
class Comparison:
    """Whether two tables of one name agree, and one line on how well."""

    agree: bool
    line: str


def compare_folders(
    one: ReadOnlyStore, other: ReadOnlyStore, rtol: float = RTOL
) -> list[Comparison]:
    """Compare all tables of two folders, by name."""
    first, second = (set(store.names()) for store in (one, other))
    alone = [
        Comparison(False, f"{shown(name)}: in one folder only") for name in sorted(first ^ second)
    ]
    return alone + [_compare_named(one, other, name, rtol) for name in sorted(first & second)]


def _compare_named(one: ReadOnlyStore, other: ReadOnlyStore, name: str, rtol: float) -> Comparison:
    (left, from_left), (right, from_right) = (store.read_table(name) for store in (one, other))
    agree, text = compare(left, right, rtol)
    kernels = [_kernels(origin) for origin in (from_left, from_right)]
    return Comparison(agree, f"{name}: {text}; BLAS kernels {kernels[0]} and {kernels[1]}")


def _kernels(origin: dict[str, Any]) -> str:
    found = origin.get("segments_by_blas_kernel")
    return shown(", ".join(found)) if found and isinstance(found, dict) else "unknown"


def compare(one: pd.DataFrame, other: pd.DataFrame, rtol: float) -> tuple[bool, str]:
    """Whether two tables have equal rows, floats to the tolerance, and the result in words."""
    if list(one) != list(other):
        names = sorted(set(one) ^ set(other)) or ["their order"]
        return False, f"columns differ: {shown(', '.join(names))}"
    if len(one) != len(other):
        return False, f"{len(one)} and {len(other)} rows"
    if one.equals(other):
        return True, f"exactly equal, {len(one)} rows"
    worst = max((_difference(one[name], other[name]), name) for name in one)
    (size, row), name = worst
    agree = size <= rtol
    values = f"{shown(one[name].iloc[row])} and {shown(other[name].iloc[row])}"
    return agree, (
        f"{'equal' if agree else 'not equal'} to rtol={rtol:g}, {len(one)} rows; "
        f"worst in {shown(name)}, line {row + 2} of the CSV: {values}"
    )


def _difference(one: pd.Series, other: pd.Series) -> tuple[float, int]:
    """Largest relative difference and its row; infinite unless both are finite floats."""
    same = ((one == other) | (one.isna() & other.isna())).to_numpy(bool)
    sizes = np.where(same, 0.0, np.inf)
    if one.dtype == other.dtype == np.float64:
        near = (np.isfinite(one) & np.isfinite(other)).to_numpy() & ~same
        a, b = one.to_numpy()[near], other.to_numpy()[near]
        scale = np.maximum(np.abs(a), np.abs(b))
        sizes[near] = np.abs(a / scale - b / scale)
    row = int(np.argmax(sizes)) if len(sizes) else 0
    return float(sizes[row]) if len(sizes) else 0.0, row
