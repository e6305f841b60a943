"""Intervals against closed forms, exact coverage and simulation; data that cannot give one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as law

from harness.stats import (
    LEVEL,
    Estimate,
    affine_at,
    contrast,
    crossings,
    difference_of_means,
    from_redraws,
    line,
    local_exponents,
    mean,
    paired_change,
    power_at,
    power_law,
    proportion,
    quadratic_share,
    quantile,
    ratio_of_medians,
    simultaneous,
    trials_for_proportion,
    trials_for_quantile,
    trials_for_shares,
    undetermined,
)

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)
INF, NAN = float("inf"), float("nan")


def hits(successes: int, n: int) -> np.ndarray:
    return np.arange(n) < successes


def is_undetermined(estimate: Estimate) -> bool:
    return bool(np.isnan(estimate.value)) and (estimate.low, estimate.high) == (-INF, INF)


# --- Proportions ----------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(1, 2), (3, 10), (17, 40), (199, 200), (500, 1000)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_proportion_has_the_beta_quantiles_of_clopper_and_pearson(successes, n, level):
    estimate = proportion(hits(successes, n), level=level)
    tail = (1 - level) / 2
    low = law.beta.ppf(tail, successes, n - successes + 1)
    high = law.beta.ppf(1 - tail, successes + 1, n - successes)
    assert estimate.value == successes / n
    np.testing.assert_allclose([estimate.low, estimate.high], [low, high], rtol=1e-9)
    assert (estimate.n, estimate.level) == (n, level)


@pytest.mark.parametrize("n", [1, 2, 30, 10_000])
def test_none_or_all_of_n_have_the_closed_form(n):
    end = ((1 - LEVEL) / 2) ** (1 / n)
    none, every = proportion(hits(0, n)), proportion(hits(n, n))
    assert (none.value, none.low) == (0, 0)
    assert (every.value, every.high) == (1, 1)
    np.testing.assert_allclose([none.high, every.low], [1 - end, end], rtol=1e-9)


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.93])
@pytest.mark.parametrize("n", [5, 40])
def test_exact_coverage_of_a_proportion_is_at_least_the_level(n, p):
    intervals = [proportion(hits(k, n)) for k in range(n + 1)]
    covered = [k for k, e in enumerate(intervals) if e.low <= p <= e.high]
    assert law.binom.pmf(covered, n, p).sum() >= LEVEL


def test_proportion_of_nothing_is_undetermined():
    assert is_undetermined(proportion(np.zeros(0, dtype=bool)))
    assert proportion(np.zeros(0, dtype=bool)).n == 0


@pytest.mark.parametrize(
    "values",
    [[1, 0, 1], [1.0, 0.0], ["yes"], [True, None], [], np.array([True, NAN], dtype=object)],
)
def test_proportion_of_anything_but_booleans_is_an_error(values):
    with pytest.raises(TypeError, match="boolean"):
        proportion(values)


# --- Quantiles ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 6, 12, 25, 100])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantile_interval_is_the_narrowest_of_order_statistics_with_both_tails_small(n, q):
    tail = (1 - LEVEL) / 2
    estimate = quantile(np.random.default_rng(n).permutation(np.arange(1.0, n + 1)), q)
    if np.isfinite(estimate.low):
        rank = int(estimate.low)
        assert law.binom.cdf(rank - 1, n, q) <= tail < law.binom.cdf(rank, n, q)
    else:
        assert estimate.low == -INF
        assert law.binom.cdf(0, n, q) > tail
    if np.isfinite(estimate.high):
        rank = int(estimate.high)
        assert law.binom.sf(rank - 1, n, q) <= tail < law.binom.sf(rank - 2, n, q)
    else:
        assert estimate.high == INF
        assert law.binom.sf(n - 1, n, q) > tail


@pytest.mark.parametrize("n", [1, 2, 6, 12, 37, 100])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("level", [0.6, 0.95, 0.999])  # 0.5 would tie a tail with a probability
def test_quantile_interval_is_scipys(n, q, level):
    values = np.random.default_rng(n).standard_normal(n)
    expected = law.quantile_test(values, q=0.0, p=q).confidence_interval(level)
    estimate = quantile(values, q, level=level)
    ends = [end if np.isfinite(end) else NAN for end in (estimate.low, estimate.high)]
    np.testing.assert_array_equal(ends, [expected.low, expected.high])  # NaN there: unbounded


@pytest.mark.parametrize(("n", "q"), [(8, 0.5), (30, 0.5), (30, 0.9), (100, 0.1)])
def test_quantile_interval_covers_the_quantile(n, q):
    repeats = 2000
    truth = law.expon.ppf(q)
    draws = np.random.default_rng(1).exponential(size=(repeats, n))
    estimates = [quantile(row, q) for row in draws]
    tail = (1 - LEVEL) / 2
    slack = 5 * np.sqrt(tail * (1 - tail) / repeats)
    assert np.mean([e.low > truth for e in estimates]) <= tail + slack
    assert np.mean([e.high < truth for e in estimates]) <= tail + slack


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([0.1, 0.5, 0.9]))
@PROPERTY
def test_quantile_lies_in_its_interval_and_does_not_depend_on_the_order(values, q):
    estimate = quantile(values, q)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate == quantile(values[::-1], q)
    assert estimate.n == len(values)


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [4.0, 1.0, 3.0, 2.0]])
def test_median_is_numpys(values):
    assert quantile(values).value == np.median(values)


def test_a_value_that_is_not_had_counts_as_the_largest():
    values = np.arange(20.0)
    with_nan = quantile(np.append(values, [NAN] * 5), 0.5)
    with_inf = quantile(np.append(values, [INF] * 5), 0.5)
    assert with_nan == with_inf
    assert (with_nan.value, with_nan.n) == (12.0, 25)


def test_quantile_of_mostly_missing_values_has_no_value():
    assert np.isnan(quantile([1.0, NAN, NAN]).value)


def test_infinite_values_are_values():
    estimate = quantile([INF] * 10)
    assert (estimate.value, estimate.low, estimate.high) == (INF, INF, INF)
    assert quantile([-INF] * 10).high == -INF


def test_a_median_between_two_values_neither_overflows_nor_warns():
    assert quantile([1e308, 1.5e308]).value == 1.25e308
    assert quantile([-INF, INF]).n == 2
    assert quantile([-INF, 1.0, 2.0, INF]).value == 1.5


def test_quantile_of_nothing_is_undetermined():
    assert is_undetermined(quantile([]))


# --- Means ----------------------------------------------------------------------------------


def test_mean_has_students_interval():
    values = np.random.default_rng(2).normal(3, 2, size=12)
    half = law.t.ppf(0.5 + LEVEL / 2, 11) * values.std(ddof=1) / np.sqrt(12)
    estimate = mean(values)
    np.testing.assert_allclose(estimate.value, values.mean())
    np.testing.assert_allclose(
        [estimate.low, estimate.high], [values.mean() - half, values.mean() + half]
    )


@pytest.mark.parametrize("values", [[], [1.0], [1.0, NAN], [1.0, INF], [-INF, INF]])
def test_mean_without_spread_or_of_values_not_finite_is_undetermined(values):
    assert is_undetermined(mean(values))
    assert mean(values).n == len(values)


@pytest.mark.parametrize("values", [[2.0] * 3, [0.0] * 3, [-1.0] * 2])
def test_mean_of_equal_values_has_no_width(values):
    estimate = mean(values)
    assert (estimate.low, estimate.value, estimate.high) == (values[0],) * 3


def test_mean_of_values_equal_up_to_rounding_does_not_warn():
    estimate = mean([0.1 + 0.2, 0.3, 0.3])
    np.testing.assert_allclose([estimate.low, estimate.high], 0.3, rtol=1e-15)


# --- Power laws -----------------------------------------------------------------------------


def power_data(
    rng: np.random.Generator, exponent: float, noise: float, trials: int
) -> tuple[np.ndarray, np.ndarray]:
    x = np.repeat([50.0, 100.0, 200.0, 400.0, 800.0], trials)
    return x, 3 * x**exponent * np.exp(noise * rng.standard_normal(x.size))


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 2.0])
def test_power_law_without_noise_is_recovered(exponent):
    estimate = power_law(*power_data(np.random.default_rng(0), exponent, 0.0, 3))
    ends = [estimate.value, estimate.low, estimate.high]
    np.testing.assert_allclose(ends, [exponent] * 3, atol=1e-12)
    assert estimate.n == 15


def test_power_law_with_noise_is_recovered():
    estimate = power_law(*power_data(np.random.default_rng(1), -0.5, 0.3, 100))
    assert estimate.low < -0.5 < estimate.high
    assert estimate.high - estimate.low < 0.15


def test_power_law_interval_covers_about_as_often_as_it_says():
    repeats, covered = 200, 0
    for seed in range(repeats):
        data = power_data(np.random.default_rng([3, seed]), -0.5, 0.5, 25)
        estimate = power_law(*data, resamples=200, seed=seed)
        covered += estimate.low <= -0.5 <= estimate.high
    slack = 5 * np.sqrt(LEVEL * (1 - LEVEL) / repeats)
    assert covered / repeats >= LEVEL - slack


def test_power_law_is_of_medians():
    x, y = power_data(np.random.default_rng(0), -0.5, 0.0, 5)
    y[::5] *= 1e6  # one outlier a group
    np.testing.assert_allclose(power_law(x, y).value, -0.5, atol=1e-12)


def test_power_law_does_not_depend_on_the_order_of_rows():
    x, y = power_data(np.random.default_rng(4), 1.0, 0.3, 10)
    np.testing.assert_allclose(power_law(x[::-1], y[::-1]).value, power_law(x, y).value, rtol=1e-12)


def test_power_law_is_repeatable():
    data = power_data(np.random.default_rng(5), 1.0, 0.3, 10)
    assert power_law(*data) == power_law(*data)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 1, 2], [1, 2, 3]),
        ([1, 1, 2, 2], [1, 2, 3, NAN]),
        ([1, 1, 2, 2], [1, 2, 3, INF]),
        ([1, 1, 2, 2], [1, 2, 3, 0]),
        ([1, 1, 2, 2], [1, 2, 3, -1]),
        ([0, 0, 2, 2], [1, 2, 3, 4]),
        ([NAN, NAN, 2, 2], [1, 2, 3, 4]),
        ([INF, INF, 2, 2], [1, 2, 3, 4]),
    ],
)
def test_power_law_of_unusable_data_is_undetermined(x, y):
    assert is_undetermined(power_law(x, y))
    assert power_law(x, y).n == len(x)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]])])
def test_power_law_of_unlike_arrays_is_an_error(x, y):
    with pytest.raises(ValueError, match="power_law"):
        power_law(x, y)


# --- Contrasts of two samples ---------------------------------------------------------------


def test_a_contrast_redraws_both_samples_and_covers_as_often_as_it_says():
    """Welch's interval is the closed form that its width is compared with."""
    covered, rng = 0, np.random.default_rng(0)
    for seed in range(200):
        one, other = rng.normal(1.0, 1.0, 40), rng.normal(0.0, 3.0, 60)
        estimate = contrast(one, other, difference_of_means, resamples=500, seed=seed)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 180 <= covered <= 199
    assert estimate.value == one.mean() - other.mean()
    assert estimate.n == 100
    welch = 2 * 1.96 * np.hypot(one.std() / np.sqrt(40), other.std() / np.sqrt(60))
    assert estimate.high - estimate.low == pytest.approx(welch, rel=0.15)


