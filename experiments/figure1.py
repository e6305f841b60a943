"""Figure 1 of the paper: the landscape for n = p = 1, and where its four valleys lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.experiment import Experiment, Row, Settings, UnmeasurableError
from harness.landscape import product_grid
from harness.network import LastLayer, gaussian_network
from harness.problem import BRANCHES, Demodulation
from harness.status import Status
from harness.theory import rho

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALLEYS = Claim(
    "figure1.valleys",
    "For n = p = 1, d = s = 2 and widths 1-e-e^2 the four valleys of the loss lie at h m = 1, "
    "-rho_2, -rho_2, rho_2^2 in the median network",
    "Figure 1; Theorem 2",
    Role.PAPER,
    supported=Outcome("The paper's figure shows the typical network.", Bearing.CONSISTENT),
    refuted=Outcome("The valleys lie elsewhere.", Bearing.CONTRADICTS),
)
RATE = Claim(
    "figure1.rate",
    "For n = p = 1, d = s = 2 and widths 1-e-e^2 the three spurious valleys of one network come "
    "closer to their predicted places like e^(-1/2)",
    "the concentration that the proof of Theorem 2 rests on; no rate is stated",
    Role.SHARPER,
    supported=Outcome("The narrowest layer's fluctuation moves the valleys.", Bearing.SHARPER),
    refuted=Outcome("The valleys approach their places at another rate."),
)
NAMES = {(i, j): f"h {'>' if i > 0 else '<'} 0, m {'>' if j > 0 else '<'} 0" for i, j in BRANCHES}


@dataclass(frozen=True)
class Thresholds(Settings):
    """valley_error : tolerance of the median h m at the largest expansivity.

    exponent_error : tolerance of the exponent -1/2, fitted from the expansivity `fit_from` on.
    """

    valley_error: float
    exponent_error: float
    fit_from: int


@dataclass(frozen=True)
class Figure1(Experiment):
    """One trial: two networks of widths 1-e-e^2 (e the expansivity), h0 = m0 = 1; four rows.

    For h, m of fixed signs the loss is quadratic in |h m|, so that the product h m of each valley
    is measured exactly: <y0, a*b> / ||a*b||^2 with a = G1(+-1), b = G2(+-1).
    """

    claims: ClassVar[tuple[Claim, ...]] = (VALLEYS, RATE)
    caption: ClassVar[str] = (
        "The loss f(h, m) of one random network with n = p = 1, d = s = 2 and h0 = m0 = 1: (a) "
        "surface, (b) the same seen from above; colour is f relative to that on K = {h m = 0}. "
        "Black lines are the four hyperbolas of Theorem 2: solid the true one, h m = 1, dashed the "
        "spurious ones, h m = -rho_2, -rho_2, rho_2^2. (c) Valley positions h m of many "
        "networks against the expansivity e (widths 1-e-e^2): medians with 95% order-statistic "
        "intervals, pale bands the central 90% (cut at -0.9 and 2), dashed lines the prediction. "
        "(d) Median distance of a network's valley from the prediction; the grey line has slope "
        "-1/2. The true valley lies at h m = 1 in every network."
    )

    expansivity: Annotated[int, Ge(2)]
    last_layer: LastLayer
    thresholds: Thresholds

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return 16 * (self.expansivity + self.expansivity**3)

    def problem(self, rng: np.random.Generator) -> Demodulation:
        """Two networks of widths 1-e-e^2 and the truth h0 = m0 = 1."""
        widths = (1, self.expansivity, self.expansivity**2)
        G1 = gaussian_network(rng, widths, self.last_layer)
        G2 = gaussian_network(rng, widths, self.last_layer)
        return Demodulation(G1, G2, np.ones(1), np.ones(1))

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.problem(rng)
        if P.status != Status.OK:
            raise UnmeasurableError(P.status)
        rows: list[Row] = []
        for i, j in BRANCHES:
            product = P.G1([float(i)]) * P.G2([float(j)])
            size = float(product @ product)
            rows.append(
                {
                    "valley": NAMES[i, j],
                    "predicted": (1 if i > 0 else -rho(2)) * (1 if j > 0 else -rho(2)),
                    "product": i * j * float(P.y0 @ product) / size if size > 0 else 0.0,
                }
            )
        return rows

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        return {VALLEYS.id: stats.trials_for_quantile(level=stats.simultaneous(len(BRANCHES)))}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._measured(table)
        spurious = table[table["valley"] != NAMES[1, 1]]
        wide = selection.largest(table, "expansivity")
        largest = table["expansivity"].max()
        fitted = spurious[spurious["expansivity"] >= limits.fit_from]
        return [
            claims.within(
                VALLEYS,
                selection.jointly(stats.quantile, wide, "valley", "error"),
                *(-limits.valley_error, limits.valley_error),
                statistic="median of h m - predicted, by valley",
                tested=f"widths 1-{largest}-{largest**2}, {self.last_layer} last layers",
            ),
            claims.within(
                RATE,
                selection.jointly(stats.power_law, fitted, "valley", "expansivity", "distance"),
                *(-0.5 - limits.exponent_error, -0.5 + limits.exponent_error),
                statistic="exponent in e of the median |h m - predicted|, by valley",
                tested=f"widths 1-e-e^2, {selection.spread(fitted, ('expansivity',))}",
                named=-0.5,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks": len,
            "predicted h m": lambda g: round(g["predicted"].iloc[0], 5),
            "median h m": lambda g: round(stats.quantile(g["product"]).value, 5),
            "interval": lambda g: stats.quantile(g["product"]).interval(".4f"),
            "median |error|": lambda g: round(g["distance"].median(), 5),
        }
        headings = {"valley": "valley", "expansivity": "e"}
        return selection.summarise(self._measured(table), headings, values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        figure, axes = figures.panels(4)
        choice = (table["expansivity"] - self.expansivity).abs().idxmin()
        example = table.loc[choice]
        P = replace(self, expansivity=int(example["expansivity"])).problem(
            np.random.default_rng(int(example["seed"]))
        )
        axis = np.linspace(-2, 2, 161)
        # Rows of the map are m.
        loss = product_grid(P, axis[:, None], axis[:, None]).loss.T / P.loss_at_zero
        title = f"(a) widths 1-{P.G1.widths[1]}-{P.ell}, trial {example['trial']}"
        self._draw_surface(figure, axes, axis, loss, title)
        self._draw_map(figure, axes[1], axis, loss)
        self._draw_positions(axes[2], table)
        self._draw_errors(axes[3], table)
        return figure

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the own law of the last layer, with the errors against the prediction."""
        base = selection.ok(table)
        base = base[base["last_layer"] == self.last_layer]
        error = base["product"] - base["predicted"]
        return base.assign(error=error, distance=error.abs())

    def _draw_surface(
        self, figure: Figure, axes: Any, axis: np.ndarray, loss: np.ndarray, title: str
    ) -> None:
        place = axes[0].get_subplotspec()
        axes[0].remove()
        surface: Any = figure.add_subplot(place, projection="3d")
        h, m = np.meshgrid(axis, axis)
        surface.plot_surface(
            h, m, np.minimum(loss, 2.5), cmap=figures.SEQUENTIAL, rstride=4, cstride=4, linewidth=0
        )
        surface.set(xlabel="h", ylabel="m", zlabel=r"$f\,/\,f|_K$ (cut at 2.5)", title=title)
        surface.view_init(elev=38, azim=-120)

    def _draw_map(self, figure: Figure, ax: Axes, axis: np.ndarray, loss: np.ndarray) -> None:
        levels = [0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0, 1.1, 1.5, 2.5]
        image = ax.contourf(
            axis,
            axis,
            loss,
            levels,
            cmap=figures.SEQUENTIAL,
            norm=figures.by_level(levels),
            extend="max",
        )
        figure.colorbar(image, ax=ax, label=r"$f\,/\,f|_K$", ticks=levels[::2])
        for i, j in BRANCHES:
            product = (1 if i > 0 else rho(2)) * (1 if j > 0 else rho(2))
            h = np.geomspace(product / 2, 2, 100)
            style = "-" if (i, j) == (1, 1) else "--"
            label = {(1, 1): "true hyperbola", (-1, 1): "spurious ones"}.get((i, j))
            ax.plot(i * h, j * product / h, style, color="black", linewidth=1.2, label=label)
        ax.set(xlabel="h", ylabel="m", aspect="equal", title="(b) seen from above")
        ax.grid(False)
        figures.legend(ax, loc="lower left")

    def _draw_positions(self, ax: Axes, table: pd.DataFrame) -> None:
        look: Any = {"statistic": stats.quantile, "line": False, "band": True}
        # Shifted, so that the two valleys at -rho_2 can be told apart.
        for part, style in figures.styled(table, "valley", spread=1.06, order=NAMES.values()):
            figures.curve(ax, part, "expansivity", "product", **look, **style)
            colour = figures.COLOURS[style["index"]]
            ax.axhline(part["predicted"].iloc[0], color=colour, linestyle="--", linewidth=1)
        figures.log_ticks(ax, table["expansivity"].unique())
        ax.set(
            xlabel="expansivity e",
            ylabel="valley position h m",
            ylim=(-0.9, 2),
            title="(c) valleys of many networks",
        )
        figures.legend(ax, ncols=2, loc="upper right")

    def _draw_errors(self, ax: Axes, table: pd.DataFrame) -> None:
        spurious = table[table["valley"] != NAMES[1, 1]]
        look: Any = {"by": "valley", "order": NAMES.values()}
        figures.curves(ax, spurious, "expansivity", "distance", stats.quantile, **look)
        e = table["expansivity"].unique()
        figures.reference(
            ax, e, 0.7 * e.min() ** -0.5, -0.5, color="0.6", zorder=0, label="slope -1/2"
        )
        figures.plain_log(ax)
        figures.log_ticks(ax, e)
        ax.set(
            xlabel="expansivity e",
            ylabel="median |h m - predicted|",
            title="(d) distance from the prediction",
        )
        figures.legend(ax)
