"""Speed of the library against straightforward versions, in one run, on the same work."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, MinLen

from harness import peers
from harness.claims import Claim, Experiment, Finding, Row, Settings, above, spread
from harness.conditions import Residual, residual_numpy
from harness.descent import Engine, Stopping, alternating_descent, step_size
from harness.ensemble import Size, unit_vectors
from harness.landscape import product_grid, stationary_points
from harness.landscape.arcs import direction, linear_arcs
from harness.network import gaussian_network
from harness.problem import Demodulation
from harness.stats import Estimate, quantile, simultaneous

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray
Method = Callable[[], Any]
Task = Literal["residual", "grid", "grid_loss", "census", "algorithm1"]

ROUNDS = 3
"""Turns of each method in a trial."""

SLOW = 0.2
"""Seconds of a run beside which that does not matter."""

RESIDUAL = Claim(
    "benchmark.residual",
    "Batches of WDC residual norms are evaluated several times faster than by plain NumPy",
    "the search needs many of them",
)
GRID = Claim(
    "benchmark.grid",
    "Loss and both gradient norms on a product grid come many times faster than by JAX, all pairs",
    "networks are evaluated once for each axis point",
)
GRID_NESTED = Claim(
    "benchmark.grid_nested",
    "So they do than by JAX with nested vmaps, which shares what the pairs share",
    "the faster of the two ways with JAX that are timed",
)
GRID_LOSS = Claim(
    "benchmark.grid_loss",
    "The loss on a product grid takes little more than its two matrix products",
    "no faster way is known",
)
CENSUS = Claim(
    "benchmark.census",
    "All stationary points take at most five times the five matrix products that screen them",
    "most pairs of arcs are ruled out by a sign",
)


DESCENT = Claim(
    "benchmark.descent",
    "Algorithm 1 takes many times fewer seconds by tracking than by JAX, jit and vmap",
    "most iterates stay in their linear region",
)
DESCENT_EAGER = Claim(
    "benchmark.descent_eager",
    "It takes many times fewer than by eager PyTorch, one start after the other",
    "what a researcher writes first",
)
DESCENT_DEEP = Claim(
    "benchmark.descent_deep",
    "The same as JAX at depth 3",
    "a step costs ell n, and not the product of the widths",
)


@dataclass(frozen=True)
class Bar:
    """A claim on the speed of a method against another's, and where it is judged.

    threshold : its key.  widths : None for the largest there are.
    """

    claim: Claim
    task: Task
    method: str
    against: str
    threshold: str
    widths: str | None = None


BARS = (
    Bar(RESIDUAL, "residual", "norms", "numpy", "residual"),
    Bar(GRID, "grid", "product_grid", "jax", "grid"),
    Bar(GRID_NESTED, "grid", "product_grid", "jax_nested", "grid_nested"),
    Bar(GRID_LOSS, "grid_loss", "product_grid", "products", "grid_loss"),
    Bar(CENSUS, "census", "census", "products", "census"),
    Bar(DESCENT, "algorithm1", "tracking", "jax", "descent", "10-47-1000"),
    Bar(DESCENT_EAGER, "algorithm1", "tracking", "torch", "descent_eager", "10-47-1000"),
    Bar(DESCENT_DEEP, "algorithm1", "tracking", "jax", "descent_deep", "10-47-362-1000"),
)
UNITS: dict[Task, str] = {
    "residual": "residual norms",
    "grid": "points (loss, two gradient norms)",
    "grid_loss": "points (loss alone)",
    "census": "pairs of arcs",
    "algorithm1": "steps of Algorithm 1",
}
ONE_CORE = {"residual"}
"""Tasks that run on one core; the others on all."""
KAPPA = 0.25
"""Of the steps of Algorithm 1."""
CHECKED_STEPS = 50
"""After so many steps the iterates are compared: later ones can amplify rounding."""
WORDS = {
    "numpy": "plain NumPy",
    "norm": "library, one by one",
    "norms": "library, a batch",
    "product_grid": "library",
    "census": "library",
    "jax": "JAX, jit and vmap",
    "jax_nested": "JAX, vmap of vmap",
    "products": "its matrix products alone",
    "tracking": "library, tracking",
    "reference": "library, reference (NumPy)",
    "torch": "PyTorch, eager",
    "torch_batched": "PyTorch, eager, batched",
}


@dataclass(frozen=True)
class Thresholds(Settings):
    """Least ratios of speed, to what `BARS` says."""

    residual: float
    grid: float
    grid_nested: float
    grid_loss: float
    census: float
    descent: float
    descent_eager: float
    descent_deep: float


@dataclass(frozen=True)
class Benchmark(Experiment):
    """One trial: a problem of one task; each method in turn, the same answers checked.

    Times are of this machine and this run: only ratios within a trial are compared.
    """

    claims: ClassVar[tuple[Claim, ...]] = tuple(bar.claim for bar in BARS)
    caption: ClassVar[str] = (
        "Speed of the library beside straightforward versions of the same work, measured in turns "
        "in the same trial, their answers checked against each other; work per second against the "
        "size of the problem (the number of weights of its networks), medians with 95% "
        "order-statistic intervals. Residual norms on one core, the rest on all. Matrix products "
        "alone are what the library's own way cannot undercut."
    )

    alone: ClassVar[bool] = True

    task: Task
    widths: Annotated[list[Size], MinLen(2)]
    points: Annotated[int, Ge(1)]
    steps: Annotated[int, Ge(1)]
    duration: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        build = {
            "residual": self._residual,
            "grid": self._grid,
            "grid_loss": self._grid_loss,
            "census": self._census,
            "algorithm1": self._algorithm1,
        }
        with _threads(1 if self.task in ONE_CORE else None):
            methods, work, operations = build[self.task](rng)
            best = _times(methods, self.duration)
            peak = _matrix_product_peak(rng)
        rows: list[Row] = [
            {
                "method": name,
                "installed": True,
                "time": best[name],
                "per_second": work / best[name],
                "share_of_peak": operations / best[name] / peak,
            }
            for name in methods
        ]
        for name in sorted(self._compared_with() - set(methods)):
            missing: Row = {"installed": False, "time": 0.0, "per_second": 0.0}
            rows.append({"method": name, **missing, "share_of_peak": 0.0})
        return rows

    def _compared_with(self) -> set[str]:
        """What the bars on this task, and on these widths if they name some, are about."""
        own = "-".join(map(str, self.widths))
        return {bar.against for bar in BARS if bar.task == self.task and bar.widths in (None, own)}

    def _residual(self, rng: np.random.Generator) -> tuple[dict[str, Method], int, float]:
        n = self.widths[0]
        W = gaussian_network(rng, (n, self.widths[-1]), "gaussian").weights[0]
        X, Y = rng.standard_normal((2, self.points, n))
        kernel = Residual(W)
        methods: dict[str, Method] = {
            "numpy": lambda: np.array([residual_numpy(W, x, y) for x, y in zip(X, Y, strict=True)]),
            "norm": lambda: np.array([kernel.norm(x, y) for x, y in zip(X, Y, strict=True)]),
            "norms": lambda: kernel.norms(X, Y),
        }
        _check({name: (method(),) for name, method in methods.items()}, "numpy")
        active = np.mean(((X @ W.T > 0) & (Y @ W.T > 0)).sum(axis=1))
        # The symmetric product of the active rows takes active n (n + 1) operations.
        return methods, self.points, self.points * active * n * (n + 1)

    def _grid(self, rng: np.random.Generator) -> tuple[dict[str, Method], int, float]:
        P, H, M = self._problem(rng)

        def library() -> tuple[Array, ...]:
            grid = product_grid(P, H, M)
            return grid.loss, grid.grad_h_norm, grid.grad_m_norm

        methods: dict[str, Method] = {"product_grid": library, "numpy": peers.grid_numpy(P, H, M)}
        if peers.installed("jax"):
            methods["jax"] = peers.grid_jax(P, H, M, nested=False)
            methods["jax_nested"] = peers.grid_jax(P, H, M, nested=True)
        _check({name: method() for name, method in methods.items()}, "numpy")
        # Two products of (I n, ell) with (ell, J) for g1, and two for g2.
        return methods, self.points**2, 4.0 * self.points**2 * P.ell * (P.n + P.p)

    def _grid_loss(self, rng: np.random.Generator) -> tuple[dict[str, Method], int, float]:
        P, H, M = self._problem(rng)
        a, b = P.G1(H), P.G2(M)
        a_y, a_square, b_square = a * P.y0, a * a, b * b
        methods: dict[str, Method] = {
            "products": lambda: (a_y @ b.T, a_square @ b_square.T),
            "product_grid": lambda: product_grid(P, H, M).loss,
        }
        overlap, size = methods["products"]()
        loss = P.loss_at_zero - overlap + 0.5 * size
        _check({"product_grid": (methods["product_grid"](),), "products": (loss,)}, "products")
        return methods, self.points**2, 4.0 * self.points**2 * P.ell

    def _census(self, rng: np.random.Generator) -> tuple[dict[str, Method], int, float]:
        P, _, _ = self._problem(rng)
        a, b = (G(direction(linear_arcs(G).angles)) for G in (P.G1, P.G2))
        next_a, next_b = np.roll(a, -1, axis=0), np.roll(b, -1, axis=0)
        left = a * P.y0, a * a, a * a, a * next_a, a * next_a
        right = b, b * b, b * next_b, b * b, b * next_b
        rows = max(1, 100_000 // len(b))

        def products() -> None:
            for start in range(0, len(a), rows):
                for one, other in zip(left, right, strict=True):
                    one[start : start + rows] @ other.T

        methods: dict[str, Method] = {"products": products, "census": lambda: stationary_points(P)}
        return methods, len(a) * len(b), 10.0 * len(a) * len(b) * P.ell

    def _algorithm1(self, rng: np.random.Generator) -> tuple[dict[str, Method], int, float]:
        P, H, M = self._problem(rng)
        H, M = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (H, M))
        eta = step_size(P, KAPPA)
        run_on = Stopping(loss_rtol=0.0, stall_window=self.steps + 1, divergence=np.inf)

        def library(engine: Engine) -> peers.Descent:
            options: Any = {"engine": engine, "stopping": run_on, "threads": os.cpu_count() or 1}

            def run(steps: int) -> tuple[Array, Array]:
                solution = alternating_descent(P, H, M, eta, steps, **options)
                return solution.h, solution.m

            return run

        runs = {"tracking": library("tracking"), "reference": library("reference")}
        if peers.installed("jax"):
            runs["jax"] = peers.descent_jax(P, H, M, eta)
        if peers.installed("torch"):
            runs["torch_batched"] = peers.descent_torch(P, H, M, eta, batched=True)
            if P.d == 2:  # deeper networks take minutes
                runs["torch"] = peers.descent_torch(P, H, M, eta, batched=False)
        # The reference reports its iterate after the next sign check, the peers before
        few = min(CHECKED_STEPS, self.steps)
        answers = {name: _up_to_sign(run(few)) for name, run in runs.items()}
        _check(answers, "reference", rtol=1e-7)
        work = self.points * self.steps
        # With Lambda1 and Lambda2 given: Lambda h and Lambda^T v of each
        operations = 4.0 * work * P.ell * (P.n + P.p)
        return {name: partial(run, self.steps) for name, run in runs.items()}, work, operations

    def _problem(self, rng: np.random.Generator) -> tuple[Demodulation, Array, Array]:
        """Two networks of the same widths, a truth, and points of both axes."""
        G1, G2 = (gaussian_network(rng, self.widths, "gaussian") for _ in range(2))
        n = self.widths[0]
        h0, m0 = unit_vectors(rng, 2, n)
        H, M = rng.standard_normal((2, self.points, n))
        return Demodulation(G1, G2, h0, m0), H, M

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        findings = []
        for bar in BARS:
            rows = table[table["task"] == bar.task]
            shape = bar.widths or max(rows["widths"].unique(), key=_weights, default="")
            rows = rows[rows["widths"] == shape]
            where = spread(rows, ("widths", "points")) or f"no widths {shape}"
            findings.append(
                above(
                    bar.claim,
                    _ratios(rows, bar.method, bar.against),
                    getattr(self.thresholds, bar.threshold),
                    statistic=f"median of its speed / {WORDS[bar.against]}",
                    tested=f"{where}{_absent(rows)}",
                )
            )
        return findings

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for (task, widths, points), cell in table.groupby(["task", "widths", "points"], sort=False):
            library = next(bar.method for bar in BARS if bar.task == task)
            for method, group in cell.groupby("method", sort=False):
                there = bool(group["installed"].all())
                rows.append(
                    {
                        "work": UNITS[task],
                        "widths": widths,
                        "points": points,
                        "method": WORDS[method] + ("" if there else ": not installed"),
                        "median time": f"{group['time'].median():.3g} s" if there else "",
                        "per second": f"{group['per_second'].median():.3g}" if there else "",
                        f"library's {'speed / this'}": _text(cell, library, str(method)),
                        "share of peak": f"{group['share_of_peak'].median():.2f}" if there else "",
                    }
                )
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        from harness import figures

        table = table[table["installed"].astype(bool)]
        table = table.assign(size=table["widths"].map(_weights))
        figure, axes = figures.canvas(3, 2, width=8.5, height=3.0)
        for ax, (task, unit) in zip(axes.ravel(), UNITS.items(), strict=False):
            self._draw(ax, table[table["task"] == task], unit)
        axes[-1, -1].remove()
        return figure

    def _draw(self, ax: Axes, table: pd.DataFrame, unit: str) -> None:
        from harness import figures

        order = sorted(WORDS, key=list(WORDS).index)
        for method in [name for name in order if (table["method"] == name).any()]:
            rows = table[table["method"] == method]
            index = list(WORDS.values()).index(WORDS[method]) % len(figures.COLOURS)
            label: Any = {"label": WORDS[method], "index": index}
            figures.curve(ax, rows, "size", "per_second", quantile, **label)
        names = dict(zip(table["size"], table["widths"], strict=True))
        figures.plain_log(ax)
        ax.set(xscale="log", title=f"{unit} per second", xlabel="widths")
        ax.yaxis.set_major_formatter("{x:.3g}")
        turned: Any = {"rotation": 30, "ha": "right"} if len(names) > 3 else {}
        ax.set_xticks(list(names), labels=list(names.values()), **turned)
        ax.minorticks_off()
        figures.headroom(ax, 0.5)
        figures.legend(ax, loc="upper left", ncols=2)


def _times(methods: dict[str, Method], duration: float) -> dict[str, float]:
    """Least time of each method, in three rounds that take turns, for `duration` seconds in all.

    In each turn a method runs alone for its share of the time, at least twice unless it is slow:
    the first run finds caches and idle threads as the method before it left them.  A method that
    takes longer than all that time runs once.
    """
    best = dict.fromkeys(methods, np.inf)
    share = duration / (ROUNDS * len(methods))
    for _ in range(ROUNDS):
        for name, method in methods.items():
            if duration < best[name] < np.inf:
                continue
            end = time.perf_counter() + share
            for run in itertools.count(1):
                start = time.perf_counter()
                method()
                stop = time.perf_counter()
                best[name] = min(best[name], stop - start)
                if run >= 2 and stop > end:
                    break
    return best


def _threads(cores: int | None) -> AbstractContextManager[Any]:
    """So many BLAS threads, instead of the one that a cell has."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=cores or os.cpu_count() or 1, user_api="blas")


