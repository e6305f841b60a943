"""Compiled: one trial of Algorithm 1, some steps at a time.

Each `Network` has the iterate on one side; the sides change roles when a sign flips.  They stand at
the raw iterate, before the balance of step (iv): with c = `scale`, h = raw h / c and m = c raw m,
so that G1(h) = G1(raw h) / c and G2(m) = c G2(raw m), and the balance leaves the residual as it is.

Importing this module compiles it or loads it from the cache: import it inside the function that
needs it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.compiled import njit
from harness.descent.array_kernels import FAST, Array, Ints, borrowed, copy, negate, norm
from harness.descent.hot_kernels import (
    FEW,
    REACH,
    Ball,
    borrow_ball,
    calm,
    choose_hot,
    exact,
    gather,
    hot_output,
    hot_pull_back,
    judge_units,
    near,
    same_matrix,
)
from harness.descent.region_kernels import (
    borrow,
    enter,
    last,
    output_all,
    pull_back,
)
from harness.descent.sign_kernels import least_sign, still_least
from harness.descent.tracked_network import Network
from harness.descent.trial_memory import Point, Record, Rules, SignMemory, Trial

RUNNING, MAX_STEPS, CONVERGED, STALLED, DIVERGED = range(5)
"""Return values of `advance`."""

PATIENCE = 8
"""Steps between two attempts to find few hot units."""


@njit(error_model="numpy", fastmath=FAST)
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


@njit(error_model="numpy", fastmath=FAST)
def weight_m(zh: Array, zm: Array, scale: float, y0: Array, v: Array) -> None:
    """v = r*a where zm > 0, with r = a*b - y0, a = relu(zh), b = scale relu(zm)."""
    for j in range(len(y0)):
        a = 0.0 if zh[j] <= 0 else zh[j]
        b = scale * (0.0 if zm[j] <= 0 else zm[j])
        v[j] = (a * b - y0[j]) * a if zm[j] > 0 else 0.0


# --- The steps ------------------------------------------------------------------------------


@njit(error_model="numpy", inline="always")
def outputs(net: Network, side: int, ball: Ball, size: int) -> Array:
    """z_d of the `size` hot units, or of all units if size is 0."""
    return ball.z[:size] if size > 0 else last(net, side)


@njit(error_model="numpy", inline="always")
def current_loss(net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial) -> float:
    """The loss of the iterate; sets v, from which `pull` makes the gradient in h."""
    size = trial.state[0].hot
    zh = outputs(net1, trial.state[0].side_h, ball_h, size)
    zm = outputs(net2, trial.state[0].side_m, ball_m, size)
    y0 = trial.hot_y0[:size] if size > 0 else trial.y0
    cold = trial.state[0].cold if size > 0 else 0.0
    return loss_and_weight(zh, zm, y0, trial.v) + cold


@njit(error_model="numpy", inline="always")
def flip(net1: Network, net2: Network, trial: Trial, best: int) -> None:
    """Change to the sign choice `best`; `least_sign` has computed z_d where the iterate was."""
    state, h, m = trial.state[0], trial.h, trial.m
    if best % 2 == 1:
        state.side_h = 1 - state.side_h
        negate(h.now, h.now)
        negate(h.raw, h.raw)
        enter(net1, state.side_h, h.raw)
        output_all(net1, state.side_h, h.raw)
    if best >= 2:
        state.side_m = 1 - state.side_m
        negate(m.now, m.now)
        negate(m.raw, m.raw)
        enter(net2, state.side_m, m.raw)
        output_all(net2, state.side_m, m.raw)
    state.flips += 1
    state.hot = 0


@njit(error_model="numpy", inline="always")
def pull(net: Network, side: int, ball: Ball, size: int, v: Array, out: Array) -> None:
    """The gradient out (n,) from the weights v of the hot units, or of all if size is 0."""
    if size > 0:
        hot_pull_back(net, ball, v, size, out)
    else:
        pull_back(net, side, v, out)


@njit(error_model="numpy", inline="always")
def move(
    net: Network, side: int, ball: Ball, x: Array, other: Network, other_side: int, y: Array,
    state: Any,
) -> None:  # fmt: skip
    """Bring a network to x, and compute z_d of the units in use.

    If x leaves the ball, all units of both networks are in use again, the other one's at y.
    """
    size = state.hot
    if size > 0:
        if near(ball, x) and (calm(ball, x) or same_matrix(net, side, ball, x)):
            hot_output(net, ball, x, size)
            return
        enter(other, other_side, y)
        output_all(other, other_side, y)
        state.hot = 0
    enter(net, side, x)
    output_all(net, side, x)


@njit(error_model="numpy", inline="always")
def slope_m(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, scale: float
) -> None:
    """m.slope = Lambda2^T [(a*b - y0) * a], a = relu(zh), b = scale relu(zm)."""
    side_h, side_m, size = trial.state[0].side_h, trial.state[0].side_m, trial.state[0].hot
    zh, zm = outputs(net1, side_h, ball_h, size), outputs(net2, side_m, ball_m, size)
    weight_m(zh, zm, scale, trial.hot_y0[:size] if size > 0 else trial.y0, trial.v)
    pull(net2, side_m, ball_m, size, trial.v, trial.m.slope)


@njit(error_model="numpy", inline="always")
def step(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, rules: Rules
) -> None:
    """Steps (ii) to (iv), with v from `current_loss`."""
    h, m, v, state, scale = trial.h, trial.m, trial.v, trial.state[0], trial.state[0].scale
    side_h, side_m = state.side_h, state.side_m
    pull(net1, side_h, ball_h, state.hot, v, h.slope)
    if rules.joint:
        slope_m(net1, net2, ball_h, ball_m, trial, 1.0)
        for i in range(len(m.now)):
            m.slope[i] /= scale
    for i in range(len(h.now)):
        h.raw[i] = h.now[i] - rules.eta * (scale * h.slope[i])  # (ii)
    move(net1, side_h, ball_h, h.raw, net2, side_m, m.raw, state)
    if not rules.joint:
        slope_m(net1, net2, ball_h, ball_m, trial, scale)
    for i in range(len(m.now)):
        m.raw[i] = m.now[i] - rules.eta * m.slope[i]  # (iii)
    move(net2, side_m, ball_m, m.raw, net1, side_h, h.raw, state)
    h_norm, m_norm, c = norm(h.raw), norm(m.raw), 1.0
    if rules.balance and 0 < h_norm < np.inf and 0 < m_norm < np.inf:
        c = math.sqrt(h_norm / m_norm)  # (iv)
    for i in range(len(h.now)):
        h.now[i] = h.raw[i] / c
    for i in range(len(m.now)):
        m.now[i] = m.raw[i] * c
    trial.state[0].scale = c
    state.step += 1


@njit(error_model="numpy", inline="always")
def narrow(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, eta: float
) -> None:
    """Find the hot units at the iterate, and use only them from now on if they are few."""
    state, scale = trial.state[0], trial.state[0].scale
    side_h, side_m = state.side_h, state.side_m
    if not (exact(net1, side_h) and exact(net2, side_m)):
        return
    ball_h.extent[0].radius = REACH * eta * scale * norm(trial.h.slope)
    ball_m.extent[0].radius = REACH * eta * norm(trial.m.slope)
    judge_units(net1, side_h, ball_h, trial.h.raw)
    judge_units(net2, side_m, ball_m, trial.m.raw)
    size, cold = choose_hot(ball_h.state, ball_m.state, trial.y0, trial.units, trial.hot_y0)
    state.next = state.step + PATIENCE
    if 0 < size <= FEW * len(trial.y0):
        gather(net1, side_h, ball_h, trial.h.raw, trial.units, size)
        gather(net2, side_m, ball_m, trial.m.raw, trial.units, size)
        state.hot, trial.state[0].cold = size, cold
        for q in range(size):
            trial.v[q] = trial.v[trial.units[q]]  # units[q] >= q


@njit(error_model="numpy")
def finite(x: Array) -> bool:
    """Whether every entry is finite."""
    result = True
    for value in x:
        result &= abs(value) < np.inf
    return result


# --- Stopping and recording -----------------------------------------------------------------


@njit(error_model="numpy")
def judge(state: Any, loss: float, rules: Rules) -> int:
    """The status after step (i), as in the reference."""
    k = state.step
    state.loss = loss
    if k == 0:
        state.window_loss = np.inf
        state.bound = rules.divergence * max(rules.unit, loss)
    stalled = False
    if k % rules.stall_window == 0:
        stalled = loss >= (1 - rules.stall_rtol) * state.window_loss
        state.window_loss = loss
    if loss <= rules.loss_rtol * rules.unit:
        return CONVERGED
    if not (abs(loss) < np.inf and loss <= state.bound):
        return DIVERGED
    if stalled:
        return STALLED
    return MAX_STEPS if k == rules.max_steps else RUNNING


@njit(error_model="numpy")
def count_changes(
    net: Network, side: int, ball: Ball, units: Ints, size: int, pattern: Array
) -> float:
    """Number of units, over all layers, whose activation differs from `pattern`; updates it.

    In the last layer it looks at the units in use; the cold ones have not switched.
    """
    inner, on = net.layers[net.depth].units, net.on[side]
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


@njit(error_model="numpy", inline="always")
def record_step(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, record: Record
) -> None:
    """Write the current step to the trace."""
    state, units = trial.state[0], trial.units
    size, row = state.hot, state.recorded
    changes = count_changes(net1, state.side_h, ball_h, units, size, record.pattern_h)
    changes += count_changes(net2, state.side_m, ball_m, units, size, record.pattern_m)
    if state.step > 0:
        state.changes += int(changes)
    if state.step == record.at[row]:
        record.loss[row] = trial.state[0].loss
        copy(trial.h.now, record.h[row])
        copy(trial.m.now, record.m[row])
        record.flips[row], record.changes[row] = state.flips, state.changes
        state.recorded += 1


@njit(error_model="numpy")
def borrow_point(point: Point) -> Point:
    """The point with borrowed arrays."""
    return Point(borrowed(point.now), borrowed(point.raw), borrowed(point.slope))


@njit(error_model="numpy")
def borrow_trial(trial: Trial) -> Trial:
    """The trial with borrowed arrays."""
    return Trial(
        borrow_point(trial.h),
        borrow_point(trial.m),
        borrowed(trial.state),
        borrowed(trial.y0),
        borrowed(trial.v),
        borrowed(trial.units),
        borrowed(trial.hot_y0),
        SignMemory(borrowed(trial.signs.h), borrowed(trial.signs.m), borrowed(trial.signs.choices)),
    )


@njit(error_model="numpy")
def advance(
    net1: Network, net2: Network, ball_h: Ball, ball_m: Ball, trial: Trial, rules: Rules,
    record: Record, steps: int,
) -> int:  # fmt: skip
    """Run a trial for `steps` steps or to its end; one that is RUNNING goes on at the next call.

    A new trial has its start in h.now and m.now, a state of zeros, and networks that are `reset`.
    """
    net1, net2, trial = borrow(net1), borrow(net2), borrow_trial(trial)
    ball_h, ball_m, state = borrow_ball(ball_h), borrow_ball(ball_m), trial.state[0]
    if state.step == 0:
        copy(trial.h.now, trial.h.raw)
        copy(trial.m.now, trial.m.raw)
        trial.state[0].scale = 1.0
        enter(net1, state.side_h, trial.h.raw)
        output_all(net1, state.side_h, trial.h.raw)
        enter(net2, state.side_m, trial.m.raw)
        output_all(net2, state.side_m, trial.m.raw)
    for _ in range(steps):
        loss = current_loss(net1, net2, ball_h, ball_m, trial)
        if not (finite(trial.h.now) and finite(trial.m.now)):
            loss = np.nan
        elif rules.check == 2 or (rules.check == 1 and state.step == 0):
            best = 0
            if not still_least(trial, loss, rules.unit):
                best = least_sign(net1, net2, trial, loss)
            if best > 0:
                flip(net1, net2, trial, best)
                loss = current_loss(net1, net2, ball_h, ball_m, trial)
        status = judge(state, loss, rules)
        if len(record.at) > 0:
            record_step(net1, net2, ball_h, ball_m, trial, record)
        if status != RUNNING:
            return status
        if state.hot > 0:
            state.hot_steps += 1
        elif state.step >= max(state.next, 1):
            narrow(net1, net2, ball_h, ball_m, trial, rules.eta)
        step(net1, net2, ball_h, ball_m, trial, rules)
    return RUNNING
