"""Every form of Q that the conditions compute with, against its definition in `theory`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.conditions import mean
from harness.theory import Q, angle

Array = NDArray[np.float64]
SCALE = 0.7


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x)


def pairs(n: int) -> list[tuple[Array, Array]]:
    """Unit vectors: random, equal, opposite, and nearly so."""
    rng = np.random.default_rng(n)
    random = [(unit(x), unit(y)) for x, y in rng.standard_normal((6, 2, n))]
    x, y = random[0]
    near = [(x, unit(s * x + size * y)) for s in (1, -1) for size in (1e-3, 1e-6, 1e-9)]
    return [*random, (x, x), (x, -x), *near]


def from_parts(x: Array, y: Array) -> Array:
    shift, plus, minus, e, f = mean.mean_parts(3 * x, 0.2 * y, SCALE)
    return shift * np.eye(len(x)) + plus * np.outer(e, e) - minus * np.outer(f, f)


def from_batch(x: Array, y: Array) -> Array:
    X, Y = np.array([x, 2 * x]), np.array([y, 5 * y])
    shift, plus, minus, e, f = (part[1] for part in mean.mean_parts_batch(X, Y, np.full(2, SCALE)))
    return shift * np.eye(len(x)) + plus * np.outer(e, e) - minus * np.outer(f, f)


def from_subtraction(x: Array, y: Array) -> Array:
    from harness.conditions.mean_kernels import subtract_mean

    A = np.zeros((len(x), len(x)))
    theta = subtract_mean(A, 3 * x, 0.2 * y, SCALE)
    assert theta == pytest.approx(float(angle(x, y)), abs=1e-14)
    return -A


def from_form(x: Array, y: Array) -> Array:
    """The matrix of the quadratic form, by polarisation."""

    def form(v: Array) -> float:
        size = np.linalg.norm(v)
        c = np.clip(x @ y, -1.0, 1.0)
        return size**2 * float(mean.quadratic_form(v @ x / size, v @ y / size, c))

    return SCALE * _polarised(form, len(x))


def _polarised(form: Callable[[Array], float], n: int) -> Array:
    e, matrix = np.eye(n), np.zeros((n, n))
    for i in range(n):
        matrix[i, i] = form(e[i])
        for j in range(i):
            matrix[i, j] = matrix[j, i] = (form(e[i] + e[j]) - form(e[i] - e[j])) / 4
    return matrix


def from_plane(x: Array, y: Array) -> Array:
    """`plane_mean` of the polar angles, in the first two coordinates."""
    theta = float(angle(x, y))
    turn = math.atan2(x[1], x[0]) + math.atan2(y[1], y[0])
    t, p, q = mean.plane_mean(theta, math.sin(theta), math.cos(turn), math.sin(turn), SCALE)
    return np.array([[t + p, q], [q, t - p]])


def from_extremes(x: Array, y: Array) -> Array:
    """The matrix that `extremes` subtracts, from its eigenvalues with S = 0 and two others."""
    from harness.conditions.exact_kernels import extremes

    a, b = math.atan2(x[1], x[0]), math.atan2(y[1], y[0])
    above, below, theta = extremes(0.0, 0.0, 0.0, a, b, SCALE)
    assert theta == pytest.approx(float(angle(x, y)), abs=1e-14)
    t = -(above - below) / 2
    size = (above + below) / 2
    squares = [sum(extremes(0.0, *s, a, b, SCALE)[:2]) / 2 for s in ((1.0, 0.0), (0.0, 1.0))]
    p, q = ((1 + size**2 - square**2) / 2 for square in squares)
    return np.array([[t + p, q], [q, t - p]])


FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "parts": from_parts,
    "batch": from_batch,
    "subtraction": from_subtraction,
    "form": from_form,
}
PLANE = {"plane": from_plane, "extremes": from_extremes}


@pytest.mark.parametrize(
    ("n", "name"),
    [(n, name) for n in (1, 2, 3, 4, 20) for name in FORMS] + [(2, name) for name in PLANE],
)
def test_every_form_is_the_definition(n: int, name: str) -> None:
    # arccos of an inner product knows the angle to 1e-8 near 0 and pi
    atol = 2e-8 if name == "form" else 1e-14
    for x, y in pairs(n):
        found = (FORMS | PLANE)[name](x, y)
        np.testing.assert_allclose(found, SCALE * Q(x, y), rtol=0, atol=atol)


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_norm_and_overlap_are_those_of_the_definition(n: int) -> None:
    from harness.conditions import mean_kernels

    for x, y in pairs(n):
        theta = mean.chord_angle(x, y)
        assert theta == pytest.approx(float(angle(x, y)), abs=1e-14)
        for kind in (mean, mean_kernels):
            assert kind.overlap(theta) == pytest.approx(x @ Q(x, y) @ y, abs=1e-14)
            if n > 1 or theta < 1:  # (pi - theta + sin theta)/(2 pi) belongs to the plane of x, y
                norm = np.linalg.norm(Q(x, y), 2)
                assert kind.mean_norm(theta) == pytest.approx(norm, abs=1e-14)


def test_norm_and_overlap_decrease() -> None:
    angles = np.linspace(-1, 4, 400)
    for formula in (mean.mean_norm, mean.overlap):
        assert np.all(np.diff([formula(theta) for theta in angles]) <= 1e-16)


def slope_order(f: Callable[[float], float], slope: float) -> float:
    """Order in t of f(t) - f(0) - t slope, from t = 1e-2 and 1e-3."""
    errors = [abs(f(t) - f(0.0) - t * slope) for t in (1e-2, 1e-3)]
    return math.log10(errors[0] / errors[1])


def moved(x: Array, u: Array, t: float) -> Array:
    return math.cos(t) * x + math.sin(t) * u


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_slope_of_the_quadratic_form_is_exact_to_second_order(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(10):
        x, y, v, u = (unit(z) for z in rng.standard_normal((4, n)))
        u = unit(u - (u @ x) * x)
        slope = float(mean.quadratic_slope(x, y, v) @ u)
        order = slope_order(lambda t: float(v @ Q(moved(x, u, t), y) @ v), slope)  # noqa: B023
        assert order > 1.8


@pytest.mark.parametrize("n", [1, 2, 20])
def test_overlaps_of_many_are_those_of_each(n: int) -> None:
    both = [np.array(vectors) for vectors in zip(*pairs(n), strict=True)]
    values, slopes = mean.overlap_batch(*both)
    for x, y, value, slope in zip(*both, values, slopes, strict=True):
        theta = mean.chord_angle(x, y)
        assert value == pytest.approx(mean.overlap(theta), abs=1e-14)
        if 0.1 < theta < 3:
            change = mean.overlap(theta + 1e-4) - mean.overlap(theta - 1e-4)
            assert change == pytest.approx(-slope * math.sin(theta) * 2e-4, rel=1e-6)
