"""A great circle of x, of y, or of both at once, scanned exactly for a fixed vector v."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.conditions.mean import quadratic_form

Array = NDArray[np.float64]

ARC_MARGIN = 1e-9
"""Distance kept from the angles where a row switches: far above rounding, about 1e-16, so that the
active rows are known, and far below the width of most arcs."""
ARC_POINTS = 17
"""Points at which the best arc is evaluated again: Q varies little along it."""


class Circle:
    """A path x(t) = cos(t) x + sin(t) dx, y(t) alike, with v fixed (all (n,)).

    x, y unit; dx, dy unit tangents, or None for a vector that stays.  v is a unit vector.
    """

    def __init__(self, x: Array, y: Array, dx: Array | None, dy: Array | None, v: Array) -> None:
        self.x, self.y, self.dx, self.dy, self.v = x, y, dx, dy, v

    def at(self, t: float) -> tuple[Array, Array]:
        """x(t), y(t), normalised."""
        return _turn(self.x, self.dx, t), _turn(self.y, self.dy, t)

    def q_form(self, t: Array) -> Array:
        """v^T Q_{x(t),y(t)} v at angles t (K,): (K,)."""
        zero = np.zeros_like(self.v)
        dx = zero if self.dx is None else self.dx
        dy = zero if self.dy is None else self.dy
        cos, sin = np.cos(t), np.sin(t)
        cx, sx = (cos, sin) if self.dx is not None else (1.0, 0.0)
        cy, sy = (cos, sin) if self.dy is not None else (1.0, 0.0)
        a = (self.v @ self.x) * cx + (self.v @ dx) * sx
        b = (self.v @ self.y) * cy + (self.v @ dy) * sy
        c = (self.x @ self.y) * cx * cy + (dx @ self.y) * sx * cy
        c = np.clip(c + (self.x @ dy) * cx * sy + (dx @ dy) * sx * sy, -1.0, 1.0)
        return quadratic_form(a, b, c)

    def best(self, W: Array, gain: Array, scale: float) -> tuple[float, float]:
        """Maximum over t of sum_i 1{w_i.x > 0} 1{w_i.y > 0} gain_i - scale v^T Q v, and its t.

        W (ell, n), gain (ell,).  All 2 ell events of the circle are sorted once and the sum is
        carried from arc to arc; Q is looked at on both ends and the middle of every arc, and
        at ARC_POINTS points of the best one.  Arcs narrower than 4 ARC_MARGIN are skipped.

        Returns
        -------
        value, t : float
            -inf, 0 where every arc is too narrow.
        """
        begin, length, gain = self._intervals(W, gain)
        begin = begin % (2 * np.pi)
        end = (begin + length) % (2 * np.pi)
        times = np.concatenate([begin, end, [0.0]])
        order = np.argsort(times)
        times = times[order]
        start = gain[end < begin].sum()  # rows active across t = 0
        level = start + np.cumsum(np.concatenate([gain, -gain, [0.0]])[order])
        width = np.append(times[1:], 2 * np.pi) - times
        ends = -scale * self.q_form(times)
        middle = -scale * self.q_form(times + width / 2)
        value = level + np.maximum(np.maximum(ends, np.append(ends[1:], ends[0])), middle)
        value[width < 4 * ARC_MARGIN] = -np.inf
        j = int(np.argmax(value))
        if not np.isfinite(value[j]):
            return -np.inf, 0.0
        t = np.linspace(ARC_MARGIN, width[j] - ARC_MARGIN, ARC_POINTS) + times[j]
        fine = level[j] - scale * self.q_form(t)
        k = int(np.argmax(fine))
        return float(fine[k]), float(t[k])

    def _intervals(self, W: Array, gain: Array) -> tuple[Array, Array, Array]:
        """Where each row is active: from `begin` on for `length`, and the gains of these rows."""
        if self.dx is not None and self.dy is not None:
            live = gain.nonzero()[0]
            rows = W[live]
            phi = np.arctan2(rows @ self.dx, rows @ self.x)
            turn = np.arctan2(rows @ self.dy, rows @ self.y) - phi
            turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
            begin = phi + np.maximum(turn, 0.0) - np.pi / 2
            return begin, np.pi - np.abs(turn), gain[live]
        moving, tangent, fixed = (
            (self.x, self.dx, self.y) if self.dx is not None else (self.y, self.dy, self.x)
        )
        live = ((W @ fixed > 0) & (gain != 0)).nonzero()[0]
        rows = W[live]
        phi = np.arctan2(rows @ tangent, rows @ moving)
        return phi - np.pi / 2, np.full(len(live), np.pi), gain[live]


def _turn(x: Array, dx: Array | None, t: float) -> Array:
    if dx is None:
        return x
    turned = math.cos(t) * x + math.sin(t) * dx
    return turned / math.sqrt(turned @ turned)
