"""The product grid against loops over its pairs, and the points that its axes can be made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.landscape import axes, factor, grid
from harness.landscape.grid import ProductGrid, product_grid
from harness.network import KINK_RTOL, ReluNetwork
from harness.problem import Demodulation
from harness.theory import expected_gradients, landscape_scale
from tests.helpers import (
    SHAPES,
    Array,
    integer_network,
    kink_point,
    naive_Lambda,
    naive_preactivations,
    network,
    problem,
)

every_shape = pytest.mark.parametrize("name", SHAPES)
PROPERTIES = (
    *("loss", "grad_h_norm", "grad_m_norm", "along_h", "along_m"),
    *("along_expected_h", "along_expected_m", "scale_h", "scale_m", "dead"),
)
ALPHA = 0.9


# --- Slow references ------------------------------------------------------------------------


def one_sided(G: ReluNetwork, x: Array, w: Array) -> tuple[Array, Array]:
    """G(x), and the limit of Lambda at x + t w, t -> 0+: a unit at zero is active if it grows."""
    value, slope, product = x, w, np.eye(x.size)
    for W in G.weights:
        z, dz = W @ value, W @ slope
        size = np.linalg.norm(W, axis=1) * np.linalg.norm(value)
        kink = np.abs(z) <= KINK_RTOL * size
        on = np.where(kink, dz > 0, z > 0)
        value, slope = np.where(kink, 0, np.maximum(z, 0)), on * dz
        product = on[:, None] * (W @ product)
    return value, product


def reference(
    P: Demodulation, h: Array, m: Array, w_h: Array | None = None, w_m: Array | None = None
) -> dict[str, float]:
    """Every property at one pair, from the definitions."""
    residual = P.G1(h) * P.G2(m) - P.y0
    value1, L1 = one_sided(P.G1, h, np.zeros(P.n) if w_h is None else w_h)
    value2, L2 = one_sided(P.G2, m, np.zeros(P.p) if w_m is None else w_m)
    g1, g2 = L1.T @ (residual * P.G2(m)), L2.T @ (residual * P.G1(h))
    shape = {"d": P.d, "s": P.s, "ell": P.ell, "alpha": ALPHA}
    t1, t2 = expected_gradients(h, m, P.h0, P.m0, **shape)  # type: ignore[arg-type]
    largest = max(
        np.linalg.norm(h) * np.linalg.norm(m), np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    )
    scale = landscape_scale(P.d, P.s, P.ell, ALPHA) * largest
    still_h, still_m = np.zeros(P.n), np.zeros(P.p)
    return {
        "loss": float(P.loss(h, m)),
        "grad_h_norm": float(np.linalg.norm(g1)),
        "grad_m_norm": float(np.linalg.norm(g2)),
        "along_h": float(P.directional_derivative(h, m, -g1, still_m)),
        "along_m": float(P.directional_derivative(h, m, still_h, -g2)),
        "along_expected_h": float(P.directional_derivative(h, m, -t1, still_m)),
        "along_expected_m": float(P.directional_derivative(h, m, still_h, -t2)),
        "scale_h": float(scale * np.linalg.norm(m)),
        "scale_m": float(scale * np.linalg.norm(h)),
        "dead": not value1.any() or not value2.any(),
    }


def check(
    P: Demodulation,
    H: Array,
    M: Array,
    side_h: Array | None = None,
    side_m: Array | None = None,
    rtol: float = 1e-12,
) -> ProductGrid:
    """All properties on all pairs; errors relative to the terms that a value is the sum of."""
    computed = product_grid(P, H, M, side_h=side_h, side_m=side_m, alpha=ALPHA)
    values = {name: getattr(computed, name) for name in PROPERTIES}
    for name, value in values.items():
        assert value.shape == (len(H), len(M)), name
    for i, h in enumerate(H):
        for j, m in enumerate(M):
            w_h = None if side_h is None else side_h[i]
            w_m = None if side_m is None else side_m[j]
            expected = reference(P, h, m, w_h, w_m)
            size1, size2 = sum_of_sizes(P.G1, h), sum_of_sizes(P.G2, m)
            terms = size1 * size2 + np.abs(P.y0)
            # ||Lambda|| <= the product of the layers' norms, active or not
            reach_h = spectral(P.G1) * np.linalg.norm(terms * size2)
            reach_m = spectral(P.G2) * np.linalg.norm(terms * size1)
            t_h, t_m = _expected_sizes(P, h, m)
            size = {
                "loss": float(terms @ terms),
                "grad_h_norm": reach_h,
                "grad_m_norm": reach_m,
                "along_h": reach_h**2,
                "along_m": reach_m**2,
                "along_expected_h": reach_h * t_h,
                "along_expected_m": reach_m * t_m,
                "scale_h": expected["scale_h"],
                "scale_m": expected["scale_m"],
                "dead": 0.0,
            }
            for name in PROPERTIES:
                error = abs(float(values[name][i, j]) - float(expected[name]))
                assert error <= rtol * size[name], (name, i, j, error, size[name])
    return computed


def sum_of_sizes(G: ReluNetwork, x: Array) -> Array:
    """Sum of the sizes of the terms of each entry of G(x): its rounding error at a kink, too."""
    for W in G.weights:
        x = np.abs(W) @ np.abs(x)
    return x


@cache
def spectral(G: ReluNetwork) -> float:
    return float(np.prod([np.linalg.norm(W, 2) for W in G.weights]))


def _expected_sizes(P: Demodulation, h: Array, m: Array) -> tuple[float, float]:
    """Sums of the sizes of the terms of t1 and of t2, from above."""
    c = landscape_scale(P.d, P.s, P.ell, ALPHA)
    sizes = [float(np.linalg.norm(v)) for v in (h, m, P.h0, P.m0)]
    return (
        c * sizes[1] * (sizes[1] * sizes[0] + sizes[3] * sizes[2]) * 4,
        c * sizes[0] * (sizes[1] * sizes[0] + sizes[3] * sizes[2]) * 4,
    )


# --- Points -----------------------------------------------------------------------------------


def generic_points(P: Demodulation, seed: int = 0) -> tuple[Array, Array]:
    """Random ones, the truth and its opposite, the origin, and multiples of one another."""
    rng = np.random.default_rng(seed)
    H, M = rng.normal(size=(4, P.n)), rng.normal(size=(3, P.p))
    H = np.vstack([H, P.h0, -0.3 * P.h0, np.zeros(P.n), 2 * H[:1]])
    return H, np.vstack([M, P.m0, -0.3 * P.m0, np.zeros(P.p), 0.5 * M[:1]])


def kink_points(G: ReluNetwork, seed: int) -> Array:
    """A point on a kink of each layer, where the layer has any that is no kink of the first."""
    rng = np.random.default_rng(seed)
    points = []
    for layer in range(1, G.depth + 1):
        try:
            points.append(kink_point(G, layer, rng)[0])
        except AssertionError:
            assert G.widths[0] == 1 or 1 in G.widths or min(G.widths) < G.widths[0]
    return np.array(points)


WITH_KINKS = [name for name, (first, second) in SHAPES.items() if min(first[0], second[0]) > 1]


# --- Every property, pair by pair -------------------------------------------------------------


@every_shape
def test_every_property_at_generic_points(name: str) -> None:
    P = problem(name)
    H, M = generic_points(P)
    computed = check(P, H, M)
    np.testing.assert_array_equal(computed.H, H)
    np.testing.assert_array_equal(computed.M, M)


@every_shape
def test_gradient_norms_are_those_of_the_problem_s_gradients(name: str) -> None:
    P = problem(name, seed=3)
    H, M = generic_points(P, seed=3)
    computed = product_grid(P, H, M)
    g1, g2 = P.gradients(H[:, None], M[None])
    for norms, g in ((computed.grad_h_norm, g1), (computed.grad_m_norm, g2)):
        np.testing.assert_allclose(norms, np.linalg.norm(g, axis=-1), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", WITH_KINKS)
@pytest.mark.parametrize("towards", [None, "on", "off"])
def test_every_property_at_kinks_of_every_layer_from_every_side(
    name: str, towards: str | None
) -> None:
    P = problem(name)
    H, M = kink_points(P.G1, 1), kink_points(P.G2, 2)
    assert len(H) > 0
    assert len(M) > 0
    rng = np.random.default_rng(0)
    generic_h, generic_m = rng.normal(size=(2, P.n)), rng.normal(size=(2, P.p))
    H, M = np.vstack([H, generic_h]), np.vstack([M, generic_m])
    side_h = side_m = None
    if towards:
        sign = 1 if towards == "on" else -1
        side_h, side_m = sign * rng.normal(size=H.shape), sign * rng.normal(size=M.shape)
    computed = check(P, H, M, side_h, side_m)
    np.testing.assert_array_equal(computed.kink_h, [True] * (len(H) - 2) + [False] * 2)
    np.testing.assert_array_equal(computed.kink_m, [True] * (len(M) - 2) + [False] * 2)


@pytest.mark.parametrize("seed", range(12))
def test_integer_networks_where_many_units_are_at_kinks_at_once(seed: int) -> None:
    """No rounding anywhere: gradients and losses are equal, not only close."""
    rng = np.random.default_rng(seed)
    widths = [((2, 3, 6), (3, 6)), ((2, 4, 3, 6), (2, 3, 6)), ((3, 5), (2, 2, 5))][seed % 3]
    G1, G2 = integer_network(rng, widths[0]), integer_network(rng, widths[1])
    P = Demodulation(G1, G2, rng.integers(-2, 3, size=G1.widths[0]), np.ones(G2.widths[0]))
    H = rng.integers(-2, 3, size=(9, P.n)).astype(float)
    M = rng.integers(-2, 3, size=(8, P.p)).astype(float)
    sides = rng.integers(-2, 3, size=H.shape).astype(float), rng.normal(size=M.shape)
    for side_h, side_m in ((None, None), sides):
        computed = check(P, H, M, side_h, side_m)
        np.testing.assert_array_equal(computed.loss, P.loss(H[:, None], M[None]))
    g1, g2 = P.gradients(H[:, None], M[None])
    computed = product_grid(P, H, M)
    for norms, g in ((computed.grad_h_norm, g1), (computed.grad_m_norm, g2)):
        np.testing.assert_array_equal(norms, np.sqrt(np.sum(g * g, axis=-1)))


def test_integer_networks_have_single_and_multiple_kinks_and_dead_cones() -> None:
    """The test above would show little without them."""
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        G = integer_network(rng, (2, 3, 6))
        P = Demodulation(G, G, np.ones(2), np.ones(2))
        points = rng.integers(-2, 3, size=(20, 2)).astype(float)
        computed = product_grid(P, points, points)
        seen |= {f"kinks {min(count, 2)}" for count in computed._h.kinks.tolist()}
        seen |= {f"dead {value}" for value in np.unique(computed.dead).tolist()}
    assert seen == {"kinks 0", "kinks 1", "kinks 2", "dead True", "dead False"}


def test_a_kink_can_make_the_negative_gradient_a_direction_of_ascent() -> None:
    """G1(h) = relu(h1 + h2) - 3 relu(h1), too small at (0, 1), has a ridge at h1 = 0."""
    G1 = ReluNetwork([[[1.0, 0.0], [1.0, 1.0]], [[-3.0, 1.0]]])
    P = Demodulation(G1, ReluNetwork([[[1.0]]]), np.array([0.0, 2.0]), np.ones(1))
    h, m = np.array([[0.0, 1.0]]), np.ones((1, 1))  # a = b = 1, y0 = 2
    inactive, active = (product_grid(P, h, m, side_h=[sign, 0.0]) for sign in (-1, 1))
    assert product_grid(P, h, m).grad_h_norm == inactive.grad_h_norm
    assert inactive.grad_h_norm[0, 0] == pytest.approx(np.sqrt(2))  # (-1, -1)
    assert active.grad_h_norm[0, 0] == pytest.approx(np.sqrt(5))  # (2, -1)
    assert inactive.along_h[0, 0] == active.along_h[0, 0] == 1.0
    assert active.along_m[0, 0] == -1.0


@pytest.mark.parametrize("name", WITH_KINKS)
def test_a_side_gives_the_limit_of_gradients(name: str) -> None:
    P = problem(name, seed=5)
    H, m = kink_points(P.G1, 7), np.random.default_rng(1).normal(size=(1, P.p))
    for sign in (1, -1):
        w = sign * np.random.default_rng(2).normal(size=P.n)
        computed = product_grid(P, H, m, side_h=w)
        near = product_grid(P, H + 1e-9 * w, m)
        np.testing.assert_allclose(computed.grad_h_norm, near.grad_h_norm, rtol=1e-6, atol=1e-9)


# --- Degenerate problems ----------------------------------------------------------------------


def test_dead_cones_have_the_loss_of_K_and_no_slope() -> None:
    G1 = ReluNetwork([[[1.0, 0.5], [1.0, -0.5]], [[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]]])
    P = Demodulation(G1, network(0, (2, 3, 3)), np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    if not P.y0.any():
        P = Demodulation(G1, network(1, (2, 3, 3)), np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    H = np.array([[-1.0, 0.1], [1.0, 0.1], [0.0, 0.0]])
    computed = check(P, H, np.vstack([P.m0, -P.m0, np.zeros(2)]))
    dead = computed.dead
    assert dead[0].all()
    assert dead[2].all()
    assert not dead[1, 0]
    np.testing.assert_array_equal(computed.loss[dead], P.loss_at_zero)
    assert (computed.grad_h_norm[0] == 0).all()
    assert (computed.along_h[0] == 0).all()
    assert (computed.along_expected_h[0] == 0).all()
    assert not computed.kink_h[0]  # dead all around: nothing switches
    assert computed.kink_h[2]


@pytest.mark.parametrize("truth", ["zero", "dead"])
def test_an_observation_of_zero_gives_numbers(truth: str) -> None:
    G1, G2 = ReluNetwork([[[1.0], [2.0], [0.5]]]), network(3, (2, 4, 3))
    h0 = np.array([0.0 if truth == "zero" else -1.0])
    P = Demodulation(G1, G2, h0, np.zeros(2) if truth == "zero" else np.ones(2))
    assert not P.y0.any()
    H, M = np.array([[-1.0], [0.0], [2.0]]), np.vstack([np.eye(2), -np.eye(2), np.zeros(2)])
    computed = check(P, H, M)
    assert all(np.isfinite(getattr(computed, name)).all() for name in PROPERTIES)


def test_rows_set_to_zero_are_no_kinks() -> None:
    rng = np.random.default_rng(0)
    W = rng.normal(size=(6, 3))
    W[[1, 4]] = 0
    P = Demodulation(ReluNetwork([W]), network(1, (2, 6)), np.ones(3), np.ones(2))
    computed = check(P, rng.normal(size=(4, 3)), rng.normal(size=(3, 2)))
    assert not computed.kink_h.any()


def test_a_kink_is_told_by_the_size_of_its_own_unit() -> None:
    W = np.array([[1e9, 0.0], [1e-3, 1e-3]])
    P = Demodulation(ReluNetwork([W]), network(1, (2, 2)), np.ones(2), np.ones(2))
    H = np.array([[1.0, -1.0 + 1e-6], [1.0, -1.0]])
    assert product_grid(P, H, np.ones((1, 2))).kink_h.tolist() == [False, True]


def test_the_loss_is_not_negative_at_the_truth() -> None:
    P = problem("deep")
    scales = np.geomspace(0.5, 2, 31)
    loss = product_grid(P, scales[:, None] * P.h0, P.m0 / scales[:, None]).loss
    assert (loss >= 0).all()
    assert np.diagonal(loss) == pytest.approx(0, abs=1e-14 * P.loss_at_zero)


# --- Identities -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.floats(0.01, 100), st.integers(0, 2**31))
def test_scaling_one_axis_up_and_the_other_down(name: str, c: float, seed: int) -> None:
    """f(c h, m/c) = f(h, m); g1 goes like 1/c, g2 like c; derivatives like their squares."""
    P = problem(name)
    H, M = generic_points(P, seed)
    one, other = product_grid(P, H, M), product_grid(P, c * H, M / c)
    for key, power in (
        *(("loss", 0), ("grad_h_norm", -1), ("grad_m_norm", 1), ("along_h", -2)),
        *(("along_m", 2), ("along_expected_h", -2), ("along_expected_m", 2)),
        *(("scale_h", -1), ("scale_m", 1)),
    ):
        expected = c**power * getattr(one, key)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(getattr(other, key), expected, rtol=1e-9, atol=1e-10 * largest)


@every_shape
def test_exchanging_the_factors_transposes_the_grid(name: str) -> None:
    P = problem(name)
    H, M = generic_points(P)
    one = product_grid(P, H, M)
    other = product_grid(Demodulation(P.G2, P.G1, P.m0, P.h0), M, H)
    for h, m in (
        *(("loss", "loss"), ("grad_h_norm", "grad_m_norm"), ("along_h", "along_m")),
        *(("along_expected_h", "along_expected_m"), ("scale_h", "scale_m"), ("dead", "dead")),
    ):
        a, b = getattr(one, h), getattr(other, m).T
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * max(np.abs(a).max(), 1e-300))


@pytest.mark.parametrize("block", [1, 50, 400])
@pytest.mark.parametrize("name", ["two-layer", "deep"])
def test_small_blocks_give_the_same(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    P = problem(name)
    H, M = generic_points(P)
    H, M = np.vstack([H, kink_points(P.G1, 1), H]), np.vstack([M, kink_points(P.G2, 2)])
    side = np.random.default_rng(0).normal(size=H.shape)
    large = product_grid(P, H, M, side_h=side)
    values = {name: getattr(large, name) for name in PROPERTIES}
    monkeypatch.setattr(factor, "BLOCK", block)
    small = product_grid(P, H, M, side_h=side)
    for key, value in values.items():
        size = np.abs(value).max()
        np.testing.assert_allclose(getattr(small, key), value, rtol=1e-10, atol=1e-12 * size)


def test_properties_are_computed_once_and_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    P = problem("two-layer")
    computed = product_grid(P, *generic_points(P))

    def refuse(*arguments: object) -> None:
        raise AssertionError("gradients were not asked for")

    monkeypatch.setattr(grid, "_gradients", refuse)
    assert computed.loss is computed.loss
    assert computed.along_expected_h is computed.along_expected_h
    with pytest.raises(AssertionError, match="not asked for"):
        _ = computed.grad_h_norm


# --- Bad input --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    H: object = ((1.0, 0.0),)
    M: object = ((1.0, 0.0, 0.0),)
    message: str = ""
    options: tuple[tuple[str, object], ...] = ()


@pytest.mark.parametrize(
    "bad",
    [
        Bad(H=[[1.0, 2.0, 3.0]], message=r"H has shape \(1, 3\): .*n=2"),
        Bad(H=[1.0, 2.0], message=r"H has shape \(2,\)"),
        Bad(M=[[1.0]], message=r"M has shape \(1, 1\): .*p=3"),
        Bad(M=np.empty((0, 3)), message=r"M has shape \(0, 3\): .*>= 1"),
        Bad(H=[[np.nan, 1.0]], message=r"H of shape \(1, 2\) .* not finite"),
        Bad(M=[[np.inf, 1.0, 0.0]], message=r"M of shape \(1, 3\) .* not finite"),
        Bad(options=(("side_h", [[1.0]]),), message=r"side_h has shape \(1, 1\)"),
        Bad(options=(("side_m", [np.nan, 0, 0]),), message=r"side_m of shape \(3,\) .* not finite"),
        Bad(options=(("alpha", 0.0),), message=r"alpha=0.0: .* above 0"),
        Bad(options=(("alpha", np.nan),), message="alpha=nan"),
        Bad(options=(("memory", 1000),), message=r"1 x 1 points .* needs .* GiB; memory=1000"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    bad: Bad, monkeypatch: pytest.MonkeyPatch
) -> None:
    P = problem("mixed-depth")

    def refuse(*arguments: object) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(grid, "evaluate", refuse)
    with pytest.raises(ValueError, match=bad.message) as caught:
        product_grid(P, bad.H, bad.M, **dict(bad.options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_grid_that_fits_nowhere_is_refused_by_default() -> None:
    P = problem("mixed-depth")
    with pytest.raises(ValueError, match="100000 x 20000 points"):
        product_grid(P, np.zeros((100_000, 2)), np.zeros((20_000, 3)))


def test_the_estimate_of_memory_grows_with_the_grid_and_covers_its_arrays() -> None:
    P = problem("two-layer")
    assert grid.memory_needed(P, 2000, 1000) > 8 * 12 * 2000 * 1000
    assert grid.memory_needed(P, 2000, 1000) < grid.memory_needed(P, 2001, 1000)


# --- Axes -------------------------------------------------------------------------------------


def test_a_ray_has_the_radii_and_the_direction() -> None:
    x = np.array([3.0, 4.0, 0.0])
    np.testing.assert_allclose(axes.ray(x, [5, 0, -1]), [[3, 4, 0], [0, 0, 0], [-0.6, -0.8, 0]])
    np.testing.assert_allclose(axes.ray([2.0], [1.0, -2.0]), [[1.0], [-2.0]])


def test_a_polar_plane_has_the_angles_to_the_first_vector_and_holds_the_second() -> None:
    rng = np.random.default_rng(0)
    x, towards = rng.normal(size=(2, 7))
    radii, angles = [0.5, 2.0], np.linspace(-3, 3, 5)
    points = axes.polar_plane(x, towards, radii, angles).reshape(2, 5, 7)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), [[0.5] * 5, [2.0] * 5])
    cosine = points @ x / np.linalg.norm(points, axis=-1) / np.linalg.norm(x)
    np.testing.assert_allclose(cosine, np.tile(np.cos(angles), (2, 1)), atol=1e-14)
    assert np.linalg.matrix_rank(np.vstack([x, towards, points.reshape(-1, 7)]), tol=1e-10) == 2
    assert points[0, 3] @ towards > points[0, 1] @ towards  # positive angles lean towards it


@pytest.mark.parametrize("name", WITH_KINKS)
@pytest.mark.parametrize("seed", range(3))
def test_plane_kinks_are_exact_and_switch_their_unit(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for G in (problem(name, seed).G1, problem(name, seed).G2):
        x, towards = rng.normal(size=(2, G.widths[0]))
        kinks = axes.plane_kinks(G, x, towards)
        np.testing.assert_allclose(np.linalg.norm(kinks.points, axis=1), 1)
        np.testing.assert_allclose(np.linalg.norm(kinks.side, axis=1), 1)
        for point, layer, unit, side in zip(
            kinks.points, kinks.layer, kinks.unit, kinks.side, strict=True
        ):
            layers = naive_preactivations(G.weights, point.tolist())
            inputs = np.maximum(layers[layer - 2], 0) if layer > 1 else point
            size = np.linalg.norm(G.weights[layer - 1][unit]) * np.linalg.norm(inputs)
            assert abs(layers[layer - 1][unit]) <= KINK_RTOL * size
            on, off = (
                naive_preactivations(G.weights, (point + t * side).tolist())[layer - 1][unit]
                for t in (1e-7, -1e-7)
            )
            assert on > 0 > off


@pytest.mark.parametrize("name", WITH_KINKS)
def test_plane_kinks_miss_none_that_a_fine_scan_finds(name: str) -> None:
    G = problem(name).G1
    x, towards = np.random.default_rng(4).normal(size=(2, G.widths[0]))
    kinks = axes.plane_kinks(G, x, towards)
    angles = np.linspace(-np.pi, np.pi, 4001)
    circle = axes.polar_plane(x, towards, [1.0], angles)
    patterns = [naive_Lambda(G.weights, point.tolist()) for point in circle]
    for k in range(4000):
        if not np.allclose(patterns[k], patterns[k + 1], rtol=1e-12, atol=1e-14):
            between = (kinks.angles >= angles[k] - 1e-9) & (kinks.angles <= angles[k + 1] + 1e-9)
            assert between.any(), (angles[k], angles[k + 1])


def test_grid_sees_plane_kinks_as_kinks_of_a_single_unit_at_every_radius() -> None:
    P = problem("two-layer")
    kinks = axes.plane_kinks(P.G1, P.h0, np.ones(4))
    assert set(kinks.layer) == {1, 2}
    for radius in (1e-3, 1.0, 1e3):
        computed = product_grid(P, radius * kinks.points, P.m0[None], side_h=kinks.side)
        assert (computed._h.kinks == 1).all()
        np.testing.assert_array_equal(computed._h.layer, kinks.layer)
        on = [computed._h.active[k - 1][i, computed._h.unit[i]] for i, k in enumerate(kinks.layer)]
        assert all(on)
        inner = kinks.layer < P.d  # the last layer's units are in another order
        np.testing.assert_array_equal(computed._h.unit[inner], kinks.unit[inner])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: axes.ray([0.0, 0.0], [1.0]), r"x has shape \(2,\): .* not zero"),
        (lambda: axes.ray([[1.0]], [1.0]), r"x has shape \(1, 1\)"),
        (lambda: axes.ray([1.0], []), r"radii has shape \(0,\)"),
        (lambda: axes.polar_plane([1.0], [2.0], [1.0], [0.0]), "no plane"),
        (lambda: axes.polar_plane([1.0, 0], [2.0, 0], [1.0], [0.0]), "no plane"),
        (lambda: axes.polar_plane([1.0, 0], [0, 1.0], [1.0], [np.nan]), "angles has shape"),
        (lambda: axes.plane_kinks(network(0, (1, 3)), [1.0], [1.0]), "no plane"),
    ],
)
def test_axes_refuse_what_spans_nothing(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


# --- Lemmas -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in WITH_KINKS if name != "width-one"])
@pytest.mark.parametrize("towards", [None, 1.0, -1.0])
def test_switch_gives_the_change_of_Lambda_across_the_kink(
    name: str, towards: float | None
) -> None:
    G = problem(name).G1
    points = kink_points(G, 3)
    side = None if towards is None else np.full(points.shape, towards)
    evaluated = factor.evaluate(G, points, side, points[0], np.ones(G.widths[-1]))
    single = np.flatnonzero(evaluated.kinks == 1)
    assert single.size > 0
    gradient, effect = factor.switch(evaluated, single)
    for x, row, column in zip(points[single], gradient, effect, strict=True):
        step = 1e-6 * np.linalg.norm(x) / np.linalg.norm(row) * row
        here, across = (naive_Lambda(G.weights, (x + t * step).tolist()) for t in (-1, 1))
        np.testing.assert_allclose(across - here, np.outer(column, row), rtol=1e-9, atol=1e-12)
