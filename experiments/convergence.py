"""Whether Algorithm 1 reaches the true hyperbola, and how fast: the paper leaves it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.descent import SignCheck, alternating_descent, local_rate, step_size
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import BRANCHES, branch_name
from harness.ranges import Count, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUCCESS = Claim(
    "convergence.success",
    "For d = s = 2, n = p = 5 to 20 and the largest ell Algorithm 1 reaches the true hyperbola "
    "from one random start in 90% of networks",
    "Algorithm 1, section 3; no theorem",
    Role.PRACTICE,
    supported=Outcome("The algorithm works where signals are long.", Bearing.CONSISTENT),
    refuted=Outcome("Even with long signals more than one descent in ten gets stuck."),
)
SPEED = Claim(
    "convergence.speed",
    "For d = s = 2, n = p = 5 and the step of kappa = 1/4 the median successful descent takes "
    "fewer than 500 steps once ell >= 200",
    "Algorithm 1, section 3; no theorem",
    Role.PRACTICE,
    supported=Outcome("Descent is quick: hundreds of steps, not thousands."),
    refuted=Outcome("Descent takes long."),
)

LEAST_N = 5
"""With n = 3 and inner widths 4 n log n a tenth of the networks is too narrow at any ell."""

RATE_WINDOW = (1e-15, 1e-4)
"""Range of losses, relative to f on K, in which the local rate is fitted."""

MARKS = (1, 3, 10, 30, 100, 300, 1000, 3000)
"""Steps at which the distance to the true hyperbola is recorded."""
MARK_COLUMNS = tuple(f"epsilon_at_{mark}" for mark in MARKS)


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within it of the true hyperbola.  The others: see `judge`."""

    epsilon: Annotated[float, Gt(0)]
    success_rate: Annotated[float, Gt(0)]
    steps: float


