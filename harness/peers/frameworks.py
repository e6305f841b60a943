"""The same work as a researcher would write it in NumPy, JAX or PyTorch.

JAX and PyTorch come with the optional extra "peers"; `installed` says which are there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from harness.arrays import Array
from harness.problem import Demodulation

Grid = tuple[Array, Array, Array]
Iterates = tuple[Array, Array]
Descent = Callable[[int], Iterates]
"""Takes a number of steps; returns the iterates of Algorithm 1 after as many."""

SIGNS = ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return find_spec(package) is not None


def grid_jax(P: Demodulation, H: Array, M: Array, nested: bool) -> Callable[[], Grid]:
    """Loss and both gradient norms on H x M: jit of vmap of value_and_grad over all pairs.

    With `nested`, vmap of vmap over the two axes, so that JAX runs a network once for each point.
    """
    jax, loss = _jax(P)
    value_and_grad = jax.value_and_grad(loss, argnums=(0, 1))

    def one(h: Any, m: Any) -> Any:
        f, (g1, g2) = value_and_grad(h, m)
        return f, jax.numpy.linalg.norm(g1), jax.numpy.linalg.norm(g2)

    shape = len(H), len(M)
    if nested:
        grid = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    else:
        grid = jax.jit(jax.vmap(one))
        H, M = np.repeat(H, shape[1], axis=0), np.tile(M, (shape[0], 1))
    rows, columns = jax.numpy.asarray(H), jax.numpy.asarray(M)

    def run() -> Grid:
        loss, grad_h, grad_m = jax.block_until_ready(grid(rows, columns))
        loss, grad_h, grad_m = (np.asarray(part).reshape(shape) for part in (loss, grad_h, grad_m))
        return loss, grad_h, grad_m

    return run


def descent_jax(P: Demodulation, h: Array, m: Array, eta: float) -> Descent:
    """Algorithm 1 from h (K, n), m (K, p): a jitted loop over steps, vmapped over the starts."""
    jax, loss = _jax(P)
    jnp = jax.numpy
    signs = jnp.asarray(SIGNS)
    gradient_h, gradient_m = jax.grad(loss, argnums=0), jax.grad(loss, argnums=1)

    def step(_: Any, state: Any) -> Any:
        h, m = state
        losses = jax.vmap(lambda sign: loss(sign[0] * h, sign[1] * m))(signs)
        sign = signs[jnp.argmin(losses)]
        h, m = sign[0] * h, sign[1] * m
        h = h - eta * gradient_h(h, m)
        m = m - eta * gradient_m(h, m)
        c = jnp.sqrt(jnp.linalg.norm(h) / jnp.linalg.norm(m))
        return h / c, m * c

    one = lambda h, m, steps: jax.lax.fori_loop(0, steps, step, (h, m))  # noqa: E731
    batch = jax.jit(jax.vmap(one, (0, 0, None)))
    start = jnp.asarray(h), jnp.asarray(m)

    def run(steps: int) -> Iterates:
        h, m = jax.block_until_ready(batch(*start, steps))
        return np.asarray(h), np.asarray(m)

    return run


def trials_jax(
    problems: Sequence[Demodulation], h: Array, m: Array, etas: Array, steps: int, rtol: float
) -> dict[str, Callable[[], Iterates]]:
    """Algorithm 1 on K problems from h (K, n), m (K, p), each until its loss has fallen by `rtol`.

    Three ways: all trials vmapped over weights of their own, one trial after the other, and one
    trial on each core.  A jitted loop ends at the loss that the last sign check has computed.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    signs = jnp.asarray(SIGNS)
    stacked = [
        [jnp.asarray(np.stack(layer)) for layer in zip(*(G.weights for G in networks), strict=True)]
        for networks in ([P.G1 for P in problems], [P.G2 for P in problems])
    ]
    y0 = jnp.asarray(np.stack([P.y0 for P in problems]))

    def network(weights: Sequence[Any], x: Any) -> Any:
        for W in weights:
            x = jax.nn.relu(W @ x)
        return x

    def one(weights1: Any, weights2: Any, y0: Any, h: Any, m: Any, eta: Any) -> Any:
        def loss(h: Any, m: Any) -> Any:
            return 0.5 * jnp.sum((network(weights1, h) * network(weights2, m) - y0) ** 2)

        def step(state: Any) -> Any:
            h, m, _, count = state
            losses = jax.vmap(lambda sign: loss(sign[0] * h, sign[1] * m))(signs)
            sign = signs[jnp.argmin(losses)]
            h, m = sign[0] * h, sign[1] * m
            h = h - eta * jax.grad(loss, argnums=0)(h, m)
            m = m - eta * jax.grad(loss, argnums=1)(h, m)
            c = jnp.sqrt(jnp.linalg.norm(h) / jnp.linalg.norm(m))
            return h / c, m * c, jnp.min(losses), count + 1

        def goes_on(state: Any) -> Any:
            return (state[2] > rtol * 0.5 * jnp.sum(y0**2)) & (state[3] < steps)

        return jax.lax.while_loop(goes_on, step, (h, m, jnp.inf, 0))[:2]

    single, batch = jax.jit(one), jax.jit(jax.vmap(one))
    every = (*stacked, y0, jnp.asarray(h), jnp.asarray(m), jnp.asarray(etas))
    each = [jax.tree.map(lambda x, k=k: x[k], every) for k in range(len(problems))]
    pool = ThreadPoolExecutor(os.cpu_count())

    def ends_of(method: Callable[..., Any], arguments: Any) -> Iterates:
        h, m = jax.block_until_ready(method(*arguments))
        return np.asarray(h), np.asarray(m)

    run = partial(ends_of, single)

    def joined(ends: Iterable[Iterates]) -> Iterates:
        hs, ms = zip(*ends, strict=True)
        return np.stack(hs), np.stack(ms)

    return {
        "jax_vmapped": lambda: ends_of(batch, every),
        "jax_single": lambda: joined(map(run, each)),
        "jax_cores": lambda: joined(pool.map(run, each)),
    }


