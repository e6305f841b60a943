"""Closed forms of the theory: angle map, rho, Q, and the expected landscape.

Every function is pure and broadcasts over leading axes.  Scalings: inner weights N(0, I/n_i) and
last layers with E w w^T = (alpha/ell) I, so that ||G(h)||^2 is about 2^-d ||h||^2.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from harness.arrays import Array

PARALLEL_ATOL = 1e-14
"""Unit vectors closer than this are parallel in `swap`; rounding alone gives a few 1e-16."""


def angle(x: ArrayLike, y: ArrayLike) -> Array:
    """Angle in [0, pi] between vectors (..., n); pi/2 where one of them is zero.

    Kahan's formula 2 atan2(||xhat - yhat||, ||xhat + yhat||), accurate at 0 and at pi, where
    arccos of the inner product loses half of the digits.
    """
    xhat, yhat = _unit(x), _unit(y)
    zero = ~(np.any(xhat, axis=-1) & np.any(yhat, axis=-1))
    theta = 2 * np.arctan2(
        np.linalg.norm(xhat - yhat, axis=-1), np.linalg.norm(xhat + yhat, axis=-1)
    )
    return np.where(zero, np.pi / 2, theta)[()]


def angle_map(theta: ArrayLike) -> Array:
    """g(theta) = arccos(((pi - theta) cos theta + sin theta) / pi).

    The angle between relu(W x) and relu(W y) for a wide Gaussian W, given theta = angle(x, y).
    Evaluated as 2 arcsin sqrt((1 - cos g) / 2), accurate to a few roundings absolutely, where
    arccos would lose half of the digits as theta -> 0.
    """
    theta = np.asarray(theta, dtype=np.float64)
    # pi (1 - cos g) = pi (1 - cos theta) + theta cos theta - sin theta
    gap = 2 * np.sin(theta / 2) ** 2 + (theta * np.cos(theta) - np.sin(theta)) / np.pi
    return 2 * np.arcsin(np.sqrt(np.clip(gap / 2, 0.0, 1.0)))


def angles(theta0: ArrayLike, depth: int) -> Array:
    """theta_0, theta_1 = g(theta_0), ..., theta_depth, stacked on a new first axis."""
    _check_depth(depth)
    thetas = [np.asarray(theta0, dtype=np.float64)]
    for _ in range(depth):
        thetas.append(angle_map(thetas[-1]))
    return np.stack(thetas)


def xi_zeta(theta0: ArrayLike, depth: int) -> tuple[Array, Array]:
    """xi_d = prod_{i<d} (pi - theta_i)/pi and zeta_d = sum_{i<d} (sin theta_i / pi) prod_{j>i}.

    The products in zeta_d run over j = i+1..d-1.  They satisfy
    xi_d cos theta_0 + zeta_d = cos theta_d.
    """
    thetas = angles(theta0, depth)
    xi, zeta = np.ones_like(thetas[0]), np.zeros_like(thetas[0])
    for theta in thetas[:-1]:  # Horner's rule
        keep = (np.pi - theta) / np.pi
        xi, zeta = xi * keep, zeta * keep + np.sin(theta) / np.pi
    return xi, zeta


def rho(depth: int) -> float:
    """rho_d = zeta_d at theta_0 = pi, equal to cos of g applied d times to pi.

    rho_1 = 0, rho_2 = 1/pi, rho_3 = 0.49373..., and rho_d -> 1.
    """
    if depth == 1:
        return 0.0  # zeta_1 = sin(pi)/pi, which floating point does not make 0
    return float(xi_zeta(np.pi, depth)[1])


def swap(x: ArrayLike, y: ArrayLike) -> Array:
    """M_{xhat <-> yhat}: swaps xhat and yhat, 0 on their orthogonal complement.

    Takes two nonzero vectors (n,) and returns (n, n); xhat xhat^T if they are parallel,
    -xhat xhat^T if antiparallel.
    """
    xhat, yhat = _unit(x), _unit(y)
    # In the plane of x and y, M is the reflection about the bisector: +1 along xhat + yhat,
    # -1 along xhat - yhat.
    bisector, normal = xhat + yhat, xhat - yhat
    M = np.zeros((xhat.size, xhat.size))
    if np.linalg.norm(bisector) > PARALLEL_ATOL:
        M += np.outer(_unit(bisector), _unit(bisector))
    if np.linalg.norm(normal) > PARALLEL_ATOL:
        M -= np.outer(_unit(normal), _unit(normal))
    return M


def Q(x: ArrayLike, y: ArrayLike) -> Array:
    """Q_{x,y} = (pi - theta)/(2 pi) I + sin(theta)/(2 pi) M, the mean of W_{+,x}^T W_{+,y} (eq. 5).

    Takes two nonzero vectors (n,) and returns (n, n); the mean is alpha Q for truncated rows.

    Raises
    ------
    ValueError
        If a vector is zero or the shapes differ.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.any() or not y.any():
        raise ValueError("Q(x, y): two nonzero vectors of the same length are needed")
    theta = angle(x, y)
    identity = np.eye(x.size)
    return ((np.pi - theta) * identity + np.sin(theta) * swap(x, y)) / (2 * np.pi)


def truncation_alpha(k: int) -> float:
    """alpha_k = P(chi^2_{k+2} <= 9 k): E w w^T = (alpha_k/ell) I for a truncated row w in R^k."""
    if k < 1:
        raise ValueError(f"k={k}: must be >= 1")
    return float(scipy.stats.chi2.cdf(9 * k, df=k + 2))


