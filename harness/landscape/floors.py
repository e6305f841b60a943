"""Minima of f on a torus of directions, n = p = 2, from the floors of its valleys: nearly all.

For a fixed direction of h the loss is quadratic in m on each linear piece of G2, so that its minima
over m are found exactly, inside pieces and on kinks of inner layers.  As h turns they trace the
floors of valleys.  At each kink of G1, the last layer's included, one-sided slopes tell to which
side a floor falls.  f has a minimum at a kink from which it falls to neither side, and one between
two neighbouring kinks if the floor falls inwards from both.  (A minimum over m does not depend on
h to first order through m, so the slope along the floor is that of f at fixed m.)  The same is done
with h and m exchanged.

Missed are minima whose floors of both kinds end between neighbouring kinks.  Of large networks
(`WORK`) the whole circle of m is scanned at `COARSE` directions of h only, and between these only
the arcs around known floors: there, floors that begin and end between two of them are missed too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.arrays import Array, Bools, Ints
from harness.landscape.arcs import Arcs, direction, linear_arcs
from harness.landscape.floor_kernels import minima_inside, slopes
from harness.landscape.tolerances import SINGULAR
from harness.network import ReluNetwork

WORK = 3 * 10**8
"""Points times arcs times entries: with more of them the scan is coarse at first."""

COARSE = 256
"""Directions of one factor, about, at which the whole circle of the other is then scanned."""

FINE = 500
"""Arcs longer than the circle over this are cut, so that short floors show at their boundaries."""

WINDOW = 1.5
"""Floors are followed within so many times the angle between two such directions."""


@dataclass(frozen=True, eq=False)
class Starts:
    """R points near which f may have a minimum.

    Attributes
    ----------
    theta, phi : (R,) angles of h and of m.
    kink_h, kink_m : (R, 2) layer and unit of the kink of an inner layer that the angle lies on;
        layer 0 for none.
    """

    theta: Array
    phi: Array
    kink_h: Ints
    kink_m: Ints


@dataclass(frozen=True, eq=False)
class _Circle:
    """A network on the circle: I arcs on which its inner layers are linear, M pieces of them.

    Attributes
    ----------
    arcs : boundaries of the inner layers
    every : all boundaries, those of the last layer and some without a kink included
    inner : whether these are kinks of inner layers
    rows : (2, I, ell) the last layer's pre-activations, z cos t + z' sin t at t from the middle
    awake : (I, ell) rows that are active where the arc begins
    first, unit, sign, tangents : of the pieces, see `minima_inside`
    """

    arcs: Arcs
    every: Arcs
    inner: Bools
    rows: Array
    awake: Bools
    first: Ints
    unit: Ints
    sign: Array
    tangents: Array


@dataclass(frozen=True, eq=False)
class _Floors:
    """F minima over one direction: the point (F,), the piece (F,), the angle (F,).

    On a kink of an inner layer, where arc i begins, the piece is -1 - i.
    """

    point: Ints
    piece: Ints
    angle: Array


def torus_minima(G1: ReluNetwork, G2: ReluNetwork, y0: Array, *, fine: bool = True) -> Starts:
    """Starts for a descent to nearly every minimum of 1/2 ||G1(h)*G2(m) - y0||^2 over R^2 x R^2.

    Parameters
    ----------
    G1, G2, y0 : networks R^2 -> R^ell, and (ell,)
    fine : look at the kinks of the last layer too, between which there may be minima of their own;
        without them it takes a fraction of the time, and finds most of them.

    Raises
    ------
    ValueError
        If a network does not have two inputs.
    """
    circles = _circle(G1, fine), _circle(G2, fine)
    one, two = _along(*circles, y0), _along(*circles[::-1], y0)
    both = Starts(
        np.concatenate([one.theta, two.phi]),
        np.concatenate([one.phi, two.theta]),
        np.concatenate([one.kink_h, two.kink_m]),
        np.concatenate([one.kink_m, two.kink_h]),
    )
    return _distinct(both, circles[0].every, circles[1].every)


def _circle(G: ReluNetwork, fine: bool = True) -> _Circle:
    every = linear_arcs(G)
    kept = every.layer < G.depth
    arcs = Arcs(every.angles[kept], every.layer[kept], every.unit[kept])
    every = _refined(every if fine else arcs)
    x, u = direction(arcs.middle), direction(arcs.middle + np.pi / 2)
    x, u = G.jvp(x, u, kink_rtol=0, layers=G.depth - 1)
    z, dz = x @ G.weights[-1].T, u @ G.weights[-1].T
    half = arcs.length / 2
    t = np.arctan2(-z * np.sign(dz), np.abs(dz))
    turns = (np.abs(t) < half[:, None]) & (dz != 0)
    arc, unit = np.nonzero(turns)
    order = np.lexsort((t[arc, unit], arc))
    arc, unit = arc[order], unit[order]
    first = np.concatenate([[0], np.cumsum(1 + np.bincount(arc, minlength=len(half)))])
    pieces = np.arange(arc.size) + arc + 1  # the piece that begins at each crease
    begin, end = np.empty((2, first[-1]))
    begin[first[:-1]], end[first[1:] - 1] = -half, half
    begin[pieces] = end[pieces - 1] = t[arc, unit]
    units, sign = np.zeros(first[-1], dtype=np.int64), np.zeros(first[-1])
    units[pieces], sign[pieces] = unit, np.sign(dz[arc, unit])
    rows = np.stack([z, dz])
    awake = np.where(turns, dz < 0, z > 0)
    inner = (every.layer > 0) & (every.layer < G.depth)
    tangents = np.tan(np.stack([begin, end], axis=-1))
    return _Circle(arcs, every, inner, rows, awake, first, units, sign, tangents)


def _refined(arcs: Arcs) -> Arcs:
    """With arcs longer than 2 pi / FINE cut into equal ones, by boundaries without a kink."""
    parts = np.ceil(arcs.length * FINE / (2 * np.pi)).astype(np.int64)
    owner = np.repeat(np.arange(parts.size), parts)
    share = (np.arange(owner.size) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[owner]
    angles = arcs.angles[owner] + share * arcs.length[owner]
    layer, unit = (np.where(share == 0, x[owner], 0) for x in (arcs.layer, arcs.unit))
    angles = np.where(angles > np.pi, angles - 2 * np.pi, angles)
    order = np.argsort(angles, kind="stable")
    return Arcs(angles[order], layer[order], unit[order])


def _along(turned: _Circle, circle: _Circle, y0: Array) -> Starts:
    """Minima of f along its floors over the other factor, at and between the kinks of one."""
    value, left, right = _at_boundaries(turned)
    found = []
    for points, floors in _blocks(value, circle, y0, turned.every):
        arc = _arc(circle, floors.piece)
        angle = _turned(floors.angle - circle.arcs.middle[arc])
        some = value[points], left[points], right[points]
        slope = slopes(*some, floors.point, circle.rows, arc, angle, y0)
        found.append(_minima(points, floors, slope[:, 0] > 0, slope[:, 1] < 0, turned, circle))
    return Starts(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _at_boundaries(circle: _Circle) -> tuple[Array, Array, Array]:
    """G at all boundaries, and its derivatives in the angle from the left and right: (R, ell).

    The unit whose kink a boundary is has pre-activation 0 there, whatever rounding makes of it.
    """
    arcs, every = circle.arcs, circle.every
    arc = np.searchsorted(arcs.angles, every.angles, side="right") - 1
    before = np.where(arcs.angles[arc] == every.angles, arc - 1, arc)
    own = np.flatnonzero((every.layer > 0) & ~circle.inner)
    sides = []
    for i, sign in ((before, -1.0), (arc, 1.0)):
        t = _turned(every.angles - arcs.middle[i])[:, None]
        z, dz = circle.rows[0, i], circle.rows[1, i]
        value = z * np.cos(t) + dz * np.sin(t)
        slope = dz * np.cos(t) - z * np.sin(t)
        value[own, every.unit[own]] = 0.0
        active = (value > 0) | ((value == 0) & (sign * slope > 0))
        sides.append((np.maximum(value, 0.0), np.where(active, slope, 0.0)))
    return sides[1][0], sides[0][1], sides[1][1]


def _blocks(value: Array, circle: _Circle, y0: Array, arcs: Arcs) -> list[tuple[Ints, _Floors]]:
    """Consecutive boundaries, and the floors at each; the last of a block begins the next one."""
    count = len(value)
    every = np.arange(len(circle.arcs.angles))
    step = -(-count // COARSE) if count * every.size * len(y0) > WORK else 1
    coarse = np.arange(0, count, step)
    known = _scan(value[coarse], circle, y0, every)
    if step == 1:
        return [(np.arange(count + 1) % count, _closed(known, count))]
    blocks = []
    for b, begin in enumerate(coarse):
        end = coarse[b + 1] if b + 1 < coarse.size else count
        points = np.arange(begin, end + 1) % count
        near = known.angle[(known.point == b) | (known.point == (b + 1) % coarse.size)]
        width = WINDOW * arcs.length[begin:end].sum() + circle.arcs.length / 2
        away = np.abs(_turned(circle.arcs.middle[:, None] - near))
        hot = every[(away <= width[:, None]).any(axis=1)]
        blocks.append((points, _scan(value[points], circle, y0, hot)))
    return blocks


def _closed(floors: _Floors, count: int) -> _Floors:
    """With the floors of point 0 repeated at point `count`: the circle is closed."""
    again = floors.point == 0
    return _Floors(
        np.concatenate([floors.point, np.full(again.sum(), count)]),
        np.concatenate([floors.piece, floors.piece[again]]),
        np.concatenate([floors.angle, floors.angle[again]]),
    )


def _scan(a: Array, circle: _Circle, y0: Array, arcs: Ints) -> _Floors:
    """Minima over the circle's direction for each a (K, ell), on some arcs (H,)."""
    r1, r2 = np.where(circle.awake[arcs], circle.rows[:, arcs], 0.0)
    squares = np.stack([r1 * r1, r1 * r2, r2 * r2]).reshape(-1, a.shape[1])
    weights = np.stack([a * a, a * y0], axis=-1)
    sums = np.concatenate(
        [
            (weights[..., 0] @ squares.T).reshape(len(a), 3, -1),
            (weights[..., 1] @ np.stack([r1, r2]).reshape(-1, a.shape[1]).T).reshape(len(a), 2, -1),
        ],
        axis=1,
    )
    sums = np.ascontiguousarray(np.swapaxes(sums, 1, 2))
    point, piece, tangent, ends = minima_inside(
        sums,
        weights,
        arcs,
        circle.first,
        circle.unit,
        circle.sign,
        circle.rows,
        circle.tangents,
        SINGULAR,
    )
    arc = _arc(circle, piece)
    k, i = _on_kinks(circle, arcs, sums, ends)
    return _Floors(
        np.concatenate([point, k]),
        np.concatenate([piece, -1 - i]),
        np.concatenate([circle.arcs.middle[arc] + np.arctan(tangent), circle.arcs.angles[i]]),
    )


