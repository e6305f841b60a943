"""Signals that stop a command: each is one request, and what is ignored stays so."""

from __future__ import annotations

import signal

import pytest

from harness.sweep import interrupts

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
