"""Compiled sweep over all pairs of cells of the circle, for `harness.conditions.exact`.

Importing this module compiles, or loads from the cache: import it inside the function that needs
it.  A symmetric 2x2 matrix is kept as (t, p, q) = [[t + p, q], [q, t - p]], whose norm is
|t| + hypot(p, q).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.arrays import Array, Bools, Ints
from harness.compiled import njit
from harness.conditions.mean_kernels import mean_norm, plane_mean

ARC, SLIVER, EMPTY = range(3)
"""Kinds of cells: open arcs, those of a width near rounding, and what no x is in."""


class Cells(NamedTuple):
    """Cell k lies between switch k and switch k + 1 (cyclically), counter-clockwise.

    Attributes
    ----------
    row, on : (E,) the row that switch k toggles, and whether it becomes active.
    centre, radius : (E,) polar angle of the middle of the cell, half its width.
    kind : (E,) ARC, SLIVER or EMPTY.
    start : (ell,) the rows active in the last cell, just before switch 0.
    """

    row: Ints
    on: Bools
    centre: Array
    radius: Array
    kind: Ints
    start: Bools


@njit()
def extremes(
    t: float, p: float, q: float, a: float, b: float, alpha: float
) -> tuple[float, float, float]:
    """The greatest eigenvalue of S - alpha Q_{x,y} and of its negative, and the angle of x and y.

    S = (t, p, q) and x, y at polar angles a, b; the norm (eq. 5) is the greater of the two.
    """
    theta = abs(a - b)
    if theta > math.pi:
        theta = 2 * math.pi - theta
    mean = plane_mean(theta, math.sin(theta), math.cos(a + b), math.sin(a + b), alpha)
    deviation = math.sqrt((p - mean[1]) ** 2 + (q - mean[2]) ** 2)
    t -= mean[0]
    return deviation + t, deviation - t, theta


@njit()
def centre_value(
    t: float,
    p: float,
    q: float,
    turn: float,
    cos: Array,
    sin: Array,
    i: int,
    j: int,
    alpha: float,
) -> float:
    """The norm of S - alpha Q (eq. 5) for x, y in the middle of cells i, j, `turn` apart.

    The greater of the first two results of `extremes`, from the cosines and sines (E,) of the
    cells' centres.
    """
    theta = 2 * math.pi - turn if turn > math.pi else turn
    sine = abs(sin[j] * cos[i] - cos[j] * sin[i])
    cosine_of_sum = cos[i] * cos[j] - sin[i] * sin[j]
    sine_of_sum = sin[i] * cos[j] + cos[i] * sin[j]
    mean = plane_mean(theta, sine, cosine_of_sum, sine_of_sum, alpha)
    u, v = p - mean[1], q - mean[2]
    return abs(t - mean[0]) + math.sqrt(u * u + v * v)


@njit()
def refine_pair(
    S: Array, box: Array, alpha: float, rtol: float, lower: float, best: Array, stack: Array
) -> tuple[float, int]:
    """Branch and bound over one pair of cells, on which S is constant and only Q varies.

    box : (4,), centre and half-width of x, then of y.
    best : (3,), the greatest value found and its two angles; updated.
    stack : (k, 4) of working space; a depth-first search by halves needs one row a level.

    Returns
    -------
    upper, evaluations
        `upper` bounds the residual on the box, and no sub-box was given up above
        (1 + rtol) lower unless narrower than a quarter of that tolerance.
    """
    slope = alpha / math.pi
    upper, evaluations, depth = 0.0, 0, 1
    stack[0] = box
    while depth > 0:
        depth -= 1
        a, ra, b, rb = stack[depth]
        above, below, theta = extremes(S[0], S[1], S[2], a, b, alpha)
        value = max(above, below)
        evaluations += 1
        if value > best[0]:
            best[0], best[1], best[2] = value, a, b
        lower = max(lower, value)
        slack = slope * (ra + rb)
        bound = max(above + slack, min(below + slack, alpha * mean_norm(theta - (ra + rb))))
        if bound <= (1 + rtol) * lower or slack <= 0.25 * rtol * lower or depth > 250:
            upper = max(upper, bound)
        elif ra >= rb:
            stack[depth, 0], stack[depth, 1] = a + ra / 2, ra / 2
            stack[depth + 1, 0], stack[depth + 1, 1] = a - ra / 2, ra / 2
            stack[depth : depth + 2, 2], stack[depth : depth + 2, 3] = b, rb
            depth += 2
        else:
            stack[depth : depth + 2, 0], stack[depth : depth + 2, 1] = a, ra
            stack[depth, 2], stack[depth, 3] = b + rb / 2, rb / 2
            stack[depth + 1, 2], stack[depth + 1, 3] = b - rb / 2, rb / 2
            depth += 2
    return upper, evaluations


@njit()
def sweep(
    first: int,
    last: int,
    cells: Cells,
    parts: Array,
    alpha: float,
    rtol: float,
    lower: float,
    refine: bool,
    found: Array,
) -> int:
    """All pairs (i, j >= i) of cells with first <= i < last: O(ell) each i, O(1) each pair.

    Every i starts from a fresh sum over the rows active in cell i; going on to cell j toggles one
    row, which counts if it is active in cell i.

    Parameters
    ----------
    parts : (ell, 3)
        (t, p, q) of each w w^T.
    rtol, lower : float
        With `refine`, a pair whose upper end exceeds (1 + rtol) lower is subdivided.
    found : (E, 2, 5)
        Written for first <= i < last: greatest value, its angles and cell j, upper bound; in
        [:, 0] over all cells, in [:, 1] over pairs of arcs alone.

    Returns
    -------
    int
        Residuals evaluated.
    """
    row, on, centre, radius, kind, start = cells
    count, slope, evaluations = len(row), alpha / math.pi, 0
    active = start.copy()
    for k in range(first):
        active[row[k]] = on[k]
    S, box, best, stack = np.empty(3), np.empty(4), np.empty(3), np.empty((256, 4))
    cos, sin = np.cos(centre), np.sin(centre)
    for i in range(first, last):
        active[row[i]] = on[i]
        found[i] = 0.0
        found[i, :, 0] = -1.0
        if kind[i] == EMPTY:
            continue
        level, upper = lower, 0.0
        t, p, q = 0.0, 0.0, 0.0
        for r in range(len(parts)):
            if active[r]:
                t, p, q = t + parts[r, 0], p + parts[r, 1], q + parts[r, 2]
        for j in range(i, count):
            if j > i and active[row[j]]:
                sign = 1.0 if on[j] else -1.0
                t += sign * parts[row[j], 0]
                p += sign * parts[row[j], 1]
                q += sign * parts[row[j], 2]
            if kind[j] == EMPTY:
                continue
            value = centre_value(t, p, q, centre[j] - centre[i], cos, sin, i, j, alpha)
            evaluations += 1
            bound = value + slope * (radius[i] + radius[j])
            best[0], best[1], best[2] = value, centre[i], centre[j]
            if refine and bound > (1 + rtol) * level:
                S[0], S[1], S[2] = t, p, q
                box[0], box[1], box[2], box[3] = centre[i], radius[i], centre[j], radius[j]
                bound, boxes = refine_pair(S, box, alpha, rtol, level, best, stack)
                evaluations += boxes
                level = max(level, best[0])
            upper = max(upper, bound)
            for which in range(2):
                if best[0] > found[i, which, 0] and (which == 0 or kind[i] + kind[j] == ARC):
                    found[i, which, :3] = best
                    found[i, which, 3] = j
        found[i, :, 4] = upper
    return evaluations
