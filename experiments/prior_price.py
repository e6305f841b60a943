"""What a dimension costs: entries that each prior needs, on signals of its own model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, descent, figures, priors, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings, UnmeasurableError
from harness.priors import Recovery, Terms, published, signal_error
from harness.problem import Demodulation
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = "the ell at which half its trials succeed"

QUADRATIC = Claim(
    "prior_price.quadratic",
    f"Sparse power factorization from its own start, on flat signals with S = 8 to 32 terms: "
    f"{NEEDED} grows like S^2",
    "the paper's introduction: sparse methods need a number of measurements quadratic in S",
    Role.PAPER,
    supported=Outcome("The quadratic law is seen at such sizes.", Bearing.CONSISTENT),
    refuted=Outcome(
        "The quadratic law belongs to guarantees, not to the method at such sizes.",
        Bearing.SHARPER,
    ),
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
DIMENSION = Claim(
    "prior_price.dimension",
    f"At equal dimension n = S, d = s = 2: {NEEDED} is no smaller for Algorithm 1 than for "
    "l1-BranchHull, told the signs",
    "no theorem; a generative prior can gain only by needing fewer dimensions",
    supported=Outcome("A generative prior saves only what it represents better.", Bearing.SHARPER),
    refuted=Outcome("Even a dimension is cheaper under a generative prior.", Bearing.SHARPER),
)
INFORMATIVE = Claim(
    "prior_price.informative",
    "At equal dimension n = S, d = s = 2, half the trials of Algorithm 1 need no more rows that "
    "say something, y_l != 0, than those of l1-BranchHull",
    "no theorem; one row in 4 is active in both networks",
    supported=Outcome("What is dear are the zeros of ReLU networks.", Bearing.SHARPER),
    refuted=Outcome("Algorithm 1 also needs more of the rows that say something."),
)

CROSSING = Claim(
    "prior_price.crossing",
    f"At equal dimension n = S >= 20, d = s = 2: {NEEDED} is no larger for Algorithm 1 than for "
    "sparse power factorization from its own start on flat signals",
    "the paper's introduction: quadratic in S against a latent dimension",
    Role.PAPER,
    supported=Outcome(
        "Against this rival a generative prior wins even at equal dimension.", Bearing.CONSISTENT
    ),
    refuted=Outcome("This rival is as cheap for each dimension.", Bearing.SHARPER),
)

Method = Literal[
    "alternating",
    "spectral",
    "gradient",
    "polyak",
    "nuclear",
    "branch_hull",
    "factorization",
    "supports",
    "l1_branch_hull",
    "algorithm1",
    "pattern",
    "pattern_random",
]
NETWORKS = ("algorithm1", "pattern", "pattern_random")
FREE = ("method", "signal", "k", "columns", "ratio", "starts", "time_limit", "replica", "solver")
STOPPING = descent.Stopping(loss_rtol=1e-12)
COMMON = 10
"""The dimension, or the nearest to it, at which the figure compares prices."""

_Rows = Callable[["pd.DataFrame"], Array]
"""From rows to a statistic of them and its redraws (1 + R,), as `stats.crossings` has them."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """error : success is an error of both signals up to it.

    quadratic_low, quadratic_high : exponents that count as quadratic, for `least` terms and more.
    linear : an exponent up to it is linear.
    peaky : ratio of two ells that counts as larger.
    anchor : the published ells are met up to this share, on average over S.
    oracle : Algorithm 1 may need so many times what the oracle needs, from n = `wide` on.
    """

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

    method : see `priors.recover`; beside these, with networks for dictionaries, `algorithm1`, and
        `pattern` and `pattern_random`: alternating least squares told the activation pattern, from
        the spectral start and from random ones.
    signal : law of the terms of a dictionary.
    k : dimension: terms of each factor, or n = p.
    columns : of each dictionary, for each term.
    ratio : ell over the counting floor, 2 k - 1 rows that say something.
    starts : random starts, of which the best fit counts.
    c, kappa, max_steps : n_1 / n and Algorithm 1's step size and limit.
    time_limit : seconds of a convex program.
    replica : cells that differ in it alone hold more trials.
    solver : set by `prepared`: whether the extra is there, so that cells skipped without it are
        measured once it is.
    """

    claims: ClassVar[tuple[Claim, ...]] = (
        QUADRATIC,
        PEAKY,
        SIGNS,
        ANCHOR,
        ORACLE,
        DIMENSION,
        INFORMATIVE,
        CROSSING,
    )
    caption: ClassVar[str] = (
        "Success of each prior on signals of its own model against ell in units of its counting "
        "floor: 2 k - 1 for k terms or dimensions in each factor, 4 (2 k - 1) for networks. (a) "
        "Alternating least squares, one random start. (b) Nuclear norm. (c), (d) Sparse power "
        "factorization from its own start, K = N = 8 k. (e) l1-BranchHull, told the signs, K = N = "
        "20 k. (f) Algorithm 1, d = s = 2, one random start. (g) Least squares told the active "
        "units, from the spectral start. (h) Rows of half success for each of the 2 k dimensions, "
        "at k = 10 or nearest to it; pale: of rows with y_l != 0."
    )
    paired: ClassVar[tuple[str, ...]] = ("method", "starts", "time_limit", "solver")

    method: Method
    signal: Terms
    k: Annotated[int, Ge(1)]
    columns: Annotated[int, Ge(1)]
    ratio: Annotated[float, Ge(1)]
    starts: Annotated[int, Ge(1)]
    c: Annotated[float, Gt(0)]
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
    time_limit: Annotated[float, Gt(0)]
    replica: Annotated[int, Ge(0)]
    solver: str | None
    thresholds: Thresholds

    def prepared(self) -> PriorPrice:
        there = self.method in priors.CONES and priors.solver_installed()
        return replace(self, solver="cvxpy" if there else None)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        ell = ceil(self.ratio * _floor(self.method, self.k))
        match self.method:
            case "algorithm1" | "pattern" | "pattern_random":
                return [self._networks(ell, rng)]
            case "branch_hull" | "l1_branch_hull" if not priors.solver_installed():
                raise UnmeasurableError(Status.SKIPPED)
            case rival:
                problem = priors.planted(rng, ell, self.columns * self.k, self.k, self.signal)
                repeats = range(self.starts)
                found = _best(priors.recover(rival, problem, rng, self.time_limit) for _ in repeats)
                return [_row(problem.error(found), found, problem.model.y)]

    def _networks(self, ell: int, rng: np.random.Generator) -> Row:
        ensemble = Ensemble(self.k, self.k, 2, 2, ell, "factor", self.c, "truncated")
        P = ensemble.problem(rng)
        h, m = (unit_vectors(rng, self.starts, self.k) for _ in range(2))
        if self.method != "algorithm1":
            starts = m if self.method == "pattern_random" else [None]
            found = _best(priors.known_activation(P, start) for start in starts)
            signals = P.G1.Lambda(P.h0) @ found.h, P.G2.Lambda(P.m0) @ found.m
        else:
            found = self._descend(P, h, m)
            signals = P.G1(found.h), P.G2(found.m)
        error = max(signal_error(signals[0], P.G1(P.h0)), signal_error(signals[1], P.G2(P.m0)))
        return _row(error, found, P.y0)

    def _descend(self, P: Demodulation, h: Array, m: Array) -> Recovery:
        options: Any = {"max_steps": self.max_steps, "engine": "tracking", "stopping": STOPPING}
        options["step"] = descent.step_size(P, self.kappa)
        ends = descent.alternating_descent(P, h, m, **options)
        k = int(np.argmin(np.where(np.isfinite(ends.loss), ends.loss, np.inf)))
        status, steps = ends.status[k], int(ends.steps[k])
        if not np.isfinite(ends.loss[k]):
            return Recovery(np.zeros(P.n), np.zeros(P.p), 1.0, status, steps)
        residual = float(np.sqrt(ends.loss[k] / P.loss_at_zero))
        return Recovery(ends.h[k], ends.m[k], residual, status, steps)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, table = self.thresholds, self._judged(table)
        flat, decaying = (_arm(table, "factorization", law) for law in ("flat", "decaying"))
        l1, pattern = _arm(table, "l1_branch_hull", "flat"), _arm(table, "pattern")
        network = _arm(table, "algorithm1")
        wide = network[network["k"] >= limits.wide]
        alike, large = (
            rows[rows["k"].isin(other["k"])] for rows, other in ((network, l1), (wide, flat))
        )
        known = l1[l1["k"].isin(list(published.L1_BRANCH_HULL))]
        quadratic = limits.quadratic_low, limits.quadratic_high
        anchor = 1 - limits.anchor, 1 + limits.anchor
        at, exponent = "ell of half the trials", "exponent of the ell of half the trials in S"
        many, most = flat[flat["k"] >= limits.least], selection.largest(flat, "k")
        return [
            _decide(QUADRATIC, quadratic, many, "signal", _exponent, exponent),
            _decide(PEAKY, (limits.peaky, np.inf), most, "k", _over(decaying), f"{at}, ratio"),
            _decide(SIGNS, (-np.inf, limits.linear), l1, "signal", _exponent, exponent),
            _decide(ANCHOR, anchor, known, "signal", _over_published, f"{at} / published, mean"),
            _decide(ORACLE, (-np.inf, limits.oracle), wide, "k", _over(pattern), f"{at}, ratio"),
            _decide(DIMENSION, (1.0, np.inf), alike, "k", _over(l1), f"{at}, ratio"),
            _decide(
                INFORMATIVE,
                (-np.inf, 1.0),
                alike,
                "k",
                _over(l1, "informative"),
                "rows with y_l != 0 of half the trials, ratio",
            ),
            _decide(CROSSING, (-np.inf, 1.0), large, "k", _over(flat), f"{at}, ratio"),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        def at(rows: pd.DataFrame, x: str = "ell") -> float:
            return float(stats.crossings([(rows[x], rows["found"])])[0, 0])

        def interval(rows: pd.DataFrame) -> str:
            _, ells = selection.crossings(rows, "k", "ell", "found")
            return stats.from_redraws(ells[:, 0], len(rows)).interval(".0f")

        values: dict[str, Any] = {
            "trials": len,
            "ell of 50%": lambda rows: round(at(rows), 1),
            "interval": interval,
            "over the floor": lambda rows: round(at(rows) / rows["floor"].iloc[0], 2),
            "per dimension": lambda rows: round(at(rows) / (2 * rows["k"].iloc[0]), 2),
            "informative": lambda rows: round(at(rows, "informative") / (2 * rows["k"].iloc[0]), 2),
        }
        arm = ["method", "signal", "starts"]
        found = selection.summarise(self._judged(table), [*arm, "k"], values)
        groups = [found[name] for name in arm]
        logs = np.log(found[["k", "ell of 50%"]]).groupby(groups).diff()
        parts = found.groupby(arm, sort=False)
        shares = [_quadratic_share(part["k"], part["ell of 50%"]) for _, part in parts]
        return found.assign(
            **{
                "local exponent": (logs["ell of 50%"] / logs["k"]).round(2),
                "share of k^2": np.concatenate([*shares, []]).round(2),
            }
        )

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._judged(table)
        figure, axes = figures.panels(8, height=1.7)
        *maps, bars = axes
        for ax, letter, (label, rows) in zip(maps, "abcdefg", _shown(table), strict=True):
            if len(rows):
                figures.heat_map(ax, rows, x="ratio", y="k", statistic=_rate, fmt="{:.1f}")
            else:
                ax.text(0.5, 0.5, "not measured", ha="center", va="center")
                ax.set_axis_off()
            ax.set(title=f"({letter}) {label}", xlabel="ell / floor")
        _draw_prices(bars, list(_shown(table)))
        return figure

    def _judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows that were measured, with their success, floor, ell and mean informative rows.

        A draw with nothing to measure is one without success.
        """
        rows = selection.at_baseline(self, table[table["status"] != Status.SKIPPED], FREE)
        floors = np.array(
            [_floor(method, k) for method, k in zip(rows["method"], rows["k"], strict=True)]
        )
        rows = rows.assign(
            found=rows["error"] <= self.thresholds.error,
            floor=floors,
            ell=np.ceil(rows["ratio"].to_numpy(dtype=float) * floors),
        )
        cell = ["method", "signal", "starts", "k", "ratio"]
        return rows.assign(informative=rows.groupby(cell)["informative"].transform("mean"))


def _floor(method: str, k: int) -> int:
    """Rows without which no method can do: 2 k - 1 that say something, of networks one in 4."""
    return (4 if method in NETWORKS else 1) * (2 * k - 1)


def _best(found: Iterable[Recovery]) -> Recovery:
    """The first of the best fits."""
    return min(found, key=lambda each: each.residual)


def _row(error: float, found: Recovery, y: Array) -> Row:
    """A row of the table; informative : rows with y_l != 0."""
    return {
        "error": error,
        "residual": found.residual,
        "informative": int(np.count_nonzero(y)),
        "steps": found.steps,
        "status": found.status,
    }


def _arm(table: pd.DataFrame, method: Method, signal: Terms = "gaussian") -> pd.DataFrame:
    """Rows of a method from one start."""
    alone = (table["method"] == method) & (table["signal"] == signal)
    return table[alone & (table["starts"] == 1)]


def _decide(
    claim: Claim,
    allowed: tuple[float, float],
    rows: pd.DataFrame,
    by: str,
    redraws: _Rows,
    statistic: str,
) -> Finding:
    where = selection.spread(rows, ("method", "signal", "k", "columns", "ratio"))
    late = (rows["status"].isin([Status.MAX_STEPS, Status.TIME_OUT])).sum()
    tested = f"{len(rows)} trials; {where}; {late} ended at a limit" if len(rows) else "no trials"
    family = selection.jointly_redrawn(redraws, rows, by)
    return claims.within(claim, family, *allowed, statistic=statistic, tested=tested)


def _exponent(rows: pd.DataFrame) -> Array:
    sizes, ells = selection.crossings(rows, "k", "ell", "found")
    return stats.line(np.log(sizes), np.log(ells))[1]


def _over(others: pd.DataFrame, x: str = "ell") -> _Rows:
    """The x of half success over that of others with the same k."""

    def ratio(rows: pd.DataFrame) -> Array:
        same = others[others["k"].isin(rows["k"])]
        ends = stats.crossings([(part[x], part["found"]) for part in (rows, same)])
        return np.asarray(ends[:, 0] / ends[:, 1])

    return ratio


def _over_published(rows: pd.DataFrame) -> Array:
    """Geometric mean over S of the ell of half success over that of the published counts.

    The counts are redrawn as well.
    """
    sizes, ells = selection.crossings(rows, "k", "ell", "found")
    theirs = stats.crossings([published.draws(int(size)) for size in sizes])
    return np.asarray(np.exp(np.mean(np.log(ells / theirs), axis=1)))


def _quadratic_share(k: pd.Series, ells: pd.Series) -> Array:
    """b k / (a + b k) of the law ell = a k + b k^2 of least relative error: the share of k^2."""
    sizes, per_term = k.to_numpy(dtype=float), (ells / k).to_numpy(dtype=float)
    there = np.isfinite(per_term)
    a, b = stats.line(sizes[there], per_term[there], 1 / per_term[there] ** 2)
    return np.asarray(b * sizes / (a + b * sizes))


def _shown(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The arms of the figure, with their names."""
    yield "alternating least squares", _arm(table, "alternating")
    yield "nuclear norm", _arm(table, "nuclear")
    yield "SPF, flat signals", _arm(table, "factorization", "flat")
    yield "SPF, decaying signals", _arm(table, "factorization", "decaying")
    yield "l1-BranchHull, signs known", _arm(table, "l1_branch_hull", "flat")
    yield "Algorithm 1", _arm(table, "algorithm1")
    yield "active units known", _arm(table, "pattern")


def _rate(rows: pd.DataFrame) -> float:
    return float(rows["found"].mean())


def _draw_prices(ax: Axes, arms: list[tuple[str, pd.DataFrame]]) -> None:
    """Rows of half success for each dimension, all and informative, at k next to COMMON."""
    for place, (_, rows) in enumerate(arms):
        if not len(rows):
            continue
        k = min(rows["k"].unique(), key=lambda k: abs(k - COMMON))
        at = rows[rows["k"] == k]
        for index, (x, alpha) in enumerate((("ell", 1.0), ("informative", 0.4))):
            ends = stats.crossings([(at[x], at["found"])])[:, 0] / (2 * k)
            found = stats.from_redraws(ends, len(at))
            if np.isfinite(found.value):
                sides = [[found.value - found.low], [found.high - found.value]]
                look: Any = {"color": figures.COLOURS[0], "alpha": alpha, "height": 0.38}
                ax.barh(place + 0.4 * index, found.value, **look)
                ax.errorbar(
                    found.value, place + 0.4 * index, xerr=sides, color="black", elinewidth=0.8
                )
    ax.set_yticks(np.arange(len(arms)) + 0.2, labels=[f"({letter})" for letter in "abcdefg"])
    ax.set_ylim(len(arms) - 0.3, -0.5)
    ax.set(title="(h) the price of a dimension", xlabel="rows / (2 k)")
    ax.grid(False, axis="y")
