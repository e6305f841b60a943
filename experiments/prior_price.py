"""What a dimension costs: entries that each prior needs, on signals of its own model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import ArrayLike

from harness import claims, figures, priors, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Range, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings, UnmeasurableError
from harness.priors import Terms, published
from harness.ranges import Count, Replica, Scale, Together
from harness.selection import Redraws
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEEDED = "the ell at which half its trials succeed"

QUADRATIC = Claim(
    "prior_price.quadratic",
    f"Sparse power factorization from its own start, on flat signals with S = 8 to 32 terms: "
    f"{NEEDED} grows like S^2",
    "the paper's introduction: sparse methods need a number of measurements quadratic in S",
    Role.PAPER,
    supported=Outcome("The quadratic law is seen at such sizes.", Bearing.CONSISTENT),
    refuted=Outcome("At such sizes only the guarantees are quadratic.", Bearing.SHARPER),
)
PEAKY = Claim(
    "prior_price.peaky",
    f"Sparse power factorization from its own start: {NEEDED} is larger for flat signals than for "
    "signals whose terms decay like 1, 1/2, 1/3, ...",
    "Cosse (2024): flat signals are the hard ones for initialisation",
    supported=Outcome("The shape of the coefficients has a price.", Bearing.SHARPER),
    refuted=Outcome("Flat signals cost no more than decaying ones at such sizes."),
)
SIGNS = Claim(
    "prior_price.signs",
    f"l1-BranchHull, told the signs of w: {NEEDED} is linear in the number S of terms, S <= 10",
    "Aghasi, Ahmed, Hand and Joshi (2018): (S1 + S2) log^2(K + N) rows suffice",
    supported=Outcome("With known signs, sparsity costs a linear number of rows.", Bearing.SHARPER),
    refuted=Outcome("Known signs do not make the price of sparsity linear at such sizes."),
)
ANCHOR = Claim(
    "prior_price.anchor",
    f"l1-BranchHull at K = N = 20 S: {NEEDED} is that of its authors' table, S <= 10",
    "M_15_300_pm1.txt in the authors' code: 10 draws a length",
    Role.PRACTICE,
    supported=Outcome("The published phase table is reproduced."),
    refuted=Outcome("The program, solved exactly, needs other lengths than the table has."),
)
ORACLE = Claim(
    "prior_price.oracle",
    f"Algorithm 1, d = s = 2, n = p >= 20: {NEEDED} is at most twice that of alternating least "
    "squares told which units are active",
    "no theorem; known units leave two subspaces of dimension n",
    supported=Outcome("Not to know the linear region costs less than a factor 2.", Bearing.SHARPER),
    refuted=Outcome("Finding the linear region is most of the price.", Bearing.SHARPER),
)
EQUAL = Claim(
    "prior_price.dimension",
    f"At equal dimension n = S, d = s = 2: {NEEDED} is no smaller for Algorithm 1 than for "
    "l1-BranchHull, told the signs",
    "no theorem; a generative prior can gain only by needing fewer dimensions",
    supported=Outcome("A generative prior saves only what it represents better.", Bearing.SHARPER),
    refuted=Outcome("Even a dimension is cheaper under a generative prior.", Bearing.SHARPER),
)
CROSSING = Claim(
    "prior_price.crossing",
    f"At equal dimension n = S >= 20, d = s = 2: {NEEDED} is no larger for Algorithm 1 than for "
    "sparse power factorization from its own start on flat signals",
    "the paper's introduction: quadratic in S against a latent dimension",
    Role.PAPER,
    supported=Outcome("It beats this rival even at equal dimension.", Bearing.CONSISTENT),
    refuted=Outcome("This rival is as cheap for each dimension.", Bearing.SHARPER),
)

Method = Literal[priors.Rival, priors.Search]
NETWORKS: tuple[Method, ...] = get_args(priors.Search)
FREE = ("method", "signal", "k", "columns", "ratio", "starts", "time_limit", "replica", "solver")
SHOWN: dict[str, tuple[Method, Terms]] = {
    "alternating least squares": ("alternating", "gaussian"),
    "nuclear norm": ("nuclear", "gaussian"),
    "SPF, flat signals": ("factorization", "flat"),
    "SPF, decaying signals": ("factorization", "decaying"),
    "l1-BranchHull, signs known": ("l1_branch_hull", "flat"),
    "Algorithm 1": ("algorithm1", "gaussian"),
    "active units known": ("pattern", "gaussian"),
}
"""The arms of the figure, with one start each."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """Limits of the claims, which conf/experiment/prior_price.yaml explains one by one."""

    error: Annotated[float, Gt(0)]
    least: Annotated[int, Ge(1)]
    quadratic_low: float
    quadratic_high: float
    linear: float
    peaky: Annotated[float, Gt(0)]
    anchor: Annotated[float, Gt(0)]
    oracle: Annotated[float, Gt(0)]
    wide: Annotated[int, Ge(1)]


@dataclass(frozen=True)
class PriorPrice(Experiment):
    """One trial: two dictionaries or networks, a truth, one method; a row a trial.

    method : see `priors.recover` and, with networks for dictionaries, `priors.recover_codes`.
    signal : law of the terms of a dictionary.
    k : dimension: terms of each factor, or n = p.
    columns : of each dictionary, for each term.
    ratio : ell over the counting floor, 2 k - 1 rows that say something.
    starts : random starts, of which the best fit counts.
    c, kappa, max_steps : n_1 / n and Algorithm 1's step size and limit.
    time_limit : seconds of a convex program.
    replica : cells that differ in it alone hold more trials.
    solver : set by `prepared`, so that cells skipped without the extra are measured with it.
    """

    claims: ClassVar[tuple[Claim, ...]] = (QUADRATIC, PEAKY, SIGNS, ANCHOR, ORACLE, EQUAL, CROSSING)
    caption: ClassVar[str] = (
        "Success of each prior on signals of its own model against ell in units of its counting "
        "floor: 2 k - 1 for k terms or dimensions in each factor, 4 (2 k - 1) for networks. (a) "
        "Alternating least squares, one random start. (b) Nuclear norm. (c), (d) Sparse power "
        "factorization from its own start, K = N = 8 k. (e) l1-BranchHull, told the signs, K = N = "
        "20 k. (f) Algorithm 1, d = s = 2, one random start. (g) Least squares told the active "
        "units, from the spectral start. (h) Rows of half success for each of the 2 k dimensions; "
        "a law linear in k is level. Bars: 95% intervals."
    )
    paired: ClassVar[tuple[str, ...]] = ("method", "starts", "time_limit", "solver")

    method: Method
    signal: Terms
    k: Together
    columns: Together
    ratio: Annotated[float, Ge(1), Le(1e6)]
    starts: Together
    c: Scale
    kappa: Scale
    max_steps: Count
    time_limit: Annotated[float, Gt(0)]
    replica: Replica
    solver: str | None
    thresholds: Thresholds

    @property
    def bytes(self) -> int:
        """Memory of the weights, or of the dictionaries."""
        width = self.c if self.method in NETWORKS else self.columns
        return int(16 * self.ratio * float(_floor(self.method, self.k)) * width * self.k)

    def prepared(self) -> PriorPrice:
        there = self.method in priors.CONES and priors.solver_installed()
        return replace(self, solver="cvxpy" if there else None)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        ell = ceil(self.ratio * float(_floor(self.method, self.k)))
        match self.method:
            case "algorithm1" | "pattern" | "pattern_random" as search:
                networks = Ensemble(self.k, self.k, 2, 2, ell, "factor", self.c, "truncated")
                P = networks.problem(rng)
                starts = (unit_vectors(rng, self.starts, self.k) for _ in range(2))
                limits: Any = {"kappa": self.kappa, "max_steps": self.max_steps}
                found, error = priors.recover_codes(search, P, *starts, **limits)
                y = P.y0
            case "branch_hull" | "l1_branch_hull" if not priors.solver_installed():
                raise UnmeasurableError(Status.SKIPPED)
            case rival:
                problem = priors.planted(rng, ell, self.columns * self.k, self.k, self.signal)
                limits = {"starts": self.starts, "time_limit": self.time_limit}
                found = priors.recover(rival, problem, rng, **limits)
                error, y = problem.error(found), problem.model.y
        ended: Row = {"residual": found.residual, "steps": found.steps, "status": found.status}
        return [{"error": error, "informative": int(np.count_nonzero(y)), **ended}]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, table = self.thresholds, self._judged(table)
        flat, decaying = (_arm(table, "factorization", law) for law in ("flat", "decaying"))
        l1, pattern = _arm(table, "l1_branch_hull", "flat"), _arm(table, "pattern")
        network = _arm(table, "algorithm1")
        wide = network[network["k"] >= limits.wide]
        alike, large = network[network["k"].isin(l1["k"])], wide[wide["k"].isin(flat["k"])]
        known = l1[l1["k"].isin(list(published.L1_BRANCH_HULL))]
        quadratic = limits.quadratic_low, limits.quadratic_high
        anchor = 1 - limits.anchor, 1 + limits.anchor
        at, exponent = "ell of half the trials", "exponent of the ell of half the trials in S"
        in_k = partial(selection.crossing_exponent, by="k")
        many, most = flat[flat["k"] >= limits.least], selection.largest(flat, "k")
        return [
            _decide(QUADRATIC, quadratic, many, "signal", in_k, exponent),
            _decide(PEAKY, (limits.peaky, np.inf), most, "k", _over(decaying), f"{at}, ratio"),
            _decide(SIGNS, (-np.inf, limits.linear), l1, "signal", in_k, exponent),
            _decide(ANCHOR, anchor, known, "signal", _over_published, f"{at} / published, mean"),
            _decide(ORACLE, (-np.inf, limits.oracle), wide, "k", _over(pattern), f"{at}, ratio"),
            _decide(EQUAL, (1.0, np.inf), alike, "k", _over(l1), f"{at}, ratio"),
            _decide(CROSSING, (-np.inf, 1.0), large, "k", _over(flat), f"{at}, ratio"),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        def each(rows: pd.DataFrame, x: str = "ell") -> stats.Estimate:
            return stats.from_redraws(_price(rows, x)[1][:, 0], len(rows))

        values: dict[str, Any] = {
            "trials": len,
            "ell of 50%": lambda rows: round(each(rows).value * 2 * rows["k"].iloc[0], 1),
            "per dimension": lambda rows: round(each(rows).value, 2),
            "interval": lambda rows: each(rows).interval(".2f"),
            "informative": lambda rows: round(each(rows, "informative").value, 2),
        }
        arm = ["method", "signal", "starts"]
        found = selection.summarise(self._judged(table), [*arm, "k"], values)
        laws = found.groupby(arm, sort=False)[["k", "ell of 50%"]]
        shares = [stats.quadratic_share(*part.to_numpy(float).T) for _, part in laws]
        floors = _floor(found["method"], found["k"])
        found["over the floor"] = (found["ell of 50%"] / floors).round(2)
        found["local exponent"] = selection.local_exponents(found, arm, "k", "ell of 50%")
        return found.assign(**{"share of k^2": np.concatenate([*shares, []]).round(2)})

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._judged(table)
        figure, (*maps, prices) = figures.panels(8, height=1.7)
        for ax, index, (label, arm) in zip(maps, range(7), SHOWN.items(), strict=True):
            letter = f"({'abcdefg'[index]})"
            if len(rows := _arm(table, *arm)):
                look: Any = {"statistic": lambda some: some["found"].mean(), "fmt": "{:.1f}"}
                figures.heat_map(ax, rows, x="ratio", y="k", **look)
                figures.redraws(prices, *_price(rows), index=index, label=letter)
            else:
                ax.set_axis_off()
            measured = "" if len(rows) else ": not measured"
            ax.set(title=f"{letter} {label}{measured}", xlabel="ell / floor")
        if np.isfinite(prices.dataLim.y1):  # some price is determined
            figures.log_ticks(prices, table["k"].unique())
            figures.plain_log(prices)
        prices.set(title="(h) rows of a dimension", xlabel="k", ylabel="rows / (2 k)")
        figures.headroom(prices, 0.4)
        figures.legend(prices, ncols=4, loc="upper right", columnspacing=0.8)
        return figure

    def _judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows that were measured (a dead draw has no success), with ell and informative rows."""
        rows = selection.at_baseline(self, table[table["status"] != Status.SKIPPED], FREE)
        floors = _floor(rows["method"], rows["k"].to_numpy())
        ells = np.ceil(rows["ratio"].to_numpy(dtype=float) * floors)
        rows = rows.assign(found=rows["error"] <= self.thresholds.error, ell=ells)
        cell = ["method", "signal", "starts", "k", "ratio"]
        return rows.assign(informative=rows.groupby(cell)["informative"].transform("mean"))


