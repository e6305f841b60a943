"""The hunt: every point it reports is stationary, and on small tori none that exists is missing."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest

from harness.landscape.arcs import direction
from harness.landscape.hunt import Hunt, hunt
from harness.landscape.kinds import Kind
from harness.landscape.kinks import kinks_at
from harness.landscape.newton import at_best_scale, derivatives
from harness.landscape.polish import settle
from harness.landscape.walk import walk
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation
from tests.helpers import integer_network, kink_point, network

Array = np.ndarray
Widths = tuple[int, ...]

SHAPES: dict[str, tuple[Widths, Widths]] = {
    "torus": ((2, 8, 30), (2, 8, 30)),
    "one-layer": ((3, 25), (2, 25)),
    "two-layer": ((4, 12, 60), (3, 12, 60)),
    "three-layer": ((3, 9, 15, 60), (2, 8, 60)),
    "line": ((1, 4, 20), (3, 8, 20)),
}


def problem(widths1: Widths, widths2: Widths, seed: int) -> Demodulation:
    """A problem with an observation on a tenth of the entries at least."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        G1, G2 = (network(int(rng.integers(2**31)), w) for w in (widths1, widths2))
        P = Demodulation(G1, G2, rng.normal(size=widths1[0]), rng.normal(size=widths2[0]))
        if 10 * np.count_nonzero(P.y0) >= P.ell:
            return P
    raise AssertionError("no problem with an observation to speak of")


@pytest.fixture(scope="module", params=SHAPES)
def found(request: pytest.FixtureRequest) -> list[tuple[Demodulation, Hunt]]:
    """Problems of a shape and what a hunt with saddles finds in them."""
    problems = [problem(*SHAPES[request.param], seed) for seed in range(3)]
    return [(P, hunt(P, np.random.default_rng(7), 48, saddles=True)) for P in problems]


def directions(P: Demodulation, count: int, seed: int = 0) -> tuple[Array, Array]:
    """Unit vectors of R^n x R^p, a third of them in one factor alone."""
    v = np.random.default_rng(seed).normal(size=(count, P.n + P.p))
    v[::6, : P.n] = 0
    v[1::6, P.n :] = 0
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v[:, : P.n], v[:, P.n :]


def relative_slopes(P: Demodulation, h: Array, m: Array, count: int = 3000) -> Array:
    """D_v f ||x|| / ||y0||^2 for unit v: random ones, and along and across what is orthogonal."""
    dh, dm = directions(P, count)
    slopes = P.directional_derivative(h, m, dh, dm, kink_rtol=1e-9)
    return slopes * np.hypot(np.linalg.norm(h), np.linalg.norm(m)) / (P.y0 @ P.y0)


# --- What is reported is true ---------------------------------------------------------------


def test_fields_are_what_they_say(found: list[tuple[Demodulation, Hunt]]) -> None:
    for P, result in found:
        count = len(result.h)
        assert count >= 1
        assert all(
            len(getattr(result, field.name)) == count
            for field in fields(result)
            if field.name not in ("descents", "lost", "expected", "expected_interval")
        )
        assert result.h.shape == (count, P.n)
        assert result.m.shape == (count, P.p)
        sizes = np.linalg.norm(result.h, axis=1), np.linalg.norm(result.m, axis=1)
        np.testing.assert_allclose(*sizes, rtol=1e-12)
        np.testing.assert_allclose(result.r, sizes[0] * sizes[1], rtol=1e-12)
        loss = P.loss(result.h, result.m) / (0.5 * P.y0 @ P.y0)
        np.testing.assert_allclose(result.loss_ratio, loss, atol=1e-15)
        assert (np.diff(result.loss_ratio) >= 0).all()
        assert (result.loss_ratio < 1).all()
        for k, (branch, epsilon) in enumerate(zip(result.branch, result.epsilon, strict=True)):
            distances = {b: P.neighbourhood(result.h[k], result.m[k], b) for b in BRANCHES}
            assert distances[branch] == min(distances.values())
            assert distances[branch] == pytest.approx(epsilon, rel=1e-9, abs=1e-9)
        assert result.descents >= result.hits.sum() == result.descents - result.lost
        kinds = {"minimum", "saddle", "degenerate", "kink minimum", "kink saddle"}
        assert set(result.kind.tolist()) <= kinds
        minima = [kind.endswith("minimum") for kind in result.kind.tolist()]
        assert result.is_minimum.tolist() == minima
        low, high = result.expected_interval
        assert low <= high
        assert result.is_minimum.sum() <= min(result.expected, high)


