"""Algorithm 1 by tracking the linear regions of both networks: the reference's iterates, faster.

While the same units are active, G(h) = Lambda_h h costs ell n operations and not ell n_{d-1}.
`harness.descent.region_kernels` keeps such matrices at h, -h, m and -m, exact up to rounding
through every switch of a unit, and `harness.descent.tracking_kernels` runs a trial on them.

Iterates equal the reference's up to rounding.  Where a decision hangs on rounding the two can
part: a sign check whose least two losses agree to some 1e-15, a loss within rounding of its
tolerance, a pre-activation that is 0 up to rounding.  Dynamics that are chaotic on their own, as
small networks' chattering across a kink can be, amplify any rounding.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.descent.solution import Array, Ints, Run, Solution, Trace, TrackingReport, distances
from harness.network import ReluNetwork
from harness.status import Status

if TYPE_CHECKING:
    from harness.descent.hot_kernels import Ball
    from harness.descent.region_kernels import Network
    from harness.descent.tracking_kernels import Record, Rules

LOADING, REFERENCE_STEP, REFERENCE_WEIGHT = 1.0, 2e-4, 3e-9
"""Seconds: to load the compiled code; for a step of the reference, and in it for each weight."""

CHUNK_WORK = 1e10
"""Products and sums, at the most, before a thread looks whether it is to stop."""


def descend(run: Run, threads: int = 1, chunk: int | None = None) -> Solution:
    """The tracking engine of `harness.descent.alternating_descent`.

    Parameters
    ----------
    run : Run
    threads : int
        Each takes the next trial when it has finished one.
    chunk : int, optional
        Steps between two looks at whether Ctrl-C was pressed.  Neither changes the result.
    """
    ends = _Ends.of(run)
    waiting: SimpleQueue[int] = SimpleQueue()
    for trial in range(run.trials):
        waiting.put(trial)
    stop = Event()

    def work() -> None:
        bench = _Bench.of(run)
        while not stop.is_set():
            try:
                trial = waiting.get_nowait()
            except Empty:
                return
            bench.run_trial(trial, ends, chunk or _chunk(run), stop)

    threads = min(threads, run.trials)
    if threads <= 1:
        work()
    else:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for done in [pool.submit(work) for _ in range(threads)]:
                    done.result()
            finally:  # Ctrl-C is heard here, the kernels hear of it by `stop`
                stop.set()
    return ends.solution()


def pays(run: Run) -> bool:
    """Whether the reference would take longer than loading the compiled code, if all steps run."""
    weights = sum(W.size for G in (run.P.G1, run.P.G2) for W in G.weights)
    step = REFERENCE_STEP + run.trials * weights * REFERENCE_WEIGHT
    return run.max_steps * step > LOADING


def _chunk(run: Run) -> int:
    """Steps that take at most about CHUNK_WORK operations, all units switching included."""
    P = run.P
    a_step = 8 * sum(W.size * W.shape[1] for G in (P.G1, P.G2) for W in G.weights)
    return int(min(max(CHUNK_WORK / a_step, 1), 100_000))


# --- What a thread works on -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Bench:
    """Both networks as the kernels read them, with memory for one trial at a time."""

    run: Run
    nets: tuple[Network, Network]
    balls: tuple[Ball, Ball]
    rules: Rules

    @classmethod
    def of(cls, run: Run) -> _Bench:
        from harness.descent.tracking_kernels import Rules

        P, stopping = run.P, run.stopping
        rules = Rules(
            0.0,
            P.loss_at_zero,
            float(stopping.loss_rtol),
            float(stopping.stall_rtol),
            float(stopping.divergence),
            int(stopping.stall_window),
            run.max_steps,
            ("never", "once", "every").index(run.sign_check),
            int(run.balance),
            int(run.joint),
        )
        nets, balls = (_network(P.G1), _network(P.G2)), (_ball(P.G1), _ball(P.G2))
        return cls(run, nets, balls, rules)

    def run_trial(self, trial: int, ends: _Ends, chunk: int, stop: Event) -> None:
        """One trial from its start to its end, or to a stop."""
        from harness.descent import tracking_kernels as kernels
        from harness.descent.region_kernels import COUNTS, DRIFT, EVALUATIONS, leave

        P = self.run.P
        for net in self.nets:
            leave(net, 1 if self.run.sign_check == "never" else 2)
        rules = self.rules._replace(eta=float(self.run.eta[trial]))
        state = kernels.Trial(
            ends.h[trial],
            ends.m[trial],
            ends.whole[trial],
            ends.real[trial],
            P.y0,
            np.zeros(P.ell),
            np.zeros(P.ell, dtype=np.int64),
            np.zeros(P.ell),
        )
        record, code = ends.record(trial), kernels.RUNNING
        while code == kernels.RUNNING and not stop.is_set():
            code = kernels.advance(*self.nets, *self.balls, state, rules, record, chunk)
        ends.code[trial] = code
        for net in self.nets:
            ends.effort[trial] += net.whole[:, EVALUATIONS:COUNTS].sum(axis=0)
            ends.drift[trial] = max(ends.drift[trial], net.real[:, DRIFT].max())


def _network(G: ReluNetwork) -> Network:
    """A network as the kernels read it, not entered yet (`leave` makes it ready)."""
    from harness.descent import region_kernels as kernels
    from harness.descent.array_kernels import transpose

    n, d, inner = G.widths[0], G.depth, G.widths[-2]
    units = sum(G.widths[1:])
    layout = np.zeros((4, max(d + 1, kernels.DEPTH + 1)), dtype=np.int64)
    layout[kernels.WIDTH, : d + 1] = G.widths
    layout[kernels.AT, 1 : d + 1] = np.cumsum([W.size for W in G.weights])
    layout[kernels.UNIT, 1 : d + 1] = np.cumsum(G.widths[1:])
    sizes = [kernels.REALS, units, units - G.widths[-1], inner, inner, inner]  # as `Network.real`
    layout[kernels.PLACE, :5] = np.cumsum(sizes[:5])
    layout[kernels.PLACE, kernels.DEPTH] = d
    lists = np.zeros((kernels.LISTS, max(G.widths)), dtype=np.int64)
    lists[kernels.EVERY] = np.arange(max(G.widths))
    flat = np.empty(sum(W.size for W in G.weights))
    for W, end in zip(G.weights, layout[kernels.AT, 1:], strict=False):
        transpose(W, flat[end - W.size : end])
    return kernels.Network(
        layout,
        flat,
        np.empty((2, n * units)),
        np.zeros((2, sum(sizes))),
        np.zeros((2, kernels.COUNTS + inner), dtype=np.int64),
        np.zeros((kernels.WORKS, max(G.widths))),
        lists,
    )


def _ball(G: ReluNetwork) -> Ball:
    """Memory for the hot units of a network."""
    from harness.descent.hot_kernels import Ball

    n, ell = G.widths[0], G.widths[-1]
    return Ball(
        np.empty(n * ell),
        np.zeros(ell),
        np.zeros(ell),
        np.zeros(n),
        np.zeros(1),
        np.zeros(1, dtype=np.int64),
    )


# --- Results --------------------------------------------------------------------------------


class _Traces(NamedTuple):
    """What the kernels' `Record` holds, of all trials: (K, T), (K, T, n) and (K, T, p)."""

    loss: Array
    h: Array
    m: Array
    flips: Ints
    changes: Ints


