"""Ctrl-C, `kill` and a closed terminal, remembered.

A library may turn a KeyboardInterrupt into an error of its own.  OmegaConf does when it meets a
copy of a configuration: its `finally` raises that None has no attribute.  The memory stands in a
module of its own, since functions that are sent to workers cannot carry it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what `kill`, a scheduler's cancellation and its time limit send first; and what a
terminal that is closed, or a lost connection, sends."""

REPEAT_SECONDS = 5.0
"""All but Ctrl-C again within this time is the same request: Slurm sends SIGTERM to a job and by
its srun, a terminal SIGHUP and by its shell."""

_received: list[tuple[int, float]] = []
"""Numbers of signals that came, and when."""


def seen() -> bool:
    """Whether one of the signals came since `remembered` was entered."""
    return bool(_received)


def exit_code() -> int:
    """128 and the signal's number, as shells have it."""
    return 128 + (_received[0][0] if _received else signal.SIGINT)


@contextmanager
def remembered() -> Iterator[None]:
    """Let the signals raise KeyboardInterrupt, so that every `finally` runs; remember the first."""

    def remember(number: int, frame: object) -> None:
        now = time.monotonic()
        again = any(old == number and now - then < REPEAT_SECONDS for old, then in _received)
        _received.append((number, now))
        if number != signal.SIGINT and again:  # would cut short what the first one made be stored
            return
        raise KeyboardInterrupt

    _received.clear()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # of a process that is to go on when its terminal does not
            signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
