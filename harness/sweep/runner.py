"""Runs one cell: seeds, measures and stores its missing trials."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from multiprocessing.pool import ThreadPool
from threading import Event
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from harness.errors import shown
from harness.experiment import ROW_COLUMNS, Row, Scalar, UnmeasurableError, columns, is_scalar
from harness.status import Status
from harness.storage.cell import Cell, trial_seed
from harness.storage.store import Store

CHECKPOINT_SECONDS = 5.0
"""Finished trials are stored at least this often, and after every longer trial."""


def run_cell(store: Store, cell: Cell, trials: int, threads: int = 1) -> int:
    """Measure and store the missing ones of the trials 0..trials-1; return their number.

    `threads` trials run in parallel, unless the experiment must have the machine to itself; rows do
    not depend on `threads`.  BLAS runs on one thread, because the last bits of its results depend
    on the number of threads and because workers run in parallel anyway.
    """
    missing = store.missing(cell, trials)
    finished: list[Row] = []
    saved = time.monotonic()
    threads = 1 if cell.experiment.alone else min(threads, len(missing))
    with threadpool_limits(limits=1, user_api="blas"):
        try:
            for rows in _measured(cell, missing, threads):
                finished.extend(rows)
                if abs(time.monotonic() - saved) > CHECKPOINT_SECONDS:  # a clock may jump back
                    store.append(cell, finished)
                    finished, saved = [], time.monotonic()
        finally:  # an error or Ctrl-C in a later trial does not lose the earlier ones
            if finished:
                store.append(cell, finished)
    return len(missing)


def _measured(cell: Cell, trials: Sequence[int], threads: int) -> Iterator[list[Row]]:
    """Yield the rows of each trial as it finishes."""
    if threads <= 1:
        yield from (measure(cell, trial) for trial in trials)
        return
    stop = Event()

    def one(trial: int) -> tuple[list[Row], BaseException | None]:
        try:
            return ([] if stop.is_set() else measure(cell, trial)), None
        except BaseException as error:
            stop.set()  # running trials finish and are kept; no other starts
            return [], error

    error: BaseException | None = None
    pool = ThreadPool(threads)  # its threads are daemons: no interrupted command waits for them
    try:
        for rows, fault in pool.imap_unordered(one, trials):
            error = error or fault
            yield rows
    finally:  # on Ctrl-C, finished trials are stored without waiting for the running ones
        stop.set()
        pool.terminate()
    if error:
        raise error


def measure(cell: Cell, trial: int) -> list[Row]:
    """The rows of one trial: trial, seed, measured scalars, status, seconds of the whole trial.

    A row without a status is OK, or NONFINITE if a measured scalar is NaN or infinite.

    Raises
    ------
    ValueError
        If the trial gives no row, or measures a column of another name's.
    """
    seed = trial_seed(cell, trial)
    start = time.perf_counter()
    try:
        measured = cell.experiment.trial(np.random.default_rng(seed))
    except UnmeasurableError as nothing:
        measured = [{"status": nothing.status}]
    seconds = max(0.0, time.perf_counter() - start)
    if not measured:
        raise ValueError(f"{cell.name}: trial {trial} gave no row; at least one is needed")
    taken = {*columns(cell.experiment), *ROW_COLUMNS} - {"status"}
    rows = []
    for row in measured:
        if clash := sorted(taken & row.keys()):
            raise ValueError(
                f"{cell.name}: a row measures {clash[0]!r}, the name of another column"
            )
        scalars = {key: _plain(value) for key, value in row.items() if key != "status"}
        finite = all(math.isfinite(v) for v in scalars.values() if isinstance(v, float))
        status = Status(str(row.get("status", Status.OK if finite else Status.NONFINITE)))
        rows.append(
            {"trial": trial, "seed": seed} | scalars | {"status": str(status), "seconds": seconds}
        )
    return rows


def _plain(value: Any) -> Scalar:
    """A measured value as a Python scalar."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        value = str(value)
    if not is_scalar(value):
        kinds = "numbers of 64 bits, booleans, text"
        raise TypeError(f"a row holds scalars ({kinds}), not {shown(repr(value))}")
    return value
