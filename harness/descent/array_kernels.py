"""Compiled: products with rows of flat arrays, and views without reference counts.

Importing this module compiles it or loads it from the cache: import it inside the function that
needs it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from harness.arrays import Array, Ints
from harness.compiled import njit

Records = NDArray[np.void]

FAST = {"reassoc", "contract"}
"""The compiler may reorder and fuse sums; NaN and infinity keep their meaning."""

BLOCK = 1024
"""Units of a layer that a product works on together: 8 KiB, so that they stay in the L1 cache."""


def _borrowed(context: Any, array: Any) -> Any:
    """The array as a view without reference counts, valid while something else holds its owner.

    Numba counts a reference, by an atomic operation, whenever an array is passed on or sliced.
    It is safe where it is used: `advance` borrows its arguments, which its caller holds until it
    returns, and lets no view escape.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


borrowed: Any = intrinsic(_borrowed)


@njit(error_model="numpy")
def fill(x: Array, value: float) -> None:
    """Set every entry."""
    for j in range(len(x)):
        x[j] = value


@njit(error_model="numpy")
def copy(x: Array, out: Array) -> None:
    """out[:len(x)] = x."""
    for j in range(len(x)):
        out[j] = x[j]


@njit(error_model="numpy")
def negate(x: Array, out: Array) -> None:
    """out = -x."""
    for i in range(len(x)):
        out[i] = -x[i]


@njit(error_model="numpy", fastmath=FAST)
def norm(x: Array) -> float:
    """||x||, infinite where the squares overflow."""
    total = 0.0
    for value in x:
        total += value * value
    return math.sqrt(total)


@njit(error_model="numpy", fastmath=FAST)
def distance(x: Array, y: Array) -> float:
    """||x - y||."""
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - y[i]) ** 2
    return math.sqrt(total)


@njit(error_model="numpy")
def transpose(W: Array, order: Ints, out: Array) -> None:
    """out = W[order]^T, flattened; eight rows at a time, so that a cache line is written whole."""
    rows, columns = W.shape
    i = 0
    while i + 8 <= rows:
        row0, row1, row2, row3 = W[order[i]], W[order[i + 1]], W[order[i + 2]], W[order[i + 3]]
        row4, row5, row6, row7 = W[order[i + 4]], W[order[i + 5]], W[order[i + 6]], W[order[i + 7]]
        for j in range(columns):
            start = j * rows + i
            out[start], out[start + 1], out[start + 2] = row0[j], row1[j], row2[j]
            out[start + 3], out[start + 4], out[start + 5] = row3[j], row4[j], row5[j]
            out[start + 6], out[start + 7] = row6[j], row7[j]
        i += 8
    while i < rows:
        row0 = W[order[i]]
        for j in range(columns):
            out[j * rows + i] = row0[j]
        i += 1


@njit(error_model="numpy", fastmath=FAST)
def add_rows(
    out: Array, rows: Array, first: int, stride: int, which: Ints, coef: Array, count: int
) -> None:
    """out += sum of coef[q] R[which[q]] over q < count; row i of R begins at first + i stride."""
    for low in range(0, len(out), BLOCK):
        target = out[low : low + BLOCK]
        size, start, q = len(target), first + low, 0
        while q + 5 <= count:
            a, b = start + which[q] * stride, start + which[q + 1] * stride
            c, d = start + which[q + 2] * stride, start + which[q + 3] * stride
            e = start + which[q + 4] * stride
            row0, row1, row2 = rows[a : a + size], rows[b : b + size], rows[c : c + size]
            row3, row4 = rows[d : d + size], rows[e : e + size]
            c0, c1, c2, c3, c4 = coef[q], coef[q + 1], coef[q + 2], coef[q + 3], coef[q + 4]
            for j in range(size):
                target[j] += (
                    c0 * row0[j] + c1 * row1[j] + c2 * row2[j] + c3 * row3[j] + c4 * row4[j]
                )
            q += 5
        while q < count:
            a, c0 = start + which[q] * stride, coef[q]
            row0 = rows[a : a + size]
            for j in range(size):
                target[j] += c0 * row0[j]
            q += 1


@njit(error_model="numpy", fastmath=FAST)
def dots(
    out: Array, rows: Array, first: int, stride: int, which: Ints, v: Array, count: int
) -> None:
    """out[q] = R[which[q]] . v for q < count; row i of R begins at first + i stride."""
    for q in range(count):
        out[q] = 0.0
    for low in range(0, len(v), BLOCK):
        part = v[low : low + BLOCK]
        size, start, q = len(part), first + low, 0
        while q + 5 <= count:
            a, b = start + which[q] * stride, start + which[q + 1] * stride
            c, d = start + which[q + 2] * stride, start + which[q + 3] * stride
            e = start + which[q + 4] * stride
            row0, row1, row2 = rows[a : a + size], rows[b : b + size], rows[c : c + size]
            row3, row4 = rows[d : d + size], rows[e : e + size]
            s0, s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(size):
                value = part[j]
                s0 += value * row0[j]
                s1 += value * row1[j]
                s2 += value * row2[j]
                s3 += value * row3[j]
                s4 += value * row4[j]
            out[q] += s0
            out[q + 1] += s1
            out[q + 2] += s2
            out[q + 3] += s3
            out[q + 4] += s4
            q += 5
        while q < count:
            a, s0 = start + which[q] * stride, 0.0
            row0 = rows[a : a + size]
            for j in range(size):
                s0 += part[j] * row0[j]
            out[q] += s0
            q += 1
