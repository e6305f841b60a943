"""Fast evaluation of the residual's norm, at one point and at many.

Both conditions ask for the norm of

    R = sum_i 1{w_i.x > 0} 1{w_i.y > 0} weights_i w_i w_i^T - scale Q_{x,y},

with weights_i = 1 and scale = alpha for the WDC (eq. 5).  For the joint condition (eqs. 6 and 7)
`joint_weights` gives both: the weights_i >= 0 stand between B_{+,h}^T and B_{+,x},
and a row counts where it is active for both, so that R is symmetric there too.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, lapack

from harness.arrays import Array
from harness.conditions.definition import check_matrix
from harness.conditions.mean import mean_parts, mean_parts_batch, overlap_batch
from harness.theory import Q

MeanParts = tuple[float, float, float, Array, Array]
"""shift, plus, minus, e, f of `mean_parts`."""

PACKED_COLUMNS = 16
"""Up to this many columns, a batch is one product with the rows' packed outer products."""
PACKED_BYTES = 2**28
BATCH_BYTES = 2**20
"""Memory allowed for the outer products (256 MB), and for a batch's pre-activations, meant to
stay in a core's cache (1 MB)."""
BLOCKED_COLUMNS = 64
SMALL_PRODUCT = 950_000
"""Up to 64 columns the Gram matrix is summed from products of at most 950,000 multiplications:
OpenBLAS multiplies these without packing."""


def residual_numpy(W: Array, x: Array, y: Array, alpha: float = 1.0) -> float:
    """|| W_{+,x}^T W_{+,y} - alpha Q_{x,y} || (eq. 5) as one would write it in NumPy.

    W is (ell, n), x and y are nonzero (n,).  The peer against which `Residual` is timed.
    """
    active = (W @ x > 0) & (W @ y > 0)
    return float(np.linalg.norm((W * active[:, None]).T @ W - alpha * Q(x, y), 2))


def joint_weights(C: Array, m: Array, y: Array, alpha: float = 1.0) -> tuple[Array, Array]:
    """weights_i = ell (c_i.m)_+ (c_i.y)_+ and scale = alpha m^T Q_{m,y} y (eq. 6).

    C is (ell, p), m and y are unit vectors (..., p).

    Returns
    -------
    weights, scale : (..., ell), (...)
    """
    weights = len(C) * np.maximum(m @ C.T, 0.0) * np.maximum(y @ C.T, 0.0)
    return weights, alpha * overlap_batch(m, y)[0]


class Residual:
    """R of one matrix W (ell, n) at many points, in buffers that are allocated once.

    Only rows active in both vectors enter the product, of which one triangle is formed,
    Q = a I + rank 2 is subtracted in place, and only the eigenvalues asked for are computed.
    Not for use from several threads at once.

    Raises
    ------
    ValueError
        If W is not a finite, non-empty matrix.
    """

    def __init__(self, W: ArrayLike) -> None:
        self.W = check_matrix("W", W)
        ell, n = self.W.shape
        self._batch = max(1, min(64, BATCH_BYTES // (16 * ell)))
        self._pre = np.empty((2 * self._batch, ell))
        self._on = np.empty((self._batch, ell), dtype=bool)
        self._rows = np.empty((ell, n))
        self._matrix, self._part = np.zeros((n, n)), np.zeros((n, n))

    def norm(self, x: Array, y: Array, scale: float = 1.0, weights: Array | None = None) -> float:
        """||R|| at nonzero x, y (n,); weights (ell,) nonnegative or None for ones."""
        return _spectral_norm(
            self._form(self._active(x[None], y[None])[0], mean_parts(x, y, scale), weights)
        )

    def norms(
        self, X: Array, Y: Array, scale: float | Array = 1.0, weights: Array | None = None
    ) -> Array:
        """||R|| at K points X, Y (K, n): (K,).

        scale is one number or (K,); weights is None, (ell,) for all points or (K, ell).
        """
        K = len(X)
        scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), (K,))
        result = np.empty(K)
        for start in range(0, K, self._batch):
            part = slice(start, start + self._batch)
            own = weights[part] if weights is not None and weights.ndim == 2 else weights
            result[part] = self._norms(X[part], Y[part], scale[part], own)
        return result

    def _norms(self, X: Array, Y: Array, scale: Array, weights: Array | None) -> Array:
        on = self._active(X, Y)
        if self._packed is not None:
            factors = np.multiply(on, 1.0 if weights is None else weights, out=self._pre[: len(X)])
            return _packed_norms(factors @ self._packed, mean_parts_batch(X, Y, scale))
        result = np.empty(len(X))
        for k, parts in enumerate(zip(*mean_parts_batch(X, Y, scale), strict=True)):
            own = weights[k] if weights is not None and weights.ndim == 2 else weights
            result[k] = _spectral_norm(self._form(on[k], parts, own))
        return result

    def _active(self, X: Array, Y: Array) -> NDArray[np.bool_]:
        """Which rows are active in both of X[k], Y[k]: (K, ell), in the buffer."""
        K = len(X)
        pre_x, pre_y = self._pre[:K], self._pre[K : 2 * K]
        if K == 1:  # two matrix-vector products are faster than one product with two columns
            np.matmul(X, self.W.T, out=pre_x)
            np.matmul(Y, self.W.T, out=pre_y)
        else:
            np.matmul(np.concatenate([X, Y]), self.W.T, out=self._pre[: 2 * K])
        return np.greater(np.minimum(pre_x, pre_y, out=pre_x), 0.0, out=self._on[:K])

    def _form(self, on: NDArray[np.bool_], parts: MeanParts, weights: Array | None) -> Array:
        """The upper triangle of R (n, n), in Fortran order, from the active rows."""
        index = on.nonzero()[0]
        rows = self._rows[: len(index)]
        np.take(self.W, index, axis=0, out=rows, mode="clip")
        if weights is not None:
            rows *= np.sqrt(weights[index])[:, None]
        _gram(rows, self._matrix, self._part)
        shift, plus, minus, e, f = parts
        self._matrix.ravel()[:: len(self._matrix) + 1] -= shift
        if plus > 0 or minus > 0:
            blas.dsyr(-plus, e, a=self._matrix.T, overwrite_a=1, lower=0)
            blas.dsyr(minus, f, a=self._matrix.T, overwrite_a=1, lower=0)
        return self._matrix.T

    @cached_property
    def _packed(self) -> Array | None:
        """The rows' outer products, lower triangle, (ell, n (n + 1)/2); None where too large."""
        ell, n = self.W.shape
        if n > PACKED_COLUMNS or 4 * ell * n * (n + 1) > PACKED_BYTES:
            return None
        i, j = np.tril_indices(n)
        return self.W[:, i] * self.W[:, j]


