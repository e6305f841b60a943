"""Every stationary point of sampled networks with n = p = 2: how many, where, and who escapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.conditions import wdc_bracket
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import Ensemble, Size
from harness.experiment import Experiment, Row, Settings
from harness.landscape import (
    MAXIMA,
    MINIMA,
    SADDLES,
    direction,
    linear_arcs,
    stationary_points,
    torus_index,
    torus_profile,
)
from harness.problem import BRANCHES, Demodulation, branch_name
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISTANCE = Claim(
    "stationary_points.distance",
    "As all layers widen, the local minima close in on the four hyperbolas at least as fast as the "
    "WDC constant to the power 1/4",
    "Theorem 2",
)
EXIST = Claim(
    "stationary_points.exist",
    "There are local minima beside the truth, so that Algorithm 1 needs its sign check",
    "expected landscape",
)
ESCAPE = Claim(
    "stationary_points.escape",
    "From every spurious minimum one sign check and descent find the truth",
    "Algorithm 1, step (i)",
)
COMPLETE = Claim(
    "stationary_points.complete",
    "Minima less saddles plus maxima are 0 where neither plateaus nor flat lines interfere",
    "Poincare and Hopf",
)
NAMES = {branch: branch_name(branch) for branch in BRANCHES}


@dataclass(frozen=True)
class Thresholds(Settings):
    """power : least exponent of the worst epsilon in the WDC constant; rates : least shares of
    networks.
    """

    power: Annotated[float, Gt(0)]
    exist_rate: float
    escape_rate: float
    complete_rate: float


@dataclass(frozen=True)
class StationaryPoints(Experiment):
    """One trial: two networks and the census of their stationary points; a row for each minimum.

    The WDC constant of a network is the largest of its layers'; it is certified for layers with
    n = 2 inputs and a lower bound by search for the others.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (DISTANCE, EXIST, ESCAPE, COMPLETE)
    caption: ClassVar[str] = (
        "All stationary points of networks with n = p = 2 whose layers widen by equal factors up "
        "to ell. (a) Distance epsilon of all local minima but the truth to the nearest hyperbola, "
        "by hyperbola (++ the true one), at d = s = 2: medians, pale bands the central 90%. (b) "
        "The distance of a network's worst minimum against the largest WDC constant of its layers, "
        "a dot a network; black lines have the slope 1/4 that Theorem 2 allows; no epsilon exceeds "
        "1, the dotted line. (c) Stationary "
        "points of a network by kind; a kink is a direction at which a unit of either network "
        "switches. (d) Share of networks in which Algorithm 1, started at each spurious minimum, "
        "finds the truth after one sign check. Dots "
        "are medians or shares with 95% intervals."
    )

    network: Ensemble
    budget: Size
    max_steps: Size
    kappa: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size != 2:
                raise ValueError(f"network.{key}={size}: must be 2")

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        points = stationary_points(P)
        minima = points[points["kind"].isin(MINIMA)]
        radius = np.sqrt(minima["r"].to_numpy())[:, None]
        h, m = (radius * direction(minima[angle].to_numpy()) for angle in ("theta", "phi"))
        losses = np.stack([P.loss(i * h, j * m) for i, j in BRANCHES]) / P.loss_at_zero
        descent = alternating_descent(
            *(P, h, m, step_size(P, self.kappa), self.max_steps),
            sign_check="once",
            stopping=Stopping(loss_rtol=1e-8),
        )
        network: Row = {
            "minima": len(minima),
            "kink_minima": int((minima["kind"] == "kink minimum").sum()),
            "saddles": int(points["kind"].isin(SADDLES).sum()),
            "maxima": int(points["kind"].isin(MAXIMA).sum()),
            "degenerate": int((points["kind"] == "degenerate").sum()),
            "plateau": _plateau(P),
            "torus_index": torus_index(points),
            "wdc": max(
                wdc_bracket(W, rng=rng, budget=self.budget).lower
                for G in (P.G1, P.G2)
                for W in G.weights
            ),
        }
        return [
            {
                "branch": NAMES[point.branch],
                "spurious": point.loss_ratio > 1e-9,
                "epsilon": point.epsilon,
                "radius": point.r,
                "loss_ratio": point.loss_ratio,
                "layer_h": point.layer_h,
                "layer_m": point.layer_m,
                "least_loss_ratio": float(losses[:, k].min()),
                "recovers": descent.status[k] == Status.CONVERGED,
                **network,
            }
            for k, point in enumerate(minima.itertuples(index=False))
        ]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        networks = _networks(selection.at_baseline(self, table, ("d", "s", "ell")))
        wide = networks[networks["ell"] == networks.groupby("d")["ell"].transform("max")]
        spurious, left_out = selection.unsaturated(
            networks[networks["spurious"] > 0], "epsilon", "d", "ell"
        )
        clean = networks[~networks["plateau"] & (networks["degenerate"] == 0)]
        axes = ("d", "ell")
        largest = selection.spread(wide, axes)
        return [
            claims.above(
                DISTANCE,
                selection.jointly(_exponent, spurious, "d"),
                limits.power,
                statistic="exponent in the median WDC constant of the median worst epsilon",
                tested=f"{selection.spread(spurious, axes)}, networks with spurious minima"
                f"{left_out}",
            ),
            claims.above(
                EXIST,
                selection.jointly(stats.proportion, wide, "d", "some"),
                limits.exist_rate,
                statistic="share of networks with a spurious minimum, at the worst depth",
                tested=largest,
            ),
            claims.above(
                ESCAPE,
                selection.jointly(stats.proportion, wide, "d", "recovers"),
                limits.escape_rate,
                statistic="share of networks in which it does, from every minimum, at the worst d",
                tested=f"{largest}, kappa = {self.kappa:g}, {self.max_steps} steps",
            ),
            claims.above(
                COMPLETE,
                stats.proportion(clean["torus_index"].to_numpy() == 0),
                limits.complete_rate,
                statistic="share of networks",
                tested=f"{selection.spread(clean, axes)}, {len(clean)} of {len(networks)} networks",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": lambda g: len(_networks(g)),
            "median WDC constant": lambda g: f"{_networks(g)['wdc'].median():.3f}",
        }
        for name in NAMES.values():
            values[f"minima near {name}"] = partial(_minima_near, name=name)
        return selection.summarise(selection.ok(table), ["d", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = selection.ok(table)
        networks = _networks(table)
        figure, axes = figures.canvas(2, 2, width=8.5, height=3.2)
        (near, power), (count, escape) = axes
        every = table[table["spurious"].astype(bool) & (table["d"] == self.network.d)]
        look: Any = {"by": "branch", "order": NAMES.values(), "spread": 1.08, "line": False}
        figures.curves(near, every, "ell", "epsilon", stats.quantile, band=True, **look)
        for group, style in figures.styled(networks, "d", label="d = s = {}"):
            index, found = style["index"], group[group["spurious"] > 0]
            dots: Any = {"color": figures.COLOURS[index], "marker": figures.MARKERS[index]}
            dots |= {"s": 12, "alpha": 0.5, "label": style["label"]}
            power.scatter(found["wdc"], found["epsilon"], **dots)
            x, y = found["wdc"].median(), found["epsilon"].median()
            line: Any = {"color": "black", "label": "slope 1/4" if index == 0 else None}
            figures.reference(power, (0.7 * x, 1.4 * x), 0.7**0.25 * y, 0.25, **line)
            figures.curve(escape, group, "ell", "recovers", stats.proportion, **style)
        self._draw_kinds(count, networks)
        near.set(
            ylabel="epsilon to the nearest hyperbola",
            ylim=(0, 1.2),
            yticks=np.linspace(0, 1, 6),
            title=f"(a) where the minima are, d = s = {self.network.d}",
        )
        power.axhline(1, color="0.4", linestyle=":", linewidth=1)
        power.set(
            xlabel="WDC constant of the worst layer",
            ylabel="worst epsilon of a network",
            title="(b) against the measured WDC constant",
        )
        escape.set(ylabel="share of networks", ylim=(-0.02, 1.05), title="(d) escape by one check")
        for ax in (near, count, escape):
            figures.log_ticks(ax, networks["ell"].unique())
            ax.set_xlabel("ell")
        figures.log_ticks(power, [0.25, 0.5, 1, 2, 4], "x")
        figures.log_ticks(power, [0.3, 0.4, 0.5, 0.6, 0.8, 1], "y")
        figures.headroom(count, 0.45)
        figures.legend(near, ncols=4, loc="upper left")
        figures.legend(power, loc="lower right")
        figures.legend(count, loc="upper left")
        figures.legend(escape, loc="upper left")
        return figure

    def _draw_kinds(self, ax: Axes, networks: pd.DataFrame) -> None:
        base = networks[networks["d"] == self.network.d]
        kinds = {
            "spurious": "spurious minima",
            "saddles": "saddles",
            "maxima": "maxima (all on kinks)",
        }
        for index, (kind, words) in enumerate(kinds.items()):
            style: Any = {"label": words, "index": index, "shift": 1 + 0.03 * index}
            figures.curve(ax, base.astype({kind: float}), "ell", kind, stats.quantile, **style)
        ax.set(ylabel="points of a network", title=f"(c) by kind, d = s = {self.network.d}")


def _plateau(P: Demodulation) -> bool:
    """Whether some pair of arcs has <y0, a*b> = 0, dead cones included."""
    middles = linear_arcs(P.G1).middle, linear_arcs(P.G2).middle
    return bool((torus_profile(P, *middles).r == 0).any())


def _networks(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each network: counts, its worst spurious minimum, whether all are escaped."""
    table = selection.ok(table)
    spurious = table["spurious"].astype(bool)
    rows = table.assign(
        spurious=spurious,
        epsilon=table["epsilon"].where(spurious),
        recovers=table["recovers"].astype(bool) | ~spurious,
        plateau=table["plateau"].astype(bool),
    )
    counts = ["minima", "saddles", "maxima", "degenerate", "plateau", "torus_index", "wdc"]
    rules = {
        "epsilon": "max",
        "recovers": "all",
        "spurious": "sum",
        **dict.fromkeys(counts, "first"),
    }
    networks = rows.groupby(["d", "ell", "trial"]).agg(rules).reset_index()
    return networks.assign(some=networks["spurious"] > 0)


def _exponent(networks: pd.DataFrame, level: float) -> stats.Estimate:
    """Exponent of the median worst epsilon in the median WDC constant, over the values of ell."""
    constant = networks.groupby("ell")["wdc"].transform("median")
    return stats.power_law(constant, networks["epsilon"], level=level)


def _minima_near(table: pd.DataFrame, name: str) -> str:
    """Spurious minima a network near a hyperbola (share of networks with one, median epsilon)."""
    networks = table["trial"].nunique()
    at = table[table["spurious"].astype(bool) & (table["branch"] == name)]
    near = f", epsilon {at['epsilon'].median():.3f}" if len(at) else ""
    return f"{len(at) / networks:.1f} ({at['trial'].nunique() / networks:.2f}{near})"
