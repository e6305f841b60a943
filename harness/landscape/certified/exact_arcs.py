"""The linear pieces of a network of two inputs in exact integers: no direction is rounded.

A double is an integer times a power of two.  Multiplied by a power of two for each layer, which
changes no sign, the weights are integers; so are the rows of every composed map W_k ... W_1 with
inactive rows left out, and a unit with the row (r_1, r_2) switches at the direction
+-(-r_2, r_1).  Directions are integer vectors up to positive factors, compared by the sign of a
determinant.  Python's integers have any length, so all of this is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Array, Bools
from harness.network import ReluNetwork

Integers = NDArray[np.object_]
Vector = tuple[int, int]

FIRST = (-990, -141)
"""First of four directions, a quarter turn apart, that begin the subdivision: none likely a kink.
They are left out again where the network has no kink, unless an arc would reach half a turn."""

SAFE = 2.0**-110
"""Least nonzero entry that the screen trusts: products of seven such do not underflow."""


@dataclass(frozen=True, eq=False)
class End:
    """A boundary between two arcs.

    Attributes
    ----------
    at : a vector of its direction
    layer : of the unit that switches here (the lowest, if several do), 0 for none
    rows : (ell, 2) composed rows; the network's value at `at` is max(rows at, 0), scaled
    """

    at: Vector
    layer: int
    rows: Integers


@dataclass(frozen=True, eq=False)
class ExactArcs:
    """The circle cut into arcs below half a turn, on each of which the network is linear.

    Attributes
    ----------
    ends : counter-clockwise; arc k runs from end k to end k + 1, the last one to end 0
    exponent : the integer network is 2^exponent times the network
    """

    ends: tuple[End, ...]
    exponent: int

    def __len__(self) -> int:
        return len(self.ends)

    def value(self, k: int) -> Integers:
        """(ell,) the integer network at `ends[k].at`."""
        end = self.ends[k]
        return np.maximum(_at(end.rows, end.at), 0)

    def rounded(self) -> tuple[Array, Bools]:
        """Scaled values at all ends as doubles (I, ell), each with relative error 2^-53; trust.

        Every integer is divided by a power of two, which differs between the ends: Python rounds
        the quotient of two integers correctly.  Not trusted (I,) are ends with a nonzero value
        below `SAFE`, where products may underflow.
        """
        size = max(int(np.abs(end.rows).max()).bit_length() for end in self._distinct_rows())
        values, trusted = np.zeros((len(self), len(self.ends[0].rows))), np.ones(len(self), bool)
        for k, end in enumerate(self.ends):
            exact = self.value(k)
            shift = size + max(map(abs, end.at)).bit_length()
            values[k] = exact / (1 << shift)
            trusted[k] = not (values[k][exact != 0] < SAFE).any()
        return values, trusted

    def _distinct_rows(self) -> list[End]:
        return list({id(end.rows): end for end in self.ends}.values())


@dataclass(frozen=True, eq=False)
class _Sector:
    """From one direction to the next: the composed rows of the layers so far, inactive ones 0."""

    begin: Vector
    end: Vector
    layer: int
    rows: Integers


def exact_arcs(G: ReluNetwork) -> ExactArcs:
    """The arcs of a network with two inputs, as `linear_arcs`, but exact.

    Boundaries at which the network does not bend (a quarter, or the kink of a unit without effect)
    are left out where the two arcs together stay below half a turn.
    """
    x, y = FIRST
    turns = [(x, y), (-y, x), (-x, -y), (y, -x)]
    identity = np.array([[1, 0], [0, 1]], dtype=object)
    sectors = [_Sector(turns[k], turns[(k + 1) % 4], 0, identity) for k in range(4)]
    weights, exponents = zip(*(integers(W) for W in G.weights), strict=True)
    for layer, W in enumerate(weights[:-1], start=1):
        sectors = [
            _Sector(begin, end, kink, rows * _active(rows, begin, end)[:, None])
            for sector in sectors
            for begin, end, kink, rows in _cut(sector, W, layer)
        ]
    ends = []
    for sector in sectors:
        pieces = list(_cut(sector, weights[-1], len(weights)))
        ends += [End(begin, kink, rows) for begin, _, kink, rows in pieces]
    return ExactArcs(tuple(_bending(ends)), sum(exponents))


def cross(p: Vector, q: Vector) -> int:
    """Positive if q is less than half a turn counter-clockwise from p."""
    return p[0] * q[1] - p[1] * q[0]


def _order(p: Vector, q: Vector) -> int:
    return cross(q, p)


def integers(W: Array) -> tuple[Integers, int]:
    """Doubles W times 2^exponent in integers, and the exponent."""
    mantissa, exponent = np.frexp(W)
    least = int(exponent[W != 0].min(initial=0))
    whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
    shift = np.where(W != 0, exponent.astype(np.int64) - least, 0).astype(object)
    return whole * 2**shift, 53 - least


def _at(rows: Integers, at: Vector) -> Integers:
    return rows[:, 0] * at[0] + rows[:, 1] * at[1]


def _active(rows: Integers, begin: Vector, end: Vector) -> Integers:
    """Whether each row is positive inside an arc within which none changes sign: 0 or 1."""
    inside = _at(rows, begin) + _at(rows, end)
    return np.where(inside > 0, 1, 0).astype(object)


def _cut(
    sector: _Sector, W: Integers, layer: int
) -> Iterator[tuple[Vector, Vector, int, Integers]]:
    """The sector cut where units of the next layer switch: begin, end, layer of begin, rows."""
    rows = W @ sector.rows
    switch = np.sign(_at(rows, sector.begin)) * np.sign(_at(rows, sector.end)) < 0
    inside: list[Vector] = []
    for r1, r2 in rows[switch.astype(bool)]:
        ahead = cross(sector.begin, (-r2, r1)) > 0
        inside.append((-r2, r1) if ahead else (r2, -r1))
    inside.sort(key=cmp_to_key(_order))
    distinct = [p for k, p in enumerate(inside) if k == 0 or cross(inside[k - 1], p)]
    borders = [sector.begin, *distinct, sector.end]
    for k, begin in enumerate(borders[:-1]):
        yield begin, borders[k + 1], sector.layer if k == 0 else layer, rows


def _bending(ends: Sequence[End]) -> list[End]:
    """The ends without those at which the network is linear, as far as arcs stay short."""
    kept: list[End] = []
    for k, end in enumerate(ends):
        after = ends[k + 1] if k + 1 < len(ends) else kept[0]
        before = (kept or ends)[-1]
        short = len(kept) + len(ends) - k > 3 and cross(before.at, after.at) > 0
        if not short or _bends(ends[k - 1], end, ends[(k + 1) % len(ends)]):
            kept.append(end)
    return kept


def _bends(before: End, end: End, after: End) -> bool:
    """Whether the network has different linear pieces on both sides of an end."""
    if end.rows is before.rows:
        return True  # a unit of the last layer switches
    left = before.rows * _active(before.rows, before.at, end.at)[:, None]
    right = end.rows * _active(end.rows, end.at, after.at)[:, None]
    return not np.array_equal(left, right)
