"""Every stationary point for n = p = 2, with a proof: a theorem about one network, by computer.

The problem is what the doubles of its weights, of h0, m0 and of y0 say, exactly; y0 is the
observation as it is stored.  The claim is about f(h, m) = ||G1(h) * G2(m) - y0||^2 / 2:

    f has no stationary point with G1(h) * G2(m) != 0 but those listed, up to the scaling
    (c h, m/c).

A point is stationary if 0 is in Clarke's generalised gradient.  Where f is differentiable, this is
a gradient of 0; on a kink, that for each factor the slopes to both sides are not one up, one down.
Where G1(h) * G2(m) = 0 the loss is that on K; such points outside K are listed as well (dead cones,
and `vanishing`).

The proof has three steps, in three modules:

1. `exact_arcs`: the arcs of both networks, as integer vectors.
2. `bounds`: nearly all pairs of arcs and of kinks hold no stationary point, by floating point with
   a proved bound of its error.
3. `exact_pairs`: the others are judged in exact arithmetic, with Sturm's theorem for the one kind
   of irrational point.

`enclosures` adds angles, radius, loss and epsilon as intervals.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

import numpy as np

from harness.landscape.certified.bounds import Open, undecided
from harness.landscape.certified.enclosures import Bounds, Enclosure, direction_bounds, enclose
from harness.landscape.certified.exact_arcs import SAFE, ExactArcs, exact_arcs, integers
from harness.landscape.certified.exact_pairs import ExactPairs, Found, cell, corner, edge
from harness.landscape.kinds import Kind
from harness.problem import Branch, Demodulation

Judge = Callable[[ExactPairs, int, int], list[Found]]
NOTHING: Bounds = (math.nan, math.nan)
"""Of a dead cone: any angle of the other factor, no epsilon."""


@dataclass(frozen=True)
class CertifiedPoint:
    """A stationary point, or a line or cone of them; numbers are enclosed as (lo, hi).

    Attributes
    ----------
    theta, phi : polar angles of h and m; hi may exceed pi
    r, loss_ratio, epsilon, branch, kind, layer_h, layer_m : as in `stationary_points`
    open : why existence or kind is not certain; empty if both are
    """

    theta: Bounds
    phi: Bounds
    r: Bounds
    loss_ratio: Bounds
    kind: Kind
    layer_h: int
    layer_m: int
    branch: Branch | None
    epsilon: Bounds
    open: str


@dataclass(frozen=True)
class Statement:
    """What is proved of one network: whether `claim` holds, and what stands against it."""

    holds: bool
    claim: str
    exceptions: tuple[CertifiedPoint, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True)
class Certificate:
    """All stationary points of one network, and how much of the proof is done.

    Attributes
    ----------
    points : by loss; dead cones last
    pairs : pairs of arcs, of arc and kink, and of kinks
    exact : how many of them needed exact arithmetic
    unexamined : how many were not looked at in time, or left undecided in time
    vanishing : pairs of boundaries of arcs with G1(h) * G2(m) = 0, neither factor 0
    """

    points: tuple[CertifiedPoint, ...]
    pairs: int
    exact: int
    unexamined: int
    vanishing: int

    @property
    def complete(self) -> bool:
        return self.unexamined == 0

    @property
    def exact_share(self) -> float:
        """Share of the pairs that needed exact arithmetic."""
        return self.exact / self.pairs

    def rows(self) -> list[dict[str, object]]:
        """The points as rows of a table, with the names of `CertifiedPoint`."""
        names = [each.name for each in fields(CertifiedPoint)]
        return [{name: getattr(point, name) for name in names} for point in self.points]

    def holds_outside(self, epsilon: float) -> Statement:
        """Whether all stationary points (balanced) surely lie in A_epsilon of a hyperbola.

        Exceptions are the points whose epsilon may be larger, points that are open, and dead cones;
        gaps are what is not proved, or not covered.

        Raises
        ------
        ValueError
            If epsilon is not a number >= 0.
        """
        if not epsilon >= 0:
            raise ValueError(f"epsilon={epsilon}: must be >= 0")
        against = tuple(p for p in self.points if p.open or not p.epsilon[1] <= epsilon)
        gaps = []
        if self.unexamined:
            gaps.append(f"{self.unexamined} of {self.pairs} pairs were not examined in time")
        if self.vanishing:
            gaps.append(f"G1(h) * G2(m) = 0 outside K, at {self.vanishing} pairs of boundaries")
        claim = f"no stationary point outside K and A_epsilon of the four hyperbolas, {epsilon=}"
        return Statement(not against and not gaps, claim, against, tuple(gaps))


@dataclass
class _Tally:
    """What the proof has so far."""

    found: list[Found] = field(default_factory=list)
    pairs: int = 0
    exact: int = 0
    seen: int = 0
    vanishing: int = 0


def certify(P: Demodulation, seconds: float | None = None) -> Certificate:
    """The certificate of a problem with n = p = 2 and y0 != 0 (`stationary_points` checks it).

    Parameters
    ----------
    seconds : the search ends after this time, about, and the certificate is not complete then

    Raises
    ------
    ValueError
        If seconds is not a positive number.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds={seconds}: must be > 0")
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    arcs = exact_arcs(P.G1), exact_arcs(P.G2)
    y, exponent = integers(P.y0)
    pairs = ExactPairs(*arcs, y)
    tally = _search(P, pairs, deadline)
    points = [_point(each, enclose(P, pairs, exponent, each)) for each in tally.found]
    points.sort(key=lambda p: (p.loss_ratio, p.theta, p.phi))
    dead = [_dead(theta=b) for b in _dead_cones(arcs[0])]
    dead += [_dead(phi=b) for b in _dead_cones(arcs[1])]
    total = 4 * len(arcs[0]) * len(arcs[1])
    return Certificate((*points, *dead), total, tally.exact, total - tally.seen, tally.vanishing)


