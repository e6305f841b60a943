"""How far the gradients of one network are from the expected ones, at worst: a search for the sup.

With unit vectors u, v along h, m, B = ||h0|| ||m0|| and r = ||h|| ||m|| / B, the deviation of g1
from t1 in units of its natural scale c max(r, 1) B ||m|| is ||r X - Y|| / max(r, 1) where

    c X = Lambda1^T (a * b * b) - c u,    c Y = Lambda1^T (y0 * b) / B - c (v . mtilde) htilde,

a = G1(u), b = G2(v), and mtilde, htilde those of m0 / ||m0|| and h0 / ||h0||.  It is convex in r on
[0, 1] and in 1/r on [1, inf), so that its supremum over r is the largest of its values at
r = 0, 1 and inf: ||Y||, ||X - Y|| and ||X||, functions of the two directions alone.  That of g2 is
the same with the networks exchanged.

X and Y are smooth inside a pair of linear regions and jump from one to the next.  The supremum is
that of one-sided limits, which are limits of values nearby, so that the search may step across.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.arrays import Array
from harness.problem import Demodulation
from harness.theory import angle, angles, expected_gradients, landscape_scale, xi_zeta

NEAR = 1e-12
"""A witness at r = 0 or inf has r = NEAR or 1 / NEAR, which changes its value by as little."""

AGREE = 0.01
"""Ends within this share of the best value agree with it."""

SCALES: tuple[tuple[float, float], ...] = ((0.0, 1.0), (1.0, 1.0), (1.0, 0.0))
"""Coefficients (of X, of Y) at r = 0, 1, inf."""
RADII = (0.0, 1.0, np.inf)

LONGEST, SHORTEST, SHRINK = 0.5, 1e-4, 0.5
"""Step lengths on the unit spheres, about, and the factor by which they shrink in vain."""
FACTORS = np.array([2.0, 1.0, 0.5])
"""Multiples of its length that a step tries."""

LEADING, LONGER = 8, 4
"""So many of the best ascents go on, for so many times their steps."""


@dataclass(frozen=True, eq=False)
class Deviation:
    """The largest deviation of one partial gradient that a search found.

    Attributes
    ----------
    lower : ||g - t|| over its natural scale c max(A, B) ||m|| (of g2: ||h||) at the witness,
        A = ||h|| ||m||, by `Demodulation.gradients` and `expected_gradients`: a lower end of the
        supremum.
    h, m : (n,), (p,), the witness, ||h|| = ||m||.
    r : 0, 1 or inf, the A / B at which it is (`NEAR` says how near).
    agreement : share of the ascents at this r that came within a hundredth of `lower` before the
        best of them went on.  Near 0: more starts or steps are likely to find more.
    """

    lower: float
    h: Array
    m: Array
    r: float
    agreement: float


@dataclass(frozen=True, eq=False)
class Concentration:
    """Deviations of grad_h f from t1 and of grad_m f from t2."""

    grad_h: Deviation
    grad_m: Deviation


def concentration(
    P: Demodulation,
    rng: np.random.Generator,
    starts: int = 32,
    steps: int = 100,
    *,
    alpha: float = 1.0,
) -> Concentration:
    """Lower ends of sup over h, m of ||g1 - t1|| and ||g2 - t2||, relative to their natural scales.

    Parameters
    ----------
    P : Demodulation
        Any n, p, d and s.  Noise, if any, counts as deviation.
    rng : numpy.random.Generator
        The only source of randomness.
    starts : int
        Ascents for each gradient at each r in 0, 1, inf, >= 1.
    steps : int
        Steps of an ascent, >= 1; the best go on for several times as many.
    alpha : float
        Product of the two last layers' `truncation_alpha`, as in `expected_gradients`.

    Raises
    ------
    ValueError
        If h0 or m0 is zero, or starts or steps is below 1.

    Notes
    -----
    Neither supremum is below 1 if a network is dead somewhere: there g = 0, while for large A the
    expected gradients are c ||m||^2 h and c ||h||^2 m.
    """
    if starts < 1 or steps < 1:
        raise ValueError(f"starts={starts}, steps={steps}: both must be >= 1")
    if not (P.h0.any() and P.m0.any()):
        raise ValueError("h0, m0: both must be nonzero; otherwise there is no natural scale")
    exchanged = Demodulation(P.G2, P.G1, P.m0, P.h0, P.noise)
    grad_h = _largest(P, rng, starts, steps, alpha)
    grad_m = _largest(exchanged, rng, starts, steps, alpha)
    return Concentration(
        grad_h, Deviation(grad_m.lower, grad_m.m, grad_m.h, grad_m.r, grad_m.agreement)
    )


def relative_deviation(P: Demodulation, h: Array, m: Array, *, alpha: float = 1.0) -> Array:
    """||g1 - t1|| / (c max(A, B) ||m||) at points (..., n), (..., p) off h = 0 and m = 0: (...)."""
    constants = {"d": P.d, "s": P.s, "ell": P.ell, "alpha": alpha}
    t1, _ = expected_gradients(h, m, P.h0, P.m0, **constants)  # type: ignore[arg-type]
    m_norm = np.linalg.norm(m, axis=-1)
    A, B = np.linalg.norm(h, axis=-1) * m_norm, np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    scale = landscape_scale(P.d, P.s, P.ell, alpha) * np.maximum(A, B) * m_norm
    return np.linalg.norm(P.gradient_h(h, m) - t1, axis=-1) / scale


def _largest(
    P: Demodulation, rng: np.random.Generator, starts: int, steps: int, alpha: float
) -> Deviation:
    """The best of `starts` ascents of the deviation of g1 at each r."""
    field = Field(P, alpha)
    coefficients = np.repeat(np.array(SCALES), starts, axis=0)
    u = _unit(rng.standard_normal((len(coefficients), P.n)))
    v = _unit(rng.standard_normal((len(coefficients), P.p)))
    u, v, values = _ascend(field, rng, steps, u, v, coefficients)
    leading = np.argsort(-values, kind="stable")[:LEADING]
    u, v, finals = _ascend(
        field, rng, LONGER * steps, u[leading], v[leading], coefficients[leading]
    )
    best = int(np.argmax(finals))
    which = leading[best] // starts
    at_this_r = values[which * starts :][:starts]
    radius = RADII[which]
    B = np.linalg.norm(P.h0) * np.linalg.norm(P.m0)
    length = np.sqrt(B * np.clip(radius, NEAR, 1 / NEAR))
    h, m = length * u[best], length * v[best]
    return Deviation(
        lower=float(relative_deviation(P, h, m, alpha=alpha)),
        h=h,
        m=m,
        r=radius,
        agreement=float(np.mean(at_this_r >= (1 - AGREE) * finals[best])),
    )


def _ascend(
    field: Field, rng: np.random.Generator, steps: int, u: Array, v: Array, coefficients: Array
) -> tuple[Array, Array, Array]:
    """Ends and values of ascents from unit vectors (R, n), (R, p), side by side.

    A step tries lengths along the gradient and along a random direction, and takes the best of what
    is better.  Where nothing is, the lengths shrink, and begin anew when they are tiny.
    """
    count = len(u)
    size = np.full(count, LONGEST)
    values = np.linalg.norm(field.deviation(u, v, coefficients), axis=1)
    for _ in range(steps):
        slopes = np.concatenate(field.slopes(u, v, coefficients), axis=1)
        noise = rng.standard_normal(slopes.shape)
        directions = np.repeat(np.stack([_unit(slopes), _unit(noise)]), len(FACTORS), axis=0)
        lengths = np.tile(FACTORS, 2)[:, None] * size
        moves = lengths[:, :, None] * directions  # (trials, R, n + p)
        u_new, v_new = _unit(u + moves[..., : u.shape[1]]), _unit(v + moves[..., u.shape[1] :])
        tried = np.linalg.norm(field.deviation(u_new, v_new, coefficients), axis=-1)
        best, all_ = np.argmax(tried, axis=0), np.arange(count)
        better = tried[best, all_] > values
        u = np.where(better[:, None], u_new[best, all_], u)
        v = np.where(better[:, None], v_new[best, all_], v)
        values = np.where(better, tried[best, all_], values)
        size = np.where(better, np.minimum(lengths[best, all_], LONGEST), size * SHRINK)
        size = np.where(size < SHORTEST, LONGEST, size)
    return u, v, values


class Field:
    """D = x X - y Y of g1, its length the relative deviation at a given r, and the slopes of it.

    Coefficients (x, y) are a last axis of length 2.  Directions u (..., n), v (..., p) have length
    1.
    """

    def __init__(self, P: Demodulation, alpha: float) -> None:
        self.P = P
        self.c = landscape_scale(P.d, P.s, P.ell, alpha)
        self.h0, self.m0 = _unit(P.h0), _unit(P.m0)
        self.y0 = P.y0 / (np.linalg.norm(P.h0) * np.linalg.norm(P.m0))

    def deviation(self, u: Array, v: Array, coefficients: Array) -> Array:
        """D, (..., n)."""
        x, y = coefficients[..., :1], coefficients[..., 1:]
        a, transpose = self.P.G1.pullback(u)
        b = self.P.G2(v)
        measured = transpose((x * a * b - y * self.y0) * b) / self.c
        return measured - x * u + y * self._cosine(v) * self._tilde(u)

    def slopes(self, u: Array, v: Array, coefficients: Array) -> tuple[Array, Array]:
        """Gradients of ||D||^2 / 2 along the two spheres, inside a linear region.

        With theta the angle of u and h0, e the unit tangent at u away from h0 and e' = e sin theta,
        htilde = xi h0 + zeta u has the symmetric derivative zeta (I - u u^T) - xi' e e'^T, and
        cos phi_s the gradient xi_s(phi) (m0 - cos phi v).
        """
        P, c = self.P, self.c
        x, y = coefficients[..., :1], coefficients[..., 1:]
        a, transpose1 = P.G1.pullback(u)
        b, transpose2 = P.G2.pullback(v)
        D = self.deviation(u, v, coefficients)
        forward = P.G1.jvp(u, D)[1]  # Lambda1 D
        theta, phi = angle(u, self.h0)[..., None], angle(v, self.m0)[..., None]
        _, zeta = xi_zeta(theta, P.d)
        e = _tangent(u, -self.h0)
        tilde_slope = zeta * D - _xi_slope(theta, P.d) * np.sin(theta) * e * _dot(e, D)
        du = transpose1(x * b * b * forward) / c - x * D + y * self._cosine(v) * tilde_slope
        xi_s, _ = xi_zeta(phi, P.s)
        dv = transpose2((2 * x * a * b - y * self.y0) * forward) / c
        dv = dv + y * _dot(self._tilde(u), D) * xi_s * self.m0
        return du - _dot(du, u) * u, dv - _dot(dv, v) * v

    def _cosine(self, v: Array) -> Array:
        """v . mtilde = cos phi_s, (..., 1)."""
        return np.cos(angles(angle(v, self.m0), self.P.s)[-1])[..., None]

    def _tilde(self, u: Array) -> Array:
        """htilde = xi_d h0 + zeta_d u, (..., n)."""
        xi, zeta = xi_zeta(angle(u, self.h0)[..., None], self.P.d)
        return xi * self.h0 + zeta * u


def _xi_slope(theta: Array, depth: int) -> Array:
    """d xi_d / d theta; theta_{i+1}' = theta_i' (1 - theta_i / pi) sin theta_i / sin theta_{i+1}.

    That ratio of sines is 1 at theta_i = 0.
    """
    xi, xi_slope = np.ones_like(theta), np.zeros_like(theta)
    thetas = angles(theta, depth)
    slope = np.ones_like(theta)
    for now, following in pairwise(thetas):
        keep = (np.pi - now) / np.pi
        xi, xi_slope = xi * keep, xi_slope * keep - xi * slope / np.pi
        sine = np.sin(following)
        ratio = np.divide(np.sin(now), sine, out=np.ones_like(sine), where=sine > 0)
        slope = slope * keep * ratio
    return xi_slope


def _tangent(u: Array, target: Array) -> Array:
    """The unit tangent at u towards a unit vector, 0 where there is none."""
    return _unit(target - _dot(target, u) * u)


def _dot(x: Array, y: Array) -> Array:
    return np.sum(x * y, axis=-1, keepdims=True)


def _unit(x: Array) -> Array:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
