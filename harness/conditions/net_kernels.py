"""Compiled branch and bound over pairs of cells of the sphere, for `harness.conditions.net`.

The search goes into depth, so that a pair of cells looks only at the rows that its parent left
undecided.  With a ceiling fixed in advance that costs no more pairs than the best first: each
pair whose bound is above the ceiling has to be halved, in whatever order.

A cell is the radial projection of a box on the surface of the cube [-1, 1]^n: its centre has one
coordinate +-1, where the half-width is 0.  The centres of a pair of cells, and likewise their
half-widths, stand in one row with the coordinates in turn: x_1, y_1, x_2, y_2, ...
Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.arrays import Array, Bools, Indices
from harness.compiled import njit
from harness.conditions.mean_kernels import mean_norm, subtract_mean


class Rows(NamedTuple):
    """What a pair of cells is bounded with.

    Attributes
    ----------
    W : (ell, n).
    doubt : (ell,) allowance for rounding in w.x.
    opposed : (ell,) whether the row before is antiparallel and no shorter: of the two at most one
    is active.
    alpha : factor of Q.
    """

    W: Array
    doubt: Array
    opposed: Bools
    alpha: float


DEEPEST = 200
"""Halvings after which a pair of cells is left as it is."""


@njit()
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


@njit()
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


@njit()
def narrow(
    rows: Rows, given: Indices, centre: Array, radius: Array, left: Indices, sums: Array
) -> int:
    """Decides which of the rows `given` are active on a pair of cells; how many stay undecided.

    Those stand in `left` afterwards.  In the lower triangles of sums, (3, n, n), the first sum of
    w w^T over active rows grows by that of the rows decided here; the second becomes that of the
    rows left, as far as they can be active together; the third of those active at the centres.
    """
    W, doubt, opposed, _ = rows
    n = W.shape[1]
    sure, possible, middle = sums[0], sums[1], sums[2]
    possible[:], middle[:] = 0.0, 0.0
    kept, last = 0, -1
    for r in given:
        at_x, spread_x, at_y, spread_y = 0.0, doubt[r], 0.0, doubt[r]
        for k in range(n):
            at_x += W[r, k] * centre[2 * k]
            spread_x += abs(W[r, k]) * radius[2 * k]
        if at_x + spread_x <= 0:
            continue
        for k in range(n):
            at_y += W[r, k] * centre[2 * k + 1]
            spread_y += abs(W[r, k]) * radius[2 * k + 1]
        if at_y + spread_y <= 0:
            continue
        certain = at_x > spread_x and at_y > spread_y
        at_middle = at_x > 0 and at_y > 0
        counted = opposed[r] and last == r - 1
        if not certain:
            left[kept] = r
            kept, last = kept + 1, r
        for i in range(n):
            for j in range(i + 1):
                square = W[r, i] * W[r, j]
                if certain:
                    sure[i, j] += square
                    continue
                if at_middle:
                    middle[i, j] += square
                if not counted:
                    possible[i, j] += square
    return kept


@njit()
def extremes(
    sure: Array, more: Array, x: Array, y: Array, alpha: float, work: Array
) -> tuple[float, float]:
    """Least and greatest eigenvalue of sure + more - alpha Q_{x,y}, from lower triangles."""
    n = len(sure)
    for i in range(n):
        for j in range(i + 1):
            work[i, j] = sure[i, j] + more[i, j]
            work[j, i] = work[i, j]
    subtract_mean(work, x, y, alpha)
    return extreme_eigenvalues(work)


@njit()
def bound_pair(
    rows: Rows, centre: Array, radius: Array, sums: Array, work: Array
) -> tuple[float, float]:
    """The residual at the centres and an upper bound on a pair of cells (eq. 5), after `narrow`.

    With S1 and S2 the sums over the rows active everywhere and somewhere on the pair,
    S1 <= S <= S2 in the order of symmetric matrices.  So || S - alpha Q || is at most the
    greater of the top eigenvalue of S2 - alpha Q and minus the bottom one of S1 - alpha Q,
    plus (alpha/pi) (radius of x + radius of y) for Q taken at the centres.  The second is also
    at most alpha || Q ||, since S >= 0.
    """
    alpha, x, y = rows.alpha, centre[0::2], centre[1::2]
    work[:] = 0.0
    theta = subtract_mean(work[0], x, y, alpha)
    spread = cell_radius(x, radius[0::2]) + cell_radius(y, radius[1::2])
    slack = alpha / math.pi * spread
    _, top = extremes(sums[0], sums[1], x, y, alpha, work[0])
    bottom, _ = extremes(sums[0], work[1], x, y, alpha, work[0])
    least, greatest = extremes(sums[0], sums[2], x, y, alpha, work[0])
    below = min(slack - bottom, alpha * mean_norm(theta - spread))
    return max(-least, greatest), max(below, top + slack)


@njit()
def certify(
    rows: Rows, centres: Array, radii: Array, lower: float, rtol: float, budget: int
) -> tuple[float, float, Array, int]:
    """Bounds pairs of cells, from those given (k, 2n), by (1 + rtol) times the best value found.

    Returns
    -------
    lower, upper : the best value found, `lower` or one at `centre`, and the bound on all pairs;
        inf where the budget did not suffice
    centre : (2n,), of the best value; zeros where that is `lower`
    pairs : how many pairs were bounded
    """
    ell, n = rows.W.shape
    undecided = np.arange(4 * ell).astype(np.int32)  # rows, from depth to depth
    ends = np.zeros(DEEPEST + 2, np.int64)  # of those of depth d at ends[d + 1]
    stack = np.empty((2 * DEEPEST + 2, 2, 2 * n))  # centres and radii of the pairs to come
    depths = np.empty(len(stack), np.int64)
    decided = np.empty((len(stack), n, n))  # the parent's sum over rows that are active everywhere
    sums, work = np.empty((3, n, n)), np.empty((2, n, n))
    best, upper, pairs = np.zeros(2 * n), 0.0, 0
    ends[1] = ell
    for face in range(len(centres)):
        stack[0, 0], stack[0, 1], depths[0], decided[0] = centres[face], radii[face], 0, 0.0
        height = 1
        while height > 0:
            if pairs == budget:
                return lower, np.inf, best, pairs
            height, pairs = height - 1, pairs + 1
            centre, radius = stack[height, 0], stack[height, 1]
            depth, sums[0] = depths[height], decided[height]
            begin, end = ends[depth], ends[depth + 1]
            if 2 * end > len(undecided):
                undecided = np.append(undecided, undecided)
            given, left = undecided[begin:end], undecided[end:]
            kept = narrow(rows, given, centre, radius, left, sums)
            value, bound = bound_pair(rows, centre, radius, sums, work)
            if value > lower:
                lower, best = value, centre.copy()
            if bound <= (1 + rtol) * lower or depth + 1 == DEEPEST:
                upper = max(upper, bound)
                continue
            ends[depth + 2] = end + kept
            side = np.argmax(radius)
            radius[side] /= 2
            stack[height + 1] = stack[height]
            centre[side] -= radius[side]
            stack[height + 1, 0, side] += radius[side]
            for half in (height, height + 1):
                depths[half], decided[half] = depth + 1, sums[0]
            height += 2
    return lower, upper, best, pairs
