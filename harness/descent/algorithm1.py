"""Algorithm 1 of the paper, the readable reference, batched over starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.problem import Demodulation
from harness.status import Status

Array = NDArray[np.float64]
SignCheck = Literal["every", "once", "never"]

SIGNS: tuple[tuple[int, int], ...] = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Step (i) tries these; (1, 1) first, so that a tie keeps the iterate."""


@dataclass(frozen=True)
class Stopping:
    """When a trial ends; losses are relative to f on K, 1/2 ||y0||^2.

    loss_rtol : converged at f <= loss_rtol.
    stall_rtol, stall_window : stalled if f fell by less than this share within so many steps.
    divergence : diverged at f > divergence max(1, f at the start), or f not finite.
    """

    loss_rtol: float = 1e-16
    stall_rtol: float = 1e-6
    stall_window: int = 100
    divergence: float = 1e6

    def __post_init__(self) -> None:
        if self.stall_window < 1:
            raise ValueError(f"stall_window={self.stall_window}: must be >= 1")


@dataclass(frozen=True, eq=False)
class Trace:
    """Loss at log-spaced steps: step (T,), loss (T, K), NaN after a trial's end."""

    step: NDArray[np.int64]
    loss: Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Final iterates of K trials, each field of leading length K.

    h (K, n), m (K, p), loss (K,), status (K,) of `Status`, steps (K,) gradient steps taken,
    flips (K,) steps at which the sign check changed a sign; trace is None unless asked for.
    """

    h: Array
    m: Array
    loss: Array
    status: NDArray[np.object_]
    steps: NDArray[np.int64]
    flips: NDArray[np.int64]
    trace: Trace | None = None


def step_size(P: Demodulation, kappa: float = 0.5) -> float:
    """Eta = kappa sqrt(2^(d+s) ell) / ||y0||: scale-free, computable from the data.

    For infinitely wide networks a step near the truth multiplies the error by 1 - kappa; at
    finite width the slowest direction is slower.

    Raises
    ------
    ValueError
        If kappa is not positive and finite, or y0 = 0.
    """
    if not (np.isfinite(kappa) and kappa > 0):
        raise ValueError(f"kappa={kappa}: must be > 0 and finite")
    if not P.y0.any():
        raise ValueError("y0 = 0: the step size is not defined")
    return kappa * float(np.sqrt(2.0 ** (P.d + P.s) * P.ell) / np.linalg.norm(P.y0))


def alternating_descent(
    P: Demodulation,
    h_init: ArrayLike,
    m_init: ArrayLike,
    step: ArrayLike | None = None,
    max_steps: int = 10_000,
    *,
    engine: str = "reference",
    sign_check: SignCheck = "every",
    balance: bool = True,
    stopping: Stopping = Stopping(),
    trace: bool = False,
) -> Solution:
    """Algorithm 1, K trials side by side.

    A step: (i) of the four sign choices (+-h, +-m) keep the one of least loss;
    (ii) h <- h - eta grad_h f(h, m); (iii) m <- m - eta grad_m f(h, m) at the new h;
    (iv) c = sqrt(||h|| / ||m||), h <- h/c, m <- c m.

    Parameters
    ----------
    P : Demodulation
    h_init, m_init : (K, n), (K, p)
        Starts; (n,) and (p,) are taken as K = 1.
    step : float or (K,), optional
        eta; by default `step_size(P)`.
    max_steps : int
        Gradient steps at the most, >= 1.
    engine : {"reference"}
    sign_check : {"every", "once", "never"}
        Do step (i) at every step (the paper), before the first step only, or not at all.
    balance : bool
        Do step (iv).
    stopping : Stopping
    trace : bool
        Record the loss at log-spaced steps.

    Returns
    -------
    Solution
        With the iterate after step (i), whose loss the status speaks of.  Divergence is a status,
        never an error.

    Raises
    ------
    ValueError
        If shapes do not fit, a start or step is not finite, step <= 0, or max_steps < 1.
    """
    h, m, eta = _check(P, h_init, m_init, step, max_steps, engine, sign_check)
    trials = len(h)
    unit = P.loss_at_zero
    out_h, out_m = h.copy(), m.copy()
    out_loss, window_loss = np.full(trials, np.nan), np.full(trials, np.inf)
    bound = np.full(trials, np.inf)
    status = np.array([Status.MAX_STEPS] * trials, dtype=object)
    steps, flips = np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=np.int64)
    recorded: list[tuple[int, Array]] = []
    trace_at = set(log_spaced(max_steps)) if trace else set()
    running = np.arange(trials)  # h, m, eta hold these trials only

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for k in range(max_steps + 1):
            if sign_check == "every" or (sign_check == "once" and k == 0):
                h, m, loss, flipped = _least_loss_signs(P, h, m)
                flips[running] += flipped
            else:
                loss = P.loss(h, m)
            out_h[running], out_m[running], out_loss[running] = h, m, loss
            steps[running] = k
            if k in trace_at:
                row = np.full(trials, np.nan)
                row[running] = loss
                recorded.append((k, row))
            if k == 0:
                bound = stopping.divergence * np.maximum(unit, loss)

            converged = loss <= stopping.loss_rtol * unit
            diverged = ~(np.isfinite(loss) & (loss <= bound[running]))
            stalled = np.zeros_like(converged)
            if k % stopping.stall_window == 0:
                stalled = ~converged & (loss >= (1 - stopping.stall_rtol) * window_loss[running])
                window_loss[running] = loss
            status[running[stalled]] = Status.STALLED
            status[running[diverged]] = Status.DIVERGED
            status[running[converged]] = Status.CONVERGED
            keep = ~(converged | stalled | diverged)
            running, h, m, eta = running[keep], h[keep], m[keep], eta[keep]
            if running.size == 0 or k == max_steps:
                break

            h = h - eta * P.gradient_h(h, m)  # (ii)
            m = m - eta * P.gradient_m(h, m)  # (iii)
            if balance:
                h, m = _balance(h, m)  # (iv)

    history = None
    if trace:
        history = Trace(
            np.array([k for k, _ in recorded], dtype=np.int64),
            np.array([row for _, row in recorded]).reshape(len(recorded), trials),
        )
    return Solution(out_h, out_m, out_loss, status, steps, flips, history)


def log_spaced(max_steps: int, per_octave: int = 8) -> NDArray[np.int64]:
    """Distinct steps 0, 1, ..., max_steps, `per_octave` to a doubling where that is fewer."""
    octaves = np.log2(max(max_steps, 1))
    points = np.round(2 ** np.arange(0, octaves, 1 / per_octave)).astype(np.int64)
    return np.unique(np.concatenate([[0], points, [max_steps]]))


def local_rate(trace: Trace, window: tuple[float, float]) -> Array:
    """Per-step factor q of the error at the end, from f ~ q^(2 step): (K,), NaN where unknown.

    A least-squares slope of log f against the step over the recorded points whose loss lies in
    `window` = (low, high); fewer than three such points give NaN.
    """
    low, high = window
    rates = np.full(trace.loss.shape[1], np.nan)
    for trial, loss in enumerate(trace.loss.T):
        inside = (loss > low) & (loss < high)
        if inside.sum() >= 3:
            slope = np.polyfit(trace.step[inside], np.log(loss[inside]), 1)[0]
            rates[trial] = np.exp(slope / 2)
    return rates


def _least_loss_signs(
    P: Demodulation, h: Array, m: Array
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Step (i): signs of least loss, that loss, and whether a sign changed."""
    a, b = {+1: P.G1(h), -1: P.G1(-h)}, {+1: P.G2(m), -1: P.G2(-m)}
    losses = np.stack([0.5 * np.sum((a[i] * b[j] - P.y0) ** 2, axis=-1) for i, j in SIGNS])
    best = np.argmin(losses, axis=0)
    sign = np.array(SIGNS, dtype=np.float64)[best]
    loss = np.take_along_axis(losses, best[None], axis=0)[0]
    return h * sign[:, :1], m * sign[:, 1:], loss, best > 0


