"""Enclosures of what the census reports of a point: angles, radius, loss, nearest hyperbola.

Everything is interval arithmetic on rationals (`intervals`) from the interval of the point's
direction.  For epsilon let (h, m) be the balanced point and (hb, mb) a point of the hyperbola.
With c_h and c_m the cosines of h to hb and of m to mb, and k^2 = ||h|| ||m|| / (||hb|| ||mb||),
the square of epsilon is the infimum over t > 0 of

    1 - 2 (k c_h t^3 + k c_m t - k^2 t^2) / (1 + t^4).

Its value at any t is an upper bound: floating point proposes t and decides nothing.  A number
g < 1 is a lower bound if (1 - g) (1 + t^4) - 2 k c_h t^3 - 2 k c_m t + 2 k^2 t^2 has no positive
root, by Sturm's theorem; as t > 0, the ends of k c_h, k c_m and k^2 that make it least are taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from harness.arrays import Array
from harness.landscape.certified.exact_arcs import ExactArcs
from harness.landscape.certified.exact_pairs import WHOLE, ExactPairs, Found, Weights
from harness.landscape.certified.intervals import Interval, angle, arccosine, pi, sqrt
from harness.landscape.certified.sturm import polynomial, positive_roots
from harness.problem import BRANCHES, Branch, Demodulation

Bounds = tuple[float, float]
ONE, TWO = Interval.point(1), Interval.point(2)


@dataclass(frozen=True)
class Enclosure:
    """Doubles lo, hi of each quantity of a point, and the branch of the nearest hyperbola."""

    theta: Bounds
    phi: Bounds
    r: Bounds
    loss_ratio: Bounds
    branch: Branch
    epsilon: Bounds


def enclose(P: Demodulation, pairs: ExactPairs, exponent: int, found: Found) -> Enclosure:
    """The enclosure of a point; `exponent` is that of the integer y0.

    A line of points has one loss, but its radius and its epsilon are only enclosed by what holds
    for all points.
    """
    arcs = pairs.arcs_h, pairs.arcs_m
    theta, phi = (
        _angle(*each) for each in zip(arcs, (found.i, found.j), (found.h, found.m), strict=True)
    )
    X, Y = _sums(pairs, found)
    square = sum(int(y) ** 2 for y in pairs.y)
    loss = (ONE - X.square() / (Y * Interval.point(square))).at_least(0).at_most(1)
    if found.sample:
        return Enclosure(theta, phi, (0.0, math.inf), loss.floats(), BRANCHES[0], (0.0, 1.0))
    scale = Interval.point(Fraction(2) ** (sum(a.exponent for a in arcs) - exponent))
    h, m = _vector(arcs[0], found.i, found.h), _vector(arcs[1], found.j, found.m)
    r = (X / Y * scale * _norm(h) * _norm(m)).trimmed()
    squares = {b: each for b in BRANCHES if (each := _square(P, h, m, r, b)) is not None}
    branch = min(squares, key=lambda b: squares[b].hi)
    least = Interval(min(e.lo for e in squares.values()), squares[branch].hi)
    return Enclosure(theta, phi, r.floats(), loss.floats(), branch, sqrt(least).floats())


def direction_bounds(arcs: ExactArcs, first: int, last: int) -> Bounds:
    """The angles of ends first and last, the second one raised beyond the first."""
    angles = [angle(*map(Fraction, arcs.ends[k % len(arcs)].at)) for k in (first, last)]
    return _ordered(*angles)


def _ordered(first: Interval, last: Interval) -> Bounds:
    if last.hi < first.lo:
        last = last + TWO * pi()
    return Interval(first.lo, last.hi).floats()


def _angle(arcs: ExactArcs, k: int, weights: Weights) -> Bounds:
    """From the direction nearest to end k to that nearest to end k + 1; hi may exceed pi."""
    if weights == WHOLE:
        return direction_bounds(arcs, k, k + 1)
    first, last = (weights[0].hi, weights[1].lo), (weights[0].lo, weights[1].hi)
    p, q = arcs.ends[k].at, arcs.ends[(k + 1) % len(arcs)].at
    angles = [angle(w[0] * p[0] + w[1] * q[0], w[0] * p[1] + w[1] * q[1]) for w in (first, last)]
    return _ordered(*angles)


def _vector(arcs: ExactArcs, k: int, weights: Weights) -> tuple[Interval, Interval]:
    p, q = arcs.ends[k].at, arcs.ends[(k + 1) % len(arcs)].at
    x, y = (weights[0] * Interval.point(p[c]) + weights[1] * Interval.point(q[c]) for c in range(2))
    return x.trimmed(), y.trimmed()


def _norm(v: tuple[Interval, Interval]) -> Interval:
    return sqrt((v[0].square() + v[1].square()).trimmed()).trimmed()


def _sums(pairs: ExactPairs, found: Found) -> tuple[Interval, Interval]:
    """X and Y at the point; of a line, at its sample."""
    w, v = found.sample or (found.h, found.m)
    i, j = found.i, found.j
    X = Y = Interval.point(0)
    for k in range(2):
        for n in range(2):
            X = X + w[k] * v[n] * Interval.point(pairs.X(i + k, j + n))
    for k, kk in ((0, 0), (0, 1), (0, 1), (1, 1)):
        for n, nn in ((0, 0), (0, 1), (0, 1), (1, 1)):
            size = Interval.point(pairs.Y(i + k, i + kk, j + n, j + nn))
            Y = Y + w[k] * w[kk] * v[n] * v[nn] * size
    return X.trimmed(), Y.trimmed()


# --- the nearest hyperbola -------------------------------------------------------------------


@cache
def rho(depth: int) -> Interval:
    """rho_d, the cosine of the angle map applied d times to pi (`harness.theory.rho`)."""
    if depth == 1:
        return Interval.point(0)
    c = Interval.point(-1)
    for _ in range(depth):
        sine = sqrt((ONE - c.square()).at_least(0).trimmed())
        c = (((pi() - arccosine(c)) * c + sine) / pi()).at_most(1).trimmed()
    return c


def _square(
    P: Demodulation,
    h: tuple[Interval, Interval],
    m: tuple[Interval, Interval],
    r: Interval,
    branch: Branch,
) -> Interval | None:
    """The square of epsilon for one branch; None if its hyperbola is the origin."""
    lengths = [ONE if s == 1 else rho(d) for s, d in zip(branch, (P.d, P.s), strict=True)]
    cosines = [
        _cosine(v, x) * Interval.point(sign)
        for v, x, sign in zip((h, m), (P.h0, P.m0), branch, strict=True)
    ]
    gone = [length.hi == 0 for length in lengths]
    if all(gone):
        return None
    if any(gone):
        c = cosines[gone.index(False)].at_least(0)
        return ONE - c.square() * Interval.point(Fraction(1, 2))
    size = _norm(_exact(P.h0)) * _norm(_exact(P.m0)) * lengths[0] * lengths[1]
    square = (r / size).trimmed()
    k = sqrt(square)
    return _infimum((k * cosines[0]).trimmed(), (k * cosines[1]).trimmed(), square)


def _exact(x: Array) -> tuple[Interval, Interval]:
    return Interval.point(float(x[0])), Interval.point(float(x[1]))


def _cosine(v: tuple[Interval, Interval], x: Array) -> Interval:
    w = _exact(x)
    return ((v[0] * w[0] + v[1] * w[1]) / (_norm(v) * _norm(w))).trimmed()


def _infimum(U: Interval, V: Interval, square: Interval) -> Interval:
    """The infimum over t > 0 of 1 - 2 (U t^3 + V t - k^2 t^2) / (1 + t^4), and at most 1."""
    t = Interval.point(_best(U.middle, V.middle, square.middle))
    cube, fourth = t * t * t, t.square().square()
    top = TWO * (U * cube + V * t - square * t.square())
    value = (ONE - top / (ONE + fourth)).trimmed().at_least(0).at_most(1)
    for digits in range(100, 0, -5):
        g = value.lo - Fraction(1, 2**digits)
        if g > 0 and _is_lower_bound(g, U.hi, V.hi, square.lo):
            return Interval(g, value.hi)
    return Interval(Fraction(0), value.hi)


def _is_lower_bound(g: Fraction, U: Fraction, V: Fraction, square: Fraction) -> bool:
    coefficients = [1 - g, -2 * V, 2 * square, -2 * U, 1 - g]
    scale = math.lcm(*(c.denominator for c in coefficients))
    p = polynomial([int(c * scale) for c in coefficients])
    return g < 1 and not any(True for _ in positive_roots(p))


def _best(U: Fraction, V: Fraction, square: Fraction) -> Fraction:
    """A t near the infimum: the best of a grid in doubles, then Newton's method."""
    u, v, k = float(U), float(V), float(square)
    grid = np.exp(np.linspace(-9, 9, 6001))
    values = -(u * grid**3 + v * grid - k * grid**2) / (1 + grid**4)
    start = t = Fraction(float(grid[int(np.argmin(values))]))
    slope = [-V, 2 * square, -3 * U, Fraction(0), 3 * V, -2 * square, U]
    for _ in range(7):
        steep = sum(n * c * t ** (n - 1) for n, c in enumerate(slope) if n)
        if steep == 0 or abs(t - start) > start / 50:
            return start  # Newton's method runs away: the grid's t will do
        value = sum(c * t**n for n, c in enumerate(slope))
        t = Interval.point(t - value / steep).trimmed().lo
    return t if abs(t - start) <= start / 50 else start
