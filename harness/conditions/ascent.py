"""Ascent of the conditions' residual from one point: smoothed annealing, then great circles.

A `Point` holds the vectors, a `Track` the inequality and the end of the spectrum that is climbed, a
`Ledger` what has been spent and found.  `anneal` climbs with the indicators smoothed; `ascend`
moves along great circles, on all arcs of which the maximum with a fixed v is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from harness.conditions.circle import Circle
from harness.conditions.fast_residual import Residual, joint_weights
from harness.conditions.mean import (
    chord_angle,
    clipped_angle,
    overlap,
    overlap_slope,
    quadratic_form,
    quadratic_slope,
)

Array = NDArray[np.float64]

# None of these numbers is derived.  With them the search reaches the certified constants of 100
# Gaussian matrices with two columns (a test).  A worse choice makes the search find less within its
# budget, but cannot make a bracket wrong: the lower end is always the residual at its witness.
SCAN_COST = 5
"""Evaluations that a great circle counts for: about its cost in time."""
ANNEAL_STEPS = 120
ANNEAL_COST = 2
"""Steps of the smoothed ascent, and the evaluations that one counts for: its cost in time."""
WIDEST, NARROWEST = 1.0, 0.05
"""First and last width of the smoothed indicators, in units of 1/sqrt(n), the size of w.x/||w||: at
first most rows are undecided, at last few."""
PATIENCE = 10
"""A chain ends after this many moves in succession that gain less than the share GAIN: moves are
drawn at random, so that a few failures do not show a maximum."""
GAIN = 1e-4
FINALISTS = 4
"""Last records of which the residual by definition chooses one: on a kink rounding can make the
fast value of the very last a wrong one."""


@dataclass(frozen=True, eq=False)
class Point:
    """Vectors of one or both conditions, with the value of the residual there.

    gates : (2, n), unit x, y (h, x of the joint condition): they decide which rows are active.
    weighing : (2, p), unit m, y of the joint condition, which weigh the rows; None for the WDC.
    value, v : the top eigenvalue of sign R and its unit eigenvector (n,).
    """

    gates: Array
    weighing: Array | None = None
    value: float = -np.inf
    v: Array = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class Track:
    """One inequality and one end of the spectrum: its rows gate, C's (if any) weigh."""

    kernel: Residual
    lengths: Array
    C: Array | None
    alpha: float
    sign: int
    exchanged: bool = False

    def weigh(self, weighing: Array | None) -> tuple[Array | None, float]:
        """Weights of the rows, (ell,) or None for ones, and the factor of Q."""
        if self.C is None or weighing is None:
            return None, self.alpha
        return joint_weights(self.C, weighing[0], weighing[1], self.alpha)

    def solve(self, point: Point) -> Point:
        """The point with its value, the top eigenvalue of sign R, and its eigenvector."""
        weights, scale = self.weigh(point.weighing)
        x, y = point.gates
        value, v = self.kernel.top(x, y, self.sign, scale, weights)
        return replace(point, value=value, v=v)


@dataclass(eq=False)
class Ledger:
    """What has been spent and found: `found` holds the last FINALISTS records."""

    budget: int
    evaluations: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    found: list[tuple[float, Track, Point]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.evaluations < self.budget

    def record(self, track: Track, point: Point) -> None:
        if not self.curve or point.value > self.curve[-1][1]:
            self.curve.append((self.evaluations, point.value))
            self.found = [*self.found[1 - FINALISTS :], (point.value, track, point)]


def anneal(track: Track, point: Point, width: float, ledger: Ledger) -> Point:
    """Normalised gradient steps on the smoothed sum, of shrinking width and length."""
    W, n = track.kernel.W, track.kernel.W.shape[1]
    for step in range(ANNEAL_STEPS):
        if not ledger.open:
            break
        ledger.evaluations += ANNEAL_COST
        weights, scale = track.weigh(point.weighing)
        sigma = width * (NARROWEST / WIDEST) ** (step / (ANNEAL_STEPS - 1)) / math.sqrt(n)
        x, y = point.gates
        z = (point.gates @ W.T) / (sigma * track.lengths)
        active = ndtr(z)
        if step % 3 == 0:
            smooth = active[0] * active[1]
            smooth = smooth if weights is None else smooth * weights
            _, v = track.kernel.top_weighted(x, y, track.sign, scale, smooth)
            point = replace(point, v=v)
        gain = track.sign * (W @ point.v) ** 2
        weighted = gain if weights is None else gain * weights
        density = np.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * sigma * track.lengths)
        slopes = (weighted * active[::-1] * density) @ W
        slopes[0] -= track.sign * scale * quadratic_slope(x, y, point.v)
        slopes[1] -= track.sign * scale * quadratic_slope(y, x, point.v)
        gates = _step(point.gates, slopes, sigma)
        weighing = point.weighing
        if weighing is not None:
            slopes = _weight_slopes(track, point, gain * active[0] * active[1])
            weighing = _step(weighing, slopes, sigma)
        point = replace(point, gates=gates, weighing=weighing)
    ledger.evaluations += 1
    point = track.solve(point)
    ledger.record(track, point)
    return point


def ascend(track: Track, point: Point, ledger: Ledger, rng: np.random.Generator) -> Point:
    """Moves that never lower the value, until PATIENCE of them in a row gain almost nothing."""
    failures = 0
    while failures < PATIENCE and ledger.open:
        ledger.evaluations += SCAN_COST
        if point.weighing is not None and rng.random() < 0.4:
            moved = _weight_move(track, point, rng)
        else:
            moved = _gate_move(track, point, rng)
        failures += 1
        if moved is None:
            continue
        moved = track.solve(moved)
        ledger.evaluations += 1
        if moved.value > point.value:
            if moved.value > point.value + GAIN * abs(point.value):
                failures = 0
            point = moved
            ledger.record(track, point)
    return point


