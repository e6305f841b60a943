"""What noise in the observation costs, which the paper does not treat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding, Outcome, Role
from harness.descent import alternating_descent, step_size
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import Demodulation
from harness.ranges import Count, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINEAR = Claim(
    "noise.linear",
    "For n = p = 5, d = s = 2 and the largest ell, the recovery error of Algorithm 1 is "
    "proportional to small noise in y0",
    "not in the paper",
    Role.PRACTICE,
    supported=Outcome("Recovery is stable under small noise."),
    refuted=Outcome("Small noise is amplified, or damped, as it grows."),
)
RATE = Claim(
    "noise.rate",
    "For n = p = 5, d = s = 2 and a fixed relative noise the recovery error of Algorithm 1 falls "
    "like ell^(-1/2)",
    "not in the paper; n + p unknowns, ell measurements",
    Role.PRACTICE,
    supported=Outcome("More measurements average the noise out, as in regression."),
    refuted=Outcome("More measurements average the noise out at another rate."),
)
EFFICIENT = Claim(
    "noise.efficient",
    "For n = p = 5, d = s = 2 and small noise the recovery error of Algorithm 1 is that of least "
    "squares, linearised at the truth, to a tenth",
    "not in the paper; f is the Gaussian likelihood",
    Role.PRACTICE,
    supported=Outcome("No estimator with the same model could do better to first order."),
    refuted=Outcome("Algorithm 1 loses accuracy beside least squares."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """linear : tolerance of the exponent 1 in the noise.  rate : of the exponent -1/2 in ell.

    ratio : tolerance of the ratio 1 of the error to that of least squares.
    small : greatest noise in the first and the last claim.  fit_from : least ell of the second.
    """

    linear: Annotated[float, Gt(0)]
    rate: Annotated[float, Gt(0)]
    ratio: Annotated[float, Gt(0)]
    small: Annotated[float, Gt(0)]
    fit_from: int


@dataclass(frozen=True)
class Noise(Experiment):
    """One trial: two networks, a truth, noise, one random start of the truth's size.

    noise : ||e|| / ||y0||, for e of uniform direction.
    """

    claims: ClassVar[tuple[Claim, ...]] = (LINEAR, RATE, EFFICIENT)
    caption: ClassVar[str] = (
        "Algorithm 1 on y0 + e from one random start, each trial on networks of its own. "
        "(a) Median relative error of the product h m^T against the noise ||e|| / ||y0||, for each "
        "ell; dashed: least squares linearised at the truth, on the same draws. (b) The same "
        "against ell for each noise, with a line of slope -1/2. (c) Share of trials whose error is "
        "within twice that of least squares. Bars are 95% intervals."
    )
    paired: ClassVar[tuple[str, ...]] = ("noise",)

    network: Ensemble
    noise: Annotated[float, Ge(0), Le(1e9)]
    kappa: Scale
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        clean = self.network.problem(rng)
        directions = unit_vectors(rng, 1, clean.n), unit_vectors(rng, 1, clean.p)
        e = self.noise * float(np.linalg.norm(clean.y0)) * unit_vectors(rng, 1, clean.ell)[0]
        P = Demodulation(clean.G1, clean.G2, clean.h0, clean.m0, e)
        solution = alternating_descent(
            P,
            *directions,
            step=step_size(P, self.kappa),
            max_steps=self.max_steps,
            engine="tracking",
        )
        return [
            {
                "error": P.product_error(solution.h, solution.m)[0],
                "least_squares": least_squares_error(P, e),
                "loss_ratio": solution.loss[0] / P.loss_at_zero,
                "noise_loss_ratio": 0.5 * float(e @ e) / P.loss_at_zero,
                "steps": solution.steps[0],
                "status": solution.status[0],
            }
        ]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        levels = int(((cells["noise"] > 0) & (cells["noise"] <= self.thresholds.small)).sum())
        return {EFFICIENT.id: stats.trials_for_quantile(level=stats.simultaneous(levels))}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.at_baseline(self, table, ("noise", "ell")).dropna(subset="error")
        longest = selection.largest(table, "ell")
        small = longest[(longest["noise"] > 0) & (longest["noise"] <= limits.small)]
        own = table[(table["noise"] == self.noise) & (table["ell"] >= limits.fit_from)]
        small = small.assign(ratio=small["error"] / small["least_squares"])

        def tested(rows: pd.DataFrame) -> str:
            return f"{len(rows)} trials; {selection.spread(rows, ('n', 'ell', 'noise', 'd'))}"

        return [
            claims.within(
                LINEAR,
                stats.power_law(small["noise"], small["error"]),
                1 - limits.linear,
                1 + limits.linear,
                statistic="exponent of the median error in the noise, at the largest ell",
                tested=tested(small),
            ),
            claims.within(
                RATE,
                stats.power_law(own["ell"], own["error"]),
                -0.5 - limits.rate,
                -0.5 + limits.rate,
                statistic="exponent of the median error in ell",
                tested=tested(own),
                named=-0.5,
            ),
            claims.within(
                EFFICIENT,
                selection.jointly(stats.quantile, small, "noise", "ratio"),
                1 - limits.ratio,
                1 + limits.ratio,
                statistic="median of error / that of least squares, by noise",
                tested=tested(small),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "trials": len,
            "median error": lambda g: str(stats.quantile(g["error"])).partition(" (")[0],
            "of least squares": selection.median("least_squares"),
            "within twice that": lambda g: str(stats.proportion(_good(g))).partition(" (")[0],
        }
        return selection.summarise(table, ["n", "noise", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = selection.at_baseline(self, table, ("noise", "ell")).dropna(subset="error")
        table = table.assign(good=_good(table))
        figure, axes = figures.panels(3)
        by_noise, by_ell, share = axes
        noisy = table[table["noise"] > 0]
        self._draw(by_noise, noisy, x="noise", by="ell")
        self._draw(by_ell, noisy, x="ell", by="noise")
        start = noisy["error"].quantile(0.98)
        line: Any = {"color": "black", "linestyle": ":", "label": "slope -1/2"}
        figures.reference(by_ell, (table["ell"].min(), table["ell"].max()), start, -0.5, **line)
        figures.headroom(by_ell, 0.2)
        look: Any = {"by": "noise", "label": "{:g}", "spread": 1.02}
        figures.curves(share, noisy, "ell", "good", stats.proportion, **look)
        for ax in (by_ell, share):
            figures.log_ticks(ax, table["ell"].unique())
            ax.set_xlabel("ell")
        by_noise.set(xscale="log", xlabel="noise ||e|| / ||y0||", title="(a) against the noise")
        by_ell.set_title("(b) against ell")
        share.set(ylabel="share of trials", title="(c) as good as least squares")
        share.set(ylim=(-0.03, 1.6), yticks=np.linspace(0, 1, 6))
        for ax, title in ((by_noise, "ell"), (by_ell, "noise"), (share, "noise")):
            figures.legend(ax, title=title, ncols=3, loc="upper left", columnspacing=1)
        return figure

    def _draw(self, ax: Axes, table: pd.DataFrame, x: str, by: str) -> None:
        """Median errors, and dashed those of least squares."""
        for group, style in figures.styled(table, by, label="{:g}", spread=1.02):
            figures.curve(ax, group, x, "error", stats.quantile, **style)
            expected = group.groupby(x)["least_squares"].median()
            colour = figures.COLOURS[style["index"] % len(figures.COLOURS)]
            ax.plot(expected.index, expected, "--", color=colour, linewidth=1)
        ax.set(yscale="log", ylabel="median error of h m^T")
        figures.headroom(ax, 0.4)


def least_squares_error(P: Demodulation, e: np.ndarray) -> float:
    """Relative error of h m^T by least squares for noise e (ell,), linearised at the truth.

    The change is dh m0^T + h0 dm^T, where (dh, dm) minimises ||A dh + B dm - e|| with
    A = diag(b0) Lambda1 and B = diag(a0) Lambda2; of all minimisers (the scale is free) it is the
    one of least norm.
    """
    a, b = P.G1(P.h0), P.G2(P.m0)
    A, B = b[:, None] * P.G1.Lambda(P.h0), a[:, None] * P.G2.Lambda(P.m0)
    change = np.linalg.lstsq(np.hstack([A, B]), e, rcond=None)[0]
    moved = np.outer(change[: P.n], P.m0) + np.outer(P.h0, change[P.n :])
    return float(np.linalg.norm(moved) / (np.linalg.norm(P.h0) * np.linalg.norm(P.m0)))


def _good(table: pd.DataFrame) -> pd.Series:
    """Whether the error is within twice that of least squares."""
    return table["error"] <= 2 * table["least_squares"]
