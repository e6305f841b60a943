"""A sweep: validate every cell, launch those with trials missing, collect, judge and draw."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import schema
from harness.errors import InputError
from harness.report.collect import update, with_others
from harness.report.text import verdict_lines
from harness.report.write import check_free, write_report
from harness.schema import RUN_KEYS, ConfigError, Run
from harness.storage.cell import Cell
from harness.storage.files import StoreError
from harness.sweep import failures, interrupts, planning
from harness.sweep.failures import Failure
from harness.sweep.jobs import batched
from harness.sweep.memory_limit import available, check
from harness.sweep.planning import Workers
from harness.sweep.progress import progress

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[Cell]]], Mapping[str, Failure]]
"""Runs jobs, each of some cells, with Hydra's launcher; returns the failures by key of the cell."""


@dataclass(frozen=True)
class Conclusion:
    """How a sweep ended: the text to print, and a description of the failed cells, if any."""

    text: str
    failed: str | None = None


def read(values: Mapping[str, Any]) -> tuple[Run, Cell]:
    """The run and the cell of a composed configuration; ConfigError if a value cannot be used."""
    settings = {key: values.get(key) for key in RUN_KEYS}
    own = {key: value for key, value in values.items() if key not in RUN_KEYS}
    schema.build(str(settings["experiment"]), own)  # whose errors come first
    run = schema.validate(schema.RUN, settings, "run")
    return run, read_cell(run, own)


def read_cell(run: Run, values: Mapping[str, Any]) -> Cell:
    """The cell of a run with these settings of the experiment alone."""
    return Cell(run.experiment, schema.prepare(schema.build(run.experiment, values)), run.seed)


def run_sweep(
    base: tuple[Run, Cell], points: Iterable[tuple[Run, Cell]], workers: Workers, launch: Launch
) -> Conclusion:
    """Validate all cells, launch those with trials missing, then collect, judge and draw.

    Parameters
    ----------
    base : the run and the cell without swept values; the experiment of this cell judges and draws.
    points : run and cell of each point of the grids.
    workers : the parallelism of the launcher.
    launch : runs the jobs.
    """
    start = time.monotonic()
    run, template = base
    found = distinct(base, points, workers.memory)
    if run.plan:
        plan = planning.plan(run, template.experiment, found, workers)
        run.check_results()
        check_free(run.store, [run.name])
        return Conclusion(plan)
    cells = list(found)
    _check_power(run, template, cells)
    run.check_results()
    check_free(run.store, [run.name])
    store = run.store
    store.write_sweep(run.name, record(run, template, cells))
    todo = [cell for cell in cells if store.missing(cell, run.trials)]
    why: Mapping[str, Failure] = {}
    if todo:
        with progress(store, run.name, todo, len(cells), run.trials):
            try:
                why = launch(batched(todo, run.cells_per_job))
            except InputError:
                raise
            except Exception as error:  # the launcher failed: a worker was killed, say
                if interrupts.seen():
                    raise
                why = dict.fromkeys((cell.key for cell in todo), failures.failure(error))
    failed = [cell for cell in todo if store.missing(cell, run.trials)]
    told = failures.describe(failed, cells, why, _command()) if failed else None
    return Conclusion(_conclude(run, time.monotonic() - start, bool(failed)), told)


def _check_power(run: Run, template: Cell, cells: Sequence[Cell]) -> None:
    """Name the claims that the trials cannot decide; of a confirmation that is an error."""
    for line in planning.undecidable(run, template.experiment, cells):
        if run.confirms:
            raise ConfigError(line)
        log.warning("%s", line)


def _conclude(run: Run, wall_seconds: float, failed: bool) -> str:
    """Collect, judge and draw, even if cells failed; return the verdicts as text."""
    lines: list[str] = []
    try:
        result = update(run.store, run.name, wall_seconds)
        if result.own:
            lines.append(verdict_lines(result))
        lines.append(f"report: {write_report(run.store, with_others(run.store, result))}")
    except StoreError as error:
        if not failed:
            raise
        log.error("%s cannot be judged or drawn: %s", run.name, error)
    except Exception:
        if not failed or interrupts.seen():
            raise
        log.exception("%s cannot be judged or drawn with cells missing", run.name)
    return "\n".join(lines)


