"""The profile of the loss on the torus of directions: its least value over scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.landscape.arcs import direction, on_plane
from harness.landscape.tolerances import IN_PLANE
from harness.problem import Demodulation
from harness.theory import angles

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TorusProfile:
    """The profile F(u, v) = min over r of f(r u, v) on a grid of directions.

    theta (I,), phi (J,) : polar angles of u and v
    loss_ratio (I, J) : F / (||y0||^2 / 2), in [0, 1]
    r (I, J) : the minimiser r = <y0, a*b> / ||a*b||^2 >= 0, a = G1(u), b = G2(v)
    dead (I, J) : where a*b = 0, so that the loss is constant; loss_ratio is 1 there and r is 0
    """

    theta: Array
    phi: Array
    loss_ratio: Array
    r: Array
    dead: NDArray[np.bool_]


def torus_profile(
    P: Demodulation, theta: ArrayLike | None = None, phi: ArrayLike | None = None
) -> TorusProfile:
    """F = ||y0||^2 / 2 - <y0, a*b>^2 / (2 ||a*b||^2) for n = p = 2 (two matrix products).

    Parameters
    ----------
    P : Demodulation
        With n = p = 2; `section` restricts any other problem to two great circles.
    theta : (I,), phi : (J,)
        Polar angles of h and m in the coordinates of R^2; by default 360 over the circle.

    Raises
    ------
    ValueError
        If n or p is not 2, an angle is not finite, or y0 = 0.
    """
    if (P.n, P.p) != (2, 2):
        raise ValueError(f"n={P.n}, p={P.p}: torus_profile needs n = p = 2; see `section`")
    if not P.y0.any():
        raise ValueError("y0 = 0: the loss has no profile")
    theta, phi = _grid("theta", theta), _grid("phi", phi)
    a, b = P.G1(direction(theta)), P.G2(direction(phi))
    overlap = (a * P.y0) @ b.T
    size = (a * a) @ (b * b).T
    dead = size == 0
    r = np.divide(overlap, size, out=np.zeros_like(size), where=~dead)
    loss_ratio = np.clip(1 - r * overlap / (P.y0 @ P.y0), 0, 1)
    return TorusProfile(theta, phi, loss_ratio, r, dead)


def section(P: Demodulation, plane_h: Array, plane_m: Array) -> Demodulation:
    """The loss on two planes through h0 and m0: a problem with n = p = 2 and the same y0.

    Its G1 is x -> G1(plane_h x), its h0 has the coordinates of h0 in the plane; m alike.

    Parameters
    ----------
    plane_h, plane_m : (n, 2), (p, 2)
        Orthonormal columns whose span contains h0, m0 (`plane_through(h0, w)`: h0 at angle 0).

    Raises
    ------
    ValueError
        If a plane has another shape, is not orthonormal or does not contain the truth.
    """
    truths = []
    for name, plane, truth in (("plane_h", plane_h, P.h0), ("plane_m", plane_m, P.m0)):
        if np.shape(plane) != (truth.size, 2):
            raise ValueError(f"{name} has shape {np.shape(plane)}: must be ({truth.size}, 2)")
        if not np.allclose(plane.T @ plane, np.eye(2), rtol=0, atol=IN_PLANE):
            raise ValueError(f"{name}: its columns must be orthonormal")
        inside = plane.T @ truth
        if not np.allclose(plane @ inside, truth, rtol=0, atol=IN_PLANE * np.linalg.norm(truth)):
            raise ValueError(f"{name}: must contain the truth")
        truths.append(inside)
    return Demodulation(on_plane(P.G1, plane_h), on_plane(P.G2, plane_m), truths[0], truths[1])


def expected_profile(theta: ArrayLike, phi: ArrayLike, d: int, s: int) -> Array:
    """1 - cos^2 theta_d cos^2 phi_s: the profile of the expected loss over ||y0||^2 / 2.

    theta and phi (broadcast together) are the angles of h to h0 and of m to m0, theta_d and phi_s
    their images under d and s angle maps.
    """
    return 1 - _image(theta, d) ** 2 * _image(phi, s) ** 2


def _image(angle: ArrayLike, depth: int) -> Array:
    """Cosine of the angle after `depth` layers."""
    return np.cos(angles(np.arccos(np.cos(angle)), depth)[-1])


def _grid(name: str, given: ArrayLike | None) -> Array:
    if given is None:
        return np.linspace(-np.pi, np.pi, 360, endpoint=False) + np.pi / 360
    grid = np.asarray(given, dtype=np.float64)
    if grid.ndim != 1 or not np.isfinite(grid).all():
        raise ValueError(f"{name}: a vector of finite angles is needed")
    return grid
