"""Whether Algorithm 1 asks for Gaussian weights: its needed length under other laws."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, descent, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.identifiability import identifiability
from harness.ranges import Count, Scale
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LENGTH = Claim(
    "laws.length",
    "For n = p = 10, d = s = 2 and inner widths 12 n, the ell at which half of the random starts "
    "of Algorithm 1 succeed is the same for weights with orthogonal rows, sparse, heavy-tailed or "
    "quantised to 4 bits as for Gaussian weights, to a factor 1.15",
    "the theorems assume approximately Gaussian weights",
    Role.CONTROL,
    supported=Outcome("What Algorithm 1 needs is universal among these laws.", Bearing.SHARPER),
    refuted=Outcome("For some law Algorithm 1 needs another length.", Bearing.HYPOTHESIS_NEEDED),
)
PLATEAU = Claim(
    "laws.plateau",
    "For n = p = 10, d = s = 2, inner widths 12 n and ell = 800, Algorithm 1 succeeds from one "
    "random start in 95% of networks under each of these laws",
    "the theorems assume approximately Gaussian weights",
    Role.CONTROL,
    supported=Outcome("With long signals the law of the weights does not matter.", Bearing.SHARPER),
    refuted=Outcome(
        "Under some law Algorithm 1 fails however long the signal.", Bearing.HYPOTHESIS_NEEDED
    ),
)
GAUSSIAN = "gaussian"


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an end within this relative distance of the true hyperbola.

    factor : needed lengths that differ by at most this factor count as equal.
    share : success rate that is asked for at ell = `long`.
    """

    epsilon: Annotated[float, Gt(0)]
    factor: Annotated[float, Gt(1)]
    share: Annotated[float, Gt(0)]
    long: int


@dataclass(frozen=True)
class Laws(Experiment):
    """One trial: two networks of one law, a truth, one random start of its size; gives one row."""

    claims: ClassVar[tuple[Claim, ...]] = (LENGTH, PLATEAU)
    caption: ClassVar[str] = (
        "Algorithm 1 on networks whose weights are not Gaussian, with the same variances, n = p = "
        "10, d = s = 2, inner widths 12 n. (a) Success rate from one random start against ell, "
        "with 95% Clopper-Pearson intervals. (b) The ell of half success under each law over that "
        "of Gaussian weights, with 95% intervals; dashed: what counts as the same."
    )

    network: Ensemble
    kappa: Scale
    max_steps: Count
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        radius = np.sqrt(np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
        solution = descent.alternating_descent(
            P,
            radius * unit_vectors(rng, 1, P.n),
            radius * unit_vectors(rng, 1, P.p),
            step=descent.step_size(P, self.kappa),
            max_steps=self.max_steps,
            engine="tracking",
        )
        return [asdict(identifiability(P)) | descent.row(P, solution)]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        level = stats.simultaneous(cells["law"].fillna(GAUSSIAN).nunique())
        return {PLATEAU.id: stats.trials_for_proportion(self.thresholds.share, level=level)}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._with_success(table)
        longest = table[table["ell"] == limits.long]
        gaussian = table[table["law"] == GAUSSIAN]
        others = table[table["law"] != GAUSSIAN]

        def tested(rows: pd.DataFrame) -> str:
            laws = ", ".join(sorted(rows["law"].unique()))
            late = (rows["status"] == Status.MAX_STEPS).mean()
            where = selection.spread(rows, ("n", "ell", "d", "c"))
            return f"{laws}; {where}; {len(rows)} networks, {late:.1%} ended at the step limit"

        return [
            claims.within(
                LENGTH,
                selection.jointly_redrawn(
                    partial(selection.crossing_ratio, others=gaussian), others, "law"
                ),
                *(1 / limits.factor, limits.factor),
                statistic="ell of half success over that of Gaussian weights, by law",
                tested=tested(table),
            ),
            claims.above(
                PLATEAU,
                selection.jointly(stats.proportion, longest, "law", "found"),
                limits.share,
                statistic=f"success rate at ell = {limits.long}, by law",
                tested=tested(longest),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "success": lambda g: f"{g['found'].mean():.3f}",
            "interval": lambda g: stats.proportion(g["found"]).interval(".3f"),
            "identifiable": lambda g: f"{g['full_rank'].mean():.3f}",
            "active rows": selection.median("active_rows", "g"),
            "median steps": lambda g: g.loc[g["found"], "steps"].median(),
        }
        return selection.summarise(self._with_success(table), ["law", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(2)
        rates, ratios = axes
        findings = self.findings(table)
        table = self._with_success(table)
        figures.curves(rates, table, "ell", "found", stats.proportion, by="law", spread=1.01)
        figures.log_ticks(rates, table["ell"].unique())
        rates.set(xlabel="ell", ylabel="success rate", title="(a) success by law")
        figures.legend(rates, loc="lower right")
        members = findings[0].members
        places = list(range(len(members)))
        figures.estimates(ratios, places, [m.estimate for m in members], line=False)
        ratios.set_xticks(places, labels=[m.label.removeprefix("law = ") for m in members])
        for limit in (1 / self.thresholds.factor, self.thresholds.factor):
            ratios.axhline(limit, color="0.5", linestyle="--")
        ratios.axhline(1, color="0.5", linewidth=0.8)
        ratios.set(title="(b) needed ell", ylabel="over that of Gaussian weights", yscale="log")
        figures.plain_log(ratios)
        return figure

    def _with_success(self, table: pd.DataFrame) -> pd.DataFrame:
        """The design's networks; one with nothing to measure has no epsilon_true: a failure."""
        rows = selection.at_baseline(self, table, ("ell", "law", "last_layer"))
        found = rows["epsilon_true"] <= self.thresholds.epsilon
        law = rows["law"].fillna(GAUSSIAN) if "law" in rows else GAUSSIAN
        return rows.assign(found=found, law=law)
