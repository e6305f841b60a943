"""Where descents end: near the four hyperbolas, as Theorem 1's corollary has it, or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.descent import SignCheck, alternating_descent, step_size
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import BRANCHES, branch_name
from harness.ranges import Count, Scale
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEAR = Claim(
    "capture.near",
    "For d = s = 2 and ell = 160 n, a descent without sign checks from a random start ends within "
    "epsilon = 0.5 of one of the four hyperbolas in 95% of networks, n = p = 5 to 20",
    "Theorem 1 leaves descent nowhere else to end",
    Role.PAPER,
    supported=Outcome("Descent is captured where the theorem says.", Bearing.CONSISTENT),
    refuted=Outcome(
        "At such sizes descent ends elsewhere too: the theorem's premise is needed.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
TRUTH = Claim(
    "capture.truth",
    "For d = s = 2 and ell = 160 n, Algorithm 1 with its sign checks ends at the true hyperbola in "
    "95% of networks, n = p = 5 to 20",
    "Algorithm 1; no theorem",
    Role.PRACTICE,
    supported=Outcome("From a random start the sign checks suffice at such sizes."),
    refuted=Outcome("Even at such sizes Algorithm 1 gets stuck in more than one network in 20."),
)
BENEFIT = Claim(
    "capture.benefit",
    "At the ell where about half of the descents succeed, the rise of the success rate that sign "
    "checks bring falls with n = p, d = s = 2",
    "Algorithm 1, step (i); spurious minima disappear with n at fixed ell/n",
    Role.SHARPER,
    supported=Outcome("Sign checks matter in small dimensions only.", Bearing.SHARPER),
    refuted=Outcome("Sign checks matter no less in larger dimensions."),
    headline=True,
)
CHECKS: tuple[SignCheck, ...] = ("every", "never")


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an end within it of the true hyperbola; near : of any hyperbola.

    share : of networks.  long : ell / n from which the first two claims are judged.
    trend : slope in log n below which the benefit of sign checks falls.
    """

    epsilon: Annotated[float, Gt(0)]
    near: Annotated[float, Gt(0)]
    share: Annotated[float, Gt(0)]
    long: Annotated[float, Gt(0)]
    trend: float


