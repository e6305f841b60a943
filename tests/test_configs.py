"""Every YAML composes in every profile, every cell it plans is valid, and nothing lies idle."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from harness import app, schema
from harness.claims import Claim
from harness.experiment import Settings, coordinates
from harness.schema import Run
from harness.storage.cell import Cell
from harness.sweep import sweep
from tests.configured import NAMES, kind, skip_without_extra
from tests.conftest import ROOT

CONF = ROOT / "conf"
PROFILES = ("quick", "paper", "full")
Point = tuple[Run, Cell]
every_experiment = pytest.mark.parametrize("name", NAMES)


@dataclass(frozen=True)
class Plan:
    """What a sweep would run."""

    run: Run
    template: Cell
    cells: list[Cell]


def own(name: str) -> dict[str, Any]:
    """An experiment's YAML as it stands."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The sweep (name, profile) as `harness -m` plans it, up to the first launch; cached."""
    results = tmp_path_factory.mktemp("plans") / "results"

    @cache
    def make(name: str, profile: str) -> Plan:
        skip_without_extra(name)
        planned: list[Plan] = []

        def instead(base: Point, points: Iterable[Point], *_: object) -> sweep.Conclusion:
            planned.append(Plan(*base, [cell for _, cell in points]))
            return sweep.Conclusion("")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "run_sweep", instead)
            patch.setattr(sys, "argv", ["harness"])
            patch.setenv("HYDRA_FULL_ERROR", "0")
            arguments = ["-m", f"experiment={name}", f"profile={profile}", f"results={results}"]
            assert app.main(arguments) == 0
        GlobalHydra.instance().clear()
        assert not results.exists()
        [made] = planned
        return made

    return make


# --- Plans ----------------------------------------------------------------------------------


@pytest.mark.slow
@every_experiment
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_plans_cells_that_are_all_valid(bare_logging, plan, name, profile):
    made = plan(name, profile)
    assert (made.run.experiment, made.run.profile, made.run.name) == (name, profile, name)
    assert made.run.trials >= 1
    assert len(made.cells) >= 1
    assert all(isinstance(cell.experiment, kind(name)) for cell in made.cells)


@pytest.mark.slow
@every_experiment
def test_profiles_grow(bare_logging, plan, name):
    work = [made.run.trials * len(made.cells) for made in (plan(name, p) for p in PROFILES)]
    assert work[0] < work[1] < work[2]


@pytest.mark.slow
@every_experiment
def test_a_sweep_varies_coordinates_and_nothing_else(bare_logging, plan, name):
    """A swept threshold would be judged with the base value."""
    for profile in PROFILES:
        made = plan(name, profile)
        limits = {repr(getattr(c.experiment, "thresholds", None)) for c in made.cells}
        assert limits == {repr(getattr(made.template.experiment, "thresholds", None))}
        assert {cell.seed for cell in made.cells} == {made.run.seed}


@pytest.mark.slow
@every_experiment
def test_what_is_stored_of_a_cell_makes_the_same_cell_again(bare_logging, plan, name):
    for cell in plan(name, "quick").cells[:5]:
        again = schema.build(name, schema.dump(name, cell.experiment))
        assert again == cell.experiment
        assert Cell(name, again, cell.seed).key == cell.key


# --- Files ----------------------------------------------------------------------------------


def test_every_yaml_has_a_module_and_the_other_way_round():
    modules = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert modules - {"__init__"} == set(NAMES)
    assert sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")) == NAMES


def test_every_profile_of_the_group_is_one_of_the_three():
    assert sorted(path.stem for path in (CONF / "profile").glob("*.yaml")) == sorted(PROFILES)


def test_every_other_yaml_is_used_by_one():
    used = "\n".join(path.read_text() for path in CONF.rglob("*.yaml"))
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[:-1]
        if group and group not in {("experiment",), ("profile",), ("hydra", "launcher")}:
            assert f"{'/'.join(group)}: {path.stem}" in used, path


