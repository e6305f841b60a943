"""Closed forms: angle map, rho, Q, and the expected landscape."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.network import gaussian_network
from harness.problem import BRANCHES, Demodulation
from harness.theory import (
    Q,
    angle,
    angle_map,
    angles,
    expected_gradients,
    expected_loss,
    landscape_scale,
    rho,
    swap,
    truncation_alpha,
    xi_zeta,
)
from tests.helpers import EPS, angle_between, standard_error

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)
DEPTHS = list(itertools.product((1, 2, 3, 5), repeat=2))
depths = pytest.mark.parametrize(("d", "s"), DEPTHS)


def naive_angle_map(theta: float) -> float:
    cosine = ((math.pi - theta) * math.cos(theta) + math.sin(theta)) / math.pi
    return math.acos(min(1.0, max(-1.0, cosine)))


def naive_angles(theta: float, depth: int) -> list[float]:
    """theta_0, ..., theta_depth."""
    thetas = [theta]
    for _ in range(depth):
        thetas.append(naive_angle_map(thetas[-1]))
    return thetas


def naive_xi_zeta(theta: float, depth: int) -> tuple[float, float]:
    thetas = naive_angles(theta, depth)
    keep = [(math.pi - t) / math.pi for t in thetas]
    zeta = sum(math.sin(thetas[i]) / math.pi * math.prod(keep[i + 1 : depth]) for i in range(depth))
    return math.prod(keep[:depth]), zeta


def naive_Q(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Q from an orthonormal basis whose first two vectors span x and y."""
    theta = angle_between(x, y)
    first = x / np.linalg.norm(x)
    second = y / np.linalg.norm(y) - math.cos(theta) * first
    basis = np.stack([first, second / np.linalg.norm(second)], axis=1)
    c, s = math.cos(theta), math.sin(theta)
    M = basis @ np.array([[c, s], [s, -c]]) @ basis.T
    return (math.pi - theta) / (2 * math.pi) * np.eye(len(x)) + s / (2 * math.pi) * M


def random_pairs(seed: int, n: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, n]).normal(size=(count, 2, n))


# --- angles ---------------------------------------------------------------------------------


def test_angle_equals_the_textbook_formula_and_does_not_see_lengths():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        X, Y = rng.normal(size=(2, 20, n))
        expected = [angle_between(x, y) for x, y in zip(X, Y, strict=True)]
        np.testing.assert_allclose(angle(X, Y), expected, rtol=1e-10)
        np.testing.assert_allclose(angle(1e-100 * X, 1e100 * Y), expected, rtol=1e-10)


@pytest.mark.parametrize("t", [1e-14, 1e-9, 1e-3, 1.0])
def test_angle_is_accurate_at_zero_and_at_pi(t):
    # rounding of cos t and sin t moves the direction by about one part in 10^16
    assert angle([1.0, 0.0], [math.cos(t), math.sin(t)]) == pytest.approx(t, rel=1e-12)
    turned = angle([1.0, 0.0], [-math.cos(t), math.sin(t)])
    assert turned == pytest.approx(math.pi - t, rel=2e-16)


def test_angle_with_itself_its_opposite_and_zero():
    x = np.array([3.0, -4.0, 12.0])
    assert angle(x, x) == 0.0
    assert angle(x, -x) == math.pi
    assert angle(x, np.zeros(3)) == math.pi / 2
    assert angle([2.0], [-7.0]) == math.pi


def test_angle_broadcasts_over_leading_axes():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(4, 1, 3)), rng.normal(size=(5, 3))
    assert angle(X, Y).shape == (4, 5)
    assert angle(X, Y)[2, 3] == pytest.approx(angle_between(X[2, 0], Y[3]), rel=1e-12)


@PROPERTY
@given(theta=st.floats(0, math.pi))
def test_angle_map_equals_its_formula(theta):
    # cosines, since the arccos of the formula loses half of its digits at 0
    cosine = ((math.pi - theta) * math.cos(theta) + math.sin(theta)) / math.pi
    assert math.cos(angle_map(theta)) == pytest.approx(cosine, abs=1e-15)


