"""Published numbers of the rivals that an experiment compares with."""

from __future__ import annotations

import numpy as np

from harness.arrays import Array, Bools

L1_BRANCH_HULL = {
    2: {8: 0, 12: 2, 16: 3, 20: 7, 24: 8, 28: 10},
    3: {16: 0, 20: 1, 24: 2, 28: 6, 32: 7, 36: 9, 40: 10},
    5: {36: 0, 40: 1, 44: 3, 48: 4, 52: 5, 56: 10},
    7: {56: 0, 60: 5, 64: 1, 68: 3, 72: 6, 76: 7, 80: 8, 84: 9, 88: 9, 92: 9, 96: 10},
    10: {76: 0, 80: 2, 84: 1, 88: 1, 92: 2, 96: 6, 100: 3, 104: 6, 108: 9, 128: 9, 132: 10},
}
"""Successes of 10 draws by S and ell: of l1-BranchHull with K = N = 20 S, random signs for terms
and Gaussian dictionaries.  Lengths at which all succeed, or none, are left out but for the next.

Aghasi, Ahmed, Hand and Joshi (2018), M_15_300_pm1.txt of the authors' code.
"""
DRAWS = 10


def draws(S: int) -> tuple[Array, Bools]:
    """The ell and the success of each draw behind `L1_BRANCH_HULL`, one of its S."""
    counts = L1_BRANCH_HULL[S]
    hits = [np.arange(DRAWS) < count for count in counts.values()]
    return np.repeat(list(counts), DRAWS).astype(float), np.concatenate(hits)
