"""Whether the observation determines a truth within its neighbourhood: counts and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Array
from harness.network import ReluNetwork
from harness.problem import Demodulation

RANK_RTOL = 1e-10
"""Singular values below this share of the largest one count as zero.

Rounding leaves some 1e-15 of it where a value is zero; `condition` says how far a full rank is from
being lost.
"""


@dataclass(frozen=True)
class Identifiability:
    """What the networks let one see of a truth; `dataclasses.asdict` gives columns of a table.

    Attributes
    ----------
    active_rows : rows whose last unit is active in both networks at the truth.  Any other row is
        zero in a whole neighbourhood, so fewer than n + p - 1 of them exclude full rank.
    rank : rank of the Jacobian of (h, m) -> G1(h) * G2(m) at the truth, at most n + p - 1.
    full_rank : whether it is n + p - 1.  Then, off kinks, the truth is isolated up to scale among
        the points with the same observation.
    condition : the (n + p - 1)-th singular value over the largest, at ||h|| = ||m||: how clear a
        full rank is.  Some 2^(-1/2) in wide networks, 0 where there is no such value.
    determined_h, determined_m : whether the hidden layers of G1 at h0 (of G2 at m0) keep all of it.
    """

    active_rows: int
    rank: int
    full_rank: bool
    condition: float
    determined_h: bool
    determined_m: bool


def identifiability(P: Demodulation, *, rtol: float = RANK_RTOL) -> Identifiability:
    """Local identifiability of the truth (h0, m0) from G1(h0) * G2(m0), whatever the algorithm.

    Parameters
    ----------
    P : Demodulation
        Any n, p, d and s.  Noise plays no part.
    rtol : float
        Singular values of at most `rtol` times the largest count as zero, 0 < rtol < 1.

    Raises
    ------
    ValueError
        If rtol is out of range.

    Notes
    -----
    The Jacobian is J = [diag(b) Lambda1, diag(a) Lambda2], a = G1(h0), b = G2(m0), and J (h0, -m0)
    = a*b - b*a = 0 always: n + p - 1 is full rank.  Rank and condition are taken with h0 and m0
    scaled to ||h0|| = ||m0||, so that they do not depend on the truth's scales.  On a kink, where
    the products have no Jacobian, the unit counts as inactive, as in `ReluNetwork.Lambda`.
    """
    if not 0 < rtol < 1:
        raise ValueError(f"rtol={rtol}: must be > 0 and < 1")
    a, b = P.G1(P.h0), P.G2(P.m0)
    values = np.linalg.svd(P.jacobian(*P.balanced_truth()), compute_uv=False)
    full = P.n + P.p - 1
    found = rank(values, rtol)
    clear = full <= values.size and values[0] > 0
    return Identifiability(
        active_rows=int(np.count_nonzero((a > 0) & (b > 0))),
        rank=found,
        full_rank=found == full,
        condition=float(values[full - 1] / values[0]) if clear else 0.0,
        determined_h=is_determined(P.G1, P.h0, rtol=rtol),
        determined_m=is_determined(P.G2, P.m0, rtol=rtol),
    )


def is_determined(G: ReluNetwork, x: Array, *, rtol: float = RANK_RTOL) -> bool:
    """Whether the hidden layers of G keep all of x (n,): Lambda_{d-1} at x has rank n.

    Then n or more units of each hidden layer are active at x, and the map up to each has rank n.
    Otherwise G is constant along a segment through x, off kinks.  Always true if d = 1.

    For weights with a density and d = 2 the number of active units decides almost surely: of n_1
    units at least n are active with the binomial probability P(Bin(n_1, 1/2) >= n).
    """
    if G.depth == 1:
        return True
    hidden = ReluNetwork(G.weights[:-1]).Lambda(x)
    return rank(np.linalg.svd(hidden, compute_uv=False), rtol) == len(x)


def rank(singular_values: NDArray[np.floating], rtol: float) -> int:
    """How many of the values (K,), largest first, exceed `rtol` times the largest."""
    return int(np.sum(singular_values > rtol * singular_values[0]))
