"""Hydra's configurations: guarded before Hydra acts on them, and as plain values.

Hydra imports every module of this package, in a launcher's worker processes too, before it loads a
configuration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from harness.sweep import allowed

PROFILES = "profiles"
"""Node of an experiment's YAML with the values that depend on the profile."""


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a composed configuration as plain values, without Hydra's own.

    Key by key: the profiles hold all grids, and would be copied for every cell.
    """
    return {
        str(key): OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in cfg.items()
        if key not in ("hydra", PROFILES)
    }


def install_guard() -> None:
    """Have Hydra check every configuration that it loads against `harness.sweep.allowed`.

    Hydra offers no hook between loading a configuration and calling what it names, so this wraps
    the loader's own method.
    """
    load = ConfigLoaderImpl.load_configuration
    if not hasattr(load, "__wrapped__"):
        ConfigLoaderImpl.load_configuration = _checked(load)  # type: ignore[method-assign]


def _checked(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        config = load(*args, **kwargs)
        known = Plugins.instance().discover(Launcher)
        launchers = [f"{kind.__module__}.{kind.__name__}" for kind in known]
        if config.hydra.job.config_name is not None:  # None: of Hydra alone, for --hydra-help
            allowed.check(config.hydra, OmegaConf.to_container(config.hydra), launchers)
        return config

    return checked
