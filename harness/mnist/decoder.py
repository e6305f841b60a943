"""Fully connected, bias-free, expansive ReLU generators: the theorem's architecture, trained.

Each is the decoder of an autoencoder.  Departures from plain training, each because it gives better
images: leaky units while training, whose slope falls to 0, since units that die early stay dead;
shifted, rotated and scaled copies of the digits, of which there are few.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.arrays import Array
from harness.network import ReluNetwork


@dataclass(frozen=True)
class Recipe:
    """How a decoder is trained; widths (n, ..., pixels), slope : of the units at the start."""

    widths: tuple[int, ...]
    steps: int
    batch: int = 128
    rate: float = 1e-3
    slope: float = 0.1
    augment: bool = True
    seed: int = 0


class Decoder(nn.Module):
    """z (K, n) -> (K, pixels) through bias-free layers with (leaky) ReLU after each."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(nn.Linear(old, new, bias=False) for old, new in pairs)
        self.slope = 0.0

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            z = nn.functional.leaky_relu(layer(z), self.slope)
        return z

    def network(self) -> ReluNetwork:
        """The same as a `ReluNetwork`, with ReLU."""
        return ReluNetwork([value.astype(np.float64) for value in self.tensors().values()])

    def tensors(self) -> dict[str, Array]:
        """Weights by name, layer by layer."""
        return {
            f"layers.{i}.weight": weight.detach().numpy()
            for i, weight in enumerate(self.parameters())
        }


def encoder(pixels: int, latent: int) -> nn.Sequential:
    """(K, pixels) -> (K, latent)."""
    return nn.Sequential(
        nn.Linear(pixels, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, latent)
    )


def train(images: Array, recipe: Recipe, report: Callable[[int, float], None]) -> Decoder:
    """A decoder of images (N, s, s) in [0, 1]; `report` gets each step and its squared error."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    data = torch.tensor(images, dtype=torch.float32)
    decode = Decoder(recipe.widths)
    encode = encoder(recipe.widths[-1], recipe.widths[0])
    with torch.no_grad():
        for weight in decode.parameters():
            nn.init.normal_(weight, std=(2 / weight.shape[1]) ** 0.5)
    parameters = [*decode.parameters(), *encode.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    for step in range(1, recipe.steps + 1):
        batch = data[rng.integers(len(data), size=recipe.batch)]
        if recipe.augment:
            batch = moved(batch, rng)
        decode.slope = recipe.slope * max(0.0, 1 - 1.5 * step / recipe.steps)
        target = batch.flatten(1)
        error = nn.functional.mse_loss(decode(encode(target)), target)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        report(step, float(error.detach()))
    decode.slope = 0.0
    return decode.eval()


def moved(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each image (K, s, s) turned, sheared, scaled and shifted a little."""
    count = len(batch)
    angle, shear = rng.normal(0, 0.12, count), rng.normal(0, 0.1, count)
    scale, shift = np.exp(rng.normal(0, 0.07, (2, count))), rng.normal(0, 0.04, (2, count))
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [
        [cos * scale[0], (-sin + shear) * scale[0], shift[0]],
        [sin * scale[1], cos * scale[1], shift[1]],
    ]
    theta = torch.tensor(np.array(rows).transpose(2, 0, 1), dtype=batch.dtype)
    grid = nn.functional.affine_grid(theta, [count, 1, *batch.shape[1:]], align_corners=False)
    return nn.functional.grid_sample(batch[:, None], grid, align_corners=False)[:, 0]
