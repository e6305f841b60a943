"""Lemmas behind the tracking engine.

Tracked matrices are exact, cold units do not switch, no unit switches within the calm radius, and
no sign choice falls faster than its bound.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.descent import hot_kernels, region_kernels, sign_kernels
from harness.descent.array_kernels import transpose
from harness.descent.solution import SIGNS
from harness.descent.tracked_network import Network, norm_bound, prepare, reset
from harness.descent.trial_memory import CHOICE, STATE, Point, SignMemory, Trial
from harness.network import ReluNetwork
from harness.problem import Demodulation
from tests.helpers import Array, Widths, network

SHAPES: tuple[Widths, ...] = (
    (4, 60),
    (3, 20, 50),
    (9, 7, 40),
    (3, 15, 25, 60),
    (3, 10, 14, 18, 40),
    (4, 300, 2100),
)
"""The last has more units than a block or a tile of the kernels holds."""


def entered(G: ReluNetwork, *points: Array, side: int = 0) -> Network:
    """The kernels' network after visiting the points, output and pull-back included."""
    net = prepare(G)
    reset(net)
    for x in points:
        visit(net, side, x)
    return net


def visit(net: Network, side: int, x: Array) -> None:
    region_kernels.enter(net, side, x)
    region_kernels.output_all(net, side, x)
    v = np.where(region_kernels.last(net, side) > 0, 1.0, 0.0)
    region_kernels.pull_back(net, side, v, np.empty(net.n))


def layers(G: ReluNetwork, x: Array) -> list[Array]:
    """Pre-activations z_1, ..., z_d by the definition."""
    z = []
    for W in G.weights:
        z.append(W @ x)
        x = np.maximum(z[-1], 0)
    return z


def path(rng: np.random.Generator, n: int, size: float, count: int) -> list[Array]:
    """A random walk on the sphere whose steps have about the given size; one in ten is a jump."""
    points = [rng.normal(size=n)]
    for _ in range(count):
        step = rng.normal(size=n)
        x = step if rng.random() < 0.1 else points[-1] + size * step / np.linalg.norm(step)
        points.append(x / np.linalg.norm(x))
    return points


def assert_matrices_equal_rebuilt_ones(G: ReluNetwork, net: Network, side: int, x: Array) -> None:
    """E_k = W_k diag(on_{k-1}) E_{k-1} at x, and B with the mask `base` for the last."""
    z, E = layers(G, x), G.weights[0]
    for k, W in enumerate(G.weights, start=1):
        if k > 1:
            on = (z[k - 2] > 0).astype(float)
            first, width = net.layers[k - 1]["units"], net.layers[k - 1]["width"]
            np.testing.assert_array_equal(net.on[side, first : first + width], on)
            E = W @ ((on if k < net.depth else net.base[side])[:, None] * E)
        tracked = region_kernels.matrix(net, side, k).reshape(net.n, -1).T
        np.testing.assert_allclose(tracked, E, rtol=0, atol=1e-12 * np.abs(E).max(initial=1.0))


@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("size", [0.02, 0.3, 3.0])
def test_matrices_after_random_switches_equal_rebuilt_ones(widths, size):
    """Few switches at a time, many, and nearly all."""
    G, rng = network(21, widths), np.random.default_rng([22, *widths])
    net = entered(G)
    for x in path(rng, widths[0], size, 40):
        visit(net, 1, x)
        assert_matrices_equal_rebuilt_ones(G, net, 1, x)
        np.testing.assert_allclose(region_kernels.last(net, 1), layers(G, x)[-1], atol=1e-11)
    effort = net.sides["effort"][1]
    if widths[-2] > 2 * widths[0] and size == 0.3:
        assert effort["updates"] > 0
    assert effort["evaluations"] == 41
    assert not net.sides["effort"]["evaluations"][0]


@pytest.mark.parametrize("widths", SHAPES[2:], ids=str)
def test_pass_on_updates_later_matrices_as_rebuilding_does(widths):
    """One unit of one layer at a time, without the choice of `propagate`."""
    G, rng = network(23, widths), np.random.default_rng([24, *widths])
    net = entered(G, *path(rng, widths[0], 0.3, 20))
    net.base[0] = rng.random(widths[-2]) < 0.5
    for k in range(1, net.depth):
        region_kernels.rebuild(net, 0, k)
    for k in range(1, net.depth - 1):
        for u in rng.choice(widths[k], size=5):
            state = net.on[0, net.layers[k]["units"] + u :]
            gain = 1.0 - 2.0 * state[0]
            state[0] += gain
            region_kernels.add_outer(net, 0, k, np.array([u]), np.array([gain]), 1)
            region_kernels.pass_on(net, 0, k, int(u), gain)
        updated = net.E[0].copy()
        for q in range(k, net.depth):
            region_kernels.rebuild(net, 0, q)
        np.testing.assert_allclose(updated, net.E[0], rtol=0, atol=1e-12 * np.abs(updated).max())