def _gate_move(track: Track, point: Point, rng: np.random.Generator) -> Point | None:
    """The best point of a great circle of x, of y, or of both; None if no better."""
    W = track.kernel.W
    weights, scale = track.weigh(point.weighing)
    v = point.v
    if rng.random() < 0.3:  # another v, for the maximum where another eigenvector leads
        v = unit(v + 10 ** rng.uniform(-1, 1) * unit(rng.standard_normal(len(v))))
    gain = track.sign * (W @ v) ** 2
    if weights is not None:
        gain = gain * weights
    kind, which = int(rng.integers(6)), int(rng.integers(3))
    sigma = 10 ** rng.uniform(-2, 0) / math.sqrt(W.shape[1])
    x, y = point.gates
    dx = dy = None
    if which != 1:
        dx = _direction(kind, track, x, y, v, gain, scale, sigma, rng)
    if which != 0:
        dy = _direction(kind, track, y, x, v, gain, scale, sigma, rng)
    if dx is None and dy is None:
        return None
    circle = Circle(x, y, dx, dy, v)
    value, t = circle.best(W, gain, track.sign * scale)
    if value <= point.value:
        return None
    return replace(point, gates=np.stack(circle.at(t)))


def _direction(
    kind: int,
    track: Track,
    x: Array,
    y: Array,
    v: Array,
    gain: Array,
    scale: float,
    sigma: float,
    rng: np.random.Generator,
) -> Array | None:
    """Unit tangent at x: a smoothed slope, one with noise, random, towards a row, v or y."""
    W = track.kernel.W
    noise = rng.standard_normal(len(x))
    if kind <= 2:
        z = (W @ x) / (sigma * track.lengths)
        density = np.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * sigma * track.lengths)
        slope = (gain * (W @ y > 0) * density) @ W - track.sign * scale * quadratic_slope(x, y, v)
        if kind == 2:
            slope = slope + noise * math.sqrt(slope @ slope / len(x))
        return tangent(x, slope)
    if kind == 3:
        return tangent(x, noise)
    if kind == 4:  # a row that weighs much, lies near the boundary and is active in y
        near = np.exp(-np.abs(W @ x) / (sigma * track.lengths))
        total = np.cumsum(np.abs(gain) * (W @ y > 0) * near)
        row = int(np.searchsorted(total, rng.random() * total[-1]))
        return tangent(x, W[min(row, len(W) - 1)])
    return tangent(x, v if rng.random() < 0.5 else y)


def _weight_move(track: Track, point: Point, rng: np.random.Generator) -> Point | None:
    """The best of some angles along a great circle of m, of y, or of both; None if no better."""
    W, C, weighing = track.kernel.W, track.C, point.weighing
    if C is None or weighing is None:
        return None
    on = np.all(point.gates @ W.T > 0, axis=0)
    gain = track.sign * on * (W @ point.v) ** 2
    slopes = _weight_slopes(track, point, gain)
    if rng.random() < 0.2:
        slopes = rng.standard_normal(slopes.shape)
    which = int(rng.integers(3))
    t = np.geomspace(1e-3, 3.0, 16)[:, None]
    paths = []
    for k, (u, slope) in enumerate(zip(weighing, slopes, strict=True)):
        aside = tangent(u, slope) if which in (k, 2) else None
        still = np.broadcast_to(u, (len(t), len(u)))
        paths.append(still if aside is None else unit(np.cos(t) * u + np.sin(t) * aside))
    live = gain.nonzero()[0]
    pre = np.maximum(paths[0] @ C[live].T, 0) * np.maximum(paths[1] @ C[live].T, 0)
    q = _q_form(point)
    scale = [
        track.sign * track.alpha * q * overlap(chord_angle(m, y))
        for m, y in zip(*paths, strict=True)
    ]
    values = len(C) * (pre @ gain[live]) - scale
    k = int(np.argmax(values))
    if values[k] <= point.value:
        return None
    return replace(point, weighing=np.stack([paths[0][k], paths[1][k]]))


def _weight_slopes(track: Track, point: Point, gain: Array) -> Array:
    """Gradient in m and in y, (2, p), of sum_i gain_i weights_i - sign scale v^T Q v (eq. 6)."""
    C, weighing = track.C, point.weighing
    assert C is not None
    assert weighing is not None
    pre = weighing @ C.T
    slopes = len(C) * ((gain * (pre > 0) * np.maximum(pre[::-1], 0)) @ C)
    q = _q_form(point)
    theta = clipped_angle(weighing[0], weighing[1])
    pull = overlap_slope(theta, track.sign * track.alpha * q)
    return slopes - pull * weighing[::-1]


def _q_form(point: Point) -> float:
    """v^T Q_{x,y} v."""
    x, y = point.gates
    c = np.clip(x @ y, -1.0, 1.0)
    return float(quadratic_form(point.v @ x, point.v @ y, c))


def _step(pair: Array, slopes: Array, size: float) -> Array:
    """Two unit vectors (2, n) moved by `size` together along their slopes' tangents."""
    slopes = slopes - np.sum(slopes * pair, axis=1, keepdims=True) * pair
    length = math.sqrt(float(np.sum(slopes * slopes)))
    return unit(pair + slopes * (size / length)) if length > 0 else pair


def tangent(x: Array, u: Array) -> Array | None:
    """The unit vector of u's part orthogonal to x, or None where there is next to none."""
    size = math.sqrt(float(u @ u))
    for _ in range(2):
        u = u - (u @ x) * x
    length = math.sqrt(float(u @ u))
    return u / length if length > 1e-12 * size else None


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
