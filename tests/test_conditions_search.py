"""Fast residuals against the naive ones, and the searches against brute force and each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.conditions import anneal
from harness.conditions.bracket import Bracket
from harness.conditions.definition import (
    JointWitness,
    WdcWitness,
    joint_wdc_residual,
    wdc_residual,
)
from harness.conditions.exact import wdc_certified_2
from harness.conditions.fast_residual import (
    Residual,
    joint_weights,
    residual_numpy,
)
from harness.conditions.search import (
    BUDGET,
    joint_wdc_row_aligned,
    joint_wdc_sampled,
    joint_wdc_search,
    wdc_sampled,
    wdc_search,
)
from harness.theory import Q

Array = NDArray[np.float64]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products only lose by sharing them."""
    with threadpool_limits(1):
        yield


def gaussian(seed: int, ell: int, n: int) -> Array:
    return np.random.default_rng(seed).standard_normal((ell, n)) / np.sqrt(ell)


def with_zero_rows(W: Array) -> Array:
    W = W.copy()
    W[::3] = 0.0
    return W


MATRICES: dict[str, Array] = {
    "one column": gaussian(0, 30, 1),
    "two columns": gaussian(1, 30, 2),
    "packed": gaussian(2, 60, 7),
    "blocked": gaussian(3, 150, 20),
    "blocked, many rows": gaussian(4, 3000, 40),
    "wide": gaussian(5, 90, 70),
    "more columns than rows": gaussian(6, 5, 30),
    "one row": gaussian(7, 1, 3),
    "zero rows": with_zero_rows(gaussian(8, 40, 5)),
    "all zero": np.zeros((4, 3)),
    "duplicates": np.repeat(gaussian(9, 10, 4), 3, axis=0),
    "antiparallel": np.vstack([gaussian(10, 10, 3), -gaussian(10, 10, 3)]),
    "orthogonal": np.vstack([np.eye(18), -np.eye(18)]),
    "large": 1e6 * gaussian(11, 50, 3),
    "small": 1e-6 * gaussian(12, 50, 20),
}


def pairs(n: int) -> list[tuple[Array, Array]]:
    """Points in general and in degenerate position, away from kinks but for exact zeros."""
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, n))
    e = np.eye(n)
    return [
        (x, y),
        (x, x),
        (x, -x),
        (x, 3 * x),
        (x, x + 1e-9 * y),
        (x, 1e-7 * y - x),
        (e[0], e[-1]),
    ]


def joint_residual_numpy(
    B: Array, C: Array, h: Array, x: Array, m: Array, y: Array, alpha: float = 1.0
) -> float:
    """The epsilon that (6) needs at a point, as one would write it in NumPy.

    B is (ell, n), C is (ell, p); h, x are nonzero (n,), m, y nonzero (p,).  For (7) exchange
    B and C, (h, x) and (m, y).
    """
    active = (B @ h > 0) & (B @ x > 0)
    diagonal = active * np.maximum(C @ m, 0) * np.maximum(C @ y, 0)
    ell = len(B)
    expected = alpha / ell * (m @ Q(m, y) @ y) * Q(h, x)
    lengths = np.linalg.norm(m) * np.linalg.norm(y)
    return float(np.linalg.norm((B * diagonal[:, None]).T @ B - expected, 2) * ell / lengths)


@pytest.mark.parametrize("name", MATRICES)
def test_the_fast_residual_is_the_naive_one(name: str) -> None:
    W = MATRICES[name]
    points = pairs(W.shape[1])
    fast = Residual(W)
    expected = np.array([wdc_residual(W, x, y, 0.7) for x, y in points])
    bound = 1e-13 * (1 + np.sum(W * W))
    single = np.array([fast.norm(x, y, 0.7) for x, y in points])
    batch = fast.norms(np.array([x for x, _ in points]), np.array([y for _, y in points]), 0.7)
    peer = np.array([residual_numpy(W, x, y, 0.7) for x, y in points])
    for values in (single, batch, peer):
        np.testing.assert_allclose(values, expected, atol=bound, rtol=0)