@PROPERTY
@given(theta=st.floats(1e-100, math.pi))
def test_angle_map_shrinks_angles_and_stays_below_a_right_angle(theta):
    image = angle_map(theta)
    assert 0 < image <= math.pi / 2 * (1 + 1e-15)
    assert image <= theta * (1 + 1e-8)


def test_angle_map_at_its_ends_and_in_batches():
    assert angle_map(0.0) == 0.0
    assert angle_map(math.pi) == pytest.approx(math.pi / 2, abs=1e-15)
    thetas = np.linspace(0, math.pi, 12).reshape(3, 4)
    assert angle_map(thetas).shape == (3, 4)
    assert (np.diff(angle_map(thetas).ravel()) > 0).all()


def test_angle_map_against_high_precision():
    mp = pytest.importorskip("mpmath")
    with mp.workdps(60):
        for theta in (*10.0 ** -np.arange(1, 14), 3e-8, 1.2e-8, 1.0, 2.0, 3.0, 3.1415):
            t = mp.mpf(float(theta))
            exact = mp.acos(((mp.pi - t) * mp.cos(t) + mp.sin(t)) / mp.pi)
            assert abs(angle_map(theta) - exact) <= 4e-16 * exact + 4e-17
            assert abs(angle_map(theta) - exact) <= 1e-8 * exact  # not the 100% of arccos


@pytest.mark.parametrize("theta", [0.0, 0.4, 1.5, 2.8, math.pi])
def test_angle_map_is_the_angle_of_relu_images_in_the_mean(theta):
    rng = np.random.default_rng(2)
    x, y = np.array([1.0, 0.0]), np.array([math.cos(theta), math.sin(theta)])
    W = rng.normal(size=(200_000, 2))
    products = 2 * np.maximum(W @ x, 0) * np.maximum(W @ y, 0)
    slack = 5 * standard_error(products) + 1e-15
    assert abs(products.mean() - math.cos(angle_map(theta))) <= slack


def test_angles_iterate_the_map():
    np.testing.assert_allclose(angles(2.5, 6), naive_angles(2.5, 6), rtol=1e-12)
    assert angles(np.zeros((4, 3)), 2).shape == (3, 4, 3)


# --- xi, zeta, rho --------------------------------------------------------------------------


@PROPERTY
@given(theta=st.floats(0, math.pi), depth=st.integers(1, 12))
def test_xi_and_zeta_equal_naive_loops_and_satisfy_the_identity(theta, depth):
    xi, zeta = xi_zeta(theta, depth)
    naive_xi, naive_zeta = naive_xi_zeta(theta, depth)
    assert xi == pytest.approx(naive_xi, abs=1e-7)  # the naive angles lose digits near 0 ...
    assert zeta == pytest.approx(naive_zeta, abs=1e-7)
    if theta > 0.1:
        assert xi == pytest.approx(naive_xi, abs=1e-13)  # ... and only there
        assert zeta == pytest.approx(naive_zeta, abs=1e-13)
    assert xi * math.cos(theta) + zeta == pytest.approx(
        math.cos(angles(theta, depth)[-1]), abs=1e-14
    )


@pytest.mark.parametrize(
    ("depth", "printed"),
    [
        (1, 0.0),
        (2, 0.31831),
        (3, 0.49373),
        (4, 0.60483),
        (5, 0.68095),
        (10, 0.85481),
        (100, 0.99636),
    ],
)
def test_rho_table(depth, printed):
    assert abs(rho(depth) - printed) <= 0.5e-5


def test_rho_is_cosine_of_the_iterated_map_of_pi():
    for depth in range(1, 101):
        naive = math.cos(naive_angles(math.pi, depth)[-1])
        assert rho(depth) == pytest.approx(naive, abs=1e-13)
    assert rho(1) == 0.0
    assert rho(2) == pytest.approx(1 / math.pi, rel=1e-15)


def test_rho_against_high_precision():
    mp = pytest.importorskip("mpmath")
    with mp.workdps(50):
        theta = +mp.pi
        for depth in range(1, 101):
            theta = mp.acos(((mp.pi - theta) * mp.cos(theta) + mp.sin(theta)) / mp.pi)
            assert abs(rho(depth) - mp.cos(theta)) <= 1e-14


