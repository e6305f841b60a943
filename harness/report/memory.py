"""Findings kept from one command to the next.

The report that ends a sweep shows every stored sweep.  Most of their tables were judged before, and
judging takes seconds (bootstrap intervals).  So findings are kept in cells/<name>.findings.json,
which is never committed, and are used again only if the table, its configuration and everything
that judges it are the same.  `harness report` does not use them.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter

import harness
from harness import schema
from harness.claims import Finding
from harness.report.result import Result, typed
from harness.storage.cell import digest
from harness.storage.files import StoreError, write_atomically
from harness.storage.store import Store

STARTED = time.time()
"""Source files that changed after this time may differ from the code that runs here."""


@dataclass(frozen=True)
class Memory:
    """The findings of a table, and the digest of everything they depend on."""

    stamp: str
    findings: list[Finding]


MEMORY = TypeAdapter(Memory)


def recall(store: Store, result: Result) -> Result:
    """The result with its earlier findings, if they still hold; else the result as it is.

    The file may come from anyone: it is read with checked types, and each finding must be of one of
    the experiment's claims.  A forged one can claim no more than a forged table could.
    """
    stamp, path = _stamp(result), _file(store, result.name)
    if stamp is None or not os.path.lexists(path):
        return result
    try:
        memory = typed(MEMORY, store.read_json(path), str(path))
    except StoreError:
        return result
    holds = memory.stamp == stamp
    ours = all(finding.claim in result.experiment.claims for finding in memory.findings)
    return replace(result, judged=memory.findings) if holds and ours else result


def remember(store: Store, result: Result) -> None:
    """Keep the findings of a result, where the cells are kept too."""
    path = _file(store, result.name)
    if path.parent.is_dir() and (stamp := _stamp(result)):
        memory = asdict(Memory(stamp, result.findings))
        write_atomically(path, json.dumps(memory, indent=1).encode())


def _file(store: Store, name: str) -> Path:
    return store.root / "cells" / f"{store.checked_name(name)}.findings.json"


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
            data = path.read_bytes()
            sha.update(f"{path.name} {len(data)}\n".encode() + data)
    except OSError:  # a file that is being replaced
        return None
    return sha.hexdigest()
