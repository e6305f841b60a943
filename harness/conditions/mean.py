"""The mean Q_{x,y} of both conditions, in every form that this package computes with.

`harness.theory.Q` is the definition: with theta = angle(x, y) and M = swap(x, y),

    Q = shift I + bend M,   shift = (pi - theta)/(2 pi),   bend = sin(theta)/(2 pi).

M is known in three ways.  For e = xhat + yhat, f = xhat - yhat it is e e^T/|e|^2 - f f^T/|f|^2;
as sin(theta) = |e| |f|/2, bend M = plus e e^T - minus f f^T with plus = |f|/(4 pi |e|) and
minus = |e|/(4 pi |f|).  As a form, for unit x, y, v and a = v.x, b = v.y, c = cos theta,
v^T M v = (2 a b - c (a^2 + b^2))/sin(theta)^2.  In the plane M is the reflection about the
bisector, [[cos(s), sin(s)], [sin(s), -cos(s)]] for s the sum of the polar angles of x and y.

`scale` multiplies Q: alpha in the WDC, alpha mhat^T Q_{m,y} yhat in the joint condition.  The
functions of floats alone use nothing but `math`, and `mean_kernels` compiles them as they stand.
"""

from __future__ import annotations

import math

import numpy as np

from harness.arrays import Array

LEAST_SINE = 1e-7
"""Below it the form's bent part is set to 0: it is at most sin(theta), but computed as 0/0."""
LEAST_SINE_IN_SLOPES = 1e-3
"""sin(theta) is kept from 0 by this much in slopes, which it would make infinite."""


# Functions of floats


def plane_mean(
    theta: float, sine: float, cosine_of_sum: float, sine_of_sum: float, scale: float
) -> tuple[float, float, float]:
    """(t, p, q) of scale Q = [[t + p, q], [q, t - p]] for x, y in the plane.

    The last two numbers before `scale` are those of the sum of the polar angles of x and y.
    """
    factor = scale / (2 * math.pi)
    bend = factor * sine
    return factor * (math.pi - theta), bend * cosine_of_sum, bend * sine_of_sum


def chord_parts(norm_e: float, norm_f: float, scale: float) -> tuple[float, float, float]:
    """shift, plus, minus with scale Q = shift I + plus e e^T - minus f f^T.

    norm_e = |xhat + yhat| = 2 cos(theta/2) and norm_f = |xhat - yhat| = 2 sin(theta/2).
    """
    factor = scale / (2 * math.pi)
    shift = factor * (math.pi - 2 * math.atan2(norm_f, norm_e))
    if norm_e == 0 or norm_f == 0:
        return shift, 0.0, 0.0
    return shift, factor * norm_f / (2 * norm_e), factor * norm_e / (2 * norm_f)


def mean_norm(theta: float) -> float:
    """||Q|| = (pi - theta + sin theta)/(2 pi), decreasing; theta is cut to [0, pi]."""
    theta = min(max(theta, 0.0), math.pi)
    return (math.pi - theta + math.sin(theta)) / (2 * math.pi)


def overlap(theta: float) -> float:
    """m^T Q_{m,y} y = ((pi - theta) cos theta + sin theta)/(2 pi) for unit m, y.

    Decreasing; theta is cut to [0, pi].
    """
    theta = min(max(theta, 0.0), math.pi)
    return ((math.pi - theta) * math.cos(theta) + math.sin(theta)) / (2 * math.pi)


# Functions of vectors


def dots(x: Array, y: Array) -> Array:
    """Inner products of vectors (..., n): (...)."""
    return np.asarray(np.einsum("...i,...i->...", x, y))


def chord_angle(x: Array, y: Array) -> float:
    """Angle in [0, pi] of unit vectors (n,), by 2 atan2(|x - y|, |x + y|)."""
    plus, minus = x + y, x - y
    return 2 * math.atan2(math.sqrt(minus @ minus), math.sqrt(plus @ plus))


def mean_parts(x: Array, y: Array, scale: float) -> tuple[float, float, float, Array, Array]:
    """shift, plus, minus, e (n,), f (n,) of `chord_parts`, at nonzero x, y (n,)."""
    x, y = x / math.sqrt(x @ x), y / math.sqrt(y @ y)
    e, f = x + y, x - y
    return *chord_parts(math.sqrt(e @ e), math.sqrt(f @ f), scale), e, f


def mean_parts_batch(X: Array, Y: Array, scale: Array) -> tuple[Array, Array, Array, Array, Array]:
    """`mean_parts` at K points X, Y (K, n) with scale (K,): (K,) three times, (K, n) twice."""
    X = X / np.sqrt(dots(X, X))[:, None]
    Y = Y / np.sqrt(dots(Y, Y))[:, None]
    e, f = X + Y, X - Y  # (K, n)
    norm_e, norm_f = np.sqrt(dots(e, e)), np.sqrt(dots(f, f))
    factor = scale / (2 * np.pi)
    bent = (norm_e > 0) & (norm_f > 0)
    plus = np.divide(factor * norm_f, 2 * norm_e, out=np.zeros(len(X)), where=bent)
    minus = np.divide(factor * norm_e, 2 * norm_f, out=np.zeros(len(X)), where=bent)
    return factor * (np.pi - 2 * np.arctan2(norm_f, norm_e)), plus, minus, e, f


def quadratic_form(a: Array, b: Array, c: Array) -> Array:
    """v^T Q v for unit x, y, v, given a = v.x, b = v.y, c = x.y in [-1, 1], arrays of one shape.

    2 pi v^T Q v = (pi - theta) + (2 a b - c (a^2 + b^2))/sin(theta); the last term is 0 where
    the sine vanishes.
    """
    s = np.sqrt((1 - c) * (1 + c))
    top = 2 * a * b - c * (a * a + b * b)
    bent = np.divide(top, s, out=np.zeros_like(top), where=s > LEAST_SINE)
    return (np.pi - np.arccos(c) + bent) / (2 * np.pi)


def quadratic_slope(x: Array, y: Array, v: Array) -> Array:
    """Gradient in x of v^T Q_{x,y} v for unit x, y, v, up to a multiple of x; all (..., n).

    It is that of `quadratic_form` as a function of a, b and c; its tangential part is the slope
    on the sphere.
    """
    a, b, c = dots(v, x), dots(v, y), np.clip(dots(x, y), -1.0, 1.0)  # (...)
    s = np.maximum(np.sqrt((1 - c) * (1 + c)), LEAST_SINE_IN_SLOPES)
    squares = a * a + b * b
    along_y = ((1 - squares) / s + (2 * a * b - c * squares) * c / s**3) / (2 * np.pi)
    along_v = (b - c * a) / (np.pi * s)
    return np.asarray(along_y[..., None] * y + along_v[..., None] * v)


def overlap_batch(x: Array, y: Array) -> tuple[Array, Array]:
    """`overlap` of K pairs of unit vectors (K, n), and its derivative in x.y: (K,) twice."""
    c = np.clip(dots(x, y), -1.0, 1.0)
    free = np.pi - np.arccos(c)
    return (free * c + np.sqrt((1 - c) * (1 + c))) / (2 * np.pi), free / (2 * np.pi)