def distinct(
    base: tuple[Run, Cell], points: Iterable[tuple[Run, Cell]], memory: float | None
) -> Iterator[Cell]:
    """The cells of a sweep without repetitions, one by one; its grids may overlap.

    Raises
    ------
    ConfigError
        If a swept key is not a coordinate, or a cell needs more bytes than `memory`.
    """
    run, template = base
    if run.packed is not None:
        raise ConfigError(f"packed={run.packed[:20]}: is set by a sweep itself")
    thresholds = getattr(template.experiment, "thresholds", None)
    seen: set[str] = set()
    for other, cell in points:
        if other is not run and other != run:
            key = next(key for key in RUN_KEYS if getattr(other, key) != getattr(run, key))
            value = getattr(other, key)
            raise ConfigError(f"{key}={value}: is of the whole sweep and cannot be an axis")
        if getattr(cell.experiment, "thresholds", None) != thresholds:
            raise ConfigError("thresholds: must be the same in all cells of a sweep")
        if cell.key not in seen:
            seen.add(cell.key)
            check(cell, memory)
            yield cell


def record(run: Run, template: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    """The record from which `update` collects the sweep again."""
    return {
        "experiment": run.experiment,
        "profile": run.profile,
        "seed": run.seed,
        "trials": run.trials,
        "design": asdict(run.design),
        "config": schema.dump(run.experiment, template.experiment),
        "cells": [schema.dump(run.experiment, cell.experiment) for cell in cells],
    }


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def threads(launcher: str) -> int:
    """Trials per job to run in parallel: on all cores if the launcher runs one job at a time.

    A Slurm job has the cores that it asked for.
    """
    match launcher:
        case "basic":
            return cores()
        case "slurm":
            return int(os.environ.get("SLURM_CPUS_PER_TASK", 1))
        case _:
            return 1


def workers(
    launcher: str, settings: Mapping[str, Any], alone: bool, memory_gb: float | None = None
) -> Workers:
    """The parallelism of a launcher with these settings.

    alone : whether the experiment runs the trials of a cell one after the other.
    memory_gb : what a trial may need, if it is not what this machine or the job has.

    Raises
    ------
    ConfigError
        If the launcher has no worker.
    """
    here = 1e9 * memory_gb if memory_gb else available()
    match launcher:
        case "basic":
            return Workers(1, 1 if alone else cores(), memory=here)
        case "joblib":
            jobs = settings["n_jobs"]
            if jobs == 0:
                raise ConfigError(
                    "hydra.launcher.n_jobs=0: must be a number of workers, or -1 for all cores"
                )
            return Workers(jobs if jobs > 0 else max(1, cores() + 1 + jobs), memory=here)
        case "slurm":
            threads = 1 if alone else settings["cpus_per_task"]
            gigabytes = memory_gb or settings["mem_gb"]
            memory = 1e9 * gigabytes if gigabytes else None
            return Workers(settings["array_parallelism"], threads, settings["timeout_min"], memory)
        case _:
            return Workers(None)


def _command() -> str:
    """The command line as it was given, for a shell in the current folder."""
    as_module = Path(sys.argv[0]).name == "__main__.py"
    start = [_program(sys.executable), "-m", "harness"] if as_module else [_program(sys.argv[0])]
    return shlex.join([*start, *sys.argv[1:]])


def _program(path: str) -> str:
    """The name of a program if a shell finds it by name, else its path."""
    given = Path(path).absolute()
    found = shutil.which(given.name)
    if os.sep not in path or (found and Path(found).absolute() == given):
        return given.name
    here = Path.cwd()
    return f"./{given.relative_to(here)}" if given.is_relative_to(here) else str(given)
