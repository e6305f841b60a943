"""From a point to a stationary point of f exactly, kinks of inner layers included.

A kink (factor, layer, unit) of the active set is kept: its pre-activation stays 0.  On the set of
all points that keep the active kinks f is smooth within a linear piece, and one Newton step is
followed by an exact search along the step, from break to break of the piecewise quartic (`walk`):

- the search crosses a break as long as f keeps falling; where f would rise beyond it, the unit's
  kink joins the active set.  This never happens at a kink of the last layer, where the slope jumps
  by -y_j b_j |w_j.v| <= 0;
- where the gradient along the active kinks vanishes, the point leaves each kink to the side on
  which f falls, if there is one.  With the other kinks kept, D_u f >= 0 on both sides of each kink
  means D_u f >= 0 everywhere, as D f is linear on each orthant of the kinks' pre-activations.

If this sounds like word soup, here is the picture.  f is a landscape of smooth hills, folded along
straight creases.  A ball that rolls down stops in a dent, or in the bottom of a crease, where
ordinary gradient or Newton steps only bounce from one side to the other.  So we roll along the
creases instead: when a step down is stopped by a crease, we stay in it and from then on move only
along it (one dimension less).  When the ball rests, we look to both sides of each crease that it
is in.  If the ground falls on one side, we step out of the crease and roll on; if not, we have
found a dent, up to the tolerances.  This is the active-set method of constrained optimisation, with
creases in the place of constraints.

The constants below, those of `walk` and `tolerances.NEAR_KINK` are chosen by hand, for the reason
given with each, and no result hangs on their exact values.  Three hunts (n = p = 2, n = p = 3, and
integer weights; 153 points) found the same points of the same kinds with each of them, and each
tolerance used here, ten times smaller and ten times larger (`JUMP`: half and double; the budgets
`MAX_STEPS`, `MAX_BREAKS` and `LONGEST` were not varied).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.arrays import Array
from harness.landscape.kinds import SADDLES, Kind
from harness.landscape.kinks import Kink, Unit, kinks_at, linear_piece, units
from harness.landscape.newton import FLOOR, TRUST, quadratic_model, relative_gradient
from harness.landscape.tolerances import CONVERGED, FLAT, ON_K, PARALLEL, RANK, STATIONARY
from harness.landscape.walk import along_ray, walk
from harness.network import ReluNetwork
from harness.problem import Demodulation

MAX_STEPS = 100
"""Newton steps at most.  A descent that needs more wanders along a flat valley."""

NEAR = 1e-6
"""Relative gradient below which no step is taken without looking for breaks.

Close to a kink the shortcut of `JUMP` could jump to and fro across it; a converging descent has
some two steps left at this gradient, so that the exact search costs little.
"""

JUMP = 0.2
"""A step that lowers f by this share of slope x step is taken without looking for breaks.

Newton's step on a quadratic gives 0.5; Armijo's rule would ask for 1e-4.  It saves time and decides
nothing else: a step that fails is searched exactly.
"""

NUDGE = 1e-9
"""How far a point is put from a kink that it leaves, relative to its length.

Beyond the rounding of its pre-activation (`tolerances.ON_KINK`), and no farther than a converged
point may be from a kink that it is on (`tolerances.NEAR_KINK`).
"""

SADDLE_STEP = 1e-3
"""Step down from a saddle, relative to the length of the point.

