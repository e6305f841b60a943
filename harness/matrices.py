"""Weight matrices whose conditions are measured: from a random law, or from a file."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.conditions import check_matrix
from harness.errors import shown
from harness.experiment import Settings
from harness.laws import Law, random_layer
from harness.network import gaussian_network
from harness.ranges import Size
from harness.reading import open_regular
from harness.theory import truncation_alpha

MATRIX_BYTES = 2**33
"""Largest matrix that is read, in bytes: of its file, unpacked, and as float64."""
LARGEST_ENTRY = 1e70
"""Largest entry of a matrix from a file: the joint condition sums products of four of them."""


@dataclass(frozen=True)
class Matrix(Settings):
    """An (ell, n) matrix with E w w^T = (alpha/ell) I for its rows w, or one from a file.

    Attributes
    ----------
    law :
        one of `harness.laws`, or "truncated": Gaussian with rows longer than 3 sqrt(n/ell) set to
        zero (Theorem 2)
    weights : a .npy or .npz file with the matrix (the first array of an .npz), instead of a law.
    """

    n: Size
    ell: Size
    law: Law | Literal["truncated", "file"]
    weights: str | None = None
    sha256: str | None = None
    """Digest of the matrix in the file, set by `prepared`: a changed file makes a new cell."""

    def __post_init__(self) -> None:
        if self.law == "file" and self.weights is None:
            raise ValueError("network.law=file: needs network.weights=PATH")

    def prepared(self) -> Matrix:
        """The same matrix with n, ell, law and digest taken from its file, if it has one."""
        if self.weights is None:
            return self
        matrix = load_matrix(self.weights)
        ell, n = matrix.shape
        return replace(self, n=n, ell=ell, law="file", sha256=matrix_digest(matrix))

    @property
    def bytes(self) -> int:
        """Memory of the matrix."""
        return 8 * self.ell * self.n

    @property
    def alpha(self) -> float:
        """alpha in E w w^T = (alpha/ell) I; 1 for a file, whose matrix is assumed to be scaled."""
        truncated = self.weights is None and self.law == "truncated"
        return truncation_alpha(self.n) if truncated else 1.0

    def sample(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the matrix, or read it."""
        if self.weights is not None:
            matrix = load_matrix(self.weights)
            check_digest("network.sha256", self.sha256, (self.ell, self.n), matrix)
            return matrix
        if self.law == "truncated":
            return gaussian_network(rng, (self.n, self.ell), "truncated").weights[0]
        assert self.law != "file", "a file has weights"
        return random_layer(rng, self.ell, self.n, self.law)


def matrix_digest(*matrices: NDArray[np.float64]) -> str:
    """Digest of the shapes and entries of matrices."""
    total = hashlib.sha256()
    for matrix in matrices:
        total.update(repr(matrix.shape).encode())
        total.update(np.ascontiguousarray(matrix).data)  # no copy of what is loaded
    return total.hexdigest()[:16]


def check_digest(
    key: str, sha256: str | None, shape: tuple[int, ...], *matrices: NDArray[np.float64]
) -> None:
    """Raise ValueError unless the matrices have the digest and sizes that setting `key` stores."""
    sizes = (len(matrices[0]), *(matrix.shape[1] for matrix in matrices))
    if sha256 != matrix_digest(*matrices) or shape != sizes:
        raise ValueError(
            f"{key}={sha256}: the file has sizes {sizes} and {matrix_digest(*matrices)}"
        )


def load_matrix(path: str, key: str = "network.weights") -> NDArray[np.float64]:
    """The matrix in the .npy or .npz file that setting `key` names; runs no code from the file.

    Raises
    ------
    ValueError
        If the file cannot be read, holds no finite real matrix, or one of more than `MATRIX_BYTES`
        or than there is memory for; the message is one line.
    """
    key = f"{key}={path}"
    try:
        loaded = _load(Path(path))
    except MemoryError:
        raise ValueError(f"{key}: does not fit into memory") from None
    except Exception as error:  # of many kinds, from the header, the archive and the decoder
        told = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        reason = shown(told) or type(error).__name__
        raise ValueError(
            f"{key}: must be a .npy or .npz file with a real matrix ({reason})"
        ) from None
    if loaded.size > MATRIX_BYTES // 8:
        raise ValueError(f"{key}: has {loaded.size} entries; at most {MATRIX_BYTES // 8} are read")
    try:
        matrix = check_matrix(key, loaded)
    except MemoryError:
        raise ValueError(f"{key}: as float64 it does not fit into memory") from None
    largest = max(float(matrix.max()), -float(matrix.min()))
    if largest > LARGEST_ENTRY:
        raise ValueError(
            f"{key}: has an entry of size {largest:.3g}; at most {LARGEST_ENTRY:g} is allowed, so "
            "that no product overflows"
        )
    return matrix


def load_pair(
    paths: tuple[str | None, str | None], keys: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Two matrices with the same number of rows, from the files of two settings, or None of both.

    Raises
    ------
    ValueError
        If one file is missing, the numbers of rows differ, or `load_matrix` refuses one.
    """
    first, second = paths
    named = [f"{key}={path}" for key, path in zip(keys, paths, strict=True)]
    if first is None and second is None:
        return None
    if first is None or second is None:
        raise ValueError(f"{', '.join(named)}: give both or neither")
    B, C = load_matrix(first, keys[0]), load_matrix(second, keys[1])
    if len(B) != len(C):
        raise ValueError(
            f"{named[0]} has {len(B)} rows, {named[1]} has {len(C)}: must be the same number"
        )
    return B, C


def _load(path: Path) -> NDArray[Any]:
    """The array in a .npy file, or the first in a .npz file."""
    with open_regular(path, MATRIX_BYTES) as stream:  # NumPy leaves a damaged archive open
        with warnings.catch_warnings(action="ignore"):  # a header as old versions wrote them
            loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            assert loaded.zip is not None
            size = loaded.zip.infolist()[0].file_size  # no more than that is unpacked
            if size > MATRIX_BYTES:
                raise ValueError(f"unpacks to {size} bytes; at most {MATRIX_BYTES} are read")
            loaded = loaded[loaded.files[0]]
    return np.asarray(loaded)
