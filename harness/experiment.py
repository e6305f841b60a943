"""What an experiment must provide.

An experiment is one file: a frozen dataclass whose fields are the coordinates of a cell, with
`trial`, `judge` and `figure`.  It is all that has to be written for a new claim.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harness.claims import Claim, Finding
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Scalar = float | int | bool | str
Row = dict[str, Scalar]

ROW_COLUMNS = ("trial", "seed", "status", "seconds")
"""What the runner adds to every row."""


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
    needs : modules of an optional extra that its trials import; its tables are judged without.
    """

    claims: ClassVar[tuple[Claim, ...]] = ()
    caption: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paired: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

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
