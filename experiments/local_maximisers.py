"""Whether the points of K = {h = 0 or m = 0} are local maximisers, and where that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding
from harness.ensemble import Ensemble, Size, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.problem import Demodulation
from harness.theory import rho

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FIRST_ORDER = Claim(
    "local_maximisers.first_order",
    "From a point of K no one-sided derivative of f is positive",
    "Theorem 2, points of K; an identity, so a check of the code",
)
DEEP = Claim(
    "local_maximisers.deep",
    "In expansive networks with d, s >= 2 no direction tried from K rises: K holds (non-strict) "
    "local maximisers",
    "Theorem 2, points of K",
)
SHALLOW = Claim(
    "local_maximisers.shallow",
    "The same holds for d = s = 1",
    "Theorem 2 without its assumption d, s >= 2",
)
SMALL = Claim(
    "local_maximisers.small",
    "The same holds for d, s >= 2 in small networks, at the least ell",
    "Theorem 2 without its assumptions on the widths",
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

    claims: ClassVar[tuple[Claim, ...]] = (FIRST_ORDER, DEEP, SHALLOW, SMALL)
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
    directions: Size
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

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        left_out = selection.unmeasured(table)
        table = self._measured(table)
        deep, shallow = table[table["d"] >= 2], table[table["d"] == 1]
        wide, small = selection.largest(deep, "ell"), deep[deep["ell"] == deep["ell"].min()]
        keys = ("d", "n", "ell")
        findings = [
            claims.above(
                FIRST_ORDER,
                stats.proportion(table["largest_derivative"] <= limits.derivative),
                limits.rate,
                statistic=f"share of networks with none above {limits.derivative:g} ||y0||^2",
                tested=f"{selection.spread(table, keys)}, d = s, {3 * self.directions} points of K"
                f"{left_out}",
            )
        ]
        for claim, part in ((DEEP, wide), (SHALLOW, shallow), (SMALL, small)):
            findings.append(
                claims.above(
                    claim,
                    stats.proportion(~part["some_rise"]),
                    limits.rate,
                    statistic="share of networks in which no direction pair rises",
                    tested=f"{selection.spread(part, keys)}, d = s, "
                    f"{self.directions}^2 direction pairs",
                )
            )
        return findings

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
        figure, axes = figures.canvas(1, 3, width=9.5, height=3.2)
        left, middle, right = axes[0]
        look: Any = {"by": "d", "label": "d = s = {}"}
        figures.curves(left, table, "ell", "some_rise", stats.proportion, **look)
        figures.curves(middle, table, "ell", "least_cosine", stats.quantile, **look)
        figures.curves(right, table, "ell", "rises", stats.quantile, **look)
        for d, colour in zip(sorted(table["d"].unique()), figures.COLOURS, strict=False):
            middle.axhline(rho(int(d)) ** 2, color=colour, linestyle="--", linewidth=1)
        left.set(ylabel="networks with a rising direction", ylim=(-0.03, 1.03))
        middle.set(ylabel=r"least cosine of $y_0$ and $G_1(u) * G_2(v)$")
        right.set(ylabel="share of direction pairs that rise (median)")
        for ax in axes[0]:
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