@pytest.mark.parametrize("name", MATRICES)
def test_the_fast_joint_residual_is_the_naive_one(name: str) -> None:
    B = MATRICES[name]
    C = gaussian(99, len(B), 4)
    fast = Residual(B)
    for h, x in pairs(B.shape[1]):
        for m, y in pairs(4):
            expected = joint_wdc_residual(B, C, JointWitness(h, x, m, y, False), 0.7)
            d, kappa = joint_weights(C, *anneal.unit(np.array([m, y])), 0.7)
            atol = 1e-12 * (1 + len(B) * np.sum(B * B) * np.sum(C * C))
            assert fast.norm(h, x, kappa, d) == pytest.approx(expected, rel=0, abs=atol)
            peer = joint_residual_numpy(B, C, h, x, m, y, 0.7)
            assert peer == pytest.approx(expected, rel=0, abs=atol)
            both = fast.norms(np.array([h, x]), np.array([x, h]), np.array([kappa, kappa]), d)
            np.testing.assert_allclose(both, expected, rtol=0, atol=atol)


def test_buffers_carry_nothing_from_one_point_to_the_next() -> None:
    W = gaussian(0, 2000, 40)
    fast = Residual(W)
    x, y = np.random.default_rng(0).standard_normal((2, 40))
    first = fast.norm(x, y)
    fast.norm(x, x, 5.0)
    fast.norm(x, -x)
    assert fast.norm(x, y) == first


def smoothed(
    W: Array, C: Array | None, vectors: list[Array], sign: int, width: float, alpha: float
) -> float:
    """What a chain climbs at x, y, v (and m, n), as one would write it."""
    x, y, v, *others = (u / np.linalg.norm(u) for u in vectors)
    rows = anneal.unit(W)

    def step(z: Array) -> Array:
        z = np.clip(z / (anneal.SPREAD * width), -1, 1)
        return 0.5 + 0.75 * z - 0.25 * z**3

    weights, scale = (np.ones(len(W)), alpha) if C is None else joint_weights(C, *others, alpha)
    terms = weights * step(rows @ x) * step(rows @ y) * (W @ v) ** 2
    return sign * float(np.sum(terms) - scale * v @ Q(x, y) @ v)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_chain_climbs_the_smoothed_residual_along_its_slope(joint: bool, sign: int) -> None:
    W, C = 3 * gaussian(0, 60, 6), gaussian(1, 60, 4) if joint else None
    rng = np.random.default_rng(2)
    size = max(0.7, float(np.sum(W * W) / 6 if C is None else rows_size(W, C)))
    for width in (0.3, 0.05):
        gates, v = anneal.unit(rng.standard_normal((2, 1, 6))), anneal.unit(np.ones((1, 6)))
        weighing = anneal.unit(rng.standard_normal((2, 1, 4))) if joint else None
        chains = anneal.Chains(gates, weighing, v, np.full(1, float(sign)), np.ones(1))

        def vectors(chains: anneal.Chains = chains, v: Array = v) -> list[Array]:
            both = [] if chains.weighing is None else list(chains.weighing[:, 0])
            return [*chains.gates[:, 0], v[0], *both]

        start = vectors()
        buffers = np.empty((3, 1, 60), np.float32), np.empty((2, 1, 60), np.float32)
        value = anneal.climb(anneal.Rows.of(W, C, 0.7), chains, np.full(1, width), buffers)
        objective = partial(smoothed, W, C, sign=sign, width=width, alpha=0.7)
        assert value[0] * size == pytest.approx(objective(start), rel=1e-4)
        # the step is along the slopes of both pairs, each of one length
        ends = vectors()
        for pair in ((0, 1), (3, 4)) if joint else ((0, 1),):
            ascent = np.concatenate([tangent(start[k], ends[k]) for k in pair])
            slope = np.concatenate([numeric_slope(objective, start, k) for k in pair])
            cosine = ascent @ slope / np.linalg.norm(ascent) / np.linalg.norm(slope)
            assert cosine > 0.999


def rows_size(W: Array, C: Array) -> float:
    return float(len(W) * np.sum(np.sum(W * W, axis=1) * np.sum(C * C, axis=1)) / W.shape[1])


def tangent(x: Array, y: Array) -> Array:
    """y / (x.y) - x for unit x: the step that normalising turned into y."""
    return y / (x @ y) - x


def numeric_slope(objective: Callable[[list[Array]], float], at: list[Array], k: int) -> Array:
    slope = np.empty_like(at[k])
    for i in range(len(slope)):
        ends = []
        for sign in (1, -1):
            moved = [u.copy() for u in at]
            moved[k][i] += sign * 1e-6
            ends.append(objective(moved))
        slope[i] = (ends[0] - ends[1]) / 2e-6
    return slope


