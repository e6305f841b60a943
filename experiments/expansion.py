"""How much the first layer has to expand, as A2 asks: where the truth becomes identifiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import scipy
from annotated_types import Gt

from harness import claims, descent, figures, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.identifiability import identifiability
from harness.ranges import Count, Replica, Scale
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = "the n_1/n at which half the trials of Algorithm 1 succeed"

INFORMATION = Claim(
    "expansion.information",
    f"At d = s = 2, n = p and ell = 100 n, {NEEDED} is at most 1.25 times the one at which half "
    "the truths are identifiable",
    "A2; h0 is determined only if n units of the first layer are active at it",
    role=Role.PAPER,
    supported=Outcome("Expansion is needed for information alone.", Bearing.HYPOTHESIS_NEEDED),
    refuted=Outcome("Descent needs more expansion than information does.", Bearing.SHARPER),
)
GROWTH = Claim(
    "expansion.growth",
    f"At d = s = 2, n = p and ell = 100 n, {NEEDED} does not grow with n",
    "A2 asks for n_1 of the order n log n",
    role=Role.PAPER,
    supported=Outcome("The logarithm of A2 is sufficient, not necessary.", Bearing.SHARPER),
    refuted=Outcome("Expansion has to grow with n, as A2 asks.", Bearing.CONSISTENT),
    headline=True,
)
SHARP = Claim(
    "expansion.sharp",
    "At d = s = 2, n = p and ell = 100 n, the range of n_1/n from 10% to 90% success, on a log "
    "scale, shrinks as n grows",
    "no theorem; the number of active units fluctuates by n^(-1/2) of itself",
    supported=Outcome("Success has a sharp threshold in n_1/n.", Bearing.SHARPER),
    refuted=Outcome("Success fades over a fixed range of n_1/n.", Bearing.SHARPER),
)
DEPTH = Claim(
    "expansion.depth",
    "At n = p = 20, n_i = 4 n_{i-1} and ell = 100 n, Algorithm 1 succeeds in 75% of the trials at "
    "d = s = 2, 3 and 4",
    "A2 and A3 at every depth; no theorem on the algorithm",
    role=Role.PRACTICE,
    supported=Outcome("Success holds with depth at matched expansion."),
    refuted=Outcome("Depth costs success although every layer expands."),
)
NARROW = Claim(
    "expansion.narrow",
    "At n = p = 10 with constant or contractive layers, n_i = n_{i-1} or n_{i-1}/2, where truths "
    "are not identifiable, Algorithm 1 does not fit the observation either",
    "A2 is dropped",
    role=Role.CONTROL,
    supported=Outcome("Narrow layers trap descent besides losing the truth."),
    refuted=Outcome("Descent fits the observation at points that are not the truth."),
)

FITTED = 1e-9
"""Largest loss, relative to f on K, that counts as a fit."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within it of the true hyperbola.

    excess : largest ratio of the n_1/n of success to that of identifiability.
    growth : an exponent in n up to it is no growth.
    sharpening : an exponent in n below minus it is shrinking.
    success_rate, fitted_rate : least rate of success; largest share of fits that is none.
    """

    epsilon: Annotated[float, Gt(0)]
    excess: Annotated[float, Gt(1)]
    growth: float
    sharpening: Annotated[float, Gt(0)]
    success_rate: float
    fitted_rate: float


@dataclass(frozen=True)
class Expansion(Experiment):
    """One trial: two networks, a truth, one random start; cells of a `replica` are more of it."""

    claims: ClassVar[tuple[Claim, ...]] = (INFORMATION, GROWTH, SHARP, DEPTH, NARROW)
    caption: ClassVar[str] = (
        "Algorithm 1 from one random start at ell = 100 n, each trial on networks of its own with "
        "inner widths n_i = c n_{i-1}. (a) d = s = 2: share of successes; hollow: of truths that "
        "are identifiable, by rank; dashed: P(at least n of n_1 units active)^2. (b) The n_1/n of "
        "one half, for success and for identifiable truths. (c) Log of the n_1/n of 90% success "
        "over that of 10%. (d) Success over depth. (e) Constant and contractive layers, where no "
        "truth is identifiable: share of trials that fit the observation. Bars: 95% intervals."
    )

    network: Ensemble
    kappa: Scale
    max_steps: Count
    replica: Replica
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        solution = descent.alternating_descent(
            P,
            unit_vectors(rng, 1, P.n),
            unit_vectors(rng, 1, P.p),
            step=descent.step_size(P, self.kappa),
            max_steps=self.max_steps,
            engine="tracking",
            stopping=descent.Stopping(loss_rtol=1e-12),
        )
        return [descent.row(P, solution) | asdict(identifiability(P))]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, drawn = self.thresholds, self._arms(table)
        arms = {name: self._judged(rows) for name, rows in drawn.items()}
        wide, at = arms["wide"], "n_1/n of half the trials"

        def tested(name: str) -> str:
            where = selection.spread(arms[name], ("n", "ell", "d", "c", "kappa"))
            late = (arms[name]["status"] == Status.MAX_STEPS).mean()
            words = f"{len(arms[name])} trials; {where}; {late:.2%} ended at the step limit"
            return words + selection.unmeasured(drawn[name])

        return [
            claims.below(
                INFORMATION,
                selection.jointly_redrawn(_excess, wide, "n"),
                limits.excess,
                statistic=f"{at} that succeed / that are identifiable",
                tested=tested("wide"),
            ),
            claims.below(
                GROWTH,
                selection.jointly_redrawn(lambda rows: _exponent(*_needed(rows)), wide, "d"),
                limits.growth,
                statistic=f"exponent of the {at} in n",
                tested=tested("wide"),
            ),
            claims.below(
                SHARP,
                selection.jointly_redrawn(lambda rows: _exponent(*_window(rows)), wide, "d"),
                -limits.sharpening,
                statistic="exponent of log(n_1/n of 90% / n_1/n of 10%) in n",
                tested=tested("wide"),
                named=-0.5,
            ),
            claims.above(
                DEPTH,
                selection.jointly(stats.proportion, arms["deep"], "d", "found"),
                limits.success_rate,
                statistic="success rate",
                tested=tested("deep"),
            ),
            claims.below(
                NARROW,
                selection.jointly(stats.proportion, arms["narrow"], ["c", "d"], "fitted"),
                limits.fitted_rate,
                statistic="share of trials with a loss ratio below 1e-9",
                tested=tested("narrow"),
            ),
        ]

    def trials_needed(self, cells: pd.DataFrame) -> Mapping[str, int]:
        arms, limits = self._arms(cells), self.thresholds
        rates = {DEPTH: ("deep", limits.success_rate), NARROW: ("narrow", limits.fitted_rate)}
        return {
            claim.id: stats.trials_for_proportion(rate, level=stats.simultaneous(len(arms[name])))
            for claim, (name, rate) in rates.items()
        }

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        keys = {"d": "d = s", "n": "n", "c": "n_1 / n", "ell": "ell"}
        values: dict[str, Any] = {
            "layers": lambda rows: _word(float(rows["c"].iloc[0])),
            "success": lambda rows: str(stats.proportion(rows["found"])),
            "identifiable": lambda rows: f"{rows['full_rank'].mean():.3f}",
            "enough active": lambda rows: f"{_chance(*rows[['n', 'c']].iloc[0]):.3g}",
            "success if identifiable": lambda rows: str(
                stats.proportion(rows.loc[rows["full_rank"], "found"])
            ),
            "fitted": lambda rows: f"{rows['fitted'].mean():.3f}",
            "at step limit": lambda rows: f"{(rows['status'] == Status.MAX_STEPS).mean():.3f}",
        }
        return selection.summarise(self._judged(table), keys, values)

    def figure(self, table: pd.DataFrame) -> Figure:
        arms = {name: self._judged(rows) for name, rows in self._arms(table).items()}
        figure = figures.sheet(figures.WIDE, 6.2)
        axes = figure.subplot_mosaic("aa;bc;de")
        _draw_rates(axes["a"], arms["wide"])
        _draw_needed(axes["b"], arms["wide"])
        sizes, window = _window(arms["wide"])
        figures.redraws(axes["c"], sizes, window)
        figures.log_ticks(axes["c"], sizes)
        axes["c"].set(xlabel="n = p", ylabel="log(n_1/n of 90% / of 10%)", title="(c) transition")
        axes["c"].set_ylim(bottom=0)
        deep = self._judged(table[table["c"] == self.network.c])
        figures.curves(axes["d"], deep, "d", "found", stats.proportion, by="n", label="n = {}")
        axes["d"].set(ylabel="success rate", title="(d) c = 4")
        for group, style in figures.styled(arms["narrow"], "c", order=[1.0, 0.5]):
            style["label"] = _word(float(group["c"].iloc[0]))
            figures.curve(axes["e"], group, "d", "fitted", stats.proportion, **style)
        axes["e"].set(ylabel="share that fits", title="(e) controls")
        for name in "de":
            axes[name].set(xlabel="d = s", xticks=sorted(table["d"].unique()), ylim=(0, 1.05))
        for ax in axes.values():
            figures.legend(ax)
        return figure

    def _arms(self, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Rows, or cells: of the transition at the base depth, over depth, of narrow layers."""
        base = (table["n"] == self.network.n) & (table["c"] == self.network.c)
        return {
            "wide": table[(table["d"] == self.network.d) & (table["c"] > 1)],
            "deep": table[base],
            "narrow": table[table["c"] <= 1],
        }

    def _judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """The trials with something to recover (narrow networks are often dead), judged."""
        table = table[~table["status"].isin([Status.DEAD_NETWORK, Status.ZERO_OBSERVATION])]
        return table.assign(
            found=table["epsilon_true"] <= self.thresholds.epsilon,
            fitted=table["loss_ratio"] <= FITTED,
            full_rank=table["full_rank"].eq(True),
        )


