"""One factor of a product grid: its network at the points of one axis, evaluated once for each.

The pairs of a grid need G at the points, which units are active there, and for points on a kink the
unit that switches.  This module computes them in one pass through the layers, in blocks that stay
in a cache and without the copies of `ReluNetwork.jvp`, whose rule for kinks it shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Array
from harness.landscape.tolerances import ON_KINK
from harness.network import ReluNetwork
from harness.theory import angle, xi_zeta

Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

BLOCK = 2**21
"""Numbers in the arrays of one block, about: 16 MiB, which stay in a cache."""


@dataclass(frozen=True, eq=False)
class Factor:
    """The points of one factor and its network there; outputs in the support of y0 come first.

    Attributes
    ----------
    points, norms : (I, n), (I,)
    truth : (n,), h0 or m0
    y : (q,), the entries of y0 that are not zero
    values : (I, ell), G at the points
    active : (I, n_k) for each layer, whether a unit is active; on the given side of its kink for a
        unit at a kink
    kinks : (I,) number of units at a kink
    layer, unit : (I,) the last of these units, layers counted from 1
    """

    G: ReluNetwork
    points: Array
    norms: Array
    truth: Array
    y: Array
    values: Array
    active: tuple[Mask, ...]
    kinks: Index
    layer: Index
    unit: Index

    @cached_property
    def stack(self) -> Array:
        """(I, ell + q), b*b and b on the support of y0: the right factor of every product."""
        return np.concatenate([self.values**2, self.values[:, : self.y.size]], axis=1)

    @cached_property
    def tilde(self) -> Array:
        """(I, n), htilde0 = xi_d h0 + zeta_d ||h0|| hhat."""
        xi, zeta = xi_zeta(angle(self.points, self.truth), self.G.depth)
        reach = np.divide(zeta, self.norms, out=np.zeros_like(zeta), where=self.norms > 0)
        reach *= np.linalg.norm(self.truth)
        return xi[:, None] * self.truth + reach[:, None] * self.points

    @cached_property
    def along_tilde(self) -> Array:
        """(I, ell), the one-sided derivative of G along htilde0."""
        derivative = np.empty_like(self.values)
        for rows in in_blocks(len(self.points), max(self.G.widths)):
            derivative[rows] = self.G.jvp(self.points[rows], self.tilde[rows])[1]
        return derivative


def evaluate(G: ReluNetwork, points: Array, side: Array | None, truth: Array, y: Array) -> Factor:
    """Evaluate the network at the points in one pass; kinks as in `ReluNetwork.jvp`.

    side : (I, n), the sides from which activity at kinks is a limit; by default units at kinks are
        inactive

    A unit whose weights are zero, or whose inputs are zero all around the point, has no kink.
    """
    count = len(points)
    values = np.empty((count, G.widths[-1]))
    active = tuple(np.empty((count, width), dtype=np.bool_) for width in G.widths[1:])
    kinks, layer, unit = np.zeros((3, count), dtype=np.int64)
    for rows in in_blocks(count, max(G.widths)):
        x, u = points[rows], None if side is None else side[rows]
        varies = np.ones(len(x), dtype=np.bool_)
        for k, (W, norms, on) in enumerate(
            zip(G.weights, G.row_norms, active, strict=True), start=1
        ):
            scale = np.linalg.norm(x, axis=1)
            z = x @ W.T
            at, j = _small(z, scale, norms)
            z[at, j] = 0.0
            np.greater(z, 0.0, out=on[rows])
            if u is not None:
                u = u @ W.T
                on[rows][at, j] = u[at, j] > 0
                u *= on[rows]
            x = np.maximum(z, 0.0, out=z)
            varies &= (scale > 0) | (kinks[rows] > 0) | (k == 1)
            real = varies[at] & (norms[j] > 0)
            at, j = at[real], j[real]
            kinks[rows] += np.bincount(at, minlength=len(x))
            layer[rows][at], unit[rows][at] = k, j
        values[rows] = x
    norms = np.linalg.norm(points, axis=1)
    return Factor(G, points, norms, truth, y, values, active, kinks, layer, unit)


def _small(z: Array, scale: Array, norms: Array) -> tuple[Index, Index]:
    """Rows and units with |w.x| <= ON_KINK ||w|| ||x||, w of length `norms` and x of `scale`."""
    bound = ON_KINK * scale * norms.max()
    at, j = np.divmod(np.flatnonzero(np.abs(z) <= bound[:, None]), z.shape[1])
    kink = np.abs(z[at, j]) <= ON_KINK * scale[at] * norms[j]
    return at[kink], j[kink]


def switch(factor: Factor, rows: Index) -> tuple[Array, Array]:
    """For points with one unit at a kink: gradient of its pre-activation, effect of the unit on G.

    (R, n) and (R, ell).  Across the kink Lambda changes by the outer product of the two.  The
    gradient points to the side opposite to `factor.active`.
    """
    G, layers = factor.G, list(zip(factor.G.weights, factor.active, strict=True))
    gradient, effect = np.empty((rows.size, G.widths[0])), np.zeros((rows.size, G.widths[-1]))
    for k in np.unique(factor.layer[rows]):
        here = factor.layer[rows] == k
        points, unit = rows[here], factor.unit[rows[here]]
        w = (
            np.where(factor.active[k - 1][points, unit], -1.0, 1.0)[:, None]
            * G.weights[k - 1][unit]
        )
        for W, on in reversed(layers[: k - 1]):
            w = (w * on[points]) @ W
        v = np.zeros((points.size, G.widths[k]))
        v[np.arange(points.size), unit] = 1.0
        for W, on in layers[k:]:
            v = (v @ W.T) * on[points]
        gradient[here], effect[here] = w, v
    return gradient, effect


def write_columns(factor: Factor, points: Index, out: Array) -> None:
    """Write Lambda^T at the points to out (R n, ell), taking all units of the last layer as active.

    As `ReluNetwork.Lambda`, but transposed, with the stored activity and into given memory.
    """
    n = factor.G.widths[0]
    *inner, last = factor.G.weights
    product = np.broadcast_to(np.eye(n), (points.size, n, n)).reshape(-1, n)
    for W, on in zip(inner, factor.active, strict=False):
        product = (product @ W.T).reshape(points.size, n, -1) * on[points, None]
        product = product.reshape(-1, W.shape[0])
    np.matmul(product, last.T, out=out)


def in_blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of range(count), about BLOCK numbers each, of items of `size` numbers."""
    step = max(1, BLOCK // size)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
