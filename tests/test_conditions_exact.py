"""Certified brackets of the two conditions against enumeration and dense brute force."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.conditions.bracket import Bracket
from harness.conditions.definition import JointWitness, joint_wdc_residual, wdc_residual
from harness.conditions.exact import wdc_certified_2, wdc_exact_1
from harness.conditions.exact_joint import joint_certified_2, joint_exact_1
from harness.conditions.net import merge_parallel, wdc_net

Array = NDArray[np.float64]


def gaussian(seed: int, ell: int, n: int) -> Array:
    return np.random.default_rng(seed).normal(size=(ell, n)) / np.sqrt(ell)


G6 = gaussian(0, 6, 2)
INTEGER = np.array(
    [[1, 2], [-3, -6], [2, -1], [0, 1], [0, -2], [1, 0], [-1, 0], [-2, 1], [4, 3], [4, 3.0]]
)
POLYGON = np.array([[np.cos(t), np.sin(t)] for t in np.arange(16) * np.pi / 8]) / 3

TWO_COLUMNS: dict[str, tuple[Array, float]] = {
    **{f"gaussian-{ell}": (gaussian(ell, ell, 2), 1.0) for ell in (1, 2, 3, 4, 5, 8, 13, 30)},
    "duplicate": (np.vstack([G6, G6[:3], G6[:1]]), 1.0),
    "zero rows": (np.vstack([np.zeros((2, 2)), G6, np.zeros((1, 2))]), 1.0),
    "all zero": (np.zeros((3, 2)), 1.0),
    "nearly parallel": (np.vstack([G6, 3 * G6[:2], 0.1 * G6[:1]]), 1.0),
    "antiparallel": (np.vstack([G6, -G6, -2 * G6[:2]]), 1.0),
    "integer": (INTEGER / 3, 1.0),
    "integer, wrong alpha": (INTEGER, 50.0),
    "identity": (np.eye(2), 1.0),
    "axes": (np.vstack([np.eye(2), -np.eye(2)]), 1.0),
    "axis": (np.array([[1.0, 0.0], [-1, 0], [1, 0], [0, 0]]), 1.0),
    "one line": (np.array([[1.0, 1.0], [-1, -1], [2, 2]]), 0.5),
    "polygon": (POLYGON, 1.0),
    "huge": (1e150 * G6, 1.0),
    "tiny": (1e-150 * G6, 1.0),
    "tiny, alpha too": (1e-100 * G6, 1e-200),
    "small alpha": (G6, 0.01),
    "large alpha": (G6, 30.0),
}


def q_matrices(X: Array, Y: Array) -> Array:
    """Q of unit vectors (k, n), (k, n), sin(theta) M through its action on x and y's rest."""
    n = X.shape[1]
    cosine = np.clip(np.sum(X * Y, axis=1), -1, 1)
    theta = np.arctan2(np.linalg.norm(Y - cosine[:, None] * X, axis=1), cosine)
    # In the basis x, e of their plane M = [[cos, sin], [sin, -cos]]: it takes x to y.
    across = Y - cosine[:, None] * X
    norm = np.linalg.norm(across, axis=1, keepdims=True)
    e = np.divide(across, norm, out=np.zeros_like(across), where=norm > 0)
    c, s = cosine[:, None, None], np.sin(theta)[:, None, None]

    def outer(u: Array, v: Array) -> Array:
        return u[:, :, None] * v[:, None, :]

    M = c * (outer(X, X) - outer(e, e)) + s * (outer(X, e) + outer(e, X))
    return ((np.pi - theta)[:, None, None] * np.eye(n) + s * M) / (2 * np.pi)


def active(W: Array, X: Array) -> NDArray[np.bool_]:
    """(k, ell) w.x > 0, products rounded one by one so that exact zeros stay zero."""
    total = np.zeros((len(X), len(W)))
    for k in range(W.shape[1]):
        total = total + X[:, k, None] * W[:, k]
    return total > 0


