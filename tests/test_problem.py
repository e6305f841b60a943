"""Loss, gradients, one-sided derivatives, the four hyperbolas and the distance to them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation, branch_name, relative_distance
from harness.status import Status
from harness.theory import rho
from tests.helpers import (
    EPS,
    SHAPES,
    exact_loss_slope,
    integer_network,
    kink_point,
    naive_forward,
    naive_Lambda,
    naive_loss,
    naive_preactivations,
    network,
    one_sided_slope,
    problem,
    same_pattern_on_segment,
)

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)
all_shapes = pytest.mark.parametrize("shape", SHAPES)
all_branches = pytest.mark.parametrize("branch", BRANCHES, ids=str)


def points(P: Demodulation, seed: int, *batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, P.n, P.p])
    return rng.normal(size=(*batch, P.n)), rng.normal(size=(*batch, P.p))


def natural_scale(P: Demodulation, h: np.ndarray, m: np.ndarray) -> float:
    """An upper bound for the size of terms in the loss at (h, m), for rounding errors."""
    norms = [np.prod([np.linalg.norm(W, 2) for W in G.weights]) for G in (P.G1, P.G2)]
    product = norms[0] * norms[1]
    return (product * (np.linalg.norm(h) * np.linalg.norm(m)) + np.linalg.norm(P.y0)) ** 2


# --- observation and loss -------------------------------------------------------------------


@all_shapes
def test_observation_and_loss_equal_naive_loops(shape):
    P = problem(shape)
    a0 = naive_forward(P.G1.weights, P.h0.tolist())
    b0 = naive_forward(P.G2.weights, P.m0.tolist())
    np.testing.assert_allclose(P.y0, np.multiply(a0, b0), rtol=1e-12)
    for h, m in zip(*points(P, 1, 8), strict=True):
        expected = naive_loss(P, h.tolist(), m.tolist())
        assert P.loss(h, m) == pytest.approx(expected, rel=1e-12)
    assert P.loss_at_zero == pytest.approx(sum(y * y for y in P.y0) / 2, rel=1e-13)


@all_shapes
def test_sizes_are_those_of_the_networks(shape):
    P, (widths1, widths2) = problem(shape), SHAPES[shape]
    assert (P.n, P.p, P.ell) == (widths1[0], widths2[0], widths1[-1])
    assert (P.d, P.s) == (len(widths1) - 1, len(widths2) - 1)


@all_shapes
def test_loss_vanishes_on_the_true_hyperbola_and_only_the_product_scale_counts(shape):
    P = problem(shape)
    (h, m) = points(P, 2)
    for c in (1e-3, 0.5, 3.0, 1e4):
        assert P.loss(c * P.h0, P.m0 / c) <= 1e-28 * P.loss_at_zero
        assert P.loss(c * h, m / c) == pytest.approx(P.loss(h, m), rel=1e-10)
    assert P.loss(4 * h, m / 4) == P.loss(h, m)  # powers of two do not round


@all_shapes
def test_loss_on_K_is_half_the_squared_observation(shape):
    P = problem(shape)
    h, m = points(P, 3)
    for x, y in ((0 * h, m), (h, 0 * m), (0 * h, 0 * m)):
        assert P.loss(x, y) == pytest.approx(P.loss_at_zero, rel=1e-14)
        g1, g2 = P.gradients(x, y)
        assert not g1.any()
        assert not g2.any()


# --- gradients ------------------------------------------------------------------------------


def autodiff_gradients(P: Demodulation, h: np.ndarray, m: np.ndarray):
    """Gradients by a general automatic differentiation package."""

    def generate(weights, x):
        for W in weights:
            x = anp.maximum(anp.dot(W, x), 0.0)
        return x

    def f(x, y):
        product = generate(P.G1.weights, x) * generate(P.G2.weights, y)
        truth = generate(P.G1.weights, P.h0) * generate(P.G2.weights, P.m0)
        return 0.5 * anp.sum((product - truth) ** 2)

    return autograd.grad(f, 0)(h, m), autograd.grad(f, 1)(h, m)


@all_shapes
def test_gradients_equal_automatic_differentiation(shape):
    P = problem(shape)
    H, M = points(P, 4, 10)
    for h, m in zip(H, M, strict=True):
        for ours, theirs in zip(P.gradients(h, m), autodiff_gradients(P, h, m), strict=True):
            assert np.linalg.norm(ours - theirs) <= 1e-10 * np.linalg.norm(theirs)
        np.testing.assert_array_equal(P.gradient_h(h, m), P.gradients(h, m)[0])
        np.testing.assert_array_equal(P.gradient_m(h, m), P.gradients(h, m)[1])


@PROPERTY
@given(
    inner1=st.lists(st.integers(1, 8), max_size=3),
    inner2=st.lists(st.integers(1, 8), max_size=3),
    n=st.integers(1, 5),
    p=st.integers(1, 5),
    ell=st.integers(1, 10),
    seed=st.integers(0, 2**20),
)
def test_gradients_equal_automatic_differentiation_for_any_shape(inner1, inner2, n, p, ell, seed):
    rng = np.random.default_rng(seed)
    G1, G2 = network(seed, (n, *inner1, ell)), network(seed + 1, (p, *inner2, ell))
    P = Demodulation(G1, G2, rng.normal(size=n), rng.normal(size=p))
    h, m = rng.normal(size=n), rng.normal(size=p)
    for ours, theirs in zip(P.gradients(h, m), autodiff_gradients(P, h, m), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-10 * np.linalg.norm(theirs)


@pytest.mark.parametrize(
    ("batch_h", "batch_m"),
    [
        ((6,), ()),
        ((), (6,)),
        ((4,), (4,)),
        ((4, 1), (5,)),
        ((1,), (3,)),
        ((2, 3), (3,)),
        ((0,), ()),
    ],
)
def test_leading_axes_broadcast_like_one_pair_at_a_time(batch_h, batch_m):
    P = problem("mixed-depth")
    H, M = points(P, 5, *batch_h)[0], points(P, 6, *batch_m)[1]
    DH, DM = points(P, 7, *batch_h)[0], points(P, 8, *batch_m)[1]
    batch = np.broadcast_shapes(batch_h, batch_m)
    loss, (g1, g2) = P.loss(H, M), P.gradients(H, M)
    slope = P.directional_derivative(H, M, DH, DM)
    distance, error = P.neighbourhood(H, M, (-1, 1)), P.product_error(H, M)
    alone1, alone2 = P.gradient_h(H, M), P.gradient_m(H, M)
    for value in (loss, slope, distance, error):
        assert value.shape == batch
    for value in (g1, alone1):
        assert value.shape == (*batch, P.n)
    for value in (g2, alone2):
        assert value.shape == (*batch, P.p)
    H, DH = (np.broadcast_to(x, (*batch, P.n)) for x in (H, DH))
    M, DM = (np.broadcast_to(x, (*batch, P.p)) for x in (M, DM))
    for i in np.ndindex(*batch):
        h, m, dh, dm = H[i], M[i], DH[i], DM[i]
        assert loss[i] == pytest.approx(P.loss(h, m), rel=1e-11)
        for several, single in zip((g1, g2), P.gradients(h, m), strict=True):
            np.testing.assert_allclose(several[i], single, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(alone1[i], g1[i], rtol=1e-12)
        np.testing.assert_allclose(alone2[i], g2[i], rtol=1e-12)
        one = P.directional_derivative(h, m, dh, dm)
        assert slope[i] == pytest.approx(one, rel=1e-9, abs=1e-12)
        assert distance[i] == pytest.approx(P.neighbourhood(h, m, (-1, 1)), rel=1e-10)
        assert error[i] == pytest.approx(P.product_error(h, m), rel=1e-12)


@all_shapes
def test_taylor_remainder_of_the_gradient_is_of_second_order(shape):
    P = problem(shape)
    rng = np.random.default_rng(9)
    ts = 2.0 ** -np.arange(8, 14)
    for _ in range(1000):
        h, m = rng.normal(size=P.n), rng.normal(size=P.p)
        dh, dm = rng.normal(size=P.n), rng.normal(size=P.p)
        smooth = same_pattern_on_segment(P.G1, h, dh, (0, *ts)) and same_pattern_on_segment(
            P.G2, m, dm, (0, *ts)
        )
        if smooth and np.linalg.norm(P.gradients(h, m)[0]) > 0:
            break
    g1, g2 = P.gradients(h, m)
    slope = g1 @ dh + g2 @ dm
    remainder = [abs(P.loss(h + t * dh, m + t * dm) - P.loss(h, m) - t * slope) for t in ts]
    order = np.diff(np.log2(remainder)) / np.diff(np.log2(ts))
    assert order[-1] == pytest.approx(2, abs=0.05)


# --- one-sided derivatives ------------------------------------------------------------------


@all_shapes
def test_directional_derivative_is_the_gradient_at_generic_points(shape):
    P = problem(shape)
    H, M = points(P, 10, 10)
    DH, DM = points(P, 11, 10)
    for h, m, dh, dm in zip(H, M, DH, DM, strict=True):
        g1, g2 = P.gradients(h, m)
        slope = P.directional_derivative(h, m, dh, dm)
        assert slope == pytest.approx(g1 @ dh + g2 @ dm, rel=1e-9, abs=1e-12)
        assert P.directional_derivative(h, m, -dh, -dm) == pytest.approx(-slope, rel=1e-12)
        assert P.directional_derivative(h, m, 3 * dh, 3 * dm) == pytest.approx(3 * slope)


@all_shapes
def test_directional_derivative_along_the_scale_split_is_zero(shape):
    P = problem(shape)
    h, m = points(P, 12)
    bound = 100 * EPS * natural_scale(P, h, m)
    assert abs(P.directional_derivative(h, m, h, -m)) <= bound  # f(ch, m/c) = f(h, m)


def loss_quotient(P, h, m, dh, dm, t):
    return one_sided_slope(lambda k: float(P.loss(h + k * t * dh, m + k * t * dm)), t)


KINK_CASES = [
    (shape, factor, layer)
    for shape in ("one-layer", "mixed-depth", "two-layer", "deep")
    for factor in (1, 2)
    for layer in range(1, len(SHAPES[shape][factor - 1]))
]


@pytest.mark.parametrize(("shape", "factor", "layer"), KINK_CASES)
def test_directional_derivative_at_a_kink_is_the_difference_quotient(shape, factor, layer):
    P = problem(shape)
    rng = np.random.default_rng([13, factor, layer])
    visible = 0
    for _ in range(100):
        h, m = rng.normal(size=P.n), rng.normal(size=P.p)
        if factor == 1:
            h, _ = kink_point(P.G1, layer, rng)
        else:
            m, _ = kink_point(P.G2, layer, rng)
        dh, dm = rng.normal(size=P.n), rng.normal(size=P.p)
        slopes = []
        for sign in (1, -1):
            # the largest step on which both networks are linear: least rounding
            for t in 2.0 ** -np.arange(8, 20):
                ts = (2.0**-30, t, 4 * t)
                if same_pattern_on_segment(P.G1, h, sign * dh, ts) and same_pattern_on_segment(
                    P.G2, m, sign * dm, ts
                ):
                    break
            else:
                raise AssertionError("another kink next to this one")
            slopes.append(P.directional_derivative(h, m, sign * dh, sign * dm))
            quotient = loss_quotient(P, h, m, sign * dh, sign * dm, t)
            # 128/12 evaluations' roundings, each a few EPS of the terms of the loss
            bound = 100 * EPS * natural_scale(P, h, m) / t
            assert abs(slopes[-1] - quotient) <= bound
        # the unit may be one that the loss does not see; go on until some are seen
        visible += abs(sum(slopes)) > 1e3 * bound
        if visible == 3:
            break
    assert visible == 3


@pytest.mark.parametrize("shape", ["one-layer", "mixed-depth", "two-layer", "deep"])
def test_kinks_of_the_last_layer_are_concave_by_the_observation(shape):
    """Opposite slopes at a kink of unit j sum to -y_j b_j |effective row . dh| <= 0."""
    P = problem(shape)
    rng = np.random.default_rng(24)
    seen = 0
    for _ in range(60):
        h, j = kink_point(P.G1, P.d, rng)
        m, dh, dm = rng.normal(size=P.p), rng.normal(size=P.n), rng.normal(size=P.p)
        row = P.G1.weights[-1][j] @ naive_Lambda(P.G1.weights[:-1], h.tolist())
        expected = -P.y0[j] * naive_forward(P.G2.weights, m.tolist())[j] * abs(row @ dh)
        slopes = [P.directional_derivative(h, m, i * dh, i * dm) for i in (1, -1)]
        assert sum(slopes) == pytest.approx(expected, abs=100 * EPS * natural_scale(P, h, m))
        seen += expected < 0
    assert seen >= 3


@settings(PROPERTY, max_examples=150)
@given(
    inner1=st.lists(st.integers(1, 4), max_size=2),
    inner2=st.lists(st.integers(1, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 2**20),
)
def test_directional_derivative_is_exact_on_integer_networks(inner1, inner2, sizes, seed):
    """Simple, double and multiple kinks in all layers, h = 0 and m = 0 included, no rounding."""
    rng = np.random.default_rng(seed)
    n, p, ell = sizes
    G1, G2 = integer_network(rng, (n, *inner1, ell)), integer_network(rng, (p, *inner2, ell))
    h0, h, dh = rng.integers(-2, 3, size=(3, n)).astype(np.float64)
    m0, m, dm = rng.integers(-2, 3, size=(3, p)).astype(np.float64)
    P = Demodulation(G1, G2, h0, m0)
    for x, y in ((h, m), (0 * h, m), (h, 0 * m), (0 * h, 0 * m), (h0, m0)):
        exact = exact_loss_slope(P, x, y, dh, dm, Fraction(1, 2**20))
        assert Fraction(float(P.directional_derivative(x, y, dh, dm))) == exact


def test_the_integer_problems_have_simultaneous_kinks_of_both_networks():
    count = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        zeros = []
        for G in (integer_network(rng, (3, 4, 4)), integer_network(rng, (2, 4, 4))):
            h = rng.integers(-2, 3, size=G.widths[0]).tolist()
            layers = naive_preactivations(G.weights, h)
            zeros.append(any(z == 0 for layer in layers for z in layer) and any(layers[-1]))
        count += all(zeros)
    assert count >= 20


@all_shapes
def test_one_sided_derivative_at_h_zero_is_minus_the_correlation(shape):
    """At (0, m): G1 is G1(dh) t, so D f = -<y0, G1(dh) * G2(m)>; alike at (h, 0)."""
    P = problem(shape)
    h, m = points(P, 14)
    dh, dm = points(P, 15)
    scale = 100 * EPS * natural_scale(P, h, m)
    slope = P.directional_derivative(0 * h, m, dh, dm)
    assert abs(slope + P.y0 @ (P.G1(dh) * P.G2(m))) <= scale
    slope = P.directional_derivative(h, 0 * m, dh, dm)
    assert abs(slope + P.y0 @ (P.G1(h) * P.G2(dm))) <= scale
    assert P.directional_derivative(0 * h, 0 * m, dh, dm) == 0.0


def test_kink_tolerance_is_passed_on():
    G = ReluNetwork([[[1.0, -1.0], [1.0, 1.0]]])
    P = Demodulation(G, ReluNetwork([[[1.0], [1.0]]]), [3.0, 1.0], [1.0])
    h, dh = [1.0, np.nextafter(1.0, 0.0)], [0.0, 1.0]
    with_kink = P.directional_derivative(h, [1.0], dh, [0.0])
    without = P.directional_derivative(h, [1.0], dh, [0.0], kink_rtol=0.0)
    assert with_kink == pytest.approx(2.0 - 4.0, rel=1e-12)
    assert without == pytest.approx(2.0 - 4.0 - (0.0 - 2.0), rel=1e-12)


# --- hyperbolas and their neighbourhoods ----------------------------------------------------


def naive_relative_distance(h, m, hb, mb) -> float:
    """Bracketed minimisation over log c from many starts; the limits of c give 1."""

    def distance(log_c: float) -> float:
        c = math.exp(log_c)
        gap = math.hypot(np.linalg.norm(h - c * hb), np.linalg.norm(m - mb / c))
        return gap / math.hypot(c * np.linalg.norm(hb), np.linalg.norm(mb) / c)

    if not (hb.any() or mb.any()):
        return math.inf if h.any() or m.any() else 0.0
    grid = np.linspace(-20, 20, 401)
    values = [distance(x) for x in grid]
    best = min(1.0, *values)
    for i in range(1, len(grid) - 1):
        if values[i] <= min(values[i - 1], values[i + 1]):
            centre = grid[i]
            for width in (0.1, 1e-4, 1e-8):  # the solver's tolerance is relative to its variable
                found = minimize_scalar(
                    lambda x, centre=centre: distance(centre + x),
                    bounds=(-width, width),
                    method="bounded",
                    options={"xatol": 1e-9 * width},
                )
                centre += found.x
                best = min(best, float(found.fun))
    return best


def branch_point(
    P: Demodulation, branch: tuple[int, int], c: float
) -> tuple[np.ndarray, np.ndarray]:
    hb = P.h0 if branch[0] == 1 else -rho(P.d) * P.h0
    mb = P.m0 if branch[1] == 1 else -rho(P.s) * P.m0
    return c * hb, mb / c


def test_hyperbola_gives_the_point_of_each_branch():
    P = problem("two-layer")
    for branch in BRANCHES:
        hb, mb = P.hyperbola(branch)
        np.testing.assert_allclose(hb, branch_point(P, branch, 1.0)[0], rtol=1e-15)
        np.testing.assert_allclose(mb, branch_point(P, branch, 1.0)[1], rtol=1e-15)
    assert P.hyperbola() == (P.h0, P.m0)
    np.testing.assert_allclose(problem("deep").hyperbola((-1, 1))[0], -rho(3) * problem("deep").h0)
    assert not problem("one-layer").hyperbola((-1, 1))[0].any()  # rho_1 = 0
    assert BRANCHES[0] == (1, 1)
    assert set(BRANCHES) == set(itertools.product((1, -1), repeat=2))


@all_branches
@all_shapes
def test_neighbourhood_equals_bracketed_minimisation(shape, branch):
    P = problem(shape)
    rng = np.random.default_rng([16, P.n, P.p])
    for size_h, size_m in ((1.0, 1.0), (30.0, 1.0), (1.0, 0.03), (0.05, 0.05), (10.0, 10.0)):
        h, m = size_h * rng.normal(size=P.n), size_m * rng.normal(size=P.p)
        expected = naive_relative_distance(h, m, *branch_point(P, branch, 1.0))
        assert P.neighbourhood(h, m, branch) == pytest.approx(expected, rel=1e-9)


@all_branches
@pytest.mark.parametrize("shape", ["scalar", "one-layer", "two-layer", "deep"])
def test_neighbourhood_of_near_points_equals_bracketed_minimisation(shape, branch):
    P = problem(shape)
    rng = np.random.default_rng([17, P.n, P.p])
    for c, size in itertools.product((0.02, 0.7, 1.0, 5.0), (1e-1, 1e-3, 1e-5)):
        hc, mc = branch_point(P, branch, c)
        length = math.hypot(np.linalg.norm(hc), np.linalg.norm(mc))
        noise = rng.normal(size=P.n + P.p)
        noise *= size * length / np.linalg.norm(noise)
        h, m = hc + noise[: P.n], mc + noise[P.n :]
        expected = naive_relative_distance(h, m, *branch_point(P, branch, 1.0))
        measured = P.neighbourhood(h, m, branch)
        if length == 0:  # d = s = 1: both factors of the branch vanish
            assert measured == expected == 0.0
        else:
            assert measured == pytest.approx(expected, rel=1e-8)
            assert measured <= size * (1 + 1e-12)  # c itself is a candidate


@all_branches
@pytest.mark.parametrize("shape", ["two-layer", "deep", "width-one", "contracting"])
def test_neighbourhood_is_zero_exactly_on_the_hyperbola(shape, branch):
    P = problem(shape)
    for c in 10.0 ** np.array([-4, -2, -1, 0, 0.3, 1, 3]):
        assert P.neighbourhood(*branch_point(P, branch, c), branch) <= 1e-12


@pytest.mark.parametrize("branch", [(-1, 1), (1, -1)], ids=str)
def test_neighbourhood_is_zero_on_a_degenerate_branch_at_every_scale(branch):
    """rho_1 = 0: the branch is {0} x ray (or ray x {0})."""
    P = problem("one-layer")
    for c in (1e-3, 0.5, 1.0, 2.0, 1e3):
        assert P.neighbourhood(*branch_point(P, branch, c), branch) <= 1e-12
    opposite = (P.h0, -P.m0) if branch == (-1, 1) else (-P.h0, P.m0)
    assert P.neighbourhood(*opposite, branch) == 1.0


def test_neighbourhood_of_a_degenerate_branch_by_hand():
    """The least of ||(h, m - mb/c)|| / ||mb/c|| is the sine of the angle to the ray (0, mb)."""
    rng = np.random.default_rng(18)
    hb, mb = np.zeros(3), rng.normal(size=2)
    for scale in (0.1, 1.0, 12.0):
        h, m = scale * rng.normal(size=3), scale * rng.normal(size=2)
        m *= np.sign(m @ mb)
        cosine = m @ mb / np.linalg.norm(mb) / math.hypot(np.linalg.norm(h), np.linalg.norm(m))
        expected = math.sqrt(1 - cosine**2)
        assert relative_distance(h, m, hb, mb) == pytest.approx(expected, rel=1e-12)
        assert relative_distance(m, h, mb, hb) == pytest.approx(expected, rel=1e-12)


@all_branches
def test_neighbourhood_of_doubly_degenerate_branch_and_of_K(branch):
    P = problem("two-layer")
    h, m = points(P, 19)
    assert P.neighbourhood(0 * h, 0 * m, branch) == 1.0
    for x, y in ((0 * h, m), (h, 0 * m)):
        expected = naive_relative_distance(x, y, *branch_point(P, branch, 1.0))
        assert P.neighbourhood(x, y, branch) == pytest.approx(expected, rel=1e-9)
    one_layer = problem("one-layer")
    h, m = points(one_layer, 20)
    assert one_layer.neighbourhood(0 * h, 0 * m, (-1, -1)) == 0.0
    assert one_layer.neighbourhood(h, m, (-1, -1)) == np.inf
    np.testing.assert_array_equal(
        one_layer.neighbourhood(np.stack([h, 0 * h]), 0 * m, (-1, -1)), [np.inf, 0.0]
    )


@PROPERTY
@given(
    n=st.integers(1, 4),
    p=st.integers(1, 4),
    seed=st.integers(0, 2**20),
    exponents=st.tuples(*[st.integers(-3, 3)] * 4),
)
def test_relative_distance_is_at_most_one_and_no_candidate_beats_it(n, p, seed, exponents):
    rng = np.random.default_rng(seed)
    h, hb = rng.normal(size=(2, n))
    m, mb = rng.normal(size=(2, p))
    h, m, hb, mb = (10.0**e * v for e, v in zip(exponents, (h, m, hb, mb), strict=True))
    least = relative_distance(h, m, hb, mb)
    assert 0 <= least <= 1
    log_c = np.linspace(-25, 25, 2001)
    c = np.exp(log_c)[:, None]
    gaps = np.hypot(
        np.linalg.norm(h - c * hb, axis=1), np.linalg.norm(m - mb / c, axis=1)
    ) / np.hypot(np.linalg.norm(c * hb, axis=1), np.linalg.norm(mb / c, axis=1))
    assert least <= gaps.min() * (1 + 1e-12)


@settings(PROPERTY, max_examples=25)
@given(seed=st.integers(0, 2**20), exponents=st.tuples(*[st.integers(-2, 2)] * 4))
def test_relative_distance_equals_bracketed_minimisation(seed, exponents):
    rng = np.random.default_rng(seed)
    h, hb = rng.normal(size=(2, 2))
    m, mb = rng.normal(size=(2, 3))
    h, m, hb, mb = (10.0**e * v for e, v in zip(exponents, (h, m, hb, mb), strict=True))
    expected = naive_relative_distance(h, m, hb, mb)
    assert relative_distance(h, m, hb, mb) == pytest.approx(expected, rel=1e-8)


def test_neighbourhood_does_not_see_a_common_rescaling_of_the_truth_orbit():
    P = problem("two-layer")
    h, m = points(P, 21)
    moved = Demodulation(P.G1, P.G2, 8 * P.h0, P.m0 / 8)
    for branch in BRANCHES:
        distance = P.neighbourhood(h, m, branch)
        assert moved.neighbourhood(h, m, branch) == pytest.approx(distance, rel=1e-10)


@pytest.mark.parametrize("size", [1e-150, 1e-30, 1e30, 1e150])
def test_neighbourhood_of_very_long_or_short_points(size):
    """Far out only one end of the hyperbola matters: it is a ray, and near 0 none is near."""
    P = problem("two-layer")
    h, m = points(P, 22)
    far = []
    for x, x0 in ((h, P.h0), (m, P.m0)):
        cosine = x @ x0 / (np.linalg.norm(x0) * math.hypot(np.linalg.norm(h), np.linalg.norm(m)))
        far.append(math.sqrt(1 - max(0.0, cosine) ** 2))
    expected = min(far) if size > 1 else 1.0
    assert P.neighbourhood(size * h, size * m) == pytest.approx(expected, rel=1e-12)
    assert P.neighbourhood(size * P.h0, P.m0 / size) <= 1.0


def test_a_diverged_iterate_does_not_spoil_the_neighbourhoods_of_the_others():
    P = problem("two-layer")
    H, M = np.stack([P.h0] * 3), np.stack([P.m0] * 3)
    H[1], M[2] = np.inf, np.nan
    distances = P.neighbourhood(H, M)
    assert distances[0] <= 1e-12
    assert not (distances[1:] < 1).any()


@all_shapes
def test_product_error_equals_naive_loops_and_is_free_of_the_scale_split(shape):
    P = problem(shape)
    h, m = points(P, 23)
    cells = list(itertools.product(range(P.n), range(P.p)))
    gap = math.sqrt(sum((h[i] * m[j] - P.h0[i] * P.m0[j]) ** 2 for i, j in cells))
    size = math.sqrt(sum((P.h0[i] * P.m0[j]) ** 2 for i, j in cells))
    assert P.product_error(h, m) == pytest.approx(gap / size, rel=1e-12)
    assert P.product_error(5 * h, m / 5) == pytest.approx(gap / size, rel=1e-12)
    assert P.product_error(3 * P.h0, P.m0 / 3) <= 4 * EPS
    assert P.product_error(-P.h0, -P.m0) == 0.0  # the product does not see this pair of signs
    assert P.product_error(0 * h, m) == pytest.approx(1.0, rel=1e-14)


# --- status and refusals --------------------------------------------------------------------


def test_status_names_what_there_is_to_recover():
    positive = ReluNetwork([[[1.0], [1.0]]])
    first, second = ReluNetwork([[[1.0], [-1.0]]]), ReluNetwork([[[-1.0], [1.0]]])
    assert Demodulation(positive, positive, [1.0], [2.0]).status is Status.OK
    assert Demodulation(positive, positive, [-1.0], [1.0]).status is Status.DEAD_NETWORK
    assert Demodulation(positive, positive, [1.0], [-1.0]).status is Status.DEAD_NETWORK
    assert Demodulation(positive, positive, [0.0], [1.0]).status is Status.DEAD_NETWORK
    disjoint = Demodulation(first, second, [1.0], [1.0])
    assert disjoint.status is Status.ZERO_OBSERVATION
    assert disjoint.loss_at_zero == 0.0
    assert disjoint.loss([1.0], [1.0]) == 0.0
    assert Demodulation(first, second, [1.0], [-1.0]).status is Status.OK


def test_one_layer_truth_and_its_opposite_have_disjoint_supports():
    P = problem("one-layer")
    assert not (P.G1(P.h0) * P.G1(-P.h0)).any()


@pytest.mark.parametrize(
    ("h0", "m0", "message"),
    [
        (np.ones(2), np.ones(2), "h0: a finite vector of length 3"),
        (np.ones(3), np.ones(3), "m0: a finite vector of length 2"),
        (np.ones((1, 3)), np.ones(2), "h0: a finite vector"),
        ([1.0, np.nan, 0.0], np.ones(2), "h0: a finite vector"),
        (np.ones(3), [np.inf, 1.0], "m0: a finite vector"),
    ],
)
def test_impossible_truths_are_refused_by_name(h0, m0, message):
    G1, G2 = network(0, (3, 8)), network(1, (2, 8))
    with pytest.raises(ValueError, match=message):
        Demodulation(G1, G2, h0, m0)


def test_noise_is_added_to_the_observation_and_enters_loss_and_gradients():
    plain = problem("two-layer")
    noise = np.random.default_rng(8).normal(size=plain.ell)
    P = Demodulation(plain.G1, plain.G2, plain.h0, plain.m0, noise)
    np.testing.assert_array_equal(P.y0, plain.y0 + noise)
    assert P.loss(P.h0, P.m0) == pytest.approx(noise @ noise / 2)
    g1, _ = P.gradients(P.h0, P.m0)
    expected = -naive_Lambda(P.G1.weights, P.h0.tolist()).T @ (noise * P.G2(P.m0))
    np.testing.assert_allclose(g1, expected, rtol=1e-10)


@pytest.mark.parametrize("noise", [np.ones(7), np.full(8, np.nan), 1.0])
def test_impossible_noise_is_refused(noise):
    G1, G2 = network(0, (3, 8)), network(1, (2, 8))
    with pytest.raises(ValueError, match="noise: a finite vector of length 8"):
        Demodulation(G1, G2, np.ones(3), np.ones(2), noise)


def test_networks_with_different_signal_lengths_are_refused():
    with pytest.raises(ValueError, match="G1 has ell=8 but G2 has ell=9"):
        Demodulation(network(0, (3, 8)), network(1, (2, 9)), np.ones(3), np.ones(2))


@pytest.mark.parametrize("branch", [(0, 1), (1, 2), (-1,), (1, 1, 1)])
def test_unknown_branches_are_refused(branch):
    P = problem("one-layer")
    with pytest.raises(ValueError, match="branch="):
        P.neighbourhood(P.h0, P.m0, branch)
    with pytest.raises(ValueError, match="branch="):
        branch_name(branch)


def test_branches_are_named_by_their_signs():
    assert [branch_name(branch) for branch in BRANCHES] == ["++", "-+", "+-", "--"]
