"""Whether all local minima lie near the four hyperbolas, and whether the conditions foretell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Le

from harness import claims, figures, scaling, selection, stats
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape.nearness import (
    census_minima,
    condition_constants,
    hunted_minima,
    proved_epsilon,
    theorem_radius,
)
from harness.ranges import Replica, Size, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAILS = Outcome("The conclusion fails where the premise is not met.", Bearing.HYPOTHESIS_NEEDED)
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
CURVE = np.arange(1, 10) / 10  # values of epsilon


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : of A, outside which minima are counted; share : largest share of networks with one.

    fall : of that share, from the least n to the largest; correlation : least rank correlation.
    ratio, from_n : ell/n and least n of the networks in which none is to be found.
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
    proved_least, proved_most : proved bounds of the worst epsilon, for n = p = 2 and
        ell <= certify; NaN otherwise.
    wdc_first, wdc, joint : lower ends of the conditions' constants, the greater of both networks'.
    """

    version: ClassVar[int] = 4
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
    starts: Together
    budget: Size
    certify: Replica
    replica: Replica
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        first, second = (hunted_minima(P, rng, self.starts) for _ in range(2))
        hunts = first.joined(second)
        plane = P.n == P.p == 2
        minima = census_minima(P) if plane else hunts
        proved = plane and P.ell <= self.certify
        least, most = proved_epsilon(P) if proved else (np.nan, np.nan)
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
            "proved_least": least,
            "proved_most": most,
            "status": "ok",  # some may be NaN
        }
        return [row | condition_constants(P, rng, self.budget)]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        _, plane, _, beyond = self._parts(cells)
        wide = selection.largest(plane, "ell").groupby("growth").size()
        needed = {PLANE: [*wide, *wide], NONE: [*beyond.groupby("n").size()]}
        share = self.thresholds.share
        return {claim.id: stats.trials_for_shares(share, k) for claim, k in needed.items()}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        _, plane, many, beyond = self._parts(self._measured(table))
        wide = selection.largest(plane, "ell")
        outside = f"share of networks with one outside A_{limits.epsilon:g}"
        kinds = {
            "anywhere": wide["epsilon"] > limits.epsilon,
            "on kinks of both": wide["kinks"] > limits.epsilon,
        }
        found = wide[["growth"]].assign(**kinds).melt("growth", var_name="where")
        places = selection.jointly(stats.proportion, found, ["growth", "where"], "value")
        far = selection.jointly(stats.proportion, beyond, "n", "far")
        size = plane["growth"] + plane["ell"].astype(str)
        level = stats.simultaneous(len(CONSTANTS))
        foretold = {
            label: scaling.rank_correlation(size, plane[name], plane["epsilon"], level=level)
            for name, label in CONSTANTS.items()
        }
        return [
            claims.below(PLANE, places, limits.share, statistic=outside, tested=_census(wide)),
            claims.below(NONE, far, limits.share, statistic=outside, tested=_hunts(beyond)),
            claims.below(
                FADES,
                selection.jointly(_fall, many, "ratio"),
                -limits.fall,
                statistic=f"{outside}: at the largest n minus at the smallest n, by ell/n",
                tested=_hunts(many),
            ),
            claims.above(
                FORETOLD,
                foretold,
                limits.correlation,
                statistic="rank correlation with the worst epsilon within a size",
                tested=_census(plane),
            ),
        ]

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows with something to measure; `far`: with a minimum outside A_epsilon."""
        rows = selection.ok(table)
        return rows.assign(far=rows["epsilon"] > self.thresholds.epsilon)

    def _parts(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
        """Base settings with n = p: all, n = 2, larger n, and where hunts are to find nothing."""
        rows = selection.at_baseline(self, rows, ("n", "p", "ell", "growth", "replica"))
        rows = rows[rows["n"] == rows["p"]].assign(ratio=rows["ell"] / rows["n"])
        many = rows[(rows["n"] > 2) & (rows["growth"] == self.network.growth)]
        limits = self.thresholds
        beyond = many[(many["n"] >= limits.from_n) & (many["ratio"] == limits.ratio)]
        return rows, rows[rows["n"] == 2], many, beyond

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "minima": lambda g: f"{g['minima'].mean():.1f}",
            "recall, other hunt": lambda g: f"{_recall(g):.2f}",
            "recall, census": lambda g: f"{g['known'].sum(min_count=1) / g['minima'].sum():.2f}",
        }
        for epsilon in (0.3, 0.5, 0.7):
            heading = f"outside A_{epsilon:g}"
            values[heading] = selection.share("epsilon", above=epsilon)
            values[f"{heading}, kinks"] = selection.share("kinks", above=epsilon)
        far = self.thresholds.epsilon
        values[f"proved outside A_{far:g}"] = selection.share("proved_least", above=far)
        values[f"proved inside A_{far:g}"] = selection.share("proved_most", up_to=far)
        values |= {label: selection.median(name, ".2f") for name, label in CONSTANTS.items()}
        rows, *_ = self._parts(self._measured(table))
        return selection.summarise(rows, ["growth", "n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        _, plane, many, _ = self._parts(self._measured(table))
        ratio = self.thresholds.ratio
        figure, axes = figures.panels(6)
        *top, fading, recall, foretold = axes
        for ax, letter, growth in zip(top, "ab", ("proportional", "geometric"), strict=False):
            own = plane[plane["growth"] == growth]
            figures.exceedances(ax, own, "epsilon", CURVE, by="ell", label="ell = {}")
            for column, line in (("kinks", ":"), ("radius", "--")):
                shares = [
                    (selection.largest(own, "ell")[column] > epsilon).mean() for epsilon in CURVE
                ]
                ax.plot(CURVE, shares, color="black", linestyle=line)
            ax.set_title(f"({letter}) n = 2, {growth} widths")
        long = many[many["ratio"] == ratio]
        figures.exceedances(top[2], long, "epsilon", CURVE, by="n", label="n = {}")
        top[2].set_title(f"(c) hunts, ell = {ratio} n")
        for index, (of, group) in enumerate(many.groupby("ratio")):
            look: Any = {"label": f"ell = {of:g} n", "index": index}
            figures.curve(fading, group, "n", "far", stats.proportion, **look)
            found = group[group["second"] > 0]
            found = found.assign(recall=found["both"] / found["second"])
            figures.curve(recall, found, "n", "recall", stats.mean, **look)
        far = f"$A_{{{self.thresholds.epsilon:g}}}$"
        fading.set_title(f"(d) outside {far}, against $n$")
        for ax in (*top, fading):
            ax.set_ylabel("share of networks")
        recall.set(ylabel="share of the other's minima", title="(e) what one hunt finds")
        for ax in (fading, recall):
            figures.log_ticks(ax, many["n"].unique())
            ax.set(xlabel="n = p", ylim=(-0.02, 1.05))
        _draw_foretold(foretold, plane)
        for ax in axes:
            figures.legend(ax)
        return figure


def _draw_foretold(ax: Axes, plane: pd.DataFrame) -> None:
    """Rank correlation of each constant with the worst epsilon, by ell."""
    sizes = dict(iter(plane.groupby("ell")))
    outcomes = [(cell["growth"], cell["epsilon"], cell) for cell in sizes.values()]
    for index, (name, label) in enumerate(CONSTANTS.items()):
        found = [scaling.rank_correlation(by, cell[name], worst) for by, worst, cell in outcomes]
        figures.estimates(ax, [ell * 1.04**index for ell in sizes], found, label=label, index=index)
    figures.log_ticks(ax, plane["ell"].unique())
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set(xlabel="ell", ylabel="rank correlation", title="(f) constants and outcome, n = 2")


def _census(part: pd.DataFrame, method: str = "census") -> str:
    return f"{selection.spread(part, ('n', 'ell'))}, {len(part)} networks, {method}"


def _hunts(part: pd.DataFrame) -> str:
    expected = part["minima"].sum() / max(part["expected"].sum(), 1)
    found = f"{_recall(part):.2f} of the other's minima, both at most {expected:.2f} of all"
    return _census(part, f"two hunts, each finding {found} by Chao's estimate")


def _recall(rows: pd.DataFrame) -> float:
    """Share of the minima of one hunt that the other found too; NaN if there are none."""
    return float(rows["both"].sum() / rows["second"].sum()) if rows["second"].any() else np.nan


def _fall(rows: pd.DataFrame, level: float) -> stats.Estimate:
    """Share of networks with a minimum far out: at the largest n minus at the smallest n."""
    least, largest = (rows.loc[rows["n"] == n, "far"] for n in (rows["n"].min(), rows["n"].max()))
    return stats.contrast(largest, least, stats.difference_of_means, level=level)
