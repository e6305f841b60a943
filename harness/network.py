"""Bias-free ReLU networks G(h) = relu(W_d ... relu(W_1 h)) and their random ensembles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array

LastLayer = Literal["truncated", "gaussian"]

KINK_RTOL = 1e-12
"""A pre-activation w.x with |w.x| <= KINK_RTOL ||w|| ||x|| counts as exactly zero in `jvp`.

Here x is the input of the layer.  A point placed on a kink in floating point misses it by the
rounding of this inner product, some 1e-15 ||w|| ||x||; KINK_RTOL leaves three digits of room.
`harness.landscape.tolerances` says where else it is used.
"""


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    """A bias-free ReLU network, ReLU after every layer, the last included.

    Parameters
    ----------
    weights : sequence of arrays
        W_1, ..., W_d with W_i of shape (n_i, n_{i-1}).
    copy : bool
        False: keep float64 arrays themselves, which become read-only, and not copies of them.

    Raises
    ------
    ValueError
        If there is no layer, a layer is not a finite non-empty matrix, or two do not fit.
    """

    weights: tuple[Array, ...]

    def __init__(self, weights: Sequence[ArrayLike], *, copy: bool = True) -> None:
        make = np.array if copy else np.asarray
        matrices = tuple(make(W, dtype=np.float64, order="C") for W in weights)
        if not matrices:
            raise ValueError("weights: a network needs at least one layer")
        for i, W in enumerate(matrices, start=1):
            if W.ndim != 2 or W.size == 0:
                raise ValueError(
                    f"weights: W_{i} has shape {W.shape}; a non-empty matrix is needed"
                )
            if not np.isfinite(W).all():
                raise ValueError(f"weights: W_{i} has entries that are not finite")
            if i > 1 and W.shape[1] != matrices[i - 2].shape[0]:
                raise ValueError(
                    f"weights: W_{i} has {W.shape[1]} columns but W_{i - 1} has "
                    f"{matrices[i - 2].shape[0]} rows"
                )
            W.flags.writeable = False
        object.__setattr__(self, "weights", matrices)

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, n_1, ..., n_d)."""
        return (self.weights[0].shape[1], *(W.shape[0] for W in self.weights))

    @property
    def depth(self) -> int:
        """Number of layers, d."""
        return len(self.weights)

    def __call__(self, h: ArrayLike) -> Array:
        """G(h): (..., n) -> (..., ell)."""
        x = np.asarray(h, dtype=np.float64)
        for W in self.weights:
            x = np.maximum(x @ W.T, 0.0)
        return x

    def preactivations(self, h: ArrayLike) -> tuple[Array, ...]:
        """W_i x_{i-1} for i = 1..d, with x_0 = h and x_i = relu(W_i x_{i-1}).

        (..., n) -> one array (..., n_i) for each layer.
        """
        layers = [np.asarray(h, dtype=np.float64) @ self.weights[0].T]
        for W in self.weights[1:]:
            layers.append(np.maximum(layers[-1], 0.0) @ W.T)
        return tuple(layers)

    def Lambda(self, h: ArrayLike) -> Array:
        """Lambda_h = prod_{i=d..1} diag(W_i x_{i-1} > 0) W_i, so that G(h) = Lambda_h h.

        (..., n) -> (..., ell, n).  A pre-activation of 0 is inactive.

        Raises
        ------
        ValueError
            If the last axis of h is not of length n.
        """
        x, n = np.asarray(h, dtype=np.float64), self.widths[0]
        if x.ndim == 0 or x.shape[-1] != n:
            raise ValueError(f"Lambda takes points of shape (..., {n}), not {x.shape}")
        count = x.size // n
        product = np.repeat(np.eye(n)[:, None], count, axis=1)  # (n_i, count, n)
        for W, z in zip(self.weights, self.preactivations(x), strict=True):
            rows = (W @ product.reshape(len(product), -1)).reshape(len(W), count, n)
            product = np.where(z > 0, 1.0, 0.0).reshape(count, len(W)).T[..., None] * rows
        product = np.ascontiguousarray(product.transpose(1, 0, 2))
        return product.reshape(*x.shape[:-1], self.widths[-1], n)

    def pullback(self, h: ArrayLike) -> tuple[Array, Callable[[Array], Array]]:
        """G(h) and the map v -> Lambda_h^T v, (..., ell) -> (..., n), from one evaluation.

        Where G is differentiable the map is the transposed Jacobian (reverse mode).
        """
        layers = self.preactivations(h)
        active = [z > 0 for z in layers]

        def transpose(v: Array) -> Array:
            for W, mask in zip(reversed(self.weights), reversed(active), strict=True):
                v = (v * mask) @ W
            return v

        return np.maximum(layers[-1], 0.0), transpose

    def jvp(
        self,
        h: ArrayLike,
        dh: ArrayLike,
        *,
        kink_rtol: float = KINK_RTOL,
        layers: int | None = None,
    ) -> tuple[Array, Array]:
        """G(h) and its one-sided derivative lim_{t -> 0+} (G(h + t dh) - G(h)) / t.

        Exact at every point: value and derivative go through the layers together, and at a kink
        relu'(0; u) = max(u, 0).

        Parameters
        ----------
        h, dh : (..., n)
            Points and directions; leading axes broadcast.
        kink_rtol : float
            A pre-activation w.x is taken to be exactly 0 if |w.x| <= kink_rtol ||w|| ||x||; see
            `KINK_RTOL`.  With 0 only exact zeros are kinks.
        layers : int, optional
            Stop after this many layers (0: return h and dh); by default after the last one.

        Returns
        -------
        value, derivative : (..., ell), or (..., n_i) after i layers
        """
        x, u = np.broadcast_arrays(
            np.asarray(h, dtype=np.float64), np.asarray(dh, dtype=np.float64)
        )
        for W, norms in list(zip(self.weights, self.row_norms, strict=True))[:layers]:
            z, dz = x @ W.T, u @ W.T
            x, u = relu_jvp(z, dz, on_kink(z, x, norms, kink_rtol))
        return x, u

    @cached_property
    def row_norms(self) -> tuple[Array, ...]:
        """Norms of the rows of each W_i, (n_i,)."""
        return tuple(np.linalg.norm(W, axis=1) for W in self.weights)


