"""Intervals with rational ends: arithmetic, square roots, angles and pi, all rounded outward.

An operation on intervals contains the results of the operation on all their elements.  Sums,
products and quotients of rationals are exact, so only three things need a word.

- `Interval.trimmed` moves the ends outward to multiples of a power of two, to keep them short.
- `sqrt` uses the integer square root: isqrt(k) <= sqrt(k) < isqrt(k) + 1.
- `arctangent` sums the Taylor series at an |x| <= 1/2 in integers (fixed point).  Its terms
  alternate and fall, so what is left out is less than its first term; `_series` counts the rest of
  the error.  pi is 16 arctan(1/5) - 4 arctan(1/239).

`Interval.floats` alone leaves the rationals: a double is compared with the rational end, which
Python does exactly, and moved one step outward where it lies inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

BITS = 192
"""Significant bits that are kept of an end: a double has 53."""


@dataclass(frozen=True)
class Interval:
    """All x with lo <= x <= hi."""

    lo: Fraction
    hi: Fraction

    @classmethod
    def point(cls, x: float | Fraction) -> Interval:
        """The interval of one number, the exact value of a double."""
        return cls(Fraction(x), Fraction(x))

    @classmethod
    def hull(cls, parts: Iterable[Interval]) -> Interval:
        """The least interval that contains all parts."""
        parts = list(parts)
        return cls(min(part.lo for part in parts), max(part.hi for part in parts))

    @property
    def middle(self) -> Fraction:
        return (self.lo + self.hi) / 2

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.lo + other.lo, self.hi + other.hi)

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval) -> Interval:
        ends = [x * y for x in (self.lo, self.hi) for y in (other.lo, other.hi)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        if other.lo <= 0 <= other.hi:
            raise ZeroDivisionError("an interval that contains 0 divides none")
        return self * Interval(1 / other.hi, 1 / other.lo)

    def square(self) -> Interval:
        """All x^2: tighter than the product of two intervals where 0 is inside."""
        ends = self.lo**2, self.hi**2
        return Interval(Fraction(0) if self.lo <= 0 <= self.hi else min(ends), max(ends))

    def at_least(self, bound: int) -> Interval:
        """All max(x, bound)."""
        return Interval(max(self.lo, Fraction(bound)), max(self.hi, Fraction(bound)))

    def at_most(self, bound: int) -> Interval:
        """All min(x, bound)."""
        return Interval(min(self.lo, Fraction(bound)), min(self.hi, Fraction(bound)))

    def trimmed(self) -> Interval:
        """An interval that contains this one, with ends of `BITS` bits."""
        return Interval(-_ceiling(-self.lo), _ceiling(self.hi))

    def floats(self) -> tuple[float, float]:
        """Doubles lo, hi with the interval between them."""
        lo, hi = float(self.lo), float(self.hi)
        if lo > self.lo:
            lo = math.nextafter(lo, -math.inf)
        if hi < self.hi:
            hi = math.nextafter(hi, math.inf)
        return lo, hi


def _ceiling(x: Fraction) -> Fraction:
    """The least multiple of 2^-k >= x, where |x| has `BITS` bits in that unit, about."""
    if x == 0:
        return x
    k = BITS - (abs(x.numerator).bit_length() - x.denominator.bit_length())
    unit = Fraction(2) ** k
    return Fraction(math.ceil(x * unit)) / unit


def sqrt(x: Interval) -> Interval:
    """Square roots of an interval of numbers >= 0."""
    return Interval(_root(x.lo)[0], _root(x.hi)[1])


def _root(x: Fraction) -> tuple[Fraction, Fraction]:
    """Rationals below and above sqrt(x): with k = floor(4^s x), isqrt(k) <= 2^s sqrt(x)."""
    if x == 0:
        return Fraction(0), Fraction(0)
    shift = BITS - (x.numerator.bit_length() - x.denominator.bit_length()) // 2
    scaled = x * Fraction(4) ** shift
    below = math.isqrt(math.floor(scaled))
    unit = Fraction(2) ** shift
    return below / unit, (below + 1) / unit


def arctangent(x: Fraction) -> Interval:
    """arctan x for 0 <= x <= 1: arctan(1/2) + arctan((x - 1/2) / (1 + x/2)) beyond 1/2."""
    if x > Fraction(1, 2):
        return (_half() + _series((x - Fraction(1, 2)) / (1 + x / 2))).trimmed()
    return _series(x)


@cache
def _half() -> Interval:
    return _series(Fraction(1, 2))


def _series(x: Fraction) -> Interval:
    """x - x^3/3 + x^5/5 - ... for |x| <= 1/2 + 2^-BITS, in units of 2^-fixed.

    x is cut to n units, which changes arctan by less than 1.  A power is the last one times n^2,
    cut: as x^2 <= 1/3 it is wrong by less than 1 + 1/3 + 1/9 + ... < 2.  So each term is wrong by
    less than 3, and what follows the first power that is cut to 0 is less than 2.
    """
    if x < 0:
        return -_series(-x)
    fixed = BITS + 16
    n = power = math.floor(x * 2**fixed)
    total = terms = 0
    while power:
        term = power // (2 * terms + 1)
        total += -term if terms % 2 else term
        power = (power * n * n) >> (2 * fixed)
        terms += 1
    error = 3 * terms + 3
    return Interval(Fraction(total - error, 2**fixed), Fraction(total + error, 2**fixed))


@cache
def pi() -> Interval:
    """Machin's formula."""
    four, sixteen = Interval.point(4), Interval.point(16)
    return (sixteen * _series(Fraction(1, 5)) - four * _series(Fraction(1, 239))).trimmed()


def angle(x: Fraction, y: Fraction) -> Interval:
    """The polar angle of a rational vector (x, y) that is not 0, in (-pi, pi]."""
    if y < 0:
        return -angle(x, -y)
    if x < 0:
        return pi() - angle(-x, y)
    if y <= x:
        return arctangent(y / x)
    return pi() * Interval.point(Fraction(1, 2)) - arctangent(x / y)


def arccosine(c: Interval) -> Interval:
    """Angles in [0, pi] of cosines in [-1, 1]: the polar angle of (c, sqrt(1 - c^2)), falling."""

    def of(c: Fraction) -> Interval:
        sine = sqrt(Interval.point(1 - c * c).at_least(0))
        return Interval.hull([angle(c, sine.lo), angle(c, sine.hi)])

    return Interval(of(c.hi).lo, of(c.lo).hi)
