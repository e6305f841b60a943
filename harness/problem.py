"""The demodulation problem: observation, loss, gradients, one-sided derivatives, hyperbolas."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.network import KINK_RTOL, ReluNetwork
from harness.status import Status
from harness.theory import rho

Branch = tuple[int, int]

BRANCHES: tuple[Branch, ...] = ((1, 1), (-1, 1), (1, -1), (-1, -1))
"""Signs of the four hyperbolas, the true one first; -1 stands for -rho."""


def branch_name(branch: Branch) -> str:
    """Signs of a branch as text: "++", "-+", "+-" or "--", the sign of h first."""
    if tuple(branch) not in BRANCHES:
        raise ValueError(f"branch={branch}: must be one of {BRANCHES}")
    return "".join("+" if sign == 1 else "-" for sign in branch)


@dataclass(frozen=True, eq=False)
class Demodulation:
    """f(h, m) = 1/2 ||G1(h) * G2(m) - y0||^2 with y0 = G1(h0) * G2(m0) + noise (eq. 2).

    Parameters
    ----------
    G1, G2 : ReluNetwork
        R^n -> R^ell and R^p -> R^ell.
    h0, m0 : (n,), (p,)
        The truth.
    noise : (ell,), optional
        Added to the observation.  The paper has no noise.

    Raises
    ------
    ValueError
        If the networks' ell differ or a truth or noise has the wrong length or is not finite.
    """

    G1: ReluNetwork
    G2: ReluNetwork
    h0: Array
    m0: Array
    noise: Array | None = None
    y0: Array = field(init=False)

    def __post_init__(self) -> None:
        if self.G1.widths[-1] != self.G2.widths[-1]:
            raise ValueError(f"G1 has ell={self.G1.widths[-1]} but G2 has ell={self.G2.widths[-1]}")
        for name, G in (("h0", self.G1), ("m0", self.G2)):
            truth = np.array(getattr(self, name), dtype=np.float64)
            truth.flags.writeable = False  # y0 is computed from it
            if truth.shape != (G.widths[0],) or not np.isfinite(truth).all():
                raise ValueError(f"{name}: a finite vector of length {G.widths[0]} is needed")
            object.__setattr__(self, name, truth)
        y0 = self.G1(self.h0) * self.G2(self.m0)
        if self.noise is not None:
            if np.shape(self.noise) != y0.shape or not np.isfinite(self.noise).all():
                raise ValueError(f"noise: a finite vector of length {self.ell} is needed")
            y0 = y0 + self.noise
        object.__setattr__(self, "y0", y0)

    @property
    def n(self) -> int:
        return self.G1.widths[0]

    @property
    def p(self) -> int:
        return self.G2.widths[0]

    @property
    def ell(self) -> int:
        return self.G1.widths[-1]

    @property
    def d(self) -> int:
        return self.G1.depth

    @property
    def s(self) -> int:
        return self.G2.depth

    @property
    def status(self) -> Status:
        """OK, or why there is nothing to recover: DEAD_NETWORK or ZERO_OBSERVATION."""
        if not self.G1(self.h0).any() or not self.G2(self.m0).any():
            return Status.DEAD_NETWORK
        return Status.OK if self.y0.any() else Status.ZERO_OBSERVATION

    @property
    def loss_at_zero(self) -> float:
        """f on K, 1/2 ||y0||^2: the natural unit of the loss."""
        return 0.5 * float(self.y0 @ self.y0)

    def loss(self, h: ArrayLike, m: ArrayLike) -> Array:
        """f(h, m): (..., n), (..., p) -> (...)."""
        residual = self.G1(h) * self.G2(m) - self.y0
        return 0.5 * np.sum(residual * residual, axis=-1)

    def gradients(self, h: ArrayLike, m: ArrayLike) -> tuple[Array, Array]:
        """g1 = Lambda1_h^T [(a*b - y0) * b], g2 = Lambda2_m^T [(a*b - y0) * a].

        a = G1(h), b = G2(m); (..., n), (..., p) -> (..., n), (..., p), the partial gradients where
        f is differentiable.  At a kink relu' is taken to be 0, as in Lambda.
        """
        a, transpose1 = self.G1.pullback(h)
        b, transpose2 = self.G2.pullback(m)
        residual = a * b - self.y0
        return transpose1(residual * b), transpose2(residual * a)

    def jacobian(self, h: ArrayLike, m: ArrayLike) -> Array:
        """J = [diag(b) Lambda1_h, diag(a) Lambda2_m], the derivative of (h, m) -> G1(h) * G2(m).

        a = G1(h), b = G2(m); (..., n), (..., p) -> (..., ell, n + p).  J (h, -m) = 0, along the
        orbit (c h, m/c).  At a kink relu' is taken to be 0, as in Lambda.
        """
        a, b = self.G1(h)[..., None], self.G2(m)[..., None]
        return np.concatenate([b * self.G1.Lambda(h), a * self.G2.Lambda(m)], axis=-1)

    def gradient_h(self, h: ArrayLike, m: ArrayLike) -> Array:
        """g1 of `gradients` alone."""
        a, transpose = self.G1.pullback(h)
        b = self.G2(m)
        return transpose((a * b - self.y0) * b)

    def gradient_m(self, h: ArrayLike, m: ArrayLike) -> Array:
        """g2 of `gradients` alone."""
        b, transpose = self.G2.pullback(m)
        a = self.G1(h)
        return transpose((a * b - self.y0) * a)

    def directional_derivative(
        self,
        h: ArrayLike,
        m: ArrayLike,
        dh: ArrayLike,
        dm: ArrayLike,
        *,
        kink_rtol: float = KINK_RTOL,
    ) -> Array:
        """D_v f = lim_{t -> 0+} (f(h + t dh, m + t dm) - f(h, m)) / t, exact, kinks included.

        Takes (..., n), (..., p) and directions of the same shapes, returns (...); not normalised
        by the length of the direction.  `kink_rtol` as in `ReluNetwork.jvp`.
        """
        a, da = self.G1.jvp(h, dh, kink_rtol=kink_rtol)
        b, db = self.G2.jvp(m, dm, kink_rtol=kink_rtol)
        return np.sum((a * b - self.y0) * (da * b + a * db), axis=-1)

    def hyperbola(self, branch: Branch = (1, 1)) -> tuple[Array, Array]:
        """The point (hb, mb) whose orbit (c hb, mb/c), c > 0, is the branch (Theorem 3)."""
        if tuple(branch) not in BRANCHES:
            raise ValueError(f"branch={branch}: must be one of {BRANCHES}")
        hb = self.h0 if branch[0] == 1 else -rho(self.d) * self.h0
        mb = self.m0 if branch[1] == 1 else -rho(self.s) * self.m0
        return hb, mb

    def balanced_truth(self) -> tuple[Array, Array]:
        """The point (c h0, m0/c), c > 0, with ||h|| = ||m||: the truth, if h0 = 0 or m0 = 0."""
        h_norm, m_norm = np.linalg.norm(self.h0), np.linalg.norm(self.m0)
        c = np.sqrt(m_norm / h_norm) if h_norm > 0 and m_norm > 0 else 1.0
        return c * self.h0, self.m0 / c

    def neighbourhood(self, h: ArrayLike, m: ArrayLike, branch: Branch = (1, 1)) -> Array:
        """Least epsilon with (h, m) in A_{epsilon,(hb,mb)} of a branch's hyperbola.

        A holds the points with ||(h, m) - (c hb, mb/c)|| <= epsilon ||(c hb, mb/c)|| for some
        c > 0; see `relative_distance`.  (..., n), (..., p) -> (...).
        """
        hb, mb = self.hyperbola(branch)
        return relative_distance(h, m, hb, mb)

    def product_error(self, h: ArrayLike, m: ArrayLike) -> Array:
        """||h m^T - h0 m0^T||_F / ||h0 m0^T||_F: (..., n), (..., p) -> (...); free of the scale.

        NaN if h0 or m0 is zero.
        """
        h, m = np.asarray(h, dtype=np.float64), np.asarray(m, dtype=np.float64)
        difference = h[..., :, None] * m[..., None, :] - np.outer(self.h0, self.m0)
        size = float(np.linalg.norm(self.h0) * np.linalg.norm(self.m0))
        return np.linalg.norm(difference, axis=(-2, -1)) / (size if size > 0 else np.nan)


def relative_distance(h: ArrayLike, m: ArrayLike, hb: ArrayLike, mb: ArrayLike) -> Array:
    """inf over c > 0 of ||(h, m) - (c hb, mb/c)|| / ||(c hb, mb/c)||.

    (..., n), (..., p) and one (n,), (p,) -> (...).  Exact: the stationary c are roots of a
    polynomial.  At most 1, the limit as c -> 0 and as c -> inf, unless hb = mb = 0: then 0 at the
    origin and inf elsewhere.  NaN at points that are not finite.

    Notes
    -----
    With gamma = (||mb|| / ||hb||)^(1/2), c = gamma t, N = ||h||^2 + ||m||^2, U = gamma h.hb and
    V = m.mb / gamma, the square is 1 + (N t^2 - 2 U t^3 - 2 V t) / (||hb|| ||mb|| (1 + t^4)),
    stationary where U t^6 - N t^5 + 3 V t^4 - 3 U t^2 + N t - V = 0.
    """
    h, m, hb, mb = (np.asarray(v, dtype=np.float64) for v in (h, m, hb, mb))
    shape = np.broadcast_shapes(h.shape[:-1], m.shape[:-1])
    h = np.broadcast_to(h, (*shape, h.shape[-1])).reshape(-1, h.shape[-1])
    m = np.broadcast_to(m, (*shape, m.shape[-1])).reshape(-1, m.shape[-1])
    finite = np.isfinite(h).all(axis=-1) & np.isfinite(m).all(axis=-1)
    if not finite.all():
        distance = np.full(len(h), np.nan)
        distance[finite] = relative_distance(h[finite], m[finite], hb, mb)
        return distance.reshape(shape)[()]
    hb_square, mb_square = float(hb @ hb), float(mb @ mb)
    if hb_square == 0 and mb_square == 0:
        at_origin = ~(h.any(axis=-1) | m.any(axis=-1))
        return np.where(at_origin, 0.0, np.inf).reshape(shape)[()]
    u, v = h @ hb, m @ mb
    N = np.sum(h * h, axis=-1) + np.sum(m * m, axis=-1)
    if hb_square == 0 or mb_square == 0:
        # One factor vanishes.  With q = c if hb = 0, q = 1/c if mb = 0, and e the squared norm of
        # the other factor, the square is 1 + (N q^2 - 2 w q)/e: least at q = w/N.
        w = (v if hb_square == 0 else u)[:, None]
        q = np.divide(w, N[:, None], out=np.zeros_like(w), where=N[:, None] > 0)
        q = np.where(q > 0, q, np.nan)
        scales = q if hb_square == 0 else 1 / q
    else:
        gamma = (mb_square / hb_square) ** 0.25
        scales = gamma * _stationary_scales(u * gamma, v / gamma, N)
    return np.sqrt(_least_square(h, m, hb, mb, scales)).reshape(shape)[()]


def _stationary_scales(U: Array, V: Array, N: Array) -> Array:
    """Positive real roots t of the polynomial in `relative_distance`, (R, 6), NaN elsewhere."""
    flip = np.abs(V) > np.abs(U)  # t -> 1/t exchanges U and V: divide by the larger one
    U, V = np.where(flip, V, U), np.where(flip, U, V)
    solvable = U != 0
    lead = np.where(solvable, U, 1.0)
    zero = np.zeros_like(U)
    monic = np.stack([-N, 3 * V, zero, -3 * U, N, -V], axis=-1) / lead[:, None]
    companion = np.zeros((U.size, 6, 6))
    companion[:, 0, :] = -monic
    companion[:, np.arange(1, 6), np.arange(5)] = 1.0
    roots = np.linalg.eigvals(companion)
    # Rounding splits a double root into a complex pair; its real part is still a candidate.
    real = solvable[:, None] & (np.abs(roots.imag) <= 1e-6 * np.abs(roots)) & (roots.real > 0)
    t = np.where(real, roots.real, np.nan)
    return np.where(flip[:, None], 1 / t, t)


def _least_square(h: Array, m: Array, hb: Array, mb: Array, scales: Array) -> Array:
    """min(1, min over the columns c of ||(h, m) - (c hb, mb/c)||^2 / ||(c hb, mb/c)||^2)."""
    best = np.ones(len(h))
    for c in scales.T[:, :, None]:
        numerator = np.sum((h - c * hb) ** 2, axis=-1) + np.sum((m - mb / c) ** 2, axis=-1)
        denominator = np.sum((c * hb) ** 2, axis=-1) + np.sum((mb / c) ** 2, axis=-1)
        best = np.fmin(best, numerator / denominator)
    return best
