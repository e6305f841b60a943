"""What each part of Algorithm 1 is worth, by leaving it out on the same networks and starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, descent, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import Demodulation
from harness.ranges import Count, Scale, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Arm = Literal[
    "paper",
    "check_once",
    "check_never",
    "unbalanced",
    "joint",
    "released",
    "fixed_step",
    "restarts",
]

OPTIONS: dict[str, dict[str, Any]] = {
    "check_once": {"sign_check": "once"},
    "check_never": {"sign_check": "never"},
    "unbalanced": {"balance": False},
    "joint": {"joint": True},
    "released": {"joint": True, "sign_check": "once", "balance": False},
}
"""Options of `alternating_descent` by arm; the other arms change the step or the starts."""

WORDS = {
    "paper": "as printed",
    "check_once": "sign check once",
    "check_never": "no sign check",
    "unbalanced": "no balance",
    "joint": "joint steps",
    "released": "as released",
    "fixed_step": "fixed step",
    "restarts": "restarts",
}

ONCE = Claim(
    "ablation.once",
    "One sign check before the first step changes the success rate of Algorithm 1 by less than "
    "0.05 against a check at every step, d = s = 2",
    "Algorithm 1, step (i); the authors' code checks at steps 1 and 100,000",
    Role.PRACTICE,
    supported=Outcome("The released code loses nothing by checking once.", Bearing.CONSISTENT),
    refuted=Outcome("Later checks matter."),
)
BALANCE = Claim(
    "ablation.balance",
    "Leaving out the balance changes the success rate of Algorithm 1 by less than 0.05, d = s = 2",
    "Algorithm 1, step (iv)",
    Role.PRACTICE,
    supported=Outcome("The balance is for the analysis, not for the descent."),
    refuted=Outcome("The balance matters."),
)
JOINT = Claim(
    "ablation.joint",
    "Stepping in h and m from the same point changes the success rate of Algorithm 1 by less than "
    "0.05 against alternating steps, d = s = 2",
    "Algorithm 1, steps (ii), (iii); the authors' code steps jointly",
    Role.PRACTICE,
    supported=Outcome("The released code loses nothing by stepping jointly.", Bearing.CONSISTENT),
    refuted=Outcome("Alternating steps matter."),
)
STEP = Claim(
    "ablation.step",
    "With a step that does not know ||y0||, Algorithm 1 succeeds less often by at least 0.05 when "
    "truths differ in size by a factor 10 either way, d = s = 2",
    "ours: the paper fixes eta and says nothing of sizes",
    Role.PRACTICE,
    supported=Outcome("The step has to be scaled by the observation."),
    refuted=Outcome("A fixed step serves truths of all these sizes."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within it of the true hyperbola.

    share : a part matters if leaving it out changes the success rate by more.
    """

    epsilon: Annotated[float, Gt(0)]
    share: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Ablation(Experiment):
    """One trial: two networks, a truth of random size, random starts; one row.

    arm : the variant of Algorithm 1.
    size_range : ||h0|| ||m0|| is log-uniform in [1/size_range, size_range]; a start has the
        truth's size (the paper says nothing about sizes).
    starts : number of starts of the arm "restarts"; the one with the least loss counts.
    """

    claims: ClassVar[tuple[Claim, ...]] = (ONCE, BALANCE, JOINT, STEP)
    caption: ClassVar[str] = (
        "Variants of Algorithm 1 on the same networks, truths and starts. (a) Success rate of each "
        "at each ell, with 95% Clopper-Pearson intervals. (b) Change of the success rate against "
        "the algorithm as printed, on the same trials, with 95% intervals; dotted: the "
        "change that counts as none. (c) Steps of the successful trials: medians with 95% "
        "intervals. As released: joint steps, one sign check before the first, no balance."
    )
    paired: ClassVar[tuple[str, ...]] = ("arm",)

    network: Ensemble
    arm: Arm
    kappa: Scale
    size_range: Annotated[float, Ge(1)]
    starts: Together
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        unit = self.network.problem(rng)
        root = np.sqrt(self.size_range ** rng.uniform(-1, 1))
        H, M = (root * unit_vectors(rng, self.starts, size) for size in (unit.n, unit.p))
        P = Demodulation(unit.G1, unit.G2, root * unit.h0, root * unit.m0)
        count = self.starts if self.arm == "restarts" else 1
        # The step that suits a truth of size 1
        step = descent.step_size(unit if self.arm == "fixed_step" else P, self.kappa)
        solution = descent.alternating_descent(
            *(P, H[:count], M[:count], step, self.max_steps),
            engine="tracking",
            stopping=descent.Stopping(loss_rtol=1e-12),
            **OPTIONS.get(self.arm, {}),
        )
        best = int(np.argmin(np.nan_to_num(solution.loss, nan=np.inf)))
        total = {"steps": int(solution.steps.sum()), "flips": int(solution.flips.sum())}
        return [{"size": root**2} | descent.row(P, solution, best) | total]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        share = self.thresholds.share
        table = self._with_success(selection.at_baseline(self, table, ("n", "p", "arm", "ell")))
        table = table[table["n"] == table["p"]]

        def change(arm: str) -> dict[str, stats.Estimate]:
            return selection.jointly(partial(_change, arm=arm), table, ["n", "ell"])

        def tested(arm: str) -> dict[str, Any]:
            own = table[table["arm"].isin([arm, "paper"])]
            return {
                "statistic": f"change of the success rate, {WORDS[arm]} - {WORDS['paper']}, by "
                "size",
                "tested": f"{len(own)} trials; {selection.spread(own, ('n', 'ell', 'd', 'kappa'))}",
            }

        return [
            claims.within(ONCE, change("check_once"), -share, share, **tested("check_once")),
            claims.within(BALANCE, change("unbalanced"), -share, share, **tested("unbalanced")),
            claims.within(JOINT, change("joint"), -share, share, **tested("joint")),
            claims.below(STEP, change("fixed_step"), -share, **tested("fixed_step")),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "trials": len,
            "success": lambda g: f"{g['success'].mean():.3f}",
            "interval": lambda g: stats.proportion(g["success"]).interval(".3f"),
            "median steps": lambda g: g.loc[g["success"], "steps"].median(),
            "diverged": lambda g: int((g["status"] == "diverged").sum()),
        }
        table = self._with_success(table)
        table = table.assign(variant=table["arm"].map(WORDS))
        return selection.summarise(table, ["n", "variant", "ell"], values, sort=False)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._with_success(selection.at_baseline(self, table, ("arm", "ell")))
        figure, axes = figures.panels(3)
        arms = [arm for arm in WORDS if (table["arm"] == arm).any()]
        ells = sorted(table["ell"].unique())
        for index, ell in enumerate(ells):
            cell = table[table["ell"] == ell]
            offset = 0.8 * ((index + 0.5) / len(ells) - 0.5)
            places = [at + offset for at in range(len(arms))]
            groups = [cell[cell["arm"] == arm] for arm in arms]
            won = [group.loc[group["success"], "steps"] for group in groups]
            values = (
                [stats.proportion(group["success"]) for group in groups],
                [_change(cell, arm) for arm in arms],
                [stats.quantile(steps) for steps in won],
            )
            for ax, points in zip(axes, values, strict=True):
                style: Any = {"label": f"ell = {ell}", "index": index, "line": False}
                figures.estimates(ax, places, points, **style)
        rates, changes, steps = axes
        for sign in (-1, 1):
            changes.axhline(sign * self.thresholds.share, color="black", linestyle=":", linewidth=1)
        rates.set(
            ylabel="success rate",
            ylim=(-0.02, 1.02),
            title=f"(a) success, n = p = {self.network.n}",
        )
        changes.set(ylabel="change of the success rate", title="(b) against the printed algorithm")
        steps.set(ylabel="steps", title="(c) cost of a success")
        figures.plain_log(steps)
        for ax in axes:
            ax.set_xticks(range(len(arms)), labels=[WORDS[arm] for arm in arms], rotation=40)
            for label in ax.get_xticklabels():
                label.set_horizontalalignment("right")
            ax.grid(False, axis="x")
        handles, labels = changes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
        return figure

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """With a column `success`; a dead network (epsilon_true NaN) is a trial without success."""
        return table.assign(success=table["epsilon_true"] <= self.thresholds.epsilon)


def _change(table: pd.DataFrame, arm: str, level: float = stats.LEVEL) -> stats.Estimate:
    """Change of the success rate over all ell from the printed algorithm to an arm."""
    wide = table.pivot_table(
        index=["ell", "trial"], columns="arm", values="success", aggfunc="first"
    )
    if not {arm, "paper"} <= set(wide.columns):
        return stats.undetermined(0, "Clopper-Pearson, paired")
    pairs = wide[[arm, "paper"]].dropna().to_numpy(dtype=bool)
    return stats.paired_change(pairs[:, 0], pairs[:, 1], level=level)
