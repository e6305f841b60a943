"""Orthonormal bases of images, and how many terms an image needs in them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dctn

from harness.arrays import Array, Ints

Basis = Literal["dct", "haar", "db4", "pixels"]
BASES: tuple[Basis, ...] = get_args(Basis)

HAAR = np.array([1.0, 1.0]) / np.sqrt(2)
DB4 = np.array(
    [
        0.2303778133088964,
        0.7148465705529154,
        0.6308807679298587,
        -0.0279837694168599,
        -0.1870348117190931,
        0.0308413818355607,
        0.0328830116668852,
        -0.0105974017850690,
    ]
)
"""Low-pass filter of Daubechies' wavelet with four vanishing moments."""


def coefficients(basis: Basis, images: Array) -> Array:
    """Coefficients of images (N, s, s) in an orthonormal basis: (N, D), D >= s^2.

    "haar" and "db4" are separable periodic wavelets to the coarsest level, on the next power of 2:
    the image is continued by its nearest pixels, so that a flat ground stays flat.

    Raises
    ------
    ValueError
        If basis is unknown, or the images are not square.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images: shape {images.shape}; must be (N, s, s)")
    match basis:
        case "pixels":
            found = images
        case "dct":
            found = dctn(images, axes=(1, 2), norm="ortho")
        case "haar":
            found = _wavelets(images, HAAR)
        case "db4":
            found = _wavelets(images, DB4)
        case _:
            raise ValueError(f"basis={basis!r}: must be one of {', '.join(BASES)}")
    return np.asarray(found.reshape(len(images), -1))


def _wavelets(images: Array, low: Array) -> Array:
    """All levels of the separable periodic transform with a low-pass filter."""
    side = images.shape[-1]
    missing = (1 << (side - 1).bit_length()) - side
    ends = missing // 2, missing - missing // 2
    found = np.pad(images, ((0, 0), ends, ends), mode="edge")
    size = found.shape[-1]
    while size >= max(2, len(low) // 2):
        step = _one_level(size, low)
        found[:, :size, :size] = step @ found[:, :size, :size] @ step.T
        size //= 2
    return found


def _one_level(size: int, low: Array) -> Array:
    """Orthogonal matrix (size, size): smooth half, then detail half, both periodic."""
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    matrix = np.zeros((size, size))
    for row in range(size // 2):
        for shift, (a, b) in enumerate(zip(low, high, strict=True)):
            matrix[row, (2 * row + shift) % size] += a
            matrix[size // 2 + row, (2 * row + shift) % size] += b
    return matrix


def directions(training: Array) -> Array:
    """Principal directions of images (N, s, s), not centred, largest first: (s^2, s^2) columns."""
    flat = training.reshape(len(training), -1)
    return np.asarray(np.linalg.eigh(flat.T @ flat)[1][:, ::-1])


def tails(coefficients: Array, *, best: bool) -> Array:
    """Relative error that k terms leave, k = 0..D: (N, D) -> (N, D + 1), not increasing.

    best : the k largest terms of each image, or else the first k: a fixed subspace.
    """
    squares = coefficients**2
    if best:
        squares = np.sort(squares, axis=1)[:, ::-1]
    left = np.zeros((len(squares), squares.shape[1] + 1))
    left[:, :-1] = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    return np.sqrt(left / left[:, :1])


def terms_needed(tails: Array, errors: ArrayLike) -> Ints:
    """Least k whose relative error is at most that of each image: (N, D + 1), (N,) -> (N,)."""
    return np.asarray(np.sum(tails > np.asarray(errors)[:, None], axis=1), dtype=np.int64)
