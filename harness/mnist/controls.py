"""The trained fully connected generators and random networks to compare them with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.ensemble import unit_vectors
from harness.mnist import images, recover, weights
from harness.network import ReluNetwork, gaussian_network

Truth = Literal["random", "image"]
Prior = Literal["trained", "spectrum", "gaussian"]
PRIORS: tuple[Prior, ...] = get_args(Prior)


def networks(
    prior: Prior, rng: np.random.Generator, folder: Path
) -> tuple[ReluNetwork, ReluNetwork]:
    """The generators of digits and of distortions in a folder, or random ones of their shapes.

    prior : "trained", the generators themselves; "spectrum", `rotated`; "gaussian", Gaussian.
    """
    G1, G2 = weights.load_pair(folder)
    match prior:
        case "trained":
            return G1, G2
        case "spectrum":
            return rotated(G1, rng), rotated(G2, rng)
        case "gaussian":
            return gaussian_network(rng, G1.widths), gaussian_network(rng, G2.widths)


def rotated(G: ReluNetwork, rng: np.random.Generator) -> ReluNetwork:
    """Layers with the singular values of those of G and random singular vectors."""
    layers = []
    for W in G.weights:
        values = np.linalg.svd(W, compute_uv=False)
        left = np.linalg.qr(rng.standard_normal((W.shape[0], len(values))))[0]
        right = np.linalg.qr(rng.standard_normal((W.shape[1], len(values))))[0]
        layers.append((left * values) @ right.T)
    return ReluNetwork(layers)


def truths(
    truth: Truth, G1: ReluNetwork, G2: ReluNetwork, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit h0 and m0: uniform, or those that draw a random training digit and distortion."""
    if truth == "random":
        h0, m0 = (unit_vectors(rng, 1, G.widths[0])[0] for G in (G1, G2))
        return h0, m0
    digits, _ = images.training_digits()
    digit = digits[rng.integers(len(digits), size=1)]
    distortion = images.resize(images.random_distortions(rng, 1), images.SIDE)
    h0, m0 = (
        recover.project(G, image, rng, starts=3)[1][0]
        for G, image in ((G1, digit), (G2, distortion))
    )
    return h0 / np.linalg.norm(h0, axis=-1), m0 / np.linalg.norm(m0, axis=-1)
