"""The bracket of a condition's constant."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.conditions.definition import JointWitness, WdcWitness

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bracket:
    """lower <= constant of the matrix <= upper.

    lower : the residual's norm at `witness`.
    upper : certified, including rounding; inf where no bound is certified.
    witness : the vectors that prove the lower end.
    method : how the two ends were found, for people to read.
    evaluations : residual norms evaluated.
    curve : (k, 2), evaluations and the best lower end so far, for a search; empty otherwise.
    """

    lower: float
    upper: float
    witness: WdcWitness | JointWitness
    method: str
    evaluations: int = 0
    curve: Array = field(default_factory=lambda: np.empty((0, 2)))

    @property
    def gap(self) -> float:
        """(upper - lower) / upper; 1 where no upper end is certified."""
        if not np.isfinite(self.upper):
            return 1.0
        return (self.upper - self.lower) / self.upper if self.upper > 0 else 0.0
