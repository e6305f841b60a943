"""How far loss and gradients of one random network are from the expected landscape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.ensemble import Ensemble, Size, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.theory import expected_gradients, expected_loss, landscape_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TYPICAL = Claim(
    "expected_landscape.typical",
    "At a typical point loss and gradients deviate from E f, t1, t2 like ell^(-1/2) when all "
    "layers widen with ell",
    "concentration behind Theorem 2",
)
WORST = Claim(
    "expected_landscape.worst",
    "The worst of many points falls no slower than that",
    "pointwise, ours; Theorem 2 is uniform",
)
LAST = Claim(
    "expected_landscape.last_layer",
    "Widening the last layer alone, inner widths c n log n, gives that rate too (d, s >= 2)",
    "A3 with the constant c of A2 fixed",
)
QUANTITIES = ("loss", "grad_h", "grad_m")


@dataclass(frozen=True)
class Thresholds(Settings):
    """exponent_error : greatest distance of a fitted exponent from -1/2."""

    exponent_error: float


@dataclass(frozen=True)
class ExpectedLandscape(Experiment):
    """One trial: a network; median and worst deviation over `points` random points.

    A point has independent uniform directions, one in eight of them within a small angle of +-h0
    and of +-m0, ||h|| = ||m|| and ||h|| ||m|| log-uniform within a factor 4 of the truth's.
    Deviations are relative to the natural scales: c max(A, B)^2 of the loss and c max(A, B) ||m||,
    c max(A, B) ||h|| of the gradients, with A = ||h|| ||m||, B = ||h0|| ||m0||.
    """

    claims: ClassVar[tuple[Claim, ...]] = (TYPICAL, WORST, LAST)
    caption: ClassVar[str] = (
        "Deviation of a network's loss and gradients from the expected landscape (E f, t1, t2), "
        "relative to their natural scales, against the signal length ell. Left and middle: all "
        "layers widen with ell; the median over points, and the largest of them. Right: only the "
        "last layer widens, inner widths stay at c n log n. Markers are medians over networks with "
        "95% order-statistic intervals; the gradient in m behaves as that in h. The largest over "
        "sampled points is a lower bound of the supremum that the theory speaks of."
    )

    network: Ensemble
    points: Size
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        h = self._points(rng, P.h0)
        m = self._points(rng, P.m0)
        constants: dict[str, Any] = {"d": P.d, "s": P.s, "ell": P.ell, "alpha": self.network.alpha}
        g1, g2 = P.gradients(h, m)
        t1, t2 = expected_gradients(h, m, P.h0, P.m0, **constants)
        loss_gap = P.loss(h, m) - expected_loss(h, m, P.h0, P.m0, **constants)

        norm_h, norm_m = np.linalg.norm(h, axis=1), np.linalg.norm(m, axis=1)
        largest = np.maximum(norm_h * norm_m, np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
        scale = landscape_scale(**constants) * largest
        deviations = {
            "loss": np.abs(loss_gap) / (scale * largest),
            "grad_h": np.linalg.norm(g1 - t1, axis=1) / (scale * norm_m),
            "grad_m": np.linalg.norm(g2 - t2, axis=1) / (scale * norm_h),
        }
        row: Row = {}
        for name, values in deviations.items():
            row[f"{name}_median"] = float(np.median(values))
            row[f"{name}_worst"] = float(values.max())
        return [row]

    def _points(self, rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
        """The points (K, n) of one side."""
        directions = unit_vectors(rng, self.points, truth.size)
        near = rng.random(self.points) < 0.125
        sign = rng.choice([-1.0, 1.0], size=self.points)
        pulled = sign[:, None] * truth / np.linalg.norm(truth) + 0.1 * directions
        pulled /= np.linalg.norm(pulled, axis=1, keepdims=True)
        radius = np.linalg.norm(truth) * 2 ** rng.uniform(-1, 1, self.points)
        return radius[:, None] * np.where(near[:, None], pulled, directions)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        wide = self._arm(table, self.network.growth)
        narrow = self._arm(table, "log")
        narrow = narrow[narrow["d"] >= 2]
        error = self.thresholds.exponent_error
        return [
            claims.within(
                TYPICAL, low=-0.5 - error, high=-0.5 + error, **self._fitted(wide, "median")
            ),
            claims.below(WORST, threshold=-0.5 + error, **self._fitted(wide, "worst")),
            claims.below(LAST, threshold=-0.5 + error, **self._fitted(narrow, "median")),
        ]

    def _fitted(self, arm: pd.DataFrame, kind: str) -> dict[str, Any]:
        """What `claims.within` takes of the exponents of all depths and quantities."""
        columns = {name: f"{name}_{kind}" for name in QUANTITIES}
        rows = arm.melt(["d", "ell"], list(columns.values()), "quantity", "deviation")
        where = selection.spread(arm, ("d", "n", "ell", "growth"))
        return {
            "estimates": selection.jointly(
                stats.power_law, rows, ["d", "quantity"], "ell", "deviation"
            ),
            "statistic": f"exponent in ell of the {kind} deviation, worst depth and quantity",
            "tested": f"{where}, loss and both gradients, {self.points} points, "
            f"{len(arm)} networks",
        }

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for (growth, d), group in table.groupby(["growth", "d"]):
            for name in QUANTITIES:
                entry = {"inner widths": growth, "d = s": d, "quantity": name}
                for kind in ("median", "worst"):
                    column = group[f"{name}_{kind}"]
                    largest = column[group["ell"] == group["ell"].max()]
                    fit = stats.power_law(group["ell"], column)
                    entry[f"{kind} at largest ell"] = f"{stats.quantile(largest).value:.3g}"
                    entry[f"{kind} exponent"] = f"{fit.value:.3f} {fit.interval('.3f')}"
                rows.append(entry)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.canvas(1, 3, width=9.5, height=3.3)
        panels = (
            (self.network.growth, "median", "all layers widen: median of points"),
            (self.network.growth, "worst", "all layers widen: largest of points"),
            ("log", "median", "last layer alone widens: median"),
        )
        depths = sorted(table["d"].unique())
        for ax, (growth, kind, title) in zip(axes[0], panels, strict=True):
            arm = self._arm(table, growth)
            for place, d in enumerate(depths):  # over all panels: one legend explains them
                for q, (name, words) in enumerate((("loss", "loss"), ("grad_h", "gradient in h"))):
                    look: Any = {"label": f"{words}, d = s = {d}", "index": 2 * place + q}
                    column = f"{name}_{kind}"
                    figures.curve(ax, arm[arm["d"] == d], "ell", column, stats.quantile, **look)
            start = 1.3 * arm.loc[arm["ell"] == arm["ell"].min(), f"grad_h_{kind}"].median()
            line: Any = {"color": "0.6", "zorder": 0, "label": "slope -1/2"}
            figures.reference(ax, arm["ell"], start, -0.5, **line)
            figures.plain_log(ax, "y")
            figures.log_ticks(ax, arm["ell"].unique())
            ax.set(xlabel="ell", title=title)
        axes[0, 0].set_ylabel("relative deviation")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure

    def _arm(self, table: pd.DataFrame, growth: str) -> pd.DataFrame:
        """Rows with d = s and one rule for the inner widths, of the base settings otherwise."""
        free = ("d", "s", "ell", "growth", "c")
        base = selection.at_baseline(self, selection.ok(table), free)
        return base[(base["d"] == base["s"]) & (base["growth"] == growth)]
