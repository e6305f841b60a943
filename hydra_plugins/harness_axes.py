"""The axes of a sweep's grids, counted before they are listed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override, RangeSweep

from harness.schema import ConfigError, shown

REFERENCE = re.compile(r"\$\{([^${}:]+)\}")
"""A reference to a key, such as ${n}, or ${.n} of the same mapping."""


class Axis(NamedTuple):
    """The values of a key: those of a sweep, or the one that it is set to.

    size : how many there are.
    """

    key: str
    override: Override
    size: int

    def values(self) -> Iterator[Any]:
        """The values, as Hydra would set them."""
        if not self.override.is_sweep_override():
            yield self.override.value()
        else:
            yield from map(Override._convert_value, self.override.sweep_iterator())

    def text(self, value: Any) -> str:
        """An override of Hydra that sets a value."""
        key = self.override.get_key_element()
        if not self.override.is_sweep_override():
            return f"{key}={self.override.get_value_element_as_str()}"
        return f"{key}={Override._get_value_element_as_str(value)}"

    def refers(self) -> bool:
        """Whether a value is a reference to another key."""
        return not self._is_range() and any("${" in str(value) for value in self.values())

    def _is_range(self) -> bool:
        return isinstance(self.override.value(), RangeSweep)


def axis_of(override: Override) -> Axis:
    """An override with the number of its values; ConfigError if it has none or no end."""
    if not override.is_sweep_override():
        return Axis(override.key_or_group, override, 1)
    if not override.is_discrete_sweep():
        raise ConfigError(f"{shown(override.input_line)}: must be values or a range, no interval")
    value = override.value()
    if isinstance(value, RangeSweep):
        size = _length(override, value)
    else:
        size = sum(1 for _ in override.sweep_iterator())
    if not size:
        raise ConfigError(f"{shown(override.input_line)}: holds no value")
    return Axis(override.key_or_group, override, size)


def check_size(grids: Sequence[Sequence[Axis]], most: int) -> None:
    """Raise ConfigError if the grids have more than `most` points together."""
    points = sum(math.prod(axis.size for axis in axes) for axes in grids)
    if points > most:
        longest = max((axis for axes in grids for axis in axes), key=lambda axis: axis.size)
        raise ConfigError(
            f"{shown(longest.override.input_line)}: {points} cells in all; "
            f"at most most_cells={most}"
        )


def refers(written: Any, key: str) -> bool:
    """Whether a value may refer to a key, or to what it is in: the last name decides."""
    if isinstance(written, Mapping):
        return any(refers(value, key) for value in written.values())
    if isinstance(written, list):
        return any(refers(value, key) for value in written)
    return isinstance(written, str) and any(
        name.rpartition(".")[2] in key.split(".") for name in REFERENCE.findall(written)
    )


def _length(override: Override, value: RangeSweep) -> int:
    numbers = (value.start or 0, value.stop or 0, value.step)
    if not all(map(math.isfinite, numbers)) or not value.step:
        raise ConfigError(
            f"{shown(override.input_line)}: needs finite numbers and a step other than 0"
        )
    start, stop, step = numbers
    return max(0, int(-((start - stop) // step)))
