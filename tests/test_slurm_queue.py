"""What the queue says of jobs, without a queue."""

from __future__ import annotations

import subprocess

import pytest

from harness.sweep import slurm

RUNS = ("RUNNING", "None")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({"7_0": ("PENDING", "PartitionConfig")}, "PartitionConfig; `scancel 7`"),
        ({"7": ("PENDING", "JobHeldUser"), "8": ("PENDING", "Dependency")}, "User; `scancel 7`"),
        (
            {"7_0": ("PENDING", "QOSMaxJobsPerUserLimit"), "9_1": ("PENDING", "BadConstraints")},
            "BadConstraints, QOSMaxJobsPerUserLimit; `scancel 7 9`",
        ),
        ({"7_0": ("FAILED", "NonZeroExitCode"), "7_1": ("PENDING", "X")}, "X; `scancel 7`"),
        ({"7_0": ("PENDING", "PartitionConfig"), "7_1": RUNS}, ""),
        ({"7_0": ("PENDING", "PartitionConfig"), "7_1": ("PENDING", "Resources")}, ""),
        ({"7_0": ("PENDING", "Priority"), "7_1": ("PENDING", "JobArrayTaskLimit")}, ""),
        ({"7_0": ("PENDING", "Dependency")}, ""),
        ({"7_0": ("COMPLETED", "None")}, ""),
        ({}, ""),
    ],
)
def test_jobs_that_wait_for_more_than_their_turn_are_told(caplog, tasks, said):
    told = slurm.warn_of_stuck({job: slurm.Task(*task) for job, task in tasks.items()})
    assert told == bool(said)
    assert said in caplog.text
    assert bool(caplog.text) == told


def test_a_reason_of_several_words_is_read(monkeypatch):
    lines = "7_0 RUNNING None\n7_1 PENDING (Nodes required for job are DOWN)\n8 COMPLETED \n"
    done = subprocess.CompletedProcess([], 0, stdout=lines)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert slurm.queue() == {
        "7_0": RUNS,
        "7_1": ("PENDING", "(Nodes required for job are DOWN)"),
        "8": ("COMPLETED", ""),
    }
