"""The exact search along a ray: f on x + t step, from break to break, to its first minimum.

Between two breaks (values of t at which a unit switches) both networks are linear in t, f is a
quartic and its derivative a cubic.  The search crosses a break as long as f keeps falling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.arrays import Array
from harness.landscape.kinks import Kink, Unit, units
from harness.landscape.tolerances import REAL_ROOT
from harness.network import ReluNetwork, on_kink, relu_jvp
from harness.problem import Demodulation

LONGEST = 2.0
"""Longest search, in steps.  Newton's step aims at t = 1; twice that is room for a minimum that
the curvature underestimates."""

MAX_BREAKS = 100
"""Breaks crossed in one search at most; a search that ends here goes on with the next step."""

BEYOND = 1e-10
"""How far, in steps, a search goes beyond a break at which an active kink changes its row.

Above rounding (1e-16) and below `tolerances.NEAR_KINK`.
"""


def walk(
    P: Demodulation,
    x: Array,
    step: Array,
    active: tuple[Kink, ...],
    slope: float,
    *,
    longest: float = LONGEST,
    max_breaks: int = MAX_BREAKS,
) -> tuple[Array, set[Kink]]:
    """The first local minimum of f on x + t step, 0 < t <= longest, and the kinks that hold it.

    `slope` < 0 is the slope of f at t = 0.  A minimum inside a piece is held by no kink.  A search
    that changes the effective row of an active kink ends there, `BEYOND` the break.
    """
    dh, dm = step[: P.n], step[P.n :]
    kept = units(active, 1), units(active, 2)
    left, at = longest, x
    for k in range(max_breaks):
        one = along_ray(P.G1, at[: P.n], dh, kept[0], kept[0])
        two = along_ray(P.G2, at[P.n :], dm, kept[1], kept[1])
        (a, da), (b, db) = one.values, two.values
        # a*b - y0 = e0 + e1 t + e2 t^2; poly holds the coefficients of df/dt
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
            return at + (end + BEYOND) * step, set()
        at, left = at + end * step, left - end
    return at, set()


@dataclass(frozen=True, eq=False)
class Ray:
    """One network on x + t u, t >= 0.

    Attributes
    ----------
    values : G and its one-sided derivative at t = 0, each (ell,)
    first, layer : the first break t > 0 (infinity if there is none) and the layer of its unit
    zero : units of inner layers that are on a kink at t = 0 and leave it
    """

    values: tuple[Array, Array]
    first: float
    layer: int
    zero: list[Unit]


def along_ray(G: ReluNetwork, x: Array, u: Array, at_zero: list[Unit], kept: list[Unit]) -> Ray:
    """One network on x + t u, t >= 0; its units `at_zero` are on kinks, those `kept` stay there."""
    first, at, zero = np.inf, 0, []
    for layer, (W, norms) in enumerate(zip(G.weights, G.row_norms, strict=True), start=1):
        z, dz = np.stack([x, u]) @ W.T
        z[[j for i, j in at_zero if i == layer]] = 0.0
        dz[[j for i, j in kept if i == layer]] = 0.0
        kink = on_kink(z, x, norms)
        if layer < G.depth:
            zero += [(layer, int(j)) for j in np.flatnonzero(kink & (dz != 0))]
        turns = np.flatnonzero(~kink & (z * dz < 0))
        if turns.size:
            t = float(np.min(-z[turns] / dz[turns]))
            if t < first:
                first, at = t, layer
        x, u = relu_jvp(z, dz, kink)
    return Ray((x, u), first, at, zero)


def _first_minimum(poly: Array, end: float) -> float:
    """Smallest root in (0, end) of the cubic c0 + c1 t + c2 t^2 + c3 t^3 with c0 < 0, else end."""
    c0, c1, c2, c3 = poly
    rises_only = min(c1, c2, c3) >= 0
    if rises_only and c0 + end * (c1 + end * (c2 + end * c3)) < 0:
        return end
    roots = np.roots(poly[::-1])
    real = roots.real[(np.abs(roots.imag) <= REAL_ROOT * np.abs(roots)) & (roots.real > 0)]
    return float(min(real.min(initial=np.inf), end))
