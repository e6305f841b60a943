"""Newton's method on many points at once, across the linear pieces of the two networks.

Inside a pair of linear pieces a = Lambda1 h and b = Lambda2 m.  With e = a*b - y0, the Jacobian
J = [diag(b) Lambda1, diag(a) Lambda2] and C = Lambda1^T diag(e) Lambda2 the gradient of the loss is
J^T e and its Hessian J^T J + [0, C; C^T, 0].  The loss is the same along the orbit (ch, m/c), whose
tangent (h, -m) is projected out of every step.  Points are kept balanced, ||h|| = ||m||, and at
the best scale for their directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.landscape.tolerances import NEWTON_CONVERGED
from harness.problem import Demodulation

Array = NDArray[np.float64]

FLOOR = 1e-9
"""A Newton step takes no eigenvalue for smaller than this share of the largest one.

It bounds the step where the Hessian is nearly singular.  Whether a point is degenerate is decided
elsewhere, by `tolerances.FLAT`.
"""

BLOCK = 1 << 22
"""Entries of the largest array of one block of points, 32 MiB."""

TRUST = 0.3
"""Longest step, relative to ||(h, m)||: even twice this step leads no balanced point to zero."""

HALVINGS = 5
"""Halvings of a step at most: a point that needs more is at a kink."""

SUFFICIENT = 1e-4
"""Armijo's constant: the share of slope x step by which f has to fall."""

LOSS_ROUNDING = 1e-15
"""Rise of the loss ratio that is taken for rounding and accepted."""


@dataclass(frozen=True, eq=False)
class Points:
    """R points: h (R, n), m (R, p), loss_ratio (R,) = 2 f / ||y0||^2, gradient (R,) relative."""

    h: Array
    m: Array
    loss_ratio: Array
    gradient: Array


def at_best_scale(P: Demodulation, h: Array, m: Array) -> tuple[Array, Array, Array]:
    """Points (R, n), (R, p) moved to r* = <y0, a*b> / ||a*b||^2 on their rays, balanced.

    Returns h, m and 2 f / ||y0||^2 = 1 - <y0, a*b>^2 / (||a*b||^2 ||y0||^2).  Where a*b does not
    meet y0 the loss is least on K: there h = m = 0 and the ratio is 1.
    """
    q = P.G1(h) * P.G2(m)
    overlap, size = q @ P.y0, np.sum(q * q, axis=-1)
    meets = (overlap > 0) & (size > 0)
    scale = np.divide(overlap, size, out=np.zeros_like(size), where=meets)
    drop = np.divide(overlap * scale, P.y0 @ P.y0, out=np.zeros_like(size), where=meets)
    h_norm, m_norm = np.linalg.norm(h, axis=-1), np.linalg.norm(m, axis=-1)
    radius = np.sqrt(scale * h_norm * m_norm)
    h_factor = np.divide(radius, h_norm, out=np.zeros_like(radius), where=meets)
    m_factor = np.divide(radius, m_norm, out=np.zeros_like(radius), where=meets)
    return h_factor[:, None] * h, m_factor[:, None] * m, 1 - drop


def descend(P: Demodulation, h: Array, m: Array, max_steps: int) -> Points:
    """Newton descent of R points with |eigenvalues|, halving steps until the loss falls enough.

    A point ends where the gradient vanishes, or at a kink that no step crosses with a lower loss.
    """
    h, m, loss = at_best_scale(P, h, m)
    gradient = np.full(len(h), np.inf)
    gradient[loss >= 1] = np.nan
    running = np.flatnonzero(loss < 1)
    for _ in range(max_steps):
        if running.size == 0:
            break
        x = np.concatenate([h[running], m[running]], axis=1)
        g, step = newton_steps(P, h[running], m[running])
        gradient[running] = relative_gradient(P, g, x)
        slope = 2 * np.sum(g * step, axis=1) / (P.y0 @ P.y0)
        moved, x, value = _backtrack(P, x, step, loss[running], slope)
        h[running], m[running], loss[running] = x[:, : P.n], x[:, P.n :], value
        running = running[moved & (gradient[running] > NEWTON_CONVERGED)]
    return Points(h, m, loss, gradient)


def find_roots(P: Demodulation, h: Array, m: Array, max_steps: int) -> Points:
    """Plain Newton for a zero of the gradient, from R points: ends at saddles as well as minima."""
    h, m, loss = at_best_scale(P, h, m)
    for _ in range(max_steps):
        _, step = newton_steps(P, h, m, signed=True)
        h, m, loss = at_best_scale(P, h + step[:, : P.n], m + step[:, P.n :])
    g, _ = newton_steps(P, h, m, signed=True)
    return Points(h, m, loss, relative_gradient(P, g, np.concatenate([h, m], axis=1)))


