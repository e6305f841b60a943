"""The tracking engine: the reference's iterates to rounding, whatever way it takes to them.

`tests/test_descent.py` holds both engines to one slow loop; here they run long, on wide networks.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.descent import Solution, Stopping, alternating_descent, step_size, tracking
from harness.descent.solution import check_arguments
from harness.problem import Demodulation
from harness.status import Status
from tests.helpers import Array, Widths, integer_network, network

STOPPING = Stopping(loss_rtol=1e-11)
"""Looser than the default: at a residual of 1e-8 ||y0|| the rounding of y0 alone is 1e-8 of it."""

WIDE: dict[str, tuple[Widths, Widths]] = {
    "one layer": ((4, 200), (3, 200)),
    "two layers": ((5, 40, 300), (3, 30, 300)),
    "no expansion": ((8, 8, 400), (6, 8, 400)),
    "three layers": ((4, 30, 80, 300), (5, 40, 300)),
    "four layers": ((3, 20, 40, 60, 300), (3, 20, 40, 60, 300)),
    "blocks": ((3, 20, 2500), (2, 300, 2500)),
    "large n": ((60, 200, 1200), (30, 200, 1200)),
}
"""The last two: more units than a block of the kernels holds, and many more columns than a turn."""


@cache
def wide(name: str) -> Demodulation:
    """A problem with a truth of norm 1 on each side."""
    widths1, widths2 = WIDE[name]
    rng = np.random.default_rng([7, *name.encode()])
    h0, m0 = rng.normal(size=widths1[0]), rng.normal(size=widths2[0])
    G1, G2 = network(11, widths1), network(12, widths2)
    return Demodulation(G1, G2, h0 / np.linalg.norm(h0), m0 / np.linalg.norm(m0))


def starts(P: Demodulation, count: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng([13, seed])
    h, m = rng.normal(size=(count, P.n)), rng.normal(size=(count, P.p))
    return h / np.linalg.norm(h, axis=1)[:, None], m / np.linalg.norm(m, axis=1)[:, None]


def both(P: Demodulation, H: Array, M: Array, **options) -> tuple[Solution, Solution]:
    options = {"stopping": STOPPING, "trace": True} | options
    reference, tracked = (
        alternating_descent(P, H, M, engine=engine, **options)
        for engine in ("reference", "tracking")
    )
    return reference, tracked


def assert_same(P: Demodulation, reference: Solution, tracked: Solution, rtol: float) -> None:
    """All fields; rtol is that of the iterates."""
    assert [*tracked.status] == [*reference.status]
    np.testing.assert_array_equal(tracked.steps, reference.steps)
    np.testing.assert_array_equal(tracked.flips, reference.flips)
    for name in ("h", "m"):
        ours, theirs = getattr(tracked, name), getattr(reference, name)
        gap = np.linalg.norm(ours - theirs, axis=1)
        assert (gap <= rtol * np.linalg.norm(theirs, axis=1)).all()
    np.testing.assert_allclose(tracked.loss, reference.loss, rtol=1e-9)
    ours, theirs = tracked.trace, reference.trace
    assert ours is not None
    np.testing.assert_array_equal(ours.step, theirs.step)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-9)
    np.testing.assert_allclose(ours.distance, theirs.distance, atol=1e-7)
    np.testing.assert_array_equal(ours.flips, theirs.flips)
    np.testing.assert_array_equal(ours.changes, theirs.changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_whole_runs_equal_those_of_the_reference(name):
    P = wide(name)
    max_steps = 300 if name == "large n" else 1500
    reference, tracked = both(P, *starts(P, 6), step=step_size(P, 0.25), max_steps=max_steps)
    assert_same(P, reference, tracked, rtol=1e-9)
    if name in ("two layers", "three layers", "blocks"):
        assert (reference.status == Status.CONVERGED).any()
        assert tracked.tracking.hot_steps.sum() > 0
    assert not tracked.tracking.drifted.any()


@pytest.mark.parametrize("sign_check", ["every", "once", "never"])
@pytest.mark.parametrize(("balance", "joint"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("kappa", [0.1, 0.8])
def test_options_and_statuses_equal_those_of_the_reference(sign_check, balance, joint, kappa):
    """From starts near -truth, where flips matter, and from random ones."""
    P = wide("two layers")
    H, M = starts(P, 9)
    for i, (one, other) in enumerate(itertools.product((1, -1), repeat=2)):
        H[i], M[i] = one * P.h0 + 0.1 * H[i], other * P.m0 + 0.1 * M[i]
    reference, tracked = both(
        *(P, 2 * H, M), step=step_size(P, kappa), max_steps=150,
        sign_check=sign_check, balance=balance, joint=joint,
    )  # fmt: skip
    assert_same(P, reference, tracked, rtol=1e-8)
    if sign_check != "never":
        assert reference.flips.any()


def test_final_losses_of_converged_trials_agree_to_rounding_at_the_default_tolerance():
    P = wide("two layers")
    reference, tracked = both(P, *starts(P, 20), max_steps=3000, stopping=Stopping())
    converged = reference.status == Status.CONVERGED
    assert converged.sum() >= 5
    assert [*tracked.status] == [*reference.status]
    # a residual r that is off by some 1e-15 ||y0|| has a loss that is off by that times ||r||
    gap = np.abs(tracked.loss - reference.loss)[converged]
    size = np.sqrt(reference.loss * P.loss_at_zero)[converged]
    assert (gap <= 1e-14 * size).all()


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_steps_from_exact_kinks_equal_those_of_the_reference(seed, depth):
    """Integer weights and starts: pre-activations of exactly 0, dead units, zero rows.

    With a step that is a power of two, and without balance, two steps are free of rounding where
    it could decide which units are active.
    """
    rng = np.random.default_rng([17, seed])
    widths1, widths2 = ((*rng.integers(1, 7, size=depth).tolist(), 9) for _ in range(2))
    G1, G2 = integer_network(rng, widths1, 1), integer_network(rng, widths2, 1)
    h0, m0 = rng.integers(-2, 3, size=widths1[0]), rng.integers(-2, 3, size=widths2[0])
    P = Demodulation(G1, G2, h0, m0)
    H, M = (rng.integers(-2, 3, size=(4, x.size)).astype(float) for x in (h0, m0))
    reference, tracked = both(P, H, M, step=2.0**-4, max_steps=2, balance=False)
    assert [*tracked.status] == [*reference.status]
    for name in ("h", "m", "loss", "flips", "steps"):
        ours, theirs = getattr(tracked, name), getattr(reference, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_units_that_switch_all_the_time_do_not_make_the_matrices_drift():
    """A step too long oscillates: thousands of rank-one changes, some rebuilds, no drift."""
    P = wide("three layers")
    H, M = starts(P, 4)
    solution = alternating_descent(
        P, H, M, step=step_size(P, 1.4), max_steps=4000, engine="tracking",
        stopping=Stopping(stall_window=10_000),
    )  # fmt: skip
    effort = solution.tracking
    assert (effort.updates > 512).any()
    assert (effort.rebuilds > 0).any()
    assert (effort.drift > 0).any()
    assert (effort.drift < 1e-12).all()
    assert not effort.drifted.any()
    assert (effort.plain <= effort.evaluations).all()


def test_the_result_depends_neither_on_threads_nor_on_chunks():
    P = wide("three layers")
    H, M = starts(P, 7)
    run = check_arguments(P, H, M, None, 300, "every", True, False, STOPPING, True)
    first = tracking.descend(run)
    for threads, chunk in ((2, None), (3, 17), (1, 1)):
        again = tracking.descend(run, threads, chunk)
        for name in ("h", "m", "loss", "steps", "flips"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
        for name in ("step", "loss", "distance", "flips", "changes"):
            np.testing.assert_array_equal(getattr(again.trace, name), getattr(first.trace, name))
        assert [*again.status] == [*first.status]


def test_a_trial_does_not_depend_on_those_before_it():
    P = wide("four layers")
    H, M = starts(P, 5)
    together = alternating_descent(P, H, M, max_steps=200, engine="tracking")
    for i in reversed(range(5)):
        alone = alternating_descent(P, H[i], M[i], max_steps=200, engine="tracking")
        np.testing.assert_array_equal(alone.h[0], together.h[i])
        np.testing.assert_array_equal(alone.loss[0], together.loss[i])


def test_auto_takes_the_reference_for_little_work_and_tracking_for_much():
    P = wide("two layers")
    H, M = starts(P, 3)
    assert alternating_descent(P, H, M, max_steps=5, engine="auto").tracking is None
    chosen = alternating_descent(P, H, M, max_steps=20_000, engine="auto")
    assert chosen.tracking is not None
