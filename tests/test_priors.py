"""The rivals of the generative prior: naive versions, identities, published numbers, refusals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from harness import priors
from harness.network import ReluNetwork
from harness.priors import Bilinear, Recovery, Stopping, convex, signal_error
from harness.problem import Demodulation
from harness.status import Status
from tests.helpers import Array, network, refused

needs_cvxpy = pytest.mark.skipif(
    not priors.solver_installed(), reason="needs cvxpy, of the extra 'priors'"
)


def drawn(seed: int, ell: int, K: int, N: int, S: int = 0) -> tuple[Bilinear, Array, Array]:
    """A Gaussian model and its truth: Gaussian coefficients, or S random signs in each factor."""
    rng = np.random.default_rng([seed, ell, K, N, S])
    B, C = rng.standard_normal((ell, K)), rng.standard_normal((ell, N))
    if S == 0:
        h, m = rng.standard_normal(K), rng.standard_normal(N)
    else:
        h, m = np.zeros(K), np.zeros(N)
        h[rng.permutation(K)[:S]] = rng.choice([-1, 1], S)
        m[rng.permutation(N)[:S]] = rng.choice([-1, 1], S)
    return Bilinear(B, C, (B @ h) * (C @ m)), h, m


def error(model: Bilinear, h: Array, m: Array, found: Recovery) -> float:
    """The larger error of the two signals."""
    return max(
        signal_error(model.B @ found.h, model.B @ h), signal_error(model.C @ found.m, model.C @ m)
    )


def start(seed: int, size: int) -> Array:
    return np.random.default_rng([99, seed]).standard_normal(size)


def steps(count: int) -> Stopping:
    """Exactly so many steps."""
    return Stopping(rtol=0, max_steps=count, stall_rtol=0, stall_window=count + 1)


def share(hit: Callable[[int], bool], trials: int) -> float:
    return float(np.mean([hit(trial) for trial in range(trials)]))


# --- The model and its error ----------------------------------------------------------------


def test_the_adjoint_is_the_sum_of_its_rows_and_passes_the_dot_test():
    model, h, m = drawn(0, 12, 3, 4)
    v = start(0, 12)
    naive = sum(v[i] * np.outer(model.B[i], model.C[i]) for i in range(12))
    np.testing.assert_allclose(model.adjoint(v), naive, rtol=1e-12)
    assert h @ model.adjoint(v) @ m == pytest.approx(v @ ((model.B @ h) * (model.C @ m)))
    assert model.residual(h, m) < 1e-15


def test_the_signal_error_is_the_sine_of_the_angle():
    w, u = start(1, 9), start(2, 9)
    cosine = w @ u / np.linalg.norm(w) / np.linalg.norm(u)
    assert signal_error(u, w) == pytest.approx(np.sqrt(1 - cosine**2))
    assert signal_error(-3 * w, w) < 1e-15
    assert signal_error(np.zeros(9), w) == 1


EVERY: dict[str, Callable[[Bilinear, Array, Array], Recovery]] = {
    "alternating": lambda M, h, m: priors.alternating_least_squares(M, m),
    "gradient": lambda M, h, m: priors.gradient_descent(M, h, m),
    "subgradient": lambda M, h, m: priors.polyak_subgradient(M, h, m),
    "nuclear": lambda M, h, m: priors.nuclear_norm(M, np.random.default_rng(0)),
    "factorization": lambda M, h, m: priors.sparse_power_factorization(M, M.K, M.N, m),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_method_recovers_a_truth_from_many_rows_in_any_units(name):
    """The scales of B, C and y are those of units: the signals found do not depend on them."""
    model, h, m = drawn(3, 60, 4, 5)
    near = h + 0.3 * start(3, 4), m + 0.3 * start(4, 5)
    for b, c, size in ((1, 1, 1), (1e3, 1e-2, 1e4)):
        other = Bilinear(b * model.B, c * model.C, b * c * size * model.y)
        found = EVERY[name](other, np.sqrt(size) * near[0], np.sqrt(size) * near[1])
        assert found.status == Status.CONVERGED
        assert error(model, h, m, found) < 1e-5
        assert found.residual < 1e-5
        assert np.linalg.norm(found.h) == pytest.approx(np.linalg.norm(found.m))


def test_what_is_not_finite_is_a_status_with_zeros_and_no_nan():
    model, h, m = drawn(4, 30, 3, 3)
    found = priors.gradient_descent(model, h + 1, m + 1, kappa=1e6)
    assert found.status == Status.DIVERGED
    assert not found.h.any()
    assert not found.m.any()
    assert found.residual == 1


def test_a_limit_of_steps_and_a_stall_are_told_apart():
    model, *_ = drawn(5, 12, 6, 6)
    late = priors.alternating_least_squares(model, start(0, 6), stopping=steps(2))
    assert (late.status, late.steps) == (Status.MAX_STEPS, 2)
    stuck = Stopping(rtol=1e-12, max_steps=50, stall_rtol=0.999, stall_window=5)
    found = priors.alternating_least_squares(model, start(0, 6), stopping=stuck)
    assert found.status == Status.STALLED
    assert found.steps % 5 == 0


# --- Subspaces ------------------------------------------------------------------------------


def test_alternating_least_squares_is_its_normal_equations():
    model, *_ = drawn(6, 20, 3, 4)
    m = start(6, 4)
    for _ in range(4):
        A = (model.C @ m)[:, None] * model.B
        h = np.linalg.solve(A.T @ A, A.T @ model.y)
        A = (model.B @ h)[:, None] * model.C
        m = np.linalg.solve(A.T @ A, A.T @ model.y)
    found = priors.alternating_least_squares(model, start(6, 4), stopping=steps(4))
    assert signal_error(found.m, m) < 1e-10


def test_the_spectral_start_is_the_leading_singular_pair_and_fits_y_best():
    model, h, m = drawn(7, 4000, 3, 2)
    u, v = priors.spectral_start(model)
    X = model.adjoint(model.y)
    right = start(7, 2)
    for _ in range(500):
        right = X.T @ (X @ right)
        right /= np.linalg.norm(right)
    assert signal_error(v, right) < 1e-7
    assert signal_error(u, X @ right) < 1e-7
    assert max(signal_error(u, h), signal_error(v, m)) < 0.2  # its expectation is ell h m^T
    residuals = [model.residual(c * u, v) for c in (0.9, 1.0, 1.1)]
    assert residuals[1] == min(residuals)


def test_a_gradient_step_is_the_gradient_times_the_stated_size():
    model, *_ = drawn(8, 15, 3, 2)
    h, m = start(8, 3), start(9, 2)

    def loss(point: Array) -> float:
        w, x = model.B @ point[:3], model.C @ point[3:]
        return float(0.5 * np.sum((w * x - model.y) ** 2) / 15)

    b, c = np.mean(model.B**2), np.mean(model.C**2)
    balance = np.sqrt(np.sqrt(c) * np.linalg.norm(m) / (np.sqrt(b) * np.linalg.norm(h)))
    point = np.concatenate([balance * h, m / balance])
    slopes = [(loss(point + 1e-6 * e) - loss(point - 1e-6 * e)) / 2e-6 for e in np.eye(5)]
    size = 0.5 / (b * np.sum(point[:3] ** 2) + c * np.sum(point[3:] ** 2))
    after = point - size * np.array(slopes) / np.repeat([b, c], [3, 2])
    found = priors.gradient_descent(model, h, m, stopping=steps(1))
    np.testing.assert_allclose(
        np.outer(found.h, found.m), np.outer(after[:3], after[3:]), rtol=1e-6
    )


def test_a_polyak_step_ends_where_the_linearised_loss_is_zero():
    model, *_ = drawn(10, 15, 3, 2)
    h, m = start(10, 3), start(11, 2)
    rows = range(15)
    r = [(model.B[i] @ h) * (model.C[i] @ m) - model.y[i] for i in rows]
    g = np.concatenate(
        [
            sum(np.sign(r[i]) * (model.C[i] @ m) * model.B[i] for i in rows) / 15,
            sum(np.sign(r[i]) * (model.B[i] @ h) * model.C[i] for i in rows) / 15,
        ]
    )
    after = np.concatenate([h, m]) - np.mean(np.abs(r)) * g / (g @ g)
    assert np.mean(np.abs(r)) + g @ (after - np.concatenate([h, m])) == pytest.approx(0, abs=1e-12)
    found = priors.polyak_subgradient(model, h, m, stopping=steps(1))
    np.testing.assert_allclose(np.outer(found.h, found.m), np.outer(after[:3], after[3:]))


@pytest.mark.parametrize(("ratio", "low", "high"), [(1, 0.0, 0.3), (5, 0.8, 1.0)])
def test_polyak_s_steps_find_the_truth_from_random_starts_at_5_times_the_unknowns(ratio, low, high):
    """Diaz (2019), results for d = (100, 50): none at m = d1 + d2, .9 to 1 at 4, 1 from 5 on."""
    short = Stopping(rtol=1e-7, max_steps=5_000, stall_rtol=0, stall_window=5_001)

    def hit(trial: int) -> bool:
        model, h, m = drawn(trial, ratio * 15, 10, 5)
        found = priors.polyak_subgradient(
            model, start(trial, 10), start(trial + 50, 5), stopping=short
        )
        return error(model, h, m, found) < 1e-5

    assert low <= share(hit, 8) <= high


# --- Lifting --------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "low", "high"), [(1.0, 0.0, 0.2), (3.5, 0.8, 1.0)])
def test_the_nuclear_norm_finds_the_truth_above_the_published_2_7_times_the_unknowns(
    ratio, low, high
):
    def hit(trial: int) -> bool:
        model, h, m = drawn(trial, int(ratio * 8), 4, 4)
        found = priors.nuclear_norm(model, np.random.default_rng(trial))
        return error(model, h, m, found) < 2e-2

    assert low <= share(hit, 6) <= high


@needs_cvxpy
@pytest.mark.parametrize("ell", [10, 16])
def test_the_factorization_of_rank_4_has_the_pair_of_the_exact_program(ell):
    import cvxpy

    model, *_ = drawn(12, ell, 5, 5)
    X = cvxpy.Variable((5, 5))
    rows = cvxpy.sum(cvxpy.multiply(model.B @ X, model.C), axis=1)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(X)), [rows == model.y]).solve(solver="CLARABEL")
    left, values, right = np.linalg.svd(X.value)
    found = priors.nuclear_norm(model, np.random.default_rng(0))
    pair = np.outer(found.h, found.m)
    np.testing.assert_allclose(pair, values[0] * np.outer(left[:, 0], right[0]), atol=2e-3)


# --- Sparsity -------------------------------------------------------------------------------


def test_hard_thresholding_pursuit_finds_what_all_supports_contain():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        A, z = rng.standard_normal((14, 9)), np.zeros(9)
        z[rng.permutation(9)[:2]] = [2.0, -1.0]
        y = A @ z + 0.01 * rng.standard_normal(14)
        fits = {
            J: np.linalg.norm(A[:, J] @ np.linalg.lstsq(A[:, J], y, rcond=None)[0] - y)
            for J in combinations(range(9), 2)
        }
        found = priors.hard_thresholding_pursuit(A, y, 2)
        assert tuple(np.flatnonzero(found)) == min(fits, key=fits.__getitem__)
        assert np.linalg.norm(A @ found - y) == pytest.approx(min(fits.values()))


def test_the_thresholded_start_is_algorithm_3_row_by_row():
    model, *_ = drawn(13, 30, 7, 6, 2)
    X = model.adjoint(model.y)
    scores = [sum(sorted((x * x for x in row), reverse=True)[:3]) for row in X]
    rows = sorted(range(7), key=lambda i: -scores[i])[:2]
    columns = sorted(range(6), key=lambda j: -sum(X[i, j] ** 2 for i in rows))[:3]
    part = X[np.ix_(sorted(rows), sorted(columns))]
    expected = np.zeros(6)
    expected[sorted(columns)] = np.linalg.eigh(part.T @ part)[1][:, -1]
    found = priors.thresholded_start(model, 2, 3)
    assert np.count_nonzero(found) == 3
    assert signal_error(found, expected) < 1e-8


def test_power_factorization_with_all_terms_is_alternating_least_squares():
    model, *_ = drawn(14, 20, 4, 3)
    m = start(14, 3)
    one = priors.sparse_power_factorization(model, 4, 3, m, stopping=steps(5))
    other = priors.alternating_least_squares(model, m, stopping=steps(5))
    np.testing.assert_allclose(np.outer(one.h, one.m), np.outer(other.h, other.m), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("ell", "low", "high"), [(75, 0.0, 0.2), (160, 0.8, 1.0)])
def test_power_factorization_has_half_its_successes_near_the_published_105_rows(ell, low, high):
    """Row-sparse 256 x 40 with s = 5 of Kuemmerle and others (2023): half at m = 105."""

    def hit(trial: int) -> bool:
        rng = np.random.default_rng([trial, ell])
        B, C = rng.standard_normal((ell, 256)), rng.standard_normal((ell, 40))
        h, m = np.zeros(256), rng.standard_normal(40)
        h[rng.permutation(256)[:5]] = rng.standard_normal(5)
        model = Bilinear(B, C, (B @ h) * (C @ m))
        return error(model, h, m, priors.sparse_power_factorization(model, 5, 40)) < 1e-3

    assert low <= share(hit, 12) <= high


# --- Convex programs ------------------------------------------------------------------------


def naive_program(model: Bilinear, t: Array, power: int) -> float:
    """The least ||h||^2 + ||m||^2 (power 2) or ||h||_1 + ||m||_1 (power 1), by SLSQP."""
    K, s = model.K, np.sign(model.y)

    def parts(z: Array) -> tuple[Array, Array]:  # h and m, each as a difference
        h, m = np.split(z[: len(z) // 2] - z[len(z) // 2 :], [K])
        return t * (model.B @ h), t * s * (model.C @ m)

    slack = [
        {"type": "ineq", "fun": lambda z: parts(z)[0] * parts(z)[1] - np.abs(model.y)},
        {"type": "ineq", "fun": lambda z: parts(z)[0]},
    ]
    ends = []
    for seed in range(6):
        z = np.abs(start(seed, 2 * (K + model.N))) + 1
        size: Any = (lambda z: z @ z) if power == 2 else np.sum
        found = minimize(
            size, z, bounds=[(0, None)] * len(z), constraints=slack, options={"maxiter": 500}
        )
        if found.success:
            ends.append(found.fun)
    return min(ends)


@needs_cvxpy
@pytest.mark.parametrize(("solve", "power"), [("branch_hull", 2), ("l1_branch_hull", 1)])
def test_a_branch_hull_has_the_least_norm_that_slsqp_finds(solve, power):
    model, h, _ = drawn(15, 6, 2, 2)  # too few rows: the least is not the truth
    t = np.sign(model.B @ h)
    found = getattr(priors, solve)(model, t)
    c = 1.0 if power == 2 else np.sqrt(np.abs(found.m).sum() / np.abs(found.h).sum())
    least = sum(np.sum(np.abs(z) ** power) for z in (c * found.h, found.m / c))
    assert found.status == Status.CONVERGED
    assert least == pytest.approx(naive_program(model, t, power), rel=1e-3)


@needs_cvxpy
@pytest.mark.parametrize("zeros", [0, 3])
def test_branch_hull_finds_the_truth_and_lets_zeros_keep_their_signs_alone(zeros):
    model, h, m = drawn(16, 40, 4, 4)
    y = np.where(np.arange(40) < zeros, 0.0, model.y)
    found = priors.branch_hull(Bilinear(model.B, model.C, y), np.sign(model.B @ h))
    assert found.status == Status.CONVERGED
    assert error(model, h, m, found) < 1e-6


@needs_cvxpy
@pytest.mark.parametrize(("ell", "low", "high"), [(10, 0.0, 0.3), (30, 0.7, 1.0)])
def test_l1_branch_hull_has_half_its_successes_near_the_published_18_rows(ell, low, high):
    """The authors' table for S = 2 and K = N = 40: half at 18; `prior_price` has more of it."""

    def hit(trial: int) -> bool:
        model, h, m = drawn(trial, ell, 40, 40, 2)
        found = priors.l1_branch_hull(model, np.sign(model.B @ h))
        return error(model, h, m, found) < 1e-3

    assert low <= share(hit, 8) <= high


