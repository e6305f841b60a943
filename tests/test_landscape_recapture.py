"""How many minima there are, judged by how often samples of starts find the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from harness.landscape import hunt
from harness.landscape.census import stationary_points
from harness.landscape.recapture import chao2
from harness.network import gaussian_network
from harness.problem import Demodulation


def test_it_is_its_formula_and_is_right_on_equally_likely_kinds() -> None:
    found = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=bool)
    expected, (low, high) = chao2(found)
    assert expected == pytest.approx(5 + (2 / 3) * 3 * 2 / (2 * 2))
    assert 5 < low < expected < high
    assert chao2(found[:, :1]) == (3.0, (3.0, np.inf))
    rng = np.random.default_rng(1)
    results = [chao2(rng.random((60, 6)) < 0.3) for _ in range(400)]
    assert np.mean([expected for expected, _ in results]) == pytest.approx(60, rel=0.05)
    assert np.mean([low <= 60 <= high for _, (low, high) in results]) >= 0.9


def test_of_kinds_that_differ_it_is_a_lower_bound() -> None:
    rng = np.random.default_rng(2)
    likely = rng.beta(0.5, 3.0, size=100)[:, None]
    results = [chao2(rng.random((100, 6)) < likely) for _ in range(400)]
    assert np.mean([expected for expected, _ in results]) < 100
    assert np.mean([low <= 100 for _, (low, _) in results]) >= 0.95


def test_of_nothing_it_is_nothing() -> None:
    assert chao2(np.zeros((0, 6), dtype=bool))[0] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(2, 20, 200), (2, 100, 200), (2, 12, 50, 200)])
def test_the_lower_end_of_a_hunt_s_interval_is_one_of_the_census(widths: tuple[int, ...]) -> None:
    """In at least 19 of 20 networks; the upper end promises nothing and is not tested."""
    below, estimates = 0, []
    for seed in range(20):
        rng = np.random.default_rng([77, seed])
        G1, G2 = (gaussian_network(rng, widths=widths) for _ in range(2))
        P = Demodulation(G1, G2, rng.standard_normal(2), rng.standard_normal(2))
        count = stationary_points(P)["kind"].isin(["minimum", "kink minimum"]).sum()
        found = hunt(P, rng)
        below += found.expected_interval[0] <= count
        estimates.append((found.is_minimum.sum(), found.expected, count))
    number, expected, census = np.sum(estimates, axis=0)
    assert below >= 19
    assert number <= expected <= census
