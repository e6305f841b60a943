"""Standard streams that never fail: what cannot be said is not said, and the work goes on.

A descriptor may be closed (`2>&-`), its disk full, its reader gone (`| head`), its encoding ASCII.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO


class _Unfailing(io.FileIO):
    """A descriptor that drops what the system refuses to write."""

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written  # None: it would have to wait


def make_unfailing() -> None:
    """Open the missing ones of the descriptors 0 to 2; let sys.stdout and sys.stderr never fail.

    A missing descriptor would be taken by the next file that is opened, to which children and C
    code would then print.  A stream that someone has put in the place of Python's own is left.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(nowhere, True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _unfailing(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _unfailing(sys.stderr, 2)


def _unfailing(stream: TextIO | None, descriptor: int) -> TextIO:
    """A stream like the given one (None: there was none), whose writes succeed."""
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    at_once = ("line_buffering", "write_through")  # unbuffered ones write through
    return io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(descriptor, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=any(getattr(stream, setting, False) for setting in at_once),
    )