@dataclass(frozen=True)
class Capture(Experiment):
    """One trial: two networks, a truth, one random start of its size; a row with both descents.

    With CHECK every and never:

    epsilon_CHECK : least epsilon with the end in A_epsilon of the true hyperbola.
    nearest_CHECK, epsilon_nearest_CHECK : the nearest of the four hyperbolas, and its epsilon.
    """

    claims: ClassVar[tuple[Claim, ...]] = (NEAR, TRUTH, BENEFIT)
    caption: ClassVar[str] = (
        "Ends of descents from one random start a network, d = s = 2, inner widths 12 n. (a) "
        "Without sign checks, at ell = 160 n: share of ends within epsilon of the true hyperbola, "
        "of one of the other three, and elsewhere. (b) Success with and without sign checks at the "
        "ell where about half succeed, and at ell = 160 n. (c) What the sign checks add at the "
        "former, on the same networks and starts. Bars are 95% intervals."
    )

    network: Ensemble
    kappa: Scale
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        radius = np.sqrt(np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
        h_init, m_init = radius * unit_vectors(rng, 1, P.n), radius * unit_vectors(rng, 1, P.p)
        row: Row = {}
        for check in CHECKS:
            solution = alternating_descent(
                P,
                h_init,
                m_init,
                step=step_size(P, self.kappa),
                max_steps=self.max_steps,
                sign_check=check,
                engine="tracking",
            )
            distances = [float(P.neighbourhood(solution.h, solution.m, b)[0]) for b in BRANCHES]
            place = int(np.argmin(distances))
            row |= {
                f"epsilon_{check}": distances[0],
                f"nearest_{check}": branch_name(BRANCHES[place]),
                f"epsilon_nearest_{check}": distances[place],
                f"steps_{check}": int(solution.steps[0]),
                f"status_{check}": str(solution.status[0]),
            }
        return [row | {"flips": int(solution.flips[0]), "status": "ok"}]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        sizes = int((cells["ell"] >= self.thresholds.long * cells["n"]).sum())
        share = stats.trials_for_proportion(self.thresholds.share, level=stats.simultaneous(sizes))
        return {NEAR.id: share, TRUTH.id: share}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._with_success(table)
        long, half = self._parts(table)

        def tested(rows: pd.DataFrame) -> str:
            capped = int((rows["status_every"] == Status.MAX_STEPS).sum())
            return (
                f"{selection.spread(rows, ('n', 'ell', 'd'))}, n = p, {len(rows)} networks, one "
                f"start each; {capped} ended at max_steps"
            )

        return [
            claims.above(
                NEAR,
                selection.jointly(stats.proportion, long, "n", "captured"),
                limits.share,
                statistic=f"share of ends within epsilon = {limits.near:g} of a hyperbola, by n",
                tested=tested(long),
            ),
            claims.above(
                TRUTH,
                selection.jointly(stats.proportion, long, "n", "every"),
                limits.share,
                statistic="share of ends at the true hyperbola, by n",
                tested=tested(long),
            ),
            claims.below(
                BENEFIT,
                _trend(half),
                limits.trend,
                statistic="slope in log n of (success with checks - success without)",
                tested=tested(half),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "with checks": lambda g: f"{g['every'].mean():.3f}",
            "without": lambda g: f"{g['never'].mean():.3f}",
            "near a hyperbola, without": lambda g: f"{g['captured'].mean():.3f}",
            "nearest of the others": lambda g: _nearest(g),
        }
        return selection.summarise(self._with_success(table), ["n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(3)
        ends, rates, gain = axes
        table = self._with_success(table)
        long, half = self._parts(table)
        kinds = {
            "the truth": long["never"],
            "another hyperbola": long["captured"] & ~long["never"],
            "elsewhere": ~long["captured"] & ~long["never"],
        }
        for index, (label, holds) in enumerate(kinds.items()):
            look: Any = {"label": label, "index": index}
            figures.curve(ends, long.assign(kind=holds), "n", "kind", stats.proportion, **look)
        ends.axhline(1 - self.thresholds.share, color="0.5", linestyle="--")
        for index, (rows, where) in enumerate(((half, "half succeed"), (long, "ell = 160 n"))):
            for place, check in enumerate(CHECKS):
                look = {"label": f"{where}, {check}", "index": 2 * index + place}
                figures.curve(rates, rows, "n", check, stats.proportion, **look)
        places = sorted(half["n"].unique())
        changes = [_change(half[half["n"] == n]) for n in places]
        figures.estimates(gain, places, changes)
        gain.axhline(0, color="0.5")
        ends.set(title="(a) ends without sign checks", ylabel="share of networks", ylim=(0, 1.02))
        rates.set(title="(b) ends at the truth", ylabel="success rate", ylim=(0, 1.02))
        gain.set(title="(c) what sign checks add", ylabel="rise of the success rate")
        for ax in axes:
            figures.log_ticks(ax, table["n"].unique())
            ax.set_xlabel("n = p")
            figures.legend(ax)
        return figure

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """Networks with something to measure; success with either kind of check, and capture."""
        rows = selection.at_baseline(self, selection.ok(table), ("n", "p", "ell"))
        rows = rows[rows["n"] == rows["p"]]
        success = {check: rows[f"epsilon_{check}"] <= self.thresholds.epsilon for check in CHECKS}
        return rows.assign(
            **success, captured=rows["epsilon_nearest_never"] <= self.thresholds.near
        )

    def _parts(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of long signals, and those of the ell of half success: the shorter ones."""
        long = table["ell"] >= self.thresholds.long * table["n"]
        return table[long], table[~long]


def _change(rows: pd.DataFrame) -> stats.Estimate:
    return stats.paired_change(rows["every"], rows["never"])


def _nearest(rows: pd.DataFrame) -> str:
    failed = rows[~rows["never"]]
    return ", ".join(f"{k}: {v}" for k, v in failed["nearest_never"].value_counts().items())


def _trend(rows: pd.DataFrame) -> stats.Estimate:
    """Least-squares slope of the paired change in log n; networks are redrawn within n."""

    def slope(drawn: pd.DataFrame) -> float:
        change = drawn["every"].astype(float) - drawn["never"].astype(float)
        return float(np.polyfit(np.log(drawn["n"]), change, 1)[0]) if len(drawn) else np.nan

    if rows["n"].nunique() < 2:
        return stats.undetermined(len(rows), "bootstrap within groups")
    return stats.bootstrap(rows, ["n"], slope)