def _up_to_sign(iterates: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(np.abs(x) for x in iterates)


def _check(answers: dict[str, tuple[Array, ...]], reference: str, rtol: float = 1e-9) -> None:
    for name, parts in answers.items():
        for part, expected in zip(parts, answers[reference], strict=True):
            scale = float(np.abs(expected).max())
            if not np.allclose(part, expected, rtol=rtol, atol=1e-3 * rtol * scale):
                raise AssertionError(f"{name} and {reference} give different answers")


def _matrix_product_peak(rng: np.random.Generator, size: int = 800) -> float:
    """Floating-point operations per second of a square matrix product, the best of five."""
    A, B = rng.standard_normal((2, size, size))
    return 2.0 * size**3 / min(_times({"product": lambda: A @ B}, 0.02).values())


def _ratios(rows: pd.DataFrame, method: str, against: str) -> list[Estimate]:
    """Speed of a method over that of another, trial by trial; an estimate for each shape."""
    rows = rows[rows["installed"].astype(bool)]
    cells = [cell for _, cell in rows.groupby(["widths", "points"])]
    estimates = []
    for cell in cells:
        time = cell.pivot_table(index="trial", columns="method", values="time")
        if {method, against} <= set(time):
            ratio = time[against] / time[method]
            estimates.append(quantile(ratio, level=simultaneous(len(cells))))
    return estimates


def _text(cell: pd.DataFrame, method: str, other: str) -> str:
    estimates = _ratios(cell, method, other) if method != other else []
    return str(estimates[0]) if estimates else ""


def _absent(rows: pd.DataFrame) -> str:
    names = sorted(rows.loc[~rows["installed"].astype(bool), "method"].unique())
    return f"; {', '.join(names)} not installed" if names else ""


def _weights(widths: str) -> int:
    return peers.pairs([int(width) for width in widths.split("-")])
