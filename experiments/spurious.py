"""Whether one sign check and descent lead from every spurious minimum to the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape.nearness import census_minima, hunted_minima
from harness.problem import BRANCHES
from harness.ranges import Scale, Size, Together
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ESCAPED = Outcome("The sign check does what it is for.", Bearing.CONSISTENT)
TRAPPED = Outcome("Descent ends in other minima after the sign check.")
PLANE = Claim(
    "spurious.plane",
    "For n = p = 2, d = s = 2 at the widest ell, one sign check and descent find the truth from "
    "every local minimum of a network, in 95% of networks that have one beside the truth",
    "Algorithm 1, step (i)",
    Role.PRACTICE,
    supported=ESCAPED,
    refuted=TRAPPED,
)
TRAPS = Claim(
    "spurious.traps",
    "For n = p = 3 and 6, d = s = 2 and ell = 100 n, at most a tenth of networks have a local "
    "minimum from which one sign check and descent do not find the truth",
    "Algorithm 1, step (i)",
    Role.PRACTICE,
    Evidence.SEARCH,
    supported=ESCAPED,
    refuted=TRAPPED,
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """escapes : least share of networks with minima in which all are escaped.

    traps : largest share of networks in which one is not; ratio : ell/n of those networks.
    """

    escapes: float
    traps: float
    ratio: Size


@dataclass(frozen=True)
class Spurious(Experiment):
    """One trial: two networks, their local minima beside the truth, Algorithm 1 from each.

    minima : their number, of all there are for n = p = 2, otherwise of those that a hunt finds.
    checked : at how many of them the check takes other signs than the minimum's own.
    escapes : from how many of them the truth is found.
    expected, least, most : how many there are by a hunt's estimate, a lower bound on average, and
        its interval (`Hunt.expected`); their number where it is known.
    """

    version: ClassVar[int] = 4
    claims: ClassVar[tuple[Claim, ...]] = (PLANE, TRAPS)
    caption: ClassVar[str] = (
        "Algorithm 1 from local minima beside the truth, with one sign check before it descends. "
        "(a) n = p = 2, every minimum by census: share of networks in which it finds the truth "
        "from all of them, of those that have one. (b) n = p > 2: share of all networks with a "
        "minimum, among those that a hunt finds, from which it does not. Bars are 95% intervals."
    )

    network: Ensemble
    starts: Together
    max_steps: Size
    kappa: Scale
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        plane = P.n == P.p == 2
        minima = census_minima(P) if plane else hunted_minima(P, rng, self.starts)
        descent = alternating_descent(
            *(P, minima.h, minima.m, step_size(P, self.kappa), self.max_steps),
            sign_check="once",
            stopping=Stopping(loss_rtol=1e-8),
        )
        own, *others = (P.loss(i * minima.h, j * minima.m) for i, j in BRANCHES)
        row: Row = {
            "minima": len(minima.h),
            "checked": int((np.min(others, axis=0) < own).sum()),
            "escapes": int((descent.status == Status.CONVERGED).sum()),
            "expected": minima.expected,
            "least": minima.interval[0],
            "most": minima.interval[1],
        }
        return [row]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        limits, rows = self.thresholds, self._measured(cells)
        wide, many = _widest(rows).groupby("growth").size(), self._many(rows).groupby("n").size()
        return {
            PLANE.id: stats.trials_for_shares(limits.escapes, [*wide]),
            TRAPS.id: stats.trials_for_shares(limits.traps, [*many]),
        }

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        rows = _escaped(self._measured(selection.ok(table)))
        wide, many = _widest(rows), self._many(rows)
        wide = wide[wide["minima"] > 0]
        effort = f"kappa = {self.kappa:g}, {self.max_steps} steps"

        def tested(part: pd.DataFrame, method: str) -> str:
            return (
                f"{selection.spread(part, ('n', 'ell'))}, {len(part)} networks, {method}, {effort}"
            )

        return [
            claims.above(
                PLANE,
                selection.jointly(stats.proportion, wide, "growth", "escaped"),
                limits.escapes,
                statistic="share of networks with minima in which all are escaped",
                tested=tested(wide, "census"),
            ),
            claims.below(
                TRAPS,
                selection.jointly(stats.proportion, many, "n", "trapped"),
                limits.traps,
                statistic="share of networks in which one that a hunt finds is not escaped",
                tested=tested(many, f"hunts of {self.starts} starts, {_found(many)}"),
            ),
        ]

    def _measured(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of the base settings with n = p."""
        rows = selection.at_baseline(self, rows, ("n", "p", "ell", "growth"))
        return rows[rows["n"] == rows["p"]]

    def _many(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Networks with more than two dimensions, at the ratio that is judged."""
        return rows[(rows["n"] > 2) & (rows["ell"] == self.thresholds.ratio * rows["n"])]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "minima": lambda g: f"{g['minima'].mean():.1f}",
            "found of expected": _found_share,
            "other signs are better": lambda g: _share(g["checked"].sum(), g["minima"].sum()),
            "escaped": lambda g: _share(g["escapes"].sum(), g["minima"].sum()),
            "networks with minima": lambda g: (g["minima"] > 0).sum(),
            "all escaped": lambda g: _share(
                (g["escaped"] & (g["minima"] > 0)).sum(), (g["minima"] > 0).sum()
            ),
        }
        rows = _escaped(self._measured(selection.ok(table)))
        return selection.summarise(rows, ["growth", "n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        rows = _escaped(self._measured(selection.ok(table)))
        plane, many = rows[(rows["n"] == 2) & (rows["minima"] > 0)], rows[rows["n"] > 2]
        figure, (escape, trap) = figures.panels(2)
        look: Any = {"spread": 1.04}
        figures.curves(escape, plane, "ell", "escaped", stats.proportion, by="growth", **look)
        look |= {"by": "n", "label": "n = p = {}"}
        figures.curves(trap, many, "ell", "trapped", stats.proportion, **look)
        escape.set(title="(a) n = 2: all escaped", ylabel="share of networks with minima")
        trap.set(title="(b) n > 2: one is found that is not", ylabel="share of networks")
        for ax, part in ((escape, plane), (trap, many)):
            figures.log_ticks(ax, part["ell"].unique())
            ax.set(xlabel="ell", ylim=(-0.02, 1.05))
            figures.legend(ax)
        return figure


def _widest(rows: pd.DataFrame) -> pd.DataFrame:
    """Networks with n = 2 at the widest ell."""
    plane = rows[rows["n"] == 2]
    return plane[plane["ell"] == plane["ell"].max()]


def _escaped(rows: pd.DataFrame) -> pd.DataFrame:
    escaped = rows["escapes"] == rows["minima"]
    return rows.assign(escaped=escaped, trapped=~escaped)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else ""


def _found_share(rows: pd.DataFrame) -> str:
    """Minima that hunts found, of the number they expect; at most, as the estimate is low."""
    return _share(rows["minima"].sum(), rows["expected"].sum())


def _found(rows: pd.DataFrame) -> str:
    return f"which find at most {_found_share(rows) or 'none'} of the minima by Chao's estimate"
