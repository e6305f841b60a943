"""Regular files, read to a limit: no pipe is waited for, and nothing without an end is read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

RECORD_BYTES = 2**26
"""Largest record, page, image or figure that is read, in bytes."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class UnfitError(OSError):
    """A file that is not read: no regular file, or too long; `strerror` says which."""

    def __init__(self, why: str, path: Path) -> None:
        super().__init__(errno.EINVAL, why, str(path))


def open_regular(path: Path, limit: int) -> BinaryIO:
    """Open a regular file of at most `limit` bytes; whatever else has this name is not waited for.

    Raises
    ------
    UnfitError
        If it is a folder, pipe, socket or device, or longer.
    OSError
        If it cannot be opened.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise UnfitError("is not a regular file", path) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnfitError("is not a regular file", path)
        if status.st_size > limit:
            raise UnfitError(f"has {status.st_size} bytes; at most {limit} are read", path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.  Errors as of `open_regular`."""
    with open_regular(path, limit) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(size + 1)
    if data is None or len(data) > size:  # as some files of /proc, which have size 0
        raise UnfitError("grows while it is read", path)
    return data