def on_kink(z: Array, x: Array, row_norms: Array, rtol: float = KINK_RTOL) -> NDArray[np.bool_]:
    """Whether |z| <= rtol ||w|| ||x||, with z = W x and w the rows of W.

    (..., n_i), (..., n_{i-1}), (n_i,) -> (..., n_i).  See `KINK_RTOL` for the reason.
    """
    return np.abs(z) <= rtol * (row_norms * np.linalg.norm(x, axis=-1, keepdims=True))


def relu_jvp(z: Array, dz: Array, kink: NDArray[np.bool_]) -> tuple[Array, Array]:
    """relu(z) and its one-sided derivative along dz, taking z for 0 where `kink` is true."""
    value = np.where(kink, 0.0, np.maximum(z, 0.0))
    return value, np.where(kink, np.maximum(dz, 0.0), np.where(z > 0, dz, 0.0))


def gaussian_network(
    rng: np.random.Generator, widths: Sequence[int], last_layer: LastLayer = "truncated"
) -> ReluNetwork:
    """Random network of Theorem 2: entries of W_i are N(0, 1/n_i), i = 1..d.

    Parameters
    ----------
    rng : numpy.random.Generator
    widths : sequence of int
        (n_0, ..., n_d), each >= 1, depth d >= 1.  No hypothesis of the theorem is enforced.
    last_layer : {"truncated", "gaussian"}
        "truncated" sets to ZERO each row of W_d longer than 3 sqrt(n_{d-1} / n_d) (the paper's
        w 1{||w|| <= 3 sqrt(k/ell)}); then E w w^T = (alpha/ell) I with
        alpha = `harness.theory.truncation_alpha(n_{d-1})`.

    Raises
    ------
    ValueError
        If widths has fewer than two entries, an entry is not a whole number >= 1, or last_layer is
        unknown.
    """
    widths = list(widths)
    if len(widths) < 2 or any(k != int(k) or k < 1 for k in widths):
        raise ValueError(f"widths={widths}: at least two widths are needed, whole and each >= 1")
    if last_layer not in ("truncated", "gaussian"):
        raise ValueError(f"last_layer={last_layer!r}: must be 'truncated' or 'gaussian'")
    weights = [rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths)]
    for W in weights:
        W /= np.sqrt(len(W))
    if last_layer == "truncated":
        W = weights[-1]
        ell, k = W.shape
        W[np.sqrt(np.einsum("ji,ji->j", W, W)) > 3 * np.sqrt(k / ell)] = 0.0
    return ReluNetwork(weights, copy=False)
