"""Coefficients of the smoothed residual's slopes, compiled, in single precision.

For unit rows u_i, c_i and lengths squared s_i, with g = u_i.v, a step S(z) in place of the
indicator and d = dS/dz, a chain at x, y, v climbs

    sum_i s_i S(u_i.x / width) S(u_i.y / width) g^2,

and its slopes in x, y and half of that in v are the rows times the coefficients

    s_i g^2 S_y d_x / width,    s_i g^2 S_x d_y / width,    s_i S_x S_y g.

In the joint condition (c_i.m)_+ (c_i.n)_+ multiplies s_i.  The products with the rows, which are
most of the work, stay outside: matrix products over all chains at once.
"""

from __future__ import annotations

import numpy as np

from harness.arrays import Single
from harness.compiled import njit

ONE, HALF, LINEAR, CUBIC = (np.float32(value) for value in (1, 0.5, 0.75, 0.25))


@njit(fastmath=True, inline="always")
def step(z: np.float32) -> tuple[np.float32, np.float32]:
    """The smooth step 1/2 + 3 z/4 - z^3/4, from 0 at z <= -1 to 1 at z >= 1, and its slope."""
    z = min(max(z, -ONE), ONE)
    return HALF + z * (LINEAR - CUBIC * z * z), LINEAR * (ONE - z * z)


@njit(fastmath=True)
def wdc_coefficients(products: Single, squares: Single, inverse: Single) -> None:
    """Replaces u_i.x, u_i.y, u_i.v in products (3, K, ell) by the coefficients.

    squares is (ell,); inverse (K,) is 1/width of each chain.
    """
    X, Y, V = products[0], products[1], products[2]
    K, ell = X.shape
    for k in range(K):
        scale = inverse[k]
        for i in range(ell):
            x, dx = step(X[k, i] * scale)
            y, dy = step(Y[k, i] * scale)
            g = V[k, i]
            weight = squares[i] * g
            X[k, i] = weight * g * y * dx * scale
            Y[k, i] = weight * g * x * dy * scale
            V[k, i] = weight * x * y


@njit(fastmath=True)
def joint_coefficients(
    products: Single, weighing: Single, squares: Single, inverse: Single
) -> None:
    """As `wdc_coefficients`, also for the weighing vectors.

    c_i.m and c_i.n in weighing (2, K, ell) become s_i S_x S_y g^2 times the slopes of
    (c_i.m)_+ (c_i.n)_+ in them.
    """
    X, Y, V = products[0], products[1], products[2]
    M, N = weighing[0], weighing[1]
    zero = np.float32(0)
    K, ell = X.shape
    for k in range(K):
        scale = inverse[k]
        for i in range(ell):
            x, dx = step(X[k, i] * scale)
            y, dy = step(Y[k, i] * scale)
            g = V[k, i]
            m, n = max(M[k, i], zero), max(N[k, i], zero)
            bare = squares[i] * g
            weight = bare * m * n
            X[k, i] = weight * g * y * dx * scale
            Y[k, i] = weight * g * x * dy * scale
            V[k, i] = weight * x * y
            both = bare * g * x * y
            M[k, i] = both * n if m > zero else zero
            N[k, i] = both * m if n > zero else zero