@every_experiment
def test_a_yaml_names_its_experiment_and_its_three_profiles_with_trials_and_grids(name):
    yaml, text = own(name), (CONF / "experiment" / f"{name}.yaml").read_text()
    assert yaml["experiment"] == name
    assert tuple(yaml[app.PROFILES]) == PROFILES
    keys = {frozenset(profile) for profile in yaml[app.PROFILES].values()}
    [shared] = keys  # all profiles set the same
    assert {"trials", "grids"} <= shared
    for key in shared - {"trials", "grids"}:
        assert f"${{profiles.${{profile}}.{key}}}" in text, f"{key} is set and not used"
    for profile in yaml[app.PROFILES].values():
        assert profile["grids"]
        for grid in profile["grids"]:
            for axis, values in grid.items():  # a value for the whole grid, or a list of them
                points = values if isinstance(values, list) else [values]
                assert points, axis
                assert len({repr(point) for point in points}) == len(points), axis


@every_experiment
def test_a_yaml_is_explained_in_its_first_comment(name):
    lines = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    assert lines[1].endswith((".", "?"))


def test_no_yaml_holds_a_path_of_a_machine():
    for path in CONF.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            assert not any(word in line for word in ("/home/", "/work/", "/tmp/", "/root/")), path


# --- Classes --------------------------------------------------------------------------------


def nested(cls: type) -> set[type]:
    """The class and all dataclasses among its fields."""
    hints = get_type_hints(cls)
    below = [hints[f.name] for f in fields(cls) if is_dataclass(hints[f.name])]
    return {cls}.union(*(nested(b) for b in below if isinstance(b, type)))


@every_experiment
def test_every_group_of_settings_forbids_unknown_keys_and_is_frozen(name):
    for group in nested(kind(name)):
        assert issubclass(group, Settings), group
        assert group.__dataclass_params__.frozen, group  # type: ignore[attr-defined]


@every_experiment
def test_fields_have_no_defaults_of_their_own_beside_the_yaml(name):
    """A default in the class would hide a key that its YAML has lost."""
    for field in fields(kind(name)):
        assert field.default is MISSING, field.name
        assert field.default_factory is MISSING, field.name


@every_experiment
def test_paired_names_are_coordinates(bare_logging, plan, name):
    template = plan(name, "quick").template.experiment
    assert set(template.paired) <= set(coordinates(template))


@every_experiment
def test_claims_are_complete(name):
    cls = kind(name)
    assert cls.claims
    for claim in cls.claims:
        assert isinstance(claim, Claim)
        assert claim.id.startswith(f"{name}.")
        assert claim.id == claim.id.strip().lower()
        for text in (claim.statement, claim.source):
            assert text.strip() == text != ""
            assert "\n" not in text


def test_claim_ids_are_unique_across_experiments():
    ids = [claim.id for name in NAMES for claim in kind(name).claims]
    assert len(set(ids)) == len(ids)


@every_experiment
def test_the_caption_and_the_module_say_what_is_seen_and_asked(name):
    assert len(kind(name).caption) > 80
    assert kind(name).caption.rstrip().endswith(".")
    assert kind(name).caption == kind(name).caption.strip()
    assert importlib.import_module(f"experiments.{name}").__doc__


def test_the_docs_list_every_experiment():
    page = (ROOT / "docs" / "experiments.md").read_text()
    for name in NAMES:
        assert f"[{name}](../experiments/{name}.py)" in page
    for path in Path(ROOT / "experiments").glob("*.py"):
        assert path.stem in {*NAMES, "__init__"}


def test_the_makefile_leaves_out_what_needs_an_extra_and_nothing_else():
    """It asks whether all modules are there, before it starts one of these."""
    makefile = (ROOT / "Makefile").read_text()
    [listed] = re.findall(r"^NEED_EXTRA := (.*)$", makefile, re.MULTILINE)
    [modules] = re.findall(r"-c 'import (.*?)'", makefile)
    assert listed.split() == [name for name in NAMES if kind(name).needs]
    needed = {module for name in NAMES for module in kind(name).needs}
    assert set(modules.split(", ")) == needed
