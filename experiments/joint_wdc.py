"""Whether the joint-WDC needs ell of the order n p, and which vectors show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.conditions import (
    joint_wdc_bracket,
    joint_wdc_row_aligned,
    joint_wdc_sampled,
    joint_wdc_search,
)
from harness.ensemble import Size
from harness.experiment import Experiment, Row, Settings
from harness.matrices import check_digest, load_matrix, matrix_digest
from harness.network import LastLayer, gaussian_network
from harness.theory import truncation_alpha

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

QUADRATIC = Claim(
    "joint_wdc.quadratic",
    "The ell at which a search finds a given joint-WDC constant grows like n p along n = p",
    "A3: ell >= c (n^2 + p^2) up to logarithms",
)
LOCAL = Claim(
    "joint_wdc.local",
    "It does so between the two largest n",
    "one aligned row gives n p / ell, so that in the limit it grows no slower",
)
SAMPLED = Claim(
    "joint_wdc.sampled",
    "Random vectors show the size of the constant to within a factor 2",
    "the usual empirical check",
)
MAX_LOG_ELL = 30.0
"""Larger extrapolated values of log ell are discarded."""
PREDICTORS: dict[str, Callable[[int, int], int]] = {
    "n p": lambda n, p: n * p,
    "n + p": lambda n, p: n + p,
    "n^2 + p^2": lambda n, p: n * n + p * p,
}
"""Quantities of which the ell needed may be a power."""
ADVERSARIES = {"sampled": "random", "aligned": "row-aligned", "search": "search"}


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : the constant whose ell is looked up.

    exponent_error : tolerance of the exponent 1 in n p.
    sampled_share : least share of the constant that sampling must reach.
    """

    epsilon: float
    exponent_error: float
    sampled_share: float


