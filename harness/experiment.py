"""The interface of an experiment.

An experiment is one file: a frozen dataclass whose fields are the coordinates of a cell, with
methods `trial`, `judge` and `figure`.  Nothing else has to be written for a new claim.
"""

from __future__ import annotations

import json
import re
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harness.claims import Claim, Finding
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Scalar = float | int | bool | str
Row = dict[str, Scalar]
PLAIN = (int, float, str, bool, type(None))

ROW_COLUMNS = ("trial", "seed", "status", "seconds")
"""Columns that the runner adds to every row."""


_UNFIT = re.compile("[\0\r\ud800-\udfff]")
"""Characters that a CSV file does not hold, or not for every reader."""


def is_scalar(value: object) -> bool:
    """Whether a table can hold a value: a number of 64 bits, a boolean, or text."""
    if isinstance(value, str):
        return not _UNFIT.search(value)
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return isinstance(value, (float, bool))


@dataclass(frozen=True)
class Settings:
    """Base class of configuration groups.

    In a configuration, unknown keys and numbers that are not finite are errors.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    @property
    def bytes(self) -> int:
        """Memory that what they describe takes, as far as it is known beforehand."""
        return 0


class _Judged:
    """The table that was judged last, as long as it exists, its experiment and its findings."""

    table: ClassVar[Callable[[], Any]] = lambda: None
    experiment: ClassVar[Experiment | None] = None
    findings: ClassVar[list[Finding]] = []


class UnmeasurableError(Exception):
    """Raised by a trial with nothing to measure; the runner stores a row with this status."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True)
class Experiment(Settings, ABC):
    """Base class of experiments: frozen dataclasses, one in each module of `experiments`.

    The fields are the coordinates of a cell: the configuration sets them and a sweep varies them.
    A field called `thresholds` holds the numbers that `judge` compares with; no row depends on it.

    Attributes
    ----------
    claims : the claims that `judge` decides.
    caption : the figure's caption, which stands alone.
    version : raise it when `trial` changes, so that cells stored by the old one are not used.
    paired : dotted names of fields that do not enter the seed.  Cells that differ only in these
        draw the same networks, so that their trials can be compared in pairs.
    alone : run trials one after the other, because they measure times.
    needs : modules of an optional extra that `trial` imports; judging works without them.
    """

    claims: ClassVar[tuple[Claim, ...]] = ()
    caption: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paired: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def prepared(self) -> Self:
        """The experiment ready to run: input files are checked and identified in its fields.

        Called once before a cell runs, but not when a stored table is judged, which must not need
        those files.  Raises ValueError with a one-line message for unusable input.
        """
        return self

    @abstractmethod
    def trial(self, rng: np.random.Generator) -> list[Row]:
        """Measure once and return rows of scalars.  All randomness comes from `rng`.

        A row may have a `status` of `Status`; the default is OK.  Raise `UnmeasurableError` for a
        draw with nothing to measure.
        """

    @abstractmethod
    def judge(self, table: pd.DataFrame) -> list[Finding]:
        """Decide the claims from the table of all cells, a row per measurement."""

    def findings(self, table: pd.DataFrame) -> list[Finding]:
        """`judge(table)`, once for a table: report and figure show the same findings."""
        if _Judged.table() is not table or _Judged.experiment is not self:
            _Judged.findings = self.judge(table)
            _Judged.table, _Judged.experiment = weakref.ref(table), self
        return list(_Judged.findings)

    def trials_needed(self, cells: pd.DataFrame) -> Mapping[str, int]:
        """Trials that a cell needs before a claim can be decided either way, by the claim's id.

        cells : the coordinates of a sweep's cells, in the columns of the table.

        A claim that is left out can be decided with any number of trials.  See
        `stats.trials_for_proportion` and `stats.trials_for_quantile`.
        """
        return {}

    def undecidable(self, cells: pd.DataFrame, trials: int) -> dict[str, int]:
        """The claims that so many trials cannot decide, with the trials that they need."""
        needed = self.trials_needed(cells)
        return {claim: count for claim, count in needed.items() if count > trials}

    @abstractmethod
    def figure(self, table: pd.DataFrame) -> Figure:
        """Draw the table."""

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        """A small table for the report and for LaTeX, or None."""
        return None


def needed_bytes(experiment: Experiment) -> int:
    """Memory that a trial needs at least: `bytes` of the experiment and of the settings in it."""
    parts = [experiment, *(getattr(experiment, name) for name in _field_names(type(experiment)))]
    return sum(part.bytes for part in parts if isinstance(part, Settings))


def coordinates(experiment: Experiment) -> dict[str, Scalar | None]:
    """Fields by dotted name, without thresholds: nested dataclasses flattened, lists as text."""
    found: dict[str, Scalar | None] = {}
    _flatten(experiment, "", found)
    return found


def identity(experiment: Experiment) -> dict[str, Scalar]:
    """`coordinates` that are not None, which identify a cell and its seeds.

    So a new field that defaults to None changes neither existing cells nor their seeds.
    """
    return {name: value for name, value in coordinates(experiment).items() if value is not None}


def columns(experiment: Experiment) -> dict[str, Scalar | None]:
    """`coordinates` by the last part of their names: the coordinate columns of the table."""
    return {name.rpartition(".")[2]: value for name, value in coordinates(experiment).items()}


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(values: Mapping[str, Any]) -> str:
    """A mapping as canonical JSON, equal for equal mappings: the input of digests."""
    return _CANONICAL.encode(values)


def _flatten(values: Any, prefix: str, found: dict[str, Scalar | None]) -> None:
    """Add the fields of a dataclass, or the entries of a mapping, to `found`."""
    mapping = isinstance(values, Mapping)
    for name in values if mapping else _field_names(type(values)):  # type: ignore[arg-type]
        value = values[name] if mapping else getattr(values, name)
        if type(value) in PLAIN:
            found[prefix + name] = value
        elif is_dataclass(value) or isinstance(value, Mapping):
            if prefix + name != "thresholds":
                _flatten(value, f"{prefix}{name}.", found)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            numbers = all(isinstance(item, int) for item in value)
            found[prefix + name] = "-".join(map(str, value)) if numbers else json.dumps(value)
        else:
            found[prefix + name] = value


@cache
def _field_names(settings: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(settings))  # type: ignore[arg-type]


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
