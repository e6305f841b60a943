"""How large the WDC constant of a matrix is, against its shape and the law of its entries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.conditions import wdc_bracket, wdc_sampled, wdc_search
from harness.experiment import Experiment, Row, Settings
from harness.matrices import Matrix, Size
from harness.ranges import Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RATE = Claim(
    "wdc.rate",
    "For n = 2 the WDC constant of a Gaussian matrix falls like ell^(-1/2)",
    "A2 asks for ell >= c n log n at a fixed constant; concentration gives the rate",
    Role.SHARPER,
    supported=Outcome("The constant has the rate of the fluctuation of a mean.", Bearing.SHARPER),
    refuted=Outcome("The constant falls at another rate than a mean fluctuates."),
)
SHAPE = Claim(
    "wdc.shape",
    "For n = 10..40 at fixed ell/n, what a search finds of the WDC constant of a Gaussian matrix "
    "does not depend on n, as sqrt(n / ell) without a logarithm has it",
    "A2 asks for n_i >= c n_(i-1) log n_(i-1)",
    Role.SHARPER,
    supported=Outcome("A2's logarithm is not seen up to n = 40.", Bearing.SHARPER),
    refuted=Outcome("At fixed ell/n the constant changes with n.", Bearing.CONSISTENT),
)
HEAVY = Claim(
    "wdc.heavy",
    "For n = 2 the WDC constant of a matrix with heavy-tailed entries (Student t with 3 degrees "
    "of freedom) of the same covariance falls at least like ell^(-1/4)",
    "Theorem 2 is for Gaussian weights, Theorem 3 for all that meet the conditions",
    Role.CONTROL,
    supported=Outcome("Gaussian tails are not needed for the WDC.", Bearing.SHARPER),
    refuted=Outcome("With heavy tails the WDC does not improve so.", Bearing.HYPOTHESIS_NEEDED),
)
SPARSE = Claim(
    "wdc.sparse",
    "For n = 2 the WDC constant of a matrix with sparse entries of the same covariance stays "
    "above 0.4 however large ell is",
    "rows on the axes have another mean than Q; Theorem 2 is for Gaussian weights",
    Role.CONTROL,
    supported=Outcome(
        "Covariance alone does not give the WDC: directions of rows matter.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
    refuted=Outcome("Sparse rows meet the WDC too."),
)
SAMPLED = Claim(
    "wdc.sampled",
    "For Gaussian matrices with n >= 5 the largest residual over random pairs of vectors is at "
    "least nine tenths of what a search finds of the WDC constant",
    "the usual empirical check of such a condition",
    Role.PRACTICE,
    supported=Outcome("Random pairs tell the constant."),
    refuted=Outcome("Random pairs understate the constant: they are no check of the condition."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """exponent_error, shape_error : tolerances of the exponents in ell and in n.

    falls : exponent in ell below which a constant falls; stays : what it stays above.
    sampled_share : share of the constant that sampling must reach.
    """

    exponent_error: float
    shape_error: float
    falls: float
    stays: float
    sampled_share: float


@dataclass(frozen=True)
class Wdc(Experiment):
    """One trial: a matrix, its bracket, and the lower ends by search and by sampling alone.

    lower, upper : `wdc_bracket`; upper is inf for n > 4.
    search, sampled : lower ends by search and over `samples` random pairs.
    budget : steps of the search's chains, for each column.
    agreement, expected_gain : of the search, see `harness.conditions.Bracket`.
    """

    version: ClassVar[int] = 3
    claims: ClassVar[tuple[Claim, ...]] = (RATE, SHAPE, HEAVY, SPARSE, SAMPLED)
    caption: ClassVar[str] = (
        "The WDC constant of random matrices. (a) n = 2, certified: upper end of the bracket "
        "(within 1% of the lower one) against the number of rows ell for several laws of the "
        "entries; medians over matrices with 95% order-statistic intervals, pale bars the central "
        "90%; the grey line has slope -1/2. (b) Gaussian matrices with ell = 40 n and ell = 160 n: "
        "lower end by search against n (upper ends are certified for n <= 4 only). (c) The largest "
        "residual over random pairs, as a share of the best lower end: what sampling understates."
    )
    paired: ClassVar[tuple[str, ...]] = ("samples", "budget", "boxes")

    network: Matrix
    samples: Together
    budget: Size
    boxes: Annotated[int, Ge(36), Le(10**9)]
    thresholds: Thresholds

    def prepared(self) -> Wdc:
        return replace(self, network=self.network.prepared())

    def trial(self, rng: np.random.Generator) -> list[Row]:
        W, alpha = self.network.sample(rng), self.network.alpha
        effort = self.budget * W.shape[1]
        search = bracket = wdc_search(W, alpha, rng=rng, budget=effort)
        if W.shape[1] <= 4:
            bracket = wdc_bracket(W, alpha, rng=rng, budget=effort, boxes=self.boxes)
        return [
            {
                "rows_per_column": W.shape[0] / W.shape[1],
                "alpha": alpha,
                "lower": max(bracket.lower, search.lower),
                "upper": bracket.upper,
                "search": search.lower,
                "agreement": search.agreement,
                "expected_gain": search.expected_gain,
                "sampled": wdc_sampled(W, alpha, rng=rng, count=self.samples).lower,
                "status": "ok",  # an upper end of inf is an answer
            }
        ]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        plane, many = self._plane(cells), self._gaussian(cells)
        sizes = {SPARSE.id: (plane["law"] == "sparse").sum(), SAMPLED.id: (many["n"] >= 5).sum()}
        return {
            claim: stats.trials_for_quantile(level=stats.simultaneous(int(count)))
            for claim, count in sizes.items()
        }

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        plane, shapes, many = self._plane(table), self._shapes(table), self._gaussian(table)
        gaussian, heavy, sparse = (
            plane[plane["law"] == law] for law in ("gaussian", "heavy", "sparse")
        )
        many = many[many["n"] >= 5]
        shares = many.assign(share=many["sampled"] / many["lower"])

        def tested(rows: pd.DataFrame) -> str:
            return f"{selection.spread(rows, ('n', 'ell', 'law'))}, {len(rows)} matrices"

        fall = "exponent in ell of the median certified upper end, n = 2"
        return [
            claims.within(
                RATE,
                stats.power_law(gaussian["ell"], gaussian["upper"]),
                *(-0.5 - limits.exponent_error, -0.5 + limits.exponent_error),
                statistic=fall,
                tested=tested(gaussian),
                named=-0.5,
            ),
            claims.within(
                SHAPE,
                selection.jointly(stats.power_law, shapes, "rows_per_column", "n", "lower"),
                *(-limits.shape_error, limits.shape_error),
                statistic="exponent in n of the median lower end, by ell/n",
                tested=f"{tested(shapes)}, by search",
            ),
            claims.below(
                HEAVY,
                stats.power_law(heavy["ell"], heavy["upper"]),
                limits.falls,
                statistic=fall,
                tested=tested(heavy),
                named=-0.5,
            ),
            claims.above(
                SPARSE,
                selection.jointly(stats.quantile, sparse, "ell", "lower"),
                limits.stays,
                statistic="median certified lower end, n = 2, by ell",
                tested=tested(sparse),
            ),
            claims.above(
                SAMPLED,
                selection.jointly(stats.quantile, shares, ["n", "ell"], "share"),
                limits.sampled_share,
                statistic=f"median of sampled ({self.samples} pairs) / best lower end, by size",
                tested=tested(many),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "matrices": len,
            f"sampled ({self.samples})": selection.median("sampled", ".4g"),
            "search": selection.median("search", ".4g"),
            "lower": selection.median("lower", ".4g"),
            "upper": selection.median("upper", ".4g"),
            "expected gain": lambda g: f"{g['expected_gain'].mean():.3f}",
        }
        return selection.summarise(table, ["law", "n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(3)
        laws, shapes, sampled = axes
        plane, gaussian = self._plane(table), self._gaussian(table)
        look: Any = {"statistic": stats.quantile, "band": True}
        figures.curves(laws, plane, "ell", "upper", by="law", spread=1.04, **look)
        top = plane.loc[plane["law"] == "gaussian", "upper"].max()
        figures.reference(laws, plane["ell"], top, -0.5, color="0.6", label="slope -1/2", zorder=0)
        laws.set(title="(a) n = 2, certified", ylabel="WDC constant")
        ratios = self._shapes(table)
        words = "ell = {:g} n"
        figures.curves(shapes, ratios, "n", "lower", by="rows_per_column", label=words, **look)
        shapes.set(title="(b) Gaussian, by search", ylabel="lower end")
        shares = gaussian.assign(share=gaussian["sampled"] / gaussian["lower"])
        figures.curve(sampled, shares, "n", "share", **look)
        sampled.set(title="(c) what sampling finds", ylim=(0, 1.05))
        sampled.set_ylabel(f"{self.samples} samples / search")
        for ax, column, rows in (
            (laws, "ell", plane),
            (shapes, "n", ratios),
            (sampled, "n", shares),
        ):
            if ax is not sampled:
                figures.plain_log(ax)
            figures.log_ticks(ax, rows[column].unique())
            ax.set_xlabel(column)
            if ax is not sampled:
                figures.headroom(ax, 0.35)
            figures.legend(ax, **({"loc": "upper right", "ncols": 2} if ax is laws else {}))
        return figure

    def _plane(self, table: pd.DataFrame) -> pd.DataFrame:
        """Matrices of all laws with n = 2, whose constants are certified."""
        base = selection.at_baseline(self, table, ("n", "ell", "law"))
        return base[base["n"] == 2]

    def _gaussian(self, table: pd.DataFrame) -> pd.DataFrame:
        base = selection.at_baseline(self, table, ("n", "ell", "law"))
        return base[base["law"] == "gaussian"]

    def _shapes(self, table: pd.DataFrame) -> pd.DataFrame:
        """Gaussian matrices with n >= 10, at ratios ell/n that at least two n share."""
        rows = self._gaussian(table)
        rows = rows[rows["n"] >= 10]
        several = rows.groupby("rows_per_column")["n"].transform("nunique") >= 2
        return rows[several]
