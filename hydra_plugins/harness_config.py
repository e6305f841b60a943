"""Hydra's configurations: checked before Hydra acts on them, and turned into plain values.

Hydra imports every module of this package before it loads a configuration, in the worker processes
of a launcher too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from harness import library
from harness.schema import ConfigError, shown
from harness.sweep import allowed

PROFILES = "profiles"
"""Node of an experiment's YAML that holds the values of each profile."""


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a composed configuration as plain values, without Hydra's own.

    Converts key by key and leaves out the profiles, whose grids are long and not needed.
    """
    return {
        str(key): OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in cfg.items()
        if key not in ("hydra", PROFILES)
    }


def install_guard() -> None:
    """Check every configuration that Hydra loads, before Hydra acts on it.

    Hydra offers no hook between loading a configuration and calling what it names, so this wraps
    the loader's own method.
    """
    load = ConfigLoaderImpl.load_configuration
    if not hasattr(load, "__wrapped__"):
        ConfigLoaderImpl.load_configuration = _checked(load)  # type: ignore[method-assign]


def _checked(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    signature = inspect.signature(load)

    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        config = load(*args, **kwargs)
        _check_overrides(OmegaConf.to_container(config.hydra.overrides.hydra))
        _use_claims(config.get("claims"), signature.bind(*args, **kwargs).arguments["overrides"])
        known = Plugins.instance().discover(Launcher)
        launchers = [f"{kind.__module__}.{kind.__name__}" for kind in known]
        if config.hydra.job.config_name is not None:  # None: of Hydra alone, for --hydra-help
            allowed.check(config.hydra, OmegaConf.to_container(config.hydra), launchers)
        return config

    return checked


def _check_overrides(overrides: Any) -> None:
    """Refuse overrides that a file adds to those that Hydra hands to its workers.

    Only the command line's overrides of Hydra's own settings belong there.
    """
    for override in overrides:
        if not str(override).lstrip("+~").startswith(("hydra.", "hydra/")):
            raise ConfigError(f"hydra.overrides.hydra={shown(override)}: is not allowed")


def _use_claims(folder: Any, overrides: Sequence[str]) -> None:
    """Make the claims that the command line names known in this process, which may be a worker.

    Claims are code, so no configuration file may name their folder.

    Raises
    ------
    InputError
        If a file names the folder, or if it is missing.
    """
    if folder is None:
        return
    if not any(override.startswith("claims=") for override in overrides):
        raise ConfigError(f"claims={shown(folder)}: must be given as claims=FOLDER in the command")
    library.use_claims(str(folder))