def _floor(method: ArrayLike, k: ArrayLike) -> Array:
    """Rows without which no method can do: 2 k - 1 that say something, of networks one in 4."""
    return np.where(np.isin(method, NETWORKS), 4, 1) * (2 * np.asarray(k) - 1)


def _arm(table: pd.DataFrame, method: Method, signal: Terms = "gaussian") -> pd.DataFrame:
    """Rows of a method from one start."""
    alone = (table["method"] == method) & (table["signal"] == signal)
    return table[alone & (table["starts"] == 1)]


def _decide(
    claim: Claim, allowed: Range, rows: pd.DataFrame, by: str, redraws: Redraws, statistic: str
) -> Finding:
    where = selection.spread(rows, ("method", "signal", "k", "columns", "ratio"))
    late = (rows["status"].isin([Status.MAX_STEPS, Status.TIME_OUT])).sum()
    tested = f"{len(rows)} trials; {where}; {late} ended at a limit" if len(rows) else "no trials"
    family = selection.jointly_redrawn(redraws, rows, by)
    return claims.within(claim, family, *allowed, statistic=statistic, tested=tested)


def _over(others: pd.DataFrame) -> Redraws:
    """The ell of half success over that of others with the same k."""
    return lambda rows: selection.crossing_ratio(rows, others[others["k"].isin(rows["k"])])


def _over_published(rows: pd.DataFrame) -> Array:
    """Geometric mean over S of the ell of half success over that of the published draws."""
    sizes, ells = selection.crossings(rows, "k", "ell", "found")
    theirs = stats.crossings([published.draws(int(size)) for size in sizes])
    return np.asarray(np.exp(np.mean(np.log(ells / theirs), axis=1)))


def _price(rows: pd.DataFrame, x: str = "ell") -> tuple[Array, Array]:
    """The x of half success for each of the 2 k dimensions, by k."""
    sizes, ends = selection.crossings(rows, "k", x, "found")
    return sizes, ends / (2 * sizes)
