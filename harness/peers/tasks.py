"""The tasks of the benchmark: each is one piece of work done in several ways.

The answers of all ways are compared before anything is timed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from harness.arrays import Array
from harness.conditions import Residual, residual_numpy, wdc_search
from harness.descent import Engine, Stopping, alternating_descent, step_size
from harness.ensemble import unit_vectors
from harness.landscape import direction, hunt, linear_arcs, product_grid, stationary_points
from harness.network import gaussian_network
from harness.peers import frameworks
from harness.problem import Demodulation

Method = Callable[[], Any]
Task = Literal[
    "residual",
    "grid",
    "grid_loss",
    "census",
    "algorithm1",
    "trials",
    "certificate",
    "search",
    "hunt",
]

KAPPA = 0.25
"""Step constant of Algorithm 1."""
CHECKED_STEPS = 50
"""Steps after which iterates are compared; later iterates can amplify rounding."""


TRIAL_RTOL = 1e-12
"""A trial has converged at this share of the loss on K."""


@dataclass(frozen=True)
class Work:
    """The same work in several ways.

    Attributes
    ----------
    methods : the ways by name.
    amount : how much work it is, in the unit of `UNITS`.
    operations : floating-point operations that the work takes at least; NaN if they are not known.
    """

    methods: dict[str, Method]
    amount: int
    operations: float = np.nan


def residual(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """WDC residual norms at pairs of vectors."""
    n = widths[0]
    W = gaussian_network(rng, (n, widths[-1]), "gaussian").weights[0]
    X, Y = rng.standard_normal((2, points, n))
    kernel = Residual(W)
    methods: dict[str, Method] = {
        "numpy": lambda: np.array([residual_numpy(W, x, y) for x, y in zip(X, Y, strict=True)]),
        "norm": lambda: np.array([kernel.norm(x, y) for x, y in zip(X, Y, strict=True)]),
        "norms": lambda: kernel.norms(X, Y),
    }
    _check({name: (method(),) for name, method in methods.items()}, "numpy")
    active = np.mean(((X @ W.T > 0) & (Y @ W.T > 0)).sum(axis=1))
    # The symmetric product of the active rows takes active n (n + 1) operations.
    return Work(methods, points, points * active * n * (n + 1))


def grid(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """Loss and both gradient norms on a product grid."""
    P, H, M = _problem(rng, widths, points)

    def library() -> tuple[Array, ...]:
        found = product_grid(P, H, M)
        return found.loss, found.grad_h_norm, found.grad_m_norm

    methods: dict[str, Method] = {"product_grid": library, "numpy": frameworks.grid_numpy(P, H, M)}
    if frameworks.installed("jax"):
        methods["jax"] = frameworks.grid_jax(P, H, M, nested=False)
        methods["jax_nested"] = frameworks.grid_jax(P, H, M, nested=True)
    _check({name: method() for name, method in methods.items()}, "numpy")
    # Two products of (I n, ell) with (ell, J) for g1, and two for g2.
    return Work(methods, points**2, 4.0 * points**2 * P.ell * (P.n + P.p))


def grid_loss(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """The loss on a product grid, beside the two matrix products that it takes."""
    P, H, M = _problem(rng, widths, points)
    a, b = P.G1(H), P.G2(M)
    a_y, a_square, b_square = a * P.y0, a * a, b * b
    methods: dict[str, Method] = {
        "products": lambda: (a_y @ b.T, a_square @ b_square.T),
        "product_grid": lambda: product_grid(P, H, M).loss,
    }
    overlap, size = methods["products"]()
    loss = P.loss_at_zero - overlap + 0.5 * size
    _check({"product_grid": (methods["product_grid"](),), "products": (loss,)}, "products")
    return Work(methods, points**2, 4.0 * points**2 * P.ell)


def census(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """All stationary points, beside the five matrix products that screen the pairs of arcs."""
    P = _problem(rng, widths, points)[0]
    a, b = (G(direction(linear_arcs(G).angles)) for G in (P.G1, P.G2))
    next_a, next_b = np.roll(a, -1, axis=0), np.roll(b, -1, axis=0)
    left = a * P.y0, a * a, a * a, a * next_a, a * next_a
    right = b, b * b, b * next_b, b * b, b * next_b
    rows = max(1, 100_000 // len(b))

    def products() -> None:
        for start in range(0, len(a), rows):
            for one, other in zip(left, right, strict=True):
                one[start : start + rows] @ other.T

    methods: dict[str, Method] = {"products": products, "census": lambda: stationary_points(P)}
    return Work(methods, len(a) * len(b), 10.0 * len(a) * len(b) * P.ell)


def algorithm1(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """Steps of Algorithm 1 from `points` starts."""
    P, H, M = _problem(rng, widths, points)
    H, M = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (H, M))
    eta = step_size(P, KAPPA)
    run_on = Stopping(loss_rtol=0.0, stall_window=steps + 1, divergence=np.inf)

    def library(engine: Engine) -> frameworks.Descent:
        options: Any = {"engine": engine, "stopping": run_on, "threads": os.cpu_count() or 1}

        def run(count: int) -> tuple[Array, Array]:
            solution = alternating_descent(P, H, M, eta, count, **options)
            return solution.h, solution.m

        return run

    runs = {"tracking": library("tracking"), "reference": library("reference")}
    if frameworks.installed("jax"):
        runs["jax"] = frameworks.descent_jax(P, H, M, eta)
    if frameworks.installed("torch"):
        runs["torch_batched"] = frameworks.descent_torch(P, H, M, eta, batched=True)
        if P.d == 2:  # deeper networks take minutes
            runs["torch"] = frameworks.descent_torch(P, H, M, eta, batched=False)
    # The reference reports its iterate after the next sign check, the peers before it.
    few = min(CHECKED_STEPS, steps)
    answers = {name: tuple(np.abs(x) for x in run(few)) for name, run in runs.items()}
    _check(answers, "reference", rtol=1e-7)
    # Given Lambda1 and Lambda2, a step takes Lambda h and Lambda^T v of each.
    operations = 4.0 * points * steps * P.ell * (P.n + P.p)
    return Work(
        {name: partial(run, steps) for name, run in runs.items()}, points * steps, operations
    )


def trials(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """Trials of Algorithm 1 until convergence, each on networks of its own, on all cores.

    The work of a sweep but for drawing the networks, which `networks` does.
    """
    drawn = [_problem(rng, widths, 1) for _ in range(points)]
    problems = [P for P, _, _ in drawn]
    h, m = (np.concatenate([each[k] for each in drawn]) for k in (1, 2))
    h, m = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (h, m))
    etas = np.array([step_size(P, KAPPA) for P in problems])
    stopping = Stopping(loss_rtol=TRIAL_RTOL, stall_window=steps + 1, divergence=np.inf)
    pool = ThreadPoolExecutor(os.cpu_count())

    def one(k: int) -> tuple[Array, Array]:
        start: Any = problems[k], h[k : k + 1], m[k : k + 1], float(etas[k]), steps
        end = alternating_descent(*start, engine="tracking", stopping=stopping)
        return end.h[0], end.m[0]

    def library() -> tuple[Array, ...]:
        return tuple(np.stack(part) for part in zip(*pool.map(one, range(points)), strict=True))

    methods: dict[str, Method] = {"tracking": library}
    if frameworks.installed("jax"):
        methods |= frameworks.trials_jax(problems, h, m, etas, steps, TRIAL_RTOL)
    ends = {name: tuple(np.abs(x) for x in method()) for name, method in methods.items()}
    # Ways stop a step apart, at an error of about the root of the loss.
    _check(ends, "tracking", rtol=1e3 * TRIAL_RTOL**0.5)
    methods["networks"] = lambda: [_problem(rng, widths, 1) for _ in range(points)]
    return Work(methods, points)


def certificate(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """The census with a proof; its cost is that of each pair of arcs."""
    P = _problem(rng, widths, points)[0]
    pairs = len(linear_arcs(P.G1).angles) * len(linear_arcs(P.G2).angles)
    return Work({"certificate": lambda: stationary_points(P, certified=True)}, pairs)


def search(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """Restarts of the search for a WDC constant, with its default budget."""
    W = gaussian_network(rng, (widths[0], widths[-1]), "gaussian").weights[0]
    found = wdc_search(W, rng=np.random.default_rng(0))
    return Work({"search": lambda: wdc_search(W, rng=np.random.default_rng(0))}, found.restarts)


def hunted(rng: np.random.Generator, widths: Sequence[int], points: int, steps: int) -> Work:
    """Minima that one hunt finds."""
    P = _problem(rng, widths, points)[0]
    found = int(hunt(P, np.random.default_rng(0)).is_minimum.sum())
    return Work({"hunt": lambda: hunt(P, np.random.default_rng(0))}, found)


BUILDERS: dict[str, Callable[[np.random.Generator, Sequence[int], int, int], Work]] = {
    "residual": residual,
    "grid": grid,
    "grid_loss": grid_loss,
    "census": census,
    "algorithm1": algorithm1,
    "trials": trials,
    "certificate": certificate,
    "search": search,
    "hunt": hunted,
}
"""By task: from a stream, the widths of the networks, a number of points and of steps."""


UNITS: dict[Task, str] = {
    "residual": "residual norms",
    "grid": "points, loss and gradients",
    "grid_loss": "points, loss alone",
    "census": "pairs of arcs",
    "algorithm1": "steps of Algorithm 1",
    "trials": "trials, own networks",
    "certificate": "pairs of arcs, with proof",
    "search": "restarts of the WDC search",
    "hunt": "minima that a hunt finds",
}
ONE_CORE = {"residual"}
"""Tasks that run on one core; the others use all."""
WORDS = {
    "numpy": "plain NumPy",
    "certificate": "library",
    "search": "library",
    "hunt": "library",
    "norm": "library, one by one",
    "norms": "library, a batch",
    "product_grid": "library",
    "census": "library",
    "jax": "JAX, jit and vmap",
    "jax_nested": "JAX, vmap of vmap",
    "products": "its matrix products alone",
    "tracking": "library, tracking",
    "reference": "library, reference (NumPy)",
    "jax_vmapped": "JAX, vmap over trials",
    "jax_single": "JAX, a trial after the other",
    "jax_cores": "JAX, a trial on each core",
    "networks": "drawing the networks alone",
    "torch": "PyTorch, eager",
    "torch_batched": "PyTorch, eager, batched",
}


def count_weights(widths: Sequence[int]) -> int:
    """Number of weights of a network: the multiplications of one evaluation."""
    return sum(a * b for a, b in itertools.pairwise(widths))


def _problem(
    rng: np.random.Generator, widths: Sequence[int], points: int
) -> tuple[Demodulation, Array, Array]:
    """Two networks of the same widths, a truth, and Gaussian points: P, (K, n), (K, n)."""
    G1, G2 = (gaussian_network(rng, widths, "gaussian") for _ in range(2))
    h0, m0 = unit_vectors(rng, 2, widths[0])
    H, M = rng.standard_normal((2, points, widths[0]))
    return Demodulation(G1, G2, h0, m0), H, M


def _check(answers: dict[str, tuple[Array, ...]], expected: str, rtol: float = 1e-9) -> None:
    """Raise AssertionError unless all answers agree with that of the method `expected`."""
    for name, parts in answers.items():
        for part, other in zip(parts, answers[expected], strict=True):
            scale = float(np.abs(other).max())
            if not np.allclose(part, other, rtol=rtol, atol=1e-3 * rtol * scale):
                raise AssertionError(f"{name} and {expected} give different answers")
