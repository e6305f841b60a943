"""The certificate of the census: against hand-made reasoning, the census itself, and faults."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
import pytest

from harness.landscape import Certificate, CertifiedPoint, stationary_points
from harness.landscape.arcs import direction
from harness.landscape.certified import bounds, certificate
from harness.landscape.certified.exact_arcs import cross, exact_arcs
from harness.landscape.certified.intervals import Interval, angle, arccosine, pi, sqrt
from harness.landscape.certified.sturm import between_roots, positive_roots, sign_at, times
from harness.network import ReluNetwork
from harness.problem import Demodulation
from tests.helpers import Widths, network

WIDTHS: dict[str, tuple[Widths, Widths]] = {
    "one layer": ((2, 20), (2, 20)),
    "two layers": ((2, 8, 24), (2, 8, 24)),
    "unequal depths": ((2, 20), (2, 8, 20)),
    "three layers": ((2, 6, 10, 20), (2, 8, 20)),
}
families = pytest.mark.parametrize("name", WIDTHS)
cases = pytest.mark.parametrize("seed", range(5))


@cache
def problem(name: str, seed: int, noise: float = 0.0) -> Demodulation:
    widths1, widths2 = WIDTHS[name]
    rng = np.random.default_rng([61, seed])
    return Demodulation(
        *(network(2 * seed + 800, widths1), network(2 * seed + 801, widths2)),
        *(rng.normal(size=2), rng.normal(size=2)),
        noise * rng.normal(size=widths1[-1]),
    )


def certified(P: Demodulation, seconds: float | None = None) -> Certificate:
    return stationary_points(P, certified=True, seconds=seconds)


def turn(a: float, b: float) -> float:
    return abs((a - b + np.pi) % (2 * np.pi) - np.pi)


def strict(points: tuple[CertifiedPoint, ...]) -> list[CertifiedPoint]:
    return [p for p in points if p.kind not in ("degenerate", "dead cone")]


# --- hand-made networks ----------------------------------------------------------------------

BASIS = [[1, 0], [0, 1], [-1, 0], [0, -1]]


def test_four_half_axes_are_solved_by_hand():
    # G(x) = (x_1+, x_2+, x_1-, x_2-), so f = (h_1 m_1 - 1)^2/2 + (h_2 m_2 - 4)^2/2 where all four
    # are positive: y0 = (1, 4, 0, 0) from h0 = (1, 2), m0 = (1, 2).
    # Positive quadrants: F = 0 along the curve h_1 m_1 = 1, h_2 m_2 = 4, which is one component.
    # Quadrants that share one half-axis alone: only y = 1 or only y = 4 is met: f is constant on
    # the pair (both coordinates but one are lost), with the loss ratio 16/17 or 1/17.
    # Axes: h on an axis meets one coordinate, with the same losses.
    G = ReluNetwork([BASIS])
    result = certified(Demodulation(G, G, [1, 2], [1, 2]))
    assert result.complete
    assert not strict(result.points)
    lows = [p.loss_ratio[0] for p in result.points]
    highs = [p.loss_ratio[1] for p in result.points]
    values = (0.0, float(Fraction(1, 17)), float(Fraction(16, 17)))
    hit = [[lo <= v <= hi for v in values] for lo, hi in zip(lows, highs, strict=True)]
    assert all(any(row) for row in hit)
    assert {row.index(True) for row in hit} == {0, 1, 2}
    assert result.vanishing > 0  # opposite quadrants do not meet
    assert not result.holds_outside(2.0).holds


def diagonal_saddle() -> Demodulation:
    """Rows (1, 0), (0, 1), (1, 1) of both networks: inside the positive quadrants f is smooth."""
    G = ReluNetwork([[[1, 0], [0, 1], [1, 1]]])
    return Demodulation(G, G, [1, 1], [1, 1], noise=[3, 3, -3])


def test_rational_stationary_points_are_enclosed():
    # y0 = (4, 4, 1).  On the diagonals h = m = (1, 1) sqrt(r): a b = r (1, 1, 4), so X = 12,
    # Y = 18, r = X/Y |h||m| = 4/3, and 1 - X^2/(Y ||y0||^2) = 1 - 144/(18 * 33) = 25/33.
    # By the symmetry that exchanges the coordinates of both, the slope vanishes along (1, -1) of
    # both together; d/ds of X and Y for h = (1 + s, 1 - s) alone is 0 too: X_s = 4 - 4 = 0 and
    # Y_s = 2 - 2 = 0.  With h = (1 + s, 1 - s), m = (1 + t, 1 - t): X = 12 + 8 s t and
    # Y = (1+s)^2 (1+t)^2 + (1-s)^2 (1-t)^2 + 16 = 18 + 2 s^2 + 2 t^2 + 8 s t + 2 s^2 t^2: the
    # Hessian of X^2/Y at 0 has X (2 X_st Y - X Y_st) / Y^2 off the diagonal, 12 (288 - 96)/324
    # = 64/9, and -X^2 Y_ss / Y^2 = -16/9 on it: a saddle.
    result = certified(diagonal_saddle())
    diagonal = [
        p
        for p in result.points
        if p.theta[0] <= np.pi / 4 <= p.theta[1] and p.phi[0] <= np.pi / 4 <= p.phi[1]
    ]
    [point] = diagonal
    assert point.kind == "saddle"
    assert point.open == ""
    low, high = (Fraction(end) for end in point.loss_ratio)
    assert low <= Fraction(25, 33) <= high
    low, high = (Fraction(end) for end in point.r)
    assert low <= Fraction(4, 3) <= high


def test_a_dead_cone_is_enclosed_and_is_an_exception():
    G1 = ReluNetwork([[[1, 1], [1, 0], [1, -1]]])  # dead from 135 to 225 degrees
    G2 = ReluNetwork([direction(np.radians(np.arange(0, 360, 120.0) + 10))])
    result = certified(Demodulation(G1, G2, [1.0, 0.1], [1.0, 0.2]))
    [cone] = [p for p in result.points if p.kind == "dead cone"]
    assert cone.theta == pytest.approx((3 * np.pi / 4, 5 * np.pi / 4), abs=1e-15)
    assert np.isnan(cone.phi[0])
    assert cone in result.holds_outside(1.0).exceptions


def test_equal_and_antiparallel_rows_are_one_kink():
    G = ReluNetwork([[[1, 2], [2, 4], [-1, -2], [3, -1]]])
    arcs = exact_arcs(G)
    assert len([end for end in arcs.ends if end.layer]) == 4
    one = exact_arcs(ReluNetwork([[[1.0, 2.0], [1.0, np.nextafter(2.0, 3)], [3.0, -1.0]]]))
    assert len([end for end in one.ends if end.layer]) == 6  # a rounding apart, and told apart


def test_a_unit_without_effect_has_no_kink():
    G = ReluNetwork([[[1, 0], [0, 1], [1, 1]], [[1, 2, 0], [3, -1, 0]]])
    assert all(cross(end.at, (1, -1)) != 0 for end in exact_arcs(G).ends)


def test_the_loss_constant_along_a_line_is_a_line_with_its_loss():
    G1 = ReluNetwork([[[1.0, 0.0]], [[1.0], [2.0]]])
    G2 = ReluNetwork([[[3, 1], [-1, 4]]])
    result = certified(Demodulation(G1, G2, [1.0, 0.5], [1.0, 2.0]))
    assert result.complete
    best = result.points[0]
    assert best.kind == "degenerate"
    assert best.loss_ratio[0] == 0
    assert best.loss_ratio[1] < 1e-30
    width = sum(p.theta[1] - p.theta[0] for p in result.points if p.loss_ratio[1] < 1e-30)
    assert width == pytest.approx(np.pi)


# --- against the census ----------------------------------------------------------------------


def inside(point: CertifiedPoint, theta: float, phi: float) -> bool:
    return all(
        any(low - 1e-8 <= angle + k * 2 * np.pi <= high + 1e-8 for k in (-1, 0, 1))
        for (low, high), angle in ((point.theta, theta), (point.phi, phi))
    )


@families
@cases
def test_the_census_finds_the_certified_points_and_no_others(name, seed):
    # A census row may carry a definite kind only by rounding, on a line along which F is constant.
    P = problem(name, seed)
    table = stationary_points(P)
    table = table[~table["kind"].isin(["degenerate", "dead cone"])]
    result = certified(P)
    points = strict(result.points)
    lines = [p for p in result.points if p.kind == "degenerate"]
    for row in table.itertuples():
        same = [
            p
            for p in points
            if turn(p.theta[0], row.theta) < 1e-7 and turn(p.phi[0], row.phi) < 1e-7
        ]
        if not same:
            assert any(inside(p, row.theta, row.phi) for p in lines)
            continue
        [point] = same
        points.remove(point)
        assert point.open == ""
        assert (point.kind, point.layer_h, point.layer_m) == (row.kind, row.layer_h, row.layer_m)
        assert point.r[0] == pytest.approx(row.r, rel=1e-7)
        assert point.loss_ratio[0] == pytest.approx(row.loss_ratio, abs=1e-9)
        assert point.epsilon[0] == pytest.approx(row.epsilon, abs=1e-7)
        for column in ("theta", "phi", "r", "loss_ratio", "epsilon"):
            low, high = getattr(point, column)
            assert low <= high <= low + 1e-14 * max(1.0, abs(low))
    assert not points


def profile(P: Demodulation, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    product = P.G1(direction(theta)) * P.G2(direction(phi))
    overlap = np.maximum(product @ P.y0, 0)
    return 1 - overlap**2 / np.sum(product**2, axis=-1) / (P.y0 @ P.y0)


def test_with_negative_observations_each_certified_minimum_is_one_of_the_profile():
    P = problem("two layers", 2, noise=0.05)
    assert (P.y0 < 0).any()
    ring = np.linspace(0, 2 * np.pi, 360)
    checked = 0
    for p in strict(certified(P).points):
        theta, phi = np.array(p.theta[0]), np.array(p.phi[0])
        here = profile(P, theta, phi)
        rises = [
            profile(P, theta + e * np.cos(ring), phi + e * np.sin(ring)) - here
            for e in (1e-3, 1e-4, 1e-5)
        ]
        least = any(rise.min() > 0 for rise in rises)
        assert least == (p.kind in ("minimum", "kink minimum"))
        checked += least
    assert checked


def test_with_noise_kinks_of_m_are_judged_with_the_noisy_observation():
    P = problem("unequal depths", 0, noise=0.05)
    table = stationary_points(P)
    table = table[~table["kind"].isin(["degenerate", "dead cone"])]
    points = strict(certified(P).points)
    assert sorted(p.kind for p in points) == sorted(table["kind"])
    losses = sorted(p.loss_ratio[0] for p in points)
    np.testing.assert_allclose(losses, sorted(table["loss_ratio"]), atol=1e-9)


def test_few_pairs_need_exact_arithmetic():
    result = certified(problem("two layers", 0))
    assert result.exact_share < 0.02
    assert result.complete


# --- what is proved --------------------------------------------------------------------------


def regular() -> Certificate:
    for seed in range(6):
        result = certified(problem("two layers", seed))
        if all(p.kind not in ("degenerate", "dead cone") for p in result.points):
            return result
    raise AssertionError("no network without degenerate points")


def test_the_statement_holds_beyond_the_largest_epsilon_and_lists_the_rest_below():
    result = regular()
    largest = max(p.epsilon[1] for p in result.points)
    statement = result.holds_outside(largest)
    assert (statement.holds, statement.exceptions, statement.gaps) == (True, (), ())
    below = result.holds_outside(math.nextafter(largest, 0))
    assert not below.holds
    assert all(p.epsilon[1] == largest for p in below.exceptions)
    assert len(result.rows()) == len(result.points)


def test_what_was_not_examined_in_time_is_counted_and_nothing_is_claimed():
    result = certified(problem("two layers", 0), seconds=1e-9)
    assert not result.complete
    assert result.unexamined == result.pairs
    statement = result.holds_outside(1.0)
    assert not statement.holds
    assert "not examined" in statement.gaps[0]


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan])
def test_a_time_limit_is_positive(seconds):
    with pytest.raises(ValueError, match="seconds="):
        certified(problem("two layers", 0), seconds=seconds)


def test_only_a_certified_census_takes_a_time_limit():
    with pytest.raises(ValueError, match="only a certified census"):
        stationary_points(problem("two layers", 0), seconds=3.0)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_epsilon_is_a_number(epsilon):
    with pytest.raises(ValueError, match="epsilon="):
        regular().holds_outside(epsilon)


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (lambda: Demodulation(network(0, (3, 9)), network(1, (2, 9)), [1, 1, 1], [1, 1]), "n=3"),
        (lambda: Demodulation(network(0, (2, 9)), network(1, (2, 9)), [0, 0], [1, 1]), "dead"),
    ],
)
def test_bad_input_is_refused_as_by_the_census(P, message):
    with pytest.raises(ValueError, match=message):
        certified(P())


# --- the bound -------------------------------------------------------------------------------


def coefficients(P: Demodulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes at corners: exact (as Fractions), computed, and the computed bound of the error."""
    pairs = certificate.ExactPairs(
        exact_arcs(P.G1), exact_arcs(P.G2), certificate.integers(P.y0)[0]
    )
    (a, _), (b, _) = pairs.arcs_h.rounded(), pairs.arcs_m.rounded()
    exact, computed, allowed = [], [], []
    for i in range(len(a) - 1):
        for j in range(len(b) - 1):
            one, two = (Fraction(pairs.X(k, j)) for k in (i + 1, i))
            same, next_ = (Fraction(pairs.Y(i, k, j, j)) for k in (i, i + 1))
            x = (a[i : i + 2] * P.y0) @ b[j], (a[i : i + 2] * np.abs(P.y0)) @ b[j]
            y = (a[i] * a[i : i + 2]) @ (b[j] ** 2)
            value, size = x[0][1] * y[0] - x[0][0] * y[1], x[1][1] * y[0] + x[1][0] * y[1]
            # The scale between integers and doubles, from a term without cancellation.
            scale = Fraction(pairs.X(i, j)) * next_
            if scale:
                unit = scale / Fraction(x[0][0]) / Fraction(y[1])
                exact.append((one * same - two * next_) / unit)
                computed.append(Fraction(value))
                allowed.append(bounds.error(P.ell) * size)
    return np.array(exact), np.array(computed), np.array(allowed)


