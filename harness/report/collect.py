"""From the stored cells of a sweep to its table, and from tables to results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import pandas as pd
from annotated_types import MinLen
from pydantic import TypeAdapter
from threadpoolctl import threadpool_limits

from harness.experiment import canonical
from harness.report.judgements import recall, remember
from harness.report.result import Origin, Result, identify, in_one_line, load, rebuilt, typed
from harness.report.write import write_sweep
from harness.schema import Design
from harness.storage.cell import Cell, digest
from harness.storage.files import StoreError
from harness.storage.provenance import provenance
from harness.storage.store import Store

log = logging.getLogger(__name__)

CONFIRMATION = "confirmation"
"""Folder in the results with the same sweeps on the fresh seed of their designs."""


@dataclass(frozen=True)
class Sweep:
    """The record of a sweep: its settings and its cells."""

    experiment: str
    profile: str
    seed: int
    trials: int
    config: dict[str, Any]
    cells: Annotated[list[dict[str, Any]], MinLen(1)]
    design: Design | None = None


SWEEP = TypeAdapter(Sweep)


def update(store: Store, name: str, wall_seconds: float | None = None) -> Result:
    """Collect the cells of a sweep, where they are kept; judge and draw the stored table.

    The table is read back from the disk once and judged once; the result serves all reports.  BLAS
    runs on one thread, as in every cell: the same table then gives the same files on any number of
    cores, and small products are faster.

    Raises
    ------
    StoreError
        If the stored sweep cannot be used.
    """
    record = store.read_sweep(name)
    own = True
    if record is not None:
        sweep = typed(SWEEP, record, f"results={store.root}: the sweep {name}")
        own = collect(store, name, sweep, wall_seconds)
    result = with_confirmation(store, replace(load(store, name), own=own))
    with threadpool_limits(limits=1, user_api="blas"):
        write_sweep(store, result)
    remember(store, result)
    return result


def with_others(store: Store, result: Result) -> list[Result]:
    """The result and those of all other stored sweeps, by name; see `stored`."""
    others = stored(store, [name for name in store.names() if name != result.name])
    return sorted([result, *others], key=lambda one: one.name)


def stored(store: Store, names: Sequence[str]) -> list[Result]:
    """The results of these sweeps.

    A table that was judged before is not judged again.  A sweep that cannot be judged is left out,
    with a warning.
    """
    results = []
    for name in names:
        try:
            with in_one_line(store, name), threadpool_limits(limits=1, user_api="blas"):
                other = with_confirmation(store, load(store, name))
                other = judged(store, other)
        except StoreError as error:
            log.warning("left out of the report: %s", error)
        else:
            results.append(other)
    return results


def judged(store: Store, result: Result) -> Result:
    """The result with its judgement: the one that is remembered, or a new one."""
    result = recall(store, result)
    _ = result.findings, result.summary
    if result.judged is None:
        remember(store, result)
    return result


def with_confirmation(store: Store, result: Result) -> Result:
    """The result with the one of the same design on the fresh seed, if there is a usable one."""
    other = Store(store.root / CONFIRMATION)
    if not other.has_table(result.name):
        return result
    try:
        with in_one_line(other, result.name), threadpool_limits(limits=1, user_api="blas"):
            fresh = judged(other, load(other, result.name))
    except StoreError as error:
        log.warning("confirms nothing: %s", error)
        return result
    if why := _unfit(result.origin, fresh.origin):
        log.warning("results=%s: %s confirms nothing: %s", other.root, result.name, why)
        return result
    return replace(result, confirmation=fresh)


def _unfit(first: Origin, fresh: Origin) -> str | None:
    """Why a table cannot confirm the findings of another, or None."""
    if fresh.design is None or fresh.design_sha256 != first.design_sha256:
        return "its design is another one"
    if fresh.seed != fresh.design.fresh_seed:
        return f"seed={fresh.seed} is not the fresh seed {fresh.design.fresh_seed}"
    if fresh.seed == first.seed:
        return f"both have seed={fresh.seed}"
    if fresh.cells_complete < fresh.cells:
        return f"{fresh.cells_complete} of {fresh.cells} cells are complete"
    return None


def collect(store: Store, name: str, sweep: Sweep, wall_seconds: float | None) -> bool:
    """Write the table and provenance.json of a sweep, unless the stored table is to stay.

    Returns whether the stored table is then one of this sweep.
    """
    cells = [
        Cell(sweep.experiment, rebuilt(store, name, sweep.experiment, config), sweep.seed)
        for config in sweep.cells
    ]
    table, gathered = store.collect(cells, sweep.trials)
    asked = {key: value for key, value in vars(sweep).items() if key not in ("cells", "design")}
    asked["cells_sha256"] = digest({"keys": [cell.key for cell in cells]})
    facts = {
        **asked,
        "design": asdict(sweep.design) if sweep.design else None,
        "design_sha256": _design_digest(sweep, cells),
        "version": cells[0].experiment.version,
        "cells": len(cells),
        "cells_complete": gathered.complete,
        "rows": len(table),
    }
    old = _stored(store, name)
    if old is None and not len(table) and store.has_table(name):
        return False  # `load` then says what is wrong with it
    same_sweep = old is not None and all(getattr(old, key) == asked[key] for key in asked)
    if old is not None and _stays(old, facts, table):
        if same_sweep:
            log.warning("%s: cells are missing; its table, which has them, is kept", name)
        else:
            log.warning("%s", _kept(store, name, old, facts))
        return same_sweep
    facts |= {"trial_seconds": round(gathered.seconds, 1), "wall_seconds": wall_seconds}
    facts |= {"segments_by_blas_kernel": dict(sorted(gathered.kernels.items()))}
    stored = old.table_sha256 if old is not None and same_sweep else None
    store.write_table(name, table, {**facts, **provenance()}, stored_sha256=stored)
    return True


def _design_digest(sweep: Sweep, cells: Sequence[Cell]) -> str:
    """Digest of all that a sweep decides beforehand, but for its seed."""
    return digest(
        {
            "experiment": sweep.experiment,
            "version": cells[0].experiment.version,
            "design": sweep.design.version if sweep.design else None,
            "config": sweep.config,
            "trials": sweep.trials,
            "cells": sorted(canonical(cell.coordinates) for cell in cells),
        }
    )


def _stored(store: Store, name: str) -> Origin | None:
    """Where the stored table came from; None if there is none that can be judged."""
    try:
        return identify(store, name, store.read_provenance(name))[0]
    except StoreError:
        return None


def _stays(old: Origin, new: Mapping[str, Any], table: pd.DataFrame) -> bool:
    """Whether a stored table stays when the new `table` of a sweep has been collected.

    A complete sweep replaces it.  An incomplete sweep of the same cells replaces it if no row is
    lost; one of other cells, if it has rows and the stored table is not complete either.
    """
    if new["cells_complete"] == new["cells"]:
        return False
    if new["cells_sha256"] == old.cells_sha256:
        found = int((table["trial"] < old.trials).sum()) if len(table) else 0
        return found < old.rows
    return old.rows > 0 and (old.cells_complete == old.cells or not len(table))


def _kept(store: Store, name: str, old: Origin, new: Mapping[str, Any]) -> str:
    """The warning that a table stays although another sweep was begun."""
    return (
        f"{store.sweep_folder(name)} keeps its table, {old.cells_complete} of {old.cells} cells of "
        f"profile {old.profile} with {old.trials} trials: only {new['cells_complete']} of "
        f"{new['cells']} cells of profile {new['profile']} with {new['trials']} trials are done "
        f"(name=NAME shows them apart)"
    )
