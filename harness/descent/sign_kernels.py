"""Compiled: step (i) of Algorithm 1, the choice of signs, and when it can be left out.

Let a, a', b, b' be G1(h), G1(-h), G2(m), G2(-m) at a full check.  Row j of W_d has norm rho_j, and
the layers before it stretch no vector by more than `stretch`, so that at another point

    |a_j(h + u) - a_j(h)| <= stretch_1 rho_1j ||u||,

and the same of a', b and b'.  Hence the residual of the choice (-h, m), ||a' * b - y0||, falls by
no more than

    ||u|| stretch_1 ||rho_1 * b|| + ||w|| stretch_2 ||rho_2 * a'||
        + ||u|| ||w|| stretch_1 stretch_2 ||rho_1 * rho_2||

when h moves by u and m by w; and the same of the other choices.  All norms may be over a part of
the units of the last layer.

If this looks like word soup, here is what goes on.  Each step begins with a look at the mirror
images of the iterate: would the loss be smaller at (-h, m), at (h, -m) or at (-h, -m)?  The answer
is nearly always no, and a look can cost as much as the rest of the step.  So we note how much worse
the mirror images are and how fast they can get better.  As long as the iterate has not moved far
enough for one of them to catch up, there is no need to look.  And to see that a mirror image is
worse, its residual at a few entries is often enough.  The best ones are where y0 is largest, which
is why `tracked_network.prepare` puts these units first.

The bound holds for all points, whatever units switch.  Importing this module compiles it or loads
it from the cache: import it inside the function that needs it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.compiled import njit
from harness.descent.array_kernels import FAST, Array, add_rows, copy, distance, fill, negate
from harness.descent.region_kernels import last, output, product
from harness.descent.tracked_network import Network
from harness.descent.trial_memory import Trial

CHECK_BLOCK = 32
"""Units after which the sign check first looks whether it can stop; then twice as many, and so on.
"""

AMPLE = 2.0
"""How many times the sum of the iterate a partial sum must exceed for the check to stop there.

Then the residual of a choice has at least sqrt(2) times the iterate's norm, and must lose that lead
before a look is needed again.
"""

ROOM = 1e-9
"""Relative distance by which a bound must exceed the loss, far beyond rounding."""


@njit(error_model="numpy", fastmath=FAST)
def sign_losses(
    plus_h: Array, minus_h: Array, plus_m: Array, minus_m: Array, y0: Array
) -> tuple[float, float, float, float]:
    """||a*b - y0||^2 for the sign choices (+, +), (-, +), (+, -), (-, -), in this order."""
    f0, f1, f2, f3 = 0.0, 0.0, 0.0, 0.0
    for j in range(len(y0)):
        a0 = 0.0 if plus_h[j] <= 0 else plus_h[j]
        a1 = 0.0 if minus_h[j] <= 0 else minus_h[j]
        b0 = 0.0 if plus_m[j] <= 0 else plus_m[j]
        b1 = 0.0 if minus_m[j] <= 0 else minus_m[j]
        y = y0[j]
        r0, r1, r2, r3 = a0 * b0 - y, a1 * b0 - y, a0 * b1 - y, a1 * b1 - y
        f0 += r0 * r0
        f1 += r1 * r1
        f2 += r2 * r2
        f3 += r3 * r3
    return f0, f1, f2, f3


@njit(error_model="numpy", fastmath=FAST)
def slopes(
    plus: Array, minus: Array, norms: Array, other_norms: Array
) -> tuple[float, float, float]:
    """||rho * b||, ||rho * b'|| and ||rho * rho'|| with b = relu(plus), b' = relu(minus)."""
    s0, s1, s2 = 0.0, 0.0, 0.0
    for j in range(len(plus)):
        b0 = norms[j] * (0.0 if plus[j] <= 0 else plus[j])
        b1 = norms[j] * (0.0 if minus[j] <= 0 else minus[j])
        c = norms[j] * other_norms[j]
        s0 += b0 * b0
        s1 += b1 * b1
        s2 += c * c
    return math.sqrt(s0), math.sqrt(s1), math.sqrt(s2)


@njit(error_model="numpy")
def remember(
    net1: Network, net2: Network, trial: Trial, high: int, f1: float, f2: float, f3: float
) -> None:
    """Note the three other choices, whose sums over the units j < high are f1, f2, f3.

    With high = 0 nothing is known, and the next step needs a look.
    """
    signs, scale = trial.signs, trial.state[0].scale
    side_h, side_m = trial.state[0].side_h, trial.state[0].side_m
    a, a1 = last(net1, side_h)[:high], last(net1, 1 - side_h)[:high]
    b, b1 = last(net2, side_m)[:high], last(net2, 1 - side_m)[:high]
    norms1, norms2 = net1.row_norms[:high], net2.row_norms[:high]
    # the networks stand at the raw iterate: G1(h) = a / scale, G2(m) = scale b
    to_h, to_m = net1.stretch * scale, net2.stretch / scale
    of_b, of_b1, both = slopes(b, b1, norms1, norms2)
    of_a, of_a1, both = slopes(a, a1, norms2, norms1)
    both *= net1.stretch * net2.stretch
    note(signs.choices[0], f1 if high > 0 else 0.0, to_h * of_b, to_m * of_a1, both)
    note(signs.choices[1], f2 if high > 0 else 0.0, to_h * of_b1, to_m * of_a, both)
    note(signs.choices[2], f3 if high > 0 else 0.0, to_h * of_b1, to_m * of_a1, both)
    copy(trial.h.now, signs.h)
    copy(trial.m.now, signs.m)


