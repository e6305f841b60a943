"""From a point to a stationary point of f exactly, kinks of inner layers included.

A kink (factor, layer, unit) of the active set is kept: its pre-activation stays 0.  On the set of
all points that keep the active kinks f is smooth within a linear piece, and one Newton step is
followed by an exact search along the step, from break to break of the piecewise quartic:

- the search crosses a break as long as f keeps falling; where it would rise the unit's kink joins
  the active set.  This never happens at a kink of the last layer, where the slope jumps by
  -y_j b_j |w_j.v| <= 0;
- where the gradient along the active kinks vanishes, each of them is left to the side on which
  f falls, if there is one: with the other kinks kept, D_u f >= 0 on both sides of each one means
  D_u f >= 0 everywhere, D f being linear on each orthant of the kinks' pre-activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.landscape.newton import FLAT, TRUST, quadratic_model, relative_gradient
from harness.network import ReluNetwork, relu_jvp
from harness.problem import Demodulation

Array = NDArray[np.float64]
Kink = tuple[int, int, int]
"""(factor 1 or 2, layer from 1, unit from 0)."""
Unit = tuple[int, int]
"""(layer, unit) of a factor that the context names."""

ON_KINK = 1e-12
"""A pre-activation below this share of its layer's largest is zero in a search along a ray."""

AT_KINK = 1e-9
"""The same share for a stationary point, which is found with an error."""

CONVERGED = 1e-13
"""Relative gradient along the kinks at which Newton's method stops."""

STATIONARY = 1e-9
"""Largest relative gradient of a point that is reported, and least slope that counts."""

NEAR = 1e-6
"""Relative gradient below which no step is taken without looking for breaks."""

JUMP = 0.2
"""Share of slope x step by which f has to fall for breaks on the way to be ignored."""

ON_K = 1e-11
"""1 - 2 f / ||y0||^2 below which a point counts as one of K."""

RANK = 1e-9
"""Least singular value of unit rows that are independent."""

NUDGE = 1e-9
"""How far a point is put from a kink that it leaves, relative to its length."""


@dataclass(frozen=True, eq=False)
class Spot:
    """A stationary point (h, m), balanced, with the kinks that it lies on.

    kind : "minimum", "saddle", "degenerate", or with kinks "kink minimum", "kink saddle".
    residual : the relative gradient along the kinks, or how fast f falls to the side of a kink.
    """

    h: Array
    m: Array
    kinks: tuple[Kink, ...]
    kind: str
    residual: float


@dataclass(frozen=True, eq=False)
class _Piece:
    """Derivatives at x = (h, m) on the active kinks; Z spans the directions that keep them."""

    x: Array
    L: tuple[Array, Array]
    rows: tuple[Array, Array]
    g: Array
    Z: Array
    values: Array
    vectors: Array
    loss: float
    gradient: float
    independent: bool


def settle(
    P: Demodulation,
    h: Array,
    m: Array,
    kinks: Iterable[Kink] = (),
    *,
    max_steps: int = 100,
    stay: bool = False,
) -> list[Spot]:
    """Stationary points met by active-set Newton descent from (n,), (p,); the last one ends it.

    Parameters
    ----------
    kinks : active at the start; the point is moved onto them.
    max_steps : Newton steps at the most; a descent that has not ended by then gives nothing more.
    stay : end at the first stationary point, saddle or not; by default f is followed downhill
        from a saddle to a minimum.
    """
    active = tuple(sorted(set(kinks)))
    x = np.concatenate([h, m])
    found: list[Spot] = []
    before = np.inf
    for _ in range(max_steps):
        piece = _piece(P, x, active)
        if piece is None:
            break
        x, stuck = piece.x, piece.gradient > before / 2
        before = piece.gradient
        if piece.gradient > CONVERGED and not (stuck and piece.gradient <= STATIONARY):
            step = _newton_step(piece)
            slope = float(piece.g @ step)
            if piece.gradient > NEAR and P.loss(*split(P, x + step)) <= piece.loss + JUMP * slope:
                x = x + step
                continue
            x, hit = walk(P, x, step, active, slope)
            active = tuple(sorted({*active, *hit}))
            before = np.inf if hit else before
            continue
        near = _near_kinks(P, x)
        slope, side = _steepest_side(P, x, tuple(sorted({*active, *near})))
        before = np.inf
        if slope < -STATIONARY and side is not None:
            kink, ray = side
            active = tuple(k for k in active if k != kink)
            x = x + NUDGE * np.linalg.norm(x) / np.linalg.norm(ray) * ray
            continue
        found.append(_spot(P, piece, active, near, slope))
        if stay or not found[-1].kind.endswith("saddle"):
            break
        x = _leave_saddle(P, piece)
    return found


