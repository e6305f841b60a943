"""Compiled branch and bound over four angles, for `harness.conditions.exact_joint`.

A box is a row (exchanged, then centre and half-width of the polar angles of h, x, m, y), h and x
belonging to the matrix on which the inequality is a 2x2 norm and m, y to the one of the weights.
A symmetric 2x2 matrix is kept as (t, p, q) = [[t + p, q], [q, t - p]], with eigenvalues
t +- hypot(p, q).  Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from harness.conditions.exact_kernels import mean_norm
from harness.conditions.heap_kernels import pop, push

Array = NDArray[np.float64]

TOL = 1e-14
"""Allowance, relative to the row's norm, for rounding in a projection or in an angle."""


@numba.njit(cache=True, nogil=True)
def projections(
    row: Array, cosine: float, sine: float, cr: float, sr: float
) -> tuple[float, float, float]:
    """w.v at the centre of an arc of directions v, and its least and greatest value on the arc.

    row : (w_1, w_2, ||w||).   cosine, sine : of the centre.   cr, sr : of the half-width <= pi/4.
    The least value is only right where it is positive.
    """
    along = row[0] * cosine + row[1] * sine
    across = abs(row[0] * sine - row[1] * cosine)
    doubt = TOL * row[2]
    if along >= row[2] * cr:
        most = row[2]
    else:
        most = along * cr + across * sr
    return along, along * cr - across * sr - doubt, most + doubt


@numba.njit(cache=True, nogil=True)
def folded(a: float, b: float) -> float:
    """The angle in [0, pi] between directions at polar angles a, b that differ by < 2 pi."""
    theta = abs(a - b)
    return min(theta, 2 * math.pi - theta)


@numba.njit(cache=True, nogil=True)
def overlap(theta: float) -> float:
    """m^T Q_{m,y} y = ((pi - theta) cos theta + sin theta)/(2 pi) for unit m, y; decreasing."""
    theta = min(max(theta, 0.0), math.pi)
    return ((math.pi - theta) * math.cos(theta) + math.sin(theta)) / (2 * math.pi)


@numba.njit(cache=True, nogil=True)
def bound_box(rows: Array, squares: Array, box: Array, alpha: float) -> tuple[float, float]:
    """The residual of (6), or (7), at the centre of a box and an upper bound on the box.

    With the weights (c.m)_+ (c.y)_+ at their least over the rows of B surely active, and at their
    greatest over those possibly active, low <= S <= high in the order of symmetric matrices; the
    mean is between q_low alpha Q and q_high alpha Q, Q >= 0, and Q is (1/pi)-Lipschitz.

    rows : (2, ell, 3), w and ||w|| of B and of C.   squares : (2, ell, 3), (t, p, q) of
    ell w w^T.
    """
    outer = int(box[0])
    low, high, centre = np.zeros(3), np.zeros(3), np.zeros(3)
    cosine, sine = np.cos(box[1::2]), np.sin(box[1::2])
    cr, sr = np.cos(box[2::2]), np.sin(box[2::2])
    for i in range(rows.shape[1]):
        b, c = rows[outer, i], rows[1 - outer, i]
        h, h_low, h_high = projections(b, cosine[0], sine[0], cr[0], sr[0])
        if h_high <= 0:
            continue
        x, x_low, x_high = projections(b, cosine[1], sine[1], cr[1], sr[1])
        if x_high <= 0:
            continue
        m, m_low, m_high = projections(c, cosine[2], sine[2], cr[2], sr[2])
        if m_high <= 0:
            continue
        y, y_low, y_high = projections(c, cosine[3], sine[3], cr[3], sr[3])
        if y_high <= 0:
            continue
        for k in range(3):
            part = squares[outer, i, k]
            high[k] += m_high * y_high * part
            if h > 0 and x > 0 and m > 0 and y > 0:
                centre[k] += m * y * part
                if h_low > 0 and x_low > 0 and m_low > 0 and y_low > 0:
                    low[k] += m_low * y_low * part
    theta, phi = folded(box[1], box[3]), folded(box[5], box[7])
    spread = box[6] + box[8] + TOL
    q, q_low, q_high = overlap(phi), overlap(phi + spread), overlap(phi - spread)
    tau = alpha * (math.pi - theta) / (2 * math.pi)
    length = alpha * math.sin(theta) / (2 * math.pi)
    u, v = length * math.cos(box[1] + box[3]), length * math.sin(box[1] + box[3])
    value = abs(centre[0] - q * tau) + math.hypot(centre[1] - q * u, centre[2] - q * v)
    slope = alpha / math.pi * (box[2] + box[4])
    top = high[0] - q_low * tau + math.hypot(high[1] - q_low * u, high[2] - q_low * v)
    bottom = low[0] - q_high * tau - math.hypot(low[1] - q_high * u, low[2] - q_high * v)
    below = min(q_high * slope - bottom, alpha * q_high * mean_norm(theta, box[2] + box[4] + TOL))
    return value, max(top + q_low * slope, below)


@numba.njit(cache=True, nogil=True)
def search_boxes(
    rows: Array,
    squares: Array,
    start: Array,
    alpha: float,
    rtol: float,
    budget: int,
    best: Array,
) -> tuple[float, float, int]:
    """Best-first branch and bound from the boxes `start` (k, 9), halving the widest side.

    Stops when no box is left above (1 + rtol) times the greatest value found, or after `budget`
    bounds.

    Returns
    -------
    lower, upper, evaluations
        Rounding apart; best (9,) becomes the box whose centre attains `lower`.
    """
    capacity = len(start) + budget // 2 + 2
    nodes, keys = np.empty((capacity, 9)), np.empty(capacity)
    slots = np.empty(capacity, dtype=np.int64)
    size, used, evaluations, lower, closed = 0, 0, 0, -1.0, 0.0
    child, parent = np.empty(9), np.empty(9)
    for k in range(len(start)):
        value, bound = bound_box(rows, squares, start[k], alpha)
        if value > lower:
            lower = value
            best[:] = start[k]
        nodes[used] = start[k]
        size = push(keys, slots, size, bound, used)
        used += 1
        evaluations += 1
    while size > 0 and keys[0] > (1 + rtol) * lower and evaluations + 2 <= budget:
        key, slot = keys[0], slots[0]
        size = pop(keys, slots, size)
        parent[:] = nodes[slot]
        widest = 2
        for k in range(4, 10, 2):
            if parent[k] > parent[widest]:
                widest = k
        for half in range(2):
            child[:] = parent
            child[widest] /= 2
            child[widest - 1] += (2 * half - 1) * child[widest]
            value, bound = bound_box(rows, squares, child, alpha)
            evaluations += 1
            if value > lower:
                lower = value
                best[:] = child
            bound = min(bound, key)
            if bound <= (1 + rtol) * lower:
                closed = max(closed, bound)
                continue
            if slot < 0:  # the first child took its parent's place
                slot, used = used, used + 1
            nodes[slot] = child
            size = push(keys, slots, size, bound, slot)
            slot = -1
    if size > 0:
        closed = max(closed, keys[0])
    return lower, closed, evaluations
