"""Hydra finds plugins in this namespace package; the sweep itself is `harness.app.run_sweep`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from harness import app


class HarnessSweeper(BasicSweeper):
    """A union of grids, planned before it is launched.

    Unlike the basic sweeper, whose `params` span one product, `grids` is a list of mappings from
    keys to lists of values, each a product of its own on top of `params`.  Every cell is validated
    before the first runs, only cells with trials missing are launched, and tables, verdicts and
    figures are made at the end.  Any launcher serves.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, Any] | None = None,
        grids: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.grids = grids or [{}]

    def sweep(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs: list[list[str]] = []
        for grid in self.grids:
            axes = [f"{key}={_values(value)}" for key, value in grid.items()]
            overrides = parser.parse_overrides([*self._parse_config(), *axes, *arguments])
            [product] = self.split_arguments(overrides, None)
            jobs += [job for job in product if job not in jobs]
        fixed = set(arguments)  # the sweep's own configuration has those that do not vary
        configs = [
            self._compose(parser.parse_overrides([o for o in job if o not in fixed]), job)
            for job in jobs
        ]
        launcher = self.launcher

        def launch(indices: Sequence[int]) -> list[str | None]:
            returns = launcher.launch([jobs[i] for i in indices], initial_job_idx=0)
            return [result.return_value for result in returns]

        app.run_sweep(self.config, configs, launch)

    def _compose(self, varied: Sequence[Override], job: list[str]) -> DictConfig:
        """The configuration of one job, as the launcher will compose it.

        Plain `key=value` overrides are set on the sweep's own configuration, a hundred times
        faster than composing anew, which the choice of a config group needs.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        if any(
            override.is_add()
            or override.is_delete()
            or loader.get_group_options(override.key_or_group)
            for override in varied
        ):
            return loader.load_sweep_config(self.config, job)
        config = OmegaConf.masked_copy(
            self.config, [str(key) for key in self.config if key != "hydra"]
        )
        for override in varied:
            OmegaConf.update(config, override.key_or_group, override.value())
        return config


def _values(value: Any) -> str:
    """A list of values as Hydra's sweep text; anything else as it stands."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return ",".join(str(item) for item in value)
