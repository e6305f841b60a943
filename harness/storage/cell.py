"""A cell, the unit of a sweep: one point of an experiment's grid, measured in many trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.experiment import Experiment, Scalar, canonical, columns, coordinates


@dataclass(frozen=True)
class Cell:
    """A point of an experiment's grid.  With the trial number it determines the rows of a trial.

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
        return {name.rpartition(".")[2] for name in self._coordinates}

    @property
    def identity(self) -> dict[str, Scalar]:
        """`harness.experiment.identity` of the experiment."""
        return {name: value for name, value in self._coordinates.items() if value is not None}

    @cached_property
    def _coordinates(self) -> dict[str, Scalar | None]:
        return coordinates(self.experiment)

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


def label(cell: Cell, cells: Sequence[Cell]) -> str:
    """The coordinates that vary within a sweep, as "n=5, ell=200"."""
    values: dict[str, set[Scalar | None]] = {}
    for other in cells:
        for name, value in columns(other.experiment).items():
            values.setdefault(name, set()).add(value)
    own = columns(cell.experiment)
    differing = {
        name: own[name] for name, found in values.items() if len(found) > 1 and name in own
    }
    return ", ".join(f"{name}={value}" for name, value in differing.items()) or "the only cell"
