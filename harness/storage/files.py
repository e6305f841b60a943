"""Files that are there whole or not at all, whatever stops their writer."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError

LEFTOVER = ".tmp"
"""Ends the name of a file that is being written, or whose writer was killed."""
STALE_SECONDS = 3600.0
"""A file beside its place that is so old has no writer any more.

If it has (a clock may jump), the writer notices and writes once more.
"""


class StoreError(InputError):
    """A results folder or a file that cannot be used, in one line."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write beside, sync, rename: a reader sees the old file or the whole new one.

    On return the file and its name are on the disk.  Leftovers in its folder are swept up.

    Raises
    ------
    StoreError
        If the system refuses: a full disk, a folder that is read-only.
    """
    try:
        made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_rename(path, data)
        except FileNotFoundError:  # swept up as a leftover
            _write_and_rename(path, data)
        for folder in {path.parent, *(folder.parent for folder in made)}:
            _sync(folder)
        sweep_up(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({reason(error)})") from error


def _write_and_rename(path: Path, data: bytes | memoryview) -> None:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{LEFTOVER}")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what is left is swept up later
            beside.unlink()
        raise


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk, where a system can.

    If it cannot, a power cut may take the file as if it never was; it halves none.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What stands in a folder, which need not be; without leftovers, the stale ones swept up."""
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if not entry.name.endswith(LEFTOVER):
                    yield entry
                else:
                    _remove_if_stale(entry)
    except FileNotFoundError:
        return


def sweep_up(folder: Path) -> None:
    """Remove from a folder what killed writers left long ago."""
    with contextlib.suppress(OSError):
        for _ in entries(folder):
            pass


def _remove_if_stale(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):  # gone already, or of a folder that is read-only
        if abs(time.time() - entry.stat().st_mtime) > STALE_SECONDS:
            Path(entry.path).unlink()


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it is kept and not read again."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.exists():
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.damaged")
    try:
        os.replace(path, aside)
    except FileNotFoundError:  # set aside by another process a moment ago
        pass
    except OSError as error:
        raise StoreError(f"{path}: is damaged and cannot be set aside ({reason(error)})") from error


def make_private_folder(folder: Path) -> Path:
    """Make a new folder for this user alone, in one that is likewise if it has to be made.

    Raises
    ------
    StoreError
        If it is there, or what it is in belongs to another user, who could replace it.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.parent.stat().st_uid != os.geteuid():
            raise StoreError(f"{folder.parent}: must be a folder of the user who runs this")
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({reason(error)})") from error
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder of working files with all that it holds, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return error.strerror or type(error).__name__
