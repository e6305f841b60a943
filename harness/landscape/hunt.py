"""Stationary points of f outside K for any n and p, by adversarial search: some, perhaps not all.

Descents by several methods start where they may end at spurious points: near each of the four
hyperbolas at growing distances, at rotations of the truth, on kinks of inner layers, at minima over
planes of both factors (`harness.landscape.floors`), at random points, and at points given by the
caller.  Every end is polished to a stationary point (`harness.landscape.polish`), and each point is
reported once.  How often separate samples of the starts find the same minima tells how many there
are at least (`harness.landscape.recapture`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array, Ints
from harness.descent import alternating_descent, step_size
from harness.landscape.arcs import direction, on_plane
from harness.landscape.floors import torus_minima
from harness.landscape.kinds import MINIMA
from harness.landscape.kinks import Kink
from harness.landscape.newton import Points, at_best_scale, descend, find_roots
from harness.landscape.polish import Spot, settle
from harness.landscape.recapture import chao2
from harness.landscape.tolerances import CONVERGING, SAME_END
from harness.problem import BRANCHES, Branch, Demodulation
from harness.status import Status

NEAREST, FARTHEST = 0.01, 3.0
"""Smallest and largest length of the noise added to the unit vectors of a hyperbola."""

GRADIENT_STEPS = 100
"""Steps of gradient descent before Newton's method takes over."""
NEWTON_STEPS = 30
"""Newton steps of a batched descent at most; the polish goes on where it stops."""
ROOT_STEPS = 15
"""Newton steps towards a zero of the gradient, for saddles."""
SAMPLES = 6
"""Samples that the starts are dealt into, to estimate the number of minima."""

Place = tuple[Array, Array, list[Kink]]
"""A point (n,), (p,) and the kinks that it is to be moved onto."""
Start = tuple[Array, Array, list[Kink], Ints]
"""A place and the samples that it belongs to."""
End = tuple[Spot, Ints]
"""A stationary point, and of each descent that ended there the sample of its start."""


@dataclass(frozen=True, eq=False)
class Hunt:
    """The R stationary points outside K that a hunt found, sorted by loss.

    There may be others: R is a lower bound.

    Attributes
    ----------
    h, m : (R, n), (R, p), balanced: ||h|| = ||m||.
    loss_ratio : (R,) 2 f / ||y0||^2.
    r : (R,) ||h|| ||m||.
    kind : (R,) names of `Kind`: "minimum", "saddle", "degenerate" (a flat direction besides the
        orbit's), "kink minimum" or "kink saddle" (on kinks of inner layers, D_v f >= 0 for all v).
    branch : the nearest of the four hyperbolas, R pairs of signs.
    epsilon : (R,) least epsilon with the point in A_epsilon of that hyperbola.
    hits : (R,) number of descents that ended there.
    residual : (R,) ||grad f|| ||x|| / ||y0||^2 along the kinks, x = (h, m), or the rate at which f
        falls to the side of a kink, whichever is larger.
    kinks : for each point its kinks (factor, layer, unit), factor 1 or 2, layer from 1.
    descents, lost : number of descents, and number of those that ended at no stationary point (on
        K, at infinity, or not at all).
    expected : Chao's estimate of the number of minima, on average a LOWER bound: minima that are
        harder to find than others are missing from it too.
    expected_interval : its nominal 95% interval.  The lower end bounds the number of minima from
        below; the upper end is no bound, and is infinite with fewer than two samples.
    """

    h: Array
    m: Array
    loss_ratio: Array
    r: Array
    kind: NDArray[np.str_]
    branch: tuple[Branch, ...]
    epsilon: Array
    hits: NDArray[np.int64]
    residual: Array
    kinks: tuple[tuple[Kink, ...], ...]
    descents: int
    lost: int
    expected: float
    expected_interval: tuple[float, float]

    @property
    def is_minimum(self) -> NDArray[np.bool_]:
        """(R,) whether the point is a strict local minimum, smooth or on kinks."""
        return np.isin(self.kind, MINIMA)


