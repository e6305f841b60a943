"""Reading a results folder that may come from anyone: its own ordinary files and nothing else."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.storage.files import StoreError

NAME = r"^[A-Za-z0-9][\w.-]*$"
"""What a sweep may be called: its folder."""
RESERVED = ("cells", "REPORT.md", "report.html", "claims.csv", "claims.tex")
"""What a results folder holds beside the folders of its sweeps."""
RECORD_BYTES = 2**26
"""Size up to which a record or a figure is read."""


@dataclass(frozen=True)
class Folder:
    """A results folder, for reading."""

    root: Path

    def read_json(self, path: Path) -> dict[str, Any]:
        """A record of this folder; StoreError in one line if there is none that can be read."""
        where = path.relative_to(self.root)
        try:
            values = json.loads(self.read(path, RECORD_BYTES))
        except FileNotFoundError:
            raise StoreError(f"results={self.root}: {where} is missing") from None
        except StoreError:
            raise
        except (ValueError, RecursionError):
            raise StoreError(f"results={self.root}: {where} cannot be read") from None
        if not isinstance(values, dict):
            raise StoreError(f"results={self.root}: {where} cannot be read")
        return values

    def read(self, path: Path, limit: float = float("inf")) -> bytes:
        """An ordinary file of this folder; StoreError for another, FileNotFoundError for none."""
        where = f"results={self.root}: {path.relative_to(self.root)}"
        self.inside(path)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{where} is no file")
            if status.st_size > limit:
                raise StoreError(f"{where} has {status.st_size} bytes; at most {limit} are read")
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{where} cannot be read ({error.strerror})") from None

    def inside(self, path: Path) -> Path:
        """The path, unless a link on it leads out of this folder."""
        if not self._plain(path) and not self._resolves_inside(path):
            where = path.relative_to(self.root)
            raise StoreError(f"results={self.root}: {where} is a link that leads out of the folder")
        return path

    def _plain(self, path: Path) -> bool:
        """Whether no link is on the way from this folder to the path; ten times faster to say."""
        parts = path.relative_to(self.root).parts
        steps = itertools.accumulate(parts, os.path.join, initial=str(self.root))
        next(steps)
        return ".." not in parts and not any(map(os.path.islink, steps))

    def _resolves_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):  # links in a circle
            return False

    def checked_name(self, name: str) -> str:
        if name in RESERVED or not re.fullmatch(NAME, name):
            raise StoreError(
                f"results={self.root}: {name!r} cannot be the name of a sweep: must be letters, "
                f"digits, dots, _ and -, the first a letter or digit, and none of "
                + ", ".join(RESERVED)
            )
        return name
