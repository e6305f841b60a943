"""The rivals of a generative prior in y = w * x: subspaces, sparsity, convex programs, oracles.

All take a `Bilinear` model, w = B h and x = C m, and return a `Recovery`; `signal_error` compares
signals of any prior.  NumPy and SciPy suffice but for `branch_hull` and `l1_branch_hull`, which
need the optional extra "priors" (`solver_installed`).
"""

from harness.priors.convex import branch_hull, l1_branch_hull, solver_installed
from harness.priors.generative import Search, recover_codes
from harness.priors.lifting import nuclear_norm
from harness.priors.methods import CONES, Rival, recover
from harness.priors.model import Bilinear, Recovery, Stopping, signal_error
from harness.priors.oracles import (
    active_subspaces,
    known_activation,
    known_factor,
    known_supports,
)
from harness.priors.planted import Planted, Terms, planted
from harness.priors.sparse import (
    hard_thresholding_pursuit,
    sparse_power_factorization,
    thresholded_start,
)
from harness.priors.subspace import (
    alternating_least_squares,
    gradient_descent,
    polyak_subgradient,
    spectral_start,
)

__all__ = [
    "CONES",
    "Bilinear",
    "Planted",
    "Recovery",
    "Rival",
    "Search",
    "Stopping",
    "Terms",
    "active_subspaces",
    "alternating_least_squares",
    "branch_hull",
    "gradient_descent",
    "hard_thresholding_pursuit",
    "known_activation",
    "known_factor",
    "known_supports",
    "l1_branch_hull",
    "nuclear_norm",
    "planted",
    "polyak_subgradient",
    "recover",
    "recover_codes",
    "signal_error",
    "solver_installed",
    "sparse_power_factorization",
    "spectral_start",
    "thresholded_start",
]
