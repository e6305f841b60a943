"""Loss, gradients and one-sided derivatives on a product grid (h_i) x (m_j), by matrix products.

With a_i = G1(h_i) and b_j = G2(m_j), all that is asked of a pair is an inner product
<u_i, (a_i*b_j - y0)*b_j> = <u_i*a_i, b_j*b_j> - <u_i*y0, b_j> with a vector u_i that belongs to
h_i alone: one product of two matrices for the whole grid, the second of its terms over the support
of y0 only.  The loss has u = a/2 and a; the gradient the columns of Lambda_{h_i}; the derivative
along -t1 the one-sided derivative of G1 along htilde0.  The roles of h and m can be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.network import KINK_RTOL, ReluNetwork
from harness.problem import Demodulation
from harness.theory import angle, landscape_scale, xi_zeta

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

BLOCK = 2**21
"""Numbers in the arrays of one step of the work, about: what stays in a cache."""
MEMORY = 4 * 2**30
"""Bytes that a grid with all of its properties may take, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class ProductGrid:
    """The loss and its derivatives on (h_i) x (m_j); `product_grid` makes one.

    Every property is an array (I, J), computed when it is first asked for and then kept.

    Notes
    -----
    The loss and the derivatives are differences of products of the size of ||y0||^2: their absolute
    error is some 1e-16 of ||y0||^2, so that next to the truth, where they are smaller than that,
    no digit is left.  `Demodulation.loss` keeps the digits.

    At a kink (a pre-activation that `ReluNetwork.jvp` takes for zero) the gradients g1, g2 are
    limits from a side: of the gradient at h + t w, t -> 0+, with w the side of that axis (eq. 4).
    Without one the units whose pre-activation is zero are inactive, as in
    `Demodulation.gradients`.

    The paper's g is a gradient and the direction of descent is -g: where f is differentiable the
    derivative along -g1 is -||g1||^2, and only kinks can make it anything else.
    """

    P: Demodulation
    alpha: float
    _h: _Axis
    _m: _Axis

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

    def _along_expected(self, axis: _Axis, other: _Axis, radial: Array) -> Array:
        """-c [||m||^2 <g1, h> - (m . mtilde0) G1'(h; htilde0) . ((a*b - y0)*b)] for the axis of h.

        -t1 = c [(m . mtilde0) htilde0 - ||m||^2 h], and since G1 is homogeneous and the factor of
        htilde0 not negative, the one-sided derivative of G1 along it is the sum of both terms'.
        """
        along = _products(axis.along_tilde, axis.values, other)
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
        The points of the two axes, any points; networks are evaluated once for each.
    side_h, side_m : (I, n) or (n,), (J, p) or (p,), optional
        Sides w from which the gradients at kinks are limits (eq. 4); see `ProductGrid`.
    alpha : float
        Product of the two last layers' `harness.theory.truncation_alpha`, for t1 and t2.
    memory : int
        Bytes that the grid with all of its properties may take.

    Raises
    ------
    ValueError
        If an axis is empty, not finite or of another length than the network's input, a side fits
        its axis not, alpha is not positive, or the grid needs more memory than it may take.
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
        _axis(_permuted(P.G1, order), H, side_h, P.h0, y),
        _axis(_permuted(P.G2, order), M, side_m, P.m0, y),
    )


def memory_needed(P: Demodulation, rows: int, columns: int) -> int:
    """Bytes of a grid of rows x columns points with all of its properties, from above."""
    widest = max(*P.G1.widths, *P.G2.widths)
    activity = sum(P.G1.widths[1:]) * rows + sum(P.G2.widths[1:]) * columns
    # An item of a block can be larger than a block: gradients of a row, derivatives at a kink.
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


def _blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of range(count), about BLOCK numbers each, of items of `size` numbers."""
    step = max(1, BLOCK // size)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


# --- One axis --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Axis:
    """The points of one factor and its network there; outputs in the support of y0 come first.

    points, norms : (I, n), (I,)
    truth : (n,), h0 or m0
    y : (q,), the entries of y0 that are not zero
    values : (I, ell), G at the points
    active : (I, n_k) for each layer, whether a unit is active; at a kink on the side asked for
    kinks : (I,) number of units at a kink; layer, unit : (I,) the last one, layers from 1
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
        """(I, ell + q), b*b and the part of b in the support of y0: the right factor of all."""
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
        for rows in _blocks(len(self.points), max(self.G.widths)):
            derivative[rows] = self.G.jvp(self.points[rows], self.tilde[rows])[1]
        return derivative


def _axis(G: ReluNetwork, points: Array, side: Array | None, truth: Array, y: Array) -> _Axis:
    """One pass through the network; what counts as a kink is as in `ReluNetwork.jvp`.

    A unit without weights, or with inputs that are zero all around the point, has no kink.
    """
    count = len(points)
    values = np.empty((count, G.widths[-1]))
    active = tuple(np.empty((count, width), dtype=np.bool_) for width in G.widths[1:])
    kinks, layer, unit = np.zeros((3, count), dtype=np.int64)
    for rows in _blocks(count, max(G.widths)):
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
    return _Axis(G, points, norms, truth, y, values, active, kinks, layer, unit)


def _small(z: Array, scale: Array, norms: Array) -> tuple[Index, Index]:
    """Row and unit of the |w.x| <= KINK_RTOL ||w|| ||x||."""
    bound = KINK_RTOL * scale * norms.max()
    at, j = np.divmod(np.flatnonzero(np.abs(z) <= bound[:, None]), z.shape[1])
    kink = np.abs(z[at, j]) <= KINK_RTOL * scale[at] * norms[j]
    return at[kink], j[kink]