def test_a_contrast_can_be_the_ratio_of_medians():
    estimate = contrast(np.arange(20.0, 41.0), np.arange(10.0, 21.0), ratio_of_medians)
    assert estimate.value == 2
    assert 1.5 < estimate.low < 2 < estimate.high < 2.6


@pytest.mark.parametrize("sample", [[], [1.0], [1.0, np.inf], [np.nan, 1.0]])
def test_a_contrast_with_too_little_or_not_finite_is_undetermined(sample):
    assert np.isnan(contrast(sample, [1.0, 2.0], difference_of_means).value)
    assert np.isnan(contrast([1.0, 2.0], sample, difference_of_means).value)


# --- Families and text ----------------------------------------------------------------------


@pytest.mark.parametrize("family", [1, 2, 10])
def test_simultaneous_intervals_miss_at_most_as_often_as_one(family):
    level = simultaneous(family)
    np.testing.assert_allclose(family * (1 - level), 1 - LEVEL)


def test_an_empty_family_has_the_level_of_one():
    assert simultaneous(0) == LEVEL


def test_an_undetermined_estimate_says_so_and_another_names_interval_and_n():
    assert str(undetermined(3, "any")) == "undetermined (n = 3)"
    assert str(Estimate(0.5, -INF, 0.75, 8, "any")) == "0.5 [-inf, 0.75] (n = 8)"


