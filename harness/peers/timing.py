"""Fair timing of several ways to do the same work on one machine."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

ROUNDS = 3
"""Turns of each method."""


def least_times(methods: dict[str, Callable[[], Any]], duration: float) -> dict[str, float]:
    """Least time of a run of each method, in seconds, measured for about `duration` in all.

    The methods take turns, three rounds long, so that a disturbance of the machine does not hit
    one of them alone.  In its turn a method runs for its share of the time and at least twice,
    since its first run finds the caches as another method left them.  A method that takes longer
    than `duration` runs once.
    """
    best = dict.fromkeys(methods, np.inf)
    share = duration / (ROUNDS * len(methods))
    for _ in range(ROUNDS):
        for name, method in methods.items():
            if duration < best[name] < np.inf:
                continue
            end = time.perf_counter() + share
            for run in itertools.count(1):
                start = time.perf_counter()
                method()
                stop = time.perf_counter()
                best[name] = min(best[name], stop - start)
                if run >= 2 and stop > end:
                    break
    return best


def threads(cores: int | None) -> AbstractContextManager[Any]:
    """A context with this many BLAS threads, by default one per core."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=cores or os.cpu_count() or 1, user_api="blas")


def matrix_product_peak(rng: np.random.Generator, size: int = 800) -> float:
    """Floating-point operations per second of a square matrix product, at its best."""
    A, B = rng.standard_normal((2, size, size))
    return 2.0 * size**3 / min(least_times({"product": lambda: A @ B}, 0.02).values())
