"""G, Lambda, forward and reverse derivatives, and the random ensembles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.network import ReluNetwork, gaussian_network
from harness.theory import truncation_alpha
from tests.helpers import (
    EPS,
    SHAPES,
    integer_network,
    kink_point,
    naive_forward,
    naive_Lambda,
    naive_preactivations,
    network,
    same_pattern_on_segment,
    standard_error,
)

ALL_WIDTHS = sorted({widths for pair in SHAPES.values() for widths in pair})
KINK_LAYERS = [
    (widths, layer)
    for widths in ((3, 8), (2, 5, 9), (4, 9, 20), (2, 4, 6, 12), (3, 5, 6, 7, 12))
    for layer in range(1, len(widths))
]
PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)
all_widths = pytest.mark.parametrize("widths", ALL_WIDTHS, ids=str)


def points(seed: int, count: int, n: int) -> np.ndarray:
    return np.random.default_rng([seed, n]).normal(size=(count, n))


# --- G and Lambda ---------------------------------------------------------------------------


@all_widths
def test_forward_equals_naive_loops(widths):
    G = network(1, widths)
    for h in points(2, 5, widths[0]):
        np.testing.assert_allclose(G(h), naive_forward(G.weights, h.tolist()), rtol=1e-12)


@all_widths
def test_Lambda_equals_product_of_explicit_matrices(widths):
    G = network(3, widths)
    for h in points(4, 5, widths[0]):
        expected = naive_Lambda(G.weights, h.tolist())
        np.testing.assert_allclose(G.Lambda(h), expected, rtol=1e-12, atol=1e-15)
        assert G.Lambda(h).shape == (widths[-1], widths[0])


@all_widths
def test_preactivations_equal_naive_loops(widths):
    G = network(3, widths)
    for h in points(4, 5, widths[0]):
        layers = G.preactivations(h)
        assert [z.shape for z in layers] == [(n_i,) for n_i in widths[1:]]
        for z, expected in zip(layers, naive_preactivations(G.weights, h.tolist()), strict=True):
            np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(np.maximum(layers[-1], 0), G(h))


@all_widths
def test_Lambda_of_a_batch_is_that_of_each_point(widths):
    G, H = network(3, widths), points(4, 6, widths[0])
    batch = G.Lambda(H.reshape(3, 2, -1))
    assert batch.shape == (3, 2, widths[-1], widths[0])
    for one, h in zip(batch.reshape(6, widths[-1], widths[0]), H, strict=True):
        np.testing.assert_allclose(one, G.Lambda(h), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (2, 0)])
def test_Lambda_refuses_points_of_another_length(shape):
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        network(13, (4, 9, 20)).Lambda(np.ones(shape))


@all_widths
def test_value_is_Lambda_times_point(widths):
    G = network(5, widths)
    for h in points(6, 10, widths[0]):
        np.testing.assert_allclose(G.Lambda(h) @ h, G(h), rtol=1e-12, atol=1e-14)


@PROPERTY
@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    seed=st.integers(0, 2**20),
    exponent=st.integers(-300, 300),
)
def test_homogeneity_is_exact_for_powers_of_two(widths, seed, exponent):
    G, h = network(seed, widths), points(seed, 1, widths[0])[0]
    c = 2.0**exponent
    np.testing.assert_array_equal(G(c * h), c * G(h))


@all_widths
def test_homogeneity_for_other_factors_and_constant_Lambda_on_rays(widths):
    G, h = network(7, widths), points(8, 1, widths[0])[0]
    for c in (1e-7, 0.3, 17.1):
        np.testing.assert_allclose(G(c * h), c * G(h), rtol=1e-12)
        np.testing.assert_array_equal(G.Lambda(c * h), G.Lambda(h))


@all_widths
def test_batches_equal_one_by_one(widths):
    G, H, U = network(9, widths), points(10, 12, widths[0]), points(11, 12, widths[0])
    V = points(12, 12, widths[-1])
    batch = H.reshape(3, 4, -1), U.reshape(3, 4, -1)
    value, transpose = G.pullback(batch[0])
    pulled = transpose(V.reshape(3, 4, -1))
    jvp_value, derivative = G.jvp(*batch)
    assert G(batch[0]).shape == value.shape == derivative.shape == (3, 4, widths[-1])
    assert pulled.shape == (3, 4, widths[0])
    for k, (h, u, v) in enumerate(zip(H, U, V, strict=True)):
        i = divmod(k, 4)
        one_value, one_transpose = G.pullback(h)
        for several, single in (
            (G(batch[0]), G(h)),
            (value, one_value),
            (jvp_value, G.jvp(h, u)[0]),
            (derivative, G.jvp(h, u)[1]),
            (pulled, one_transpose(v)),
        ):
            np.testing.assert_allclose(several[i], single, rtol=1e-12, atol=1e-13)


def test_jvp_and_pullback_broadcast_one_point_against_many_directions():
    G = network(13, (4, 9, 20))
    h, U, V = points(14, 1, 4)[0], points(15, 6, 4), points(16, 6, 20)
    value, derivative = G.jvp(h, U)
    assert value.shape == derivative.shape == (6, 20)
    np.testing.assert_allclose(derivative, U @ G.Lambda(h).T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(G.pullback(h)[1](V), V @ G.Lambda(h), rtol=1e-12, atol=1e-14)


def test_a_batch_of_no_points_gives_no_values():
    G = network(13, (4, 9, 20))
    assert G(np.empty((0, 4))).shape == (0, 20)
    assert G.jvp(np.empty((0, 4)), np.empty((0, 4)))[1].shape == (0, 20)
    assert G.Lambda(np.empty((0, 4))).shape == (0, 20, 4)


@PROPERTY
@given(
    widths=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    seed=st.integers(0, 2**20),
)
def test_pullback_is_the_adjoint_of_Lambda_and_of_jvp(widths, seed):
    G = network(seed, widths)
    h, u = points(seed, 2, widths[0])
    v = points(seed + 1, 1, widths[-1])[0]
    value, transpose = G.pullback(h)
    bound = 1e-13 * np.linalg.norm(u) * np.linalg.norm(v) * max(1, np.linalg.norm(G.Lambda(h)))
    assert abs((G.Lambda(h) @ u) @ v - u @ transpose(v)) <= bound
    assert abs(G.jvp(h, u)[1] @ v - u @ transpose(v)) <= bound
    np.testing.assert_allclose(value, G(h), rtol=1e-13, atol=1e-15)


def test_a_preactivation_of_zero_is_inactive_for_Lambda_and_pullback():
    first = ReluNetwork([[[1.0, -1.0], [1.0, 0.0]]])
    np.testing.assert_array_equal(first.Lambda([2.0, 2.0]), [[0.0, 0.0], [1.0, 0.0]])
    second = ReluNetwork([np.eye(2), [[1.0, -1.0], [1.0, 1.0]]])
    np.testing.assert_array_equal(second.Lambda([2.0, 2.0]), [[0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(second.pullback([2.0, 2.0])[1](np.ones(2)), [1.0, 1.0])


@all_widths
def test_everything_is_zero_at_the_origin_but_the_one_sided_derivative(widths):
    G, zero, u = network(17, widths), np.zeros(widths[0]), points(18, 1, widths[0])[0]
    assert not G(zero).any()
    assert not G.Lambda(zero).any()
    assert not G.pullback(zero)[1](np.ones(widths[-1])).any()
    value, derivative = G.jvp(zero, u)
    assert not value.any()
    np.testing.assert_allclose(derivative, G(u), rtol=1e-12)  # by homogeneity


@all_widths
def test_one_sided_derivative_along_the_point_itself_is_the_value(widths):
    G, h = network(19, widths), points(20, 1, widths[0])[0]
    np.testing.assert_allclose(G.jvp(h, h)[1], G(h), rtol=1e-12)
    np.testing.assert_allclose(G.jvp(h, -h)[1], -G(h), rtol=1e-12)


# --- one-sided derivatives ------------------------------------------------------------------


@all_widths
def test_jvp_of_the_first_layers_is_that_of_the_network_they_make(widths):
    G, (h, u) = network(9, widths), points(10, 2, widths[0])
    for got, expected in zip(G.jvp(h, u, layers=0), (h, u), strict=True):
        np.testing.assert_array_equal(got, expected)
    for k in range(1, G.depth + 1):
        first = ReluNetwork(G.weights[:k])
        for got, expected in zip(G.jvp(h, u, layers=k), first.jvp(h, u), strict=True):
            np.testing.assert_array_equal(got, expected)


@all_widths
def test_jvp_at_generic_points_is_Lambda_times_direction(widths):
    G = network(21, widths)
    for h, u in zip(points(22, 10, widths[0]), points(23, 10, widths[0]), strict=True):
        value, derivative = G.jvp(h, u)
        np.testing.assert_allclose(value, G(h), rtol=1e-12)
        np.testing.assert_allclose(derivative, G.Lambda(h) @ u, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("widths", "layer"), KINK_LAYERS, ids=str)
def test_jvp_at_a_kink_of_each_layer_is_the_one_sided_difference_quotient(widths, layer):
    G, rng = network(24, widths), np.random.default_rng([25, layer, *widths])
    sides = set()
    for _ in range(4):
        h, j = kink_point(G, layer, rng)
        u = rng.normal(size=widths[0])
        for direction in (u, -u):
            t = 2.0**-18
            assert same_pattern_on_segment(G, h, direction, (2.0**-30, t))
            value, derivative = G.jvp(h, direction)
            quotient = (G(h + t * direction) - G(h)) / t
            # both evaluations of G round; nothing else separates the two on one linear piece
            scale = np.linalg.norm(h) * np.prod([np.linalg.norm(W, 2) for W in G.weights])
            assert np.abs(derivative - quotient).max() <= 100 * EPS * scale / t
            np.testing.assert_allclose(value, G(h), rtol=1e-12, atol=1e-13)
            truncated = ReluNetwork(G.weights[:layer])
            sides.add(bool(truncated.jvp(h, direction)[1][j] > 0))
    # the unit switches on in one direction and stays off in the other
    assert sides == {True, False}


@pytest.mark.parametrize(("widths", "layer"), KINK_LAYERS, ids=str)
def test_opposite_directions_at_a_kink_differ_by_the_jump_of_the_unit(widths, layer):
    G, rng = network(26, widths), np.random.default_rng([27, layer, *widths])
    h, j = kink_point(G, layer, rng)
    u = rng.normal(size=widths[0])
    head = ReluNetwork(G.weights[:layer])
    # At one simple kink, D_u + D_-u at unit j of this layer is |effective row . u|.
    row = G.weights[layer - 1][j] @ naive_Lambda(G.weights[: layer - 1], h.tolist())
    jump = head.jvp(h, u)[1] + head.jvp(h, -u)[1]
    np.testing.assert_allclose(jump[j], abs(row @ u), rtol=1e-10)
    np.testing.assert_allclose(np.delete(jump, j), 0, atol=1e-12)


@settings(PROPERTY, max_examples=150)
@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 2**20),
)
def test_jvp_is_exact_on_integer_networks_full_of_kinks(widths, seed):
    rng = np.random.default_rng(seed)
    G = integer_network(rng, widths)
    h = rng.integers(-2, 3, size=widths[0]).astype(np.float64)
    u = rng.integers(-3, 4, size=widths[0]).astype(np.float64)
    # |preactivation| >= 1 or = 0, and moves by less than 8^3 * 12 * t: no unit crosses zero
    t = 2.0**-20
    value, derivative = G.jvp(h, u)
    np.testing.assert_array_equal(value, G(h))
    np.testing.assert_array_equal(derivative, (G(h + t * u) - G(h)) / t)


def test_the_integer_networks_do_have_kinks_in_every_layer_and_double_kinks():
    kinks, double = np.zeros(3, dtype=int), 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        G = integer_network(rng, (3, 4, 4, 4))
        h = rng.integers(-2, 3, size=3).tolist()
        zeros = [sum(z == 0 for z in layer) for layer in naive_preactivations(G.weights, h)]
        kinks += np.array(zeros) > 0
        double += sum(zeros) >= 2
    assert (kinks >= 20).all()
    assert double >= 20


def test_double_kink_in_two_layers_by_hand():
    G = ReluNetwork([[[1.0, -1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 2.0], [4.0, -1.0]]])
    h = np.array([1.0, 1.0])  # layer 1: (0, 2); layer 2: (0, 4, -2)
    for u, expected in (([1.0, 0.0], [1.0, 3.0, 0.0]), ([0.0, 1.0], [0.0, 2.0, 0.0])):
        value, derivative = G.jvp(h, u)
        np.testing.assert_array_equal(value, [0.0, 4.0, 0.0])
        np.testing.assert_array_equal(derivative, expected)


def test_a_zero_row_and_a_dead_layer_have_zero_derivative():
    zero_row = ReluNetwork([[[0.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_array_equal(zero_row.jvp([1.0, 1.0], [1.0, 1.0])[1], [0.0, 1.0])
    dead = ReluNetwork([[[-1.0]], [[1.0]]])
    np.testing.assert_array_equal(dead.jvp([1.0], [-1.0])[1], [0.0])


def test_kink_tolerance_zero_takes_only_exact_zeros_as_kinks():
    G, u = ReluNetwork([[[1.0]]]), [-1.0]
    assert G.jvp([1e-300], u)[1] == -1.0  # relative: however small, no kink
    almost = ReluNetwork([[[1.0, -1.0]]])
    h = [1.0, np.nextafter(1.0, 0.0)]
    assert almost.jvp(h, [0.0, 1.0], kink_rtol=0.0)[1] == -1.0
    assert almost.jvp(h, [0.0, 1.0])[1] == 0.0
    assert almost.jvp([1.0, 1.0], [0.0, 1.0], kink_rtol=0.0)[1] == 0.0


def test_a_point_merely_near_a_kink_is_generic():
    G = ReluNetwork([[[1.0, -1.0]]])
    for gap in (1e-9, 1e-11):
        assert G.jvp([1.0, 1.0 - gap], [0.0, 1.0])[1] == -1.0
        assert G.jvp([1.0 - gap, 1.0], [0.0, -1.0])[1] == 0.0


def test_rounding_at_a_kink_does_not_reach_the_next_layer():
    """Both units of layer 1 are at their kink up to rounding, so layer 2 sees x = 0 exactly."""
    G = ReluNetwork([[[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0]]])
    value, derivative = G.jvp([1.0, np.nextafter(1.0, 0.0)], [0.0, 1.0])
    assert value == 0.0
    assert derivative == 1.0


# --- construction ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "at least one layer"),
        ([np.ones(3)], r"W_1 has shape \(3,\)"),
        ([np.ones((2, 2)), np.ones((0, 2))], r"W_2 has shape \(0, 2\)"),
        ([np.ones((2, 2, 2))], r"W_1 has shape \(2, 2, 2\)"),
        ([[[np.nan]]], "W_1 has entries that are not finite"),
        ([[[1.0]], [[np.inf]]], "W_2 has entries that are not finite"),
        ([np.ones((2, 3)), np.ones((4, 3))], "W_2 has 3 columns but W_1 has 2 rows"),
    ],
)
def test_impossible_weights_are_refused_by_name(weights, message):
    with pytest.raises(ValueError, match=message):
        ReluNetwork(weights)


def test_widths_and_depth():
    G = ReluNetwork([np.ones((2, 3), dtype=np.float32), np.ones((5, 2), dtype=int)])
    assert G.widths == (3, 2, 5)
    assert G.depth == 2
    assert all(W.dtype == np.float64 for W in G.weights)
    with pytest.raises(AttributeError):
        G.weights = ()


# --- gaussian_network -----------------------------------------------------------------------


@pytest.mark.parametrize("last_layer", ["truncated", "gaussian"])
@all_widths
def test_gaussian_network_has_the_widths_asked_for(widths, last_layer):
    G = gaussian_network(np.random.default_rng(0), widths, last_layer=last_layer)
    assert G.widths == tuple(widths)
    assert [W.shape for W in G.weights] == list(zip(widths[1:], widths[:-1], strict=True))


def test_truncated_is_the_default():
    default = gaussian_network(np.random.default_rng(1), (1, 4000)).weights[0]
    truncated = gaussian_network(np.random.default_rng(1), (1, 4000), "truncated").weights[0]
    gaussian = gaussian_network(np.random.default_rng(1), (1, 4000), "gaussian").weights[0]
    np.testing.assert_array_equal(default, truncated)
    assert (default != gaussian).any()


def test_entries_are_centred_normal_with_variance_one_over_rows():
    G = gaussian_network(np.random.default_rng(2), (50, 400, 300, 1000), last_layer="gaussian")
    for W in G.weights:
        z = W.ravel() * np.sqrt(W.shape[0])
        for moment, expected in ((z, 0.0), (z**2, 1.0), (z**3, 0.0), (z**4, 3.0)):
            assert abs(moment.mean() - expected) <= 5 * standard_error(moment)
    # layers are independent draws
    first, second = G.weights[0].ravel(), G.weights[1].ravel()[: G.weights[0].size]
    product = first * second
    assert abs(product.mean()) <= 5 * standard_error(product)


@pytest.mark.parametrize("widths", [(1, 5000), (2, 100_000), (7, 1, 3000), (3, 2, 60_000)])
def test_truncation_sets_rows_to_zero_exactly_when_they_are_too_long(widths):
    plain = gaussian_network(np.random.default_rng(3), widths, last_layer="gaussian")
    cut = gaussian_network(np.random.default_rng(3), widths, last_layer="truncated")
    for W, V in zip(plain.weights[:-1], cut.weights[:-1], strict=True):
        np.testing.assert_array_equal(W, V)  # inner layers are not touched
    k, ell = widths[-2], widths[-1]
    too_long = np.array([np.sqrt(sum(w * w for w in row)) for row in plain.weights[-1].tolist()])
    too_long = too_long > 3 * np.sqrt(k / ell)
    assert 0 < too_long.sum() < ell
    assert not cut.weights[-1][too_long].any()
    np.testing.assert_array_equal(cut.weights[-1][~too_long], plain.weights[-1][~too_long])


@pytest.mark.parametrize(
    ("k", "probability"),
    # P(chi2_1 > 9) and P(chi2_2 > 18)
    [(1, 0.0026997960632601866), (2, float(np.exp(-9.0)))],
)
def test_number_of_zero_rows_is_binomial(k, probability):
    ell = 1_000_000
    W = gaussian_network(np.random.default_rng(4), (k, ell)).weights[0]
    zero_rows = np.count_nonzero(~W.any(axis=1))
    deviation = np.sqrt(ell * probability * (1 - probability))
    assert abs(zero_rows - ell * probability) <= 5 * deviation


@pytest.mark.parametrize("k", [1, 2])
def test_second_moment_of_truncated_rows_is_alpha_over_ell(k):
    ell = 1_000_000
    W = gaussian_network(np.random.default_rng(5), (k, ell), last_layer="truncated").weights[0]
    moments = ell * W[:, :, None] * W[:, None, :]
    deviation = np.abs(moments.mean(axis=0) - truncation_alpha(k) * np.eye(k))
    assert (deviation <= 5 * standard_error(moments)).all()
    if k == 1:  # fine enough to tell alpha from 1
        assert abs(moments.mean() - 1.0) > 5 * standard_error(moments).item()


def test_gaussian_network_ignores_and_leaves_alone_the_global_seed():
    np.random.seed(0)  # noqa: NPY002
    first = gaussian_network(np.random.default_rng(6), (3, 7, 20))
    after = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    second = gaussian_network(np.random.default_rng(6), (3, 7, 20))
    for V, W in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(V, W)
    np.random.seed(0)  # noqa: NPY002
    assert np.random.random() == after  # noqa: NPY002


def test_consecutive_draws_and_other_seeds_differ():
    rng = np.random.default_rng(7)
    first, second = (gaussian_network(rng, (3, 7, 20)) for _ in range(2))
    other = gaussian_network(np.random.default_rng(8), (3, 7, 20))
    assert (first.weights[0] != second.weights[0]).all()
    assert (first.weights[0] != other.weights[0]).all()


@pytest.mark.parametrize(
    ("widths", "last_layer", "message"),
    [
        ((5,), "gaussian", "at least two widths"),
        ((), "gaussian", "at least two widths"),
        ((3, 0, 4), "gaussian", r"widths=\[3, 0, 4\]"),
        ((3, -2), "truncated", "each >= 1"),
        ((3, 4), "clipped", "last_layer='clipped'"),
    ],
)
def test_impossible_ensembles_are_refused_by_name(widths, last_layer, message):
    with pytest.raises(ValueError, match=message):
        gaussian_network(np.random.default_rng(0), widths, last_layer=last_layer)
