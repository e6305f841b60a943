"""The rivals by name, as an experiment runs them on a planted problem."""

from __future__ import annotations

from typing import Literal

import numpy as np

from harness.priors.convex import branch_hull, l1_branch_hull
from harness.priors.lifting import nuclear_norm
from harness.priors.model import Recovery, best
from harness.priors.oracles import known_supports
from harness.priors.planted import Planted
from harness.priors.sparse import sparse_power_factorization
from harness.priors.subspace import (
    alternating_least_squares,
    gradient_descent,
    polyak_subgradient,
    spectral_start,
)

Rival = Literal[
    "alternating",
    "spectral",
    "gradient",
    "polyak",
    "nuclear",
    "branch_hull",
    "factorization",
    "supports",
    "l1_branch_hull",
]
CONES: tuple[Rival, ...] = ("branch_hull", "l1_branch_hull")
"""Those that need the extra "priors", and are told the signs of w."""


def recover(
    method: Rival,
    problem: Planted,
    rng: np.random.Generator,
    *,
    starts: int = 1,
    time_limit: float,
) -> Recovery:
    """The best fit of a method, from random starts if they are of its own choice.

    `factorization` is told the sparsities, `supports` the supports; `spectral` is alternating least
    squares from the spectral start.

    Raises
    ------
    ValueError, ModuleNotFoundError
        As the function that it stands for.
    """
    return best(_recover(method, problem, rng, time_limit) for _ in range(starts))


def _recover(
    method: Rival, problem: Planted, rng: np.random.Generator, time_limit: float
) -> Recovery:
    model = problem.model
    h, m = rng.standard_normal(model.K), rng.standard_normal(model.N)
    first, second = np.flatnonzero(problem.h), np.flatnonzero(problem.m)
    match method:
        case "alternating":
            return alternating_least_squares(model, m)
        case "spectral":
            return alternating_least_squares(model, spectral_start(model)[1])
        case "gradient":
            return gradient_descent(model, h, m)
        case "polyak":
            return polyak_subgradient(model, h, m)
        case "nuclear":
            return nuclear_norm(model, rng)
        case "factorization":
            return sparse_power_factorization(model, len(first), len(second))
        case "supports":
            return known_supports(model, first.tolist(), second.tolist(), m)
        case "branch_hull":
            return branch_hull(model, np.sign(model.B @ problem.h), time_limit=time_limit)
        case "l1_branch_hull":
            return l1_branch_hull(model, np.sign(model.B @ problem.h), time_limit=time_limit)
