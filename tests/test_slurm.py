"""hydra/launcher=slurm on a real Slurm of one node: what it gives, and how it ends.

The cluster is that of the scripts slurm_up.sh and slurm_down.sh; HARNESS_SLURM names their folder.
Every wait has an end, and every table is compared with that of the basic launcher, byte by byte.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, TIMEOUT, Outcome, Private, tree
from tests.test_sweeps import running, segments, table

SCRIPTS = Path(os.environ.get("HARNESS_SLURM", ROOT.parent / "shared" / "slurm"))
UP_TIMEOUT = 240
"""Seconds for packages to be installed and daemons to start."""
PORTS = {"SLURM_CTLD_PORT": "26817", "SLURM_D_PORT": "26818"}
"""Apart from those of a cluster that may be up."""

GRID = ("-m", "experiment=toy", "inner.size=range(1,11)")
CELLS = 20
SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.poll_s=0.5",
    "hydra.launcher.grace_s=1",
    "cells_per_job=5",
)
JOBS = 4
GO_ON = "the same command runs only what is missing: "

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPTS.is_dir(), reason=f"no Slurm: there is no {SCRIPTS}"),
    pytest.mark.skipif(
        not (shutil.which("slurmctld") or shutil.which("apt-get")),
        reason="no Slurm: it is not installed, and no apt-get to install it",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="no Slurm: its daemons need root"),
]


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """A cluster of this module's own; its commands find it by the environment."""
    folder = Path(tempfile.mkdtemp(prefix="harness-slurm-"))
    folder.chmod(0o755)  # as its authentication asks, all the way up: no folder of pytest's
    before = dict(os.environ)
    os.environ |= PORTS | {"SLURM_DIR": str(folder)}
    try:
        text = called(["bash", str(SCRIPTS / "slurm_up.sh")], UP_TIMEOUT)
        for word in shlex.split(text.replace("$PATH", os.environ["PATH"]))[1:]:
            key, _, value = word.partition("=")
            os.environ[key] = value
        yield
    finally:
        subprocess.run(["bash", str(SCRIPTS / "slurm_down.sh")], timeout=TIMEOUT, check=False)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _no_job_outlives_its_test(_cluster: None) -> Iterator[None]:
    yield
    subprocess.run(["scancel", "--me"], timeout=TIMEOUT, check=False)
    wait_until(lambda: not called(["squeue", "--noheader"]), "the queue is empty")


