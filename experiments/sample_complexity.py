"""How long a signal Algorithm 1 needs against the latent dimensions, n + p or n^2 + p^2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, descent, figures, selection, stats
from harness.claims import Claim, Finding
from harness.conditions.aligned import aligned_truths
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings, UnmeasurableError
from harness.problem import Demodulation
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Truth = Literal["random", "aligned"]

LINEAR = Claim(
    "sample_complexity.linear",
    "The ell at which half the trials succeed grows no faster than n + p along n = p",
    "no theorem; A3 allows more",
)
LOCAL = Claim(
    "sample_complexity.local",
    "Nor does it between the two largest n",
    "no theorem; A3 allows more",
)
QUADRATIC = Claim(
    "sample_complexity.quadratic",
    "It grows like n^2 + p^2 along n = p",
    "A3, up to logarithms",
)
FACTOR = Claim(
    "sample_complexity.factor",
    "With inner widths c n, without the logarithm, it grows no faster either",
    "A2 asks for n log n",
)
SPLIT = Claim(
    "sample_complexity.split",
    "At fixed n + p it is the same for n != p as for n = p",
    "n + p; n^2 + p^2 says 1.36 times more at (4, 16) than at (10, 10)",
)
ALIGNED = Claim(
    "sample_complexity.aligned",
    "Truths along the vectors that break the joint-WDC need no longer signals than random ones",
    "Theorem 3 is for every truth",
)
NOISE = Claim(
    "sample_complexity.noise",
    "Noise does not raise it: up to the noise's own error the truth is found as often",
    "not in the paper",
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within epsilon + noise of the true hyperbola.

    slack : growth with an exponent below 1 + slack is no faster than n + p; an exponent within
        slack of 2 is quadratic.
    ratio : a change of a threshold by less than this factor counts as small.
    """

    epsilon: Annotated[float, Gt(0)]
    slack: Annotated[float, Gt(0)]
    ratio: Annotated[float, Gt(1)]


