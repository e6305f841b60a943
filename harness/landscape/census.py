"""Every stationary point of the loss for n = p = 2, smooth points and points on kinks.

The loss does not change under the scaling (c h, m/c).  Its profile F(u, v) is the least value over
r = ||h|| ||m|| for given directions u, v: a function on a torus,
F = ||y0||^2 / 2 - X^2 / (2 Y) with X = <y0, a*b>, Y = ||a*b||^2, a = G1(u), b = G2(v).  Where X > 0
the stationary points of f outside K are those of F, at r = X / Y.  The kinks of both networks cut
the torus into cells in which F is smooth.  A stationary point lies in a cell, on an edge (a kink of
one network) or at a corner (a kink of each).

For a fixed direction of one factor, f is a convex quadratic of the other within a cell.  So F has
no maximum inside a cell, and every stationary point along an edge is a minimum along it: for F it
is a minimum if the edge is a valley there, a saddle if it is a ridge, and not stationary if it is a
slope.  Maxima lie at corners alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from harness.arrays import Array
from harness.landscape.arcs import Arcs, direction, linear_arcs
from harness.landscape.biquadratic import ratio, slope, smooth_kind, solve
from harness.landscape.certified.certificate import Certificate, certify
from harness.landscape.kinds import KINDS, MAXIMA, MINIMA, SADDLES, UNSURE, Kind
from harness.landscape.screen import Pairs, candidates
from harness.landscape.tolerances import FLAT, INSIDE, SAME_ROOT
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd


__all__ = [
    "KINDS",
    "MAXIMA",
    "MINIMA",
    "SADDLES",
    "UNSURE",
    "stationary_points",
    "torus_index",
]

CHUNK = 1_000_000
"""Numbers in an array of values at candidates, about."""
MEMORY = 4 * 2**30
"""Bytes that the values of the networks at the boundaries of their arcs may take."""


class _Bend(StrEnum):
    """How F bends across a kink, by its one-sided slopes away from the kink."""

    VALLEY = "valley"
    """Both positive."""
    RIDGE = "ridge"
    """Both negative."""
    LEVEL = "level"
    """None negative and one zero: F may or may not have a minimum across the kink."""
    SLOPE = "slope"
    """Any other case: no stationary point."""


@dataclass(frozen=True)
class _Points:
    """R points: angles, kinds, and the layers of the kinks that they lie on (0 for none)."""

    theta: Array
    phi: Array
    kind: NDArray[np.object_]
    layer_h: NDArray[np.int64]
    layer_m: NDArray[np.int64]

    @property
    def exchanged(self) -> _Points:
        """With h and m exchanged."""
        return _Points(self.phi, self.theta, self.kind, self.layer_m, self.layer_h)


@overload
def stationary_points(P: Demodulation, *, certified: Literal[False] = False) -> pd.DataFrame: ...


@overload
def stationary_points(
    P: Demodulation, *, certified: Literal[True], seconds: float | None = None
) -> Certificate: ...


def stationary_points(
    P: Demodulation, *, certified: bool = False, seconds: float | None = None
) -> pd.DataFrame | Certificate:
    """All stationary points of f outside K, up to scaling, for n = p = 2 and any depths.

    Parameters
    ----------
    P : Demodulation
    certified : bool
        Prove it: no rounding decides (`certificate`).
    seconds : float, optional
        End the proof after this time, about; what it has not examined it counts.

    Returns
    -------
    DataFrame or, if certified, Certificate
        A row for each point, sorted by loss, with columns

        - theta, phi: polar angles of h and m in the coordinates of R^2, in (-pi, pi]
        - r: ||h|| ||m||
        - loss_ratio: 2 f / ||y0||^2
        - kind: name of a `Kind`: "minimum" or "saddle" where f is differentiable; "kink minimum",
          "kink saddle" or "kink maximum" where it is not, by one-sided slopes; "degenerate" where
          a slope or curvature that would tell is zero (this includes lines along which f is
          constant, one point for each pair of arcs); "dead cone" for an arc of directions with
          G = 0, where f is constant: the row gives its middle, and the other angle and epsilon
          are NaN
        - layer_h, layer_m: layer of the unit whose kink the point lies on, 0 for none
        - branch: signs of the nearest hyperbola (Theorem 3)
        - epsilon: least epsilon with the point in A_epsilon of that hyperbola

    Raises
    ------
    ValueError
        If n or p is not 2, y0 = 0, or the networks have too many arcs for the memory (`MEMORY`);
        if seconds is not positive, or given without a certificate.

    Notes
    -----
    All pairs of arcs and of kinks are screened by signs of Bernstein coefficients (`screen`).  Of
    those that remain, pairs of arcs are solved by a polynomial of degree 6 (`biquadratic`), and
    kinks are judged by exact one-sided slopes.
    """
    _check(P)
    arcs_h, arcs_m = linear_arcs(P.G1), linear_arcs(P.G2)
    _check_memory(P, arcs_h, arcs_m)
    if certified:
        return certify(P, seconds)
    if seconds is not None:
        raise ValueError(f"seconds={seconds}: only a certified census takes a time limit")
    a, b = P.G1(direction(arcs_h.angles)), P.G2(direction(arcs_m.angles))
    found = candidates(a, b, P.y0, arcs_h.layer > 0, arcs_m.layer > 0)
    exchanged = Demodulation(P.G2, P.G1, P.m0, P.h0, P.noise)
    points = _join(
        [
            _smooth(P, arcs_h, arcs_m, found.cells),
            _edges(P, arcs_h, arcs_m, found.edges_h),
            _edges(exchanged, arcs_m, arcs_h, found.edges_m[:, ::-1]).exchanged,
            _corners(P, arcs_h, arcs_m, found.corners),
        ]
    )
    return _table(P, points, _dead_cones(P.G1, arcs_h), _dead_cones(P.G2, arcs_m))


def torus_index(points: pd.DataFrame) -> int:
    """Minima - saddles + maxima: 0 on a torus without degenerate points, dead cones and plateaus.

    The count of Morse and of Poincare and Hopf, kinks included; takes the table of
    `stationary_points`.  If F has a plateau (X = 0), the count is minus its Euler characteristic.
    """
    kind = points["kind"]
    return int(kind.isin(MINIMA).sum() + kind.isin(MAXIMA).sum() - kind.isin(SADDLES).sum())


def _check(P: Demodulation) -> None:
    if (P.n, P.p) != (2, 2):
        raise ValueError(f"n={P.n}, p={P.p}: stationary_points needs n = p = 2")
    if P.status == Status.DEAD_NETWORK:
        raise ValueError("y0 = 0: G1(h0) or G2(m0) is dead and the loss is least on K")
    if P.status != Status.OK:
        raise ValueError("y0 = 0: the supports of G1(h0) and G2(m0) do not meet")


def _check_memory(P: Demodulation, arcs_h: Arcs, arcs_m: Arcs) -> None:
    needed = 8 * P.ell * (arcs_h.angles.size + 4 * arcs_m.angles.size)
    if needed > MEMORY:
        raise ValueError(
            f"{arcs_h.angles.size} x {arcs_m.angles.size} arcs with ell={P.ell} need "
            f"{needed / 2**30:.1f} GiB; at most {MEMORY / 2**30:g} GiB are allowed"
        )


# --- smooth points ---------------------------------------------------------------------------


def _smooth(P: Demodulation, arcs_h: Arcs, arcs_m: Arcs, cells: Pairs) -> _Points:
    """Stationary points inside pairs of arcs, and one point of each line where f is constant.

    With u = u_mid + z tau u_perp and v = v_mid + w sigma v_perp, X is bilinear and Y biquadratic in
    z and w, and the pair of arcs is the square [-1, 1]^2.
    """
    parts = []
    for i, j in _chunks(cells, P.ell):
        (a, da, tau), (b, db, sigma) = _piece(P.G1, arcs_h, i), _piece(P.G2, arcs_m, j)
        X = np.einsum("krl,ksl->krs", np.stack([P.y0 * a, P.y0 * da], 1), np.stack([b, db], 1))
        Y = np.einsum("krl,ksl->krs", _square(a, da), _square(b, db))
        cell, z, w, flat = solve(X, Y)
        kind = np.where(flat, Kind.DEGENERATE, smooth_kind(X[cell], Y[cell], z, w))
        theta = arcs_h.middle[i[cell]] + np.arctan(tau[cell] * z)
        phi = arcs_m.middle[j[cell]] + np.arctan(sigma[cell] * w)
        none = np.zeros(cell.size, dtype=np.int64)
        parts.append(_Points(theta, phi, kind.astype(object), none, none))
    return _distinct(_join(parts))


def _piece(G: ReluNetwork, arcs: Arcs, index: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """G on arcs: value + z slope at direction(middle) + z tau direction(middle + pi/2), |z| <= 1.

    Returns value (R, ell), slope (R, ell) and tau (R,).
    """
    middle, tau = arcs.middle[index], np.tan(arcs.length[index] / 2)
    value, along = G.jvp(direction(middle), direction(middle + np.pi / 2), kink_rtol=0)
    return value, tau[:, None] * along, tau


def _square(a: Array, da: Array) -> Array:
    """Coefficients of (a + z da)^2: (R, ell) -> (R, 3, ell)."""
    return np.stack([a * a, 2 * a * da, da * da], axis=1)


# --- kinks -----------------------------------------------------------------------------------


def _edges(P: Demodulation, arcs_h: Arcs, arcs_m: Arcs, edges: Pairs) -> _Points:
    """Stationary points with h at a kink and m inside an arc.

    Along the edge F has at most one stationary point, a minimum.  The slopes to both sides decide
    what it is for F.
    """
    parts = []
    for i, j in _chunks(edges, P.ell):
        b, db, sigma = _piece(P.G2, arcs_m, j)
        a = P.G1.jvp(direction(arcs_h.angles[i]), np.zeros((i.size, 2)))[0]
        X = np.stack([_sum(P.y0 * a * b), _sum(P.y0 * a * db)], axis=1)[:, None]
        Y = np.einsum("kl,ksl->ks", a * a, _square(b, db))[:, None]
        (T0, T1), flat = slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
        w = np.where(flat, 0.0, ratio(T0[:, 0], T1[:, 0]))
        on = (np.abs(w) <= INSIDE) & (X[:, 0, 0] > 0)
        i, j, flat = i[on], j[on], flat[on]
        phi = arcs_m.middle[j] + np.arctan(sigma[on] * w[on])
        across = _bend(P.G1, arcs_h.angles[i], P.G2(direction(phi)), P.y0)
        kind = np.select(
            [across == _Bend.SLOPE, flat | (across == _Bend.LEVEL), across == _Bend.VALLEY],
            ["", Kind.DEGENERATE, Kind.KINK_MINIMUM],
            Kind.KINK_SADDLE,
        ).astype(object)
        kept = kind != ""
        layer = arcs_h.layer[i[kept]]
        parts.append(
            _Points(arcs_h.angles[i[kept]], phi[kept], kind[kept], layer, np.zeros_like(layer))
        )
    return _join(parts)


def _corners(P: Demodulation, arcs_h: Arcs, arcs_m: Arcs, corners: Pairs) -> _Points:
    """Stationary points with h and m at kinks, by the four one-sided slopes."""
    parts = []
    for i, j in _chunks(corners, P.ell):
        theta, phi = arcs_h.angles[i], arcs_m.angles[j]
        a, b = (
            G.jvp(direction(angle), np.zeros((angle.size, 2)))[0]
            for G, angle in ((P.G1, theta), (P.G2, phi))
        )
        along_h, along_m = _bend(P.G1, theta, b, P.y0), _bend(P.G2, phi, a, P.y0)
        kind = np.select(
            [
                _sum(P.y0 * a * b) == 0,
                (along_h == _Bend.SLOPE) | (along_m == _Bend.SLOPE),
                (along_h == _Bend.LEVEL) | (along_m == _Bend.LEVEL),
                along_h != along_m,
                along_h == _Bend.VALLEY,
            ],
            ["", "", Kind.DEGENERATE, Kind.KINK_SADDLE, Kind.KINK_MINIMUM],
            Kind.KINK_MAXIMUM,
        ).astype(object)
        kept = kind != ""
        parts.append(
            _Points(
                *(theta[kept], phi[kept], kind[kept]),
                *(arcs_h.layer[i[kept]], arcs_m.layer[j[kept]]),
            )
        )
    return _join(parts)


def _bend(G: ReluNetwork, angle: Array, other: Array, y0: Array) -> NDArray[np.str_]:
    """How F bends across kinks of G at angles (R,), where the other network has values (R, ell).

    Decided by the one-sided slopes, which have the signs of -S = X Y' / 2 - X' Y.
    """
    signs = []
    for side in (np.pi / 2, -np.pi / 2):
        a, da = G.jvp(direction(angle), direction(angle + side))
        plus = _sum(y0 * da * other) * _sum((a * other) ** 2)
        minus = _sum(y0 * a * other) * _sum(a * da * other**2)
        size = _sum(np.abs(y0 * da * other)) * _sum((a * other) ** 2) + _sum(y0 * a * other) * _sum(
            np.abs(a * da) * other**2
        )
        signs.append(np.where(np.abs(minus - plus) <= FLAT * size, 0, np.sign(minus - plus)))
    low, high = np.minimum(*signs), np.maximum(*signs)
    cases = [low > 0, high < 0, low == 0]
    return np.select(cases, [_Bend.VALLEY, _Bend.RIDGE, _Bend.LEVEL], _Bend.SLOPE)


# --- the table -------------------------------------------------------------------------------


def _table(P: Demodulation, points: _Points, dead_h: Array, dead_m: Array) -> pd.DataFrame:
    """The table of `stationary_points`: points with radius, loss, nearest hyperbola; dead cones."""
    import pandas as pd

    u, v = direction(points.theta), direction(points.phi)
    product = P.G1(u) * P.G2(v)
    r = product @ P.y0 / _sum(product**2)
    h, m = np.sqrt(r)[:, None] * u, np.sqrt(r)[:, None] * v
    distances = np.stack([P.neighbourhood(h, m, branch) for branch in BRANCHES], axis=1)
    nearest = np.argmin(distances, axis=1)
    table = pd.DataFrame(
        {
            "theta": _wrap(points.theta),
            "phi": _wrap(points.phi),
            "r": r,
            "loss_ratio": P.loss(h, m) / P.loss_at_zero,
            "kind": points.kind.astype(str),
            "layer_h": points.layer_h,
            "layer_m": points.layer_m,
            "branch": pd.Series([BRANCHES[k] for k in nearest], dtype=object),
            "epsilon": np.take_along_axis(distances, nearest[:, None], axis=1)[:, 0],
        }
    ).sort_values(["loss_ratio", "theta", "phi"], ignore_index=True)
    dead = [{"theta": angle} for angle in dead_h] + [{"phi": angle} for angle in dead_m]
    if not dead:
        return table
    blank = {"kind": str(Kind.DEAD_CONE), "r": 0.0, "loss_ratio": 1.0, "layer_h": 0, "layer_m": 0}
    rows = pd.DataFrame([blank | row for row in dead]).reindex(columns=table.columns)
    rows["branch"] = rows["branch"].astype(object)
    rows = rows.astype({name: table[name].dtype for name in table.columns})
    return pd.concat([table, rows], ignore_index=True) if len(table) else rows


def _dead_cones(G: ReluNetwork, arcs: Arcs) -> Array:
    """Middle angle of each cone of directions with G = 0."""
    dead = ~G(direction(arcs.middle)).any(axis=1)
    if not dead.any() or dead.all():
        return np.array([0.0]) if dead.all() else np.array([])
    begins = np.flatnonzero(dead & ~np.roll(dead, 1))
    ends = np.flatnonzero(dead & ~np.roll(dead, -1))
    ends = np.roll(ends, -1) if ends[0] < begins[0] else ends
    first, last = arcs.angles[begins], arcs.angles[ends] + arcs.length[ends]
    last = np.where(last < first, last + 2 * np.pi, last)
    return _wrap((first + last) / 2)


def _distinct(points: _Points) -> _Points:
    """Drop repetitions: a point on a boundary without a kink is found from both sides."""
    key = np.round(np.stack([_wrap(points.theta), _wrap(points.phi)]) / SAME_ROOT)
    kept = np.sort(np.unique(key, axis=1, return_index=True)[1])
    return _Points(*(getattr(points, field.name)[kept] for field in fields(points)))


def _join(parts: Sequence[_Points]) -> _Points:
    none = np.zeros(0, dtype=np.int64)
    empty = _Points(np.zeros(0), np.zeros(0), np.zeros(0, dtype=object), none, none)
    return _Points(
        *(
            np.concatenate([getattr(part, field.name) for part in (empty, *parts)])
            for field in fields(_Points)
        )
    )


def _chunks(pairs: Pairs, ell: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of indices of h and of m in chunks, so that (R, ell) arrays stay small."""
    step = max(1, CHUNK // ell)
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step, 0], pairs[start : start + step, 1]


def _sum(terms: Array) -> Array:
    return np.sum(terms, axis=-1)


def _wrap(angle: Array) -> Array:
    """Into (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)
