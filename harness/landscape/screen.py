"""Which pairs of arcs can hold a stationary point: a cheap test of all, for n = p = 2.

The networks are linear on each arc: G((1 - t) u_i + t u_{i+1}) = (1 - t) G(u_i) + t G(u_{i+1}) for
t in [0, 1], with u_i the boundaries.  So, with a_i = G1(u_i) and b_j = G2(v_j), X = <y0, a*b> on a
pair of arcs is determined by its values at the four corners, and Y = ||a*b||^2 by nine Bernstein
coefficients.  Five matrix products give them for all pairs.

The profile F = ||y0||^2 / 2 - X^2 / (2 Y) has, in the coordinate t along the arc of h,
F_t = -X S / Y^2 with S = X_t Y - X Y_t / 2.  S is linear in t, with the values
X_1 Y_0 - X_0 Y_1 at t = 0 and X_1 Y_1 - X_0 Y_2 at t = 1 (indices: Bernstein coefficients in t),
each a cubic in the coordinate of m.  The pair holds no stationary point if all eight Bernstein
coefficients of S have the same sign, or all eight of the same form in the other coordinate.  X and
Y are sums of terms >= 0 (y0 >= 0 without noise), so each coefficient is a difference of two numbers
that are known to a small relative error.

If this sounds like word soup, here is the picture.  The torus of directions is tiled by thousands
of small rectangles (pairs of arcs), and on each the loss is a simple formula.  A point can only be
stationary if the ground is level there in both directions.  In most rectangles the ground rises
from end to end in one of the two directions, and a glance at a few numbers at the border shows it:
a polynomial lies between its smallest and largest Bernstein coefficient, so if all of them are
positive, the slope is positive everywhere inside.  Those rectangles are thrown away unseen by the
expensive solver.  Edges and corners of rectangles are screened in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Array, Bools
from harness.landscape.tolerances import SURELY_LARGER

Pairs = NDArray[np.int64]
Index = slice | NDArray[np.int64]

BLOCK = 100_000
"""Pairs of arcs in a block, about: the arrays of a block fit into a cache."""


@dataclass(frozen=True)
class Candidates:
    """Where a stationary point may be: (R, 2) indices, of h and of m.

    Attributes
    ----------
    cells : arc, arc
    edges_h : boundary of h, arc of m
    edges_m : arc of h, boundary of m
    corners : boundary, boundary
    """

    cells: Pairs
    edges_h: Pairs
    edges_m: Pairs
    corners: Pairs


@dataclass(frozen=True)
class _Block:
    """Coefficients of X and Y on a block of pairs, with one boundary more on each side.

    The block has boundaries -1, 0, ..., I and arcs -1, ..., I - 1 of h, and the same of m.

    X, Y (I + 2, J + 2) : values at the corners
    Y_h (I + 1, J + 2), Y_m (I + 2, J + 1), Y_hm (I + 1, J + 1) : the middle Bernstein coefficients
        of Y along arcs of h, along arcs of m, and along both
    """

    X: Array
    Y: Array
    Y_m: Array
    Y_h: Array
    Y_hm: Array

    @property
    def T(self) -> _Block:
        """With h and m exchanged."""
        return _Block(self.X.T, self.Y.T, self.Y_h.T, self.Y_m.T, self.Y_hm.T)

    def cell(self, i: Index, j: Index) -> tuple[list[list[Array]], list[list[Array]]]:
        """X[a][b] and Y[a][b], Bernstein indices a of h and b of m, on arcs i, j."""
        ii, jj = _next(i), _next(j)
        X = [[self.X[i, j], self.X[i, jj]], [self.X[ii, j], self.X[ii, jj]]]
        Y = [
            [self.Y[i, j], self.Y_m[i, j], self.Y[i, jj]],
            [self.Y_h[i, j], self.Y_hm[i, j], self.Y_h[i, jj]],
            [self.Y[ii, j], self.Y_m[ii, j], self.Y[ii, jj]],
        ]
        return X, Y


def candidates(a: Array, b: Array, y0: Array, kink_h: Bools, kink_m: Bools) -> Candidates:
    """Pairs of arcs and of kinks that hold all stationary points with X > 0 (module docstring).

    Parameters
    ----------
    a, b : (I, ell), (J, ell)
        Values of the networks at the boundaries of their arcs, in order round the circle.
    y0 : (ell,)
    kink_h, kink_m : (I,), (J,)
        Which boundaries are kinks.
    """
    cells, edges_h, edges_m, corners = [], [], [], []
    for start, block in _blocks(a, b, y0):
        shift = np.array([start, 0]) - 1  # the block counts boundary and arc -1 as its first
        cells.append(_cells(block) + shift)
        edges_h.append(_edges(block) + shift)
        edges_m.append(_edges(block.T)[:, ::-1] + shift)
        corners.append(_corners(block) + shift)
    found = Candidates(*(np.concatenate(part) for part in (cells, edges_h, edges_m, corners)))
    return Candidates(
        found.cells,
        found.edges_h[kink_h[found.edges_h[:, 0]]],
        found.edges_m[kink_m[found.edges_m[:, 1]]],
        found.corners[kink_h[found.corners[:, 0]] & kink_m[found.corners[:, 1]]],
    )


def _blocks(a: Array, b: Array, y0: Array) -> Iterator[tuple[int, _Block]]:
    """Blocks of boundaries of h, each with the index of its first boundary."""
    columns = np.arange(-1, len(b) + 1) % len(b)
    b = b[columns]
    b_y, b_square, b_product = b * y0, b * b, b[:-1] * b[1:]
    step = max(1, BLOCK // len(b))
    for start in range(0, len(a), step):
        rows = a[np.arange(start - 1, min(start + step, len(a)) + 1) % len(a)]
        square, product = rows * rows, rows[:-1] * rows[1:]
        yield (
            start,
            _Block(
                rows @ b_y.T,
                square @ b_square.T,
                square @ b_product.T,
                product @ b_square.T,
                product @ b_product.T,
            ),
        )


def _cells(block: _Block) -> Pairs:
    """Pairs of arcs, from the block's second arc on, on which neither slope has a known sign."""
    rows, columns = (slice(1, size) for size in block.Y_hm.shape)
    X, Y = block.cell(rows, columns)
    meets = (X[0][0] > 0) | (X[0][1] > 0) | (X[1][0] > 0) | (X[1][1] > 0)
    i, j = np.nonzero(meets & ~_one_sign([_slope(X, Y, 0), _slope(X, Y, 1)]))
    i, j = i + 1, j + 1
    X, Y = block.T.cell(j, i)
    open_ = ~_one_sign([_slope(X, Y, 0), _slope(X, Y, 1)])
    return np.stack([i[open_], j[open_]], axis=1)