def test_a_paired_change_covers_the_difference_and_is_no_point_without_one():
    rng = np.random.default_rng(14)
    covered = 0
    for _ in range(300):
        one, other = rng.random((2, 80)) < np.array([[0.7], [0.5]])
        estimate = paired_change(one, other)
        assert estimate.value == pytest.approx(one.mean() - other.mean())
        covered += estimate.low <= 0.2 <= estimate.high
    assert covered >= 0.95 * 300
    same = rng.random(100) < 0.5
    estimate = paired_change(same, same)
    assert (estimate.value, estimate.n) == (0, 100)
    assert -0.05 < estimate.low < -0.03 < 0.03 < estimate.high < 0.05
    assert np.isnan(paired_change(same[:0], same[:0]).value)
    with pytest.raises(TypeError, match="boolean"):
        paired_change(same, same.astype(float))


# --- Crossings and laws ---------------------------------------------------------------------


def logistic_trials(rng, middle, count=30, slope=3.0):
    x = np.repeat(np.array([0.3, 0.6, 0.9, 1.2, 1.8, 2.4]) * middle, count)
    return x, rng.random(x.size) < 1 / (1 + (x / middle) ** -slope)


def pooled(trials: list[float], wins: list[float]) -> list[float]:
    """Monotone regression by pooling neighbours until the shares rise."""
    blocks = [[won, count, 1] for won, count in zip(wins, trials, strict=True)]
    while True:
        shares = [won / count for won, count, _ in blocks]
        falls = [k for k in range(len(blocks) - 1) if shares[k] > shares[k + 1]]
        if not falls:
            return [won / count for won, count, size in blocks for _ in range(size)]
        k = falls[0]
        blocks[k : k + 2] = [[a + b for a, b in zip(blocks[k], blocks[k + 1], strict=True)]]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_crossing_is_that_of_pooled_counts_linear_in_log_x(rate):
    x = np.repeat([10.0, 20.0, 40.0, 80.0, 160.0], [8, 4, 8, 8, 16])
    wins = [0, 3, 4, 4, 16]
    success = np.concatenate([hits(won, n) for won, n in zip(wins, [8, 4, 8, 8, 16], strict=True)])
    shares = pooled([8, 4, 8, 8, 16], wins)
    assert shares == pytest.approx([0, 0.55, 0.55, 0.55, 1])
    place = next(k for k in range(5) if shares[k] >= rate)
    part = (rate - shares[place - 1]) / (shares[place] - shares[place - 1])
    expected = 10 * 2 ** (place - 1 + part)
    found = crossings([(x, success)], rate)
    assert found.shape == (501, 1)
    assert found[0, 0] == pytest.approx(expected)
    order = np.random.default_rng(1).permutation(x.size)
    np.testing.assert_array_equal(crossings([(x[order], success[order])], rate), found)


