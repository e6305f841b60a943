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
    UNDERDETERMINED = "underdetermined"
    """Too few rows say something of the unknowns for a method to have an estimate."""
    INFEASIBLE = "infeasible"
    """The constraints of a convex program contradict one another."""
    TIME_OUT = "time_out"
    """A solver's time was up first."""
    FAILED = "failed"
    """A solver gave up."""
    SKIPPED = "skipped"
    """An optional extra that the measurement needs is not installed."""
