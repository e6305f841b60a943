"""Compiled: one trial of Algorithm 1, a number of steps at a time.

Importing this module compiles, or loads from the cache: import it inside the function that needs
it.  Each `Network` has the iterate on one side and, for the sign check, its negative on the other;
they change roles when a sign flips.  They stand at the iterate before the balance of step (iv):
with c = `SCALE`, h = raw h / c and m = c raw m, so that G1(h) = G1(raw h) / c and
G2(m) = c G2(raw m), and the residual needs no new evaluation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from harness.descent.array_kernels import FAST, Array, Ints, borrowed, copy
from harness.descent.hot_kernels import (
    FEW,
    RADIUS,
    REACH,
    Ball,
    borrow_ball,
    choose_hot,
    exact,
    gather,
    hot_output,
    hot_pull_back,
    inside,
    judge_units,
)
from harness.descent.region_kernels import (
    DEPTH,
    ON,
    PLACE,
    UNIT,
    Network,
    borrow,
    enter,
    enter_opposite,
    last,
    output,
    output_all,
    pull_back,
)

RUNNING, MAX_STEPS, CONVERGED, STALLED, DIVERGED = range(5)
"""What `advance` returns."""

POINT, RAW, MINUS, SLOPE, POINTS = range(5)
"""Rows of `Trial.h` and `Trial.m`: the iterate, the same before the balance, its negative, the
gradient there."""

STEP, FLIPS, CHANGES, SIDE_H, SIDE_M, RECORDED, HOT, NEXT, HOT_STEPS, WHOLES = range(10)
"""Entries of `Trial.whole`; SIDE: the side on which the iterate is; HOT: how many units are hot,
0 while all are worked on; NEXT: the step at which to look for few hot ones again."""

LOSS, WINDOW_LOSS, BOUND, SCALE, COLD, REALS = range(6)
"""Entries of `Trial.real`; COLD: the part of the loss that the units add which are not hot."""

CHECK_BLOCK = 32
"""The sign check adds up so many squared residuals before it looks whether it can stop; then
twice as many, and so on."""

PATIENCE = 8
"""Steps between two attempts to find few hot units."""


class Rules(NamedTuple):
    """unit: the loss on K.  check: 0 never, 1 once, 2 every step.  The rest as in `Stopping`."""

    eta: float
    unit: float
    loss_rtol: float
    stall_rtol: float
    divergence: float
    stall_window: int
    max_steps: int
    check: int
    balance: int
    joint: int


class Trial(NamedTuple):
    """The state: h (4, n), m (4, p), whole, real; the observation y0 (ell,); space v (ell,).

    units, hot_y0 (ell,) : the hot units, and their part of y0.
    """

    h: Array
    m: Array
    whole: Ints
    real: Array
    y0: Array
    v: Array
    units: Ints
    hot_y0: Array


class Record(NamedTuple):
    """The trace: at (T,) steps, loss (T,), h (T, n), m (T, p), flips, changes (T,).

    pattern_h, pattern_m : 1 for the units of all layers that were active at the step before.
    """

    at: Ints
    loss: Array
    h: Array
    m: Array
    flips: Ints
    changes: Ints
    pattern_h: Array
    pattern_m: Array


# --- Residuals ------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def loss_and_weight(zh: Array, zm: Array, y0: Array, v: Array) -> float:
    """1/2 ||r||^2 with r = a*b - y0, a = relu(zh), b = relu(zm); v = r*b where zh > 0."""
    total = 0.0
    for j in range(len(y0)):
        a = 0.0 if zh[j] <= 0 else zh[j]  # a NaN stays one
        b = 0.0 if zm[j] <= 0 else zm[j]
        r = a * b - y0[j]
        total += r * r
        v[j] = r * b if zh[j] > 0 else 0.0
    return 0.5 * total


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def weight_m(zh: Array, zm: Array, scale: float, y0: Array, v: Array) -> None:
    """V = r*a where zm > 0, with r = a*b - y0, a = relu(zh), b = scale relu(zm)."""
    for j in range(len(y0)):
        a = 0.0 if zh[j] <= 0 else zh[j]
        b = scale * (0.0 if zm[j] <= 0 else zm[j])
        v[j] = (a * b - y0[j]) * a if zm[j] > 0 else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sign_losses(
    plus_h: Array, minus_h: Array, plus_m: Array, minus_m: Array, y0: Array
) -> tuple[float, float, float, float]:
    """||a*b - y0||^2 for the sign choices (+, +), (-, +), (+, -), (-, -)."""
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


# --- The steps ------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def outputs(net: Network, side: int, ball: Ball, size: int) -> Array:
    """z_d of the units that are worked on: the hot ones, or all if `size` is 0."""
    return ball.z[:size] if size > 0 else last(net, side)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def current_loss(net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial) -> float:
    """The loss of the iterate; leaves the weights of its gradient in h in v."""
    size = trial.whole[HOT]
    zh = outputs(net1, trial.whole[SIDE_H], ball_h, size)
    zm = outputs(net2, trial.whole[SIDE_M], ball_m, size)
    y0 = trial.hot_y0[:size] if size > 0 else trial.y0
    cold = trial.real[COLD] if size > 0 else 0.0
    return loss_and_weight(zh, zm, y0, trial.v) + cold


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def least_sign(net1: Network, net2: Network, trial: Trial, loss: float) -> int:
    """Step (i): index in `SIGNS` of the sign choice of least loss, the first at a tie.

    Squared residuals only add up, so the search ends, without flip, when the partial sums of the
    three other choices exceed the loss of the iterate.
    """
    h, m, ell = trial.h, trial.m, len(trial.y0)
    side_h, side_m = trial.whole[SIDE_H], trial.whole[SIDE_M]
    negate(h[RAW], h[MINUS])
    negate(m[RAW], m[MINUS])
    enter_opposite(net1, 1 - side_h, h[MINUS])
    enter_opposite(net2, 1 - side_m, m[MINUS])
    enough = 2 * loss * (1 + 1e-12)  # beyond what the order of summation can change
    f0, f1, f2, f3 = 0.0, 0.0, 0.0, 0.0
    low, high = 0, min(CHECK_BLOCK, ell)
    while low < ell:
        if trial.whole[HOT] > 0:
            output(net1, side_h, h[RAW], low, high)
            output(net2, side_m, m[RAW], low, high)
        output(net1, 1 - side_h, h[MINUS], low, high)
        output(net2, 1 - side_m, m[MINUS], low, high)
        g0, g1, g2, g3 = sign_losses(
            last(net1, side_h)[low:high],
            last(net1, 1 - side_h)[low:high],
            last(net2, side_m)[low:high],
            last(net2, 1 - side_m)[low:high],
            trial.y0[low:high],
        )
        f0, f1, f2, f3 = f0 + g0, f1 + g1, f2 + g2, f3 + g3
        if f1 > enough and f2 > enough and f3 > enough:
            return 0
        low, high = high, min(3 * high - 2 * low, ell)
    best, least = 0, np.inf if math.isnan(f0) else f0
    if f1 < least:
        best, least = 1, f1
    if f2 < least:
        best, least = 2, f2
    if f3 < least:
        best, least = 3, f3
    return best


@numba.njit(cache=True, nogil=True, error_model="numpy")
def negate(x: Array, out: Array) -> None:
    """Out = -x."""
    for i in range(len(x)):
        out[i] = -x[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def flip(trial: Trial, best: int) -> None:
    """Take the sign choice of that index; all pre-activations are known after `least_sign`."""
    whole = trial.whole
    if best % 2 == 1:
        whole[SIDE_H] = 1 - whole[SIDE_H]
        negate(trial.h[POINT], trial.h[POINT])
        negate(trial.h[RAW], trial.h[RAW])
    if best >= 2:
        whole[SIDE_M] = 1 - whole[SIDE_M]
        negate(trial.m[POINT], trial.m[POINT])
        negate(trial.m[RAW], trial.m[RAW])
    whole[FLIPS] += 1
    whole[HOT] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def pull(net: Network, side: int, ball: Ball, size: int, v: Array, out: Array) -> None:
    """The gradient out (n,) from the weights v of the units that are worked on."""
    if size > 0:
        hot_pull_back(net, ball, v, size, out)
    else:
        pull_back(net, side, v, out)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def move(
    net: Network, side: int, ball: Ball, x: Array, other: Network, other_side: int, y: Array,
    whole: Ints,
) -> None:  # fmt: skip
    """All pre-activations that are worked on at x; outside its ball, those of both at x and y."""
    size = whole[HOT]
    enter(net, side, x)
    if size > 0 and inside(net, side, ball, x):
        hot_output(net, ball, x, size)
    else:
        output_all(net, side, x)
        if size > 0:
            output_all(other, other_side, y)
            whole[HOT] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def slope_m(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, scale: float
) -> None:
    """m[SLOPE] = Lambda2^T [(a*b - y0) * a], a = relu(zh), b = scale relu(zm)."""
    side_h, side_m, size = trial.whole[SIDE_H], trial.whole[SIDE_M], trial.whole[HOT]
    zh, zm = outputs(net1, side_h, ball_h, size), outputs(net2, side_m, ball_m, size)
    weight_m(zh, zm, scale, trial.hot_y0[:size] if size > 0 else trial.y0, trial.v)
    pull(net2, side_m, ball_m, size, trial.v, trial.m[SLOPE])


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def step(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, rules: Rules
) -> None:
    """Steps (ii) to (iv), from v as `current_loss` left it."""
    h, m, v, whole, scale = trial.h, trial.m, trial.v, trial.whole, trial.real[SCALE]
    side_h, side_m = whole[SIDE_H], whole[SIDE_M]
    pull(net1, side_h, ball_h, whole[HOT], v, h[SLOPE])
    if rules.joint:
        slope_m(net1, net2, ball_h, ball_m, trial, 1.0)
        for i in range(m.shape[1]):
            m[SLOPE, i] /= scale
    for i in range(h.shape[1]):
        h[RAW, i] = h[POINT, i] - rules.eta * (scale * h[SLOPE, i])  # (ii)
    move(net1, side_h, ball_h, h[RAW], net2, side_m, m[RAW], whole)
    if not rules.joint:
        slope_m(net1, net2, ball_h, ball_m, trial, scale)
    for i in range(m.shape[1]):
        m[RAW, i] = m[POINT, i] - rules.eta * m[SLOPE, i]  # (iii)
    move(net2, side_m, ball_m, m[RAW], net1, side_h, h[RAW], whole)
    h_norm, m_norm, c = norm(h[RAW]), norm(m[RAW]), 1.0
    if rules.balance and 0 < h_norm < np.inf and 0 < m_norm < np.inf:
        c = math.sqrt(h_norm / m_norm)  # (iv)
    for i in range(h.shape[1]):
        h[POINT, i] = h[RAW, i] / c
    for i in range(m.shape[1]):
        m[POINT, i] = m[RAW, i] * c
    trial.real[SCALE] = c
    whole[STEP] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def narrow(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, eta: float
) -> None:
    """Look for the hot units at the iterate; go on with those if they are few."""
    whole, scale = trial.whole, trial.real[SCALE]
    side_h, side_m = whole[SIDE_H], whole[SIDE_M]
    if not (exact(net1, side_h) and exact(net2, side_m)):
        return
    ball_h.real[RADIUS] = REACH * eta * scale * norm(trial.h[SLOPE])
    ball_m.real[RADIUS] = REACH * eta * norm(trial.m[SLOPE])
    judge_units(net1, side_h, ball_h, trial.h[RAW])
    judge_units(net2, side_m, ball_m, trial.m[RAW])
    size, cold = choose_hot(ball_h.state, ball_m.state, trial.y0, trial.units, trial.hot_y0)
    whole[NEXT] = whole[STEP] + PATIENCE
    if 0 < size <= FEW * len(trial.y0):
        gather(net1, side_h, ball_h, trial.h[RAW], trial.units, size)
        gather(net2, side_m, ball_m, trial.m[RAW], trial.units, size)
        whole[HOT], trial.real[COLD] = size, cold
        for q in range(size):
            trial.v[q] = trial.v[trial.units[q]]  # units[q] >= q


@numba.njit(cache=True, nogil=True, error_model="numpy")
def norm(x: Array) -> float:
    """||x||, infinite where the squares overflow."""
    total = 0.0
    for value in x:
        total += value * value
    return math.sqrt(total)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def finite(x: Array) -> bool:
    """Whether every entry is."""
    result = True
    for value in x:
        result &= abs(value) < np.inf
    return result


# --- Stopping and recording -----------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
def judge(k: int, loss: float, real: Array, rules: Rules) -> int:
    """The status after step (i) of step k, as in the reference."""
    real[LOSS] = loss
    if k == 0:
        real[WINDOW_LOSS] = np.inf
        real[BOUND] = rules.divergence * max(rules.unit, loss)
    stalled = False
    if k % rules.stall_window == 0:
        stalled = loss >= (1 - rules.stall_rtol) * real[WINDOW_LOSS]
        real[WINDOW_LOSS] = loss
    if loss <= rules.loss_rtol * rules.unit:
        return CONVERGED
    if not (abs(loss) < np.inf and loss <= real[BOUND]):
        return DIVERGED
    if stalled:
        return STALLED
    return MAX_STEPS if k == rules.max_steps else RUNNING


@numba.njit(cache=True, nogil=True, error_model="numpy")
def count_changes(
    net: Network, side: int, ball: Ball, units: Ints, size: int, pattern: Array
) -> float:
    """Units of all layers whose activation differs from `pattern`, which is brought up to date.

    Of the last layer those that are worked on; the others have not switched.
    """
    inner = net.layout[UNIT, net.layout[PLACE, DEPTH] - 1]
    on = net.real[side, net.layout[PLACE, ON] :]
    changes = 0.0
    for u in range(inner):
        changes += abs(on[u] - pattern[u])
        pattern[u] = on[u]
    z = outputs(net, side, ball, size)
    for q in range(len(z)):
        now, u = 1.0 if z[q] > 0 else 0.0, inner + (units[q] if size > 0 else q)
        changes += abs(now - pattern[u])
        pattern[u] = now
    return changes


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def record_step(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, record: Record
) -> None:
    """The current step, for the trace."""
    whole, units = trial.whole, trial.units
    size, row = whole[HOT], whole[RECORDED]
    changes = count_changes(net1, whole[SIDE_H], ball_h, units, size, record.pattern_h)
    changes += count_changes(net2, whole[SIDE_M], ball_m, units, size, record.pattern_m)
    if whole[STEP] > 0:
        whole[CHANGES] += int(changes)
    if whole[STEP] == record.at[row]:
        record.loss[row] = trial.real[LOSS]
        copy(trial.h[POINT], record.h[row])
        copy(trial.m[POINT], record.m[row])
        record.flips[row], record.changes[row] = whole[FLIPS], whole[CHANGES]
        whole[RECORDED] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def borrow_trial(trial: Trial) -> Trial:
    """The trial of borrowed arrays."""
    return Trial(
        borrowed(trial.h),
        borrowed(trial.m),
        borrowed(trial.whole),
        borrowed(trial.real),
        borrowed(trial.y0),
        borrowed(trial.v),
        borrowed(trial.units),
        borrowed(trial.hot_y0),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def advance(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, rules: Rules,
    record: Record, steps: int,
) -> int:  # fmt: skip
    """Run a trial on for so many steps, or to its end; a RUNNING one goes on at the next call.

    A fresh trial has the start in h[POINT] and m[POINT], whole and real 0, and networks that were
    left (`leave`).
    """
    net1, net2, trial = borrow(net1), borrow(net2), borrow_trial(trial)
    ball_h, ball_m, whole = borrow_ball(ball_h), borrow_ball(ball_m), trial.whole
    if whole[STEP] == 0:
        copy(trial.h[POINT], trial.h[RAW])
        copy(trial.m[POINT], trial.m[RAW])
        trial.real[SCALE] = 1.0
        enter(net1, whole[SIDE_H], trial.h[RAW])
        output_all(net1, whole[SIDE_H], trial.h[RAW])
        enter(net2, whole[SIDE_M], trial.m[RAW])
        output_all(net2, whole[SIDE_M], trial.m[RAW])
    for _ in range(steps):
        loss = current_loss(net1, net2, ball_h, ball_m, trial)
        if not (finite(trial.h[POINT]) and finite(trial.m[POINT])):
            loss = np.nan
        elif rules.check == 2 or (rules.check == 1 and whole[STEP] == 0):
            best = least_sign(net1, net2, trial, loss)
            if best > 0:
                flip(trial, best)
                loss = current_loss(net1, net2, ball_h, ball_m, trial)
        status = judge(whole[STEP], loss, trial.real, rules)
        if len(record.at) > 0:
            record_step(net1, net2, ball_h, ball_m, trial, record)
        if status != RUNNING:
            return status
        if whole[HOT] > 0:
            whole[HOT_STEPS] += 1
        elif whole[STEP] >= max(whole[NEXT], 1):
            narrow(net1, net2, ball_h, ball_m, trial, rules.eta)
        step(net1, net2, ball_h, ball_m, trial, rules)
    return RUNNING
