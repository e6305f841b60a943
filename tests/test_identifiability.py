"""Counts and ranks of a truth against exact arithmetic, finite differences and binomial tails."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from harness.ensemble import unit_vectors
from harness.identifiability import identifiability, is_determined
from harness.network import ReluNetwork, gaussian_network
from harness.problem import Demodulation
from tests.helpers import (
    SHAPES,
    Array,
    Widths,
    integer_network,
    naive_Lambda,
    naive_pattern,
    network,
    problem,
    same_pattern_on_segment,
)

every_shape = pytest.mark.parametrize("shape", SHAPES)
INTEGER_SHAPES = [
    ((1, 3, 12), (1, 12)),
    ((2, 5, 30), (2, 30)),
    ((3, 7, 40), (2, 4, 40)),
    ((2, 6, 6, 40), (3, 40)),
    ((4, 3, 40), (2, 6, 40)),
]
EVERY_INTEGER_PROBLEM = [(*widths, seed) for widths in INTEGER_SHAPES for seed in range(12)]


# --- Slow references ------------------------------------------------------------------------


def exact_rank(rows: list[list[Fraction]]) -> int:
    """Rank by Gaussian elimination on fractions."""
    rows, found = [list(row) for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(found, len(rows)) if rows[i][column] != 0), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        for i in range(found + 1, len(rows)):
            factor = rows[i][column] / rows[found][column]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


def fractions(matrix: Array) -> list[list[Fraction]]:
    return [[Fraction(entry) for entry in row] for row in matrix.tolist()]


def integer_problem(widths1: Widths, widths2: Widths, seed: int) -> Demodulation:
    """Small integers everywhere, so that a float holds every entry of the Jacobian exactly."""
    rng = np.random.default_rng([seed, *widths1, *widths2])
    G1, G2 = (integer_network(rng, widths) for widths in (widths1, widths2))
    h0, m0 = (rng.integers(-3, 4, size=G.widths[0]).astype(np.float64) for G in (G1, G2))
    return Demodulation(G1, G2, h0, m0)


def reference(P: Demodulation) -> dict[str, int | bool]:
    """Everything but the condition, exactly, for an integer problem."""
    L1, L2 = naive_Lambda(P.G1.weights, P.h0.tolist()), naive_Lambda(P.G2.weights, P.m0.tolist())
    a, b = L1 @ P.h0, L2 @ P.m0
    J = np.hstack([np.diag(b) @ L1, np.diag(a) @ L2])
    rank = exact_rank(fractions(J))
    result: dict[str, int | bool] = {
        "active_rows": sum(x > 0 and y > 0 for x, y in zip(a, b, strict=True)),
        "rank": rank,
        "full_rank": rank == P.n + P.p - 1,
    }
    for letter, G, x in (("h", P.G1, P.h0), ("m", P.G2, P.m0)):
        hidden = range(1, G.depth)
        active = [sum(layer) for layer in naive_pattern(G.weights, x.tolist())]
        ranks = [exact_rank(fractions(naive_Lambda(G.weights[:i], x.tolist()))) for i in hidden]
        enough = [active[i - 1] >= x.size for i in hidden]
        result[f"determined_{letter}"] = all(enough) and all(r == x.size for r in ranks)
    return result


# --- The Jacobian ---------------------------------------------------------------------------


@every_shape
def test_the_jacobian_is_that_of_finite_differences(shape):
    P = problem(shape)
    rng = np.random.default_rng(0)
    J = P.jacobian(P.h0, P.m0)
    assert J.shape == (P.ell, P.n + P.p)
    for _ in range(20):
        dh, dm = rng.normal(size=P.n), rng.normal(size=P.p)
        t = 1e-5
        if all(
            same_pattern_on_segment(G, x, dx, (-t, t))
            for G, x, dx in ((P.G1, P.h0, dh), (P.G2, P.m0, dm))
        ):
            ahead = P.G1(P.h0 + t * dh) * P.G2(P.m0 + t * dm)
            behind = P.G1(P.h0 - t * dh) * P.G2(P.m0 - t * dm)
            slope = J @ np.concatenate([dh, dm])
            # central differences of a quadratic have no error but rounding
            np.testing.assert_allclose((ahead - behind) / (2 * t), slope, atol=1e-8)


@every_shape
def test_the_orbit_is_in_the_null_space_of_the_jacobian(shape):
    P = problem(shape)
    rng = np.random.default_rng(1)
    h, m = rng.normal(size=(7, P.n)), rng.normal(size=(7, P.p))
    J = P.jacobian(h, m)
    change = np.einsum("kij,kj->ki", J, np.concatenate([h, -m], axis=1))
    terms = np.einsum("kij,kj->ki", np.abs(J), np.abs(np.concatenate([h, m], axis=1)))
    assert (np.abs(change) <= 1e-14 * terms).all()
    assert identifiability(P).rank <= P.n + P.p - 1


def test_the_balanced_truth_is_on_the_orbit_of_the_truth():
    P = problem("mixed-depth")
    h, m = P.balanced_truth()
    assert np.linalg.norm(h) == pytest.approx(np.linalg.norm(m), rel=1e-14)
    np.testing.assert_allclose(np.outer(h, m), np.outer(P.h0, P.m0), rtol=1e-14)
    Z = Demodulation(P.G1, P.G2, 0 * P.h0, P.m0)
    assert np.array_equal(Z.balanced_truth()[1], P.m0)


# --- Identifiability ------------------------------------------------------------------------


@pytest.mark.parametrize(("widths1", "widths2", "seed"), EVERY_INTEGER_PROBLEM)
def test_integer_networks_have_the_counts_and_ranks_of_exact_arithmetic(widths1, widths2, seed):
    P = integer_problem(widths1, widths2, seed)
    found = asdict(identifiability(P))
    condition = found.pop("condition")
    assert found == reference(P)
    assert (condition > 1e-6) == found["full_rank"]


def test_exact_arithmetic_sees_full_and_lost_ranks():
    found = [reference(integer_problem(*case)) for case in EVERY_INTEGER_PROBLEM]
    for column in ("full_rank", "determined_h", "determined_m"):
        assert 5 < sum(row[column] for row in found) < len(found) - 5, column


def test_the_scale_of_the_truth_changes_nothing():
    P = problem("two-layer")
    Q = Demodulation(P.G1, P.G2, 1e9 * P.h0, 1e-6 * P.m0)
    first, second = asdict(identifiability(P)), asdict(identifiability(Q))
    assert first.pop("condition") == pytest.approx(second.pop("condition"), rel=1e-12)
    assert first == second
    assert first["full_rank"]


def test_the_condition_of_wide_networks_is_that_of_the_expected_hessian():
    """Squared singular values are 1 on the angles and 2 along the scale, in units of c A."""
    rng = np.random.default_rng(2)
    P = Demodulation(
        network(0, (2, 300, 20_000)), network(1, (2, 300, 20_000)), *unit_vectors(rng, 2, 2)
    )
    assert identifiability(P).condition == pytest.approx(2**-0.5, abs=0.1)


def test_fewer_jointly_active_rows_than_unknowns_exclude_full_rank():
    """ell = 3 (n + p - 1): of a truth's rows a quarter is jointly active, too few on average."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        G1, G2 = (gaussian_network(rng, (3, 12, 15)) for _ in range(2))
        found.append(identifiability(Demodulation(G1, G2, *unit_vectors(rng, 2, 3))))
    assert all(f.rank <= min(f.active_rows, 5) for f in found)
    few = [f for f in found if f.active_rows < 5]
    assert len(few) > 100
    assert not any(f.full_rank or f.condition > 1e-10 for f in few)