def hunt(
    P: Demodulation,
    rng: np.random.Generator,
    starts: int = 64,
    *,
    h_init: ArrayLike | None = None,
    m_init: ArrayLike | None = None,
    saddles: bool = False,
) -> Hunt:
    """Stationary points of f outside K, D_v f >= 0 for all v, found by descents from `starts`.

    Parameters
    ----------
    P : Demodulation
        Any n, p and depths >= 1.
    rng : numpy.random.Generator
        The only source of randomness.
    starts : int
        Number of adversarial starts, >= 1; at n = p = 2 those of `floors` come on top.
    h_init, m_init : (R, n), (R, p), optional
        Further starts, of any scale; both or none.
    saddles : bool
        Look for saddles too, by Newton's method for zeros of the gradient from every start.

    Raises
    ------
    ValueError
        If y0 = 0, a network is dead at the truth, starts < 1, or given starts are not finite
        vectors of the right shape.
    """
    given = _check(P, starts, h_init, m_init)
    h, m = _starts(P, rng, starts - starts // 8, given)
    dealt = np.arange(len(h)) % SAMPLES  # a share of every kind of start in each
    points, samples = _descents(P, h, m, dealt)
    ends = _polished(P, points, samples)
    placed = _kink_starts(P, rng, -(-starts // 8)) + _valleys(P, rng, -(-starts // 8))
    for h_k, m_k, kinks, sample in placed:
        ends += _counted(settle(P, h_k, m_k, kinks), sample)
    descents = len(points.h) + sum(sample.size for *_, sample in placed)
    if saddles:
        roots = find_roots(P, h, m, ROOT_STEPS)
        roots.gradient[roots.gradient > CONVERGING] = np.nan
        extra = _polished(P, roots, dealt, stay=True)
        descents += sum(hits.size for _, hits in extra)
        ends += extra
    return _gather(P, ends, descents, min(SAMPLES, len(h)))


def _check(
    P: Demodulation, starts: int, h_init: ArrayLike | None, m_init: ArrayLike | None
) -> tuple[Array, Array]:
    """The caller's starts, checked; (0, n) and (0, p) if there are none."""
    if starts != int(starts) or starts < 1:
        raise ValueError(f"starts={starts}: must be a whole number >= 1")
    if P.status == Status.DEAD_NETWORK:
        raise ValueError("G1(h0) = 0 or G2(m0) = 0: a dead network leaves nothing to hunt for")
    if P.status != Status.OK:
        raise ValueError("y0 = 0: f has its minimum on K and there is nothing to hunt for")
    if (h_init is None) != (m_init is None):
        raise ValueError("h_init, m_init: give both or none")
    if h_init is None or m_init is None:
        return np.empty((0, P.n)), np.empty((0, P.p))
    h = np.atleast_2d(np.array(h_init, dtype=np.float64))
    m = np.atleast_2d(np.array(m_init, dtype=np.float64))
    if h.ndim != 2 or m.ndim != 2 or h.shape[1] != P.n or m.shape[1] != P.p or len(h) != len(m):
        raise ValueError(
            f"h_init {h.shape}, m_init {m.shape}: must be (R, {P.n}) and (R, {P.p}) with one R"
        )
    if not (np.isfinite(h).all() and np.isfinite(m).all()):
        raise ValueError("h_init, m_init: every entry must be finite")
    return h, m


# Starts


def _starts(
    P: Demodulation, rng: np.random.Generator, count: int, given: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The caller's starts and `count` adversarial ones, at the best scale, without those on K."""
    turned, random = count // 4, count // 3
    groups = [
        given,
        _near_hyperbolas(P, rng, count - turned - random),
        _rotations(P, rng, turned),
        (rng.standard_normal((random, P.n)), rng.standard_normal((random, P.p))),
    ]
    h, m = (np.concatenate(part) for part in zip(*groups, strict=True))
    h, m, loss = at_best_scale(P, h, m)
    return h[loss < 1], m[loss < 1]


def _near_hyperbolas(P: Demodulation, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Directions of the four branches in turn, with noise that grows from start to start."""
    rounds = -(-count // len(BRANCHES))
    noise = np.repeat(np.geomspace(NEAREST, FARTHEST, rounds), len(BRANCHES))[:count]
    signs = np.tile(np.array(BRANCHES, dtype=np.float64), (rounds, 1))[:count]
    h = signs[:, :1] * _unit(P.h0) + noise[:, None] * _unit(rng.standard_normal((count, P.n)))
    m = signs[:, 1:] * _unit(P.m0) + noise[:, None] * _unit(rng.standard_normal((count, P.p)))
    return h, m


def _rotations(P: Demodulation, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """The truth turned by a multiple of a quarter in random planes, all 16 pairs of turns."""
    k = rng.permutation(np.arange(count) % 16)
    turns = (k // 4, k % 4)
    pairs = []
    for x, turn in zip((P.h0, P.m0), turns, strict=True):
        other = rng.standard_normal((count, x.size))
        other -= (other @ x)[:, None] * x / (x @ x)
        c = np.array([1.0, 0.0, -1.0, 0.0])[turn][:, None]
        s = np.array([0.0, 1.0, 0.0, -1.0])[turn][:, None]
        turned = c * _unit(x) + s * _unit(other)
        pairs.append(np.where(np.abs(turned).max(axis=1, keepdims=True) > 0, turned, _unit(x)))
    return pairs[0], pairs[1]


def _valleys(P: Demodulation, rng: np.random.Generator, count: int) -> list[Start]:
    """Minima of f on a plane of each factor, at most `count`, with the sample of each.

    At n = p = 2 the planes are all there is, and the minima nearly all of f's: each counts as found
    by every sample.  Otherwise the planes and the choice are random.
    """
    if min(P.n, P.p) == 1:
        return []
    if P.n == P.p == 2:
        every = np.arange(SAMPLES)
        return [(*place, every) for place in _section(P, np.eye(2), np.eye(2))]
    planes = (np.linalg.qr(rng.standard_normal((size, 2)))[0] for size in (P.n, P.p))
    found = _section(P, *planes)
    chosen = rng.permutation(len(found))[:count]
    return [(*found[k], np.array([i % SAMPLES])) for i, k in enumerate(chosen)]


def _section(P: Demodulation, plane1: Array, plane2: Array) -> list[Place]:
    """Minima of f over the planes (n, 2), (p, 2), nearly all, as points with their kinks."""
    fine = P.n == P.p == 2  # on other planes, minima are no more than places to start from
    found = torus_minima(on_plane(P.G1, plane1), on_plane(P.G2, plane2), P.y0, fine=fine)
    h, m, loss = at_best_scale(
        P, direction(found.theta) @ plane1.T, direction(found.phi) @ plane2.T
    )
    places = []
    for k in np.flatnonzero(loss < 1):
        units = (1, found.kink_h[k]), (2, found.kink_m[k])
        kinks = [(f, int(layer), int(unit)) for f, (layer, unit) in units if layer > 0]
        places.append((h[k], m[k], kinks))
    return places


def _kink_starts(P: Demodulation, rng: np.random.Generator, count: int) -> list[Start]:
    """Random points, each to be moved onto a kink of an inner layer of one factor or of both."""
    starts: list[Start] = []
    for index in range(count):
        point, kinks = [], []
        for factor, G in ((1, P.G1), (2, P.G2)):
            point.append(rng.standard_normal(G.widths[0]))
            if G.depth > 1 and rng.random() < 2 / 3:
                layer = int(rng.integers(1, G.depth))
                kinks.append((factor, layer, int(rng.integers(G.widths[layer]))))
        h, m, loss = at_best_scale(P, point[0][None], point[1][None])
        if loss[0] < 1:
            starts.append((h[0], m[0], kinks, np.array([index % SAMPLES])))
    return starts


def _unit(x: Array) -> Array:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


# Descents and their ends


def _descents(P: Demodulation, h: Array, m: Array, dealt: Ints) -> tuple[Points, Ints]:
    """Ends of Newton's descent from every start, and of gradient descent followed by Newton's.

    With the sample of each: `dealt` has that of each start.
    """
    slow = alternating_descent(
        P, h, m, step=step_size(P, 0.25), max_steps=GRADIENT_STEPS, sign_check="never"
    )
    kept = np.isfinite(slow.loss) & (slow.loss < P.loss_at_zero)
    h, m = np.concatenate([h, slow.h[kept]]), np.concatenate([m, slow.m[kept]])
    return descend(P, h, m, NEWTON_STEPS), np.concatenate([dealt, dealt[kept]])


def _polished(P: Demodulation, points: Points, samples: Ints, stay: bool = False) -> list[End]:
    """Stationary points reached by `settle` from the points, with the samples of each descent.

    Points that have converged to the same place are polished once.
    """
    places = np.concatenate([points.h, points.m], axis=1)
    smooth = points.gradient <= CONVERGING
    labels = np.arange(len(places))
    labels[smooth] = labels[smooth][_first_alike(places[smooth])]
    ends: list[End] = []
    for k in np.unique(labels[np.isfinite(points.gradient)]):
        spots = settle(P, points.h[k], points.m[k], stay=stay)
        ends += _counted(spots, samples[labels == k])
    return ends


def _counted(spots: list[Spot], hits: Ints) -> list[End]:
    """Credit the last spot of a descent with its hits, and saddles on the way with none."""
    return [(spot, hits if spot is spots[-1] else hits[:0]) for spot in spots]


def _first_alike(places: Array) -> NDArray[np.int64]:
    """Index of the first point within `SAME_END` of each point: (R, k) -> (R,)."""
    labels = np.full(len(places), -1, dtype=np.int64)
    for k, place in enumerate(places):
        if labels[k] < 0:
            near = np.linalg.norm(places - place, axis=1) <= SAME_END * np.linalg.norm(place)
            labels[near & (labels < 0)] = k
    return labels


def _gather(P: Demodulation, ends: list[End], descents: int, samples: int) -> Hunt:
    """Merge ends that are the same point, and sort them by loss."""
    spots = [spot for spot, _ in ends]
    h = np.array([spot.h for spot in spots]).reshape(-1, P.n)
    m = np.array([spot.m for spot in spots]).reshape(-1, P.p)
    labels = _first_alike(np.concatenate([h, m], axis=1))
    kept = np.unique(labels)
    loss = P.loss(h, m) / P.loss_at_zero
    kept = kept[np.argsort(loss[kept], kind="stable")]
    h, m = h[kept], m[kept]
    hits = np.zeros((kept.size, SAMPLES), dtype=np.int64)
    for row, k in enumerate(kept):
        for place in np.flatnonzero(labels == k):
            hits[row] += np.bincount(ends[place][1], minlength=SAMPLES)
    kind = np.array([spots[k].kind for k in kept], dtype=np.str_)
    minima = hits[np.isin(kind, MINIMA), :samples] > 0
    expected, (low, high) = chao2(minima)
    distances = np.stack([P.neighbourhood(h, m, branch) for branch in BRANCHES], axis=-1)
    return Hunt(
        h,
        m,
        loss_ratio=loss[kept],
        r=np.linalg.norm(h, axis=1) * np.linalg.norm(m, axis=1),
        kind=kind,
        branch=tuple(BRANCHES[k] for k in np.argmin(distances, axis=-1)),
        epsilon=distances.min(axis=-1),
        hits=hits.sum(axis=1),
        residual=np.array([spots[k].residual for k in kept], dtype=np.float64),
        kinks=tuple(spots[k].kinks for k in kept),
        descents=descents,
        lost=descents - int(hits.sum()),
        expected=max(expected, len(minima)),
        expected_interval=(low, max(high, len(minima))),
    )
