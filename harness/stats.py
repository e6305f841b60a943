"""Estimates with intervals: proportions, quantiles, power laws.

Every estimate names its n.  Where data cannot give one (no trials, a single abscissa, values that
are not finite) the estimate is NaN with an unbounded interval, which no claim can be decided on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of every interval."""
RESAMPLES = 2000
"""Bootstrap resamples of every bootstrap interval."""


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
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.n})"


def undetermined(n: int, method: str) -> Estimate:
    """The estimate of data that cannot give one."""
    return Estimate(np.nan, -np.inf, np.inf, n, method)


def proportion(successes: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Share of True in a boolean array, with its Clopper-Pearson (exact binomial) interval."""
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
    """Share of successes of `one` less that of `other`, on the same trials: (N,), (N,) boolean.

    The interval is [low(won) - high(lost), high(won) - low(lost)] of the Clopper-Pearson intervals
    of the shares of trials that `one` alone wins or loses, jointly at the level: it does not
    shrink to a point where no trial differs.
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


def quantile(values: ArrayLike, q: float = 0.5, *, level: float = LEVEL) -> Estimate:
    """Sample quantile with its distribution-free order-statistic interval.

    The interval [x_(i), x_(j)] has i, j from the binomial(n, q) law of the count below the
    quantile; it is unbounded on a side where no order statistic reaches the level.  NaN sorts
    above everything, infinity included: it is a value that was not had, not one to drop.  Where
    large values are the good ones, put -inf in its place first.
    """
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if x.size == 0:
        return undetermined(0, "order statistics")
    tail = (1 - level) / 2
    ranks = np.arange(x.size + 1)
    below = stats.binom.cdf(ranks, x.size, q)  # P(at most k values lie below the quantile)
    low_rank = int(np.searchsorted(below, tail, side="right"))  # x_(low_rank), 1-based; 0: none
    high_rank = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    low = x[low_rank - 1] if low_rank >= 1 else -np.inf
    high = x[high_rank - 1] if high_rank <= x.size else np.inf
    index = max(int(np.ceil(q * x.size)), 1) - 1
    with np.errstate(invalid="ignore"):  # halfway between -inf and inf there is nothing: NaN
        halfway = 0.5 * x[(x.size - 1) // 2] + 0.5 * x[x.size // 2]
    middle = halfway if q == 0.5 else x[index]
    return Estimate(float(middle), float(low), float(high), x.size, "order statistics", level)


def mean(values: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Mean with its Student t interval."""
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size < 2 or not np.isfinite(x).all():
        return undetermined(x.size, "Student t")
    half = float(stats.t.ppf(0.5 + level / 2, x.size - 1) * stats.sem(x))
    centre = float(x.mean())
    return Estimate(centre, centre - half, centre + half, x.size, "Student t", level)


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
        One pair a trial; trials that share an x form a group.  Positive and finite.
    seed : int
        Of the bootstrap, which redraws the trials within each group (percentile interval).

    Returns
    -------
    Estimate
        Undetermined with fewer than two groups, a group of a single trial, or a value that is
        not positive and finite.
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
    if not usable:
        return undetermined(x.size, "bootstrap of a log-log fit")
    rng = np.random.default_rng(seed)
    log_x = np.log(abscissae)
    redrawn = [np.median(rng.choice(g, size=(resamples, g.size)), axis=1) for g in groups]
    value = _slope(log_x, np.log([np.median(g) for g in groups]))
    slopes = _slope(log_x, np.log(np.stack(redrawn, axis=-1)))
    low, high = np.quantile(slopes, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(
        float(value), float(low), float(high), x.size, "bootstrap of a log-log fit", level
    )


def bootstrap(
    table: pd.DataFrame,
    groups: Sequence[str],
    statistic: Callable[[pd.DataFrame], float],
    *,
    level: float = LEVEL,
    resamples: int = 200,
    seed: int = 0,
) -> Estimate:
    """A statistic of a table, percentile interval over redraws of the rows within each group.

    Undetermined if the statistic is not finite or a group has a single row.
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
    if not np.isfinite([value, *redrawn]).all():
        return undetermined(len(table), method)
    low, high = np.quantile(redrawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high), len(table), method, level)


def contrast(
    one: ArrayLike,
    other: ArrayLike,
    compare: Callable[[Array, Array], Array],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A comparison of two independent samples (N,), (M,); both are redrawn for the interval.

    `compare` takes redraws (R, N) and (R, M) to their (R,) values.  Undetermined if a sample has
    fewer than two values or a comparison is not finite.
    """
    samples = [np.asarray(sample, dtype=np.float64) for sample in (one, other)]
    size, method = sum(sample.size for sample in samples), "bootstrap of both samples"
    if min(sample.size for sample in samples) < 2:
        return undetermined(size, method)
    rng = np.random.default_rng(seed)
    values = compare(*(rng.choice(sample, size=(resamples, sample.size)) for sample in samples))
    value = float(compare(*(sample[None] for sample in samples))[0])
    if not np.isfinite([value, *values]).all():
        return undetermined(size, method)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), size, method, level)


def _slope(x: Array, y: ArrayLike) -> Array:
    """Least-squares slope over the last axis of y."""
    centred = x - x.mean()
    return np.asarray(y, dtype=np.float64) @ centred / (centred @ centred)


def simultaneous(family: int, level: float = LEVEL) -> float:
    """Bonferroni: the level at which each of `family` intervals holds, all of them at `level`."""
    return 1 - (1 - level) / max(family, 1)


def threshold(
    x: ArrayLike,
    success: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """The x at which half the trials succeed: logistic fit of the rate in log x.

    Parameters
    ----------
    x, success : (N,)
        One pair a trial, x > 0, success boolean; trials that share an x form a group.
    seed : int
        Of the interval, by fits to rates drawn from each group's Jeffreys posterior (so that
        groups without a failure, or without a success, have an uncertainty too).

    Returns
    -------
    Estimate
        Undetermined with fewer than two groups, or if the rate does not pass one half within the
        range of x.
    """
    fits = _log_thresholds(x, success, resamples, np.random.default_rng(seed))
    size, method = np.size(x), "logistic fit, Jeffreys"
    if fits is None:
        return undetermined(size, method)
    value, draws = fits
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    centre, low, high = np.exp([value, low, high])
    return Estimate(float(centre), float(low), float(high), size, method, level)


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

    size, x, success : (N,), one triple a trial.  Undetermined with fewer than two sizes that have
    a threshold; sizes without one are left out.
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
    low, high = np.quantile(slopes, [(1 - level) / 2, (1 + level) / 2])
    value = _slope(log_size, [log for log, _ in found.values()])
    return Estimate(float(value), float(low), float(high), size.size, method, level)


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

    arm, x, success : (N,), one triple a trial, arm and success boolean.  Undetermined where either
    has no threshold.
    """
    arm, x, success = np.asarray(arm, dtype=np.bool_), np.asarray(x), np.asarray(success)
    rng, method = np.random.default_rng(seed), "logistic fits, Jeffreys"
    fits = [_log_thresholds(x[side], success[side], resamples, rng) for side in (arm, ~arm)]
    if fits[0] is None or fits[1] is None:
        return undetermined(x.size, method)
    (value, draws), (base, base_draws) = fits[0], fits[1]
    low, high = np.quantile(draws - base_draws, [(1 - level) / 2, (1 + level) / 2])
    centre, low, high = np.exp([value - base, low, high])
    return Estimate(float(centre), float(low), float(high), x.size, method, level)


def _log_thresholds(
    x: ArrayLike, success: ArrayLike, resamples: int, rng: np.random.Generator
) -> tuple[float, Array] | None:
    """Log of the x of rate one half, and as many draws of it; None if it is not passed."""
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
    """-a/b of the fits rate = 1 / (1 + exp(-a - b z)), by Newton's method: (R, M) -> (R,).

    z is log_x centred and scaled; a weak pull of b to a moderate slope keeps fits finite.
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
