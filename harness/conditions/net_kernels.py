"""Compiled branch and bound over pairs of cells of the sphere, for `harness.conditions.net`.

A cell is the radial projection of a box on the surface of the cube [-1, 1]^n: its centre has one
coordinate +-1, where the half-width is 0.  The centres of a pair of cells, and likewise their
half-widths, stand in one row with the coordinates in turn: x_1, y_1, x_2, y_2, ...
Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.arrays import Array, Bools
from harness.compiled import njit
from harness.conditions.branch_kernels import best_first
from harness.conditions.mean_kernels import mean_norm, subtract_mean


class Rows(NamedTuple):
    """What a pair of cells is bounded with.

    W : (ell, n).
    doubt : (ell,) allowance for rounding in w.x.
    opposed : (ell,) whether the row before is antiparallel and no shorter: of the two at most one
    is active.
    alpha : factor of Q.
    work : (3, n, n) working space.
    """

    W: Array
    doubt: Array
    opposed: Bools
    alpha: float
    work: Array


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
def add_rows(rows: Rows, centre: Array, radius: Array) -> None:
    """Sums of w w^T over the rows active on a whole pair of cells, somewhere on it, at its centres.

    Writes them to rows.work[0], [1] and [2]; centre and radius are (2n,).
    """
    W, doubt, opposed, _, work = rows
    ell, n = W.shape
    sure, possible, middle = work[0], work[1], work[2]
    work[:] = 0.0
    last = -1
    for r in range(ell):
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
        last = r
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
    for i in range(n):
        for j in range(i + 1):  # so far without the rows that are certain
            middle[i, j] += sure[i, j]
            possible[i, j] += sure[i, j]
            sure[j, i], middle[j, i], possible[j, i] = sure[i, j], middle[i, j], possible[i, j]


@njit()
def bound_pair(rows: Rows, centre: Array, radius: Array) -> tuple[float, float]:
    """The residual at the centres and an upper bound on a pair of cells (eq. 5).

    With `sure` and `possible` the sums over the rows active everywhere and somewhere on the pair,
    sure <= S <= possible in the order of symmetric matrices.  So || S - alpha Q || is at most the
    greater of the top eigenvalue of possible - alpha Q and minus the bottom one of
    sure - alpha Q, plus (alpha/pi) (radius of x + radius of y) for Q taken at the centres.  The
    second is also at most alpha || Q ||, since S >= 0.
    """
    add_rows(rows, centre, radius)
    alpha, work = rows.alpha, rows.work
    x, y = centre[0::2], centre[1::2]
    theta = 0.0
    for which in range(3):
        theta = subtract_mean(work[which], x, y, alpha)
    spread = cell_radius(x, radius[0::2]) + cell_radius(y, radius[1::2])
    slack = alpha / math.pi * spread
    bottom, _ = extreme_eigenvalues(work[0])
    _, top = extreme_eigenvalues(work[1])
    least, greatest = extreme_eigenvalues(work[2])
    below = min(slack - bottom, alpha * mean_norm(theta - spread))
    return max(-least, greatest), max(below, top + slack)


branch_and_bound = best_first(bound_pair)


@njit()
def search_pairs(
    rows: Rows, centres: Array, radii: Array, rtol: float, budget: int
) -> tuple[float, float, Array, int]:
    """`branch_and_bound` over pairs of cells, from those given, (k, 2n) each."""
    return branch_and_bound(rows, centres, radii, rtol, budget)