@dataclass(frozen=True)
class JointWdc(Experiment):
    """One trial: B (ell, n) and C (ell, p), Gaussian or from two files; three adversaries' bounds.

    sampled : largest residual of `samples` random points.
    aligned : largest at h = x = b_i, m = y = c_i over all rows i.
    search : lower end by a search that starts near the best aligned rows and at random.
    agreement, expected_gain : of the search, see `harness.conditions.Bracket`.
    upper : certified for n = p <= 2, inf otherwise.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (QUADRATIC, LOCAL, SAMPLED)
    caption: ClassVar[str] = (
        "The joint-WDC constant of Gaussian B (ell x n) and C (ell x p), n = p. (a) What three "
        "adversaries find against the number of rows ell, at the largest n: medians over matrices "
        "with 95% order-statistic intervals; the dashed line is n p / ell, which one row aligned "
        "with all four vectors gives alone. (b) The ell at which each adversary's median falls to "
        "the epsilon of the configuration, by a power law through the medians of each n, against "
        "n, hollow where that ell is beyond those measured; dotted and dashed grey lines have "
        "slopes 1 and 2. (c) The largest of the random residuals, as a share of what the search "
        "finds, over all ell; pale bands the central 90%."
    )
    paired: ClassVar[tuple[str, ...]] = ("samples", "budget")

    n: Size
    p: Size
    ell: Size
    last_layer: LastLayer
    samples: Size
    budget: Size
    thresholds: Thresholds

    weights1: str | None
    """A .npy or .npz file with B, in place of n, p, ell and last_layer; needs `weights2`."""
    weights2: str | None
    sha256: str | None
    """Digest of both files, set by `prepared`: a changed file makes a new cell."""

    def prepared(self) -> JointWdc:
        if self.weights1 is None and self.weights2 is None:
            return self
        if self.weights1 is None or self.weights2 is None:
            raise ValueError(
                f"weights1={self.weights1}, weights2={self.weights2}: give both or neither"
            )
        B = load_matrix(self.weights1, "weights1")
        C = load_matrix(self.weights2, "weights2")
        if len(B) != len(C):
            raise ValueError(
                f"weights1={self.weights1} has {len(B)} rows, weights2={self.weights2} has "
                f"{len(C)}: must be the same number"
            )
        (ell, n), p = B.shape, C.shape[1]
        return replace(self, n=n, p=p, ell=ell, sha256=matrix_digest(B, C))

    @property
    def bytes(self) -> int:
        """Memory of B and C."""
        return 8 * self.ell * (self.n + self.p)

    def matrices(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """B, C and the product of their scalings alpha, which is 1 for files."""
        if self.weights1 is not None and self.weights2 is not None:
            B, C = load_matrix(self.weights1, "weights1"), load_matrix(self.weights2, "weights2")
            check_digest("sha256", self.sha256, (self.ell, self.n, self.p), B, C)
            return B, C, 1.0
        B = gaussian_network(rng, (self.n, self.ell), self.last_layer).weights[0]
        C = gaussian_network(rng, (self.p, self.ell), self.last_layer).weights[0]
        if self.last_layer == "gaussian":
            return B, C, 1.0
        return B, C, truncation_alpha(self.n) * truncation_alpha(self.p)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        B, C, alpha = self.matrices(rng)
        search = joint_wdc_search(B, C, alpha, rng=rng, budget=self.budget)
        upper = np.inf
        if max(self.n, self.p) <= 2 and self.n == self.p:
            upper = joint_wdc_bracket(B, C, alpha, rng=rng, budget=self.budget).upper
        return [
            {
                "sampled": joint_wdc_sampled(B, C, alpha, rng=rng, count=self.samples).lower,
                "aligned": joint_wdc_row_aligned(B, C, alpha).lower,
                "search": search.lower,
                "agreement": search.agreement,
                "expected_gain": search.expected_gain,
                "upper": upper,
                "status": "ok",  # an upper end of inf is an answer
            }
        ]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        square = self._square(table)
        largest = selection.largest(square, "n", count=2)
        tested = f"{selection.spread(square, ('n', 'ell'))}, n = p, {len(square)} pairs of matrices"
        return [
            *(
                claims.within(
                    claim,
                    self._exponent(rows, "search", "n p"),
                    *(1 - limits.exponent_error, 1 + limits.exponent_error),
                    statistic="exponent in n p of the ell at which search finds "
                    f"{limits.epsilon:g}",
                    tested=f"{selection.spread(rows, ('n', 'ell'))}, n = p, "
                    f"{len(rows)} pairs of matrices",
                )
                for claim, rows in ((QUADRATIC, square), (LOCAL, largest))
            ),
            claims.above(
                SAMPLED,
                stats.quantile(square["sampled"] / square["search"]),
                limits.sampled_share,
                statistic=f"median of random ({self.samples} points) / search",
                tested=tested,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        """Exponents of the ell needed in each predictor, and the misfits of log ell."""
        own = self._own(table)
        rows = []
        for name, words in ADVERSARIES.items():
            needed = self._needed(own, name)
            for predictor, size in PREDICTORS.items():
                entry = {"adversary": words, "ell needed as a power of": predictor}
                if len(needed) >= 3:
                    at = np.log([size(n, p) for n, p in needed])
                    ell = np.log(list(needed.values()))
                    misfit = ell - np.polyval(np.polyfit(at, ell, 1), at)
                    entry["exponent"] = str(self._exponent(own, name, predictor))
                    entry["misfit (rms of log ell)"] = f"{np.sqrt(np.mean(misfit**2)):.3f}"
                rows.append(entry)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.canvas(1, 3, width=9.5, height=3.3)
        against_ell, against_n, share = axes[0]
        square = self._square(table)
        largest = selection.largest(square, "n")
        for index, (name, words) in enumerate(ADVERSARIES.items()):
            style: Any = {"label": words, "index": index}
            figures.curve(against_ell, largest, "ell", name, stats.quantile, **style)
            needed = self._needed(square, name)
            look: Any = {"color": figures.COLOURS[index], "marker": figures.MARKERS[index]}
            against_n.plot([n for n, _ in needed], list(needed.values()), label=words, **look)
            ends = square.groupby("n")["ell"].agg(["min", "max"])
            beyond = {
                n: ell
                for (n, _), ell in needed.items()
                if not ends.loc[n, "min"] <= ell <= ends.loc[n, "max"]
            }
            against_n.plot(
                list(beyond),
                list(beyond.values()),
                linestyle="none",
                markerfacecolor="white",
                **look,
            )
        ells = np.array(sorted(largest["ell"].unique()), dtype=float)
        n = float(largest["n"].max()) if len(largest) else 1.0
        against_ell.plot(ells, n * n / ells, "--", color="black", label="n p / ell")
        against_ell.set(title=f"(a) n = p = {n:g}", ylabel="lower end of the constant")
        ns = square["n"].unique()
        for slope, line in ((1, ":"), (2, "--")):
            look = {"linestyle": line, "color": "0.5", "zorder": 0, "label": f"slope {slope}"}
            figures.reference(against_n, ns, 12 * square["n"].min(), slope, **look)
        against_n.set(title=f"(b) for epsilon = {self.thresholds.epsilon:g}", ylabel="ell needed")
        rows = square.assign(share=square["sampled"] / square["search"])
        figures.curve(share, rows, "n", "share", stats.quantile, band=True)
        share.set(title="(c) what random vectors find", ylabel="random / search", ylim=(0, 1.05))
        for ax, column in ((against_ell, "ell"), (against_n, "n"), (share, "n")):
            if ax is not share:
                figures.plain_log(ax)
            figures.log_ticks(ax, (largest if ax is against_ell else square)[column].unique())
            ax.set_xlabel("n = p" if column == "n" else column)
            figures.legend(ax, loc="lower left" if ax is against_ell else "best")
        against_ell.set_ylim(bottom=0.2 * largest["sampled"].min())  # room for the legend
        return figure

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = table[table["last_layer"] == self.last_layer]
        return rows[(rows["samples"] == self.samples) & (rows["budget"] == self.budget)]

    def _square(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = self._own(table)
        return rows[rows["n"] == rows["p"]]

    def _needed(self, table: pd.DataFrame, name: str) -> dict[tuple[int, int], float]:
        """The ell at which a power law through the medians gives epsilon, for each (n, p)."""
        medians: dict[tuple[int, int], dict[int, float]] = {}
        for (n, p, ell), median in table.groupby(["n", "p", "ell"])[name].median().items():
            medians.setdefault((n, p), {})[ell] = median
        needed = {}
        for size, by_ell in medians.items():
            if len(by_ell) >= 2 and min(by_ell.values()) > 0:
                log_ell, log_value = np.log(list(by_ell)), np.log(list(by_ell.values()))
                slope, level = np.polyfit(log_ell, log_value, 1)
                log_needed = (np.log(self.thresholds.epsilon) - level) / slope if slope < 0 else 0.0
                if 0 < log_needed < MAX_LOG_ELL:
                    needed[size] = float(np.exp(log_needed))
        return needed

    def _exponent(self, table: pd.DataFrame, name: str, predictor: str) -> stats.Estimate:
        """Exponent of the ell needed in a predictor, by a bootstrap over the matrices of a cell."""

        def statistic(rows: pd.DataFrame) -> float:
            needed = self._needed(rows, name)
            if len(needed) < 2:
                return np.nan
            at = np.log([PREDICTORS[predictor](n, p) for n, p in needed])
            return float(np.polyfit(at, np.log(list(needed.values())), 1)[0])

        return stats.bootstrap(table, ["n", "p", "ell"], statistic)
