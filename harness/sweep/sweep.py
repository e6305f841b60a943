"""A sweep: validate every cell, launch those with trials missing, collect, judge and draw."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import schema
from harness.errors import InputError
from harness.report import write as report
from harness.schema import RUN_KEYS, ConfigError, Run
from harness.storage.cell import Cell
from harness.storage.files import StoreError
from harness.sweep import failures, interrupts, planning
from harness.sweep.failures import Failure
from harness.sweep.jobs import grouped
from harness.sweep.planning import Workers
from harness.sweep.progress import progress

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[Cell]]], Mapping[str, Failure]]
"""Runs jobs of some cells each by Hydra's launcher; returns why cells failed, by their keys."""


@dataclass(frozen=True)
class Conclusion:
    """How a sweep ended: what to print, and the report of the cells that failed, if any did."""

    text: str
    failed: str | None = None


def read(values: Mapping[str, Any]) -> tuple[Run, Cell]:
    """A composed configuration, as plain values, typed; ConfigError in one line if it cannot be."""
    settings = {key: values.get(key) for key in RUN_KEYS}
    own = {key: value for key, value in values.items() if key not in RUN_KEYS}
    experiment = schema.prepare(schema.build(str(settings["experiment"]), own))
    run = schema.validate(schema.RUN, settings, "run")
    return run, Cell(run.experiment, experiment, run.seed)


def run_sweep(
    base: tuple[Run, Cell], points: Iterable[tuple[Run, Cell]], workers: Workers, launch: Launch
) -> Conclusion:
    """Validate all cells, launch those with trials missing, then collect, judge and draw.

    Parameters
    ----------
    base : the run and the cell without the swept values; its experiment judges and draws.
    points : run and cell of each point of the grids.
    workers : what the launcher measures with.
    """
    start = time.monotonic()
    run, template = base
    runs, every = zip(*points, strict=True)
    cells = distinct(run, runs, template, every)
    store = run.store
    store.check()
    if run.plan:
        return Conclusion(planning.plan(run, cells, workers))
    store.write_sweep(run.name, record(run, template, cells))
    todo = [cell for cell in cells if store.missing(cell, run.trials)]
    why: Mapping[str, Failure] = {}
    if todo:
        with progress(store, run.name, cells, run.trials):
            try:
                why = launch(grouped(todo, run.cells_per_job))
            except InputError:
                raise
            except Exception as error:  # of the launcher: a worker was killed, say
                if interrupts.seen():
                    raise
                why = dict.fromkeys((cell.key for cell in todo), failures.failure(error))
    return _conclude(run, cells, why, time.monotonic() - start)


def _conclude(
    run: Run, cells: Sequence[Cell], why: Mapping[str, Failure], wall_seconds: float
) -> Conclusion:
    """Collect, judge and draw, also when trials are missing after all."""
    failed = [cell for cell in cells if run.store.missing(cell, run.trials)]
    lines: list[str] = []
    try:
        if report.update(run.store, run.name, wall_seconds=wall_seconds):
            lines.append(report.verdict_lines(run.store, run.name))  # of no earlier sweep
        lines.append(f"report: {report.write(run.store)}")
    except StoreError as error:
        if not failed:
            raise
        log.error("%s cannot be judged or drawn: %s", run.name, error)
    except Exception:
        if not failed or interrupts.seen():
            raise
        log.exception("%s cannot be judged or drawn with cells missing", run.name)
    told = failures.report(failed, cells, why, _command()) if failed else None
    return Conclusion("\n".join(lines), told)


def distinct(run: Run, runs: Sequence[Run], template: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of a sweep, each once, since grids may overlap.

    Raises
    ------
    ConfigError
        For a sweep over what is no coordinate.
    """
    for key in RUN_KEYS:
        values = dict.fromkeys(getattr(other, key) for other in runs)
        if len(values) > 1:
            given = ",".join(str(value) for value in values)
            raise ConfigError(f"{key}={given}: must be the same in all cells of a sweep")
        if (value := next(iter(values))) != getattr(run, key):
            raise ConfigError(f"{key}={value}: is of the whole sweep, and no axis of it")
    if run.packed is not None:
        raise ConfigError(f"packed={run.packed[:20]}: is set by a sweep itself")
    thresholds = [getattr(cell.experiment, "thresholds", None) for cell in (template, *cells)]
    if any(other != thresholds[0] for other in thresholds):
        raise ConfigError("thresholds: must be the same in all cells of a sweep")
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.key, cell)
    return list(first.values())


def record(run: Run, template: Cell, cells: Sequence[Cell]) -> dict[str, Any]:
    """What `report.update` needs to collect the sweep again."""
    return {
        "experiment": run.experiment,
        "profile": run.profile,
        "seed": run.seed,
        "trials": run.trials,
        "config": schema.dump(run.experiment, template.experiment),
        "cells": [schema.dump(run.experiment, cell.experiment) for cell in cells],
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def threads(launcher: str) -> int:
    """Trials that a job of a launcher runs side by side: on all cores if cells run one at a time.

    A Slurm job has the cores that it asked for.
    """
    match launcher:
        case "basic":
            return cores()
        case "slurm":
            return int(os.environ.get("SLURM_CPUS_PER_TASK", 1))
        case _:
            return 1


def workers(launcher: str, settings: Mapping[str, Any], alone: bool) -> Workers:
    """What a launcher with these settings measures with.

    `alone`: the experiment runs a cell's trials one after the other.

    Raises
    ------
    ConfigError
        If the launcher has nothing to measure with.
    """
    match launcher:
        case "basic":
            return Workers(1, 1 if alone else cores())
        case "joblib":
            jobs = settings["n_jobs"]
            if jobs == 0:
                raise ConfigError(
                    "hydra.launcher.n_jobs=0: must be a number of workers, or -1 for all cores"
                )
            return Workers(jobs if jobs > 0 else max(1, cores() + 1 + jobs))
        case "slurm":
            side_by_side = 1 if alone else settings["cpus_per_task"]
            return Workers(settings["array_parallelism"], side_by_side, settings["timeout_min"])
        case _:
            return Workers(None)


def _command() -> str:
    """The command line as it was given, for a shell in this folder."""
    as_module = Path(sys.argv[0]).name == "__main__.py"
    start = [_program(sys.executable), "-m", "harness"] if as_module else [_program(sys.argv[0])]
    return shlex.join([*start, *sys.argv[1:]])


def _program(path: str) -> str:
    """A program by its name, if that is what a shell finds, else by its path."""
    given = Path(path).absolute()
    found = shutil.which(given.name)
    if os.sep not in path or (found and Path(found).absolute() == given):
        return given.name
    here = Path.cwd()
    return f"./{given.relative_to(here)}" if given.is_relative_to(here) else str(given)
