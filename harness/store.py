"""Sole reader and writer of measured rows and tables under results/.

Layout, relative to the results folder::

    cells/SCHEMA                       version of this layout
    cells/<experiment>/<key>/<first>-<last>-<sha>.json   a segment: the rows of some trials
    cells/<experiment>/<key>/<...>.json.damaged          a segment that failed its checksum
    cells/<name>.sweep.json            the last sweep of that name: its cells, done or not
    <name>/table.csv                   the collected rows of that sweep
    <name>/provenance.json             where they came from

A segment is written once and never changed: beside its place, synced, renamed.  More trials make
more segments, so any number of processes can work on one sweep, and no kill can lose or halve
what was finished.  A segment's name holds its digest; a trial found twice counts once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.claims import Experiment, Row, canonical, columns, identity

SCHEMA = 1
MISSING = "nan"
"""A value that a row does not have, and NaN, in table.csv."""
log = logging.getLogger(__name__)


class StoreError(ValueError):
    """A results folder that cannot be used, in one line."""


@dataclass(frozen=True)
class Cell:
    """A point of an experiment's grid: what determines its rows, the number of trials excluded."""

    name: str
    experiment: Experiment
    seed: int

    @cached_property
    def key(self) -> str:
        """Digest of everything that determines the rows."""
        return digest(
            {
                "experiment": self.name,
                "version": self.experiment.version,
                "seed": self.seed,
                "coordinates": identity(self.experiment),
            }
        )[:20]


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping's canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(values).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A results folder; one that is only looked at is left as it is, or missing as it is."""

    root: Path
    look: bool = False

    def check(self) -> None:
        """Raise StoreError unless the folder can be written and its cells are of this schema."""
        if not self.look:
            self._check_writable()
        version = self._schema_file
        found = str(SCHEMA)
        if version.exists():
            found = version.read_text(errors="replace").strip()
        if found != str(SCHEMA):
            raise StoreError(
                f"results={self.root}: holds cells of schema {found[:20]!r}; "
                f"this version reads schema {SCHEMA}: choose another folder"
            )

    def _check_writable(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            cells = self._schema_file.parent
            for folder in (self.root, cells) if cells.exists() else (self.root,):
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(
                f"results={self.root}: must be a folder that can be written ({reason})"
            ) from None

    # Cells

    def append(self, cell: Cell, rows: Sequence[Row]) -> None:
        """Add the rows of finished trials; on return they are on the disk."""
        if not self._schema_file.exists():
            write_atomically(self._schema_file, f"{SCHEMA}\n".encode())
        payload = json.dumps(rows, separators=(",", ":")).encode()
        sha = hashlib.sha256(payload).hexdigest()
        header = {
            "schema": SCHEMA,
            "sha256": sha,
            "experiment": cell.name,
            "version": cell.experiment.version,
            "seed": cell.seed,
            "coordinates": identity(cell.experiment),
        }
        trials = [int(row["trial"]) for row in rows]
        path = self._folder(cell) / f"{min(trials):06d}-{max(trials):06d}-{sha[:12]}.json"
        write_atomically(path, json.dumps(header).encode() + b"\n" + payload + b"\n")

    def rows(self, cell: Cell) -> list[Row]:
        """Rows of all stored trials, by trial.  Damaged segments are named and set aside."""
        by_trial: dict[int, list[Row]] = {}
        for path in sorted(self._folder(cell).glob("*.json")):
            segment: dict[int, list[Row]] = {}
            for row in self._segment(path):
                segment.setdefault(int(row["trial"]), []).append(row)
            by_trial = segment | by_trial
        return [row for trial in sorted(by_trial) for row in by_trial[trial]]

    def missing(self, cell: Cell, trials: int) -> list[int]:
        """Trials 0..trials-1 that are not stored."""
        stored = {row["trial"] for row in self.rows(cell)}
        return [trial for trial in range(trials) if trial not in stored]

    def bytes(self, cell: Cell) -> int:
        """Size of a cell's stored rows on the disk."""
        return sum(path.stat().st_size for path in self._folder(cell).glob("*.json"))

    def _segment(self, path: Path) -> list[Row]:
        try:
            header, payload = path.read_bytes().splitlines()
            if json.loads(header)["sha256"] != hashlib.sha256(payload).hexdigest():
                raise ValueError("checksum")
            return json.loads(payload)
        except FileNotFoundError:  # set aside by another process a moment ago
            return []
        except (ValueError, KeyError, TypeError):
            if self.look:
                return []
            log.warning("damaged cell file set aside, its trials will be measured again: %s", path)
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path.with_name(path.name + ".damaged"))
            return []

    def _folder(self, cell: Cell) -> Path:
        return self.root / "cells" / cell.name / cell.key

    @property
    def _schema_file(self) -> Path:
        return self.root / "cells" / "SCHEMA"

    # Sweeps and tables

    def write_sweep(self, name: str, sweep: Mapping[str, Any]) -> None:
        """Remember which cells a sweep has."""
        write_atomically(self._sweep_file(name), json.dumps(sweep, indent=1).encode())

    def read_sweep(self, name: str) -> dict[str, Any] | None:
        """The last sweep of that name, None where its cells are not kept (a fresh clone)."""
        path = self._sweep_file(name)
        return self._read_json(path) if path.exists() else None

    def _sweep_file(self, name: str) -> Path:
        return self.root / "cells" / f"{name}.sweep.json"

    def collect(self, cells: Iterable[Cell], trials: int) -> tuple[pd.DataFrame, float]:
        """One tidy table of the stored rows of trials 0..trials-1, and their seconds in all.

        Coordinates first, then trial, seed, the measured columns, status; cells in the order
        given.  Seconds are summed, not tabulated: the same command gives the same table.
        """
        records: list[dict[str, Any]] = []
        seconds: dict[tuple[str, Any], float] = {}
        for cell in cells:
            place = {k: v for k, v in columns(cell.experiment).items() if v is not None}
            for row in self.rows(cell):
                if int(row["trial"]) < trials:
                    seconds[cell.key, row["trial"]] = float(row["seconds"])
                    records.append(place | {k: v for k, v in row.items() if k != "seconds"})
        table = pd.DataFrame.from_records(records)
        if "status" in table:
            table = table[[c for c in table.columns if c != "status"] + ["status"]]
        return table, sum(seconds.values())

    def write_table(self, name: str, table: pd.DataFrame, provenance: Mapping[str, Any]) -> None:
        """Write table.csv and provenance.json, to which the table's hash is added."""
        data = table.to_csv(index=False, na_rep=MISSING).encode()
        record = {
            **provenance,
            "columns": {name: str(dtype) for name, dtype in table.dtypes.items()},
            "table_sha256": hashlib.sha256(data).hexdigest(),
        }
        write_atomically(self.folder(name) / "table.csv", data)
        write_atomically(
            self.folder(name) / "provenance.json", (json.dumps(record, indent=1) + "\n").encode()
        )

    def read_table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The table and its provenance.

        Raises
        ------
        StoreError
            If they are missing or the table is not the one the provenance speaks of.
        """
        path = self.folder(name) / "provenance.json"
        provenance = self._read_json(path)
        if not {"table_sha256", "columns"} <= provenance.keys():
            raise StoreError(f"results={self.root}: {path.relative_to(self.root)} is incomplete")
        try:
            data = (self.folder(name) / "table.csv").read_bytes()
        except FileNotFoundError:
            raise StoreError(f"results={self.root}: {name}/table.csv is missing") from None
        if hashlib.sha256(data).hexdigest() != provenance["table_sha256"]:
            raise StoreError(f"results={self.root}: {name}/table.csv was changed by hand")
        if not provenance["columns"]:
            return pd.DataFrame(), provenance
        texts = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        for column, dtype in provenance["columns"].items():
            texts[column] = _typed(texts[column], dtype)
        return texts, provenance

    def _read_json(self, path: Path) -> dict[str, Any]:
        where = path.relative_to(self.root)
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise StoreError(f"results={self.root}: {where} is missing") from None
        except ValueError:
            raise StoreError(f"results={self.root}: {where} cannot be read") from None
        if not isinstance(values, dict):
            raise StoreError(f"results={self.root}: {where} cannot be read")
        return values

    def names(self) -> list[str]:
        """Names that have a table or a sweep, in alphabetical order."""
        tables = {p.parent.name for p in self.root.glob("*/table.csv")}
        sweeps = {p.name.removesuffix(".sweep.json") for p in self.root.glob("cells/*.sweep.json")}
        return sorted(tables | sweeps)

    def folder(self, name: str) -> Path:
        """Where a sweep's table, figure and verdict stand."""
        return self.root / name


def _typed(texts: pd.Series, dtype: str) -> pd.Series:
    """A column as it was before it was text; floats come back exactly."""
    if dtype == "bool":
        return texts == "True"
    if dtype == "object":  # True, False and missing
        return texts.map({"True": True, "False": False}).astype(object)
    if dtype == "str":
        return texts.where(texts != MISSING)
    return texts.astype(dtype)


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder of working files with all that it holds, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
