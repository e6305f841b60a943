"""Where the expected directions -t1, -t2 descend, in planes through the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import claims, figures, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape import polar_plane, product_grid, slopes
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


EXPECTED = Claim(
    "descent_map.expected",
    "For n = p = 5, d = s = 2 and 3, as all layers widen in proportion, the share of points "
    "outside A_epsilon, epsilon = 1/2, where (-t1, -t2) does not descend falls at least like "
    "ell^(-1/2)",
    "proof of Theorem 2",
    Role.PAPER,
    supported=Outcome(
        "The expected directions soon descend wherever the theorem says.", Bearing.CONSISTENT
    ),
    refuted=Outcome("Points where they do not descend hardly become fewer."),
)
RADIUS = Claim(
    "descent_map.radius",
    "For n = p = 5, d = s = 2 and 3, as all layers widen in proportion, the least epsilon whose A "
    "holds all points where (-t1, -t2) does not descend falls no slower than ell^(-1/8)",
    "pointwise deviations fall like ell^(-1/2); the power 1/4 of Theorem 2",
    supported=Outcome("Failures close in at least at the theorem's rate.", Bearing.CONSISTENT),
    refuted=Outcome("Failures close in more slowly than the theorem's power has it."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """Largest exponents in ell; `from_ell`, the least ell judged."""

    from_ell: int
    expected_exponent: float
    radius_exponent: float


@dataclass(frozen=True)
class DescentMap(Experiment):
    """One trial: a network, a plane through h0 and one through m0; a row.

    The planes hold the directions in which g1 and g2 point where theory puts the hyperbola of
    (-h0, -m0).  h and m take all pairs of angles to h0 and m0, and r = ||h|| ||m|| all `radii`
    (times ||h0|| ||m0||); as f does not change along (c h, m/c), ||h|| = ||m||.

    share, outside : share of the pairs at which (-t1, -t2) does not descend, and of those that are
        outside A_epsilon of all four hyperbolas.
    reach : the least epsilon whose A holds all of the failures.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (EXPECTED, RADIUS)
    caption: ClassVar[str] = (
        "Where the expected directions (-t1, -t2) descend. At a generic point the gradient's "
        "negative cannot fail but in a dead cone; the proof rests on the expected directions. (a) "
        "One network, in planes through h0 and m0: share of the radii r = ||h|| ||m|| at which "
        "(-t1, -t2) does not descend, against the angles of h to h0 and of m to m0; crosses are "
        "the directions of the three spurious hyperbolas, the circle that of the true one. (b) The "
        "least epsilon for which A_epsilon of the four hyperbolas holds every sampled point where "
        "(-t1, -t2) does not descend: medians over networks with 95% order-statistic intervals; no "
        "epsilon exceeds 1, the dotted line is the epsilon of (c). (c) Mean share of sampled "
        "points where it does not, anywhere (solid) and outside A_epsilon (dashed, hollow); a "
        "curve ends where no such point was found."
    )

    network: Ensemble
    degrees: list[Annotated[float, Ge(0), Le(180)]]
    radii: list[Annotated[float, Gt(0)]]
    epsilon: Annotated[float, Gt(0), Le(1)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size < 2:
                raise ValueError(f"network.{key}={size}: a plane needs at least 2 dimensions")
        for key in ("degrees", "radii"):
            if not getattr(self, key):
                raise ValueError(f"{key}=[]: must not be empty")

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        towards = slopes.steepest(P, rng)
        H, M = self._plane(P, towards, np.radians(slopes.signed(self.degrees)))
        fails = slopes.expected_fails(product_grid(P, H, M, alpha=self.network.alpha))
        i, j = np.nonzero(fails)
        reach, outside = slopes.reach(P, H[i], M[j], self.epsilon)
        row: Row = {
            "pairs": fails.size,
            "share": float(fails.mean()),
            "outside": outside / fails.size,
            "reach": reach,
        }
        return [row]

    def _plane(
        self, P: Demodulation, towards: tuple[Array, Array], angles: Array
    ) -> tuple[Array, Array]:
        """All angles, h at the radius of h0; m at all radii, by radius first."""
        norm_h, norm_m = np.linalg.norm(P.h0), np.linalg.norm(P.m0)
        H = polar_plane(P.h0, towards[0], [norm_h], angles)
        return H, polar_plane(P.m0, towards[1], norm_m * np.array(self.radii), angles)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, grid = self.thresholds, ("n", "d", "ell")
        rows = self._measured(table)
        own = rows[(rows["ell"] >= limits.from_ell) & (rows["n"] == self.network.n)]
        # A share of 0 counts as one pair.
        own = own.assign(counted=own["outside"].clip(lower=1 / own["pairs"]))
        resolved, left_out = selection.unsaturated(own, "reach", "d", "ell")
        return [
            claims.below(
                EXPECTED,
                selection.jointly(stats.power_law, own, "d", "ell", "counted"),
                limits.expected_exponent,
                statistic="exponent in ell of the median share",
                tested=f"epsilon = {self.epsilon:g}, {selection.spread(own, grid)}"
                f"{selection.unmeasured(table)}",
            ),
            claims.below(
                RADIUS,
                selection.jointly(stats.power_law, resolved, "d", "ell", "reach"),
                limits.radius_exponent,
                statistic="exponent in ell of the median least epsilon",
                tested=f"{selection.spread(resolved, grid)}{left_out}",
                named=-0.125,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "pairs": lambda g: g["pairs"].sum(),
            "(-t1, -t2) fails": lambda g: f"{g['share'].mean():.2g}",
            "outside A": lambda g: f"{g['outside'].mean():.2g}",
            "least epsilon": selection.median("reach"),
        }
        headings = {"n": "n", "d": "d = s", "ell": "ell"}
        return selection.summarise(self._measured(table), headings, values)

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the base settings with n = p and d = s, of networks with an observation."""
        base = selection.at_baseline(self, selection.ok(table), ("n", "p", "d", "s", "ell"))
        return base[(base["n"] == base["p"]) & (base["d"] == base["s"])]

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        figure, axes = figures.panels(3)
        example, distance, shares = axes
        self._draw_map(figure, example, table)
        for index, ((n, d), group) in enumerate(table.groupby(["n", "d"])):
            look: Any = {"label": f"n = {n}, d = s = {d}", "index": index}
            figures.curve(distance, group, "ell", "reach", stats.quantile, **look)
        distance.axhline(self.epsilon, color="0.4", linestyle=":", linewidth=1)
        distance.set(
            ylim=(0, 1.05),
            ylabel=r"least $\epsilon$, median",
            title=r"(b) $A_\epsilon$ that holds every failure",
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
        own = table[table["n"] == self.network.n]
        for index, (d, rows) in enumerate(own.groupby("d")):
            look: Any = {"color": figures.COLOURS[index], "marker": figures.MARKERS[index]}
            for column, line, filled, label in (
                ("share", "-", "full", f"d = s = {d}"),
                ("outside", "--", "none", r"the same, outside $A_\epsilon$"),
            ):
                mean = rows.groupby("ell")[column].mean()
                mean = mean[mean > 0]
                look |= {"markersize": 6, "fillstyle": filled, "label": label}
                ax.plot(mean.index, mean, line, **look)
        ax.set_yscale("log")
        ax.set(ylabel="share of pairs that fail", title=f"(c) n = {self.network.n}")
        figures.headroom(ax, 0.35)
        figures.legend(ax, loc="upper right")
