"""Findings and summaries kept from one command to the next.

The report that ends a sweep shows every stored sweep.  Most of their tables were judged before, and
judging takes up to half a minute (bootstrap intervals).  So judgements are kept in
cells/<name>.findings.json, which is never committed, and are used again only if the table, its
configuration and everything that judges it are the same.  `harness report` does not use them.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

import harness
from harness import schema
from harness.claims import Finding
from harness.experiment import Scalar
from harness.reading import read_regular
from harness.report.result import Judgement, Result, typed
from harness.storage.cell import digest
from harness.storage.files import DiskError, StoreError, write_atomically
from harness.storage.store import Store

STARTED = time.time()
"""Source files that changed after this time may differ from the code that runs here."""


@dataclass(frozen=True)
class Memory:
    """The judgement of a table, and the digest of everything it depends on.

    Attributes
    ----------
    columns, rows : the summary; both None if there is none.
    """

    stamp: str
    findings: list[Finding]
    columns: list[str] | None
    rows: list[list[Scalar | None]] | None


MEMORY = TypeAdapter(Memory)


def recall(store: Store, result: Result) -> Result:
    """The result with its earlier judgement, if that still holds; else the result as it is.

    The file may come from anyone: it is read with checked types, and each finding must be of one of
    the experiment's claims.  A forged one can claim no more than a forged table could.
    """
    stamp, path = _stamp(result), _file(store, result.name)
    if stamp is None or not os.path.lexists(path):
        return result
    try:
        memory = typed(MEMORY, store.read_json(path), str(path))
        summary = _summary(memory)
    except ValueError:  # a StoreError, or rows that do not fit the columns
        return result
    holds = memory.stamp == stamp
    ours = all(finding.claim in result.experiment.claims for finding in memory.findings)
    if not (holds and ours):
        return result
    return replace(result, judged=Judgement(memory.findings, summary))


def remember(store: Store, result: Result) -> None:
    """Keep the judgement of a result, where the cells are kept too, if it can be written there."""
    path = _file(store, result.name)
    if path.parent.is_dir() and (stamp := _stamp(result)):
        columns = rows = None
        if result.summary is not None:
            columns = [str(name) for name in result.summary]
            rows = [[_scalar(value) for value in row] for row in result.summary.to_numpy(object)]
        memory = asdict(Memory(stamp, result.findings, columns, rows))
        with contextlib.suppress(DiskError, StoreError):  # it will be judged again
            write_atomically(path, json.dumps(memory, indent=1).encode())


def _scalar(value: Any) -> Scalar | None:
    """A value of a summary as JSON has it: it is shown as the value itself would be."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if plain is None or isinstance(plain, (bool, int, float)) else str(plain)


def _summary(memory: Memory) -> pd.DataFrame | None:
    if memory.columns is None or memory.rows is None:
        return None
    return pd.DataFrame(memory.rows, columns=memory.columns, dtype=object)


def _file(store: Store, name: str) -> Path:
    return store.inside(store.root / "cells") / f"{store.checked_name(name)}.findings.json"


def _stamp(result: Result) -> str | None:
    """Digest of everything that the findings depend on; None if it cannot be known."""
    sources = _sources(Path(inspect.getfile(type(result.experiment))).parent, STARTED)
    if sources is None:
        return None
    return digest(
        {
            "table": result.origin.table_sha256,
            "experiment": result.origin.experiment,
            "config": schema.dump(result.origin.experiment, result.experiment),
            "sources": sources,
            "packages": {name: metadata.version(name) for name in ("numpy", "scipy", "pandas")},
        }
    )


@cache
def _sources(experiments: Path, started: float) -> str | None:
    """SHA-256 of the library and of a folder of experiments; None if one changed since a time."""
    sha = hashlib.sha256()
    library = Path(harness.__file__).parent
    try:
        for path in sorted([*library.rglob("*.py"), *experiments.glob("*.py")]):
            if path.stat().st_mtime > started:
                return None
            data = read_regular(path)
            sha.update(f"{path.name} {len(data)}\n".encode() + data)
    except OSError:  # a file that is being replaced, or is none
        return None
    return sha.hexdigest()
