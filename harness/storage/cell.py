"""A cell, the unit of a sweep: one point of an experiment's grid, measured in many trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.experiment import Experiment, Scalar, canonical, coordinates, needed_bytes


@dataclass(frozen=True)
class Cell:
    """A point of an experiment's grid.  With the trial number it determines the rows of a trial.

    Attributes
    ----------
    name : name of the experiment.
    experiment : the experiment, whose fields are the coordinates of the point.
    seed : seed of the sweep, from which each trial derives its own.
    """

    name: str
    experiment: Experiment
    seed: int

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything that determines the rows."""
        return {
            "experiment": self.name,
            "version": self.experiment.version,
            "seed": self.seed,
            "coordinates": self.identity,
        }

    @property
    def columns(self) -> Set[str]:
        """Names of the coordinate columns of the table."""
        return {name.rpartition(".")[2] for name in self.coordinates}

    @property
    def identity(self) -> dict[str, Scalar]:
        """`harness.experiment.identity` of the experiment."""
        return {name: value for name, value in self.coordinates.items() if value is not None}

    @cached_property
    def coordinates(self) -> dict[str, Scalar | None]:
        """`harness.experiment.coordinates` of the experiment."""
        return coordinates(self.experiment)

    @cached_property
    def bytes(self) -> int:
        """Memory that a trial needs at least."""
        return needed_bytes(self.experiment)

    @cached_property
    def key(self) -> str:
        """Digest of `facts`; the name of the cell's folder."""
        return digest(self.facts)[:20]

    @cached_property
    def shared(self) -> int:
        """Digest of what the seeds of its trials depend on: the coordinates except paired ones."""
        paired = self.experiment.paired
        own = {key: value for key, value in self.identity.items() if key not in paired}
        return int(digest({"experiment": self.name, "coordinates": own})[:32], 16)


def trial_seed(cell: Cell, trial: int) -> int:
    """64-bit seed of a trial from (seed, coordinates except paired ones, trial number).

    `numpy.random.default_rng(seed)` repeats the trial.  The seed does not depend on the order or
    number of workers, nor on the other cells.
    """
    sequence = np.random.SeedSequence([cell.seed, cell.shared, trial])
    return int(sequence.generate_state(1, np.uint64)[0])


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping's canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(values).encode()).hexdigest()


class Differing:
    """The coordinates that vary among the cells seen."""

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        self._first: dict[str, Scalar | None] | None = None
        self._names: set[str] = set()
        for cell in cells:
            self.see(cell)

    def see(self, cell: Cell) -> None:
        """Take a further cell into account."""
        own = cell.coordinates
        if self._first is None:
            self._first = own
        elif own != self._first:
            both = own.keys() | self._first.keys()
            self._names |= {n for n in both if own.get(n) != self._first.get(n)}

    def label(self, cell: Cell) -> str:
        """What sets a cell apart from the others, as "n=5, ell=200"."""
        own = [
            f"{name.rpartition('.')[2]}={value}"
            for name, value in cell.coordinates.items()
            if name in self._names
        ]
        return ", ".join(own) or "the only cell"
