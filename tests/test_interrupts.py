"""Signals that stop a command: each is one request, and what is ignored stays so."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from harness.sweep import interrupts
from tests.conftest import ROOT, TIMEOUT

hung_up = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_raises_and_is_remembered(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        signal.raise_signal(number)
    assert interrupts.seen()
    assert interrupts.exit_code() == 128 + number
    assert signal.getsignal(number) == before


@hung_up
def test_a_signal_that_comes_twice_at_once_does_not_cut_short_what_the_first_began(number):
    with interrupts.remembered():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)


@hung_up
def test_what_is_ignored_stays_ignored(number):
    """As `nohup` has it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupts.remembered():
            signal.raise_signal(number)
        assert not interrupts.seen()
    finally:
        signal.signal(number, before)


def test_the_watch_over_signals_ends_with_them():
    with interrupts.remembered():
        pass
    deadline = time.monotonic() + TIMEOUT
    while any("_end_unheard" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


COMPILED = """
import hashlib, sys
from harness.sweep import interrupts

with interrupts.remembered():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_during_long_compiled_code_ends_the_process(number):
    with subprocess.Popen(
        [sys.executable, "-c", COMPILED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, f"{interrupts.MESSAGE}\n")
