"""The joint-WDC constant of two matrices with one or two columns each, certified (eqs. 6, 7)."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from harness.conditions.bracket import Bracket
from harness.conditions.definition import (
    Array,
    JointWitness,
    check_matrix,
    joint_wdc_residual,
)
from harness.conditions.exact import UNIT, check_scale, signs_certain

STARTS = 200
"""Boxes that `joint_certified_2` starts from: 2 inequalities, 10 pairs of quarters each for h, x
and for m, y."""


def joint_exact_1(B: ArrayLike, C: ArrayLike, alpha: float = 1.0) -> Bracket:
    """The joint-WDC constant of two columns B, C (ell, 1) (eqs. 6, 7).

    Both inequalities then say the same.  Sum and mean vanish unless h = x = s and m = y = t, signs;
    there the residual is |ell sum of b^2 c^2 with s b > 0 and t c > 0 - alpha/4|.

    Returns
    -------
    Bracket
        upper - lower is the rounding slack alone, about
        (ell + 16) 2^-53 (ell sum b^2 c^2 + alpha).

    Raises
    ------
    ValueError
        If B and C are not finite columns of one length, squares overflow, or alpha is not finite
        and positive.
    """
    B, C = _check("joint_exact_1", B, C, alpha, 1)
    ell = len(B)
    b, c = B[:, 0], C[:, 0]
    product = (b * b) * (c * c)
    values = {
        (s, t): abs(ell * math.fsum(product[(s * b > 0) & (t * c > 0)]) - alpha / 4)
        for s, t in itertools.product((1.0, -1.0), repeat=2)
    }
    s, t = max(values, key=values.__getitem__)
    h, m = np.array([s]), np.array([t])
    witness = JointWitness(h, h.copy(), m, m.copy(), False)
    lower = joint_wdc_residual(B, C, witness, alpha)
    slack = UNIT * (ell + 16) * (ell * float(product.sum()) + alpha) + np.finfo(float).tiny
    return Bracket(lower, max(values.values()) + slack, witness, "exact, n = p = 1", evaluations=16)


def joint_certified_2(
    B: ArrayLike, C: ArrayLike, alpha: float = 1.0, rtol: float = 0.01, budget: int = 1_000_000
) -> Bracket:
    """The joint-WDC constant of B, C (ell, 2) between certified ends (eqs. 6, 7).

    Branch and bound over the four angles of h, x, m, y, which have unit length since
    the residual ignores lengths.  Both inequalities share one queue; the box with the greatest
    bound is halved until all are within rtol of the best value found or the budget is spent.

    Parameters
    ----------
    B, C : (ell, 2)
    alpha : float
        As in the paper: rows of variance about 1/ell have E sum_i b_i b_i^T = alpha I; the mean
        in (6) and (7) is (alpha/ell) (m^T Q_{m,y} y) Q_{h,x}.
    rtol : float
        Stop once upper <= (1 + rtol) lower.
    budget : int
        Boxes to bound, each in order ell time.  Memory is about 44 bytes a box.

    Returns
    -------
    Bracket
        The lower end is the best centre tried; `gap` says what the budget left open.

    Raises
    ------
    ValueError
        If B and C are not finite, of two columns and one length, squares overflow, alpha or rtol
        is not positive, or the budget does not cover the 200 boxes at the start.

    Notes
    -----
    On a box the weights (c.m)_+ (c.y)_+ and the set of active rows of B are bounded from both
    sides, so S lies between two sums in the order of symmetric matrices; m^T Q_{m,y} y =
    ((pi - phi) cos phi + sin phi)/(2 pi), phi = angle(m, y), decreases in phi; Q_{h,x} >= 0 is
    (1/pi)-Lipschitz in each angle, its norm known (see `wdc_certified_2`).  With antiparallel rows
    a gap can stay for ever: both count as possibly active at the direction orthogonal to them.

    Slack (2^-53 (8 ell + 64) + 8e-14) (ell sum ||b||^2 ||c||^2 + alpha) is added to the upper end.
    """
    from harness.conditions.joint_kernels import Pair, search_boxes

    B, C = _check("joint_certified_2", B, C, alpha, 2, rtol)
    if budget < STARTS:
        raise ValueError(f"joint_certified_2: budget={budget}: must be >= {STARTS}")
    keep = B.any(axis=1) & C.any(axis=1)
    # b -> b/u, c -> c/v, alpha -> alpha/(u v)^2 with powers of two, so that scaling is exact.
    largest = [float(np.abs(A).max()) or 1.0 for A in (B, C)]
    u = 2.0 ** round(np.log2(largest[0]))
    uv = 2.0 ** round(np.log2(max(largest[0] * largest[1] if keep.any() else 0.0, np.sqrt(alpha))))
    unit = uv**2
    pair = np.array([B[keep] / u, C[keep] / (uv / u)])
    a, b = pair[..., 0], pair[..., 1]
    rows = np.stack([a, b, np.hypot(a, b)], axis=-1)
    squares = len(B) * np.stack([(a * a + b * b) / 2, (a - b) * (a + b) / 2, a * b], axis=-1)
    problem = Pair(rows, squares, alpha / unit)
    _, upper, centre, evaluations = search_boxes(problem, *_start(), rtol, budget)
    witness, lower = _witness(B, C, alpha, centre)
    size = len(B) * float(np.sum(squares[0, :, 0] * squares[1, :, 0])) * 4 / len(B) ** 2
    slack = (UNIT * (8 * len(B) + 64) + 8e-14) * (size + alpha / unit)
    return Bracket(
        lower, max(upper * unit, lower) + slack * unit, witness,
        "branch and bound on angles, n = p = 2", evaluations,
    )  # fmt: skip


def _check(
    name: str, B: ArrayLike, C: ArrayLike, alpha: float, columns: int, rtol: float = 1.0
) -> tuple[Array, Array]:
    """B and C of equal length and the stated number of columns; ValueError otherwise."""
    B, C = check_matrix("B", B), check_matrix("C", C)
    if len(B) != len(C):
        raise ValueError(f"{name}: B has {len(B)} rows and C has {len(C)}")
    if B.shape[1] != columns or C.shape[1] != columns:
        raise ValueError(f"{name}: {B.shape[1]} and {C.shape[1]} columns, not {columns}")
    for A in (B, C):
        check_scale(name, A, alpha, rtol)
    if not np.isfinite(8 * len(B) * math.prod(float(np.sum(A * A)) for A in (B, C))):
        raise ValueError(f"{name}: the products of squares of the entries overflow")
    return B, C


def _start() -> tuple[Array, Array]:
    """Both inequalities; quarter circles for h, x, m, y, one of each two that exchange.

    Returns
    -------
    centres, radii : (200, 5), (h, x, m, y, exchanged) and half-widths
    """
    quarters = [(k + 0.5) * np.pi / 2 for k in range(4)]
    pairs = list(itertools.combinations_with_replacement(quarters, 2))
    centres = [[*hx, *my, exchanged] for exchanged in (0.0, 1.0) for hx in pairs for my in pairs]
    radii = np.full((len(centres), 5), np.pi / 4 + 1e-15)
    radii[:, 4] = 0.0
    return np.array(centres), radii


def _witness(B: Array, C: Array, alpha: float, centre: Array) -> tuple[JointWitness, float]:
    """The vectors at the centre of a box, nudged if rounding gives some b.h or b.x a wrong sign."""
    exchanged = bool(centre[4])
    active = C if exchanged else B
    for nudge in 0.0, 1e-9, -1e-9, 1e-8, -1e-8, 1e-7, -1e-7, 1e-6, -1e-6:
        angles = centre[:4] + nudge * np.array([1.0, 0.7, 0.0, 0.0])
        h, x, m, y = np.column_stack([np.cos(angles), np.sin(angles)])
        if signs_certain(active, h) and signs_certain(active, x):
            break
    else:
        raise ArithmeticError("no point near the best one has rows of certain sign")
    if exchanged:
        h, x, m, y = m, y, h, x
    witness = JointWitness(h, x, m, y, exchanged)
    return witness, joint_wdc_residual(B, C, witness, alpha)
