"""The WDC constant of a matrix with one column, exactly, and with two, to any tolerance (eq. 5).

Why open arcs suffice.  The set of rows active at x is constant on the open arcs between the
directions orthogonal to rows; at such a direction itself the rows orthogonal to it are inactive
(the inequality is strict), which can be a set that neither adjacent arc has, if two of them are
antiparallel.  Yet the supremum over all nonzero x, y is the one over x and y orthogonal to no row,
for every n.  Given x and y, take x' = x - e y + e^2 u and y' = y - e x - e^2 u with small e > 0
and u orthogonal to no row.  A row active at both stays so.  A row with w.x = 0 < w.y, or the
reverse, is inactive at x', or at y'; one with w.x = w.y = 0 has w.x' = -w.y', so is not active at
both; one with w.x < 0 or w.y < 0 stays inactive there.  So the sum is the same at (x', y'), and Q
is continuous.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cmp_to_key
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.conditions.bracket import Bracket
from harness.conditions.definition import Array, WdcWitness, check_matrix, wdc_residual

if TYPE_CHECKING:
    from harness.conditions.exact_kernels import Cells

UNIT = 2.0**-53
"""Relative error of one rounding."""

ANGLE_TOL = 8e-15
"""Twice a bound on the difference of the errors of two computed polar angles in (-pi, 3 pi]."""

NARROW = 1e-12
"""Arcs narrower than this are used for witnesses only where floating point gets all signs right."""


def wdc_exact_1(W: ArrayLike, alpha: float = 1.0) -> Bracket:
    """The WDC constant of a column W (ell, 1): max over x, y in {-1, +1} (eq. 5).

    For x = -y both the sum and Q vanish; for x = y = s it is |sum of w^2 with s w > 0 - alpha/2|.

    Returns
    -------
    Bracket
        upper - lower is the rounding slack alone, about (ell + 8) 2^-53 (||W||_F^2 + alpha).

    Raises
    ------
    ValueError
        If W is not a finite column, its squares overflow, or alpha is not finite and positive.
    """
    W = _check("wdc_exact_1", W, alpha, 1)
    column = W[:, 0]
    values = {s: abs(math.fsum(column[s * column > 0] ** 2) - alpha / 2) for s in (1.0, -1.0)}
    s = max(values, key=values.__getitem__)
    witness = WdcWitness(np.array([s]), np.array([s]))
    lower = wdc_residual(W, *witness, alpha)
    slack = UNIT * (len(W) + 8) * (float(column @ column) + alpha) + np.finfo(float).tiny
    return Bracket(lower, max(values.values()) + slack, witness, "exact, n = 1", evaluations=4)


def wdc_certified_2(
    W: ArrayLike, alpha: float = 1.0, rtol: float = 0.01, threads: int = 1
) -> Bracket:
    """The WDC constant of W (ell, 2) between certified ends within rtol of each other (eq. 5).

    O(ell^2) time and O(ell) memory: the circle is cut into at most 2 ell arcs on which the active
    set is constant, and the sums of all pairs of arcs come from switching one row at a time.  A
    first sweep evaluates the residual at all pairs of centres; a second subdivides those pairs of
    arcs whose upper end exceeds (1 + rtol) times the greatest value.

    Parameters
    ----------
    W : (ell, 2)
        Zero, parallel, antiparallel rows and ell = 1 are allowed.
    alpha : float
        As in the paper: E sum_i w_i w_i^T = alpha I, rows of variance about 1/ell.
    rtol : float
        upper <= (1 + rtol) lower, up to the slack below.
    threads : int
        Threads that share the sweep; the result does not depend on it.

    Returns
    -------
    Bracket
        The witness lies inside arcs.  The gap can exceed rtol only if the constant is attained
        solely on arcs narrower than 1e-12, on which floating point gives w.x a wrong sign: rows
        that are antiparallel but for their rounding make such arcs.

    Raises
    ------
    ValueError
        If W is not a finite two-column matrix, its squares overflow, or alpha, rtol or threads
        is not positive.

    Notes
    -----
    Lipschitz constant.  Let x move at unit speed in the plane of x and y; trace(Q)/2 changes at
    the rate 1/(2 pi), and the deviator sin(theta)/(2 pi) (cos 2 beta, sin 2 beta), 2 beta = a + b
    and theta = |a - b| for polar angles a, b, by (cos 2a, sin 2a)/(2 pi).  So Q changes by at most
    1/(2 pi) + 1/(2 pi) = 1/pi in norm, at x = y and x = -y included (Q is continuous there), and
    on a pair of arcs of half-widths r, s the residual exceeds its value at the centres by at most
    (alpha/pi)(r + s).  As the sum is >= 0, the eigenvalues of alpha Q minus the sum are also at
    most alpha || Q || = alpha (pi - theta + sin theta)/(2 pi), which settles x near y cheaply.

    Slack.  A sum is at most ell additions from fresh and 2 ell switches after that, each wrong by
    at most 2^-53 T in each of three components, T = ||W||_F^2 / 2 bounding every partial sum;
    angles are wrong by 4e-15 at most, Q by a few roundings.  5 (3 ell + 16) 2^-53 T + 4e-14 alpha
    is added to the upper end; it covers the rounding of the naive residual too.  The certificate
    is for exact w.x: a floating-point evaluation can pass it only at x and y both orthogonal within
    rounding to rows that are exactly antiparallel, by finding both of these active.
    """
    W = _check("wdc_certified_2", W, alpha, 2, rtol)
    if threads < 1:
        raise ValueError(f"wdc_certified_2: threads={threads}: must be >= 1")
    cells, directions = _cells(W)
    unit = 2.0 ** round(np.log2(max(float(np.sum(W * W)), alpha)) / 2)  # a power: exact
    a, b = W.T / unit
    parts = np.column_stack([(a * a + b * b) / 2, (a - b) * (a + b) / 2, a * b])
    scaled = alpha / unit**2
    centres, first = _sweep(cells, parts, scaled, rtol, 0.0, False, threads)
    found, second = _sweep(cells, parts, scaled, rtol, centres[:, 0, 0].max(), True, threads)
    witness, lower = _best_witness(W, alpha, cells, directions, np.concatenate([centres, found]))
    slack = 5 * (3 * len(W) + 16) * UNIT * float(parts[:, 0].sum()) + 4e-14 * scaled
    upper = max(float(found[:, 0, 4].max()) * unit**2, lower) + slack * unit**2
    return Bracket(lower, upper, witness, "certified on arcs, n = 2", evaluations=first + second)


def _check(name: str, W: ArrayLike, alpha: float, columns: int, rtol: float = 1.0) -> Array:
    """W with the stated number of columns; ValueError in one line otherwise."""
    W = check_matrix("W", W)
    if W.shape[1] != columns:
        raise ValueError(f"{name}: W has {W.shape[1]} columns, not {columns}")
    check_scale(name, W, alpha, rtol)
    return W


def check_scale(name: str, W: Array, alpha: float, rtol: float) -> None:
    """ValueError in one line unless alpha and rtol are positive and ||W||_F^2 is a number."""
    for key, value in (("alpha", alpha), ("rtol", rtol)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {key}={value}: must be finite and positive")
    with np.errstate(over="ignore"):
        if not np.isfinite(8 * np.sum(W * W)):
            raise ValueError(f"{name}: the squares of the entries of W overflow")


def _cells(W: Array) -> tuple[Cells, Array]:
    """The cells of the circle, and the (E, 2) vectors at which a row switches, exact in floats.

    Row w is active on the open half circle from (w_2, -w_1) to (-w_2, w_1).
    """
    from harness.conditions.exact_kernels import ARC, EMPTY, SLIVER, Cells

    rows = np.flatnonzero(W.any(axis=1))
    if len(rows) == 0:  # the sum is 0 everywhere: one cell, with a switch that changes nothing
        index, zero, no_rows = (
            np.zeros(1, dtype=np.int64),
            np.zeros(1),
            np.zeros(len(W), dtype=bool),
        )
        cells = Cells(index, no_rows[:1], zero, zero + np.pi + ANGLE_TOL, index + ARC, no_rows)
        return cells, np.array([[1.0, 0.0]])
    turn_on = np.column_stack([W[rows, 1], -W[rows, 0]]) + 0.0  # + 0.0: no negative zero
    directions = np.concatenate([turn_on, 0.0 - turn_on])
    order, angles = _sorted_switches(directions, len(rows))
    directions = directions[order]
    on = order < len(rows)
    row = np.concatenate([rows, rows])[order].astype(np.int64)
    widths = np.diff(angles, append=angles[0] + 2 * np.pi)
    centre, radius = angles + widths / 2, widths / 2 + ANGLE_TOL
    kind = np.where(widths <= NARROW, SLIVER, ARC)
    for k in np.flatnonzero(widths <= ANGLE_TOL):
        # Between two switches in one direction lies nothing.  The sums in between are convex
        # combinations of those of the two arcs and of the direction: their norms are no greater.
        if _cross_sign(directions[k], directions[k + 1]) == 0:
            kind[k] = EMPTY
    middle = np.array([np.cos(centre[-1]), np.sin(centre[-1])])  # of the widest arc
    return Cells(row, on, centre, radius, kind, W @ middle > 0), directions


def _sorted_switches(directions: Array, rows: int) -> tuple[NDArray[np.int64], Array]:
    """Counter-clockwise order from the end of the widest gap, and nondecreasing polar angles.

    directions[:rows] turn a row on, the rest turn one off.  Exact: where computed angles are
    closer than their error, cross products of the vectors decide in rational arithmetic; at equal
    directions rows turn off before others turn on.
    """
    angles = np.arctan2(directions[:, 1], directions[:, 0])
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    widest = int(np.argmax(gaps)) + 1
    order = np.roll(order, -widest)
    angles[order[len(order) - widest % len(order) :]] += 2 * np.pi

    def compare(k: int, j: int) -> int:
        return -_cross_sign(directions[k], directions[j]) or (k < rows) - (j < rows) or k - j

    close = np.diff(angles[order]) <= ANGLE_TOL
    starts = np.flatnonzero(np.diff(close.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(close.astype(int), append=0) == -1) + 2
    for a, b in zip(starts, ends, strict=True):
        order[a:b] = sorted(order[a:b].tolist(), key=cmp_to_key(compare))
    return order, np.maximum.accumulate(angles[order])


def _cross_sign(u: Array, v: Array) -> int:
    """Sign of u_1 v_2 - u_2 v_1, exact."""
    a, b, c, d = (Fraction(float(z)) for z in (u[0], v[1], u[1], v[0]))
    return (a * b > c * d) - (a * b < c * d)


def _sweep(
    cells: Cells,
    parts: Array,
    alpha: float,
    rtol: float,
    lower: float,
    refine: bool,
    threads: int,
) -> tuple[Array, int]:
    """`sweep` over all cells, in blocks handed to threads; (E, 2, 5) and the evaluations."""
    from harness.conditions.exact_kernels import sweep

    count = len(cells.row)
    found = np.empty((count, 2, 5))
    edges = np.unique(np.linspace(0, count, 1 + (1 if threads == 1 else 16 * threads)).astype(int))

    def block(edge: tuple[int, int]) -> int:
        first, last = int(edge[0]), int(edge[1])
        return int(sweep(first, last, cells, parts, alpha, rtol, lower, refine, found))

    with ThreadPoolExecutor(threads) as pool:
        return found, sum(pool.map(block, itertools.pairwise(edges)))


def _best_witness(
    W: Array, alpha: float, cells: Cells, directions: Array, found: Array
) -> tuple[WdcWitness, float]:
    """The witness with the greatest naive residual, among those whose signs are certain."""
    from harness.conditions.exact_kernels import SLIVER

    count = len(cells.row)

    def vector(cell: int, angle: float) -> Array:
        if cells.kind[cell] == SLIVER:
            sides = directions[[cell, cell + 1]]
            return np.sum(sides / np.linalg.norm(sides, axis=1, keepdims=True), axis=0)
        return np.array([np.cos(angle), np.sin(angle)])

    def candidates() -> Iterator[WdcWitness]:
        for which in range(2):
            k = int(np.argmax(found[:, which, 0]))
            if found[k, which, 0] >= 0:
                _, a, b, j, _ = found[k, which]
                yield WdcWitness(vector(k % count, a), vector(int(j), b))
        x = vector(count - 1, cells.centre[-1])  # the middle of the widest arc: always certain
        yield WdcWitness(x, x)

    certain = [pair for pair in candidates() if all(signs_certain(W, z) for z in pair)]
    values = [wdc_residual(W, x, y, alpha) for x, y in certain]
    best = int(np.argmax(values))
    return certain[best], values[best]


def signs_certain(W: Array, x: Array) -> bool:
    """Whether w.x > 0 is decided rightly in floating point for every row, as in `wdc_residual`.

    Rows that rounding could misjudge are compared in rational arithmetic.
    """
    computed = np.array([w @ x for w in W])
    doubtful = np.abs(computed) <= 4 * W.shape[1] * UNIT * (np.abs(W) @ np.abs(x)) + 1e-290
    for k in np.flatnonzero(doubtful):
        exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(W[k], x, strict=True))
        if (exact > 0) != (computed[k] > 0):
            return False
    return True