@dataclass(frozen=True)
class SampleComplexity(Experiment):
    """One trial: two networks, a truth, one random start of the truth's size; a row a trial.

    truth : "random", or "aligned" with the witness of the joint-WDC's row-aligned adversary, see
        `conditions.aligned`.
    noise : ||e|| / ||y0||, for Gaussian e added to y0.
    """

    claims: ClassVar[tuple[Claim, ...]] = (LINEAR, LOCAL, QUADRATIC, FACTOR, SPLIT, ALIGNED, NOISE)
    caption: ClassVar[str] = (
        "Success of Algorithm 1 from one random start, each trial on networks of its own. "
        "(a) Share of successes over n = p and signal length ell; white dots: the ell of half "
        "the trials (logistic fit) with 95% intervals; lines: the laws n + p and n^2 + p^2 through "
        "the first dot. (b) That ell for inner widths c n log n and c n, and with the truth along "
        "the joint-WDC's witness or noise in y0; a size without such an ell in the range measured "
        "has no dot. (c) The same for n != p with one n + p."
    )
    paired: ClassVar[tuple[str, ...]] = ("truth", "noise")

    network: Ensemble
    truth: Truth
    noise: Annotated[float, Ge(0)]
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        directions = unit_vectors(rng, 1, P.n), unit_vectors(rng, 1, P.p)
        noise = unit_vectors(rng, 1, P.ell)[0]
        if self.truth == "aligned":
            P = Demodulation(P.G1, P.G2, *aligned_truths(P.G1, P.G2))
            if P.status != Status.OK:
                raise UnmeasurableError(P.status)
        noise *= self.noise * np.linalg.norm(P.y0)
        P = Demodulation(P.G1, P.G2, P.h0, P.m0, noise)
        solution = descent.alternating_descent(
            P,
            *directions,
            step=descent.step_size(P, self.kappa),
            max_steps=self.max_steps,
            engine="tracking",
        )
        return [descent.row(P, solution)]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._with_success(table)
        square, without = _with_threshold(self._square(table, self.network.growth))
        factor, none = _with_threshold(self._square(table, "factor"))
        last = selection.largest(square, "n", count=2)
        splits = self._splits(table)
        arms = selection.at_baseline(self, table, ("truth", "noise", "ell"))
        noiseless, random = arms[arms["noise"] == 0], arms[arms["truth"] == "random"]
        exponent, words = "exponent of the ell of half the trials in n = p", _tested(square)
        words, slim = words + without, _tested(factor) + none
        linear, quadratic = 1 + limits.slack, (2 - limits.slack, 2 + limits.slack)
        return [
            claims.below(LINEAR, _exponent(square), linear, statistic=exponent, tested=words),
            claims.below(LOCAL, _exponent(last), linear, statistic=exponent, tested=_tested(last)),
            claims.within(
                QUADRATIC, _exponent(square), *quadratic, statistic=exponent, tested=words
            ),
            claims.below(FACTOR, _exponent(factor), linear, statistic=exponent, tested=slim),
            claims.within(
                SPLIT,
                _ratio(splits, splits["n"] != splits["p"]),
                *(1 / limits.ratio, limits.ratio),
                statistic="ell of half the trials, n != p / n = p",
                tested=_tested(splits),
            ),
            claims.below(
                ALIGNED,
                _ratio(noiseless, noiseless["truth"] == "aligned"),
                limits.ratio,
                statistic="ell of half the trials, aligned / random truth",
                tested=_tested(noiseless),
            ),
            claims.below(
                NOISE,
                _ratio(random, random["noise"] > 0),
                limits.ratio,
                statistic="ell of half the trials, with / without noise",
                tested=_tested(random, "noise"),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "ell": lambda g: f"{g['ell'].min()}..{g['ell'].max()}",
            "trials": len,
            "ell of half": lambda g: f"{_threshold(g).value:.0f}",
            "interval": lambda g: _threshold(g).interval(".0f"),
            "median steps": lambda g: g.loc[g["success"], "steps"].median(),
        }
        keys = ("growth", "truth", "noise", "n", "p")
        return selection.summarise(self._with_success(table), keys, values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._with_success(table)
        figure, axes = figures.canvas(1, 3, width=11, height=3.4)
        phases, arms, splits = axes[0]
        self._draw_phases(phases, self._square(table, self.network.growth))
        self._draw_arms(arms, table)
        split = self._splits(table)
        places = sorted(split["n"].unique())
        figures.estimates(splits, places, [_threshold(split[split["n"] == n]) for n in places])
        splits.set(
            xlabel=f"n, with n + p = {2 * self.network.n}", xticks=places, title="(c) n != p"
        )
        splits.set_ylabel("ell of half the trials")
        splits.set_ylim(bottom=0)
        return figure

    def _draw_phases(self, ax: Axes, table: pd.DataFrame) -> None:
        """A column of rectangles for each n; a rectangle reaches halfway to the next ell."""
        image = None
        for n, column in table.groupby("n"):
            rates = column.groupby("ell")["success"].mean()
            rows, sides = (
                figures.log_edges(rates.index.to_numpy()),
                float(n) * 2.0 ** np.array([-0.3, 0.3]),
            )
            image = ax.pcolormesh(
                sides, rows, rates.to_numpy()[:, None], vmin=0, vmax=1, cmap=figures.SEQUENTIAL
            )
        if image is None:
            return
        sizes = np.array(sorted(table["n"].unique()), dtype=float)
        found = [_threshold(table[table["n"] == n]) for n in sizes]
        figures.log_ticks(ax, sizes)
        figures.plain_log(ax)
        figures.estimates(ax, list(sizes), found, label="half the trials", index=6, line=False)
        ax.containers[-1][0].set(markerfacecolor="white", marker="o")
        first = next(((n, e.value) for n, e in zip(sizes, found, strict=True) if e.value > 0), None)
        if first is not None:
            for power, style, name in ((1, "-", "n + p"), (2, "--", "n² + p²")):
                law = first[1] * (sizes / first[0]) ** power
                ax.plot(sizes, law, style, color=figures.COLOURS[1], label=name)
        ax.set_ylim(table["ell"].min() / 1.3, table["ell"].max() * 1.3)
        ax.grid(False)
        trials = table.groupby(["n", "ell"]).size().min()
        ax.set(xlabel="n = p", ylabel="ell", title=f"(a) {trials} trials a cell")
        ax.figure.colorbar(image, ax=ax, label="success rate")
        figures.legend(ax, loc="lower right")

    def _draw_arms(self, ax: Axes, table: pd.DataFrame) -> None:
        square = table[table["n"] == table["p"]]
        noise = square["noise"] > 0
        plain = (square["truth"] == "random") & ~noise
        parts = {
            "inner widths c n log n": plain & (square["growth"] == "log"),
            "inner widths c n": plain & (square["growth"] == "factor"),
            "aligned truth": square["truth"] == "aligned",
            "noise in y0": noise,
        }
        drawn = set()
        for index, (label, rows) in enumerate(parts.items()):
            groups = {float(n): part for n, part in square[rows].groupby("n")}
            found = [_threshold(part) for part in groups.values()]
            places = [n * 1.05 ** (index - 1) for n in groups]
            drawn |= {n for n, e in zip(groups, found, strict=True) if np.isfinite(e.value)}
            style: Any = {"label": label, "index": index, "line": len(groups) > 1}
            figures.estimates(ax, places, found, **style)
        ax.set(xlabel="n = p", ylabel="ell of half the trials", title="(b) arms")
        if drawn:
            figures.log_ticks(ax, drawn)
            figures.plain_log(ax)
            figures.headroom(ax, 0.3)
        figures.legend(ax, loc="upper left")

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """With a column `success`; a dead network (epsilon_true NaN) is a trial without success."""
        reached = table["epsilon_true"] <= self.thresholds.epsilon + table["noise"]
        return table.assign(success=reached)

    def _square(self, table: pd.DataFrame, growth: str) -> pd.DataFrame:
        """Trials with n = p, a random truth and no noise, of one rule for the inner widths."""
        base = selection.at_baseline(self, table, ("n", "p", "ell", "growth", "c"))
        return base[(base["n"] == base["p"]) & (base["growth"] == growth)]

    def _splits(self, table: pd.DataFrame) -> pd.DataFrame:
        """Trials with the n + p of the base settings."""
        base = selection.at_baseline(self, table, ("n", "p", "ell"))
        return base[base["n"] + base["p"] == 2 * self.network.n]


def _exponent(table: pd.DataFrame) -> stats.Estimate:
    return stats.threshold_exponent(table["n"], table["ell"], table["success"])


def _threshold(table: pd.DataFrame) -> stats.Estimate:
    return stats.threshold(table["ell"], table["success"])


def _with_threshold(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of the n that have an ell of half the trials; in words, the n that have none."""
    none = [n for n, group in table.groupby("n") if np.isnan(_threshold(group).value)]
    words = f"; left out, without such an ell: n = {', '.join(map(str, none))}" if none else ""
    return table[~table["n"].isin(none)], words


def _ratio(table: pd.DataFrame, arm: pd.Series) -> stats.Estimate:
    return stats.threshold_ratio(arm, table["ell"], table["success"])


def _tested(table: pd.DataFrame, *more: str) -> str:
    where = selection.spread(table, ("n", "p", "ell", "d", "c", "kappa", *more))
    return f"{len(table)} trials; {where}"
