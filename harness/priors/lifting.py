"""Lifting: y is linear in X = h m^T, so the least nuclear norm stands for rank one.

Ahmed, Recht and Romberg (2014), solved as their code does: a factorization of small rank (Burer and
Monteiro) by the method of multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from harness.arrays import Array
from harness.priors.model import Bilinear, Recovery, nothing, recovery
from harness.status import Status

RANK = 4
"""Rank of the factorization, as in the authors' code."""
OUTER_STEPS = 25
INNER: Any = {"maxiter": 1_000, "maxfun": 2_000, "ftol": 1e-15, "gtol": 1e-9}
PENALTY = 10.0
"""First penalty on the constraint; it grows by the same factor."""
ENOUGH = 0.25
"""Multipliers are updated if ||A(X) - y||^2 fell below this share; else the penalty grows."""


def nuclear_norm(model: Bilinear, rng: np.random.Generator, *, rtol: float = 1e-6) -> Recovery:
    """Leading singular pair of the X of least nuclear norm with b_l^T X c_l = y_l.

    Parameters
    ----------
    model : Bilinear
    rng : numpy.random.Generator
        Draws the small random start of the factorization.
    rtol : float
        Converged if ||A(X) - y|| <= rtol ||y||.

    Returns
    -------
    Recovery
        `steps` counts evaluations of the Lagrangian.  The residual is that of the rank-one part:
        it stays large where the least X is not of rank one, and the status may say CONVERGED.

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent, or rtol is negative.
    """
    model.check_subspaces()
    if not rtol >= 0:
        raise ValueError(f"rtol={rtol}: must be >= 0")
    b, c = (np.sqrt(np.mean(A * A)) for A in (model.B, model.C))
    size = float(np.linalg.norm(model.y))
    lifted = _Lifted(model.B / b, model.C / (c * np.sqrt(model.ell)), model.y / size)
    point = 1e-2 * rng.standard_normal((model.K + model.N) * lifted.rank)
    multipliers, penalty, before, steps = np.zeros(model.ell), PENALTY, np.inf, 0
    status = Status.MAX_STEPS
    for _ in range(OUTER_STEPS):
        found = minimize(
            lifted.lagrangian,
            point,
            args=(multipliers, penalty),
            jac=True,
            method="L-BFGS-B",
            options=INNER,
        )
        point, steps = found.x, steps + int(found.nfev)
        r = lifted.residual(point)
        error = float(np.linalg.norm(r))
        if not np.isfinite(error):
            return nothing(model, Status.DIVERGED, steps)
        if error <= rtol:
            status = Status.CONVERGED
            break
        if error**2 < ENOUGH * before**2:
            multipliers, before = multipliers - penalty * r, error
        else:
            penalty *= PENALTY
    h, m = _leading_pair(*lifted.factors(point))
    return recovery(model, h * size / (b * c * np.sqrt(model.ell)), m, status, steps)


@dataclass(frozen=True, eq=False)
class _Lifted:
    """X = H Z^T with b_l^T X c_l = y_l, scaled to ||A(X)|| of about ||X||; a point is (H, Z)."""

    B: Array
    C: Array
    y: Array

    @property
    def rank(self) -> int:
        return min(RANK, self.B.shape[1], self.C.shape[1])

    def factors(self, point: Array) -> tuple[Array, Array]:
        """H (K, r) and Z (N, r)."""
        rows = point.reshape(-1, self.rank)
        return rows[: self.B.shape[1]], rows[self.B.shape[1] :]

    def residual(self, point: Array) -> Array:
        """A(H Z^T) - y."""
        H, Z = self.factors(point)
        return np.asarray(np.sum((self.B @ H) * (self.C @ Z), axis=1) - self.y)

    def lagrangian(self, point: Array, multipliers: Array, penalty: float) -> tuple[float, Array]:
        """1/2 (||H||^2 + ||Z||^2) - multipliers.r + penalty/2 ||r||^2, and its gradient."""
        H, Z = self.factors(point)
        U, V, r = self.B @ H, self.C @ Z, self.residual(point)
        force = (penalty * r - multipliers)[:, None]
        gradient = np.vstack([H + self.B.T @ (force * V), Z + self.C.T @ (force * U)])
        value = 0.5 * (point @ point) - multipliers @ r + 0.5 * penalty * (r @ r)
        return float(value), gradient.ravel()


def _leading_pair(H: Array, Z: Array) -> tuple[Array, Array]:
    """The best rank-one approximation h m^T of H Z^T: (K, r), (N, r) -> (K,), (N,)."""
    left, R1 = np.linalg.qr(H)
    right, R2 = np.linalg.qr(Z)
    U, values, V = np.linalg.svd(R1 @ R2.T)
    return values[0] * (left @ U[:, 0]), right @ V[0]
