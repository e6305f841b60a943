"""Algorithm 1 on tracked linear regions: the iterates of the reference, faster.

While the same units are active, G(h) = Lambda_h h costs ell n operations instead of ell n_{d-1}.
`harness.descent.region_kernels` keeps such matrices at h and m, exact up to rounding through every
switch of a unit; `harness.descent.hot_kernels` skips the units of the last layer that cannot matter
and the inner ones that cannot switch; `harness.descent.sign_kernels` skips the sign checks that
cannot find anything; `harness.descent.tracking_kernels` runs a trial on them.

The iterates equal those of the reference up to rounding.  The two can part where rounding decides:
if the two least losses of a sign check agree to about 1e-15, if a loss is within rounding of its
tolerance, or if a pre-activation is 0 up to rounding.  Chaotic dynamics, such as a small network
that chatters across a kink, amplify any rounding.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.descent.solution import (
    Arguments,
    Array,
    Ints,
    Solution,
    Trace,
    TrackingReport,
    distances,
)
from harness.status import Status

if TYPE_CHECKING:
    from harness.descent.hot_kernels import Ball
    from harness.descent.tracked_network import Network
    from harness.descent.trial_memory import Record, Rules, Trial

LOADING, REFERENCE_STEP, REFERENCE_WEIGHT = 1.0, 2e-4, 3e-9
"""Seconds: to load the compiled code, for a step of the reference, and for each weight in it."""

CHUNK_WORK = 1e10
"""Largest number of operations before a thread checks whether it should stop."""


def descend(arguments: Arguments, threads: int = 1, chunk: int | None = None) -> Solution:
    """The tracking engine of `harness.descent.alternating_descent`.

    Parameters
    ----------
    arguments : Arguments
    threads : int
        A thread takes the next trial when it has finished one.
    chunk : int, optional
        Steps between two checks for Ctrl-C.

    Neither threads nor chunk changes the result.
    """
    ends = _Ends.of(arguments)
    waiting: SimpleQueue[int] = SimpleQueue()
    for trial in range(arguments.trials):
        waiting.put(trial)
    stop = Event()

    def work() -> None:
        bench = _Bench.of(arguments)
        while not stop.is_set():
            try:
                trial = waiting.get_nowait()
            except Empty:
                return
            bench.run_trial(trial, ends, chunk or _chunk(arguments), stop)

    threads = min(threads, arguments.trials)
    if threads <= 1:
        work()
    else:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for done in [pool.submit(work) for _ in range(threads)]:
                    done.result()
            finally:  # Ctrl-C arrives here; `stop` passes it on to the other threads
                stop.set()
    return ends.solution()


def pays(arguments: Arguments) -> bool:
    """Whether all steps of the reference would take longer than to load the compiled code."""
    weights = sum(W.size for G in (arguments.P.G1, arguments.P.G2) for W in G.weights)
    step = REFERENCE_STEP + arguments.trials * weights * REFERENCE_WEIGHT
    return arguments.max_steps * step > LOADING


def _chunk(arguments: Arguments) -> int:
    """Steps that take at most about CHUNK_WORK operations, even if all units switch.

    To make all matrices of a network anew takes n operations for each weight, and no step takes
    more: the kernels do so whenever repairs would cost more.
    """
    P = arguments.P
    a_step = 8 * sum(W.size * G.widths[0] for G in (P.G1, P.G2) for W in G.weights)
    return int(min(max(CHUNK_WORK / a_step, 1), 100_000))


# --- The working memory of a thread ---------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Bench:
    """Both networks as the kernels read them, with memory for one trial at a time.

    The units of the last layers are in descending order of |y0|, as `sign_kernels` wants them.
    """

    arguments: Arguments
    nets: tuple[Network, Network]
    balls: tuple[Ball, Ball]
    rules: Rules
    y0: Array

    @classmethod
    def of(cls, arguments: Arguments) -> _Bench:
        from harness.descent.hot_kernels import empty_ball
        from harness.descent.tracked_network import prepare
        from harness.descent.trial_memory import Rules

        P, stopping = arguments.P, arguments.stopping
        rules = Rules(
            eta=0.0,
            unit=P.loss_at_zero,
            loss_rtol=float(stopping.loss_rtol),
            stall_rtol=float(stopping.stall_rtol),
            divergence=float(stopping.divergence),
            stall_window=int(stopping.stall_window),
            max_steps=arguments.max_steps,
            check=("never", "once", "every").index(arguments.sign_check),
            balance=int(arguments.balance),
            joint=int(arguments.joint),
        )
        order = np.argsort(-np.abs(P.y0), kind="stable")
        nets = prepare(P.G1, order), prepare(P.G2, order)
        balls = empty_ball(P.G1.widths), empty_ball(P.G2.widths)
        return cls(arguments, nets, balls, rules, P.y0[order])

    def run_trial(self, trial: int, ends: _Ends, chunk: int, stop: Event) -> None:
        """Run one trial to its end, or until `stop` is set."""
        from harness.descent.tracked_network import reset
        from harness.descent.tracking_kernels import RUNNING, advance

        for net in self.nets:
            reset(net)
        rules = self.rules._replace(eta=float(self.arguments.eta[trial]))
        memory, record, code = ends.memory(trial, self.y0), ends.record(trial), RUNNING
        while code == RUNNING and not stop.is_set():
            code = advance(*self.nets, *self.balls, memory, rules, record, chunk)
        ends.code[trial] = code
        effort = np.concatenate([net.sides["effort"] for net in self.nets])  # (4,)
        for name in effort.dtype.fields or ():
            total = effort[name].max() if name == "drift" else effort[name].sum()
            ends.effort[name][trial] = total


# --- Results --------------------------------------------------------------------------------


class _Traces(NamedTuple):
    """The kernels' `Record` of all trials: (trials, T), (trials, T, n) and (trials, T, p)."""

    loss: Array
    h: Array
    m: Array
    flips: Ints
    changes: Ints


