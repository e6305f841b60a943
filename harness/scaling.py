"""How measured quantities scale with the size of networks, and with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.stats import LEVEL, RESAMPLES, Estimate, percentile, undetermined


def growth(
    scale: ArrayLike,
    count: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Exponent b of E[count] ~ a scale^b: slope of log means on the log of the scale.

    Parameters
    ----------
    scale, count : (N,)
        One pair per trial; trials with the same scale form a group, which counts by its size.
        The scale is positive; counts may be 0.
    seed : int
        Seed of the bootstrap, which redraws the trials within each group (percentile interval).

    Returns
    -------
    Estimate
        Undetermined with fewer than two groups, a group of a single trial, or means that are not
        positive and finite.
    """
    count = np.asarray(count, dtype=np.float64)
    slopes = _slopes(scale, count[None], np.mean, resamples, seed)
    method = "bootstrap of a log-log fit of means"
    if slopes is None:
        return undetermined(count.size, method)
    return percentile(slopes[0, 0], slopes[0, 1:], count.size, method, level)


def instrumented_power_law(
    scale: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Exponent b of y ~ a x^b where x has errors, too: exponent of y in the scale over that of x.

    Both exponents are slopes of log medians on the log of the scale, which is known exactly: the
    estimator of instrumental variables.  A fit of y to x itself would be drawn towards 0.

    Parameters
    ----------
    scale, x, y : (N,)
        One triple per trial, positive; trials with the same scale form a group, as in `growth`.
        The bootstrap redraws pairs (x, y).

    Returns
    -------
    Estimate
        Undetermined as in `growth`, and if x does not change with the scale.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    slopes = _slopes(scale, np.stack([x, y]), np.median, resamples, seed)
    method = "bootstrap of instrumental variables"
    if slopes is None or not slopes[0].all():
        return undetermined(x.size, method)
    exponents = slopes[1] / slopes[0]
    return percentile(exponents[0], exponents[1:], x.size, method, level)


def relative_fit(
    groups: Iterable[tuple[Array, Array]],
    terms: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Array:
    """Coefficients of y ~ x @ c by least squares of the relative error: (1 + resamples, terms).

    The first row is of the data, the others are of redraws within the groups; NaN without data.

    Parameters
    ----------
    groups : pairs of x (T, terms) and positive y (T,)
    """
    rng = np.random.default_rng(seed)
    gram, right = np.zeros((1 + resamples, terms, terms)), np.zeros((1 + resamples, terms))
    for x, y in groups:
        relative = x / y[:, None]
        drawn = rng.integers(len(y), size=(resamples, len(y)))
        picked = relative[np.vstack([np.arange(len(y)), drawn])]
        gram += picked.swapaxes(1, 2) @ picked
        right += picked.sum(axis=1)
    if not gram.any():
        return np.full_like(right, np.nan)
    return np.asarray(np.linalg.solve(gram, right[..., None])[..., 0], dtype=np.float64)


def _slopes(
    scale: ArrayLike, values: Array, centre: Callable[..., Array], resamples: int, seed: int
) -> Array | None:
    """Slopes of log centres of K quantities (K, N) on log scale: of the data, then of redraws.

    (K, 1 + resamples), or None where they are not determined.  A group counts by its size.
    """
    scale = np.asarray(scale, dtype=np.float64)
    places, sizes = np.unique(scale, return_counts=True)
    if places.size < 2 or sizes.min() < 2 or not (np.isfinite(places) & (places > 0)).all():
        return None
    rng = np.random.default_rng(seed)
    centres = np.empty((places.size, len(values), 1 + resamples))
    for k, (place, size) in enumerate(zip(places, sizes, strict=True)):
        group = values[:, scale == place]
        centres[k, :, 0] = centre(group, axis=-1)
        centres[k, :, 1:] = centre(group[:, rng.integers(size, size=(resamples, size))], axis=-1)
    if not (np.isfinite(centres) & (centres > 0)).all():
        return None
    logs = np.log(centres / centres[0])
    moment = sizes * (np.log(places) - np.average(np.log(places), weights=sizes))
    return np.tensordot(moment, logs, 1) / (moment @ np.log(places))


def rank_correlation(
    group: ArrayLike, x: ArrayLike, y: ArrayLike, *, level: float = LEVEL
) -> Estimate:
    """Spearman's correlation of x and y within groups, pooled over them: three (N,).

    Ranks are centred within each group, so that a group's own level of x or y says nothing.  The
    interval is Fisher's, with the variance 1.06 / (N - groups - 2) of ranks (Fieller, Hartley and
    Pearson 1957).  Undetermined with NaN, without variation within groups, or with too few trials.
    """
    group, x, y = np.asarray(group), np.asarray(x, np.float64), np.asarray(y, np.float64)
    method = "Spearman within groups, Fisher's z"
    groups = np.unique(group)
    freedom = x.size - groups.size - 2
    ranks = np.zeros((2, x.size))
    for value in groups:
        here = group == value
        ranks[:, here] = scipy.stats.rankdata([x[here], y[here]], axis=1) - (here.sum() + 1) / 2
    sizes = np.linalg.norm(ranks, axis=1)
    if freedom < 1 or np.isnan([x, y]).any() or not sizes.all():
        return undetermined(x.size, method)
    value = float(ranks[0] @ ranks[1] / sizes.prod())
    centre = np.arctanh(np.clip(value, -1 + 1e-15, 1 - 1e-15))
    half = scipy.stats.norm.ppf((1 + level) / 2) * np.sqrt(1.06 / freedom)
    low, high = np.tanh([centre - half, centre + half])
    return Estimate(value, float(low), float(high), x.size, method, level)