@pytest.mark.parametrize("widths", SHAPES, ids=str)
def test_pull_back_is_the_transpose_of_the_output(widths):
    G, rng = network(25, widths), np.random.default_rng([26, *widths])
    net, out = entered(G), np.empty(widths[0])
    for x in path(rng, widths[0], 0.3, 30):
        visit(net, 0, x)
        v = rng.normal(size=widths[-1])
        region_kernels.pull_back(net, 0, v, out)
        z = region_kernels.last(net, 0)  # z = Lambda x, so that v . z = (Lambda^T v) . x
        assert v @ z == pytest.approx(out @ x, abs=1e-10 * np.linalg.norm(v) * np.linalg.norm(z))


@pytest.mark.parametrize("widths", SHAPES[1:], ids=str)
def test_settling_and_dropping_leave_the_output_as_it_is(widths):
    """Whatever `base` is, B x and the listed units add up to z_d."""
    G, rng = network(27, widths), np.random.default_rng([28, *widths])
    net = entered(G)
    for x in path(rng, widths[0], 0.3, 40):
        net.sides["account"]["credit"] = rng.choice([-1e9, 0.0, 1e9])  # drop, keep, make
        net.sides["account"]["paid"] = rng.choice([0.0, 1e9])  # keep, settle
        visit(net, 0, x)
        assert_matrices_equal_rebuilt_ones(G, net, 0, x)
        np.testing.assert_allclose(region_kernels.last(net, 0), layers(G, x)[-1], atol=1e-11)


# --- Hot units ------------------------------------------------------------------------------


def settled(G: ReluNetwork, x: Array) -> Network:
    """A network at x with z_d = B x."""
    net = entered(G, x)
    if net.depth > 1:
        first = net.layers[net.depth - 1]["units"]
        net.base[0] = net.on[0, first:]
        region_kernels.rebuild(net, 0, net.depth - 1)
    return net


def in_ball(rng: np.random.Generator, centre: Array, radius: float, count: int) -> Array:
    """Points on the sphere and in the ball, (count, n)."""
    d = rng.normal(size=(count, centre.size))
    length = np.where(np.arange(count) % 2 == 0, 1.0, rng.random(count))
    return centre + radius * (length / np.linalg.norm(d, axis=1))[:, None] * d


def judged(net: Network, G: ReluNetwork, x: Array, radius: float) -> Array:
    """`judge_units` at x: (ell,)."""
    ball = hot_kernels.empty_ball(G.widths)
    ball.extent["radius"] = radius
    hot_kernels.judge_units(net, 0, ball, x)
    return ball.state


@given(st.integers(0, 10_000), st.sampled_from(SHAPES[:-1]), st.sampled_from([1e-3, 0.1, 1.0]))
@settings(max_examples=40, deadline=None)
def test_judged_units_do_not_switch_in_the_ball(seed, widths, radius):
    """With the inner pattern fixed: z_d = B x, the case in which the engine uses the ball."""
    rng = np.random.default_rng([31, seed])
    G = network(seed, widths)
    x = rng.normal(size=widths[0])
    net = settled(G, x)
    state = judged(net, G, x, radius)
    B = region_kernels.matrix(net, 0, net.depth).reshape(net.n, -1).T  # (ell, n)
    # the point of the ball where unit j is closest to its kink, for every j
    nearest = x - radius * (state / np.linalg.norm(B, axis=1).clip(1e-300))[:, None] * B
    z = np.concatenate([in_ball(rng, x, radius, 40), nearest]) @ B.T  # (points, ell)
    assert (z[:, state > 0] > 0).all()
    assert (z[:, state < 0] <= 0).all()
    near = np.abs(B @ x) < 0.999 * radius * np.linalg.norm(B, axis=1)
    np.testing.assert_array_equal(state[near], 0.0)


