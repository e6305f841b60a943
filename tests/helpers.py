"""Small networks and slow, literal references that several test modules share.

The references follow the printed definitions one entry at a time and import nothing from the code
under test but the network type: they are what the fast code is compared with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from harness.errors import InputError
from harness.network import ReluNetwork
from harness.problem import Demodulation

Array = NDArray[np.float64]
Widths = tuple[int, ...]
Pattern = list[list[bool]]

EPS = float(np.finfo(np.float64).eps)

SHAPES: dict[str, tuple[Widths, Widths]] = {
    "scalar": ((1, 1), (1, 1)),
    "one-layer": ((3, 8), (2, 8)),
    "mixed-depth": ((2, 5, 9), (3, 9)),
    "width-one": ((3, 1, 7), (2, 5, 7)),
    "two-layer": ((4, 9, 20), (3, 8, 20)),
    "deep": ((2, 4, 6, 12), (3, 5, 6, 7, 12)),
    "contracting": ((6, 4, 3), (5, 2, 3)),
}
"""Widths of (G1, G2) by name."""


def network(seed: int, widths: Sequence[int]) -> ReluNetwork:
    """Gaussian weights of variance 1/n_i, drawn here and not by the code under test."""
    rng = np.random.default_rng(seed)
    return ReluNetwork(
        [rng.normal(size=(rows, columns)) * np.sqrt(1 / rows) for columns, rows in pairwise(widths)]
    )


def problem(name: str, seed: int = 0) -> Demodulation:
    """A problem of the table with at least a third of the observation not zero."""
    widths1, widths2 = SHAPES[name]
    for attempt in range(1000):
        rng = np.random.default_rng([seed, attempt])
        P = Demodulation(
            network(int(rng.integers(2**31)), widths1),
            network(int(rng.integers(2**31)), widths2),
            rng.normal(size=widths1[0]),
            rng.normal(size=widths2[0]),
        )
        if 3 * np.count_nonzero(P.y0) >= P.ell:
            return P
    raise AssertionError(f"no problem of shape {name} with an observation to speak of")


def integer_network(rng: np.random.Generator, widths: Sequence[int], size: int = 2) -> ReluNetwork:
    """Entries in {-size, ..., size}: kinks are exact and frequent, arithmetic has no rounding."""
    return ReluNetwork(
        [
            rng.integers(-size, size + 1, size=(rows, columns)).astype(np.float64)
            for columns, rows in pairwise(widths)
        ]
    )


def naive_preactivations(weights: Sequence[Array], h: Sequence[float]) -> list[list[float]]:
    """W_i x_{i-1} for i = 1..d by loops over entries; exact if h has `Fraction` entries."""
    x, layers = list(h), []
    number = Fraction if any(isinstance(value, Fraction) for value in x) else float
    for W in weights:
        rows = [[number(entry) for entry in row] for row in W.tolist()]
        z = [sum(w * value for w, value in zip(row, x, strict=True)) for row in rows]
        layers.append(z)
        x = [value if value > 0 else 0 * value for value in z]
    return layers


def naive_forward(weights: Sequence[Array], h: Sequence[float]) -> list[float]:
    """G(h) by loops over entries."""
    return [value if value > 0 else 0 * value for value in naive_preactivations(weights, h)[-1]]


def naive_pattern(weights: Sequence[Array], h: Sequence[float]) -> Pattern:
    """Which units of each layer are active; a pre-activation of 0 is not."""
    return [[value > 0 for value in layer] for layer in naive_preactivations(weights, h)]


def naive_Lambda(weights: Sequence[Array], h: Sequence[float]) -> Array:
    """diag(active_d) W_d ... diag(active_1) W_1 as a product of explicit matrices."""
    product = np.eye(len(h))
    for W, active in zip(weights, naive_pattern(weights, h), strict=True):
        product = np.diag([1.0 if on else 0.0 for on in active]) @ W @ product
    return product


def naive_loss(P: Demodulation, h: Sequence[float], m: Sequence[float]) -> float:
    """1/2 sum over entries of (G1(h) G2(m) - G1(h0) G2(m0))^2 by loops; exact for `Fraction`s."""
    number = type(h[0])
    a, b = naive_forward(P.G1.weights, h), naive_forward(P.G2.weights, m)
    a0 = naive_forward(P.G1.weights, [number(value) for value in P.h0.tolist()])
    b0 = naive_forward(P.G2.weights, [number(value) for value in P.m0.tolist()])
    residuals = [ai * bi - ci * di for ai, bi, ci, di in zip(a, b, a0, b0, strict=True)]
    return sum(r * r for r in residuals) / number(2)


def exact_loss_slope(
    P: Demodulation, h: ArrayLike, m: ArrayLike, dh: ArrayLike, dm: ArrayLike, t: Fraction
) -> Fraction:
    """One-sided derivative of the loss at integer points and directions, without rounding.

    Along a segment on which both networks are linear, f is a quartic polynomial, and
    (-25 f(0) + 48 f(t) - 36 f(2t) + 16 f(3t) - 3 f(4t)) / (12 t) is its slope at 0.
    """

    def along(k: int) -> Fraction:
        points = []
        for x, dx in ((h, dh), (m, dm)):
            start, move = np.asarray(x).tolist(), np.asarray(dx).tolist()
            points.append(
                [Fraction(x0) + k * t * Fraction(v) for x0, v in zip(start, move, strict=True)]
            )
        return naive_loss(P, *points)

    return one_sided_slope(along, t)


def one_sided_slope(f: Callable[[int], float], t: float) -> float:
    """Slope at 0+ of a quartic polynomial known at f(k) = value at k t, k = 0..4."""
    return (-25 * f(0) + 48 * f(1) - 36 * f(2) + 16 * f(3) - 3 * f(4)) / (12 * t)


def same_pattern_on_segment(G: ReluNetwork, h: Array, dh: Array, ts: Sequence[float]) -> bool:
    """Whether the same units are active at h + t dh for all t of the list."""
    patterns = [naive_pattern(G.weights, (h + t * dh).tolist()) for t in ts]
    return all(pattern == patterns[0] for pattern in patterns)


def kink_point(
    G: ReluNetwork, layer: int, rng: np.random.Generator, attempts: int = 500
) -> tuple[Array, int]:
    """A point h and a row j with pre-activation j of `layer` (1..d) zero up to rounding.

    Bisection between two points where that pre-activation has opposite signs, then projection
    orthogonal to the effective row w_j Lambda_{layer-1}.  All other pre-activations are well away
    from 0 unless they are 0 for a reason, and the effective row is not 0.
    """
    for _ in range(attempts):
        j = int(rng.integers(G.weights[layer - 1].shape[0]))
        low, high = rng.normal(size=(2, G.widths[0]))

        def z(h: Array, j: int = j) -> float:
            return naive_preactivations(G.weights, h.tolist())[layer - 1][j]

        if not z(low) < 0 < z(high):
            continue
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if z(middle) < 0 else (low, middle)
        previous = naive_Lambda(G.weights[: layer - 1], high.tolist())
        row = G.weights[layer - 1][j] @ previous
        if not row.any():
            continue
        h = high - (row @ high) / (row @ row) * row
        layers = naive_preactivations(G.weights, h.tolist())
        x_norm = np.linalg.norm(previous @ h)
        w_norm = np.linalg.norm(G.weights[layer - 1][j])
        small = [abs(v) < 1e-3 for i, zs in enumerate(layers) for v in zs if v != 0]
        on_kink = abs(layers[layer - 1][j]) <= 1e-14 * w_norm * x_norm
        others = sum(small) - (layers[layer - 1][j] != 0)
        if on_kink and others == 0 and x_norm > 1e-2 and np.linalg.norm(row) > 1e-2:
            return h, j
    raise AssertionError(f"no kink found in layer {layer} of widths {G.widths}")


def standard_error(samples: ArrayLike) -> Array:
    """Standard error of the mean over the first axis."""
    samples = np.asarray(samples, dtype=np.float64)
    return samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


def angle_between(x: ArrayLike, y: ArrayLike) -> float:
    """Textbook angle, by the arccos of the normalised inner product."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    cosine = float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y))
    return float(np.arccos(min(1.0, max(-1.0, cosine))))


@contextmanager
def refused(says: str, error: type[Exception] = InputError) -> Iterator[None]:
    """The block must raise an error whose text is one line that matches `says`."""
    with pytest.raises(error) as refusal:
        yield
    [line] = str(refusal.value).splitlines()
    assert re.search(says, line), line
