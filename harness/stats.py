"""Estimates with intervals: proportions, quantiles, means, power laws, thresholds.

Every estimate carries its sample size n.  If the data do not determine a quantity (no trials, a
single abscissa, values that are not finite), the estimate is NaN with an unbounded interval, which
decides no claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


LEVEL = 0.95
"""Default confidence level of an interval."""
RESAMPLES = 2000
"""Default number of resamples of a vectorised bootstrap."""


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
    test = stats.binomtest(int(hits.sum()), hits.size)
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
    below = stats.binom.cdf(ranks, x.size, q)  # P(at most k values lie below the quantile)
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
    ends = stats.ttest_1samp(x, 0).confidence_interval(level)
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
    drawn = stats.bootstrap(
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


def _exponential(log: Estimate) -> Estimate:
    """The estimate of e^x from that of x."""
    value, low, high = (float(end) for end in np.exp([log.value, log.low, log.high]))
    return replace(log, value=value, low=low, high=high)


def simultaneous(family: int, level: float = LEVEL) -> float:
    """The level of each of `family` intervals that makes all of them hold at `level` (Bonferroni).

    A family of 0 counts as 1.
    """
    return 1 - (1 - level) / max(family, 1)


def threshold(
    x: ArrayLike,
    success: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """The x at which half the trials succeed, by a logistic fit of the success rate in log x.

    Parameters
    ----------
    x, success : (N,)
        One pair per trial, x > 0, success boolean; trials with the same x form a group.
    seed : int
        Seed of the interval, which comes from fits to rates drawn from each group's Jeffreys
        posterior, so that groups without a failure or without a success are uncertain too.

    Returns
    -------
    Estimate
        Undetermined with fewer than two groups, or if the rate does not cross one half within the
        range of x.

    Raises
    ------
    TypeError
        If success is not boolean.

    Notes
    -----
    Rates are shrunk: w successes in n trials enter the fit as (w + 1/2) / (n + 1).
    """
    fits = _log_thresholds(x, success, resamples, np.random.default_rng(seed))
    size, method = np.size(x), "logistic fit, Jeffreys"
    if fits is None:
        return undetermined(size, method)
    return _exponential(percentile(*fits, size, method, level))


def threshold_exponent(
    size: ArrayLike,
    x: ArrayLike,
    success: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """Exponent b of `threshold` ~ a size^b: slope of its logarithm on log size.

    size, x, success : (N,), one triple per trial.  Sizes without a threshold are left out; with
    fewer than two others the exponent is undetermined.  Rates are shrunk as in `threshold`.
    """
    size, x, success = np.asarray(size), np.asarray(x), np.asarray(success)
    rng, method = np.random.default_rng(seed), "logistic fits, Jeffreys"
    found: dict[float, tuple[float, Array]] = {}
    for value in np.unique(size):
        fits = _log_thresholds(x[size == value], success[size == value], resamples, rng)
        if fits is not None:
            found[float(value)] = fits
    if len(found) < 2:
        return undetermined(size.size, method)
    log_size = np.log(list(found))
    slopes = _slope(log_size, np.stack([draws for _, draws in found.values()], axis=-1))
    value = _slope(log_size, [log for log, _ in found.values()])
    return percentile(value, slopes, size.size, method, level)


def threshold_ratio(
    arm: ArrayLike,
    x: ArrayLike,
    success: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """`threshold` of the trials in the arm over that of the others.

    arm, x, success : (N,), one triple per trial, arm and success boolean.  Undetermined unless
    both have a threshold.  Rates are shrunk as in `threshold`.
    """
    arm, x, success = np.asarray(arm, dtype=np.bool_), np.asarray(x), np.asarray(success)
    rng, method = np.random.default_rng(seed), "logistic fits, Jeffreys"
    fits = [_log_thresholds(x[side], success[side], resamples, rng) for side in (arm, ~arm)]
    if fits[0] is None or fits[1] is None:
        return undetermined(x.size, method)
    (value, draws), (base, base_draws) = fits[0], fits[1]
    return _exponential(percentile(value - base, draws - base_draws, x.size, method, level))


def _log_thresholds(
    x: ArrayLike, success: ArrayLike, resamples: int, rng: np.random.Generator
) -> tuple[float, Array] | None:
    """Log of the threshold and `resamples` draws of it; None if the rates do not cross one half.

    Draws are clipped to one range of log x beyond either end.
    """
    x, hits = np.asarray(x, dtype=np.float64), np.asarray(success)
    if hits.dtype != np.bool_:
        raise TypeError(f"threshold: a boolean array is needed, not {hits.dtype}")
    abscissae = np.unique(x)
    trials = np.array([np.sum(x == value) for value in abscissae], dtype=np.float64)
    wins = np.array([np.sum(hits[x == value]) for value in abscissae], dtype=np.float64)
    rates = wins / np.maximum(trials, 1)
    if abscissae.size < 2 or rates.max() < 0.5 or rates.min() > 0.5:
        return None
    log_x = np.log(abscissae)
    posterior = rng.beta(wins + 0.5, trials - wins + 0.5, size=(resamples, abscissae.size))
    centre = (wins + 0.5) / (trials + 1)
    middle = _logistic_middle(log_x, np.vstack([centre, posterior]), trials)
    if not log_x[0] <= middle[0] <= log_x[-1]:
        return None
    return float(middle[0]), np.clip(middle[1:], 2 * log_x[0] - log_x[-1], 2 * log_x[-1] - log_x[0])


def _logistic_middle(log_x: Array, rates: Array, trials: Array, rounds: int = 50) -> Array:
    """The log x of rate one half in R logistic fits, by Newton's method: rates (R, M) -> (R,).

    With z the centred and scaled log x (M,), a fit 1 / (1 + exp(-a - b z)) maximises the binomial
    log-likelihood less 0.005 b^2; the penalty keeps b finite if the groups separate.
    """
    mean, scale = log_x.mean(), max(float(np.ptp(log_x)), 1e-9)
    z = (log_x - mean) / scale
    a, b = np.zeros(len(rates)), np.full(len(rates), 4.0)
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * z, -30, 30)))
        w = trials * p * (1 - p) + 1e-9
        error = trials * (rates - p)
        ga, gb = error.sum(1), (error * z).sum(1) - 0.01 * b
        haa, hab, hbb = w.sum(1), (w * z).sum(1), (w * z * z).sum(1) + 0.01
        det = haa * hbb - hab**2
        step_a, step_b = (hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det
        damp = np.minimum(1, 3 / np.maximum(np.abs(step_a) + np.abs(step_b), 1e-12))
        a, b = a + damp * step_a, b + damp * step_b
    return mean - scale * a / np.where(np.abs(b) > 1e-3, b, 1e-3)
