"""Every stationary point of the loss for n = p = 2: smooth ones, and those on kinks.

Up to the scaling (c h, m/c) the loss is known by its least value over r = ||h|| ||m|| for given
directions u, v, F(u, v) = ||y0||^2 / 2 - X^2 / (2 Y) with X = <y0, a*b>, Y = ||a*b||^2, a = G1(u),
b = G2(v): a function on a torus.  Where X > 0 the stationary points of f outside K are those of F,
at r = X / Y.  F is cut by the kinks of both networks into cells, smooth inside; a stationary
point lies in a cell, on an edge (a kink of one network) or at a corner (a kink of each).

For a fixed direction of one factor, f is a convex quadratic of the other within a cell.  So F has
no maximum inside a cell, and along an edge its stationary points are minima: it has a minimum, a
saddle or none as the edge is a valley, a ridge or a slope.  Maxima lie at corners alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.landscape.arcs import Arcs, direction, linear_arcs
from harness.landscape.bernstein import roots_in_interval
from harness.landscape.screen import Pairs, candidates
from harness.network import ReluNetwork
from harness.problem import BRANCHES, Demodulation
from harness.status import Status

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

MINIMA = ("minimum", "kink minimum")
SADDLES = ("saddle", "kink saddle")
MAXIMA = ("kink maximum",)
UNSURE = ("degenerate", "dead cone")
KINDS = (*MINIMA, *SADDLES, *MAXIMA, *UNSURE)

FLAT = 1e-10
"""A slope or a curvature below this share of the terms it is the sum of counts as zero."""
INSIDE = 1 + 1e-9
"""A root this far outside its arc, relative to the arc's length, still counts."""
SAME_POINT = 1e-8
"""Angles of two smooth points closer than this are the same, in radians."""
CHUNK = 1_000_000
"""Numbers in an array of values at candidates, about."""
MEMORY = 4 * 2**30
"""Bytes that the networks' values at the boundaries of their arcs may take."""


@dataclass(frozen=True)
class _Points:
    """Angles of R points, of what kind, and in which layers the kinks are (0 for none)."""

    theta: Array
    phi: Array
    kind: NDArray[np.object_]
    layer_h: NDArray[np.int64]
    layer_m: NDArray[np.int64]

    @property
    def exchanged(self) -> _Points:
        """With h and m exchanged."""
        return _Points(self.phi, self.theta, self.kind, self.layer_m, self.layer_h)