@given(st.integers(0, 10_000), st.sampled_from([1e-3, 0.05, 0.5]))
@settings(max_examples=40, deadline=None)
def test_cold_units_add_a_constant_to_the_loss_in_the_ball(seed, radius):
    """Neither switch nor gradient: a_j b_j = 0 for the cold units at all points of both balls."""
    rng = np.random.default_rng([32, seed])
    G1, G2 = network(seed, (3, 20, 50)), network(seed + 1, (4, 16, 50))
    h, m, y0 = rng.normal(size=3), rng.normal(size=4), rng.normal(size=50)
    nets = settled(G1, h), settled(G2, m)
    states = judged(nets[0], G1, h, radius), judged(nets[1], G2, m, radius)
    units, hot_y0 = np.zeros(50, dtype=np.int64), np.zeros(50)
    size, cold_loss = hot_kernels.choose_hot(*states, y0, units, hot_y0)
    hot = units[:size]
    cold = np.setdiff1d(np.arange(50), hot)
    np.testing.assert_array_equal(hot_y0[:size], y0[hot])
    assert cold_loss == pytest.approx(0.5 * np.sum(y0[cold] ** 2), rel=1e-12)
    B1, B2 = (region_kernels.matrix(net, 0, net.depth).reshape(net.n, -1).T for net in nets)
    for one, other in zip(in_ball(rng, h, radius, 30), in_ball(rng, m, radius, 30), strict=True):
        a, b = np.maximum(B1 @ one, 0), np.maximum(B2 @ other, 0)
        np.testing.assert_array_equal((a * b)[cold], 0.0)
        np.testing.assert_array_equal((B1 @ one > 0)[cold], (B1 @ h > 0)[cold])
        np.testing.assert_array_equal((B2 @ other > 0)[cold], (B2 @ m > 0)[cold])


def test_zero_rows_are_off_everywhere():
    W = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    G, x = ReluNetwork([W]), np.array([1.0, 0.0])
    assert [*judged(settled(G, x), G, x, 0.5)] == [1.0, -1.0, -1.0]


@given(st.integers(0, 10_000), st.sampled_from(SHAPES[1:-1]))
@settings(max_examples=40, deadline=None)
def test_no_inner_unit_switches_within_the_calm_radius_and_one_does_at_it(seed, widths):
    rng = np.random.default_rng([33, seed])
    G, x = network(seed, widths), rng.normal(size=widths[0])
    net, ball = settled(G, x), hot_kernels.empty_ball(widths)
    hot_kernels.measure_rows(net, 0, ball.norms)
    hot_kernels.calm_down(net, 0, ball, x)
    radius = ball.extent["calm"][0]
    here = np.concatenate(layers(G, x)[:-1]) > 0
    for point in in_ball(rng, x, radius, 40):
        np.testing.assert_array_equal(np.concatenate(layers(G, point)[:-1]) > 0, here)
    # the unit that is nearest to its kink, and the point where it gets there
    E, rows = G.weights[0], []
    for W, z in zip(G.weights[1:], layers(G, x), strict=False):
        rows.append(E)
        E = W @ ((z > 0)[:, None] * E)
    rows, z = np.concatenate(rows), np.concatenate(layers(G, x)[:-1])
    norms = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(ball.norms, norms, rtol=1e-10)
    room = np.where(norms > 0, np.abs(z) / norms.clip(1e-300), np.inf)
    assert radius == pytest.approx(room.min(), rel=1e-8, abs=1e-10)
    u = room.argmin()
    beyond = x - (1 + 1e-6) * z[u] * rows[u] / norms[u] ** 2
    assert (np.concatenate(layers(G, beyond)[:-1]) > 0)[u] != here[u]


def test_the_calm_radius_ignores_zero_rows_and_is_zero_at_a_kink():
    x = np.array([1.0, 0.0])
    radius = hot_kernels.calm_radius(np.array([0.0, 2.0]), np.array([0.0, 4.0]), x)
    assert radius == pytest.approx(0.5, rel=1e-8)
    assert hot_kernels.calm_radius(np.array([0.0, 2.0]), np.array([1.0, 4.0]), x) <= 0
    assert hot_kernels.calm_radius(np.zeros(0), np.zeros(0), x) == np.inf


# --- The sign check -------------------------------------------------------------------------


def checked(
    P: Demodulation, h: Array, m: Array, scale: float
) -> tuple[Network, Network, Trial, int]:
    """A full sign check at (h, m), with the networks at (scale h, m / scale); and its choice."""
    order = np.argsort(-np.abs(P.y0), kind="stable")
    nets = prepare(P.G1, order), prepare(P.G2, order)
    points = [Point(x, c * x, np.zeros(x.size)) for x, c in ((h, scale), (m, 1 / scale))]
    for net, point in zip(nets, points, strict=True):
        reset(net)
        visit(net, 0, point.raw)
    state = np.zeros(1, dtype=STATE)
    state["scale"] = scale
    units, signs = np.zeros(P.ell, dtype=np.int64), (P.n, P.p)
    signs = SignMemory(*map(np.zeros, signs), np.zeros(3, dtype=CHOICE))
    trial = Trial(*points, state, P.y0[order], np.zeros(P.ell), units, np.zeros(P.ell), signs)
    return *nets, trial, sign_kernels.least_sign(*nets, trial, float(P.loss(h, m)))


