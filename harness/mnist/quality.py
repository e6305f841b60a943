"""Distance of a recovered image from the truth, up to scale, which demodulation cannot recover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