def _search(P: Demodulation, pairs: ExactPairs, deadline: float) -> _Tally:
    """Screen blocks of pairs and judge what each leaves, until the deadline."""
    tally = _Tally()
    (a, trusted_a), (b, trusted_b) = pairs.arcs_h.rounded(), pairs.arcs_m.rounded()
    y0 = np.ldexp(P.y0, -int(np.frexp(np.abs(P.y0).max())[1]))
    if (np.abs(y0[P.y0 != 0]) < SAFE).any():
        trusted_a[:] = False
    alive_a, alive_b = a.any(axis=1) | ~trusted_a, b.any(axis=1) | ~trusted_b
    for start, block in undecided(a, b, y0, trusted_a, trusted_b):
        if time.monotonic() > deadline:
            break
        tally.seen += block.pairs
        for judge, i, j in _candidates(start, block):
            if time.monotonic() > deadline:
                tally.seen -= 1
                continue
            tally.exact += 1
            tally.found += judge(pairs, i, j)
        zeros = block.zeros[alive_a[start + block.zeros[:, 0]] & alive_b[block.zeros[:, 1]]]
        tally.vanishing += sum(pairs.Y(start + i, start + i, j, j) == 0 for i, j in zeros.tolist())
    return tally


def _candidates(start: int, block: Open) -> Iterator[tuple[Judge, int, int]]:
    """What a block leaves undecided, each with the function that judges it."""
    for judge, indices in (
        (cell, block.cells),
        (edge, block.edges_h),
        (_edge_m, block.edges_m),
        (corner, block.corners),
    ):
        for i, j in indices.tolist():
            yield judge, start + i, j


def _edge_m(pairs: ExactPairs, i: int, j: int) -> list[Found]:
    """The stationary points with h inside arc i and m at end j."""
    return [point.exchanged for point in edge(pairs.exchanged, j, i)]


def _point(found: Found, at: Enclosure) -> CertifiedPoint:
    return CertifiedPoint(
        *(at.theta, at.phi, at.r, at.loss_ratio),
        *(found.kind, found.layer_h, found.layer_m),
        *(at.branch, at.epsilon, found.open),
    )


def _dead(theta: Bounds = NOTHING, phi: Bounds = NOTHING) -> CertifiedPoint:
    one = 1.0, 1.0
    return CertifiedPoint(theta, phi, NOTHING, one, Kind.DEAD_CONE, 0, 0, None, NOTHING, "")


def _dead_cones(arcs: ExactArcs) -> Iterator[Bounds]:
    """The angles of each cone of directions with G = 0, single directions among them."""
    dead = [not arcs.value(k).any() for k in range(len(arcs))]
    for k in range(len(arcs)):
        if dead[k] and not dead[k - 1]:
            last = k
            while dead[(last + 1) % len(arcs)]:
                last += 1
            yield direction_bounds(arcs, k, last)
