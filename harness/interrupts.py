"""Ctrl-C, remembered: a library may turn a KeyboardInterrupt into an error of its own.

OmegaConf does when it meets a copy of a configuration: its `finally` raises that None has no
attribute.  The flag stands in a module of its own, since functions that are sent to workers cannot
carry it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_seen = threading.Event()


def seen() -> bool:
    """Whether Ctrl-C was pressed since `remembered` was entered."""
    return _seen.is_set()


@contextmanager
def remembered() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt as ever, and remember it."""

    def remember(number: int, frame: object) -> None:
        _seen.set()
        raise KeyboardInterrupt

    _seen.clear()
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:  # a process that is to go on when its terminal does not
        yield
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
