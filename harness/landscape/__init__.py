"""The landscape of the loss: product grids, the torus of directions, every stationary point."""

from harness.landscape.census import stationary_points, torus_index
from harness.landscape.grid import ProductGrid, product_grid
from harness.landscape.hunt import Hunt, hunt
from harness.landscape.torus import TorusProfile, expected_profile, section, torus_profile

__all__ = [
    "Hunt",
    "ProductGrid",
    "TorusProfile",
    "expected_profile",
    "hunt",
    "product_grid",
    "section",
    "stationary_points",
    "torus_index",
    "torus_profile",
]
