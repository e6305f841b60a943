"""Every local minimum of networks with n = p = 2: how near the hyperbolas, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, scaling, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.conditions import Residual
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape import MINIMA, direction, stationary_points
from harness.landscape.nearness import TRUE_LOSS, aligned_bound, deviation, flipped_angles
from harness.network import ReluNetwork
from harness.problem import Branch
from harness.ranges import Replica, Size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEN = "all layers widen in proportion, n = p = 2"
QUARTER = Claim(
    "stationary_points.quarter",
    f"As {WIDEN}, d = s = 2 and 3, the local minima beside the truth close in on -h0 and -m0 at "
    "least as fast as the power 1/4 of the gradient's deviation there",
    "Theorem 2 allows neighbourhoods of epsilon^(1/4)",
    Role.PAPER,
    supported=Outcome("The minima are where the theorem's proof puts them.", Bearing.CONSISTENT),
    refuted=Outcome("At these sizes the minima close in more slowly than the theorem's power."),
)
HALF = Claim(
    "stationary_points.half",
    f"As {WIDEN}, d = s = 2, the local minima beside the truth lie at angles to -h0 and -m0 that "
    "fall like the power 1/2 of the gradient's deviation there",
    "the expected slope is quadratic in the angle to -h0, so that delta^2 balances epsilon",
    supported=Outcome("The theorem's power 1/4 can be improved to 1/2.", Bearing.SHARPER),
    refuted=Outcome("The balance of slope and deviation does not place the minima by itself."),
    headline=True,
)
NUMBER = Claim(
    "stationary_points.number",
    f"As {WIDEN}, d = s = 2, the number of local minima grows like the width to the power 1/2 near "
    "(-h0, -m0) and 1/4 near (-h0, m0) and (h0, -m0)",
    "the slope is a random walk over kinks in the angle, and minima are its zeros",
    supported=Outcome("Kinks make the minima, ever more of them.", Bearing.SHARPER),
    refuted=Outcome("The minima are not counted by the zeros of a random walk."),
)
CONDITIONS = Claim(
    "stationary_points.conditions",
    f"As {WIDEN}, d = s = 2 and 3, the WDC and the joint-WDC constants stay above 1/2 at every "
    "width",
    "Theorem 2 bounds the distance of stationary points by these constants",
    evidence=Evidence.LOWER,
    supported=Outcome(
        "The minima close in though the conditions do not improve: what places them is the "
        "deviation near the hyperbolas.",
        Bearing.SHARPER,
    ),
    refuted=Outcome("The conditions improve with the width.", Bearing.CONSISTENT),
)
NEAR: dict[str, tuple[Branch, ...]] = {"mixed": ((-1, 1), (1, -1)), "double": ((-1, -1),)}
"""Spurious hyperbolas by the number of factors that point away from the truth."""
DERIVED = {"mixed": 0.25, "double": 0.5}
"""Powers of the width with which the number of minima grows."""
KEYS = ["d", "hyperbola", "ell"]


@dataclass(frozen=True)
class Thresholds(Settings):
    """quarter, half : exponents of the angle in the deviation, with the latter's tolerance.

    number_error : tolerance of the exponents of the numbers of minima.
    constant : what the conditions' constants stay above.
    from_ell : least ell of the fits.
    """

    quarter: Annotated[float, Gt(0)]
    half: Annotated[float, Gt(0)]
    half_error: Annotated[float, Gt(0)]
    number_error: Annotated[float, Gt(0)]
    constant: Annotated[float, Gt(0)]
    from_ell: Size


@dataclass(frozen=True)
class StationaryPoints(Experiment):
    """One trial: two networks, the census of their stationary points, a row.

    `mixed` stands for the hyperbolas of (-h0, m0) and (h0, -m0), `double` for that of (-h0, -m0):
    near : number of spurious minima to which one of them is the nearest.
    angle, farthest : median and largest over them of the angles to -h0 or -m0; NaN if there are
        none.
    deviation : gradient on the hyperbola, where its expectation is 0, in units of its natural size.

    wdc : of all layers, the largest residual of the WDC at the truth, x = y.
    joint : lower end of the joint-WDC constant of the last layers from one row (docs/aligned-row).
    replica : numbers cells that measure the same; the number of networks is theirs times trials.
    """

    version: ClassVar[int] = 3
    claims: ClassVar[tuple[Claim, ...]] = (QUARTER, HALF, NUMBER, CONDITIONS)
    caption: ClassVar[str] = (
        "All local minima beside the truth of networks with n = p = 2 whose layers widen in "
        "proportion; mixed: near the hyperbolas of (-h0, m0) and (h0, -m0); double: near that of "
        "(-h0, -m0). (a) A network's median angle of its minima to -h0 or -m0, "
        "against the deviation of the gradient on the hyperbola: medians over networks, a mark a "
        "width; lines have the slope 1/4 that Theorem 2 allows, and 1/2. (b) Mean number of "
        "minima; lines have the slopes 1/2 and 1/4. (c) Lower ends of the conditions' constants, "
        "which do not fall, beside deviation and angle, which do. Bars are 95% intervals."
    )

    network: Ensemble
    replica: Replica
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size != 2:
                raise ValueError(f"network.{key}={size}: must be 2")

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        points = stationary_points(P)
        minima = points[points["kind"].isin(MINIMA) & (points["loss_ratio"] > TRUE_LOSS)]
        h, m = (direction(minima[name].to_numpy()) for name in ("theta", "phi"))
        row: Row = {
            "spurious": len(minima),
            "kink_minima": int((minima["kind"] == "kink minimum").sum()),
            "wdc": max(_residual_at(P.G1, P.h0), _residual_at(P.G2, P.m0)),
            "joint": aligned_bound(P.G1, P.G2, self.network.alpha),
            "status": "ok",  # no angle where there is no minimum
        }
        for name, branches in NEAR.items():
            at = {branch: minima["branch"] == branch for branch in branches}
            angles = np.concatenate([flipped_angles(P, h[k], m[k], b) for b, k in at.items()])
            row |= {
                f"near_{name}": int(sum(k.sum() for k in at.values())),
                f"angle_{name}": float(np.median(angles)) if angles.size else np.nan,
                f"farthest_{name}": float(angles.max()) if angles.size else np.nan,
                f"deviation_{name}": float(np.mean([deviation(P, b) for b in branches])),
            }
        return [row]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        replicas = cells.groupby(["d", "ell"]).size()
        networks = stats.trials_for_quantile(level=stats.simultaneous(len(replicas)))
        return {CONDITIONS.id: ceil(networks / replicas.min())}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        networks = self._networks(table)
        placed = _by_hyperbola(networks[networks["ell"] >= limits.from_ell])
        own = placed[placed["d"] == self.network.d]
        own = own.assign(excess=own["near"] / own["ell"] ** own["hyperbola"].map(DERIVED))
        found, some = (rows.dropna(subset="angle") for rows in (placed, own))

        def tested(rows: pd.DataFrame) -> str:
            many = len(rows.drop_duplicates(["d", "ell", "replica", "trial"]))
            return f"{selection.spread(rows, ('d', 'ell'))}, {many} networks"

        angles = "exponent of the median angle in the median deviation, ell as the instrument"
        power: Any = (["d", "hyperbola"], "ell", "deviation", "angle")
        return [
            claims.above(
                QUARTER,
                selection.jointly(scaling.instrumented_power_law, found, *power),
                limits.quarter,
                statistic=angles,
                tested=tested(found),
            ),
            claims.within(
                HALF,
                selection.jointly(scaling.instrumented_power_law, some, *power),
                *(limits.half - limits.half_error, limits.half + limits.half_error),
                statistic=angles,
                tested=tested(some),
                named=limits.half,
            ),
            claims.within(
                NUMBER,
                selection.jointly(scaling.growth, own, "hyperbola", "ell", "excess"),
                *(-limits.number_error, limits.number_error),
                statistic="exponent in ell of the mean number, less 1/2 (double) or 1/4 (mixed)",
                tested=tested(own),
                named=0.0,
            ),
            claims.above(
                CONDITIONS,
                selection.jointly(stats.quantile, networks, ["d", "ell"], "constant"),
                limits.constant,
                statistic="median of the lesser of both constants' lower ends",
                tested=tested(networks),
            ),
        ]

    def _networks(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell", "replica"))
        return rows.assign(constant=np.minimum(rows["wdc"], rows["joint"]))

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = _by_hyperbola(self._networks(table))
        local = {
            (*place, ell): exponent
            for place, group in rows.dropna(subset="angle").groupby(["d", "hyperbola"])
            for ell, exponent in stats.local_exponents(group["ell"], group["angle"]).items()
        }
        values: dict[str, Any] = {
            "networks": len,
            "minima": lambda g: f"{g['near'].mean():.1f}",
            "with one": lambda g: f"{(g['near'] > 0).mean():.2f}",
            "median angle": selection.median("angle", ".3f"),
            "its exponent": lambda g: f"{local.get(tuple(g[KEYS].iloc[0]), np.nan):.2f}",
            "farthest": selection.median("farthest", ".3f"),
            "deviation": selection.median("deviation", ".4f"),
            "WDC >=": selection.median("wdc", ".2f"),
            "joint-WDC >=": selection.median("joint", ".1f"),
        }
        return selection.summarise(rows, KEYS, values)

    def figure(self, table: pd.DataFrame) -> Figure:
        networks = self._networks(table)
        rows = _by_hyperbola(networks)
        found = rows.dropna(subset="angle")
        figure, axes = figures.panels(3)
        power, count, conditions = axes
        _draw_power(power, found)
        own = networks[networks["d"] == self.network.d]
        here = rows[rows["d"] == self.network.d].astype({"near": float})
        for index, (name, exponent) in enumerate(DERIVED.items()):
            group = here[here["hyperbola"] == name]
            figures.curve(count, group, "ell", "near", stats.mean, label=name, index=index)
            start = group.loc[group["ell"] == group["ell"].min(), "near"].mean()
            figures.reference(count, group["ell"], start, exponent, color="0.6", zorder=0)
        lines = {"wdc": "WDC", "joint": "joint-WDC"}
        lines |= {f"{key}_double": f"{key}, double" for key in ("deviation", "angle")}
        for index, (column, label) in enumerate(lines.items()):
            drawn = own.dropna(subset=column)
            look: Any = {"label": label, "index": index}
            figures.curve(conditions, drawn, "ell", column, stats.quantile, **look)
        conditions.axhline(self.thresholds.constant, color="0.4", linestyle=":", linewidth=1)
        count.set(ylabel="minima of a network", title=f"(b) number, d = s = {self.network.d}")
        conditions.set(ylabel="median", title=f"(c) conditions, d = s = {self.network.d}")
        for ax in (count, conditions):
            figures.plain_log(ax)
            figures.log_ticks(ax, networks["ell"].unique())
            ax.set_xlabel("ell")
        figures.headroom(conditions, 0.25)
        for ax in axes:
            figures.legend(ax)
        return figure


def _residual_at(G: ReluNetwork, x: Array) -> float:
    """Of the layers, the largest residual of the WDC where both vectors are the layer's input."""
    largest = 0.0
    for W in G.weights:
        if not x.any():
            break
        largest = max(largest, float(Residual(W).norms(x[None], x[None])[0]))
        x = np.maximum(W @ x, 0.0)
    return largest