@needs_cvxpy
def test_what_a_solver_cannot_do_is_a_status(monkeypatch):
    import cvxpy

    apart = Bilinear([[1.0], [1.0]], [[1.0], [1.0]], [1.0, 1.0])
    found = [priors.branch_hull(apart, [1, -1])]
    model, h, _ = drawn(17, 30, 10, 10)
    found.append(priors.branch_hull(model, np.sign(model.B @ h), time_limit=1e-9))

    def broken(*_: object, **__: object) -> None:
        raise cvxpy.SolverError("gave up")

    monkeypatch.setattr(cvxpy.Problem, "solve", broken)
    found.append(priors.branch_hull(apart, [1, 1]))
    assert [f.status for f in found] == [Status.INFEASIBLE, Status.TIME_OUT, Status.FAILED]
    for each in found:
        assert not np.concatenate([each.h, each.m]).any()
        assert each.residual == 1


def test_a_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setattr(convex, "find_spec", lambda _: None)
    model, h, _ = drawn(18, 8, 2, 2)
    assert not priors.solver_installed()
    with refused("cvxpy .* extra 'priors'", ModuleNotFoundError):
        priors.l1_branch_hull(model, np.sign(model.B @ h))


# --- Oracles --------------------------------------------------------------------------------


def test_a_known_factor_leaves_least_squares_with_as_many_rows_as_unknowns():
    model, h, m = drawn(19, 7, 7, 3)
    found = priors.known_factor(model, -2 * m)
    assert error(model, h, m, found) < 1e-10
    short = Bilinear(model.B[:6], model.C[:6], model.y[:6])
    with refused(r"rank 6 with 7 columns", ValueError):
        priors.known_factor(short, m)


