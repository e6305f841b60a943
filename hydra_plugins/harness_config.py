"""Hydra's configurations: checked before Hydra acts on them, and turned into plain values.

Hydra imports every module of this package before it loads a configuration, in the worker processes
of a launcher too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness import registry
from harness.errors import InputError
from harness.schema import ConfigError, shown
from harness.sweep import allowed
from hydra_plugins.harness_yaml import install_reader

T = TypeVar("T")

PROFILES = "profiles"
"""Node of an experiment's YAML that holds the values of each profile."""
LEFT_OUT = ("hydra", PROFILES)
"""Nodes of a configuration that are no settings of a run."""


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a composed configuration as plain values, without Hydra's own.

    Converts key by key and leaves out the profiles, whose grids are long and not needed.
    """
    return {
        str(key): OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in cfg.items()
        if key not in LEFT_OUT
    }


def install_guard() -> None:
    """Check every configuration that Hydra loads, before Hydra acts on it.

    Hydra offers no hook between loading a configuration and calling what it names, so this wraps
    the loader's own method.
    """
    load = ConfigLoaderImpl.load_configuration
    if not hasattr(load, "__wrapped__"):
        ConfigLoaderImpl.load_configuration = _checked(load)  # type: ignore[method-assign]
        of_help = ConfigLoaderImpl.compute_defaults_list
        ConfigLoaderImpl.compute_defaults_list = _safely(of_help)  # type: ignore[method-assign]


def _checked(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    signature = inspect.signature(load)

    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        overrides = signature.bind(*args, **kwargs).arguments["overrides"]
        config = _safely(load)(*args, **kwargs)
        _check_overrides(OmegaConf.to_container(config.hydra.overrides.hydra))
        _use_claims(config.get("claims"), overrides)
        known = Plugins.instance().discover(Launcher)
        launchers = [f"{kind.__module__}.{kind.__name__}" for kind in known]
        if config.hydra.job.config_name is not None:  # None: of Hydra alone, for --hydra-help
            allowed.check(config.hydra, OmegaConf.to_container(config.hydra), launchers)
            allowed.check_extent(config, [str(key) for key in config if key not in LEFT_OUT])
            experiment = config.hydra.runtime.choices.get("experiment")
            allowed.check_place(config, experiment, overrides)
        return config

    return checked


def _safely(read: Callable[..., T]) -> Callable[..., T]:
    """The method of a loader, with our reader of files and each of its errors told in one line."""

    @functools.wraps(read)
    def safely(*args: Any, **kwargs: Any) -> T:
        install_reader()
        try:
            return read(*args, **kwargs)
        except (InputError, HydraException, OmegaConfBaseException, MemoryError):
            raise
        except RecursionError:
            raise ConfigError("defaults: a configuration is among its own defaults") from None
        except Exception as error:  # of many kinds, over a file that cannot be composed
            why = shown(error) or type(error).__name__
            raise ConfigError(f"the configuration cannot be composed: {why}") from None

    return safely


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
    registry.use_claims(str(folder))
