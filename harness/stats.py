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


def _slope(x: Array, y: ArrayLike) -> Array:
    """Least-squares slope over the last axis of y."""
    centred = x - x.mean()
    return np.asarray(y, dtype=np.float64) @ centred / (centred @ centred)


def simultaneous(family: int, level: float = LEVEL) -> float:
    """Bonferroni: the level at which each of `family` intervals holds, all of them at `level`."""
    return 1 - (1 - level) / max(family, 1)
