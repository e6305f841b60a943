"""Trained weights: safetensors files with a list of checksums; reading them runs no code.

Fully connected generators load as `ReluNetwork`, without PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from harness.errors import InputError
from harness.network import ReluNetwork
from harness.reading import read_regular

FOLDER = Path(__file__).parent / "trained"
"""Folder of the weights that come with the project."""
CHECKSUMS = "checksums.json"
WEIGHTS_BYTES = 2**30
"""Largest file of weights, and largest checkpoint of their training, that is read."""

DECODERS = ("digits_decoder", "distortions_decoder")
DCGANS = ("digits_dcgan", "distortions_dcgan")

Tensors = dict[str, NDArray[np.float64]]


class WeightsError(InputError):
    """Weights that are missing, damaged or of the wrong shape; the message is one line."""


def folder(name: str | None) -> Path:
    """The folder of this name; that of the weights that come with the project if None."""
    return FOLDER if name is None else Path(name)


def pack(tensors: Mapping[str, NDArray[np.float64]], recipe: str = "") -> bytes:
    """A safetensors file of the tensors, in half precision, with the recipe in its metadata."""
    return safetensors.numpy.save(
        {name: np.asarray(value, dtype=np.float16) for name, value in tensors.items()},
        {"recipe": recipe},
    )


def checksum(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def naming(name: str, folder: Path) -> Iterator[None]:
    """Re-raise a ValueError about loaded weights as a WeightsError that names their file."""
    try:
        yield
    except WeightsError:
        raise
    except ValueError as error:
        reason = str(error).removeprefix("weights: ")
        raise WeightsError(f"weights={_path(name, folder)}: {reason}") from None


def listed(folder: Path) -> dict[str, str]:
    """Checksums of a folder's files, by name; empty if the folder has no list.

    Raises
    ------
    WeightsError
        If the list cannot be read or is not a list of checksums.
    """
    path = folder / CHECKSUMS
    try:
        sums = json.loads(read_regular(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"weights={path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        sums = None
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise WeightsError(f"weights={path}: damaged; must be checksums by the names of files")
    return sums


def load(name: str, folder: Path = FOLDER) -> Tensors:
    """The tensors of folder/<name>.safetensors, in double precision.

    Raises
    ------
    WeightsError
        If the file is missing, cannot be read, or does not match its checksum.
    """
    data = _read(name, folder)
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        raise WeightsError(
            f"weights={_path(name, folder)}: is no safetensors file of real tensors"
        ) from None
    return {key: value.astype(np.float64) for key, value in tensors.items()}


def fingerprint(names: Iterable[str], folder: Path = FOLDER) -> str:
    """Digest of the files with these names, which identifies the weights.  Errors as `load`."""
    return checksum("".join(checksum(_read(name, folder)) for name in names).encode())


def recipe(name: str, folder: Path = FOLDER) -> str | None:
    """The recipe stored in folder/<name>.safetensors; None if the file is missing or damaged."""
    try:
        load(name, folder)
    except WeightsError:
        return None
    with safetensors.safe_open(_path(name, folder), "np") as file:
        return (file.metadata() or {}).get("recipe")


def load_network(name: str, folder: Path = FOLDER) -> ReluNetwork:
    """A fully connected generator, from tensors called layers.0.weight, layers.1.weight, ..."""
    tensors = load(name, folder)
    layers = [tensors.get(f"layers.{i}.weight") for i in range(len(tensors))]
    weights = [W for W in layers if W is not None and W.ndim == 2]
    with naming(name, folder):
        if not weights or len(weights) != len(tensors):
            raise ValueError("weights: are not those of a fully connected generator")
        return ReluNetwork(weights)


def load_pair(folder: Path = FOLDER) -> tuple[ReluNetwork, ReluNetwork]:
    """The fully connected generators of digits and distortions, each `scaled`.

    Raises
    ------
    WeightsError
        As `load_network`; or if the image sizes differ; or if a layer is 0.
    """
    G1, G2 = (load_network(name, folder) for name in DECODERS)
    if G1.widths[-1] != G2.widths[-1]:
        raise WeightsError(
            f"weights={folder}: {DECODERS[0]} draws {G1.widths[-1]} pixels, "
            f"{DECODERS[1]} {G2.widths[-1]}; must be the same number"
        )
    with naming(DECODERS[0], folder):
        G1 = scaled(G1)
    with naming(DECODERS[1], folder):
        G2 = scaled(G2)
    return G1, G2


def scaled(G: ReluNetwork) -> ReluNetwork:
    """G with each layer rescaled to tr(W^T W) = number of columns, as E W^T W = I in Theorem 2.

    By homogeneity G changes by a constant factor only.

    Raises
    ------
    ValueError
        If a layer is 0.
    """
    sizes = [float(np.linalg.norm(W)) for W in G.weights]
    if 0 in sizes:
        raise ValueError(f"weights: W_{sizes.index(0) + 1} is 0, and so is all output")
    return ReluNetwork([W * np.sqrt(W.shape[1]) / s for W, s in zip(G.weights, sizes, strict=True)])


def _path(name: str, folder: Path) -> Path:
    return folder / f"{name}.safetensors"


def _read(name: str, folder: Path) -> bytes:
    """The bytes of the file, if they match its checksum."""
    path = _path(name, folder)
    try:
        data = read_regular(path, WEIGHTS_BYTES)
    except FileNotFoundError:
        raise WeightsError(f"weights={path}: missing; `harness train` makes it") from None
    except OSError as error:
        raise WeightsError(f"weights={path}: cannot be read ({error.strerror})") from None
    sums = listed(folder)
    if path.name not in sums:
        raise WeightsError(f"weights={path}: has no checksum in {CHECKSUMS}")
    if sums[path.name] != checksum(data):
        raise WeightsError(f"weights={path}: damaged, its checksum is not that of {CHECKSUMS}")
    return data
