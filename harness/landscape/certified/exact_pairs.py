"""Pairs of arcs and of kinks judged in exact arithmetic, for n = p = 2.

On the arc from end i to end i + 1 let h = p_i + s p_{i+1}, on an arc of m let m = q_j + t q_{j+1},
with s and t in (0, inf).  Then a = a_i + s a_{i+1} and b = b_j + t b_{j+1}, of integer vectors.
With l = (1, s) times any positive scale and for given b, f = l^T G l / 2 - c^T l + ||y0||^2 / 2,

    c_k = <y0, a_k b>,    G_kk' = <a_k b, a_k' b>    (linear, quadratic in t),

and where det G > 0 the least value is at l = adj(G) c / det G, of entries with the signs of

    L_0 = G_11 c_0 - G_01 c_1,    L_1 = G_00 c_1 - G_01 c_0    (cubics in t).

- **Inside a pair of arcs** every stationary point with X > 0 has L_0, L_1 > 0, s = L_1 / L_0, and
  t is stationary for the least value -N / (2 D), N = c^T adj(G) c, D = det G: a root of
  R = N' D - N D', of degree 6 at most.  Conversely such a root gives a stationary point, with
  X > 0.  F has a minimum along s; across it F turns as the least value does, by the sign of -R'.
  If R = 0 throughout, the points s = L_1 / L_0 are a curve along which F is constant.
- D is a Gram determinant.  All b in the open arc have one support, so D = 0 at one t inside means
  that a_i and a_{i+1} are proportional on it, and then D = 0, L_0 = L_1 = 0 for all t: F does not
  depend on s.
- **At a boundary** F falls to the right if L_1 of the arc on the right is positive, and to the
  left if L_0 of the arc on the left is.  With h at a boundary, m is stationary inside its arc at
  the weights L_0, L_1 of m, which are integers, if both are positive.  So kinks need the signs of
  integers alone.

A point is stationary if 0 is in Clarke's generalised gradient of f: for each factor the slopes to
its two sides are not one up and one down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property

from harness.landscape.certified.exact_arcs import ExactArcs, Integers
from harness.landscape.certified.intervals import Interval
from harness.landscape.certified.sturm import (
    Polynomial,
    Root,
    between_roots,
    constant_sign,
    derivative,
    minus,
    polynomial,
    positive_roots,
    sign_at,
    times,
    value_at,
    values,
)
from harness.landscape.kinds import Kind

NARROW = Fraction(1, 2**128)
"""Relative length to which the intervals of t and s are halved."""

Weights = tuple[Interval, Interval]
WHOLE: Weights = (Interval(Fraction(0), Fraction(1)),) * 2
"""Of a line of points: every weight."""
HALF: Weights = (Interval.point(1), Interval.point(1))
END: Weights = (Interval.point(1), Interval.point(0))

LINE = "F is constant along a kink, and its slopes across change sign"
SEAM = "on a boundary without a kink"


@dataclass(frozen=True)
class Found:
    """A stationary point, or a line of them: h = w_0 p_i + w_1 p_{i+1}, m alike, w in intervals.

    Attributes
    ----------
    sample : of a line, the weights of a point on it
    open : why the point or its kind is not certain; empty if it is
    """

    i: int
    j: int
    h: Weights
    m: Weights
    kind: Kind
    layer_h: int = 0
    layer_m: int = 0
    open: str = ""
    sample: tuple[Weights, Weights] | None = None

    @property
    def exchanged(self) -> Found:
        """With h and m exchanged."""
        swapped = self.j, self.i, self.m, self.h, self.kind, self.layer_m, self.layer_h
        return Found(*swapped, self.open, self.sample and self.sample[::-1])


@dataclass(frozen=True, eq=False)
class ExactPairs:
    """The integers of two networks and of y0, at the ends of their arcs."""

    arcs_h: ExactArcs
    arcs_m: ExactArcs
    y: Integers

    @cached_property
    def exchanged(self) -> ExactPairs:
        """With h and m exchanged."""
        return ExactPairs(self.arcs_m, self.arcs_h, self.y)

    @cached_property
    def _values(self) -> tuple[Callable[[int], Integers], Callable[[int], Integers]]:
        return cache(self.arcs_h.value), cache(self.arcs_m.value)

    @cached_property
    def _sums(self) -> dict[tuple[int, ...], int]:
        return {}

    def X(self, i: int, j: int) -> int:
        """<y0, a_i b_j>."""
        i, j = i % len(self.arcs_h), j % len(self.arcs_m)
        if (i, j) not in self._sums:
            a, b = self._values
            self._sums[i, j] = int((self.y * a(i) * b(j)).sum())
        return self._sums[i, j]

    def Y(self, i: int, k: int, j: int, n: int) -> int:
        """<a_i b_j, a_k b_n>."""
        i, k = sorted((i % len(self.arcs_h), k % len(self.arcs_h)))
        j, n = sorted((j % len(self.arcs_m), n % len(self.arcs_m)))
        if (i, k, j, n) not in self._sums:
            a, b = self._values
            self._sums[i, k, j, n] = int((a(i) * a(k) * b(j) * b(n)).sum())
        return self._sums[i, k, j, n]

    def c(self, i: int, j: int) -> Polynomial:
        """<y0, a_i b> on arc j of m."""
        return polynomial([self.X(i, j), self.X(i, j + 1)])

    def G(self, i: int, k: int, j: int) -> Polynomial:
        """<a_i b, a_k b> on arc j of m."""
        Y = [self.Y(i, k, j, j), 2 * self.Y(i, k, j, j + 1), self.Y(i, k, j + 1, j + 1)]
        return polynomial(Y)

    def L(self, i: int, j: int) -> tuple[Polynomial, Polynomial]:
        """L_0 and L_1 on arcs i and j."""
        c0, c1, cross = self.c(i, j), self.c(i + 1, j), self.G(i, i + 1, j)
        return (
            minus(times(self.G(i + 1, i + 1, j), c0), times(cross, c1)),
            minus(times(self.G(i, i, j), c1), times(cross, c0)),
        )

    def along(self, i: int, j: int) -> tuple[int, int]:
        """L_0 and L_1 of m on arc j, for h at end i."""
        c0, c1 = self.X(i, j), self.X(i, j + 1)
        G00, G01, G11 = (self.Y(i, i, *k) for k in ((j, j), (j, j + 1), (j + 1, j + 1)))
        return G11 * c0 - G01 * c1, G00 * c1 - G01 * c0

    def positive(self, rows: Sequence[int], columns: Sequence[int]) -> bool:
        """Whether X > 0 at one of the ends; if at none, X <= 0 on the whole pair."""
        return any(self.X(i, j) > 0 for i in rows for j in columns)


def cell(pairs: ExactPairs, i: int, j: int) -> list[Found]:
    """The stationary points inside arc i of h and arc j of m."""
    if not pairs.positive((i, i + 1), (j, j + 1)):
        return []
    L, K = pairs.L(i, j), pairs.exchanged.L(j, i)
    flat_h, flat_m = not any(L), not any(K)
    if flat_h or flat_m:  # F does not depend on s, or t: any will do
        l0, l1 = (1, 1) if flat_h else (sum(form) for form in L)
        k0, k1 = (1, 1) if flat_m else (sum(form) for form in K)
        if min(l0, l1, k0, k1) <= 0:
            return []
        h, m = _exact(l0, l1), _exact(k0, k1)
        return [_line(i, j, WHOLE if flat_h else h, WHOLE if flat_m else m, (h, m))]
    if any(max(form, default=0) <= 0 for form in (*L, *K)):
        return []
    R = _stationary(pairs, i, j)
    if not R:
        return _curve(i, j, L)
    return [
        _inside(i, j, root, L, R)
        for root in positive_roots(R)
        if root.sign_of(L[0]) > 0 and root.sign_of(L[1]) > 0
    ]


def _stationary(pairs: ExactPairs, i: int, j: int) -> Polynomial:
    """R = N' D - N D' (module docstring)."""
    c0, c1 = pairs.c(i, j), pairs.c(i + 1, j)
    G00, G01, G11 = pairs.G(i, i, j), pairs.G(i, i + 1, j), pairs.G(i + 1, i + 1, j)
    L0, L1 = pairs.L(i, j)
    N = minus(times(c0, L0), times([-1], times(c1, L1)))
    D = minus(times(G00, G11), times(G01, G01))
    return minus(times(derivative(N), D), times(N, derivative(D)))


def _line(
    i: int, j: int, h: Weights, m: Weights, sample: tuple[Weights, Weights], layer: int = 0
) -> Found:
    return Found(i, j, h, m, Kind.DEGENERATE, layer, sample=sample)


def _curve(i: int, j: int, L: tuple[Polynomial, Polynomial]) -> list[Found]:
    """The curve s = L_1 / L_0, if both are positive at some t; a part of the pair of arcs."""
    for t in between_roots(times(*L)):
        l0, l1 = (value_at(form, t) for form in L)
        if l0 > 0 and l1 > 0:
            sample = _exact(l0, l1), (Interval.point(1), Interval.point(t))
            return [_line(i, j, WHOLE, WHOLE, sample)]
    return []


def _inside(i: int, j: int, root: Root, L: tuple[Polynomial, Polynomial], R: Polynomial) -> Found:
    """The point at a root of R: a minimum along s, and across it by the sign of -R'."""
    kind = {-1: Kind.MINIMUM, 0: Kind.DEGENERATE, 1: Kind.SADDLE}[root.sign_of(derivative(R))]
    while True:
        bounds = [Interval(*values(form, root.lo, root.hi)) for form in L]
        if all(_narrow(x) for x in (*bounds, Interval(root.lo, root.hi))):
            break
        root = root.halved()
    h = (Interval.point(1), (bounds[1] / bounds[0]).trimmed())
    return Found(i, j, h, (Interval.point(1), Interval(root.lo, root.hi).trimmed()), kind)


