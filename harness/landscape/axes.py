"""Points for the axes of a product grid, in any dimension: on rays, in planes, on kinks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array
from harness.landscape.arcs import direction, linear_arcs, on_plane, plane_through
from harness.landscape.tolerances import ON_KINK
from harness.network import ReluNetwork

Index = NDArray[np.int64]

NEWTON_STEPS = 1
"""Newton steps for each kink: the angles of `linear_arcs` are right to rounding already."""


@dataclass(frozen=True)
class PlaneKinks:
    """The kinks of a network on the great circle of a plane, in the order of their angles.

    Attributes
    ----------
    angles : (R,) in (-pi, pi], from the first of the two vectors towards the second
    points : (R, n) unit vectors; all of their positive multiples lie on the same kink
    layer, unit : (R,) the unit that switches, layers counted from 1
    side : (R, n) unit vectors along the circle, towards the side on which the unit is active
    """

    angles: Array
    points: Array
    layer: Index
    unit: Index
    side: Array


def ray(x: ArrayLike, radii: ArrayLike) -> Array:
    """Points r x / ||x||: (n,), (R,) -> (R, n); a negative radius goes the other way.

    Raises
    ------
    ValueError
        If x is zero or not one finite vector.
    """
    x = _vector("x", x)
    return np.multiply.outer(_list("radii", radii), x / np.linalg.norm(x))


def polar_plane(x: ArrayLike, towards: ArrayLike, radii: ArrayLike, angles: ArrayLike) -> Array:
    """Points r (cos t, sin t) of the plane of two vectors, x at t = 0: (R A, n), by radius first.

    Raises
    ------
    ValueError
        If the vectors span no plane, as for n = 1, where `ray` gives the points.
    """
    plane = plane_through(_vector("x", x), _vector("towards", towards))
    circle = direction(_list("angles", angles)) @ plane.T
    return np.multiply.outer(_list("radii", radii), circle).reshape(-1, len(plane))


def plane_kinks(G: ReluNetwork, x: ArrayLike, towards: ArrayLike) -> PlaneKinks:
    """All directions in the plane of two vectors (n,) at which a unit of some layer switches.

    They are exact for `ReluNetwork.jvp`: |w.x| <= ON_KINK ||w|| ||x||.  A kink is left out if
    rounding alone exceeds this bound, which takes inputs of the unit some 10^4 times smaller than
    the weights of the previous layers suggest.  If several units switch at one direction, one of
    the lowest layer is reported.

    Raises
    ------
    ValueError
        If the vectors span no plane.
    """
    plane = plane_through(_vector("x", x), _vector("towards", towards))
    flat = on_plane(G, plane)
    arcs = linear_arcs(flat)
    kink = arcs.layer > 0
    angles, layer, unit = arcs.angles[kink], arcs.layer[kink], arcs.unit[kink]
    sign, exact = np.zeros(angles.size), np.zeros(angles.size, dtype=np.bool_)
    for k in np.unique(layer):
        here = layer == k
        angles[here], sign[here] = _polished(flat, k, unit[here], angles[here])
        z, _, scale = _unit_input(G, k, unit[here], direction(angles[here]) @ plane.T, plane[:, 0])
        exact[here] = np.abs(z) <= ON_KINK * scale
    angles, layer, unit, sign = angles[exact], layer[exact], unit[exact], sign[exact]
    side = sign[:, None] * (direction(angles + np.pi / 2) @ plane.T)
    return PlaneKinks(angles, direction(angles) @ plane.T, layer, unit, side)


def _polished(flat: ReluNetwork, k: int, unit: Index, angles: Array) -> tuple[Array, Array]:
    """Angles at which the units' pre-activations vanish, by Newton's method; sign of the slope.

    Within a linear piece a pre-activation is z cos t + z' sin t, zero at tan t = -z / z'.
    """
    for _ in range(NEWTON_STEPS):
        z, dz, _ = _unit_input(flat, k, unit, direction(angles), direction(angles + np.pi / 2))
        angles = angles - np.arctan2(z * np.sign(dz), np.abs(dz))
    return angles, np.sign(dz)


def _unit_input(
    G: ReluNetwork, k: int, unit: Index, x: Array, u: Array
) -> tuple[Array, Array, Array]:
    """For each point one unit of layer k: pre-activation, derivative along u, ||w|| ||x_{k-1}||."""
    x, u = G.jvp(x, u, kink_rtol=0, layers=k - 1)
    w = G.weights[k - 1][unit]
    scale = G.row_norms[k - 1][unit] * np.linalg.norm(x, axis=1)
    return np.sum(w * x, axis=1), np.sum(w * u, axis=1), scale


def _vector(name: str, x: ArrayLike) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or not x.any():
        raise ValueError(f"{name} has shape {x.shape}: one finite vector, not zero, is needed")
    return x


def _list(name: str, values: ArrayLike) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{name} has shape {values.shape}: a list of finite numbers is needed")
    return values
