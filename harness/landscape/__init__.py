"""The landscape of the loss: product grids, the torus, stationary points, the truth's basin."""

from harness.landscape.arcs import Arcs, direction, linear_arcs, on_plane, plane_through
from harness.landscape.axes import PlaneKinks, plane_kinks, polar_plane, ray
from harness.landscape.basin import (
    Basin,
    basin,
    certified_basin,
    certified_region,
    curvatures,
    iteration_matrix,
    predicted_rate,
    sampled_radii,
)
from harness.landscape.census import stationary_points, torus_index
from harness.landscape.certified.certificate import Certificate, CertifiedPoint, Statement
from harness.landscape.concentration import Concentration, Deviation, concentration
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
    "Basin",
    "Certificate",
    "CertifiedPoint",
    "Concentration",
    "Deviation",
    "Hunt",
    "Kind",
    "PlaneKinks",
    "ProductGrid",
    "Statement",
    "TorusProfile",
    "basin",
    "certified_basin",
    "certified_region",
    "concentration",
    "curvatures",
    "direction",
    "expected_profile",
    "hunt",
    "iteration_matrix",
    "linear_arcs",
    "on_plane",
    "plane_kinks",
    "plane_through",
    "polar_plane",
    "predicted_rate",
    "product_grid",
    "ray",
    "sampled_radii",
    "section",
    "stationary_points",
    "torus_index",
    "torus_profile",
]