f falls by about 1e-6 of the curvature, far above rounding, and the quadratic model still holds.
"""


@dataclass(frozen=True, eq=False)
class Spot:
    """A stationary point (h, m), balanced, with the kinks that it lies on.

    Attributes
    ----------
    kind : minimum, saddle, kink minimum, kink saddle (with kinks) or degenerate.
    residual : relative gradient along the kinks, or rate at which f falls to the side of a kink,
        whichever is larger.
    """

    h: Array
    m: Array
    kinks: tuple[Kink, ...]
    kind: Kind
    residual: float


@dataclass(frozen=True, eq=False)
class _Piece:
    """The quadratic model of f at x = (h, m) on the active kinks.

    Attributes
    ----------
    L : Lambda of both networks
    rows : effective rows of the active kinks, of h and of m
    g : (n + p,) gradient of the piece
    Z : (n + p, k) orthonormal basis of the directions that keep the kinks and leave the orbit
    values, vectors : eigenvalues and eigenvectors of Z^T H Z, ascending
    loss, gradient : f, and the relative size of Z^T g
    independent : whether the kinks, less those parallel to another, have independent rows
    """

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
    max_steps: int = MAX_STEPS,
    stay: bool = False,
) -> list[Spot]:
    """Stationary points met by active-set Newton descent from (n,), (p,); the last one ends it.

    Parameters
    ----------
    kinks : active at the start; the point is moved onto them.
    max_steps : largest number of Newton steps; a descent that needs more is cut off, and only the
        points met until then are returned.
    stay : end at the first stationary point, saddle or not; by default the descent goes on from a
        saddle to a minimum.
    """
    active = tuple(sorted(set(kinks)))
    x = np.concatenate([h, m])
    found: list[Spot] = []
    before = np.inf
    for _ in range(max_steps):
        piece = _piece(P, x, active)
        if piece is None:
            break
        active = _alive(piece, active)
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
        if stay or found[-1].kind not in SADDLES:
            break
        x = _leave_saddle(P, piece)
    return found


def split(P: Demodulation, x: Array) -> tuple[Array, Array]:
    """The factors h, m of x = (h, m)."""
    return x[..., : P.n], x[..., P.n :]


# One linear piece


def _piece(P: Demodulation, x: Array, active: tuple[Kink, ...]) -> _Piece | None:
    """The piece at x, after moving x onto its active kinks and balancing it.

    None if x is in K (`ON_K`) or the kinks leave no direction to move in.
    """
    h, L1, R1 = _on_kinks(P.G1, x[: P.n], units(active, 1))
    m, L2, R2 = _on_kinks(P.G2, x[P.n :], units(active, 2))
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


def _alive(piece: _Piece, active: tuple[Kink, ...]) -> tuple[Kink, ...]:
    """The active kinks without those of units that are dead around the point (row zero)."""
    rows = [*piece.rows[0], *piece.rows[1]]
    return tuple(kink for kink, row in zip(active, rows, strict=True) if row.any())


def _on_kinks(G: ReluNetwork, x: Array, kinks: list[Unit]) -> tuple[Array, Array, Array]:
    """x (n,) projected onto kinks that it misses by little; Lambda and the kinks' rows there."""
    L, R = linear_piece(G, x, kinks)
    if kinks:
        x = x - np.linalg.lstsq(R, R @ x, rcond=None)[0]
    return x, L, R


def _keeping(R1: Array, R2: Array, h: Array, m: Array) -> Array:
    """Orthonormal directions (n + p, k) orthogonal to the kinks' rows and to the orbit."""
    R = np.zeros((len(R1) + len(R2) + 1, h.size + m.size))
    R[: len(R1), : h.size] = R1
    R[len(R1) : -1, h.size :] = R2
    R[-1] = np.concatenate([h, -m])
    size = np.linalg.norm(R, axis=1, keepdims=True)
    _, singular, vh = np.linalg.svd(np.divide(R, size, out=np.zeros_like(R), where=size > 0))
    return vh[int(np.sum(singular > RANK)) :].T


def _distinct(R: Array) -> int:
    """Number of rows that are neither zero nor a multiple of an earlier row."""
    return sum(bool(R[k].any()) and not _parallel(R[: k + 1], k)[:k].any() for k in range(len(R)))


def _newton_step(piece: _Piece) -> Array:
    """-Z |Z^T H Z|^-1 Z^T g, shortened to `TRUST` ||x||."""
    size = np.abs(piece.values)
    size = np.maximum(size, FLOOR * size.max())
    size = np.where(size > 0, size, 1.0)
    step = -piece.Z @ (piece.vectors @ ((piece.g @ piece.Z @ piece.vectors) / size))
    longest = TRUST * float(np.linalg.norm(piece.x))
    return step * (longest / max(float(np.linalg.norm(step)), longest))


def _leave_saddle(P: Demodulation, piece: _Piece) -> Array:
    """A point down the direction of most negative curvature, by `SADDLE_STEP` ||x||."""
    down = SADDLE_STEP * np.linalg.norm(piece.x) * (piece.Z @ piece.vectors[:, 0])
    two = np.stack([piece.x + down, piece.x - down])
    return two[int(np.argmin(P.loss(two[:, : P.n], two[:, P.n :])))]