def _balance(h: Array, m: Array) -> tuple[Array, Array]:
    """Step (iv): ||h|| = ||m||, unless one of them is 0 or not finite."""
    h_norm, m_norm = np.linalg.norm(h, axis=1), np.linalg.norm(m, axis=1)
    ok = (h_norm > 0) & (m_norm > 0) & np.isfinite(h_norm) & np.isfinite(m_norm)
    c = np.sqrt(np.divide(h_norm, m_norm, out=np.ones_like(h_norm), where=ok))[:, None]
    return h / c, m * c


def _check(
    P: Demodulation,
    h_init: ArrayLike,
    m_init: ArrayLike,
    step: ArrayLike | None,
    max_steps: int,
    engine: str,
    sign_check: str,
) -> tuple[Array, Array, Array]:
    h = np.atleast_2d(np.array(h_init, dtype=np.float64))
    m = np.atleast_2d(np.array(m_init, dtype=np.float64))
    if h.ndim != 2 or m.ndim != 2 or h.shape[1] != P.n or m.shape[1] != P.p or len(h) != len(m):
        raise ValueError(
            f"h_init {h.shape}, m_init {m.shape}: must be (K, {P.n}) and (K, {P.p}) with one K"
        )
    if not (np.isfinite(h).all() and np.isfinite(m).all()):
        raise ValueError("h_init, m_init: every entry must be finite")
    eta = np.asarray(step_size(P) if step is None else step, dtype=np.float64)
    if eta.shape not in ((), (len(h),)) or not (np.isfinite(eta).all() and (eta > 0).all()):
        raise ValueError(f"step={step!r}: must be > 0 and finite, one number or one for each start")
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps}: must be >= 1")
    if engine != "reference":
        raise ValueError(f"engine={engine!r}: must be 'reference'")
    if sign_check not in ("every", "once", "never"):
        raise ValueError(f"sign_check={sign_check!r}: must be 'every', 'once' or 'never'")
    return h, m, np.broadcast_to(eta, (len(h),))[:, None].copy()
