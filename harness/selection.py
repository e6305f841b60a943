"""Choosing the rows of a table that a claim speaks of, and saying in words which they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.experiment import Experiment, columns
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd


def at_baseline(experiment: Experiment, table: pd.DataFrame, free: Sequence[str]) -> pd.DataFrame:
    """Rows whose coordinates are the experiment's own, but for the columns named in `free`."""
    chosen = table
    for name, value in columns(experiment).items():
        if name in free:
            continue
        if name not in chosen:  # no cell of the table has the coordinate
            chosen = chosen if value is None else chosen.iloc[:0]
        else:
            chosen = chosen[chosen[name].isna() if value is None else chosen[name] == value]
    return chosen


def varying(experiment: Experiment, table: pd.DataFrame) -> list[str]:
    """Coordinate columns that take more than one value in the table."""
    return [name for name in columns(experiment) if name in table and table[name].nunique() > 1]


def unmeasured(table: pd.DataFrame) -> str:
    """In words, how many rows have nothing measured ("; 3 of 200 draws had y0 = 0"), or ""."""
    empty = table["status"].isin([Status.DEAD_NETWORK, Status.ZERO_OBSERVATION])
    return (
        f"; {empty.sum()} of {len(table)} draws had y0 = 0 and are left out" if empty.any() else ""
    )


def unsaturated(
    table: pd.DataFrame, column: str, group: str, along: str, limit: float = 0.9
) -> tuple[pd.DataFrame, str]:
    """Rows of the cells that can show a power law along a coordinate; in words, how many cannot.

    They are those in which a column's median is at most `limit`, in groups where two or more are
    left.  An epsilon cannot exceed 1: next to that, no power law can be seen, nor be refuted.
    """
    cells = table.groupby([group, along])[column]
    rows = table[cells.transform("median") <= limit]
    rows = rows[rows.groupby(group)[along].transform("nunique") >= 2]
    left_out = cells.ngroups - rows.groupby([group, along]).ngroups
    words = (
        f"; {left_out} of {cells.ngroups} cells left out, with medians above {limit:g} or alone, "
        "by a rule made after a look at data"
    )
    return rows, words if left_out else ""


def spread(table: pd.DataFrame, names: Sequence[str]) -> str:
    """What was tested, in words: "ell = 50..800 (5 values), d = 2"."""
    parts = []
    for name in names:
        values = [_whole(value) for value in sorted(table[name].unique())]
        if len(values) == 1:
            parts.append(f"{name} = {values[0]}")
        elif values:
            parts.append(f"{name} = {values[0]}..{values[-1]} ({len(values)} values)")
    return ", ".join(parts)


def _whole(value: Any) -> Any:
    """A number as an int where it is one: a column with gaps holds floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