def test_rho_increases_towards_one():
    values = [rho(depth) for depth in range(1, 200)]
    assert (np.diff(values) > 0).all()
    assert 0.99 < values[-1] < 1


@pytest.mark.parametrize("call", [lambda: rho(0), lambda: angles(1.0, -1), lambda: xi_zeta(1.0, 0)])
def test_depth_below_one_is_refused(call):
    with pytest.raises(ValueError, match=r"depth=(0|-1): must be >= 1"):
        call()


# --- M and Q --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 6])
def test_swap_exchanges_the_directions_and_kills_their_complement(n):
    for x, y in random_pairs(3, n, 10):
        M = swap(x, y)
        xhat, yhat = x / np.linalg.norm(x), y / np.linalg.norm(y)
        np.testing.assert_allclose(M @ xhat, yhat, atol=1e-14)
        np.testing.assert_allclose(M @ yhat, xhat, atol=1e-14)
        np.testing.assert_allclose(M, M.T, atol=1e-15)
        np.testing.assert_allclose(np.linalg.eigvalsh(M), [-1] + [0] * (n - 2) + [1], atol=1e-13)
        complement = np.linalg.svd(np.stack([xhat, yhat]))[2][2:]
        np.testing.assert_allclose(M @ complement.T, 0, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_swap_of_parallel_and_opposite_vectors(n):
    x = np.random.default_rng([4, n]).normal(size=n)
    projection = np.outer(x, x) / (x @ x)
    np.testing.assert_allclose(swap(x, 3.7 * x), projection, atol=1e-15)
    np.testing.assert_allclose(swap(x, -0.3 * x), -projection, atol=1e-15)


@pytest.mark.parametrize("t", [1e-10, 1e-7, 1e-3])
def test_swap_of_nearly_parallel_and_nearly_opposite_vectors_still_has_both_signs(t):
    x, y = np.array([1.0, 0.0, 0.0]), np.array([math.cos(t), math.sin(t), 0.0])
    for sign in (1, -1):
        M = swap(x, sign * y)
        # rounding of unit vectors turns their difference, of length t, by EPS/t at the most
        slack = min(t, 4 * EPS / t)
        np.testing.assert_allclose(np.linalg.eigvalsh(M), [-1, 0, 1], atol=slack)
        np.testing.assert_allclose(M @ x, sign * y, rtol=0, atol=slack)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_Q_equals_the_textbook_construction(n):
    for x, y in random_pairs(5, n, 20):
        np.testing.assert_allclose(Q(x, y), naive_Q(x, y), atol=1e-13)


@PROPERTY
@given(n=st.integers(1, 6), seed=st.integers(0, 2**20), exponent=st.integers(-60, 60))
def test_Q_is_symmetric_both_ways_positive_and_free_of_lengths(n, seed, exponent):
    x, y = random_pairs(seed, n, 1)[0]
    matrix = Q(x, y)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(Q(y, x), matrix, atol=1e-15)
    np.testing.assert_allclose(Q(10.0**exponent * x, y), matrix, atol=1e-14)
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues[0] >= -1e-15
    assert eigenvalues[-1] <= 0.5 + 1e-15


@pytest.mark.parametrize("n", [1, 2, 5])
def test_Q_of_equal_directions_is_half_the_identity_and_of_opposite_ones_zero(n):
    for x, _ in random_pairs(6, n, 10):
        np.testing.assert_allclose(Q(x, 2.3 * x), np.eye(n) / 2, atol=1e-15)
        np.testing.assert_allclose(Q(x, -1.7 * x), 0, atol=1e-15)


@pytest.mark.parametrize("t", [1e-15, 1e-13, 1e-10, 1e-6])
def test_Q_is_continuous_at_equal_and_at_opposite_directions(t):
    x, y = np.array([1.0, 0.0, 0.0]), np.array([math.cos(t), math.sin(t), 0.0])
    # I/2 - Q is of order theta/pi in norm (eigenvalues (theta +- sin theta)/(2 pi))
    assert np.linalg.norm(Q(x, y) - np.eye(3) / 2, 2) <= t / math.pi + 1e-15
    assert np.linalg.norm(Q(x, -y), 2) <= t / math.pi + 1e-15


@pytest.mark.parametrize("n", [1, 2, 4])
def test_Q_is_the_mean_over_rows_active_at_both_points(n):
    W = np.random.default_rng([7, n]).normal(size=(200_000, n))
    for x, y in random_pairs(8, n, 3):
        active = ((W @ x > 0) & (W @ y > 0)).astype(float)
        outer = active[:, None, None] * W[:, :, None] * W[:, None, :]
        deviation = np.abs(outer.mean(axis=0) - Q(x, y))
        assert (deviation <= 5 * standard_error(outer) + 1e-15).all()


@pytest.mark.parametrize("k", [1, 2])
def test_alpha_Q_is_the_mean_over_truncated_rows(k):
    ell = 500_000
    W = gaussian_network(np.random.default_rng([9, k]), (k, ell)).weights[0]
    x, y = (np.array([1.0]), np.array([2.0])) if k == 1 else random_pairs(10, k, 1)[0]
    active = ((W @ x > 0) & (W @ y > 0)).astype(float)
    outer = ell * active[:, None, None] * W[:, :, None] * W[:, None, :]
    deviation = np.abs(outer.mean(axis=0) - truncation_alpha(k) * Q(x, y))
    assert (deviation <= 5 * standard_error(outer)).all()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros(2), np.ones(2)),
        (np.ones(2), np.zeros(2)),
        (np.ones(2), np.ones(3)),
        (np.ones((2, 2)), np.ones((2, 2))),
    ],
)
def test_Q_refuses_zero_vectors_and_other_shapes(x, y):
    with pytest.raises(ValueError, match="two nonzero vectors"):
        Q(x, y)