def norms(A: Array) -> Array:
    return np.abs(np.linalg.eigvalsh(A)).max(axis=1)


def units(X: Array) -> Array:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def wdc_values(W: Array, X: Array, Y: Array, alpha: float) -> Array:
    """`wdc_residual` at k pairs at once, X and Y (k, n) of any length."""
    both = (active(W, X) & active(W, Y)).astype(float)
    S = np.einsum("kr,ri,rj->kij", both, W, W, optimize=True)
    return norms(S - alpha * q_matrices(units(X), units(Y)))


def joint_values(B: Array, C: Array, angles: Array, alpha: float) -> Array:
    """`joint_wdc_residual` of (6) at k rows of polar angles of h, x, m, y."""
    h, x, m, y = (np.column_stack([np.cos(a), np.sin(a)]) for a in angles.T)
    weights = np.maximum(m @ C.T, 0) * np.maximum(y @ C.T, 0)
    weights = weights * active(B, h) * active(B, x)
    S = len(B) * np.einsum("kr,ri,rj->kij", weights, B, B, optimize=True)
    q = np.einsum("ki,kij,kj->k", m, q_matrices(m, y), y)
    return norms(S - alpha * q[:, None, None] * q_matrices(h, x))


def climb(values: Callable[[Array], Array], points: Array, rng: np.random.Generator) -> float:
    """The greatest of values(points), then of ever smaller random steps from the best 30."""
    found = values(points)
    for step in 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4:
        top = np.argsort(found)[-30:]
        moved = np.repeat(points[top], 60, axis=0)
        moved = moved + step * rng.normal(size=moved.shape) * (rng.random(moved.shape) < 0.5)
        points = np.concatenate([points[top], moved])
        found = np.concatenate([found[top], values(moved)])
    return float(found.max())


def kinks(W: Array) -> Array:
    """Vectors exactly orthogonal to a row of W (ell, 2)."""
    rows = W[W.any(axis=1)]
    orthogonal = np.column_stack([-rows[:, 1], rows[:, 0]])
    return np.concatenate([orthogonal, -orthogonal])


def dense_pairs(W: Array) -> tuple[Array, Array]:
    """All pairs of kinks, points 1e-9 to either side of them, and a grid."""
    angles = np.arctan2(kinks(W)[:, 1], kinks(W)[:, 0])
    angles = np.concatenate([angles + 1e-9, angles - 1e-9, np.linspace(0, 2 * np.pi, 73)])
    points = np.concatenate([kinks(W), np.column_stack([np.cos(angles), np.sin(angles)])])
    first, second = np.triu_indices(len(points))
    return points[first], points[second]


def check_wdc(W: Array, alpha: float, bracket: Bracket) -> None:
    """What holds of every bracket."""
    naive = wdc_residual(W, *bracket.witness, alpha)
    assert bracket.lower == pytest.approx(naive, rel=1e-10, abs=0)
    assert bracket.lower <= bracket.upper < np.inf
    assert bracket.evaluations > 0


def check_joint(B: Array, C: Array, alpha: float, bracket: Bracket) -> None:
    assert isinstance(bracket.witness, JointWitness)
    naive = joint_wdc_residual(B, C, bracket.witness, alpha)
    assert bracket.lower == pytest.approx(naive, rel=1e-10, abs=0)
    assert bracket.lower <= bracket.upper < np.inf
    assert bracket.evaluations > 0