def _edges(block: _Block) -> Pairs:
    """Boundary of h, arc of m: F has a minimum along the arc, and may have a kink there."""
    X, Y, Y_m = block.X[1:-1, 1:], block.Y[1:-1, 1:], block.Y_m[1:-1, 1:]
    falls = X[:, 1:] * Y[:, :-1] * SURELY_LARGER >= X[:, :-1] * Y_m  # S >= 0 where the arc begins,
    rises = X[:, 1:] * Y_m <= X[:, :-1] * Y[:, 1:] * SURELY_LARGER  # S <= 0 where it ends
    i, j = np.nonzero(falls & rises & ((X[:, 1:] > 0) | (X[:, :-1] > 0)))
    i, j = i + 1, j + 1
    kink = ~_one_sign([_slope(*block.cell(i, j), 0), _slope(*block.cell(i - 1, j), 1)])
    return np.stack([i[kink], j[kink]], axis=1)


def _corners(block: _Block) -> Pairs:
    """Boundary of h, boundary of m: F may have a kink across both."""
    X, Y = block.X[1:-1, 1:-1], block.Y[1:-1, 1:-1]
    X0, X1, Y_h = block.X[:-2, 1:-1], block.X[2:, 1:-1], block.Y_h[:, 1:-1]
    after, before = (X1 * Y, X * Y_h[1:]), (X * Y_h[:-1], X0 * Y)
    i, j = np.nonzero((X > 0) & ~_one_sign([[after], [before]]))
    X, Y = X[i, j], Y[i, j]
    i, j = i + 1, j + 1
    after = block.X[i, j + 1] * Y, X * block.Y_m[i, j]
    before = X * block.Y_m[i, j - 1], block.X[i, j - 1] * Y
    kink = ~_one_sign([[after], [before]])
    return np.stack([i[kink], j[kink]], axis=1)


def _slope(X: list[list[Array]], Y: list[list[Array]], end: int) -> Sequence[tuple[Array, Array]]:
    """Coefficients (times 1, 3, 3, 1) of S at t = end in {0, 1}, each as minuend, subtrahend."""
    return list(zip(_product(X[1], Y[end]), _product(X[0], Y[end + 1]), strict=True))


def _product(x: list[Array], y: list[Array]) -> tuple[Array, Array, Array, Array]:
    """Bernstein coefficients (times 1, 3, 3, 1) of a linear form times a quadratic."""
    return x[0] * y[0], x[1] * y[0] + 2 * x[0] * y[1], 2 * x[1] * y[1] + x[0] * y[2], x[1] * y[2]


def _one_sign(forms: Sequence[Sequence[tuple[Array, Array]]]) -> Bools:
    """Whether all coefficients of all forms are surely positive, or all are surely negative."""
    pairs = [pair for form in forms for pair in form]
    up = np.logical_and.reduce([plus > SURELY_LARGER * minus for plus, minus in pairs])
    down = np.logical_and.reduce([minus > SURELY_LARGER * plus for plus, minus in pairs])
    return up | down


def _next(index: Index) -> Index:
    if isinstance(index, slice):
        return slice(index.start + 1, index.stop + 1)
    return index + 1