def test_culling_keeps_the_better_half_of_either_sign() -> None:
    values, sign = np.array([1.0, 5, 3, 2, 9, 0]), np.array([1.0, 1, 1, -1, -1, -1])
    kept = anneal._better_half(values, sign)
    np.testing.assert_array_equal(kept, [False, True, True, True, True, False])


@pytest.mark.slow
def test_the_search_reaches_the_certified_constant_of_100_matrices() -> None:
    for k in range(100):
        W = gaussian(k, 10 + (190 * k) // 99, 2)
        certified = wdc_certified_2(W, rtol=0.005)
        for budget in (2500, BUDGET, 10 * BUDGET):
            found = wdc_search(W, rng=np.random.default_rng(k), budget=budget)
            if found.lower >= 0.99 * certified.upper:
                break
        assert 0.99 * certified.upper <= found.lower <= certified.upper, k


@pytest.mark.slow
def test_the_expected_gain_is_what_ten_times_the_budget_gains_within_a_factor_of_three() -> None:
    for n, ell, matrices in ((5, 200, 40), (20, 800, 12)):
        expected, gained = [], []
        for seed in range(matrices):
            W = gaussian(seed, ell, n)
            short, long = (
                wdc_search(W, rng=np.random.default_rng(k), budget=b)
                for k, b in ((1, 5000), (2, 50_000))
            )
            expected.append(short.expected_gain)
            gained.append(max(long.lower / short.lower - 1, 0))
        assert np.mean(expected) / 3 < np.mean(gained) < 3 * np.mean(expected)


def test_the_search_reaches_what_a_long_run_reaches() -> None:
    for seed in range(5):
        W = gaussian(seed, 200, 5)
        short, long = (
            wdc_search(W, rng=np.random.default_rng(k), budget=b).lower
            for k, b in ((1, BUDGET), (2, 10 * BUDGET))
        )
        assert short > 0.9 * long


def test_one_record_wins_only_once() -> None:
    """Restarts that agree show no gain; a lonely best shows one."""
    from harness.conditions.search import _gain

    assert _gain(np.full(8, 0.5)) == 0
    assert _gain(np.array([1.0, 0.5, 0.5])) == pytest.approx(np.log2(10) / 2 * 0.25)
    assert np.isnan(_gain(np.zeros(3)))


@pytest.mark.parametrize("name", ["integer", "zero rows", "antiparallel", "few"])
def test_the_search_stays_below_the_certificate_on_degenerate_matrices(name: str) -> None:
    G = gaussian(0, 12, 2)
    W = {
        "integer": np.array([[1.0, 2], [-3, -6], [2, -1], [0, 1], [0, -2], [1, 0], [4, 3]]) / 3,
        "zero rows": with_zero_rows(G),
        "antiparallel": np.vstack([G, -G]),
        "few": G[:1],
    }[name]
    certified = wdc_certified_2(W, rtol=0.002)
    found = wdc_search(W, rng=np.random.default_rng(1), budget=2000)
    assert 0.99 * certified.lower <= found.lower <= certified.upper


def check_bracket(bracket: Bracket, naive: float) -> None:
    assert bracket.lower == naive
    assert bracket.upper == np.inf
    assert bracket.evaluations >= 1
    if bracket.method == "search":
        assert 0 < bracket.agreement <= 1
        assert bracket.expected_gain >= 0 or np.isnan(bracket.expected_gain)
    else:
        assert np.isnan([bracket.agreement, bracket.expected_gain]).all()


@pytest.mark.parametrize("budget", [1, 7, 600])
@pytest.mark.parametrize("name", MATRICES)
def test_a_wdc_search_ends_with_a_witness(name: str, budget: int) -> None:
    W = MATRICES[name]
    bracket = wdc_search(W, 0.7, rng=np.random.default_rng(0), budget=budget)
    assert isinstance(bracket.witness, WdcWitness)
    check_bracket(bracket, wdc_residual(W, *bracket.witness, 0.7))


@pytest.mark.parametrize("budget", [1, 600])
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("p", [1, 3])
def test_a_joint_search_ends_with_a_witness(name: str, budget: int, p: int) -> None:
    B = MATRICES[name]
    C = with_zero_rows(gaussian(98, len(B), p))
    bracket = joint_wdc_search(B, C, 0.7, rng=np.random.default_rng(0), budget=budget)
    assert isinstance(bracket.witness, JointWitness)
    check_bracket(bracket, joint_wdc_residual(B, C, bracket.witness, 0.7))


def test_one_column_is_exact() -> None:
    W = gaussian(0, 30, 1)
    values = [wdc_residual(W, [s], [t]) for s in (1.0, -1.0) for t in (1.0, -1.0)]
    assert wdc_search(W, rng=np.random.default_rng(0), budget=200).lower == max(values)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_the_search_beats_samples(alpha: float) -> None:
    W = np.sqrt(alpha) * gaussian(0, 1000, 10)
    rng = np.random.default_rng(0)
    sampled = wdc_sampled(W, alpha, rng=rng, count=4000)
    found = wdc_search(W, alpha, rng=rng, budget=4000)
    assert found.lower > 1.3 * sampled.lower
    check_bracket(sampled, wdc_residual(W, *sampled.witness, alpha))


def test_joint_adversaries_in_order_of_strength() -> None:
    B, C = gaussian(0, 400, 5), gaussian(1, 400, 6)
    rng = np.random.default_rng(0)
    sampled = joint_wdc_sampled(B, C, rng=rng, count=500)
    aligned = joint_wdc_row_aligned(B, C)
    found = joint_wdc_search(B, C, rng=rng, budget=4000)
    assert sampled.lower < aligned.lower < found.lower
    for bracket in (sampled, aligned, found):
        check_bracket(bracket, joint_wdc_residual(B, C, bracket.witness))


def test_the_row_aligned_adversary_beats_samples_eightfold() -> None:
    rng = np.random.default_rng(0)
    B, C = rng.standard_normal((2, 3200, 40)) / np.sqrt(3200)
    assert joint_wdc_sampled(B, C, rng=rng, count=100).lower == pytest.approx(0.17, abs=0.03)
    aligned = joint_wdc_row_aligned(B, C, count=100)
    assert aligned.lower == pytest.approx(1.41, abs=0.12)


def test_exchanging_the_matrices_exchanges_the_inequalities() -> None:
    B, C = gaussian(0, 50, 3), gaussian(1, 50, 2)
    one, two = joint_wdc_row_aligned(B, C), joint_wdc_row_aligned(C, B)
    assert one.lower == pytest.approx(two.lower, rel=1e-13)
    assert one.witness.exchanged is not two.witness.exchanged


def test_the_same_stream_gives_the_same_search() -> None:
    B, C = gaussian(0, 60, 4), gaussian(1, 60, 3)
    for search in (
        lambda seed: wdc_search(B, rng=np.random.default_rng(seed), budget=2000),
        lambda seed: joint_wdc_search(B, C, rng=np.random.default_rng(seed), budget=2000),
    ):
        one, two, other = search(5), search(5), search(6)
        assert one.lower == two.lower
        np.testing.assert_array_equal(one.witness[0], two.witness[0])
        assert (one.agreement, one.expected_gain) == (two.agreement, two.expected_gain)
        assert not np.array_equal(one.witness[0], other.witness[0])


def test_the_global_stream_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    wdc_search(gaussian(0, 20, 3), rng=np.random.default_rng(0), budget=300)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_scaling() -> None:
    """W/sqrt(alpha) has the constant divided by alpha; powers of 4 scale exactly."""
    W = gaussian(0, 100, 5)
    for alpha in (4.0, 0.25):
        scaled = wdc_search(W / np.sqrt(alpha), rng=np.random.default_rng(0), budget=2000)
        plain = wdc_search(W, alpha, rng=np.random.default_rng(0), budget=2000)
        assert scaled.lower == pytest.approx(plain.lower / alpha, rel=1e-12)
    x, y = np.random.default_rng(0).standard_normal((2, 5))
    value = Residual(W / np.sqrt(0.9)).norm(x, y)
    assert value == pytest.approx(Residual(W).norm(x, y, 0.9) / 0.9, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        wdc_search(np.eye(2), alpha, rng=np.random.default_rng(0))


def test_bad_matrices_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="finite"):
        wdc_search([[np.nan, 1.0]], rng=rng)
    with pytest.raises(ValueError, match="same number of rows"):
        joint_wdc_search(np.eye(2), np.eye(3), rng=rng)
    with pytest.raises(ValueError, match="must be >= 1"):
        wdc_search(np.eye(2), rng=rng, budget=0)
