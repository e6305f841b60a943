"""Compiled branch and bound over four angles, for `harness.conditions.exact_joint`.

A box has a centre (h, x, m, y, exchanged) and half-widths (of the four polar angles, and 0).  h and
x belong to the matrix whose rows the inequality sums, m and y to the one that weighs them: B and C
in (6), where exchanged = 0; C and B in (7), where exchanged = 1.
A symmetric 2x2 matrix is kept as (t, p, q) = [[t + p, q], [q, t - p]], with eigenvalues
t +- hypot(p, q).  Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.arrays import Array
from harness.compiled import njit
from harness.conditions.branch_kernels import best_first
from harness.conditions.mean_kernels import mean_norm, overlap, plane_mean

TOL = 1e-14
"""Allowance, relative to the row's norm, for rounding in a projection or in an angle."""


class Pair(NamedTuple):
    """The two matrices that a box is bounded with.

    Attributes
    ----------
    rows : (2, ell, 3), w and ||w|| of B and of C.
    squares : (2, ell, 3), (t, p, q) of ell w w^T.
    alpha : factor of the mean.
    """

    rows: Array
    squares: Array
    alpha: float


@njit()
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


@njit()
def folded(a: float, b: float) -> float:
    """The angle in [0, pi] between directions at polar angles a, b that differ by < 2 pi."""
    theta = abs(a - b)
    return min(theta, 2 * math.pi - theta)


@njit()
def bound_box(pair: Pair, angles: Array, radii: Array) -> tuple[float, float]:
    """The residual of (6), or (7), at the centre of a box and an upper bound on the box.

    With the weights (c.m)_+ (c.y)_+ at their least over the rows of B surely active, and at their
    greatest over those possibly active, low <= S <= high in the order of symmetric matrices; the
    mean is between q_low alpha Q and q_high alpha Q, Q >= 0, and Q is (1/pi)-Lipschitz.
    """
    rows, squares, alpha = pair
    outer = int(angles[4])
    low, high, centre = np.zeros(3), np.zeros(3), np.zeros(3)
    cosine, sine = np.cos(angles), np.sin(angles)
    cr, sr = np.cos(radii), np.sin(radii)
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
    theta, phi = folded(angles[0], angles[1]), folded(angles[2], angles[3])
    spread = radii[2] + radii[3] + TOL
    q, q_low, q_high = overlap(phi), overlap(phi + spread), overlap(phi - spread)
    turn = angles[0] + angles[1]
    tau, u, v = plane_mean(theta, math.sin(theta), math.cos(turn), math.sin(turn), alpha)
    value = abs(centre[0] - q * tau) + math.hypot(centre[1] - q * u, centre[2] - q * v)
    slope = alpha / math.pi * (radii[0] + radii[1])
    top = high[0] - q_low * tau + math.hypot(high[1] - q_low * u, high[2] - q_low * v)
    bottom = low[0] - q_high * tau - math.hypot(low[1] - q_high * u, low[2] - q_high * v)
    below = min(
        q_high * slope - bottom, alpha * q_high * mean_norm(theta - (radii[0] + radii[1] + TOL))
    )
    return value, max(top + q_low * slope, below)


branch_and_bound = best_first(bound_box)


@njit()
def search_boxes(
    pair: Pair, centres: Array, radii: Array, rtol: float, budget: int
) -> tuple[float, float, Array, int]:
    """`branch_and_bound` over boxes of angles, from those given, (k, 5) each."""
    return branch_and_bound(pair, centres, radii, rtol, budget)
