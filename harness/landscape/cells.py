"""Starts for the hunt at n = p = 2: candidates for minima in every pair of arcs.

On a pair of arcs a = L1 h and b = L2 m with fixed matrices.  With Y = L1^T diag(y0) L2, (2, 2),
h2 = (h_1^2, h_1 h_2, h_2^2), m2 in the same way, and T the (3, 3) matrix with
sum_j (a_j b_j)^2 = h2^T T m2, the loss minimised over scale is 1/2 ||y0||^2 - N^2 / (2 D), where
N = h^T Y m and D = h2^T T m2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.landscape.arcs import Arcs, direction, linear_arcs
from harness.landscape.kinks import Kink, kinks_at
from harness.landscape.newton import at_best_scale
from harness.landscape.tolerances import ON_KINK, SINGULAR, STATIONARY
from harness.network import ReluNetwork
from harness.problem import Demodulation

Array = NDArray[np.float64]
Start = tuple[Array, Array, list[Kink]]

MOST_PAIRS = 40_000
"""With more pairs of arcs there are no candidates.  Networks of a hundred units reach it."""

SAMPLES = 24
"""Angles of each arc at which slopes are compared."""

END = 1e-5
"""Share of an arc left out at either end, where numerator and denominator may both vanish."""

HALVINGS = 40
"""Bisections of a sign change: 2^-40 of the gap between two samples, which `settle` polishes."""


def cell_starts(P: Demodulation) -> list[Start]:
    """Points (h, m, kinks) near which f may have a minimum, for n = p = 2; at best scale.

    They lie inside pairs of arcs, on kinks of inner layers of one factor, and on kinks of both.
    The list is empty for other n, p and if there are more than `MOST_PAIRS` pairs.
    """
    if (P.n, P.p) != (2, 2):
        return []
    arcs = linear_arcs(P.G1), linear_arcs(P.G2)
    if len(arcs[0].angles) * len(arcs[1].angles) > MOST_PAIRS:
        return []
    theta, phi = _inside(P, *arcs)
    starts = _starts(P, theta, phi)
    kinks1, kinks2 = (
        a.angles[(a.layer > 0) & (a.layer < G.depth)]
        for a, G in zip(arcs, (P.G1, P.G2), strict=True)
    )
    theta, phi = _least_over_other(P.G1, P.G2, P.y0, kinks1, arcs[1])
    starts += _starts(P, theta, phi, sides=(1,))
    phi, theta = _least_over_other(P.G2, P.G1, P.y0, kinks2, arcs[0])
    starts += _starts(P, theta, phi, sides=(2,))
    theta, phi = (g.ravel() for g in np.meshgrid(kinks1, kinks2))
    return starts + _starts(P, theta, phi, sides=(1, 2))


def _starts(P: Demodulation, theta: Array, phi: Array, sides: tuple[int, ...] = ()) -> list[Start]:
    """Points of the torus at (R,) angles, at best scale; those where f falls to a side are dropped.

    sides : factors (1, 2) that are on a kink, whose two sides are tried
    """
    h, m, loss = at_best_scale(P, direction(theta), direction(phi))
    kept = loss < 1
    still = np.zeros_like(h), np.zeros_like(m)
    turned = direction(theta + np.pi / 2), direction(phi + np.pi / 2)
    for factor in sides:
        for sign in (1.0, -1.0):
            v = [sign * turned[k] if k == factor - 1 else still[k] for k in (0, 1)]
            slope = P.directional_derivative(h, m, v[0], v[1])
            size = np.linalg.norm(h, axis=1) / (P.y0 @ P.y0)
            kept &= slope * size >= -STATIONARY
    return [
        (h[k], m[k], [kink for f in sides for kink in _kinks_at(P, f, (h[k], m[k])[f - 1])])
        for k in np.flatnonzero(kept)
    ]


def _kinks_at(P: Demodulation, factor: int, x: Array) -> list[Kink]:
    """The kinks of inner layers of one factor that x (2,) lies on."""
    G = (P.G1, P.G2)[factor - 1]
    return [(factor, *unit) for unit in kinks_at(G, x, ON_KINK) if unit[0] < G.depth]


def _least_over_other(
    G: ReluNetwork, other: ReluNetwork, y0: Array, angles: Array, arcs: Arcs
) -> tuple[Array, Array]:
    """For fixed directions of G, (R,), the minima of f over the other factor inside its arcs.

    On an arc f is quadratic: m = C^-1 c, C = L^T diag(a^2) L, c = L^T (a * y0).  Returns the
    angles of both factors, one pair for each minimum.
    """
    a = G(direction(angles))
    L = other.Lambda(direction(arcs.middle))
    C = np.einsum("kj,ljx,ljy->klxy", a * a, L, L, optimize=True)
    c = np.einsum("kj,ljx->klx", a * y0, L, optimize=True)
    det = C[..., 0, 0] * C[..., 1, 1] - C[..., 0, 1] ** 2
    m = np.stack(
        [
            C[..., 1, 1] * c[..., 0] - C[..., 0, 1] * c[..., 1],
            C[..., 0, 0] * c[..., 1] - C[..., 0, 1] * c[..., 0],
        ],
        axis=-1,
    )
    away = np.arctan2(m[..., 1], m[..., 0]) - arcs.middle
    away = (away + np.pi) % (2 * np.pi) - np.pi
    trace = C[..., 0, 0] + C[..., 1, 1]
    k, arc = np.nonzero((det > SINGULAR * trace**2) & (np.abs(away) <= arcs.length / 2))
    return angles[k], arcs.middle[arc] + away[k, arc]


def _inside(P: Demodulation, arcs1: Arcs, arcs2: Arcs) -> tuple[Array, Array]:
    """Angles of minima inside pairs of arcs, (R,) of h and (R,) of m.

    `_least_over_m` gives the slope, in the angle of h, of the least f over m.  Between two of the
    `SAMPLES` at which this slope changes sign, bisection finds its zero.
    """
    L1, L2 = (G.Lambda(direction(arcs.middle)) for G, arcs in ((P.G1, arcs1), (P.G2, arcs2)))
    Y = np.einsum("kjx,ljy->klxy", L1 * P.y0[:, None], L2, optimize=True)
    T = np.einsum("kjx,ljy->klxy", _squares(L1), _squares(L2), optimize=True)
    places = -(1 - END) * np.cos(np.pi * np.arange(SAMPLES) / (SAMPLES - 1))
    samples = arcs1.middle[:, None] + arcs1.length[:, None] / 2 * places
    rises, _ = _least_over_m(Y[:, :, None], T[:, :, None], samples[:, None, :])
    k, q, i = np.nonzero((rises[..., :-1] > 0) & (rises[..., 1:] < 0))
    low, high, Y, T = samples[k, i], samples[k, i + 1], Y[k, q], T[k, q]
    for _ in range(HALVINGS):
        theta = (low + high) / 2
        rise, _ = _least_over_m(Y, T, theta)
        low, high = np.where(rise > 0, theta, low), np.where(rise > 0, high, theta)
    _, m = _least_over_m(Y, T, low)
    away = np.arctan2(m[..., 1], m[..., 0]) - arcs2.middle[q]
    away = (away + np.pi) % (2 * np.pi) - np.pi
    inside = np.abs(away) <= arcs2.length[q] / 2
    return low[inside], (arcs2.middle[q] + away)[inside]


def _least_over_m(Y: Array, T: Array, theta: Array) -> tuple[Array, Array]:
    """How max over m of N^2/D changes with the angle theta of h, and the maximiser m.

    Y (..., 2, 2), T (..., 3, 3), theta (...) -> a number (...) of the sign of the derivative, and m
    (..., 2).  With D = C_11 m_1^2 + 2 C_12 m_1 m_2 + C_22 m_2^2 and c = Y^T h the maximiser is
    m = adj(C) c.  The number is NaN where C is singular (a line of maximisers) or N = 0.
    """
    h, dh = direction(theta), direction(theta + np.pi / 2)
    h2 = np.stack([h[..., 0] ** 2, h[..., 0] * h[..., 1], h[..., 1] ** 2], axis=-1)
    dh2 = np.stack([-np.sin(2 * theta), np.cos(2 * theta), np.sin(2 * theta)], axis=-1)
    v, c = _times(h2, T), _times(h, Y)
    m = np.stack(
        [
            v[..., 2] * c[..., 0] - v[..., 1] * c[..., 1] / 2,
            v[..., 0] * c[..., 1] - v[..., 1] * c[..., 0] / 2,
        ],
        axis=-1,
    )
    m2 = np.stack([m[..., 0] ** 2, m[..., 0] * m[..., 1], m[..., 1] ** 2], axis=-1)
    singular = 4 * v[..., 0] * v[..., 2] - v[..., 1] ** 2 <= SINGULAR * (v[..., 0] + v[..., 2]) ** 2
    N, D = np.sum(c * m, axis=-1), np.sum(v * m2, axis=-1)
    dN, dD = np.sum(_times(dh, Y) * m, axis=-1), np.sum(_times(dh2, T) * m2, axis=-1)
    rise = 2 * dN * D - dD * N  # the derivative is N / D^2 > 0 times this
    return np.where(singular | (N <= 0), np.nan, rise), m


def _times(x: Array, A: Array) -> Array:
    """x^T A over leading axes: (..., k), (..., k, l) -> (..., l)."""
    return (x[..., None, :] @ A)[..., 0, :]


def _squares(L: Array) -> Array:
    """(R, ell, 2) -> (R, ell, 3): coefficients of (L_j . h)^2 in h_1^2, h_1 h_2, h_2^2."""
    return np.stack([L[..., 0] ** 2, 2 * L[..., 0] * L[..., 1], L[..., 1] ** 2], axis=-1)
