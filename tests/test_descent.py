"""Algorithm 1: the batched code against one slow trial written from its four steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest

from harness.descent import (
    Solution,
    Stopping,
    Trace,
    alternating_descent,
    local_rate,
    log_spaced,
    row,
    step_size,
)
from harness.network import ReluNetwork
from harness.problem import Demodulation
from harness.status import Status
from tests.helpers import SHAPES, Array, naive_Lambda, network, problem


@pytest.fixture(params=["reference", "tracking"])
def descend(request: pytest.FixtureRequest) -> Callable[..., Solution]:
    """`alternating_descent` by either engine."""
    return partial(alternating_descent, engine=request.param)


DEFAULT = Stopping()


@cache
def recoverable() -> Demodulation:
    """Wide enough for random starts to reach the truth, with a spurious minimum at -h0."""
    rng = np.random.default_rng([100, 3])
    G1, G2 = network(6, (3, 30, 200)), network(7, (2, 30, 200))
    return Demodulation(G1, G2, rng.normal(size=3), rng.normal(size=2))


def starts(P: Demodulation, seed: int, count: int) -> tuple[Array, Array]:
    """Random directions at the size of the truth."""
    rng = np.random.default_rng([101, seed])
    size = math.sqrt(np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
    h, m = rng.normal(size=(count, P.n)), rng.normal(size=(count, P.p))
    h *= size / np.linalg.norm(h, axis=1, keepdims=True)
    m *= size / np.linalg.norm(m, axis=1, keepdims=True)
    return h, m


# --- one slow trial -------------------------------------------------------------------------


@dataclass
class NaiveTrial:
    """Iterates and losses after the sign check, from step 0 to the end."""

    h: list[Array]
    m: list[Array]
    loss: list[float]
    status: Status
    flips: list[int]


def evaluate(G: ReluNetwork, x: Array) -> Array:
    for W in G.weights:
        x = np.maximum(W @ x, 0)
    return x


def naive_trial(
    P: Demodulation,
    h: Array,
    m: Array,
    eta: float,
    max_steps: int,
    sign_check: str = "every",
    balance: bool = True,
    joint: bool = False,
    stopping: Stopping = DEFAULT,
) -> NaiveTrial:
    """Steps (i)-(iv), with eight evaluations for (i) and explicit matrices for the gradients."""
    y0 = evaluate(P.G1, P.h0) * evaluate(P.G2, P.m0)
    unit = 0.5 * float(y0 @ y0)

    def f(x: Array, y: Array) -> float:
        return 0.5 * float(np.sum((evaluate(P.G1, x) * evaluate(P.G2, y) - y0) ** 2))

    trial = NaiveTrial([], [], [], Status.MAX_STEPS, [])
    for k in range(max_steps + 1):
        if sign_check == "every" or (sign_check == "once" and k == 0):
            choices = [(h, m), (-h, m), (h, -m), (-h, -m)]
            losses = [f(x, y) for x, y in choices]
            best = losses.index(min(losses))
            trial.flips += [k] if best > 0 else []
            h, m = choices[best]
        loss = f(h, m)
        trial.h.append(h)
        trial.m.append(m)
        trial.loss.append(loss)
        window = stopping.stall_window
        if loss <= stopping.loss_rtol * unit:
            trial.status = Status.CONVERGED
            break
        if not loss <= stopping.divergence * max(unit, trial.loss[0]):
            trial.status = Status.DIVERGED
            break
        if k > 0 and k % window == 0:
            before = trial.loss[k - window]
            if before - loss <= stopping.stall_rtol * before:
                trial.status = Status.STALLED
                break
        if k == max_steps:
            break
        a, b = evaluate(P.G1, h), evaluate(P.G2, m)
        h = h - eta * naive_Lambda(P.G1.weights, h.tolist()).T @ ((a * b - y0) * b)
        a = a if joint else evaluate(P.G1, h)
        m = m - eta * naive_Lambda(P.G2.weights, m.tolist()).T @ ((a * b - y0) * a)
        if balance and h.any() and m.any():
            c = math.sqrt(np.linalg.norm(h) / np.linalg.norm(m))
            h, m = h / c, m * c
    return trial


def assert_same_end(solution, i: int, trial: NaiveTrial) -> None:
    assert solution.status[i] == trial.status
    assert solution.steps[i] == len(trial.loss) - 1
    assert solution.flips[i] == len(trial.flips)
    for ours, theirs in ((solution.h[i], trial.h[-1]), (solution.m[i], trial.m[-1])):
        assert np.linalg.norm(ours - theirs) <= 1e-11 * np.linalg.norm(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("sign_check", ["every", "once", "never"])
@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("joint", [True, False])
def test_every_iterate_equals_that_of_the_slow_loop(descend, sign_check, balance, joint):
    P = recoverable()
    H, M = starts(P, 1, 4)
    eta = step_size(P, 0.4)
    stopping = Stopping(loss_rtol=1e-12, stall_rtol=1e-3, stall_window=30)
    options = {"sign_check": sign_check, "balance": balance, "joint": joint, "stopping": stopping}
    trials = [naive_trial(P, h, m, eta, 200, **options) for h, m in zip(H, M, strict=True)]
    for max_steps in (1, 2, 3, 4, 5, 8, 13, 21, 34, 55, 89, 200):
        solution = descend(P, H, M, step=eta, max_steps=max_steps, **options)
        for i, trial in enumerate(trials):
            k = min(max_steps, len(trial.loss) - 1)
            assert solution.steps[i] == k
            assert solution.flips[i] == sum(flip <= k for flip in trial.flips)
            for ours, theirs in ((solution.h[i], trial.h[k]), (solution.m[i], trial.m[k])):
                assert np.linalg.norm(ours - theirs) <= 1e-12 * np.linalg.norm(theirs)
            # iterates equal to 1e-12 move the residual by that share of ||y0||
            shift = 1e-11 * math.sqrt(P.loss_at_zero)
            bound = shift * (math.sqrt(trial.loss[k]) + shift)
            assert abs(solution.loss[i] - trial.loss[k]) <= bound
            if k < max_steps:
                assert solution.status[i] == trial.status


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "scalar"])
def test_ends_equal_those_of_the_slow_loop_for_all_shapes(descend, shape):
    """Few steps: chattering across a kink would blow up rounding."""
    P = problem(shape)
    H, M = starts(P, 2, 6)
    stopping = Stopping(loss_rtol=1e-10, stall_rtol=1e-2, stall_window=10)
    solution = descend(P, H, M, max_steps=25, stopping=stopping)
    for i in range(len(H)):
        trial = naive_trial(P, H[i], M[i], step_size(P), 25, stopping=stopping)
        assert_same_end(solution, i, trial)


@pytest.mark.slow
def test_statuses_and_flips_equal_those_of_the_slow_loop(descend):
    P = recoverable()
    seen, late_flip = set(), False
    stopping = Stopping(loss_rtol=1e-10, stall_rtol=1e-2, stall_window=20)
    H, M = starts(P, 3, 8)
    cases = [
        (h, m, kappa, "every")
        for (h, m), kappa in itertools.product(zip(H, M, strict=True), (0.2, 0.5, 2.5, 40.0))
    ]
    cases += [(i * P.h0, j * P.m0, 0.5, "never") for i, j in ((-1, 1), (1, -1), (-1, -1))]
    for h, m, kappa, check in cases:
        eta = step_size(P, kappa)
        trial = naive_trial(P, h, m, eta, 45, sign_check=check, stopping=stopping)
        solution = descend(P, h, m, step=eta, max_steps=45, sign_check=check, stopping=stopping)
        assert solution.status[0] == trial.status
        assert solution.steps[0] == len(trial.loss) - 1
        assert solution.flips[0] == len(trial.flips)
        seen.add(trial.status)
        late_flip |= any(flip > 0 for flip in trial.flips)
    assert seen == {Status.CONVERGED, Status.STALLED, Status.DIVERGED, Status.MAX_STEPS}
    assert late_flip


# --- batching -------------------------------------------------------------------------------


def test_a_batch_equals_its_trials_one_at_a_time(descend):
    P = recoverable()
    H, M = starts(P, 4, 12)
    kappas = np.linspace(0.2, 0.6, 12)
    steps = np.array([step_size(P, kappa) for kappa in kappas])
    together = descend(P, H, M, step=steps, max_steps=300)
    assert len(set(together.steps.tolist())) > 3  # they end at different times
    for i in range(12):
        alone = descend(P, H[i], M[i], step=steps[i], max_steps=300)
        assert alone.status[0] == together.status[i]
        assert alone.steps[0] == together.steps[i]
        assert alone.flips[0] == together.flips[i]
        np.testing.assert_allclose(alone.h[0], together.h[i], rtol=1e-11)
        np.testing.assert_allclose(alone.m[0], together.m[i], rtol=1e-11)


def test_fields_have_the_leading_length_of_the_starts_and_statuses_are_of_the_closed_set(descend):
    P = recoverable()
    for count in (1, 3):
        H, M = starts(P, 5, count)
        solution = descend(P, H, M, max_steps=3, trace=True)
        assert (solution.h.shape, solution.m.shape) == ((count, 3), (count, 2))
        for value in (solution.loss, solution.status, solution.steps, solution.flips):
            assert value.shape == (count,)
        assert solution.trace.loss.shape == (len(solution.trace.step), count)
        assert all(isinstance(status, Status) for status in solution.status)
    single = descend(P, H[0], M[0], max_steps=3)
    assert single.h.shape == (1, 3)
    np.testing.assert_allclose(single.h[0], solution.h[0], rtol=1e-13)


def test_starts_are_not_overwritten_and_the_default_step_is_step_size(descend):
    P = recoverable()
    H, M = starts(P, 6, 3)
    before = H.copy(), M.copy()
    default = descend(P, H, M, max_steps=20)
    np.testing.assert_array_equal(H, before[0])
    np.testing.assert_array_equal(M, before[1])
    explicit = descend(P, H, M, step=step_size(P), max_steps=20)
    np.testing.assert_array_equal(default.h, explicit.h)


# --- statuses -------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.25, 1.0, 8.0])
def test_a_start_on_the_true_hyperbola_has_converged_at_step_zero(descend, c):
    P = recoverable()
    solution = descend(P, c * P.h0, P.m0 / c)
    assert solution.status[0] is Status.CONVERGED
    assert (solution.steps[0], solution.flips[0]) == (0, 0)
    assert solution.loss[0] <= 1e-30 * P.loss_at_zero  # the reference: 0
    np.testing.assert_array_equal(solution.h[0], c * P.h0)
    np.testing.assert_array_equal(solution.m[0], P.m0 / c)


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("sign_check", ["every", "once"])
def test_a_start_at_minus_the_truth_is_flipped_and_has_converged(descend, signs, sign_check):
    P = recoverable()
    solution = descend(P, signs[0] * P.h0, signs[1] * P.m0, sign_check=sign_check)
    assert solution.status[0] is Status.CONVERGED
    assert (solution.steps[0], solution.flips[0]) == (0, 1)
    np.testing.assert_array_equal(solution.h[0], P.h0)
    np.testing.assert_array_equal(solution.m[0], P.m0)


def test_without_sign_check_a_start_at_minus_the_truth_stalls_at_a_spurious_minimum(descend):
    P = recoverable()
    solution = descend(P, -P.h0, P.m0, sign_check="never", max_steps=2000)
    assert solution.status[0] is Status.STALLED
    assert solution.flips[0] == 0
    assert solution.loss[0] > 0.1 * P.loss_at_zero
    assert solution.steps[0] % DEFAULT.stall_window == 0
    assert P.neighbourhood(solution.h[0], solution.m[0], (-1, 1)) < P.neighbourhood(
        solution.h[0], solution.m[0], (1, 1)
    )
    with_check = descend(P, -P.h0, P.m0, sign_check="every", max_steps=2000)
    assert with_check.status[0] is Status.CONVERGED


def test_checking_once_is_flipping_the_start_and_never_checking(descend):
    P = recoverable()
    H, M = starts(P, 7, 8)
    once = descend(P, H, M, sign_check="once", max_steps=60)
    losses = [P.loss(i * H, j * M) for i, j in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
    signs = np.array([(1, 1), (-1, 1), (1, -1), (-1, -1)])[np.argmin(losses, axis=0)]
    assert (signs != 1).any()
    never = descend(P, signs[:, :1] * H, signs[:, 1:] * M, sign_check="never", max_steps=60)
    np.testing.assert_array_equal(once.h, never.h)
    np.testing.assert_array_equal(once.m, never.m)
    np.testing.assert_array_equal(once.flips, (signs != 1).any(axis=1))
    assert not never.flips.any()


def test_checking_once_does_not_check_after_the_first_step(descend):
    P = recoverable()
    eta = step_size(P, 2.5)
    flipped = 0
    for h, m in zip(*starts(P, 20, 40), strict=True):
        if 1 not in naive_trial(P, h, m, eta, 1).flips:
            continue
        flipped += 1
        slow = naive_trial(P, h, m, eta, 1, sign_check="once")
        once = descend(P, h, m, step=eta, max_steps=1, sign_check="once")
        every = descend(P, h, m, step=eta, max_steps=1, sign_check="every")
        assert_same_end(once, 0, slow)
        assert every.loss[0] < once.loss[0]
    assert flipped >= 3


def test_random_starts_converge_to_the_truth_up_to_the_scale_split(descend):
    P = recoverable()
    H, M = starts(P, 8, 20)
    solution = descend(P, H, M, max_steps=3000)
    converged = solution.status == Status.CONVERGED
    assert converged.sum() >= 10
    assert (solution.loss[converged] <= 1e-16 * P.loss_at_zero).all()
    near = P.neighbourhood(solution.h[converged], solution.m[converged])
    assert (near < 1e-6).all()
    assert (P.product_error(solution.h[converged], solution.m[converged]) < 1e-6).all()


def test_reported_loss_is_that_of_the_reported_iterate(descend):
    P = recoverable()
    H, M = starts(P, 9, 6)
    for options in ({}, {"sign_check": "never"}, {"balance": False}):
        solution = descend(P, H, M, max_steps=17, **options)
        # near convergence the residual is a small difference: rounding of y0 sets the scale
        slack = 1e-15 * np.sqrt(P.loss_at_zero * solution.loss) + 1e-30 * P.loss_at_zero
        gap = np.abs(P.loss(solution.h, solution.m) - solution.loss)
        assert (gap <= 10 * slack + 1e-13 * solution.loss).all()


def test_the_step_limit_is_a_status_and_steps_counts_gradient_steps(descend):
    P = recoverable()
    H, M = starts(P, 10, 2)
    for max_steps in (1, 7):
        solution = descend(P, H, M, max_steps=max_steps)
        assert [*solution.status] == [Status.MAX_STEPS] * 2
        assert [*solution.steps] == [max_steps] * 2


@pytest.mark.parametrize("exponent", [6, 10, 40, 60, 80, 100, 150, 200, 300])
def test_a_huge_step_diverges_without_warning_or_error(descend, exponent):
    P = recoverable()
    H, M = starts(P, 11, 30)
    solution = descend(P, H, M, step=10.0**exponent, max_steps=50)
    assert (solution.status == Status.DIVERGED).all()
    assert (solution.steps >= 1).all()
    assert not (solution.loss <= 1e6 * P.loss_at_zero).any()


@pytest.mark.parametrize("sizes", [(1e100, 1e100), (1e160, 1.0), (1.0, 1e300)])
def test_a_start_whose_loss_overflows_has_diverged_at_step_zero(descend, sizes):
    P = recoverable()
    H, M = starts(P, 12, 3)
    solution = descend(P, sizes[0] * H, sizes[1] * M, max_steps=5)
    assert [*solution.status] == [Status.DIVERGED] * 3
    assert not solution.steps.any()


def test_a_large_start_has_not_diverged_by_being_large(descend):
    P = recoverable()
    H, M = starts(P, 13, 3)
    solution = descend(P, 1e3 * H, 1e3 * M, step=1e-12 * step_size(P), max_steps=5)
    assert [*solution.status] == [Status.MAX_STEPS] * 3
    assert (solution.loss > 1e6 * P.loss_at_zero).all()


@pytest.mark.parametrize("zero", ["h", "m", "both"])
def test_a_start_on_K_stalls_where_it_is(descend, zero):
    P = recoverable()
    H, M = starts(P, 14, 2)
    H[0] *= zero == "m"
    M[0] *= zero == "h"
    solution = descend(P, H, M, max_steps=400)
    assert solution.status[0] is Status.STALLED
    assert solution.loss[0] == pytest.approx(P.loss_at_zero, rel=1e-14)
    assert P.loss(solution.h[0], solution.m[0]) == pytest.approx(P.loss_at_zero, rel=1e-14)
    for field in (solution.h, solution.m, solution.loss):
        assert np.isfinite(field).all()
    neighbour = descend(P, H[1], M[1], max_steps=400)
    np.testing.assert_allclose(solution.h[1], neighbour.h[0], rtol=1e-11)


def test_a_start_in_a_dead_cone_stalls_without_nan(descend):
    """G1 vanishes at +h and at -h though h is not zero."""
    G1 = ReluNetwork([[[1.0, 0.0], [2.0, 0.0]]])
    P = Demodulation(G1, ReluNetwork([[[1.0], [1.0]]]), [1.0, 1.0], [1.0])
    solution = descend(P, [0.0, 3.0], [0.5], max_steps=1000)
    assert solution.status[0] is Status.STALLED
    assert solution.flips[0] == 0
    assert solution.loss[0] == P.loss_at_zero
    assert np.isfinite(solution.h).all()
    assert np.linalg.norm(solution.h[0]) == pytest.approx(np.linalg.norm(solution.m[0]))


def test_a_tie_of_the_signs_keeps_the_iterate(descend):
    """With G(-x) = G(x) in both factors all four losses are equal."""
    even = ReluNetwork([[[1.0], [-1.0]], [[1.0, 1.0], [2.0, 2.0]]])
    P = Demodulation(even, even, [1.0], [1.0])
    solution = descend(P, [-1.3], [-0.9], step=0.03, max_steps=300)
    assert solution.status[0] is Status.CONVERGED
    assert solution.flips[0] == 0
    assert (solution.h[0] < 0).all()
    assert (solution.m[0] < 0).all()


def test_the_row_of_a_trial_equals_what_the_experiments_wrote_by_hand(descend):
    P = recoverable()
    H, M = starts(P, 21, 5)
    together = descend(P, H, M, max_steps=40)
    for k in range(5):
        solution = descend(P, H[k], M[k], max_steps=40)
        assert row(P, solution) == {
            "epsilon_true": float(P.neighbourhood(solution.h, solution.m)[0]),
            "loss_ratio": solution.loss[0] / P.loss_at_zero,
            "steps": solution.steps[0],
            "flips": solution.flips[0],
            "status": solution.status[0],
        }
        h, m = together.h[k], together.m[k]
        assert row(P, together, k)["epsilon_true"] == float(P.neighbourhood(h, m))
        assert row(P, together, k)["loss_ratio"] == together.loss[k] / P.loss_at_zero
        assert row(P, together, k)["flips"] == together.flips[k]
    assert list(row(P, together)) == ["epsilon_true", "loss_ratio", "steps", "flips", "status"]


# --- scale ----------------------------------------------------------------------------------


def test_step_size_equals_its_formula():
    P = recoverable()
    expected = 0.3 * math.sqrt(2**4 * 200) / math.sqrt(sum(y * y for y in P.y0))
    assert step_size(P, 0.3) == pytest.approx(expected, rel=1e-14)
    deep = problem("deep")
    expected = math.sqrt(2**7 * 12) / math.sqrt(sum(y * y for y in deep.y0))
    assert step_size(deep, 1.0) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("factor", [4.0, 2.0**-10])
def test_scaling_the_truth_scales_the_iterates_and_nothing_else(descend, factor):
    """h0 -> c h0 with starts times sqrt(c), both powers of two: no rounding at all."""
    P, root = recoverable(), math.sqrt(factor)
    scaled = Demodulation(P.G1, P.G2, factor * P.h0, P.m0)
    H, M = starts(P, 15, 10)
    ours = descend(P, H, M, max_steps=500)
    theirs = descend(scaled, root * H, root * M, max_steps=500)
    np.testing.assert_array_equal(theirs.steps, ours.steps)
    assert [*theirs.status] == [*ours.status]
    np.testing.assert_array_equal(theirs.flips, ours.flips)
    np.testing.assert_array_equal(theirs.h, root * ours.h)
    np.testing.assert_array_equal(theirs.m, root * ours.m)
    np.testing.assert_array_equal(theirs.loss, factor**2 * ours.loss)


def test_scaling_by_other_factors_leaves_the_number_of_steps(descend):
    P = recoverable()
    H, M = starts(P, 16, 10)
    ours = descend(P, H, M, max_steps=500)
    for factor in (1e-4, 10.0):
        scaled = Demodulation(P.G1, P.G2, P.h0, factor * P.m0)
        theirs = descend(scaled, factor**0.5 * H, factor**0.5 * M, max_steps=500)
        np.testing.assert_array_equal(theirs.steps, ours.steps)
        assert [*theirs.status] == [*ours.status]


def test_balance_makes_the_norms_equal_after_every_step(descend):
    P = recoverable()
    H, M = starts(P, 17, 5)
    for max_steps in (1, 2, 9):
        balanced = descend(P, 10 * H, M / 10, max_steps=max_steps)
        norms = [np.linalg.norm(x, axis=1) for x in (balanced.h, balanced.m)]
        np.testing.assert_allclose(*norms, rtol=1e-13)
    free = descend(P, 3 * H, M / 3, max_steps=1, balance=False)
    norms = [np.linalg.norm(x, axis=1) for x in (free.h, free.m)]
    assert (np.abs(norms[0] / norms[1] - 1) > 0.01).all()


# --- trace and rate -------------------------------------------------------------------------


@pytest.mark.parametrize("max_steps", [1, 2, 7, 100, 12345])
def test_log_spaced_steps(max_steps):
    steps = log_spaced(max_steps)
    assert steps[0] == 0
    assert steps[-1] == max_steps
    assert (np.diff(steps) >= 1).all()
    later = steps[steps >= 32]  # no gap above an eighth of an octave, up to rounding
    assert (np.diff(later) <= later[:-1] * (2**0.125 - 1) + 1).all()
    assert set(range(min(8, max_steps))) <= set(steps.tolist())


def test_trace_is_that_of_untraced_runs_and_ends_with_the_trial(descend):
    P = recoverable()
    H, M = starts(P, 18, 6)
    traced = descend(P, H, M, max_steps=150, trace=True)
    plain = descend(P, H, M, max_steps=150)
    assert plain.trace is None
    for name in ("h", "m", "loss", "steps", "flips"):
        np.testing.assert_array_equal(getattr(traced, name), getattr(plain, name))
    assert [*traced.status] == [*plain.status]

    steps, losses = traced.trace.step, traced.trace.loss
    assert steps[0] == 0
    assert (np.diff(steps) > 0).all()
    assert set(steps.tolist()) <= set(log_spaced(150).tolist())
    assert (plain.steps < 150).any()
    np.testing.assert_array_equal(np.isnan(losses), steps[:, None] > plain.steps)
    for index, max_steps in enumerate(steps):
        if max_steps == 0:
            expected = np.min([P.loss(i * H, j * M) for i in (1, -1) for j in (1, -1)], axis=0)
        else:
            expected = descend(P, H, M, max_steps=int(max_steps)).loss
        alive = plain.steps >= max_steps
        np.testing.assert_allclose(losses[index, alive], expected[alive], rtol=1e-8)


def test_local_rate_of_a_geometric_trace_is_its_ratio():
    step = np.unique(np.geomspace(1, 400, 60).astype(np.int64))
    ratios = np.array([0.9, 0.97, 0.5])
    trace = Trace(step, 3.0 * ratios ** (2 * step[:, None]))
    np.testing.assert_allclose(local_rate(trace, (1e-300, 10.0)), ratios, rtol=1e-10)


def test_local_rate_uses_its_window_only_and_is_nan_where_there_is_too_little():
    step = np.arange(0, 200)
    early = np.where(step < 50, 1.0, 0.8 ** (2.0 * (step - 50)))
    ended = np.where(step < 60, early, np.nan)
    short = np.where(step < 52, early, np.nan)
    rates = local_rate(Trace(step, np.stack([early, ended, short], axis=1)), (1e-20, 0.99))
    np.testing.assert_allclose(rates[:2], 0.8, rtol=1e-10)
    assert np.isnan(rates[2])
    assert np.isnan(local_rate(Trace(step, early[:, None]), (1e-300, 1e-200))).all()


def test_local_rate_is_the_spectral_radius_of_the_step_at_the_truth(descend):
    """Errors shrink by the largest eigenvalue of the step's linearisation."""
    P, kappa = recoverable(), 0.3
    eta = step_size(P, kappa)
    scale = math.sqrt(np.linalg.norm(P.h0) / np.linalg.norm(P.m0))
    truth = np.concatenate([P.h0 / scale, P.m0 * scale])

    def one_step(x: Array) -> Array:
        trial = naive_trial(P, x[:3], x[3:], eta, 1, stopping=Stopping(loss_rtol=0.0))
        return np.concatenate([trial.h[-1], trial.m[-1]])

    delta = 1e-6
    jacobian = np.stack(
        [
            (one_step(truth + delta * e) - one_step(truth - delta * e)) / (2 * delta)
            for e in np.eye(5)
        ],
        axis=1,
    )
    eigenvalues, vectors = np.linalg.eig(jacobian)
    slowest = np.argmax(np.abs(eigenvalues))
    radius = np.abs(eigenvalues[slowest])
    x = truth + np.array([[1e-3], [-1e-3], [1e-4]]) * vectors[:, slowest].real
    stopping = Stopping(loss_rtol=1e-26)
    solution = descend(
        P, x[:, :3], x[:, 3:], step=eta, max_steps=2000, trace=True, stopping=stopping
    )
    assert (solution.status == Status.CONVERGED).all()
    unit = P.loss_at_zero
    rates = local_rate(solution.trace, (1e-25 * unit, 1e-16 * unit))
    np.testing.assert_allclose(rates, radius, rtol=1e-3)


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, -1.0, np.nan, np.inf])
def test_step_size_refuses_a_kappa_that_is_not_positive(kappa):
    with pytest.raises(ValueError, match="kappa="):
        step_size(recoverable(), kappa)


