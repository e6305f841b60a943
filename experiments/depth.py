"""Whether Algorithm 1 needs inner layers that expand: what of A2 and A3 is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, descent, figures, selection, stats
from harness.claims import Claim, Finding
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXPANSIVE = Claim(
    "depth.expansive",
    "With inner widths c n log n Algorithm 1 succeeds at every depth once ell is large",
    "A2, A3; no theorem on the algorithm",
)
CONSTANT = Claim(
    "depth.constant",
    "With inner layers no wider than the latent space it fails all the same",
    "A2 is needed",
)
CONTRACTIVE = Claim(
    "depth.contractive",
    "With inner layers narrower than the latent space it fails all the same",
    "A2 is needed: G is not injective",
)
FITS = Claim(
    "depth.fits",
    "Where it fails it does not fit the observation either",
    "the failures are of descent, not of identification",
)

SHAPES = {
    "log": "c n log n",
    "expansive": "c n",
    "constant": "c n",
    "contractive": "c n",
}
"""Kinds of inner layers, and their widths in words."""
FITTED = 1e-9
"""Loss, relative to f on K, up to which the observation counts as fitted."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within it of the true hyperbola.

    success_rate, failure_rate : least rates that count as "it succeeds" and "it fails".
    """

    epsilon: Annotated[float, Gt(0)]
    success_rate: float
    failure_rate: float


@dataclass(frozen=True)
class Depth(Experiment):
    """One trial: two networks with d = s layers, a truth, one random start; one row."""

    claims: ClassVar[tuple[Claim, ...]] = (EXPANSIVE, CONSTANT, CONTRACTIVE, FITS)
    caption: ClassVar[str] = (
        "Algorithm 1 from one random start, each trial on networks of its own, against ell, for "
        "d = s = 2, 3, 4 layers, by inner widths: c n_{i-1} log n_{i-1}, as A2 asks, and c "
        "n_{i-1}, expanding (c > 1), constant, and narrower than the latent space (c < 1). Shares "
        "of trials that end on the true hyperbola, with 95% Clopper-Pearson intervals; hollow, "
        "dashed: that fit the observation."
    )

    network: Ensemble
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
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
        )
        narrowest = min(min(widths[1:-1], default=0) for widths in self.network.widths())
        return [{"narrowest": narrowest} | descent.row(P, solution)]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.largest(table, "ell")
        drawn = {name: table[shape(table) == name] for name in SHAPES}
        drawn["narrow"] = table[shape(table).isin(["constant", "contractive"])]
        shapes = {name: self._with_success(rows) for name, rows in drawn.items()}
        failed = shapes["narrow"][~shapes["narrow"]["success"]]

        def rates(rows: pd.DataFrame, column: str, holds: bool) -> dict[str, stats.Estimate]:
            answers = rows.assign(answer=rows[column] == holds)
            return selection.jointly(stats.proportion, answers, ["n", "c", "d"], "answer")

        def tested(name: str) -> str:
            where = selection.spread(shapes[name], ("n", "d", "ell", "c", "kappa"))
            return f"{len(shapes[name])} trials; {where}{selection.unmeasured(drawn[name])}"

        return [
            claims.above(
                EXPANSIVE,
                rates(shapes["log"], "success", True),
                limits.success_rate,
                statistic="success rate at the largest ell, at the worst depth",
                tested=tested("log"),
            ),
            claims.above(
                CONSTANT,
                rates(shapes["constant"], "success", False),
                limits.failure_rate,
                statistic="failure rate at the largest ell, at the worst depth",
                tested=tested("constant"),
            ),
            claims.above(
                CONTRACTIVE,
                rates(shapes["contractive"], "success", False),
                limits.failure_rate,
                statistic="failure rate at the largest ell, at the worst depth",
                tested=tested("contractive"),
            ),
            claims.below(
                FITS,
                rates(failed, "fitted", True),
                1 - limits.failure_rate,
                statistic="share of the failures with a loss ratio below 1e-9, at the worst c, d",
                tested=f"{len(failed)} failures among {tested('narrow')}",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        table = self._with_success(table)
        rule = np.where(table["growth"] == "log", "c n log n", "c n")
        table = table.assign(widths=rule + table["c"].map(", c = {:g}".format))
        headings = {"n": "n", "widths": "inner widths", "d": "d = s", "ell": "ell"}
        values: dict[str, Any] = {
            "narrowest": lambda g: int(g["narrowest"].max()),
            "success": lambda g: str(stats.proportion(g["success"])),
            "fitted": lambda g: f"{g['fitted'].mean():.2f}",
            "median loss ratio": lambda g: f"{stats.quantile(g['loss_ratio']).value:.2g}",
        }
        return selection.summarise(table, headings, values, sort=False)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._with_success(table)
        table = table.assign(shape=shape(table))
        table = table[table["n"] == self.network.n]
        order = table["shape"].map(list(SHAPES).index)
        panels = [part for _, part in table.groupby([order, -table["c"]])]
        figure, axes = figures.canvas(1, max(len(panels), 1), width=2.7 * len(panels), height=3.2)
        for ax, part in zip(axes[0], panels, strict=False):
            kind, c = part[["shape", "c"]].iloc[0]
            self._draw(ax, part, f"{SHAPES[kind]}, c = {c:g}")
        return figure

    def _draw(self, ax: Axes, table: pd.DataFrame, title: str) -> None:
        for group, style in figures.styled(table, "d", spread=1.03):
            figures.curve(ax, group, "ell", "success", stats.proportion, **style)
            fitted = group.groupby("ell")["fitted"].mean()
            look: Any = {"color": figures.COLOURS[style["index"] % len(figures.COLOURS)]}
            ax.plot(fitted.index * style["shift"], fitted, "o--", mfc="none", linewidth=1, **look)
        figures.log_ticks(ax, table["ell"].unique())
        ax.set(xlabel="ell", ylabel="share of trials", title=title)
        ax.set(ylim=(-0.03, 1.3), yticks=np.linspace(0, 1, 6))
        figures.legend(ax, title="d = s", ncols=2, loc="upper left")

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """The trials with something to recover (narrow networks are often dead), judged."""
        table = table[~table["status"].isin([Status.DEAD_NETWORK, Status.ZERO_OBSERVATION])]
        return table.assign(
            success=table["epsilon_true"] <= self.thresholds.epsilon,
            fitted=table["loss_ratio"] <= FITTED,
        )


def shape(table: pd.DataFrame) -> pd.Series:
    """The kind of inner layers, one of `SHAPES`, of each row."""
    names = table["growth"].where(table["growth"] == "log", "expansive")
    factor = table["growth"] == "factor"
    names = names.mask(factor & (table["c"] == 1), "constant")
    return names.mask(factor & (table["c"] < 1), "contractive")
