"""Truths along the vectors that break the joint-WDC most: its row-aligned adversary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.network import ReluNetwork

Array = NDArray[np.float64]


def aligned_truths(G1: ReluNetwork, G2: ReluNetwork, rounds: int = 30) -> tuple[Array, Array]:
    """Unit h0 (n,), m0 (p,) whose last hidden layers point along one row of both last layers.

    The row is the i with the greatest ||b_i|| ||c_i||.  Inner layers let a hidden layer point there
    only so far: the best of `rounds` steps of ascent from every row of the first layer is taken.
    """
    lengths = [np.linalg.norm(G.weights[-1], axis=1) for G in (G1, G2)]
    row = int(np.argmax(lengths[0] * lengths[1]))
    truths = []
    for G in (G1, G2):
        w = G.weights[-1][row]
        if G.depth == 1:
            truths.append(w / np.linalg.norm(w))
            continue
        inner = ReluNetwork(G.weights[:-1])
        x, best, truth = inner.weights[0], -np.inf, w
        for _ in range(rounds):  # ascent of w . inner(x) over unit x, from every row of W_1
            x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
            values, transpose = inner.pullback(x)
            top = int(np.argmax(values @ w))
            if values[top] @ w > best:
                best, truth = float(values[top] @ w), x[top]
            x = x + transpose(np.broadcast_to(w, values.shape)) / np.linalg.norm(w)
        truths.append(truth)
    return truths[0], truths[1]
