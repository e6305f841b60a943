"""Descent methods for the demodulation problem."""

from harness.descent.algorithm1 import alternating_descent
from harness.descent.solution import (
    Engine,
    SignCheck,
    Solution,
    Stopping,
    Trace,
    local_rate,
    log_spaced,
    row,
    step_size,
)

__all__ = [
    "Engine",
    "SignCheck",
    "Solution",
    "Stopping",
    "Trace",
    "alternating_descent",
    "local_rate",
    "log_spaced",
    "row",
    "step_size",
]