def random_problem(rng: np.random.Generator, seed: int, widths: Widths) -> Demodulation:
    h0, m0 = rng.normal(size=(2, widths[0]))
    return Demodulation(network(seed, widths), network(seed + 1, widths), h0, m0)


@given(st.integers(0, 10_000), st.sampled_from(SHAPES[:-1]), st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_least_sign_is_the_choice_of_least_loss_at_the_mirror_images(seed, widths, scale):
    rng = np.random.default_rng([34, seed])
    P = random_problem(rng, seed, widths)
    near = rng.random() < 0.5
    h, m = ((x + 0.3 * rng.normal(size=x.size)) * (1 if near else -1) for x in (P.h0, P.m0))
    losses = [float(P.loss(i * h, j * m)) for i, j in SIGNS]
    net1, _, trial, best = checked(P, h, m, scale)
    assert best == int(np.argmin(losses))
    assert net1.sides["effort"]["evaluations"][1] == 1
    roots = np.sqrt(2 * np.array(losses[1:]))
    assert (trial.signs.choices["root"] <= roots * (1 + 1e-9)).all()
    np.testing.assert_array_equal(trial.signs.choices["root"] > 0, best == 0)


@given(
    st.integers(0, 10_000), st.sampled_from(SHAPES[:-1]), st.sampled_from([1e-3, 0.03, 0.3, 2.0])
)
@settings(max_examples=60, deadline=None)
def test_no_sign_choice_falls_faster_than_its_bound(seed, widths, size):
    """The Lipschitz bound and what `still_least` makes of it, also in the steepest direction."""
    rng = np.random.default_rng([35, seed])
    P = random_problem(rng, seed, widths)
    h, m = (x + 0.2 * rng.normal(size=x.size) for x in (P.h0, P.m0))
    *_, trial, best = checked(P, h, m, 1.7)
    choices = trial.signs.choices
    for i, (s, t) in enumerate(SIGNS[1:]):
        g1, g2 = P.gradients(s * h, t * m)
        steepest = -s * g1 / max(np.linalg.norm(g1), 1e-300)
        down = -t * g2 / max(np.linalg.norm(g2), 1e-300)
        for u, w in [*zip(rng.normal(size=(8, P.n)), rng.normal(size=(8, P.p)), strict=True),
                     (steepest, down)]:  # fmt: skip
            u, w = size * rng.random() * u, size * rng.random() * w
            a, b = np.linalg.norm(u), np.linalg.norm(w)
            fall = a * choices["slope_h"][i] + b * choices["slope_m"][i]
            fall += a * b * choices["slope_both"][i]
            root = np.sqrt(2 * P.loss(s * (h + u), t * (m + w)))
            assert root >= choices["root"][i] - fall - 1e-12
            moved = trial._replace(h=Point(h + u, h + u, h), m=Point(m + w, m + w, m))
            loss = float(P.loss(h + u, m + w))
            if sign_kernels.still_least(moved, loss, P.loss_at_zero):
                assert best == 0
                assert all(P.loss(i * (h + u), j * (m + w)) > loss for i, j in SIGNS[1:])


def test_the_sign_check_is_left_out_near_the_truth_and_not_where_another_choice_ties():
    P = random_problem(np.random.default_rng(36), 36, (3, 20, 50))
    *_, trial, _ = checked(P, P.h0 + 1e-3, P.m0 - 1e-3, 1.0)
    assert sign_kernels.still_least(trial, 1e-6 * P.loss_at_zero, P.loss_at_zero)
    assert not sign_kernels.still_least(trial, np.nan, P.loss_at_zero)
    *_, trial, best = checked(P, np.zeros(3), P.m0, 1.0)  # (0, m) and (-0, m) tie
    assert best == 0
    assert not sign_kernels.still_least(trial, P.loss_at_zero, P.loss_at_zero)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_norm_bound_is_at_least_the_spectral_norm_and_little_more(seed, n, rows):
    W = np.random.default_rng([37, seed]).normal(size=(rows, n)) * 10.0 ** (seed % 9 - 4)
    norm = np.linalg.norm(W, 2)
    assert norm <= norm_bound(W) <= 1.001 * n ** (1 / 16) * norm
    assert norm_bound(0 * W) >= 0


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (8, 5), (19, 2), (40, 33)])
def test_transpose_takes_the_rows_in_the_given_order(shape):
    rng = np.random.default_rng([38, *shape])
    W, order, out = rng.normal(size=shape), rng.permutation(shape[0]), np.empty(shape).ravel()
    transpose(W, order, out)
    np.testing.assert_array_equal(out, W[order].T.ravel())
