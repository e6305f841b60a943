"""Where the expected directions -t1, -t2 descend, and how far from the hyperbolas they do not.

`expected_fails` answers for all pairs of a product grid; `reach` measures how far the failures are
from the four hyperbolas; `steepest` chooses planes in which failures are likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.arrays import Array, Bools
from harness.landscape.grid import ProductGrid
from harness.problem import BRANCHES, Demodulation
from harness.theory import expected_gradients

SCALES = np.geomspace(0.25, 4, 13)
"""Multiples of a hyperbola's balanced point that bound the distance to it from above."""


def signed(degrees: Sequence[float]) -> Array:
    """The angles in degrees and their negatives, sorted; 0 and 180 once."""
    return np.unique([*degrees, *(-angle for angle in degrees if 0 < angle < 180)])


def steepest(P: Demodulation, rng: np.random.Generator) -> tuple[Array, Array]:
    """Gradients (n,), (p,) of f on the predicted hyperbola of (-h0, -m0); random if zero.

    A little noise keeps them from being parallel to h0 and m0.
    """
    hb, mb = P.hyperbola((-1, -1))
    gradients = P.gradients(*((hb, mb) if hb.any() and mb.any() else (-P.h0, -P.m0)))
    g1, g2 = (1e3 * g / (np.linalg.norm(g) or 1.0) for g in gradients)
    return rng.standard_normal(P.n) + g1, rng.standard_normal(P.p) + g2


def cosines_with_expected(P: Demodulation, h: Array, m: Array) -> tuple[Array, Array]:
    """Cosines (K,), (K,) of g1 with t1 and of g2 with t2 at (K, n), (K, p); 0 for zero vectors."""
    gradients = P.gradients(h, m)
    expected = expected_gradients(h, m, P.h0, P.m0, d=P.d, s=P.s, ell=P.ell)
    of_h, of_m = (_cosine(g, t) for g, t in zip(gradients, expected, strict=True))
    return of_h, of_m


def _cosine(a: Array, b: Array) -> Array:
    sizes = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.sum(a * b, axis=-1) / np.maximum(sizes, np.finfo(float).tiny)


def expected_fails(grid: ProductGrid) -> Bools:
    """Where (-t1, -t2) does not descend on a grid: (I, J).

    Notes
    -----
    The answers are those at the balanced point, ||h|| = ||m||, of the same f.  Moving there from
    the grid's point multiplies the derivative along -t1 by the ratio ||h|| / ||m|| of the grid's
    norms and divides that along -t2 by it.
    """
    ratio = grid.scale_m / grid.scale_h  # ||h|| / ||m||
    return ratio * grid.along_expected_h + grid.along_expected_m / ratio >= 0


def reach(P: Demodulation, h: Array, m: Array, epsilon: float) -> tuple[float, int]:
    """Least epsilon whose A holds all points (N, n), (N, p), and the number outside A_epsilon.

    The points are balanced first, ||h|| = ||m||.  Exact distances are computed in the order of
    decreasing upper bounds, until no bound can change either answer.
    """
    ratio = np.sqrt(np.linalg.norm(h, axis=1) / np.linalg.norm(m, axis=1))[:, None]
    h, m = h / ratio, m * ratio
    bound = _bound(P, h, m)
    order = np.argsort(-bound)
    least, outside = 0.0, 0
    for start in range(0, order.size, 256):
        some = order[start : start + 256]
        if bound[some[0]] <= min(least, epsilon):
            break
        exact = np.min([P.neighbourhood(h[some], m[some], b) for b in BRANCHES], axis=0)
        least, outside = max(least, float(exact.max())), outside + int((exact > epsilon).sum())
    return least, outside


def _bound(P: Demodulation, h: Array, m: Array) -> Array:
    """Upper bounds of the distances to the four hyperbolas: (N, n), (N, p) -> (N,).

    They are the distances to the nearest of some points of the hyperbolas.
    """
    nearest = np.full(len(h), np.inf)
    for hb, mb in map(P.hyperbola, BRANCHES):
        a, b = float(hb @ hb), float(mb @ mb)
        if a > 0 and b > 0:
            nearest = np.minimum(nearest, 1.0)  # the limit towards the ends of a hyperbola
            for c in SCALES * (b / a) ** 0.25:
                gap = np.sum((h - c * hb) ** 2, axis=1) + np.sum((m - mb / c) ** 2, axis=1)
                nearest = np.minimum(nearest, np.sqrt(gap / (c * c * a + b / (c * c))))
    return nearest
