"""Compiled scan of a quadratic over the linear pieces of a network: minima over one direction.

For fixed a = G1(h) the loss as a function of m is 1/2 m^T C m - c^T m + ||y0||^2 / 2 on a linear
piece, with C = sum_j a_j^2 r_j r_j^T and c = sum_j a_j y_j r_j over its active rows r_j.  From one
piece to the next across a kink of the last layer one row comes or goes, so that C and c follow by
one term.

If this sounds like word soup: we walk around the circle of directions of m and keep two small sums
up to date, adding a row when it wakes up and subtracting it when it falls asleep.  On each piece
the sums say where the bottom of a parabola lies; if that is inside the piece, it is a minimum.
"""

from __future__ import annotations

import numpy as np

from harness.arrays import Array, Ints
from harness.compiled import njit


@njit()
def minima_inside(
    sums: Array,
    weights: Array,
    arcs: Ints,
    first: Ints,
    unit: Ints,
    sign: Array,
    rows: Array,
    tangents: Array,
    singular: float,
) -> tuple[Ints, Ints, Array, Array]:
    """Minima over m inside pieces, for K points h.

    Parameters
    ----------
    sums : (K, H, 5)
        C_11, C_12, C_22, c_1, c_2 on the first piece of each arc; coordinates are those of the arc.
    weights : (K, ell, 2)
        a_j^2 and a_j y_j.
    arcs : (H,)
        Which arcs are scanned.
    first : (I + 1,)
        Number of the first piece of each arc.
    unit, sign : (M,)
        Row that comes (1) or goes (-1) at the beginning of a piece; unused for first pieces.
    rows : (2, I, ell)
        Rows of the last layer on each arc, in the coordinates of the arc.
    tangents : (M, 2)
        Tangents of the angles from the middle of the arc at which a piece begins and ends.
    singular : float
        C is singular if its determinant is below this share of its squared trace.

    Returns
    -------
    point, piece, tangent : (F,)
        Where the minima are.
    ends : (K, H, 5)
        The sums on the last piece of each arc.
    """
    # empty lists of whole and of real numbers: numba has to see the type
    points, pieces, places = [0 for _ in range(0)], [0 for _ in range(0)], [0.0 for _ in range(0)]
    ends = np.empty_like(sums)
    for k in range(sums.shape[0]):
        for slot in range(arcs.size):
            i = arcs[slot]
            C11, C12, C22, c1, c2 = sums[k, slot]
            for piece in range(first[i], first[i + 1]):
                if piece > first[i]:
                    j = unit[piece]
                    r1, r2 = rows[0, i, j], rows[1, i, j]
                    square, linear = sign[piece] * weights[k, j, 0], sign[piece] * weights[k, j, 1]
                    C11 += square * r1 * r1
                    C12 += square * r1 * r2
                    C22 += square * r2 * r2
                    c1 += linear * r1
                    c2 += linear * r2
                m1, m2 = C22 * c1 - C12 * c2, C11 * c2 - C12 * c1
                low, high = tangents[piece]
                definite = C11 * C22 - C12 * C12 - singular * (C11 + C22) ** 2 > 0
                if definite and m1 > 0 and low * m1 <= m2 <= high * m1:
                    points.append(k)
                    pieces.append(piece)
                    places.append(m2 / m1)
            ends[k, slot] = C11, C12, C22, c1, c2
    return np.array(points), np.array(pieces), np.array(places), ends


@njit()
def slopes(
    a: Array,
    left: Array,
    right: Array,
    point: Ints,
    rows: Array,
    arc: Ints,
    angle: Array,
    y0: Array,
) -> Array:
    """One-sided slopes of f at best scale, to the left and right of F floors: (F, 2).

    Parameters
    ----------
    a, left, right : (K, ell)
        G1 at K points, and its derivatives in the angle from either side.
    point : (F,)
        Which of the points a floor is over.
    rows : (2, I, ell)
    arc, angle : (F,)
        Where it is on the circle of m: an arc, and the angle from its middle.
    """
    found = np.empty((point.size, 2))
    b = np.empty(y0.size)
    for f in range(point.size):
        k, u1, u2 = point[f], np.cos(angle[f]), np.sin(angle[f])
        overlap, size = 0.0, 0.0
        for j in range(y0.size):
            b[j] = max(rows[0, arc[f], j] * u1 + rows[1, arc[f], j] * u2, 0.0)
            q = a[k, j] * b[j]
            overlap += q * y0[j]
            size += q * q
        scale = overlap / size if size > 0 else 0.0
        found[f] = 0.0
        for j in range(y0.size):
            e = scale * b[j] * (scale * a[k, j] * b[j] - y0[j])
            found[f, 0] += e * left[k, j]
            found[f, 1] += e * right[k, j]
    return found
