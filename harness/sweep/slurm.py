"""Slurm arrays of submitit's jobs: their folder, the queue, waiting for the end, results.

It asks the queue (`squeue`, which every cluster has), not the accounting database, and every wait
has a time limit.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Gt
from pydantic import StringConstraints

from harness.experiment import Settings
from harness.schema import ConfigError, shown
from harness.storage.files import make_private_folder
from harness.storage.folder import Folder
from harness.sweep.failures import Failure

log = logging.getLogger(__name__)

ACTIVE = {
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "STAGE_OUT",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "RESIZING",
    "SPECIAL_EXIT",
}
"""States of a job that may still start or continue; a requeued job is PENDING, not PREEMPTED."""
TURNS = {"None", "Resources", "Priority", "BeginTime", "Cleaning", "JobArrayTaskLimit"}
"""Reasons of a pending job that will start without further action."""
ASK_SECONDS = 60
"""Seconds after which a command of Slurm is assumed to hang."""


@dataclass(frozen=True)
class Limits(Settings):
    """The launcher's settings that are checked here; submitit and Slurm check the others."""

    name: Annotated[str, StringConstraints(min_length=1)]
    submitit_folder: Annotated[str, StringConstraints(min_length=1)]
    timeout_min: Annotated[int, Ge(1)]
    cpus_per_task: Annotated[int, Ge(1)]
    array_parallelism: Annotated[int, Ge(1)]
    mem_gb: Annotated[float, Gt(0)] | None
    poll_s: Annotated[float, Gt(0)]
    grace_s: Annotated[float, Ge(0)]
    silence_min: Annotated[float, Gt(0)]
    wait_min: Annotated[float, Gt(0)]


def check_place(results: str, folder: str) -> None:
    """Refuse a folder for arrays that is outside the results or whose name Slurm would misread."""
    root, inner = Path(results).absolute(), Path(folder).absolute()
    for key, path in (("results", root), ("hydra.launcher.submitit_folder", inner)):
        if "%" in str(path) or not str(path).isprintable():
            raise ConfigError(
                f"{key}={shown(path)}: must have neither % nor line breaks in its path, "
                "which Slurm reads as something else"
            )
    if not inner.is_relative_to(root):
        raise ConfigError(f"hydra.launcher.submitit_folder={folder}: must be in results={results}")


def new_folder(results: str, folder: str) -> Path:
    """A new folder in `folder` for the files of one array, private to this user.

    Jobs and their results are pickles in it, so nobody else may be able to write there.

    Raises
    ------
    StoreError
        If `folder` leads out of the results, belongs to another user or cannot be made.
    """
    inner = Folder(Path(results).absolute()).inside(Path(folder).absolute())
    return make_private_folder(inner / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")


class QueueError(Exception):
    """Slurm did not answer."""


class Task(NamedTuple):
    """State of a job in the queue, and the reason why it is pending."""

    state: str
    reason: str


def ends(jobs: Sequence[Any], limits: Limits) -> list[str]:
    """Wait for all jobs; return how each ended, as far as the queue knows."""
    begun = heard = now = time.monotonic()
    tasks: dict[str, Task] = {}
    warned = False
    while waiting := [job for job in jobs if not job.paths.result_pickle.exists()]:
        try:
            asked = queue(f"--jobs={array(jobs)}")
        except QueueError as error:
            if heard == now:  # warn once per silence
                log.warning("%s; asking again for %g minutes", error, limits.silence_min)
            now = time.monotonic()
        else:
            heard = now = time.monotonic()
            tasks |= asked
            warned = warned or warn_of_stuck(asked)
            if not any(job.job_id in active(asked) for job in waiting):
                _wait_for_files(waiting, limits.grace_s)
                break
        for since, name in ((begun, "wait_min"), (heard, "silence_min")):
            if now - since > 60 * getattr(limits, name):
                return [f"not waited for after {name}={getattr(limits, name):g}"] * len(jobs)
        time.sleep(limits.poll_s)
    ended = [tasks[job.job_id].state if job.job_id in tasks else "" for job in jobs]
    return ["gone from the queue" if end in ACTIVE | {""} else end for end in ended]


def queue(*options: str) -> dict[str, Task]:
    """Jobs in the queue, including recently ended ones, by id <array>_<task>."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T %r", *options]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=ASK_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        if "Invalid job id" in reason(error):  # the queue has forgotten the ended jobs
            return {}
        raise QueueError(f"the queue does not answer: {reason(error)}") from None
    lines = [(*line.split(maxsplit=2), "")[:3] for line in done.stdout.splitlines()]
    return {job: Task(state, why) for job, state, why in lines}


def active(tasks: Mapping[str, Task]) -> set[str]:
    """The jobs that may still start or continue."""
    return {job for job, task in tasks.items() if task.state in ACTIVE}


def arrays(ids: Iterable[str]) -> list[str]:
    """The numbers of the arrays to which jobs belong."""
    return sorted({job.partition("_")[0] for job in ids})


def array(jobs: Sequence[Any]) -> str:
    """The number of the array to which all the jobs belong."""
    return arrays([jobs[0].job_id])[0]


def warn_of_stuck(tasks: Mapping[str, Task]) -> bool:
    """Warn if no job runs and all wait for something other than their turn; return whether it did.

    Jobs that wait for other jobs to end are not considered.
    """
    left = {job: tasks[job] for job in active(tasks) if tasks[job].reason != "Dependency"}
    if not left or any(task.state != "PENDING" or task.reason in TURNS for task in left.values()):
        return False
    log.warning(
        "no job runs, and perhaps none ever will: %s; `scancel %s` removes the jobs",
        ", ".join(sorted({task.reason for task in left.values()})),
        " ".join(arrays(left)),
    )
    return True


def _wait_for_files(jobs: Sequence[Any], seconds: float) -> None:
    """Wait until the results of ended jobs appear on a shared file system."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(j.paths.result_pickle.exists() for j in jobs):
        time.sleep(0.5)


def result(job: Any, state: str) -> Any:
    """What a job returned, or a Failure if it returned nothing."""
    where = f"job {job.job_id}, log: {job.paths.stderr}"
    try:
        outcome, value = pickle.loads(job.paths.result_pickle.read_bytes())
    except FileNotFoundError:
        return Failure(f"Slurm job: {state}", where)
    except Exception as error:
        return Failure(f"Slurm job: its result cannot be read: {error}", where)
    if outcome == "success":
        return value
    last = str(value).strip().splitlines()[-1]
    return Failure(f"Slurm job: {last}", f"{value}{where}")


def reason(error: Exception) -> str:
    """The message of Slurm, in one line, without the lines that submitit adds."""
    text = getattr(error, "stderr", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("sbatch: error: ") for line in lines if line.startswith("sbatch:")]
    return "; ".join(said or lines[:1]) or type(error).__name__
