"""Whether the points of K = {h = 0 or m = 0} are local maximisers, and where that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.ensemble import Ensemble, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import Demodulation
from harness.ranges import Together
from harness.theory import rho

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DEEP = Claim(
    "local_maximisers.deep",
    "For d = s >= 2 and the largest ell, the loss rises in no direction from K = {h = 0 or m = 0} "
    "in 95% of networks, so that K holds (non-strict) local maximisers, n = p = 5",
    "Theorem 2, points of K",
    Role.PAPER,
    Evidence.SEARCH,
    supported=Outcome("Points of K are as the theorem says.", Bearing.CONSISTENT),
    refuted=Outcome("Some points of K are saddles at these widths.", Bearing.HYPOTHESIS_NEEDED),
)
SHALLOW = Claim(
    "local_maximisers.shallow",
    "For d = s = 1 the loss rises in no direction from K = {h = 0 or m = 0} in 95% of networks, "
    "n = p = 5",
    "Theorem 2 without its assumption d, s >= 2",
    Role.CONTROL,
    Evidence.SEARCH,
    supported=Outcome("The assumption d, s >= 2 is not needed for K.", Bearing.SHARPER),
    refuted=Outcome(
        "With one layer K holds saddles: supports of G(h) and G(-h) do not meet.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
SMALL = Claim(
    "local_maximisers.small",
    "For d = s >= 2 and the least ell, the loss rises in no direction from K = {h = 0 or m = 0} "
    "in 95% of networks, n = p = 5",
    "Theorem 2 without its assumptions on the widths",
    Role.CONTROL,
    Evidence.SEARCH,
    supported=Outcome("Widths do not matter for K.", Bearing.SHARPER),
    refuted=Outcome("In narrow networks K holds saddles.", Bearing.HYPOTHESIS_NEEDED),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """rate : least share of networks.  derivative : a smaller one counts as no rise."""

    rate: float
    derivative: float


@dataclass(frozen=True)
class LocalMaximisers(Experiment):
    """One trial: a network; all pairs of `directions` unit vectors u and as many v.

    f(x u, t v) = 1/2 ||y0||^2 - x t <y0, a*b> + x^2 t^2/2 ||a*b||^2 with a = G1(u), b = G2(v), so
    that off K the pair (u, v) falls if <y0, a*b> > 0, stays if a*b = 0, and RISES if <y0, a*b> = 0
    although a*b is not.  All three are exact in floating point: zeros of a ReLU are exact.
    """

    claims: ClassVar[tuple[Claim, ...]] = (DEEP, SHALLOW, SMALL)
    caption: ClassVar[str] = (
        "Leaving K = {h = 0 or m = 0}. Left: share of networks in which some direction pair (u, v) "
        "of those tried makes the loss rise off K, so that K holds points that are no local "
        "maximisers, against the signal length, for each depth d = s (95% Clopper-Pearson "
        "intervals). Middle: least cosine of y0 and G1(u)*G2(v) over the pairs; medians over "
        "networks with 95% intervals, dashed lines the limit rho_d^2 that it has at (-h0, -m0). "
        "Right: of the pairs tried, the share along which the loss rises. With one layer the "
        "supports of G(h0) and G(-h0) do not meet, whatever the width."
    )

    network: Ensemble
    directions: Together
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        U, V = self._directions(rng, P.h0), self._directions(rng, P.m0)
        A, B = P.G1(U), P.G2(V)
        overlap = (A * P.y0) @ B.T  # <y0, a_i * b_j>
        size = np.sqrt((A * A) @ (B * B).T)  # ||a_i * b_j||
        rises = (overlap == 0) & (size > 0)
        cosine = overlap[size > 0] / (size[size > 0] * np.linalg.norm(P.y0))
        return [
            {
                "largest_derivative": self._largest_derivative(rng, P, U, V),
                "falls": float(np.mean(overlap > 0)),
                "stays": float(np.mean(size == 0)),
                "rises": float(np.mean(rises)),
                "least_cosine": float(cosine.min()) if cosine.size else 0.0,
            }
        ]

    def _directions(self, rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
        """+-truth, points close to -truth, where the supports meet least, and random points."""
        unit = truth / np.linalg.norm(truth)
        random = unit_vectors(rng, self.directions, truth.size)
        close = -unit + 0.2 * unit_vectors(rng, self.directions // 4, truth.size)
        return np.concatenate([[unit, -unit], close, random])[: self.directions]

    def _largest_derivative(
        self, rng: np.random.Generator, P: Demodulation, U: np.ndarray, V: np.ndarray
    ) -> float:
        """Largest one-sided derivative from (u, 0), (0, v) and (0, 0) along random directions.

        Relative to ||y0||^2 and unit directions.
        """
        count = self.directions
        at_h, at_m = np.zeros((3, count, P.n)), np.zeros((3, count, P.p))
        at_h[0], at_m[1] = U, V
        along_h = unit_vectors(rng, 3 * count, P.n).reshape(3, count, P.n)
        along_m = unit_vectors(rng, 3 * count, P.p).reshape(3, count, P.p)
        derivative = P.directional_derivative(at_h, at_m, along_h, along_m)
        return float(derivative.max()) / float(P.y0 @ P.y0)

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        level = stats.simultaneous(cells["d"].nunique())
        needed = stats.trials_for_proportion(self.thresholds.rate, level=level)
        return {claim.id: needed for claim in self.claims}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        left_out = selection.unmeasured(table)
        table = self._measured(table)
        deep, shallow = table[table["d"] >= 2], table[table["d"] == 1]
        wide, small = selection.largest(deep, "ell"), deep[deep["ell"] == deep["ell"].min()]
        return [
            claims.below(
                claim,
                selection.jointly(stats.proportion, part, ["d", "ell"], "some_rise"),
                1 - self.thresholds.rate,
                statistic="share of networks in which some direction pair rises, by size",
                tested=f"{selection.spread(part, ('d', 'n', 'ell'))}, d = s, {len(part)} networks, "
                f"{self.directions}^2 direction pairs each{left_out}",
            )
            for claim, part in ((DEEP, wide), (SHALLOW, shallow), (SMALL, small))
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "networks where a pair rises": lambda g: str(stats.proportion(g["some_rise"])),
            "pairs that rise": lambda g: round(g["rises"].mean(), 4),
            "pairs that stay": lambda g: round(g["stays"].mean(), 4),
            "least cosine (median)": lambda g: round(g["least_cosine"].median(), 4),
            "rho_d^2": lambda g: round(rho(int(g["d"].iloc[0])) ** 2, 4),
        }
        headings = {"d": "d = s", "ell": "ell"}
        return selection.summarise(self._measured(table), headings, values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        figure, axes = figures.panels(3)
        left, middle, right = axes
        look: Any = {"by": "d", "label": "d = s = {}"}
        figures.curves(left, table, "ell", "some_rise", stats.proportion, **look)
        figures.curves(middle, table, "ell", "least_cosine", stats.quantile, **look)
        figures.curves(right, table, "ell", "rises", stats.quantile, **look)
        for d, colour in zip(sorted(table["d"].unique()), figures.COLOURS, strict=False):
            middle.axhline(rho(int(d)) ** 2, color=colour, linestyle="--", linewidth=1)
        left.set(ylabel="networks where some rises", ylim=(-0.03, 1.03))
        middle.set(ylabel=r"least $\cos(y_0, G_1(u) * G_2(v))$")
        right.set(ylabel="direction pairs that rise")
        for ax in axes:
            figures.log_ticks(ax, table["ell"].unique())
            ax.set_xlabel("ell")
            figures.legend(ax)
        middle.set_title(f"n = p = {self.network.n}, inner widths: {self.network.growth}")
        return figure

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows with d = s, of networks with an observation, base settings otherwise."""
        base = selection.at_baseline(self, selection.ok(table), ("d", "s", "ell"))
        base = base[base["d"] == base["s"]]
        return base.assign(some_rise=base["rises"] > 0)