def split(P: Demodulation, x: Array) -> tuple[Array, Array]:
    """The factors h, m of x = (h, m)."""
    return x[..., : P.n], x[..., P.n :]


# One linear piece


def _piece(P: Demodulation, x: Array, active: tuple[Kink, ...]) -> _Piece | None:
    """The piece at x moved onto its active kinks and balanced; None where f is that of K."""
    h, L1, R1 = _on_kinks(P.G1, x[: P.n], _units(active, 1))
    m, L2, R2 = _on_kinks(P.G2, x[P.n :], _units(active, 2))
    size = float(np.linalg.norm(h)), float(np.linalg.norm(m))
    if min(size) == 0 or not np.isfinite(size).all():
        return None
    c = np.sqrt(size[0] / size[1])
    h, m = h / c, m * c
    loss, g, H = quadratic_model(P, L1, L2, h, m)
    Z = _keeping(R1, R2, h, m)
    if loss >= (1 - ON_K) * P.loss_at_zero or Z.shape[1] == 0:
        return None
    x = np.concatenate([h, m])
    values, vectors = np.linalg.eigh(Z.T @ H @ Z)
    gradient = float(relative_gradient(P, g @ Z, x))
    independent = x.size - 1 - Z.shape[1] == _distinct(R1) + _distinct(R2)
    return _Piece(x, (L1, L2), (R1, R2), g, Z, values, vectors, float(loss), gradient, independent)


def _units(active: Iterable[Kink], factor: int) -> list[Unit]:
    return [(layer, unit) for number, layer, unit in active if number == factor]


def _on_kinks(G: ReluNetwork, x: Array, kinks: list[Unit]) -> tuple[Array, Array, Array]:
    """The nearest point on kinks that x (n,) misses by little, Lambda and the kinks' rows there."""
    L, R = linear_piece(G, x, kinks)
    if kinks:
        x = x - np.linalg.lstsq(R, R @ x, rcond=None)[0]
    return x, L, R


def _keeping(R1: Array, R2: Array, h: Array, m: Array) -> Array:
    """Orthonormal directions (n + p, K) orthogonal to the kinks' rows and to the orbit."""
    R = np.zeros((len(R1) + len(R2) + 1, h.size + m.size))
    R[: len(R1), : h.size] = R1
    R[len(R1) : -1, h.size :] = R2
    R[-1] = np.concatenate([h, -m])
    size = np.linalg.norm(R, axis=1, keepdims=True)
    _, singular, vh = np.linalg.svd(np.divide(R, size, out=np.zeros_like(R), where=size > 0))
    return vh[int(np.sum(singular > RANK)) :].T


def _distinct(R: Array) -> int:
    """Number of rows of which no earlier one is a multiple."""
    return sum(not _parallel(R[: k + 1], k)[:k].any() for k in range(len(R)))


def linear_piece(
    G: ReluNetwork,
    x: Array,
    kinks: list[Unit],
    on: Iterable[Unit] = (),
) -> tuple[Array, Array]:
    """Lambda (ell, n) at x (n,) and the effective rows (K, n) of K kinks (layer, unit), sorted.

    The kinks' units are inactive but for those in `on`.
    """
    pre, rows = G.weights[0], []
    on = set(on)
    for layer, W in enumerate(G.weights, start=1):
        if layer > 1:
            pre = W @ pre
        active = pre @ x > 0
        for kink in kinks:
            if kink[0] == layer:
                rows.append(pre[kink[1]])
                active[kink[1]] = kink in on
        pre = np.where(active[:, None], pre, 0.0)
    return pre, np.array(rows).reshape(len(kinks), x.size)


def _newton_step(piece: _Piece) -> Array:
    """-Z |Z^T H Z|^-1 Z^T g, shortened to `TRUST` ||x||."""
    size = np.abs(piece.values)
    size = np.maximum(size, FLAT * size.max())
    size = np.where(size > 0, size, 1.0)
    step = -piece.Z @ (piece.vectors @ ((piece.g @ piece.Z @ piece.vectors) / size))
    longest = TRUST * float(np.linalg.norm(piece.x))
    return step * (longest / max(float(np.linalg.norm(step)), longest))


def _leave_saddle(P: Demodulation, piece: _Piece) -> Array:
    """A point a thousandth of ||x|| down the direction of most negative curvature."""
    down = 1e-3 * np.linalg.norm(piece.x) * (piece.Z @ piece.vectors[:, 0])
    two = np.stack([piece.x + down, piece.x - down])
    return two[int(np.argmin(P.loss(two[:, : P.n], two[:, P.n :])))]


