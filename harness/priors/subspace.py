"""Rivals whose prior is a pair of subspaces, w = B h and x = C m: all that is known of h and m."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.priors.model import Bilinear, Recovery, Stopping, iterate

ALTERNATING = Stopping(rtol=1e-9, max_steps=500, stall_rtol=1e-3, stall_window=50)
DESCENT = Stopping(rtol=1e-9, max_steps=20_000, stall_rtol=1e-3, stall_window=500)
SUBGRADIENT = Stopping(rtol=1e-7, max_steps=30_000, stall_rtol=1e-3, stall_window=3_000)


def spectral_start(model: Bilinear) -> tuple[Array, Array]:
    """Leading singular pair of sum_l y_l b_l c_l^T, scaled to fit y: (K,), (N,), of equal norms.

    The start of Li, Ling, Strohmer and Wei (2016).  For rows of B and C that are standard Gaussian
    the expectation of that sum is ell h0 m0^T.

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent.
    """
    model.check_subspaces()
    left, _, right = np.linalg.svd(model.adjoint(model.y), full_matrices=False)
    h, m = left[:, 0], right[0]
    product = (model.B @ h) * (model.C @ m)
    scale = (product @ model.y) / (product @ product)
    return np.sign(scale) * np.sqrt(abs(scale)) * h, np.sqrt(abs(scale)) * m


def alternating_least_squares(
    model: Bilinear, m_init: ArrayLike, *, stopping: Stopping = ALTERNATING
) -> Recovery:
    """Least squares in h at fixed m, then in m at fixed h, in turn.

    Parameters
    ----------
    model : Bilinear
    m_init : (N,)
        Start; its scale does not matter.

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent, or the start does not fit.
    """
    model.check_subspaces()
    m = model.checked_start("m_init", m_init, model.N)

    def best_h(m: Array) -> Array:
        return _least_squares(model.B, model.C @ m, model.y)

    def step(h: Array, m: Array) -> tuple[Array, Array]:
        m = _least_squares(model.C, model.B @ h, model.y)
        return best_h(m / np.linalg.norm(m)), m / np.linalg.norm(m)

    return iterate(model, step, best_h(m), m, stopping)


def _least_squares(A: Array, weights: Array, y: Array) -> Array:
    """argmin over z of ||weights * (A z) - y||."""
    return np.asarray(np.linalg.lstsq(weights[:, None] * A, y, rcond=None)[0])


def gradient_descent(
    model: Bilinear,
    h_init: ArrayLike,
    m_init: ArrayLike,
    *,
    kappa: float = 0.5,
    stopping: Stopping = DESCENT,
) -> Recovery:
    """Gradient steps on 1/2 ||(B h) * (C m) - y||^2, of a size free of all scales.

    Parameters
    ----------
    model : Bilinear
    h_init, m_init : (K,), (N,)
        Start, whose two factors are first given signals of one size.
    kappa : float
        The step is kappa / (||h||^2 + ||m||^2) for standard Gaussian rows of B and C and the loss
        divided by ell; other dictionaries count as scaled to that.

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent, a start does not fit, or kappa <= 0.

    Notes
    -----
    For Gaussian dictionaries, incoherence needs no regulariser (Ma, Wang, Chi and Chen 2017).
    """
    model.check_subspaces()
    if not (np.isfinite(kappa) and kappa > 0):
        raise ValueError(f"kappa={kappa}: must be > 0 and finite")
    h = model.checked_start("h_init", h_init, model.K)
    m = model.checked_start("m_init", m_init, model.N)
    B, C, y = model.B, model.C, model.y
    b, c = np.sum(B * B) / model.K, np.sum(C * C) / model.N  # ell for standard Gaussian rows
    balance = (c * (m @ m) / (b * (h @ h))) ** 0.25

    def step(h: Array, m: Array) -> tuple[Array, Array]:
        w, x = B @ h, C @ m
        r = w * x - y
        size = kappa * model.ell / (b * (h @ h) + c * (m @ m))
        return h - size / b * (B.T @ (r * x)), m - size / c * (C.T @ (r * w))

    with np.errstate(over="ignore", invalid="ignore"):
        return iterate(model, step, balance * h, m / balance, stopping)


def polyak_subgradient(
    model: Bilinear, h_init: ArrayLike, m_init: ArrayLike, *, stopping: Stopping = SUBGRADIENT
) -> Recovery:
    """Subgradient steps of Polyak's size on f(h, m) = mean |(B h) * (C m) - y|, whose least is 0.

    (h, m) <- (h, m) - f g / ||g||^2 with a subgradient g of both (Charisopoulos, Davis, Diaz and
    Drusvyatskiy 2019).

    Parameters
    ----------
    model : Bilinear
    h_init, m_init : (K,), (N,)

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent, or a start does not fit.
    """
    model.check_subspaces()
    h = model.checked_start("h_init", h_init, model.K)
    m = model.checked_start("m_init", m_init, model.N)
    B, C, y = model.B, model.C, model.y

    def step(h: Array, m: Array) -> tuple[Array, Array]:
        w, x = B @ h, C @ m
        r = w * x - y
        signs = np.sign(r)
        g_h, g_m = B.T @ (signs * x), C.T @ (signs * w)
        size = np.abs(r).sum() / (g_h @ g_h + g_m @ g_m)
        return h - size * g_h, m - size * g_m

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return iterate(model, step, h, m, stopping)
