"""What Algorithm 1 is told and what it returns, whichever engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.problem import BRANCHES, Demodulation

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
SignCheck = Literal["every", "once", "never"]
Engine = Literal["reference", "tracking", "auto"]

SIGNS: tuple[tuple[int, int], ...] = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Step (i) tries these; (1, 1) first, so that a tie keeps the iterate."""

TRACE_LIMIT = 2**30
"""Bytes that a trace may hold."""


@dataclass(frozen=True)
class Stopping:
    """When a trial ends; losses are relative to f on K, 1/2 ||y0||^2.

    loss_rtol : converged at f <= loss_rtol.
    stall_rtol, stall_window : stalled if f fell by less than this share within so many steps.
    divergence : diverged at f > divergence max(1, f at the start), or f or the iterate not finite.
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
    """K trials at log-spaced steps, after step (i).

    step : (T,)
    loss : (T, K), NaN after a trial's end.
    distance : (T, K, 4), to the hyperbolas of `harness.problem.BRANCHES` in that order
        (`Demodulation.neighbourhood`), NaN after a trial's end.
    flips : (T, K), steps so far at which the sign check changed a sign.
    changes : (T, K), unit activations that differed between consecutive iterates so far, summed
        over steps and over all layers of both networks.  A flip counts as the change it is.

    The last two keep their value after a trial's end.
    """

    step: Ints
    loss: Array
    distance: Array | None = None
    flips: Ints | None = None
    changes: Ints | None = None


@dataclass(frozen=True, eq=False)
class TrackingReport:
    """What the tracking engine did in each of K trials; every field (K,).

    evaluations : pre-activations of a network computed, at either sign.
    plain : those of them that went through W_d instead of the tracked matrix.
    updates : rank-one changes made to a tracked matrix.
    rebuilds : tracked matrices of a network made anew, for their cost or their age.
    hot_steps : steps that read the columns of few units alone (`harness.descent.hot_kernels`).
    drift : greatest relative difference found when a matrix was made anew for its age.
    drifted : how often that exceeded `harness.descent.tracking.DRIFT_RTOL`.
    """

    evaluations: Ints
    plain: Ints
    updates: Ints
    rebuilds: Ints
    hot_steps: Ints
    drift: Array
    drifted: Ints


@dataclass(frozen=True, eq=False)
class Solution:
    """Final iterates of K trials, each field of leading length K.

    h (K, n), m (K, p), loss (K,), status (K,) of `Status`, steps (K,) gradient steps taken,
    flips (K,) steps at which the sign check changed a sign; trace is None unless asked for,
    tracking is None from the reference.
    """

    h: Array
    m: Array
    loss: Array
    status: NDArray[np.object_]
    steps: Ints
    flips: Ints
    trace: Trace | None = None
    tracking: TrackingReport | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Checked arguments of one call: starts h (K, n), m (K, p), eta (K,), and the options.

    trace_at holds the steps to record, increasing; it is empty without a trace.
    """

    P: Demodulation
    h: Array
    m: Array
    eta: Array
    max_steps: int
    sign_check: SignCheck
    balance: bool
    joint: bool
    stopping: Stopping
    trace_at: Ints

    @property
    def trials(self) -> int:
        """K."""
        return len(self.h)


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


def log_spaced(max_steps: int, per_octave: int = 8) -> Ints:
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


def distances(P: Demodulation, h: Array, m: Array) -> Array:
    """Least epsilon of each branch's neighbourhood: (..., n), (..., p) -> (..., 4)."""
    return np.stack([P.neighbourhood(h, m, branch) for branch in BRANCHES], axis=-1)


def check_run(
    P: Demodulation,
    h_init: ArrayLike,
    m_init: ArrayLike,
    step: ArrayLike | None,
    max_steps: int,
    sign_check: SignCheck,
    balance: bool,
    joint: bool,
    stopping: Stopping,
    trace: bool,
) -> Run:
    """The arguments of `alternating_descent` as a `Run`.

    Raises
    ------
    ValueError
        In one line that names the argument; see `alternating_descent`.
    """
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
    if sign_check not in ("every", "once", "never"):
        raise ValueError(f"sign_check={sign_check!r}: must be 'every', 'once' or 'never'")
    trace_at = log_spaced(max_steps) if trace else np.empty(0, dtype=np.int64)
    # h, m, loss, four distances, flips, changes
    size = len(trace_at) * len(h) * (P.n + P.p + 1 + len(BRANCHES) + 2) * 8
    if size > TRACE_LIMIT:
        raise ValueError(
            f"trace=True: {len(trace_at)} steps of {len(h)} trials would hold {size / 2**30:.1f} "
            f"GiB; at most {TRACE_LIMIT / 2**30:g} GiB: run fewer trials at a time"
        )
    eta = np.broadcast_to(eta, (len(h),)).copy()
    return Run(P, h, m, eta, int(max_steps), sign_check, balance, joint, stopping, trace_at)
