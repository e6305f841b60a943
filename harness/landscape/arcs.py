"""The linear pieces of a network on a circle of directions (n = 2), and circles for n > 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array
from harness.landscape.tolerances import IN_PLANE, SAME_ANGLE
from harness.network import ReluNetwork

OFFSET = -3.0
"""First of four boundaries that keep every arc below pi/2; no round angle, where kinks may lie."""


@dataclass(frozen=True)
class Arcs:
    """The circle cut into arcs on each of which a network R^2 -> R^ell is linear.

    Attributes
    ----------
    angles : (R,) boundaries, increasing in (-pi, pi]; arc k runs from angles[k] to angles[k + 1],
        the last one on to angles[0] + 2 pi.  None is longer than pi/2.
    layer, unit : (R,) the unit whose pre-activation vanishes at the boundary, layers counted from
        1; if several vanish, one of the lowest layer.  Layer 0 marks a boundary without a kink.
    """

    angles: Array
    layer: NDArray[np.int64]
    unit: NDArray[np.int64]

    @property
    def length(self) -> Array:
        """(R,) lengths of the arcs."""
        return np.diff(self.angles, append=self.angles[0] + 2 * np.pi)

    @property
    def middle(self) -> Array:
        """(R,) angles of the arcs' middles; the last one may exceed pi."""
        return self.angles + self.length / 2


def direction(angle: ArrayLike) -> Array:
    """(cos, sin): (...) -> (..., 2)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def linear_arcs(G: ReluNetwork) -> Arcs:
    """All boundaries between linear pieces of a network of two inputs, layer by layer.

    On an arc where the previous layers are linear, W_k x = z cos t + z' sin t with t the angle from
    the middle of the arc: unit j switches at tan t = -z_j / z'_j.  A unit whose inputs are all dead
    on an arc has no kink there.

    Raises
    ------
    ValueError
        If the network does not have two inputs.
    """
    if G.widths[0] != 2:
        raise ValueError(f"linear_arcs needs a network of 2 inputs, not {G.widths[0]}")
    quarters = OFFSET + np.arange(4) * np.pi / 2
    none = np.zeros(4, dtype=np.int64)
    arcs = Arcs(quarters, none, none)
    for k in range(1, G.depth + 1):
        x, u = direction(arcs.middle), direction(arcs.middle + np.pi / 2)
        x, u = G.jvp(x, u, kink_rtol=0, layers=k - 1)
        W = G.weights[k - 1]
        z, dz = x @ W.T, u @ W.T
        t = np.arctan2(-z * np.sign(dz), np.abs(dz))
        arc, unit = np.nonzero((np.abs(t) < arcs.length[:, None] / 2) & (dz != 0))
        arcs = _with_kinks(arcs, arcs.middle[arc] + t[arc, unit], k, unit)
    return arcs


def _with_kinks(arcs: Arcs, angles: Array, layer: int, unit: NDArray[np.int64]) -> Arcs:
    """Merge new boundaries into the old; of several at one angle keep the kink of lowest layer."""
    angles = np.concatenate([arcs.angles, np.pi - (np.pi - angles) % (2 * np.pi)])
    layers = np.concatenate([arcs.layer, np.full(unit.size, layer)])
    units = np.concatenate([arcs.unit, unit])
    order = np.argsort(angles)
    group = np.empty(angles.size, dtype=np.int64)
    group[order] = np.cumsum(np.diff(angles[order], prepend=-np.inf) > SAME_ANGLE)
    if angles[order[0]] + 2 * np.pi - angles[order[-1]] <= SAME_ANGLE:
        group[group == group.max()] = group.min()
    by_group = np.lexsort((layers, layers == 0, group))
    kept = by_group[np.unique(group[by_group], return_index=True)[1]]
    kept = kept[np.argsort(angles[kept])]
    return Arcs(angles[kept], layers[kept], units[kept])


def plane_through(x: ArrayLike, towards: ArrayLike) -> Array:
    """Orthonormal basis (n, 2) of the plane of two vectors (n,), the first column along x.

    Raises
    ------
    ValueError
        If the vectors are parallel.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(towards, dtype=np.float64)
    first = x / np.linalg.norm(x)
    rest = y - (y @ first) * first
    rest -= (rest @ first) * first
    size = np.linalg.norm(rest)
    if not size > IN_PLANE * np.linalg.norm(y):
        raise ValueError("plane_through: the two vectors span no plane")
    return np.stack([first, rest / size], axis=1)


def on_plane(G: ReluNetwork, plane: Array) -> ReluNetwork:
    """G restricted, x -> G(plane x): the network on the plane spanned by the columns of (n, k)."""
    return ReluNetwork([G.weights[0] @ plane, *G.weights[1:]])
