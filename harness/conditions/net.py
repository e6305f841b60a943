"""An upper end of the WDC constant for three or four columns, by branch and bound (eq. 5)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.conditions.bracket import Bracket
from harness.conditions.definition import Array, WdcWitness, check_matrix, wdc_residual
from harness.conditions.exact import UNIT, check_scale, signs_certain
from harness.conditions.search import wdc_search

if TYPE_CHECKING:
    from harness.conditions.net_kernels import Rows


BOXES = 1_000_000
"""Pairs of cells that a certificate may bound by default: some 5 s of a core for ell = 200."""
SEARCH = 10_000
"""Budget of the search from which a certificate starts if nothing is known."""
EASIER = 3.0
"""A certificate is first tried at a tolerance, then at one smaller by this factor, to rtol."""


def wdc_net(
    W: ArrayLike,
    alpha: float = 1.0,
    rtol: float = 0.01,
    budget: int = BOXES,
    found: Bracket | None = None,
) -> Bracket:
    """The WDC constant of W between certified ends, by a net that is refined where it matters.

    Pairs of cells of the sphere are bounded as a whole, and halved until their bounds are within a
    tolerance of the best value known.  The tolerance falls to rtol, as far as the budget goes.

    Parameters
    ----------
    W : (ell, n)
        n >= 2; useful at n = 3, and at n = 4 for a rough bound.
    alpha : float
        As in the paper: E sum_i w_i w_i^T = alpha I, rows of variance about 1/ell.
    rtol : float
        Stop once upper <= (1 + rtol) lower.
    budget : int
        Pairs of cells to bound, each in order m n^2 time, where m rows were undecided on the pair
        that was halved into it.
    found : Bracket, optional
        What a search has found: the better its lower end, the fewer pairs.  By default a short
        search of its own.

    Returns
    -------
    Bracket
        The lower end is the best centre tried, or that of `found`; `gap` says what the budget left
        open.

    Raises
    ------
    ValueError
        If W is not a finite matrix of two columns or more, its squares overflow, alpha or rtol is
        not positive, or the budget does not cover the pairs of cube faces, n (2n + 1).

    Notes
    -----
    On a pair of cells a row is active everywhere, nowhere, or undecided (its plane crosses a
    cell), which is exact for boxes on the cube.  The sum S lies between the sums over the rows
    active everywhere and over those active somewhere, in the order of symmetric matrices: this is
    tighter than adding the norm of the undecided rows.  Parallel rows are merged first, and of two
    antiparallel ones, never both active, the longer alone is counted where both are undecided.
    Three or more rows in a plane can leave a gap for ever: at the direction orthogonal to it all
    are undecided, though not every subset of them is active nearby.

    Lipschitz constant of Q, any n: 1/pi in the angle moved by x.  Q_{x,y} is the mean of
    1{w.x>0} 1{w.y>0} w w^T for w ~ N(0, I), and turning x towards a unit u orthogonal to it
    changes v^T Q v at the rate E[delta(w.x) (w.u) 1{w.y>0} (w.v)^2], between +-(2 pi)^{-1/2}
    E[(g.u)_+ (g.v)^2] for g standard in the complement of x; that is greatest at v = u, where
    E[(g.u)_+^3] = sqrt(2/pi) makes it 1/pi.

    Slack 2^-53 (8 ell + 32 n^2) ||W||_F^2 + 1e-13 alpha is added to the upper end.
    """
    from harness.conditions.net_kernels import Rows

    W = check_matrix("W", W)
    check_scale("wdc_net", W, alpha, rtol)
    ell, n = W.shape
    if n < 2 or budget < n * (2 * n + 1):
        raise ValueError(f"wdc_net: {n} columns, budget={budget}: n >= 2, budget >= n (2n + 1)")
    unit = 2.0 ** round(np.log2(max(float(np.sum(W * W)), alpha)) / 2)  # a power: exact
    rows = W / unit
    rows, opposed = merge_parallel(rows[np.sum(rows * rows, axis=1) > 0])
    doubt = 4 * n * UNIT * np.abs(rows).sum(axis=1) + np.finfo(float).tiny
    problem = Rows(rows, doubt, opposed, alpha / unit**2)
    if found is None:
        found = wdc_search(W, alpha, rng=np.random.default_rng(0), budget=SEARCH)
    upper, centre, pairs = _fall(problem, found.lower / unit**2, rtol, budget)
    slack = UNIT * (8 * ell + 32 * n * n) * float(np.sum(W * W)) + 1e-13 * alpha
    method = f"branch and bound on cells, n = {n}"
    if centre.any():
        witness, lower = _witness(W, alpha, centre[0::2], centre[1::2])
        if lower > found.lower:
            return Bracket(lower, max(upper * unit**2, lower) + slack, witness, method, pairs)
    upper = max(upper * unit**2, found.lower) + slack
    method = f"upper: {method}; lower: {found.method}"
    return replace(found, upper=upper, method=method, evaluations=pairs)


def _fall(problem: Rows, lower: float, rtol: float, budget: int) -> tuple[float, Array, int]:
    """Certificates at falling tolerances, until one is at rtol or does not fit into the budget.

    Returns
    -------
    upper, centre, pairs : the least bound certified, the centre of the best value found (2n,),
        zeros where that is `lower`, and how many pairs were bounded
    """
    from harness.conditions.net_kernels import certify

    faces = _face_pairs(problem.W.shape[1])
    centre = np.zeros(faces[0].shape[1])
    tolerance, upper, spent = np.inf, np.inf, 0
    while True:
        lower, bound, better, pairs = certify(problem, *faces, lower, tolerance, budget - spent)
        spent += pairs
        if better.any():
            centre = better
        upper = min(upper, bound)
        if bound == np.inf or min(tolerance, upper / lower - 1) <= rtol:
            return upper, centre, spent
        tolerance = max(rtol, min(tolerance, upper / lower - 1) / EASIER)


def merge_parallel(rows: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Nonzero rows (k, n) with those of exactly one direction merged into one of equal w w^T.

    Returns
    -------
    rows, opposed : (j, n), (j,)
        opposed[r] says that row r - 1 is antiparallel to row r, and no shorter.  Parallel rows
        that differ by rounding stay apart.
    """
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    lead = units[np.arange(len(rows)), np.argmax(np.abs(units), axis=1)]
    groups: dict[bytes, list[int]] = {}
    for k, unit in enumerate(np.round(units * np.sign(lead)[:, None], 9) + 0.0):
        groups.setdefault(unit.tobytes(), []).append(k)
    merged: list[Array] = []
    opposed: list[bool] = []
    for members in groups.values():
        while members:
            first = rows[members[0]]
            line = {k for k in members if k == members[0] or _collinear(first, rows[k])}
            members = [k for k in members if k not in line]
            sides = [rows[[k for k in sorted(line) if (rows[k] @ first > 0) == s]] for s in (1, 0)]
            sides = sorted((side for side in sides if len(side)), key=lambda side: -np.sum(side**2))
            for rank, side in enumerate(sides):
                stretch = np.sqrt(np.sum(side**2) / np.sum(side[0] ** 2)) if len(side) > 1 else 1.0
                merged.append(side[0] * stretch)
                opposed.append(rank == 1)
    return np.array(merged).reshape(-1, rows.shape[1]), np.array(opposed, dtype=bool)


