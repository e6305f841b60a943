"""The cache of compiled kernels: damaged, out of date, without a place, shared."""

from __future__ import annotations

import errno
import importlib
import logging
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import compiled

KERNELS = """
from harness.compiled import njit
from kernels_of_a_test.numbers import TERM


@njit()
def shift(x):
    return x + TERM
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Imports the kernel `shift` afresh, as another process would."""
    folder = tmp_path / "kernels_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "numbers.py").write_text("TERM = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def loaded() -> Any:
        compiled._sources.cache_clear()
        compiled._say.cache_clear()
        for name in [name for name in sys.modules if name.startswith(folder.name)]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module(f"{folder.name}.kernels").shift

    yield loaded
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def stored(kernel: Any) -> list[Path]:
    return sorted(Path(kernel.stats.cache_path).glob("*.nb*"))


def test_a_kernel_is_compiled_once_for_each_signature(load, caplog):
    for x in (1, 1.5):
        assert load()(x) == x + 1
    first = load()
    assert (first(1), first(1.5), hits(first)) == (2, 2.5, 2)
    assert len(stored(first)) == 2
    assert len(caplog.messages) == 2  # of the first two processes


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a flipped byte": lambda path: path.write_bytes(
        (data := path.read_bytes())[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:]
    ),
    "missing": Path.unlink,
    "no numba": lambda path: path.write_bytes(b"import os"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_healed(load, damage):
    kernel = load()
    kernel(1)
    for path in stored(kernel):
        damage(path)
    second, third = load(), load()
    assert (second(1), hits(second)) == (2, 0)
    assert (third(1), hits(third)) == (2, 1)


def test_a_kernel_is_compiled_anew_when_a_module_has_changed_that_it_takes_in(load, tmp_path):
    assert load()(1) == 2
    (tmp_path / "kernels_of_a_test" / "numbers.py").write_text("TERM = 10")
    assert load()(1) == 11


def test_one_signature_is_not_taken_for_another(load):
    kernel = load()
    kernel(1), kernel(1.5)
    one, other = stored(kernel)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    assert (load()(1), load()(1.5)) == (2, 2.5)


def test_without_a_place_for_a_cache_it_is_said_once(load, tmp_path, caplog):
    (tmp_path / "kernels_of_a_test" / "__pycache__").touch()  # root may write to any folder
    kernel = load()
    assert (kernel(1), kernel(1.5), kernel(np.int8(1))) == (2, 2.5, 2)
    [line] = caplog.messages
    assert "every time, unless NUMBA_CACHE_DIR is a folder" in line


def test_a_full_disk_is_said_once(load, caplog, monkeypatch):
    def full(_: Any, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(compiled._Files, "_open_for_write", full)
    kernel = load()
    assert (kernel(1), kernel(1.5)) == (2, 2.5)
    assert len([line for line in caplog.messages if "cannot be kept" in line]) == 1


def test_it_is_said_by_the_first_of_several_workers_alone(load, caplog, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
    worker = multiprocessing.current_process()
    monkeypatch.setattr(worker, "_name", "LokyProcess-2")
    assert load()(1) == 2
    assert caplog.messages == []
    monkeypatch.setattr(worker, "_name", "LokyProcess-1")
    assert load()(1.5) == 2.5
    assert len(caplog.messages) == 1
    assert caplog.records[0].levelno == logging.WARNING


def test_every_kernel_takes_the_compiler_from_one_place():
    root = Path(compiled.__file__).parent
    cached = [p for p in root.rglob("*.py") if "cache=True" in p.read_text(encoding="utf-8")]
    assert cached == []
