"""How far measured WDC constants are from the premise of the theorems, and how often they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.conditions import wdc_lower_end
from harness.experiment import Experiment, Row, Settings
from harness.network import LastLayer, gaussian_network
from harness.ranges import Size
from harness.theory import premise_epsilon, truncation_alpha

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PREMISE = Claim(
    "premise.epsilon",
    "For d = s = 2 a network that can be built meets the premise of Theorem 2, "
    "K1 (d^7 s^2 + d^2 s^7) epsilon^(1/4) < 1 with K1 = 1",
    "Theorem 2; its constant K1 is unknown",
    Role.PAPER,
    supported=Outcome("The theorem speaks of networks of this size.", Bearing.CONSISTENT),
    refuted=Outcome(
        "The theorem is about networks beyond any computer; its conclusion is tested instead.",
        Bearing.CONSISTENT,
    ),
)
SPREAD = Claim(
    "premise.spread",
    "At fixed expansion ell = 40 n, from n = 4 on, the WDC constants that a search finds "
    "concentrate as n grows: the width of their central 90% falls at least like n^(-1/4)",
    "Theorem 2: a layer fails with probability n_i exp(-gamma n_(i-1)) at most",
    Role.PAPER,
    supported=Outcome(
        "At fixed expansion failures become rarer with n, as the theorem's bound has it.",
        Bearing.CONSISTENT,
    ),
    refuted=Outcome("At fixed expansion the constant stays random as n grows."),
)
EXPANSION = 40
FEWEST = 50
"""Matrices of an n from which the ends of the central 90% are told."""
DEPTHS = ((2, 2), (2, 3), (3, 3), (4, 4))


@dataclass(frozen=True)
class Thresholds(Settings):
    """spread : exponent in n of the width of the central 90%.  from_n : least n of its fit."""

    spread: float
    from_n: int


@dataclass(frozen=True)
class Premise(Experiment):
    """One trial: a Gaussian layer (ell, n) and the bracket of its constant.

    For n <= 2 both ends are certified; for more columns the lower end is what a search finds.
    """

    version: ClassVar[int] = 3
    claims: ClassVar[tuple[Claim, ...]] = (PREMISE, SPREAD)
    paired: ClassVar[tuple[str, ...]] = ("budget",)
    caption: ClassVar[str] = (
        "What Theorem 2 assumes of the WDC constant, and what layers with n = 2 inputs have. (a) "
        "Certified upper ends against the number of rows ell (medians with 95% order-statistic "
        "intervals), the power law fitted to them, and the epsilon that the premise needs at some "
        "depths with its constant K1 set to 1. (b) Quantiles of lower ends over matrices at ell = "
        "40 n, by certificate for n = 2 and by search for more: they concentrate. A row w whose "
        "sign flips between two vectors next to each other gives a constant of ||w||^2/2 at least, "
        "of the order of n/(2 ell): no ell below 10^12 meets the premise for d = s = 2."
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
        bracket = wdc_lower_end(W, alpha, rng=rng, budget=self.budget)
        return [{"lower": bracket.lower, "upper": bracket.upper, "status": "ok"}]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        return {PREMISE.id: stats.trials_for_quantile()}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        own, expansion = self._own(table), self._expansion(table)
        largest = selection.largest(own, "ell")
        fitted = expansion[expansion["n"] >= limits.from_n]
        needed = premise_epsilon(2, 2)
        return [
            claims.below(
                PREMISE,
                stats.quantile(np.log10(largest["lower"] / needed)),
                0.0,
                statistic=f"median of log10(certified constant / {needed:.2g}) at the largest ell",
                tested=f"{selection.spread(largest, ('n', 'ell'))}, {len(largest)} matrices",
            ),
            claims.below(
                SPREAD,
                _narrowing(fitted),
                limits.spread,
                statistic="exponent in n of the width of the central 90% of lower ends",
                tested=f"{selection.spread(fitted, ('n', 'ell'))}, {len(fitted)} matrices",
                named=-0.5,
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
        expansion, table = self._expansion(table), self._own(table)
        figure, axes = figures.panels(2)
        constant, spread = axes
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
        cells = expansion.groupby("n")["lower"]
        places = np.array(sorted(expansion["n"].unique()))
        for q, style in ((0.95, ":"), (0.5, "-"), (0.05, ":")):
            line = {"color": figures.COLOURS[0], "marker": "o" if q == 0.5 else None}
            spread.plot(places, cells.quantile(q), style, label=f"{q:.0%} quantile", **line)
        figures.log_ticks(spread, places)
        spread.set(xlabel="n", ylabel="WDC constant (lower end)", title="(b) ell = 40 n")
        spread.set_ylim(bottom=0)
        figures.legend(spread)
        figures.legend(constant, loc="upper right")
        return figure

    def _expansion(self, table: pd.DataFrame) -> pd.DataFrame:
        """Matrices with ell = EXPANSION n."""
        rows = table[table["last_layer"] == self.last_layer]
        return rows[rows["ell"] == EXPANSION * rows["n"]]

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["n"] == self.n) & (table["last_layer"] == self.last_layer)]

    def _fit(self, table: pd.DataFrame) -> tuple[float, float]:
        """(b, a) of a ell^b through the medians of the upper ends; b = -1/2 for a single ell."""
        medians = table.groupby("ell")["upper"].median()
        if len(medians) < 2:
            return -0.5, float(medians.iloc[0] * medians.index[0] ** 0.5)
        b, log_a = np.polyfit(np.log(medians.index), np.log(medians.to_numpy()), 1)
        return float(b), float(np.exp(log_a))


def _narrowing(table: pd.DataFrame) -> stats.Estimate:
    """Exponent in n of the width of the central 90% of lower ends."""

    def exponent(rows: pd.DataFrame) -> float:
        ends = rows.groupby("n")["lower"].quantile([0.05, 0.95]).unstack()
        width = (ends[0.95] - ends[0.05]).to_numpy()
        if not (width > 0).all():
            return np.nan
        return float(np.polyfit(np.log(ends.index), np.log(width), 1)[0])

    if table["n"].nunique() < 2 or table.groupby("n").size().min() < FEWEST:
        return stats.undetermined(len(table), "bootstrap within groups")
    return stats.bootstrap(table, ["n"], exponent)
