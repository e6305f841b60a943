"""How large the joint-WDC constant is: one aligned row, and the fluctuation of all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.conditions import (
    joint_wdc_bracket,
    joint_wdc_row_aligned,
    joint_wdc_sampled,
    joint_wdc_search,
)
from harness.experiment import Experiment, Row, Settings
from harness.matrices import Matrix, check_digest, load_pair, matrix_digest
from harness.network import LastLayer
from harness.ranges import Size, Together
from harness.scaling import relative_fit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LAW = Claim(
    "joint_wdc.law",
    "For Gaussian matrices with n = p, what a search finds of the joint-WDC constant is the sum of "
    "two terms, a M n p / ell of one row and b sqrt((n + p) / ell) of all rows: fitted to smaller "
    "n, the law holds at the largest",
    "docs/aligned-row.md; A3 has ell of the order of n^2 + p^2, up to logarithms",
    Role.SHARPER,
    supported=Outcome(
        "One long row and the fluctuation of the others explain the constant at sizes that the fit "
        "has not seen.",
        Bearing.SHARPER,
    ),
    refuted=Outcome("Something else adds to the constant, or takes from it, as matrices grow."),
    headline=True,
)
ROW = Claim(
    "joint_wdc.row",
    "For Gaussian matrices with n = p >= 20 and ell <= n p, one row aligned with all four vectors "
    "makes at least three quarters of what a search finds of the joint-WDC constant",
    "docs/aligned-row.md",
    Role.SHARPER,
    supported=Outcome(
        "Where ell is no larger than n p, the condition fails because of single rows.",
        Bearing.SHARPER,
    ),
    refuted=Outcome("There the fluctuation of all rows matters too."),
)
SAMPLED = Claim(
    "joint_wdc.sampled",
    "For Gaussian matrices with n = p, the largest residual of random vectors is at least half of "
    "what a search finds of the joint-WDC constant",
    "the usual empirical check of such a condition",
    Role.PRACTICE,
    supported=Outcome("Random vectors tell the size of the constant."),
    refuted=Outcome("Random vectors understate the constant: they are no check of the condition."),
)
ADVERSARIES = {"sampled": "random", "aligned": "row-aligned", "search": "search"}


@dataclass(frozen=True)
class Thresholds(Settings):
    """law_error : relative error of the two-term law at the largest n.

    row_share, sampled_share : least shares of what the search finds.
    epsilon : the constant whose ell the summary reads off the law.
    """

    law_error: float
    row_share: float
    sampled_share: float
    epsilon: float


@dataclass(frozen=True)
class JointWdc(Experiment):
    """One trial: B (ell, n) and C (ell, p), Gaussian or from two files; three adversaries' bounds.

    row_ratio : M = ell^2 max_i ||b_i||^2 ||c_i||^2 / (n p).
    sampled : largest residual of `samples` random points.
    aligned : largest at h = x = b_i, m = y = c_i over all rows i.
    search : lower end by a search that starts near the best aligned rows and at random.
    agreement, expected_gain : of the search, see `harness.conditions.Bracket`.
    upper : certified for n = p <= 2, inf otherwise.
    """

    version: ClassVar[int] = 3
    claims: ClassVar[tuple[Claim, ...]] = (LAW, ROW, SAMPLED)
    caption: ClassVar[str] = (
        "The joint-WDC constant of Gaussian B (ell x n) and C (ell x p), n = p, as far as a search "
        "finds it (lower ends): medians over pairs of matrices with 95% order-statistic intervals. "
        "(a) Against ell / (n p); lines: the two-term law fitted to all but the largest n, whose "
        "line is a prediction. (b) Measured over predicted at the largest n. (c) The share of one "
        "aligned row and of random vectors in what the search finds at ell = n p."
    )
    paired: ClassVar[tuple[str, ...]] = ("samples", "budget")

    n: Size
    p: Size
    ell: Size
    last_layer: LastLayer
    samples: Together
    budget: Size
    thresholds: Thresholds
    weights1: str | None
    """A .npy or .npz file with B, in place of n, p, ell and last_layer; needs `weights2`."""
    weights2: str | None
    sha256: str | None
    """Digest of both files, set by `prepared`: a changed file makes a new cell."""

    def prepared(self) -> JointWdc:
        pair = self._from_files()
        if pair is None:
            return self
        (ell, n), p = pair[0].shape, pair[1].shape[1]
        return replace(self, n=n, p=p, ell=ell, sha256=matrix_digest(*pair))

    @property
    def bytes(self) -> int:
        """Memory of B and C."""
        return 8 * self.ell * (self.n + self.p)

    def matrices(self, rng: np.random.Generator) -> tuple[Array, Array, float]:
        """B, C and the product of their scalings alpha, which is 1 for files."""
        if (pair := self._from_files()) is not None:
            check_digest("sha256", self.sha256, (self.ell, self.n, self.p), *pair)
            return *pair, 1.0
        B, C = (Matrix(size, self.ell, self.last_layer) for size in (self.n, self.p))
        return B.sample(rng), C.sample(rng), B.alpha * C.alpha

    def _from_files(self) -> tuple[Array, Array] | None:
        return load_pair((self.weights1, self.weights2), ("weights1", "weights2"))

    def trial(self, rng: np.random.Generator) -> list[Row]:
        B, C, alpha = self.matrices(rng)
        search = joint_wdc_search(B, C, alpha, rng=rng, budget=self.budget)
        certify = joint_wdc_bracket if self.n == self.p <= 2 else None
        bracket = certify(B, C, alpha, rng=rng, budget=self.budget) if certify else None
        longest = np.max(np.sum(B * B, axis=1) * np.sum(C * C, axis=1))
        return [
            {
                "row_ratio": self.ell**2 * longest / (self.n * self.p),
                "sampled": joint_wdc_sampled(B, C, alpha, rng=rng, count=self.samples).lower,
                "aligned": joint_wdc_row_aligned(B, C, alpha).lower,
                "search": search.lower,
                "agreement": search.agreement,
                "expected_gain": search.expected_gain,
                "upper": bracket.upper if bracket else np.inf,
                "status": "ok",  # an upper end of inf is an answer
            }
        ]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        sizes = int((cells["n"] == cells["p"]).sum())
        needed = stats.trials_for_quantile(level=stats.simultaneous(sizes))
        return {claim.id: needed for claim in self.claims}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        square = self._square(table)
        short = square[(square["ell"] <= square["n"] * square["p"]) & (square["n"] >= 20)]
        fitted, held_out = _split(square)

        def tested(rows: pd.DataFrame) -> str:
            return f"{selection.spread(rows, ('n', 'ell'))}, n = p, {len(rows)} pairs of matrices"

        return [
            claims.within(
                LAW,
                _predicted(fitted, held_out),
                *(1 - limits.law_error, 1 + limits.law_error),
                statistic="median of measured / predicted constant at the largest n, by ell",
                tested=f"fitted: {tested(fitted)}; held out: {tested(held_out)}",
            ),
            claims.above(
                ROW,
                _shares(short, "aligned"),
                limits.row_share,
                statistic="median of row-aligned / search, by size",
                tested=tested(short),
            ),
            claims.above(
                SAMPLED,
                _shares(square, "sampled"),
                limits.sampled_share,
                statistic=f"median of random ({self.samples} points) / search, by size",
                tested=tested(square),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        """Medians by size; of the law, the epsilon where its terms are equal and the ell needed."""
        square = self._square(table)
        fit = _fits(_split(square)[0], 0)[0]
        target = self.thresholds.epsilon

        def terms(g: pd.DataFrame) -> Array:
            return fit * np.median(_terms(g.assign(ell=1)), axis=0)

        def crossover(row: float, root: float) -> str:
            return f"{2 * root**2 / row:.3g}"

        def needed(row: float, root: float) -> str:  # row x^2 + root x = target, x = ell^(-1/2)
            return f"{((root + np.sqrt(root**2 + 4 * row * target)) / (2 * target)) ** 2:.4g}"

        values: dict[str, Any] = {
            "pairs": len,
            "M": selection.median("row_ratio"),
            **{words: selection.median(name) for name, words in ADVERSARIES.items()},
            "expected gain": lambda g: f"{g['expected_gain'].mean():.3f}",
            "terms equal at epsilon": lambda g: crossover(*terms(g)),
            f"ell for epsilon = {target:g}": lambda g: needed(*terms(g)),
        }
        return selection.summarise(square, ["n", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(3)
        law, ratio, share = axes
        square = self._square(table)
        square = square.assign(length=square["ell"] / (square["n"] * square["p"]))
        fitted, held_out = _split(square)
        fit = _fits(fitted, 0)[0]
        for group, style in figures.styled(square, "n", label="n = {:g}"):
            figures.curve(law, group, "length", "search", stats.quantile, line=False, **style)
            predicted = group.assign(law=_terms(group) @ fit)
            line = predicted.groupby("length")["law"].median()
            law.plot(line.index, line, color=figures.COLOURS[style["index"]])
        law.set(title="(a) measured, and the law", ylabel="lower end of the constant")
        over_law = list(_predicted(fitted, held_out).values())
        figures.estimates(ratio, sorted(held_out["length"].unique()), over_law)
        for side in (-1, 1):
            ratio.axhline(1 + side * self.thresholds.law_error, color="0.5", linestyle="--")
        ratio.set(title=f"(b) n = p = {square['n'].max():g}", ylabel="measured / predicted")
        level = square[square["length"] == 1]
        limits = {"aligned": self.thresholds.row_share, "sampled": self.thresholds.sampled_share}
        for index, (name, limit) in enumerate(limits.items()):
            rows = level.assign(share=level[name] / level["search"])
            look: Any = {"label": ADVERSARIES[name], "index": index}
            figures.curve(share, rows, "n", "share", stats.quantile, **look)
            share.axhline(limit, color=figures.COLOURS[index], linestyle="--")
        share.set(title="(c) ell = n p", ylabel="share of what the search finds", ylim=(0, 1.05))
        figures.plain_log(law)
        for ax, rows in ((law, square), (ratio, held_out), (share, level)):
            figures.log_ticks(ax, rows["n" if ax is share else "length"].unique())
            ax.set_xlabel("n = p" if ax is share else "ell / (n p)")
            figures.legend(ax)
        return figure

    def _square(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows with n = p of the experiment's own effort and last layer."""
        rows = table[(table["last_layer"] == self.last_layer) & (table["n"] == table["p"])]
        return rows[(rows["samples"] == self.samples) & (rows["budget"] == self.budget)]