def descent_torch(P: Demodulation, h: Array, m: Array, eta: float, batched: bool) -> Descent:
    """Algorithm 1 from h (K, n), m (K, p): eager PyTorch, gradients by autograd.

    Unless `batched`, one start after the other.
    """
    import torch

    weights = [[torch.tensor(W) for W in G.weights] for G in (P.G1, P.G2)]
    y0, signs = torch.tensor(P.y0), torch.tensor(SIGNS, dtype=torch.float64)

    def network(layers: Sequence[Any], x: Any) -> Any:
        for W in layers:
            x = torch.relu(x @ W.T)
        return x

    def loss(h: Any, m: Any) -> Any:
        return 0.5 * ((network(weights[0], h) * network(weights[1], m) - y0) ** 2).sum(-1)

    def gradient(h: Any, m: Any, of: int) -> Any:
        point = [h.detach(), m.detach()]
        point[of].requires_grad_(True)
        return torch.autograd.grad(loss(*point).sum(), point[of])[0]

    def descend(h: Array, m: Array, steps: int) -> Iterates:
        x, z = torch.tensor(h), torch.tensor(m)
        for _ in range(steps):
            with torch.no_grad():
                losses = torch.stack([loss(i * x, j * z) for i, j in SIGNS])
                sign = signs[losses.argmin(0)]
                x, z = sign[:, :1] * x, sign[:, 1:] * z
            x = x.detach() - eta * gradient(x, z, 0)
            z = z.detach() - eta * gradient(x, z, 1)
            c = torch.sqrt(x.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True))
            x, z = x / c, z * c
        return x.numpy(), z.numpy()

    def run(steps: int) -> Iterates:
        if batched:
            return descend(h, m, steps)
        parts = [descend(h[i : i + 1], m[i : i + 1], steps) for i in range(len(h))]
        xs, zs = zip(*parts, strict=True)
        return np.concatenate(xs), np.concatenate(zs)

    return run


def grid_numpy(P: Demodulation, H: Array, M: Array) -> Callable[[], Grid]:
    """Loss and both gradient norms on H x M: broadcast NumPy, a row of the grid at a time."""

    def run() -> Grid:
        parts = []
        for h in H:
            g1, g2 = P.gradients(h, M)
            norms = np.linalg.norm(g1, axis=1), np.linalg.norm(g2, axis=1)
            parts.append((P.loss(h, M), *norms))
        loss, grad_h, grad_m = (np.stack(part) for part in zip(*parts, strict=True))
        return loss, grad_h, grad_m

    return run


def _jax(P: Demodulation) -> tuple[Any, Callable[[Any, Any], Any]]:
    """JAX in double precision, and the plain definition of the loss in it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    layers = [[jax.numpy.asarray(W) for W in G.weights] for G in (P.G1, P.G2)]
    y0 = jax.numpy.asarray(P.y0)

    def network(weights: Sequence[Any], x: Any) -> Any:
        for W in weights:
            x = jax.nn.relu(W @ x)
        return x

    def loss(h: Any, m: Any) -> Any:
        return 0.5 * jax.numpy.sum((network(layers[0], h) * network(layers[1], m) - y0) ** 2)

    return jax, loss