def _narrow(x: Interval) -> bool:
    return x.lo > 0 and x.hi - x.lo <= NARROW * x.lo


def _exact(w0: int | Fraction, w1: int | Fraction) -> Weights:
    return Interval.point(1), Interval.point(Fraction(w1) / w0)


# --- kinks -----------------------------------------------------------------------------------


def edge(pairs: ExactPairs, i: int, j: int) -> list[Found]:
    """The stationary points with h at end i and m inside arc j."""
    if not pairs.positive((i,), (j, j + 1)):
        return []
    m0, m1 = pairs.along(i, j)
    right, left = pairs.L(i, j)[1], pairs.L(i - 1, j)[0]
    layer = pairs.arcs_h.ends[i].layer
    if m0 == m1 == 0:
        signs = constant_sign(right), constant_sign(left)
        certain = all(s or not form for s, form in zip(signs, (right, left), strict=True))
        if certain and signs[0] * signs[1] < 0:
            return []
        line = _line(i, j, END, WHOLE, (END, HALF), layer)
        return [replace(line, open=_seam("" if certain else LINE, layer))]
    if m0 <= 0 or m1 <= 0:
        return []
    t = Fraction(m1, m0)
    bend = _bend(sign_at(right, t), sign_at(left, t))
    kind = {-1: Kind.KINK_MINIMUM, 0: Kind.DEGENERATE, 1: Kind.KINK_SADDLE}.get(bend)
    if kind is None:
        return []
    return [Found(i, j, END, _exact(m0, m1), kind, layer, 0, _seam("", layer))]


