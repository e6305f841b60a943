"""A job of a sweep: some cells, sent as text and measured one after the other."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Sequence
from typing import TypeVar

from harness import schema
from harness.storage.cell import Cell
from harness.storage.store import Store
from harness.sweep import interrupts
from harness.sweep.failures import Failure, failure
from harness.sweep.runner import run_cell

T = TypeVar("T")
log = logging.getLogger(__name__)


def batched(cells: Sequence[T], size: int) -> list[list[T]]:
    """The cells in batches of `size`, in order; the last may be smaller (itertools of 3.12)."""
    return [list(cells[i : i + size]) for i in range(0, len(cells), size)]


def pack(cells: Sequence[Cell]) -> str:
    """Cells of one experiment and seed as a word of letters, digits, - and _.

    A job that carries its cells needs no file that another sweep might change.  The cells of a
    grid compress well: a hundred take about a kilobyte.
    """
    configs = [schema.dump(cell.name, cell.experiment) for cell in cells]
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(configs).encode(), 9)).decode()


def unpack(word: str, name: str, seed: int) -> list[Cell]:
    """Inverse of `pack`; a cell whose input files have changed since gets a new key."""
    try:
        configs = json.loads(zlib.decompress(base64.urlsafe_b64decode(word)))
    except (ValueError, zlib.error):
        raise schema.ConfigError(f"packed={word[:20]}: is set by a sweep itself") from None
    built = [schema.prepare(schema.build(name, config)) for config in configs]
    return [Cell(name, experiment, seed) for experiment in built]


def run_job(
    store: Store, cells: Sequence[Cell], trials: int, threads: int
) -> list[tuple[str, Failure]]:
    """Measure the missing trials of all cells; return the keys of those that raised, and why."""
    failures = []
    for cell in cells:
        try:
            run_cell(store, cell, trials, threads)
        except Exception as error:
            if interrupts.seen():
                raise
            why = failure(error)
            log.error("a cell of %s failed: %s", cell.name, why.kind)
            failures.append((cell.key, why))
    return failures
