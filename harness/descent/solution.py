"""Inputs and results of Algorithm 1, shared by both engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array, Ints
from harness.problem import BRANCHES, Demodulation

SignCheck = Literal["every", "once", "never"]
Engine = Literal["reference", "tracking", "auto"]

SIGNS: tuple[tuple[int, int], ...] = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""The sign choices of step (i); (1, 1) comes first, so that a tie keeps the iterate."""

TRACE_LIMIT = 2**30
"""Largest size of a trace, in bytes."""


@dataclass(frozen=True)
class Stopping:
    """When a trial ends; losses are in units of f(0, 0) = 1/2 ||y0||^2.

    Attributes
    ----------
    loss_rtol : converged if f <= loss_rtol.
    stall_rtol, stall_window : stalled if the last stall_window steps lowered f by less than
        stall_rtol f.
    divergence : diverged if f > divergence max(1, f at the start), or if f or the iterate is not
        finite.
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
    """The trials at T log-spaced steps, after step (i).

    Attributes
    ----------
    step : (T,)
    loss : (T, trials), NaN after the end of a trial.
    distance : (T, trials, 4), `Demodulation.neighbourhood` for the four hyperbolas, in the order of
        `harness.problem.BRANCHES`; NaN after the end of a trial.
    flips : (T, trials), number of steps so far at which the sign check changed a sign.
    changes : (T, trials), number of units that switched between consecutive iterates, summed over
        the steps so far and over all layers of both networks.  The units that switch because a
        sign flips count too.

    The last two keep their value after the end of a trial.
    """

    step: Ints
    loss: Array
    distance: Array | None = None
    flips: Ints | None = None
    changes: Ints | None = None


@dataclass(frozen=True, eq=False)
class TrackingReport:
    """How the tracking engine did its work, trial by trial; every field is (trials,).

    Attributes
    ----------
    evaluations : evaluations of a network, at the iterate or at its negative; none where no unit of
        the inner layers, or no sign, can have changed.
    plain : how many of them used W_d in place of the tracked matrix.
    updates : rank-one updates of tracked matrices.
    rebuilds : how often matrices of a network were recomputed, because that was cheaper or because
        they were old.
    hot_steps : steps that used the hot units only (`harness.descent.hot_kernels`).
    drift : largest relative difference between an old matrix and the recomputed one.
    drifted : how often that difference exceeded `harness.descent.region_kernels.DRIFT_RTOL`.
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
    """Final iterates of all trials; the leading axis of every array is the trial.

    Attributes
    ----------
    h : (trials, n)
    m : (trials, p)
    loss : (trials,)
    status : (trials,), of `Status`.
    steps : (trials,), gradient steps taken.
    flips : (trials,), steps at which the sign check changed a sign.
    trace : None unless asked for.
    tracking : None from the reference engine.
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
class Arguments:
    """Checked arguments of `alternating_descent`.

    Attributes
    ----------
    h, m, eta : (trials, n), (trials, p), (trials,), starts and step sizes.
    trace_at : steps to record, increasing; empty without a trace.
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
        """Number of trials."""
        return len(self.h)


def step_size(P: Demodulation, kappa: float = 0.5) -> float:
    """eta = kappa sqrt(2^(d+s) ell) / ||y0||: scale-free, and computable from the data.

    Near the truth, a step multiplies the error by 1 - kappa if the networks are infinitely wide; at
    finite width some directions are slower.

    Raises
    ------
    ValueError
        If kappa is not positive and finite, or y0 = 0.
    """
    if not (np.isfinite(kappa) and kappa > 0):
        raise ValueError(f"kappa={kappa}: must be > 0 and finite")
    if not P.y0.any():
        raise ValueError("y0 = 0: the step size is undefined")
    return kappa * float(np.sqrt(2.0 ** (P.d + P.s) * P.ell) / np.linalg.norm(P.y0))


def log_spaced(max_steps: int, per_octave: int = 8) -> Ints:
    """Distinct steps from 0 to max_steps: all at first, then `per_octave` in each doubling."""
    octaves = np.log2(max(max_steps, 1))
    points = np.round(2 ** np.arange(0, octaves, 1 / per_octave)).astype(np.int64)
    return np.unique(np.concatenate([[0], points, [max_steps]]))


def local_rate(trace: Trace, window: tuple[float, float]) -> Array:
    """Factor q by which a step shrinks the error at the end, f ~ q^(2 step): (trials,).

    From the least-squares slope of log f against the step, over the recorded points whose loss lies
    in `window` = (low, high).  NaN if there are fewer than three such points.
    """
    low, high = window
    rates = np.full(trace.loss.shape[1], np.nan)
    for trial, loss in enumerate(trace.loss.T):
        inside = (loss > low) & (loss < high)
        if inside.sum() >= 3:
            slope = np.polyfit(trace.step[inside], np.log(loss[inside]), 1)[0]
            rates[trial] = np.exp(slope / 2)
    return rates


def row(P: Demodulation, solution: Solution, k: int = 0) -> dict[str, Any]:
    """Trial k of a solution as columns of a table.

    epsilon_true : `Demodulation.neighbourhood` of the true hyperbola.
    loss_ratio : f / f(0, 0), with f(0, 0) = 1/2 ||y0||^2.
    steps, flips, status : as in `Solution`.
    """
    return {
        "epsilon_true": float(P.neighbourhood(solution.h[k], solution.m[k])),
        "loss_ratio": float(solution.loss[k] / P.loss_at_zero),
        "steps": int(solution.steps[k]),
        "flips": int(solution.flips[k]),
        "status": solution.status[k],
    }


def distances(P: Demodulation, h: Array, m: Array) -> Array:
    """`Demodulation.neighbourhood` for all branches: (..., n), (..., p) -> (..., 4)."""
    return np.stack([P.neighbourhood(h, m, branch) for branch in BRANCHES], axis=-1)


def check_arguments(
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
) -> Arguments:
    """Check the arguments of `alternating_descent`.

    Raises
    ------
    ValueError
        In one line that names the argument; see `alternating_descent`.
    """
    h = np.atleast_2d(np.array(h_init, dtype=np.float64))
    m = np.atleast_2d(np.array(m_init, dtype=np.float64))
    if h.ndim != 2 or m.ndim != 2 or h.shape[1] != P.n or m.shape[1] != P.p or len(h) != len(m):
        raise ValueError(
            f"h_init {h.shape}, m_init {m.shape}: must be (trials, {P.n}) and (trials, {P.p}), "
            "with as many trials in both"
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
    # h, m, loss, the distances, flips, changes
    size = len(trace_at) * len(h) * (P.n + P.p + 1 + len(BRANCHES) + 2) * 8
    if size > TRACE_LIMIT:
        raise ValueError(
            f"trace=True: {len(trace_at)} steps of {len(h)} trials would hold {size / 2**30:.1f} "
            f"GiB; at most {TRACE_LIMIT / 2**30:g} GiB: run fewer trials at a time"
        )
    eta = np.broadcast_to(eta, (len(h),)).copy()
    return Arguments(P, h, m, eta, int(max_steps), sign_check, balance, joint, stopping, trace_at)
