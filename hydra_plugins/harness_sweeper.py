"""Our sweeper as a plugin of Hydra; the sweep itself is `harness.sweep.sweep`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from harness.schema import ConfigError
from harness.storage.cell import Cell
from harness.sweep import allowed, sweep, workers
from harness.sweep.failures import CellsFailedError, Failure
from harness.sweep.jobs import pack
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
        jobs: dict[tuple[str, ...], None] = {}
        for grid in self.grids:
            axes = [f"{key}={_values(value)}" for key, value in grid.items()]
            overrides = parser.parse_overrides([*self._parse_config(), *axes, *arguments])
            [product] = self.split_arguments(overrides, None)
            jobs.update(dict.fromkeys(tuple(job) for job in product))
        configs = (self._compose(parser, list(job), arguments) for job in jobs)
        given = parser.parse_overrides(arguments)
        common = [
            text for text, o in zip(arguments, given, strict=True) if not o.is_sweep_override()
        ]
        launcher = self.launcher

        def launch(groups: Sequence[Sequence[Cell]]) -> dict[str, Failure]:
            workers.prepare_joblib()
            jobs = [[*common, f"packed='{pack(cells)}'"] for cells in groups]
            return _failures(groups, launcher.launch(jobs, initial_job_idx=0))

        hydra = self.config.hydra
        base = sweep.read(plain(self.config))
        parallel = sweep.workers(
            hydra.runtime.choices["hydra/launcher"], hydra.launcher, base[1].experiment.alone
        )
        points = (sweep.read(plain(config)) for config in configs)
        conclusion = sweep.run_sweep(base, points, parallel, launch)
        print(conclusion.text)
        if conclusion.failed:
            raise CellsFailedError(conclusion.failed)

    def _compose(
        self, parser: OverridesParser, job: list[str], arguments: Sequence[str]
    ) -> DictConfig:
        """The configuration of one cell, equal to the one that Hydra would compose.

        Plain `key=value` overrides are set on the sweep's own configuration, which is a hundred
        times faster than composing it anew.  Hydra composes it only if a group's choice varies.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        load_sweep_config = self.hydra_context.config_loader.load_sweep_config
        plain: list[Override] = []
        for override, text in zip(parser.parse_overrides(job), job, strict=True):
            allowed.check_axis(override.key_or_group)
            if override.key_or_group == "claims" and override.value() != self.config.claims:
                raise ConfigError(f"{text}: must be given as claims=FOLDER in the command")
            if override.is_add() or override.is_delete():
                return load_sweep_config(self.config, job)
            if not self._is_group(override.key_or_group):
                plain.append(override)
            elif text not in arguments:  # the sweep's own configuration has the arguments already
                return load_sweep_config(self.config, job)
        config = OmegaConf.masked_copy(self.config, [str(k) for k in self.config if k != "hydra"])
        for override in plain:
            OmegaConf.update(config, override.key_or_group, override.value())
        return config

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


def _values(value: Any) -> str:
    """A list of values in Hydra's syntax of a sweep; anything else as one value."""
    if isinstance(value, list):
        return ",".join(_value(item) for item in value)
    return value if isinstance(value, str) else _value(value)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
