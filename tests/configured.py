"""Experiments as their YAML configures them, at full size or shrunk to the size of a test."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from harness import registry
from harness.claims import Verdict
from harness.experiment import Experiment, columns, experiment_class
from harness.schema import RUN_KEYS
from harness.sweep.sweep import read
from hydra_plugins.harness_config import PROFILES, plain

NAMES = registry.names()

LIMITS = {
    **{"n": 5, "p": 5, "ell": 600, "expansivity": 32, "widths": 200},
    **{"points": 20, "samples": 20, "batches": 2, "pairs": 2, "directions": 8, "batch": 0},
    **{"starts": 2, "hunt_starts": 1, "budget": 50, "boxes": 500, "steps": 5, "max_steps": 50},
    **{"cells": 16, "rows": 3, "columns": 2, "duration": 0.01},
}
"""Largest values in a shrunk experiment, by the last part of a field's name."""
SIZES = 2
"""Values kept of an axis with a limit: the largest within it, at which judges look.

If all exceed it, the smallest are kept and scaled down to it."""
NUMBERS = 3
"""Values kept of any other axis of numbers.  Of words all are kept."""
ENTRIES = 4
"""Entries kept of a list of numbers."""


def kind(name: str) -> type[Experiment]:
    """The class of an experiment."""
    return experiment_class(registry.module(name))


def skip_without_extra(name: str) -> None:
    """Skip the test unless the optional modules that the experiment needs are installed."""
    for module in kind(name).needs:
        pytest.importorskip(module, reason=f"{name} needs {module}: `make extra` installs it")


def configured(name: str, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of its YAML with some keys changed; skips the test without its extra."""
    skip_without_extra(name)
    cfg = _composed(name)
    for key, value in (changes or {}).items():
        OmegaConf.update(cfg, key, value)
    return read(plain(cfg))[1].experiment


def settings(name: str) -> dict[str, Any]:
    """The experiment's own settings as plain values; skips the test without its extra."""
    skip_without_extra(name)
    return {key: value for key, value in plain(_composed(name)).items() if key not in RUN_KEYS}


def shrunk(name: str) -> list[Experiment]:
    """The cells of the experiment's quick sweep, fewer and smaller.

    Every grid and every word of an axis is kept, so that each arm of a comparison is there.
    Of numbers a few are kept, and none exceeds its limit in `LIMITS`.
    """
    base = _composed(name)
    small = {key: _limited(key, value) for key, value in _flat(settings(name))}
    changes = {}
    for key, value in small.items():
        if OmegaConf.select(base, key) != value:  # a key that follows another is small by now
            changes[key] = value
            OmegaConf.update(base, key, value)
    cells: dict[Experiment | str, Experiment] = {}
    for grid in OmegaConf.to_container(base[PROFILES].quick.grids):
        axes = [[(key, value) for value in _few(key, values)] for key, values in grid.items()]
        for point in product(*axes):
            experiment = configured(name, changes | dict(point))
            cells.setdefault(repr(experiment), experiment)
    return list(cells.values())


def _composed(name: str) -> DictConfig:
    """A copy of the configuration of one cell."""
    return copy.deepcopy(_compose(name))


@cache
def _compose(name: str) -> DictConfig:
    with initialize_config_dir(str(registry.CONF), version_base="1.3"):
        return compose("config", overrides=[f"experiment={name}"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted name, without the thresholds."""
    for key, value in values.items():
        if not isinstance(value, Mapping):
            yield prefix + key, value
        elif key != "thresholds":
            yield from _flat(value, f"{prefix}{key}.")


def _limited(key: str, value: Any) -> Any:
    """A value within the limit of its field: lists are scaled as a whole, or else shortened."""
    limit = LIMITS.get(key.rpartition(".")[2])
    if isinstance(value, list) and limit is not None:
        return [min(entry, max(2, entry * limit // max(value))) for entry in value]
    if isinstance(value, list):
        places = np.linspace(0, len(value) - 1, min(ENTRIES, len(value))).round()
        return [value[int(place)] for place in places]
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return min(value, limit) if numeric and limit is not None else value


def _few(key: str, axis: Any) -> list[Any]:
    """The values of an axis that a shrunk sweep keeps."""
    values = axis if isinstance(axis, list) else [axis]
    values = [json.loads(v) if isinstance(v, str) and v.startswith("[") else v for v in values]
    if all(isinstance(value, str | list) for value in values):
        return [_limited(key, value) for value in values]
    limit = LIMITS.get(key.rpartition(".")[2])
    if limit is None:
        return values[:NUMBERS]
    if within := [value for value in values if value <= limit][-SIZES:]:
        return within
    least = values[:SIZES]
    return [max(1, value * limit // least[-1]) for value in least]


# --- Judging --------------------------------------------------------------------------------


def verdicts(experiment: Experiment, table: pd.DataFrame) -> dict[str, Verdict]:
    """The verdicts on a table, by the claims' names."""
    return {f.claim.id.partition(".")[2]: f.verdict for f in experiment.judge(table)}


def with_base(name: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows on top of the experiment's own coordinates."""
    base = columns(configured(name))
    return pd.DataFrame([base | {"status": "converged"} | row for row in rows])


def noise(size: int, width: float, seed: int = 0) -> np.ndarray:
    """Normal draws of standard deviation `width`."""
    return width * np.random.default_rng(seed).standard_normal(size)
