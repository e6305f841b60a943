"""Real roots of polynomials with integer coefficients, by Sturm's theorem: no rounding at all.

A polynomial is a list of integers, p[k] the coefficient of x^k, the last one not 0; [] is zero.

Sturm's chain of p is p, p', and then minus the remainder of each two neighbours.  For p without
multiple roots, and a < b that are no roots, the number of roots between a and b is the number of
sign changes in the chain at a less that at b.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

Polynomial = list[int]


def polynomial(coefficients: Sequence[int]) -> Polynomial:
    """Without leading zeros."""
    p = list(coefficients)
    while p and p[-1] == 0:
        p.pop()
    return p


def times(p: Polynomial, q: Polynomial) -> Polynomial:
    product = [0] * max(len(p) + len(q) - 1, 0)
    for i, x in enumerate(p):
        for j, y in enumerate(q):
            product[i + j] += x * y
    return polynomial(product)


def minus(p: Polynomial, q: Polynomial) -> Polynomial:
    size = max(len(p), len(q))
    padded = [[*r, *[0] * (size - len(r))] for r in (p, q)]
    return polynomial([x - y for x, y in zip(*padded, strict=True)])


def derivative(p: Polynomial) -> Polynomial:
    return [k * c for k, c in enumerate(p)][1:]


def sign_at(p: Polynomial, x: Fraction) -> int:
    """The sign of p(x), by Horner's rule on numerators."""
    n, d = x.numerator, x.denominator
    value, power = 0, 1
    for c in reversed(p):
        value, power = value * n + c * power, power * d
    return (value > 0) - (value < 0)


def value_at(p: Polynomial, x: Fraction) -> Fraction:
    return sum((c * x**k for k, c in enumerate(p)), Fraction(0))


def values(p: Polynomial, lo: Fraction, hi: Fraction) -> tuple[Fraction, Fraction]:
    """Bounds of p on [lo, hi], 0 <= lo: positive coefficients at one end, negative at the other."""
    low = sum((c * (lo if c > 0 else hi) ** k for k, c in enumerate(p)), Fraction(0))
    high = sum((c * (hi if c > 0 else lo) ** k for k, c in enumerate(p)), Fraction(0))
    return low, high


def constant_sign(p: Polynomial) -> int:
    """The sign of p on (0, inf) if its coefficients show it (no two of unlike signs), else 0."""
    if not p or (min(p) < 0 < max(p)):
        return 0
    return 1 if max(p) > 0 else -1