def test_no_point_is_reported_twice(found: list[tuple[Demodulation, Hunt]]) -> None:
    for _, result in found:
        strict = np.concatenate([result.h, result.m], axis=1)[result.is_minimum]
        for x, y in combinations(strict, 2):
            assert np.linalg.norm(x - y) > 1e-6 * np.linalg.norm(x)


def test_smooth_points_have_no_gradient(found: list[tuple[Demodulation, Hunt]]) -> None:
    seen = 0
    for P, result in found:
        for h, m, kinks in zip(result.h, result.m, result.kinks, strict=True):
            if not kinks:
                g1, g2 = P.gradients(h, m)
                size = np.hypot(np.linalg.norm(g1), np.linalg.norm(g2))
                assert size * np.linalg.norm(h) * np.sqrt(2) / (P.y0 @ P.y0) < 1e-9
                seen += 1
    assert seen >= len(found)


def test_f_falls_in_no_direction_from_any_point(found: list[tuple[Demodulation, Hunt]]) -> None:
    """Independent one-sided derivatives, kinks included: random directions and both sides."""
    for P, result in found:
        assert (result.residual <= 1e-9).all()
        for h, m in zip(result.h, result.m, strict=True):
            assert relative_slopes(P, h, m).min() > -1e-9


def test_reported_kinks_are_kinks_and_f_rises_to_both_sides(
    found: list[tuple[Demodulation, Hunt]],
) -> None:
    for P, result in found:
        for k in np.flatnonzero([len(kinks) > 0 for kinks in result.kinks]):
            for factor, layer, unit in result.kinks[k]:
                G, x = (P.G1, result.h[k]) if factor == 1 else (P.G2, result.m[k])
                assert 1 <= layer < G.depth, "the last layer's kinks are concave"
                for W in G.weights[: layer - 1]:
                    x = np.maximum(W @ x, 0)
                row = G.weights[layer - 1][unit]
                assert abs(row @ x) <= 1e-9 * np.linalg.norm(row) * np.linalg.norm(x)
            if result.kind[k] == "kink minimum":
                assert relative_slopes(P, result.h[k], result.m[k]).max() > 1e-9


def test_f_is_nowhere_lower_around_a_minimum(found: list[tuple[Demodulation, Hunt]]) -> None:
    for P, result in found:
        for h, m in zip(result.h[result.is_minimum], result.m[result.is_minimum], strict=True):
            size = np.linalg.norm(h)
            for radius in (1e-3, 1e-4, 1e-5, 1e-6):
                dh, dm = directions(P, 2000, seed=1)
                least = P.loss(h + radius * size * dh, m + radius * size * dm).min()
                # A cell may be smaller than the larger radii: then f may fall beyond it.
                lower = least < P.loss(h, m) - 1e-14 * P.loss_at_zero
                if not lower:
                    break
            assert not lower


def test_f_falls_from_a_saddle(found: list[tuple[Demodulation, Hunt]]) -> None:
    seen = 0
    for P, result in found:
        for k in np.flatnonzero(result.kind == "saddle"):
            h, m = result.h[k], result.m[k]
            _, H = derivatives(P, h[None], m[None])
            values, vectors = np.linalg.eigh(H[0])
            assert values[0] < 0
            lower = []
            for radius in (1e-3, 1e-4, 1e-5):
                step = radius * np.linalg.norm(h) * vectors[:, 0]
                for sign in (1, -1):
                    x = np.concatenate([h, m]) + sign * step
                    lower.append(P.loss(x[: P.n], x[P.n :]) < P.loss(h, m))
            assert any(lower)
            seen += 1
    if found[0][0].n > 1 and found[0][0].d > 1:
        assert seen > 0


@pytest.mark.parametrize("seed", range(5))
def test_the_truth_is_found(seed: int) -> None:
    P = problem((3, 12, 80), (3, 12, 80), seed)
    for starts in (1, 16):
        result = hunt(P, np.random.default_rng(seed), starts)
        assert result.branch[0] == (1, 1)
        assert result.epsilon[0] < 1e-9
        assert result.kind[0] == "minimum"
        assert result.r[0] == pytest.approx(np.linalg.norm(P.h0) * np.linalg.norm(P.m0))