# First-order condition at the active kinks


def _steepest_side(
    P: Demodulation, at: Array, kinks: tuple[Kink, ...]
) -> tuple[float, tuple[Kink, Array] | None]:
    """Least relative slope of f to a side of one kink, with the others kept; that kink and ray.

    The relative slope along a ray is D_ray f ||x|| / (||y0||^2 ||ray||).
    """
    worst, side = np.inf, None
    x, still = split(P, at), (np.zeros(P.n), np.zeros(P.p))
    own = units(kinks, 1), units(kinks, 2)
    (L1, R1), (L2, R2) = linear_piece(P.G1, x[0], own[0]), linear_piece(P.G2, x[1], own[1])
    a, b = L1 @ x[0], L2 @ x[1]
    e = a * b - P.y0
    for f, (G, R, other) in enumerate(((P.G1, R1, b), (P.G2, R2, a))):
        for k, u, kept in _rays(G, x[f], own[f], R):
            da = along_ray(G, x[f], u, own[f], kept).values[1]
            slope = float(e @ (da * other)) / float(np.linalg.norm(u) * (P.y0 @ P.y0))
            if slope < worst:
                ray = np.concatenate([u if j == f else still[j] for j in (0, 1)])
                worst, side = slope, ((f + 1, *own[f][k]), ray)
    return worst * float(np.linalg.norm(at)), side


def _rays(
    G: ReluNetwork, x: Array, own: list[Unit], R: Array
) -> Iterator[tuple[int, Array, list[Unit]]]:
    """For each kink k of one factor and each side: k, the direction that leaves k and keeps the
    others, and the kinks that it keeps.

    Kinks parallel to k are left with it.  Where a unit becomes active on the way out, the effective
    rows of kinks in later layers change, and the direction is computed from the new rows.
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
    """For each row of R the factor c with row = c R[k] if there is one, else 0; R[k] not zero."""
    norms = np.linalg.norm(R, axis=1)
    overlap = R @ R[k]
    together = np.abs(overlap) >= (1 - PARALLEL) * norms * norms[k]
    return np.where(together, overlap / norms[k] ** 2, 0.0)


def _spot(
    P: Demodulation, piece: _Piece, active: tuple[Kink, ...], near: set[Kink], slope: float
) -> Spot:
    """The stationary point and its kind; `slope` is the least relative slope to a side of a kink.

    A slope counts as positive if it exceeds `FLAT` and the residual of the point.
    """
    least = min(_least_curvature(values) for values in _curvatures(P, piece, active, near))
    if least < -FLAT:
        kind = Kind.KINK_SADDLE if active else Kind.SADDLE
    elif least <= FLAT or slope <= max(FLAT, piece.gradient) or not piece.independent:
        kind = Kind.DEGENERATE
    else:
        kind = Kind.KINK_MINIMUM if active else Kind.MINIMUM
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
    """Eigenvalues of the Hessians of f at the point: of its piece, and of pieces beyond kinks.

    At the kink of a unit that feeds only entries with e = 0 the slope does not jump, so the kink is
    not active, but the curvature may jump: the Hessians of both sides count.  A side on which the
    gradient is not zero does not count: f rises from the kink there.
    """
    if not near - set(active):
        return [piece.values]
    h, m = split(P, piece.x)
    kinks = sorted(near | set(active))
    values = [piece.values]
    for on in ((), tuple(near - set(active))):
        L1, _ = linear_piece(P.G1, h, units(kinks, 1), units(on, 1))
        L2, _ = linear_piece(P.G2, m, units(kinks, 2), units(on, 2))
        _, g, H = quadratic_model(P, L1, L2, h, m)
        if float(relative_gradient(P, g @ piece.Z, piece.x)) <= STATIONARY:
            values.append(np.linalg.eigh(piece.Z.T @ H @ piece.Z)[0])
    return values


def _near_kinks(P: Demodulation, x: Array) -> set[Kink]:
    """The kinks that a converged point x = (h, m) lies on, whether they are active or not."""
    return {
        (factor, *unit)
        for factor, (G, part) in enumerate(zip((P.G1, P.G2), split(P, x), strict=True), start=1)
        for unit in kinks_at(G, part)
    }