def test_a_dead_truth_has_rank_zero():
    P = Demodulation(network(0, (2, 5, 9)), ReluNetwork([np.zeros((9, 3))]), np.ones(2), np.ones(3))
    assert asdict(identifiability(P)) == {
        "active_rows": 0,
        "rank": 0,
        "full_rank": False,
        "condition": 0.0,
        "determined_h": is_determined(P.G1, P.h0),
        "determined_m": True,
    }


@pytest.mark.parametrize("rtol", [0.0, 1.0, -1.0, np.nan])
def test_a_tolerance_out_of_range_is_refused(rtol):
    with pytest.raises(ValueError, match=r"rtol=.*must be > 0 and < 1"):
        identifiability(problem("one-layer"), rtol=rtol)


# --- The binomial tail ----------------------------------------------------------------------


def both_determined(n: int, width: int) -> float:
    """P(at least n of `width` units are active) for two independent networks."""
    return float(binom.sf(n - 1, width, 0.5)) ** 2


def test_the_binomial_tails_of_the_theory():
    assert both_determined(10, 10) == pytest.approx(9.5e-7, rel=5e-3)
    assert both_determined(10, 20) == pytest.approx(0.346, abs=5e-4)
    assert both_determined(10, 40) == pytest.approx(0.9993, abs=5e-5)


@pytest.mark.parametrize("expansion", [1, 2, 4])
def test_truths_are_determined_as_often_as_the_binomial_tail_says(expansion):
    rng = np.random.default_rng(expansion)
    width, trials = 10 * expansion, 2000
    truths = unit_vectors(rng, 2 * trials, 10).reshape(trials, 2, 10)
    found = [
        all(is_determined(gaussian_network(rng, (10, width, 1)), x) for x in pair)
        for pair in truths
    ]
    chance = both_determined(10, width)
    assert abs(np.mean(found) - chance) <= 5 * np.sqrt(chance * (1 - chance) / trials)
