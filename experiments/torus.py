"""The whole landscape of one network on the torus of directions, with every stationary point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from harness import claims, figures, gallery, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape import (
    expected_profile,
    plane_through,
    section,
    stationary_points,
    torus_profile,
)
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHAPE = Claim(
    "torus.shape",
    "For n = p = 2 the loss of the median network, minimised over scale, is correlated with that "
    "of the expected loss over all pairs of directions, at d = s = 2 and 3 and the largest ell",
    "expected landscape, proof of Theorem 2",
    Role.PAPER,
    supported=Outcome("One network's landscape looks like the expected one.", Bearing.CONSISTENT),
    refuted=Outcome("At these widths one network's landscape looks different."),
)
RATE = Claim(
    "torus.rate",
    "For n = p = 2 the deviation of a network's loss, minimised over scale, from that of the "
    "expected loss shrinks at least like the width of the narrowest layer to the power -1/2",
    "the concentration that the proof of Theorem 2 rests on; no rate is stated",
    Role.SHARPER,
    supported=Outcome("The landscape converges no slower than a mean fluctuates.", Bearing.SHARPER),
    refuted=Outcome("The landscape converges more slowly than a mean fluctuates."),
)
MARKS: dict[str, dict[str, Any]] = {
    "minimum": {"marker": "o", "color": "#D55E00", "s": 9, "label": "minimum"},
    "kink minimum": {"marker": "D", "color": "#CC79A7", "s": 7, "label": "minimum on a kink"},
    "saddle": {"marker": "x", "color": "white", "s": 7, "label": "saddle"},
    "kink saddle": {"marker": "+", "color": "white", "s": 7, "label": "saddle on a kink"},
    "kink maximum": {"marker": "^", "color": "#56B4E9", "s": 5, "label": "maximum on a kink"},
}
DRAWN_ELL = 800
"""Largest ell drawn.  All stationary points of one network at ell = 2,000 take half a minute."""


@dataclass(frozen=True)
class Thresholds(Settings):
    """correlation : least median at the largest ell.  exponent : greatest, see `judge`."""

    correlation: float
    exponent: float


@dataclass(frozen=True)
class Torus(Experiment):
    """One trial: two networks; their profile F(u, v) = min over r of f(r u, v) on a grid.

    h runs over a great circle through h0 and m over one through m0 (for n = p = 2 over all
    directions): F is compared with the profile of the expected loss at points x points angles.
    """

    claims: ClassVar[tuple[Claim, ...]] = (SHAPE, RATE)
    caption: ClassVar[str] = (
        "The whole landscape for n = p = 2: the loss, minimised over the scale ||h|| ||m|| and "
        "relative to its value on K, over the angles of h to h0 and of m to m0; both axes close to "
        "a torus. From left to right networks whose layers widen by equal factors up to ell (drawn "
        "up to 800), and the expected loss; from top to bottom growing depth d = s. Rings are the "
        "four hyperbolas of Theorem 2: the truth at (0, 0), the spurious ones at (pi, 0), (0, pi) "
        "and (pi, pi). All stationary points of each network are marked; where many are close, "
        "kinks, directions at which a unit switches, separate them. Each panel shows the trial "
        "whose deviation from the expected loss is the median one."
    )

    network: Ensemble
    points: Annotated[int, Ge(4), Le(10**4)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size < 2:
                raise ValueError(
                    f"network.{key}={size}: must be >= 2, there is no circle of others"
                )

    def problem(self, rng: np.random.Generator) -> Demodulation:
        """The loss on two great circles through h0 and m0, where both have the angle 0."""
        P = self.network.problem(rng)
        planes = [plane_through(x, rng.standard_normal(x.size)) for x in (P.h0, P.m0)]
        return section(P, *planes)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.problem(rng)
        grid = np.linspace(-np.pi, np.pi, self.points, endpoint=False)
        found = torus_profile(P, grid, grid)
        expected = expected_profile(grid[:, None], grid, P.d, P.s)
        error = found.loss_ratio - expected
        return [
            {
                "narrowest": min(P.G1.widths[1], P.G2.widths[1]),
                "deviation": float(np.sqrt(np.mean(error**2))),
                "worst": float(np.abs(error).max()),
                "correlation": float(np.corrcoef(found.loss_ratio.ravel(), expected.ravel())[0, 1]),
                "dead": float(found.dead.mean()),
            }
        ]

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        depths = cells["d"].nunique()
        return {SHAPE.id: stats.trials_for_quantile(level=stats.simultaneous(depths))}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        base = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell"))
        wide = selection.largest(base, "ell")
        where = selection.spread(wide, ("n", "p", "d", "ell"))
        return [
            claims.above(
                SHAPE,
                selection.jointly(stats.quantile, wide, "d", "correlation"),
                limits.correlation,
                statistic="median correlation of the two profiles, by depth",
                tested=f"{where}, {self.points}^2 directions",
            ),
            claims.below(
                RATE,
                selection.jointly(stats.power_law, base, "d", "narrowest", "deviation"),
                limits.exponent,
                statistic="exponent of the median deviation in the narrowest layer's width",
                tested=f"{selection.spread(base, ('n', 'd', 'narrowest'))}",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "narrowest layer": lambda g: g["narrowest"].min(),
            "networks": len,
            "median deviation (rms)": lambda g: round(g["deviation"].median(), 4),
            "median of the worst": lambda g: round(g["worst"].median(), 3),
            "median correlation": lambda g: str(stats.quantile(g["correlation"])),
        }
        return selection.summarise(selection.ok(table), ["d", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell"))
        depths = sorted(table["d"].unique())
        ells = sorted(table.loc[table["ell"] <= DRAWN_ELL, "ell"].unique())
        rows, columns = max(len(depths), 1), len(ells) + 1
        figure, axes = figures.canvas(rows, columns, height=1.55)
        image = None
        for d, line in zip(depths, axes, strict=False):
            for ell, ax in zip(ells, line, strict=False):
                cell = table[(table["d"] == d) & (table["ell"] == ell)]
                if len(cell):
                    median = cell["deviation"].sort_values().index[len(cell) // 2]
                    image = self._draw(ax, cell.loc[median])
                else:
                    ax.set_axis_off()
            self._draw_expected(line[-1], int(d))
        for ax in axes.ravel():
            gallery.torus_axes(ax, first=ax in axes[:, 0], last=ax in axes[-1])
        if image is not None:
            figure.colorbar(
                image, ax=axes, label=r"$f\,/\,f|_K$", ticks=gallery.LEVELS[::2], shrink=0.8
            )
        _legend(figure)
        return figure

    def _draw(self, ax: Axes, row: pd.Series) -> Any:
        """The profile of the network of a row, with its stationary points."""
        network = replace(self.network, d=int(row["d"]), s=int(row["s"]), ell=int(row["ell"]))
        P = replace(self, network=network).problem(np.random.default_rng(int(row["seed"])))
        grid = np.linspace(-np.pi, np.pi, 361)
        image = gallery.draw_torus(ax, grid, torus_profile(P, grid, grid).loss_ratio)
        found = stationary_points(P)
        for kind, mark in MARKS.items():
            at = found[found["kind"] == kind]
            ax.scatter(at["theta"], at["phi"], linewidths=0.5, **mark)
        widths = "-".join(map(str, P.G1.widths))
        ax.set_title(f"{widths}\n{len(found)} points", fontsize=7)
        return image

    def _draw_expected(self, ax: Axes, d: int) -> None:
        grid = np.linspace(-np.pi, np.pi, 361)
        gallery.draw_torus(ax, grid, expected_profile(grid[:, None], grid, d, d))
        ax.set_title(f"expected,\nd = s = {d}", fontsize=7)


def _legend(figure: Figure) -> None:
    """One legend for all panels, on a dark ground so that the white marks show."""
    handles = [
        figures.mark(marker=mark["marker"], color=mark["color"], label=mark["label"], markersize=5)
        for mark in MARKS.values()
    ]
    ring: Any = {"marker": "o", "markersize": 7, "markerfacecolor": "none", "color": "black"}
    handles.append(figures.mark(label="hyperbolas of Theorem 2", **ring))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=3)
    legend.get_frame().set(facecolor="0.72", alpha=1)