def _arc(circle: _Circle, piece: Ints) -> Ints:
    """The arcs of pieces, and those that begin at kinks."""
    return np.where(piece < 0, -1 - piece, np.searchsorted(circle.first, piece, side="right") - 1)


def _on_kinks(circle: _Circle, arcs: Ints, sums: Array, ends: Array) -> tuple[Ints, Ints]:
    """Points, and arcs where they begin on a kink of an inner layer at which f is least over m."""
    count = len(circle.arcs.angles)
    slot = np.full(count, -1)
    slot[arcs] = np.arange(arcs.size)
    before = slot[(arcs - 1) % count]
    here = np.flatnonzero((before >= 0) & (circle.arcs.layer[arcs] > 0))
    half = circle.arcs.length / 2
    right = _rise(sums[:, here], -half[arcs[here]])
    left = _rise(ends[:, before[here]], half[(arcs[here] - 1) % count])
    point, kink = np.nonzero((right >= 0) & (left <= 0))
    return point, arcs[here[kink]]


def _rise(sums: Array, t: Array) -> Array:
    """A number of the sign of the slope of f in the angle of m at best scale: (K, H, 5), (H,).

    The loss at best scale is ||y0||^2 / 2 - N^2 / (2 D), N = c.u, D = u^T C u; NaN if N <= 0.
    """
    C11, C12, C22, c1, c2 = np.moveaxis(sums, -1, 0)
    u1, u2 = np.cos(t), np.sin(t)
    N, dN = c1 * u1 + c2 * u2, c2 * u1 - c1 * u2
    D = C11 * u1 * u1 + 2 * C12 * u1 * u2 + C22 * u2 * u2
    dD = 2 * ((C22 - C11) * u1 * u2 + C12 * (u1 * u1 - u2 * u2))
    return np.where(N > 0, N * dD - 2 * dN * D, np.nan)