@dataclass(frozen=True)
class Convergence(Experiment):
    """One trial: two networks, a truth, one random start; one row.

    The start has random directions, ||h|| = ||m|| and ||h|| ||m|| = start_size ||h0|| ||m0||.
    """

    claims: ClassVar[tuple[Claim, ...]] = (SUCCESS, SPEED)
    caption: ClassVar[str] = (
        "Algorithm 1 from random starts on random networks: share of trials that end on the true "
        "hyperbola. (a) Over latent dimension n = p and signal length ell; (b) against ell for "
        "each p at fixed n; (c) over the depths d and s; (d) against ell for each constant c of "
        "the inner widths; (e) against the step size kappa for each size of the start, relative to "
        "the truth; (f) with and without the sign check, on the same networks and starts; "
        "(g) distance to the true hyperbola (relative, least epsilon) over the steps: medians of "
        "all trials, bands the central half; (h) factor by which a step shrinks the error near the "
        "truth, 1 - q with q the local rate: medians of the successful trials. What a panel does "
        "not vary is at its base value. Bars are 95% intervals; points are shifted sideways a "
        "little to be told apart."
    )
    version: ClassVar[int] = 2
    paired: ClassVar[tuple[str, ...]] = ("kappa", "start_size", "sign_check", "max_steps")

    network: Ensemble
    kappa: Scale
    start_size: Scale
    sign_check: SignCheck
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        radius = np.sqrt(self.start_size * np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
        solution = alternating_descent(
            P,
            radius * unit_vectors(rng, 1, P.n),
            radius * unit_vectors(rng, 1, P.p),
            step=step_size(P, self.kappa),
            max_steps=self.max_steps,
            sign_check=self.sign_check,
            engine="tracking",
            trace=True,
        )
        trace = solution.trace
        assert trace is not None
        assert trace.distance is not None
        low, high = RATE_WINDOW
        window = (low * P.loss_at_zero, high * P.loss_at_zero)
        distances = [float(P.neighbourhood(solution.h, solution.m, b)[0]) for b in BRANCHES]
        nearest = BRANCHES[int(np.argmin(distances))]
        return [
            {
                "loss_ratio": solution.loss[0] / P.loss_at_zero,
                "epsilon_true": distances[0],
                "product_error": P.product_error(solution.h, solution.m)[0],
                "nearest": branch_name(nearest),
                "epsilon_nearest": min(distances),
                "steps": solution.steps[0],
                "flips": solution.flips[0],
                "rate": local_rate(trace, window)[0],
                **dict(
                    zip(MARK_COLUMNS, _at_marks(trace.step, trace.distance[:, 0, 0]), strict=True)
                ),
                "status": solution.status[0],
            }
        ]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        sizes = self._square(cells)
        level = stats.simultaneous(sizes.loc[sizes["n"] >= LEAST_N, "n"].nunique())
        needed = stats.trials_for_proportion(self.thresholds.success_rate, level=level)
        return {SUCCESS.id: needed}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._with_success(table)
        square = self._square(table)
        longest = selection.largest(square[square["n"] >= LEAST_N], "ell")
        base = selection.at_baseline(self, table, ("ell",))
        found = base[base["success"] & (base["ell"] >= self.network.ell)]

        def tested(rows: pd.DataFrame) -> str:
            return f"{len(rows)} trials; {selection.spread(rows, ('n', 'ell', 'd', 's', 'kappa'))}"

        return [
            claims.above(
                SUCCESS,
                selection.jointly(stats.proportion, longest, "n", "success"),
                limits.success_rate,
                statistic=f"success rate (within epsilon = {limits.epsilon:g}), by n",
                tested=tested(longest),
            ),
            claims.below(
                SPEED,
                selection.jointly(stats.quantile, found, "ell", "steps"),
                limits.steps,
                statistic="median steps of the successful trials, by ell",
                tested=tested(found),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        table = self._with_success(table)
        values: dict[str, Any] = {
            "trials": len,
            "success": lambda g: round(float(g["success"].mean()), 3),
            "interval": lambda g: stats.proportion(g["success"]).interval(".3f"),
            "median steps": lambda g: g.loc[g["success"], "steps"].median(),
            "median rate": lambda g: round(g.loc[g["success"], "rate"].median(), 4),
            "median epsilon": lambda g: float(f"{g['epsilon_true'].median():.2g}"),
        }
        return selection.summarise(table, selection.varying(self, table) or ["n"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._with_success(table)
        figure, axes = figures.panels(8)
        square, latent, depth, inner, step, check, path, rate = axes

        base = self._square(table)
        self._draw_heat_map(square, base, x="ell", y="n")
        trials = base.groupby(["n", "ell"]).size().min()
        square.set(ylabel="n = p", title=f"(a) {trials} trials a cell")
        self._draw_lines(latent, selection.at_baseline(self, table, ("p", "ell")), x="ell", by="p")
        latent.set_title(f"(b) p apart from n = {self.network.n}")
        self._draw_heat_map(depth, selection.at_baseline(self, table, ("d", "s")), x="s", y="d")
        depth.set_title(f"(c) depths, n = p = {self.network.n}, ell = {self.network.ell}")
        self._draw_lines(inner, selection.at_baseline(self, table, ("c", "ell")), x="ell", by="c")
        inner.set_title("(d) inner widths c n log n")
        steps = selection.at_baseline(self, table, ("kappa", "start_size"))
        self._draw_lines(step, steps, x="kappa", by="start_size")
        step.set_title(f"(e) step and start size, ell = {self.network.ell}")
        checks = selection.at_baseline(self, table, ("sign_check", "ell"))
        self._draw_lines(check, checks, x="ell", by="sign_check")
        check.set_title("(f) sign check")
        self._draw_paths(path, selection.at_baseline(self, table, ("ell",)))
        self._draw_rates(rate, selection.at_baseline(self, table, ("d", "s", "ell")))
        return figure

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """With a column `success`; a dead network (epsilon_true NaN) is a trial without success."""
        return table.assign(success=table["epsilon_true"] <= self.thresholds.epsilon)

    def _square(self, table: pd.DataFrame) -> pd.DataFrame:
        base = selection.at_baseline(self, table, ("n", "p", "ell"))
        return base[base["n"] == base["p"]]

    def _draw_heat_map(self, ax: Axes, table: pd.DataFrame, x: str, y: str) -> None:
        image = figures.heat_map(
            ax, table, x=x, y=y, statistic=lambda group: float(group["success"].mean())
        )
        ax.figure.colorbar(image, ax=ax, label="success rate")

    def _draw_paths(self, ax: Axes, table: pd.DataFrame) -> None:
        for index, (ell, group) in enumerate(table.groupby("ell")):
            low, middle, high = group[list(MARK_COLUMNS)].quantile([0.25, 0.5, 0.75]).to_numpy()
            colour = figures.COLOURS[index % len(figures.COLOURS)]
            ax.plot(MARKS, middle, "o-", color=colour, markersize=3, label=f"{ell}")
            ax.fill_between(MARKS, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.set(xscale="log", yscale="log", xlabel="step", ylabel="epsilon to the truth")
        ax.set_title("(g) distance over the steps")
        figures.legend(ax, title="ell", loc="lower left")

    def _draw_rates(self, ax: Axes, table: pd.DataFrame) -> None:
        table = table[(table["d"] == table["s"]) & table["success"]]
        table = table.assign(shrinks=1 - table["rate"]).dropna(subset="shrinks")
        figures.curves(ax, table, "ell", "shrinks", stats.quantile, by="d", spread=1.03)
        figures.log_ticks(ax, table["ell"].unique())
        ax.set(xlabel="ell", ylabel="1 - q", title=f"(h) local rate, kappa = {self.kappa:g}")
        ax.set_ylim(bottom=0)
        figures.headroom(ax, 0.25)
        figures.legend(ax, title="d = s", loc="upper left", ncols=4)

    def _draw_lines(self, ax: Axes, table: pd.DataFrame, x: str, by: str) -> None:
        figures.curves(ax, table, x, "success", stats.proportion, by=by, spread=1.03)
        figures.log_ticks(ax, table[x].unique())
        ax.set(xlabel=x, ylabel="success rate", ylim=(-0.03, 1.4), yticks=np.linspace(0, 1, 6))
        figures.legend(
            ax, title=by.replace("_", " "), loc="upper center", ncols=4, columnspacing=1
        )  # above the data


def _at_marks(step: np.ndarray, distance: np.ndarray) -> list[float]:
    """The last distance recorded at or before each of `MARKS`: steps (T,), distances (T,)."""
    known = ~np.isnan(distance)
    step, distance = step[known], distance[known]
    if not step.size:
        return [np.nan] * len(MARKS)
    return [float(distance[np.searchsorted(step, mark, side="right") - 1]) for mark in MARKS]
