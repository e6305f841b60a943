"""Where -g1, -g2 and the expected directions -t1, -t2 descend: generic points, and kinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import claims, figures, selection, stats
from harness.arrays import Array
from harness.claims import Claim, Finding
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape import plane_kinks, polar_plane, product_grid, slopes
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KINKS = Claim(
    "descent_map.kinks",
    "Where both networks have a kink, outside A_epsilon, -g1 or -g2 descends from every side",
    "Theorem 2",
)
FLAT = Claim(
    "descent_map.flat",
    "Outside A_epsilon g1 or g2 is not small beside its natural scale",
    "Theorem 2",
)
EXPECTED = Claim(
    "descent_map.expected",
    "The share of points outside A_epsilon where (-t1, -t2) does not descend falls like a power of "
    "ell when all layers widen",
    "proof of Theorem 2",
)
RADIUS = Claim(
    "descent_map.radius",
    "The least epsilon whose A holds all points where it does not falls no slower than ell^(-1/8)",
    "ours: pointwise deviations like ell^(-1/2), to the power 1/4 of Theorem 2",
)
WORDS = {
    "gradient": "-g1, -g2 fail",
    "expected": "(-t1, -t2) fails",
    "flat": "gradients small",
}


@dataclass(frozen=True)
class Thresholds(Settings):
    """Largest shares of networks and exponents in ell; `from_ell`, the least ell judged."""

    from_ell: int
    kink_networks: float
    flat_networks: float
    expected_exponent: float
    radius_exponent: float


@dataclass(frozen=True)
class DescentMap(Experiment):
    """One trial: a network, a plane through h0 and one through m0; a row for each kind of point.

    The planes hold the directions in which g1 and g2 point where theory puts the hyperbola of
    (-h0, -m0).  h and m take all pairs of angles to h0 and m0, and r = ||h|| ||m|| all `radii`
    (times ||h0|| ||m0||); as f does not change along (c h, m/c), ||h|| = ||m||.  The kind of a
    point is the layer at whose kink h lies, and that for m: 0 and 0 for generic points; of the
    kinks in the planes those next to each of the angles are taken.

    Three questions, each with the share of pairs where the answer is yes, the share where it is so
    outside A_epsilon of all four hyperbolas, and the least epsilon whose A holds all of these
    pairs: "gradient", neither -g1 nor -g2 descends, at kinks for some of the sides that they are
    limits from; "expected", (-t1, -t2) does not descend; "flat", ||g1|| and ||g2|| are both below
    `flat` of their natural scales.  Nothing is left out by hand.
    """

    claims: ClassVar[tuple[Claim, ...]] = (KINKS, FLAT, EXPECTED, RADIUS)
    caption: ClassVar[str] = (
        "Where directions descend. At a generic point -g1 and -g2 cannot fail but in a dead cone, "
        "-g being the gradient's negative: only kinks and the expected directions (-t1, -t2) can "
        "tell anything. (a) One network, in planes through h0 and m0: share of the radii "
        "r = ||h|| ||m|| at which (-t1, -t2) does not descend, against the angles of h to h0 and "
        "of m to m0; crosses are the directions of the three spurious hyperbolas, the circle "
        "that of the true one. (b) The least epsilon for which A_epsilon of the four hyperbolas "
        "holds every sampled point where (-t1, -t2) does not descend: medians over networks with "
        "95% order-statistic intervals; no epsilon exceeds 1, the dotted line is the epsilon of "
        "(c). (c) Mean share of sampled points where (-t1, -t2) does not descend, and of pairs of "
        "kinks where neither -g1 nor -g2 does, anywhere (solid) and outside A_epsilon (dashed, "
        "hollow); a curve ends where no such point was found."
    )

    network: Ensemble
    degrees: list[Annotated[float, Ge(0), Le(180)]]
    radii: list[Annotated[float, Gt(0)]]
    kink_radii: list[Annotated[float, Gt(0)]]
    epsilon: Annotated[float, Gt(0), Le(1)]
    flat: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size < 2:
                raise ValueError(f"network.{key}={size}: a plane needs at least 2 dimensions")
        for key in ("degrees", "radii", "kink_radii"):
            if not getattr(self, key):
                raise ValueError(f"{key}=[]: must not be empty")

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        towards = slopes.steepest(P, rng)
        return [self._generic(P, towards), *self._kinks(P, towards)]

    def _generic(self, P: Demodulation, towards: tuple[Array, Array]) -> Row:
        H, M = self._plane(P, towards, np.radians(slopes.signed(self.degrees)))
        grid = product_grid(P, H, M, alpha=self.network.alpha)
        fails = slopes.fails(grid, grid, self.flat)
        return {"layer_h": 0, "layer_m": 0} | slopes.measure(P, H, M, fails, self.epsilon)

    def _plane(
        self, P: Demodulation, towards: tuple[Array, Array], angles: Array
    ) -> tuple[Array, Array]:
        """All angles, h at the radius of h0; m at all radii, by radius first."""
        norm_h, norm_m = np.linalg.norm(P.h0), np.linalg.norm(P.m0)
        H = polar_plane(P.h0, towards[0], [norm_h], angles)
        return H, polar_plane(P.m0, towards[1], norm_m * np.array(self.radii), angles)

    def _kinks(self, P: Demodulation, towards: tuple[Array, Array]) -> Iterator[Row]:
        """A row for every pair of layers."""
        kinks_h = slopes.next_to(plane_kinks(P.G1, P.h0, towards[0]), self.degrees)
        kinks_m = slopes.next_to(plane_kinks(P.G2, P.m0, towards[1]), self.degrees)
        radii = np.linalg.norm(P.m0) * np.array(self.kink_radii)
        H = np.linalg.norm(P.h0) * kinks_h.points
        M = np.multiply.outer(radii, kinks_m.points).reshape(-1, P.p)
        side_h, side_m = kinks_h.side, np.tile(kinks_m.side, (len(radii), 1))
        on, off = (
            product_grid(P, H, M, side_h=z * side_h, side_m=z * side_m, alpha=self.network.alpha)
            for z in (1, -1)
        )
        fails = slopes.fails(on, off, self.flat)
        layer_m = np.tile(kinks_m.layer, len(radii))
        for layers in np.ndindex(P.d, P.s):
            pick = np.ix_(kinks_h.layer == layers[0] + 1, layer_m == layers[1] + 1)
            if pick[0].size and pick[1].size:
                here = {name: mask[pick] for name, mask in fails.items()}
                points = H[pick[0][:, 0]], M[pick[1][0]]
                place: Row = {"layer_h": layers[0] + 1, "layer_m": layers[1] + 1}
                yield place | slopes.measure(P, *points, here, self.epsilon)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, grid = self.thresholds, ("n", "d", "ell")
        wide = self._measured(table)
        wide = wide[wide["ell"] >= limits.from_ell]
        generic, kinks = wide[wide["layer_h"] == 0], wide[wide["layer_h"] > 0]
        own = generic[generic["n"] == self.network.n]
        # A share of 0 counts as one pair.
        own = own.assign(share=own["outside_expected"].clip(lower=1 / own["pairs"]))
        resolved, left_out = selection.unsaturated(own, "epsilon_expected", "d", "ell")
        where = f"epsilon = {self.epsilon:g}, {selection.spread(wide, grid)}"
        return [
            claims.below(
                KINKS,
                _networks_with(kinks, "outside_gradient"),
                limits.kink_networks,
                statistic="share of networks with a pair of kinks outside A where both fail, at "
                "the worst n and depth",
                tested=f"{kinks['pairs'].sum():.0f} pairs of kinks, {where}"
                f"{selection.unmeasured(table)}",
            ),
            claims.below(
                FLAT,
                _networks_with(generic, "outside_flat"),
                limits.flat_networks,
                statistic=f"share of networks with a point outside A where both are below "
                f"{self.flat:g} of their scales, at the worst n and depth",
                tested=f"{generic['pairs'].sum():.0f} generic points, {where}",
            ),
            claims.below(
                EXPECTED,
                selection.jointly(stats.power_law, own, "d", "ell", "share"),
                limits.expected_exponent,
                statistic="exponent in ell of the median share, at the worst depth",
                tested=f"epsilon = {self.epsilon:g}, generic points, {selection.spread(own, grid)}",
            ),
            claims.below(
                RADIUS,
                selection.jointly(stats.power_law, resolved, "d", "ell", "epsilon_expected"),
                limits.radius_exponent,
                statistic="exponent in ell of the median least epsilon, at the worst depth",
                tested=f"generic points, {selection.spread(resolved, grid)}{left_out}",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        keys = ["n", "d", "ell", "layer_h", "layer_m"]
        table = self._measured(table).sort_values(keys, kind="stable")
        layers = table["layer_h"].astype(str) + ", " + table["layer_m"].astype(str)
        table = table.assign(kinks=layers.where(table["layer_h"] > 0, "none"))
        values: dict[str, Any] = {
            "pairs": lambda g: g["pairs"].sum(),
            "-g1 or -g2 fails": lambda g: f"{g['share_either'].mean():.2g}",
        }
        for q, words in WORDS.items():
            values |= {
                words: lambda g, q=q: f"{g[f'share_{q}'].mean():.2g}",
                f"{words} outside A": lambda g, q=q: f"{g[f'outside_{q}'].mean():.2g}",
                f"{words}: epsilon": lambda g, q=q: f"{g[f'epsilon_{q}'].median():.3g}",
            }
        headings = {"n": "n", "d": "d = s", "ell": "ell", "kinks": "kinks of layers"}
        return selection.summarise(table, headings, values, sort=False)

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the base settings with n = p and d = s, of networks with an observation."""
        base = selection.at_baseline(self, selection.ok(table), ("n", "p", "d", "s", "ell"))
        return base[(base["n"] == base["p"]) & (base["d"] == base["s"])]

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        figure, axes = figures.canvas(1, 3, width=11.5, height=3.7)
        example, distance, shares = axes[0]
        self._draw_map(figure, example, table)
        generic = table[table["layer_h"] == 0]
        for index, ((n, d), group) in enumerate(generic.groupby(["n", "d"])):
            look: Any = {"label": f"n = {n}, d = s = {d}", "index": index}
            figures.curve(distance, group, "ell", "epsilon_expected", stats.quantile, **look)
        distance.axhline(self.epsilon, color="0.4", linestyle=":", linewidth=1)
        distance.set(
            ylim=(0, 1.05),
            ylabel="least epsilon (median of networks)",
            title=r"(b) $A_\epsilon$ that holds every failure of $(-t_1, -t_2)$",
        )
        self._draw_shares(shares, table)
        for ax in (distance, shares):
            figures.log_ticks(ax, table["ell"].unique())
            ax.set_xlabel("signal length ell")
        figures.legend(distance, loc="lower left")
        return figure

    def _draw_map(self, figure: Figure, ax: Axes, table: pd.DataFrame) -> None:
        """One network again, from its seed, at angles all around."""
        own = table[(table["n"] == self.network.n) & (table["d"] == self.network.d)]
        example = (own if len(own) else table).iloc[-1]
        sizes: Any = {name: int(example[name]) for name in ("n", "p", "d", "s", "ell")}
        rng = np.random.default_rng(int(example["seed"]))
        experiment = replace(self, network=replace(self.network, **sizes))
        P = experiment.network.problem(rng)
        degrees = np.linspace(-180, 180, 91)
        H, M = experiment._plane(P, slopes.steepest(P, rng), np.radians(degrees))
        grid = product_grid(P, H, M, alpha=experiment.network.alpha)
        fails = slopes.expected_fails(grid).reshape(91, -1, 91).mean(axis=1)
        image = ax.pcolormesh(
            degrees, degrees, fails.T, cmap=figures.SEQUENTIAL, vmin=0, rasterized=True
        )
        figure.colorbar(image, ax=ax, pad=0.02, label=r"share of radii with failure")
        ax.plot(0, 0, "o", markersize=9, color="white", fillstyle="none")
        for x, y in ((180, 0), (0, 180), (180, 180)):
            for i, j in {(x, y), (-x, y), (x, -y), (-x, -y)}:
                ax.plot(i, j, "x", markersize=8, color="white", clip_on=False, zorder=5)
        ax.set(xlabel=r"angle of $h$ to $h_0$ (degrees)", ylabel=r"angle of $m$ to $m_0$ (degrees)")
        ax.set(xticks=[-180, -90, 0, 90, 180], yticks=[-180, -90, 0, 90, 180])
        title = f"(a) n = {P.n}, d = s = {P.d}, ell = {P.ell}, trial {example['trial']}"
        ax.set_title(title)
        ax.grid(False)

    def _draw_shares(self, ax: Axes, table: pd.DataFrame) -> None:
        own = table[(table["n"] == self.network.n) & (table["d"] == self.network.d)]
        generic, kinks = own[own["layer_h"] == 0], own[own["layer_h"] > 0]
        drawn = (
            (generic, "expected", r"$(-t_1, -t_2)$, generic points"),
            (kinks, "gradient", r"$-g_1$ and $-g_2$, kinks"),
        )
        for index, (rows, name, words) in enumerate(drawn):
            look: Any = {"color": figures.COLOURS[index], "marker": figures.MARKERS[index]}
            for column, line, filled, label in (
                ("share", "-", "full", words),
                ("outside", "--", "none", r"the same, outside $A_\epsilon$"),
            ):
                mean = rows.groupby("ell")[f"{column}_{name}"].mean()
                mean = mean[mean > 0]
                look |= {"markersize": 6, "fillstyle": filled, "label": label}
                ax.plot(mean.index, mean, line, **look)
        ax.set_yscale("log")
        ax.set_ylabel("share of pairs that fail")
        ax.set_title(f"(c) n = {self.network.n}, d = s = {self.network.d}")
        figures.headroom(ax, 0.35)
        figures.legend(ax, loc="upper right")


def _networks_with(table: pd.DataFrame, column: str) -> dict[str, stats.Estimate]:
    """For each n and depth, the share of networks with a row in which the column is positive."""
    worst = table.groupby(["n", "d", "ell", "trial"])[column].max().reset_index()
    worst[column] = worst[column] > 0
    return selection.jointly(stats.proportion, worst, ["n", "d"], column)
