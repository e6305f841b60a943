"""From plain mappings to typed experiments and back: configuration is validated here, once."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import experiments
from harness.claims import ROW_COLUMNS, Experiment, columns, coordinates, experiment_class

T = TypeVar("T")

RUN_KEYS = (
    "experiment",
    "name",
    "profile",
    "seed",
    "trials",
    "results",
    "cells_per_job",
    "plan",
    "packed",
)
"""Settings of every run, which are no fields of an experiment."""

LONGEST = 200
"""Characters of a value that a refusal shows."""


class ConfigError(ValueError):
    """A setting that cannot be used: one line with the key, the value and what is allowed."""


def experiment_names() -> list[str]:
    """Names of all experiments, the modules of the package `experiments`."""
    return experiments.names()


def build(name: str, values: Mapping[str, Any]) -> Experiment:
    """The experiment `name` with its fields from a mapping.

    Raises
    ------
    ConfigError
        For the first unknown experiment or key, wrong type, or value out of range.
    """
    experiment = validate(_adapter(name), values, f"experiment {name}")
    _check_names(name, experiment)
    return experiment


def prepare(experiment: Experiment) -> Experiment:
    """The experiment `prepared` to run; what it cannot use as a ConfigError."""
    try:
        return experiment.prepared()
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_names(name: str, experiment: Experiment) -> None:
    """Raise TypeError for a field that could not be told from another name: a fault of the file."""
    if len(columns(experiment)) != len(coordinates(experiment)):
        raise TypeError(f"{name}: two fields end in the same name and would share a column")
    if clash := sorted({*ROW_COLUMNS, *RUN_KEYS} & columns(experiment).keys()):
        raise TypeError(f"{name}: a field cannot be called {clash[0]}, which every run has")
    if unknown := sorted(set(experiment.paired) - coordinates(experiment).keys()):
        raise TypeError(f"{name}: {unknown[0]} is paired but is no field")


def dump(name: str, experiment: Experiment) -> dict[str, Any]:
    """The plain mapping that `build` makes the experiment from."""
    return _adapter(name).dump_python(experiment, mode="json")


def validate(adapter: TypeAdapter[T], values: Mapping[str, Any], owner: str) -> T:
    """The typed value; the first error as a ConfigError that says whose key it is."""
    try:
        # By way of JSON, whose strict rules take a mapping for a dataclass but no True for 1.
        return adapter.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise ConfigError(_one_line(owner, error)) from None


@cache
def _adapter(name: str) -> TypeAdapter[Experiment]:
    if name not in experiment_names():
        raise ConfigError(f"experiment={name}: must be one of {', '.join(experiment_names())}")
    return TypeAdapter(experiment_class(importlib.import_module(f"experiments.{name}")))


def _one_line(owner: str, error: ValidationError) -> str:
    first = error.errors()[0]
    key = shown(".".join(str(part) for part in first["loc"])) or owner
    given = shown(first["input"])
    match first["type"]:
        case "missing":
            return f"{key}: missing; a value is needed"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{key}={given}: unknown key of {owner}"
        case "value_error":  # raised by a dataclass's __post_init__, which names the key itself
            return str(first["ctx"]["error"])
        case _:
            return f"{key}={given}: {first['msg'][0].lower()}{first['msg'][1:]}"


def shown(value: Any) -> str:
    """A value for one line of a terminal, whatever it holds."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
