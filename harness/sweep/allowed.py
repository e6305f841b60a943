"""Allow-list of what a configuration may instantiate: Hydra's launchers, our sweeper, logging.

Hydra calls whatever `_target_` names, and Python's logging whatever `class` and `()` name.  In a
configuration from elsewhere that could be any importable function, so the configuration is checked
before Hydra or logging sees it.  Nor may it choose where Hydra writes, or a job's environment.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from harness.schema import ConfigError, shown

SWEEPER = "hydra_plugins.harness_sweeper.HarnessSweeper"
FIXED: Mapping[str, Any] = {
    "job.env_set": {},
    "job.env_copy": [],
    "run.dir": ".",
    "sweep.dir": ".",
    "sweep.subdir": ".",
    "output_subdir": None,
    "launcher.temp_folder": None,
}
"""Settings of Hydra that must stay as in conf/.

Environment variables can load code, and folders can be anywhere.
"""
RESULTS = "results"
"""The results folder of conf/config.yaml."""
OPTIONS = {"config_name": "config", "config_path": None, "experimental_rerun": None}
"""Options of Hydra that replace our configuration; the last one unpickles a file."""
LOGGING = ("hydra_logging", "job_logging")
CALLED = ("_target_", "class", "()")
CLASSES = (
    "logging.StreamHandler",
    "logging.NullHandler",
    "logging.Formatter",
    "colorlog.ColoredFormatter",
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
UNRESOLVED = object()
"""Stands for a reference that cannot be resolved yet."""
ENTRIES = 100_000
DEPTH = 32
"""Most values of a configuration, with its references written out, and most levels."""


def check(hydra: Mapping[str, Any], written: Any, launchers: Collection[str]) -> None:
    """Refuse the node `hydra` of a configuration unless everything it instantiates is allowed.

    Parameters
    ----------
    hydra : the node; reading it follows references.
    written : the same node as plain values, references not followed.  Values that a job reads
        later must not be references, which could have other values by then.
    launchers : allowed targets of `hydra.launcher`.

    Raises
    ------
    ConfigError
        For the first entry that is not allowed, before anything is called or imported.
    """
    for key, own in FIXED.items():
        value = reduce(_below, key.split("."), written)
        if value != own:
            wanted = "null" if own is None else own
            raise ConfigError(f"hydra.{key}={shown(value)}: must be {wanted}")
    for section, allowed in {"launcher": launchers, "sweeper": [SWEEPER], "callbacks": ()}.items():
        for path, value in _entries(hydra, section):
            if path[-1] == "_target_":
                _allow(path, value, allowed if len(path) == 2 else ())
    for section in LOGGING:
        for path, value in _entries(written, section):
            if path[-1] in CALLED:
                _allow(path, value, CLASSES)
            elif isinstance(value, str) and value.startswith(("ext://", "cfg://")):
                _allow(path, value, STREAMS)
            elif isinstance(value, str) and "${" in value:
                _allow(path, value, ())


def check_extent(config: Mapping[str, Any], keys: Collection[str]) -> None:
    """Refuse a configuration of which these entries, references followed, have no end in sight."""
    for key in keys:
        for _ in _entries(config, key):
            pass


def check_place(config: Mapping[str, Any], choice: str | None, given: Sequence[str]) -> None:
    """Refuse a file that chooses where results go: only its own name can be theirs.

    Parameters
    ----------
    config : the composed configuration.
    choice : name of the chosen experiment's file, without its suffix; None without one.
    given : overrides of the command line, which may choose.
    """
    keys = {override.partition("=")[0].lstrip("+~") for override in given}
    if "results" not in keys and config["results"] != RESULTS:
        raise ConfigError(
            f"results={shown(config['results'])}: must be given as results=FOLDER in the command"
        )
    if choice is not None and "name" not in keys and config["name"] != choice:
        raise ConfigError(
            f"name={shown(config['name'])}: must be {shown(choice)}, as the experiment's file is "
            "called, or be given as name=NAME in the command"
        )


def check_command(given: Namespace) -> None:
    """Refuse options and overrides that make Hydra run code while it composes."""
    for option, own in OPTIONS.items():
        if (value := getattr(given, option)) not in (None, own):
            raise ConfigError(
                f"--{option.replace('_', '-')}={shown(value)}: is not allowed; "
                "--config-dir=FOLDER adds configurations of your own"
            )
    for override in given.overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~") == "hydra.searchpath" and "pkg://" in value.replace("\\", ""):
            raise ConfigError(f"{shown(override)}: must be of folders, not of packages")
    if given.hydra_help and given.overrides:
        raise ConfigError(f"{shown(given.overrides[0])}: --hydra-help takes no settings")


def check_axis(key: str) -> None:
    """Refuse a setting of Hydra as an axis of a sweep: it is not a coordinate."""
    if key.lstrip("+~").startswith(("hydra.", "hydra/")):
        raise ConfigError(f"{key}: an axis must be a setting of the experiment, not of Hydra")


def _below(node: Any, key: str) -> Any:
    """An entry of a mapping; a node that is not a mapping (a reference, say) itself."""
    return node.get(key) if isinstance(node, Mapping) else node


def _allow(path: Sequence[str], value: Any, allowed: Collection[str]) -> None:
    if not (isinstance(value, str) and value in allowed):
        given = "an unresolved reference" if value is UNRESOLVED else shown(value)
        reason = f"must be one of {', '.join(sorted(allowed))}" if allowed else "is not allowed"
        raise ConfigError(f"hydra.{'.'.join(path)}={given}: {reason}")


def _entries(node: Any, key: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The entry `key` of a mapping or list and all entries below it, with their paths.

    Raises
    ------
    ConfigError
        If they are more, or nested deeper, than any configuration needs.
    """
    for count, (path, value) in enumerate(_below_entry(node, key, ()), start=1):
        if count > ENTRIES or len(path) > DEPTH:
            raise ConfigError(
                f"{shown(path[0])}: holds more than {ENTRIES} values or {DEPTH} levels with its "
                "references written out, or refers to itself"
            )
        yield path, value


def _below_entry(
    node: Any, key: Any, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    path = (*above, str(key))
    try:
        value = node[key]  # follows references
    except Exception:  # its type depends on the kind of reference
        value = UNRESOLVED
    yield path, value
    if isinstance(value, Mapping):
        for inner in value:
            yield from _below_entry(value, inner, path)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index in range(len(value)):
            yield from _below_entry(value, index, path)
