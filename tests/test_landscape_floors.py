"""The floors of valleys: minima over one factor, slopes along them, and what share they find."""

from __future__ import annotations

import numpy as np
import pytest

from harness.landscape import floors
from harness.landscape.arcs import direction, linear_arcs
from harness.landscape.census import stationary_points
from harness.landscape.floors import torus_minima
from harness.landscape.hunt import hunt
from harness.network import ReluNetwork
from harness.problem import Demodulation
from tests.helpers import integer_network, network

Array = np.ndarray

WIDTHS = [(2, 40), (2, 9, 40), (2, 5, 8, 40)]


def least_loss(P: Demodulation, theta: float, phi: Array) -> Array:
    """f at best scale, relative to f on K, at many m and one h."""
    q = P.G1(direction(theta)) * P.G2(direction(phi))
    overlap, size = q @ P.y0, np.sum(q * q, axis=-1)
    fall = np.where(overlap > 0, overlap, 0.0) ** 2
    return 1 - np.divide(fall, size, out=np.zeros_like(size), where=size > 0) / (P.y0 @ P.y0)


def problem(widths1: tuple[int, ...], widths2: tuple[int, ...], seed: int) -> Demodulation:
    rng = np.random.default_rng([23, seed])
    return Demodulation(
        network(seed, widths1), network(seed + 50, widths2), *rng.normal(size=(2, 2))
    )


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_minima_over_one_factor_are_those_of_a_dense_scan(widths):
    P = problem((2, 8, 40), widths, 3)
    theta = np.linspace(-3, 3, 7)
    circle = floors._circle(P.G2)
    found = floors._scan(P.G1(direction(theta)), circle, P.y0, np.arange(len(circle.arcs.angles)))
    dense = np.linspace(-np.pi, np.pi, 200_001)[:-1]
    for k, t in enumerate(theta):
        loss = least_loss(P, t, dense)
        lower = loss < np.minimum(np.roll(loss, 1), np.roll(loss, -1)) - 1e-15  # on no plateau
        inner = lower & (loss < 1 - 1e-9)
        places = floors._turned(found.angle[found.point == k])
        places = places[least_loss(P, t, places) < 1 - 1e-9]
        for phi in dense[inner]:
            assert np.abs(floors._turned(places - phi)).min() < 1e-4
        assert len(places) == inner.sum()


def test_slopes_along_a_floor_are_those_of_finite_differences():
    P = problem((2, 8, 40), (2, 5, 8, 40), 5)
    circles = floors._circle(P.G1), floors._circle(P.G2)
    value, left, right = floors._at_boundaries(circles[0])
    every = circles[0].every
    np.testing.assert_allclose(value, P.G1(direction(every.angles)), atol=1e-14)
    found = floors._scan(value, circles[1], P.y0, np.arange(len(circles[1].arcs.angles)))
    arc = floors._arc(circles[1], found.piece)
    angle = floors._turned(found.angle - circles[1].arcs.middle[arc])
    slope = floors.slopes(value, left, right, found.point, circles[1].rows, arc, angle, P.y0)
    step, scale, compared = 1e-6, P.y0 @ P.y0 / 2, 0
    for k in range(0, len(found.point), 7):
        at, phi = every.angles[found.point[k]], found.angle[k : k + 1]
        here, before, after = (
            least_loss(P, at + shift, phi)[0] * scale for shift in (0, -step, step)
        )
        if here < scale:
            compared += 1
            assert slope[k, 0] == pytest.approx((here - before) / step, abs=1e-4 * scale)
            assert slope[k, 1] == pytest.approx((after - here) / step, abs=1e-4 * scale)
    assert compared > 100


def test_boundaries_of_a_refined_circle_include_all_kinks_and_leave_no_long_arc():
    arcs = linear_arcs(network(1, (2, 9, 40)))
    finer = floors._refined(arcs)
    assert set(arcs.angles) <= set(finer.angles)
    assert finer.length.max() <= 2 * np.pi / floors.FINE * (1 + 1e-9)
    assert (np.diff(finer.angles) > 0).all()
    kinks = finer.layer > 0
    np.testing.assert_array_equal(finer.unit[kinks], arcs.unit[arcs.layer > 0])


def test_every_kink_of_a_start_is_one_of_its_angle():
    P = problem((2, 9, 40), (2, 5, 8, 40), 1)
    found = torus_minima(P.G1, P.G2, P.y0)
    assert found.kink_h[:, 0].any()
    assert found.kink_m[:, 0].any()
    for G, angles, kinks in ((P.G1, found.theta, found.kink_h), (P.G2, found.phi, found.kink_m)):
        assert (kinks[:, 0] < G.depth).all()
        for angle, (layer, unit) in zip(angles, kinks, strict=True):
            if layer:
                assert abs(G.preactivations(direction(angle))[layer - 1][unit]) < 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("coarse", [False, True], ids=["whole circles", "windows"])
@pytest.mark.parametrize("widths", [(2, 20, 200), (2, 9, 43, 200), (2, 40, 40, 200)], ids=str)
def test_a_hunt_finds_95_percent_of_the_minima_and_the_farthest_one(monkeypatch, widths, coarse):
    if coarse:
        monkeypatch.setattr(floors, "WORK", 0)
    found, known, farthest = 0, 0, 0
    for seed in range(3):
        P = problem(widths, widths, seed)
        points = stationary_points(P)
        points = points[points["kind"].isin(["minimum", "kink minimum"])]
        result = hunt(P, np.random.default_rng(seed))
        u, v = result.h[result.is_minimum], result.m[result.is_minimum]
        theta, phi = np.arctan2(u[:, 1], u[:, 0]), np.arctan2(v[:, 1], v[:, 0])
        hits = [
            np.hypot(floors._turned(theta - t), floors._turned(phi - p)).min() < 1e-6
            for t, p in zip(points["theta"], points["phi"], strict=True)
        ]
        found, known = found + sum(hits), known + len(hits)
        farthest += hits[int(points["epsilon"].to_numpy().argmax())]
    assert found >= 0.95 * known
    assert farthest == 3


def test_networks_with_coincident_kinks_and_dead_rows_give_starts():
    rng, sizes = np.random.default_rng(2), []
    for _ in range(6):
        G1, G2 = (integer_network(rng, widths) for widths in ((2, 4, 12), (2, 12)))
        P = Demodulation(G1, G2, *rng.normal(size=(2, 2)))
        found = torus_minima(G1, G2, P.y0)
        assert np.isfinite([found.theta, found.phi]).all()
        sizes.append(found.theta.size)
    assert sum(sizes) > 0
    dead = ReluNetwork([np.eye(2), np.zeros((12, 2))])
    assert torus_minima(dead, network(1, (2, 12)), np.ones(12)).theta.size == 0


def test_a_network_of_another_size_is_refused():
    with pytest.raises(ValueError, match="needs a network of 2 inputs"):
        torus_minima(network(0, (3, 12)), network(1, (2, 12)), np.ones(12))