def _switch(axis: _Axis, rows: Index) -> tuple[Array, Array]:
    """Of points with one unit at a kink: the gradient of its input, and its effect on G.

    (R, n) and (R, ell).  Across the kink Lambda changes by the outer product of the two; the
    gradient is given towards the side that `axis.active` is not on.
    """
    G, layers = axis.G, list(zip(axis.G.weights, axis.active, strict=True))
    gradient, effect = np.empty((rows.size, G.widths[0])), np.zeros((rows.size, G.widths[-1]))
    for k in np.unique(axis.layer[rows]):
        here = axis.layer[rows] == k
        points, unit = rows[here], axis.unit[rows[here]]
        w = np.where(axis.active[k - 1][points, unit], -1.0, 1.0)[:, None] * G.weights[k - 1][unit]
        for W, on in reversed(layers[: k - 1]):
            w = (w * on[points]) @ W
        v = np.zeros((points.size, G.widths[k]))
        v[np.arange(points.size), unit] = 1.0
        for W, on in layers[k:]:
            v = (v @ W.T) * on[points]
        gradient[here], effect[here] = w, v
    return gradient, effect


# --- Pairs -----------------------------------------------------------------------------------


def _products(u: Array, a: Array, other: _Axis, weight: float = 1.0) -> Array:
    """<u_i, (weight a_i*b_j - y0)*b_j>: (I, ell), (I, ell) -> (I, J)."""
    q, ell = other.y.size, a.shape[1]
    products = np.empty((len(a), len(other.points)))
    for rows in _blocks(len(a), ell + q):
        left = np.empty((len(a[rows]), ell + q))
        np.multiply(u[rows], a[rows], out=left[:, :ell])
        left[:, :ell] *= weight
        np.multiply(u[rows, :q], -other.y, out=left[:, ell:])
        np.matmul(left, other.stack.T, out=products[rows])
    return products


def _gradients(axis: _Axis, points: Index, other: _Axis) -> Iterator[tuple[slice, Array]]:
    """Lambda_i^T [(a_i*b_j - y0)*b_j] at the points i, in blocks: slices of them and (R, n, J).

    An array is overwritten by the next one.
    """
    q, n, ell, count = axis.y.size, axis.G.widths[0], axis.G.widths[-1], len(other.points)
    blocks = list(_blocks(points.size, n * (ell + q + count)))
    room = n * (blocks[0].stop if blocks else 0)
    left, g = np.empty((room, ell + q)), np.empty((room, count))
    for rows in blocks:
        i = points[rows]
        left, g = left[: n * i.size], g[: n * i.size]
        columns = left.reshape(i.size, n, ell + q)
        _columns(axis, i, left[:, :ell])
        y = np.where(axis.active[-1][i, :q], -axis.y, 0.0)
        np.multiply(columns[..., :q], y[:, None], out=columns[..., ell:])
        columns[..., :ell] *= axis.values[i, None]
        np.matmul(left, other.stack.T, out=g)
        yield rows, g.reshape(i.size, n, count)


def _columns(axis: _Axis, points: Index, out: Array) -> None:
    """Write Lambda^T at the points to out (R n, ell), with the last layer's units all active."""
    n = axis.G.widths[0]
    *inner, last = axis.G.weights
    product = np.broadcast_to(np.eye(n), (points.size, n, n)).reshape(-1, n)
    for W, on in zip(inner, axis.active, strict=False):
        product = (product @ W.T).reshape(points.size, n, -1) * on[points, None]
        product = product.reshape(-1, W.shape[0])
    np.matmul(product, last.T, out=out)


def _slopes(axis: _Axis, other: _Axis) -> tuple[Array, Array]:
    """||g||^2 and the derivative of f along -g, g the gradient in the factor of `axis`: (I, J).

    Where a single unit is at a kink, with w the gradient of its input towards the side that g is
    not on and v its effect on G, the derivative along u is <g, u> + <v, (a*b - y0)*b> max(w.u, 0).
    Where several are, the network itself is differentiated.
    """
    square = np.empty((len(axis.points), len(other.points)))
    single = np.flatnonzero(axis.kinks == 1)
    w, v = _switch(axis, single)
    beyond = np.empty((single.size, len(other.points)))  # max(w.u, 0) for u = -g
    for rows, g in _gradients(axis, np.arange(len(square)), other):
        np.einsum("inj,inj->ij", g, g, out=square[rows])
        first, last = np.searchsorted(single, [rows.start, rows.stop])
        here = single[first:last] - rows.start
        beyond[first:last] = np.maximum(-np.einsum("in,inj->ij", w[first:last], g[here]), 0.0)
    along = -square
    along[single] += _products(v, axis.values[single], other) * beyond
    several = np.flatnonzero(axis.kinks > 1)
    for rows, g in _gradients(axis, several, other):
        for i, g_i in zip(several[rows], g, strict=True):
            along[i] = _one_sided(axis, i, -g_i.T, other)
    return square, along


def _one_sided(axis: _Axis, i: int, u: Array, other: _Axis) -> Array:
    """<G'(h_i; u_j), (a_i*b_j - y0)*b_j>, the derivative of f along u_j: (J, n) -> (J,)."""
    q, derivative = axis.y.size, np.empty(len(u))
    for columns in _blocks(len(u), 4 * max(axis.G.widths)):
        da = axis.G.jvp(axis.points[i], u[columns])[1]
        left = np.concatenate([da * axis.values[i], -da[:, :q] * axis.y], axis=1)
        derivative[columns] = np.einsum("jl,jl->j", left, other.stack[columns])
    return derivative
