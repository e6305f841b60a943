"""The landscape of the loss: product grids, the torus of directions, every stationary point."""

from harness.landscape.arcs import Arcs, direction, linear_arcs, on_plane, plane_through
from harness.landscape.axes import PlaneKinks, plane_kinks, polar_plane, ray
from harness.landscape.census import stationary_points, torus_index
from harness.landscape.grid import ProductGrid, product_grid
from harness.landscape.hunt import Hunt, hunt
from harness.landscape.kinds import KINDS, MAXIMA, MINIMA, SADDLES, UNSURE, Kind
from harness.landscape.torus import TorusProfile, expected_profile, section, torus_profile

__all__ = [
    "KINDS",
    "MAXIMA",
    "MINIMA",
    "SADDLES",
    "UNSURE",
    "Arcs",
    "Hunt",
    "Kind",
    "PlaneKinks",
    "ProductGrid",
    "TorusProfile",
    "direction",
    "expected_profile",
    "hunt",
    "linear_arcs",
    "on_plane",
    "plane_kinks",
    "plane_through",
    "polar_plane",
    "product_grid",
    "ray",
    "section",
    "stationary_points",
    "torus_index",
    "torus_profile",
]
