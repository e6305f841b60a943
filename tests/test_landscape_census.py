"""The census against slow searches, exact slopes, the index theorem and its own symmetries."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from harness.landscape import biquadratic, census, stationary_points, torus_index
from harness.landscape.arcs import direction, linear_arcs
from harness.landscape.screen import Candidates
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation
from tests.helpers import Array, Widths, naive_preactivations, network

WIDTHS: dict[str, tuple[Widths, Widths]] = {
    "one layer": ((2, 60), (2, 60)),
    "two layers": ((2, 12, 40), (2, 12, 40)),
    "wide": ((2, 20, 100), (2, 25, 100)),
    "unequal depths": ((2, 50), (2, 15, 50)),
    "three layers": ((2, 14, 30, 60), (2, 25, 60)),
    "contracting": ((2, 20, 12, 40), (2, 14, 40)),
}


@cache
def problem(name: str, seed: int) -> Demodulation:
    widths1, widths2 = WIDTHS[name]
    rng = np.random.default_rng([41, seed])
    G1, G2 = network(2 * seed + 500, widths1), network(2 * seed + 501, widths2)
    return Demodulation(G1, G2, rng.normal(size=2), rng.normal(size=2))


@cache
def points(name: str, seed: int) -> pd.DataFrame:
    return stationary_points(problem(name, seed))


def profile(P: Demodulation, theta: Array, phi: Array) -> Array:
    """F / (||y0||^2 / 2) at pairs of angles, from its definition."""
    a, b = P.G1(direction(theta)), P.G2(direction(phi))
    overlap, size = (a * b) @ P.y0, np.sum((a * b) ** 2, axis=-1)
    return 1 - np.divide(overlap**2, size, out=np.zeros_like(size), where=size > 0) / (P.y0 @ P.y0)


def at(P: Demodulation, row: pd.Series) -> tuple[Array, Array]:
    """The balanced point (h, m) of a row."""
    return np.sqrt(row.r) * direction(row.theta), np.sqrt(row.r) * direction(row.phi)


def plateau(P: Demodulation) -> bool:
    """Whether X = 0 for some pair of arcs, dead cones included."""
    a = P.G1(direction(linear_arcs(P.G1).middle))
    b = P.G2(direction(linear_arcs(P.G2).middle))
    return bool(((a * P.y0) @ b.T <= 0).any())


cases = pytest.mark.parametrize("seed", range(4))
families = pytest.mark.parametrize("name", WIDTHS)


# --- each row says what is so ----------------------------------------------------------------


@families
@cases
def test_the_truth_is_the_first_row_and_the_loss_column_is_the_loss(name, seed):
    P, table = problem(name, seed), points(name, seed)
    first = table.iloc[0]
    assert first.kind == "minimum"
    assert first.branch == (1, 1)
    assert first.epsilon < 1e-12
    assert first.loss_ratio < 1e-24
    assert first.theta == pytest.approx(np.arctan2(P.h0[1], P.h0[0]), abs=1e-12)
    assert first.r == pytest.approx(np.linalg.norm(P.h0) * np.linalg.norm(P.m0), rel=1e-12)
    for row in table.itertuples():
        assert -np.pi < row.theta <= np.pi
        assert -np.pi < row.phi <= np.pi
        h, m = at(P, row)
        assert row.loss_ratio == pytest.approx(2 * P.loss(h, m) / (P.y0 @ P.y0))
        distances = {branch: P.neighbourhood(h, m, branch) for branch in BRANCHES}
        assert row.epsilon == pytest.approx(min(distances.values()))
        assert row.epsilon == pytest.approx(distances[row.branch])


@families
@cases
def test_gradients_vanish_at_smooth_points(name, seed):
    P, table = problem(name, seed), points(name, seed)
    for row in table[table["kind"].isin(["minimum", "saddle"])].itertuples():
        assert (row.layer_h, row.layer_m) == (0, 0)
        h, m = at(P, row)
        g1, g2 = P.gradients(h, m)
        terms = np.linalg.norm(P.G1.Lambda(h), 2) * np.linalg.norm(P.y0 * P.G2(m))
        assert np.linalg.norm(g1) <= 1e-8 * terms
        terms = np.linalg.norm(P.G2.Lambda(m), 2) * np.linalg.norm(P.y0 * P.G1(h))
        assert np.linalg.norm(g2) <= 1e-8 * terms


@families
@cases
def test_a_kink_is_where_and_in_the_layer_that_the_row_says(name, seed):
    P, table = problem(name, seed), points(name, seed)
    for row in table.itertuples():
        for G, angle, layer in ((P.G1, row.theta, row.layer_h), (P.G2, row.phi, row.layer_m)):
            if layer > 0:
                z = np.array(naive_preactivations(G.weights, direction(angle))[layer - 1])
                assert np.abs(z).min() <= 1e-13 * np.abs(z).max()


@families
@cases
def test_minima_are_never_at_kinks_of_the_last_layer(name, seed):
    P, table = problem(name, seed), points(name, seed)
    minima = table[table["kind"] == "kink minimum"]
    assert not (minima["layer_h"] == P.d).any()
    assert not (minima["layer_m"] == P.s).any()


@families
@cases
def test_one_sided_slopes_at_kink_minima_are_up_in_every_direction(name, seed):
    P, table = problem(name, seed), points(name, seed)
    turns = direction(np.linspace(-np.pi, np.pi, 720, endpoint=False) + 0.01)
    for row in table[table["kind"] == "kink minimum"].itertuples():
        h, m = at(P, row)
        dh = turns[:, :1] * direction(row.theta + np.pi / 2)
        dm = turns[:, 1:] * direction(row.phi + np.pi / 2)
        slopes = P.directional_derivative(h, m, dh, dm)
        assert slopes.min() >= -1e-10 * np.abs(slopes).max()


EXPECTED = {
    "minimum": (0, 1, 1),
    "kink minimum": (0, 1, 1),
    "saddle": (4, -1, 1),
    "kink saddle": (4, -1, 1),
    "kink maximum": (0, -1, -1),
}
"""Changes of sign of F - F(point) around it, and the least and largest sign."""


@families
@cases
def test_the_kind_is_what_the_profile_does_on_a_small_square_around_the_point(name, seed):
    P, table = problem(name, seed), points(name, seed)
    room_h, room_m = linear_arcs(P.G1).angles, linear_arcs(P.G2).angles
    checked = 0
    for row in table[table["kind"] != "degenerate"].itertuples():
        if np.isnan([row.theta, row.phi]).any():
            continue
        room = []
        for angle, boundaries in ((row.theta, room_h), (row.phi, room_m)):
            away = np.abs(np.pi - np.abs(np.pi - np.abs(boundaries - angle)))
            room.append(away[away > 1e-9].min())
        if min(room) < 1e-3:
            continue  # the differences of F would drown in rounding
        # The axes themselves are sampled: along a ridge or a valley F may differ there alone.
        p = np.r_[np.linspace(-1, 1, 401), np.ones(401), np.linspace(1, -1, 401), -np.ones(401)]
        q = np.roll(p, 401)
        here = profile(P, np.array([row.theta]), np.array([row.phi]))
        seen = []
        for size in (0.1, 1e-2, 1e-3):
            around = profile(P, row.theta + size * room[0] * p, row.phi + size * room[1] * q)
            signs = np.sign(around - here)
            seen.append((int(np.sum(signs != np.roll(signs, 1))), signs.min(), signs.max()))
        assert EXPECTED[row.kind] in seen, row
        checked += 1
    assert checked >= 1


# --- none is missing -------------------------------------------------------------------------


@families
def test_minima_less_saddles_plus_maxima_are_zero_where_nothing_interferes(name):
    clean = 0
    for seed in range(12):
        table = points(name, seed)
        if plateau(problem(name, seed)) or (table["kind"] == "degenerate").any():
            continue
        clean += 1
        assert torus_index(table) == 0
    assert clean >= 3 or name in ("one layer", "unequal depths")


def test_with_one_layer_the_points_count_the_disc_on_which_f_is_below_k():
    for seed in range(8):
        assert plateau(problem("one layer", seed))
        assert torus_index(points("one layer", seed)) == 1


@pytest.mark.slow
@families
@pytest.mark.parametrize("seed", range(2))
def test_the_screen_drops_no_pair_that_the_solvers_keep(name, seed, monkeypatch):
    P = problem(name, seed)

    def every_pair(A, B, y0, kink_h, kink_m):
        def pairs(rows, columns):
            return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)

        all_h, all_m = np.arange(len(A)), np.arange(len(B))
        on_h, on_m = np.flatnonzero(kink_h), np.flatnonzero(kink_m)
        return Candidates(
            pairs(all_h, all_m), pairs(on_h, all_m), pairs(all_h, on_m), pairs(on_h, on_m)
        )

    screened = points(name, seed)
    monkeypatch.setattr(census, "candidates", every_pair)
    pd.testing.assert_frame_equal(stationary_points(P), screened, rtol=1e-9)


SMALL: dict[str, tuple[Widths, Widths]] = {
    "one layer": ((2, 9), (2, 9)),
    "two layers": ((2, 8, 24), (2, 8, 24)),
    "three layers": ((2, 6, 12, 24), (2, 10, 24)),
    "mixed": ((2, 24), (2, 8, 24)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_no_minimum_that_descent_finds_from_hundreds_of_starts_is_missing(name):
    for seed in range(8):
        rng = np.random.default_rng([43, seed])
        widths1, widths2 = SMALL[name]
        G1, G2 = network(2 * seed + 700, widths1), network(2 * seed + 701, widths2)
        P = Demodulation(G1, G2, rng.normal(size=2), rng.normal(size=2))
        if not P.y0.any():
            continue
        table = stationary_points(P)
        found = table[table["kind"].isin(["minimum", "kink minimum", "degenerate"])]
        theta, phi, value = descend(P, rng, 400)
        below = value < 1 - 1e-9  # the rest ended on the plateau or in a dead cone
        for t, f, v in zip(theta[below], phi[below], value[below], strict=True):
            near = np.hypot(turn(found["theta"] - t), turn(found["phi"] - f)) < 2e-3
            # Where F is constant along a line, descent ends anywhere on it: compare the loss.
            flat = (found["kind"] == "degenerate") & (np.abs(found["loss_ratio"] - v) < 1e-7)
            assert (near | flat).any() or falls(P, t, f, v), f"seed {seed}: ({t}, {f}), loss {v}"


def turn(angle: pd.Series) -> pd.Series:
    return np.pi - np.abs(np.pi - np.abs(angle) % (2 * np.pi))


def falls(P: Demodulation, theta: float, phi: float, value: float) -> bool:
    """Whether a close point has a lower loss: the search got stuck on no minimum."""
    ring = direction(np.linspace(0, 2 * np.pi, 721))
    around = [profile(P, theta + r * ring[:, 0], phi + r * ring[:, 1]) for r in (1e-4, 1e-5, 1e-6)]
    return bool(np.min(around) < value - 1e-14)


def descend(P: Demodulation, rng: np.random.Generator, starts: int) -> tuple[Array, Array, Array]:
    """Compass search on the torus, in turned frames; kinks run along the axes, so these too."""
    place = rng.uniform(-np.pi, np.pi, size=(2, starts))
    value = profile(P, *place)
    step = np.full(starts, 0.1)
    for _ in range(600):
        turned = rng.uniform(0, np.pi / 2, size=starts) * (rng.random(starts) < 0.7)
        trials = [place + step * direction(turned + k * np.pi / 2).T for k in range(4)]
        values = np.array([profile(P, *trial) for trial in trials])
        best = values.argmin(axis=0)
        better = values.min(axis=0) < value
        place = np.where(better, np.choose(best, trials), place)
        value = np.where(better, values.min(axis=0), value)
        step = np.where(better, np.minimum(1.7 * step, 0.1), 0.75 * step)
        step = np.maximum(step, 1e-9)
    return place[0], place[1], value


# --- symmetries ------------------------------------------------------------------------------


@families
def test_exchanging_the_factors_exchanges_the_columns(name):
    P, table = problem(name, 0), points(name, 0)
    other = stationary_points(Demodulation(P.G2, P.G1, P.m0, P.h0))
    other = other.rename(
        columns={"theta": "phi", "phi": "theta", "layer_h": "layer_m", "layer_m": "layer_h"}
    )
    other["branch"] = [branch[::-1] for branch in other["branch"]]
    other = other.sort_values(["loss_ratio", "theta", "phi"], ignore_index=True)[table.columns]
    order = ["kind", "theta", "phi"]
    pd.testing.assert_frame_equal(
        other.round(9).sort_values(order, ignore_index=True).drop(columns=["loss_ratio"]),
        table.round(9).sort_values(order, ignore_index=True).drop(columns=["loss_ratio"]),
        atol=1e-8,
    )


@families
def test_turning_the_coordinates_turns_the_angles_and_scaling_scales_the_radius(name):
    P, table = problem(name, 1), points(name, 1)
    c, s = np.cos(0.7), np.sin(0.7)
    R = np.array([[c, -s], [s, c]])
    G1 = ReluNetwork([P.G1.weights[0] @ R.T, *P.G1.weights[1:]])
    other = stationary_points(Demodulation(G1, P.G2, 3 * R @ P.h0, P.m0))
    assert list(other["kind"]) == list(table["kind"])
    np.testing.assert_allclose(turn(other["theta"] - table["theta"]), 0.7, atol=1e-8)
    np.testing.assert_allclose(other["r"], 3 * table["r"], rtol=1e-7)
    np.testing.assert_allclose(other["epsilon"], table["epsilon"], atol=1e-7)


# --- degenerate networks and bad input -------------------------------------------------------


def test_a_dead_cone_is_a_row_of_its_own_in_the_middle_of_the_cone():
    # Rows at angles -30, 0 and 30 degrees: dead from 120 to 240 degrees.
    W = direction(np.radians([-30.0, 0.0, 30.0]))
    G2 = ReluNetwork([direction(np.radians(np.arange(0, 360, 120.0) + 10))])
    table = stationary_points(Demodulation(ReluNetwork([W]), G2, [1.0, 0.1], [1.0, 0.2]))
    dead = table[table["kind"] == "dead cone"]
    assert len(dead) == 1
    assert abs(dead["theta"].iloc[0]) == pytest.approx(np.pi)
    assert np.isnan(dead["phi"].iloc[0])
    assert dead["loss_ratio"].iloc[0] == 1


def test_where_the_loss_is_constant_along_a_line_the_point_is_degenerate():
    # One unit decides both entries: G(h) = (h_1)_+ (1, 2), whatever h_2 is.
    G1 = ReluNetwork([[[1.0, 0.0]], [[1.0], [2.0]]])
    G2 = ReluNetwork([direction(np.radians([20.0, 100.0]))])
    table = stationary_points(Demodulation(G1, G2, [1.0, 0.3], direction(np.radians(60.0))))
    degenerate = table[table["kind"] == "degenerate"]
    assert len(degenerate) > 0
    assert degenerate["loss_ratio"].min() < 1e-20
    assert not table["loss_ratio"].isna().any()


def test_degenerate_networks_give_finite_rows():
    for seed in range(30):
        rng = np.random.default_rng([47, seed])
        G1, G2 = network(seed + 900, (2, 3, 5)), network(seed + 950, (2, 4, 5))
        P = Demodulation(G1, G2, rng.normal(size=2), rng.normal(size=2))
        if P.y0.any():
            table = stationary_points(P)
            assert np.isfinite(table[["r", "loss_ratio"]]).all(axis=None)
            assert set(table["kind"]) <= set(census.KINDS)


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (lambda: Demodulation(network(0, (3, 9)), network(1, (2, 9)), [1, 1, 1], [1, 1]), "n=3"),
        (lambda: Demodulation(network(0, (2, 9)), network(1, (1, 9)), [1, 1], [1]), "p=1"),
        (lambda: Demodulation(network(0, (2, 9)), network(1, (2, 9)), [0, 0], [1, 1]), "dead"),
        (
            lambda: Demodulation(
                ReluNetwork([[[1.0, 0], [0, 0]]]), ReluNetwork([[[0, 0], [1.0, 0]]]), [1, 1], [1, 1]
            ),
            "do not meet",
        ),
    ],
)
def test_bad_input_gets_one_line(P, message):
    with pytest.raises(ValueError, match=message) as error:
        stationary_points(P())
    assert "\n" not in str(error.value)


def test_arcs_that_would_not_fit_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(census, "MEMORY", 1000)
    with pytest.raises(ValueError, match=r"arcs with ell=40 need .* GiB"):
        stationary_points(problem("two layers", 0))


# --- lemmas ----------------------------------------------------------------------------------


def random_pairs(count: int, seed: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """a, da, b, db, y0 of random pairs of arcs and the coefficients X, Y they give."""
    rng = np.random.default_rng([59, seed])
    a, b = rng.uniform(0, 1, size=(2, count, 7))
    da, db = rng.uniform(-1, 1, size=(2, count, 7)) * np.stack([a, b])  # a + z da >= 0, |z| <= 1
    y0 = rng.uniform(0, 1, size=7)
    X = np.einsum("kil,kjl->kij", np.stack([y0 * a, y0 * da], 1), np.stack([b, db], 1))
    squares = [np.stack([u * u, 2 * u * du, du * du], 1) for u, du in ((a, da), (b, db))]
    return a, da, b, db, X, np.einsum("kil,kjl->kij", *squares)


def quotient(X: Array, Y: Array, z: Array, w: Array) -> Array:
    """X^2 / Y at (z, w), from the coefficients of one pair."""
    powers_z, powers_w = (np.stack([t**0, t, t * t]) for t in (z, w))
    top = np.einsum("i...,ij,j...->...", powers_z[:2], X, powers_w[:2])
    return top**2 / np.einsum("i...,ij,j...->...", powers_z, Y, powers_w)


def test_solve_finds_every_stationary_point_that_a_dense_scan_brackets():
    *_, X, Y = random_pairs(120, 0)
    index, z, w, flat = biquadratic.solve(X, Y)
    assert not flat.any()
    assert len(index) >= 20
    # F has no maximum, so max over z of X^2 / Y is reached inside or at an end; its maximisers z(w)
    # are roots of a linear form, and the stationary points are where the maximum turns in w.
    grid_w = np.linspace(-1, 1, 4001)
    for k in range(len(X)):
        (S0, S1), _ = biquadratic.slope(X[k : k + 1], Y[k : k + 1])
        powers = grid_w[:, None] ** np.arange(4)
        lead = powers @ S1[0]
        best = np.where(lead < 0, -(powers @ S0[0]) / np.where(lead < 0, lead, 1), np.nan)
        value = quotient(X[k], Y[k], best, grid_w)
        turns = np.diff(value)[:-1] * np.diff(value)[1:] < 0
        turns &= np.abs(best[1:-1]) < 0.999
        for at in np.flatnonzero(turns) + 1:
            found = index == k
            near = (np.abs(w[found] - grid_w[at]) < 2e-3) & (np.abs(z[found] - best[at]) < 2e-2)
            assert near.any(), (k, best[at], grid_w[at])


def test_solve_returns_points_where_both_derivatives_vanish():
    *_, X, Y = random_pairs(200, 1)
    index, z, w, _ = biquadratic.solve(X, Y)
    for k, z_k, w_k in zip(index, z, w, strict=True):
        step = np.array([-1e-4, 1e-4])
        size = quotient(X[k], Y[k], z_k, w_k)
        along_z = np.diff(quotient(X[k], Y[k], z_k + step, np.full(2, w_k)))[0] / 2e-4
        along_w = np.diff(quotient(X[k], Y[k], np.full(2, z_k), w_k + step))[0] / 2e-4
        assert abs(along_z) <= 1e-6 * size
        assert abs(along_w) <= 1e-6 * size


def test_the_polynomial_roots_of_solve_are_those_of_numpy():
    *_, X, Y = random_pairs(60, 2)
    index, _, w, _ = biquadratic.solve(X, Y)
    for k in range(len(X)):
        x = [np.polynomial.Polynomial(row) for row in X[k]]
        y = [np.polynomial.Polynomial(row) for row in Y[k]]
        N = x[0] ** 2 * y[2] - x[0] * x[1] * y[1] + x[1] ** 2 * y[0]
        D = y[0] * y[2] - y[1] ** 2 / 4
        roots = (N.deriv() * D - N * D.deriv()).cutdeg(6).roots()
        real = roots.real[np.abs(roots.imag) < 1e-7]
        for found in w[index == k]:
            assert np.abs(real - found).min() < 1e-6


def test_slope_is_the_derivative_of_the_quotient():
    *_, X, Y = random_pairs(20, 3)
    (S0, S1), flat = biquadratic.slope(X, Y)
    assert not flat.any()
    rng = np.random.default_rng(4)
    for k in range(len(X)):
        z, w = rng.uniform(-0.9, 0.9, size=2)
        S = (S0[k] + z * S1[k]) @ w ** np.arange(4)
        top = np.array([1, z]) @ X[k] @ np.array([1, w])
        bottom = np.array([1, z, z * z]) @ Y[k] @ np.array([1, w, w * w])
        ends = quotient(X[k], Y[k], z + np.array([-1e-5, 1e-5]), np.full(2, w))
        assert np.diff(ends)[0] / 2e-5 == pytest.approx(2 * top * S / bottom**2, rel=1e-6)
