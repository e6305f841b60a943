"""Local minima beside the truth for any n and p, as far as a hunt finds them, and who escapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Lt

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import Ensemble, Size
from harness.experiment import Experiment, Row, Settings
from harness.landscape import hunt
from harness.problem import BRANCHES, Branch, branch_name
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TRUE_LOSS = 1e-9
"""A minimum with a loss ratio below this is the truth's; there may be many of them."""

FEWEST = 5
"""An ell with fewer networks that have a spurious minimum is left out of the fit of epsilon."""

EXIST = Claim(
    "spurious.exist",
    "For n, p > 2, too, a hunt finds local minima beside the truth at the widest ell",
    "expected landscape",
)
DISTANCE = Claim(
    "spurious.distance",
    "For n, p > 2, too, the local minima close in on the four hyperbolas as fast as epsilon^(1/4)",
    "Theorem 2",
)
ESCAPE = Claim(
    "spurious.escape",
    "From every spurious minimum that is found one sign check and descent find the truth",
    "Algorithm 1, step (i)",
)


def near(branch: Branch) -> str:
    """The column with the number of spurious minima nearest to a hyperbola, such as "near_pm"."""
    return "near_" + "".join("p" if sign > 0 else "m" for sign in branch)


@dataclass(frozen=True)
class Thresholds(Settings):
    """power : greatest exponent of the worst epsilon in ell; rates : of networks."""

    power: Annotated[float, Lt(0)]
    exist_rate: float
    escape_rate: float


