"""Our sweeper as a plugin of Hydra; the sweep itself is `harness.sweep.sweep`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from harness.schema import RUN_KEYS, ConfigError, Run
from harness.storage.cell import Cell
from harness.sweep import allowed, sweep, workers
from harness.sweep.failures import CellsFailedError, Failure
from harness.sweep.jobs import pack
from hydra_plugins.harness_axes import Axis, axis_of, check_size, refers
from hydra_plugins.harness_config import install_guard, plain

install_guard()  # at import: a launcher's worker imports this module before it loads anything


class HarnessSweeper(BasicSweeper):
    """Sweeps over a union of grids.

    `grids` is a list of mappings from keys to lists of values; each mapping spans a product, on top
    of `params`, the one product of the basic sweeper.  All cells are validated before the first
    runs, only cells with missing trials are launched, and tables, verdicts and figures are made at
    the end.  It works with any launcher.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, Any] | None = None,
        grids: Any = None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.grids = _checked(grids or [])
        self.groups: dict[str, bool] = {}

    def sweep(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        base = sweep.read(plain(self.config))
        grids = [
            [axis_of(override) for override in self._overrides(parser, grid, arguments)]
            for grid in self.grids
        ]
        check_size(grids, base[0].most_cells)
        points = (point for axes in grids for point in self._points(axes, arguments))
        given = parser.parse_overrides(arguments)
        common = [
            text for text, o in zip(arguments, given, strict=True) if not o.is_sweep_override()
        ]
        launcher, hydra = self.launcher, self.config.hydra

        def launch(groups: Sequence[Sequence[Cell]]) -> dict[str, Failure]:
            if hydra.runtime.choices["hydra/launcher"] == "joblib":
                workers.prepare_joblib()
            jobs = [[*common, f"packed='{pack(cells)}'"] for cells in groups]
            return _failures(groups, launcher.launch(jobs, initial_job_idx=0))

        parallel = sweep.workers(
            hydra.runtime.choices["hydra/launcher"],
            hydra.launcher,
            base[1].experiment.alone,
            base[0].memory_gb,
        )
        conclusion = sweep.run_sweep(base, points, parallel, launch)
        print(conclusion.text)
        if conclusion.failed:
            raise CellsFailedError(conclusion.failed)

    def _overrides(
        self, parser: OverridesParser, grid: Mapping[str, Any], arguments: list[str]
    ) -> list[Override]:
        """What a grid and the command line set: for a key, or what is in it, the last."""
        assert self.config is not None
        axes = [f"{key}={_values(value)}" for key, value in grid.items()]
        last: dict[str, Override] = {}
        for override in parser.parse_overrides([*self._parse_config(), *axes, *arguments]):
            allowed.check_axis(override.key_or_group)
            if override.key_or_group == "claims" and override.value() != self.config.claims:
                raise ConfigError(
                    f"{override.input_line}: must be given as claims=FOLDER in the command"
                )
            key = override.get_key_element()
            last = {k: other for k, other in last.items() if not k.startswith(f"{key}.")}
            last[key] = override
        return list(last.values())

    def _points(self, axes: Sequence[Axis], arguments: list[str]) -> Iterator[tuple[Run, Cell]]:
        """Run and cell of each point of a grid, equal to what Hydra would compose.

        Hydra composes a configuration for each combination of values that choose a file or that
        other values refer to.  In it the other axes are set as plain values, a thousand times
        faster.
        """
        assert self.config is not None
        written = OmegaConf.to_container(self.config, resolve=False)
        given = [axis for axis in axes if axis.size == 1 and axis.override.input_line in arguments]
        axes = [axis for axis in axes if axis not in given]  # the configuration has those given
        composing = [axis for axis in axes if self._must_compose(axis, written)]
        plainly = [axis for axis in axes if axis not in composing]
        others = [axis.text(next(axis.values())) for axis in (*given, *plainly)]
        composed: dict[tuple[str, ...], tuple[Run, dict[str, Any]]] = {}
        for values in product(*(axis.values() for axis in axes)):
            point = dict(zip((axis.key for axis in axes), values, strict=True))
            texts = tuple(axis.text(point[axis.key]) for axis in composing)
            if texts not in composed:
                composed[texts] = self._composed([*texts, *others] if texts else [])
            run, settings = composed[texts]
            for axis in plainly:
                settings = _with(settings, axis.key, point[axis.key])
            yield run, sweep.read_cell(run, settings)

    def _composed(self, job: list[str]) -> tuple[Run, dict[str, Any]]:
        """The run and the experiment's settings by these overrides; without any, of the sweep."""
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        settings = plain(loader.load_sweep_config(self.config, job) if job else self.config)
        run, _ = sweep.read(settings)
        return run, {key: value for key, value in settings.items() if key not in RUN_KEYS}

    def _must_compose(self, axis: Axis, written: Any) -> bool:
        """Whether Hydra has to compose anew for each value of an axis."""
        override = axis.override
        return (
            override.is_add()
            or override.is_delete()
            or axis.key in RUN_KEYS
            or self._is_group(axis.key)
            or axis.refers()
            or refers(written, axis.key)
        )

    def _is_group(self, key: str) -> bool:
        """Whether a key chooses a file; cached, since Hydra takes 20 ms to tell."""
        assert self.hydra_context is not None
        if key not in self.groups:
            options = self.hydra_context.config_loader.get_group_options(key)
            self.groups[key] = bool(options)
        return self.groups[key]


def _failures(groups: Sequence[Sequence[Cell]], results: Sequence[JobReturn]) -> dict[str, Failure]:
    """Failures by the cells' keys; a lost job has one Failure for all its cells."""
    why: dict[str, Failure] = {}
    for cells, result in zip(groups, results, strict=True):
        returned = result.return_value
        lost = isinstance(returned, Failure)
        why.update({cell.key: returned for cell in cells} if lost else returned)
    return why


def _checked(grids: Any) -> list[Mapping[str, Any]]:
    if OmegaConf.is_config(grids):
        grids = OmegaConf.to_container(grids, resolve=True)
    if not isinstance(grids, list) or not all(isinstance(grid, Mapping) for grid in grids):
        raise ConfigError(
            f"hydra.sweeper.grids={grids}: must be a list of mappings from keys to values"
        )
    return grids or [{}]


def _with(settings: Mapping[str, Any], axis: str, value: Any) -> dict[str, Any]:
    """The settings with another value of a key such as network.n."""
    changed = dict(settings)
    *path, last = axis.split(".")
    inner = changed
    for key in path:
        if not isinstance(inner.get(key), Mapping):
            raise ConfigError(f"{axis}={value}: {key} has no settings of its own")
        inner[key] = inner = dict(inner[key])
    inner[last] = value
    return changed


def _values(value: Any) -> str:
    """A list of values in Hydra's syntax of a sweep; anything else as one value."""
    if isinstance(value, list):
        return ",".join(_value(item) for item in value)
    return value if isinstance(value, str) else _value(value)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
