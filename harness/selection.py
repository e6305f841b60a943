"""Selecting the rows that a claim is about, describing them in words, estimating group by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import stats
from harness.arrays import Array
from harness.experiment import Experiment, columns
from harness.stats import Estimate, simultaneous
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd


Redraws = Callable[["pd.DataFrame"], Array]
"""From rows to what is computed from `stats.crossings`: a value and its redraws, (1 + R,)."""


# --- Rows -----------------------------------------------------------------------------------


def ok(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with status "ok": there was something to measure, and it took no iteration."""
    return table[table["status"] == Status.OK]


def at_baseline(experiment: Experiment, table: pd.DataFrame, free: Sequence[str]) -> pd.DataFrame:
    """Rows whose coordinates are the experiment's own, except in the columns named in `free`."""
    chosen = table
    for name, value in columns(experiment).items():
        if name in free:
            continue
        if name not in chosen:  # no cell of the table has the coordinate
            chosen = chosen if value is None else chosen.iloc[:0]
        else:
            chosen = chosen[chosen[name].isna() if value is None else chosen[name] == value]
    return chosen


def largest(table: pd.DataFrame, column: str, count: int = 1) -> pd.DataFrame:
    """Rows with one of the `count` largest values of a column."""
    return table[table[column].isin(sorted(table[column].unique())[-count:])]


def unsaturated(
    table: pd.DataFrame, column: str, group: str, along: str, limit: float = 0.9
) -> tuple[pd.DataFrame, str]:
    """Rows of the cells that can show a power law in `along`, and a count of the rest in words.

    A cell is kept if the median of `column` is at most `limit` and its group keeps at least two
    cells.  An epsilon cannot exceed 1: close to 1, data neither show nor refute a power law.
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


# --- Words ----------------------------------------------------------------------------------


def varying(experiment: Experiment, table: pd.DataFrame) -> list[str]:
    """Coordinate columns that take more than one value in the table."""
    return [name for name in columns(experiment) if name in table and table[name].nunique() > 1]


def unmeasured(table: pd.DataFrame) -> str:
    """How many draws had nothing to measure: "; 3 of 200 draws had y0 = 0 ...", or ""."""
    empty = table["status"].isin([Status.DEAD_NETWORK, Status.ZERO_OBSERVATION])
    return (
        f"; {empty.sum()} of {len(table)} draws had y0 = 0 and are left out" if empty.any() else ""
    )


def spread(table: pd.DataFrame, names: Sequence[str]) -> str:
    """The range of each named column, in words: "ell = 50..800 (5 values), d = 2"."""
    parts = []
    for name in names:
        values = [_whole(value) for value in sorted(table[name].unique())]
        if len(values) == 1:
            parts.append(f"{name} = {values[0]}")
        elif values:
            parts.append(f"{name} = {values[0]}..{values[-1]} ({len(values)} values)")
    return ", ".join(parts)


def _whole(value: Any) -> Any:
    """A whole number as an int: a column with gaps holds floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# --- Groups ---------------------------------------------------------------------------------


def jointly(
    statistic: Callable[..., Estimate],
    table: pd.DataFrame,
    by: str | Sequence[str],
    *columns: str,
) -> dict[str, Estimate]:
    """An estimate for each group, all of which hold jointly at the usual level (Bonferroni).

    Parameters
    ----------
    statistic : callable
        Takes these columns of a group, or the group itself if none is named, and `level`, which is
        `stats.simultaneous(k)` for k groups: `jointly(power_law, table, "d", "ell", "epsilon")`.
    by : str or sequence of str
        The columns that define the groups.

    Returns
    -------
    dict of str to Estimate
        By the group in words: "n = 5, d = 2".
    """
    names = [by] if isinstance(by, str) else list(by)
    groups = list(table.groupby(names))
    level = simultaneous(len(groups))
    found = {}
    for place, group in groups:
        label = ", ".join(f"{k} = {_whole(v)}" for k, v in zip(names, place, strict=True))
        parts = [group[name] for name in columns] or [group]
        found[label] = statistic(*parts, level=level)
    return found


