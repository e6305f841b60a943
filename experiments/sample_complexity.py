"""How long a signal Algorithm 1 needs: in the unknowns, the inner widths and the depth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Lt

from harness import claims, descent, figures, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Range, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.identifiability import identifiability
from harness.ranges import Count, Replica, Scale
from harness.selection import Redraws
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDED = "the ell at which half the trials of Algorithm 1 succeed"

AFFINE = Claim(
    "sample_complexity.affine",
    f"At d = s = 2 and n = p, {NEEDED} is affine in n + p: smaller n foretell the largest",
    "no theorem; counting asks for 4 (n + p - 1)",
    supported=Outcome("Each unknown costs a fixed number of entries.", Bearing.SHARPER),
    refuted=Outcome("The needed length has another law than a + b (n + p).", Bearing.SHARPER),
    headline=True,
)
POWER = Claim(
    "sample_complexity.power",
    f"At d = s = 2 and n = p, {NEEDED} is a power of n + p - 1: smaller n foretell the largest",
    "no theorem; the rival of the affine law",
    supported=Outcome("One exponent describes the needed length.", Bearing.SHARPER),
    refuted=Outcome("A fitted exponent is that of a range of n.", Bearing.SHARPER),
)
FLOOR = Claim(
    "sample_complexity.floor",
    "At d = s = 2 and n = p, a further unknown costs Algorithm 1 from 1.2 to 1.4 times the 4 "
    "entries that counting asks for",
    "no theorem; floor 4 (n + p - 1): one entry in 4 is active in both networks",
    supported=Outcome("The needed length grows nearly as slowly as it can.", Bearing.SHARPER),
    refuted=Outcome("An unknown costs more, or less, than that.", Bearing.SHARPER),
)
WIDTH = Claim(
    "sample_complexity.width",
    f"At d = s = 2, fixed n = p and identifiable truths, {NEEDED} does not grow with n_1",
    "A3 asks for ell of the order (n_{d-1} log n_{d-1})^2",
    role=Role.PAPER,
    supported=Outcome("A3 is sufficient, not necessary, in n_{d-1}.", Bearing.SHARPER),
    refuted=Outcome("Wider inner layers need longer signals, as A3 asks.", Bearing.CONSISTENT),
    headline=True,
)
SEARCH = Claim(
    "sample_complexity.search",
    "At d = s = 2 and n = p, half the trials of Algorithm 1 succeed from near the truth at shorter "
    "signals than from a random start",
    "no theorem; the observation may determine what descent does not reach",
    role=Role.PRACTICE,
    supported=Outcome("Search, not information, sets the needed length."),
    refuted=Outcome("Once descent holds the truth, it also finds it."),
)
SPLIT = Claim(
    "sample_complexity.split",
    f"At d = s = 2 and n + p = 40, {NEEDED} is the same for n != p as for n = p",
    "no theorem; n^2 + p^2 says 1.36 times more at (8, 32) than at (20, 20)",
    supported=Outcome("Unknowns count, not how the networks share them.", Bearing.SHARPER),
    refuted=Outcome("The larger or the smaller of n and p counts for itself.", Bearing.SHARPER),
)
DEPTH = Claim(
    "sample_complexity.depth",
    f"At n = p and n_i = 6 n_{{i-1}}, {NEEDED} is larger at d = s = 3 than at d = s = 2",
    "no theorem; counting does not know the depth",
    supported=Outcome("Depth costs length beyond what counting asks for.", Bearing.SHARPER),
    refuted=Outcome("A third layer costs no length.", Bearing.SHARPER),
)

STOPPING = descent.Stopping(loss_rtol=1e-12)
FATES = ("not identifiable", "not held", "late", "trapped")
"""Why a trial fails: its truth is not locally identifiable; descent fails from near it too; the
steps run out; it ends elsewhere."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """epsilon : success is an iterate within it of the true hyperbola.

    error : a law foretells an ell up to this factor.
    cost_low, cost_high : range of what an unknown costs, over 4.
    growth : an exponent up to it is no growth.
    longer, same : ratios of two ells that count as longer, and as the same.
    """

    epsilon: Annotated[float, Gt(0)]
    error: Annotated[float, Gt(1)]
    cost_low: float
    cost_high: float
    growth: float
    longer: Annotated[float, Gt(1)]
    same: Annotated[float, Gt(1)]


@dataclass(frozen=True)
class SampleComplexity(Experiment):
    """One trial: two networks, a truth, one random start; a row a trial.

    near : if the truth is identifiable and the start ends farther from it than this relative
        distance, descent starts once more from there.
    replica : cells that differ in it alone hold more trials.
    """

    claims: ClassVar[tuple[Claim, ...]] = (AFFINE, POWER, FLOOR, WIDTH, SEARCH, SPLIT, DEPTH)
    caption: ClassVar[str] = (
        "Signal length ell at which half the trials of Algorithm 1 succeed, each on networks of "
        "its own with inner widths n_i = c n_{i-1}. Floor: 4 (n + p - 1). (a) Success from random "
        "starts, d = s = 2, c = 6. (b) Needed ell for identifiable truths, from near the truth, "
        "and from a random start; laws of all n but the largest, and n^2 + p^2. (c) Needed ell for "
        "identifiable truths; A3 asks for n_1^2 and more. (d) Ratios that decide the other claims; "
        "grey: what each allows. Bars: 95% intervals."
    )
    version: ClassVar[int] = 2

    network: Ensemble
    kappa: Scale
    near: Annotated[float, Gt(0), Lt(1)]
    max_steps: Count
    replica: Replica
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        start = unit_vectors(rng, 1, P.n), unit_vectors(rng, 1, P.p)
        aside = unit_vectors(rng, 1, P.n), unit_vectors(rng, 1, P.p)
        options: Any = {"max_steps": self.max_steps, "engine": "tracking", "stopping": STOPPING}
        options["step"] = descent.step_size(P, self.kappa)
        row = descent.row(P, descent.alternating_descent(P, *start, **options))
        row |= asdict(identifiability(P)) | {"epsilon_near": np.nan, "steps_near": 0}
        if row["full_rank"] and row["epsilon_true"] > self.near:
            h, m = P.h0 + self.near * aside[0], P.m0 + self.near * aside[1]
            again = descent.row(P, descent.alternating_descent(P, h, m, **options))
            row |= {"epsilon_near": again["epsilon_true"], "steps_near": again["steps"]}
        return [row]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, table = self.thresholds, self._judged(table)
        square = table[(table["n"] == table["p"]) & (table["d"] == self.network.d)]
        base = square[square["c"] == self.network.c]
        far = square[square["c"].isin(square.loc[square["n"] == square["n"].max(), "c"])]
        far = far[far.groupby("c")["n"].transform("nunique") >= 3]
        wide = square[square["full_rank"] & (square.groupby("n")["c"].transform("nunique") >= 3)]
        down = base[base.groupby("n")["ell"].transform("min") <= base["floor"]]
        like = table[table["c"] == self.network.c]
        split = like[(like["d"] == self.network.d) & (like["n"] + like["p"] == 2 * self.network.n)]
        middle = split["n"] == self.network.n
        deep = like[(like["n"] == like["p"]) & (like["d"] > self.network.d)]
        affine, power = partial(_foretold, stats.affine_at), partial(_foretold, stats.power_at)
        exponent = partial(selection.crossing_exponent, by="c")
        balanced = partial(selection.crossing_ratio, others=split[middle])
        error, same = ((1 / factor, factor) for factor in (limits.error, limits.same))

        def shallow(rows: pd.DataFrame) -> Array:
            return selection.crossing_ratio(rows, base[base["n"].isin(rows["n"])])

        cost, longer = (limits.cost_low, limits.cost_high), (limits.longer, np.inf)
        growth = -np.inf, limits.growth
        at, foretold = "ell of half the trials", "at the largest n, over what smaller n foretell"
        return [
            _decide(AFFINE, error, far, "c", affine, f"{at} {foretold}"),
            _decide(POWER, error, far, "c", power, f"{at} {foretold}"),
            _decide(FLOOR, cost, far, "c", _cost, f"slope of the {at} in n + p - 1, over 4"),
            _decide(WIDTH, growth, wide, "n", exponent, f"exponent of the {at} in n_1"),
            _decide(SEARCH, longer, down, "n", _over_held, f"{at}, random start / near the truth"),
            _decide(SPLIT, same, split[~middle], "n", balanced, f"{at}, n != p / n = p"),
            _decide(DEPTH, longer, deep, "n", shallow, f"{at}, d = s = 3 / d = s = 2"),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        def at(rate: float) -> Any:
            return lambda rows: stats.crossings([(rows["ell"], rows["found"])], rate)[0, 0].round(1)

        def share(fate: str) -> Any:
            return lambda rows: f"{rows.loc[rows['half'], fate].mean():.3f}"

        values: dict[str, Any] = {
            "trials": len,
            **{f"ell of {rate:.0%}": at(rate) for rate in (0.1, 0.5, 0.9)},
            "interval": lambda rows: stats.from_redraws(
                selection.crossings(rows, "n", "ell", "found")[1][:, 0], len(rows)
            ).interval(".0f"),
            "over the floor": lambda rows: (at(0.5)(rows) / rows["floor"].iloc[0]).round(3),
            **{fate: share(fate) for fate in FATES},
        }
        table, keys = self._judged(table), ["d", "c", "n", "p"]
        off = (table.groupby([*keys, "ell"])["found"].transform("mean") - 0.5).abs()
        table["half"] = off == off.groupby([table[key] for key in keys]).transform("min")
        found = selection.summarise(table, keys, values)
        square = found[found["n"] == found["p"]]
        exponents = selection.local_exponents(square, ["d", "c"], "n", "ell of 50%")
        return found.assign(**{"local exponent": exponents})

    def figure(self, table: pd.DataFrame) -> Figure:
        findings, table = self.findings(table), self._judged(table)
        square = table[(table["n"] == table["p"]) & (table["d"] == self.network.d)]
        base = square[square["c"] == self.network.c]
        figure, (rates, lengths, widths, ratios) = figures.panels(4)
        units = base.assign(ratio=base["ell"] / base["floor"])
        figures.curves(rates, units, "ratio", "found", stats.proportion, by="n", label="n = {}")
        figures.log_ticks(rates, (1, 1.5, 2, 3, 4, 6))
        rates.set(xlabel="ell / floor", ylabel="success rate", title="(a) success, d = s = 2")
        _draw_lengths(lengths, base)
        for index, (n, rows) in enumerate(square[square["full_rank"]].groupby("n")):
            look: Any = {"label": f"n = p = {n}", "index": index}
            places, ells = selection.crossings(rows, "c", "ell", "found")
            figures.redraws(widths, places, ells / rows["floor"].iloc[0], **look)
        figures.log_ticks(widths, square["c"].unique())
        widths.set(xlabel="n_1 / n", title="(c) inner width, identifiable truths")
        figures.members(ratios, [finding for finding in findings if finding.claim != WIDTH])
        ratios.set(xlim=(0.5, 3), xlabel="ratio", title="(d) the ratios that decide")
        figures.legend(rates, loc="lower right")
        for ax, top in ((lengths, 7), (widths, 5)):
            ax.set(ylabel="needed ell / floor", ylim=(0, top))
            figures.legend(ax, ncols=1 if ax is lengths else 2, loc="upper right")
        return figure

    def _judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """With the outcome of each trial; one with nothing to measure is one without success.

        found : the random start ended at the truth; held : it did, or the second start.
        """
        found = table["epsilon_true"] <= self.thresholds.epsilon
        held = found | (table["epsilon_near"] <= self.thresholds.epsilon)
        full_rank, late = table["full_rank"].eq(True), table["status"] == Status.MAX_STEPS
        fates = (~held & ~full_rank, ~held & full_rank, held & ~found & late, held & ~found & ~late)
        return table.assign(
            found=found,
            held=held,
            full_rank=full_rank,
            floor=4 * (table["n"] + table["p"] - 1),
            **dict(zip(FATES, fates, strict=True)),
        )


def _decide(
    claim: Claim, allowed: Range, rows: pd.DataFrame, by: str, redraws: Redraws, statistic: str
) -> Finding:
    late = (rows["status"] == Status.MAX_STEPS).mean()
    where = selection.spread(rows, ("n", "p", "ell", "d", "c", "kappa"))
    tested = f"{len(rows)} trials; {where}; {late:.2%} ended at the step limit"
    family = selection.jointly_redrawn(redraws, rows, by)
    named = 2 if claim is WIDTH else None
    return claims.within(claim, family, *allowed, statistic=statistic, tested=tested, named=named)


def _foretold(law: stats.Law, rows: pd.DataFrame) -> Array:
    """The needed ell at the largest n, over that of a law fitted to the others.

    A law that foretells less than one entry, as a fit to few trials may, foretells one.
    """
    sizes, ells = selection.crossings(rows, "n", "ell", "found")
    x = 2 * sizes - 1
    return ells[:, -1] / np.maximum(law(x[:-1], ells[:, :-1], x[-1:])[:, 0], 1.0)


def _cost(rows: pd.DataFrame) -> Array:
    """Entries that a further unknown needs, over 4: the slope of the affine law of all n."""
    sizes, ells = selection.crossings(rows, "n", "ell", "found")
    return np.diff(stats.affine_at(2 * sizes - 1, ells, np.array([0.0, 1.0])))[:, 0] / 4


def _over_held(rows: pd.DataFrame) -> Array:
    """The needed ell over that from near the truth."""
    return selection.crossing_ratio(rows, rows.assign(found=rows["held"]))


def _draw_lengths(ax: Axes, base: pd.DataFrame) -> None:
    columns = {"full_rank": "identifiable", "held": "near the truth", "found": "random start"}
    for index, (column, label) in enumerate(columns.items()):
        sizes, ells = selection.crossings(base, "n", "ell", column)
        x = 2 * sizes - 1
        figures.redraws(ax, sizes, ells / (4 * x), index=index, label=label, line=False)
    if len(sizes) >= 3:
        for law, line, label in (
            (stats.affine_at(x[:-1], ells[0, :-1], x), "k-", "a + b (n + p - 1)"),
            (stats.power_at(x[:-1], ells[0, :-1], x), "k--", "a (n + p - 1)^b"),
            (ells[0, 0] * (sizes / sizes[0]) ** 2, "k:", "n² + p²"),
        ):
            ax.plot(sizes, law / (4 * x), line, linewidth=1, label=label)
    figures.log_ticks(ax, sizes)
    ax.set(xlabel="n = p", title="(b) laws of all n but the largest")
