"""The basin of the truth: curvatures, how far the linear region reaches, the rate of Algorithm 1.

Everything is at the balanced truth x0 = (c h0, m0/c), ||c h0|| = ||m0/c||, where Algorithm 1 ends.
Off kinks f is smooth there, and without noise its residual vanishes: the Hessian is J^T J with
J = [diag(b) Lambda1, diag(a) Lambda2].  Along the orbit, tau = (h, -m) / ||(h, m)||, it is zero.
At a truth on a kink everything refers to the linear region in which the kink's units are inactive,
and the certified radii are 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.arrays import Array, Bools
from harness.descent import Engine, Stopping, alternating_descent, step_size
from harness.network import ReluNetwork
from harness.problem import Demodulation
from harness.status import Status
from harness.theory import landscape_scale

BARRIERS = 1000
"""Radii tried for the sphere that no descent crosses."""

RETURNED = 1e-3
"""A descent has come back if it converged within this relative distance of the true hyperbola."""


@dataclass(frozen=True)
class Basin:
    """Numbers about the truth's neighbourhood; `dataclasses.asdict` gives columns of a table.

    Attributes
    ----------
    lowest, highest : extreme eigenvalues of the Hessian at the balanced truth, on the complement
        of the scaling direction, in units of c ||h0|| ||m0||, c = alpha / (2^(d+s) ell).  In
        expectation 1 on the n + p - 2 angles and 2 along (h, m).
    certified_region, certified_basin : see the functions of these names.
    rate : see `predicted_rate`.
    """

    lowest: float
    highest: float
    certified_region: float
    certified_basin: float
    rate: float


def basin(P: Demodulation, kappa: float = 0.5, *, alpha: float = 1.0) -> Basin:
    """Curvatures, certified radii and the rate of Algorithm 1 with step `step_size(P, kappa)`.

    Parameters
    ----------
    P : Demodulation
        Without noise, any n, p, d and s.
    kappa : float
        Scale-free step size.
    alpha : float
        Product of the two last layers' `truncation_alpha`; enters the unit of the curvatures only.

    Raises
    ------
    ValueError
        If P has noise (then the truth is no minimum), y0 = 0, or kappa is not positive and finite.
    """
    step = step_size(P, kappa)
    unit = landscape_scale(P.d, P.s, P.ell, alpha) * np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    values = curvatures(P) / unit
    return Basin(
        lowest=float(values[0]),
        highest=float(values[-1]),
        certified_region=certified_region(P),
        certified_basin=certified_basin(P),
        rate=predicted_rate(P, step),
    )


def curvatures(P: Demodulation) -> Array:
    """Eigenvalues of the Hessian of f at the balanced truth, without the orbit's 0.

    Returns (n + p - 1,), increasing: the squared singular values of J, of which one is 0 because
    J tau = 0 (`Demodulation.jacobian`).  They are proportional to ||h0|| ||m0||.

    Raises
    ------
    ValueError
        If P has noise.
    """
    values = np.linalg.svd(_jacobian(P), compute_uv=False)
    spectrum = np.zeros(P.n + P.p)
    spectrum[: values.size] = values**2
    return spectrum[-2::-1]


def certified_region(P: Demodulation) -> float:
    """Radius of the largest ball around the balanced truth in which no unit switches.

    Relative to ||x0||, x0 = (h, m) the balanced truth, as the epsilon of `P.neighbourhood`.  Up to
    rounding it is exact: a unit of the linear region of h has the pre-activation r.h, r its
    effective row, and so the distance |r.h| / ||r|| from its kink.  Inside the ball f is a
    polynomial.  Infinite if the networks have no kinks, 0 at a truth on a kink or at 0.
    """
    h, m = P.balanced_truth()
    nearest = min(_to_nearest_kink(P.G1, h), _to_nearest_kink(P.G2, m))
    size = float(np.hypot(np.linalg.norm(h), np.linalg.norm(m)))
    return nearest / size if size > 0 else 0.0


def certified_basin(P: Demodulation) -> float:
    """Radius around the balanced truth from within which descent stays in its linear region.

    Relative to ||x0|| and for balanced starts.  From there no path on which f does not increase
    leaves the ball of `certified_region`, each of its points taken in its balanced form (c h, m/c):
    gradient flow, which keeps the balance, or Algorithm 1 without sign check, as long as f does not
    rise within its steps.  A lower end of the basin, by far: it is less than `certified_region`.

    Raises
    ------
    ValueError
        If P has noise.

    Notes
    -----
    At the balanced point x0 + delta of the region, delta = (u, v) of length r, the residual is
    J delta + Lambda1 u * Lambda2 v.  The last term is at most gamma r^2 / 2 with gamma the longest
    row of one Lambda times the norm of the other, and |tau . delta| <= r^2 / (2 ||x0||).  With
    extreme curvatures low and high therefore

        (2 f)^(1/2) >= r (low (1 - r^2 / (4 ||x0||^2)))^(1/2) - gamma r^2 / 2,
        (2 f)^(1/2) <= r high^(1/2) + gamma r^2 / 2.

    A start stays inside a sphere on which the first exceeds the second at the start.
    """
    values = curvatures(P)
    low, high = np.sqrt(values[0]), np.sqrt(values[-1])
    h, m = P.balanced_truth()
    size = float(np.hypot(np.linalg.norm(h), np.linalg.norm(m)))
    gamma = _longest_product(P.G1.Lambda(h), P.G2.Lambda(m))
    r = np.linspace(0, min(certified_region(P), 1.0), BARRIERS + 1) * size
    barrier = np.max(r * low * np.sqrt(1 - r**2 / (4 * size**2)) - gamma * r**2 / 2)
    if barrier <= 0:
        return 0.0
    return float(2 * barrier / (high + np.sqrt(high**2 + 2 * gamma * barrier)) / size)


def iteration_matrix(P: Demodulation, step: float) -> Array:
    """Derivative of one step of Algorithm 1 at the balanced truth, (n + p, n + p).

    With the blocks H_ij of the Hessian and the step eta it is

        (I - tau tau^T) [I, 0; -eta H21, I - eta H22] [I - eta H11, -eta H12; 0, I]:

    the step in h, the step in m at the new h, and the balance, which at a balanced point projects
    along the orbit.  The sign check changes nothing near the truth (it would, if y0 could be fitted
    as well by other signs).  As H tau = 0, tau is an eigenvector with eigenvalue 0.

    Raises
    ------
    ValueError
        If P has noise.
    """
    J, n = _jacobian(P), P.n
    H = J.T @ J
    in_h, in_m = np.eye(P.n + P.p), np.eye(P.n + P.p)
    in_h[:n] -= step * H[:n]
    in_m[n:] -= step * H[n:]
    h, m = P.balanced_truth()
    orbit = np.concatenate([h, -m])
    tau = orbit / np.linalg.norm(orbit)
    change = in_m @ in_h
    return change - np.outer(tau, tau @ change)


def predicted_rate(P: Demodulation, step: float) -> float:
    """Factor q by which a step of Algorithm 1 shrinks a small error in the end; diverges if q > 1.

    The spectral radius of `iteration_matrix`.  f falls by q^2.  For the expected Hessian and
    eta = kappa / (c ||h0|| ||m0||), which `step_size` estimates, the eigenvalues are 1 - kappa on
    the angles and (1 - kappa)^2 along the scale.

    Raises
    ------
    ValueError
        If P has noise or y0 = 0.
    """
    if not P.y0.any():
        raise ValueError("y0 = 0: there is no truth to converge to")
    return float(np.abs(np.linalg.eigvals(iteration_matrix(P, step))).max())


def sampled_radii(
    P: Demodulation,
    rng: np.random.Generator,
    starts: int = 32,
    *,
    kappa: float = 0.5,
    farthest: float = 1.0,
    halvings: int = 8,
    max_steps: int = 5_000,
    engine: Engine = "auto",
) -> Array:
    """How far one may start from the truth along random directions and come back, sampled.

    Parameters
    ----------
    P : Demodulation
        Without noise.
    rng : numpy.random.Generator
        Draws the directions, uniform on the sphere of R^(n+p).
    starts : int
        Number of directions, >= 1.
    kappa : float
        Step size of Algorithm 1, which is run as printed.
    farthest : float
        Largest relative distance tried, > 0 and finite.
    halvings : int
        Steps of bisection, >= 1: radii are multiples of farthest / 2^halvings.
    max_steps : int
        A descent that has not come back after so many steps counts as lost.
    engine : as in `alternating_descent`

    Returns
    -------
    (starts,)
        For each direction e a radius r such that Algorithm 1 comes back from x0 + r ||x0|| e, x0
        the balanced truth; 0 if it does from no point tried, `farthest` if it does from there.
        Smaller radii need not all come back: bisection finds one border.  The minimum is the
        sampled radius of the basin, an upper end of the true one within the resolution.

    Raises
    ------
    ValueError
        If P has noise, y0 = 0, or a number is out of range.
    """
    if starts < 1 or halvings < 1:
        raise ValueError(f"starts={starts}, halvings={halvings}: both must be >= 1")
    if not (np.isfinite(farthest) and farthest > 0):
        raise ValueError(f"farthest={farthest}: must be > 0 and finite")
    _refuse_noise(P)
    step = step_size(P, kappa)
    x0 = np.concatenate(P.balanced_truth())
    directions = rng.standard_normal((starts, x0.size))
    directions *= np.linalg.norm(x0) / np.linalg.norm(directions, axis=1, keepdims=True)

    def returns(radius: Array) -> Bools:
        x = x0 + radius[:, None] * directions
        end = alternating_descent(
            P,
            x[:, : P.n],
            x[:, P.n :],
            step=step,
            max_steps=max_steps,
            engine=engine,
            stopping=Stopping(loss_rtol=1e-12),
        )
        near = P.neighbourhood(end.h, end.m) <= RETURNED
        return (end.status == Status.CONVERGED) & near

    inside, outside = np.zeros(starts), np.full(starts, float(farthest))
    back = returns(outside)
    inside[back] = farthest
    for _ in range(halvings):
        middle = (inside + outside) / 2
        back = returns(middle)
        inside, outside = np.where(back, middle, inside), np.where(back, outside, middle)
    return inside


def _longest_product(L1: Array, L2: Array) -> float:
    """An upper bound of ||L1 u * L2 v|| over unit vectors u, v."""
    longest1, longest2 = (float(np.linalg.norm(L, axis=1).max()) for L in (L1, L2))
    return min(longest1 * float(np.linalg.norm(L2, 2)), longest2 * float(np.linalg.norm(L1, 2)))


def _to_nearest_kink(G: ReluNetwork, x: Array) -> float:
    """Distance from x (n,) to the border of its linear region; inf if it has none.

    A unit with an effective row of zeros, which has no active input, has no kink.
    """
    nearest, rows = np.inf, np.eye(x.size)
    for W, z in zip(G.weights, G.preactivations(x), strict=True):
        rows = W @ rows
        norms = np.linalg.norm(rows, axis=1)
        alive = norms > 0
        nearest = min(nearest, np.min(np.abs(z[alive]) / norms[alive], initial=np.inf))
        rows = np.where(z[:, None] > 0, rows, 0.0)
    return float(nearest)


def _jacobian(P: Demodulation) -> Array:
    """J at the balanced truth, (ell, n + p)."""
    _refuse_noise(P)
    return P.jacobian(*P.balanced_truth())


def _refuse_noise(P: Demodulation) -> None:
    if P.noise is not None:
        raise ValueError("noise: must be None; with noise the truth is not a minimum of f")
