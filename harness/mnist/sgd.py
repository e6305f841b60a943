"""Algorithm 1 on convolutional generators, by gradient steps with momentum as in section 4.

Both variants minimise the squared error averaged over the pixels, with rate 1 and momentum 0.9, for
500 steps.  With the sum over the pixels, as in eq. (2), rate 1 is too large: on ten held-out pairs
the iterates grow to norms above 100 and the digits are lost.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.arrays import Array
from harness.mnist.recover import Recovered

Generator = nn.Module
"""(K, latent) -> (K, 1, s, s)."""


@dataclass(frozen=True)
class Variant:
    """Which parts of Algorithm 1 run; see `PRINTED` and `RELEASED`.

    Attributes
    ----------
    every_step : check the signs at every step; otherwise only before the first one.
    joint : take both gradients at the same point.
    balance : step (iv), make the norms of h and m equal after each step.
    own_statistics : normalise each image by its own statistics instead of the trained ones.
    """

    every_step: bool
    joint: bool
    balance: bool
    own_statistics: bool


PRINTED = Variant(every_step=True, joint=False, balance=True, own_statistics=False)
"""As printed in the paper."""
RELEASED = Variant(every_step=False, joint=True, balance=False, own_statistics=True)
"""As in the authors' notebook: sign checks after the first change nothing, and the networks run in
training mode on batches of one image."""


def demodulate(
    G1: Generator,
    G2: Generator,
    y: Array,
    starts: tuple[Array, Array],
    variant: Variant,
    *,
    steps: int,
    rate: float = 1.0,
    momentum: float = 0.9,
) -> Recovered:
    """Both factors of y (N, s, s), from R starts h (N, R, n), m (N, R, p); keeps the best start."""
    if variant.own_statistics:
        G1, G2 = own_statistics(G1), own_statistics(G2)
    images, count = y.shape[0], starts[0].shape[1]
    target = torch.tensor(np.repeat(y, count, axis=0), dtype=torch.float32)
    h, m = (torch.tensor(z.reshape(images * count, -1), dtype=torch.float32) for z in starts)
    velocity = [torch.zeros_like(h), torch.zeros_like(m)]

    def gradient(h: torch.Tensor, m: torch.Tensor, which: int) -> torch.Tensor:
        latent = [h, m]
        latent[which] = latent[which].detach().requires_grad_()
        error = errors(G1(latent[0])[:, 0], G2(latent[1])[:, 0], target).sum()
        return torch.autograd.grad(error, latent[which])[0]

    for step in range(steps):
        if step == 0 or variant.every_step:
            h, m = best_signs(G1, G2, h, m, target)
        g_h = gradient(h, m, 0)
        g_m = gradient(h, m, 1) if variant.joint else None
        velocity[0] = momentum * velocity[0] + g_h
        h = h - rate * velocity[0]
        velocity[1] = momentum * velocity[1] + (gradient(h, m, 1) if g_m is None else g_m)
        m = m - rate * velocity[1]
        if variant.balance:
            c = (h.norm(dim=1) / m.norm(dim=1)).sqrt()[:, None]
            h, m = h / c, m * c
    return _best(G1, G2, h, m, target, count)


class Negative(nn.Module):
    """1 - G: dark digits on white from a generator of bright ones on black."""

    def __init__(self, G: Generator) -> None:
        super().__init__()
        self.G = G

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 1 - self.G(z)


def search(
    G1: Generator,
    G2: Generator,
    y: Array,
    starts: tuple[Array, Array],
    steps: int,
    *,
    rate: float = 0.05,
) -> Recovered:
    """Both factors of y (N, s, s) by Adam on h and m jointly, from R starts with checked signs.

    The same loss as `demodulate`, the same starts (N, R, n), (N, R, p), one sign check before the
    first step, a rate that falls to 0 by a cosine; keeps the best start.
    """
    images, count = y.shape[0], starts[0].shape[1]
    target = torch.tensor(np.repeat(y, count, axis=0), dtype=torch.float32)
    h, m = (torch.tensor(z.reshape(images * count, -1), dtype=torch.float32) for z in starts)
    h, m = (z.requires_grad_() for z in best_signs(G1, G2, h, m, target))
    optimiser = torch.optim.Adam([h, m], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        errors(G1(h)[:, 0], G2(m)[:, 0], target).sum().backward()
        optimiser.step()
        schedule.step()
    return _best(G1, G2, h, m, target, count)


@torch.no_grad()
def _best(
    G1: Generator, G2: Generator, h: torch.Tensor, m: torch.Tensor, target: torch.Tensor, count: int
) -> Recovered:
    """The start of least loss of each image, of `count` each."""
    x, w = G1(h)[:, 0], G2(m)[:, 0]
    losses = errors(x, w, target).reshape(-1, count).double().numpy()
    losses = np.where(np.isfinite(losses), losses, np.inf)
    pick = np.arange(len(losses)) * count + losses.argmin(axis=1)
    return Recovered(x.double().numpy()[pick], w.double().numpy()[pick], losses)


def errors(x: torch.Tensor, w: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the pixels of (x * w - y)^2: (K, s, s) -> (K,)."""
    return ((x * w - target) ** 2).mean(dim=(1, 2))


@torch.no_grad()
def best_signs(
    G1: Generator, G2: Generator, h: torch.Tensor, m: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Step (i): the choice of least error among (+-h, +-m); a tie keeps the iterate."""
    x = [G1(sign * h)[:, 0] for sign in (1, -1)]
    w = [G2(sign * m)[:, 0] for sign in (1, -1)]
    table = torch.stack([errors(a, b, target) for a, b in itertools.product(x, w)])
    choice = table.argmin(dim=0)
    return (
        torch.where(choice[:, None] >= 2, -h, h),
        torch.where(choice[:, None] % 2 == 1, -m, m),
    )


def own_statistics(G: Generator) -> Generator:
    """G as it acts in training mode on batches of one image, for batches of any size.

    Each normalisation layer uses mean and variance over the pixels of each channel and image.
    """
    G = copy.deepcopy(G)
    for parent in list(G.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.BatchNorm2d):
                own = nn.InstanceNorm2d(layer.num_features, eps=layer.eps, affine=True)
                own.load_state_dict({"weight": layer.weight.data, "bias": layer.bias.data})
                setattr(parent, name, own.to(layer.weight.dtype))
    return G


def project(G: Generator, images: Array, latents: Array, steps: int) -> Array:
    """Images of G close to `images` (N, s, s) up to scale: the best found from R starts each.

    Adam from the starts (N, R, latent) on ||x||^2 - <G, x>^2 / ||G||^2.  With 500 steps at half the
    rate, held-out digits came out some 3 dB worse.
    """
    count, start = len(images), latents.shape[1]
    x = torch.tensor(np.repeat(images, start, axis=0), dtype=torch.float32).flatten(1)
    z = torch.tensor(latents.reshape(count * start, -1), dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def error() -> tuple[torch.Tensor, torch.Tensor]:
        g = G(z).flatten(1)
        return g, (x * x).sum(1) - (g * x).sum(1) ** 2 / (g * g).sum(1).clamp(min=1e-12)

    for _ in range(steps):
        optimiser.zero_grad()
        error()[1].sum().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        g, left = error()
    pick = np.arange(count) * start + left.reshape(count, start).argmin(dim=1).numpy()
    return g.double().numpy()[pick].reshape(images.shape)
