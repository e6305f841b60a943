"""Speed of the library's kernels against straightforward versions, in one run, on the same work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness.claims import Claim, Experiment, Finding, Row, Settings, above, spread
from harness.conditions.residual import Residual, residual_numpy
from harness.ensemble import Size
from harness.network import gaussian_network
from harness.stats import quantile, simultaneous

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RESIDUAL = Claim(
    "benchmark.residual",
    "Batches of WDC residual norms are evaluated several times faster than by plain NumPy",
    "the search needs many of them",
)
METHODS = {"numpy": "plain NumPy", "norm": "one point", "norms": "a batch"}


@dataclass(frozen=True)
class Thresholds(Settings):
    """speedup : least ratio to plain NumPy."""

    speedup: float


@dataclass(frozen=True)
class Benchmark(Experiment):
    """One trial: a matrix and `points` pairs x, y; each method in turn, the same answers checked.

    Times are of this machine and this run: only ratios within a trial are compared.
    """

    claims: ClassVar[tuple[Claim, ...]] = (RESIDUAL,)
    caption: ClassVar[str] = (
        "Evaluations of the norm of the WDC residual per second, on one BLAS thread: plain NumPy "
        "(masked product of all rows, spectral norm by singular values), one point at a time with "
        "the rows active at both vectors gathered and a symmetric product, and a batch of points. "
        "Left: against the shape of the matrix; right: as a multiple of plain NumPy on the same "
        "points in the same trial, medians with 95% order-statistic intervals; the dashed line is "
        "the threshold. Answers agree to 1e-10."
    )

    n: Size
    ell: Size
    points: Size
    duration: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        W = gaussian_network(rng, (self.n, self.ell), "gaussian").weights[0]
        X, Y = rng.standard_normal((2, self.points, self.n))
        kernel = Residual(W)
        methods: dict[str, Callable[[], np.ndarray]] = {
            "numpy": lambda: np.array([residual_numpy(W, x, y) for x, y in zip(X, Y, strict=True)]),
            "norm": lambda: np.array([kernel.norm(x, y) for x, y in zip(X, Y, strict=True)]),
            "norms": lambda: kernel.norms(X, Y),
        }
        answers = {name: method() for name, method in methods.items()}
        for name, values in answers.items():
            if not np.allclose(values, answers["numpy"], rtol=1e-10, atol=1e-12):
                raise AssertionError(f"{name} and numpy give different residuals")
        best = self._times(methods)
        active = np.mean(((X @ W.T > 0) & (Y @ W.T > 0)).sum(axis=1))
        peak = _matrix_product_peak(rng)
        return [
            {
                "method": name,
                "per_second": self.points / best[name],
                "speedup": best["numpy"] / best[name],
                # The symmetric product of the active rows takes active n (n + 1) operations.
                "share_of_peak": self.points * active * self.n * (self.n + 1) / best[name] / peak,
            }
            for name in methods
        ]

    def _times(self, methods: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
        """Least time of each method over rounds that take turns, for `duration` seconds in all."""
        best = dict.fromkeys(methods, np.inf)
        end = time.perf_counter() + self.duration
        while time.perf_counter() < end:
            for name, method in methods.items():
                start = time.perf_counter()
                method()
                best[name] = min(best[name], time.perf_counter() - start)
        return best

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        batch = table[table["method"] == "norms"]
        shapes = [group for _, group in batch.groupby(["n", "ell"])]
        level = simultaneous(len(shapes))
        return [
            above(
                RESIDUAL,
                [quantile(group["speedup"], level=level) for group in shapes],
                self.thresholds.speedup,
                statistic="median of evaluations per second / plain NumPy's, at the worst shape",
                tested=f"{spread(batch, ('n', 'ell'))}, {self.points} points a trial, one thread",
            )
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for (n, ell, method), group in table.groupby(["n", "ell", "method"]):
            rows.append(
                {
                    "n": n,
                    "ell": ell,
                    "method": METHODS[method],
                    "evaluations / s": f"{group['per_second'].median():.3g}",
                    "speed-up": str(quantile(group["speedup"])),
                    "share of matrix-product peak": f"{group['share_of_peak'].median():.3f}",
                }
            )
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        from harness import figures

        table = table.assign(shape=table["n"] * table["ell"])
        figure, axes = figures.canvas(1, 2, width=8, height=3.3)
        speed, ratio = axes[0]
        for index, (method, words) in enumerate(METHODS.items()):
            style: Any = {"label": words, "index": index}
            rows = table[table["method"] == method]
            figures.curve(speed, rows, "shape", "per_second", quantile, **style)
            if method != "numpy":
                figures.curve(ratio, rows, "shape", "speedup", quantile, **style)
        ratio.axhline(self.thresholds.speedup, color="black", linestyle="--", linewidth=1)
        labels = {n * ell: f"{n} x {ell}" for n, ell in zip(table["n"], table["ell"], strict=True)}
        for ax, title in ((speed, "evaluations per second"), (ratio, "multiple of plain NumPy")):
            figures.plain_log(ax)
            ax.set(xscale="log", title=title, xlabel="shape n x ell")
            ax.set_xticks(list(labels), labels=list(labels.values()))
            ax.minorticks_off()
            figures.legend(ax)
        return figure


def _matrix_product_peak(rng: np.random.Generator, size: int = 800) -> float:
    """Floating-point operations per second of a square matrix product, the best of five."""
    A, B = rng.standard_normal((2, size, size))
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        A @ B
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
