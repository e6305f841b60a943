"""The landscape of the loss: the torus of directions, and every stationary point on it."""

from harness.landscape.census import stationary_points, torus_index
from harness.landscape.torus import TorusProfile, expected_profile, section, torus_profile

__all__ = [
    "TorusProfile",
    "expected_profile",
    "section",
    "stationary_points",
    "torus_index",
    "torus_profile",
]
