"""Brackets of the WDC and joint-WDC constants, by the best method for the shape at hand."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import scipy
from numpy.typing import ArrayLike

from harness.conditions.bracket import Bracket
from harness.conditions.definition import Array, check_matrix
from harness.conditions.exact import wdc_certified_2, wdc_exact_1
from harness.conditions.exact_joint import joint_certified_2, joint_exact_1
from harness.conditions.net import BOXES, wdc_net
from harness.conditions.search import joint_wdc_search, wdc_search


def wdc_bracket(
    W: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator | None = None,
    rtol: float = 0.01,
    budget: int = 30_000,
    boxes: int = BOXES,
) -> Bracket:
    """Bracket of the WDC constant of W: sup over x, y of `wdc_residual` (eq. 5).

    Parameters
    ----------
    W : (ell, n)
        Rows w with mean w w^T = (alpha/ell) I, as in the theorems' last layers.  Any number of
        rows: zero rows add nothing, and with ell < n the constant is at least alpha/2.
    alpha : float
        Scaling; W / sqrt(alpha) has the constant divided by alpha, with 1 in its place.
    rng : numpy.random.Generator, optional
        For the search (n >= 3).  None means `default_rng(0)`, not fresh entropy as in NumPy: the
        bracket of a matrix is then the same at every call.
    rtol : float
        Relative width of the bracket at which a certificate stops.
    budget : int
        Evaluations of the search.
    boxes : int
        Boxes that a certificate for n = 3, 4 (or n = p = 2 of the joint condition) may bound.

    Returns
    -------
    Bracket

    Raises
    ------
    ValueError
        If W is not a finite non-empty matrix or alpha is not positive and finite.

    Warns
    -----
    UserWarning
        If the mean squared length of W's columns is further from alpha than chance explains for
        a Gaussian matrix of this shape: the constant then measures the scaling.
    """
    W = check_matrix("W", W)
    _check_alpha("W", W, alpha)
    n = W.shape[1]
    if n == 1:
        return wdc_exact_1(W, alpha)
    if n == 2:
        return wdc_certified_2(W, alpha, rtol)
    found = wdc_search(W, alpha, rng=rng or np.random.default_rng(0), budget=budget)
    return found if n > 4 else wdc_net(W, alpha, rtol, boxes, found)


def wdc_lower_end(
    W: ArrayLike, alpha: float = 1.0, *, rng: np.random.Generator, budget: int
) -> Bracket:
    """`wdc_bracket` where a certificate is cheap, with up to two columns; else `wdc_search`."""
    if check_matrix("W", W).shape[1] <= 2:
        return wdc_bracket(W, alpha)
    return wdc_search(W, alpha, rng=rng, budget=budget)


def joint_wdc_bracket(
    B: ArrayLike,
    C: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator | None = None,
    rtol: float = 0.01,
    budget: int = 30_000,
    boxes: int = 400_000,
) -> Bracket:
    """Bracket of the joint-WDC constant of B, C: sup of `joint_wdc_residual` (eqs. 6 and 7).

    B is (ell, n) and C is (ell, p); alpha is the product of their scalings.  The other parameters
    are those of `wdc_bracket`.
    """
    B, C = check_matrix("B", B), check_matrix("C", C)
    if len(B) != len(C):
        raise ValueError(f"B has {len(B)} rows and C has {len(C)}: must be the same number")
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha={alpha}: must be > 0 and finite")
    if (B.shape[1], C.shape[1]) == (1, 1):
        return joint_exact_1(B, C, alpha)
    found = joint_wdc_search(B, C, alpha, rng=rng or np.random.default_rng(0), budget=budget)
    if (B.shape[1], C.shape[1]) != (2, 2):
        return found
    certified = joint_certified_2(B, C, alpha, rtol, boxes)
    if certified.lower >= found.lower:
        return certified
    method = f"upper: {certified.method}; lower: {found.method}"
    return replace(found, upper=max(certified.upper, found.lower), method=method)


def _check_alpha(name: str, W: Array, alpha: float) -> None:
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha={alpha}: must be > 0 and finite")
    mean_square = float(np.sum(W * W)) / W.shape[1]
    ratio = mean_square / alpha
    if not 0.5 <= ratio <= 2 and not _by_chance(ratio, W.size):
        warnings.warn(
            f"{name}: its columns have mean squared length {mean_square:.3g}, far from "
            f"alpha={alpha:g}; the constant then measures the scaling",
            stacklevel=3,
        )


def _by_chance(ratio: float, entries: int) -> bool:
    """Whether the mean square of Gaussian entries is this multiple of its mean with odds > 1e-6."""
    law = scipy.stats.chi2(entries)
    return bool(min(law.cdf(ratio * entries), law.sf(ratio * entries)) > 1e-6)
