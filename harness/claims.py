"""What a claim is, how it is decided, and what an experiment must provide.

An experiment is one file: a frozen dataclass whose fields are the coordinates of a cell, with
`trial`, `judge` and `figure`.  It is all that has to be written for a new claim.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harness.stats import Estimate, undetermined
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Scalar = float | int | bool | str
Row = dict[str, Scalar]

ROW_COLUMNS = ("trial", "seed", "status", "seconds")
"""What the runner adds to every row."""


class Verdict(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Claim:
    """A statement that data can refute.

    id : short and unique, such as "hyperbolas.radius"
    statement : one line
    source : where it comes from (equation or theorem of the paper)
    """

    id: str
    statement: str
    source: str


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured for it, and the verdict."""

    claim: Claim
    tested: str
    statistic: str
    estimate: Estimate
    threshold: str
    verdict: Verdict


Estimates = Estimate | Sequence[Estimate]
"""One estimate, or a family that must hold as a whole (intervals at `stats.simultaneous`)."""


def above(
    claim: Claim, estimates: Estimates, threshold: float, *, statistic: str, tested: str
) -> Finding:
    """`within` [threshold, infinity)."""
    return _decide(claim, estimates, threshold, np.inf, f">= {threshold:g}", statistic, tested)


def below(
    claim: Claim, estimates: Estimates, threshold: float, *, statistic: str, tested: str
) -> Finding:
    """`within` (-infinity, threshold]."""
    return _decide(claim, estimates, -np.inf, threshold, f"<= {threshold:g}", statistic, tested)


def within(
    claim: Claim, estimates: Estimates, low: float, high: float, *, statistic: str, tested: str
) -> Finding:
    """SUPPORTED if the whole interval lies in [low, high], REFUTED if outside, else neither.

    A family is SUPPORTED if all of its members are and REFUTED if one is; the finding shows the
    member that decides: of those with the family's verdict, the one that reaches farthest out.
    """
    return _decide(claim, estimates, low, high, f"in [{low:g}, {high:g}]", statistic, tested)


def _decide(
    claim: Claim,
    estimates: Estimates,
    low: float,
    high: float,
    threshold: str,
    statistic: str,
    tested: str,
) -> Finding:
    family = [estimates] if isinstance(estimates, Estimate) else list(estimates)
    if not family:
        family = [undetermined(0, "no data")]
    verdicts = {_verdict(estimate, low, high) for estimate in family}
    if Verdict.REFUTED in verdicts:
        verdict = Verdict.REFUTED
    elif verdicts == {Verdict.SUPPORTED}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.INCONCLUSIVE

    def margin(estimate: Estimate) -> tuple[float, float]:
        """How far the interval, and then the value, stays inside the limits."""
        if np.isnan(estimate.value):
            return -np.inf, -np.inf
        ends = (
            (estimate.low - low if np.isfinite(low) else np.inf),
            (high - estimate.high if np.isfinite(high) else np.inf),
        )
        return min(ends), min(estimate.value - low, high - estimate.value)

    shown = min(
        (e for e in family if _verdict(e, low, high) == verdict),
        key=margin,
    )
    return Finding(claim, tested, statistic, shown, threshold, verdict)


def _verdict(estimate: Estimate, low: float, high: float) -> Verdict:
    if np.isnan(estimate.value):
        return Verdict.INCONCLUSIVE
    if low <= estimate.low and estimate.high <= high:
        return Verdict.SUPPORTED
    if estimate.high < low or high < estimate.low:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


@dataclass(frozen=True)
class Settings:
    """Base of every group of settings that a configuration fills.

    Read from a configuration, an unknown key and a number that is not finite are errors.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


class UnmeasurableError(Exception):
    """Raised by a trial with nothing to measure; the runner records the status as its row."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True)
class Experiment(Settings, ABC):
    """A claim's file.  Subclasses are frozen dataclasses named in their module as the only one.

    Fields are the coordinates of a cell: what the configuration sets and a sweep varies.  A field
    called `thresholds` holds what `judge` compares with; it does not determine any row.

    Class attributes
    ----------------
    claims : the claims that `judge` decides.
    caption : of the figure, to be understood alone.
    version : raise it when `trial` changes, so that stored cells of the old one are not used.
    paired : dotted names of fields that do not enter the seed: cells that differ in these alone
        draw the same networks, so that their trials can be compared in pairs.
    alone : its trials measure times: they run one after the other.
    """

    claims: ClassVar[tuple[Claim, ...]] = ()
    caption: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paired: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False

    def prepared(self) -> Self:
        """The experiment as it is run: what it reads is there and is identified in its fields.

        Called once before a cell runs; not when a stored table is judged, which needs no files
        but its own.  Raises ValueError, in one line, for what cannot be used.
        """
        return self

    @abstractmethod
    def trial(self, rng: np.random.Generator) -> list[Row]:
        """Measure once: rows of scalars.  All randomness comes from `rng`.

        A row may carry a `status` of `Status`; without one it is OK.  Raise
        `UnmeasurableError` for a draw that has nothing to measure.
        """

    @abstractmethod
    def judge(self, table: pd.DataFrame) -> list[Finding]:
        """Decide the claims from the table of all cells: coordinates, trial, seed, rows, status."""

    @abstractmethod
    def figure(self, table: pd.DataFrame) -> Figure:
        """Draw the table."""

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        """A small table for the report and for LaTeX; None for none."""
        return None


def coordinates(experiment: Experiment) -> dict[str, Scalar | None]:
    """Fields by dotted name, nested dataclasses opened, lists as text; thresholds left out."""
    return dict(_flatten(_without_thresholds(experiment)))


def identity(experiment: Experiment) -> dict[str, Scalar]:
    """`coordinates` that are set: what cells and seeds are told apart by.

    A new field that defaults to None leaves the cells there are, and their seeds, as they were.
    """
    return {name: value for name, value in coordinates(experiment).items() if value is not None}


def columns(experiment: Experiment) -> dict[str, Scalar | None]:
    """`coordinates` by the last part of each name: the coordinate columns of the table."""
    return {name.rpartition(".")[2]: value for name, value in coordinates(experiment).items()}


def canonical(values: Mapping[str, Any]) -> str:
    """A mapping as text, the same for equal mappings: what digests are taken of."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _without_thresholds(experiment: Experiment) -> dict[str, Any]:
    return {key: value for key, value in asdict(experiment).items() if key != "thresholds"}


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar | None]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            numbers = all(isinstance(item, int) for item in value)
            yield prefix + key, "-".join(map(str, value)) if numbers else json.dumps(value)
        else:
            yield prefix + key, value


def experiment_class(module: Any) -> type[Experiment]:
    """The one Experiment that a module defines; TypeError if it defines none or several."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Experiment)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} defines {len(found)} experiments; exactly 1 is needed")
    return found[0]


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