def corner(pairs: ExactPairs, i: int, j: int) -> list[Found]:
    """The point with h at end i and m at end j, if it is stationary."""
    if pairs.X(i, j) <= 0:
        return []
    bends = _bend(*_falls(pairs, i, j)), _bend(*_falls(pairs.exchanged, j, i))
    if SLOPE in bends:
        return []
    kind = Kind.KINK_SADDLE
    if 0 in bends:
        kind = Kind.DEGENERATE
    elif bends[0] == bends[1]:
        kind = Kind.KINK_MINIMUM if bends[0] < 0 else Kind.KINK_MAXIMUM
    layers = pairs.arcs_h.ends[i].layer, pairs.arcs_m.ends[j].layer
    return [Found(i, j, END, END, kind, *layers, _seam("", *layers))]


SLOPE = 2
"""Neither a valley (-1) nor a ridge (1) nor level on a side (0): no stationary point."""


def _bend(right: int, left: int) -> int:
    """How F bends across a boundary, by the signs of its falls to both sides."""
    return SLOPE if right * left < 0 else right * left * right


def _falls(pairs: ExactPairs, i: int, j: int) -> tuple[int, int]:
    """Signs of F's falls from end i to the right and to the left, at end j of m."""
    here, size = pairs.X(i, j), pairs.Y(i, i, j, j)
    right, left = (pairs.X(k, j) * size - here * pairs.Y(i, k, j, j) for k in (i + 1, i - 1))
    return (right > 0) - (right < 0), (left > 0) - (left < 0)


def _seam(why: str, *layers: int) -> str:
    return SEAM if 0 in layers else why
