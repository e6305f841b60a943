"""Lower ends of the two conditions' constants, by search (any n).

With v the eigenvector at an end of the spectrum and sign = +-1, the constant is the maximum over
x, y, v and sign of

    sign [ sum_i 1{w_i.x > 0} 1{w_i.y > 0} weights_i (w_i.v)^2 - scale v^T Q_{x,y} v ],

see `harness.conditions.fast_residual` for weights and scale.  A chain goes from a start

1. through `anneal`: ascent in x, y (and m, y of the joint condition) with the indicators smoothed
   into normal distribution functions, whose width shrinks while v follows as eigenvector;
2. through `ascend`: with v fixed the maximum over a whole great circle of x, of y, or of both is
   exact on all of its arcs (`Circle`), and the eigenvector at the maximum can only raise it.

Chains start at random, from degenerate positions (x = y, x near -y, x on or orthogonal to a row)
or near the best point so far.  Sampled and row-aligned points are there to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.conditions.ascent import (
    WIDEST,
    Ledger,
    Point,
    Track,
    anneal,
    ascend,
    tangent,
    unit,
)
from harness.conditions.bracket import Bracket
from harness.conditions.definition import (
    JointWitness,
    WdcWitness,
    check_matrix,
    joint_wdc_residual,
    wdc_residual,
)
from harness.conditions.fast_residual import Residual

Array = NDArray[np.float64]

BUDGET = 30_000
"""Evaluations of a search by default.  2,500 reach the certified constant of most Gaussian matrices
with two columns; a few, with a narrow maximum, need more (a test)."""
RADII = (0.3, 0.5, 0.7, 1.0)
"""Distances of the starts near the best point, which are also the first widths there: smoothing
over the distance lets a chain leave the old maximum.  Not derived; as the numbers of `ascent`."""
ALIGNED_STARTS = 16
"""Row-aligned points that become starts, the best first; not derived."""
SCREENED_SHARE = 10
SCREENED_STARTS = 16
"""A tenth of the budget goes to random points, cheap in batches; the best 16 become starts.  Not
derived."""


def wdc_search(
    W: ArrayLike, alpha: float = 1.0, *, rng: np.random.Generator, budget: int = BUDGET
) -> Bracket:
    """Lower end of the WDC constant of W (ell, n) by multi-start ascent (eq. 5); upper = inf.

    Parameters
    ----------
    W : (ell, n)
        Rows of mean square (alpha/ell) I for the constant to be small.
    alpha : float
        Factor of Q; W/sqrt(alpha) has the constant divided by alpha.
    rng : Generator
        The only source of randomness.
    budget : int
        Evaluations of the residual's norm.  A great circle counts as 5, a smoothed step as 2,
        about what they take in time; the move in which the budget is reached is finished.

    Raises
    ------
    ValueError
        If W is not a finite, non-empty matrix, alpha not positive or budget < 1.
    """
    kernel = _kernel("W", W, alpha, budget)
    tracks = [_track(kernel, None, alpha, sign) for sign in (1, -1)]
    ledger = Ledger(budget)
    screened = _screen(kernel, alpha, ledger, rng)
    _run(tracks, ledger, rng, lambda track: _wdc_starts(track, rng, list(screened)))
    return _wdc_bracket(kernel.W, alpha, ledger, "search")


def joint_wdc_search(
    B: ArrayLike,
    C: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator,
    budget: int = BUDGET,
) -> Bracket:
    """Lower end of the joint-WDC constant of B (ell, n), C (ell, p) (eqs. 6, 7); upper = inf.

    As `wdc_search`, over (h, x) and (m, y) of both inequalities.  The first starts are the
    best row-aligned points h = x = b_i, m = y = c_i.

    Raises
    ------
    ValueError
        As `wdc_search`, and if B and C have different numbers of rows.
    """
    first, second = _pair(B, C, alpha, budget)
    ledger = Ledger(budget)
    order = _aligned_order(first.W, second.W)[: max(1, budget // 20)]
    tracks = [
        _track(kernel, other.W, alpha, sign, exchanged)
        for exchanged, (kernel, other) in enumerate([(first, second), (second, first)])
        for sign in (1, -1)
    ]
    ranked = {}
    for track in tracks[::2]:
        points = [_aligned(track, i) for i in order]
        norms = _joint_norms(track, points)
        _record_norms(track, points, norms, ledger)
        best = np.argsort(-norms, kind="stable")[:ALIGNED_STARTS]
        ranked[track.exchanged] = [points[k] for k in best]
    _run(tracks, ledger, rng, lambda track: _joint_starts(track, ranked[track.exchanged], rng))
    return _joint_bracket(first.W, second.W, alpha, ledger, "search")


def wdc_sampled(
    W: ArrayLike, alpha: float = 1.0, *, rng: np.random.Generator, count: int = 100
) -> Bracket:
    """Largest residual of W (ell, n) at `count` pairs of independent uniform x, y (eq. 5)."""
    kernel = _kernel("W", W, alpha, count)
    gates = rng.standard_normal((count, 2, kernel.W.shape[1]))  # (count, 2, n)
    ledger = Ledger(count)
    track = _track(kernel, None, alpha, 1)
    points = [Point(pair) for pair in gates]
    _record_norms(track, points, kernel.norms(gates[:, 0], gates[:, 1], alpha), ledger)
    return _wdc_bracket(kernel.W, alpha, ledger, "sampled")


def joint_wdc_sampled(
    B: ArrayLike,
    C: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator,
    count: int = 100,
) -> Bracket:
    """Largest residual of (6) and (7) at `count` independent uniform h, x, m, y.

    B is (ell, n), C is (ell, p); both inequalities are evaluated at every point.
    """
    first, second = _pair(B, C, alpha, count)
    ledger = Ledger(2 * count)
    gates = unit(rng.standard_normal((count, 2, first.W.shape[1])))  # (count, 2, n)
    weighing = unit(rng.standard_normal((count, 2, second.W.shape[1])))  # (count, 2, p)
    for exchanged, (kernel, other) in enumerate([(first, second), (second, first)]):
        track = _track(kernel, other.W, alpha, 1, bool(exchanged))
        pairs = (
            zip(weighing, gates, strict=True) if exchanged else zip(gates, weighing, strict=True)
        )
        points = [Point(gate, weight) for gate, weight in pairs]
        _record_norms(track, points, _joint_norms(track, points), ledger)
    return _joint_bracket(first.W, second.W, alpha, ledger, "sampled")


def joint_wdc_row_aligned(
    B: ArrayLike, C: ArrayLike, alpha: float = 1.0, *, count: int | None = None
) -> Bracket:
    """Largest residual of (6) and (7) at h = x = b_i, m = y = c_i over the rows i.

    B is (ell, n), C is (ell, p).  `count` keeps the rows of largest ||b_i|| ||c_i||; rows that
    are zero in either are left out (the first unit vectors where all are).
    """
    first, second = _pair(B, C, alpha, 1 if count is None else count)
    order = _aligned_order(first.W, second.W)[:count]
    ledger = Ledger(2 * len(order))
    for exchanged, (kernel, other) in enumerate([(first, second), (second, first)]):
        track = _track(kernel, other.W, alpha, 1, bool(exchanged))
        points = [_aligned(track, i) for i in order]
        _record_norms(track, points, _joint_norms(track, points), ledger)
    return _joint_bracket(first.W, second.W, alpha, ledger, "row-aligned")


def _run(
    tracks: list[Track],
    ledger: Ledger,
    rng: np.random.Generator,
    starts: Callable[[Track], Iterator[Point]],
) -> None:
    """Chains until the budget is spent: each track in turn, then mostly the leading one."""
    queues = [starts(track) for track in tracks]
    best: list[Point | None] = [None] * len(tracks)
    chains = 0
    while ledger.open:
        k = chains % len(tracks)
        if chains >= 4 * len(tracks) and rng.random() < 0.75:
            k = int(np.argmax([-np.inf if point is None else point.value for point in best]))
        chains += 1
        track, leader = tracks[k], best[k]
        if leader is not None and chains > 3 * len(tracks) and rng.random() < 0.7:
            radius = float(rng.choice(RADII))
            start, width = _near(leader, radius, rng), radius
            smooth = True
        else:
            start, width = next(queues[k]), WIDEST
            smooth = chains > len(tracks) and rng.random() < 0.7
        point = track.solve(start)
        ledger.evaluations += 1
        ledger.record(track, point)
        if smooth and start.gates.shape[1] > 2:  # a circle is all of the sphere for n = 2
            point = anneal(track, point, width, ledger)
        point = ascend(track, point, ledger, rng)
        if leader is None or point.value > leader.value:
            best[k] = point


def _screen(
    kernel: Residual, alpha: float, ledger: Ledger, rng: np.random.Generator
) -> list[Point]:
    """The best of random x, y, of which a part are equal or close: starts of chains."""
    count = ledger.budget // SCREENED_SHARE
    gates = unit(rng.standard_normal((count, 2, kernel.W.shape[1])))  # (count, 2, n)
    radii = rng.choice([0.0, 0.1, 0.5, np.inf, np.inf], size=(count, 1))  # inf: no relation
    near = unit(gates[:, 0] + np.where(np.isfinite(radii), radii, 0.0) * gates[:, 1])
    gates[:, 1] = np.where(np.isfinite(radii), near, gates[:, 1])
    track = _track(kernel, None, alpha, 1)
    points = [Point(pair) for pair in gates]
    norms = kernel.norms(gates[:, 0], gates[:, 1], alpha)
    _record_norms(track, points, norms, ledger)
    return [points[k] for k in np.argsort(-norms, kind="stable")[:SCREENED_STARTS]]


def _wdc_starts(track: Track, rng: np.random.Generator, screened: list[Point]) -> Iterator[Point]:
    """Endless starts for x, y: the screened, between general, equal and degenerate positions."""
    W = track.kernel.W
    n = W.shape[1]
    longest = np.argsort(-track.lengths, kind="stable")
    turn = 0
    while True:
        x, y, noise = unit(rng.standard_normal((3, n)))  # (n,) each
        row = W[longest[turn % len(W)]]
        onto = unit(row) if row.any() else x
        beside = tangent(onto, x)
        across = x if beside is None else beside
        for pair in (
            (x, x),
            (x, y),
            (onto, onto),  # on a row
            (across, across),  # orthogonal to a row
            (x, -x + 0.1 * noise),
            (x, x + 0.1 * noise),
            (onto, across),
        ):
            yield Point(unit(np.stack(pair)))
            if screened:
                yield screened.pop(0)
        turn += 1


def _joint_starts(track: Track, ranked: list[Point], rng: np.random.Generator) -> Iterator[Point]:
    """Endless starts: row-aligned ones, best first, between those for x, y with random m, y."""
    assert track.C is not None
    gates = _wdc_starts(track, rng, [])
    yield from ranked[:2]
    turn = 2
    while True:
        for _ in range(2):
            m, y = unit(rng.standard_normal((2, track.C.shape[1])))  # (p,) each
            pair = (m, m) if rng.random() < 0.5 else (m, y)
            yield replace(next(gates), weighing=np.stack(pair))
        if turn < len(ranked):
            yield ranked[turn]
        turn += 1


def _near(point: Point, radius: float, rng: np.random.Generator) -> Point:
    """A start at about `radius` from a point; equal vectors stay equal half the time."""

    def shift(pair: Array) -> Array:
        noise = rng.standard_normal(pair.shape) / math.sqrt(pair.shape[1])
        if np.allclose(pair[0], pair[1]) and rng.random() < 0.5:
            noise[1] = noise[0]
        return unit(pair + radius * noise)

    weighing = None if point.weighing is None else shift(point.weighing)
    return Point(shift(point.gates), weighing)


def _aligned(track: Track, i: int) -> Point:
    """h = x = b_i, m = y = c_i; the first unit vector in place of a zero row."""
    assert track.C is not None
    rows = [
        matrix[i] if matrix[i].any() else np.eye(1, matrix.shape[1])[0]
        for matrix in (track.kernel.W, track.C)
    ]
    gate, weight = (unit(row) for row in rows)
    return Point(np.stack([gate, gate]), np.stack([weight, weight]))


def _aligned_order(B: Array, C: Array) -> NDArray[np.intp]:
    """Rows by falling ||b_i|| ||c_i||, those that are zero left out unless all are."""
    sizes = np.linalg.norm(B, axis=1) * np.linalg.norm(C, axis=1)
    order = np.argsort(-sizes, kind="stable")
    return order[: max(1, int(np.count_nonzero(sizes)))]


def _joint_norms(track: Track, points: list[Point]) -> Array:
    """||R|| at each point, with its own weights and scale: (K,)."""
    values = []
    for point in points:
        weights, scale = track.weigh(point.weighing)
        x, y = point.gates
        values.append(track.kernel.norm(x, y, scale, weights))
    return np.array(values)


def _record_norms(track: Track, points: list[Point], norms: Array, ledger: Ledger) -> None:
    for point, value in zip(points, norms, strict=True):
        ledger.evaluations += 1
        ledger.record(track, replace(point, value=float(value)))


def _wdc_bracket(W: Array, alpha: float, ledger: Ledger, method: str) -> Bracket:
    witnesses = [WdcWitness(*point.gates) for _, _, point in ledger.found]
    values = [wdc_residual(W, *witness, alpha) for witness in witnesses]
    return _bracket(values, witnesses, ledger, method)


def _joint_bracket(B: Array, C: Array, alpha: float, ledger: Ledger, method: str) -> Bracket:
    witnesses = []
    for _, track, point in ledger.found:
        assert point.weighing is not None
        pairs = (point.gates, point.weighing)
        (h, x), (m, y) = pairs[::-1] if track.exchanged else pairs
        witnesses.append(JointWitness(h, x, m, y, track.exchanged))
    values = [joint_wdc_residual(B, C, witness, alpha) for witness in witnesses]
    return _bracket(values, witnesses, ledger, method)


def _bracket(
    values: list[float],
    witnesses: list[WdcWitness] | list[JointWitness],
    ledger: Ledger,
    method: str,
) -> Bracket:
    """The best of the last finds by the naive residual, which has the last word.

    On a kink rounding decides which rows are active, and the fast value may not be the naive one.
    """
    k = int(np.argmax(values))
    curve = np.array([*ledger.curve, (ledger.evaluations, values[k])])  # (records + 1, 2)
    curve[:, 1] = np.minimum(curve[:, 1], values[k])
    return Bracket(values[k], np.inf, witnesses[k], method, ledger.evaluations, curve)


def _track(
    kernel: Residual, C: Array | None, alpha: float, sign: int, exchanged: bool | int = False
) -> Track:
    lengths = np.linalg.norm(kernel.W, axis=1)
    lengths[lengths == 0] = 1.0  # a zero row gains nothing wherever it is
    return Track(kernel, lengths, C, alpha, sign, bool(exchanged))


def _kernel(name: str, W: ArrayLike, alpha: float, count: int) -> Residual:
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha={alpha}: must be positive and finite")
    if count < 1:
        raise ValueError(f"budget or count={count}: must be >= 1")
    return Residual(check_matrix(name, W))


def _pair(B: ArrayLike, C: ArrayLike, alpha: float, count: int) -> tuple[Residual, Residual]:
    first, second = _kernel("B", B, alpha, count), _kernel("C", C, alpha, count)
    if len(first.W) != len(second.W):
        raise ValueError(
            f"B and C: the same number of rows is needed, not {len(first.W)} and {len(second.W)}"
        )
    return first, second
