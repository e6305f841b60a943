"""What is left of a problem once a part of the truth is told: yardsticks, not methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.arrays import Array
from harness.priors.model import Bilinear, Recovery, recovery
from harness.priors.subspace import alternating_least_squares, spectral_start
from harness.problem import Demodulation
from harness.status import Status


def known_factor(model: Bilinear, m: ArrayLike) -> Recovery:
    """h by least squares, told m (N,) up to scale: needs K informative rows.

    Raises
    ------
    ValueError
        If m does not fit, or diag(C m) B has dependent columns.
    """
    known = model.checked_start("m", m, model.N)
    h, _, rank, _ = np.linalg.lstsq((model.C @ known)[:, None] * model.B, model.y, rcond=None)
    if rank < model.K:
        raise ValueError(f"diag(C m) B: rank {rank} with {model.K} columns; h is not determined")
    return recovery(model, np.asarray(h), known, Status.CONVERGED, 1)


def known_supports(
    model: Bilinear, support1: Sequence[int], support2: Sequence[int], m_init: ArrayLike
) -> Recovery:
    """`alternating_least_squares` on the columns that the truth uses, m_init (N,).

    Raises
    ------
    ValueError
        If a support is empty, repeats a column or names none, or as `alternating_least_squares`.
    """
    for name, support, columns in (
        ("support1", support1, model.K),
        ("support2", support2, model.N),
    ):
        if not 1 <= len(set(support)) == len(support) or not set(support) <= set(range(columns)):
            raise ValueError(f"{name}: needs distinct columns from 0 to {columns - 1}")
    first, second = np.array(support1, dtype=np.int64), np.array(support2, dtype=np.int64)
    start = model.checked_start("m_init", m_init, model.N)
    found = alternating_least_squares(model.of_columns(first, second), start[second])
    h, m = np.zeros(model.K), np.zeros(model.N)
    h[first], m[second] = found.h, found.m
    return Recovery(h, m, found.residual, found.status, found.steps)


def active_subspaces(P: Demodulation) -> Bilinear | None:
    """The bilinear problem that is left of P, told which units are active at the truth.

    There G1(h) = Lambda_{h0} h and G2(m) = Lambda_{m0} m, so rows active in both say
    y_l = (b_l.h)(c_l.m), and others say nothing.  None if such rows are fewer than n or p, or leave
    h or m undetermined even with the other one known.
    """
    B, C = P.G1.Lambda(P.h0), P.G2.Lambda(P.m0)
    active = (P.G1(P.h0) > 0) & (P.G2(P.m0) > 0)
    if active.sum() < max(P.n, P.p):
        return None
    try:
        model = Bilinear(B[active], C[active], P.y0[active])
        model.check_subspaces()
    except ValueError:
        return None
    return model


def known_activation(P: Demodulation, m_init: Array | None = None) -> Recovery:
    """`alternating_least_squares` on `active_subspaces`: P, told its activation pattern.

    This is what "a subspace of dimension n" means for a network: the yardstick of Algorithm 1.

    Parameters
    ----------
    P : Demodulation
    m_init : (p,), optional
        Start; the `spectral_start` by default.

    Returns
    -------
    Recovery
        h (n,) and m (p,) are latent codes.  Status UNDERDETERMINED and zeros if the rows active in
        both networks do not determine h or m.
    """
    model = active_subspaces(P)
    if model is None:
        return Recovery(np.zeros(P.n), np.zeros(P.p), 1.0, Status.UNDERDETERMINED, 0)
    start = spectral_start(model)[1] if m_init is None else m_init
    return alternating_least_squares(model, start)
