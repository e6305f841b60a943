"""Compiled: the units of the last layer that matter while the iterate stays in a ball.

While the inner layers keep their pattern, z_d = B x, so |z_d[j]| > ||B[j]|| radius at the centre
shows that unit j does not switch in the ball of that radius.  If this holds for unit j of both
networks and one of the two is inactive, then a_j b_j = 0 in the whole ball: unit j adds the
constant y0_j^2 / 2 to the loss and nothing to the gradients.  It is *cold*; the others are *hot*.

The same holds of the inner layers: if |z_k[u]| > ||E_k[u]|| r for all units u of all inner layers,
none of them switches in the ball of radius r, and their pattern need not be looked at there.  The
largest such r is the *calm radius* of a point.

If this looks like word soup, here is what goes on.  The observation is a product, entry by entry.
If one factor is zero, so is the product, and the other factor does not matter.  About three
quarters of the entries end up like this, and near a solution the iterate moves too little to change
that.  So every few steps we look for the entries that can still change, copy their columns next to
each other, and let the next steps read these only, until the iterate leaves the ball.  The inner
layers are watched in the same manner: from a point at which they have been evaluated, the iterate
must move some way before the first unit can switch, and until then nobody need look.

Importing this module compiles it or loads it from the cache: import it inside the function that
needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.compiled import njit
from harness.descent.array_kernels import (
    FAST,
    Array,
    Ints,
    Records,
    add_rows,
    borrowed,
    copy,
    distance,
    dots,
    fill,
    norm,
)
from harness.descent.region_kernels import enter, last, matrix
from harness.descent.tracked_network import Network

REACH = 32
"""Radius of the ball, in lengths of the last step."""

FEW = 0.6
"""Share of hot units up to which it pays to copy them; 0 switches hot units off."""

EXTENT = np.dtype([("radius", np.float64), ("calm", np.float64), ("version", np.int64)])
"""The radius of the ball, the calm radius of the point `calm`, and the `version` of the matrices
from which the copies were made."""


class Ball(NamedTuple):
    """The ball of one network, and copies of the `size` hot units.

    Attributes
    ----------
    B : (n ell,), whose first n size entries are the hot columns of B^T, (n, size).
    z : (ell,), whose first `size` entries are the hot pre-activations.
    state : (ell,), see `judge_units`.
    centre : (n,)
    calm : (n,), the last point at which the inner layers were evaluated.
    norms : (U - ell,), ||E_k[u]|| of the units of the inner layers.
    extent : (1,) of EXTENT.
    """

    B: Array
    z: Array
    state: Array
    centre: Array
    calm: Array
    norms: Array
    extent: Records


def empty_ball(widths: Sequence[int]) -> Ball:
    """Memory for the hot units of a network of these widths."""
    n, ell, inner = widths[0], widths[-1], sum(widths[1:-1])
    B, z, state, norms = np.empty(n * ell), np.zeros(ell), np.zeros(ell), np.zeros(inner)
    return Ball(B, z, state, np.zeros(n), np.zeros(n), norms, np.zeros(1, dtype=EXTENT))


@njit(error_model="numpy")
def borrow_ball(ball: Ball) -> Ball:
    """The ball with borrowed arrays."""
    return Ball(
        borrowed(ball.B),
        borrowed(ball.z),
        borrowed(ball.state),
        borrowed(ball.centre),
        borrowed(ball.calm),
        borrowed(ball.norms),
        borrowed(ball.extent),
    )


@njit(error_model="numpy")
def exact(net: Network, side: int) -> bool:
    """Whether z_d = B x, without listed units."""
    return net.sides[side].plain == 0 and net.sides[side].listed == 0


@njit(error_model="numpy")
def version(net: Network, side: int) -> int:
    """A number that grows with every change of a matrix."""
    return net.sides[side].effort.updates + net.sides[side].effort.rebuilds


@njit(error_model="numpy", fastmath=FAST)
def measure_rows(net: Network, side: int, norms: Array) -> None:
    """norms[u] = ||E_k[u]|| of the units of all inner layers."""
    fill(norms, 0.0)
    for k in range(1, net.depth):
        first, width = net.layers[k].units, net.layers[k].width
        out, E = norms[first : first + width], matrix(net, side, k)  # E_k^T (n, n_k), flat
        for i in range(net.n):
            row = E[i * width : (i + 1) * width]
            for u in range(width):
                out[u] += row[u] * row[u]
    for u in range(len(norms)):
        norms[u] = math.sqrt(norms[u])


@njit(error_model="numpy")
def calm_radius(z: Array, norms: Array, x: Array) -> float:
    """How far x may move before a unit with pre-activation z[u] and row norm norms[u] switches."""
    radius = np.inf
    for u in range(len(norms)):
        room = abs(z[u]) / norms[u] if norms[u] > 0 else np.inf  # a zero row is off everywhere
        radius = min(radius, room)
    return radius * (1 - 1e-9) - 1e-12 * norm(x)  # the second term covers the rounding of z


@njit(error_model="numpy")
def calm_down(net: Network, side: int, ball: Ball, x: Array) -> None:
    """Note the calm radius of x, the point entered last."""
    copy(x, ball.calm)
    inner = len(ball.norms)
    radius = calm_radius(net.z[side, :inner], ball.norms, x)
    ball.extent[0].calm = radius if radius > 0 else -1.0  # NaN is not calm either


@njit(error_model="numpy", inline="always")
def near(ball: Ball, x: Array) -> bool:
    """Whether x is in the ball."""
    return distance(x, ball.centre) <= ball.extent[0].radius


@njit(error_model="numpy", inline="always")
def calm(ball: Ball, x: Array) -> bool:
    """Whether no inner unit can have switched since they were last looked at."""
    return distance(x, ball.calm) <= ball.extent[0].calm


@njit(error_model="numpy")
def same_matrix(net: Network, side: int, ball: Ball, x: Array) -> bool:
    """Enter x, and say whether z_d = B x still holds with the B of the ball."""
    enter(net, side, x)
    if not exact(net, side) or version(net, side) != ball.extent[0].version:
        return False
    calm_down(net, side, ball, x)
    return True


@njit(error_model="numpy", fastmath=FAST)
def judge_units(net: Network, side: int, ball: Ball, x: Array) -> None:
    """state[j] = +1 if unit j is on in the whole ball around x, -1 if it is off, 0 if unknown."""
    B, wide = matrix(net, side, net.depth), len(ball.state)  # B^T (n, ell), flat
    state, size = ball.state, 0.0
    fill(state, 0.0)
    for i in range(len(x)):
        size += x[i] * x[i]
        row = B[i * wide : (i + 1) * wide]
        for j in range(wide):
            state[j] += row[j] * row[j]  # ||B[j]||^2 in the end
    # the second term covers the rounding of z
    reach = ball.extent[0].radius * (1 + 1e-9) + 1e-12 * math.sqrt(size)
    z = last(net, side)
    for j in range(wide):
        slack = reach * math.sqrt(state[j])
        on = 1.0 if z[j] > slack else 0.0
        off = 1.0 if z[j] < -slack else 0.0
        zero = -1.0 if state[j] == 0 else 0.0  # a zero row is off everywhere
        state[j] = on - off + zero


@njit(error_model="numpy")
def choose_hot(
    state_h: Array, state_m: Array, y0: Array, units: Ints, hot_y0: Array
) -> tuple[int, float]:
    """List the hot units and their entries of y0; how many, and the loss of the cold units."""
    size, cold = 0, 0.0
    for j in range(len(y0)):
        if state_h[j] * state_m[j] < 0 or state_h[j] + state_m[j] == -2:
            cold += y0[j] * y0[j]
        else:
            units[size] = j
            hot_y0[size] = y0[j]
            size += 1
    return size, 0.5 * cold


@njit(error_model="numpy")
def gather(net: Network, side: int, ball: Ball, x: Array, units: Ints, size: int) -> None:
    """Make x the centre, and copy the columns and pre-activations of the hot units."""
    B, wide = matrix(net, side, net.depth), len(ball.state)  # B^T (n, ell), flat
    for i in range(len(x)):
        row = B[i * wide : (i + 1) * wide]
        for q in range(size):
            ball.B[i * size + q] = row[units[q]]
    z = last(net, side)
    for q in range(size):
        ball.z[q] = z[units[q]]
    copy(x, ball.centre)
    ball.extent[0].version = version(net, side)
    measure_rows(net, side, ball.norms)
    calm_down(net, side, ball, x)


@njit(error_model="numpy", inline="always")
def hot_output(net: Network, ball: Ball, x: Array, size: int) -> None:
    """Compute the hot pre-activations at x."""
    z = ball.z[:size]
    fill(z, 0.0)
    add_rows(z, ball.B, 0, size, net.every, x, len(x))


@njit(error_model="numpy", inline="always")
def hot_pull_back(net: Network, ball: Ball, v: Array, size: int, out: Array) -> None:
    """`pull_back` for weights v (size,) of the hot units."""
    dots(out, ball.B, 0, size, net.every, v[:size], len(out))