def _by_hyperbola(networks: pd.DataFrame) -> pd.DataFrame:
    """A row for each network and kind of hyperbola; `group` says which, and the depth, in words."""
    import pandas as pd

    keys = ("near", "angle", "farthest", "deviation")
    parts = [
        networks.rename(columns={f"{key}_{name}": key for key in keys}).assign(hyperbola=name)
        for name in NEAR
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(group="d = " + rows["d"].astype(str) + ", " + rows["hyperbola"])


def _draw_power(ax: Axes, found: pd.DataFrame) -> None:
    """Medians of angle and deviation, a point a width, and lines of slopes 1/4 and 1/2."""
    medians = found.groupby(["group", "ell"])[["deviation", "angle"]].median()
    for marker, (name, at) in zip(figures.MARKERS, medians.groupby("group"), strict=False):
        ax.plot(at["deviation"], at["angle"], marker=marker, label=name)
    ends, top = medians["deviation"].agg(["min", "max"]), medians["angle"].max()
    for exponent, line in ((0.25, ":"), (0.5, "--")):
        start = top * (ends["min"] / ends["max"]) ** exponent
        style = {"color": "black", "linestyle": line, "label": f"slope {exponent:g}"}
        figures.reference(ax, ends, start, exponent, **style)
    ax.set(title="(a) angle against deviation", ylabel="median angle (radians)")
    figures.plain_log(ax)
    figures.plain_log(ax, "x")
    ax.set_xlabel("median deviation of the gradient")