def _gram(rows: Array, matrix: Array, part: Array) -> None:
    """rows^T rows into the lower triangle of matrix (n, n); part (n, n) is scratch.

    For middling n two blocks, of products small enough that OpenBLAS multiplies them without
    packing: 3/4 of the flops of the full product, at twice the rate of dsyrk's 1/2 (n = 50).
    """
    k, n = rows.shape
    if k == 0:
        matrix[:] = 0.0
        return
    if not PACKED_COLUMNS < n <= BLOCKED_COLUMNS:
        blas.dsyrk(1.0, rows.T, c=matrix.T, overwrite_c=1, lower=0)
        return
    half = n // 16 * 8
    for columns in (slice(0, half), slice(half, n)):
        width = columns.stop
        step = SMALL_PRODUCT // (width * (width - columns.start))
        for start in range(0, k, step):
            block = rows[start : start + step, :width]
            out = matrix if start == 0 else part
            np.matmul(block[:, columns].T, block, out=out[columns, :width])
            if start:
                matrix[columns, :width] += part[columns, :width]


def _spectral_norm(matrix: Array) -> float:
    """Largest |eigenvalue| of a symmetric matrix given by its upper triangle."""
    n = len(matrix)
    if n <= PACKED_COLUMNS:
        values = lapack.dsyevd(matrix, compute_v=0, lower=0)[0]
        return max(-float(values[0]), float(values[-1]))
    # The upper end of the spectrum by bisection, then whether anything lies below minus it:
    # a third of the time of all eigenvalues at n = 50.
    _, diagonal, off, _, _ = lapack.dsytrd(matrix, lower=0)
    high = float(lapack.dstebz(diagonal, off, 2, 0.0, 0.0, n, n, 0.0, "E")[1][0])
    floor = float(diagonal.min()) - 2 * float(np.abs(off).max())  # Gershgorin
    if floor >= -high:
        return high
    found, values, *_ = lapack.dstebz(diagonal, off, 1, floor - 1.0, -high, 1, 1, 0.0, "E")
    return -float(values[0]) if found else high


def _packed_norms(packed: Array, parts: tuple[Array, Array, Array, Array, Array]) -> Array:
    """||S - scale Q|| for packed lower triangles S (K, n (n + 1)/2), overwritten: (K,)."""
    shift, plus, minus, e, f = parts
    K, n = e.shape
    i, j = np.tril_indices(n)
    packed[:, i == j] -= shift[:, None]
    packed -= (plus[:, None] * e)[:, i] * e[:, j]
    packed += (minus[:, None] * f)[:, i] * f[:, j]
    full = np.zeros((K, n, n))
    full[:, i, j] = packed
    values = np.linalg.eigvalsh(full, UPLO="L")
    return np.maximum(-values[:, 0], values[:, -1])
