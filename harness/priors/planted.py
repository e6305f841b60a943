"""Random bilinear problems with a known truth: Gaussian dictionaries, dense or sparse factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.arrays import Array
from harness.priors.model import Bilinear, Recovery, signal_error

Terms = Literal["gaussian", "flat", "decaying"]
TERMS: tuple[Terms, ...] = get_args(Terms)


@dataclass(frozen=True, eq=False)
class Planted:
    """A model and the truth h (K,), m (N,) that its observation is made of."""

    model: Bilinear
    h: Array
    m: Array

    def error(self, found: Recovery) -> float:
        """The larger `signal_error` of w = B h and x = C m."""
        B, C = self.model.B, self.model.C
        return max(signal_error(B @ found.h, B @ self.h), signal_error(C @ found.m, C @ self.m))


def planted(rng: np.random.Generator, ell: int, columns: int, terms: int, law: Terms) -> Planted:
    """A problem with standard Gaussian dictionaries, both with so many columns and terms.

    Parameters
    ----------
    rng : numpy.random.Generator
    ell, columns, terms : int
        Rows; columns of each dictionary; terms of each factor, at uniform places.
    law : {"gaussian", "flat", "decaying"}
        Size of the terms: standard Gaussian; random signs; random signs over 1, 2, 3, ..., which
        keeps ||h||_inf / ||h|| above 0.77, however many there are.

    Raises
    ------
    ValueError
        If terms is not from 1 to columns, or law is unknown.
    """
    if not 1 <= terms <= columns:
        raise ValueError(f"terms={terms}: must be from 1 to {columns}, the number of columns")
    if law not in TERMS:
        raise ValueError(f"law={law!r}: must be one of {', '.join(TERMS)}")
    B, C = rng.standard_normal((ell, columns)), rng.standard_normal((ell, columns))
    h, m = (_factor(rng, columns, terms, law) for _ in range(2))
    return Planted(Bilinear(B, C, (B @ h) * (C @ m)), h, m)


def _factor(rng: np.random.Generator, columns: int, terms: int, law: Terms) -> Array:
    places = rng.permutation(columns)[:terms]
    factor = np.zeros(columns)
    if law == "gaussian":
        factor[places] = rng.standard_normal(terms)
    else:
        sizes = np.ones(terms) if law == "flat" else 1 / np.arange(1, terms + 1)
        factor[places] = rng.choice([-1.0, 1.0], terms) * sizes
    return factor
