"""DCGANs as in section 4, small enough for a laptop: generator, discriminator, training.

Departures from the paper's recipe (latent 100 and 50, rate 0.0002), each because the recipe failed
on 4,500 digits at a width that two cores can train: the framework's own initial weights in place
of N(0, 0.02), with which the discriminator wins; rate 1e-3 for the generator; width 16 in place
of 64; pixels by a sigmoid, in [0, 1], since the factors of the product are not negative.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.arrays import Array

Report = Callable[[int, float, float], None]

CHECKPOINT_STEPS = 50
"""Steps between checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint from which training cannot continue."""


@dataclass(frozen=True)
class Recipe:
    """How a DCGAN is trained.

    Attributes
    ----------
    width : channels of the generator's last hidden layer.
    origin : identifies the images and everything else that the result depends on.
    """

    latent: int
    width: int
    steps: int
    batch: int = 64
    generator_rate: float = 1e-3
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    seed: int = 0
    origin: str = ""


def generator(latent: int, width: int) -> nn.Sequential:
    """(K, latent) -> (K, 1, 64, 64) in [0, 1]."""
    layers: list[nn.Module] = [nn.Unflatten(1, (latent, 1, 1))]
    channels = [latent, 8 * width, 4 * width, 2 * width, width]
    for i, (old, new) in enumerate(itertools.pairwise(channels)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(old, new, 4, stride, padding, bias=False),
            nn.BatchNorm2d(new),
            nn.ReLU(),
        ]
    layers += [nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Sigmoid()]
    return nn.Sequential(*layers)


def discriminator(width: int) -> nn.Sequential:
    """(K, 1, 64, 64) -> (K,), logits."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for old in (width, 2 * width, 4 * width):
        layers += [
            nn.Conv2d(old, 2 * old, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * old),
            nn.LeakyReLU(0.2),
        ]
    layers += [nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False), nn.Flatten(0)]
    return nn.Sequential(*layers)


def train(
    images: Array,
    recipe: Recipe,
    report: Report,
    checkpoint: Mapping[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] | None = None,
) -> nn.Sequential:
    """A generator of images (N, 64, 64) in [0, 1].

    Parameters
    ----------
    report : called after each step with its number and the losses of generator and discriminator.
    checkpoint : an earlier argument of `save`.  Training continues from it and gives the same
        result as an uninterrupted run.  A checkpoint of another recipe is ignored.
    save : called with a checkpoint every `CHECKPOINT_STEPS` steps.

    Raises
    ------
    CheckpointError
        If `checkpoint` is not one that `save` was called with.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    G, D = generator(recipe.latent, recipe.width), discriminator(recipe.width)
    optimisers = [
        torch.optim.Adam(net.parameters(), lr=rate, betas=recipe.betas)
        for net, rate in ((G, recipe.generator_rate), (D, recipe.discriminator_rate))
    ]
    parts: dict[str, Any] = {"G": G, "D": D, "G_adam": optimisers[0], "D_adam": optimisers[1]}
    done = _resume(checkpoint, recipe, parts)
    data = torch.tensor(images[:, None], dtype=torch.float32)
    for step, chosen in enumerate(_batches(rng, len(data), recipe.batch), start=1):
        if step > recipe.steps:
            break
        noise = torch.tensor(rng.standard_normal((recipe.batch, recipe.latent)), dtype=data.dtype)
        if step <= done:  # draws the same numbers, so that a resumed run is the whole run
            continue
        report(step, *_step(G, D, optimisers, data[chosen], noise))
        if save and (step % CHECKPOINT_STEPS == 0 or step == recipe.steps):
            states = {name: part.state_dict() for name, part in parts.items()}
            save({"recipe": asdict(recipe), "step": step, **states})
    return G.eval()


def _step(
    G: nn.Sequential, D: nn.Sequential, optimisers: list[Any], real: torch.Tensor, z: torch.Tensor
) -> tuple[float, float]:
    """One step of each network; the losses of the generator and of the discriminator."""
    loss = nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(len(z)), torch.zeros(len(z))
    fake = G(z)
    for_D = loss(D(real), ones) + loss(D(fake.detach()), zeros)
    optimisers[1].zero_grad()
    for_D.backward()
    optimisers[1].step()
    for_G = loss(D(fake), ones)
    optimisers[0].zero_grad()
    for_G.backward()
    optimisers[0].step()
    return float(for_G.detach()), float(for_D.detach())


def _batches(rng: np.random.Generator, size: int, batch: int) -> Iterator[NDArray[np.int64]]:
    """Indices of batches, epoch after epoch, without end; an incomplete last batch is left out."""
    while True:
        order = rng.permutation(size)
        yield from order[: size - size % batch].reshape(-1, batch)


def _resume(checkpoint: Mapping[str, Any] | None, recipe: Recipe, parts: Mapping[str, Any]) -> int:
    """Take over a checkpoint; the steps it has behind it, 0 without one."""
    if checkpoint is None:
        return 0
    try:
        step, made = int(checkpoint["step"]), {**checkpoint["recipe"], "steps": 0}
        if step > recipe.steps or made != {**asdict(recipe), "steps": 0}:
            return 0
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
    except Exception as error:  # of many kinds, from what is missing and from what does not fit
        raise CheckpointError("is no checkpoint of a DCGAN") from error
    return step


def load(tensors: Mapping[str, Array]) -> nn.Sequential:
    """The generator of trained weights, in double precision and evaluation mode.

    Raises
    ------
    ValueError
        If they are not those of a DCGAN's generator, or not finite.
    """
    first = np.asarray(tensors.get("1.weight", np.empty(0)))
    if first.ndim != 4 or first.shape[1] % 8 or not first.size:
        raise ValueError("weights: are not those of a DCGAN's generator")
    G = generator(first.shape[0], first.shape[1] // 8)
    _check(tensors, G)
    state = {name: torch.tensor(value) for name, value in tensors.items()}
    G.load_state_dict(state, strict=False)  # all but counts of batches, which are not used
    return G.double().eval()


def _check(given: Mapping[str, Array], G: nn.Sequential) -> None:
    """Raise ValueError unless the tensors are those of G by name and shape, and finite."""
    wanted = tensors(G)
    for name in sorted(wanted.keys() | given.keys()):
        if name not in given:
            raise ValueError(f"weights: {name} is missing")
        if name not in wanted:
            raise ValueError(f"weights: {name} is not part of a DCGAN's generator")
        if given[name].shape != wanted[name].shape:
            raise ValueError(
                f"weights: {name} has shape {given[name].shape}; must be {wanted[name].shape}"
            )
        if not np.isfinite(given[name]).all():
            raise ValueError(f"weights: {name} has entries that are not finite")


def latent_size(G: nn.Sequential) -> int:
    """Latent dimension of a generator."""
    first = G[0]
    assert isinstance(first, nn.Unflatten)
    return int(first.unflattened_size[0])


def tensors(G: nn.Sequential) -> dict[str, Array]:
    """All that `load` needs."""
    state = G.state_dict().items()
    return {name: value.numpy() for name, value in state if not name.endswith("tracked")}