def _word(c: float) -> str:
    return "expansive" if c > 1 else f"{'constant' if c == 1 else 'contractive'}, c = {c:g}"


def _chance(n: float, c: float) -> float:
    """P(at least n of the n_1 = c n units of the first layer are active)^2: both networks."""
    return float(scipy.stats.binom.sf(n - 1, np.ceil(round(c * n, 9)), 0.5) ** 2)


def _needed(rows: pd.DataFrame, column: str = "found", rate: float = 0.5) -> tuple[Array, Array]:
    """Sorted n (K,), and the n_1/n (1 + R, K) at which the column's rate is `rate`."""
    return selection.crossings(rows, "n", "c", column, rate)


def _excess(rows: pd.DataFrame) -> Array:
    pairs = [(rows["c"], rows["found"]), (rows["c"], rows["full_rank"])]
    found, identifiable = stats.crossings(pairs).T
    return np.asarray(found / identifiable)


def _window(rows: pd.DataFrame) -> tuple[Array, Array]:
    """Sorted n, and the log of the n_1/n of 90% over that of 10%; both are of the same redraws."""
    sizes, high = _needed(rows, rate=0.9)
    return sizes, np.log(high / _needed(rows, rate=0.1)[1])


def _exponent(sizes: Array, values: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # a redraw may cross neither rate
        return stats.line(np.log(sizes), np.log(values))[1]


def _draw_rates(ax: Axes, wide: pd.DataFrame) -> None:
    for group, style in figures.styled(wide, "n", label="n = {}"):
        figures.curve(ax, group, "c", "found", stats.proportion, **style)
        look: Any = {"color": figures.COLOURS[style["index"] % len(figures.COLOURS)]}
        places = np.linspace(1, 6, 101)
        ax.plot(places, [_chance(group["n"].iloc[0], c) for c in places], "--", linewidth=1, **look)
        share = group.groupby("c")["full_rank"].mean()
        ax.plot(share.index, share, "o", markerfacecolor="none", **look)
    figures.log_ticks(ax, wide["c"].unique())
    ax.set(xlabel="n_1 / n", ylabel="share of trials", title="(a) success and identifiable truths")


def _draw_needed(ax: Axes, wide: pd.DataFrame) -> None:
    for index, (column, label) in enumerate(
        {"found": "success", "full_rank": "identifiable"}.items()
    ):
        sizes, needed = _needed(wide, column)
        figures.redraws(ax, sizes, needed, index=index, label=label)
        if index == 0 and len(sizes):
            law = needed[0, 0] * np.log(sizes) / np.log(sizes[0])
            ax.plot(sizes, law, "k--", linewidth=1, label="A2: log n")
    figures.log_ticks(ax, wide["n"].unique())
    ax.set(
        xlabel="n = p", ylabel="n_1 / n of half the trials", title="(b) threshold", ylim=(1.5, 4.5)
    )
