"""Estimates with intervals: proportions, quantiles, means, power laws, crossings.

Every estimate carries its sample size n.  If the data do not determine a quantity (no trials, a
single abscissa, values that are not finite), the estimate is NaN with an unbounded interval, which
decides no claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy
from numpy.typing import ArrayLike

from harness.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


LEVEL = 0.95
"""Default confidence level of an interval."""
RESAMPLES = 2000
"""Default number of resamples of a vectorised bootstrap."""

Law = Callable[[Array, Array, Array], Array]
"""A law fitted to (x, y), at other places: (K,), (..., K), (M,) -> (..., M)."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval [low, high] at confidence `level`, from n trials."""

    value: float
    low: float
    high: float
    n: int
    method: str
    level: float = LEVEL

    def __str__(self) -> str:
        if np.isnan(self.value):
            return f"undetermined (n = {self.n})"
        return f"{self.value:.4g} {self.interval()} (n = {self.n})"

    def interval(self, spec: str = ".4g") -> str:
        """The interval in words, with a format for both ends: "[0.1, 0.25]"."""
        return f"[{self.low:{spec}}, {self.high:{spec}}]"


def undetermined(n: int, method: str) -> Estimate:
    """The estimate of a quantity that the data do not determine: NaN in (-inf, inf)."""
    return Estimate(np.nan, -np.inf, np.inf, n, method)