def _split(square: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to which the law is fitted, n >= 5, and those of the largest n, which it predicts."""
    last = square["n"] == square["n"].max()
    return square[~last & (square["n"] >= 5)], square[last]


def _terms(rows: pd.DataFrame) -> Array:
    """M n p / ell and sqrt((n + p) / ell) of each pair of matrices."""
    n, p, ell = (rows[name].to_numpy(dtype=np.float64) for name in ("n", "p", "ell"))
    return np.stack([rows["row_ratio"] * n * p / ell, np.sqrt((n + p) / ell)], axis=1)


def _fits(rows: pd.DataFrame, resamples: int) -> Array:
    """Coefficients a, b of the two terms, (1 + resamples, 2): of the data, then of redraws."""
    cells = (cell for _, cell in rows.groupby(["n", "ell"]))
    pairs = ((_terms(cell), cell["search"].to_numpy()) for cell in cells)
    return relative_fit(pairs, 2, resamples=resamples)


def _predicted(fitted: pd.DataFrame, held_out: pd.DataFrame) -> dict[str, stats.Estimate]:
    """Median of measured / predicted constant for each ell; both samples are redrawn."""
    fits = _fits(fitted, stats.RESAMPLES)
    method = "bootstrap of fit and cell"

    def over_law(cell: pd.DataFrame, level: float) -> stats.Estimate:
        if len(cell) < stats.trials_for_quantile(level=level):
            return stats.undetermined(len(cell), method)
        ratios = cell["search"].to_numpy() / (fits @ _terms(cell).T)  # (1 + R, T)
        drawn = np.random.default_rng(1).integers(len(cell), size=(stats.RESAMPLES, len(cell)))
        medians = np.median(np.take_along_axis(ratios[1:], drawn, axis=1), axis=1)
        return stats.percentile(np.median(ratios[0]), medians, len(cell), method, level)

    return selection.jointly(over_law, held_out, "ell")


def _shares(rows: pd.DataFrame, name: str) -> dict[str, stats.Estimate]:
    """Median share of what the search finds, by size."""
    shares = rows.assign(share=rows[name] / rows["search"])
    return selection.jointly(stats.quantile, shares, ["n", "ell"], "share")