@njit(error_model="numpy", inline="always")
def note(choice: Any, total: float, slope_h: float, slope_m: float, slope_both: float) -> None:
    """Set a record of CHOICE."""
    choice.root = math.sqrt(total)
    choice.slope_h = slope_h
    choice.slope_m = slope_m
    choice.slope_both = slope_both


@njit(error_model="numpy", inline="always")
def still_least(trial: Trial, loss: float, unit: float) -> bool:
    """Whether no other choice can have a loss below that of the iterate, by the bound above."""
    signs = trial.signs
    u, w = distance(trial.h.now, signs.h), distance(trial.m.now, signs.m)
    least = (1 + ROOM) * math.sqrt(2 * loss) + 1e-12 * math.sqrt(2 * unit)
    result = True
    for i in range(3):
        choice = signs.choices[i]
        fall = u * choice.slope_h + w * choice.slope_m + u * w * choice.slope_both
        result &= (1 - ROOM) * choice.root - (1 + ROOM) * fall > least
    return result


# --- The mirror images ----------------------------------------------------------------------


@njit(error_model="numpy")
def enter_mirror(net: Network, side: int, x: Array) -> int:
    """The inner layers at -x, for x where `side` is: z in the memory of the other side.

    Layer by layer, without any matrix.  Lists the active units of layer d - 1 in `active` and
    `level`, and returns how many they are; -1 if a pre-activation is not finite.
    """
    mirror, count, undefined = 1 - side, 0, 0.0
    net.sides[mirror].effort.evaluations += 1
    for k in range(1, net.depth):
        first, width = net.layers[k].units, net.layers[k].width
        z = net.z[mirror, first : first + width]
        if k == 1:
            product(net, side, 1, x)
            negate(net.z[side, :width], z)
        else:
            fill(z, 0.0)
            add_rows(z, net.W, net.layers[k].weights, width, net.active, net.level, count)
        count = 0
        for u in range(width):
            undefined += z[u] * 0.0
            if z[u] > 0:
                net.active[count] = u
                net.level[count] = z[u]
                count += 1
    return count if undefined == 0.0 else -1


@njit(error_model="numpy")
def mirror_output(net: Network, side: int, count: int, low: int, high: int) -> None:
    """Entries low <= j < high of z_d at the point of `enter_mirror`, which returned `count`.

    If d = 1 they must be known on the other side.
    """
    z, layer = last(net, 1 - side)[low:high], net.layers[net.depth]
    if net.depth == 1:
        negate(last(net, side)[low:high], z)
    elif count < 0:
        fill(z, np.nan)
    else:
        fill(z, 0.0)
        start = layer.weights + low
        add_rows(z, net.W, start, layer.width, net.active, net.level, count)


# --- The check ------------------------------------------------------------------------------


@njit(error_model="numpy", inline="always")
def least_sign(net1: Network, net2: Network, trial: Trial, loss: float) -> int:
    """Step (i): index in `SIGNS` of the sign choice of least loss, the first one at a tie.

    A partial sum of squared residuals is a lower bound of the whole sum.  So the check ends early,
    without a flip, once the partial sums of the three other choices exceed the loss of the iterate
    AMPLE times.
    """
    h, m, ell = trial.h, trial.m, len(trial.y0)
    side_h, side_m = trial.state[0].side_h, trial.state[0].side_m
    count1, count2 = enter_mirror(net1, side_h, h.raw), enter_mirror(net2, side_m, m.raw)
    enough, ample = 2 * loss * (1 + 1e-12), AMPLE * (2 * loss)
    f0, f1, f2, f3 = 0.0, 0.0, 0.0, 0.0
    low, high = 0, min(CHECK_BLOCK, ell)
    while low < ell:
        if trial.state[0].hot > 0:
            output(net1, side_h, h.raw, low, high)
            output(net2, side_m, m.raw, low, high)
        mirror_output(net1, side_h, count1, low, high)
        mirror_output(net2, side_m, count2, low, high)
        g0, g1, g2, g3 = sign_losses(
            last(net1, side_h)[low:high],
            last(net1, 1 - side_h)[low:high],
            last(net2, side_m)[low:high],
            last(net2, 1 - side_m)[low:high],
            trial.y0[low:high],
        )
        f0, f1, f2, f3 = f0 + g0, f1 + g1, f2 + g2, f3 + g3
        least = min(f1, min(f2, f3))
        if least > ample or (least > enough and 16 * high >= ell):
            remember(net1, net2, trial, high, f1, f2, f3)
            return 0
        low, high = high, min(3 * high - 2 * low, ell)
    best, least = 0, np.inf if math.isnan(f0) else f0
    if f1 < least:
        best, least = 1, f1
    if f2 < least:
        best, least = 2, f2
    if f3 < least:
        best, least = 3, f3
    remember(net1, net2, trial, ell if best == 0 else 0, f1, f2, f3)
    return best
