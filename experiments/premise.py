"""How far measured WDC constants are from the premise of the theorems, and how often they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.conditions import wdc_bracket
from harness.ensemble import Size
from harness.experiment import Experiment, Row, Settings
from harness.network import LastLayer, gaussian_network
from harness.theory import premise_epsilon, truncation_alpha

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PREMISE = Claim(
    "premise.epsilon",
    "A network that can be built meets the premise K1 (d^7 s^2 + d^2 s^7) epsilon^(1/4) < 1, "
    "K1 = 1, d = s = 2",
    "Theorem 2",
)
PROBABILITY = Claim(
    "premise.probability",
    "At fixed n the probability that the WDC constant exceeds a fixed epsilon vanishes with ell",
    "Theorem 2",
)
DEPTHS = ((2, 2), (2, 3), (3, 3), (4, 4))


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : a constant above it is a failure.  failure : greatest share at the largest ell."""

    epsilon: float
    failure: float


@dataclass(frozen=True)
class Premise(Experiment):
    """One trial: a Gaussian layer (ell, n) and the bracket of its constant.

    For n <= 2 both ends are certified.  For more columns the lower end alone is: the bracket can
    prove that a constant exceeds epsilon, not that it does not.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (PREMISE, PROBABILITY)
    paired: ClassVar[tuple[str, ...]] = ("budget",)
    caption: ClassVar[str] = (
        "What Theorem 2 assumes of the WDC constant, and what layers with n = 2 inputs have. (a) "
        "Certified upper ends against the number of rows ell (medians with 95% order-statistic "
        "intervals), the power law fitted to them, and the epsilon that the premise needs at some "
        "depths with its constant K1 set to 1. (b) Share of matrices whose constant certainly "
        "exceeds the epsilon of the configuration, against ell / n for several n, with 95% "
        "Clopper-Pearson intervals; for n > 2 the excess is found by search, so that the share is "
        "a lower bound. A row w whose sign flips between two vectors next to each other gives a "
        "constant of ||w||^2/2 at least, of the order of n/(2 ell): no ell below 10^12 meets the "
        "premise for d = s = 2."
    )

    n: Size
    ell: Size
    last_layer: LastLayer
    budget: Size
    thresholds: Thresholds

    @property
    def bytes(self) -> int:
        """Memory of the matrix."""
        return 8 * self.ell * self.n

    def trial(self, rng: np.random.Generator) -> list[Row]:
        W = gaussian_network(rng, (self.n, self.ell), self.last_layer).weights[0]
        alpha = truncation_alpha(self.n) if self.last_layer == "truncated" else 1.0
        bracket = wdc_bracket(W, alpha, rng=rng, budget=self.budget, boxes=self.budget)
        return [{"lower": bracket.lower, "upper": bracket.upper, "status": "ok"}]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._own(table)
        largest = selection.largest(table, "ell")
        tested = f"{selection.spread(largest, ('n', 'ell'))}, {len(largest)} matrices"
        needed = premise_epsilon(2, 2)
        return [
            claims.below(
                PREMISE,
                stats.quantile(np.log10(largest["lower"] / needed)),
                0.0,
                statistic=f"median of log10(lower end / {needed:.2g}) at the largest ell",
                tested=tested,
            ),
            claims.below(
                PROBABILITY,
                _exceeding(largest["upper"].to_numpy(), limits.epsilon),
                limits.failure,
                statistic=f"share whose constant exceeds {limits.epsilon:g} at the largest ell",
                tested=tested,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        table = self._own(table)
        rate, level = self._fit(table)
        fit = stats.power_law(table["ell"], table["upper"])
        return type(table)(
            [
                {
                    "d": d,
                    "s": s,
                    "epsilon needed (K1 = 1)": f"{premise_epsilon(d, s):.2g}",
                    "ell by extrapolation": f"{(premise_epsilon(d, s) / level) ** (1 / rate):.2g}",
                    "fitted exponent": str(fit),
                }
                for d, s in DEPTHS
            ]
        )

    def figure(self, table: pd.DataFrame) -> Figure:
        every, table = table[table["last_layer"] == self.last_layer], self._own(table)
        figure, axes = figures.canvas(1, 2, width=8, height=3.3)
        constant, failure = axes[0]
        figures.curve(constant, table, "ell", "upper", stats.quantile, label="measured", line=False)
        rate, level = self._fit(table)
        deepest = premise_epsilon(*DEPTHS[-1])
        ell = np.geomspace(table["ell"].min(), (0.1 * deepest / level) ** (1 / rate), 50)
        constant.plot(ell, level * ell**rate, "--", color="0.5", label="fitted power law")
        for index, (d, s) in enumerate(DEPTHS, start=1):
            needed = premise_epsilon(d, s)
            line: Any = {"color": figures.COLOURS[index], "linewidth": 1}
            constant.axhline(needed, label=f"needed, d = {d}, s = {s}", **line)
        constant.set(xscale="log", yscale="log", xlabel="ell", ylabel="WDC constant, epsilon")
        constant.set_title("(a) the premise of Theorem 2")
        every = every.assign(
            fails=every["lower"] > self.thresholds.epsilon, ratio=every["ell"] / every["n"]
        )
        figures.curves(failure, every, "ratio", "fails", stats.proportion, by="n", label="n = {}")
        figures.log_ticks(failure, every["ratio"].unique())
        failure.set(xlabel="ell / n", ylim=(-0.03, 1.03), title="(b) failures")
        figures.legend(failure)
        failure.set_ylabel(f"share with constant > {self.thresholds.epsilon:g}")
        figures.legend(constant, loc="upper right")
        return figure

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["n"] == self.n) & (table["last_layer"] == self.last_layer)]

    def _fit(self, table: pd.DataFrame) -> tuple[float, float]:
        """(b, a) of a ell^b through the medians of the upper ends; b = -1/2 for a single ell."""
        medians = table.groupby("ell")["upper"].median()
        if len(medians) < 2:
            return -0.5, float(medians.iloc[0] * medians.index[0] ** 0.5)
        b, log_a = np.polyfit(np.log(medians.index), np.log(medians.to_numpy()), 1)
        return float(b), float(np.exp(log_a))


def _exceeding(upper: np.ndarray, epsilon: float) -> stats.Estimate:
    """Share of matrices whose constant may exceed epsilon; undetermined without upper ends."""
    if not np.isfinite(upper).all():
        return stats.undetermined(len(upper), "Clopper-Pearson")
    return stats.proportion(upper > epsilon)
