"""The memory of one network that the tracking engine follows, as records and flat arrays."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.descent.array_kernels import Array, Ints, Records, transpose
from harness.network import ReluNetwork

LAYER = np.dtype(
    [("width", np.int64), ("weights", np.int64), ("units", np.int64), ("matrix", np.int64)]
)
"""Layer k: its width n_k, and where W_k^T begins in `W`, its units in `z` and E_k^T in `E`."""

ACCOUNT = np.dtype(
    [("used", np.float64), ("paid", np.float64), ("credit", np.float64), ("deep", np.int64)]
)
"""What `weigh` balances; costs are in rows read.

used : how often all of z_d was computed, or pulled back through, since the point was entered.
paid : cost so far of the pending units.
credit : what B has saved, less what keeping it has cost; or would have, while there is none.
deep : switches in layers before d - 1 since the last `weigh`.
"""

EFFORT = np.dtype(
    [
        ("evaluations", np.int64),
        ("plain", np.int64),
        ("updates", np.int64),
        ("rebuilds", np.int64),
        ("drifted", np.int64),
        ("drift", np.float64),
    ]
)
"""The fields of `harness.descent.solution.TrackingReport`, but for hot_steps."""

SIDE = np.dtype(
    [
        ("account", ACCOUNT),
        ("effort", EFFORT),
        ("listed", np.int64),
        ("plain", np.int64),
        ("finite", np.int64),
        ("since", np.int64),
    ]
)
"""The scalars of one side.

listed : number of listed units.
plain : 1 if those are all active units, 0 if they are the pending ones.
finite : 0 if a pre-activation of an inner layer is not finite.
since : rank-one updates since the matrices were last recomputed.
"""


class Network(NamedTuple):
    """A network with U units, its state on both sides, and working space.

    Attributes
    ----------
    n, depth : n and d.
    layers : (d + 1,) of LAYER; layer 0 is the input.
    W : flat, W_1^T, ..., W_d^T.
    E : (2, n U), E_1^T, ..., E_{d-1}^T, and B^T in the place of E_d^T.
    z : (2, U), pre-activations.
    on : (2, U - ell), 1 for the active units of the inner layers.
    base : (2, n_{d-1}), 1 for the units in B.
    units : (2, n_{d-1}), the listed units of layer d - 1: those whose columns of W_d are read
        beside B or in its place.
    sign : (2, n_{d-1}), +1 for a listed unit, or -1 if it is in B and not active.
    value : (2, n_{d-1}), sign times z of the listed units.
    sides : (2,) of SIDE.
    every : 0, 1, 2, ...
    switched : the units of a layer that switch.
    weight : coefficients of the listed units.
    active, level : the active units of a layer at the mirror image, and their pre-activations.
    row_norms : (ell,), the norms of the rows of W_d.
    stretch : an upper bound of ||W_{d-1}|| ... ||W_1||, spectral norms.
    """

    n: int
    depth: int
    layers: Records
    W: Array
    E: Array
    z: Array
    on: Array
    base: Array
    units: Ints
    sign: Array
    value: Array
    sides: Records
    every: Ints
    switched: Ints
    weight: Array
    active: Ints
    level: Array
    row_norms: Array
    stretch: float


def prepare(G: ReluNetwork, order: Ints | None = None) -> Network:
    """G as the kernels read it; `reset` makes it ready for a trial.

    order : (ell,), the units of the last layer in the order wanted.
    """
    n, inner, widest, U = G.widths[0], G.widths[-2], max(G.widths), sum(G.widths[1:])
    layers = np.zeros(G.depth + 1, dtype=LAYER)
    layers["width"] = G.widths
    layers["weights"][1:] = np.cumsum([0, *(W.size for W in G.weights[:-1])])
    layers["units"][1:] = np.cumsum([0, *G.widths[1:-1]])
    layers["matrix"] = n * layers["units"]
    every, flat = np.arange(widest), np.empty(sum(W.size for W in G.weights))
    order = every[: G.widths[-1]] if order is None else order
    orders = [every] * (G.depth - 1) + [order]
    for W, units, start in zip(G.weights, orders, layers["weights"][1:], strict=True):
        transpose(W, units, flat[start : start + W.size])
    return Network(
        n=n,
        depth=G.depth,
        layers=layers,
        W=flat,
        E=np.empty((2, n * U)),
        z=np.zeros((2, U)),
        on=np.zeros((2, U - G.widths[-1])),
        base=np.zeros((2, inner)),
        units=np.zeros((2, inner), dtype=np.int64),
        sign=np.zeros((2, inner)),
        value=np.zeros((2, inner)),
        sides=np.zeros(2, dtype=SIDE),
        every=every,
        switched=np.zeros(widest, dtype=np.int64),
        weight=np.zeros(inner),
        active=np.zeros(widest, dtype=np.int64),
        level=np.zeros(widest),
        row_norms=np.sqrt(np.einsum("ji,ji->j", G.weights[-1], G.weights[-1]))[order],
        stretch=math.prod(map(norm_bound, G.weights[:-1])),
    )


def norm_bound(W: Array) -> float:
    """An upper bound of the spectral norm of W, too large by no more than a factor n^(1/16).

    With n columns, ||W||^8 = ||(W^T W)^4|| <= ||(W^T W)^4||_F <= sqrt(n) ||W||^8.
    """
    gram = W.T @ W
    size = float(np.abs(gram).max()) or 1.0  # the powers of gram / size do not overflow
    power = gram / size
    power = power @ power
    power = power @ power
    return (1 + 1e-9) * math.sqrt(size * float(np.linalg.norm(power)) ** (1 / 4))


def reset(net: Network) -> None:
    """Forget all points: no unit is active, all counts are 0."""
    first = net.n * int(net.layers[1]["width"])
    net.E[:, :first] = net.W[:first]  # E_1 = W_1
    net.E[:, first:] = 0.0
    for state in (net.z, net.on, net.base, net.sign, net.value):
        state[:] = 0.0
    net.sides[:] = np.zeros(2, dtype=SIDE)
