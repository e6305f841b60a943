"""Descent methods for the demodulation problem."""

from harness.descent.algorithm1 import (
    Solution,
    Stopping,
    Trace,
    alternating_descent,
    local_rate,
    step_size,
)

__all__ = ["Solution", "Stopping", "Trace", "alternating_descent", "local_rate", "step_size"]