# First-order condition at the active kinks


def _steepest_side(
    P: Demodulation, at: Array, kinks: tuple[Kink, ...]
) -> tuple[float, tuple[Kink, Array] | None]:
    """Least relative slope of f to a side of one kink, the others kept, and that kink and ray.

    A slope at x is relative if multiplied by ||x|| / (||y0||^2 ||ray||).
    """
    worst, side = np.inf, None
    x, still = split(P, at), (np.zeros(P.n), np.zeros(P.p))
    own = _units(kinks, 1), _units(kinks, 2)
    (L1, R1), (L2, R2) = linear_piece(P.G1, x[0], own[0]), linear_piece(P.G2, x[1], own[1])
    a, b = L1 @ x[0], L2 @ x[1]
    e = a * b - P.y0
    for f, (G, R, other) in enumerate(((P.G1, R1, b), (P.G2, R2, a))):
        for k, u, kept in _rays(G, x[f], own[f], R):
            da = _ray(G, x[f], u, own[f], kept).values[1]
            slope = float(e @ (da * other)) / float(np.linalg.norm(u) * (P.y0 @ P.y0))
            if slope < worst:
                ray = np.concatenate([u if j == f else still[j] for j in (0, 1)])
                worst, side = slope, ((f + 1, *own[f][k]), ray)
    return worst * float(np.linalg.norm(at)), side


def _rays(
    G: ReluNetwork, x: Array, own: list[Unit], R: Array
) -> Iterator[tuple[int, Array, list[Unit]]]:
    """For each kink k of one factor and side: direction that keeps the others, and those kept.

    Kinks parallel to k move with it.  Where a unit becomes active, the rows of kinks in later
    layers are others than R.
    """
    dual = np.linalg.pinv(R)
    for k, (layer, _) in enumerate(own):
        together = _parallel(R, k)
        kept = [unit for unit, c in zip(own, together, strict=True) if c == 0]
        for sign in (1.0, -1.0):
            basis = dual
            on = [unit for unit, c in zip(own, together, strict=True) if c * sign > 0]
            if on and any(unit[0] > layer for unit in own):
                basis = np.linalg.pinv(linear_piece(G, x, own, on)[1])
            yield k, basis @ (sign * together), kept


def _parallel(R: Array, k: int) -> Array:
    """For each row of R its factor of row k if they are parallel, else 0."""
    norms = np.linalg.norm(R, axis=1)
    overlap = R @ R[k]
    together = np.abs(overlap) >= (1 - 1e-12) * norms * norms[k]
    return np.where(together, overlap / norms[k] ** 2, 0.0)


def _spot(
    P: Demodulation, piece: _Piece, active: tuple[Kink, ...], near: set[Kink], slope: float
) -> Spot:
    least = min(_least_curvature(values) for values in _curvatures(P, piece, active, near))
    if least < -FLAT:
        kind = "saddle"
    elif least <= FLAT or slope <= STATIONARY or not piece.independent:
        kind = "degenerate"
    else:
        kind = "minimum"
    if active and kind != "degenerate":
        kind = f"kink {kind}"
    residual = max(piece.gradient, -min(slope, 0.0))
    h, m = split(P, piece.x)
    return Spot(h, m, active, kind, residual)


def _least_curvature(values: Array) -> float:
    """The least eigenvalue relative to the largest one; 0 if all are."""
    largest = float(np.abs(values).max())
    return float(values.min()) / largest if largest > 0 else 0.0


def _curvatures(
    P: Demodulation, piece: _Piece, active: tuple[Kink, ...], near: set[Kink]
) -> list[Array]:
    """Eigenvalues of the Hessian, and of those beyond the kinks `near` that f's slope does not see.

    At a unit that wakes only entries with e = 0 the slope does not jump but the curvature may:
    there both sides count.  Where the gradient beyond is not zero it points back to the kink.
    """
    if not near - set(active):
        return [piece.values]
    h, m = split(P, piece.x)
    kinks = sorted(near | set(active))
    values = [piece.values]
    for on in ((), tuple(near - set(active))):
        L1, _ = linear_piece(P.G1, h, _units(kinks, 1), _units(on, 1))
        L2, _ = linear_piece(P.G2, m, _units(kinks, 2), _units(on, 2))
        _, g, H = quadratic_model(P, L1, L2, h, m)
        if float(relative_gradient(P, g @ piece.Z, piece.x)) <= STATIONARY:
            values.append(np.linalg.eigh(piece.Z.T @ H @ piece.Z)[0])
    return values


