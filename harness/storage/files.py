"""Atomic, durable file writes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError, shown

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None  # type: ignore[assignment]

LEFTOVER = ".tmp"
"""Suffix of temporary files: of one that is being written, or whose writer was killed."""
OURS = re.compile(r"\..+\.[0-9a-f]+" + re.escape(LEFTOVER))
"""Names of temporary files that are deleted when they are stale; others are not ours."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What the system says of a disk that is full or fails."""
LOCK_SECONDS = 10.0
LOCK_PAUSE = 0.01
"""Longest time to wait for a lock, which is held during two writes, and between two tries."""
LONGEST_NAME = 200
"""Bytes of a name to which a suffix can be added; most file systems allow 255 in all."""
STALE_SECONDS = 3600.0
"""Age from which a temporary file counts as abandoned.

If its writer is alive after all (a clock may jump), the writer notices and writes it again.
"""


class StoreError(InputError):
    """A results folder or a file that cannot be used; the message is one line."""


class DiskError(StoreError):
    """A disk that is full or fails: no fault of the input."""


def write_atomically(path: Path, data: bytes | memoryview, *, keep_mode: bool = False) -> None:
    """Write a temporary file, sync it and rename it: a reader sees the old file or the new one.

    On return the file and its name are on the disk.  Deletes abandoned temporary files beside it.

    keep_mode : give the new file the permissions of the old one.

    Raises
    ------
    DiskError
        If the disk is full or fails.
    StoreError
        If the system refuses for another reason, because the folder is read-only, say.
    """
    try:
        made = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if keep_mode else None
        try:
            _write_and_rename(path, data, mode)
        except FileNotFoundError:  # another process deleted it as abandoned
            _write_and_rename(path, data, mode)
        for folder in {path.parent, *(folder.parent for folder in made)}:
            _sync(folder)
        sweep_up(path.parent)
    except OSError as error:
        kind = DiskError if error.errno in DISK else StoreError
        raise kind(f"{path}: cannot be written ({reason(error)})") from error


def check_writable(key: str, folder: Path) -> None:
    """Raise StoreError unless files can be written into a folder; make it if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        where = f"{key}={shown(str(folder))}"
        raise StoreError(f"{where}: must be a folder that can be written ({why})") from error


def _write_and_rename(path: Path, data: bytes | memoryview, mode: int | None) -> None:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{LEFTOVER}")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if mode is not None:
                beside.chmod(mode)
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what is left is deleted later
            beside.unlink()
        raise


def _sync(folder: Path) -> None:
    """Sync the names in a folder to the disk, where the system supports it.

    Elsewhere a power cut may undo a rename, but it leaves no half-written file.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Entries of a folder (none if missing).  Skips temporary files and deletes stale ones."""
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
    """Delete the temporary files of killed writers."""
    with contextlib.suppress(OSError):
        for _ in entries(folder):
            pass


def _remove_if_stale(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):  # already deleted, or the folder is read-only
        ours = OURS.fullmatch(entry.name)
        if ours and abs(time.time() - entry.stat().st_mtime) > STALE_SECONDS:
            Path(entry.path).unlink()


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on a file, which only a holder of an exclusive one makes, during the block.

    A killed process gives its lock back.  Where there is none to be had within `LOCK_SECONDS`,
    because a file system has no locks, say, the block runs without.
    """
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except (OSError, AttributeError):  # none is needed, or none can be made
        yield
        return
    try:
        _wait_for_lock(descriptor, shared)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, shared: bool) -> None:
    if fcntl is None:
        return
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return
            time.sleep(LOCK_PAUSE)
        except OSError:
            return
        else:
            return


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it is kept but not read again."""
    start = path.name if len(os.fsencode(path.name)) <= LONGEST_NAME else "segment"
    aside = path.with_name(f"{start}.damaged")
    if os.path.lexists(aside):
        aside = path.with_name(f"{start}.{uuid.uuid4().hex[:8]}.damaged")
    try:
        os.replace(path, aside)
    except FileNotFoundError:  # another process has just renamed it
        pass
    except OSError as error:
        raise StoreError(f"{path}: is damaged and cannot be set aside ({reason(error)})") from error


def make_private_folder(folder: Path) -> Path:
    """Make a folder that only this user can enter; so is its parent, if that has to be made.

    Raises
    ------
    StoreError
        If the folder exists, or its parent belongs to another user, who could replace it.
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
    """Delete a folder with everything in it, if it exists."""
    shutil.rmtree(folder, ignore_errors=True)


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return error.strerror or type(error).__name__
