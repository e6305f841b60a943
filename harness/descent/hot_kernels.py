"""Compiled: the units of the last layer that matter while the iterate stays in a ball.

Importing this module compiles, or loads from the cache: import it inside the function that needs
it.  While the inner layers keep their pattern, z_d = B x, so |z_d[j]| > ||B[j]|| radius shows that
unit j keeps its activation within that radius of x.  If that holds for unit j of both networks and
one of the two is inactive, a_j b_j = 0: the unit adds the constant y0_j^2 / 2 to the loss, nothing
to the gradients, and no switch.  The rest, about a quarter of ell in the end, are the hot ones:
steps in the ball read their columns alone, copied next to each other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba

from harness.descent.array_kernels import FAST, Array, Ints, add_rows, borrowed, copy, dots, fill
from harness.descent.region_kernels import (
    DEPTH,
    EVERY,
    LISTED,
    PLACE,
    PLAIN,
    REBUILDS,
    UNIT,
    UPDATES,
    WIDTH,
    Network,
    last,
)

REACH = 16
"""The radius, in lengths of the last step."""

FEW = 0.6
"""Share of the units up to which it pays to copy them."""

RADIUS, VERSION = 0, 0
"""Entries of `Ball.real` and `Ball.whole`; VERSION: see `version`."""


class Ball(NamedTuple):
    """Where one network is known: the ball, and copies for the hot units, K of them.

    B : (n ell,), of which the first n K are the hot columns of B^T.
    z : (ell,), of which the first K are their pre-activations.
    state : (ell,), see `judge_units`.
    centre : (n,).
    """

    B: Array
    z: Array
    state: Array
    centre: Array
    real: Array
    whole: Ints


@numba.njit(cache=True, nogil=True, error_model="numpy")
def borrow_ball(ball: Ball) -> Ball:
    """The ball of borrowed arrays."""
    return Ball(
        borrowed(ball.B),
        borrowed(ball.z),
        borrowed(ball.state),
        borrowed(ball.centre),
        borrowed(ball.real),
        borrowed(ball.whole),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exact(net: Network, side: int) -> bool:
    """Whether z_d = B x, without listed units."""
    return net.whole[side, PLAIN] == 0 and net.whole[side, LISTED] == 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def version(net: Network, side: int) -> int:
    """A number that every change of a matrix raises."""
    return net.whole[side, UPDATES] + net.whole[side, REBUILDS]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def inside(net: Network, side: int, ball: Ball, x: Array) -> bool:
    """Whether x, which was entered last, is in the ball and the matrices are those of then."""
    total = 0.0
    for i in range(len(x)):
        total += (x[i] - ball.centre[i]) ** 2
    near = math.sqrt(total) <= ball.real[RADIUS]
    return near and exact(net, side) and version(net, side) == ball.whole[VERSION]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def judge_units(net: Network, side: int, ball: Ball, x: Array) -> None:
    """State = 1 for units that are on within the radius of x, -1 off, 0 if they may switch."""
    n, d = len(x), net.layout[PLACE, DEPTH]
    wide, first = net.layout[WIDTH, d], n * net.layout[UNIT, d - 1]
    state, size = ball.state, 0.0
    fill(state, 0.0)
    for i in range(n):
        size += x[i] * x[i]
        row = net.E[side, first + i * wide : first + (i + 1) * wide]
        for j in range(wide):
            state[j] += row[j] * row[j]
    # beside the radius, what rounding can do to z
    reach = ball.real[RADIUS] * (1 + 1e-9) + 1e-12 * math.sqrt(size)
    z = last(net, side)
    for j in range(wide):
        slack = reach * math.sqrt(state[j])
        on = 1.0 if z[j] > slack else 0.0
        off = 1.0 if z[j] < -slack else 0.0
        zero = -1.0 if state[j] == 0 else 0.0  # a zero row is off everywhere
        state[j] = on - off + zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def choose_hot(
    state_h: Array, state_m: Array, y0: Array, units: Ints, hot_y0: Array
) -> tuple[int, float]:
    """List the hot units and their part of y0; how many, and the loss that the others add."""
    size, cold = 0, 0.0
    for j in range(len(y0)):
        if state_h[j] * state_m[j] < 0 or state_h[j] + state_m[j] == -2:
            cold += y0[j] * y0[j]
        else:
            units[size] = j
            hot_y0[size] = y0[j]
            size += 1
    return size, 0.5 * cold


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gather(net: Network, side: int, ball: Ball, x: Array, units: Ints, size: int) -> None:
    """Make x the centre, and copy what belongs to the hot units."""
    n, d = len(x), net.layout[PLACE, DEPTH]
    wide, first = net.layout[WIDTH, d], n * net.layout[UNIT, d - 1]
    for i in range(n):
        row = net.E[side, first + i * wide : first + (i + 1) * wide]
        for q in range(size):
            ball.B[i * size + q] = row[units[q]]
    z = last(net, side)
    for q in range(size):
        ball.z[q] = z[units[q]]
    copy(x, ball.centre)
    ball.whole[VERSION] = version(net, side)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def hot_output(net: Network, ball: Ball, x: Array, size: int) -> None:
    """The hot pre-activations at x."""
    z = ball.z[:size]
    fill(z, 0.0)
    add_rows(z, ball.B, 0, size, net.lists[EVERY], x, len(x))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def hot_pull_back(net: Network, ball: Ball, v: Array, size: int, out: Array) -> None:
    """`pull_back` of v (K,), in terms of the hot units."""
    dots(out, ball.B, 0, size, net.lists[EVERY], v[:size], len(out))
