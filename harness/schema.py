"""From plain mappings to typed experiments and back; configuration is validated only here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt
from pydantic import StringConstraints, TypeAdapter, ValidationError

from harness import registry
from harness.errors import InputError, shown
from harness.experiment import (
    ROW_COLUMNS,
    Experiment,
    Settings,
    coordinates,
    experiment_class,
    is_scalar,
)
from harness.storage.folder import NAME, RESERVED
from harness.storage.store import ReadOnlyStore, Store

T = TypeVar("T")


class ConfigError(InputError):
    """A bad setting; the message is one line with the key, the value and what is allowed."""


@dataclass(frozen=True)
class Design(Settings):
    """The design of an experiment's claims: their statistics, thresholds, grids and cells.

    Attributes
    ----------
    version : raised when the design changes; findings on seeds seen before are exploratory.
    fresh_seed : the seed that confirms them, which nobody has used before the design was fixed.
    """

    version: Annotated[int, Ge(1)]
    fresh_seed: Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Run(Settings):
    """Settings that every run has, whatever its experiment.

    Attributes
    ----------
    experiment : name of the experiment.
    name : folder under results/ for the sweep's table and figure.
    results : the results folder.
    claims : folder with experiments of the user's own.
    cells_per_job : cells that one job of a sweep measures in turn.
    most_cells, most_trials : limits of a sweep and of a cell, against mistyped numbers.
    memory_gb : memory that a trial may need; None means what the machine or the job has.
    plan : only print what there is to do.
    packed : the cells of one job of a sweep, encoded as text.
    design : version and fresh seed of the design of the claims.
    """

    experiment: str
    name: Annotated[str, StringConstraints(pattern=NAME)]
    profile: str
    seed: Annotated[int, Ge(0)]
    trials: Annotated[int, Ge(1)]
    results: Annotated[str, StringConstraints(min_length=1)]
    claims: str | None
    cells_per_job: Annotated[int, Ge(1)]
    most_cells: Annotated[int, Ge(1)]
    most_trials: Annotated[int, Ge(1)]
    memory_gb: Annotated[float, Gt(0)] | None
    plan: bool
    packed: str | None
    design: Design

    def __post_init__(self) -> None:
        if self.name.lower() in {name.lower() for name in RESERVED}:  # as some file systems see it
            raise ValueError(f"name={self.name}: must not be one of {', '.join(RESERVED)}")
        if self.trials > self.most_trials:
            raise ValueError(f"trials={self.trials}: at most most_trials={self.most_trials}")

    @property
    def confirms(self) -> bool:
        """Whether the sweep is the one that confirms findings of the design."""
        return self.seed == self.design.fresh_seed

    @property
    def store(self) -> Store:
        """The results folder."""
        return Store(Path(self.results))

    def check_results(self) -> None:
        """Raise StoreError unless the results folder can be used: for a plan, only read."""
        (ReadOnlyStore(Path(self.results)) if self.plan else self.store).check()


RUN = TypeAdapter(Run)
RUN_KEYS = tuple(field.name for field in fields(Run))
"""Settings of a run; an experiment cannot have a field of such a name."""
_TAKEN = frozenset({*ROW_COLUMNS, *RUN_KEYS})


def experiment_names() -> list[str]:
    """Names of all experiments, with those of the claims folder in use."""
    return registry.names()


def build(name: str, values: Mapping[str, Any]) -> Experiment:
    """The experiment `name` with its fields from a mapping.

    Raises
    ------
    ConfigError
        For the first unknown experiment or key, wrong type, or value out of range.
    """
    adapter = _adapter(name, registry.claims_folder())
    experiment = validate(adapter, values, f"experiment {name}")
    found = coordinates(experiment)
    _check_names(name, experiment, tuple(found))
    for key, value in found.items():
        if isinstance(value, str) and not is_scalar(value):
            raise ConfigError(f"{key}={shown(value)}: has a character that no table holds: rename")
    return experiment


def prepare(experiment: Experiment) -> Experiment:
    """The experiment, `prepared` to run; ConfigError for input that it cannot use."""
    try:
        return experiment.prepared()
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_names(name: str, experiment: Experiment, keys: Sequence[str]) -> None:
    """Raise TypeError if the file names a field as another field or a column is named."""
    short = {key.rpartition(".")[2] for key in keys}
    if len(short) != len(keys):
        raise TypeError(f"{name}: two fields end in the same name and would share a column")
    if clash := sorted(short.intersection(_TAKEN)):
        raise TypeError(f"{name}: a field cannot be called {clash[0]}, which every run has")
    if unknown := sorted(set(experiment.paired).difference(keys)):
        raise TypeError(f"{name}: {unknown[0]} is paired but is no field")


def dump(name: str, experiment: Experiment) -> dict[str, Any]:
    """The plain mapping from which `build` makes the same experiment."""
    adapter = _adapter(name, registry.claims_folder())
    return adapter.dump_python(experiment, mode="json")


def validate(adapter: TypeAdapter[T], values: Mapping[str, Any], owner: str) -> T:
    """The typed value; ConfigError for the first error, naming the key and its `owner`."""
    try:
        # Strict JSON accepts a mapping for a dataclass, but refuses True for 1.
        return adapter.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise ConfigError(_one_line(owner, error)) from None


@cache
def _adapter(name: str, claims: Path | None) -> TypeAdapter[Experiment]:
    """Validator of an experiment; `claims` is the folder in use, which says what a name means."""
    if name not in experiment_names():
        raise ConfigError(unknown_experiment(name))
    return TypeAdapter(experiment_class(registry.module(name)))


ALIKE = 0.65
"""Likeness, as `difflib` has it, from which on one name is taken for a slip for another."""


def unknown_experiment(name: str) -> str:
    """One line for a name that no experiment has."""
    names = experiment_names()
    near = get_close_matches(name, names, 1, ALIKE)
    meant = f"; did you mean {near[0]}?" if near else ""
    hint = f"; {registry.HINT}" if registry.claims_folder() is None else ""
    return f"experiment={shown(name)}: must be one of {', '.join(names)}{meant}{hint}"


def _one_line(owner: str, error: ValidationError) -> str:
    first = error.errors()[0]
    key = shown(".".join(str(part) for part in first["loc"])) or owner
    given = shown(first["input"])
    match first["type"]:
        case "missing":
            return f"{key}: missing; a value is needed"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{key}={given}: unknown key of {owner}"
        case "value_error":  # from a dataclass's __post_init__, whose message names the key
            return str(first["ctx"]["error"])
        case _:
            return f"{key}={given}: {first['msg'][0].lower()}{first['msg'][1:]}"
