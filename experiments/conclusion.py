"""Whether all local minima lie near the four hyperbolas, and whether the conditions foretell it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import claims, figures, scaling, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.conditions import joint_wdc_search, wdc_bracket, wdc_search
from harness.ensemble import Ensemble, Size
from harness.experiment import Experiment, Row, Settings
from harness.landscape.nearness import census_minima, hunted_minima, theorem_radius
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAILS = Outcome(
    "The theorem's conclusion fails at this epsilon where its premise is not met.",
    Bearing.HYPOTHESIS_NEEDED,
)
HOLDS = Outcome("The conclusion holds far beyond the theorem's premise.", Bearing.CONSISTENT)
PLANE = Claim(
    "conclusion.plane",
    "For n = p = 2, d = s = 2 at the widest ell, at most a tenth of networks have a local minimum "
    "outside A_epsilon of the four hyperbolas, epsilon = 1/2, be it on kinks of both or anywhere",
    "Theorem 2",
    Role.PAPER,
    supported=HOLDS,
    refuted=FAILS,
)
NONE = Claim(
    "conclusion.none",
    "For n = p = 12 and 20, d = s = 2 and ell = 100 n, at most a tenth of networks have a local "
    "minimum outside A_epsilon, epsilon = 1/2",
    "Theorem 2",
    Role.PAPER,
    Evidence.SEARCH,
    supported=HOLDS,
    refuted=FAILS,
)
FADES = Claim(
    "conclusion.fades",
    "For d = s = 2 and fixed ell/n, the share of networks in which two hunts find a local minimum "
    "outside A_epsilon, epsilon = 1/2, is smaller at n = p = 20 than at n = p = 3 by at least 1/2",
    "concentration in n, beside that in ell",
    supported=Outcome("Minima far out are a matter of few dimensions.", Bearing.SHARPER),
    refuted=Outcome("Minima far out do not go away with the dimension."),
    headline=True,
)
FORETOLD = Claim(
    "conclusion.foretold",
    "For n = p = 2, d = s = 2, of two networks of one size the one with the larger condition "
    "constant tends to have the worse local minimum: rank correlation at least 0.2",
    "Theorem 2 bounds the distance of stationary points by these constants",
    supported=Outcome("The conditions measure what decides the landscape.", Bearing.CONSISTENT),
    refuted=Outcome("At these sizes the constants say little of a network's landscape."),
)
CONSTANTS = {
    "wdc_first": "WDC of first layers, certified",
    "wdc": "WDC of all layers, by search",
    "joint": "joint-WDC of last layers, by search",
}
CURVE = np.arange(1, 10) / 10
"""Values of epsilon at which shares of networks are drawn."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : of A, outside which minima are counted.

    share : largest share of networks with one; fall : of that share, from the least n to the
    largest; correlation : least rank correlation.
    ratio : ell/n of the networks in which none is to be found; from_n : the least of their n.
    """

    epsilon: Annotated[float, Gt(0), Le(1)]
    share: float
    fall: float
    correlation: float
    ratio: Size
    from_n: Size


@dataclass(frozen=True)
class Conclusion(Experiment):
    """One trial: two networks, their local minima beside the truth, the conditions' constants.

    For n = p = 2 the minima are all there are, by census; otherwise those that two independent
    hunts find together.

    minima : their number; first, second, both : what each of the hunts found, and both of them.
    known : of the census' minima, the number that the hunts found; NaN without a census.
    expected, least, most : how many the hunts expect, a lower bound on average, and its interval.
    epsilon, kinks : distance to the nearest hyperbola of the worst of them, and of the worst on
        kinks of both networks; 0 if there is none.
    radius : of the worst, `theorem_radius`.
    wdc_first, wdc, joint : lower ends of the conditions' constants, the greater of both networks'.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (PLANE, NONE, FADES, FORETOLD)
    caption: ClassVar[str] = (
        "Theorem 2's conclusion without its premise, d = s = 2: share of networks with a local "
        "minimum outside A_epsilon of the four hyperbolas. (a), (b) n = p = 2, all minima by "
        "census, two rules for the inner widths. Black, at the widest ell: minima on kinks of both "
        "networks alone (dotted), and outside neighbourhoods in the proportions 1 : 32 : 32 : 1024 "
        "of the theorem's radii, epsilon being the largest (dashed). (c) n = p > 2, what two hunts "
        "find. (d) The share at one epsilon against n. (e) Recall: share of the minima of one hunt "
        "that the other finds too, mean of networks; an upper estimate, as easy minima are found "
        "twice. (f) Rank correlation, among networks of one size, of a condition's constant with "
        "the worst epsilon. Bars are 95% intervals."
    )

    network: Ensemble
    starts: Size
    budget: Size
    replica: Annotated[int, Ge(0)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        first, second = (hunted_minima(P, rng, self.starts) for _ in range(2))
        hunts = first.joined(second)
        plane = P.n == P.p == 2
        minima = census_minima(P) if plane else hunts
        row: Row = {
            "minima": len(minima.h),
            "first": len(first.h),
            "second": len(second.h),
            "both": int(second.among(first).sum()),
            "known": float(minima.among(hunts).sum()) if plane else np.nan,
            "expected": hunts.expected,
            "least": hunts.interval[0],
            "most": hunts.interval[1],
            "epsilon": float(minima.epsilon.max(initial=0)),
            "kinks": float(minima.epsilon[minima.both_kinks].max(initial=0)),
            "radius": float(theorem_radius(P, minima.h, minima.m).max(initial=0)),
            "status": "ok",  # `known` may be NaN
        }
        return [row | self._constants(P, rng)]

    def _constants(self, P: Demodulation, rng: np.random.Generator) -> Row:
        """Lower ends: of first layers with two columns certified within 1%, else by search."""

        def wdc(W: Array) -> float:
            if W.shape[1] <= 2:
                return wdc_bracket(W).lower
            return wdc_search(W, rng=rng, budget=self.budget).lower

        layers = [[wdc(W) for W in G.weights] for G in (P.G1, P.G2)]
        B, C = P.G1.weights[-1], P.G2.weights[-1]
        return {
            "wdc_first": max(first for first, *_ in layers),
            "wdc": max(map(max, layers)),
            "joint": joint_wdc_search(B, C, rng=rng, budget=self.budget).lower,
        }

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        rows = self._measured(cells)
        families = {
            PLANE: _widest(self._plane(rows)).groupby("growth").size().repeat(2),
            NONE: self._beyond(rows).groupby("n").size(),
        }
        share = self.thresholds.share
        return {
            claim.id: ceil(
                stats.trials_for_proportion(share, level=stats.simultaneous(len(replicas)))
                / replicas.min()
            )
            for claim, replicas in families.items()
            if len(replicas)
        }

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        rows = self._measured(selection.ok(table))
        rows["far"] = rows["epsilon"] > limits.epsilon
        plane, many, beyond = self._plane(rows), self._many(rows), self._beyond(rows)
        wide = _widest(plane)
        outside = f"share of networks with one outside A_{limits.epsilon:g}"
        places = {
            "anywhere": wide["epsilon"] > limits.epsilon,
            "on kinks of both": wide["kinks"] > limits.epsilon,
        }
        kinds = wide[["growth"]].assign(**places).melt("growth", var_name="where")
        size = plane["growth"] + plane["ell"].astype(str)
        level = stats.simultaneous(len(CONSTANTS))

        def tested(part: pd.DataFrame, method: str = "census") -> str:
            return f"{selection.spread(part, ('n', 'ell'))}, {len(part)} networks, {method}"

        def hunts(part: pd.DataFrame) -> str:
            expected = part["minima"].sum() / max(part["expected"].sum(), 1)
            recall = f"{_recall(part):.2f} of the other's minima, both at most {expected:.2f} of "
            recall += "all by Chao's estimate"
            return tested(part, f"two hunts, each finding {recall}")

        return [
            claims.below(
                PLANE,
                selection.jointly(stats.proportion, kinds, ["growth", "where"], "value"),
                limits.share,
                statistic=outside,
                tested=tested(wide),
            ),
            claims.below(
                NONE,
                selection.jointly(stats.proportion, beyond, "n", "far"),
                limits.share,
                statistic=outside,
                tested=hunts(beyond),
            ),
            claims.below(
                FADES,
                selection.jointly(_fall, many, "ratio"),
                -limits.fall,
                statistic=f"{outside}: at the largest n less at the least, by ell/n",
                tested=hunts(many),
            ),
            claims.above(
                FORETOLD,
                {
                    label: scaling.rank_correlation(
                        size, plane[name], plane["epsilon"], level=level
                    )
                    for name, label in CONSTANTS.items()
                },
                limits.correlation,
                statistic="rank correlation with the worst epsilon within a size",
                tested=tested(plane),
            ),
        ]

    def _measured(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of the base settings with n = p; `ratio` is ell/n."""
        rows = selection.at_baseline(self, rows, ("n", "p", "ell", "growth", "replica"))
        return rows[rows["n"] == rows["p"]].assign(ratio=rows["ell"] / rows["n"])

    def _plane(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["n"] == 2]

    def _many(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[(rows["n"] > 2) & (rows["growth"] == self.network.growth)]

    def _beyond(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Networks in which hunts are to find nothing far out."""
        many, limits = self._many(rows), self.thresholds
        return many[(many["n"] >= limits.from_n) & (many["ratio"] == limits.ratio)]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "minima": lambda g: f"{g['minima'].mean():.1f}",
            "recall, other hunt": lambda g: f"{_recall(g):.2f}",
            "recall, census": lambda g: f"{g['known'].sum(min_count=1) / g['minima'].sum():.2f}",
        }
        for epsilon in (0.3, 0.5, 0.7):
            heading = f"outside A_{epsilon:g}"
            values[heading] = lambda g, e=epsilon: f"{(g['epsilon'] > e).mean():.2f}"
            values[f"{heading}, kinks"] = lambda g, e=epsilon: f"{(g['kinks'] > e).mean():.2f}"
        for name, label in CONSTANTS.items():
            values[label] = lambda g, name=name: f"{g[name].median():.2f}"
        rows = self._measured(selection.ok(table))
        return selection.summarise(rows, ["growth", "n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        rows = self._measured(selection.ok(table))
        rows["far"] = rows["epsilon"] > self.thresholds.epsilon
        plane, ratio = self._plane(rows), self.thresholds.ratio
        figure, axes = figures.panels(6)
        *top, fading, recall, foretold = axes
        for ax, letter, growth in zip(top, "ab", ("proportional", "geometric"), strict=False):
            own = plane[plane["growth"] == growth]
            _draw_curves(ax, own, "ell")
            for column, line in (("kinks", ":"), ("radius", "--")):
                shares = [(_widest(own)[column] > epsilon).mean() for epsilon in CURVE]
                ax.plot(CURVE, shares, color="black", linestyle=line)
            ax.set_title(f"({letter}) n = 2, {growth} widths")
        many = self._many(rows)
        _draw_curves(top[2], many[many["ratio"] == ratio], "n")
        top[2].set_title(f"(c) hunts, ell = {ratio} n")
        for index, (of, group) in enumerate(many.groupby("ratio")):
            look: Any = {"label": f"ell = {of:g} n", "index": index}
            figures.curve(fading, group, "n", "far", stats.proportion, **look)
            found = group[group["second"] > 0]
            found = found.assign(recall=found["both"] / found["second"])
            figures.curve(recall, found, "n", "recall", stats.mean, **look)
        title = f"(d) outside $A_{{{self.thresholds.epsilon:g}}}$, against $n$"
        fading.set(ylabel="share of networks", title=title)
        recall.set(ylabel="share of the other's minima", title="(e) what one hunt finds")
        for ax in (fading, recall):
            figures.log_ticks(ax, many["n"].unique())
            ax.set(xlabel="n = p", ylim=(-0.02, 1.05))
        _draw_foretold(foretold, plane)
        for ax in axes:
            figures.legend(ax)
        return figure


def _draw_curves(ax: Axes, rows: pd.DataFrame, by: str) -> None:
    """Share of networks with a minimum outside A_epsilon against epsilon, a curve a size."""
    for group, style in figures.styled(rows, by, label=f"{by} = {{}}"):
        shares = [stats.proportion(group["epsilon"] > epsilon) for epsilon in CURVE]
        figures.estimates(ax, [*CURVE], shares, label=style["label"], index=style["index"])
    ax.set(xlabel="epsilon", ylabel="share of networks", ylim=(-0.02, 1.05))


def _draw_foretold(ax: Axes, plane: pd.DataFrame) -> None:
    """Rank correlation of each constant with the worst epsilon, by ell."""
    for index, (name, label) in enumerate(CONSTANTS.items()):
        found = {
            ell * 1.04**index: scaling.rank_correlation(cell["growth"], cell[name], cell["epsilon"])
            for ell, cell in plane.groupby("ell")
        }
        figures.estimates(ax, list(found), list(found.values()), label=label, index=index)
    figures.log_ticks(ax, plane["ell"].unique())
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set(xlabel="ell", ylabel="rank correlation", title="(f) constants and outcome, n = 2")


def _widest(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["ell"] == rows["ell"].max()]


def _recall(rows: pd.DataFrame) -> float:
    """Share of the minima of one hunt that the other found too; NaN if there are none."""
    return float(rows["both"].sum() / rows["second"].sum()) if rows["second"].any() else np.nan


def _fall(rows: pd.DataFrame, level: float) -> stats.Estimate:
    """Share of networks with a minimum far out: at the largest n less at the least."""
    least, largest = (rows.loc[rows["n"] == n, "far"] for n in (rows["n"].min(), rows["n"].max()))
    return stats.contrast(largest, least, stats.difference_of_means, level=level)