def test_the_error_of_a_slope_stays_below_its_bound():
    exact, computed, allowed = coefficients(problem("two layers", 1))
    assert exact.size > 100
    assert all(abs(e - c) <= w for e, c, w in zip(exact, computed, allowed, strict=True))


def near_miss() -> Demodulation:
    """Two rows of each network a rounding apart: slopes across them differ in the last digits."""
    W = np.array([[1.0, 0.3], [0.2, 1.0], [-1.0, 0.7], [0.4, -1.0], [1.0, 1.0]])
    V = W.copy()
    V[4] = np.nextafter(V[0], 2.0)
    return Demodulation(ReluNetwork([V]), ReluNetwork([V]), [1.0, 0.45], [0.5, 1.0])


@pytest.mark.parametrize("P", [problem("one layer", 1), near_miss()], ids=["random", "near miss"])
def test_exact_arithmetic_on_all_pairs_finds_no_point_more(P, monkeypatch):
    screened = certified(P)
    monkeypatch.setattr(bounds, "error", lambda ell: np.inf)
    everything = certified(P)
    assert everything.exact > screened.exact
    assert everything.points == screened.points


def test_a_screen_without_its_bound_loses_points(monkeypatch):
    # Where F is constant along a line its slopes are zero, and computed they are rounding alone.
    P = problem("one layer", 1)
    sound = certified(P).points
    monkeypatch.setattr(bounds, "error", lambda ell: 0.0)
    assert len(certified(P).points) < len(sound)