@dataclass(frozen=True, eq=False)
class _Ends:
    """Where the trials leave their results, one row each.

    Attributes
    ----------
    h, m : (trials, n), (trials, p), the iterates.
    state, effort : (trials,) of the kernels' STATE and EFFORT.
    code : (trials,), return value of `advance`.
    """

    arguments: Arguments
    h: Array
    m: Array
    state: NDArray[np.void]
    effort: NDArray[np.void]
    code: Ints
    traces: _Traces

    @classmethod
    def of(cls, arguments: Arguments) -> _Ends:
        from harness.descent.tracked_network import EFFORT
        from harness.descent.trial_memory import STATE

        trials, T, P = arguments.trials, len(arguments.trace_at), arguments.P
        return cls(
            arguments,
            arguments.h.copy(),
            arguments.m.copy(),
            np.zeros(trials, dtype=STATE),
            np.zeros(trials, dtype=EFFORT),
            np.zeros(trials, dtype=np.int64),
            _Traces(
                np.full((trials, T), np.nan),
                np.full((trials, T, P.n), np.nan),
                np.full((trials, T, P.p), np.nan),
                np.zeros((trials, T), dtype=np.int64),
                np.zeros((trials, T), dtype=np.int64),
            ),
        )

    def memory(self, trial: int, y0: Array) -> Trial:
        """The memory of a trial, whose iterate and state are those of `self`."""
        from harness.descent.trial_memory import CHOICE, Point, SignMemory, Trial

        P, ell = self.arguments.P, self.arguments.P.ell
        h, m = (Point(x[trial], *np.zeros((2, x.shape[1]))) for x in (self.h, self.m))
        units = np.zeros(ell, dtype=np.int64)
        state = self.state[trial : trial + 1]
        signs = SignMemory(np.zeros(P.n), np.zeros(P.p), np.zeros(3, dtype=CHOICE))
        return Trial(h, m, state, y0, np.zeros(ell), units, np.zeros(ell), signs)

    def record(self, trial: int) -> Record:
        """Where the kernel writes the trace of a trial."""
        from harness.descent.trial_memory import Record

        P = self.arguments.P
        loss, h, m, flips, changes = (rows[trial] for rows in self.traces)
        patterns = (np.zeros(sum(G.widths[1:])) for G in (P.G1, P.G2))
        return Record(self.arguments.trace_at, loss, h, m, flips, changes, *patterns)

    def solution(self) -> Solution:
        """The results, in the form of the reference."""
        from harness.descent import tracking_kernels

        names = {
            tracking_kernels.MAX_STEPS: Status.MAX_STEPS,
            tracking_kernels.CONVERGED: Status.CONVERGED,
            tracking_kernels.STALLED: Status.STALLED,
            tracking_kernels.DIVERGED: Status.DIVERGED,
        }
        state, effort = self.state, self.effort
        return Solution(
            self.h,
            self.m,
            state["loss"].copy(),
            np.array([names[code] for code in self.code.tolist()], dtype=object),
            state["step"].copy(),
            state["flips"].copy(),
            self.trace() if len(self.arguments.trace_at) else None,
            TrackingReport(
                **{name: effort[name].copy() for name in effort.dtype.fields or ()},
                hot_steps=state["hot_steps"].copy(),
            ),
        )

    def trace(self) -> Trace:
        """The trace, up to the last row that any trial reached."""
        recorded, rows = self.state["recorded"], self.traces
        T = int(recorded.max())
        there = np.arange(T)[:, None] < recorded  # (T, trials); flips, changes stay after the end
        return Trace(
            self.arguments.trace_at[:T].copy(),
            rows.loss[:, :T].T.copy(),
            distances(self.arguments.P, *(x[:, :T].swapaxes(0, 1) for x in (rows.h, rows.m))),
            np.where(there, rows.flips[:, :T].T, self.state["flips"]),
            np.where(there, rows.changes[:, :T].T, self.state["changes"]),
        )
