"""Sweeps in processes of their own: launchers, kills, Ctrl-C, company, cells and workers that fail.

Every test compares with the same sweep left undisturbed, byte by byte.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from harness.sweep import sweep
from hydra_plugins.harness_sweeper import HarnessSweeper
from tests.configured import NAMES, skip_without_extra
from tests.conftest import TIMEOUT, TOY_CELLS, Private, tree

pytestmark = pytest.mark.slow

SWEEP = ("-m", "experiment=toy")
BASIC = ("hydra/launcher=basic",)
TWO = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
launchers = pytest.mark.parametrize("launcher", [BASIC, TWO], ids=["basic", "joblib"])
GO_ON = "the same command goes on from there"


def table(results: Path) -> bytes:
    return (results / "toy" / "table.csv.gz").read_bytes()


def segments(results: Path) -> dict[str, bytes]:
    """Stored segments by path."""
    cells = results / "cells" / "toy"
    return {k: v for k, v in tree(cells).items() if k.endswith(".json")} if cells.exists() else {}


def leftovers(results: Path) -> list[str]:
    return [k for k in tree(results) if k.endswith((".tmp", ".damaged"))]


@contextmanager
def running(
    private: Private, cwd: Path, *arguments: str, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, none of which is left at the end."""
    process = subprocess.Popen(
        private.command(*arguments),
        cwd=cwd,
        env=private.environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_a_cell(results: Path, process: subprocess.Popen[str]) -> dict[str, bytes]:
    """The segments on the disk as soon as there is one, the process still at work."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := segments(results)):
        assert time.monotonic() < deadline, "no cell was ever finished"
        assert process.poll() is None, "the sweep ended too soon"
        time.sleep(0.02)
    return found


# --- Launchers ------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_joblib_gives_the_table_of_the_basic_launcher(private, undisturbed, tmp_path, jobs):
    done = private.run(tmp_path, *SWEEP, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}")
    assert done.code == 0, done.err
    assert table(tmp_path / "results") == table(undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_second_run_by_another_launcher_measures_nothing(private, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "results")
    before = tree(tmp_path)
    done = private.run(tmp_path, *SWEEP, *TWO, TOY_BROKEN="1")
    assert done.code == 0, done.err
    assert tree(tmp_path) == before


# --- kill -9 --------------------------------------------------------------------------------


def test_a_killed_sweep_goes_on_where_it_was(private, undisturbed, tmp_path, harness):
    killed = private.run(tmp_path, *SWEEP, *BASIC, TOY_KILLED="2")
    assert killed.code == -signal.SIGKILL
    results = tmp_path / "results"
    stored = segments(results)
    assert len(stored) == 1
    assert harness(*SWEEP).code == 0
    assert table(results) == table(undisturbed)
    assert stored.items() <= segments(results).items()
    assert leftovers(results) == []


def alive(session: int) -> list[str]:
    """The processes of a session, without those that have ended but are not waited for."""
    listed = subprocess.run(
        ["ps", "-o", "stat=,args=", "-s", str(session)], capture_output=True, text=True, check=False
    )
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_workers_end_when_their_parent_is_killed_and_the_sweep_goes_on_beside_them(
    private, undisturbed, tmp_path, harness
):
    """They may still write when the same command is given again at once."""
    results = tmp_path / "results"
    with running(private, tmp_path, *SWEEP, *TWO, TOY_SLEEP="0.4") as process:
        stored = wait_for_a_cell(results, process)
        process.kill()
        process.wait(TIMEOUT)
        assert alive(process.pid)
        assert not (results / "toy").exists()
        assert harness(*SWEEP).code == 0
        deadline = time.monotonic() + 30
        while alive(process.pid):
            assert time.monotonic() < deadline, alive(process.pid)
            time.sleep(0.1)
    assert table(results) == table(undisturbed)
    assert stored.items() <= segments(results).items()


# --- Ctrl-C ---------------------------------------------------------------------------------


@launchers
def test_ctrl_c_stops_keeps_finished_cells_and_says_how_to_go_on(
    private, undisturbed, tmp_path, harness, launcher
):
    results = tmp_path / "results"
    with running(private, tmp_path, *SWEEP, *launcher, TOY_SLEEP="0.5") as process:
        stored = wait_for_a_cell(results, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1].endswith(GO_ON)
    assert "Traceback" not in err
    assert stored.items() <= segments(results).items()
    assert len(segments(results)) < TOY_CELLS
    if launcher == BASIC:  # joblib kills its workers, if need be in the middle of a write
        assert leftovers(results) == []
    assert harness(*SWEEP).code == 0
    assert table(results) == table(undisturbed)
    assert not [name for name in leftovers(results) if name.endswith(".damaged")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_stops_keeps_finished_trials_and_says_how_to_go_on(
    private, undisturbed, tmp_path, harness, number
):
    """What a scheduler sends first, too; and what a terminal sends that is closed."""
    results = tmp_path / "results"
    with running(private, tmp_path, *SWEEP, *BASIC, TOY_SLEEP="0.5") as process:
        stored = wait_for_a_cell(results, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert err.splitlines()[-1].endswith(GO_ON)
    assert stored.items() <= segments(results).items()
    assert len(segments(results)) < TOY_CELLS
    assert harness(*SWEEP).code == 0
    assert table(results) == table(undisturbed)


# --- Cells in groups ------------------------------------------------------------------------


@launchers
@pytest.mark.parametrize("size", [2, 100])
def test_cells_grouped_in_jobs_give_the_same_table(private, undisturbed, tmp_path, launcher, size):
    done = private.run(tmp_path, *SWEEP, *launcher, f"cells_per_job={size}")
    assert done.code == 0, done.err
    assert table(tmp_path / "results") == table(undisturbed)
    provenance = json.loads((tmp_path / "results" / "toy" / "provenance.json").read_text())
    assert "cells_per_job" not in provenance


@launchers
def test_a_cell_that_raises_does_not_stop_the_others_of_its_group(
    private, undisturbed, tmp_path, harness, launcher
):
    done = private.run(tmp_path, *SWEEP, *launcher, "cells_per_job=4", TOY_BROKEN="1")
    assert done.code == 1
    assert f"\n1 of {TOY_CELLS} cells failed:\n  1 x ArithmeticError: broken on purpose" in done.err
    assert len(segments(tmp_path / "results")) == TOY_CELLS - 1
    assert harness(*SWEEP, "cells_per_job=3").code == 0
    assert table(tmp_path / "results") == table(undisturbed)


def test_a_killed_group_keeps_the_cells_it_has_finished(private, undisturbed, tmp_path, harness):
    killed = private.run(tmp_path, *SWEEP, *BASIC, "cells_per_job=4", TOY_KILLED="2")
    assert killed.code == -signal.SIGKILL
    assert len(segments(tmp_path / "results")) == 1
    assert harness(*SWEEP, "cells_per_job=2").code == 0
    assert table(tmp_path / "results") == table(undisturbed)


# --- Failures -------------------------------------------------------------------------------


def test_a_cell_that_raises_in_a_worker_does_not_stop_the_others(private, undisturbed, tmp_path):
    done = private.run(tmp_path, *SWEEP, *TWO, TOY_BROKEN="2")
    assert done.code == 1
    assert f"\n1 of {TOY_CELLS} cells failed:\n  1 x ArithmeticError: broken on purpose" in done.err
    assert "the same command runs only what is missing" in done.err.splitlines()[-1]
    assert len(segments(tmp_path / "results")) == TOY_CELLS - 1
    found, whole = (
        set(gzip.decompress(table(folder)).splitlines())
        for folder in (tmp_path / "results", undisturbed)
    )
    assert found < whole


def test_a_worker_that_is_killed_is_told_like_a_failed_cell(
    private, undisturbed, tmp_path, harness
):
    """Such as by the system when memory runs out."""
    done = private.run(tmp_path, *SWEEP, *TWO, TOY_KILLED="3", TOY_SLEEP="0.1")
    assert done.code == 1
    assert "the same command runs only what is missing" in done.err.splitlines()[-1]
    assert harness(*SWEEP).code == 0
    assert table(tmp_path / "results") == table(undisturbed)


# --- Company --------------------------------------------------------------------------------


def test_two_processes_may_run_the_same_sweep(private, undisturbed, tmp_path):
    with (
        running(private, tmp_path, *SWEEP, *BASIC, TOY_SLEEP="0.05") as one,
        running(private, tmp_path, *SWEEP, *BASIC, TOY_SLEEP="0.05") as other,
    ):
        ends = [process.communicate(timeout=TIMEOUT) for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], ends
    assert table(tmp_path / "results") == table(undisturbed)
    assert leftovers(tmp_path / "results") == []


@launchers
def test_nothing_of_the_current_folder_is_imported(private, tmp_path, launcher):
    """Python and its workers would look there first for a module of any name."""
    for name in (
        "joblib",
        "numpy",
        "pandas",
        "hydra",
        "matplotlib",
        "sitecustomize",
        "multiprocessing",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w')")
    done = private.run(tmp_path, *SWEEP, *launcher, PYTHONSAFEPATH="")
    assert done.code == 0, done.err
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_those_that_hydra_would_compose(harness, monkeypatch, name):
    """Plain axes are set without Hydra, unless the file's other values refer to them."""
    skip_without_extra(name)
    listed: list[list[str]] = []

    def listing(base, points, *_):
        listed.append([cell.key for _, cell in islice(points, 120)])
        return sweep.Conclusion("")

    monkeypatch.setattr(sweep, "run_sweep", listing)
    harness("-m", f"experiment={name}")
    monkeypatch.setattr(HarnessSweeper, "_must_compose", lambda self, axis, written: True)
    harness("-m", f"experiment={name}")
    assert listed[0] == listed[1] != []
