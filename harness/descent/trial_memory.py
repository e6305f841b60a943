"""The memory of one trial of the tracking engine: its options, points, scalars and trace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.descent.array_kernels import Array, Ints, Records

STATE = np.dtype(
    [
        ("step", np.int64),
        ("flips", np.int64),
        ("changes", np.int64),
        ("side_h", np.int64),
        ("side_m", np.int64),
        ("recorded", np.int64),
        ("hot", np.int64),
        ("next", np.int64),
        ("hot_steps", np.int64),
        ("loss", np.float64),
        ("window_loss", np.float64),
        ("bound", np.float64),
        ("scale", np.float64),
        ("cold", np.float64),
    ]
)
"""The scalars of a trial.

step, flips, changes, loss, hot_steps : as in `harness.descent.solution`.
side_h, side_m : the side of each network on which the iterate is.
recorded : rows of the trace so far.
hot : number of hot units, 0 while all units are in use.
next : the step at which to look for few hot units again.
window_loss, bound : loss at the start of the stall window; the trial diverges above `bound`.
scale : c of step (iv).
cold : loss of the cold units.
"""


class Rules(NamedTuple):
    """The options of a descent.

    unit is 1/2 ||y0||^2; check is 0 (never), 1 (once) or 2 (every step); the rest is as in
    `Stopping` and `alternating_descent`.
    """

    eta: float
    unit: float
    loss_rtol: float
    stall_rtol: float
    divergence: float
    stall_window: int
    max_steps: int
    check: int
    balance: int
    joint: int


class Point(NamedTuple):
    """One factor, (n,) each: the iterate, the iterate before step (iv), a gradient.

    The gradient is the one at `raw`.
    """

    now: Array
    raw: Array
    slope: Array


CHOICE = np.dtype(
    [
        ("root", np.float64),
        ("slope_h", np.float64),
        ("slope_m", np.float64),
        ("slope_both", np.float64),
    ]
)
"""What the last full sign check found of another sign choice.

root : a lower bound of the norm of its residual; 0 if nothing is known.
slope_h, slope_m, slope_both : how fast the norm can fall when h, m or both move.
"""


class SignMemory(NamedTuple):
    """The last full sign check: h (n,), m (p,), and choices (3,) of CHOICE, in order of SIGNS."""

    h: Array
    m: Array
    choices: Records


class Trial(NamedTuple):
    """A trial: h, m; state (1,) of STATE; y0, weights v, hot units and their y0, (ell,) each.

    The units of the last layer are in the order that the networks were prepared in.
    Only the first `hot` entries of `units` and `hot_y0` count; signs is for the sign check.
    """

    h: Point
    m: Point
    state: Records
    y0: Array
    v: Array
    units: Ints
    hot_y0: Array
    signs: SignMemory


class Record(NamedTuple):
    """The trace at steps `at` (T,): loss (T,), h (T, n), m (T, p), flips and changes (T,).

    Attributes
    ----------
    pattern_h, pattern_m : 1 for the units, of all layers, that were active at the step before.
    """

    at: Ints
    loss: Array
    h: Array
    m: Array
    flips: Ints
    changes: Ints
    pattern_h: Array
    pattern_m: Array


# --- Residuals ------------------------------------------------------------------------------