def test_known_supports_leave_a_problem_of_their_columns():
    model, h, m = drawn(20, 20, 30, 40, 3)
    supports = np.flatnonzero(h).tolist(), np.flatnonzero(m).tolist()
    found = priors.known_supports(model, *supports, start(20, 40))
    assert found.status == Status.CONVERGED
    assert error(model, h, m, found) < 1e-7
    assert not np.delete(found.h, supports[0]).any()


def test_a_known_activation_pattern_leaves_a_bilinear_problem_of_the_active_rows():
    G1, G2 = network(21, (2, 12, 80)), network(22, (3, 18, 80))
    P = Demodulation(G1, G2, start(21, 2), start(22, 3))
    model = priors.active_subspaces(P)
    assert model is not None
    rows = np.flatnonzero((P.G1(P.h0) > 0) & (P.G2(P.m0) > 0))
    assert model.ell == len(rows)
    assert model.residual(P.h0, P.m0) < 1e-14
    np.testing.assert_array_equal(model.B, G1.Lambda(P.h0)[rows])
    found = priors.known_activation(P, start(23, 3))
    assert found.status == Status.CONVERGED
    assert signal_error(found.h, P.h0) < 1e-6
    assert signal_error(found.m, P.m0) < 1e-6


def test_too_few_active_rows_are_a_status():
    for rows, inner in ((2, 8), (40, 1)):  # too few outputs; a hidden layer of rank 1
        rng = np.random.default_rng(rows)
        layers = [rng.standard_normal(shape) for shape in ((inner, 3), (rows, inner))]
        G = ReluNetwork([np.abs(W) for W in layers])
        P = Demodulation(G, G, np.ones(3), np.ones(3))
        found = priors.known_activation(P, np.ones(3))
        assert found.status == Status.UNDERDETERMINED
        assert not found.h.any()
        assert found.residual == 1


