"""The search for the worst deviation of a gradient against a dense one, and its slopes."""

from __future__ import annotations

import numpy as np
import pytest

from harness.landscape import concentration
from harness.landscape.concentration import SCALES, Field, _xi_slope, relative_deviation
from harness.network import ReluNetwork, gaussian_network
from harness.problem import Demodulation
from harness.theory import angle, angles, expected_gradients, landscape_scale, xi_zeta
from tests.helpers import SHAPES, Array, naive_Lambda, naive_pattern, network, problem

every_shape = pytest.mark.parametrize("shape", SHAPES)
ALPHA = 0.9


# --- Slow references ------------------------------------------------------------------------


def naive_deviations(P: Demodulation, h: Array, m: Array, alpha: float) -> tuple[float, float]:
    """Both relative deviations at one point, from the definitions."""
    L1, L2 = naive_Lambda(P.G1.weights, h.tolist()), naive_Lambda(P.G2.weights, m.tolist())
    a, b = L1 @ h, L2 @ m
    g1, g2 = L1.T @ ((a * b - P.y0) * b), L2.T @ ((a * b - P.y0) * a)
    shape = {"d": P.d, "s": P.s, "ell": P.ell}
    t1, t2 = expected_gradients(h, m, P.h0, P.m0, **shape, alpha=alpha)
    A, B = (np.linalg.norm(x) * np.linalg.norm(y) for x, y in ((h, m), (P.h0, P.m0)))
    c = alpha / (2 ** (P.d + P.s) * P.ell)
    scale = c * max(A, B)
    return (
        float(np.linalg.norm(g1 - t1) / (scale * np.linalg.norm(m))),
        float(np.linalg.norm(g2 - t2) / (scale * np.linalg.norm(h))),
    )


def dense(P: Demodulation, count: int) -> float:
    """Largest deviation of g1 over count^2 pairs of angles at r = 0, 1, inf, for n = p = 2."""
    B, c = np.linalg.norm(P.h0) * np.linalg.norm(P.m0), landscape_scale(P.d, P.s, P.ell)
    turn = 2 * np.pi * np.arange(count) / count
    U = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    a, b, L = P.G1(U), P.G2(U), P.G1.Lambda(U)
    xi, zeta = xi_zeta(angle(U, P.h0), P.d)
    tilde = xi[:, None] * P.h0 / np.linalg.norm(P.h0) + zeta[:, None] * U
    cosine = np.cos(angles(angle(U, P.m0), P.s)[-1])
    squares = np.zeros((3, count, count))
    for k in range(2):
        X = (L[:, :, k] * a) @ (b * b).T / c - U[:, k, None]
        Y = (L[:, :, k] * P.y0 / B) @ b.T / c - tilde[:, k, None] * cosine
        squares += np.stack([X, X - Y, Y]) ** 2
    return float(np.sqrt(squares.max()))


def random_pair(P: Demodulation, rng: np.random.Generator) -> tuple[Array, Array]:
    u, v = rng.normal(size=P.n), rng.normal(size=P.p)
    return u / np.linalg.norm(u), v / np.linalg.norm(v)


# --- The deviation and its slopes -----------------------------------------------------------


@every_shape
def test_the_deviation_of_a_point_is_that_of_the_definitions(shape):
    P, rng = problem(shape), np.random.default_rng(0)
    for scale in (0.1, 1.0, 3.0):
        h, m = rng.normal(size=(5, P.n)) * scale, rng.normal(size=(5, P.p))
        expected = [naive_deviations(P, x, y, ALPHA)[0] for x, y in zip(h, m, strict=True)]
        np.testing.assert_allclose(relative_deviation(P, h, m, alpha=ALPHA), expected, rtol=1e-10)


