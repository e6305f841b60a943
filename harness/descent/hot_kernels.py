"""Compiled: the units of the last layer that matter while the iterate stays in a ball.

While the inner layers keep their pattern, z_d = B x, so |z_d[j]| > ||B[j]|| radius at the centre
shows that unit j does not switch in the ball of that radius.  If this holds for unit j of both
networks and one of the two is inactive, then a_j b_j = 0 in the whole ball: unit j adds the
constant y0_j^2 / 2 to the loss and nothing to the gradients.  It is *cold*; the others are *hot*.

If this looks like word soup, here is what goes on.  The observation is a product, entry by entry.
If one factor is zero, so is the product, and the other factor does not matter.  About three
quarters of the entries end up like this, and near a solution the iterate moves too little to change
that.  So every few steps we look for the entries that can still change, copy their columns next to
each other, and let the following steps read these only, until the iterate leaves the ball.

At the widths 10-47-1000, a run takes 1.3 times as long without hot units if it stops at
convergence, and 1.5 times if it goes on for 1,000 steps; at 10-93-320 and 20-240-640 they gain less
than 1.1.

Importing this module compiles it or loads it from the cache: import it inside the function that
needs it.
"""

from __future__ import annotations

import math
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
    dots,
    fill,
)
from harness.descent.region_kernels import last, matrix
from harness.descent.tracked_network import Network

REACH = 16
"""Radius of the ball, in lengths of the last step."""

FEW = 0.6
"""Share of hot units up to which it pays to copy them; 0 switches hot units off."""

EXTENT = np.dtype([("radius", np.float64), ("version", np.int64)])
"""The radius of the ball, and the `version` of the matrices from which the copies were made."""


class Ball(NamedTuple):
    """The ball of one network, and copies of the `size` hot units.

    Attributes
    ----------
    B : (n ell,), whose first n size entries are the hot columns of B^T, (n, size).
    z : (ell,), whose first `size` entries are the hot pre-activations.
    state : (ell,), see `judge_units`.
    centre : (n,)
    extent : (1,) of EXTENT.
    """

    B: Array
    z: Array
    state: Array
    centre: Array
    extent: Records


def empty_ball(n: int, ell: int) -> Ball:
    """Memory for the hot units of a network R^n -> R^ell."""
    extent = np.zeros(1, dtype=EXTENT)
    return Ball(np.empty(n * ell), np.zeros(ell), np.zeros(ell), np.zeros(n), extent)


@njit(error_model="numpy")
def borrow_ball(ball: Ball) -> Ball:
    """The ball with borrowed arrays."""
    return Ball(
        borrowed(ball.B),
        borrowed(ball.z),
        borrowed(ball.state),
        borrowed(ball.centre),
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


@njit(error_model="numpy")
def inside(net: Network, side: int, ball: Ball, x: Array) -> bool:
    """Whether x, the point entered last, is in the ball and no matrix has changed since."""
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - ball.centre[i]) ** 2
    near = math.sqrt(total) <= ball.extent[0].radius
    return near and exact(net, side) and version(net, side) == ball.extent[0].version


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