def _near_kinks(P: Demodulation, x: Array) -> set[Kink]:
    """Units whose pre-activation at x is zero but for the error of a converged point.

    Not counted are units that stay at zero around x, unless another one of these wakes them.
    """
    kinks: set[Kink] = set()
    for factor, (G, part) in enumerate(zip((P.G1, P.G2), split(P, x), strict=True), start=1):
        rows = np.eye(part.size)
        for layer, W in enumerate(G.weights, start=1):
            rows = W @ rows
            z, sizes = rows @ part, np.linalg.norm(rows, axis=1)
            near = np.abs(z) <= AT_KINK * np.linalg.norm(part) * sizes
            alive = sizes > AT_KINK * sizes.max()
            kinks |= {(factor, layer, int(j)) for j in np.flatnonzero(near & alive)}
            rows = np.where(((z > 0) & ~near)[:, None], rows, 0.0)
    return kinks


# Search along a ray


def walk(
    P: Demodulation,
    x: Array,
    step: Array,
    active: tuple[Kink, ...],
    slope: float,
    *,
    longest: float = 2.0,
    max_breaks: int = 100,
) -> tuple[Array, set[Kink]]:
    """The first local minimum of f on x + t step, 0 < t <= longest, and the kinks that hold it.

    `slope` < 0 is f's slope at t = 0.  A minimum inside a piece is held by none.  A search that
    changes the effective row of an active kink ends there, a little beyond the break.
    """
    dh, dm = step[: P.n], step[P.n :]
    kept = _units(active, 1), _units(active, 2)
    left, at = longest, x
    for k in range(max_breaks):
        one = _ray(P.G1, at[: P.n], dh, kept[0], kept[0])
        two = _ray(P.G2, at[P.n :], dm, kept[1], kept[1])
        (a, da), (b, db) = one.values, two.values
        e0, e1, e2 = a * b - P.y0, da * b + a * db, da * db
        poly = np.array([e0 @ e1, e1 @ e1 + 2 * (e0 @ e2), 3 * (e1 @ e2), 2 * (e2 @ e2)])
        if k == 0:
            poly[0] = slope
        elif poly[0] >= 0:
            return at, {(1, *unit) for unit in one.zero} | {(2, *unit) for unit in two.zero}
        end = min(one.first, two.first)
        t = _first_minimum(poly, min(end, left))
        if t < end:
            return at + t * step, set()
        layer, factor = (one.layer, 1) if one.first <= two.first else (two.layer, 2)
        if any(kink[0] == factor and kink[1] > layer for kink in active):
            return at + (end + 1e-10) * step, set()
        at, left = at + end * step, left - end
    return at, set()


@dataclass(frozen=True, eq=False)
class _Ray:
    """G and its one-sided derivative at the start, the first break and the kinks of the start."""

    values: tuple[Array, Array]
    first: float
    layer: int
    zero: list[Unit]


def _ray(G: ReluNetwork, x: Array, u: Array, at_zero: list[Unit], kept: list[Unit]) -> _Ray:
    """One network on x + t u, t >= 0; its units `at_zero` are on kinks, those `kept` stay there."""
    first, at, zero = np.inf, 0, []
    for layer, W in enumerate(G.weights, start=1):
        z, dz = np.stack([x, u]) @ W.T
        z[[j for i, j in at_zero if i == layer]] = 0.0
        dz[[j for i, j in kept if i == layer]] = 0.0
        kink_here = np.abs(z) <= ON_KINK * np.abs(z).max()
        if layer < G.depth:
            zero += [(layer, int(j)) for j in np.flatnonzero(kink_here & (dz != 0))]
        turns = np.flatnonzero(~kink_here & (z * dz < 0))
        if turns.size:
            t = float(np.min(-z[turns] / dz[turns]))
            if t < first:
                first, at = t, layer
        x, u = relu_jvp(z, dz, kink_here)
    return _Ray((x, u), first, at, zero)


def _first_minimum(poly: Array, end: float) -> float:
    """Smallest root in (0, end) of the cubic c0 + c1 t + c2 t^2 + c3 t^3 with c0 < 0, else end."""
    c0, c1, c2, c3 = poly
    rises_only = min(c1, c2, c3) >= 0
    if rises_only and c0 + end * (c1 + end * (c2 + end * c3)) < 0:
        return end
    roots = np.roots(poly[::-1])
    real = roots.real[(np.abs(roots.imag) <= 1e-12 * np.abs(roots)) & (roots.real > 0)]
    return float(min(real.min(initial=np.inf), end))
