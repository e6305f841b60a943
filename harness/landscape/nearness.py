"""Local minima beside the truth: how near the four hyperbolas they are, and what keeps them off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.arrays import Array, Bools
from harness.conditions import joint_wdc_search, wdc_lower_end
from harness.landscape.arcs import direction
from harness.landscape.census import stationary_points
from harness.landscape.hunt import hunt
from harness.landscape.kinds import MINIMA, Kind
from harness.landscape.tolerances import SAME_END
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Branch, Demodulation
from harness.theory import angle

TRUE_LOSS = 1e-9
"""A minimum with a loss ratio below this is the truth's; there may be several."""


@dataclass(frozen=True, eq=False)
class Minima:
    """R local minima beside the truth.

    Attributes
    ----------
    h, m : (R, n), (R, p), balanced: ||h|| = ||m||.
    epsilon : (R,) least epsilon with the point in A_epsilon of one of the four hyperbolas.
    both_kinks : (R,) whether the point lies on kinks of both networks.
    expected, interval : how many there are, R by census; of a hunt a lower-bound estimate and its
        interval, see `Hunt`.
    """

    h: Array
    m: Array
    epsilon: Array
    both_kinks: Bools
    expected: float
    interval: tuple[float, float]

    def among(self, others: Minima) -> Bools:
        """(R,) which of them are some of the others."""
        mine, theirs = (np.concatenate([each.h, each.m], axis=1) for each in (self, others))
        gaps = np.linalg.norm(mine[:, None] - theirs, axis=-1)
        near = gaps <= 2 * SAME_END * np.linalg.norm(mine, axis=1, keepdims=True)
        return np.asarray(near.any(axis=1))

    def joined(self, others: Minima) -> Minima:
        """They and the others, each point once; of two estimates the larger, both being lower."""
        new = ~others.among(self)
        count = float(len(self.h) + new.sum())
        larger = max((self, others), key=lambda each: each.expected)
        low, high = larger.interval
        return Minima(
            np.concatenate([self.h, others.h[new]]),
            np.concatenate([self.m, others.m[new]]),
            np.concatenate([self.epsilon, others.epsilon[new]]),
            np.concatenate([self.both_kinks, others.both_kinks[new]]),
            max(larger.expected, count),
            (low, max(high, count)),
        )


def census_minima(P: Demodulation) -> Minima:
    """All of them, for n = p = 2."""
    points = stationary_points(P)
    at = points[points["kind"].isin(MINIMA) & (points["loss_ratio"] > TRUE_LOSS)]
    radius = np.sqrt(at["r"].to_numpy())[:, None]
    h, m = (radius * direction(at[name].to_numpy()) for name in ("theta", "phi"))
    both = (at["layer_h"] > 0) & (at["layer_m"] > 0)
    count = float(len(at))
    return Minima(h, m, at["epsilon"].to_numpy(), both.to_numpy(), count, (count, count))


def proved_epsilon(P: Demodulation) -> tuple[float, float]:
    """Enclosure of the largest epsilon of local minima beside the truth, proved, for n = p = 2.

    Lines of constant loss and points whose kind is open count for the upper end alone, which is inf
    if the proof has a gap.  0 stands for no minimum.
    """
    proof = stationary_points(P, certified=True)
    beside = [point for point in proof.points if not point.loss_ratio[1] <= TRUE_LOSS]
    sure = [p.epsilon[0] for p in beside if p.kind in MINIMA and not p.open]
    possible = [p.epsilon[1] for p in beside if p.open or p.kind in (*MINIMA, Kind.DEGENERATE)]
    gap = not proof.complete or proof.vanishing > 0
    return max(sure, default=0.0), np.inf if gap else max(possible, default=0.0)