def proportion(successes: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Share of True in a boolean array, with its Clopper-Pearson (exact binomial) interval.

    Raises TypeError if the array is not boolean.
    """
    hits = np.asarray(successes)
    if hits.dtype != np.bool_:
        raise TypeError(f"proportion: a boolean array is needed, not {hits.dtype}")
    if hits.size == 0:
        return undetermined(0, "Clopper-Pearson")
    test = scipy.stats.binomtest(int(hits.sum()), hits.size)
    interval = test.proportion_ci(confidence_level=level, method="exact")
    return Estimate(
        float(hits.mean()),
        float(interval.low),
        float(interval.high),
        hits.size,
        "Clopper-Pearson",
        level,
    )


def paired_change(one: ArrayLike, other: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Difference of two success rates, `one` - `other`, on the same trials: (N,), (N,) boolean.

    Let won be the share of trials in which `one` alone succeeds and lost that in which `other`
    alone does.  With their Clopper-Pearson intervals, jointly at the level, the interval is
    [low(won) - high(lost), high(won) - low(lost)].  It has a positive width even if no trial
    differs.  Raises TypeError if the arrays are not boolean.
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype != np.bool_ or other.dtype != np.bool_:
        raise TypeError(f"paired_change: booleans are needed, not {one.dtype} and {other.dtype}")
    if one.size == 0:
        return undetermined(0, "Clopper-Pearson, paired")
    half = simultaneous(2, level)
    won, lost = proportion(one & ~other, level=half), proportion(other & ~one, level=half)
    return Estimate(
        won.value - lost.value,
        won.low - lost.high,
        won.high - lost.low,
        one.size,
        "Clopper-Pearson, paired",
        level,
    )


def trials_for_proportion(threshold: float, *, level: float = LEVEL) -> int:
    """Trials with which a `proportion` can lie wholly above a threshold in (0, 1), or below it."""
    tail = np.log((1 - level) / 2)
    return int(np.ceil(max(tail / np.log(threshold), tail / np.log1p(-threshold)) - 1e-9))


def trials_for_shares(threshold: float, replicas: Sequence[int]) -> int:
    """`trials_for_proportion` of a cell, if each member of a family has so many cells; 0 if none.

    The members hold jointly, see `simultaneous`.
    """
    if not len(replicas):
        return 0
    level = simultaneous(len(replicas))
    return -(-trials_for_proportion(threshold, level=level) // min(replicas))


def trials_for_quantile(q: float = 0.5, *, level: float = LEVEL) -> int:
    """Trials from which the interval of a `quantile` is bounded on both sides."""
    tail = np.log((1 - level) / 2)
    return int(np.floor(max(tail / np.log(q), tail / np.log1p(-q)))) + 1


def quantile(values: ArrayLike, q: float = 0.5, *, level: float = LEVEL) -> Estimate:
    """Sample quantile with its distribution-free order-statistic interval.

    The interval is [x_(i), x_(j)] with i and j from the binomial(n, q) law of the number of values
    below the quantile.  A side is unbounded if no order statistic reaches the level.  NaN counts
    as the largest value, above infinity; it is not dropped.  If large values are good, replace NaN
    by -inf first.
    """
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if x.size == 0:
        return undetermined(0, "order statistics")
    tail = (1 - level) / 2
    ranks = np.arange(x.size + 1)
    below = scipy.stats.binom.cdf(ranks, x.size, q)  # P(at most k values lie below the quantile)
    low_rank = int(np.searchsorted(below, tail, side="right"))  # counted from 1; 0: unbounded
    high_rank = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    low = x[low_rank - 1] if low_rank >= 1 else -np.inf
    high = x[high_rank - 1] if high_rank <= x.size else np.inf
    index = max(int(np.ceil(q * x.size)), 1) - 1
    with np.errstate(invalid="ignore"):  # the midpoint of -inf and inf is NaN
        halfway = 0.5 * x[(x.size - 1) // 2] + 0.5 * x[x.size // 2]
    middle = halfway if q == 0.5 else x[index]
    return Estimate(float(middle), float(low), float(high), x.size, "order statistics", level)


def mean(values: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Mean with its Student t interval; undetermined for fewer than two values or infinite ones."""
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size < 2 or not np.isfinite(x).all():
        return undetermined(x.size, "Student t")
    centre = float(x.mean())
    if np.ptp(x) <= 1e-14 * np.abs(x).max():  # equal up to rounding, which SciPy warns about
        return Estimate(centre, centre, centre, x.size, "Student t", level)
    ends = scipy.stats.ttest_1samp(x, 0).confidence_interval(level)
    return Estimate(centre, float(ends.low), float(ends.high), x.size, "Student t", level)


def power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Exponent b of y ~ a x^b: slope of log median(y) on log x, bootstrap interval.

    Parameters
    ----------
    x, y : (N,)
        One pair per trial; trials with the same x form a group.  Positive and finite.
    seed : int
        Seed of the bootstrap, which redraws the trials within each group (percentile interval).

    Returns
    -------
    Estimate
        Undetermined with fewer than two groups, a group of a single trial, or a value that is
        not positive and finite.

    Raises
    ------
    ValueError
        If x and y are not one-dimensional and of equal length.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"power_law: x {x.shape} and y {y.shape} must be one-dimensional alike")
    abscissae = np.unique(x)
    groups = [y[x == value] for value in abscissae]
    usable = bool(
        abscissae.size >= 2
        and np.isfinite(x).all()
        and (x > 0).all()
        and np.isfinite(y).all()
        and (y > 0).all()
        and min(len(g) for g in groups) >= 2
    )
    method = "bootstrap of a log-log fit"
    if not usable:
        return undetermined(x.size, method)
    rng = np.random.default_rng(seed)
    log_x = np.log(abscissae)
    redrawn = [np.median(rng.choice(g, size=(resamples, g.size)), axis=1) for g in groups]
    value = _slope(log_x, np.log([np.median(g) for g in groups]))
    slopes = _slope(log_x, np.log(np.stack(redrawn, axis=-1)))
    return percentile(value, slopes, x.size, method, level)


