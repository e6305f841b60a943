"""Many chains at once up the conditions' residual, with the indicators smoothed.

A chain holds two gate vectors x, y (for the joint condition two weighing vectors as well), an
eigenvector v and a sign, and climbs

    sign [ sum_i weights_i S(u_i.x / width) S(u_i.y / width) (w_i.v)^2 - scale v^T Q_{x,y} v ],

with u_i = w_i/||w_i|| and the smooth step S in place of the indicator.  Each step moves all
of them along the normalised slope by a share of the width, and v by one shifted power step.  The
width shrinks geometrically; at the end hardly a row is undecided.  Chains that have fallen behind
are dropped on the way.  All products with the rows are single-precision products of matrices over
all chains; the value of what is found is computed elsewhere, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.arrays import Array, Bools, Single
from harness.conditions.mean import (
    dots,
    mean_parts_batch,
    overlap_batch,
    quadratic_form,
    quadratic_slope,
)

# None of these numbers is derived: they were chosen by trials on Gaussian matrices.  A worse choice
# makes the search find less in its time, but cannot make a bracket wrong: the lower end is always
# the residual at its witness.
SPREAD = 1.6
"""Half-width of the smooth step in units of the width: a cumulative normal's slope at 0 is that of
the step with 1.9."""
LAST = 0.002
"""Last width, in units of 1/sqrt(n), the size of u.x."""
STRIDE = 1.0
"""Length of a step of both gate vectors, and of both weighing vectors, in units of the width."""
SHIFT = 0.6
"""Shift of the power step in units of ||R v||."""
CULLS = (0.3, 0.5, 0.7)
"""Shares of the steps after which the worse half of the chains of either sign is dropped."""
SURVIVORS = sum(0.5**k * (b - a) for k, (a, b) in enumerate(pairwise((0.0, *CULLS, 1.0))))
"""Share of the chains that is left in an average step."""


@dataclass(eq=False)
class Rows:
    """One inequality of a condition: the rows of W gate, and C's, if any, weigh.

    Attributes
    ----------
    units : (ell, n), rows of unit length (or zero); others : (ell, p) those of C, or None.
    squares : (ell,), ||w_i||^2, for the joint condition ell ||b_i||^2 ||c_i||^2, over `size`.
    alpha : factor of Q over `size`, which makes the larger of both 1.
    """

    units: Single
    others: Single | None
    squares: Single
    alpha: float

    @classmethod
    def of(cls, W: Array, C: Array | None, alpha: float) -> Rows:
        units, squares = unit_rows(W).astype(np.float32), dots(W, W)
        others = None
        if C is not None:
            others = unit_rows(C).astype(np.float32)
            squares = len(W) * squares * dots(C, C)
        size = max(alpha, float(squares.sum()) / W.shape[1])
        return cls(units, others, (squares / size).astype(np.float32), alpha / size)


@dataclass(eq=False)
class Chains:
    """K chains: gates (2, K, n), weighing (2, K, p) or None, v (K, n), sign and width (K,)."""

    gates: Array
    weighing: Array | None
    v: Array
    sign: Array
    width: Array

    def __len__(self) -> int:
        return len(self.v)

    def __getitem__(self, keep: Array | Bools) -> Chains:
        weighing = None if self.weighing is None else self.weighing[:, keep]
        return Chains(
            self.gates[:, keep], weighing, self.v[keep], self.sign[keep], self.width[keep]
        )


def anneal(rows: Rows, chains: Chains, steps: int) -> Chains:
    """The chains that are left after `steps` steps, in their last positions."""
    K, (ell, n) = len(chains), rows.units.shape
    buffers = np.empty((3, K, ell), np.float32), np.empty((2, K, ell), np.float32)
    culls = {math.ceil(share * steps) for share in CULLS}
    for t in range(steps):
        width = chains.width * (LAST / chains.width) ** (t / max(1, steps - 1)) / math.sqrt(n)
        values = climb(rows, chains, width, buffers)
        if t in culls:
            chains = chains[_better_half(values, chains.sign)]
    return chains


def climb(rows: Rows, chains: Chains, width: Array, buffers: tuple[Single, Single]) -> Array:
    """One step of all chains, in place; their smoothed values before it (K,)."""
    from harness.conditions.anneal_kernels import joint_coefficients, wdc_coefficients

    x, y = chains.gates
    v, sign = chains.v, chains.sign[:, None]
    inverse = (1 / (SPREAD * width)).astype(np.float32)
    products = _products(np.stack([x, y, v]), rows.units, buffers[0])
    scale = np.full(len(v), rows.alpha)
    if rows.others is None or chains.weighing is None:
        wdc_coefficients(products, rows.squares, inverse)
    else:
        overlap, slope = overlap_batch(*chains.weighing)
        weights = _products(chains.weighing, rows.others, buffers[1])
        joint_coefficients(products, weights, rows.squares, inverse)
        form = quadratic_form(dots(v, x), dots(v, y), np.clip(dots(x, y), -1.0, 1.0))
        pulls = (scale * form * slope)[:, None] * chains.weighing[::-1]
        scale = scale * overlap
        climbed = sign * (_sums(weights, rows.others) - pulls)
        chains.weighing = _moved(chains.weighing, climbed, STRIDE * width)
    sums = _sums(products, rows.units)
    pulls = scale[:, None] * quadratic_slope(chains.gates, chains.gates[::-1], v)
    image = sign * (sums[2] - _mean_times(x, y, v, scale))  # sign R v
    values = dots(image, v)
    size = np.sqrt(dots(image, image))[:, None]
    chains.gates = _moved(chains.gates, sign * (sums[:2] - pulls), STRIDE * width)
    chains.v = unit(image + SHIFT * size * v)
    return np.asarray(values)


def unit(x: Array) -> Array:
    """x (..., n) over its length; zero stays zero."""
    length = np.sqrt(dots(x, x))[..., None]
    return np.asarray(x / np.where(length > 0, length, 1.0))


def unit_rows(W: Array) -> Array:
    """The rows of W (ell, n) over their lengths, whatever their scale; zero rows stay zero."""
    largest = np.max(np.abs(W), axis=1, keepdims=True)
    return unit(W / np.where(largest > 0, largest, 1.0))


def _products(vectors: Array, units: Single, buffer: Single) -> Single:
    """u_i . vector for vectors (k, K, n): (k, K, ell), in the buffer."""
    k, K, n = vectors.shape
    out = buffer.reshape(-1)[: k * K * len(units)].reshape(k * K, len(units))
    np.matmul(vectors.reshape(k * K, n).astype(np.float32), units.T, out=out)
    return out.reshape(k, K, len(units))


def _sums(coefficients: Single, units: Single) -> Array:
    """sum_i coefficient_i u_i: (k, K, n)."""
    k, K, ell = coefficients.shape
    sums = coefficients.reshape(k * K, ell) @ units
    return sums.astype(np.float64).reshape(k, K, -1)


def _mean_times(x: Array, y: Array, v: Array, scale: Array) -> Array:
    """scale Q_{x,y} v for K points: (K, n)."""
    shift, plus, minus, e, f = mean_parts_batch(x, y, scale)
    along_e, along_f = plus * dots(e, v), minus * dots(f, v)
    return np.asarray(shift[:, None] * v + along_e[:, None] * e - along_f[:, None] * f)


def _moved(pair: Array, slopes: Array, length: Array) -> Array:
    """Two unit vectors (2, K, n) moved together by `length` (K,) along their slopes' tangents."""
    slopes = slopes - dots(slopes, pair)[..., None] * pair
    size = np.sqrt(dots(slopes, slopes).sum(axis=0))
    step = np.divide(length, size, out=np.zeros_like(size), where=size > 0)
    return unit(pair + step[:, None] * slopes)


def _better_half(values: Array, sign: Array) -> Bools:
    """Which chains are among the better half of those of their sign."""
    keep = np.zeros(len(values), dtype=bool)
    for one in (1.0, -1.0):
        own = np.flatnonzero(sign == one)
        keep[own[np.argsort(-values[own], kind="stable")[: (len(own) + 1) // 2]]] = True
    return keep