def _collinear(u: Array, v: Array) -> bool:
    """Whether u and v are multiples of each other, exactly."""
    a, b = ([Fraction(float(z)) for z in w] for w in (u, v))
    k = int(np.argmax(np.abs(u)))
    return all(a[k] * b[j] == a[j] * b[k] for j in range(len(a)))


def _face_pairs(n: int) -> tuple[Array, Array]:
    """The pairs of faces of the cube, one of (x, y) and (y, x).

    Returns
    -------
    centres, radii : (n (2n + 1), 2n), with the coordinates of x and y in turn
    """
    centres = (
        np.concatenate([np.eye(n), -np.eye(n)], axis=1).reshape(2 * n, n) + 0.0
    )  # a face a row
    radii = 1.0 - np.abs(centres)
    first, second = np.triu_indices(2 * n)
    pairs = [np.stack([side[first], side[second]], axis=2) for side in (centres, radii)]
    return pairs[0].reshape(-1, 2 * n), pairs[1].reshape(-1, 2 * n)


def _witness(W: Array, alpha: float, x: Array, y: Array) -> tuple[WdcWitness, float]:
    """(x, y), or a nudged pair where rounding would give a w.x the wrong sign, and its residual."""
    tilt = np.cos(np.arange(1, len(x) + 1))
    for nudge in 0.0, 1e-9, -1e-9, 1e-8, -1e-8, 1e-7, -1e-7, 1e-6, -1e-6:
        pair = WdcWitness(x + nudge * tilt, y + nudge * tilt[::-1])
        if all(signs_certain(W, z) for z in pair):
            break
    else:
        raise ArithmeticError("no point near the best one has rows of certain sign")
    return pair, wdc_residual(W, *pair, alpha)
