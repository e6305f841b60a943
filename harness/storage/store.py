"""Sole reader and writer of measured rows and tables under results/.

Layout, relative to the results folder::

    cells/SCHEMA                       version of this layout
    cells/<experiment>/<key>/<first>-<last>-<sha>.json   a segment: the rows of some trials
    cells/<experiment>/<key>/<...>.json.damaged          a segment that failed its checksum
    cells/<name>.sweep.json            the cells of the last sweep of that name, done or not
    cells/<name>.lock                  held while the next two are written or read
    <name>/table.csv.gz                the collected rows of that sweep (older: table.csv)
    <name>/provenance.json             where they came from, and the SHA-256 of the CSV text

A segment is written once, atomically, and never changed.  Further trials go into further segments,
so that any number of processes can work on one sweep and a killed process loses no finished trial.
A segment's name contains its digest; a trial that is found in two segments counts once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import shown
from harness.experiment import Row
from harness.reading import RECORD_BYTES, UnfitError, read_regular
from harness.storage import tables
from harness.storage.cell import Cell
from harness.storage.files import StoreError, entries, locked, reason, set_aside, write_atomically
from harness.storage.folder import Folder
from harness.storage.provenance import blas_kernel
from harness.storage.segments import SCHEMA, DamageError, SchemaError, Segment, decode, encode

log = logging.getLogger(__name__)

TABLE = "table.csv.gz"
PLAIN_TABLE = "table.csv"
"""The table as earlier versions wrote it; it is still read."""
SCHEMA_BYTES = 2**10
SEGMENT_BYTES = 2**30
"""Largest SCHEMA and largest segment that are read, in bytes."""


@dataclass
class Gathered:
    """What `collect` learns beside the rows.

    Attributes
    ----------
    seconds : total time of the trials.
    complete : number of cells that have all trials.
    kernels : number of segments by the BLAS kernel that computed them; kernels differ in the last
        bits of their results.
    """

    seconds: float = 0.0
    complete: int = 0
    kernels: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ReadOnlyStore(Folder):
    """Read access to a results folder.

    Nothing is written, created or renamed; only abandoned temporary files are deleted.
    """

    def check(self) -> None:
        """Raise StoreError if the folder holds cells of another schema."""
        try:
            found = self.read(self._schema_file, SCHEMA_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            found = str(SCHEMA)
        if found != str(SCHEMA):
            raise StoreError(
                f"results={self.root}: holds cells of schema {found[:20]!r}; "
                f"this version reads schema {SCHEMA}: choose another folder"
            )

    # Cells

    def rows(self, cell: Cell) -> list[Row]:
        """The stored rows of a cell, ordered by trial, without those of damaged segments."""
        return self._by_trial(self._segments(cell))

    def missing(self, cell: Cell, trials: int) -> list[int]:
        """The trials among 0..trials-1 that no sound segment holds."""
        stored: set[int] = set().union(*(segment.trials() for segment in self._segments(cell)))
        return [trial for trial in range(trials) if trial not in stored]

    def keys(self, name: str) -> Set[str]:
        """Keys of the cells of an experiment that have a folder, in which something may be."""
        try:
            return {entry.name for entry in entries(self.inside(self.root / "cells" / name))}
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be read ({reason(error)})") from error

    def size(self, cell: Cell) -> int:
        """Size of a cell's segments in bytes."""
        return sum(
            entry.stat().st_size
            for entry in entries(self._cell_folder(cell))
            if entry.name.endswith(".json") and entry.is_file()
        )

    def _segments(self, cell: Cell) -> Iterator[Segment]:
        """The sound segments of a cell, ordered by name."""
        folder = self._cell_folder(cell)
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
        """The segment in a file; None if it is damaged."""
        try:
            return decode(cell, read_regular(path, SEGMENT_BYTES))
        except FileNotFoundError:  # another process has just renamed it as damaged
            return None
        except SchemaError as error:
            raise StoreError(f"{path}: {error}: choose another folder") from None
        except (DamageError, UnfitError):
            self._reject(path)
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({reason(error)})") from error

    def _reject(self, path: Path) -> None:
        """Skip a damaged segment."""

    def _by_trial(self, segments: Iterable[Segment]) -> list[Row]:
        """Rows ordered by trial; the first segment that holds a trial provides its rows."""
        by_trial: dict[int, list[Row]] = {}
        for segment in segments:
            found: dict[int, list[Row]] = {}
            for row in segment.rows:
                found.setdefault(int(row["trial"]), []).append(row)
            by_trial = found | by_trial
        return [row for trial in sorted(by_trial) for row in by_trial[trial]]

    def _cell_folder(self, cell: Cell) -> Path:
        return self.inside(self.root.joinpath("cells", cell.name, cell.key))

    @property
    def _schema_file(self) -> Path:
        return self.root / "cells" / "SCHEMA"

    # Sweeps

    def read_sweep(self, name: str) -> dict[str, Any] | None:
        """The record of the last sweep of that name; None without one, as in a fresh clone."""
        path = self._sweep_file(name)
        return self.read_json(path) if os.path.lexists(path) else None

    def _sweep_file(self, name: str) -> Path:
        return self.root / "cells" / f"{self.checked_name(name)}.sweep.json"

    def collect(self, cells: Iterable[Cell], trials: int) -> tuple[pd.DataFrame, Gathered]:
        """One table of the stored rows of trials 0..trials-1, with what else was found.

        Columns are the coordinates, then trial, seed, the measured columns and status; cells keep
        the order given.  Times are summed and not tabulated, so that the same command gives the
        same table.
        """
        gathered = Gathered()
        table = tables.tabulate(self._records(cells, trials, gathered))
        if mixed := tables.mixed(table):
            raise StoreError(
                f"results={self.root}: some cells hold numbers and others none in column "
                f"{shown(mixed[0])}: delete the wrong ones in {self.root / 'cells'}"
            )
        if "status" in table:
            table = table[[c for c in table.columns if c != "status"] + ["status"]]
        return table, gathered

    def _records(self, cells: Iterable[Cell], trials: int, gathered: Gathered) -> Iterator[Row]:
        """Rows of the table, each file read once; fills `gathered` on the way."""
        for cell in cells:
            segments = list(self._segments(cell))
            rows = [row for row in self._by_trial(segments) if int(row["trial"]) < trials]
            seconds = {row["trial"]: float(row["seconds"]) for row in rows}
            gathered.seconds += sum(seconds.values())
            gathered.complete += len(seconds) == trials
            gathered.kernels.update(segment.kernel for segment in segments)
            point = {k.rpartition(".")[2]: v for k, v in cell.facts["coordinates"].items()}
            for row in rows:
                del row["seconds"]
                yield point | row

    # Tables

    def names(self) -> list[str]:
        """Names that have a table or a sweep, in alphabetical order."""
        try:
            next(self.root.iterdir(), None)
        except FileNotFoundError:
            return []
        except OSError as error:  # which `glob` passes over
            raise StoreError(
                f"results={shown(str(self.root))}: cannot be read ({reason(error)})"
            ) from None
        tables = {
            p.parent.name for file in (TABLE, PLAIN_TABLE) for p in self.root.glob(f"*/{file}")
        }
        sweeps = {p.name.removesuffix(".sweep.json") for p in self.root.glob("cells/*.sweep.json")}
        return sorted(tables | sweeps)

    def sweep_folder(self, name: str) -> Path:
        """The folder of a sweep's table, figure and verdict.

        Raises
        ------
        StoreError
            If no sweep can have this name, or the folder is a link out of the results.
        """
        return self.inside(self.root / self.checked_name(name))

    def has_table(self, name: str) -> bool:
        """Whether there is a table, sound or not."""
        return os.path.lexists(self.table_file(name))

    def read_table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The table and its provenance.

        Raises
        ------
        StoreError
            If either is missing, too large or damaged, or if they do not belong together.
        """
        text, provenance = self._table_text(name)
        try:
            return tables.from_csv(text, provenance["columns"]), provenance
        except (ValueError, OverflowError) as error:
            cause = str(error).partition("\n")[0]
            raise StoreError(
                f"{self._where(name)} is not as provenance.json has it ({cause})"
            ) from None

    def read_provenance(self, name: str) -> dict[str, Any]:
        """The provenance of a table that is there and sound; StoreError as of `read_table`."""
        return self._table_text(name)[1]

    def read_figure(self, name: str) -> bytes | None:
        """The figure as PNG; None if there is none."""
        try:
            return self.read(self.sweep_folder(name) / "figure.png", RECORD_BYTES)
        except FileNotFoundError:
            return None

    def _table_text(self, name: str) -> tuple[bytes, dict[str, Any]]:
        """The table as CSV text, its SHA-256 verified, and its provenance."""
        path = self.sweep_folder(name) / "provenance.json"
        with locked(self._lock_file(name), shared=True):
            provenance = self.read_json(path)
            if not {"table_sha256", "columns"} <= provenance.keys():
                raise StoreError(
                    f"results={self.root}: {path.relative_to(self.root)} is incomplete"
                )
            text = self._unpacked(name, provenance["table_sha256"])
        if text is None:
            raise StoreError(
                f"{self._where(name)} does not belong to its provenance.json "
                "(changed, or its writer was stopped)"
            )
        return text, provenance

    def _unpacked(self, name: str, sha256: str) -> bytes | None:
        """The table as CSV text; None if it is damaged or has another SHA-256."""
        path = self.table_file(name)
        try:
            data = self.read(path, tables.TEXT_BYTES)
            if path.name == TABLE:
                return tables.unpack(data, sha256, tables.TEXT_BYTES)
            return data if hashlib.sha256(data).hexdigest() == sha256 else None
        except FileNotFoundError:
            raise StoreError(f"{self._where(name)} is missing") from None
        except tables.SizeError as error:
            raise StoreError(f"{self._where(name)} {error}") from None
        except tables.DamageError:
            return None

    def _lock_file(self, name: str) -> Path:
        return self.inside(self.root / "cells") / f"{self.checked_name(name)}.lock"

    def table_file(self, name: str) -> Path:
        """Where a table is stored: table.csv.gz, or table.csv if there is only that."""
        folder = self.sweep_folder(name)
        files = [folder / TABLE, folder / PLAIN_TABLE]
        return next((file for file in files if os.path.lexists(file)), files[0])

    def _where(self, name: str) -> str:
        return f"results={self.root}: {self.table_file(name).relative_to(self.root)}"


@dataclass(frozen=True)
class Store(ReadOnlyStore):
    """Read and write access to a results folder."""

    def check(self) -> None:
        """Raise StoreError unless the folder can be written and its cells have this schema."""
        self._check_writable()
        super().check()

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

    def append(self, cell: Cell, rows: Sequence[Row]) -> None:
        """Store the rows of finished trials; on return they are on the disk."""
        self._write_schema()
        name, data = encode(cell, rows, blas_kernel())
        if len(data) > SEGMENT_BYTES:
            raise StoreError(
                f"{cell.name}: {len(rows)} rows take {len(data)} bytes; must be {SEGMENT_BYTES} "
                "at most"
            )
        write_atomically(self._cell_folder(cell) / name, data)

    def _reject(self, path: Path) -> None:
        """Rename a damaged segment, so that its trials are measured again."""
        log.warning("damaged cell file set aside, its trials will be measured again: %s", path)
        set_aside(path)

    def _write_schema(self) -> None:
        if not self._schema_file.exists():
            write_atomically(self._schema_file, f"{SCHEMA}\n".encode())

    def write_sweep(self, name: str, sweep: Mapping[str, Any]) -> None:
        """Record the cells of a sweep."""
        self._write_schema()
        write_atomically(self._sweep_file(name), json.dumps(sweep, indent=1).encode())

    def write_table(
        self,
        name: str,
        table: pd.DataFrame,
        provenance: Mapping[str, Any],
        stored_sha256: str | None = None,
    ) -> None:
        """Write the table, then provenance.json, to which the types and the SHA-256 are added.

        stored_sha256 : SHA-256 of the stored table, if nothing is to be written where the new
            table is the same.
        """
        packed, sha = tables.pack(table)
        if sha == stored_sha256:
            return
        record = {
            **provenance,
            "columns": {name: str(dtype) for name, dtype in table.dtypes.items()},
            "table_sha256": sha,
        }
        folder = self.sweep_folder(name)
        text = (json.dumps(record, indent=1) + "\n").encode()
        with locked(self._lock_file(name)):
            write_atomically(folder / TABLE, packed)
            write_atomically(folder / "provenance.json", text)
            (folder / PLAIN_TABLE).unlink(missing_ok=True)
