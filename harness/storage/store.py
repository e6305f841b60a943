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

import hashlib
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.experiment import Row
from harness.storage import tables
from harness.storage.cell import Cell
from harness.storage.files import StoreError, entries, reason, set_aside, write_atomically
from harness.storage.folder import RECORD_BYTES, Folder
from harness.storage.provenance import blas_kernel
from harness.storage.segments import SCHEMA, DamageError, SchemaError, Segment, decode, encode

log = logging.getLogger(__name__)


@dataclass
class Gathered:
    """What `Store.collect` found beside the rows.

    seconds : of all trials.  complete : cells that have all trials.  kernels : segments by the
    BLAS kernel that computed them; the last bits differ between kernels.
    """

    seconds: float = 0.0
    complete: int = 0
    kernels: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Store(Folder):
    """A results folder; one that is only looked at is left as it is, or missing as it is."""

    look: bool = False

    def check(self) -> None:
        """Raise StoreError unless the folder can be written and its cells are of this schema."""
        if not self.look:
            self._check_writable()
        try:
            found = self.read(self._schema_file).decode(errors="replace").strip()
        except FileNotFoundError:
            found = str(SCHEMA)
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
            raise StoreError(
                f"results={self.root}: must be a folder that can be written ({reason(error)})"
            ) from None

    # Cells

    def append(self, cell: Cell, rows: Sequence[Row]) -> None:
        """Add the rows of finished trials; on return they are on the disk."""
        self._mark()
        name, data = encode(cell, rows, blas_kernel())
        write_atomically(self._folder(cell) / name, data)

    def rows(self, cell: Cell) -> list[Row]:
        """Rows of all stored trials, by trial.  Damaged segments are named and set aside."""
        return self._by_trial(cell, self._segments(cell))

    def missing(self, cell: Cell, trials: int) -> list[int]:
        """Trials 0..trials-1 that are not stored, or whose segments are damaged."""
        stored: set[int] = set().union(*(segment.trials() for segment in self._segments(cell)))
        return [trial for trial in range(trials) if trial not in stored]

    def size(self, cell: Cell) -> int:
        """Size of a cell's stored rows on the disk."""
        return sum(path.stat().st_size for path in self._folder(cell).glob("*.json"))

    def _segments(self, cell: Cell) -> Iterator[Segment]:
        """The sound segments of a cell, by name."""
        folder = self._folder(cell)
        try:
            listed = [(entry.name, entry.is_symlink()) for entry in entries(folder)]
        except OSError as error:
            raise StoreError(f"{folder}: cannot be read ({reason(error)})") from error
        for name, link in sorted(n for n in listed if n[0].endswith(".json") and n[0][0] != "."):
            if link:
                self.inside(folder / name)
            if segment := self._segment(cell, folder / name):
                yield segment

    def _segment(self, cell: Cell, path: Path) -> Segment | None:
        try:
            return decode(cell, path.read_bytes())
        except FileNotFoundError:  # set aside by another process a moment ago
            return None
        except SchemaError as error:
            raise StoreError(f"{path}: {error}: choose another folder") from None
        except (DamageError, IsADirectoryError):
            if self.look:
                return None
            log.warning("damaged cell file set aside, its trials will be measured again: %s", path)
            set_aside(path)
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({reason(error)})") from error

    def _folder(self, cell: Cell) -> Path:
        return self.inside(self.root / "cells" / cell.name / cell.key)

    @property
    def _schema_file(self) -> Path:
        return self.root / "cells" / "SCHEMA"

    def _mark(self) -> None:
        """Say of which schema the cells are, before there are any."""
        if not self._schema_file.exists():
            write_atomically(self._schema_file, f"{SCHEMA}\n".encode())

    # Sweeps and tables

    def write_sweep(self, name: str, sweep: Mapping[str, Any]) -> None:
        """Remember which cells a sweep has."""
        self._mark()
        write_atomically(self._sweep_file(name), json.dumps(sweep, indent=1).encode())

    def read_sweep(self, name: str) -> dict[str, Any] | None:
        """The last sweep of that name, None where its cells are not kept (a fresh clone)."""
        path = self._sweep_file(name)
        return self.read_json(path) if os.path.lexists(path) else None

    def _sweep_file(self, name: str) -> Path:
        return self.root / "cells" / f"{self.checked_name(name)}.sweep.json"

    def collect(self, cells: Iterable[Cell], trials: int) -> tuple[pd.DataFrame, Gathered]:
        """One tidy table of the stored rows of trials 0..trials-1, and what else was found.

        Coordinates first, then trial, seed, the measured columns, status; cells in the order
        given.  Seconds are summed, not tabulated: the same command gives the same table.
        """
        gathered = Gathered()
        table = tables.tabulate(self._records(cells, trials, gathered))
        if "status" in table:
            table = table[[c for c in table.columns if c != "status"] + ["status"]]
        return table, gathered

    def _records(self, cells: Iterable[Cell], trials: int, gathered: Gathered) -> Iterator[Row]:
        """Rows of the table, each file read once; `gathered` fills on the way."""
        for cell in cells:
            segments = list(self._segments(cell))
            rows = [row for row in self._by_trial(cell, segments) if int(row["trial"]) < trials]
            seconds = {row["trial"]: float(row["seconds"]) for row in rows}
            gathered.seconds += sum(seconds.values())
            gathered.complete += len(seconds) == trials
            gathered.kernels.update(segment.kernel for segment in segments)
            place = {k.rpartition(".")[2]: v for k, v in cell.facts["coordinates"].items()}
            for row in rows:
                del row["seconds"]
                yield place | row

    def write_table(
        self, name: str, table: pd.DataFrame, provenance: Mapping[str, Any], keep: bool = False
    ) -> None:
        """Write table.csv and provenance.json, to which the table's hash is added.

        keep : leave both as they are if they are whole and the table is the same.
        """
        data = tables.to_csv(table)
        sha = hashlib.sha256(data).hexdigest()
        if keep and self._has(name, sha):
            return
        record = {
            **provenance,
            "columns": {name: str(dtype) for name, dtype in table.dtypes.items()},
            "table_sha256": sha,
        }
        write_atomically(self.folder(name) / "table.csv", data)
        write_atomically(
            self.folder(name) / "provenance.json", (json.dumps(record, indent=1) + "\n").encode()
        )

    def _has(self, name: str, sha: str) -> bool:
        try:
            return self.read_provenance(name)["table_sha256"] == sha
        except StoreError:
            return False

    def read_table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The table and its provenance.

        Raises
        ------
        StoreError
            If they are missing or the table is not the one the provenance speaks of.
        """
        data, provenance = self._table_bytes(name)
        try:
            return tables.from_csv(data, provenance["columns"]), provenance
        except (ValueError, OverflowError) as error:
            cause = str(error).partition("\n")[0]
            raise StoreError(
                f"results={self.root}: {name}/table.csv is not as provenance.json has it ({cause})"
            ) from None

    def read_provenance(self, name: str) -> dict[str, Any]:
        """The provenance of a table, which must be there; StoreError as above."""
        return self._table_bytes(name)[1]

    def _table_bytes(self, name: str) -> tuple[bytes, dict[str, Any]]:
        path = self.folder(name) / "provenance.json"
        provenance = self.read_json(path)
        if not {"table_sha256", "columns"} <= provenance.keys():
            raise StoreError(f"results={self.root}: {path.relative_to(self.root)} is incomplete")
        try:
            data = self.read(self.folder(name) / "table.csv")
        except FileNotFoundError:
            raise StoreError(f"results={self.root}: {name}/table.csv is missing") from None
        if hashlib.sha256(data).hexdigest() != provenance["table_sha256"]:
            raise StoreError(
                f"results={self.root}: {name}/table.csv does not belong to its provenance.json "
                "(changed, or its writer was stopped)"
            )
        return data, provenance

    def has_table(self, name: str) -> bool:
        """Whether there is a table, sound or not."""
        return os.path.lexists(self.folder(name) / "table.csv")

    def read_figure(self, name: str) -> bytes | None:
        """The figure as PNG, None where there is none."""
        try:
            return self.read(self.folder(name) / "figure.png", RECORD_BYTES)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Names that have a table or a sweep, in alphabetical order."""
        tables = {p.parent.name for p in self.root.glob("*/table.csv")}
        sweeps = {p.name.removesuffix(".sweep.json") for p in self.root.glob("cells/*.sweep.json")}
        return sorted(tables | sweeps)

    def folder(self, name: str) -> Path:
        """Where a sweep's table, figure and verdict stand.

        Raises
        ------
        StoreError
            If the name is none that a sweep can have, or the folder is elsewhere.
        """
        return self.inside(self.root / self.checked_name(name))

    def _by_trial(self, cell: Cell, segments: Iterable[Segment]) -> list[Row]:
        """Rows by trial; of a trial in several segments those of the first."""
        by_trial: dict[int, list[Row]] = {}
        for segment in segments:
            found: dict[int, list[Row]] = {}
            try:
                for row in segment.rows():
                    found.setdefault(int(row["trial"]), []).append(row)
            except DamageError:
                raise StoreError(
                    f"{self._folder(cell)}: holds rows of other than scalars"
                ) from None
            by_trial = found | by_trial
        return [row for trial in sorted(by_trial) for row in by_trial[trial]]
