"""Distance of a recovered image from the truth, up to scale, which demodulation cannot recover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.arrays import Array
from harness.mnist.images import LARGE, SIDE, resize, training_digits

if TYPE_CHECKING:
    import pandas as pd


def rescaled(image: Array, truth: Array) -> Array:
    """c image, with the c >= 0 that minimises ||c image - truth||; shapes (..., s, s)."""
    overlap = np.sum(image * truth, axis=(-2, -1), keepdims=True)
    size = np.sum(image * image, axis=(-2, -1), keepdims=True)
    c = np.divide(overlap, size, out=np.zeros_like(overlap), where=size > 0)
    return np.maximum(c, 0.0) * image


def psnr(image: Array, truth: Array) -> Array:
    """Signal-to-noise ratio -10 log10(MSE) in dB of images in [0, 1]: (..., s, s) -> (...)."""
    error = np.mean((image - truth) ** 2, axis=(-2, -1))
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def fit(x: Array, w: Array, y: Array) -> Array:
    """PSNR of the product x w against the image y, after the best scale: (N, s, s) -> (N,)."""
    return psnr(rescaled(x * w, y), y)


def ssim(image: Array, truth: Array) -> Array:
    """Structural similarity with Gaussian weights (Wang et al. 2004): (N, s, s) -> (N,)."""
    from skimage.metrics import structural_similarity

    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
    return np.array(
        [
            structural_similarity(one, other, use_sample_covariance=False, **options)
            for one, other in zip(image, truth, strict=True)
        ]
    )


def scores(x: Array, w: Array, y: Array, x0: Array, w0: Array) -> dict[str, Array]:
    """PSNR and SSIM of digits x, distortions w and their products y: (N, s, s) -> {name: (N,)}.

    x and w are compared as they are with their truths x0, w0; y with the digit, after rescaling.
    """
    y = rescaled(y, x0)
    return {
        "x_psnr": psnr(x, x0),
        "w_psnr": psnr(w, w0),
        "y_psnr": psnr(y, x0),
        "x_ssim": ssim(x, x0),
        "w_ssim": ssim(w, w0),
        "y_ssim": ssim(y, x0),
    }


def peak_one(image: Array) -> Array:
    """Images (N, s, s) over their greatest values: without a truth the scale is free."""
    peak = image.max(axis=(1, 2), keepdims=True, initial=0.0)
    return image / np.where(peak > 0, peak, 1.0)


def nearest_digits(image: Array) -> tuple[NDArray[np.int64], Array]:
    """Class of the training digit at the smallest angle, and its cosine: (N, s, s) -> (N,), (N,).

    As `classify`, after a change to 28 x 28 pixels.
    """
    return classify(resize(image, SIDE), *training_digits())


def classify(
    images: Array, examples: Array, labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array]:
    """Nearest neighbour by angle: its class and the cosine of the angle, (N, s, s) -> (N,), (N,).

    Scale does not matter.  The class of a zero image is -1.
    """
    vectors = images.reshape(len(images), -1)
    sizes = np.linalg.norm(vectors, axis=1)
    known = examples.reshape(len(examples), -1)
    overlaps = vectors @ (known / np.linalg.norm(known, axis=1, keepdims=True)).T
    classes = np.where(sizes > 0, labels[overlaps.argmax(axis=1)], -1)
    return classes, overlaps.max(axis=1) / np.where(sizes > 0, sizes, 1.0)


def by_pair(
    table: pd.DataFrame, methods: Sequence[str], side: Callable[[Any], int]
) -> pd.DataFrame:
    """PSNR of the digit: a row for each pair of a table, a column for each method.

    y_large, y_small : PSNR of the distorted image itself, in the two sizes.  NaN counts as worse
        than all else.
    """
    if "x_psnr" not in table:
        return type(table)(columns=[*methods, "y_large", "y_small"], dtype=float)
    rows = table.dropna(subset="y_psnr").fillna({"x_psnr": -np.inf})
    places: Any = {"index": ["trial", "pair"], "columns": "method"}
    wide = rows.pivot_table(values="x_psnr", **places)
    own = rows.pivot_table(values="y_psnr", **places)
    for name, large in (("y_large", True), ("y_small", False)):
        wide[name] = own[[m for m in own if (side(m) == LARGE) == large]].mean(axis=1)
    return wide.reindex(columns=[*methods, "y_large", "y_small"])


def share_better(wide: pd.DataFrame, better: str, worse: str) -> stats.Estimate:
    """Share of the pairs with both values in which that of `better` is higher."""
    both = wide[[better, worse]].dropna()
    return stats.proportion(both[better].to_numpy() > both[worse].to_numpy())


def rise(wide: pd.DataFrame, better: str, worse: str) -> stats.Estimate:
    """Median of the differences of the pairs with both values."""
    both = wide[[better, worse]].dropna()
    return stats.quantile(both[better].to_numpy() - both[worse].to_numpy())