# --- intervals and roots ---------------------------------------------------------------------


def contains(interval: Interval, value: mpmath.mpf) -> bool:
    low, high = (mpmath.mpf(end.numerator) / end.denominator for end in (interval.lo, interval.hi))
    return bool(low <= value <= high) and bool(high - low < mpmath.mpf(2) ** -150)


def test_angles_roots_and_pi_are_enclosed():
    rng = np.random.default_rng(3)
    with mpmath.workprec(400):
        assert contains(pi(), mpmath.pi)
        for x, y in [*rng.normal(size=(60, 2)), (1.0, 0.0), (-1.0, 0.0), (0.0, -2.0), (1.0, 1.0)]:
            assert contains(angle(Fraction(x), Fraction(y)), mpmath.atan2(y, x))
            root = sqrt(Interval.point(abs(x)))
            assert contains(root, mpmath.sqrt(abs(x)))
            c = x / (abs(x) + abs(y))
            assert contains(arccosine(Interval.point(c)), mpmath.acos(c))


def test_doubles_are_rounded_outward():
    third = Interval(Fraction(1, 3), Fraction(2, 3))
    low, high = third.floats()
    assert Fraction(low) < third.lo < Fraction(math.nextafter(low, 1))
    assert Fraction(math.nextafter(high, 0)) < third.hi < Fraction(high)


@pytest.mark.parametrize("roots", [[1, 1, 3], [2], [-1, 0, 5], [4, 4, 4, 4], [1, 2, 3, 4, 5, 6]])
def test_sturm_isolates_every_positive_root_once(roots):
    p = [1]
    for root in roots:
        p = times(p, [-root, 1])
    p = times(p, [2, 0, 1])  # two complex ones
    found = sorted(positive_roots(p), key=lambda root: root.lo)
    expected = sorted({root for root in roots if root > 0})
    assert len(found) == len(expected)
    for root, value in zip(found, expected, strict=True):
        assert root.lo <= value <= root.hi
        assert root.sign_of([-value, 1]) == 0
        assert root.sign_of([1 - 3 * value, 3]) == 1
        assert root.sign_of([-1 - 3 * value, 3]) == -1
    gaps = between_roots(p)
    assert len(gaps) == len(expected) + 1
    assert all(sign_at(p, x) for x in gaps)