def hunted_minima(P: Demodulation, rng: np.random.Generator, starts: int) -> Minima:
    """Those that a hunt finds, for any n and p."""
    found = hunt(P, rng, starts)
    at = found.is_minimum & (found.loss_ratio > TRUE_LOSS)
    both = [{kink[0] for kink in kinks} == {1, 2} for kinks in found.kinks]
    true = int((found.is_minimum & ~at).sum())
    low, high = (max(0.0, end - true) for end in found.expected_interval)
    return Minima(
        *(found.h[at], found.m[at], found.epsilon[at], np.array(both, dtype=bool)[at]),
        *(found.expected - true, (low, high)),
    )


def flipped_angles(P: Demodulation, h: Array, m: Array, branch: Branch) -> Array:
    """Angles of h to -h0 and of m to -m0, of the factors that a branch flips.

    (R, n), (R, p) -> (R,) or (2 R,).  Unlike an epsilon they do not saturate early.
    """
    angles = [
        angle(x, -truth)
        for sign, x, truth in zip(branch, (h, m), (P.h0, P.m0), strict=True)
        if sign < 0
    ]
    return np.concatenate([np.empty(0), *angles])


def deviation(P: Demodulation, branch: Branch) -> float:
    """The gradient on a hyperbola, where its expectation is 0, in units of its natural size.

    That is ||(g1 / ||m||, g2 / ||h||)|| ||h0|| ||m0|| / ||y0||^2.  It depends neither on the point
    of the hyperbola nor on scalings of networks; ||y0||^2 is the network's own
    c ||h0||^2 ||m0||^2, c the scale of the expected gradients.  NaN on a hyperbola in K.
    """
    h, m = P.hyperbola(branch)
    g1, g2 = P.gradients(h, m)
    sizes = np.linalg.norm(h), np.linalg.norm(m)
    if not all(sizes):
        return np.nan
    size = np.hypot(np.linalg.norm(g1) / sizes[1], np.linalg.norm(g2) / sizes[0])
    return float(size * np.linalg.norm(P.h0) * np.linalg.norm(P.m0) / (P.y0 @ P.y0))


def theorem_radius(P: Demodulation, h: Array, m: Array) -> Array:
    """Least radius of the neighbourhoods of Theorem 2 that hold a point: (R, n), (R, p) -> (R,).

    Radii are in the theorem's proportions d^3 s^3, d^8 s^3, d^3 s^8, d^8 s^8 and counted in units
    of the largest: a point is in A_(radius) of the (-, -) branch, or in a smaller neighbourhood of
    another one.  May exceed 1.
    """
    d5, s5 = float(P.d) ** 5, float(P.s) ** 5
    shares = [(d5 if i < 0 else 1.0) * (s5 if j < 0 else 1.0) / (d5 * s5) for i, j in BRANCHES]
    return np.min(
        [P.neighbourhood(h, m, b) / share for b, share in zip(BRANCHES, shares, strict=True)],
        axis=0,
    )


def condition_constants(P: Demodulation, rng: np.random.Generator, budget: int) -> dict[str, float]:
    """Lower ends of the constants of the conditions, the greater of both networks'.

    wdc_first, wdc : of first layers and of all; certified within 1% with two columns, else by
        search with so many evaluations.  joint : of the last layers, by search.
    """
    effort: Any = {"rng": rng, "budget": budget}
    layers = [[wdc_lower_end(W, **effort).lower for W in G.weights] for G in (P.G1, P.G2)]
    joint = joint_wdc_search(P.G1.weights[-1], P.G2.weights[-1], **effort).lower
    first = max(constants[0] for constants in layers)
    return {"wdc_first": first, "wdc": max(map(max, layers)), "joint": joint}


def aligned_bound(G1: ReluNetwork, G2: ReluNetwork, alpha: float) -> float:
    """ell max_i ||b_i||^2 ||c_i||^2 - alpha/4 <= joint-WDC constant of the last layers.

    What one row alone contributes: docs/aligned-row.md.
    """
    B, C = G1.weights[-1], G2.weights[-1]
    return float(len(B) * np.max(np.sum(B * B, axis=1) * np.sum(C * C, axis=1)) - alpha / 4)