# --- What exists is reported, n = p = 2 -----------------------------------------------------


def profile(P: Demodulation, theta: Array, phi: Array) -> Array:
    """Least loss over scale relative to that on K, on the torus of directions."""
    q = P.G1(direction(theta)) * P.G2(direction(phi))
    overlap, size = q @ P.y0, np.sum(q * q, axis=-1)
    fall = np.divide(overlap**2, size, out=np.zeros_like(size), where=size > 0)
    return 1 - fall / (P.y0 @ P.y0)


def least_around(P: Demodulation, theta: float, phi: float, radius: float) -> float:
    """Least profile on a circle of the torus: a scan, and finer ones about its lowest points."""
    angles, width = np.linspace(0, 2 * np.pi, 1001), 2 * np.pi / 1000
    for _ in range(5):
        values = profile(P, theta + radius * np.cos(angles), phi + radius * np.sin(angles))
        lowest = angles[np.argsort(values)[:20]]
        angles = (lowest[:, None] + np.linspace(-width, width, 41)).ravel()
        width /= 20
    return float(values.min())


def is_strict(P: Demodulation, theta: float, phi: float) -> bool:
    """Whether the profile is higher on small circles, plainly."""
    value = float(profile(P, np.array([theta]), np.array([phi]))[0])
    return all(least_around(P, theta, phi, q) > value + 1e-6 * q**2 for q in (1e-3, 1e-4))