def test_truncation_alpha_equals_its_elementary_forms():
    # P(chi2_3 <= 9) and P(chi2_4 <= 18)
    one = math.erf(3 / math.sqrt(2)) - math.sqrt(2 / math.pi) * 3 * math.exp(-4.5)
    two = 1 - math.exp(-9) * (1 + 9)
    assert truncation_alpha(1) == pytest.approx(one, rel=1e-13)
    assert truncation_alpha(2) == pytest.approx(two, rel=1e-13)
    assert 1 - truncation_alpha(5) == pytest.approx(1.4e-7, rel=0.05)
    with pytest.raises(ValueError, match="k=0"):
        truncation_alpha(0)


# --- the expected landscape -----------------------------------------------------------------


def landscape(d: int, s: int, seed: int = 0, n: int = 3, p: int = 4):
    rng = np.random.default_rng([seed, d, s])
    h, h0 = rng.normal(size=(2, n))
    m, m0 = rng.normal(size=(2, p))
    return h, m, h0, m0, {"d": d, "s": s, "ell": 50, "alpha": 0.9}


def gradient_scales(h, m, h0, m0, model) -> tuple[float, float]:
    """C max(A, B) ||m|| and c max(A, B) ||h||."""
    c = model["alpha"] / (2 ** (model["d"] + model["s"]) * model["ell"])
    A = np.linalg.norm(h) * np.linalg.norm(m)
    B = np.linalg.norm(h0) * np.linalg.norm(m0)
    return c * max(A, B) * np.linalg.norm(m), c * max(A, B) * np.linalg.norm(h)


def hyperbola_points(d: int, s: int, h0: np.ndarray, m0: np.ndarray):
    """Points of the branches that are not degenerate, at several scales."""
    for i, j in BRANCHES:
        if (i == -1 and d == 1) or (j == -1 and s == 1):
            continue
        rho_d = math.cos(naive_angles(math.pi, d)[-1])
        rho_s = math.cos(naive_angles(math.pi, s)[-1])
        for scale in (0.01, 1.0, 7.0):
            yield scale * (h0 if i == 1 else -rho_d * h0), (m0 if j == 1 else -rho_s * m0) / scale


