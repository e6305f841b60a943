"""BranchHull and l1-BranchHull: convex programs for known signs of w = B h.

Each row asks that (b_l.h, c_l.m) lie in the convex hull of a branch of the hyperbola w x = y_l: a
second-order cone.  Solved by Clarabel through CVXPY, the optional extra "priors".
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.priors.model import Bilinear, Recovery, as_signs, nothing, recovery
from harness.status import Status

TIME_LIMIT = 60.0
"""Seconds that a program may take, by default."""


def solver_installed() -> bool:
    """Whether the extra "priors" is there: the convex programs need it."""
    return find_spec("cvxpy") is not None


def branch_hull(model: Bilinear, signs: ArrayLike, *, time_limit: float = TIME_LIMIT) -> Recovery:
    """min ||h||^2 + ||m||^2 with s_l (b_l.h)(c_l.m) >= |y_l| and t_l b_l.h >= 0 (BranchHull).

    Aghasi, Ahmed, Hand and Joshi (2019).

    Parameters
    ----------
    model : Bilinear
    signs : (ell,)
        t, the signs of w = B h, each 1 or -1; s is the sign of y.  A row with y_l = 0 asks for
        nothing but the sign of b_l.h.
    time_limit : float
        Seconds that the solver may take.

    Returns
    -------
    Recovery
        Status CONVERGED; TIME_OUT or MAX_STEPS if a limit came first; INFEASIBLE if no (h, m) has
        these signs; FAILED if the solver gave up.  Only the first comes with an estimate.

    Raises
    ------
    ValueError
        If the columns of B or of C are dependent, the signs do not fit, or time_limit <= 0.
    ModuleNotFoundError
        If the extra is not installed.
    """
    model.check_subspaces()
    return _solve(model, signs, "squares", time_limit)


def l1_branch_hull(
    model: Bilinear, signs: ArrayLike, *, time_limit: float = TIME_LIMIT
) -> Recovery:
    """min ||h||_1 + ||m||_1 with the constraints of `branch_hull`, for sparse h and m.

    Aghasi, Ahmed, Hand and Joshi (NeurIPS 2018).  It is not told the sparsity.  Parameters, result
    and errors are those of `branch_hull`, but dependent columns are allowed.
    """
    return _solve(model, signs, "sum", time_limit)


def _solve(
    model: Bilinear, signs: ArrayLike, norm: Literal["squares", "sum"], time_limit: float
) -> Recovery:
    t = as_signs(signs, model.y)
    if not time_limit > 0:
        raise ValueError(f"time_limit={time_limit}: must be > 0 seconds")
    if not solver_installed():
        raise ModuleNotFoundError("cvxpy is not installed: the extra 'priors' has it")
    import cvxpy

    h, m = cvxpy.Variable(model.K), cvxpy.Variable(model.N)
    size = {"squares": cvxpy.sum_squares, "sum": cvxpy.norm1}[norm]
    scale = np.abs(model.y).mean()
    u = (t[:, None] * model.B) @ h
    there = model.y != 0
    v = ((t * np.sign(model.y))[there, None] * model.C[there]) @ m
    sides = cvxpy.vstack([2 * np.sqrt(np.abs(model.y[there]) / scale), u[there] - v])
    inside = cvxpy.SOC(u[there] + v, sides)  # u, v >= 0 and u v >= |y|
    constraints = [inside, *([] if there.all() else [u[~there] >= 0])]
    problem = cvxpy.Problem(cvxpy.Minimize(size(h) + size(m)), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inaccurate solutions, which the status tells
        try:
            problem.solve(solver=cvxpy.CLARABEL, time_limit=time_limit)
        except cvxpy.SolverError:
            return nothing(model, Status.FAILED)
    steps, status = int(problem.solver_stats.num_iters or 0), _status(problem, time_limit)
    if status != Status.CONVERGED:
        return nothing(model, status, steps)
    return recovery(model, np.sqrt(scale) * h.value, np.sqrt(scale) * m.value, status, steps)


def _status(problem: Any, time_limit: float) -> Status:
    match problem.status:
        case "optimal" | "optimal_inaccurate":
            return Status.CONVERGED
        case "user_limit":
            late = (problem.solver_stats.solve_time or 0.0) >= time_limit
            return Status.TIME_OUT if late else Status.MAX_STEPS
        case "infeasible" | "infeasible_inaccurate":
            return Status.INFEASIBLE
        case _:
            return Status.FAILED
