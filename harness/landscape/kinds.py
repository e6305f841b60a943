"""What a stationary point is: the closed set of kinds that the census and the hunt report."""

from enum import StrEnum


class Kind(StrEnum):
    """Kind of a stationary point outside K, up to the scaling (c h, m/c)."""

    MINIMUM = "minimum"
    """f is differentiable here; strict local minimum."""
    SADDLE = "saddle"
    """f is differentiable here; a direction of negative curvature."""
    KINK_MINIMUM = "kink minimum"
    """On a kink of an inner layer; D_v f >= 0 for all v, strict local minimum."""
    KINK_SADDLE = "kink saddle"
    """On a kink; f rises along some directions and falls along others."""
    KINK_MAXIMUM = "kink maximum"
    """On a kink of each network; f falls along all directions."""
    DEGENERATE = "degenerate"
    """A slope or a curvature that would tell is zero (`tolerances.FLAT`)."""
    DEAD_CONE = "dead cone"
    """A cone of directions with G = 0, where f is constant."""


MINIMA = (Kind.MINIMUM, Kind.KINK_MINIMUM)
SADDLES = (Kind.SADDLE, Kind.KINK_SADDLE)
MAXIMA = (Kind.KINK_MAXIMUM,)
UNSURE = (Kind.DEGENERATE, Kind.DEAD_CONE)
KINDS = (*MINIMA, *SADDLES, *MAXIMA, *UNSURE)