@dataclass(frozen=True)
class Spurious(Experiment):
    """One trial: two networks and the local minima that a hunt finds; a row for each network.

    A network may have more minima than are found, and worse ones: counts, shares and epsilons are
    lower bounds.  The epsilon of a network is that of its worst minimum, 0 with the truth alone.
    """

    claims: ClassVar[tuple[Claim, ...]] = (EXIST, DISTANCE, ESCAPE)
    caption: ClassVar[str] = (
        "Local minima beside the truth that a hunt finds in networks with n = p whose layers widen "
        "by equal factors up to ell; all numbers are lower bounds. (a) Share of networks with one. "
        "(b) Distance epsilon of a network's worst one to the nearest hyperbola, where there is "
        "one: medians, pale bands the central 90%; the black line has the slope -1/(8d) that "
        "Theorem 2 allows. (c) How many a network has, by the nearest hyperbola, ++ the true one. "
        "(d) Share of networks in which Algorithm 1, started at each of them, finds the truth "
        "after one sign check. Dots are medians, means or shares with 95% intervals."
    )

    network: Ensemble
    starts: Size
    max_steps: Size
    kappa: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        found = hunt(P, rng, self.starts)
        true = found.loss_ratio <= TRUE_LOSS
        spurious = found.is_minimum & ~true
        descent = alternating_descent(
            *(P, found.h[spurious], found.m[spurious], step_size(P, self.kappa), self.max_steps),
            sign_check="once",
            stopping=Stopping(loss_rtol=1e-8),
        )
        nearest = [branch for branch, kept in zip(found.branch, spurious, strict=True) if kept]
        row: Row = {
            "truth_found": bool(true.any()),
            "spurious": len(nearest),
            "kink_minima": int((spurious & (found.kind == "kink minimum")).sum()),
            "degenerate": int((~true & (found.kind == "degenerate")).sum()),
            **{near(branch): nearest.count(branch) for branch in BRANCHES},
            "epsilon": float(found.epsilon[spurious].max(initial=0.0)),
            "rarest_hits": int(found.hits[spurious].min()) if nearest else 0,
            "escapes": int((descent.status == Status.CONVERGED).sum()),
            "descents": found.descents,
            "lost": found.lost,
        }
        return [row]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.at_baseline(self, selection.ok(table), ("n", "p", "ell"))
        table = table.assign(some=table["spurious"] > 0, escaped=_escapes(table))
        widest = table[table["ell"] == table.groupby("n")["ell"].transform("max")]
        with_some = table[table["some"]]
        enough = with_some.groupby(["n", "ell"])["epsilon"].transform("size") >= FEWEST
        fitted, left_out = selection.unsaturated(with_some[enough], "epsilon", "n", "ell")
        grid = ("n", "d", "ell")
        largest = selection.spread(widest, grid)
        return [
            claims.above(
                EXIST,
                selection.jointly(stats.proportion, widest, "n", "some"),
                limits.exist_rate,
                statistic="share of networks in which the hunt finds one, at the worst n",
                tested=largest,
            ),
            claims.below(
                DISTANCE,
                selection.jointly(stats.power_law, fitted, "n", "ell", "epsilon"),
                limits.power,
                statistic="exponent in ell of the median worst epsilon, at the worst n",
                tested=f"{selection.spread(fitted, grid)}; {len(with_some)} of {len(table)} "
                f"networks have one{left_out}",
            ),
            claims.above(
                ESCAPE,
                selection.jointly(stats.proportion, widest, "n", "escaped"),
                limits.escape_rate,
                statistic="share of networks in which it does, from every minimum, at the worst n",
                tested=f"{largest}, kappa = {self.kappa:g}, {self.max_steps} steps",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "with a spurious minimum": lambda g: f"{(g['spurious'] > 0).mean():.2f}",
            "minima each": lambda g: f"{g['spurious'].mean():.1f}",
            "on kinks": lambda g: f"{g['kink_minima'].mean():.1f}",
            "nearest to the truth": lambda g: f"{g['near_pp'].mean():.1f}",
            "median worst epsilon": _median_epsilon,
            "escaped": lambda g: f"{_escapes(g).mean():.2f}",
        }
        return selection.summarise(selection.ok(table), ["n", "p", "d", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = selection.ok(table)
        table = table.assign(some=table["spurious"] > 0, escaped=_escapes(table))
        figure, axes = figures.canvas(2, 2, width=8.5, height=3.2)
        (share, distance), (count, escape) = axes
        base = table[(table["d"] == self.network.d) & (table["n"] == table["p"])]
        some = base[base["some"]]
        look: Any = {"by": "n", "label": "n = p = {}", "spread": 1.04}
        look["order"] = sorted(base["n"].unique())
        figures.curves(share, base, "ell", "some", stats.proportion, **look)
        figures.curves(escape, base, "ell", "escaped", stats.proportion, **look)
        figures.curves(distance, some, "ell", "epsilon", stats.quantile, band=True, **look)
        slope = 8 * self.network.d
        line: Any = {"color": "black", "label": f"slope -1/{slope}"}
        figures.reference(distance, (base["ell"].min(), base["ell"].max()), 1.0, -1 / slope, **line)
        own = base[base["n"] == self.network.n]
        for index, branch in enumerate(BRANCHES):
            column = near(branch)
            style: Any = {
                "label": branch_name(branch),
                "index": index,
                "shift": 1.04 ** (index - 1.5),
            }
            figures.curve(count, own.astype({column: float}), "ell", column, stats.mean, **style)
        share.set(ylabel="share of networks", title="(a) networks with a spurious minimum")
        distance.set(ylabel="worst epsilon of a network", title="(b) distance to the hyperbolas")
        count.set(
            ylabel="minima of a network",
            title=f"(c) by hyperbola, n = p = {self.network.n}",
        )
        escape.set(ylabel="share of networks", title="(d) escape by one check")
        for ax in (share, escape):
            ax.set_ylim(-0.02, 1.3)
            ax.set_yticks(np.linspace(0, 1, 6))
        for ax in axes.flat:
            figures.log_ticks(ax, base["ell"].unique())
            ax.set_xlabel("ell")
        figures.log_ticks(distance, [0.4, 0.5, 0.6, 0.8, 1], "y")
        figures.headroom(count, 0.3)
        figures.legend(share, ncols=3, loc="upper right")
        figures.legend(distance, loc="lower left")
        figures.legend(count, ncols=4, loc="upper right")
        figures.legend(escape, ncols=3, loc="upper left")
        return figure


def _escapes(table: pd.DataFrame) -> pd.Series:
    """Whether every spurious minimum of a network is escaped."""
    return table["escapes"] == table["spurious"]


def _median_epsilon(table: pd.DataFrame) -> str:
    """Median worst epsilon of the networks with a spurious minimum; "" if there is none."""
    some = table[table["spurious"] > 0]
    return f"{some['epsilon'].median():.3f}" if len(some) else ""
