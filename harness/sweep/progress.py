"""A progress bar over the cells of a sweep.  It polls the store, so it works with any launcher."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from harness.storage.cell import Cell
from harness.storage.store import Store

INTERVAL = 0.5
"""Least seconds between two looks at the store."""


@contextmanager
def progress(
    store: Store, name: str, todo: Sequence[Cell], cells: int, trials: int
) -> Iterator[None]:
    """Show cells done, rate and time left while the block runs.

    todo : the cells with missing trials, among a number of `cells`.
    """
    done = threading.Event()

    def watch(bar: tqdm) -> None:
        remaining, last, pause = todo, False, INTERVAL
        while not last:
            last = done.wait(pause)
            start = time.monotonic()
            still = [cell for cell in remaining if store.missing(cell, trials)]
            bar.update(len(remaining) - len(still))
            remaining = still
            pause = max(
                INTERVAL, 20 * (time.monotonic() - start)
            )  # polling takes at most 5% of the time

    quiet = 0.1 if sys.stderr.isatty() else 15.0
    with tqdm(
        total=cells,
        initial=cells - len(todo),
        desc=name,
        unit="cell",
        mininterval=quiet,
        file=sys.stderr,
    ) as bar:
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
