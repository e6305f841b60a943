"""How far loss and gradients of one random network are from the expected landscape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.landscape import concentration
from harness.ranges import Size, Together
from harness.theory import expected_gradients, expected_loss, landscape_scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TYPICAL = Claim(
    "expected_landscape.typical",
    "For n = p = 5 and layers that widen in proportion, loss and gradients at a typical point "
    "deviate from E f, t1, t2 like width^(-1/2), relative to their natural scales, at every depth "
    "d = s",
    "the concentration that the proof of Theorem 2 rests on, at a point",
    Role.SHARPER,
    supported=Outcome("Each layer adds the fluctuation of a mean.", Bearing.SHARPER),
    refuted=Outcome("Deviations at a point have another rate than a mean fluctuates."),
)
WORST = Claim(
    "expected_landscape.worst",
    "For n = p = 5 and layers that widen in proportion, what a search finds of the largest "
    "deviation of g1 from t1 over all points falls at least like width^(-1/4), at every depth d = "
    "s",
    "Theorem 2 needs uniform concentration; no rate is stated",
    Role.PAPER,
    supported=Outcome(
        "Gradients concentrate everywhere, kinks included, as far as a search sees.",
        Bearing.CONSISTENT,
    ),
    refuted=Outcome(
        "At some points gradients stay off their expectation at these widths.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
QUANTITIES = ("loss", "grad_h", "grad_m")


@dataclass(frozen=True)
class Thresholds(Settings):
    """exponent_error : greatest distance of the typical exponent from -1/2.

    worst : exponent of the largest deviation.  fit_from : least ell of the fits.
    """

    exponent_error: float
    worst: float
    fit_from: int


@dataclass(frozen=True)
class ExpectedLandscape(Experiment):
    """One trial: a network; median deviation over `points` random points, and the largest anywhere.

    A point has independent uniform directions, one in eight of them within a small angle of +-h0
    and of +-m0, ||h|| = ||m|| and ||h|| ||m|| log-uniform within a factor 4 of the truth's.
    Deviations are relative to the natural scales: c max(A, B)^2 of the loss and c max(A, B) ||m||,
    c max(A, B) ||h|| of the gradients, with A = ||h|| ||m||, B = ||h0|| ||m0||.

    grad_h_worst, grad_m_worst : lower ends of the suprema by `starts` ascents of `steps` steps.
    agreement : share of the ascents in h that came within a hundredth of the best.
    """

    version: ClassVar[int] = 2
    claims: ClassVar[tuple[Claim, ...]] = (TYPICAL, WORST)
    caption: ClassVar[str] = (
        "Deviation of a network's loss and gradients from the expected landscape (E f, t1, t2), "
        "relative to their natural scales, against the width of the narrowest layer; all layers "
        "widen in proportion, n = p = 5. (a) At a typical point: the median over random points. "
        "(b) The largest deviation of g1 that ascents over all points find, a lower end of the "
        "supremum. Markers are medians over networks with 95% order-statistic intervals; the "
        "gradient in m behaves as that in h."
    )

    network: Ensemble
    points: Together
    starts: Together
    steps: Size
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
        found = concentration(P, rng, self.starts, self.steps, alpha=self.network.alpha)
        row |= {"grad_h_worst": found.grad_h.lower, "grad_m_worst": found.grad_m.lower}
        row |= {"agreement": found.grad_h.agreement, "narrowest": min(P.G1.widths[1:])}
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

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        needed = stats.trials_for_quantile(level=stats.simultaneous(3 * cells["d"].nunique()))
        return {claim.id: needed for claim in self.claims}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, wide = self.thresholds, self._wide(table)
        fitted = wide[wide["ell"] >= limits.fit_from]
        columns = [f"{name}_median" for name in QUANTITIES]
        typical = fitted.melt(["d", "narrowest"], columns, "quantity", "deviation")
        where = selection.spread(fitted, ("d", "n", "narrowest", "ell"))
        law: Any = {
            "statistic": "exponent of the median deviation in the narrowest width",
            "tested": f"{where}, d = s, {len(fitted)} networks",
            "named": -0.5,
        }
        return [
            claims.within(
                TYPICAL,
                selection.jointly(
                    stats.power_law, typical, ["d", "quantity"], "narrowest", "deviation"
                ),
                *(-0.5 - limits.exponent_error, -0.5 + limits.exponent_error),
                **law,
            ),
            claims.below(
                WORST,
                selection.jointly(stats.power_law, fitted, "d", "narrowest", "grad_h_worst"),
                limits.worst,
                **law,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        """Medians by size; exponents from the width before to this one."""
        wide = self._wide(table)
        names = ("loss_median", "grad_h_median", "grad_h_worst")
        rows = []
        for d, group in wide.groupby("d"):
            exponents = {
                name: stats.local_exponents(group["narrowest"], group[name]) for name in names
            }
            for width, cell in group.groupby("narrowest"):
                row: dict[str, Any] = {"d = s": d, "narrowest": width, "networks": len(cell)}
                for name in names:
                    row[name] = f"{cell[name].median():.3g}"
                    row[f"exponent of {name}"] = f"{exponents[name].get(width, np.nan):.2f}"
                row["ascents that agree"] = f"{cell['agreement'].mean():.2f}"
                rows.append(row)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(2)
        typical, worst = axes
        wide = self._wide(table)
        for place, (d, group) in enumerate(wide.groupby("d")):
            for q, (name, words) in enumerate((("loss", "loss"), ("grad_h", "gradient in h"))):
                look: Any = {"label": f"{words}, d = s = {d}", "index": 2 * place + q}
                figures.curve(typical, group, "narrowest", f"{name}_median", stats.quantile, **look)
            look = {"label": f"_{d}", "index": 2 * place + 1}
            figures.curve(worst, group, "narrowest", "grad_h_worst", stats.quantile, **look)
        for ax, column in ((typical, "grad_h_median"), (worst, "grad_h_worst")):
            start = 1.3 * wide.loc[wide["narrowest"] == wide["narrowest"].min(), column].median()
            line: Any = {"color": "0.6", "zorder": 0, "label": "slope -1/2"}
            figures.reference(ax, wide["narrowest"], start, -0.5, **line)
            figures.plain_log(ax, "y")
            figures.log_ticks(ax, wide["narrowest"].unique())
            ax.set_xlabel("width of the narrowest layer")
        typical.set(title="(a) a typical point", ylabel="relative deviation")
        worst.set(title="(b) the worst point that ascents find")
        handles, labels = typical.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure

    def _wide(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows with d = s, of the base settings otherwise."""
        base = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell"))
        return base[base["d"] == base["s"]]