def _primitive(p: Polynomial) -> Polynomial:
    """Divided by the greatest common divisor of its coefficients: the signs stay."""
    divisor = math.gcd(*p)
    return [c // divisor for c in p]


def _remainder(p: Polynomial, q: Polynomial) -> Polynomial:
    """A positive multiple of the remainder of p by q: p is multiplied by q's leading |c| first."""
    p, lead = list(p), abs(q[-1])
    sign = 1 if q[-1] > 0 else -1
    while len(p) >= len(q):
        top, shift = sign * p[-1], len(p) - len(q)
        p = [c * lead for c in p]
        for k, c in enumerate(q):
            p[shift + k] -= top * c
        p = polynomial(p)
    return _primitive(p) if p else p


def gcd(p: Polynomial, q: Polynomial) -> Polynomial:
    """A greatest common divisor, up to a factor."""
    while q:
        p, q = q, _remainder(p, q)
    return p


def _quotient(p: Polynomial, q: Polynomial) -> Polynomial:
    """A multiple of p / q, where q divides p."""
    rest, lead = [Fraction(c) for c in p], q[-1]
    result = [Fraction(0)] * (len(p) - len(q) + 1)
    for shift in reversed(range(len(result))):
        result[shift] = rest[shift + len(q) - 1] / lead
        for k, c in enumerate(q):
            rest[shift + k] -= result[shift] * c
    scale = math.lcm(*(c.denominator for c in result))
    return _primitive([int(c * scale) for c in result])


def square_free(p: Polynomial) -> Polynomial:
    """A polynomial with the roots of p, each of them simple."""
    return _quotient(p, gcd(p, derivative(p))) if len(p) > 1 else p


def _chain(p: Polynomial) -> list[Polynomial]:
    """Sturm's chain, each polynomial up to a positive factor."""
    chain = [p, derivative(p)]
    while chain[-1]:
        chain.append([-c for c in _remainder(chain[-2], chain[-1])])
    return chain[:-1]


def _changes(chain: list[Polynomial], x: Fraction) -> int:
    signs = [s for s in (sign_at(p, x) for p in chain) if s]
    return sum(a != b for a, b in pairwise(signs))


def count(p: Polynomial, lo: Fraction, hi: Fraction) -> int:
    """Number of distinct roots in (lo, hi), for lo < hi that are no roots of p."""
    chain = _chain(square_free(p))
    return _changes(chain, lo) - _changes(chain, hi)


@dataclass(frozen=True)
class Root:
    """The only root of the square-free p in (lo, hi), no root at the ends; or the root lo = hi."""

    p: Polynomial
    lo: Fraction
    hi: Fraction

    def halved(self) -> Root:
        """In half of the interval."""
        middle = (self.lo + self.hi) / 2
        sign = sign_at(self.p, middle)
        if self.lo == self.hi or sign == 0:
            return Root(self.p, middle, middle)
        if sign == sign_at(self.p, self.lo):
            return Root(self.p, middle, self.hi)
        return Root(self.p, self.lo, middle)

    def sign_of(self, q: Polynomial) -> int:
        """The sign of another polynomial at the root, 0 included."""
        if not q:
            return 0
        low, high = values(q, self.lo, self.hi)
        if low > 0 or high < 0:
            return 1 if low > 0 else -1
        if self.lo < self.hi:
            common = gcd(self.p, q)
            if len(common) > 1 and count(common, self.lo, self.hi):
                return 0
        root = self
        while root.lo < root.hi:
            ends = sign_at(q, root.lo), sign_at(q, root.hi)
            if 0 not in ends and ends[0] == ends[1] and count(q, root.lo, root.hi) == 0:
                return ends[0]
            root = root.halved()
        return sign_at(q, root.lo)


def positive_roots(p: Polynomial) -> Iterator[Root]:
    """The distinct roots in (0, inf) of a polynomial that is not zero, isolated.

    They lie below Cauchy's bound 1 + max |p_k| / |p_N|.  A middle that is itself a root is divided
    out before its halves are searched.
    """
    while p[0] == 0:
        p = p[1:]
    p = square_free(p)
    bound = 1 + Fraction(max(map(abs, p)), abs(p[-1]))
    stack = [(_chain(p), Fraction(0), Fraction(2) ** math.ceil(bound).bit_length())]
    while stack:
        chain, lo, hi = stack.pop()
        number = _changes(chain, lo) - _changes(chain, hi)
        if number == 1:
            yield Root(chain[0], lo, hi)
        if number <= 1:
            continue
        middle = (lo + hi) / 2
        if sign_at(chain[0], middle) == 0:
            yield Root(chain[0], middle, middle)
            factor = polynomial([-middle.numerator, middle.denominator])
            chain = _chain(_quotient(chain[0], factor))
        stack += [(chain, lo, middle), (chain, middle, hi)]


def between_roots(p: Polynomial) -> list[Fraction]:
    """A point of (0, inf) in each gap between the roots of a polynomial that is not zero."""
    roots = sorted(positive_roots(p), key=lambda root: (root.lo, root.hi))
    while any(one.hi >= two.lo for one, two in pairwise(roots)) or (roots and roots[0].lo == 0):
        roots = [root.halved() for root in roots]
    ends = [Fraction(0), *(end for root in roots for end in (root.lo, root.hi))]
    inner = [(ends[k] + ends[k + 1]) / 2 for k in range(0, len(ends) - 1, 2)]
    return [*inner, ends[-1] + 1]
