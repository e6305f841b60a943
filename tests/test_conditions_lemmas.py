"""The certificates' building blocks, each against an independent computation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from harness.conditions.exact import _sorted_switches, signs_certain


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_the_extreme_eigenvalues_are_those_of_lapack(n: int) -> None:
    from harness.conditions.net_kernels import extreme_eigenvalues

    rng = np.random.default_rng(n)
    for scale in (1e-100, 1.0, 1e100):
        for rank in range(n + 1):
            A = rng.standard_normal((n, rank))
            A = scale * (A @ A.T - rng.choice([0.0, 1.0]) * np.eye(n))
            expected = np.linalg.eigvalsh(A)[[0, -1]]
            found = extreme_eigenvalues(A.copy())
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * scale * (n + rank))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_radius_of_a_cell_is_the_largest_angle_to_its_points(n: int) -> None:
    from harness.conditions.net_kernels import cell_radius

    rng = np.random.default_rng(n)
    for _ in range(50):
        radii = np.exp(rng.uniform(np.log(1e-3), 0, n))
        centre = rng.uniform(-1, 1, n) * (1 - radii)
        face = rng.integers(n)
        radii[face], centre[face] = 0.0, rng.choice([-1.0, 1.0])
        corners = np.array(np.meshgrid(*[[-1, 1]] * n)).reshape(n, -1).T
        steps = np.concatenate([rng.uniform(-1, 1, (500, n)), corners])
        points = centre + radii * steps
        cosines = points @ centre / np.linalg.norm(points, axis=1) / np.linalg.norm(centre)
        angles = np.arccos(np.clip(cosines, -1, 1))
        radius = cell_radius(centre, radii)
        assert angles.max() <= radius + 3e-8
        assert radius == pytest.approx(angles[500:].max(), abs=3e-8)


def before(u: list[Fraction], v: list[Fraction]) -> bool:
    """Whether u comes before v counter-clockwise from the negative x-axis, exclusive."""

    def half(w: list[Fraction]) -> int:
        return 0 if w[1] < 0 else 2 if w[1] == 0 and w[0] < 0 else 1

    if half(u) != half(v):
        return half(u) < half(v)
    return u[0] * v[1] > u[1] * v[0]


@pytest.mark.parametrize("seed", range(30))
def test_switches_are_sorted_as_exact_rationals_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-3, 4, (8, 2)).astype(float) + rng.choice([0.0, 1e-16, 1e-30], (8, 2))
    rows = rows[rows.any(axis=1)]
    on = np.column_stack([rows[:, 1], -rows[:, 0]]) + 0.0
    directions = np.concatenate([on, 0.0 - on])
    order, angles = _sorted_switches(directions, len(rows))
    assert sorted(order) == list(range(len(directions)))
    assert np.all(np.diff(angles) >= 0)
    exact = [[Fraction(float(z)) for z in directions[k]] for k in order]
    # Cyclic order: going round once, the exact comparison falls back to the start just once.
    falls = sum(before(exact[(k + 1) % len(exact)], exact[k]) for k in range(len(exact)))
    assert falls == 1
    for k in range(len(exact) - 1):
        u, v = exact[k], exact[k + 1]
        same = u[0] * v[1] == u[1] * v[0] and u[0] * v[0] + u[1] * v[1] > 0
        if same:  # rows turn off before others turn on
            assert not (order[k] < len(rows) <= order[k + 1])


def test_signs_are_certain_just_where_floats_agree_with_exact_rationals() -> None:
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(300):
        x = rng.integers(-3, 4, 2) + rng.choice([0.0, 1e-16, 3e-16], 2)
        W = np.array([[x[1], -x[0]], [-x[1], x[0]], *rng.standard_normal((2, 2))])
        W[:2] *= 1 + rng.choice([0.0, 2.0**-52, 0.1], (2, 1))
        W[:2] += rng.choice([0.0, 1e-17, 1e-16], (2, 2))
        exact = [
            sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(w, x, strict=True)) > 0
            for w in W
        ]
        agree = exact == [bool(w @ x > 0) for w in W]
        assert signs_certain(W, x) == agree
        verdicts.append(agree)
    assert 20 < sum(verdicts) < 290  # both happen
