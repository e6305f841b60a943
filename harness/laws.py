"""Laws of random layers beside the Gaussian one, all with entries of mean 0 and variance 1/rows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy

from harness.arrays import Array

Law = Literal["gaussian", "orthogonal", "sparse", "heavy", "quantised"]

SPARSITY = 0.1
"""Share of entries that the sparse law keeps."""
STUDENT_T = 3.0
"""Degrees of freedom of the heavy-tailed law."""
LEVELS, FARTHEST = 16, 3.0
"""Of the quantised law: 16 levels (4 bits), equally spaced up to 3 standard deviations."""


def random_layer(rng: np.random.Generator, rows: int, columns: int, law: Law) -> Array:
    """A random matrix (rows, columns).

    "gaussian"    N(0, 1/rows)
    "orthogonal"  blocks of `columns` orthogonal rows, each row uniform on its sphere
    "sparse"      one entry in ten, N(0, 10/rows)
    "heavy"       Student t with 3 degrees of freedom
    "quantised"   Gaussian entries rounded to one of 16 levels
    """
    shape = (rows, columns)
    match law:
        case "gaussian":
            return rng.standard_normal(shape) / np.sqrt(rows)
        case "orthogonal":
            blocks = -(-rows // columns)
            q = np.linalg.qr(rng.standard_normal((blocks, columns, columns)))[0]
            # Random signs do not make the block Haar, but each row alone is uniform.
            signs = rng.choice([-1.0, 1.0], size=(blocks, columns, 1))
            return (signs * q).reshape(-1, columns)[:rows] * np.sqrt(columns / rows)
        case "sparse":
            kept = rng.random(shape) < SPARSITY
            return kept * rng.standard_normal(shape) / np.sqrt(SPARSITY * rows)
        case "heavy":
            variance = STUDENT_T / (STUDENT_T - 2)
            return rng.standard_t(STUDENT_T, shape) / np.sqrt(variance * rows)
        case "quantised":
            levels, deviation = quantisation()
            edges = (levels[1:] + levels[:-1]) / 2
            places = np.searchsorted(edges, rng.standard_normal(shape))
            return levels[places] / (deviation * np.sqrt(rows))


def quantisation() -> tuple[Array, float]:
    """The levels (16,) of a quantised standard normal variable, and its standard deviation."""
    levels = np.linspace(-FARTHEST, FARTHEST, LEVELS)
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    share = np.diff(scipy.stats.norm.cdf(edges))
    return levels, float(np.sqrt(share @ levels**2))