def test_step_size_is_not_defined_for_a_zero_observation(descend):
    first, second = ReluNetwork([[[1.0], [-1.0]]]), ReluNetwork([[[-1.0], [1.0]]])
    P = Demodulation(first, second, [1.0], [1.0])
    with pytest.raises(ValueError, match="y0 = 0"):
        step_size(P)
    with pytest.raises(ValueError, match="y0 = 0"):
        descend(P, [1.0], [1.0])
    solution = descend(P, [1.0], [-1.0], step=0.1, max_steps=50)  # the sign check finds loss 0
    assert solution.status[0] is Status.CONVERGED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h_init": np.array([[1.0, np.nan, 0.0]])}, "every entry must be finite"),
        ({"m_init": np.array([[np.inf, 0.0]])}, "every entry must be finite"),
        ({"h_init": np.ones((1, 4))}, r"must be \(trials, 3\) and \(trials, 2\)"),
        ({"m_init": np.ones((1, 3))}, r"must be \(trials, 3\) and \(trials, 2\)"),
        ({"m_init": np.ones((2, 2))}, "as many trials in both"),
        ({"h_init": np.ones((1, 1, 3))}, r"must be \(trials, 3\)"),
        ({"step": 0.0}, "step=0.0: must be > 0"),
        ({"step": -0.1}, "must be > 0"),
        ({"step": np.nan}, "must be > 0 and finite"),
        ({"step": np.inf}, "must be > 0 and finite"),
        ({"step": np.array([0.1, 0.2])}, "one for each start"),
        ({"step": np.array([[0.1]])}, "one for each start"),
        ({"max_steps": 0}, "max_steps=0: must be >= 1"),
        ({"max_steps": -3}, "max_steps=-3"),
        ({"engine": "magic"}, "engine='magic'"),
        ({"sign_check": "sometimes"}, "sign_check='sometimes'"),
        ({"threads": 0}, "threads=0: must be >= 1"),
    ],
)
def test_impossible_arguments_are_refused_by_name(change, message):
    arguments = {"h_init": np.ones((1, 3)), "m_init": np.ones((1, 2)), "max_steps": 5} | change
    with pytest.raises(ValueError, match=message):
        alternating_descent(recoverable(), **arguments)


def test_a_trace_that_would_fill_memory_is_refused_with_its_size():
    with pytest.raises(ValueError, match=r"trace=True: \d+ steps of 200000 trials .* GiB"):
        alternating_descent(recoverable(), np.ones((200_000, 3)), np.ones((200_000, 2)), trace=True)
