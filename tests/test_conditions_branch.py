"""Branch and bound on functions whose maximum is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.conditions.branch_kernels import best_first

Array = NDArray[np.float64]
MAXIMUM = 1.0


def polynomial(_: Any, centre: Array, radius: Array) -> tuple[float, float]:
    """f = 1 - (x^2 - 1/4)^2 - (y - 1/3)^2 is 1 at (+-1/2, 1/3); |f_x| <= 3, |f_y| <= 8/3."""
    x, y = centre
    value = MAXIMUM - (x * x - 0.25) ** 2 - (y - 1 / 3) ** 2
    return value, value + 3 * radius[0] + 8 / 3 * radius[1]


search = best_first(polynomial).py_func  # type: ignore[attr-defined]
SQUARE = np.zeros((1, 2)), np.ones((1, 2))
QUARTERS = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]), np.full((4, 2), 0.5)


@pytest.mark.parametrize("start", [SQUARE, QUARTERS])
def test_the_maximum_of_a_polynomial_is_found_within_the_tolerance(
    start: tuple[Array, Array],
) -> None:
    lower, upper, centre, evaluations = search(None, *start, 0.05, 10_000)
    assert lower <= MAXIMUM <= upper <= 1.05 * lower
    assert lower == polynomial(None, centre, np.zeros(2))[0]
    assert len(start[0]) < evaluations < 10_000


def test_both_ends_close_in_as_the_budget_grows_and_never_cross_the_maximum() -> None:
    ends = [search(None, *SQUARE, 0.0, budget) for budget in (1, 2, 3, 10, 100, 1000)]
    assert [evaluations for *_, evaluations in ends] == [1, 1, 3, 9, 99, 999]
    lowers, uppers = [end[0] for end in ends], [end[1] for end in ends]
    assert lowers == sorted(lowers)
    assert uppers == sorted(uppers, reverse=True)
    assert lowers[-1] <= MAXIMUM <= uppers[-1]


def test_every_point_stays_in_a_box_whose_bound_is_at_most_the_upper_end() -> None:
    boxes: list[tuple[Array, Array, float]] = []

    def recorded(_: Any, centre: Array, radius: Array) -> tuple[float, float]:
        value, upper = polynomial(None, centre, radius)
        boxes.append((centre.copy(), radius.copy(), upper))
        return value, upper

    start = [side.copy() for side in QUARTERS]
    _, upper, _, _ = best_first(recorded).py_func(None, *start, 0.0, 400)  # type: ignore[attr-defined]
    for point in np.random.default_rng(0).uniform(-1, 1, (200, 2)):
        bounds = [b for centre, radius, b in boxes if np.all(np.abs(point - centre) <= radius)]
        assert min(bounds) <= upper + 1e-15
    for mine, given in zip(start, QUARTERS, strict=True):
        np.testing.assert_array_equal(mine, given)


@pytest.mark.slow
def test_the_compiled_search_is_the_plain_one() -> None:
    import numba

    compiled = best_first(numba.njit(polynomial))
    for one, two in zip(
        compiled(None, *QUARTERS, 0.01, 500), search(None, *QUARTERS, 0.01, 500), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-14)
