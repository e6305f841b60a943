"""Two networks as the prior: Algorithm 1, and yardsticks told the activation pattern."""

from __future__ import annotations

from typing import Any, Literal

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

    `algorithm1` descends from each; `pattern_random` is `known_activation` from each; `pattern`
    is it from the spectral start and uses no other.

    Parameters
    ----------
    h_init, m_init : (R, n), (R, p)
    kappa, max_steps : Algorithm 1's `descent.step_size` and limit.
    """
    if search == "algorithm1":
        step = descent.step_size(P, kappa)
        limits: Any = {"max_steps": max_steps, "stopping": STOPPING}
        ends = descent.alternating_descent(
            P, h_init, m_init, step=step, engine="tracking", **limits
        )
        found = _lowest(P, ends)
        signals = P.G1(found.h), P.G2(found.m)
    else:
        starts = [None] if search == "pattern" else m_init
        found = best(known_activation(P, start) for start in starts)
        signals = P.G1.Lambda(P.h0) @ found.h, P.G2.Lambda(P.m0) @ found.m
    return found, max(signal_error(signals[0], P.G1(P.h0)), signal_error(signals[1], P.G2(P.m0)))


def _lowest(P: Demodulation, ends: descent.Solution) -> Recovery:
    """The end with the lowest loss; zeros, whose residual is 1, if none is finite."""
    k = int(np.argmin(np.where(np.isfinite(ends.loss), ends.loss, np.inf)))
    status, steps = ends.status[k], int(ends.steps[k])
    if not np.isfinite(ends.loss[k]):
        return Recovery(np.zeros(P.n), np.zeros(P.p), 1.0, status, steps)
    residual = float(np.sqrt(ends.loss[k] / P.loss_at_zero))
    return Recovery(ends.h[k], ends.m[k], residual, status, steps)
