"""Sparse power factorization: w = B h and x = C m with S1 and S2 terms, whose supports are sought.

Lee, Wu and Bresler (2018), Algorithms 1 and 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.priors.model import Bilinear, Recovery, Stopping, iterate, largest

FACTORIZATION = Stopping(rtol=1e-9, max_steps=500, stall_rtol=1e-3, stall_window=25)


def hard_thresholding_pursuit(A: Array, y: Array, sparsity: int) -> Array:
    """A vector z with so many terms and small ||A z - y||: (ell, K), (ell,) -> (K,).

    Each step takes a gradient step of length 1 for columns of unit norm, keeps the places of the
    largest entries, and solves least squares on them (Foucart 2011).  A support determines the
    next one, so the first repeated support ends it: a fixed point, or a cycle, of which the best
    fit is returned.
    """
    scale = np.mean(np.sum(A * A, axis=0))
    z, best, least = np.zeros(A.shape[1]), np.zeros(A.shape[1]), np.inf
    seen: set[bytes] = set()
    while True:
        support = largest(np.abs(z + A.T @ (y - A @ z) / scale), sparsity)
        if support.tobytes() in seen:
            return best
        seen.add(support.tobytes())
        z = np.zeros(A.shape[1])
        z[support] = np.linalg.lstsq(A[:, support], y, rcond=None)[0]
        if (error := float(np.linalg.norm(A @ z - y))) < least:
            best, least = z, error


def thresholded_start(model: Bilinear, S1: int, S2: int) -> Array:
    """Start for m (N,), with S2 terms: Algorithm 3 of Lee, Wu and Bresler.

    Of X = sum_l y_l b_l c_l^T it keeps the S1 rows whose S2 largest entries have the largest norm,
    then the S2 columns of largest norm in these rows, and takes the leading right singular vector.
    """
    _check_sparsities(model, S1, S2)
    X = model.adjoint(model.y)
    rows = largest(np.sum(np.sort(X * X, axis=1)[:, model.N - S2 :], axis=1), S1)
    columns = largest(np.sum(X[rows] ** 2, axis=0), S2)
    m = np.zeros(model.N)
    m[columns] = np.linalg.svd(X[np.ix_(rows, columns)], full_matrices=False)[2][0]
    return m


def sparse_power_factorization(
    model: Bilinear,
    S1: int,
    S2: int,
    m_init: ArrayLike | None = None,
    *,
    stopping: Stopping = FACTORIZATION,
) -> Recovery:
    """Alternating hard thresholding pursuits in h with S1 terms and in m with S2 terms.

    Parameters
    ----------
    model : Bilinear
    S1, S2 : int
        Sparsities, which the method is told.
    m_init : (N,), optional
        Start; `thresholded_start` by default.

    Raises
    ------
    ValueError
        If a sparsity is not from 1 to the number of columns or exceeds the number of rows, or the
        start does not fit.
    """
    _check_sparsities(model, S1, S2)
    start = thresholded_start(model, S1, S2) if m_init is None else m_init
    m = model.checked_start("m_init", start, model.N)

    def best_h(m: Array) -> Array:
        return hard_thresholding_pursuit((model.C @ m)[:, None] * model.B, model.y, S1)

    def step(h: Array, m: Array) -> tuple[Array, Array]:
        m = hard_thresholding_pursuit((model.B @ h)[:, None] * model.C, model.y, S2)
        m = m / (np.linalg.norm(m) or 1.0)
        return best_h(m), m

    return iterate(model, step, best_h(m), m, stopping)


def _check_sparsities(model: Bilinear, S1: int, S2: int) -> None:
    for name, sparsity, columns in (("S1", S1, model.K), ("S2", S2, model.N)):
        if not 1 <= sparsity <= min(columns, model.ell):
            raise ValueError(
                f"{name}={sparsity}: must be from 1 to {min(columns, model.ell)}, as there are "
                f"{columns} columns and {model.ell} rows"
            )
