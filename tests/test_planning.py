"""plan=true says what there is to do, computes nothing and writes nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from harness import registry
from harness.sweep.planning import SIZES, TIMES, in_unit
from tests.conftest import TOY_CELLS, tree

pytestmark = pytest.mark.slow

TOY = "experiment=toy"
PLAN = "plan=true"


@pytest.fixture(autouse=True)
def _nothing_committed(tmp_path, monkeypatch):
    """No earlier times but those of a test."""
    monkeypatch.setattr(registry, "CHECKOUT", tmp_path / "committed")


def said(text: str, key: str) -> str:
    """The line of a plan that begins with the key."""
    [line] = [line for line in text.splitlines() if line.startswith(key)]
    return line.removeprefix(key).strip()


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_a_plan_writes_nothing_and_measures_nothing(harness, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("TOY_BROKEN", "3")
    done = harness(*mode, TOY, PLAN)
    assert (done.code, done.err) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_a_plan_of_what_is_stored_changes_no_byte(harness, tmp_path, mode):
    harness("-m", TOY)
    [damaged, *_] = (tmp_path / "results" / "cells" / "toy").glob("*/*.json")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    before = tree(tmp_path)
    assert harness(*mode, TOY, PLAN).code == 0
    assert tree(tmp_path) == before


def test_a_plan_needs_no_folder_that_can_be_written(harness):
    assert "4 to do" in harness("-m", TOY, PLAN, "results=/proc/x").out


def test_a_plan_counts_cells_and_trials(harness, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "2")
    harness("-m", TOY)
    plan = harness("-m", TOY, PLAN).out
    assert said(plan, "cells") == f"{TOY_CELLS} with 3 trials each: 3 done, 1 to do"
    assert said(plan, "trials") == "3 to do"
    assert "  3 trials of size=2, method=plain" in plan.splitlines()
    monkeypatch.delenv("TOY_BROKEN")
    harness("-m", TOY)
    assert harness("-m", TOY, PLAN).out.splitlines() == [
        f"cells   {TOY_CELLS} with 3 trials each: {TOY_CELLS} done, 0 to do",
        "trials  0 to do",
    ]
    assert said(harness("-m", TOY, PLAN, "trials=5").out, "trials") == f"{2 * TOY_CELLS} to do"


def test_a_plan_of_many_cells_lists_the_first(harness):
    plan = harness("-m", TOY, PLAN, "inner.size=range(1,101)", "cells_per_job=30").out
    assert said(plan, "cells").endswith("200 to do in 7 jobs of the launcher")
    assert len(plan.splitlines()) < 20
    assert plan.splitlines()[-1] == f"  and {3 * 188} trials of 188 more cells"


@pytest.mark.slow
def test_a_plan_of_many_cells_takes_little_memory_and_a_fraction_of_a_millisecond_each(tmp_path):
    """Hydra alone would take 5 ms a cell, and some kilobytes."""
    code = (
        "import re, sys; from harness.app import main; main(sys.argv[1:]);"
        "print(*re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()))"
    )
    axes = ("network.n=range(1,31)", "network.p=range(1,31)", "network.ell=range(10000,10050)")
    command = ("-m", "experiment=convergence", "hydra.sweeper.grids=[{}]", "plan=true", *axes)
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *_, kilobytes = done.stdout.split()
    assert done.stdout.startswith("cells   45000 with")
    assert int(kilobytes) < 400_000


def test_a_plan_of_one_cell(harness):
    assert said(harness(TOY, PLAN).out, "cells") == "1 with 3 trials each: 0 done, 1 to do"


def test_time_and_disk_are_those_of_the_sweeps_measured_cells(harness, monkeypatch):
    monkeypatch.setenv("TOY_SLEEP", "0.02")
    harness("-m", TOY, "inner.size=1")
    plan = harness("-m", TOY, PLAN, "inner.size=1,2", "trials=100000").out
    assert "(by 2 measured cells of this sweep)" in said(plan, "time")
    hours = float(said(plan, "time").split(" h ")[0])
    assert hours >= 2.2  # 400,000 trials of 0.02 s or a little more
    assert re.match(r"\d+ MB \(by 2 measured", said(plan, "disk"))


@pytest.mark.parametrize(
    ("launcher", "beside"),
    [
        ("hydra/launcher=joblib hydra.launcher.n_jobs=3", 3),
        ("hydra/launcher=joblib hydra.launcher.n_jobs=3 cells_per_job=2", 2),
        ("hydra/launcher=slurm hydra.launcher.cpus_per_task=4", 16),
    ],
)
def test_time_is_told_for_the_launchers_workers(harness, monkeypatch, launcher, beside):
    monkeypatch.setenv("TOY_SLEEP", "0.02")
    harness("-m", TOY, "inner.size=1")
    plan = harness("-m", TOY, PLAN, "trials=100", *launcher.split()).out
    assert f" with {beside} side by side " in said(plan, "time")


def test_without_measured_cells_an_earlier_sweep_of_the_experiment_tells_the_time(
    harness, tmp_path
):
    unknown = "unknown: this experiment was never measured"
    assert said(harness("-m", TOY, PLAN).out, "time") == unknown
    harness("-m", TOY)
    shutil.rmtree(tmp_path / "results" / "cells")
    path = tmp_path / "results" / "toy" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trial_seconds": 120.0}))
    shutil.copytree(tmp_path / "results", tmp_path / "committed" / "results")
    for results in ("results", "elsewhere"):
        plan = harness("-m", TOY, PLAN, f"results={results}").out
        assert said(plan, "time").startswith("2.0 min of one core")
        assert re.search(r"\(rough: from .*provenance.json, cells of profile quick\)", plan)
        assert said(plan, "disk").startswith("unknown")
    assert said(harness("-m", TOY, PLAN, "name=mine").out, "time").startswith("2.0 min")


def test_a_time_by_another_profile_says_that_its_cells_may_cost_other(harness):
    harness("-m", TOY)
    plan = harness("-m", TOY, PLAN, "profile=full", "seed=1").out
    assert said(plan, "time").endswith("cells of profile quick, which may take more or less time)")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("timeout_min=60", "the longest takes 20 min, less than timeout_min=60"),
        (
            "timeout_min=19",
            "the longest takes 20 min, MORE than timeout_min=19: raise hydra.launcher.",
        ),
        ("timeout_min=19 hydra.launcher.cpus_per_task=2", "the longest takes 13 min, less than"),
        ("timeout_min=19 cells_per_job=1", "the longest takes 10 min, less than timeout_min=19"),
    ],
)
def test_with_slurm_the_longest_job_is_told_beside_its_limit(harness, tmp_path, settings, told):
    """4 cells of 3 trials of 200 s each, two cells a job."""
    harness("-m", TOY)
    path = tmp_path / "results" / "toy" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trial_seconds": 2400.0}))
    launcher = ["hydra/launcher=slurm", "cells_per_job=2", f"hydra.launcher.{settings}"]
    plan = harness("-m", TOY, PLAN, "seed=1", *" ".join(launcher).split()).out
    assert said(plan, "job").startswith(told)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (3.21, "3.2 s"), (119, "119 s"), (121, "2.0 min"), (86400, "24 h")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds, text):
    assert in_unit(seconds, TIMES) == text


def test_a_size_is_told_in_the_unit_that_fits():
    assert [in_unit(size, SIZES) for size in (90, 2.5e6, 3e10)] == ["0.1 kB", "2.5 MB", "30 GB"]
