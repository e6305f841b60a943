"""Configuration files from anyone: read within limits, or refused in one line.

Hydra and OmegaConf trust what they read.  A file of a few lines can refer to itself, be gigabytes
once its aliases are written out, or have a run's results called after environment variables.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from harness import registry
from harness.reading import UnfitError, read_regular
from harness.schema import ConfigError, shown
from harness.sweep.allowed import DEPTH, ENTRIES

LONGEST = 2**20
"""Largest configuration file, in bytes."""
TEXT = (None, "tag:yaml.org,2002:str")
"""Tags of a value: none, or !!str."""
REFERENCE = re.compile(r"\$\{[^${}:]*\}")
"""A reference to a key, such as ${profile}, which holds no other."""
NESTED = 3
"""Levels of references in one another, such as ${profiles.${profile}.trials}."""
REFERENCES = "only one reference to a key is allowed in a file's value, such as ${profile}"


class _UnfitYamlError(ValueError):
    """What is wrong with a text; the message names the line."""

    def __init__(self, event: Any, why: str) -> None:
        super().__init__(f"line {event.start_mark.line + 1}: {why}")


def install_reader() -> None:
    """Let Hydra read configuration files by `read_mapping`, inside their folders alone."""
    SourcesRegistry.instance().resolve("file").load_config = _load_config  # type: ignore


def _load_config(self: ConfigSource, config_path: str) -> ConfigResult:
    folder = Path(self.path).resolve()
    path = (folder / self._normalize_file_name(config_path)).resolve()
    if not path.is_relative_to(folder):
        raise ConfigError(f"{shown(config_path)}: leads out of the folder {shown(folder)}")
    text, node = read_mapping(path, trusted=path.is_relative_to(registry.CONF))
    try:
        header = self._get_header_dict(text[:512])
    except ValueError as error:
        raise ConfigError(f"{shown(path)}: {shown(error)}") from None
    return ConfigResult(self.provider, f"file://{self.path}", node, header)


def read_mapping(path: Path, *, trusted: bool) -> tuple[str, DictConfig]:
    """The text of a YAML file and the mapping in it.

    trusted : whether it comes from whom the code comes from: it may use OmegaConf's resolvers.

    Raises
    ------
    ConfigError
        In one line, if the file cannot be read, is no YAML mapping, is too long or nested too
        deep with its aliases written out, or has tags or references that are not allowed.
    """
    try:
        text = read_regular(path, LONGEST).decode("utf-8-sig")
        _check(text, trusted)
        node = OmegaConf.load(io.StringIO(text))
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, from the file and from YAML's constructors
        raise ConfigError(f"{shown(path)} cannot be read ({_why(error)})") from None
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{shown(path)} must be a mapping from keys to values")
    return text, node


def check_value(key: str, text: str) -> None:
    """Raise ConfigError in one line unless a text is a plain YAML value, as in `read_mapping`."""
    try:
        _check(text, trusted=False)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{key}={shown(text)[:60]}: cannot be read ({_why(error)})") from None


def _why(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "must be text in UTF-8"
        case yaml.MarkedYAMLError(problem_mark=mark) if mark is not None:
            return shown(f"line {mark.line + 1}: {error.problem}")
        case UnfitError() | OSError(strerror=str()):
            return shown(error.strerror)
        case _:
            return shown(str(error).partition("\n")[0] or type(error).__name__)


def _check(text: str, trusted: bool) -> None:
    """Refuse a text that would not become plain values in little time and memory."""
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    known: dict[str, tuple[int, int]] = {}  # sizes of the nodes with an anchor

    def size(event: Any, depth: int) -> tuple[int, int]:
        """Values and levels of the node that begins with an event, aliases written out."""
        values, levels = 1, 1
        if depth > DEPTH:
            raise _UnfitYamlError(event, f"nested too deep; {DEPTH} levels are allowed")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise _UnfitYamlError(event, f"*{event.anchor} refers to itself or to nothing")
            values, levels = known[event.anchor]
        elif event.tag not in TEXT:
            raise _UnfitYamlError(event, f"the tag {event.tag} is not allowed; only !!str is")
        elif isinstance(event, yaml.CollectionStartEvent):
            known.pop(event.anchor, None)
            while not isinstance(inner := next(events), yaml.CollectionEndEvent):
                more, below = size(inner, depth + 1)
                values, levels = values + more, max(levels, 1 + below)
                if values > ENTRIES:
                    raise _UnfitYamlError(inner, f"too many values; {ENTRIES} are allowed")
        elif not trusted and not _is_plain(event.value):
            raise _UnfitYamlError(event, f"{shown(event.value)}: {REFERENCES}")
        if depth + levels - 1 > DEPTH:
            raise _UnfitYamlError(event, f"nested too deep; {DEPTH} levels are allowed")
        if event.anchor is not None:
            known[event.anchor] = values, levels
        return values, levels

    for event in events:
        if isinstance(event, yaml.NodeEvent):
            size(event, 1)


def _is_plain(text: str) -> bool:
    """Whether a text has at most one reference, and that to a key.

    Backslashes are left out, since a text among a sweep's grids is read once more, by Hydra.
    """
    text = text.replace("\\", "")
    for _ in range(NESTED):
        text = REFERENCE.sub("\0", text)
    return "${" not in text and text.count("\0") <= 1