@dataclass(frozen=True, eq=False)
class _Ends:
    """Where the trials, each its own row, leave their results.

    h, m, whole, real : the fields of the kernels' `Trial`.
    code : how a trial ended.
    effort, drift : see `TrackingReport`.
    """

    run: Run
    h: Array
    m: Array
    whole: Ints
    real: Array
    code: Ints
    effort: Ints
    drift: Array
    traces: _Traces

    @classmethod
    def of(cls, run: Run) -> _Ends:
        from harness.descent import tracking_kernels as kernels
        from harness.descent.region_kernels import COUNTS, EVALUATIONS

        K, T, P = run.trials, len(run.trace_at), run.P
        h, m = np.zeros((K, kernels.POINTS, P.n)), np.zeros((K, kernels.POINTS, P.p))
        h[:, kernels.POINT], m[:, kernels.POINT] = run.h, run.m
        return cls(
            run,
            h,
            m,
            np.zeros((K, kernels.WHOLES), dtype=np.int64),
            np.zeros((K, kernels.REALS)),
            np.zeros(K, dtype=np.int64),
            np.zeros((K, COUNTS - EVALUATIONS), dtype=np.int64),
            np.zeros(K),
            _Traces(
                np.full((K, T), np.nan),
                np.full((K, T, P.n), np.nan),
                np.full((K, T, P.p), np.nan),
                np.zeros((K, T), dtype=np.int64),
                np.zeros((K, T), dtype=np.int64),
            ),
        )

    def record(self, trial: int) -> Record:
        """Where the kernel writes the trace of a trial."""
        from harness.descent.tracking_kernels import Record

        units1, units2 = (sum(G.widths[1:]) for G in (self.run.P.G1, self.run.P.G2))
        loss, h, m, flips, changes = (rows[trial] for rows in self.traces)
        patterns = np.zeros(units1), np.zeros(units2)
        return Record(self.run.trace_at, loss, h, m, flips, changes, *patterns)

    def solution(self) -> Solution:
        """All of it, as the reference returns it."""
        from harness.descent import tracking_kernels as kernels

        names = {
            kernels.MAX_STEPS: Status.MAX_STEPS,
            kernels.CONVERGED: Status.CONVERGED,
            kernels.STALLED: Status.STALLED,
            kernels.DIVERGED: Status.DIVERGED,
        }
        evaluations, plain, updates, rebuilds, drifted = self.effort.T
        report = TrackingReport(
            evaluations,
            plain,
            updates,
            rebuilds,
            self.whole[:, kernels.HOT_STEPS].copy(),
            self.drift,
            drifted,
        )
        return Solution(
            self.h[:, kernels.POINT].copy(),
            self.m[:, kernels.POINT].copy(),
            self.real[:, kernels.LOSS].copy(),
            np.array([names[code] for code in self.code.tolist()], dtype=object),
            self.whole[:, kernels.STEP].copy(),
            self.whole[:, kernels.FLIPS].copy(),
            self.trace() if len(self.run.trace_at) else None,
            report,
        )

    def trace(self) -> Trace:
        """The rows up to the last that any trial reached; flips and changes hold after the end."""
        from harness.descent.tracking_kernels import CHANGES, FLIPS, RECORDED

        recorded = self.whole[:, RECORDED]
        T, rows = int(recorded.max()), self.traces
        there = np.arange(T)[:, None] < recorded
        return Trace(
            self.run.trace_at[:T].copy(),
            rows.loss[:, :T].T.copy(),
            distances(self.run.P, *(x[:, :T].swapaxes(0, 1) for x in (rows.h, rows.m))),
            np.where(there, rows.flips[:, :T].T, self.whole[:, FLIPS]),
            np.where(there, rows.changes[:, :T].T, self.whole[:, CHANGES]),
        )
