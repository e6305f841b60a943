"""Real roots of polynomials in an interval, none missed: subdivision in Bernstein form."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from harness.landscape.tolerances import ZERO_COEFFICIENT

Array = NDArray[np.float64]

DEPTH = 50
"""Halvings of [-1, 1] at most: intervals of 2^-49 are at the rounding of a root near 1."""


def roots_in_interval(coefficients: Array) -> tuple[NDArray[np.int64], Array]:
    """Real roots in [-1, 1] of R polynomials, sum_k c_k z^k: (R, N + 1) -> polynomial, root.

    In Bernstein form a polynomial has no more roots in its interval than its coefficients have
    sign changes.  An interval without a sign change is dropped; the others are halved until they
    are as short as rounding allows.  Roots of even multiplicity are found too.  The zero polynomial
    is taken to have no roots.

    Returns
    -------
    polynomial : (R,) index of the polynomial
    root : (R,) ascending for each polynomial
    """
    form = coefficients @ _bernstein_of_powers(coefficients.shape[1] - 1).T
    scale = np.abs(form).max(axis=1, initial=0)
    index = np.flatnonzero(scale > 0)
    form = form[index] / scale[index, None]
    low = np.full(index.size, -1.0)
    length = 2.0
    ends: list[tuple[NDArray[np.int64], Array, Array]] = []
    for depth in range(DEPTH + 1):
        mixed = (form.min(axis=1) <= ZERO_COEFFICIENT) & (form.max(axis=1) >= -ZERO_COEFFICIENT)
        index, low, form = index[mixed], low[mixed], form[mixed]
        ended = (np.abs(form).max(axis=1, initial=0) <= ZERO_COEFFICIENT) | (depth == DEPTH)
        ends.append((index[ended], low[ended], low[ended] + length))
        index, low, form = index[~ended], low[~ended], form[~ended]
        left, right = _halve(form)
        length /= 2
        index, low = np.tile(index, 2), np.concatenate([low, low + length])
        form = np.concatenate([left, right])
    return _merge(*(np.concatenate(column) for column in zip(*ends, strict=True)))


def _merge(index: NDArray[np.int64], low: Array, high: Array) -> tuple[NDArray[np.int64], Array]:
    """Middles of the unions of intervals that touch."""
    order = np.lexsort((low, index))
    index, low, high = index[order], low[order], high[order]
    gap = low[1:] - high[:-1]
    width = (high - low)[1:] + (high - low)[:-1]
    fresh = np.ones(index.size, dtype=bool)
    fresh[1:] = (index[1:] != index[:-1]) | (gap > width)
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], index.size)[: first.size] - 1
    return index[first], (low[first] + high[last]) / 2


def _bernstein_of_powers(degree: int) -> Array:
    """Matrix (N + 1, N + 1) from coefficients of z^k, z in [-1, 1], to Bernstein coefficients.

    By the blossom: the i-th coefficient of z^k is the mean, over all choices of k of N arguments,
    of their product, when i arguments are 1 and the others -1.
    """
    matrix = np.zeros((degree + 1, degree + 1))
    for i in range(degree + 1):
        for k in range(degree + 1):
            total = sum(
                comb(i, a) * comb(degree - i, k - a) * (-1) ** (k - a) for a in range(k + 1)
            )
            matrix[i, k] = total / comb(degree, k)
    return matrix


def _halve(form: Array) -> tuple[Array, Array]:
    """De Casteljau at the middle: coefficients on the two halves."""
    left, right = [form[:, 0]], [form[:, -1]]
    while form.shape[1] > 1:
        form = (form[:, :-1] + form[:, 1:]) / 2
        left.append(form[:, 0])
        right.append(form[:, -1])
    return np.stack(left, axis=1), np.stack(right[::-1], axis=1)
