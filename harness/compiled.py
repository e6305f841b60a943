"""The compiler of the kernels and its cache, without which they are compiled anew.

All kernels take `njit` from here.  Importing this module loads the compiler, but compiles nothing.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

log = logging.getLogger(__name__)

SECONDS = {"harness.descent": "40", "harness.conditions": "15", "harness.landscape": "3"}
"""About how long one core compiles all kernels of a package."""


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(nogil=True, ...)` with a cache that never fails."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(nogil=True, **options)(function)
        if dispatcher is not function:  # as it is under NUMBA_DISABLE_JIT
            try:
                dispatcher._cache = _Cache(function)
            except Exception:  # as in a read-only checkout without a home
                dispatcher._cache = _NoCache(function)
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """numba's cache of a function; what cannot be read from it is compiled and written anew."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        sources = _sources(Path(function.__code__.co_filename).parent)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, sources)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # whatever has befallen the file: saving replaces it
            found = None
        if found is None:
            _announce(self._py_func, "the first time")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the disk is full, say
            reason = getattr(error, "strerror", None) or type(error).__name__
            _say(f"compiled kernels cannot be kept: {reason}")


class _NoCache(NullCache):
    """In the place of a cache that cannot be used."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> None:
        _announce(self._function, "every time, unless NUMBA_CACHE_DIR is a folder to keep them in")


class _Files(IndexDataCacheFile):
    """A file for each signature of a function, with a checksum.

    numba's own index names the wrong file after two processes have compiled different signatures
    at once, its files have no checksum, and it does not notice that a kernel has changed which is
    compiled into one of another module.
    """

    def load(self, key: Any) -> Any:
        """What is stored for a signature; None if it is damaged or of other sources."""
        data = self._path(key).read_bytes()
        seal, data = data[:32], data[32:]
        return pickle.loads(data) if seal == self._seal(key, data) else None

    def save(self, key: Any, data: Any) -> None:
        data = self._dump(data)
        with self._open_for_write(self._path(key)) as file:
            file.write(self._seal(key, data) + data)

    def _path(self, key: Any) -> Path:
        number = int.from_bytes(sha256(repr(key).encode()).digest()[:6])
        return Path(self._data_path(self._data_name(number)))

    def _seal(self, key: Any, data: bytes) -> bytes:
        return sha256(repr((self._version, self._source_stamp, key)).encode() + data).digest()


@cache
def _sources(folder: Path) -> str:
    """Digest of the modules of a package, which are compiled into each other."""
    sha = sha256()
    for path in sorted(folder.glob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _announce(function: Callable[..., Any], kept: str) -> None:
    """Say once for each package that its kernels are compiled, and for how long."""
    package = function.__module__.rpartition(".")[0]
    _say(f"compiling the kernels of {package}: about {SECONDS.get(package, 'a few')} s, {kept}")


@cache
def _say(text: str) -> None:
    """Log a line once, if this process is none of several workers or the first of them."""
    process = multiprocessing.current_process()
    if multiprocessing.parent_process() is None or process.name.endswith("-1"):
        log.warning(text)
