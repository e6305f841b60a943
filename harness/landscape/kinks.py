"""The linear piece of a network at a point, and the kinks that the point lies on, any n.

Inside a linear piece unit j of layer i has the pre-activation r.x, with r = w_j Lambda_{i-1} its
effective row: the kink of the unit is the hyperplane r.x = 0, as far as the piece reaches.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.landscape.tolerances import NEAR_KINK
from harness.network import ReluNetwork

Array = NDArray[np.float64]
Kink = tuple[int, int, int]
"""(factor 1 or 2, layer from 1, unit from 0)."""
Unit = tuple[int, int]
"""(layer, unit) of a factor that the context names."""


def units(kinks: Iterable[Kink], factor: int) -> list[Unit]:
    """The kinks of one factor."""
    return [(layer, unit) for number, layer, unit in kinks if number == factor]


def linear_piece(
    G: ReluNetwork, x: Array, kinks: list[Unit], on: Iterable[Unit] = ()
) -> tuple[Array, Array]:
    """Lambda (ell, n) at x (n,) and the effective rows (R, n) of R kinks (layer, unit), sorted.

    The kinks' units are inactive, except those in `on`.
    """
    on, found = set(on), []
    rows = np.eye(x.size)
    for layer, W in enumerate(G.weights, start=1):
        rows = W @ rows
        active = rows @ x > 0
        for kink in kinks:
            if kink[0] == layer:
                found.append(rows[kink[1]])
                active[kink[1]] = kink in on
        rows = np.where(active[:, None], rows, 0.0)
    return rows, np.array(found).reshape(len(kinks), x.size)


def kinks_at(G: ReluNetwork, x: Array, rtol: float = NEAR_KINK) -> list[Unit]:
    """Units whose kink x (n,) lies on, |r.x| <= rtol ||r|| ||x||, sorted by layer and unit.

    Units that are zero all around x are not on a kink, unless another unit of the list wakes them:
    for that a row must exceed `rtol` of its layer's longest.
    """
    found: list[Unit] = []
    rows, size = np.eye(x.size), np.linalg.norm(x)
    for layer, W in enumerate(G.weights, start=1):
        rows = W @ rows
        z, norms = rows @ x, np.linalg.norm(rows, axis=1)
        near = np.abs(z) <= rtol * size * norms
        alive = norms > rtol * norms.max()
        found += [(layer, int(j)) for j in np.flatnonzero(near & alive)]
        rows = np.where(((z > 0) & ~near)[:, None], rows, 0.0)
    return found