def relative_gradient(P: Demodulation, g: Array, x: Array) -> Array:
    """||g|| ||x|| / ||y0||^2: (..., k), (..., k) -> (...), the same for all units of h, m, y0."""
    return np.linalg.norm(g, axis=-1) * np.linalg.norm(x, axis=-1) / (P.y0 @ P.y0)


def newton_steps(P: Demodulation, h: Array, m: Array, signed: bool = False) -> tuple[Array, Array]:
    """Gradient and Newton step, each (R, n + p), in blocks of bounded memory.

    Eigenvalues enter the step with their absolute values, which makes it a descent step, unless
    `signed`.  No step is longer than `TRUST` ||(h, m)||.
    """
    block = max(1, BLOCK // (P.ell * (P.n + P.p)))
    g, step = np.empty((2, len(h), P.n + P.p))
    for k in range(0, len(h), block):
        part = slice(k, k + block)
        g[part], H = derivatives(P, h[part], m[part])
        x = np.concatenate([h[part], m[part]], axis=1)
        orbit = np.concatenate([h[part], -m[part]], axis=1)
        step[part] = _solve(H, g[part], orbit, signed)
        size = np.linalg.norm(step[part], axis=1, keepdims=True)
        longest = TRUST * np.linalg.norm(x, axis=1, keepdims=True)
        step[part] *= longest / np.maximum(np.maximum(size, longest), 1e-300)
    return g, step


def derivatives(P: Demodulation, h: Array, m: Array) -> tuple[Array, Array]:
    """Gradient (R, n + p) and Hessian (R, n + p, n + p) of f at R points off all kinks."""
    _, g, H = quadratic_model(P, P.G1.Lambda(h), P.G2.Lambda(m), h, m)
    return g, H


def quadratic_model(
    P: Demodulation, L1: Array, L2: Array, h: Array, m: Array
) -> tuple[Array, Array, Array]:
    """f, J^T e and J^T J + [0, C; C^T, 0] on pieces L1 (..., ell, n), L2 (..., ell, p)."""
    a, b = (L1 @ h[..., None])[..., 0], (L2 @ m[..., None])[..., 0]
    e = a * b - P.y0
    J = np.concatenate([L1 * b[..., None], L2 * a[..., None]], axis=-1)
    g = (e[..., None, :] @ J)[..., 0, :]
    H = np.swapaxes(J, -1, -2) @ J
    C = np.swapaxes(L1, -1, -2) @ (e[..., None] * L2)
    H[..., : P.n, P.n :] += C
    H[..., P.n :, : P.n] += np.swapaxes(C, -1, -2)
    return 0.5 * np.sum(e * e, axis=-1), g, H


def _solve(H: Array, g: Array, orbit: Array, signed: bool) -> Array:
    """-H^-1 g off the orbit, eigenvalues no smaller than FLOOR of the largest: (R, k)."""
    norm = np.linalg.norm(orbit, axis=1, keepdims=True)
    tau = np.divide(orbit, norm, out=np.zeros_like(orbit), where=norm > 0)
    H_tau = (H @ tau[:, :, None])[:, :, 0]
    curvature = np.sum(tau * H_tau, axis=1)[:, None, None]
    outer = tau[:, :, None] * H_tau[:, None, :]
    H = H - outer - np.swapaxes(outer, 1, 2)
    H = H + curvature * tau[:, :, None] * tau[:, None, :]
    values, vectors = np.linalg.eigh((H + np.swapaxes(H, 1, 2)) / 2)
    size = np.maximum(np.abs(values), FLOOR * np.abs(values).max(axis=1, keepdims=True))
    size = np.where(size > 0, size, 1.0)
    if signed:
        size = np.copysign(size, values)
    g = g - np.sum(g * tau, axis=1, keepdims=True) * tau
    along = (g[:, None, :] @ vectors)[:, 0, :] / size
    return -(vectors @ along[:, :, None])[:, :, 0]


def _backtrack(
    P: Demodulation, x: Array, step: Array, loss: Array, slope: Array
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Armijo's rule for each point: (moved, new points, their loss)."""
    x, value = x.copy(), loss.copy()
    moved = np.zeros(len(x), dtype=bool)
    t = 1.0
    for _ in range(HALVINGS):
        open_ = np.flatnonzero(~moved)
        if open_.size == 0:
            break
        trial = x[open_] + t * step[open_]
        h, m, new = at_best_scale(P, trial[:, : P.n], trial[:, P.n :])
        falls = (new <= loss[open_] + SUFFICIENT * t * slope[open_] + LOSS_ROUNDING) & (new < 1)
        done = open_[falls]
        x[done] = np.concatenate([h, m], axis=1)[falls]
        value[done] = new[falls]
        moved[done] = True
        t /= 2
    return moved, x, value