def scanned_minima(P: Demodulation, size: int = 300) -> Array:
    """Angles (K, 2) of strict minima of the torus: a dense grid and a shrinking poll from it."""
    grid = 2 * np.pi * (np.arange(size) + 0.31) / size
    A, B = P.G1(direction(grid)), P.G2(direction(grid))
    overlap, norm = (A * P.y0) @ B.T, (A * A) @ (B * B).T
    depth = np.divide(overlap**2, norm, out=np.zeros_like(norm), where=norm > 0)
    near = [np.roll(depth, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    i, j = np.nonzero((depth > 0) & (depth > np.max(near, axis=0)))
    x = np.stack([grid[i], grid[j]], axis=1)
    value, radius = profile(P, *x.T), np.full(len(x), 2 * np.pi / size)
    for step in range(400):
        poll = direction(2 * np.pi * (np.arange(32) + 0.618 * step % 1) / 32)
        around = x[:, None] + radius[:, None, None] * poll
        values = profile(P, around[..., 0], around[..., 1])
        best = values.argmin(axis=1)
        rows = np.arange(len(x))
        better = values[rows, best] < value
        x[better] = around[rows, best][better]
        value = np.where(better, values[rows, best], value)
        radius = np.where(better, np.minimum(1.3 * radius, 0.02), 0.6 * radius)
    return np.array([place for place in x if is_strict(P, *place)]).reshape(-1, 2)


def missing(places: Array, result: Hunt, atol: float) -> list[tuple[float, float]]:
    """Of angles (K, 2) those at which the hunt has no minimum."""
    u = result.h / np.linalg.norm(result.h, axis=1, keepdims=True)
    v = result.m / np.linalg.norm(result.m, axis=1, keepdims=True)
    return [
        (theta, phi)
        for theta, phi in places
        if not np.any(
            np.hypot(
                np.linalg.norm(u - direction(theta), axis=1),
                np.linalg.norm(v - direction(phi), axis=1),
            )[result.is_minimum]
            < atol
        )
    ]


TORI: list[tuple[Widths, Widths]] = [
    ((2, 8, 30), (2, 8, 30)),
    ((2, 6, 40), (2, 40)),
    ((2, 5, 8, 24), (2, 6, 24)),
    ((2, 12, 80), (2, 12, 80)),
]


@pytest.mark.slow
@pytest.mark.parametrize("widths", TORI, ids=str)
def test_no_minimum_of_a_dense_scan_is_missing(widths: tuple[Widths, Widths]) -> None:
    seen = 0
    for seed in range(4):
        P = problem(*widths, seed)
        places = scanned_minima(P)
        assert not missing(places, hunt(P, np.random.default_rng(seed), 48), 1e-3)
        seen += len(places)
    assert seen >= 12


@pytest.mark.slow
@pytest.mark.parametrize("widths", TORI, ids=str)
def test_no_strict_minimum_of_the_census_is_missing(widths: tuple[Widths, Widths]) -> None:
    from harness.landscape.census import stationary_points

    seen = 0
    for seed in range(6):
        P = problem(*widths, seed)
        points = stationary_points(P)
        points = points[points["kind"].isin(["minimum", "kink minimum"])]
        places = points[["theta", "phi"]].to_numpy()
        result = hunt(P, np.random.default_rng(seed), 48)
        lost = missing(places, result, 1e-6)
        assert not [place for place in lost if is_strict(P, *place)]
        seen += len(places)
    assert seen >= 20


def test_kinks_of_both_factors_are_found_on_a_torus() -> None:
    """Minima on one kink and on two happen, and are among what the tests above compare."""
    counts = set()
    for seed in range(8):
        P = problem((2, 8, 30), (2, 8, 30), seed)
        result = hunt(P, np.random.default_rng(seed), 32)
        counts |= {len(kinks) for kinks in result.kinks}
    assert counts == {0, 1, 2}


@pytest.mark.slow
def test_starts_of_the_caller_are_used() -> None:
    P = problem((6, 20, 60), (6, 20, 60), 0)
    many = hunt(P, np.random.default_rng(0), 96)
    spurious = np.flatnonzero(many.is_minimum & (many.loss_ratio > 1e-3))
    assert spurious.size > 0
    near = np.random.default_rng(1).normal(size=(1, P.n)) * 1e-6
    given = 100 * (many.h[spurious] + near), 0.01 * many.m[spurious]
    few = hunt(P, np.random.default_rng(2), 1, h_init=given[0], m_init=given[1])
    again = 0
    for h, m in zip(many.h[spurious], many.m[spurious], strict=True):
        distance = np.hypot(np.linalg.norm(few.h - h, axis=1), np.linalg.norm(few.m - m, axis=1))
        again += distance.min() < 1e-6 * np.linalg.norm(h)
    # A step may lead over the edge of a small basin to lower ground.
    assert again >= 0.9 * spurious.size


# --- Facts that the polish rests on ---------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_f_is_a_convex_quadratic_of_one_factor_inside_a_cell(name: str) -> None:
    """So that a smooth stationary point is a minimum or a saddle, never a maximum."""
    P = problem(*SHAPES[name], 1)
    rng = np.random.default_rng(0)
    h, m = rng.normal(size=(40, P.n)), rng.normal(size=(40, P.p))
    _, H = derivatives(P, h, m)
    largest = np.abs(H).max()
    assert np.linalg.eigvalsh(H[:, : P.n, : P.n]).min() >= -1e-12 * largest
    assert np.linalg.eigvalsh(H[:, P.n :, P.n :]).min() >= -1e-12 * largest
    assert np.linalg.eigvalsh(H).max(axis=1).min() >= -1e-12 * largest


def test_a_kink_of_the_last_layer_is_concave_and_of_the_stated_size() -> None:
    P = problem((4, 12, 60), (3, 12, 60), 2)
    rng = np.random.default_rng(3)
    falls = 0
    for _ in range(20):
        h, j = kink_point(P.G1, 2, rng)
        m, v = rng.normal(size=3), rng.normal(size=4)
        both = P.directional_derivative(h, m, np.stack([v, -v]), np.zeros((2, 3)))
        row = P.G1.weights[1][j] @ ReluNetwork(P.G1.weights[:1]).Lambda(h)
        assert both.sum() == pytest.approx(-P.y0[j] * P.G2(m)[j] * abs(row @ v), abs=1e-12)
        falls += both.sum() < -1e-9
    assert falls > 0


def test_gradient_and_hessian_are_those_of_f() -> None:
    P = problem((3, 9, 15, 60), (2, 8, 60), 3)
    rng = np.random.default_rng(0)
    h, m = rng.normal(size=(5, P.n)), rng.normal(size=(5, P.p))
    g, H = derivatives(P, h, m)
    np.testing.assert_allclose(g, np.concatenate(P.gradients(h, m), axis=1), rtol=1e-11)
    for k in range(P.n + P.p):
        step = 1e-7 * np.eye(P.n + P.p)[k]
        up = np.concatenate(P.gradients(h + step[: P.n], m + step[P.n :]), axis=1)
        down = np.concatenate(P.gradients(h - step[: P.n], m - step[P.n :]), axis=1)
        np.testing.assert_allclose(H[:, k], (up - down) / 2e-7, rtol=1e-5, atol=1e-6)


def test_best_scale_is_the_least_of_a_scan_and_k_where_supports_do_not_meet() -> None:
    P = problem((3, 9, 40), (2, 40), 4)
    rng = np.random.default_rng(0)
    h, m = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    best_h, best_m, ratio = at_best_scale(P, h, m)
    for scale in np.linspace(0.5, 2, 31):
        assert (P.loss(scale * best_h, best_m) >= P.loss(best_h, best_m) - 1e-12).all()
    np.testing.assert_allclose(P.loss(best_h, best_m) / P.loss_at_zero, ratio, rtol=1e-12)
    blind = Demodulation(
        ReluNetwork([np.array([[1.0], [-1.0]])]), ReluNetwork([np.ones((2, 1))]), [1.0], [1.0]
    )
    best_h, best_m, ratio = at_best_scale(blind, np.array([[-3.0]]), np.array([[2.0]]))
    assert (best_h, best_m, ratio) == (0, 0, 1)


def test_a_walk_ends_at_the_first_minimum_of_a_scan() -> None:
    P = problem((4, 12, 60), (3, 12, 60), 5)
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(60):
        x = rng.normal(size=P.n + P.p)
        g = np.concatenate(P.gradients(x[: P.n], x[P.n :]))
        step = -g / np.linalg.norm(g) + 0.3 * rng.normal(size=x.size)
        slope = float(g @ step)
        if slope >= 0:
            continue
        end, kinks = walk(P, x, step, (), slope, max_breaks=10_000)
        t = float((end - x) @ step / (step @ step))
        scan = x + np.linspace(0, t, 2000)[:, None] * step
        values = P.loss(scan[:, : P.n], scan[:, P.n :])
        assert (np.diff(values) < 1e-12 * values[0]).all()
        if t < 2 - 1e-9:
            beyond = x + (t + 1e-6) * step
            assert P.loss(beyond[: P.n], beyond[P.n :]) > values[-1] - 1e-13 * values[0]
        held += bool(kinks)
    assert held > 0


@pytest.mark.slow
def test_kinks_of_two_layers_at_once_are_held_or_left_as_the_derivatives_say() -> None:
    """A kink of layer 2 bends at one of layer 1: the nested one-sided derivative decides."""
    held = 0
    for seed in range(4):
        P = problem((4, 8, 12, 60), (2, 60), seed)
        rng = np.random.default_rng(seed)
        for _ in range(40):
            h, m, _ = at_best_scale(P, rng.normal(size=(1, 4)), rng.normal(size=(1, 2)))
            kinks = [(1, 1, int(rng.integers(8))), (1, 2, int(rng.integers(12)))]
            for spot in settle(P, h[0], m[0], kinks):
                assert relative_slopes(P, spot.h, spot.m, 1000).min() > -1e-9
                held += {layer for _, layer, _ in spot.kinks} == {1, 2}
    assert held > 0


def test_parallel_rows_kink_together() -> None:
    """Each row of the first layer, half of it, and its negative: kinks come in threes."""
    seen = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(5, 3))
        inner = np.concatenate([W, 0.5 * W, -W])
        G1 = ReluNetwork([inner, rng.normal(size=(40, 15))])
        P = Demodulation(G1, network(seed, (2, 40)), rng.normal(size=3), rng.normal(size=2))
        result = hunt(P, np.random.default_rng(0), 32)
        for h, m, kinks in zip(result.h, result.m, result.kinks, strict=True):
            assert relative_slopes(P, h, m).min() > -1e-9
            assert {unit % 5 for _, _, unit in kinks} == {u for _, _, u in kinks if u < 5}
            seen += len(kinks) >= 3
    assert seen > 0


def test_integer_networks_with_many_coincident_kinks_are_hunted() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        G1, G2 = (integer_network(rng, (2, 4, 9)) for _ in range(2))
        P = Demodulation(G1, G2, [1.0, 2.0], [2.0, -1.0])
        if P.y0.any():
            result = hunt(P, np.random.default_rng(0), 16)
            for h, m in zip(result.h, result.m, strict=True):
                assert relative_slopes(P, h, m).min() > -1e-9


# --- Calls ----------------------------------------------------------------------------------


def test_the_same_generator_gives_the_same_hunt() -> None:
    P = problem((4, 12, 60), (3, 12, 60), 0)
    one, two = (hunt(P, np.random.default_rng(5), 24, saddles=True) for _ in range(2))
    for field in fields(Hunt):
        np.testing.assert_array_equal(
            np.array(getattr(one, field.name), dtype=object),
            np.array(getattr(two, field.name), dtype=object),
        )


def test_units_of_measurement_do_not_matter() -> None:
    P = problem((3, 9, 40), (3, 9, 40), 1)
    big = Demodulation(P.G1, P.G2, 2.0**30 * P.h0, 2.0**-10 * P.m0)  # rounds alike
    one, two = (hunt(Q, np.random.default_rng(5), 24) for Q in (P, big))
    np.testing.assert_allclose(two.r, 2.0**20 * one.r, rtol=1e-9)
    assert two.kinks == one.kinks


def test_bad_input_is_refused_in_one_line() -> None:
    P = problem((3, 9, 40), (2, 40), 0)
    rng = np.random.default_rng(0)
    for starts in (0, -3, 2.5):
        with pytest.raises(ValueError, match=r"^starts=.*: must be a whole number >= 1$"):
            hunt(P, rng, starts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^h_init, m_init: give both or none$"):
        hunt(P, rng, 4, h_init=np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"^h_init \(1, 2\), m_init \(1, 2\): must be \(R, 3\)"):
        hunt(P, rng, 4, h_init=np.ones((1, 2)), m_init=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"one R$"):
        hunt(P, rng, 4, h_init=np.ones((2, 3)), m_init=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"^h_init, m_init: every entry must be finite$"):
        hunt(P, rng, 4, h_init=np.full((1, 3), np.nan), m_init=np.ones((1, 2)))
    one = ReluNetwork([np.ones((2, 1))])
    dead = Demodulation(ReluNetwork([-np.ones((2, 1))]), one, [1.0], [1.0])
    with pytest.raises(ValueError, match="dead network"):
        hunt(dead, rng, 4)
    split = [ReluNetwork([np.array([[1.0], [-1.0]])]), ReluNetwork([np.array([[-1.0], [1.0]])])]
    with pytest.raises(ValueError, match=r"^y0 = 0"):
        hunt(Demodulation(split[0], split[1], [1.0], [1.0]), rng, 4)


# --- lemmas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("widths", "layer"), [((3, 8), 1), ((4, 9, 20), 1), ((2, 4, 6, 12), 2)])
def test_kinks_at_finds_the_one_kink_that_a_point_is_on(widths, layer):
    for seed in range(5):
        G = network(seed, widths)
        h, unit = kink_point(G, layer, np.random.default_rng(seed))
        assert kinks_at(G, h) == [(layer, unit)]
        assert kinks_at(G, h * 1e-5) == [(layer, unit)]
        off = h + 1e-5 * np.linalg.norm(h) * np.random.default_rng(seed).normal(size=h.size)
        assert kinks_at(G, off) == []


def test_kinks_at_leaves_out_units_that_are_dead_all_around():
    # Unit (2, 0) has one input, which is off around the point: it is zero there, but no kink.
    G = ReluNetwork([[[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert kinks_at(G, np.array([1.0, 0.5])) == []
    assert kinks_at(G, np.array([1.0, 0.0])) == [(1, 2)]


def test_a_kink_of_a_unit_that_is_dead_around_the_point_is_no_kink():
    # Unit (2, 0) of G1 has one input, which is off where h_1 > 0.
    first = [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    second = [[1.0, 0, 0, 0], [0, 1.0, 0.5, 0.2], [0, 0.3, 1.0, 1.0], [0, 1.0, 0, 1.0]]
    G2 = ReluNetwork([np.abs(network(3, (2, 4)).weights[0])])
    P = Demodulation(ReluNetwork([first, second]), G2, [1.0, 0.5], [1.0, 0.7])
    with_kink = settle(P, np.array([1.0, 0.6]), np.array([1.0, 0.6]), [(1, 2, 0)])
    without = settle(P, np.array([1.0, 0.6]), np.array([1.0, 0.6]))
    assert [(spot.kind, spot.kinks) for spot in with_kink] == [(Kind.MINIMUM, ())]
    assert [(spot.kind, spot.kinks) for spot in without] == [(Kind.MINIMUM, ())]
    np.testing.assert_allclose(with_kink[-1].h, without[-1].h, rtol=1e-6)