def test_the_interval_of_a_crossing_covers_the_middle_as_often_as_it_says():
    rng = np.random.default_rng(11)
    covered = 0
    for seed in range(200):
        x, success = logistic_trials(rng, 170.0)
        estimate = from_redraws(crossings([(x, success)], seed=seed)[:, 0], x.size)
        assert estimate.low <= estimate.value <= estimate.high
        covered += estimate.low <= 170 <= estimate.high
    assert proportion(np.arange(200) < covered).high >= 0.93


def test_redraws_of_groups_are_independent_and_those_of_two_rates_are_joint():
    rng = np.random.default_rng(12)
    groups = [logistic_trials(rng, middle, count=100) for middle in (100.0, 250.0)]
    half = crossings(groups)
    ratio = from_redraws(half[:, 1] / half[:, 0], 1200)
    assert ratio.low <= 2.5 <= ratio.high
    assert ratio.high / ratio.low < 1.6
    assert abs(np.corrcoef(np.log(half[1:].T))[0, 1]) < 0.15
    assert (crossings(groups, 0.8)[1:] > crossings(groups, 0.2)[1:]).all()


def test_a_crossing_outside_the_data_is_undetermined():
    x = np.repeat([50.0, 100.0], 10)
    for success in (x > 0, x < 0):
        assert np.isnan(crossings([(x, success)])[0, 0])
        assert is_undetermined(from_redraws(crossings([(x, success)])[:, 0], 20))
    assert np.isnan(crossings([(x[:10], x[:10] > 0), ([], np.zeros(0, dtype=bool))])).all()
    assert crossings([]).shape == (501, 0)
    with pytest.raises(TypeError, match="boolean"):
        crossings([(x, x)])


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_line_is_that_of_weighted_least_squares(shape):
    rng = np.random.default_rng(13)
    x, y, weights = rng.random(5), rng.random((*shape, 5)), rng.random((*shape, 5))
    intercept, slope = line(x, y, weights)
    assert intercept.shape == slope.shape == shape
    for place in np.ndindex(shape):
        fitted = np.polyfit(x, y[place], 1, w=np.sqrt(weights[place]))
        assert (slope[place], intercept[place]) == pytest.approx(tuple(fitted))
    assert np.isnan(line([2.0, 2.0], [1.0, 3.0])).all()


