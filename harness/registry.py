"""Where experiments and their configurations are, and how a folder of your own claims joins them.

In a checkout they are the folders experiments/ and conf/ beside the package; an installed copy has
them inside the package.  An experiment is a name: a configuration NAME.yaml and a module NAME.py.
Ours are modules of the package `experiments`, yours of the package `own_claims`.  Both packages are
loaded from their folders and not by way of `sys.path`, so a folder called experiments/ in the
current directory is never imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from harness.errors import InputError, shown

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_data"
_ROOT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
CONF = _ROOT / "conf"
EXPERIMENTS = _ROOT / "experiments"
CHECKOUT = None if _INSTALLED.is_dir() else _ROOT
"""The source tree that is imported; None for an installed copy."""

OURS = "experiments"
OWN = "own_claims"
HINT = "a claim of your own needs claims=FOLDER"


def names() -> list[str]:
    """Names of all experiments, ours and those of the claims folder in use."""
    return sorted([*_our_names(), *own_names()])


def own_names() -> list[str]:
    """Names of the experiments of the claims folder in use."""
    folder = claims_folder()
    return [] if folder is None else _names_in(folder)


def configuration(name: str) -> Path:
    """The configuration file of an experiment."""
    folder = claims_folder()
    if folder is not None and name in own_names():
        return folder / f"{name}.yaml"
    return CONF / "experiment" / f"{name}.yaml"


def module(name: str) -> ModuleType:
    """The module of an experiment, imported.

    Raises
    ------
    ModuleNotFoundError
        If there is no such experiment.
    """
    if name in own_names():
        return importlib.import_module(f"{OWN}.{name}")
    _register_ours()
    return importlib.import_module(f"{OURS}.{name}")


def claims_folder() -> Path | None:
    """The claims folder in use, absolute; None without one."""
    package = sys.modules.get(OWN)
    return None if package is None else Path(package.__path__[0])


def use_claims(given: str) -> Path:
    """Add the experiments of a folder to ours; return its absolute path.

    The folder holds NAME.py and NAME.yaml for each experiment, and modules that these import by
    `from . import ...`.  Nothing in it is imported before its experiment is asked for.  A folder
    given before is forgotten.

    Raises
    ------
    InputError
        If `given` is no folder, holds no experiment, or one without a module, with a name that a
        module cannot have, or with the name of one of ours.
    """
    try:
        folder = Path(os.path.abspath(Path(given).expanduser()))  # noqa: PTH100 (keeps links)
        _check(given, folder)
    except (OSError, RuntimeError) as error:  # too long, not readable; no such user
        why = getattr(error, "strerror", None) or error
        raise InputError(f"claims={shown(given)}: cannot be read ({why})") from None
    if folder != claims_folder():
        forget_claims()
        spec = ModuleSpec(OWN, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[OWN] = module_from_spec(spec)
    return folder


def forget_claims() -> None:
    """Remove the experiments of the claims folder in use, if there is one."""
    for loaded in [key for key in sys.modules if key == OWN or key.startswith(f"{OWN}.")]:
        del sys.modules[loaded]


def check_has_configuration(name: str) -> None:
    """Raise InputError for a name with a module in the claims folder but no configuration."""
    folder = claims_folder()
    if folder is not None and (folder / f"{name}.py").is_file():
        raise InputError(f"claims={folder}: {name}.py has no {name}.yaml beside it")


def _check(given: str, folder: Path) -> None:
    if not given or not folder.is_dir():
        raise InputError(f"claims={given}: must be a folder")
    found = _names_in(folder)
    if not found:
        raise InputError(f"claims={given}: holds no claim, which is a NAME.py with a NAME.yaml")
    for name in found:
        if fault := _fault(folder, name):
            raise InputError(f"claims={given}: {fault}")


def _fault(folder: Path, name: str) -> str | None:
    """Why a claim of a folder cannot be used; None if it can."""
    if not name.isidentifier():
        return f"{name}.yaml: a claim's name must be letters, digits and _"
    if not (folder / f"{name}.py").is_file():
        return f"{name}.yaml has no {name}.py beside it"
    if name in _our_names():
        return f"{name} is an experiment of the harness; rename yours"
    return None


def _names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


@cache
def _our_names() -> list[str]:
    return _names_in(CONF / "experiment")


def _register_ours() -> None:
    """Load the package `experiments` from its own folder."""
    loaded = sys.modules.get(OURS)
    if loaded is None:
        file = EXPERIMENTS / "__init__.py"
        spec = spec_from_file_location(OURS, file, submodule_search_locations=[str(EXPERIMENTS)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[OURS] = package = module_from_spec(spec)
        spec.loader.exec_module(package)
    elif Path(next(iter(loaded.__path__), "")).resolve() != EXPERIMENTS:
        raise ImportError(f"{OURS} is another package: {loaded!r}; it must not be imported before")