def _minima(
    points: Ints,
    floors: _Floors,
    falls_left: Bools,
    falls_right: Bools,
    turned: _Circle,
    circle: _Circle,
) -> tuple[Array, Array, Ints, Ints]:
    """Fields of `Starts`: minima at kinks of the first factor, and between neighbouring ones."""
    every, place = turned.every, points[floors.point]
    resting = np.flatnonzero(turned.inner[place] & ~falls_left & ~falls_right)
    span = circle.first[-1] + len(circle.arcs.angles) + 1
    key = floors.point * span + floors.piece + len(circle.arcs.angles) + 1
    into_right, into_left = np.flatnonzero(falls_right), np.flatnonzero(falls_left)
    _, one, two = np.intersect1d(key[into_right] + span, key[into_left], return_indices=True)
    one, two = into_right[one], into_left[two]
    phi = floors.angle[one] + _turned(floors.angle[two] - floors.angle[one]) / 2
    return (
        np.concatenate([every.angles[place[resting]], every.middle[place[one]]]),
        np.concatenate([floors.angle[resting], phi]),
        np.concatenate([_units(every, place[resting]), np.zeros((one.size, 2), dtype=np.int64)]),
        _units(circle.arcs, -1 - np.concatenate([floors.piece[resting], floors.piece[one]])),
    )


def _units(arcs: Arcs, boundary: Ints) -> Ints:
    """Layer and unit of boundaries, (R, 2); layer 0 where the number is negative."""
    units = np.stack([arcs.layer, arcs.unit], axis=1)
    return np.where(boundary[:, None] < 0, 0, units[np.maximum(boundary, 0)])


def _distinct(starts: Starts, arcs_h: Arcs, arcs_m: Arcs) -> Starts:
    """One start for each pair of kinks or of arcs between them."""
    h, m = (
        2 * np.searchsorted(arcs.angles, _turned(angle), side="right") + (kink[:, 0] > 0)
        for kink, arcs, angle in (
            (starts.kink_h, arcs_h, starts.theta),
            (starts.kink_m, arcs_m, starts.phi),
        )
    )
    _, kept = np.unique(np.stack([h, m]), axis=1, return_index=True)
    return Starts(starts.theta[kept], starts.phi[kept], starts.kink_h[kept], starts.kink_m[kept])


def _turned(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
