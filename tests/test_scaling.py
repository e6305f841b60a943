"""Laws against synthetic data with a known law, a naive version, and data that have none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as law

from harness.scaling import growth, instrumented_power_law, rank_correlation
from harness.stats import LEVEL, Estimate, power_law

WIDTHS = np.repeat([50.0, 100.0, 200.0, 400.0, 800.0], [60, 60, 60, 20, 10])


def noisy(rng: np.random.Generator, exponent: float, width: float = 0.7) -> np.ndarray:
    """y = x^exponent at x = width^(-1/2), both with noise of their own: (3, N)."""
    noise = np.exp(width * rng.standard_normal((2, WIDTHS.size)))
    return np.stack([WIDTHS, WIDTHS**-0.5 * noise[0], WIDTHS ** (-0.5 * exponent) * noise[1]])


def undetermined(estimate: Estimate) -> bool:
    return bool(np.isnan(estimate.value)) and np.isinf([estimate.low, estimate.high]).all()


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0])
def test_exact_laws_are_recovered(exponent):
    found = instrumented_power_law(*noisy(np.random.default_rng(0), exponent, 0.0), resamples=20)
    np.testing.assert_allclose([found.value, found.low, found.high], exponent, rtol=1e-12)
    found = growth(WIDTHS, WIDTHS**exponent, resamples=20)
    np.testing.assert_allclose([found.value, found.low, found.high], exponent, rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_errors_in_both_variables_do_not_bias_the_exponent(exponent):
    """The interval covers as often as it says; the fit of y to x is drawn towards 0."""
    repeats, covered, values, direct = 200, 0, [], []
    for seed in range(repeats):
        scale, x, y = noisy(np.random.default_rng([1, seed]), exponent)
        found = instrumented_power_law(scale, x, y, resamples=200, seed=seed)
        covered += found.low <= exponent <= found.high
        values.append(found.value)
        direct.append(np.polyfit(np.log(x), np.log(y), 1)[0])
    assert covered / repeats >= LEVEL - 5 * np.sqrt(LEVEL * (1 - LEVEL) / repeats)
    assert abs(np.median(values) - exponent) < 5 * np.std(values) / np.sqrt(repeats)
    assert np.median(direct) < 0.7 * exponent


def test_slopes_are_those_of_a_fit_in_which_every_trial_counts_once():
    rng = np.random.default_rng(2)
    count = rng.poisson(WIDTHS**0.5)
    places = np.unique(WIDTHS)
    means = {place: count[place == WIDTHS].mean() for place in places}
    naive = law.linregress(np.log(WIDTHS), [np.log(means[place]) for place in WIDTHS]).slope
    assert growth(WIDTHS, count).value == pytest.approx(naive)


def test_growth_is_of_means_and_allows_zeros():
    rng = np.random.default_rng(3)
    scale = np.repeat([10.0, 40.0, 160.0, 640.0], 2000)
    found = growth(scale, rng.poisson(0.2 * scale**0.5))
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.1
    assert undetermined(power_law(scale, rng.poisson(0.2 * scale**0.5)))


@pytest.mark.parametrize(
    ("scale", "y"),
    [
        ([], []),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 1, 2], [1, 2, 3]),
        ([0, 0, 2, 2], [1, 2, 3, 4]),
        ([1, 1, 2, 2], [0, 0, 3, 4]),
        ([1, 1, 2, 2], [1, np.nan, 3, 4]),
        ([1, 1, 2, 2], [1, np.inf, 3, 4]),
    ],
)
def test_what_data_do_not_determine_is_undetermined(scale, y):
    assert undetermined(growth(scale, y))
    assert undetermined(instrumented_power_law(scale, y, y))


def test_an_abscissa_that_does_not_change_gives_no_exponent():
    assert undetermined(instrumented_power_law([1, 1, 2, 2], [5, 5, 5, 5], [1, 1, 2, 2]))


# --- Rank correlation -----------------------------------------------------------------------


def test_rank_correlation_of_one_group_is_spearmans():
    x, y = np.random.default_rng(4).standard_normal((2, 50))
    found = rank_correlation(np.zeros(50), x, y)
    assert found.value == pytest.approx(law.spearmanr(x, y).statistic)


def test_levels_of_groups_do_not_make_a_correlation():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        group = np.repeat([0, 1, 2], [20, 40, 60])
        x, y = 10 * group + rng.standard_normal((2, 120))
        found = rank_correlation(group, x, y)
        covered += found.low < 0 < found.high
    assert covered / 200 >= LEVEL - 5 * np.sqrt(LEVEL * (1 - LEVEL) / 200)


def test_ties_and_monotone_maps():
    group, x = np.repeat([0, 1], 10), np.arange(20.0)
    assert rank_correlation(group, x, x**3).value == pytest.approx(1.0)
    assert rank_correlation(group, x, -np.exp(x)).value == pytest.approx(-1.0)
    assert undetermined(rank_correlation(group, x, group))
    assert undetermined(rank_correlation([0, 0, 1], [1, 2, 3], [1, 2, 3]))
    assert undetermined(rank_correlation(group, x, np.where(x == 3, np.nan, x)))
