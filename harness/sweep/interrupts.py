"""Turns SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt and remembers them.

They are remembered because a library may replace a KeyboardInterrupt by an error of its own: when
OmegaConf is interrupted while it copies a configuration, its `finally` raises an AttributeError.
This state has a module of its own because functions that are pickled for workers cannot carry it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT comes from Ctrl-C; SIGTERM from `kill` and from a scheduler that cancels a job or ends its
time; SIGHUP from a terminal that closes or a connection that is lost."""

REPEAT_SECONDS = 5.0
"""A signal other than SIGINT that repeats within this time counts once: Slurm sends SIGTERM both
directly and through srun, a terminal sends SIGHUP both directly and through its shell."""

UNHEARD_SECONDS = 3.0
"""A signal that the main thread has not heard by then, being in compiled code, ends the process."""

MESSAGE = "interrupted: what is stored is kept; the same command goes on from there"

_received: list[tuple[int, float]] = []
"""Numbers and times of the signals received."""


def seen() -> bool:
    """Whether a signal has come since `remembered` was entered."""
    return bool(_received)


def exit_code() -> int:
    """128 + the number of the signal, as shells report it."""
    return 128 + (_received[0][0] if _received else signal.SIGINT)


@contextmanager
def remembered() -> Iterator[None]:
    """Let the signals raise KeyboardInterrupt, so that every `finally` runs; remember them."""

    def remember(number: int, frame: object) -> None:
        heard.set()
        now = time.monotonic()
        again = any(old == number and now - then < REPEAT_SECONDS for old, then in _received)
        _received.append((number, now))
        if (
            number != signal.SIGINT and again
        ):  # would interrupt the saving that the first one started
            return
        raise KeyboardInterrupt

    _received.clear()
    heard = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakened = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_unheard, args=(reader, heard), daemon=True).start()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # under nohup the process outlives its terminal
            signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakened)
        heard.set()
        os.close(writer)


def _end_unheard(reader: int, heard: threading.Event) -> None:
    """End the process after a signal that the main thread does not hear.

    The system writes the numbers of signals to the pipe, even while compiled code runs.  Finished
    trials are lost as far as they are not stored yet.
    """
    while number := os.read(reader, 1):
        if number[0] in SIGNALS and not heard.wait(UNHEARD_SECONDS):
            sys.stderr.write(f"{MESSAGE}\n")
            sys.stderr.flush()
            os._exit(128 + number[0])
    os.close(reader)
