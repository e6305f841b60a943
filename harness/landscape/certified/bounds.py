"""Which pairs of arcs surely hold no stationary point: floating point with a proved bound.

The formulas are those of `screen`: on a pair of arcs X = <y0, a*b> and Y = ||a*b||^2 are given by
their Bernstein coefficients, and F falls or rises along an arc by the sign of a difference of sums
of products of these.  Here each difference comes with a bound of its error, and a pair is ruled out
only if a sign is certain.  The argument, line by line, with u = 2^-53, gamma_k = k u / (1 - k u):

1. The entries of a and b are the exact ones times 1 + d, |d| <= u (`ExactArcs.rounded`): zeros are
   exact, nonzero entries lie in [2^-110, 2], and so do those of y0, which is exact.  Ends for which
   this fails are not trusted, and no pair with one of them is ruled out here.
2. A product of seven such numbers exceeds 2^-770: nothing underflows or overflows below, so each
   operation has the relative error u at most.
3. Each term of X = sum y0 a b has at most 4 factors 1 + d (two entries, two products), each term
   of Y at most 7 (four entries, three products).  A sum of ell terms, in whatever order and with or
   without fused operations, adds at most ell.  So the computed X differs from the exact one by at
   most gamma_{ell+8} Z, Z = sum |y0| a b; the computed Z by at most gamma_{ell+8} Z; the computed
   Y by at most gamma_{ell+8} Y, its terms being >= 0.
4. A coefficient is c = sum of at most four signed products x y, with weights 1 or 2 (exact).  The
   computed c differs from the exact one by at most gamma_{2 ell + 21} M, M = sum of z y: from the
   factors 2 (ell + 8), from the product 1, from the sum at most 4.  In terms of the computed M,
   which is at least (1 - gamma_{2 ell + 21}) of the exact one, by gamma / (1 - gamma) times that.
5. For (2 ell + 21) u <= 1/100 this is below 1.03 (2 ell + 21) u M, and so below half of
   `error(ell)` M with error(ell) = 4 (ell + 16) u.  The other half covers the roundings of
   the product error(ell) M, of the difference and of the comparison.

Line 3 asks of the matrix product that it sums products in some order, as BLAS does; fast
multiplication in the manner of Strassen does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.arrays import Array, Bools, Ints

BLOCK = 100_000
"""Pairs of arcs in a block, about: the arrays of a block fit into a cache."""

Signed = tuple[Array, Array]
"""A computed number of either sign, and the size that its error is a share of."""


@dataclass(frozen=True)
class Open:
    """What a block of boundaries of h leaves undecided: (R, 2) indices, of h and of m.

    cells : arc, arc; edges_h : boundary of h, arc of m; edges_m : arc of h, boundary of m;
    corners : boundary, boundary; zeros : boundaries at which the product a*b may be 0
    pairs : how many cells, edges and corners the block has
    """

    cells: Ints
    edges_h: Ints
    edges_m: Ints
    corners: Ints
    zeros: Ints
    pairs: int


@dataclass(frozen=True)
class _Block:
    """Boundaries -1, ..., I of h and -1, ..., J of m: X, Z and Y at them.

    Y_h, Y_m, Y_hm : Y's middle coefficients along arcs of h, along arcs of m, and along both
    """

    X: Array
    Z: Array
    Y: Array
    Y_h: Array
    Y_m: Array
    Y_hm: Array
    error: float

    @property
    def T(self) -> _Block:
        """With h and m exchanged."""
        swapped = self.X.T, self.Z.T, self.Y.T, self.Y_m.T, self.Y_h.T, self.Y_hm.T
        return _Block(*swapped, self.error)

    def falls(self, i: slice, j: slice, end: int) -> tuple[Array, Array]:
        """Signs of the four coefficients, in m, of F's fall along arcs of h at their begin or end.

        least and greatest of them, in {-1, 0, 1}, 0 if not certain.
        """
        ii, jj = _next(i), _next(j)
        near = [self.Y[i, j], self.Y_m[i, j], self.Y[i, jj]]
        middle = [self.Y_h[i, j], self.Y_hm[i, j], self.Y_h[i, jj]]
        far = [self.Y[ii, j], self.Y_m[ii, j], self.Y[ii, jj]]
        Y1, Y0 = (middle, far) if end else (near, middle)
        signs = []
        sizes = [
            (_product(S[ii, j], S[ii, jj], Y1), _product(S[i, j], S[i, jj], Y0))
            for S in (self.X, self.Z)
        ]
        for plus, minus, more, less in zip(*sizes[0], *sizes[1], strict=True):
            signs.append(self.sign((plus - minus, more + less)))
        return np.minimum.reduce(signs), np.maximum.reduce(signs)

    def sign(self, number: Signed) -> Array:
        """1 or -1 where the sign of a computed number is certain, else 0."""
        value, size = number
        return np.where(np.abs(value) > self.error * size, np.sign(value), 0.0)


def error(ell: int) -> float:
    """The error of a computed coefficient as a share of its size (module docstring, line 5)."""
    return 4 * (ell + 16) * 2.0**-53


def undecided(
    a: Array, b: Array, y0: Array, trusted_a: Bools, trusted_b: Bools
) -> Iterator[tuple[int, Open]]:
    """Blocks of pairs of arcs, each with its first boundary of h and what it leaves undecided.

    Parameters
    ----------
    a, b : (I, ell), (J, ell)
        Values of the networks at the boundaries of their arcs, with the errors of line 1.
    y0 : (ell,)
        Exact, with the range of line 1.
    trusted_a, trusted_b : (I,), (J,)
    """
    columns = np.arange(-1, len(b) + 1) % len(b)
    b, loose_b = b[columns], ~trusted_b[columns]
    right = [(b * y0).T, (b * np.abs(y0)).T, (b * b).T, (b[:-1] * b[1:]).T]
    step = max(1, BLOCK // len(b))
    for start in range(0, len(a), step):
        index = np.arange(start - 1, min(start + step, len(a)) + 1) % len(a)
        rows, loose_a = a[index], ~trusted_a[index]
        square, product = rows * rows, rows[:-1] * rows[1:]
        Z = rows @ right[1]
        Z[loose_a], Z[:, loose_b] = np.inf, np.inf
        block = _Block(
            *(rows @ right[0], Z, square @ right[2]),
            *(product @ right[2], square @ right[3], product @ right[3]),
            error(len(y0)),
        )
        with np.errstate(invalid="ignore"):  # inf - inf, 0 inf: not certain, as it should be
            found = _undecided(block)
        yield start, found


def _undecided(block: _Block) -> Open:
    rows, columns = (slice(1, n - 1) for n in block.X.shape)
    positive = ~(block.X + block.error * block.Z <= 0)  # may be positive
    along_h = positive[:-1] | positive[1:]
    cell = along_h[rows, :-1][:, columns] | along_h[rows, 1:][:, columns]
    cell &= _flat(block, rows, columns) & _flat(block.T, columns, rows).T
    edge_h = _edges(block, rows, columns)
    edge_m = _edges(block.T, columns, rows).T & along_h[rows, columns]
    edge_h &= positive[rows, columns] | positive[rows, _next(columns)]
    corner = positive[rows, columns] & _kink(block, rows, columns) & _kink(block.T, columns, rows).T
    zero = ~(block.Y[rows, columns] > 0) | np.isinf(block.Z[rows, columns])
    cells, edges_h, edges_m, corners, zeros = (
        np.argwhere(where) for where in (cell, edge_h, edge_m, corner, zero)
    )
    return Open(cells, edges_h, edges_m, corners, zeros, 4 * cell.size)


def _flat(block: _Block, i: slice, j: slice) -> Bools:
    """Cells in which F may be stationary along the arc of h."""
    low, high = block.falls(i, j, 0)
    low_end, high_end = block.falls(i, j, 1)
    return ~((np.minimum(low, low_end) > 0) | (np.maximum(high, high_end) < 0))


def _edges(block: _Block, i: slice, j: slice) -> Bools:
    """Boundaries of h and arcs of m on which F may be stationary (`falls` along m, across h)."""
    X, Z, Y, jj = block.X, block.Z, block.Y, _next(j)
    begin = _difference(X, Z, (i, jj), Y[i, j], (i, j), block.Y_m[i, j])
    end = _difference(X, Z, (i, jj), block.Y_m[i, j], (i, j), Y[i, jj])
    along = ~(block.sign(begin) < 0) & ~(block.sign(end) > 0)
    low, high = block.falls(i, j, 0)
    low_before, high_before = block.falls(_before(i), j, 1)
    slope = (np.minimum(low, low_before) > 0) | (np.maximum(high, high_before) < 0)
    return along & ~slope


def _kink(block: _Block, i: slice, j: slice) -> Bools:
    """Pairs of boundaries at which F may have a kink, or a level side, across that of h."""
    X, Z, Y, Y_h, before = block.X, block.Z, block.Y, block.Y_h, _before(i)
    ahead = block.sign(_difference(X, Z, (_next(i), j), Y[i, j], (i, j), Y_h[i, j]))
    behind = block.sign(_difference(X, Z, (i, j), Y_h[before, j], (before, j), Y[i, j]))
    return ~(ahead * behind > 0)


def _difference(
    X: Array,
    Z: Array,
    one: tuple[slice, slice],
    Y_one: Array,
    two: tuple[slice, slice],
    Y_two: Array,
) -> Signed:
    """X Y at one place less X Y at another."""
    return X[one] * Y_one - X[two] * Y_two, Z[one] * Y_one + Z[two] * Y_two


def _product(x0: Array, x1: Array, y: list[Array]) -> tuple[Array, Array, Array, Array]:
    """Bernstein coefficients (times 1, 3, 3, 1) of a linear form times a quadratic."""
    return x0 * y[0], x1 * y[0] + 2 * x0 * y[1], 2 * x1 * y[1] + x0 * y[2], x1 * y[2]


def _next(index: slice) -> slice:
    return slice(index.start + 1, index.stop + 1)


def _before(index: slice) -> slice:
    return slice(index.start - 1, index.stop - 1)
