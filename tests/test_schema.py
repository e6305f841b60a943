"""Plain mappings to typed experiments and back."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from harness import schema
from harness.experiment import Experiment, coordinates
from harness.schema import build, dump
from tests.conftest import Private

GOOD: dict[str, Any] = {
    "inner": {"size": 3, "sizes": None},
    "scale": 1.0,
    "method": "plain",
    "thresholds": {"median": 2.0},
}


def changed(**values: Any) -> dict[str, Any]:
    """GOOD with values by dotted name ("inner__size"), `...` for none at all."""
    result: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in GOOD.items()}
    for name, value in values.items():
        *parents, key = name.split("__")
        target = result
        for parent in parents:
            target = target[parent]
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return result


def test_a_good_mapping_becomes_the_experiment_and_back(toy: Private):
    experiment = build("toy", GOOD)
    assert type(experiment).__name__ == "Toy"
    assert dump("toy", experiment) == GOOD
    assert build("toy", dump("toy", experiment)) == experiment


def test_lists_survive_the_way_there_and_back(toy: Private):
    values = changed(inner__sizes=[2, 5])
    assert dump("toy", build("toy", values)) == values
    assert coordinates(build("toy", values))["inner.sizes"] == "2-5"


@pytest.mark.parametrize("value", [2, 2.0])
def test_a_whole_number_is_the_same_cell_however_it_is_written(toy: Private, value):
    assert build("toy", changed(scale=value)) == build("toy", changed(scale=2.0))
    assert type(coordinates(build("toy", changed(scale=value)))["scale"]) is float


# --- Experiments that contradict themselves -------------------------------------------------


@dataclass(frozen=True)
class Left:
    size: int = 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """An empty module experiments.made, to be given a class."""
    module = types.ModuleType("experiments.made")
    monkeypatch.setitem(sys.modules, "experiments.made", module)
    monkeypatch.setattr(schema, "experiment_names", lambda: ["made"])
    schema._adapter.cache_clear()
    yield module
    schema._adapter.cache_clear()


def give(module: types.ModuleType, **members: Any) -> None:
    """Give the module an experiment with these fields and class attributes."""
    annotations = {name: type(value) for name, value in members.items() if name != "paired"}
    body = {"__module__": module.__name__, "__annotations__": annotations, **members}
    for name in ("trial", "judge", "figure"):
        body[name] = lambda self, argument: []
    module.Made = dataclass(frozen=True)(type("Made", (Experiment,), body))  # type: ignore[attr-defined]


def test_two_fields_that_would_share_a_column_are_an_error(made):
    give(made, left=Left(), size=2)
    with pytest.raises(TypeError, match="share a column"):
        build("made", {"left": {"size": 1}, "size": 2})


@pytest.mark.parametrize("name", ["seed", "status", "trials", "name"])
def test_a_field_cannot_take_the_name_of_a_column_of_every_table_or_of_a_run_setting(made, name):
    give(made, **{name: 1})
    with pytest.raises(TypeError, match=name):
        build("made", {name: 1})


@pytest.mark.parametrize("paired", [("kapa",), ("left",), ("size",)])
def test_a_paired_name_that_is_no_field_is_an_error(made, paired):
    give(made, left=Left(), kappa=0.5, paired=paired)
    with pytest.raises(TypeError, match=paired[0]):
        build("made", {"left": {"size": 1}, "kappa": 0.5})
