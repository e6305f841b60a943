"""Compiled branch and bound: the maximum of a function over boxes, between certified ends.

Importing this module loads the compiler, but compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bound = Callable[[Any, Array, Array], tuple[float, float]]
"""(problem, centre (D,), radius (D,)) -> the value at the centre, an upper bound on the box."""
Search = Callable[[Any, Array, Array, float, int], tuple[float, float, Array, int]]
"""(problem, centres (k, D), radii (k, D), rtol, budget) -> lower, upper, centre, evaluations."""


def best_first(bound: Bound) -> Search:
    """A function that finds the maximum over boxes by halving the box with the largest bound.

    Parameters
    ----------
    bound : compiled function
        Evaluates one box of a problem; see `Bound`.

    Returns
    -------
    branch_and_bound : (problem, centres, radii, rtol, budget) -> lower, upper, centre, evaluations
        centres and radii, (k, D), are the centres and half-widths of the boxes to start from.
        It stops once upper <= (1 + rtol) lower, or when `budget` boxes are bounded, including
        those of the start.  lower = the value at `centre` (D,) <= maximum <= upper, up to the
        rounding of `bound`.  Memory is about 8 D + 8 bytes a box.

    Notes
    -----
    A box is halved along its widest side, the first of several.  A half inherits its parent's
    bound where that is the smaller one.  Call the result from a cached function of the module
    that makes it: numba cannot cache a function with another one inside by itself.
    """

    @numba.njit(nogil=True)
    def branch_and_bound(
        problem: Any, centres: Array, radii: Array, rtol: float, budget: int
    ) -> tuple[float, float, Array, int]:
        used = evaluations = len(centres)
        boxes = np.empty((used + max(0, budget - used) // 2, 2, centres.shape[1]))
        queue = [(0.0, 0) for _ in range(used)]  # (-bound, place in boxes), the largest bound first
        lower, closed, best = -np.inf, -np.inf, centres[0]
        for k in range(used):
            boxes[k, 0], boxes[k, 1] = centres[k], radii[k]
            value, upper = bound(problem, centres[k], radii[k])
            queue[k] = (-upper, k)
            if value > lower:
                lower, best = value, centres[k]
        heapify(queue)
        while len(queue) > 0 and -queue[0][0] > (1 + rtol) * lower and used < len(boxes):
            inherited, place = heappop(queue)
            side = np.argmax(boxes[place, 1])
            boxes[place, 1, side] /= 2
            boxes[used] = boxes[place]
            boxes[place, 0, side] -= boxes[place, 1, side]  # one half takes its parent's place
            boxes[used, 0, side] += boxes[used, 1, side]
            for half in (place, used):
                value, upper = bound(problem, boxes[half, 0], boxes[half, 1])
                if value > lower:
                    lower, best = value, boxes[half, 0].copy()
                upper = min(upper, -inherited)
                if upper > (1 + rtol) * lower:
                    heappush(queue, (-upper, half))
                else:
                    closed = max(closed, upper)
            used += 1
            evaluations += 2
        if len(queue) > 0:
            closed = max(closed, -queue[0][0])
        return lower, closed, best, evaluations

    return branch_and_bound
