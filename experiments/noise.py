"""What noise in the observation costs, which the paper does not treat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.descent import alternating_descent, step_size
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINEAR = Claim(
    "noise.linear",
    "The recovery error of Algorithm 1 is proportional to small noise",
    "not in the paper",
)
RATE = Claim(
    "noise.rate",
    "At a fixed relative noise it falls about like ell^(-1/2)",
    "not in the paper; n + p unknowns, ell measurements",
)
EFFICIENT = Claim(
    "noise.efficient",
    "It is the error of least squares, linearised at the truth",
    "not in the paper; f is the Gaussian likelihood",
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """linear : the exponent in the noise is 1 to within it.  rate : that in ell -1/2 to within it.

    ratio : the error over that of least squares is 1 to within it.
    small : noise up to which the first and the last claim speak.
    """

    linear: Annotated[float, Gt(0)]
    rate: Annotated[float, Gt(0)]
    ratio: Annotated[float, Gt(0)]
    small: Annotated[float, Gt(0)]


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
    noise: Annotated[float, Ge(0)]
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
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

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.at_baseline(self, table, ("noise", "ell")).dropna(subset="error")
        longest = table[table["ell"] == table["ell"].max()]
        small = longest[(longest["noise"] > 0) & (longest["noise"] <= limits.small)]
        own = table[table["noise"] == self.noise]
        cells = [cell for _, cell in small.groupby("noise")]
        level = stats.simultaneous(len(cells))
        return [
            claims.within(
                LINEAR,
                stats.power_law(small["noise"], small["error"]),
                1 - limits.linear,
                1 + limits.linear,
                statistic="exponent of the median error in the noise, at the largest ell",
                tested=f"{len(small)} trials; {selection.spread(small, ('n', 'ell', 'noise', 'd'))}",
            ),
            claims.within(
                RATE,
                stats.power_law(own["ell"], own["error"]),
                -0.5 - limits.rate,
                -0.5 + limits.rate,
                statistic="exponent of the median error in ell",
                tested=f"{len(own)} trials; {selection.spread(own, ('n', 'ell', 'noise', 'd'))}",
            ),
            claims.within(
                EFFICIENT,
                [
                    stats.quantile(cell["error"] / cell["least_squares"], level=level)
                    for cell in cells
                ],
                1 - limits.ratio,
                1 + limits.ratio,
                statistic="median of error / that of least squares, at the worst noise",
                tested=f"{len(small)} trials; {selection.spread(small, ('n', 'ell', 'noise', 'd'))}",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for (n, noise, ell), group in table.groupby(["n", "noise", "ell"]):
            rows.append(
                {
                    "n": n,
                    "noise": noise,
                    "ell": ell,
                    "trials": len(group),
                    "median error": str(stats.quantile(group["error"])).partition(" (")[0],
                    "of least squares": f"{group['least_squares'].median():.3g}",
                    "within twice that": str(stats.proportion(_good(group))).partition(" (")[0],
                }
            )
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = (
            selection.at_baseline(self, table, ("noise", "ell"))
            .dropna(subset="error")
            .assign(good=_good)
        )
        figure, axes = figures.canvas(1, 3, width=11, height=3.3)
        by_noise, by_ell, share = axes[0]
        noisy = table[table["noise"] > 0]
        self._draw(by_noise, noisy, x="noise", by="ell")
        self._draw(by_ell, noisy, x="ell", by="noise")
        ends = np.array([table["ell"].min(), table["ell"].max()], dtype=float)
        slope = noisy["error"].quantile(0.98) * (ends / ends[0]) ** -0.5
        by_ell.plot(ends, slope, color="black", linestyle=":", label="slope -1/2")
        figures.headroom(by_ell, 0.2)
        for index, (noise, group) in enumerate(noisy.groupby("noise")):
            style: Any = {"label": f"{noise:g}", "index": index, "shift": 1.02**index}
            figures.curve(share, group, "ell", "good", stats.proportion, **style)
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
        for index, (value, group) in enumerate(table.groupby(by)):
            style: Any = {"label": f"{value:g}", "index": index, "shift": 1.02**index}
            figures.curve(ax, group, x, "error", stats.quantile, **style)
            expected = group.groupby(x)["least_squares"].median()
            colour = figures.COLOURS[index % len(figures.COLOURS)]
            ax.plot(expected.index, expected, "--", color=colour, linewidth=1)
        ax.set(yscale="log", ylabel="median error of h m^T")
        figures.headroom(ax, 0.4)


def least_squares_error(P: Demodulation, e: np.ndarray) -> float:
    """Relative error of h m^T by least squares for noise e (ell,), linearised at the truth.

    With A = diag(b0) Lambda1, B = diag(a0) Lambda2 it solves min ||A dh + B dm - e||, of least
    norm since the scale is free, and the product moves by dh m0^T + h0 dm^T.
    """
    a, b = P.G1(P.h0), P.G2(P.m0)
    A, B = b[:, None] * P.G1.Lambda(P.h0), a[:, None] * P.G2.Lambda(P.m0)
    change = np.linalg.lstsq(np.hstack([A, B]), e, rcond=None)[0]
    moved = np.outer(change[: P.n], P.m0) + np.outer(P.h0, change[P.n :])
    return float(np.linalg.norm(moved) / (np.linalg.norm(P.h0) * np.linalg.norm(P.m0)))


def _good(table: pd.DataFrame) -> pd.Series:
    return table["error"] <= 2 * table["least_squares"]
