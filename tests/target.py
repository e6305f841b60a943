"""What tests shoot at: an experiment of many short trials, and processes that measure it.

A module of its own, light to import, so that a fork server holds it and a process starts at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.claims import Finding
from harness.experiment import Experiment, Row, UnmeasurableError
from harness.status import Status
from harness.storage import files
from harness.storage.cell import Cell
from harness.storage.store import Store
from harness.sweep import runner

TRIALS = 25


@dataclass(frozen=True)
class Target(Experiment):
    """Rows whose last bits would show another order of summation."""

    n: int = 8

    def trial(self, rng: np.random.Generator) -> list[Row]:
        A, B = rng.standard_normal((2, self.n, self.n))
        if A[0, 0] > 2:
            raise UnmeasurableError(Status.DEAD_NETWORK)
        return [{"largest": np.linalg.norm(A @ B, 2), "sign": A[0, 0] > 0} for _ in range(2)]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        return []

    def figure(self, table: pd.DataFrame) -> Any:
        raise NotImplementedError


CELLS = [Cell("target", Target(n), 0) for n in (5, 20, 60)]


def sweep(root: str) -> None:
    """Measure all cells, each trial written as soon as it is finished."""
    runner.CHECKPOINT_SECONDS = -1.0
    for cell in CELLS:
        runner.run_cell(Store(Path(root)), cell, TRIALS)


def write_for_ever(root: str) -> None:
    """Nothing but writes, of many blocks each."""
    rows = [row for trial in range(TRIALS) for row in runner.measure(CELLS[0], trial)]
    while True:
        Store(Path(root)).append(CELLS[0], [row | {"seconds": os.times().elapsed} for row in rows])


def die_at(root: str, step: str) -> None:
    """Sweep until, in the third write of a segment, `step` comes: kill -9 before or after it."""
    when, name = step.split()
    call: Callable[..., Any] = getattr(files, name, None) or getattr(os, name)
    count = 0

    def deadly(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if when == "before" and count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments)
        if count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(files if hasattr(files, name) else os, name, deadly)
    sweep(root)


def table(store: Store) -> bytes:
    """The table of the sweep, as it goes to the disk."""
    store.write_table("target", store.collect(CELLS, TRIALS)[0], {})
    return (store.root / "target" / "table.csv.gz").read_bytes()
