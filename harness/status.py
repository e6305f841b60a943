"""How a trial ended: the closed set of statuses of a row."""

from enum import StrEnum


class Status(StrEnum):
    """Status of one measured row."""

    OK = "ok"
    """A measurement without an iteration."""
    CONVERGED = "converged"
    """The loss fell below its tolerance."""
    MAX_STEPS = "max_steps"
    """The step limit was reached first."""
    STALLED = "stalled"
    """The loss stopped falling above its tolerance, as near a spurious stationary point."""
    DIVERGED = "diverged"
    """The loss grew beyond its bound, or ceased to be finite."""
    NONFINITE = "nonfinite"
    """A measured quantity is NaN or infinite."""
    DEAD_NETWORK = "dead_network"
    """G1(h0) = 0 or G2(m0) = 0: there is nothing to recover."""
    ZERO_OBSERVATION = "zero_observation"
    """y0 = 0 although neither factor is 0: their supports do not meet."""
