"""What a configuration may have called: launchers and sweepers that Hydra knows, plain logging.

Hydra calls what it finds under `_target_`, and Python's logging what it finds under `class` and
`()`.  Any importable function could stand there in a configuration from elsewhere, so that it is
looked through before either sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.schema import ConfigError

PLUGINS = ("launcher", "sweeper")
LOGGING = ("hydra_logging", "job_logging")
CALLED = ("_target_", "class", "()")
CLASSES = (
    "logging.StreamHandler",
    "logging.FileHandler",
    "logging.NullHandler",
    "logging.Formatter",
    "colorlog.ColoredFormatter",
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
UNRESOLVED = object()
"""Stands for a value that refers to what there is not yet."""


def check(hydra: Mapping[str, Any], plugins: Collection[str]) -> None:
    """Refuse the node `hydra` of a configuration if it names more than `plugins` and plain logging.

    Raises
    ------
    ConfigError
        For the first such entry, before anything is called or imported.
    """
    for section in (*PLUGINS, "callbacks"):
        for path, value in _entries(hydra, section):
            if path[-1] == "_target_":
                root = len(path) == 2 and section in PLUGINS
                _allow(path, value, plugins if root else ())
    for section in LOGGING:
        for path, value in _entries(hydra, section):
            if path[-1] in CALLED:
                _allow(path, value, CLASSES)
            elif value is UNRESOLVED and path[-1] != "filename":  # of a log: known when it is made
                _allow(path, "an unresolved reference", ())
            elif isinstance(value, str) and value.startswith(("ext://", "cfg://")):
                _allow(path, value, STREAMS)


def check_axis(key: str) -> None:
    """Refuse an axis of a sweep that is a setting of Hydra: what it makes is no coordinate."""
    if key.lstrip("+~").startswith(("hydra.", "hydra/")):
        raise ConfigError(f"{key}: an axis must be a setting of the experiment, not of Hydra")


def _allow(path: Sequence[str], value: Any, allowed: Collection[str]) -> None:
    if not (isinstance(value, str) and value in allowed):
        shown = "an unresolved reference" if value is UNRESOLVED else value
        reason = f"must be one of {', '.join(sorted(allowed))}" if allowed else "is not allowed"
        raise ConfigError(f"hydra.{'.'.join(path)}={shown}: {reason}")


def _entries(node: Any, key: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The entry `key` of a mapping or list and all entries below it, each with its path."""
    path = (*path, str(key))
    try:
        value = node[key]  # follows references
    except Exception:  # of many kinds, by the kind of reference
        value = UNRESOLVED
    yield path, value
    if isinstance(value, Mapping):
        for inner in value:
            yield from _entries(value, inner, *path)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index in range(len(value)):
            yield from _entries(value, index, *path)
