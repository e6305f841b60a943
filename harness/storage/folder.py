"""Read access to an untrusted results folder: only regular files inside it."""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.reading import RECORD_BYTES, UnfitError, read_regular
from harness.storage.files import StoreError, reason

NAME = r"^[A-Za-z0-9][\w.-]{0,99}$"
"""Pattern of the names of sweeps, which are the names of their folders."""
RESERVED = ("cells", "confirmation", "REPORT.md", "report.html", "claims.csv", "claims.tex")
"""Names in a results folder that are not sweeps."""


@dataclass(frozen=True)
class Folder:
    """A results folder whose files may come from anyone."""

    root: Path

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON object in this folder; StoreError if it is missing or cannot be read."""
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

    def read(self, path: Path, limit: int) -> bytes:
        """A regular file in this folder, of at most `limit` bytes.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        StoreError
            If it is not a regular file, too large, outside the folder or unreadable.
        """
        where = f"results={self.root}: {path.relative_to(self.root)}"
        self.inside(path)
        try:
            return read_regular(path, limit)
        except FileNotFoundError:
            raise
        except UnfitError as error:
            raise StoreError(f"{where} {reason(error)}") from None
        except OSError as error:
            raise StoreError(f"{where} cannot be read ({reason(error)})") from None

    def inside(self, path: Path) -> Path:
        """The path itself; StoreError if a link on it leads out of this folder."""
        if not self._plain(path) and not self._resolves_inside(path):
            where = path.relative_to(self.root)
            raise StoreError(f"results={self.root}: {where} is a link that leads out of the folder")
        return path

    def _plain(self, path: Path) -> bool:
        """Whether the path has no links below this folder; ten times faster than resolving it."""
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
        """The name itself; StoreError if no sweep can have it."""
        if name in RESERVED or not re.fullmatch(NAME, name):
            raise StoreError(
                f"results={self.root}: {name!r} cannot be the name of a sweep: must be at most 100 "
                f"letters, digits, dots, _ and -, the first a letter or digit, and none of "
                + ", ".join(RESERVED)
            )
        return name