@depths
def test_expected_loss_and_gradients_equal_naive_formulas(d, s):
    h, m, h0, m0, model = landscape(d, s, seed=1)
    c = 0.9 / (2 ** (d + s) * 50)
    assert landscape_scale(d, s, 50, 0.9) == pytest.approx(c, rel=1e-15)
    theta, phi = angle_between(h, h0), angle_between(m, m0)
    A, B = np.linalg.norm(h) * np.linalg.norm(m), np.linalg.norm(h0) * np.linalg.norm(m0)
    cosines = math.cos(naive_angles(theta, d)[-1]) * math.cos(naive_angles(phi, s)[-1])
    loss = c / 2 * (A**2 + B**2 - 2 * A * B * cosines)
    assert expected_loss(h, m, h0, m0, **model) == pytest.approx(loss, rel=1e-12)

    xi, zeta = naive_xi_zeta(theta, d)
    h_tilde = xi * h0 + zeta * np.linalg.norm(h0) * h / np.linalg.norm(h)
    xi, zeta = naive_xi_zeta(phi, s)
    m_tilde = xi * m0 + zeta * np.linalg.norm(m0) * m / np.linalg.norm(m)
    t1, t2 = expected_gradients(h, m, h0, m0, **model)
    np.testing.assert_allclose(t1, c * ((m @ m) * h - (m @ m_tilde) * h_tilde), rtol=1e-10)
    np.testing.assert_allclose(t2, c * ((h @ h) * m - (h @ h_tilde) * m_tilde), rtol=1e-10)


def test_expected_landscape_broadcasts():
    _, _, h0, m0, model = landscape(2, 3)
    rng = np.random.default_rng(11)
    H, M = rng.normal(size=(4, 1, 3)), rng.normal(size=(5, 4))
    loss, (t1, t2) = (f(H, M, h0, m0, **model) for f in (expected_loss, expected_gradients))
    assert loss.shape == (4, 5)
    assert (t1.shape, t2.shape) == ((4, 5, 3), (4, 5, 4))
    one = expected_gradients(H[2, 0], M[3], h0, m0, **model)
    assert loss[2, 3] == pytest.approx(expected_loss(H[2, 0], M[3], h0, m0, **model), rel=1e-13)
    np.testing.assert_allclose(t1[2, 3], one[0], rtol=1e-12)
    np.testing.assert_allclose(t2[2, 3], one[1], rtol=1e-12)


