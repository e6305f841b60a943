"""The methods that separate an image, by name: Algorithm 1 on each prior, and baselines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from harness.arrays import Array
from harness.mnist import images, recover, weights
from harness.mnist.images import Ground
from harness.mnist.recover import Recovered

if TYPE_CHECKING:
    from torch import nn

Method = Literal[
    "homomorphic",
    "gaussian_fit",
    "dcgan_printed",
    "dcgan_released",
    "dcgan_adam",
    "dcgan_projection",
    "decoder_engine",
    "decoder_projection",
]
METHODS: tuple[Method, ...] = get_args(Method)
LABELS: dict[Method, str] = {
    "homomorphic": "homomorphic filter",
    "gaussian_fit": "fitted Gaussian",
    "dcgan_printed": "DCGAN, as printed",
    "dcgan_released": "DCGAN, as released",
    "dcgan_adam": "DCGAN, Adam",
    "dcgan_projection": "DCGAN, projection",
    "decoder_engine": "ReLU networks",
    "decoder_projection": "ReLU n., projection",
}
"""The methods in the words of tables and figures."""
PROJECTIONS = ("dcgan_projection", "decoder_projection")
"""Methods that see the truth: the best that the generators can represent."""
PROJECTION = 4
"""Steps of a projection on DCGANs per step of Algorithm 1."""

Kind = Literal["dcgan", "decoder"]


@dataclass(frozen=True)
class Effort:
    """How long a method searches.

    Attributes
    ----------
    starts : random starts of each image.
    steps : steps of Algorithm 1 on DCGANs, and of Adam.
    kappa, max_steps : scale-free step size and step limit of Algorithm 1 on ReLU networks.
    """

    starts: int
    steps: int
    kappa: float
    max_steps: int


def prior(method: Method) -> Kind | None:
    """The kind of generators that a method needs; None for a baseline without them."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    return next((kind for kind in kinds if method.startswith(kind)), None)


def side(method: Method) -> int:
    """Side of the images that a method works on, in pixels."""
    return images.SIDE if prior(method) == "decoder" else images.LARGE


def check_ground(method: Method, ground: Ground) -> None:
    """Raise ValueError if a method's generators cannot draw on the ground."""
    if ground == "white" and prior(method) == "decoder":
        raise ValueError(
            f"ground=white: {method} has networks without bias, which draw bright digits alone; "
            "must be ground=black"
        )


def check(kind: Kind, folder: Path) -> str:
    """Fingerprint of the weights of this kind of generators.

    Raises
    ------
    ImageError
        If PyTorch is needed and not installed.
    WeightsError
        If weights are missing, damaged or of another kind of generator.
    """
    if kind == "decoder":
        G1, _ = weights.load_pair(folder)
        if G1.widths[-1] != images.SIDE**2:
            raise weights.WeightsError(
                f"weights={folder}: generators draw {G1.widths[-1]} pixels; "
                f"must be {images.SIDE} x {images.SIDE}"
            )
        return weights.fingerprint(weights.DECODERS, folder)
    images.require("torch")
    _dcgans(folder)
    return weights.fingerprint(weights.DCGANS, folder)


def draw_digits(kind: Kind, rng: np.random.Generator, count: int, folder: Path) -> Array:
    """Digits from standard Gaussian latent vectors, (count, s, s)."""
    if kind == "decoder":
        G, _ = weights.load_pair(folder)
        return G(rng.standard_normal((count, G.widths[0]))).reshape(-1, images.SIDE, images.SIDE)
    torch = _torch()
    from harness.mnist import dcgan

    convolutional, _ = _dcgans(folder)
    z = rng.standard_normal((count, dcgan.latent_size(convolutional)))
    with torch.no_grad():
        drawn = convolutional(torch.tensor(z, dtype=torch.float32))
    return drawn[:, 0].double().numpy()


def take_apart(
    method: Method,
    y: Array,
    rng: np.random.Generator,
    effort: Effort,
    folder: Path,
    truth: tuple[Array, Array] | None = None,
    ground: Ground = "black",
) -> Recovered:
    """Digit and distortion of each image y (N, s, s), with s = `side`(method).

    ground : of the digits; DCGANs trained on bright digits draw dark ones as 1 - G.

    Raises
    ------
    ValueError
        If the method is a projection and the truth is not given, or if its generators cannot draw
        on the ground.
    """
    check_ground(method, ground)
    if method in PROJECTIONS and truth is None:
        raise ValueError(f"method={method}: needs the truth")
    match method:
        case "homomorphic":
            return recover.homomorphic(y)
        case "gaussian_fit":
            return recover.divide_by_gaussian(y)
        case "decoder_engine":
            G1, G2 = weights.load_pair(folder)
            limits = recover.Limits(effort.starts, effort.kappa, effort.max_steps)
            return recover.by_networks(G1, G2, y, rng, limits)
        case "decoder_projection":
            assert truth is not None
            pairs = zip(weights.load_pair(folder), truth, strict=True)
            return Recovered(
                *(recover.project(G, part, rng, effort.starts)[0] for G, part in pairs)
            )
        case _:
            return _by_dcgans(method, y, rng, effort, folder, truth, ground)


def project_digits(
    kind: Kind, x0: Array, rng: np.random.Generator, effort: Effort, folder: Path, ground: Ground
) -> tuple[Array, int]:
    """The closest images that the generator of digits is found to draw, and its latent dimension.

    x0 : (N, s, s), on their ground; those of DCGANs are close up to scale.
    """
    if kind == "decoder":
        G, _ = weights.load_pair(folder)
        return recover.project(G, x0, rng, effort.starts)[0], G.widths[0]
    _torch()
    from harness.mnist import dcgan, sgd

    digits, _ = _dcgans(folder)
    size = dcgan.latent_size(digits)
    z = rng.standard_normal((len(x0), effort.starts, size))
    G1 = sgd.Negative(digits) if ground == "white" else digits
    return sgd.project(G1, x0, z, PROJECTION * effort.steps), size


def _by_dcgans(
    method: Method,
    y: Array,
    rng: np.random.Generator,
    effort: Effort,
    folder: Path,
    truth: tuple[Array, Array] | None,
    ground: Ground,
) -> Recovered:
    _torch()
    from harness.mnist import dcgan, sgd

    digits, G2 = _dcgans(folder)
    h, m = (
        rng.standard_normal((len(y), effort.starts, dcgan.latent_size(G))) for G in (digits, G2)
    )
    G1 = sgd.Negative(digits) if ground == "white" else digits
    if truth is not None and method == "dcgan_projection":
        x, w = (
            sgd.project(G, part, z, PROJECTION * effort.steps)
            for G, part, z in zip((G1, G2), truth, (h, m), strict=True)
        )
        return Recovered(x, w)
    if method == "dcgan_adam":
        return sgd.search(G1, G2, y, (h, m), effort.steps)
    variant = sgd.PRINTED if method == "dcgan_printed" else sgd.RELEASED
    return sgd.demodulate(G1, G2, y, (h, m), variant, steps=effort.steps)


def _torch() -> ModuleType:
    """PyTorch on one thread: cells run side by side, and thread counts change the last bits."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(1)
    return torch


@cache
def _dcgans(folder: Path) -> tuple[nn.Sequential, nn.Sequential]:
    """The convolutional generators of digits and of distortions, in single precision."""
    from harness.mnist import dcgan

    loaded = []
    for name in weights.DCGANS:
        with weights.naming(name, folder):
            loaded.append(dcgan.load(weights.load(name, folder)).float())
    return loaded[0], loaded[1]
