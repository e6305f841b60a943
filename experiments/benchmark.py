"""Speed of the library against straightforward versions, in one run, on the same work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding, Role
from harness.experiment import Experiment, Row, Settings
from harness.peers import tasks, timing
from harness.ranges import Count, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


RESIDUAL = Claim(
    "benchmark.residual",
    "Batches of WDC residual norms are evaluated several times faster than by plain NumPy",
    "the search needs many of them",
    Role.SOFTWARE,
)
GRID_NESTED = Claim(
    "benchmark.grid_nested",
    "Loss and both gradient norms on a product grid come many times faster than by JAX with nested "
    "vmaps, which shares what the pairs share",
    "the faster of the two ways with JAX that are timed",
    Role.SOFTWARE,
)
GRID_LOSS = Claim(
    "benchmark.grid_loss",
    "The loss on a product grid takes little more than its two matrix products",
    "no faster way is known",
    Role.SOFTWARE,
)
CENSUS = Claim(
    "benchmark.census",
    "All stationary points take at most five times the five matrix products that screen them",
    "most pairs of arcs are ruled out by a sign",
    Role.SOFTWARE,
)
DESCENT = Claim(
    "benchmark.descent",
    "Algorithm 1 takes many times fewer seconds by tracking than by JAX, jit and vmap",
    "most iterates stay in their linear region",
    Role.SOFTWARE,
)
DESCENT_DEEP = Claim(
    "benchmark.descent_deep",
    "At depth 3 Algorithm 1 takes many times fewer seconds by tracking than by JAX, jit and vmap",
    "a step costs ell n, and not the product of the widths",
    Role.SOFTWARE,
)
TRIALS = Claim(
    "benchmark.trials",
    "Trials of Algorithm 1 until convergence, each on networks of its own, take many times fewer "
    "seconds than by the best of three ways with JAX",
    "what a sweep does; drawing the networks is not counted",
    Role.SOFTWARE,
)


@dataclass(frozen=True)
class Bar:
    """A claim on the speed of one method relative to another, and where it is judged.

    threshold : the field of `Thresholds`.  widths : the largest measured if None.
    """

    claim: Claim
    task: tasks.Task
    method: str
    against: str
    threshold: str
    widths: str | None = None


BARS = (
    Bar(RESIDUAL, "residual", "norms", "numpy", "residual"),
    Bar(GRID_NESTED, "grid", "product_grid", "jax_nested", "grid_nested"),
    Bar(GRID_LOSS, "grid_loss", "product_grid", "products", "grid_loss"),
    Bar(CENSUS, "census", "census", "products", "census"),
    Bar(DESCENT, "algorithm1", "tracking", "jax", "descent", "10-47-1000"),
    Bar(DESCENT_DEEP, "algorithm1", "tracking", "jax", "descent_deep", "10-47-362-1000"),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """Least ratio of speeds of each of `BARS`."""

    residual: float
    grid_nested: float
    grid_loss: float
    census: float
    descent: float
    descent_deep: float
    trials: dict[str, float]


@dataclass(frozen=True)
class Benchmark(Experiment):
    """One trial: one task; its methods are timed in turns and their answers compared.

    Only ratios within a trial are compared: times depend on the machine and on the run.
    """

    claims: ClassVar[tuple[Claim, ...]] = (*(bar.claim for bar in BARS), TRIALS)
    caption: ClassVar[str] = (
        "Speed of the library beside straightforward versions of the same work, measured in turns "
        "in the same trial, their answers checked against each other; work per second against the "
        "size of the problem (the number of weights of its networks), medians with 95% "
        "order-statistic intervals. Residual norms on one core, the rest on all. Matrix products "
        "alone are what the library's own way cannot undercut."
    )
    version: ClassVar[int] = 2
    alone: ClassVar[bool] = True

    task: tasks.Task
    widths: Annotated[list[Annotated[int, Ge(2), Le(10**6)]], MinLen(2)]
    points: Together
    steps: Count
    duration: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        if self.task in ("census", "certificate") and self.widths[0] != 2:
            raise ValueError(
                f"widths={list(self.widths)}: must begin with 2 where task={self.task}"
            )

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return 16 * sum(a * b for a, b in pairwise(self.widths))

    def trial(self, rng: np.random.Generator) -> list[Row]:
        with timing.threads(1 if self.task in tasks.ONE_CORE else None):
            work = tasks.BUILDERS[self.task](rng, self.widths, self.points, self.steps)
            best = timing.least_times(work.methods, self.duration)
            peak = timing.matrix_product_peak(rng)
        rows: list[Row] = [
            {
                "method": name,
                "installed": True,
                "time": best[name],
                "per_second": work.amount / best[name],
                "share_of_peak": work.operations / best[name] / peak,
                "peak": peak,
                "status": "ok",  # a share may be NaN
            }
            for name in work.methods
        ]
        for name in sorted(self._compared_with() - set(work.methods)):
            missing: Row = {"installed": False, "time": 0.0, "per_second": 0.0, "status": "ok"}
            rows.append({"method": name, **missing, "share_of_peak": np.nan, "peak": peak})
        return rows

    def _compared_with(self) -> set[str]:
        """The other methods of the bars on this task and these widths."""
        own = "-".join(map(str, self.widths))
        return {bar.against for bar in BARS if bar.task == self.task and bar.widths in (None, own)}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        findings = []
        for bar in BARS:
            rows = table[table["task"] == bar.task]
            shape = bar.widths or max(rows["widths"].unique(), key=_weights, default="")
            rows = rows[rows["widths"] == shape]
            where = selection.spread(rows, ("widths", "points")) or f"no widths {shape}"
            findings.append(
                claims.above(
                    bar.claim,
                    _ratios(rows, bar.method, bar.against),
                    getattr(self.thresholds, bar.threshold),
                    statistic=f"median of its speed / {tasks.WORDS[bar.against]}",
                    tested=f"{where}{_absent(rows)}",
                )
            )
        rows = table[(table["task"] == "trials") & (table["method"] != "networks")]
        return [*findings, self._judge_trials(rows)]

    def _judge_trials(self, rows: pd.DataFrame) -> Finding:
        """Seconds of the best way with JAX over the library's, relative to the widths' bar."""
        found, bars = {}, self.thresholds.trials
        rows = rows[rows["installed"].astype(bool) & rows["widths"].isin(list(bars))]
        for widths, cell in rows.groupby("widths"):
            time = cell.pivot_table(index="trial", columns="method", values="time")
            if len(time.columns) > 1:
                ratio = time.drop(columns="tracking").min(axis=1) / time["tracking"] / bars[widths]
                level = stats.simultaneous(len(bars))
                found[f"{widths}, over {bars[widths]:g}"] = stats.quantile(ratio, level=level)
        where = selection.spread(rows, ("widths", "points")) or "no widths of the bars"
        statistic = "median of its speed / best of three ways with JAX, over the bar of the widths"
        found = found or {"none": stats.undetermined(0, "median")}
        return claims.above(TRIALS, found, 1.0, statistic=statistic, tested=where)

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for (task, widths, points), cell in table.groupby(["task", "widths", "points"], sort=False):
            library = next((bar.method for bar in BARS if bar.task == task), cell["method"].iloc[0])
            for method, group in cell.groupby("method", sort=False):
                there = bool(group["installed"].all())
                rows.append(
                    {
                        "work": tasks.UNITS[task],
                        "widths": widths,
                        "points": points,
                        "method": tasks.WORDS[method] + ("" if there else ": not installed"),
                        "median time": f"{group['time'].median():.3g} s" if there else "",
                        "per second": f"{group['per_second'].median():.3g}" if there else "",
                        "library's speed / this": _text(cell, library, str(method)),
                        "share of peak": _share(group["share_of_peak"]),
                        "peak, Gflop/s": f"{group['peak'].median() / 1e9:.1f}",
                    }
                )
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = table[table["installed"].astype(bool)]
        table = table.assign(
            size=table["widths"].map(_weights), method=table["method"].map(tasks.WORDS)
        )
        compared = dict.fromkeys(bar.task for bar in BARS) | {"trials": None}
        figure, axes = figures.panels(len(compared))
        for ax, task in zip(axes, compared, strict=True):
            self._draw(ax, table[table["task"] == task], tasks.UNITS[task])
        return figure

    def _draw(self, ax: Axes, table: pd.DataFrame, unit: str) -> None:
        names = sorted(
            set(table["method"]), key=lambda name: (not name.startswith("library"), name)
        )
        for index, method in enumerate(names):
            look: Any = {"label": method, "index": index}
            rows = table[table["method"] == method]
            figures.curve(ax, rows, "size", "per_second", stats.quantile, **look)
        shapes = dict(zip(table["size"], table["widths"], strict=True))
        ax.set(xscale="log", yscale="log", title=f"{unit}, per second", xlabel="widths")
        turned: Any = {"rotation": 30, "ha": "right"} if len(shapes) > 3 else {}
        ax.set_xticks(list(shapes), labels=list(shapes.values()), **turned)
        ax.minorticks_off()
        figures.headroom(ax, 0.16 * len(names))
        figures.legend(ax, loc="best")


def _ratios(rows: pd.DataFrame, method: str, against: str) -> list[stats.Estimate]:
    """Speed of a method over that of another, trial by trial; an estimate for each shape."""
    rows = rows[rows["installed"].astype(bool)]
    cells = [cell for _, cell in rows.groupby(["widths", "points"])]
    level = stats.simultaneous(len(cells))
    estimates = []
    for cell in cells:
        time = cell.pivot_table(index="trial", columns="method", values="time")
        if {method, against} <= set(time):
            estimates.append(stats.quantile(time[against] / time[method], level=level))
    return estimates


def _text(cell: pd.DataFrame, method: str, other: str) -> str:
    """The ratio of two speeds in words; "" for a method beside itself."""
    estimates = _ratios(cell, method, other) if method != other else []
    return str(estimates[0]) if estimates else ""


def _share(shares: pd.Series) -> str:
    """The median in words; "" where no operations are counted."""
    return "" if shares.isna().all() else f"{shares.median():.2f}"


def _absent(rows: pd.DataFrame) -> str:
    """The methods that are not installed, in words."""
    names = sorted(rows.loc[~rows["installed"].astype(bool), "method"].unique())
    return f"; {', '.join(names)} not installed" if names else ""


def _weights(widths: str) -> int:
    return tasks.count_weights([int(width) for width in widths.split("-")])
