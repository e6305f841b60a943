"""Stationary points of X^2 / Y on the square [-1, 1]^2, X bilinear and Y biquadratic, all of them.

The profile of the loss on a pair of arcs is ||y0||^2 / 2 - X^2 / (2 Y); here z is the coordinate
along the arc of h and w that along the arc of m.  X and Y come as coefficients of powers,
X[k, i, j] of z^i w^j.  All functions take R pairs at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.landscape.bernstein import roots_in_interval
from harness.landscape.kinds import Kind
from harness.landscape.tolerances import FLAT, INSIDE

Array = NDArray[np.float64]


def solve(X: Array, Y: Array) -> tuple[NDArray[np.int64], Array, Array, NDArray[np.bool_]]:
    """Points (z, w) in [-1, 1]^2 with X > 0 at which X^2 / Y is stationary.

    Parameters
    ----------
    X, Y : (R, 2, 2), (R, 3, 3)

    Returns
    -------
    index : (R,) the pair that each point belongs to
    z, w : (R,)
    flat : (R,) whether X^2 / Y is constant in z or in w; one point then stands for the line

    Notes
    -----
    For fixed w, f = u^T C u / 2 - x^T u is a quadratic of u in R^2, the direction of h times a
    scale, with the least value -N / (2 D), N = x^T adj(C) x and D = det C.  N and D have degree 4
    in w.  N' D - N D' has degree 6, as the terms of degree 7 cancel: its roots are the w.  Then
    z = -S_0 / S_1 (`slope`).
    """
    (S0, S1), flat_z = slope(X, Y)
    (T0, T1), flat_w = slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
    (x0, x1), (y0, y1, y2) = np.moveaxis(X, 1, 0), np.moveaxis(Y, 1, 0)
    N = _times(_times(x0, x0), y2) - _times(_times(x0, x1), y1) + _times(_times(x1, x1), y0)
    D = _times(y0, y2) - _times(y1, y1) / 4
    stationary = (_times(_derivative(N), D) - _times(N, _derivative(D)))[:, :7]
    regular = np.flatnonzero(~flat_z & ~flat_w)
    which, w = roots_in_interval(stationary[regular] * INSIDE ** np.arange(7))
    cell, w = regular[which], INSIDE * w
    cells, zs, ws = [cell], [ratio(_at(S0[cell], w), _at(S1[cell], w))], [w]

    only_z, only_w = np.flatnonzero(flat_z & ~flat_w), np.flatnonzero(flat_w & ~flat_z)
    both = np.flatnonzero(flat_z & flat_w & (X[:, 0, 0] > 0))
    cells += [only_z, only_w, both]
    zs += [np.zeros(only_z.size), ratio(S0[only_w, 0], S1[only_w, 0]), np.zeros(both.size)]
    ws += [ratio(T0[only_z, 0], T1[only_z, 0]), np.zeros(only_w.size), np.zeros(both.size)]
    index, z, w = np.concatenate(cells), np.concatenate(zs), np.concatenate(ws)
    flat = np.arange(index.size) >= cell.size
    inside = (np.abs(z) <= INSIDE) & (np.abs(w) <= INSIDE)
    inside[inside] = positive(X[index[inside]], z[inside], w[inside])
    return index[inside], z[inside], w[inside], flat[inside]


def slope(X: Array, Y: Array) -> tuple[tuple[Array, Array], NDArray[np.bool_]]:
    """S = X_z Y - X Y_z / 2 = S_0 + z S_1 and whether S = 0 throughout; F_z has the sign of -S.

    S_0 and S_1 are cubics in w, (R, 4).
    """
    (x0, x1), (y0, y1, y2) = np.moveaxis(X, 1, 0), np.moveaxis(Y, 1, 0)
    forms, flat = [], np.ones(len(X), dtype=np.bool_)
    for plus, minus in (((x1, y0), (x0, y1 / 2)), ((x1, y1 / 2), (x0, y2))):
        S = _times(*plus) - _times(*minus)
        size = sum(_times(np.abs(x), np.abs(y)) for x, y in (plus, minus))
        flat &= (np.abs(S) <= FLAT * size).all(axis=1)
        forms.append(S)
    return (forms[0], forms[1]), flat


def positive(X: Array, z: Array, w: Array) -> NDArray[np.bool_]:
    """Whether X(z, w) > 0 beyond rounding; a point with X = 0 lies in K."""
    terms = (
        X
        * np.stack([np.ones_like(z), z], 1)[:, :, None]
        * np.stack([np.ones_like(w), w], 1)[:, None]
    )
    return terms.sum(axis=(1, 2)) > FLAT * np.abs(terms).sum(axis=(1, 2))


def smooth_kind(X: Array, Y: Array, z: Array, w: Array) -> NDArray[np.str_]:
    """Minimum, saddle or degenerate, by the determinant of the Hessian of F.

    The Hessian is -(S_z, S_w; T_z, T_w) times X / Y^2, with T the `slope` in w.  F has no maximum.
    """
    (S0, S1), _ = slope(X, Y)
    (_, T1), _ = slope(X.transpose(0, 2, 1), Y.transpose(0, 2, 1))
    mixed = _at(_derivative(S0), w) + z * _at(_derivative(S1), w)
    direct = _at(S1, w) * _at(T1, z)
    determinant, size = direct - mixed**2, np.abs(direct) + mixed**2
    kind = np.where(determinant > 0, Kind.MINIMUM, Kind.SADDLE)
    return np.where(np.abs(determinant) > FLAT * size, kind, Kind.DEGENERATE)


def ratio(S0: Array, S1: Array) -> Array:
    """The zero of S_0 + z S_1 if F has a minimum there (S_1 < 0), else infinity."""
    return np.divide(-S0, S1, out=np.full_like(S0, np.inf), where=S1 < 0)


def _times(p: Array, q: Array) -> Array:
    """Products of polynomials, (R, M + 1), (R, N + 1) -> (R, M + N + 1)."""
    product = np.zeros((len(p), p.shape[1] + q.shape[1] - 1))
    for k in range(p.shape[1]):
        product[:, k : k + q.shape[1]] += p[:, k : k + 1] * q
    return product


def _derivative(p: Array) -> Array:
    return p[:, 1:] * np.arange(1, p.shape[1])


def _at(p: Array, z: Array) -> Array:
    """Values of R polynomials at (R,)."""
    return np.sum(p * z[:, None] ** np.arange(p.shape[1]), axis=1)
