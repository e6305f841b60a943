"""Arcs, the profile on the torus, sections, and roots by subdivision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.landscape import expected_profile, section, torus_profile
from harness.landscape.arcs import direction, linear_arcs, on_plane, plane_through
from harness.landscape.bernstein import roots_in_interval
from harness.network import ReluNetwork
from harness.problem import Demodulation
from harness.theory import expected_loss, rho
from tests.helpers import naive_pattern, network, problem

WIDTHS = [(2, 7), (2, 6, 15), (2, 4, 8, 16), (2, 1, 1), (2, 3, 2, 9)]


# --- arcs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("seed", range(3))
def test_the_pattern_is_constant_on_arcs_and_changes_at_every_kink(widths, seed):
    G = network(seed + 60, widths)
    arcs = linear_arcs(G)

    def pattern(angle):
        return naive_pattern(G.weights, direction(angle))

    assert (np.diff(arcs.angles) > 0).all()
    assert arcs.length.sum() == pytest.approx(2 * np.pi)
    assert arcs.length.max() <= np.pi / 2 + 1e-12
    for begin, length in zip(arcs.angles, arcs.length, strict=True):
        inside = [pattern(begin + share * length) for share in (1e-6, 0.3, 0.5, 1 - 1e-6)]
        assert all(other == inside[0] for other in inside)
    for angle, layer, unit in zip(arcs.angles, arcs.layer, arcs.unit, strict=True):
        before, after = pattern(angle - 1e-9), pattern(angle + 1e-9)
        if layer == 0:
            assert before == after
        else:
            assert before[layer - 1][unit] != after[layer - 1][unit]
            assert before[: layer - 1] == after[: layer - 1]


def test_parallel_and_opposite_rows_share_their_kinks():
    W = direction(np.array([0.3, 0.3, 0.3 + np.pi, 1.0])) * np.array([[1], [2], [0.5], [1]])
    arcs = linear_arcs(ReluNetwork([W]))
    assert (arcs.layer > 0).sum() == 4


def test_zero_rows_and_dead_layers_have_no_kinks():
    G = ReluNetwork([np.zeros((3, 2)), np.ones((4, 3))])
    assert not linear_arcs(G).layer.any()


def test_a_network_of_three_inputs_has_no_arcs():
    with pytest.raises(ValueError, match="2 inputs, not 3"):
        linear_arcs(network(0, (3, 5)))


def test_a_plane_through_a_point_has_it_on_its_first_axis():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5))
    plane = plane_through(x, y)
    np.testing.assert_allclose(plane.T @ plane, np.eye(2), atol=1e-15)
    np.testing.assert_allclose(plane @ [np.linalg.norm(x), 0], x)
    np.testing.assert_allclose(plane @ (plane.T @ y), y)
    with pytest.raises(ValueError, match="span no plane"):
        plane_through(x, -2 * x)


# --- the profile -----------------------------------------------------------------------------


def torus_problem(widths=((2, 6, 20), (2, 20))):
    rng = np.random.default_rng(5)
    G1, G2 = network(80, widths[0]), network(81, widths[1])
    return Demodulation(G1, G2, rng.normal(size=2), rng.normal(size=2))


def test_the_profile_is_the_least_loss_over_scale():
    P = torus_problem()
    theta, phi = np.linspace(-3, 3, 9), np.linspace(-2.9, 3.1, 8)
    found = torus_profile(P, theta, phi)
    scales = np.linspace(0, 20, 200_001)
    for i, j in np.ndindex(9, 8):
        a, b = P.G1(direction(theta[i])), P.G2(direction(phi[j]))
        size, overlap = float((a * b) @ (a * b)), float((a * b) @ P.y0)
        losses = 0.5 * (P.y0 @ P.y0) - scales * overlap + 0.5 * scales**2 * size
        assert found.r[i, j] == pytest.approx(scales[losses.argmin()], abs=1e-4)
        assert found.loss_ratio[i, j] == pytest.approx(losses.min() / P.loss_at_zero, abs=1e-6)


def test_dead_directions_are_labelled_and_give_no_nan():
    P = Demodulation(
        ReluNetwork([[[1.0, 0.0], [1.0, 0.1]]]), ReluNetwork([np.eye(2)]), [1, 0], [1, 1]
    )
    found = torus_profile(P, [0.0, np.pi], [0.5, 1.0, np.pi + 0.1])
    np.testing.assert_array_equal(found.dead, [[False, False, True], [True, True, True]])
    assert (found.loss_ratio[found.dead] == 1).all()
    assert (found.r[found.dead] == 0).all()


def test_the_default_grid_covers_the_circle():
    found = torus_profile(torus_problem())
    assert found.loss_ratio.shape == (360, 360)
    assert found.theta[0] > -np.pi
    assert found.theta[-1] < np.pi
    assert (found.loss_ratio >= 0).all()


def test_the_expected_profile_is_that_of_the_expected_loss():
    rng = np.random.default_rng(1)
    r = np.linspace(0.01, 1.5, 15_000)[:, None]
    for d, s in ((1, 2), (2, 2), (3, 2)):
        theta, phi = rng.uniform(-np.pi, np.pi, size=2)
        h0 = m0 = np.array([1.0, 0.0])
        losses = expected_loss(r * direction(theta), direction(phi), h0, m0, d=d, s=s, ell=1)
        zero = expected_loss(0 * h0, m0, h0, m0, d=d, s=s, ell=1)
        assert losses.min() / zero == pytest.approx(expected_profile(theta, phi, d, s), abs=1e-6)
    assert expected_profile(np.pi, 0, 2, 2) == pytest.approx(1 - rho(2) ** 2)
    assert expected_profile(-np.pi, np.pi, 3, 2) == pytest.approx(1 - (rho(3) * rho(2)) ** 2)


def test_a_section_is_the_loss_on_two_planes():
    P = problem("two-layer")
    rng = np.random.default_rng(2)
    plane_h = plane_through(P.h0, rng.normal(size=P.n))
    plane_m = plane_through(P.m0, rng.normal(size=P.p))
    cut = section(P, plane_h, plane_m)
    np.testing.assert_allclose(cut.y0, P.y0, rtol=1e-12)
    np.testing.assert_allclose(cut.h0, [np.linalg.norm(P.h0), 0], atol=1e-12)
    x, z = rng.normal(size=(2, 6, 2))
    np.testing.assert_allclose(cut.loss(x, z), P.loss(x @ plane_h.T, z @ plane_m.T), rtol=1e-10)
    np.testing.assert_allclose(on_plane(P.G1, plane_h)(x), P.G1(x @ plane_h.T), rtol=1e-12)


def test_bad_input_gets_one_line():
    P = problem("two-layer")
    good_h, good_m = np.eye(4)[:, :2], np.eye(3)[:, :2]
    for call, message in (
        (lambda: torus_profile(P), "n=4, p=3"),
        (lambda: torus_profile(torus_problem(), [np.nan]), "theta: a vector of finite"),
        (lambda: torus_profile(torus_problem(), [0.0], [[1.0]]), "phi: a vector of finite"),
        (lambda: section(P, np.eye(4), good_m), r"plane_h has shape \(4, 4\)"),
        (lambda: section(P, 2 * good_h, good_m), "orthonormal"),
        (lambda: section(P, good_h, good_m), "contain the truth"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    dead = Demodulation(P.G1, P.G2, 0 * P.h0, P.m0)
    cut = section(dead, plane_through(P.h0, good_h[:, 0]), plane_through(P.m0, good_m[:, 0]))
    with pytest.raises(ValueError, match="y0 = 0"):
        torus_profile(cut)


# --- roots -----------------------------------------------------------------------------------


@given(
    roots=st.lists(st.integers(-40, 40), max_size=6, unique=True),
    lead=st.sampled_from([-3.0, 1e-3, 1.0]),
    outside=st.lists(st.sampled_from([-3.0, -1.7, 1.4, 2.5]), max_size=2),
)
@settings(max_examples=200, deadline=None)
def test_all_simple_roots_in_the_interval_are_found(roots, lead, outside):
    """Roots k / 30 for whole k: those with |k| <= 30 lie in [-1, 1]."""
    power = lead * np.polynomial.polynomial.polyfromroots([k / 30 for k in roots] + outside)
    index, found = roots_in_interval(power[None])
    inside = sorted(k / 30 for k in roots if abs(k) < 30)
    found = found[np.abs(found) < 1 - 1e-4]  # the ends themselves may round either way
    assert (index == 0).all()
    np.testing.assert_allclose(found, inside, atol=1e-6)


def test_double_roots_and_zero_polynomials():
    touching = np.polynomial.polynomial.polyfromroots([0.3, 0.3, -0.5, 2.0, 2.0])
    apart = np.polynomial.polynomial.polyfromroots([0.1, 0.1001, 0.1002, 1.5, 3.0])
    index, root = roots_in_interval(np.stack([touching, np.zeros(6), apart]))
    np.testing.assert_array_equal(index, [0, 0, 2, 2, 2])
    np.testing.assert_allclose(root, [-0.5, 0.3, 0.1, 0.1001, 0.1002], atol=1e-6)
    assert roots_in_interval(np.zeros((0, 7)))[0].size == 0
