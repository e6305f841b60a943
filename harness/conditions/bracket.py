"""The bracket of a condition's constant."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.conditions.definition import JointWitness, WdcWitness


@dataclass(frozen=True, eq=False)
class Bracket:
    """lower <= constant of the matrix <= upper.

    Attributes
    ----------
    lower : the residual's norm at `witness`.
    upper : certified, including rounding; inf where no bound is certified.
    witness : the vectors that prove the lower end.
    method : how the two ends were found, for people to read.
    evaluations : residual norms evaluated.
    restarts : independent chains of a search; 0 without one.
    agreement : share of a search's restarts that ended within 1% of the lower end; NaN without one.
    expected_gain : by how much, as a share of the lower end, ten times the search's budget is
        expected to raise it, on average over matrices; NaN without a search.  No bound.
    """

    lower: float
    upper: float
    witness: WdcWitness | JointWitness
    method: str
    evaluations: int = 0
    restarts: int = 0
    agreement: float = math.nan
    expected_gain: float = math.nan

    @property
    def gap(self) -> float:
        """(upper - lower) / upper; 1 where no upper end is certified."""
        if not np.isfinite(self.upper):
            return 1.0
        return (self.upper - self.lower) / self.upper if self.upper > 0 else 0.0
