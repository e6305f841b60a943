"""The residuals of the two conditions at a point, by definition (eqs. 5, 6, 7).

They are written out slowly.  Every faster evaluation, and every witness, is checked against them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.theory import Q


class WdcWitness(NamedTuple):
    """Vectors x, y in R^n at which `wdc_residual` is the lower end."""

    x: Array
    y: Array


class JointWitness(NamedTuple):
    """Vectors at which `joint_wdc_residual` is the lower end.

    h, x in R^n belong to B and m, y in R^p to C; `exchanged` is False for the first inequality,
    (6), and True for the second, (7), in which B and C change places.
    """

    h: Array
    x: Array
    m: Array
    y: Array
    exchanged: bool


def wdc_residual(W: ArrayLike, x: ArrayLike, y: ArrayLike, alpha: float = 1.0) -> float:
    """|| sum_i 1{w_i.x > 0} 1{w_i.y > 0} w_i w_i^T - alpha Q_{x,y} || (eq. 5), spectral norm.

    W is (ell, n); x, y are nonzero vectors (n,).
    """
    W, x, y = (np.asarray(a, dtype=np.float64) for a in (W, x, y))
    total = np.zeros((W.shape[1], W.shape[1]))
    for w in W:
        if w @ x > 0 and w @ y > 0:
            total += np.outer(w, w)
    return float(np.linalg.norm(total - alpha * Q(x, y), 2))


def joint_wdc_residual(
    B: ArrayLike, C: ArrayLike, witness: JointWitness, alpha: float = 1.0
) -> float:
    """The epsilon that (6), or (7) if exchanged, needs at a point.

    ell / (||m|| ||y||) || sum_i 1{b_i.h > 0} 1{b_i.x > 0} (c_i.m)_+ (c_i.y)_+ b_i b_i^T
    - (alpha/ell) (m^T Q_{m,y} y) Q_{h,x} ||, spectral norm; B is (ell, n), C is (ell, p).
    """
    B, C = np.asarray(B, dtype=np.float64), np.asarray(C, dtype=np.float64)
    h, x, m, y, exchanged = witness
    if exchanged:
        B, C, h, x, m, y = C, B, m, y, h, x
    ell = len(B)
    total = np.zeros((B.shape[1], B.shape[1]))
    for b, c in zip(B, C, strict=True):
        if b @ h > 0 and b @ x > 0:
            total += max(c @ m, 0.0) * max(c @ y, 0.0) * np.outer(b, b)
    expected = alpha / ell * (m @ Q(m, y) @ y) * Q(h, x)
    lengths = float(np.linalg.norm(m) * np.linalg.norm(y))
    return float(np.linalg.norm(total - expected, 2)) * ell / lengths


def check_matrix(name: str, W: ArrayLike) -> Array:
    """A finite, non-empty matrix as float64; ValueError in one line otherwise."""
    matrix = np.asarray(W)
    if matrix.ndim != 2 or matrix.size == 0 or matrix.dtype.kind not in "fiu":
        raise ValueError(
            f"{name}: a non-empty real matrix (rows, columns) is needed, "
            f"not {matrix.dtype} of shape {matrix.shape}"
        )
    matrix = np.ascontiguousarray(matrix, dtype=np.float64)
    if not np.isfinite([matrix.min(), matrix.max()]).all():  # both are NaN if an entry is
        raise ValueError(f"{name}: every entry must be finite")
    return matrix