def premise_epsilon(d: int, s: int, K1: float = 1.0) -> float:
    """Largest epsilon with K1 (d^7 s^2 + d^2 s^7) epsilon^(1/4) < 1, the premise of Theorem 3.

    Theorem 2, for Gaussian weights, has the same premise.  The paper leaves the constant K1
    unspecified; 1 is lenient.  d = s = 2 gives 9.1e-13.
    """
    _check_depth(d)
    _check_depth(s)
    return float((K1 * (d**7 * s**2 + d**2 * s**7)) ** -4.0)


def landscape_scale(d: int, s: int, ell: int, alpha: float = 1.0) -> float:
    """c = alpha / (2^(d+s) ell), the scale of loss and gradients."""
    return alpha / (2.0 ** (d + s) * ell)


def expected_loss(
    h: ArrayLike,
    m: ArrayLike,
    h0: ArrayLike,
    m0: ArrayLike,
    *,
    d: int,
    s: int,
    ell: int,
    alpha: float = 1.0,
) -> Array:
    """E f ~ (c/2) [A^2 + B^2 - 2 A B cos theta_d cos phi_s], A = ||h|| ||m||, B = ||h0|| ||m0||.

    Parameters
    ----------
    h, h0 : (..., n)
    m, m0 : (..., p)
    d, s, ell : int
        Depths and signal length; c = alpha / (2^(d+s) ell).
    alpha : float
        Product of the two last layers' `truncation_alpha`.

    Returns
    -------
    (...)
        Exact mean over Gaussian networks if d = s = 1, the infinite-width limit of the inner
        layers otherwise.
    """
    A, B = _norm(h) * _norm(m), _norm(h0) * _norm(m0)
    cosines = np.cos(angles(angle(h, h0), d)[-1]) * np.cos(angles(angle(m, m0), s)[-1])
    return landscape_scale(d, s, ell, alpha) / 2 * (A**2 + B**2 - 2 * A * B * cosines)


def expected_gradients(
    h: ArrayLike,
    m: ArrayLike,
    h0: ArrayLike,
    m0: ArrayLike,
    *,
    d: int,
    s: int,
    ell: int,
    alpha: float = 1.0,
) -> tuple[Array, Array]:
    """t1 = c [||m||^2 h - (m . mtilde0) htilde0], t2 = c [||h||^2 m - (h . htilde0) mtilde0].

    htilde0 = xi_d h0 + zeta_d ||h0|| hhat, and mtilde0 in the same way.  Parameters as in
    `expected_loss`; (t1, t2) is its gradient where h and m are not 0.  At h = 0, hhat is taken to
    be 0 and theta_0 to be pi/2.

    Returns
    -------
    t1, t2 : (..., n), (..., p)
    """
    h, m, h0, m0 = (np.asarray(v, dtype=np.float64) for v in (h, m, h0, m0))
    c = landscape_scale(d, s, ell, alpha)
    h_tilde, m_tilde = _tilde(h, h0, d), _tilde(m, m0, s)
    m_overlap, h_overlap = _dot(m, m_tilde), _dot(h, h_tilde)
    t1 = c * (_dot(m, m)[..., None] * h - m_overlap[..., None] * h_tilde)
    t2 = c * (_dot(h, h)[..., None] * m - h_overlap[..., None] * m_tilde)
    return t1, t2


def expected_hessian(
    h0: ArrayLike, m0: ArrayLike, *, d: int, s: int, ell: int, alpha: float = 1.0
) -> Array:
    """c [||m0||^2 I, h0 m0^T; m0 h0^T, ||h0||^2 I], the Hessian of f at the truth, expected.

    Takes (n,), (p,); returns (n + p, n + p).  Parameters as in `expected_loss`.  The mean of J^T J
    over networks is this exactly, at every width.  At ||h0|| = ||m0|| its eigenvalues are
    c ||h0|| ||m0|| times 1 on the n + p - 2 angles, 2 along (h0, m0) and 0 along the orbit,
    (h0, -m0).

    Notes
    -----
    Off kinks the residual vanishes at the truth and the Hessian is J^T J, J = [diag(b) Lambda1,
    diag(a) Lambda2].  A row w of W_i is as likely as -w, so that E 1{w.x > 0} w w^T = E w w^T / 2
    at every input x of the layer: from the last layer to the first, each contributes 1/2.
    """
    h0, m0 = np.asarray(h0, dtype=np.float64), np.asarray(m0, dtype=np.float64)
    cross = np.outer(h0, m0)
    return landscape_scale(d, s, ell, alpha) * np.block(
        [[(m0 @ m0) * np.eye(h0.size), cross], [cross.T, (h0 @ h0) * np.eye(m0.size)]]
    )


def _tilde(h: Array, h0: Array, depth: int) -> Array:
    """htilde0 = xi_d h0 + zeta_d ||h0|| hhat."""
    xi, zeta = xi_zeta(angle(h, h0), depth)
    return xi[..., None] * h0 + (zeta * _norm(h0))[..., None] * _unit(h)


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ValueError(f"depth={depth}: must be >= 1")


def _dot(x: Array, y: Array) -> Array:
    return np.sum(x * y, axis=-1)


def _norm(x: ArrayLike) -> Array:
    return np.linalg.norm(np.asarray(x, dtype=np.float64), axis=-1)


def _unit(x: ArrayLike) -> Array:
    """x / ||x||, and 0 where x = 0."""
    x = np.asarray(x, dtype=np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