def stationary_points(P: Demodulation) -> pd.DataFrame:
    """All stationary points of f outside K, up to scaling, for n = p = 2 and any depths.

    Returns
    -------
    DataFrame, a row for each point, sorted by loss
        theta, phi : polar angles of h and m in the coordinates of R^2, in (-pi, pi]
        r : ||h|| ||m||
        loss_ratio : 2 f / ||y0||^2
        kind : "minimum" and "saddle", where f is differentiable; "kink minimum", "kink saddle" and
            "kink maximum", where it is not and by one-sided slopes; "degenerate" where a slope or
            the curvature vanishes that would tell (among them, once for each pair of arcs, the
            lines along which f is constant); "dead cone", an arc of directions with G = 0, where f
            is constant: its middle, the other angle and epsilon NaN
        layer_h, layer_m : layer of the unit at whose kink the point lies, 0 for none
        branch : signs of the nearest hyperbola (Theorem 2)
        epsilon : least epsilon with the point in A_epsilon of that hyperbola

    Raises
    ------
    ValueError
        If n or p is not 2, y0 = 0, or the networks have too many arcs for the memory (`MEMORY`).

    Notes
    -----
    All pairs of arcs and of kinks are screened by signs of Bernstein coefficients (`screen`); what
    is left is solved by the polynomial of degree 6 of each pair (smooth points) and judged by exact
    one-sided slopes (kinks).
    """
    _check(P)
    arcs_h, arcs_m = linear_arcs(P.G1), linear_arcs(P.G2)
    _check_memory(P, arcs_h, arcs_m)
    A, B = P.G1(direction(arcs_h.angles)), P.G2(direction(arcs_m.angles))
    found = candidates(A, B, P.y0, arcs_h.layer > 0, arcs_m.layer > 0)
    exchanged = Demodulation(P.G2, P.G1, P.m0, P.h0)
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
    `stationary_points`.  Where F has a plateau (X = 0) the count is minus its Euler characteristic.
    """
    kind = points["kind"]
    return int(kind.isin(MINIMA).sum() + kind.isin(MAXIMA).sum() - kind.isin(SADDLES).sum())


def _check(P: Demodulation) -> None:
    if (P.n, P.p) != (2, 2):
        raise ValueError(f"n={P.n}, p={P.p}: stationary_points needs n = p = 2")
    if P.status == Status.DEAD_NETWORK:
        raise ValueError("y0 = 0: G1(h0) or G2(m0) is dead and the loss has its least value on K")
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
    """Stationary points inside pairs of arcs, and a point of each line where f is constant.

    With u = u_mid + t u_perp and v = v_mid + s v_perp, X is bilinear and Y biquadratic in t, s.
    """
    parts = []
    for i, j in _chunks(cells, P.ell):
        (a, da, tau), (b, db, sigma) = _piece(P.G1, arcs_h, i), _piece(P.G2, arcs_m, j)
        X = np.einsum("krl,ksl->krs", np.stack([P.y0 * a, P.y0 * da], 1), np.stack([b, db], 1))
        Y = np.einsum("krl,ksl->krs", _square(a, da), _square(b, db))
        cell, z, w, flat = _solve(X, Y)
        kind = np.where(flat, "degenerate", _smooth_kind(X[cell], Y[cell], z, w))
        theta = arcs_h.middle[i[cell]] + np.arctan(tau[cell] * z)
        phi = arcs_m.middle[j[cell]] + np.arctan(sigma[cell] * w)
        none = np.zeros(cell.size, dtype=np.int64)
        parts.append(_Points(theta, phi, kind.astype(object), none, none))
    return _distinct(_join(parts))


def _piece(G: ReluNetwork, arcs: Arcs, index: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """G = value + z slope at direction(middle) + z tau direction(middle + pi/2), |z| <= 1 the arc.

    Returns value (K, ell), slope (K, ell) and tau (K,).
    """
    middle, tau = arcs.middle[index], np.tan(arcs.length[index] / 2)
    value, slope = G.jvp(direction(middle), direction(middle + np.pi / 2), kink_rtol=0)
    return value, tau[:, None] * slope, tau


def _square(a: Array, da: Array) -> Array:
    """Coefficients of (a + z da)^2: (K, ell) -> (K, 3, ell)."""
    return np.stack([a * a, 2 * a * da, da * da], axis=1)


def _solve(X: Array, Y: Array) -> tuple[NDArray[np.int64], Array, Array, NDArray[np.bool_]]:
    """Stationary (z, w) in [-1, 1]^2 of X^2 / Y for K pairs X (K, 2, 2), Y (K, 3, 3) of powers.

    For fixed w the least f over u in R^2 is -N / (2 D) with N = x^T adj(C) x and D = det C, where
    f = u^T C u / 2 - x^T u.  N and D have degree 4 in w, N' D - N D' has degree 6 (the terms of
    degree 7 cancel), and z = -S_0 / S_1 (`_slope`).  Returns the index of the pair, z, w, and
    whether X^2 / Y is constant in z or w there (then one point stands for the line).
    """
    (S0, S1), flat_z = _slope(X, Y)
    (T0, T1), flat_w = _slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
    (x0, x1), (y0, y1, y2) = np.moveaxis(X, 1, 0), np.moveaxis(Y, 1, 0)
    N = _times(_times(x0, x0), y2) - _times(_times(x0, x1), y1) + _times(_times(x1, x1), y0)
    D = _times(y0, y2) - _times(y1, y1) / 4
    R = (_times(_derivative(N), D) - _times(N, _derivative(D)))[:, :7]
    regular = np.flatnonzero(~flat_z & ~flat_w)
    which, w = roots_in_interval(R[regular] * INSIDE ** np.arange(7))
    cell, w = regular[which], INSIDE * w
    cells, zs, ws = [cell], [_ratio(_at(S0[cell], w), _at(S1[cell], w))], [w]

    only_z, only_w = np.flatnonzero(flat_z & ~flat_w), np.flatnonzero(flat_w & ~flat_z)
    both = np.flatnonzero(flat_z & flat_w & (X[:, 0, 0] > 0))
    cells += [only_z, only_w, both]
    zs += [np.zeros(only_z.size), _ratio(S0[only_w, 0], S1[only_w, 0]), np.zeros(both.size)]
    ws += [_ratio(T0[only_z, 0], T1[only_z, 0]), np.zeros(only_w.size), np.zeros(both.size)]
    index, z, w = np.concatenate(cells), np.concatenate(zs), np.concatenate(ws)
    flat = np.arange(index.size) >= cell.size
    inside = (np.abs(z) <= INSIDE) & (np.abs(w) <= INSIDE)
    inside[inside] = _positive(X[index[inside]], z[inside], w[inside])
    return index[inside], z[inside], w[inside], flat[inside]


def _slope(X: Array, Y: Array) -> tuple[tuple[Array, Array], NDArray[np.bool_]]:
    """S = X_z Y - X Y_z / 2 = S_0 + z S_1, cubics in w (K, 4), and whether S = 0; F_z ~ -S."""
    (x0, x1), (y0, y1, y2) = np.moveaxis(X, 1, 0), np.moveaxis(Y, 1, 0)
    forms, flat = [], np.ones(len(X), dtype=np.bool_)
    for plus, minus in (((x1, y0), (x0, y1 / 2)), ((x1, y1 / 2), (x0, y2))):
        S = _times(*plus) - _times(*minus)
        size = sum(_times(np.abs(x), np.abs(y)) for x, y in (plus, minus))
        flat &= (np.abs(S) <= FLAT * size).all(axis=1)
        forms.append(S)
    return (forms[0], forms[1]), flat


def _positive(X: Array, z: Array, w: Array) -> NDArray[np.bool_]:
    """Whether X(z, w) > 0 beyond rounding; where X = 0 the point lies in K."""
    terms = (
        X
        * np.stack([np.ones_like(z), z], 1)[:, :, None]
        * np.stack([np.ones_like(w), w], 1)[:, None]
    )
    return terms.sum(axis=(1, 2)) > FLAT * np.abs(terms).sum(axis=(1, 2))


def _smooth_kind(X: Array, Y: Array, z: Array, w: Array) -> NDArray[np.str_]:
    """By the determinant of the Hessian of F, which is -(S_z, S_w; T_z, T_w) times X / Y^2."""
    (S0, S1), _ = _slope(X, Y)
    (_, T1), _ = _slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
    mixed = _at(_derivative(S0), w) + z * _at(_derivative(S1), w)
    direct = _at(S1, w) * _at(T1, z)
    determinant, size = direct - mixed**2, np.abs(direct) + mixed**2
    kind = np.where(determinant > 0, "minimum", "saddle")
    return np.where(np.abs(determinant) > FLAT * size, kind, "degenerate")


def _ratio(S0: Array, S1: Array) -> Array:
    """The zero of S_0 + z S_1 where F has a minimum, S_1 < 0; infinity elsewhere."""
    return np.divide(-S0, S1, out=np.full_like(S0, np.inf), where=S1 < 0)


def _times(p: Array, q: Array) -> Array:
    """Products of polynomials, (K, M + 1), (K, N + 1) -> (K, M + N + 1)."""
    product = np.zeros((len(p), p.shape[1] + q.shape[1] - 1))
    for k in range(p.shape[1]):
        product[:, k : k + q.shape[1]] += p[:, k : k + 1] * q
    return product


def _derivative(p: Array) -> Array:
    return p[:, 1:] * np.arange(1, p.shape[1])


def _at(p: Array, z: Array) -> Array:
    """Values of K polynomials at (K,)."""
    return np.sum(p * z[:, None] ** np.arange(p.shape[1]), axis=1)


# --- kinks -----------------------------------------------------------------------------------


def _edges(P: Demodulation, arcs_h: Arcs, arcs_m: Arcs, edges: Pairs) -> _Points:
    """Stationary points with h at a kink and m inside an arc.

    F has at the most one stationary point along the edge, a minimum; its slopes to both sides say
    whether it is one of F.
    """
    parts = []
    for i, j in _chunks(edges, P.ell):
        b, db, sigma = _piece(P.G2, arcs_m, j)
        a = P.G1.jvp(direction(arcs_h.angles[i]), np.zeros((i.size, 2)))[0]
        X = np.stack([_sum(P.y0 * a * b), _sum(P.y0 * a * db)], axis=1)[:, None]
        Y = np.einsum("kl,ksl->ks", a * a, _square(b, db))[:, None]
        (T0, T1), flat = _slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
        w = np.where(flat, 0.0, _ratio(T0[:, 0], T1[:, 0]))
        on = (np.abs(w) <= INSIDE) & (X[:, 0, 0] > 0)
        i, j, flat = i[on], j[on], flat[on]
        phi = arcs_m.middle[j] + np.arctan(sigma[on] * w[on])
        across = _bend(P.G1, arcs_h.angles[i], P.G2(direction(phi)), P.y0)
        kind = np.select(
            [across == "slope", flat | (across == "level"), across == "valley"],
            ["", "degenerate", "kink minimum"],
            "kink saddle",
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
                (along_h == "slope") | (along_m == "slope"),
                (along_h == "level") | (along_m == "level"),
                along_h != along_m,
                along_h == "valley",
            ],
            ["", "", "degenerate", "kink saddle", "kink minimum"],
            "kink maximum",
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
    """How F bends across a kink at G's angle (K,), the other network's value being (K, ell).

    By the one-sided slopes -S of F to both sides: "valley" both up, "ridge" both down, "level" none
    down and one zero, "slope" else.
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
    return np.select([low > 0, high < 0, low == 0], ["valley", "ridge", "level"], "slope")