def test_the_brute_force_agrees_with_the_definitions() -> None:
    rng = np.random.default_rng(0)
    for n in 2, 3, 4:
        W, X, Y = gaussian(1, 9, n), rng.normal(size=(20, n)), rng.normal(size=(20, n))
        X[0], Y[1] = Y[0], -X[1]
        expected = [wdc_residual(W, x, y, 0.7) for x, y in zip(X, Y, strict=True)]
        np.testing.assert_allclose(wdc_values(W, X, Y, 0.7), expected, atol=1e-12)
    B, C, angles = gaussian(2, 7, 2), gaussian(3, 7, 2), rng.uniform(0, 7, size=(20, 4))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    expected = [joint_wdc_residual(B, C, JointWitness(*v, False), 0.7) for v in vectors]
    np.testing.assert_allclose(joint_values(B, C, angles, 0.7), expected, atol=1e-12)
    witnesses = [JointWitness(v[2], v[3], v[0], v[1], True) for v in vectors]
    expected = [joint_wdc_residual(C, B, w, 0.7) for w in witnesses]  # (7) is (6) exchanged
    np.testing.assert_allclose(joint_values(B, C, angles, 0.7), expected, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("scale", [1.0, 1e150, 1e-120])
@pytest.mark.parametrize("ell", [1, 2, 50])
def test_one_column_is_exact(ell: int, scale: float, alpha: float) -> None:
    W = scale * gaussian(ell, ell, 1)
    bracket = wdc_exact_1(W, alpha)
    check_wdc(W, alpha, bracket)
    signs = [np.array([-1.0]), np.array([1.0])]
    brute = max(wdc_residual(W, x, y, alpha) for x, y in itertools.product(signs, signs))
    assert bracket.lower == pytest.approx(brute, rel=1e-14)
    assert bracket.upper == pytest.approx(bracket.lower, rel=1e-12)


@pytest.mark.parametrize("name", TWO_COLUMNS)
def test_two_columns_contain_the_brute_force_maximum(name: str) -> None:
    W, alpha = TWO_COLUMNS[name]
    bracket = wdc_certified_2(W, alpha)
    check_wdc(W, alpha, bracket)
    brute = wdc_values(W, *dense_pairs(W), alpha).max()
    assert brute <= bracket.upper
    assert brute >= 0.97 * bracket.lower  # the brute force is dense enough to mean something
    if name != "nearly parallel":
        assert bracket.upper <= 1.01 * bracket.lower * (1 + 1e-10) + 1e-12 * alpha


@pytest.mark.parametrize("seed", range(40))
def test_two_columns_on_random_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ell = int(rng.integers(1, 12))
    W = rng.normal(size=(ell, 2)) / np.sqrt(ell)
    if seed % 2:  # few directions: ties of every kind, exact in floating point
        W = rng.integers(-2, 3, size=(ell, 2)) / 2
    alpha = float(rng.choice([1.0, 0.2, 5.0]))
    bracket = wdc_certified_2(W, alpha, rtol=0.003)
    check_wdc(W, alpha, bracket)
    assert wdc_values(W, *dense_pairs(W), alpha).max() <= bracket.upper
    assert bracket.upper <= 1.003 * bracket.lower * (1 + 1e-10) + 1e-12


def test_no_pair_orthogonal_to_rows_exceeds_pairs_that_are_not() -> None:
    """At a vector orthogonal to antiparallel rows the active set is one of its own."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        W = rng.integers(-2, 3, size=(6, 2)).astype(float)
        points = kinks(W) if W.any() else np.eye(2)
        first, second = (a.ravel() for a in np.indices((len(points), len(points))))
        X, Y, eps = points[first], points[second], 1e-6
        u = np.array([np.cos(1.0), np.sin(1.0)])
        near = wdc_values(W, X - eps * Y + eps**1.5 * u, Y - eps * X - eps**1.5 * u, 3.0)
        np.testing.assert_allclose(wdc_values(W, X, Y, 3.0), near, atol=1e-4)


def test_slivers_between_nearly_antiparallel_rows_are_in_the_upper_end() -> None:
    # exact order of the four rows: x in the sliver has both of a pair active, or neither
    for sign in -1, 1:
        W = np.array([[1.0, 0.0], [-1.0, sign * 1e-17], [0.2, 0.9]])
        bracket = wdc_certified_2(W, 0.1)
        check_wdc(W, 0.1, bracket)
        x = np.array([sign * 0.5e-17, 1.0])
        assert wdc_residual(W, x, x, 0.1) <= bracket.upper


def test_two_columns_scale_with_alpha() -> None:
    W = gaussian(5, 40, 2)
    one, scaled = wdc_certified_2(W, 1.0), wdc_certified_2(2 * W, 4.0)
    assert (4 * one.lower, 4 * one.upper) == pytest.approx((scaled.lower, scaled.upper), rel=1e-12)


def test_two_columns_do_not_depend_on_threads() -> None:
    W = gaussian(6, 200, 2)
    one, two = wdc_certified_2(W, threads=1), wdc_certified_2(W, threads=2)
    assert (one.lower, one.upper, one.evaluations) == (two.lower, two.upper, two.evaluations)


def test_two_columns_many_rows_of_few_directions() -> None:
    rng = np.random.default_rng(7)
    W = rng.integers(-3, 4, size=(400, 2)) / 20
    bracket = wdc_certified_2(W, 2.0)
    check_wdc(W, 2.0, bracket)
    points = np.concatenate([units(kinks(W)) + d for d in (1e-7, -1e-7)])
    points = np.unique(points.round(12), axis=0)
    first, second = np.triu_indices(len(points))
    brute = wdc_values(W, points[first], points[second], 2.0).max()
    assert 0.98 * bracket.lower <= brute <= bracket.upper
    assert bracket.gap <= 0.01


THREE_COLUMNS: dict[str, tuple[Array, float]] = {
    "gaussian-5": (gaussian(5, 5, 3), 1.0),
    "gaussian-30": (gaussian(30, 30, 3), 1.0),
    "one row": (np.array([[1.0, 2.0, -2.0]]), 1.0),
    "fewer rows than columns": (gaussian(2, 2, 3), 0.5),
    "antiparallel": (np.vstack([gaussian(4, 4, 3), -2 * gaussian(4, 4, 3)]), 1.0),
    "zero rows": (np.vstack([gaussian(8, 8, 3), np.zeros((2, 3))]), 1.0),
    "axes": (np.vstack([np.eye(3), -np.eye(3), np.eye(3)]), 1.0),
    "huge": (1e140 * gaussian(5, 5, 3), 1e279),
    "all zero": (np.zeros((2, 3)), 1.0),
    "tiny": (1e-200 * gaussian(5, 5, 3), 1.0),
    "four columns": (gaussian(7, 7, 4), 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", THREE_COLUMNS)
def test_net_contains_the_brute_force_maximum(name: str) -> None:
    W, alpha = THREE_COLUMNS[name]
    bracket = wdc_net(W, alpha, rtol=0.05, budget=100_000)
    check_wdc(W, alpha, bracket)
    rng, n = np.random.default_rng(1), W.shape[1]
    X = rng.normal(size=(6000, n))
    near = np.where(rng.random((6000, 1)) < 0.5, X, rng.normal(size=(6000, n)))
    points = np.concatenate([X, near + 1e-3 * rng.normal(size=(6000, n))], axis=1)
    points[0] = np.concatenate([z / np.linalg.norm(z) for z in bracket.witness])
    brute = climb(lambda p: wdc_values(W, p[:, :n], p[:, n:], alpha), points, rng)
    assert brute <= bracket.upper  # climbing from the witness among others
    assert bracket.gap <= 0.05


@pytest.mark.parametrize("ell", [3, 20])
def test_net_agrees_with_the_arcs_at_two_columns(ell: int) -> None:
    W = gaussian(ell + 1, ell, 2)
    arcs, net = wdc_certified_2(W), wdc_net(W, budget=100_000)
    assert net.lower <= arcs.upper
    assert arcs.lower <= net.upper
    assert net.gap <= 0.01


def test_net_of_an_embedded_matrix_is_no_less() -> None:
    W = gaussian(9, 12, 2)
    embedded = np.column_stack([W, np.zeros(12)]) @ np.linalg.qr(gaussian(1, 3, 3))[0]
    assert wdc_net(embedded, budget=20_000).upper >= wdc_certified_2(W).lower


@pytest.mark.slow
def test_net_certifies_two_hundred_rows_of_three_columns() -> None:
    for seed in range(2):
        bracket = wdc_net(gaussian(seed, 200, 3), rtol=0.05, budget=1_000_000)
        assert bracket.gap <= 0.05
        assert bracket.evaluations < 600_000


def test_net_with_a_small_budget_reports_the_gap() -> None:
    W = gaussian(3, 40, 3)
    brackets = [wdc_net(W, budget=budget) for budget in (21, 1000, 20_000)]
    uppers = [bracket.upper for bracket in brackets]
    assert uppers == sorted(uppers, reverse=True)
    assert brackets[0].gap > brackets[1].gap > 0.01
    assert all(b.evaluations <= k for b, k in zip(brackets, (21, 1000, 20_000), strict=True))


def test_parallel_rows_are_merged_and_antiparallel_ones_marked() -> None:
    w, v = np.array([1.0, 2.0, 3.0]), np.array([3.0, -1.0, 0.5])
    rows, opposed = merge_parallel(np.array([w, v, 2 * w, -w, -v, w * (1 + 1e-15)]))
    assert opposed.tolist().count(True) == 2
    assert not opposed[0]
    for k in np.flatnonzero(opposed):
        assert rows[k] @ rows[k - 1] < 0
        assert np.linalg.norm(rows[k]) <= np.linalg.norm(rows[k - 1])
    np.testing.assert_allclose(rows.T @ rows, 7 * np.outer(w, w) + 2 * np.outer(v, v))


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("ell", [1, 2, 40])
def test_joint_of_two_columns_each_one_wide_is_exact(ell: int, alpha: float) -> None:
    B, C = gaussian(ell, ell, 1), 2 * gaussian(ell + 1, ell, 1)
    bracket = joint_exact_1(B, C, alpha)
    check_joint(B, C, alpha, bracket)
    signs = itertools.product(*[[np.array([-1.0]), np.array([1.0])]] * 4, [False, True])
    brute = max(joint_wdc_residual(B, C, JointWitness(*s), alpha) for s in signs)
    assert bracket.lower == pytest.approx(brute, rel=1e-13)
    assert bracket.upper == pytest.approx(bracket.lower, rel=1e-12)


JOINT: dict[str, tuple[Array, Array, float]] = {
    **{
        f"{ell} rows": (gaussian(ell, ell, 2), gaussian(99 - ell, ell, 2), 1.0) for ell in (1, 2, 4)
    },
    "15 rows": (gaussian(15, 15, 2), gaussian(16, 15, 2), 1.0),
    "40 rows": (gaussian(40, 40, 2), gaussian(41, 40, 2), 0.8),
    "zero rows": (
        np.vstack([G6[:5], np.zeros((1, 2))]),
        np.vstack([np.zeros((1, 2)), G6[1:]]),
        1.0,
    ),
    "wrong alpha": (G6, G6[::-1], 9.0),
    "parallel": (np.vstack([G6, 2 * G6]), gaussian(12, 12, 2), 1.0),
    "all zero": (np.zeros((2, 2)), np.zeros((2, 2)), 1.0),
    "one zero": (np.zeros((2, 2)), np.ones((2, 2)), 1.0),
    "tiny": (1e-200 * G6, 1e-180 * G6, 2.0),
    "huge": (1e75 * G6, 1e70 * G6, 2.0),
    "tiny, alpha too": (1e-50 * G6, 1e-70 * G6, 1e-240),
    "huge and tiny": (1e100 * G6, 1e-100 * G6[::-1], 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINT)
def test_joint_contains_the_brute_force_maximum(name: str) -> None:
    B, C, alpha = JOINT[name]
    bracket = joint_certified_2(B, C, alpha, rtol=0.02, budget=100_000)
    check_joint(B, C, alpha, bracket)
    rng = np.random.default_rng(2)
    brute = 0.0
    for outer, inner in ((B, C), (C, B)):
        kink, row = (np.arctan2(z[:, 1], z[:, 0]) for z in (kinks(outer), inner))
        kink = np.concatenate([kink + 1e-9, kink - 1e-9, rng.uniform(0, 2 * np.pi, 8)])
        row = np.concatenate([row, rng.uniform(0, 2 * np.pi, 8)])
        points = np.concatenate(
            [rng.choice(kink, size=(8000, 2)), rng.choice(row, size=(8000, 2))], axis=1
        )
        points[::2, 3] = points[::2, 2]

        def values(p: Array, outer: Array = outer, inner: Array = inner) -> Array:
            return joint_values(outer, inner, p, alpha)

        brute = max(brute, climb(values, points, rng))
    assert 0.98 * bracket.lower <= brute <= bracket.upper
    assert bracket.gap <= 0.02


def test_joint_with_antiparallel_rows_and_a_small_budget_reports_the_gap() -> None:
    B, C = np.vstack([G6, -G6]), gaussian(13, 12, 2)
    brackets = [joint_certified_2(B, C, budget=budget) for budget in (200, 2000)]
    for bracket in brackets:
        check_joint(B, C, 1.0, bracket)
    assert brackets[0].gap > brackets[1].gap
    assert brackets[0].evaluations == 200


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_a_pair_of_arcs_is_bounded_as_a_whole(alpha: float) -> None:
    from harness.conditions.exact_kernels import refine_pair

    rng = np.random.default_rng(11)
    for _ in range(40):
        root = rng.normal(size=(2, 2)) * rng.choice([0.1, 1.0])
        S = root @ root.T
        parts = np.array([S[0, 0] + S[1, 1], S[0, 0] - S[1, 1], 2 * S[0, 1]]) / 2
        ra, rb = np.exp(rng.uniform(np.log(1e-3), np.log(np.pi), 2))
        a, b = rng.uniform(0, 2 * np.pi, 2)
        points = np.array([a, b]) + np.array([ra, rb]) * rng.uniform(-1, 1, (300, 2))
        points[:4] = [(a + s * ra, b + t * rb) for s in (-1, 1) for t in (-1, 1)]
        x, y = (np.column_stack([np.cos(z), np.sin(z)]) for z in points.T)
        values = norms(S - alpha * q_matrices(x, y))
        for lower in 1e3, values.min():  # at once, and after refinement
            box, best = np.array([a, ra, b, rb]), np.zeros(3)
            upper, _ = refine_pair(parts, box, alpha, 0.05, lower, best, np.empty((256, 4)))
            assert values.max() <= upper + 1e-12


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_pair_of_cells_is_bounded_as_a_whole(n: int, alpha: float) -> None:
    from harness.conditions.net_kernels import Rows, bound_pair, narrow

    rng, ell = np.random.default_rng(12), 8
    for trial in range(40):
        W = gaussian(trial, ell, n)
        centres, spreads, points = np.zeros((n, 2)), np.zeros((n, 2)), np.zeros((2, 300, n))
        for k in range(2):
            radii = np.exp(rng.uniform(np.log(1e-3), 0, n))
            centre = rng.uniform(-1, 1, n) * (1 - radii)
            face = rng.integers(n)
            radii[face], centre[face] = 0.0, rng.choice([-1, 1])
            if k == 1 and trial % 2:
                centre, radii = centres[:, 0] * rng.choice([-1, 1]), spreads[:, 0]
            centres[:, k], spreads[:, k] = centre, radii
            steps = rng.uniform(-1, 1, (300, n))
            points[k] = centre + radii * np.where(rng.random((300, 1)) < 0.3, np.sign(steps), steps)
        none = np.zeros(ell, dtype=bool)
        rows, pair = Rows(W, np.zeros(ell), none, alpha), (centres.ravel(), spreads.ravel())
        sums, work = np.zeros((3, n, n)), np.empty((2, n, n))
        every, left = np.arange(ell, dtype=np.int32), np.empty(ell, np.int32)
        kept = narrow(rows, every, *pair, left, sums)
        value, bound = bound_pair(rows, *pair, sums, work)
        again = np.copy(sums)
        assert narrow(rows, left[:kept].copy(), *pair, left, again) == kept
        np.testing.assert_array_equal(again, sums)
        expected = wdc_values(W, centres[None, :, 0], centres[None, :, 1], alpha)[0]
        assert value == pytest.approx(expected, rel=1e-10)
        assert wdc_values(W, points[0], points[1], alpha).max() <= bound + 1e-12


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_a_box_of_four_angles_is_bounded_as_a_whole(alpha: float) -> None:
    from harness.conditions.joint_kernels import Pair, bound_box

    rng, ell = np.random.default_rng(13), 8
    for trial in range(150):
        A = np.stack([gaussian(trial, ell, 2), gaussian(trial + 500, ell, 2)])
        if trial % 3 == 0:
            A[:, 2:] = 0.0  # few rows: the mean dominates
        rows = np.concatenate([A, np.linalg.norm(A, axis=2, keepdims=True)], axis=2)
        a, b = A[..., 0], A[..., 1]
        squares = ell * np.stack([(a * a + b * b) / 2, (a * a - b * b) / 2, a * b], axis=-1)
        centre = rng.uniform(0, 2 * np.pi, 4)
        radii = np.exp(rng.uniform(np.log(1e-3), np.log(np.pi / 4), 4))
        centre[[1, 3]] = np.where(rng.random(2) < 0.5, centre[[0, 2]], centre[[1, 3]])
        exchanged = trial % 2
        box = np.append(centre, exchanged), np.append(radii, 0.0)
        value, bound = bound_box(Pair(rows, squares, alpha), *box)
        steps = rng.uniform(-1, 1, (400, 4))
        points = centre + radii * np.where(rng.random((400, 1)) < 0.5, np.sign(steps), steps)
        outer, inner = A[exchanged], A[1 - exchanged]
        assert value == pytest.approx(joint_values(outer, inner, centre[None], alpha)[0], rel=1e-9)
        assert joint_values(outer, inner, points, alpha).max() <= bound + 1e-12


def test_no_compilation_on_import() -> None:
    modules = "harness.conditions.exact, harness.conditions.net, harness.conditions.exact_joint"
    code = f"import sys, harness.conditions, {modules}; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


BAD: dict[str, tuple[Callable[[], Bracket], str]] = {
    "columns": (lambda: wdc_certified_2(np.ones((3, 3))), "3 columns"),
    "one column": (lambda: wdc_exact_1(G6), "2 columns"),
    "alpha": (lambda: wdc_certified_2(G6, 0.0), "alpha=0"),
    "alpha nan": (lambda: wdc_net(G6, np.nan), "alpha=nan"),
    "rtol": (lambda: wdc_certified_2(G6, rtol=0.0), "rtol=0"),
    "threads": (lambda: wdc_certified_2(G6, threads=0), "threads=0"),
    "overflow": (lambda: wdc_certified_2(1e200 * G6), "overflow"),
    "nan": (lambda: wdc_certified_2(np.full((2, 2), np.nan)), "finite"),
    "net budget": (lambda: wdc_net(gaussian(0, 4, 3), budget=20), "budget"),
    "net columns": (lambda: wdc_net(gaussian(0, 4, 1)), "n >= 2"),
    "lengths": (lambda: joint_certified_2(G6, G6[:3]), "6 rows"),
    "joint columns": (lambda: joint_exact_1(G6, G6), "columns"),
    "joint budget": (lambda: joint_certified_2(G6, G6, budget=10), "budget=10"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
