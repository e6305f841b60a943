"""Distances beside those of A_epsilon, and bounds, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from harness.conditions import joint_wdc_row_aligned
from harness.landscape.nearness import (
    aligned_bound,
    deviation,
    flipped_angles,
    theorem_radius,
)
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation
from tests.helpers import problem


@pytest.mark.parametrize("branch", BRANCHES)
def test_angles_are_zero_on_a_hyperbola_and_are_those_of_the_flipped_factors(branch):
    P = problem("two-layer")
    h, m = P.hyperbola(branch)
    flips = branch.count(-1)
    np.testing.assert_allclose(
        flipped_angles(P, h[None], m[None], branch), [0.0] * flips, atol=1e-7
    )
    turned = flipped_angles(P, -h[None], m[None], branch)
    assert turned.size == flips
    assert np.isclose(turned, np.pi).sum() == (branch[0] < 0)


@pytest.mark.parametrize("branch", BRANCHES)
def test_deviation_is_free_of_scalings(branch):
    P = problem("two-layer")
    G1 = ReluNetwork([3 * W for W in P.G1.weights])
    scaled = Demodulation(G1, P.G2, 5 * P.h0, 0.1 * P.m0)
    assert deviation(scaled, branch) == pytest.approx(deviation(P, branch), rel=1e-10)


def test_deviation_is_zero_at_the_truth_and_undefined_on_k():
    assert deviation(problem("two-layer"), (1, 1)) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(deviation(problem("one-layer"), (-1, 1)))


@pytest.mark.parametrize(("branch", "share"), [*zip(BRANCHES, (1024, 32, 32, 1), strict=True)])
def test_radii_have_the_proportions_of_the_theorem(branch, share):
    """For d = s = 2: a point near one branch needs its distance over that branch's share."""
    P = problem("two-layer")
    assert (P.d, P.s) == (2, 2)
    h, m = P.hyperbola(branch)
    h = h + 1e-5 * np.linalg.norm(h) * np.eye(P.n)[0]
    near = float(P.neighbourhood(h, m, branch))
    assert 0 < near < 1e-4
    assert theorem_radius(P, h[None], m[None]) == pytest.approx(near * share)


def test_the_aligned_bound_is_below_what_the_row_shows():
    P = problem("two-layer")
    found = joint_wdc_row_aligned(P.G1.weights[-1], P.G2.weights[-1])
    assert aligned_bound(P.G1, P.G2, 1.0) <= found.lower
