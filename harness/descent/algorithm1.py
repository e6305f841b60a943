"""Algorithm 1 of the paper: entry point and readable reference, batched over the starts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Bools
from harness.descent import tracking
from harness.descent.solution import (
    SIGNS,
    Arguments,
    Array,
    Engine,
    Ints,
    SignCheck,
    Solution,
    Stopping,
    Trace,
    check_arguments,
    distances,
)
from harness.network import ReluNetwork
from harness.problem import Demodulation
from harness.status import Status


def alternating_descent(
    P: Demodulation,
    h_init: ArrayLike,
    m_init: ArrayLike,
    step: ArrayLike | None = None,
    max_steps: int = 10_000,
    *,
    engine: Engine = "reference",
    sign_check: SignCheck = "every",
    balance: bool = True,
    joint: bool = False,
    stopping: Stopping = Stopping(),
    trace: bool = False,
    threads: int = 1,
) -> Solution:
    """Algorithm 1 from several starts, side by side.

    A step is: (i) of the four sign choices (+-h, +-m) keep the one of least loss;
    (ii) h <- h - eta grad_h f(h, m); (iii) m <- m - eta grad_m f(h, m) at the new h;
    (iv) c = sqrt(||h|| / ||m||), h <- h/c, m <- c m.

    Parameters
    ----------
    P : Demodulation
    h_init, m_init : (trials, n), (trials, p)
        Starts; (n,) and (p,) mean a single trial.
    step : float or (trials,), optional
        eta; by default `step_size(P)`.
    max_steps : int
        Largest number of gradient steps, >= 1.
    engine : {"reference", "tracking", "auto"}
        "tracking" computes the same iterates up to rounding, with compiled code that keeps the
        matrices of the linear regions (`harness.descent.tracking`).  "auto" chooses it unless the
        run is so short that loading the compiled code would take longer.
    sign_check : {"every", "once", "never"}
        Do step (i) at every step (as the paper does), before the first step only, or never.
    balance : bool
        Do step (iv).
    joint : bool
        Take both gradients at the same point, instead of the gradient in m at the new h.
    stopping : Stopping
    trace : bool
        Record the trials at log-spaced steps.
    threads : int
        Threads among which the tracking engine divides the trials; results do not depend on it.
        The reference uses the threads of BLAS.

    Returns
    -------
    Solution
        The iterate after step (i), to which loss and status refer.  Divergence is a status, never
        an error; an iterate that is not finite has diverged, with loss NaN.

    Raises
    ------
    ValueError
        If shapes do not fit, a start or step is not finite, step <= 0, max_steps < 1,
        threads < 1, an option is unknown, or the trace would exceed 1 GiB.
    """
    if engine not in ("reference", "tracking", "auto"):
        raise ValueError(f"engine={engine!r}: must be 'reference', 'tracking' or 'auto'")
    if threads < 1:
        raise ValueError(f"threads={threads}: must be >= 1")
    arguments = check_arguments(
        P, h_init, m_init, step, max_steps, sign_check, balance, joint, stopping, trace
    )
    if engine == "tracking" or (engine == "auto" and tracking.pays(arguments)):
        return tracking.descend(arguments, threads)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _descend(arguments)


def _descend(arguments: Arguments) -> Solution:
    """The reference engine."""
    P, stopping, trials = arguments.P, arguments.stopping, arguments.trials
    unit = P.loss_at_zero
    h, m, eta = arguments.h, arguments.m, arguments.eta[:, None]
    out_h, out_m = h.copy(), m.copy()
    out_loss, window_loss = np.full(trials, np.nan), np.full(trials, np.inf)
    bound = np.full(trials, np.inf)
    status = np.array([Status.MAX_STEPS] * trials, dtype=object)
    steps, flips = np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=np.int64)
    recorder = _Recorder(arguments)
    running = np.arange(trials)  # h, m, eta hold these trials only

    for k in range(arguments.max_steps + 1):
        if arguments.sign_check == "every" or (arguments.sign_check == "once" and k == 0):
            h, m, loss, flipped = _least_loss_signs(P, h, m)
            flips[running] += flipped
        else:
            loss = _nan_unless_finite(P.loss(h, m), h, m)
        out_h[running], out_m[running], out_loss[running] = h, m, loss
        steps[running] = k
        recorder.record(k, running, h, m, loss, flips)
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
        if running.size == 0 or k == arguments.max_steps:
            break

        h_new = h - eta * P.gradient_h(h, m)  # (ii)
        m = m - eta * P.gradient_m(h if arguments.joint else h_new, m)  # (iii)
        h = h_new
        if arguments.balance:
            h, m = _balance(h, m)  # (iv)

    return Solution(out_h, out_m, out_loss, status, steps, flips, recorder.trace())


def _least_loss_signs(P: Demodulation, h: Array, m: Array) -> tuple[Array, Array, Array, Bools]:
    """Step (i): the signs of least loss, that loss (trials,), and whether a sign changed (trials,).

    A loss that is NaN counts as larger than any other.
    """
    a, b = {+1: P.G1(h), -1: P.G1(-h)}, {+1: P.G2(m), -1: P.G2(-m)}  # (trials, ell) each
    losses = np.stack([0.5 * np.sum((a[i] * b[j] - P.y0) ** 2, axis=-1) for i, j in SIGNS])
    # losses: (4, trials)
    losses = _nan_unless_finite(losses, h, m)
    best = np.argmin(np.where(np.isnan(losses), np.inf, losses), axis=0)
    sign = np.array(SIGNS, dtype=np.float64)[best]
    loss = np.take_along_axis(losses, best[None], axis=0)[0]
    return h * sign[:, :1], m * sign[:, 1:], loss, best > 0


def _nan_unless_finite(loss: Array, h: Array, m: Array) -> Array:
    """The loss (..., trials), with NaN where the iterate is not finite."""
    return np.where(np.isfinite(h).all(axis=1) & np.isfinite(m).all(axis=1), loss, np.nan)


def _balance(h: Array, m: Array) -> tuple[Array, Array]:
    """Step (iv): make ||h|| = ||m||, unless one of them is 0 or not finite."""
    h_norm, m_norm = np.linalg.norm(h, axis=1), np.linalg.norm(m, axis=1)
    ok = (h_norm > 0) & (m_norm > 0) & np.isfinite(h_norm) & np.isfinite(m_norm)
    c = np.sqrt(np.divide(h_norm, m_norm, out=np.ones_like(h_norm), where=ok))[:, None]
    return h / c, m * c


@dataclass(eq=False)
class _Recorder:
    """Collects the trace; does nothing if none was asked for."""

    arguments: Arguments
    rows: list[tuple[int, Array, Array, Ints, Ints]] = field(default_factory=list)
    pattern: Bools | None = None
    changes: Ints | None = None

    def record(self, k: int, running: Ints, h: Array, m: Array, loss: Array, flips: Ints) -> None:
        """Record step k; h, m, loss hold the trials in `running` only, flips holds all."""
        P, trials = self.arguments.P, self.arguments.trials
        if not len(self.arguments.trace_at):
            return
        pattern = np.hstack([_pattern(P.G1, h), _pattern(P.G2, m)])
        if self.pattern is None or self.changes is None:
            self.pattern, self.changes = pattern, np.zeros(trials, dtype=np.int64)
        self.changes[running] += (pattern != self.pattern[running]).sum(axis=1)
        self.pattern[running] = pattern
        if k in self.arguments.trace_at:
            losses, distance = np.full(trials, np.nan), np.full((trials, 4), np.nan)
            losses[running], distance[running] = loss, distances(P, h, m)
            self.rows.append((k, losses, distance, flips.copy(), self.changes.copy()))

    def trace(self) -> Trace | None:
        """The trace, or None if there is none."""
        if not self.rows:
            return None
        step, loss, distance, flips, changes = zip(*self.rows, strict=True)
        return Trace(np.array(step), *(np.array(rows) for rows in (loss, distance, flips, changes)))


def _pattern(G: ReluNetwork, x: Array) -> Bools:
    """Active units of all layers: (trials, n) -> (trials, n_1 + ... + n_d)."""
    return np.hstack([z > 0 for z in G.preactivations(x)])
