"""From the stored cells of a sweep to its table, unless the table that is there has to stay."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
from annotated_types import MinLen
from pydantic import TypeAdapter

from harness.report.result import Origin, load_origin, rebuilt
from harness.storage.cell import Cell, digest
from harness.storage.files import StoreError
from harness.storage.provenance import provenance
from harness.storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """The record of a sweep: which cells it has."""

    experiment: str
    profile: str
    seed: int
    trials: int
    config: dict[str, Any]
    cells: Annotated[list[dict[str, Any]], MinLen(1)]


SWEEP = TypeAdapter(Sweep)


def collect(store: Store, name: str, sweep: Sweep, wall_seconds: float | None) -> bool:
    """Write table.csv and provenance.json, unless the table on the disk is to stay.

    Returns whether the table on the disk is then one of this sweep.
    """
    cells = [
        Cell(sweep.experiment, rebuilt(store, name, sweep.experiment, config), sweep.seed)
        for config in sweep.cells
    ]
    table, gathered = store.collect(cells, sweep.trials)
    asked = {key: value for key, value in vars(sweep).items() if key != "cells"}
    asked["cells_sha256"] = digest({"keys": [cell.key for cell in cells]})
    facts = {
        **asked,
        "version": cells[0].experiment.version,
        "cells": len(cells),
        "cells_complete": gathered.complete,
        "rows": len(table),
    }
    old = _stored(store, name)
    if old is None and not len(table) and store.has_table(name):
        return False  # `load` says what is wrong with it
    same_sweep = old is not None and all(getattr(old, key) == asked[key] for key in asked)
    if old is not None and _stays(old, facts, table):
        if same_sweep:
            log.warning("%s: cells are missing; its table, which has them, is kept", name)
        else:
            log.warning("%s", _kept(store, name, old, facts))
        return same_sweep
    facts |= {"trial_seconds": round(gathered.seconds, 1), "wall_seconds": wall_seconds}
    facts |= {"segments_by_blas_kernel": dict(sorted(gathered.kernels.items()))}
    store.write_table(name, table, {**facts, **provenance()}, keep=same_sweep)
    return True


def _stored(store: Store, name: str) -> Origin | None:
    """Where the stored table came from; None without one that can be judged."""
    try:
        return load_origin(store, name)
    except StoreError:
        return None


def _stays(old: Origin, new: Mapping[str, Any], table: pd.DataFrame) -> bool:
    """Whether a stored table stays when the `table` of a sweep is collected.

    A complete sweep takes its place.  One that is not, of the same cells, takes it if no row is
    lost; one of other cells, if it has rows and the stored one is not complete either.
    """
    if new["cells_complete"] == new["cells"]:
        return False
    if new["cells_sha256"] == old.cells_sha256:
        found = int((table["trial"] < old.trials).sum()) if len(table) else 0
        return found < old.rows
    return old.rows > 0 and (old.cells_complete == old.cells or not len(table))


def _kept(store: Store, name: str, old: Origin, new: Mapping[str, Any]) -> str:
    """One line on a table that stays though another sweep was begun."""
    return (
        f"{store.folder(name)} keeps its table, {old.cells_complete} of {old.cells} cells of "
        f"profile {old.profile} with {old.trials} trials: only {new['cells_complete']} of "
        f"{new['cells']} cells of profile {new['profile']} with {new['trials']} trials are done "
        f"(name=NAME shows them apart)"
    )
