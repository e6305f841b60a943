"""Loss, gradients and one-sided derivatives on a product grid (h_i) x (m_j), by matrix products.

With a_i = G1(h_i) and b_j = G2(m_j), every quantity of a pair is an inner product
<u_i, (a_i*b_j - y0)*b_j> = <u_i*a_i, b_j*b_j> - <u_i*y0, b_j> with a vector u_i that depends on h_i
alone.  One product of two matrices gives it on the whole grid; its second term needs the support of
y0 only.  For the loss u = a/2 and a; for the gradient u runs over the columns of Lambda_{h_i}; for
the derivative along -t1 it is the one-sided derivative of G1 along htilde0.  The roles of h and m
can be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.landscape.factor import BLOCK, Factor, evaluate, in_blocks, switch, write_columns
from harness.network import ReluNetwork
from harness.problem import Demodulation
from harness.theory import landscape_scale

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

MEMORY = 4 * 2**30
"""Bytes that a grid with all of its properties may take by default."""


@dataclass(frozen=True, eq=False)
class ProductGrid:
    """The loss and its derivatives on (h_i) x (m_j); built by `product_grid`.

    Every property is an array (I, J), computed at first access and then kept.

    Notes
    -----
    The loss and the derivatives are differences of products of the size of ||y0||^2.  Their
    absolute error is some 1e-16 of ||y0||^2, so no digit is left next to the truth, where they are
    smaller than that.  `Demodulation.loss` keeps the digits.

    At a kink (a pre-activation that `ReluNetwork.jvp` takes for zero) the gradients g1, g2 are
    limits from a side: of the gradient at h + t w, t -> 0+, with w the side of that axis (eq. 4).
    If no side is given, units whose pre-activation is zero are inactive, as in
    `Demodulation.gradients`.

    The paper's g is a gradient, so the direction of descent is -g.  Where f is differentiable the
    derivative along -g1 is -||g1||^2; only at kinks can it have another value.
    """

    P: Demodulation
    alpha: float
    _h: Factor
    _m: Factor

    @property
    def H(self) -> Array:
        """(I, n), the points h_i."""
        return self._h.points

    @property
    def M(self) -> Array:
        """(J, p), the points m_j."""
        return self._m.points

    @property
    def kink_h(self) -> Mask:
        """(I,), whether G1 has a kink at h_i."""
        return self._h.kinks > 0

    @property
    def kink_m(self) -> Mask:
        """(J,), whether G2 has a kink at m_j."""
        return self._m.kinks > 0

    @property
    def dead(self) -> Mask:
        """(I, J), where G1(h_i) = 0 or G2(m_j) = 0 and the loss is 1/2 ||y0||^2, as on K."""
        return ~np.logical_and.outer(self._h.values.any(axis=1), self._m.values.any(axis=1))

    @cached_property
    def loss(self) -> Array:
        """Loss f = 1/2 ||a*b||^2 - <y0, a*b> + 1/2 ||y0||^2, never below 0."""
        a = self._h.values
        loss = _products(a, a, self._m, weight=0.5)
        loss += self.P.loss_at_zero
        return np.maximum(loss, 0.0, out=loss)

    @cached_property
    def grad_h_norm(self) -> Array:
        """||g1|| with g1 = Lambda1_h^T [(a*b - y0)*b]."""
        return np.sqrt(self._slopes_h[0])

    @cached_property
    def grad_m_norm(self) -> Array:
        """||g2|| with g2 = Lambda2_m^T [(a*b - y0)*a]."""
        return np.sqrt(self._slopes_m[0].T)

    @cached_property
    def along_h(self) -> Array:
        """D_v f along v = (-g1, 0), one-sided: -||g1||^2 where G1 is differentiable."""
        return self._slopes_h[1]

    @cached_property
    def along_m(self) -> Array:
        """D_v f along v = (0, -g2), one-sided: -||g2||^2 where G2 is differentiable."""
        return self._slopes_m[1].T

    @cached_property
    def along_expected_h(self) -> Array:
        """D_v f along v = (-t1, 0), one-sided; along (-t1, -t2) it is the sum of both."""
        return self._along_expected(self._h, self._m, self._radial)

    @cached_property
    def along_expected_m(self) -> Array:
        """D_v f along v = (0, -t2), one-sided; along (-t1, -t2) it is the sum of both."""
        return self._along_expected(self._m, self._h, self._radial.T).T

    @cached_property
    def scale_h(self) -> Array:
        """Natural size of g1, c max(A, B) ||m||: A = ||h|| ||m||, B = ||h0|| ||m0||."""
        return self._scale * self._m.norms

    @cached_property
    def scale_m(self) -> Array:
        """Natural size of g2, c max(A, B) ||h||: A = ||h|| ||m||, B = ||h0|| ||m0||."""
        return self._scale * self._h.norms[:, None]

    @property
    def _c(self) -> float:
        return landscape_scale(self.P.d, self.P.s, self.P.ell, self.alpha)

    @property
    def _scale(self) -> Array:
        B = np.linalg.norm(self.P.h0) * np.linalg.norm(self.P.m0)
        return self._c * np.maximum(np.multiply.outer(self._h.norms, self._m.norms), B)

    @cached_property
    def _radial(self) -> Array:
        """||a*b||^2 - <y0, a*b> = <g1, h> = <g2, m>."""
        return _products(self._h.values, self._h.values, self._m)

    @cached_property
    def _slopes_h(self) -> tuple[Array, Array]:
        return _slopes(self._h, self._m)

    @cached_property
    def _slopes_m(self) -> tuple[Array, Array]:
        return _slopes(self._m, self._h)

    def _along_expected(self, factor: Factor, other: Factor, radial: Array) -> Array:
        """-c [||m||^2 <g1, h> - (m . mtilde0) G1'(h; htilde0) . ((a*b - y0)*b)], here for h.

        -t1 = c [(m . mtilde0) htilde0 - ||m||^2 h].  G1 is homogeneous and m . mtilde0 >= 0, so the
        one-sided derivative of G1 along -t1 is the sum of those along its two terms.
        """
        along = _products(factor.along_tilde, factor.values, other)
        along *= self._c * np.sum(other.points * other.tilde, axis=1)
        along -= self._c * other.norms**2 * radial
        return along


def product_grid(
    P: Demodulation,
    H: ArrayLike,
    M: ArrayLike,
    *,
    side_h: ArrayLike | None = None,
    side_m: ArrayLike | None = None,
    alpha: float = 1.0,
    memory: int = MEMORY,
) -> ProductGrid:
    """Grid (h_i) x (m_j): f, ||g1||, ||g2||, and D_v f along -g1, -g2, -t1, -t2, each (I, J).

    Parameters
    ----------
    H, M : (I, n), (J, p)
        The points of the two axes; each network is evaluated once for each of its points.
    side_h, side_m : (I, n) or (n,), (J, p) or (p,), optional
        Sides w from which the gradients at kinks are limits (eq. 4); see `ProductGrid`.
    alpha : float
        Product of the two last layers' `harness.theory.truncation_alpha`, for t1 and t2.
    memory : int
        Bytes that the grid with all of its properties may take.

    Raises
    ------
    ValueError
        If an axis is empty, is not finite or has points of the wrong length, a side does not fit
        its axis, alpha is not positive, or the grid needs more memory than `memory`.
    """
    H, M = _points("H", H, "n", P.n), _points("M", M, "p", P.p)
    side_h, side_m = _side("side_h", side_h, H), _side("side_m", side_m, M)
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha={alpha}: must be a finite number above 0")
    needed = memory_needed(P, len(H), len(M))
    if needed > memory:
        raise ValueError(
            f"a grid of {len(H)} x {len(M)} points at ell={P.ell} needs {needed / 2**30:.3g} GiB; "
            f"memory={memory} allows {memory / 2**30:.3g} GiB"
        )
    order = np.argsort(P.y0 == 0, kind="stable")
    y = P.y0[order][: np.count_nonzero(P.y0)]
    return ProductGrid(
        P,
        float(alpha),
        evaluate(_permuted(P.G1, order), H, side_h, P.h0, y),
        evaluate(_permuted(P.G2, order), M, side_m, P.m0, y),
    )


def memory_needed(P: Demodulation, rows: int, columns: int) -> int:
    """Upper bound of the bytes of a grid of rows x columns points with all of its properties."""
    widest = max(*P.G1.widths, *P.G2.widths)
    activity = sum(P.G1.widths[1:]) * rows + sum(P.G2.widths[1:]) * columns
    # One item can exceed a block: the gradients of a row, the derivatives at a kink.
    item = 2 * max(P.n, P.p) * widest + max(rows, columns) * (max(P.n, P.p) + 8 * widest)
    numbers = 15 * rows * columns + 6 * P.ell * (rows + columns) + 8 * BLOCK + item
    return 8 * numbers + activity


def _points(name: str, points: ArrayLike, letter: str, size: int) -> Array:
    points = np.array(points, dtype=np.float64, order="C")
    if points.ndim != 2 or points.shape[1] != size or not len(points):
        raise ValueError(
            f"{name} has shape {points.shape}: (number of points >= 1, {letter}={size}) is needed"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{name} of shape {points.shape} has entries that are not finite")
    points.flags.writeable = False
    return points


def _side(name: str, side: ArrayLike | None, points: Array) -> Array | None:
    if side is None:
        return None
    side = np.asarray(side, dtype=np.float64)
    if side.shape not in (points.shape, points.shape[1:]):
        raise ValueError(
            f"{name} has shape {side.shape}: {points.shape} or {points.shape[1:]} is needed"
        )
    if not np.isfinite(side).all():
        raise ValueError(f"{name} of shape {side.shape} has entries that are not finite")
    return np.broadcast_to(side, points.shape)


def _permuted(G: ReluNetwork, order: Index) -> ReluNetwork:
    """The same network with its outputs in another order."""
    return ReluNetwork([*G.weights[:-1], G.weights[-1][order]])


# --- Pairs -----------------------------------------------------------------------------------


def _products(u: Array, a: Array, other: Factor, weight: float = 1.0) -> Array:
    """<u_i, (weight a_i*b_j - y0)*b_j>: (I, ell), (I, ell) -> (I, J)."""
    q, ell = other.y.size, a.shape[1]
    products = np.empty((len(a), len(other.points)))
    for rows in in_blocks(len(a), ell + q):
        left = np.empty((len(a[rows]), ell + q))
        np.multiply(u[rows], a[rows], out=left[:, :ell])
        left[:, :ell] *= weight
        np.multiply(u[rows, :q], -other.y, out=left[:, ell:])
        np.matmul(left, other.stack.T, out=products[rows])
    return products


def _gradients(factor: Factor, points: Index, other: Factor) -> Iterator[tuple[slice, Array]]:
    """Lambda_i^T [(a_i*b_j - y0)*b_j] at the points i, in blocks: a slice of i and (R, n, J).

    Each array is overwritten by the next one.
    """
    q, n, ell, count = factor.y.size, factor.G.widths[0], factor.G.widths[-1], len(other.points)
    blocks = list(in_blocks(points.size, n * (ell + q + count)))
    room = n * (blocks[0].stop if blocks else 0)
    left, g = np.empty((room, ell + q)), np.empty((room, count))
    for rows in blocks:
        i = points[rows]
        left, g = left[: n * i.size], g[: n * i.size]
        columns = left.reshape(i.size, n, ell + q)
        write_columns(factor, i, left[:, :ell])
        y = np.where(factor.active[-1][i, :q], -factor.y, 0.0)
        np.multiply(columns[..., :q], y[:, None], out=columns[..., ell:])
        columns[..., :ell] *= factor.values[i, None]
        np.matmul(left, other.stack.T, out=g)
        yield rows, g.reshape(i.size, n, count)


def _slopes(factor: Factor, other: Factor) -> tuple[Array, Array]:
    """||g||^2 and the derivative of f along -g, g the gradient in `factor`: (I, J).

    If a single unit is at a kink, let w be the gradient of its pre-activation, towards the side
    that g is not on, and v its effect on G: the derivative along u is
    <g, u> + <v, (a*b - y0)*b> max(w.u, 0).  If several are, `ReluNetwork.jvp` gives it.
    """
    square = np.empty((len(factor.points), len(other.points)))
    single = np.flatnonzero(factor.kinks == 1)
    w, v = switch(factor, single)
    beyond = np.empty((single.size, len(other.points)))  # max(w.u, 0) for u = -g
    for rows, g in _gradients(factor, np.arange(len(square)), other):
        np.einsum("inj,inj->ij", g, g, out=square[rows])
        first, last = np.searchsorted(single, [rows.start, rows.stop])
        here = single[first:last] - rows.start
        beyond[first:last] = np.maximum(-np.einsum("in,inj->ij", w[first:last], g[here]), 0.0)
    along = -square
    along[single] += _products(v, factor.values[single], other) * beyond
    several = np.flatnonzero(factor.kinks > 1)
    for rows, g in _gradients(factor, several, other):
        for i, g_i in zip(several[rows], g, strict=True):
            along[i] = _one_sided(factor, i, -g_i.T, other)
    return square, along


def _one_sided(factor: Factor, i: int, u: Array, other: Factor) -> Array:
    """<G'(h_i; u_j), (a_i*b_j - y0)*b_j>, the derivative of f along u_j: (J, n) -> (J,)."""
    q, derivative = factor.y.size, np.empty(len(u))
    for columns in in_blocks(len(u), 4 * max(factor.G.widths)):
        da = factor.G.jvp(factor.points[i], u[columns])[1]
        left = np.concatenate([da * factor.values[i], -da[:, :q] * factor.y], axis=1)
        derivative[columns] = np.einsum("jl,jl->j", left, other.stack[columns])
    return derivative
