"""`harness pictures`: write the images in a stored table as PNG files.

The table is untrusted: file names in it are never used as paths, and only PNG data is written.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from harness.storage.files import StoreError, write_atomically
from harness.storage.store import ReadOnlyStore

SUFFIX = "_png"
"""Suffix of the columns that hold images."""
WORDS = {
    "y": "distorted",
    "x": "digit",
    "w": "distortion",
    "x0": "true_digit",
    "w0": "true_distortion",
}
"""Word for the content of each column, used in file names."""
VARIANTS = ("method", "kind", "trial")
"""Columns that appear in file names if the table has more than one of their values."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
LENGTH = 80
"""Longest part of a file name, in characters."""


def write(store: ReadOnlyStore, name: str, folder: Path) -> int:
    """Write all images of a sweep's table to a new folder; return how many.

    Files are named after the user's image or the pair (<file>_digit.png, pair3_digit.png), then the
    method if there are several, then a number if names still clash.

    Raises
    ------
    StoreError
        If the folder is not empty, or the table cannot be read or holds no images.
    """
    if not _vacant(folder):
        raise StoreError(f"to={folder}: must be a new or an empty folder")
    pictures: dict[str, bytes] = {}
    taken: set[str] = set()
    for start, images in _rows(store, name):
        named = _named(start, images, taken)
        pictures |= named
        taken |= set(map(str.lower, named))
    if not pictures:
        raise StoreError(f"results={store.root}: {name} holds no images")
    for file, data in pictures.items():
        write_atomically(folder / file, data)
    return len(pictures)


def safe(text: str) -> str:
    """A text made safe as part of a file name: no separators, no leading dots or dashes."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".-")[:LENGTH]


def _vacant(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError:  # a file, or a folder that is closed to us
        return False


def _rows(store: ReadOnlyStore, name: str) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """For each row with images: the parts of their file names, and the images by content."""
    table, _ = store.read_table(name)
    where = f"{store.root}: {name}/{store.table_file(name).name}"
    shown = {column: column.removesuffix(SUFFIX) for column in table if column.endswith(SUFFIX)}
    several = [key for key in VARIANTS if key in table and table[key].nunique() > 1]
    for row in table.to_dict("records"):
        images = {
            WORDS.get(what, safe(what)): _decoded(row[column], where)
            for column, what in shown.items()
            if isinstance(row[column], str)  # else there is none
        }
        if images:
            variant = (f"trial{row[key]}" if key == "trial" else str(row[key]) for key in several)
            yield [part for part in (_subject(row), *map(safe, variant)) if part], images


def _subject(row: Mapping[Hashable, Any]) -> str:
    """Name of the row's subject: the user's file, or the pair."""
    if isinstance(row.get("file"), str):
        return safe(Path(row["file"]).stem) or "image"
    return safe(f"pair{row['pair']}") if "pair" in row else ""


def _decoded(text: str, where: str) -> bytes:
    """A PNG file in base 64."""
    with contextlib.suppress(ValueError):
        data = base64.b64decode(text, validate=True)
        if data.startswith(SIGNATURE):
            return data
    raise StoreError(f"results={where} holds an image that is no PNG")


def _named(start: Sequence[str], images: Mapping[str, bytes], taken: Set[str]) -> dict[str, bytes]:
    """Images by file name, numbered if a name is taken (ignoring case)."""
    starts = itertools.chain([start], ([*start, str(number)] for number in itertools.count(2)))
    choices = (
        {"_".join([*parts, what]) + ".png": data for what, data in images.items()}
        for parts in starts
    )
    return next(named for named in choices if taken.isdisjoint(map(str.lower, named)))
