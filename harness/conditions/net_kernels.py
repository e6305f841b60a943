"""Compiled branch and bound over pairs of cells of the sphere, for `harness.conditions.net`.

A cell is what a box on the surface of the cube [-1, 1]^n projects to: centre c with one coordinate
+-1, half-widths r with r = 0 there.  A pair is a row (x centre, x radii, y centre, y radii).
Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from harness.conditions.exact_kernels import mean_norm
from harness.conditions.heap_kernels import pop, push

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@numba.njit(cache=True, nogil=True)
def extreme_eigenvalues(A: Array) -> tuple[float, float]:
    """Least and greatest eigenvalue of a small symmetric matrix, which is destroyed (Jacobi)."""
    n = len(A)
    for _ in range(30):
        off, total = 0.0, 0.0
        for i in range(n):
            for j in range(n):
                total += A[i, j] ** 2
                if i != j:
                    off += A[i, j] ** 2
        if off <= 1e-32 * total:
            break
        for i in range(n):
            for j in range(i + 1, n):
                if A[i, j] == 0.0:
                    continue
                tau = (A[j, j] - A[i, i]) / (2 * A[i, j])
                t = 1 / (abs(tau) + math.sqrt(1 + tau * tau))
                if tau < 0:
                    t = -t
                c = 1 / math.sqrt(1 + t * t)
                s = t * c
                for k in range(n):
                    A[k, i], A[k, j] = c * A[k, i] - s * A[k, j], s * A[k, i] + c * A[k, j]
                for k in range(n):
                    A[i, k], A[j, k] = c * A[i, k] - s * A[j, k], s * A[i, k] + c * A[j, k]
    least, greatest = A[0, 0], A[0, 0]
    for i in range(1, n):
        least, greatest = min(least, A[i, i]), max(greatest, A[i, i])
    return least, greatest


@numba.njit(cache=True, nogil=True)
def subtract_q(A: Array, x: Array, y: Array, alpha: float) -> float:
    """Puts A - alpha Q_{x,y} in place of A; the angle of x and y.

    With b = xhat + yhat and d = xhat - yhat,
    sin(theta) M = (|d| / 2|b|) b b^T - (|b| / 2|d|) d d^T.
    """
    n = len(x)
    xx, yy = 0.0, 0.0
    for k in range(n):
        xx, yy = xx + x[k] ** 2, yy + y[k] ** 2
    u, v = 1 / math.sqrt(xx), 1 / math.sqrt(yy)
    bb, dd = 0.0, 0.0
    for k in range(n):
        bb += (x[k] * u + y[k] * v) ** 2
        dd += (x[k] * u - y[k] * v) ** 2
    bb, dd = math.sqrt(bb), math.sqrt(dd)
    theta = 2 * math.atan2(dd, bb)
    plus = dd / (2 * bb) if bb > 0 else 0.0
    minus = bb / (2 * dd) if dd > 0 else 0.0
    scale = alpha / (2 * math.pi)
    for i in range(n):
        A[i, i] -= scale * (math.pi - theta)
        for j in range(n):
            A[i, j] -= scale * (
                plus * (x[i] * u + y[i] * v) * (x[j] * u + y[j] * v)
                - minus * (x[i] * u - y[i] * v) * (x[j] * u - y[j] * v)
            )
    return theta


@numba.njit(cache=True, nogil=True)
def cell_radius(centre: Array, radii: Array) -> float:
    """Greatest angle between the centre of a cell and a point of it.

    It is attained at a corner, since caps of less than a quarter circle are convex.
    """
    n = len(centre)
    length = 0.0
    for k in range(n):
        length += centre[k] ** 2
    length = math.sqrt(length)
    worst = 0.0
    for corner in range(1 << n):
        along, square, repeated = 0.0, 0.0, False
        for k in range(n):
            step = radii[k]
            if (corner >> k) & 1:
                step = -step
                repeated = repeated or step == 0.0
            along += step * centre[k]
            square += step * step
        if repeated:
            continue
        along /= length
        across = math.sqrt(max(square - along * along, 0.0))
        worst = max(worst, math.atan2(across, length + along))
    return worst


@numba.njit(cache=True, nogil=True)
def bound_pair(
    W: Array, doubt: Array, opposed: Bools, pair: Array, alpha: float, work: Array
) -> tuple[float, float]:
    """The residual at the centres and an upper bound on the pair of cells (eq. 5).

    With `sure` and `possible` the sums over the rows active everywhere and somewhere on the pair,
    sure <= S <= possible in the order of symmetric matrices, so || S - alpha Q || is at most the
    greater of the top eigenvalue of possible - alpha Q and minus the bottom one of
    sure - alpha Q, plus (alpha/pi) (radius of x + radius of y) for Q taken at the centres.  The
    second is also at most alpha || Q ||, S being >= 0.

    doubt : (ell,) allowance for rounding in w.x.   opposed : (ell,) whether the row before is
    antiparallel and no shorter: of the two at most one is active.   work : (3, n, n).
    """
    ell, n = W.shape
    x, rx, y, ry = pair[:n], pair[n : 2 * n], pair[2 * n : 3 * n], pair[3 * n :]
    sure, possible, centre = work[0], work[1], work[2]
    work[:] = 0.0
    last = -1
    for r in range(ell):
        at_x, spread_x, at_y, spread_y = 0.0, doubt[r], 0.0, doubt[r]
        for k in range(n):
            at_x += W[r, k] * x[k]
            spread_x += abs(W[r, k]) * rx[k]
        if at_x + spread_x <= 0:
            continue
        for k in range(n):
            at_y += W[r, k] * y[k]
            spread_y += abs(W[r, k]) * ry[k]
        if at_y + spread_y <= 0:
            continue
        certain = at_x > spread_x and at_y > spread_y
        at_centre = at_x > 0 and at_y > 0
        counted = opposed[r] and last == r - 1
        last = r
        for i in range(n):
            for j in range(i + 1):
                square = W[r, i] * W[r, j]
                if certain:
                    sure[i, j] += square
                    continue
                if at_centre:
                    centre[i, j] += square
                if not counted:
                    possible[i, j] += square
    for i in range(n):
        for j in range(i + 1):  # so far without the rows that are certain
            centre[i, j] += sure[i, j]
            possible[i, j] += sure[i, j]
            sure[j, i], centre[j, i], possible[j, i] = sure[i, j], centre[i, j], possible[i, j]
    theta = 0.0
    for which in range(3):
        theta = subtract_q(work[which], x, y, alpha)
    spread = cell_radius(x, rx) + cell_radius(y, ry)
    slack = alpha / math.pi * spread
    bottom, _ = extreme_eigenvalues(sure)
    _, top = extreme_eigenvalues(possible)
    least, greatest = extreme_eigenvalues(centre)
    below = min(slack - bottom, alpha * mean_norm(theta, spread))
    return max(-least, greatest), max(below, top + slack)


@numba.njit(cache=True, nogil=True)
def search_pairs(
    W: Array,
    doubt: Array,
    opposed: Bools,
    start: Array,
    alpha: float,
    rtol: float,
    budget: int,
    best: Array,
) -> tuple[float, float, int]:
    """Best-first branch and bound from the pairs `start` (k, 4n), halving the widest side.

    Stops when no pair is left above (1 + rtol) times the greatest value found, or after `budget`
    bounds.

    Returns
    -------
    lower, upper, evaluations
        Rounding apart; best (4n,) becomes the pair whose centres attain `lower`.
    """
    n = W.shape[1]
    capacity = len(start) + budget // 2 + 2
    nodes, keys = np.empty((capacity, 4 * n)), np.empty(capacity)
    slots, work = np.empty(capacity, dtype=np.int64), np.empty((3, n, n))
    size, used, evaluations, lower, closed = 0, 0, 0, -1.0, 0.0
    children, parent = np.empty((2, 4 * n)), np.empty(4 * n)
    for k in range(len(start)):
        value, bound = bound_pair(W, doubt, opposed, start[k], alpha, work)
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
        widest = n
        for k in range(n):
            if parent[n + k] > parent[widest]:
                widest = n + k
            if parent[3 * n + k] > parent[widest]:
                widest = 3 * n + k
        for half in range(2):
            children[half] = parent
            children[half, widest] /= 2
            children[half, widest - n] += (2 * half - 1) * children[half, widest]
            value, bound = bound_pair(W, doubt, opposed, children[half], alpha, work)
            evaluations += 1
            if value > lower:
                lower = value
                best[:] = children[half]
            bound = min(bound, key)
            if bound <= (1 + rtol) * lower:
                closed = max(closed, bound)
                continue
            if slot < 0:  # the first child took its parent's place
                slot, used = used, used + 1
            nodes[slot] = children[half]
            size = push(keys, slots, size, bound, slot)
            slot = -1
    if size > 0:
        closed = max(closed, keys[0])
    return lower, closed, evaluations