def test_laws_foretell_their_own_and_not_each_other():
    x, at = np.array([19.0, 39.0, 79.0, 159.0]), np.array([319.0])
    affine, power = 55.6 + 5.36 * x, 9.0 * x**0.8
    assert affine_at(x, affine, at) == pytest.approx(55.6 + 5.36 * at)
    assert power_at(x, power, at) == pytest.approx(9.0 * at**0.8)
    assert power_at(x, affine, at) < 0.94 * affine_at(x, affine, at)
    assert affine_at(x, power, at) > 1.03 * power_at(x, power, at)
    both = affine_at(x, np.stack([affine, power]), at)
    np.testing.assert_allclose(both, [affine_at(x, affine, at), affine_at(x, power, at)])


def test_the_share_of_a_quadratic_law_is_that_of_its_second_term():
    x = np.array([2.0, 4.0, 8.0, 16.0])
    y = np.where(x == 4, np.nan, 3 * x + 0.25 * x**2)
    np.testing.assert_allclose(quadratic_share(x, y), 0.25 * x / (3 + 0.25 * x))


@pytest.mark.parametrize("level", [0.95, 0.975, 0.99])
@pytest.mark.parametrize("limit", [0.05, 0.5, 0.9, 0.95])
def test_fewest_trials_that_decide_a_proportion_or_bound_a_quantile(limit, level):
    def decides(n: int) -> bool:
        best = proportion(np.ones(n, dtype=bool), level=level)
        worst = proportion(np.zeros(n, dtype=bool), level=level)
        return best.low >= limit and worst.high <= limit

    def bounded(n: int) -> bool:
        found = quantile(np.arange(n), limit, level=level)
        return bool(np.isfinite([found.low, found.high]).all())

    for fewest, enough in (
        (trials_for_proportion(limit, level=level), decides),
        (trials_for_quantile(limit, level=level), bounded),
    ):
        assert enough(fewest)
        assert not enough(fewest - 1)


def test_local_exponents_are_those_of_a_power_law():
    x = np.repeat([1.0, 2.0, 8.0], 5)
    assert local_exponents(x, 3 * x**-0.5) == pytest.approx({2.0: -0.5, 8.0: -0.5})
    assert np.isnan(local_exponents([1, 2], [0.0, 0.0])[2.0])
    assert local_exponents([], []) == {}


@pytest.mark.parametrize("cells", [[1], [4, 4], [2, 7, 3]])
def test_trials_for_shares_make_every_member_of_a_family_decidable(cells):
    trials = trials_for_shares(0.1, cells)
    level = 1 - 0.05 / len(cells)
    assert all(proportion([False] * trials * k, level=level).high <= 0.1 for k in cells)
    assert proportion([False] * (trials - 1) * min(cells), level=level).high > 0.1


def test_a_family_without_members_needs_no_trials():
    assert trials_for_shares(0.1, []) == 0
