"""How many there are, judged by how often independent samples find the same ones."""

from __future__ import annotations

import numpy as np
import scipy

from harness.arrays import Bools


def chao2(found: Bools, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Chao's estimate of the number of kinds, and its log-normal interval.

    Parameters
    ----------
    found : (S, T) whether each of S kinds was found in each of T independent samples; kinds that no
        sample found do not count.
    level : nominal coverage of the two-sided interval.

    Returns
    -------
    expected : the bias-corrected estimate S + (1 - 1/T) Q1 (Q1 - 1) / (2 (Q2 + 1)), where Q1 kinds
        are in one sample and Q2 in two.  Its expectation is a LOWER bound, about, on the number of
        kinds: it is that number if all are equally likely to be found, and less if some are harder
        to find than others.
    interval : from the log-normal law of expected - S; if that is 0, from the number of kinds that
        samples of this many finds leave out.  With fewer than two samples it is (S, inf).

    References
    ----------
    A. Chao, Biometrics 43 (1987) 783-791, eq. 10 and section 4; R. K. Colwell, EstimateS 9,
    appendix B (the case of 0).
    """
    counts = found.sum(axis=1)
    counts = counts[counts > 0]
    S, T = counts.size, found.shape[1]
    if T < 2:
        return float(S), (float(S), np.inf)
    q1, q2 = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    a = (T - 1) / T
    missing = a * q1 * (q1 - 1) / (2 * (q2 + 1))
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    if missing == 0:
        left_out = np.exp(-counts.sum() / S) if S else 0.0
        mean = S / (1 - left_out)
        half = z * np.sqrt(S * left_out) / (1 - left_out)
        return float(S), (float(max(S, mean - half)), float(max(S, mean + half)))
    variance = (
        missing
        + a**2 * q1 * (2 * q1 - 1) ** 2 / (4 * (q2 + 1) ** 2)
        + a**2 * q1**2 * q2 * (q1 - 1) ** 2 / (4 * (q2 + 1) ** 4)
    )
    factor = np.exp(z * np.sqrt(np.log1p(variance / missing**2)))
    return S + missing, (S + missing / factor, S + missing * factor)
