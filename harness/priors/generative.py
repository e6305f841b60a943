"""Two networks as the prior: Algorithm 1, and oracles that are told the activation pattern."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from harness import descent
from harness.arrays import Array
from harness.priors.model import Recovery, best, signal_error
from harness.priors.oracles import known_activation
from harness.problem import Demodulation

Search = Literal["algorithm1", "pattern", "pattern_random"]
STOPPING = descent.Stopping(loss_rtol=1e-12)


def recover_codes(
    search: Search,
    P: Demodulation,
    h_init: Array,
    m_init: Array,
    *,
    kappa: float,
    max_steps: int,
) -> tuple[Recovery, float]:
    """The best fit from R starts, and the larger `signal_error` of its two signals.

    Parameters
    ----------
    search : `algorithm1` descends from each start; `pattern_random` is `known_activation` from
        each; `pattern` is it from the spectral start and uses no other.
    P : Demodulation
    h_init, m_init : (R, n), (R, p)
    kappa, max_steps : Algorithm 1's `descent.step_size` and limit.

    Raises
    ------
    ValueError
        If there is no such search.
    """
    match search:
        case "algorithm1":
            limits: Any = {"max_steps": max_steps, "engine": "tracking", "stopping": STOPPING}
            limits["step"] = descent.step_size(P, kappa)
            found = _lowest(P, descent.alternating_descent(P, h_init, m_init, **limits))
            signals = P.G1(found.h), P.G2(found.m)
        case "pattern" | "pattern_random":
            starts = [None] if search == "pattern" else list(m_init)
            found = best(known_activation(P, start) for start in starts)
            signals = P.G1.Lambda(P.h0) @ found.h, P.G2.Lambda(P.m0) @ found.m
        case _:
            raise ValueError(f"search={search}: must be one of {', '.join(get_args(Search))}")
    return found, max(signal_error(signals[0], P.G1(P.h0)), signal_error(signals[1], P.G2(P.m0)))


def _lowest(P: Demodulation, ends: descent.Solution) -> Recovery:
    """The end with the lowest loss; zeros, whose residual is 1, if none is finite."""
    k = int(np.argmin(np.where(np.isfinite(ends.loss), ends.loss, np.inf)))
    status, steps = ends.status[k], int(ends.steps[k])
    if not np.isfinite(ends.loss[k]):
        return Recovery(np.zeros(P.n), np.zeros(P.p), 1.0, status, steps)
    residual = float(np.sqrt(ends.loss[k] / P.loss_at_zero))
    return Recovery(ends.h[k], ends.m[k], residual, status, steps)
