"""The bilinear model y = (B h) * (C m), what a method finds in it, and how far that is off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array, Bools, Ints
from harness.errors import shown
from harness.status import Status

RANK_RTOL = 1e-10
"""Singular values below this share of the largest one count as zero."""


@dataclass(frozen=True, eq=False)
class Bilinear:
    """An observation y = (B h) * (C m), entrywise, with w = B h and x = C m from two dictionaries.

    Parameters
    ----------
    B, C : (ell, K), (ell, N)
        Dictionaries of any scale; a column is a term.
    y : (ell,)

    Raises
    ------
    ValueError
        If B or C is not a finite non-empty matrix or has a column of zeros, the lengths differ, or
        y is not finite or is zero everywhere.
    """

    B: Array
    C: Array
    y: Array

    def __post_init__(self) -> None:
        for name in ("B", "C"):
            matrix = np.array(getattr(self, name), dtype=np.float64)
            if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
                raise ValueError(f"{name}: shape {matrix.shape}; needs a finite non-empty matrix")
            if not (used := matrix.any(axis=0)).all():
                raise ValueError(f"{name}: column {np.argmin(used)} is zero; each must be a term")
            object.__setattr__(self, name, matrix)
        y = np.array(self.y, dtype=np.float64)
        if not len(self.B) == len(self.C) == y.size or y.ndim != 1:
            raise ValueError(
                f"B {self.B.shape}, C {self.C.shape}, y {y.shape}: must be (ell, K), (ell, N), "
                "(ell,) with one ell"
            )
        if not np.isfinite(y).all() or not y.any():
            raise ValueError("y: must be finite, and not zero everywhere")
        object.__setattr__(self, "y", y)

    @property
    def ell(self) -> int:
        return len(self.y)

    @property
    def K(self) -> int:
        return self.B.shape[1]

    @property
    def N(self) -> int:
        return self.C.shape[1]

    def residual(self, h: Array, m: Array) -> float:
        """||(B h) * (C m) - y|| / ||y||."""
        return float(np.linalg.norm((self.B @ h) * (self.C @ m) - self.y) / np.linalg.norm(self.y))

    def adjoint(self, v: Array) -> Array:
        """sum_l v_l b_l c_l^T = B^T diag(v) C: (ell,) -> (K, N)."""
        return np.asarray((self.B * v[:, None]).T @ self.C)

    def of_columns(self, first: Ints, second: Ints) -> Bilinear:
        """The model whose dictionaries are these columns of B and of C."""
        return Bilinear(self.B[:, first], self.C[:, second], self.y)

    def check_subspaces(self) -> None:
        """Raise ValueError unless the columns of B, and those of C, are independent."""
        for name, matrix in (("B", self.B), ("C", self.C)):
            if (rank := _rank(matrix)) < matrix.shape[1]:
                raise ValueError(
                    f"{name}: rank {rank} with {matrix.shape[1]} columns in {self.ell} rows; its "
                    "columns must be independent"
                )

    def checked_start(self, name: str, start: ArrayLike, size: int) -> Array:
        """A start as an array; ValueError unless it is a finite non-zero vector of this size."""
        vector = np.array(start, dtype=np.float64)
        if vector.shape != (size,) or not np.isfinite(vector).all() or not vector.any():
            raise ValueError(f"{name}: needs a finite vector of length {size} that is not zero")
        return vector


def _rank(matrix: Array) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.sum(values > RANK_RTOL * values[0]))


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a method found.

    Attributes
    ----------
    h, m : (K,), (N,)
        Coefficients with ||h|| = ||m||, or zeros if there is no estimate; never NaN.
    residual : ||(B h) * (C m) - y|| / ||y||.
    status : how the method ended.
    steps : iterations taken.
    """

    h: Array
    m: Array
    residual: float
    status: Status
    steps: int


def recovery(model: Bilinear, h: Array, m: Array, status: Status, steps: int) -> Recovery:
    """The result of a method that ended at (h, m); DIVERGED and zeros if that is not finite."""
    sizes = np.linalg.norm(h), np.linalg.norm(m)
    if not np.isfinite(sizes).all():
        return nothing(model, Status.DIVERGED, steps)
    if min(sizes) == 0:
        return nothing(model, status, steps)
    c = np.sqrt(sizes[0] / sizes[1])
    return Recovery(h / c, c * m, model.residual(h, m), status, steps)


def nothing(model: Bilinear, status: Status, steps: int = 0) -> Recovery:
    """The result of a method without an estimate: zeros, whose residual is 1."""
    return Recovery(np.zeros(model.K), np.zeros(model.N), 1.0, status, steps)


@dataclass(frozen=True)
class Stopping:
    """When an iteration ends.

    Attributes
    ----------
    rtol : converged if the residual is at most this.
    max_steps : largest number of steps.
    stall_rtol, stall_window : stalled if the last stall_window steps lowered the residual by less
        than stall_rtol of it.

    Raises
    ------
    ValueError
        If one of them is out of range.
    """

    rtol: float
    max_steps: int
    stall_rtol: float
    stall_window: int

    def __post_init__(self) -> None:
        for name, least in (("rtol", 0), ("max_steps", 1), ("stall_rtol", 0), ("stall_window", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}={shown(getattr(self, name))}: must be >= {least}")


Step = Callable[[Array, Array], tuple[Array, Array]]


def iterate(model: Bilinear, step: Step, h: Array, m: Array, stopping: Stopping) -> Recovery:
    """Repeat (h, m) <- step(h, m) until `stopping` ends it."""
    before = np.inf
    for steps in range(stopping.max_steps + 1):
        residual = model.residual(h, m)
        if residual <= stopping.rtol:
            return recovery(model, h, m, Status.CONVERGED, steps)
        if not np.isfinite(residual):
            return nothing(model, Status.DIVERGED, steps)
        if steps % stopping.stall_window == 0:
            if residual > (1 - stopping.stall_rtol) * before:
                return recovery(model, h, m, Status.STALLED, steps)
            before = residual
        if steps < stopping.max_steps:
            h, m = step(h, m)
    return recovery(model, h, m, Status.MAX_STEPS, stopping.max_steps)


def best(found: Iterable[Recovery]) -> Recovery:
    """The first of the best fits."""
    return min(found, key=lambda each: each.residual)


def signal_error(estimate: ArrayLike, truth: ArrayLike) -> float:
    """min over c of ||c estimate - truth|| / ||truth||: (ell,), (ell,); 1 for an estimate of zeros.

    The sine of the angle between the two: the scale of a factor is not observable.
    """
    estimate, truth = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    square = estimate @ estimate
    c = (estimate @ truth) / square if square > 0 else 0.0
    return float(np.linalg.norm(c * estimate - truth) / np.linalg.norm(truth))


def largest(values: Array, count: int) -> Ints:
    """Places of the `count` largest values (K,), in increasing order."""
    return np.sort(np.argsort(-values, kind="stable")[:count])


def as_signs(signs: ArrayLike, y: Array) -> Array:
    """Known signs of w = B h as an array of -1 and 1; ValueError unless they fit y (ell,)."""
    t = np.array(signs, dtype=np.float64)
    wrong: Bools = np.abs(t) != 1
    if t.shape != y.shape or wrong.any():
        where = f"{t[np.argmax(wrong)]:g} in row {np.argmax(wrong)}" if t.shape == y.shape else ""
        raise ValueError(
            f"signs: shape {t.shape} {where}: must be 1 or -1 in each of {y.size} rows"
        )
    return t
