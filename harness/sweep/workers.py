"""Worker processes: their streams never fail, and they end when their parent is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import Any

from harness import streams

POLL_SECONDS = 0.5


def begin() -> None:
    """Initialise a worker process."""
    streams.make_unfailing()
    if parent := multiprocessing.parent_process():
        signal.signal(signal.SIGINT, _leave)
        threading.Thread(target=_end_after, args=(parent.pid,), daemon=True).start()


def _leave(number: int, frame: object) -> None:
    """End the worker at Ctrl-C, after what is in `finally`, and without a traceback of its own."""
    raise SystemExit(128 + number)


def _end_after(parent: int | None) -> None:
    """End this process when its parent is gone, which may be killed and unable to tell.

    What is stored is kept, as after any kill.
    """
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def prepare_joblib() -> None:
    """Let the worker processes of joblib, which Hydra's launcher starts, call `begin`."""
    from joblib import register_parallel_backend
    from joblib._parallel_backends import LokyBackend

    class Workers(LokyBackend):
        def configure(self, *arguments: Any, **settings: Any) -> int:
            return super().configure(*arguments, initializer=begin, **settings)

    register_parallel_backend("loky", Workers)