@depths
def test_expected_gradients_are_the_gradient_of_expected_loss(d, s):
    """Exact at every depth: sin(theta_d) d theta_d / d theta_0 = xi_d sin(theta_0)."""
    h, m, h0, m0, model = landscape(d, s, seed=2)
    t1, t2 = expected_gradients(h, m, h0, m0, **model)
    scales = gradient_scales(h, m, h0, m0, model)
    step = 1e-5

    def f(x, y):
        return expected_loss(x, y, h0, m0, **model)

    slope_h = [(f(h + step * e, m) - f(h - step * e, m)) / (2 * step) for e in np.eye(3)]
    slope_m = [(f(h, m + step * e) - f(h, m - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(t1, slope_h, atol=1e-8 * scales[0])
    np.testing.assert_allclose(t2, slope_m, atol=1e-8 * scales[1])


@depths
def test_expected_gradients_vanish_on_the_four_hyperbolas(d, s):
    _, _, h0, m0, model = landscape(d, s, seed=3)
    count = 0
    for h, m in hyperbola_points(d, s, h0, m0):
        t1, t2 = expected_gradients(h, m, h0, m0, **model)
        scale1, scale2 = gradient_scales(h, m, h0, m0, model)
        assert np.linalg.norm(t1) <= 1e-13 * scale1
        assert np.linalg.norm(t2) <= 1e-13 * scale2
        count += 1
    assert count == 3 * (1 + (d > 1)) * (1 + (s > 1))


@depths
def test_expected_gradients_do_not_vanish_at_generic_points(d, s):
    h, m, h0, m0, model = landscape(d, s, seed=4)
    t1, t2 = expected_gradients(h, m, h0, m0, **model)
    scale1, scale2 = gradient_scales(h, m, h0, m0, model)
    assert np.linalg.norm(t1) >= 1e-3 * scale1
    assert np.linalg.norm(t2) >= 1e-3 * scale2


@depths
def test_on_K_the_expected_loss_is_constant_and_the_factor_gradients_are_orthogonal(d, s):
    """At h = 0, t2 = 0 but t1 is a multiple of h0 by the convention for the angle of 0."""
    h, m, h0, m0, model = landscape(d, s, seed=5)
    unit = landscape_scale(d, s, 50, 0.9) * (h0 @ h0) * (m0 @ m0) / 2
    zero_h, zero_m = np.zeros_like(h), np.zeros_like(m)
    for x, y in ((zero_h, m), (h, zero_m), (zero_h, zero_m)):
        assert expected_loss(x, y, h0, m0, **model) == pytest.approx(unit, rel=1e-13)
        t1, t2 = expected_gradients(x, y, h0, m0, **model)
        assert x @ t1 == 0.0
        assert y @ t2 == 0.0
    assert not expected_gradients(zero_h, m, h0, m0, **model)[1].any()
    assert not expected_gradients(h, zero_m, h0, m0, **model)[0].any()
    assert not np.concatenate(expected_gradients(zero_h, zero_m, h0, m0, **model)).any()


def test_expected_loss_on_the_hyperbolas_is_one_minus_the_squared_cosines():
    """1 - cos^2 theta_d cos^2 phi_s of the unit: 0, .899, .899, .990 at d = s = 2."""
    _, _, h0, m0, model = landscape(2, 2, seed=6)
    unit = landscape_scale(2, 2, 50, 0.9) * (h0 @ h0) * (m0 @ m0) / 2
    one = 1 - 1 / math.pi**2
    expected = np.repeat([0.0, one, one, 1 - 1 / math.pi**4], 3)
    points = list(hyperbola_points(2, 2, h0, m0))
    ratios = [expected_loss(h, m, h0, m0, **model) / unit for h, m in points]
    np.testing.assert_allclose(ratios, expected, atol=1e-13)


def test_expected_loss_is_never_negative_beyond_rounding_and_free_of_the_scale_split():
    h, m, h0, m0, model = landscape(3, 2, seed=7)
    loss = expected_loss(h, m, h0, m0, **model)
    assert loss > 0
    assert expected_loss(3 * h, m / 3, h0, m0, **model) == pytest.approx(loss, rel=1e-13)


# --- Monte Carlo: the mean over networks ----------------------------------------------------


def points_near_and_far(n: int, p: int, seed: int):
    """(h, m) away from the truth, partly turned round, and the truth (h0, m0)."""
    rng = np.random.default_rng([seed, n, p])
    h0, m0 = rng.normal(size=n), rng.normal(size=p)
    yield rng.normal(size=n), rng.normal(size=p), h0, m0
    yield -0.8 * h0, 1.3 * m0, h0, m0
    yield 0.7 * h0, m0 + 0.1 * rng.normal(size=p), h0, m0


@pytest.mark.parametrize("last_layer", ["gaussian", "truncated"])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (1, 2), (2, 3)])
def test_one_layer_closed_forms_are_exact_means_over_rows(n, p, last_layer):
    """Rows are independent, so one network with many rows is many samples of one row."""
    ell = 400_000
    rng = np.random.default_rng([12, n, p])
    G1, G2 = (
        gaussian_network(rng, (n, ell), last_layer),
        gaussian_network(rng, (p, ell), last_layer),
    )
    alpha = truncation_alpha(n) * truncation_alpha(p) if last_layer == "truncated" else 1.0
    model = {"d": 1, "s": 1, "ell": ell, "alpha": alpha}
    W, V = G1.weights[0], G2.weights[0]
    for h, m, h0, m0 in points_near_and_far(n, p, 13):
        P = Demodulation(G1, G2, h0, m0)
        a, b = np.maximum(W @ h, 0), np.maximum(V @ m, 0)
        residual = a * b - np.maximum(W @ h0, 0) * np.maximum(V @ m0, 0)
        rows = {
            "loss": ell * residual[:, None] ** 2 / 2,
            "grad_h": ell * (residual * b * (a > 0))[:, None] * W,
            "grad_m": ell * (residual * a * (b > 0))[:, None] * V,
        }
        measured = dict(zip(("grad_h", "grad_m"), P.gradients(h, m), strict=True))
        measured["loss"] = np.atleast_1d(P.loss(h, m))
        closed = dict(
            zip(("grad_h", "grad_m"), expected_gradients(h, m, h0, m0, **model), strict=True)
        )
        closed["loss"] = np.atleast_1d(expected_loss(h, m, h0, m0, **model))
        for key, samples in rows.items():
            assert (np.abs(measured[key] - closed[key]) <= 5 * standard_error(samples)).all(), key


def test_one_layer_mean_tells_alpha_from_one():
    """The factor of the truncated rows is visible at k = 1, by 5 standard errors and more."""
    ell = 1_000_000
    rng = np.random.default_rng(14)
    G1, G2 = (gaussian_network(rng, (1, ell), "truncated") for _ in range(2))
    P = Demodulation(G1, G2, [1.0], [1.0])
    samples = ell * (G1([1.0]) * G2([-1.0]) - P.y0) ** 2 / 2
    error = standard_error(samples)

    def model(alpha):
        return expected_loss([1.0], [-1.0], [1.0], [1.0], d=1, s=1, ell=ell, alpha=alpha)

    assert abs(P.loss([1.0], [-1.0]) - model(truncation_alpha(1) ** 2)) <= 5 * error
    assert abs(P.loss([1.0], [-1.0]) - model(1.0)) > 5 * error
    assert abs(P.loss([1.0], [-1.0]) - model(truncation_alpha(1))) > 3 * error


@pytest.mark.parametrize("last_layer", ["gaussian", "truncated"])
def test_one_layer_closed_forms_are_exact_means_over_small_networks(last_layer):
    n, p, ell, count = 2, 1, 5, 4000
    rng = np.random.default_rng(15)
    alpha = truncation_alpha(n) * truncation_alpha(p) if last_layer == "truncated" else 1.0
    model = {"d": 1, "s": 1, "ell": ell, "alpha": alpha}
    h, m, h0, m0 = np.array([1.0, 0.3]), np.array([0.8]), np.array([-0.5, 1.0]), np.array([1.0])
    losses, slopes = np.empty(count), np.empty((count, n + p))
    for i in range(count):
        G1 = gaussian_network(rng, (n, ell), last_layer)
        G2 = gaussian_network(rng, (p, ell), last_layer)
        P = Demodulation(G1, G2, h0, m0)
        losses[i], slopes[i] = P.loss(h, m), np.concatenate(P.gradients(h, m))
    loss, gradients = (
        expected_loss(h, m, h0, m0, **model),
        expected_gradients(h, m, h0, m0, **model),
    )
    assert abs(losses.mean() - loss) <= 5 * standard_error(losses)
    deviation = np.abs(slopes.mean(axis=0) - np.concatenate(gradients))
    assert (deviation <= 5 * standard_error(slopes)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("d", "s"), [(2, 2), (1, 2), (3, 1)])
def test_deep_wide_networks_have_the_expected_loss_and_gradients(d, s):
    """Inner layers of width 300 leave a bias of order 1/300, below the standard errors."""
    n, p, inner, ell, count = 2, 3, 300, 4000, 16
    rng = np.random.default_rng([16, d, s])
    model = {"d": d, "s": s, "ell": ell, "alpha": 1.0}
    cases = list(points_near_and_far(n, p, 17))
    measured = np.empty((count, len(cases), 1 + n + p))
    for i in range(count):
        G1 = gaussian_network(rng, (n, *[inner] * (d - 1), ell))
        G2 = gaussian_network(rng, (p, *[inner] * (s - 1), ell))
        for j, (h, m, h0, m0) in enumerate(cases):
            P = Demodulation(G1, G2, h0, m0)
            measured[i, j] = np.concatenate([[P.loss(h, m)], *P.gradients(h, m)])
    error = standard_error(measured)
    for j, (h, m, h0, m0) in enumerate(cases):
        loss = expected_loss(h, m, h0, m0, **model)
        t1, t2 = expected_gradients(h, m, h0, m0, **model)
        deviation = np.abs(measured[:, j].mean(axis=0) - np.concatenate([[loss], t1, t2]))
        assert (deviation <= 5 * error[j]).all()
        # and the standard errors are small enough for this to mean something
        scales = gradient_scales(h, m, h0, m0, model)
        assert np.linalg.norm(error[j, 1 : 1 + n]) <= 0.1 * scales[0]
        assert np.linalg.norm(error[j, 1 + n :]) <= 0.1 * scales[1]