# --- Refusals -------------------------------------------------------------------------------

ONES = np.ones((4, 2))
TALL = np.arange(8.0).reshape(4, 2) + 1
Y = np.ones(4)


@pytest.mark.parametrize(
    ("B", "C", "y", "says"),
    [
        (np.ones((4, 0)), TALL, Y, r"B: shape \(4, 0\); needs a finite non-empty matrix"),
        (np.full((4, 2), np.nan), TALL, Y, "B: shape .* finite"),
        (TALL, np.eye(4)[:, :2] * [1, 0], Y, "C: column 1 is zero"),
        (TALL, TALL[:3], Y, "must be .* one ell"),
        (TALL, TALL, np.zeros(4), "y: must be finite, and not zero everywhere"),
        (TALL, TALL, np.full(4, np.inf), "y: must be finite"),
    ],
)
def test_a_model_refuses_what_is_no_observation_of_two_dictionaries(B, C, y, says):
    with refused(says, ValueError):
        Bilinear(B, C, y)


GOOD = Bilinear(TALL, TALL, Y)
FLAT = Bilinear(TALL, ONES, Y)
SHORT = Bilinear(np.ones((2, 3)) + np.eye(3)[:2], np.ones((2, 3)), np.ones(2))
ANY = np.ones(2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: priors.spectral_start(FLAT), "C: rank 1 with 2 columns in 4 rows"),
        (lambda: priors.alternating_least_squares(SHORT, np.ones(3)), "B: rank 2 with 3 columns"),
        (lambda: priors.alternating_least_squares(GOOD, np.ones(3)), "m_init: .* length 2"),
        (lambda: priors.gradient_descent(GOOD, np.zeros(2), ANY), "h_init: .* not zero"),
        (lambda: priors.gradient_descent(GOOD, ANY, ANY, kappa=0), "kappa=0: must be > 0"),
        (lambda: priors.polyak_subgradient(GOOD, ANY, ANY * np.nan), "m_init: needs a finite"),
        (lambda: priors.nuclear_norm(FLAT, np.random.default_rng(0)), "C: rank 1"),
        (lambda: priors.nuclear_norm(GOOD, np.random.default_rng(0), rtol=-1), "rtol=-1"),
        (lambda: priors.sparse_power_factorization(GOOD, 3, 1), "S1=3: .* 2 columns and 4 rows"),
        (lambda: priors.sparse_power_factorization(GOOD, 1, 0), "S2=0: must be from 1 to 2"),
        (lambda: priors.thresholded_start(SHORT, 3, 1), "S1=3: .* 3 columns and 2 rows"),
        (lambda: priors.branch_hull(FLAT, Y), "C: rank 1"),
        (lambda: priors.l1_branch_hull(GOOD, [1, 1, 0, 1]), "signs: .* 0 in row 2: must be 1 or"),
        (lambda: priors.l1_branch_hull(GOOD, [1, 1]), r"signs: shape \(2,\) .* 4 rows"),
        (lambda: priors.l1_branch_hull(GOOD, Y, time_limit=0), "time_limit=0: must be > 0"),
        (lambda: priors.known_supports(GOOD, [], [0], ANY), "support1: needs distinct columns"),
        (lambda: priors.known_supports(GOOD, [0], [0, 2], ANY), "support2: .* from 0 to 1"),
        (lambda: Stopping(rtol=0, max_steps=0, stall_rtol=0, stall_window=1), "max_steps=0"),
    ],
)
def test_a_method_refuses_what_it_cannot_use(call, says):
    with refused(says, ValueError):
        call()
