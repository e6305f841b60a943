"""What a proof of convergence would need near the truth: curvature, basin, local rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.descent import Stopping, alternating_descent, local_rate, step_size
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.landscape import basin
from harness.problem import Demodulation
from harness.ranges import Count, Scale, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CURVATURE = Claim(
    "basin.curvature",
    "For n = p = 5 the least curvature of f at the truth, off the orbit, approaches its "
    "expectation like width^(-1/2) when all layers widen together, at every depth d = s",
    "Hessian of the expected loss at the truth: c on the angles, 2 c along the scale",
    Role.SHARPER,
    supported=Outcome(
        "At the truth f becomes strongly convex off the orbit, at the rate of a mean's "
        "fluctuation.",
        Bearing.SHARPER,
    ),
    refuted=Outcome("The least curvature approaches its expectation at another rate."),
)
CONVEX = Claim(
    "basin.convex",
    "For n = p = 5, inner widths ell / 4 and the largest ell, the least curvature of f at the "
    "truth, off the orbit, is at least half of its expectation in 95% of networks, at every depth "
    "d = s",
    "the paper leaves convergence open",
    Role.SHARPER,
    supported=Outcome(
        "Near the truth Algorithm 1 is descent on a convex function.", Bearing.SHARPER
    ),
    refuted=Outcome("A proof of convergence cannot rest on curvature at such widths."),
)
RATE = Claim(
    "basin.rate",
    "Near the truth Algorithm 1 converges at the rate that its linearisation there predicts",
    "the paper leaves convergence open",
    Role.PRACTICE,
    supported=Outcome("The end of a descent is understood: the Hessian at the truth decides."),
    refuted=Outcome("The linearisation at the truth does not say how a descent ends."),
)
RADIUS = Claim(
    "basin.radius",
    "For n = p = 5, inner widths ell / 4 and the largest ell, Algorithm 1 comes back from every "
    "start at half the truth's length from it, in 95% of networks, at every depth d = s",
    "the paper leaves convergence open",
    Role.SHARPER,
    Evidence.SEARCH,
    supported=Outcome("The basin of the truth is as large as the truth itself.", Bearing.SHARPER),
    refuted=Outcome("Some starts so near do not come back."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """exponent_error : of the exponent -1/2, fitted from ell = fit_from on.

    convex, share : least curvature over its expectation, and the share of networks that has it.
    rate_error : relative error of the predicted rate's logarithm.
    """

    exponent_error: float
    fit_from: int
    convex: float
    share: float
    rate_error: float


@dataclass(frozen=True)
class Basin(Experiment):
    """One trial: a network; the columns of `harness.landscape.basin`, the rate and the returns.

    measured : `local_rate` of Algorithm 1 from a start at relative distance `near`.
    returned : share of `starts` random starts at relative distance `radius` that come back.
    """

    claims: ClassVar[tuple[Claim, ...]] = (CURVATURE, CONVEX, RATE, RADIUS)
    caption: ClassVar[str] = (
        "The truth's neighbourhood, n = p = 5, all layers wider with ell. (a) Extreme curvatures "
        "of f at the truth off the orbit, over their unit; in expectation they are 1 and 2 "
        "(dotted). (b) How far the least one is from 1; grey: slope -1/2. (c) Radius of the ball "
        "around the truth in which no unit switches, relative to the truth. (d) Measured over "
        "predicted logarithm of the factor by which a step of Algorithm 1 shrinks the error. "
        "Medians over networks with 95% order-statistic intervals."
    )

    network: Ensemble
    kappa: Scale
    near: Annotated[float, Gt(0)]
    radius: Annotated[float, Gt(0)]
    starts: Together
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        solution = self._descend(P, rng, 1, self.near, trace=True)
        assert solution.trace is not None
        window = (1e-26 * P.loss_at_zero, 1e-18 * P.loss_at_zero)
        far = self._descend(P, rng, self.starts, self.radius, trace=False)
        back = P.neighbourhood(far.h, far.m) <= self.near
        return [
            asdict(basin(P, self.kappa, alpha=self.network.alpha))
            | {
                "measured": float(local_rate(solution.trace, window)[0]),
                "returned": float(np.mean(back)),
                "status": "ok",
            }
        ]

    def _descend(
        self, P: Demodulation, rng: np.random.Generator, count: int, distance: float, trace: bool
    ) -> Any:
        """Algorithm 1 from random points at a relative distance from the balanced truth."""
        x0 = np.concatenate(P.balanced_truth())
        x = x0 + distance * np.linalg.norm(x0) * unit_vectors(rng, count, x0.size)
        return alternating_descent(
            P,
            x[:, : P.n],
            x[:, P.n :],
            step=step_size(P, self.kappa),
            max_steps=self.max_steps,
            stopping=Stopping(loss_rtol=1e-28),
            engine="tracking",
            trace=trace,
        )

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        depths, sizes = cells["d"].nunique(), len(cells)
        share = stats.trials_for_proportion(self.thresholds.share, level=stats.simultaneous(depths))
        rate = stats.trials_for_quantile(level=stats.simultaneous(sizes))
        return {CONVEX.id: share, RADIUS.id: share, RATE.id: rate}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._measured(table)
        fitted = table[(table["ell"] >= limits.fit_from) & (table["gap"] > 0)]
        widest = selection.largest(table, "ell")
        rates = table.dropna(subset="ratio")

        def tested(rows: pd.DataFrame) -> str:
            return f"{selection.spread(rows, ('n', 'd', 'ell'))}, d = s, {len(rows)} networks"

        return [
            claims.within(
                CURVATURE,
                selection.jointly(stats.power_law, fitted, "d", "ell", "gap"),
                *(-0.5 - limits.exponent_error, -0.5 + limits.exponent_error),
                statistic="exponent in ell of the median of 1 - least curvature, by depth",
                tested=tested(fitted),
                named=-0.5,
            ),
            claims.above(
                CONVEX,
                selection.jointly(stats.proportion, widest, "d", "convex"),
                limits.share,
                statistic=f"share of networks with least curvature >= {limits.convex:g}, by depth",
                tested=tested(widest),
            ),
            claims.within(
                RATE,
                selection.jointly(stats.quantile, rates, ["d", "ell"], "ratio"),
                *(1 - limits.rate_error, 1 + limits.rate_error),
                statistic="median of log measured rate / log predicted rate, by size",
                tested=f"{tested(rates)}; {len(table) - len(rates)} without a measured rate",
            ),
            claims.below(
                RADIUS,
                selection.jointly(stats.proportion, widest, "d", "lost"),
                1 - limits.share,
                statistic=f"share of networks in which one of {self.starts} starts at relative "
                f"distance {self.radius:g} does not come back, by depth",
                tested=tested(widest),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {"networks": len}
        columns = ("lowest", "highest", "certified_region", "certified_basin", "rate", "measured")
        values |= {name: selection.median(name) for name in columns}
        values["starts that come back"] = lambda g: f"{g['returned'].mean():.3f}"
        return selection.summarise(self._measured(table), ["d", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        figure, axes = figures.panels(4)
        extremes, gap, region, rate = axes
        look: Any = {
            "statistic": stats.quantile,
            "by": "d",
            "label": "d = s = {:g}",
            "spread": 1.05,
        }
        figures.curves(extremes, table, "ell", "lowest", **look)
        figures.curves(extremes, table, "ell", "highest", **(look | {"label": "_{:g}"}))
        for level in (1, 2):
            extremes.axhline(level, color="black", linestyle=":")
        figures.curves(gap, table, "ell", "gap", **look)
        start = table["gap"].median() * 2 if len(table) else 1.0
        figures.reference(gap, table["ell"], start, -0.5, color="0.6", label="slope -1/2", zorder=0)
        figures.curves(region, table, "ell", "certified_region", **look)
        figures.curves(rate, table.dropna(subset="ratio"), "ell", "ratio", **look)
        for side in (-1, 1):
            rate.axhline(1 + side * self.thresholds.rate_error, color="0.5", linestyle="--")
        extremes.set(title="(a) least and largest curvature", ylabel="curvature / unit")
        gap.set(title="(b) approach to the expectation", ylabel="1 - least curvature")
        region.set(title="(c) certified linear region", ylabel="relative radius")
        rate.set(title="(d) rate of Algorithm 1", ylabel="log measured / log predicted")
        for ax in axes:
            figures.log_ticks(ax, table["ell"].unique())
            ax.set_xlabel("ell")
        for ax in (gap, region):
            figures.plain_log(ax)
        figures.legend(gap)
        return figure

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Networks with something to measure, with what the claims are about."""
        rows = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell"))
        return rows.assign(
            gap=1 - rows["lowest"],
            convex=rows["lowest"] >= self.thresholds.convex,
            lost=rows["returned"] < 1,
            ratio=np.log(rows["measured"]) / np.log(rows["rate"]),
        )