def local_exponents(x: ArrayLike, y: ArrayLike) -> dict[float, float]:
    """Exponent of the median of y between each x and the next smaller one, by x: (N,), (N,).

    A power law holds where they agree.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    places = np.unique(x)
    with np.errstate(all="ignore"):  # a median that is not positive has no logarithm
        medians = np.log([np.median(y[x == place]) for place in places])
        slopes = np.diff(medians) / np.diff(np.log(places))
    return dict(zip(places[1:].tolist(), slopes.tolist(), strict=True))


def bootstrap(
    table: pd.DataFrame,
    groups: Sequence[str],
    statistic: Callable[[pd.DataFrame], float],
    *,
    level: float = LEVEL,
    resamples: int = 200,
    seed: int = 0,
) -> Estimate:
    """A statistic of a table, with its percentile interval over redraws of rows within groups.

    Undetermined if a group has a single row or if the statistic, of the table or of a redraw, is
    not finite.  (`scipy.stats.bootstrap` does not redraw within strata.)
    """
    method = "bootstrap within groups"
    parts = [part for _, part in table.groupby(list(groups))]
    if not parts or min(len(part) for part in parts) < 2:
        return undetermined(len(table), method)
    value = statistic(table)
    rng = np.random.default_rng(seed)
    redrawn = []
    for _ in range(resamples):
        rows = [part.index[rng.integers(len(part), size=len(part))] for part in parts]
        redrawn.append(statistic(table.loc[np.concatenate(rows)]))
    return percentile(value, redrawn, len(table), method, level)


def contrast(
    one: ArrayLike,
    other: ArrayLike,
    compare: Callable[..., Array],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A comparison of two independent samples (N,), (M,), with its percentile bootstrap interval.

    Parameters
    ----------
    compare : callable
        `compare(one, other, axis)`: the comparison along an axis of both samples.
    seed : int
        Seed of the bootstrap, which redraws both samples.

    Returns
    -------
    Estimate
        Undetermined if a sample has fewer than two values or a comparison is not finite.
    """
    samples = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    size, method = sum(sample.size for sample in samples), "bootstrap of both samples"
    if not all(sample.size >= 2 and np.isfinite(sample).all() for sample in samples):
        return undetermined(size, method)
    drawn = scipy.stats.bootstrap(
        samples,
        compare,
        n_resamples=resamples,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    value = float(compare(*samples, axis=-1))
    if not np.isfinite([value, *drawn.bootstrap_distribution]).all():
        return undetermined(size, method)
    ends = drawn.confidence_interval
    return Estimate(value, float(ends.low), float(ends.high), size, method, level)


def ratio_of_medians(one: Array, other: Array, axis: int) -> Array:
    """For `contrast`."""
    return np.median(one, axis=axis) / np.median(other, axis=axis)


def difference_of_means(one: Array, other: Array, axis: int) -> Array:
    """For `contrast`."""
    return one.mean(axis=axis) - other.mean(axis=axis)


def _slope(x: Array, y: ArrayLike) -> Array:
    """Slope of the least-squares line through (x, y): (K,), (..., K) -> (...)."""
    centred = x - x.mean()
    return np.asarray(y, dtype=np.float64) @ centred / (centred @ centred)


def percentile(
    value: float | Array, draws: ArrayLike, n: int, method: str, level: float = LEVEL
) -> Estimate:
    """An estimate with the percentile interval of its draws (R,).

    Undetermined if one of them is not finite.
    """
    if not (np.isfinite(value) and np.isfinite(draws).all()):
        return undetermined(n, method)
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(np.asarray(draws, dtype=np.float64), ends)
    return Estimate(float(value), float(low), float(high), n, method, level)


def simultaneous(family: int, level: float = LEVEL) -> float:
    """The level of each of `family` intervals that makes all of them hold at `level` (Bonferroni).

    A family of 0 counts as 1.
    """
    return 1 - (1 - level) / max(family, 1)


def crossings(
    groups: Sequence[tuple[ArrayLike, ArrayLike]],
    rate: float = 0.5,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> Array:
    """The x at which the success rate of each group of trials crosses `rate`, and redraws of it.

    The success rate is the monotone regression of the shares of successes, linear in log x between
    neighbouring abscissae: no form is assumed, and the counts are fitted as they are.

    Parameters
    ----------
    groups : sequence of (x, success)
        K groups, each (N,), (N,): one pair per trial, x > 0, success boolean.
    rate : float
        In (0, 1).
    seed : int
        Seed of the redraws: shares from the Jeffreys posterior of each abscissa's trials, so that
        abscissae without a failure or without a success are uncertain too.  The same groups and
        seed give the same redraws of the shares at every rate.

    Returns
    -------
    (1 + resamples, K)
        First the crossings themselves, NaN where the rate is not crossed within the range of x;
        then the redraws, put one range of log x beyond an end if they cross none.  What is
        computed from them along the first axis is an estimate by `from_redraws`.

    Raises
    ------
    TypeError
        If success is not boolean.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((1 + resamples, len(groups)))
    for k, (x, success) in enumerate(groups):
        hits = np.asarray(success)
        if hits.dtype != np.bool_:
            raise TypeError(f"crossings: a boolean array is needed, not {hits.dtype}")
        abscissae, place = np.unique(np.asarray(x, dtype=np.float64), return_inverse=True)
        if abscissae.size < 2:
            found[:, k] = np.nan
            continue
        trials, wins = np.bincount(place), np.bincount(place, weights=hits)
        redrawn = rng.beta(wins + 0.5, trials - wins + 0.5, size=(resamples, abscissae.size))
        log_x = np.log(abscissae)
        for i, shares in enumerate(np.vstack([wins / trials, redrawn])):
            rising = scipy.optimize.isotonic_regression(shares, weights=trials).x
            found[i, k] = _first_at_least(rate, rising, log_x)
        if not log_x[0] <= found[0, k] <= log_x[-1]:
            found[0, k] = np.nan
    return np.exp(found)


def _first_at_least(rate: float, rising: Array, log_x: Array) -> float:
    """Where a rising rate (M,) reaches `rate`; one range of log x beyond an end if nowhere."""
    after = int(np.searchsorted(rising, rate))
    if after == rising.size:
        return float(2 * log_x[-1] - log_x[0])
    if after == 0:
        return float(log_x[0] if rising[0] == rate else 2 * log_x[0] - log_x[-1])
    part = (rate - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(log_x[after - 1] + part * (log_x[after] - log_x[after - 1]))


def from_redraws(values: Array, n: int, *, level: float = LEVEL) -> Estimate:
    """The estimate `values[0]`, with the percentile interval of its redraws `values[1:]`.

    Undetermined if a value is not finite.
    """
    return percentile(values[0], values[1:], n, "monotone regression, Jeffreys", level)


def line(x: ArrayLike, y: ArrayLike, weights: ArrayLike = 1.0) -> tuple[Array, Array]:
    """Intercept and slope of the weighted least-squares line: (K,), (..., K) -> (...), (...).

    NaN for fewer than two x.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), y.shape)
    if len(np.unique(x)) < 2:
        return np.full(y.shape[:-1], np.nan), np.full(y.shape[:-1], np.nan)
    w = w / w.sum(axis=-1, keepdims=True)
    x_mean, y_mean = (w * x).sum(axis=-1), (w * y).sum(axis=-1)
    centred = x - x_mean[..., None]
    slope = (w * centred * y).sum(axis=-1) / (w * centred**2).sum(axis=-1)
    return y_mean - slope * x_mean, slope


def affine_at(x: Array, y: Array, at: Array) -> Array:
    """The affine law of least relative error through (x, y): (K,), (..., K), (M,) -> (..., M)."""
    a, b = line(x, y, 1 / y**2)
    return np.asarray(a[..., None] + b[..., None] * at)


def power_at(x: Array, y: Array, at: Array) -> Array:
    """The power law through (x, y), fitted to logarithms: (K,), (..., K), (M,) -> (..., M)."""
    a, b = line(np.log(x), np.log(y))
    return np.asarray(np.exp(a[..., None] + b[..., None] * np.log(at)))


def quadratic_share(x: Array, y: Array) -> Array:
    """b x / (a + b x) of the law y = a x + b x^2 of least relative error, (K,): its share of x^2.

    Values that are not finite are left out of the fit.
    """
    each, there = y / x, np.isfinite(y)
    a, b = line(x[there], each[there], 1 / each[there] ** 2)
    return np.asarray(b * x / (a + b * x))
