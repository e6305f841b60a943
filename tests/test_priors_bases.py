"""Bases of images: orthonormality, what defines the wavelets, best terms by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.priors import bases
from tests.helpers import refused


def images(side: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(side).standard_normal((count, side, side))


@pytest.mark.parametrize("basis", bases.BASES)
@pytest.mark.parametrize("side", [2, 4, 16])
def test_a_basis_is_orthonormal_and_linear(basis, side):
    every = np.eye(side * side).reshape(-1, side, side)
    matrix = bases.coefficients(basis, every)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(side * side), atol=1e-12)
    some = images(side)
    direct = bases.coefficients(basis, some)
    np.testing.assert_allclose(direct, some.reshape(3, -1) @ matrix, atol=1e-12)


@pytest.mark.parametrize(("low", "moments"), [(bases.HAAR, 1), (bases.DB4, 4)])
def test_a_filter_is_orthonormal_and_its_wavelet_has_vanishing_moments(low, moments):
    """These identities and the length 2 `moments` are what defines Daubechies' filters."""
    assert len(low) == 2 * moments
    for shift in range(moments):
        product = low[2 * shift :] @ low[: len(low) - 2 * shift]
        assert product == pytest.approx(float(shift == 0), abs=1e-12)
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    for power in range(moments):
        assert high @ np.arange(len(low)) ** float(power) == pytest.approx(0, abs=1e-9)


def test_haar_of_two_by_two_is_sum_and_differences():
    [[a, b], [c, d]] = image = np.array([[3.0, 1.0], [4.0, -2.0]])
    found = np.sort(np.abs(bases.coefficients("haar", image[None])[0]))
    expected = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
    np.testing.assert_allclose(found, np.sort(np.abs(expected)) / 2)


@pytest.mark.parametrize("basis", ["dct", "haar", "db4"])
def test_a_flat_image_needs_few_terms_whatever_its_side(basis):
    flat = np.ones((1, 28, 28))
    needed = bases.terms_needed(bases.tails(bases.coefficients(basis, flat), best=True), [1e-9])
    assert needed[0] <= (4 if basis == "db4" else 1)


def test_the_best_terms_are_those_that_brute_force_finds():
    rows = np.random.default_rng(0).standard_normal((4, 6))
    left = bases.tails(rows, best=True)
    for row, found in zip(rows, left, strict=True):
        for k in range(7):
            errors = [np.sum(np.delete(row, J) ** 2) for J in combinations(range(6), k)]
            assert found[k] == pytest.approx(np.sqrt(min(errors) / np.sum(row**2)), abs=1e-12)
    first = bases.tails(rows, best=False)
    np.testing.assert_allclose(
        first[:, 2], np.linalg.norm(rows[:, 2:], axis=1) / np.linalg.norm(rows, axis=1)
    )
    needed = bases.terms_needed(left, [0.3] * 4)
    for k, found in zip(needed, left, strict=True):
        assert found[k] <= 0.3 < found[k - 1]


def test_principal_directions_leave_the_least_error_of_any_subspace():
    training = images(4, 40)
    basis = bases.directions(training)
    np.testing.assert_allclose(basis.T @ basis, np.eye(16), atol=1e-12)
    flat = training.reshape(40, -1)
    values = np.linalg.svd(flat, compute_uv=False)
    left = [np.linalg.norm(flat - flat @ basis[:, :k] @ basis[:, :k].T) for k in range(17)]
    np.testing.assert_allclose(left, [np.linalg.norm(values[k:]) for k in range(17)], atol=1e-9)


def test_what_is_no_square_image_or_no_basis_is_refused():
    with refused(r"images: shape \(2, 3, 4\); must be \(N, s, s\)", ValueError):
        bases.coefficients("dct", np.ones((2, 3, 4)))
    with refused("basis='sine': must be one of dct, haar, db4, pixels", ValueError):
        bases.coefficients("sine", np.ones((2, 3, 3)))  # type: ignore[arg-type]
