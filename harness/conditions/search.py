"""Lower ends of the two conditions' constants, by search (any n).

With v the eigenvector at an end of the spectrum and sign = +-1, the constant is the maximum over
x, y, v and sign of

    sign [ sum_i 1{w_i.x > 0} 1{w_i.y > 0} weights_i (w_i.v)^2 - scale v^T Q_{x,y} v ],

see `harness.conditions.fast_residual` for weights and scale.  The search draws rounds of chains,
random ones and some along the rows, and anneals each round (`harness.conditions.anneal`).  The
chains of a round are independent restarts, so that how many of them end at the same value, and how
far apart the best ones are, tell what more of them would find.  Sampled and row-aligned points are
there to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arrays import Array
from harness.conditions.anneal import SURVIVORS, Chains, Rows, anneal, unit, unit_rows
from harness.conditions.bracket import Bracket
from harness.conditions.definition import (
    JointWitness,
    WdcWitness,
    check_matrix,
    joint_wdc_residual,
    wdc_residual,
)
from harness.conditions.exact import wdc_certified_2
from harness.conditions.fast_residual import Residual, joint_weights

BUDGET = 30_000
"""Steps of a search by default, summed over its chains."""
STEPS = 80
"""Steps of a chain by default, in units of sqrt(n); they grow with the root of the budget, as the
number of chains does.  Not derived, as all numbers here."""
BLOCK = 64
"""Points whose residuals of the joint condition are computed together."""
ROUND_BYTES = 2**21
"""Chains that are annealed together: their products with the rows take about this much."""
APART = (0.1, 0.5, 3.0, 3.0)
"""The second vector of a start is the first plus this much of a random one, one of them drawn."""
ALIGNED = 64
"""The longest rows, so many of them, are tried as vectors of a witness."""
NEAR_ROWS, NEARNESS = (0.2, 0.5), 0.7
"""Shares of the chains of the WDC and of the joint condition that start near one of the best rows:
the row times NEARNESS plus a random vector."""
AGREES = 0.01
"""Chains agree that end within this share of the best value."""
ON_KINK, NUDGE = 1e-12, 1e-9
"""A witness whose u_i.x is this small is moved by a random vector of the second length: there
rounding decides which rows are active, which no exact vector may be able to repeat."""


def wdc_search(
    W: ArrayLike, alpha: float = 1.0, *, rng: np.random.Generator, budget: int = BUDGET
) -> Bracket:
    """Lower end of the WDC constant of W (ell, n) by annealed ascent (eq. 5); upper = inf.

    Parameters
    ----------
    W : (ell, n)
        Rows of mean square (alpha/ell) I for the constant to be small.
    alpha : float
        Factor of Q; W/sqrt(alpha) has the constant divided by alpha.
    rng : Generator
        The only source of randomness.
    budget : int
        Steps, summed over the chains, about.

    Raises
    ------
    ValueError
        If W is not a finite, non-empty matrix, alpha not positive or budget < 1.
    """
    side = Side(_checked_matrix("W", W, alpha, budget=budget), None, alpha)
    known = []
    if side.n == 2:  # some maxima are too narrow for chains; the certificate finds all of them
        witness = wdc_certified_2(side.W, alpha).witness
        known.append(side.record(np.array(witness)[:, None], None))
    return _search([side], known, rng, budget)


def joint_wdc_search(
    B: ArrayLike,
    C: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator,
    budget: int = BUDGET,
) -> Bracket:
    """Lower end of the joint-WDC constant of B (ell, n), C (ell, p) (eqs. 6, 7); upper = inf.

    As `wdc_search`, over (h, x) and (m, y) of both inequalities.

    Raises
    ------
    ValueError
        As `wdc_search`, and if B and C have different numbers of rows.
    """
    return _search(_sides(B, C, alpha, budget=budget), [], rng, budget)


def wdc_sampled(
    W: ArrayLike, alpha: float = 1.0, *, rng: np.random.Generator, count: int = 100
) -> Bracket:
    """Largest residual of W (ell, n) at `count` pairs of independent uniform x, y (eq. 5)."""
    side = Side(_checked_matrix("W", W, alpha, count=count), None, alpha)
    gates = rng.standard_normal((count, 2, side.n)).transpose(1, 0, 2)
    return _best([side.record(gates, None)], "sampled", rng)


def joint_wdc_sampled(
    B: ArrayLike,
    C: ArrayLike,
    alpha: float = 1.0,
    *,
    rng: np.random.Generator,
    count: int = 100,
) -> Bracket:
    """Largest residual of (6) and (7) at `count` independent uniform h, x, m, y.

    B is (ell, n), C is (ell, p); both inequalities are evaluated at every point.
    """
    sides = _sides(B, C, alpha, count=count)
    of_B = unit(rng.standard_normal((count, 2, sides[0].n))).transpose(1, 0, 2)
    of_C = unit(rng.standard_normal((count, 2, sides[1].n))).transpose(1, 0, 2)
    records = [sides[0].record(of_B, of_C), sides[1].record(of_C, of_B)]
    return _best(records, "sampled", rng)


def joint_wdc_row_aligned(
    B: ArrayLike, C: ArrayLike, alpha: float = 1.0, *, count: int | None = None
) -> Bracket:
    """Largest residual of (6) and (7) at h = x = b_i, m = y = c_i over the rows i.

    B is (ell, n), C is (ell, p).  `count` keeps the rows of largest ||b_i|| ||c_i||; rows that
    are zero in either are left out (the first unit vectors where all are).
    """
    sides = _sides(B, C, alpha, count=1 if count is None else count)
    records = [side.record(*side.along_rows(side.longest()[:count])) for side in sides]
    return _best(records, "row-aligned", np.random.default_rng(0))


@dataclass(eq=False)
class Side:
    """One inequality: the rows of W (ell, n) gate, and those of C (ell, p), if any, weigh."""

    W: Array
    C: Array | None
    alpha: float
    exchanged: bool = False
    kernel: Residual = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = Residual(self.W)

    @property
    def n(self) -> int:
        return self.W.shape[1]

    @property
    def cost(self) -> float:
        """Products of a step with the rows, in units of those of the WDC."""
        return 1.0 if self.C is None else 5 / 3

    @property
    def negative_bound(self) -> float:
        """Every eigenvalue of R is at least minus this.

        The sum in R is positive semidefinite, and ||Q|| and the overlap are at most 1/2.
        """
        return self.alpha * (0.5 if self.C is None else 0.25)

    def norms(self, gates: Array, weighing: Array | None) -> Array:
        """||R|| at K points, gates (2, K, n) and weighing (2, K, p): (K,)."""
        if self.C is None or weighing is None:
            return self.kernel.norms(gates[0], gates[1], self.alpha)
        values = np.empty(gates.shape[1])
        for start in range(0, len(values), BLOCK):
            part = slice(start, start + BLOCK)
            m, y = unit(weighing[:, part])
            weights, scale = joint_weights(self.C, m, y, self.alpha)
            values[part] = self.kernel.norms(gates[0, part], gates[1, part], scale, weights)
        return values

    def record(self, gates: Array, weighing: Array | None) -> Record:
        return Record(self, gates, weighing, self.norms(gates, weighing))

    def longest(self) -> NDArray[np.intp]:
        """Rows by falling ||b_i|| ||c_i||, those that are zero left out unless all are."""
        sizes = np.linalg.norm(self.W, axis=1)
        if self.C is not None:
            sizes = sizes * np.linalg.norm(self.C, axis=1)
        order = np.argsort(-sizes, kind="stable")
        return order[: max(1, int(np.count_nonzero(sizes)))]

    def along_rows(self, order: NDArray[np.intp]) -> tuple[Array, Array | None]:
        """Gates x = y = w_i, weighing vectors m = y = c_i; the first unit vector for a zero row."""
        return _twice(self.W[order]), None if self.C is None else _twice(self.C[order])

    def witness(self, gates: Array, weighing: Array | None) -> WdcWitness | JointWitness:
        if weighing is None:
            return WdcWitness(*gates)
        (h, x), (m, y) = (weighing, gates) if self.exchanged else (gates, weighing)
        return JointWitness(h, x, m, y, self.exchanged)

    def residual(self, witness: WdcWitness | JointWitness) -> float:
        """The residual computed anew from the definition; this is the value that is reported."""
        if isinstance(witness, WdcWitness):
            return wdc_residual(self.W, *witness, self.alpha)
        assert self.C is not None
        pair = (self.C, self.W) if self.exchanged else (self.W, self.C)
        return joint_wdc_residual(*pair, witness, self.alpha)


@dataclass(eq=False)
class Record:
    """Points of one side with their values: gates (2, K, n), weighing (2, K, p), values (K,)."""

    side: Side
    gates: Array
    weighing: Array | None
    values: Array


def _search(
    sides: list[Side], known: list[Record], rng: np.random.Generator, budget: int
) -> Bracket:
    """Rounds of chains on every side until the budget is spent; `known` points compete."""
    columns = max(side.n for side in sides)
    steps = max(1, round(min(STEPS * math.sqrt(columns * budget / BUDGET), budget)))
    chains = max(1, round(budget / (SURVIVORS * steps * len(sides) * sides[0].cost)))
    rounds = -(-chains // max(64, ROUND_BYTES // (12 * len(sides[0].W))))
    aligned = [side.record(*side.along_rows(side.longest()[:ALIGNED])) for side in sides]
    lead = max(record.values.max() for record in aligned)
    records: list[Record] = []
    for side, points in zip(sides, aligned, strict=True):
        rows = Rows.of(side.W, side.C, side.alpha)
        for part in range(rounds):
            count = chains // rounds + (part < chains % rounds)
            ends = anneal(rows, _starts(side, points, lead, rng, count), steps)
            records.append(side.record(ends.gates, ends.weighing))
            lead = max(lead, records[-1].values.max())
    values = np.concatenate([record.values for record in records])
    agreeing = int(np.count_nonzero(values >= (1 - AGREES) * values.max()))
    found = _best(records + aligned + known, "search", rng)
    restarts = chains * len(sides)
    gain = _gain(values)
    return replace(found, restarts=restarts, agreement=agreeing / restarts, expected_gain=gain)


def _starts(
    side: Side, aligned: Record, lead: float, rng: np.random.Generator, count: int
) -> Chains:
    """Random chains, x and y of a part of them close; the first few near the best aligned rows.

    Half of the random ones climb the negative end, unless `lead` is above all it can reach.
    """
    near = round(NEAR_ROWS[side.C is not None] * count)
    order = np.argsort(-aligned.values, kind="stable")
    rows = np.resize(order, near)
    gates = _start(rng, count, side.n, aligned.gates[0, rows])
    weighing = None
    if side.C is not None and aligned.weighing is not None:
        weighing = _start(rng, count, side.C.shape[1], aligned.weighing[0, rows])
    v = unit(rng.standard_normal((count, side.n)))
    v[:near] = aligned.gates[0, rows]
    sign = np.ones(count)
    if lead < side.negative_bound:
        sign[near::2] = -1.0
    low, high = _widths(side.n)
    return Chains(gates, weighing, v, sign, low * (high / low) ** rng.random(count))


def _widths(n: int) -> tuple[float, float]:
    """Between these the first width is drawn, in units of 1/sqrt(n).

    Maxima over few columns are narrow and many, over many columns wide and far apart.
    """
    return min(1.0, n * n / 200), min(3.0, max(1.0, n / 5))


def _start(rng: np.random.Generator, count: int, n: int, rows: Array) -> Array:
    """Pairs of unit vectors (2, count, n): the first near `rows`, the others random."""
    pair = unit(rng.standard_normal((2, count, n)))
    pair[1] = unit(pair[0] + rng.choice(APART, size=(count, 1)) * pair[1])
    pair[:, : len(rows)] = unit(pair[:, : len(rows)] + NEARNESS * rows)
    return pair


def _best(records: list[Record], method: str, rng: np.random.Generator) -> Bracket:
    """The bracket at the best point: its witness is moved off kinks and evaluated anew."""
    record = max(records, key=lambda record: float(record.values.max()))
    k = int(np.argmax(record.values))
    gates = _off_kinks(record.side.W, record.gates[:, k], rng)
    witness = record.side.witness(gates, None if record.weighing is None else record.weighing[:, k])
    count = sum(len(record.values) for record in records)
    return Bracket(record.side.residual(witness), np.inf, witness, method, count)


def _gain(values: Array) -> float:
    """What ten times the budget is expected to add, as a share of the best value.

    Ten times the budget buys sqrt(10) times the chains, each sqrt(10) times as long: log2(10)/2
    doublings of their number.  The gain of one doubling is estimated by the expected loss if only a
    random half of the chains were kept, whose best value is the k-th best of all with probability
    2^-k.
    """
    falling = np.sort(values)[::-1]
    odds = 0.5 ** np.arange(1, len(falling) + 1)
    odds[-1] *= 2  # so that they sum to 1
    loss = float(falling[0] - odds @ falling)
    return math.log2(10) / 2 * loss / float(falling[0]) if falling[0] > 0 else math.nan


def _twice(rows: Array) -> Array:
    """Unit rows (k, n), the first unit vector in place of a zero row, twice: (2, k, n)."""
    rows = unit_rows(rows)
    rows[~rows.any(axis=1), 0] = 1.0
    return np.stack([rows, rows])


def _off_kinks(W: Array, pair: Array, rng: np.random.Generator) -> Array:
    """x, y (2, n), moved away from the hyperplanes of rows on which they lie."""
    rows = unit_rows(W[W.any(axis=1)])
    for _ in range(8):
        on = np.min(np.abs(pair @ rows.T), axis=1, initial=1.0) <= ON_KINK
        if not on.any():
            break
        pair = np.where(on[:, None], unit(pair + NUDGE * rng.standard_normal(pair.shape)), pair)
    return pair


def _checked_matrix(name: str, W: ArrayLike, alpha: float, **number: int) -> Array:
    """W, once alpha and the one number that the caller has named are known to be in range."""
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha={alpha}: must be positive and finite")
    for key, value in number.items():
        if value < 1:
            raise ValueError(f"{key}={value}: must be >= 1")
    return check_matrix(name, W)


def _sides(B: ArrayLike, C: ArrayLike, alpha: float, **number: int) -> list[Side]:
    B, C = (_checked_matrix(name, W, alpha, **number) for name, W in (("B", B), ("C", C)))
    if len(B) != len(C):
        raise ValueError(f"B and C: the same number of rows is needed, not {len(B)} and {len(C)}")
    return [Side(B, C, alpha), Side(C, B, alpha, exchanged=True)]