@pytest.fixture(scope="module")
def basic(private: Private, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of the grid by the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    done = private.run(folder, *GRID, "hydra/launcher=basic", "cells_per_job=20")
    assert done.code == 0, done.err
    return table(folder / "results")


def called(command: list[str], timeout: float = TIMEOUT) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(
    holds: Callable[[], object], what: str, process: subprocess.Popen[str] | None = None
) -> None:
    """Wait for something to hold, and for the process not to end before."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert process is None or process.poll() is None, ended(process)
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.2)


def array() -> str:
    """The number of the one array in the queue."""
    [number] = set(called(["squeue", "--noheader", "--format=%F"]).split())
    return number


def running_tasks() -> list[str]:
    return called(["squeue", "--noheader", "--states=R", "--array", "--format=%i"]).split()


def ended(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=TIMEOUT)
    return Outcome(process.returncode, out, err)


def measured_once(results: Path, before: dict[str, bytes], trials: int) -> None:
    """What was stored before is kept as it was, and no trial was measured twice."""
    now = segments(results)
    assert before.items() <= now.items()
    names = [Path(path).name for path in now]
    assert sum(int(name[7:13]) - int(name[:6]) + 1 for name in names) == trials
    assert not [name for name in tree(results) if name.endswith((".tmp", ".damaged"))]


Resume = Callable[..., None]


@pytest.fixture
def resume(harness: Callable[..., Outcome], tmp_path: Path, basic: bytes) -> Resume:
    """Go on by the basic launcher, which is quick; the table is that of a sweep left in peace."""

    def run() -> None:
        results = tmp_path / "results"
        stored = segments(results)
        assert harness(*GRID, "cells_per_job=20").code == 0
        assert table(results) == basic
        measured_once(results, stored, 3 * CELLS)

    return run


# --- Undisturbed ----------------------------------------------------------------------------


def test_slurm_gives_the_table_of_the_basic_launcher(private, basic, tmp_path):
    done = private.run(tmp_path, *GRID, *SLURM, "hydra.launcher.cpus_per_task=2")
    assert done.code == 0, done.err
    assert f"({JOBS} jobs)" in done.err
    assert table(tmp_path / "results") == basic
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert list((tmp_path / "results" / "cells" / ".submitit").iterdir()) == []


def test_a_job_has_the_threads_it_asked_for_and_an_array_its_share(private, tmp_path):
    settings = ("hydra.launcher.cpus_per_task=2", "hydra.launcher.array_parallelism=1")
    with running(private, tmp_path, *GRID, *SLURM, *settings, TOY_SLEEP="1") as process:
        wait_until(running_tasks, "a job runs", process)
        job = called(["scontrol", "show", "job", array()])
        assert "ArrayTaskThrottle=1" in job
        assert "NumCPUs=2" in job
        wait_until(lambda: segments(tmp_path / "results"), "a cell is stored", process)
        os.killpg(process.pid, signal.SIGKILL)
    cells = segments(tmp_path / "results").values()
    order = [re.findall(r'"trial":(\d)', cell.decode())[::2] for cell in cells]
    assert ["0", "1", "2"] in [sorted(trials) for trials in order]


# --- Disturbed ------------------------------------------------------------------------------


def test_jobs_that_are_cancelled_keep_what_is_finished(private, resume, tmp_path):
    """One while it runs, the rest while they wait."""
    with running(private, tmp_path, *GRID, *SLURM, TOY_SLEEP="0.4") as process:
        wait_until(lambda: segments(tmp_path / "results"), "a cell is stored", process)
        time.sleep(1)  # so that a trial of the next cell is finished
        called(["scancel", running_tasks()[0], f"{array()}_3"])
        done = ended(process)
    assert done.code == 1
    assert "x Slurm job: CANCELLED" in done.err
    assert "cells failed:" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    resume()


def test_a_job_that_runs_out_of_time_keeps_what_is_finished(private, harness, tmp_path):
    """One job, which is no array: two cells of 1000 trials of 0.1 s; Slurm looks every 30 s."""
    grid = ("-m", "experiment=toy", "inner.size=1", "trials=1000")
    results = tmp_path / "results"
    with running(private, tmp_path, *grid, *SLURM, TOY_SLEEP="0.1") as process:
        wait_until(lambda: segments(results), "a cell is stored in part", process)
        job = array()
        called(["scontrol", "update", f"JobId={job}", "EndTime=now+1"])  # sooner than a minute
        done = ended(process)
    assert done.code == 1
    assert "2 of 2 cells failed:\n  2 x Slurm job: TIMEOUT" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    stored = segments(results)
    assert len(stored) >= 2, "a checkpoint, and what was finished after it"
    assert harness(*grid).code == 0
    measured_once(results, stored, 2000)
    assert harness(*grid, "results=whole").code == 0
    assert table(results) == table(tmp_path / "whole")


def test_a_job_that_is_killed_loses_its_running_cell_alone(private, resume, tmp_path):
    """By kill -9 on its node, as when memory runs out."""
    done = private.run(tmp_path, *GRID, *SLURM, TOY_KILLED="2")
    assert done.code == 1
    assert "x Slurm job: FAILED" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    [log] = set(re.findall(r"log: (\S+\.err)", done.err))
    assert Path(log).is_file()
    assert len(segments(tmp_path / "results")) >= CELLS - 2 * 5 + 1
    resume()


def test_jobs_outlive_the_command_and_the_same_command_collects(private, basic, tmp_path):
    """After Ctrl-C, which says so, as after kill -9; its jobs wait for those there are."""
    results = tmp_path / "results"
    with running(private, tmp_path, *GRID, *SLURM, TOY_SLEEP="0.05") as process:
        wait_until(running_tasks, "a job runs", process)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code == 130
    assert f"`scancel {array()}` stops them" in done.err
    assert "Traceback" not in done.err
    stored = segments(results)
    again = private.run(tmp_path, *GRID, *SLURM, TOY_SLEEP="0.05")
    assert again.code == 0, again.err
    assert "these begin when they have ended" in again.err
    assert table(results) == basic
    measured_once(results, stored, 3 * CELLS)


def test_jobs_that_can_never_begin_are_told_and_how_to_remove_them(private, basic, tmp_path):
    """They ask for more cores than there are; the corrected command waits behind them."""
    with running(private, tmp_path, *GRID, *SLURM, "hydra.launcher.cpus_per_task=999") as process:
        pending = ["squeue", "--noheader", "--format=%r"]
        wait_until(lambda: called(pending).strip() == "PartitionConfig", "the reason", process)
        stuck = array()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    told = f"none ever will: PartitionConfig; `scancel {stuck}` removes the jobs"
    assert done.err.count(told) == 1, done.err
    with running(private, tmp_path, *GRID, *SLURM) as process:
        wait_until(lambda: "Dependency" in called(pending), "the next array waits", process)
        called(["scancel", stuck])
        done = ended(process)
    assert done.code == 0, done.err
    assert f"these begin when they have ended; `scancel {stuck}` removes them" in done.err
    assert done.err.count(told) == 1, done.err
    assert table(tmp_path / "results") == basic


def test_cells_that_raise_are_told_by_kind(private, tmp_path):
    done = private.run(tmp_path, *GRID, *SLURM, "cells_per_job=10", TOY_BROKEN="3")
    assert done.code == 1
    assert f"2 of {CELLS} cells failed:\n  2 x ArithmeticError: broken on purpose" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    assert len(segments(tmp_path / "results")) == CELLS - 2


# --- Refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "pattern"),
    [
        ("hydra.launcher.partition=nope", "hydra/launcher=slurm: invalid partition"),
        ("+hydra.launcher.bogus=1", "hydra/launcher=slurm: .*bogus"),
        ("+hydra.launcher.additional_parameters.bogus=1", "hydra/launcher=slurm: .*--bogus"),
    ],
)
def test_what_slurm_refuses_is_told_in_one_line(harness, tmp_path, setting, pattern):
    done = harness(*GRID, *SLURM, setting)
    assert done.code == 2
    assert re.search(f"^error: {pattern}", done.err, re.MULTILINE), done.err
    assert segments(tmp_path / "results") == {}
    assert list((tmp_path / "results" / "cells" / ".submitit").glob("*")) == []


def test_a_link_in_place_of_the_jobs_files_is_refused(harness, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "cells").mkdir(parents=True)
    (tmp_path / "results" / "cells" / ".submitit").symlink_to(tmp_path / "elsewhere")
    done = harness(*GRID, *SLURM)
    assert done.code == 2
    assert done.err.endswith("cells/.submitit is a link that leads out of the folder\n")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_queue_that_is_silent_is_waited_for_so_long_and_no_longer(private, tmp_path):
    """The controller is unreachable once the jobs are submitted."""
    fake = tmp_path / "squeue"
    fake.write_text('#!/bin/sh\ncase "$*" in *--me*) exit 0;; esac\necho down >&2; exit 1\n')
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    soon = "hydra.launcher.silence_min=0.02"
    done = private.run(tmp_path, *GRID, *SLURM, soon, PATH=path, TOY_SLEEP="3")
    assert done.code == 1
    assert f"{CELLS} x Slurm job: not waited for after silence_min=0.02" in done.err
    assert "the queue does not answer: down" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
