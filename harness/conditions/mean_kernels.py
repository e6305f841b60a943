"""The formulas of `harness.conditions.mean` in floats, compiled for the other kernels.

Importing this module loads the compiler, but compiles nothing.
"""

from __future__ import annotations

import math

from harness.arrays import Array
from harness.compiled import njit
from harness.conditions import mean

_compiled = njit()

plane_mean = _compiled(mean.plane_mean)
chord_parts = _compiled(mean.chord_parts)
mean_norm = _compiled(mean.mean_norm)
overlap = _compiled(mean.overlap)


@njit()
def subtract_mean(A: Array, x: Array, y: Array, scale: float) -> float:
    """Replaces A (n, n) by A - scale Q_{x,y} at nonzero x, y (n,); the angle of x and y."""
    n = len(x)
    xx, yy = 0.0, 0.0
    for k in range(n):
        xx, yy = xx + x[k] ** 2, yy + y[k] ** 2
    u, v = 1 / math.sqrt(xx), 1 / math.sqrt(yy)
    ee, ff = 0.0, 0.0
    for k in range(n):
        ee += (x[k] * u + y[k] * v) ** 2
        ff += (x[k] * u - y[k] * v) ** 2
    norm_e, norm_f = math.sqrt(ee), math.sqrt(ff)
    shift, plus, minus = chord_parts(norm_e, norm_f, scale)
    for i in range(n):
        A[i, i] -= shift
        for j in range(n):
            A[i, j] -= plus * (x[i] * u + y[i] * v) * (x[j] * u + y[j] * v) - minus * (
                x[i] * u - y[i] * v
            ) * (x[j] * u - y[j] * v)
    return 2 * math.atan2(norm_f, norm_e)
