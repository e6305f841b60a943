"""hydra/launcher=slurm: the jobs of a sweep as one Slurm array, submitted by submitit.

Hydra's own submitit launcher waits for one job after another, stops at the first killed job, and
waits for ever without an accounting database.  This launcher polls the queue instead
(`harness.sweep.slurm`).  The jobs do not depend on the process that submitted them.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter

from harness import schema
from harness.schema import ConfigError
from harness.storage.files import remove_folder
from harness.sweep import interrupts, slurm
from harness.sweep.failures import Failure

log = logging.getLogger(__name__)


class SlurmLauncher(Launcher):
    """Submits all jobs as one array and waits until each has ended, whether it failed or not."""

    def __init__(self, **settings: Any) -> None:
        self.others: dict[str, Any] = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }
        self.settings = {f.name: self.others.pop(f.name, None) for f in fields(slurm.Limits)}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.limits = schema.validate(TypeAdapter(slurm.Limits), self.settings, "hydra.launcher")
        self.results = str(config.results)
        slurm.check_place(self.results, self.limits.submitit_folder)
        self.context = {
            "hydra_context": hydra_context,
            "task_function": task_function,
            "config": config,
        }

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Results of all jobs, in order; a Failure for a lost job."""
        folder = slurm.new_folder(self.results, self.limits.submitit_folder)
        jobs = self._submit(folder, job_overrides, initial_job_idx)
        array = slurm.array(jobs)
        log.warning(
            "submitted array %s (%d jobs): `squeue -j %s` shows it", array, len(jobs), array
        )
        try:
            states = slurm.ends(jobs, self.limits)
        except KeyboardInterrupt:
            log.warning("the jobs continue without this command; `scancel %s` stops them", array)
            raise
        results = [slurm.result(job, state) for job, state in zip(jobs, states, strict=True)]
        if not any(isinstance(result, Failure) for result in results):
            remove_folder(folder)
        return [_returned(result) for result in results]

    def _submit(
        self, folder: Path, job_overrides: Sequence[Sequence[str]], first: int
    ) -> list[Any]:
        """Submit the jobs; return submitit's handles.  ConfigError if Slurm refuses them."""
        try:
            import submitit
            from hydra.core.singleton import Singleton
            from hydra_plugins.hydra_submitit_launcher.submitit_launcher import (
                SlurmLauncher as Submitit,
            )
        except ImportError:
            raise ConfigError(
                "hydra/launcher=slurm: needs hydra-submitit-launcher: pip install -e '.[slurm]'"
            ) from None
        inner = Submitit()
        inner.setup(**self.context)
        state = Singleton.get_state()
        numbered = [
            (inner, list(overrides), "hydra.sweep.dir", number, str(number), state)
            for number, overrides in enumerate(job_overrides, first)
        ]
        try:
            executor = submitit.SlurmExecutor(folder, max_num_timeout=0)
            executor.update_parameters(**self._parameters())
            with redirect_stderr(StringIO()):  # submitit raises sbatch's message as well
                return executor.map_array(run_here, *zip(*numbered, strict=True))
        except (slurm.QueueError, RuntimeError, ValueError, TypeError, OSError) as error:
            remove_folder(folder)
            raise ConfigError(f"hydra/launcher=slurm: {slurm.reason(error)}") from None

    def _parameters(self) -> dict[str, Any]:
        """Parameters of submitit's executor, without those that are null."""
        limits = self.limits
        own = {
            "job_name": limits.name,
            "time": limits.timeout_min,
            "cpus_per_task": limits.cpus_per_task,
            "srun_args": [f"--cpus-per-task={limits.cpus_per_task}"],  # srun does not inherit it
            "array_parallelism": limits.array_parallelism,
            "mem": f"{1024 * limits.mem_gb:.0f}MB" if limits.mem_gb else None,
        }
        known = slurm.queue("--me", f"--name={limits.name}")
        if earlier := slurm.arrays(slurm.active(known)):
            log.warning(
                "jobs of an earlier run are in the queue; these begin when they have ended; "
                "`scancel %s` removes them",
                " ".join(earlier),
            )
            slurm.warn_of_stuck(known)
            own["dependency"] = ":".join(["afterany", *earlier])
        return {key: value for key, value in (self.others | own).items() if value is not None}


def run_here(launcher: Any, *arguments: Any) -> JobReturn:
    """Run one job, on its node; finished trials survive a SIGTERM (cancelled, out of time).

    SIGUSR2, with which submitit announces the time limit, is ignored: it would end the job early,
    and a sweep resumes by itself.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with interrupts.remembered():
        return launcher(*arguments)


def _returned(result: JobReturn | Failure) -> JobReturn:
    """A result as Hydra's JobReturn; its `return_value` holds the failures."""
    if isinstance(result, JobReturn):
        return result
    return JobReturn(status=JobStatus.COMPLETED, _return_value=result)