@every_shape
def test_over_the_scale_the_deviation_is_largest_at_zero_one_or_infinity(shape):
    P, rng = problem(shape), np.random.default_rng(1)
    field = Field(P, ALPHA)
    B = np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    for _ in range(20):
        u, v = random_pair(P, rng)
        ends = np.linalg.norm(field.deviation(u, v, np.array(SCALES)), axis=1)
        r = np.concatenate([[1e-11, 1.0, 1e11], np.geomspace(1e-3, 1e3, 101)])[:, None] * B
        values = relative_deviation(P, np.sqrt(r) * u, np.sqrt(r) * v, alpha=ALPHA)
        np.testing.assert_allclose(values[:3], ends, atol=1e-9 * (1 + ends.max()))
        assert values.max() <= ends.max() * (1 + 1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_slope_of_xi_is_that_of_differences(depth):
    theta = np.linspace(0.01, np.pi - 0.01, 50)
    t = 1e-6
    expected = (xi_zeta(theta + t, depth)[0] - xi_zeta(theta - t, depth)[0]) / (2 * t)
    np.testing.assert_allclose(_xi_slope(theta, depth), expected, atol=1e-8)
    assert np.isfinite(_xi_slope(np.array([0.0, np.pi]), depth)).all()


def on_sphere(x: Array, tangent: Array, t: float) -> Array:
    """The point at distance t from x along a geodesic with this velocity at x."""
    speed = np.linalg.norm(tangent)
    return x if speed == 0 else np.cos(t * speed) * x + np.sin(t * speed) * tangent / speed


@every_shape
@pytest.mark.parametrize("coefficients", [*SCALES, (0.7, 0.3)])
def test_slopes_have_a_taylor_remainder_of_second_order(shape, coefficients):
    """Along geodesics inside a linear region: the remainder falls by 4 as the step is halved."""
    P, rng = problem(shape), np.random.default_rng(2)
    field, weights = Field(P, ALPHA), np.array(coefficients)
    for _ in range(10):
        u, v = random_pair(P, rng)
        du, dv = rng.normal(size=P.n), rng.normal(size=P.p)
        du, dv = du - (du @ u) * u, dv - (dv @ v) * v
        steps = [2e-4, 1e-4]
        moved = [(on_sphere(u, du, t), on_sphere(v, dv, t)) for t in (0, *steps)]
        units = [
            (naive_pattern(P.G1.weights, x.tolist()), naive_pattern(P.G2.weights, y.tolist()))
            for x, y in moved
        ]
        if units[0] != units[1] or units[0] != units[2]:
            continue
        values = [0.5 * np.sum(field.deviation(x, y, weights) ** 2) for x, y in moved]
        slope_u, slope_v = field.slopes(u, v, weights)
        assert abs(slope_u @ u) + abs(slope_v @ v) <= 1e-9 * (1 + values[0])
        slope = slope_u @ du + slope_v @ dv
        first, second = (
            value - values[0] - t * slope for value, t in zip(values[1:], steps, strict=True)
        )
        if abs(second) > 1e-10 * (1 + values[0]):
            assert 3.5 < first / second < 4.5


# --- The search -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "widths", [(2, 8, 100), (2, 20, 200), (2, 40, 400), (2, 10, 20, 200), (2, 100)], ids=str
)
def test_the_search_finds_what_a_dense_one_finds_for_two_dimensions(widths):
    """Within a hundredth; the grid has points a few kinks apart, and may miss as much."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        G1, G2 = gaussian_network(rng, widths), gaussian_network(rng, (2, 20, widths[-1]))
        P = Demodulation(G1, G2, rng.normal(size=2), 3 * rng.normal(size=2))
        found = concentration(P, rng, 24, 60)
        exchanged = Demodulation(G2, G1, P.m0, P.h0)
        for lower, largest in (
            (found.grad_h.lower, dense(P, 1000)),
            (found.grad_m.lower, dense(exchanged, 1000)),
        ):
            assert 0.99 * largest <= lower <= 1.01 * largest


@pytest.mark.parametrize("shape", ["scalar", "one-layer", "mixed-depth", "two-layer", "deep"])
def test_the_search_is_never_below_a_thousand_samples(shape):
    P, rng = problem(shape), np.random.default_rng(3)
    found = concentration(P, rng, 16, 40, alpha=ALPHA)
    h, m = rng.normal(size=(1000, P.n)), rng.normal(size=(1000, P.p))
    r = np.linalg.norm(P.h0) * np.linalg.norm(P.m0) * 10 ** rng.uniform(-2, 2, size=(1000, 1))
    h *= np.sqrt(r) / np.linalg.norm(h, axis=1, keepdims=True)
    m *= np.sqrt(r) / np.linalg.norm(m, axis=1, keepdims=True)
    values = np.array([naive_deviations(P, x, y, ALPHA) for x, y in zip(h, m, strict=True)])
    assert found.grad_h.lower >= values[:, 0].max()
    assert found.grad_m.lower >= values[:, 1].max()


@every_shape
def test_the_witness_attains_the_lower_end_and_is_balanced(shape):
    P = problem(shape)
    found = concentration(P, np.random.default_rng(4), 4, 10, alpha=ALPHA)
    for k, deviation in enumerate((found.grad_h, found.grad_m)):
        assert deviation.h.shape == (P.n,)
        assert deviation.m.shape == (P.p,)
        value = naive_deviations(P, deviation.h, deviation.m, ALPHA)[k]
        assert value == pytest.approx(deviation.lower, rel=1e-9)
        norms = np.linalg.norm(deviation.h), np.linalg.norm(deviation.m)
        assert norms[0] == pytest.approx(norms[1])
        r = norms[0] * norms[1] / (np.linalg.norm(P.h0) * np.linalg.norm(P.m0))
        assert np.clip(deviation.r, 1e-12, 1e12) == pytest.approx(r)
        assert 0 <= deviation.agreement <= 1


def test_the_same_generator_gives_the_same_search():
    P = problem("two-layer")
    first, second = (concentration(P, np.random.default_rng(5), 4, 10) for _ in range(2))
    assert first.grad_h.lower == second.grad_h.lower
    assert np.array_equal(first.grad_m.h, second.grad_m.h)


def test_one_row_and_one_column_have_the_constant_of_hand():
    """G1 = relu(w h), G2 = relu(v m), c = 1/4: X = w^2 v^2 / c - 1 at u = v = 1, -+1 elsewhere."""
    P = Demodulation(ReluNetwork([[[2.0]]]), ReluNetwork([[[0.5]]]), np.ones(1), np.ones(1))
    found = concentration(P, np.random.default_rng(6))
    assert found.grad_h.lower == pytest.approx(3.0)
    assert found.grad_m.lower == pytest.approx(3.0)
    assert found.grad_h.r in (0.0, np.inf)
    assert found.grad_h.h[0] > 0


def test_a_dead_network_deviates_by_all_of_the_expected_gradient():
    dead = ReluNetwork([np.zeros((9, 2))])
    P = Demodulation(dead, network(0, (3, 9)), np.ones(2), np.ones(3))
    found = concentration(P, np.random.default_rng(7), 8, 20)
    assert found.grad_h.lower == pytest.approx(1.0, abs=1e-9)
    assert found.grad_m.lower == pytest.approx(1.0, abs=1e-9)


def test_wider_networks_deviate_less():
    values = []
    for width in (50, 200, 800):
        rng = np.random.default_rng(width)
        P = Demodulation(network(width, (2, width)), network(width + 1, (2, width)), *np.eye(2))
        values.append(concentration(P, rng, 8, 40).grad_h.lower)
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.6


def test_values_out_of_range_are_refused():
    P, rng = problem("one-layer"), np.random.default_rng(0)
    with pytest.raises(ValueError, match="starts=0"):
        concentration(P, rng, 0)
    with pytest.raises(ValueError, match="steps=0"):
        concentration(P, rng, steps=0)
    with pytest.raises(ValueError, match="must be nonzero"):
        concentration(Demodulation(P.G1, P.G2, 0 * P.h0, P.m0), rng)