def crossings(
    table: pd.DataFrame, by: str, x: str, success: str, rate: float = 0.5
) -> tuple[Array, Array]:
    """`stats.crossings` of the groups of a column: its K sorted values, and (1 + R, K)."""
    groups = dict(iter(table.groupby(by)))
    pairs = [(group[x], group[success]) for group in groups.values()]
    return np.array(list(groups), dtype=float), stats.crossings(pairs, rate)


def crossing_exponent(table: pd.DataFrame, by: str) -> Array:
    """The exponent in a column of the ell at which half of `found` holds: (1 + R,)."""
    places, ends = crossings(table, by, "ell", "found")
    return stats.line(np.log(places), np.log(ends))[1]


def crossing_ratio(table: pd.DataFrame, others: pd.DataFrame) -> Array:
    """The ell at which half of `found` holds, over that of other rows: (1 + R,)."""
    ends = stats.crossings([(rows["ell"], rows["found"]) for rows in (table, others)])
    return np.asarray(ends[:, 0] / ends[:, 1])


def jointly_redrawn(statistic: Redraws, table: pd.DataFrame, by: str) -> dict[str, Estimate]:
    """`jointly` of what is computed from `stats.crossings`: a value and its redraws, (1 + R,)."""

    def estimate(rows: pd.DataFrame, level: float) -> Estimate:
        return stats.from_redraws(statistic(rows), len(rows), level=level)

    return jointly(estimate, table, by)


def median(column: str, spec: str = ".3g") -> Callable[[pd.DataFrame], str]:
    """The median of a column in words, as a value of `summarise`: `median("search", ".4g")`."""
    return lambda rows: format(rows[column].median(), spec)


def share(
    column: str, *, above: float = -np.inf, up_to: float = np.inf
) -> Callable[[pd.DataFrame], str]:
    """The share of known values in (above, up_to] in words, "" without any; for `summarise`."""

    def words(rows: pd.DataFrame) -> str:
        known = rows[column].dropna()
        return f"{((known > above) & (known <= up_to)).mean():.2f}" if len(known) else ""

    return words


def deciles(column: str, spec: str) -> Callable[[pd.DataFrame], str]:
    """The 10%, 50% and 90% quantiles of a column in words, as a value of `summarise`."""
    return lambda rows: " / ".join(f"{q:{spec}}" for q in rows[column].quantile([0.1, 0.5, 0.9]))


def summarise(
    table: pd.DataFrame,
    by: Sequence[str] | Mapping[str, str],
    values: Mapping[str, Callable[[pd.DataFrame], Any]],
    *,
    sort: bool = True,
) -> pd.DataFrame:
    """A row for each group: its coordinates, then a value under each heading.

    Parameters
    ----------
    by : sequence of str, or mapping of str to str
        The columns that define the groups; a mapping gives each a heading, {column: heading}.
    values : mapping of str to callable
        {heading: function of the rows of a group}.
    sort : bool
        Sort the groups by their coordinates; otherwise they come in the order of the table.
    """
    from pandas import DataFrame

    headings = [by[name] for name in by] if isinstance(by, Mapping) else list(by)
    rows = []
    for place, group in table.groupby(list(by), sort=sort):
        row = dict(zip(headings, place, strict=True))
        rows.append(row | {heading: value(group) for heading, value in values.items()})
    return DataFrame(rows)


def local_exponents(summary: pd.DataFrame, by: Sequence[str], x: str, y: str) -> pd.Series:
    """The slope of log y in log x from each row of a summary's groups to the next, two digits."""
    logs = np.log(summary[[x, y]]).groupby([summary[name] for name in by]).diff()
    return (logs[y] / logs[x]).round(2)
