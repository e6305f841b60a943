"""The truth's neighbourhood: curvatures, certified and sampled radii, the rate of Algorithm 1."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from harness.descent import Stopping, alternating_descent, local_rate, step_size
from harness.ensemble import unit_vectors
from harness.landscape import (
    basin,
    certified_basin,
    certified_region,
    curvatures,
    iteration_matrix,
    predicted_rate,
    sampled_radii,
)
from harness.network import ReluNetwork, gaussian_network
from harness.problem import Demodulation
from harness.theory import expected_hessian, truncation_alpha
from tests.helpers import SHAPES, Array, kink_point, naive_pattern, problem, standard_error

every_shape = pytest.mark.parametrize("shape", SHAPES)


# --- Slow references ------------------------------------------------------------------------


def finite_difference_hessian(P: Demodulation, t: float) -> Array:
    """Central differences of the gradient at the balanced truth, inside its linear region."""
    h, m = P.balanced_truth()
    columns = []
    for e in np.eye(P.n + P.p) * t:
        ahead = np.concatenate(P.gradients(h + e[: P.n], m + e[P.n :]))
        behind = np.concatenate(P.gradients(h - e[: P.n], m - e[P.n :]))
        columns.append((ahead - behind) / (2 * t))
    return np.array(columns)


def one_step(P: Demodulation, x: Array, step: float) -> Array:
    """Steps (ii) to (iv) of Algorithm 1 as printed."""
    h, m = x[: P.n], x[P.n :]
    h = h - step * P.gradients(h, m)[0]
    m = m - step * P.gradients(h, m)[1]
    c = np.sqrt(np.linalg.norm(h) / np.linalg.norm(m))
    return np.concatenate([h / c, m * c])


def pattern(P: Demodulation, x: Array) -> list[list[bool]]:
    first = naive_pattern(P.G1.weights, x[: P.n].tolist())
    return first + naive_pattern(P.G2.weights, x[P.n :].tolist())


def truth(P: Demodulation) -> Array:
    return np.concatenate(P.balanced_truth())


def identifiable(widths1: tuple[int, ...], widths2: tuple[int, ...], seed: int) -> Demodulation:
    rng = np.random.default_rng(seed)
    G1, G2 = (gaussian_network(rng, widths) for widths in (widths1, widths2))
    return Demodulation(G1, G2, rng.normal(size=widths1[0]), 3 * rng.normal(size=widths2[0]))


# --- Curvatures -----------------------------------------------------------------------------


@every_shape
def test_curvatures_are_those_of_a_finite_difference_hessian_without_the_orbit(shape):
    P = problem(shape)
    t = min(0.5 * certified_region(P), 1e-3) * np.linalg.norm(truth(P))
    H = finite_difference_hessian(P, t)
    h, m = P.balanced_truth()
    tau = np.concatenate([h, -m]) / np.linalg.norm(truth(P))
    complement = np.linalg.qr(np.column_stack([tau, np.eye(P.n + P.p)]))[0][:, 1:]
    expected = np.linalg.eigvalsh(complement.T @ ((H + H.T) / 2) @ complement)
    np.testing.assert_allclose(curvatures(P), expected, rtol=0, atol=1e-6 * expected[-1])


def test_curvatures_go_with_the_product_of_the_norms():
    P = problem("two-layer")
    Q = Demodulation(P.G1, P.G2, 100 * P.h0, 0.1 * P.m0)
    np.testing.assert_allclose(curvatures(Q), 10 * curvatures(P), rtol=1e-12)


def test_fewer_rows_than_unknowns_leave_curvatures_of_zero():
    P = problem("contracting")  # ell = 3, n + p = 11
    assert curvatures(P).shape == (10,)
    assert (curvatures(P)[:7] == 0).all()


@pytest.mark.slow
def test_the_mean_hessian_of_networks_of_any_width_is_the_expected_one():
    """Also where a row is truncated with a probability that shows: one column, alpha = .97."""
    rng = np.random.default_rng(0)
    h0, m0 = np.array([2.0, -1.0]), np.array([-0.5, 1.0, 0.25])
    widths1, widths2 = (2, 3, 1, 6), (3, 2, 6)
    alpha = truncation_alpha(1) * truncation_alpha(2)
    found = []
    for _ in range(20_000):
        P = Demodulation(gaussian_network(rng, widths1), gaussian_network(rng, widths2), h0, m0)
        J = P.jacobian(h0, m0)
        found.append(J.T @ J)
    expected = expected_hessian(h0, m0, d=3, s=2, ell=6, alpha=alpha)
    error = standard_error(found)
    assert (np.abs(np.mean(found, axis=0) - expected) <= 5 * error).all()


def test_the_expected_hessian_has_curvatures_one_two_and_zero():
    h0, m0 = np.array([3.0, 0.0, 4.0]), np.array([0.0, -5.0])
    unit = 25 * 0.9 / (2**5 * 70)
    H = expected_hessian(h0, m0, d=2, s=3, ell=70, alpha=0.9) / unit
    np.testing.assert_allclose(np.linalg.eigvalsh(H), [0, 1, 1, 1, 2], atol=1e-14)
    np.testing.assert_allclose(H @ np.concatenate([h0, m0]), 2 * np.concatenate([h0, m0]))
    np.testing.assert_allclose(H @ np.concatenate([h0, -m0]), 0, atol=1e-14)


@pytest.mark.slow
def test_extreme_curvatures_tend_to_one_and_two_as_all_layers_widen():
    gaps = []
    for width in (100, 400, 1600):
        rng = np.random.default_rng(width)
        found = []
        for _ in range(12):
            G1, G2 = (gaussian_network(rng, (3, width, width)) for _ in range(2))
            found.append(basin(Demodulation(G1, G2, *unit_vectors(rng, 2, 3))))
        gaps.append(
            [np.mean([1 - b.lowest for b in found]), np.mean([b.highest - 2 for b in found])]
        )
    low, high = np.abs(gaps).T
    assert (np.diff(low) < 0).all()
    assert low[-1] < 0.25
    assert high[-1] < 0.25
    # like width^(-1/2): a quarter of the gap for 16 times the width
    assert 2 < low[0] / low[2] < 8


# --- Certified radii ------------------------------------------------------------------------


def random_points(P: Demodulation, radius: float, count: int, seed: int = 0) -> Array:
    """Points at a relative distance from the balanced truth, (count, n + p)."""
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(count, P.n + P.p))
    x = truth(P)
    return x + radius * np.linalg.norm(x) * e / np.linalg.norm(e, axis=1, keepdims=True)


@every_shape
def test_no_unit_switches_within_the_certified_region_and_one_does_beyond(shape):
    P = problem(shape)
    radius, x = certified_region(P), truth(P)
    assert 0 < radius < np.inf
    inside = random_points(P, radius * (1 - 1e-9), 300)
    assert all(pattern(P, y) == pattern(P, x) for y in inside)
    # the nearest kink, by brute force over units of the region: reflect the truth at it
    switched = []
    for start, G in ((0, P.G1), (P.n, P.G2)):
        part = slice(start, start + G.widths[0])
        product = np.eye(G.widths[0])
        for W, active in zip(G.weights, naive_pattern(G.weights, x[part].tolist()), strict=True):
            for r in W @ product:
                if r.any():
                    y = x.copy()
                    y[part] -= (1 + 1e-9) * (r @ x[part]) / (r @ r) * r
                    if pattern(P, y) != pattern(P, x):
                        switched.append(np.linalg.norm(y - x) / np.linalg.norm(x))
            product = np.diag(np.array(active, dtype=float)) @ W @ product
    assert min(switched) == pytest.approx(radius, rel=1e-6)


def test_the_region_of_one_row_is_the_distance_to_its_kink():
    """G1 = relu(h . (0, 1)) and G2 = relu(m): the truth (3, 4), 1 is balanced to norms 5^(1/2)."""
    P = Demodulation(
        ReluNetwork([np.array([[0.0, 1.0]])]), ReluNetwork([np.eye(1)]), np.array([3.0, 4.0]), [1.0]
    )
    assert certified_region(P) == pytest.approx(0.8 / np.sqrt(2))


def test_a_truth_on_a_kink_has_radii_of_zero_and_rows_of_zeros_have_no_kink():
    P = problem("mixed-depth")
    h0, _ = kink_point(P.G1, 2, np.random.default_rng(0))
    on_kink = Demodulation(P.G1, P.G2, h0, P.m0)
    assert certified_region(on_kink) < 1e-15
    assert certified_basin(on_kink) < 1e-15
    some_zeros = ReluNetwork([np.vstack([P.G2.weights[0], np.zeros((2, 3))]), np.eye(11)[:9]])
    zeros = Demodulation(P.G1, some_zeros, P.h0, P.m0)
    assert certified_region(zeros) > 0


@pytest.mark.parametrize("shape", ["scalar", "mixed-depth", "two-layer"])
def test_the_bounds_behind_the_certified_basin_hold(shape):
    """At balanced points of the sphere: f exceeds all values of f in the certified basin."""
    P = problem(shape)
    radius = certified_basin(P)
    assert 0 < radius < certified_region(P)
    inside = random_points(P, radius, 500)
    sphere = random_points(P, certified_region(P), 2000, seed=1)
    # move the sphere's points onto balanced ones at the same distance, by iteration
    size = np.linalg.norm(truth(P))
    for _ in range(50):
        norms = np.linalg.norm(sphere[:, : P.n], axis=1), np.linalg.norm(sphere[:, P.n :], axis=1)
        c = np.sqrt(norms[0] / norms[1])[:, None]
        sphere = np.hstack([sphere[:, : P.n] / c, sphere[:, P.n :] * c]) - truth(P)
        sphere *= certified_region(P) * size / np.linalg.norm(sphere, axis=1, keepdims=True)
        sphere += truth(P)
    highest = P.loss(inside[:, : P.n], inside[:, P.n :]).max()
    assert highest <= P.loss(sphere[:, : P.n], sphere[:, P.n :]).min()


@pytest.mark.parametrize("seed", range(3))
def test_algorithm_1_from_the_certified_basin_stays_in_the_linear_region(seed):
    P = identifiable((2, 12, 80), (2, 15, 80), seed)
    x, units = truth(P), pattern(P, truth(P))
    radius = certified_basin(P)
    assert radius > 0
    step = 1 / curvatures(P)[-1]  # f does not rise in either half of a step
    for y in random_points(P, radius, 5, seed):
        c = np.sqrt(np.linalg.norm(y[:2]) / np.linalg.norm(y[2:]))
        y = np.concatenate([y[:2] / c, y[2:] * c])
        for _ in range(300):
            y = one_step(P, y, step)
            assert pattern(P, y) == units
        assert np.linalg.norm(y - x) < radius * np.linalg.norm(x)


# --- The rate of Algorithm 1 ----------------------------------------------------------------


@pytest.mark.parametrize("shape", ["one-layer", "two-layer", "deep", "contracting"])
def test_the_iteration_matrix_is_the_derivative_of_a_step(shape):
    P = problem(shape)
    x, step = truth(P), step_size(P)
    t = 1e-3 * certified_region(P) * np.linalg.norm(x)
    columns = [
        (one_step(P, x + t * e, step) - one_step(P, x - t * e, step)) / (2 * t)
        for e in np.eye(x.size)
    ]
    np.testing.assert_allclose(np.array(columns).T, iteration_matrix(P, step), atol=1e-5)
    np.testing.assert_allclose(one_step(P, x, step), x, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.25, 0.5, 1.0, 1.5])
def test_a_problem_with_the_expected_hessian_has_the_expected_rates(kappa):
    """Where all units are active and both bases orthonormal, J^T J = [I, h0 m0^T; m0 h0^T, I]."""
    rows = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    G1 = ReluNetwork([np.repeat(rows, 2, axis=0)])
    G2 = ReluNetwork([np.tile(rows, (2, 1))])
    P = Demodulation(G1, G2, np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(curvatures(P), [1, 1, 2], rtol=1e-12)
    rates = np.sort(np.linalg.eigvals(iteration_matrix(P, kappa)))
    expected = np.sort([0, 1 - kappa, 1 - kappa, (1 - kappa) ** 2])
    np.testing.assert_allclose(rates, expected, atol=1e-7)
    assert predicted_rate(P, kappa) == pytest.approx(np.abs(expected).max(), abs=1e-7)


def measured_rate(P: Demodulation, kappa: float, grows: bool) -> float:
    """From random points very near the truth, late in a trace that stays in the linear region."""
    start = random_points(P, (1e-7 if grows else 1e-2) * certified_region(P), 4)
    solution = alternating_descent(
        P,
        start[:, : P.n],
        start[:, P.n :],
        step=step_size(P, kappa),
        max_steps=200 if grows else 20_000,
        engine="reference",
        stopping=Stopping(loss_rtol=1e-27, stall_window=10**6),
        trace=True,
    )
    assert solution.trace is not None
    first, unit = float(np.max(solution.trace.loss[0])), P.loss_at_zero
    window = (1e4 * first, 1e10 * first) if grows else (1e-26 * unit, 1e-7 * first)
    return float(np.median(local_rate(solution.trace, window)))


@pytest.mark.parametrize("kappa", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    ("widths1", "widths2"),
    [
        ((1, 20), (1, 20)),
        ((3, 100), (2, 100)),
        ((2, 20, 150), (3, 30, 150)),
        ((5, 40, 400), (5, 40, 400)),
        ((2, 15, 40, 200), (4, 200)),
    ],
)
def test_measured_iterates_shrink_at_the_predicted_rate(widths1, widths2, kappa):
    P = identifiable(widths1, widths2, 5)
    predicted = predicted_rate(P, step_size(P, kappa))
    measured = measured_rate(P, kappa, grows=predicted > 1)
    assert np.log(measured) == pytest.approx(np.log(predicted), rel=0.05)


# --- Sampled radii --------------------------------------------------------------------------


def test_sampled_radii_separate_starts_that_come_back_from_starts_that_do_not():
    P = identifiable((2, 12, 80), (2, 15, 80), 1)
    assert predicted_rate(P, step_size(P)) < 1
    radii = sampled_radii(P, np.random.default_rng(3), 12, farthest=2.0, engine="reference")
    assert radii.shape == (12,)
    assert (radii >= certified_basin(P)).all()
    assert (radii <= 2).all()
    again = sampled_radii(P, np.random.default_rng(3), 12, farthest=2.0, engine="reference")
    assert np.array_equal(radii, again)

    e = np.random.default_rng(3).standard_normal((12, 4))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    x = truth(P)
    unit = np.linalg.norm(x) * e
    for radius, comes_back in ((radii, True), (radii + 2 / 2**8, False)):
        for y, r in zip(x + radius[:, None] * unit, radius, strict=True):
            if 0 < r <= 2:
                end = alternating_descent(P, y[:2], y[2:], stopping=Stopping(loss_rtol=1e-12))
                assert (P.neighbourhood(end.h, end.m)[0] < 1e-3) == comes_back
    assert (radii < 2).any()


def test_scalar_networks_come_back_until_the_sign_check_prefers_zero():
    """f = 3/2 (h m - 1)^2 for h, m > 0 and 3/2 for other signs, which is less once h m > 2."""
    ones = ReluNetwork([np.ones((3, 1))])
    P = Demodulation(ones, ones, np.ones(1), np.ones(1))
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    radii = sampled_radii(P, rng, 12, kappa=0.03, farthest=0.6, engine="reference")
    e1, e2 = np.sqrt(2) * (unit_vectors(same, 12, 2)).T
    # (1 + e1 r) (1 + e2 r) = 2
    borders = [
        min((r.real for r in np.roots([x * y, x + y, -1]) if r.real > 0), default=np.inf)
        for x, y in zip(e1, e2, strict=True)
    ]
    np.testing.assert_allclose(radii, np.minimum(borders, 0.6), atol=0.6 / 2**8)
    assert 0 < np.sum(radii < 0.6) < 12


def test_sampled_radii_are_zero_where_the_step_is_too_long():
    P = identifiable((2, 12, 80), (2, 15, 80), 1)
    assert predicted_rate(P, step_size(P, 2.5)) > 1
    rng = np.random.default_rng(0)
    assert not sampled_radii(P, rng, 4, kappa=2.5, max_steps=500, engine="reference").any()


# --- All in one, and bad input --------------------------------------------------------------


def test_the_basin_collects_the_numbers_of_its_functions():
    P = identifiable((2, 12, 80), (2, 15, 80), 0)
    found = asdict(basin(P, 0.25, alpha=0.5))
    unit = 0.5 / (2**4 * 80) * np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    assert found == {
        "lowest": pytest.approx(curvatures(P)[0] / unit),
        "highest": pytest.approx(curvatures(P)[-1] / unit),
        "certified_region": certified_region(P),
        "certified_basin": certified_basin(P),
        "rate": predicted_rate(P, step_size(P, 0.25)),
    }


def test_noise_and_values_out_of_range_are_refused():
    P = problem("one-layer")
    noisy = Demodulation(P.G1, P.G2, P.h0, P.m0, noise=np.ones(P.ell))
    rng = np.random.default_rng(0)
    for call in (basin, curvatures, certified_basin, lambda P: sampled_radii(P, rng)):
        with pytest.raises(ValueError, match="noise"):
            call(noisy)
    with pytest.raises(ValueError, match="starts=0"):
        sampled_radii(P, rng, 0)
    with pytest.raises(ValueError, match="halvings=0"):
        sampled_radii(P, rng, halvings=0)
    with pytest.raises(ValueError, match="farthest=0"):
        sampled_radii(P, rng, farthest=0)
    with pytest.raises(ValueError, match="kappa"):
        basin(P, -1.0)
    dead = Demodulation(P.G1, ReluNetwork([np.zeros((8, 2))]), P.h0, P.m0)
    with pytest.raises(ValueError, match="y0 = 0"):
        basin(dead)