# --- the table -------------------------------------------------------------------------------


def _table(P: Demodulation, points: _Points, dead_h: Array, dead_m: Array) -> pd.DataFrame:
    """Radius, loss and nearest hyperbola of each point, and the rows of dead cones."""
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
    blank = {"kind": "dead cone", "r": 0.0, "loss_ratio": 1.0, "layer_h": 0, "layer_m": 0}
    rows = pd.DataFrame([blank | row for row in dead]).reindex(columns=table.columns)
    rows["branch"] = rows["branch"].astype(object)
    rows = rows.astype({name: table[name].dtype for name in table.columns})
    return pd.concat([table, rows], ignore_index=True) if len(table) else rows


def _dead_cones(G: ReluNetwork, arcs: Arcs) -> Array:
    """Angles of the middles of the cones of directions with G = 0."""
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
    """Smooth points once: those on a boundary that is no kink are found from both sides."""
    key = np.round(np.stack([_wrap(points.theta), _wrap(points.phi)]) / SAME_POINT)
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
    """Indices of h and of m, so many at a time that (K, ell) arrays stay small."""
    step = max(1, CHUNK // ell)
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step, 0], pairs[start : start + step, 1]


def _sum(terms: Array) -> Array:
    return np.sum(terms, axis=-1)


def _wrap(angle: Array) -> Array:
    """Into (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)
