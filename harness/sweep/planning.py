"""Dry run of a sweep: cells, missing trials, estimated time and disk space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness import registry
from harness.errors import shown
from harness.experiment import Experiment, columns
from harness.report.result import ORIGIN, typed
from harness.schema import Run
from harness.storage.cell import Cell, Differing
from harness.storage.files import StoreError
from harness.storage.store import ReadOnlyStore
from harness.sweep.jobs import batched

LISTED = 12
"""Number of cells that a plan lists one by one."""
JUDGED = 10_000
"""Number of cells up to which a plan says which claims it cannot decide."""
WORTH_TELLING = 10**8
"""Bytes of a trial from which a plan tells its memory."""
TIMES = {"days": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
SIZES = {"GB": 1e9, "MB": 1e6, "kB": 1e3}


class Measured(NamedTuple):
    """What the store holds of one cell.

    Attributes
    ----------
    missing : number of missing trials.
    trials, seconds, bytes : number, total time and size of the stored trials.
    """

    missing: int
    trials: int = 0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Workers:
    """The parallelism of a launcher.

    Attributes
    ----------
    jobs : number of jobs that run at the same time; None if the launcher is unknown.
    threads : number of trials that a job runs in parallel.
    timeout_min : time limit of a job in minutes; None if there is none.
    memory : bytes that a trial may need; None if that is not known.
    """

    jobs: int | None
    threads: int = 1
    timeout_min: int | None = None
    memory: float | None = None

    def in_parallel(self, jobs: int) -> int | None:
        """Number of trials that `jobs` jobs run in parallel; None if unknown."""
        return None if self.jobs is None else min(jobs, self.jobs) * self.threads


@dataclass(frozen=True)
class Costs:
    """Expected seconds and bytes of a trial, None if unknown, and where they come from."""

    seconds: float | None
    bytes: float | None
    source: str


def plan(run: Run, experiment: Experiment, cells: Iterable[Cell], workers: Workers) -> str:
    """What the command would do, in lines of text; measures and writes nothing.

    experiment : the one that will judge.

    Of each cell only some numbers are kept: there may be a million.
    """
    store = ReadOnlyStore(Path(run.results))
    looks: list[Measured] = []
    listed: list[tuple[Cell, int]] = []
    judged: list[Cell] = []
    needed, differing = 0, Differing()
    stored = store.keys(run.experiment)
    for cell in cells:
        found = look(store, cell, run.trials) if cell.key in stored else Measured(run.trials)
        looks.append(found)
        differing.see(cell)
        needed = max(needed, cell.bytes)
        if len(looks) <= JUDGED:
            judged.append(cell)
        if found.missing and len(listed) < LISTED:
            listed.append((cell, found.missing))
    todo = [found for found in looks if found.missing]
    trials = sum(found.missing for found in todo)
    jobs = batched(todo, run.cells_per_job)
    lines = [
        f"cells   {len(looks)} with {run.trials} trials each: {len(looks) - len(todo)} done, "
        f"{len(todo)} to do"
        + (f" in {len(jobs)} jobs of the launcher" if len(jobs) < len(todo) else ""),
        f"trials  {trials} to do",
    ]
    if todo:
        known = costs(run, looks)
        lines.append(_time(todo, known, workers.in_parallel(len(jobs))))
        if workers.timeout_min and known.seconds is not None:
            lines.append(_longest_job(jobs, known.seconds, workers.threads, workers.timeout_min))
        lines.append(_disk(todo, known))
        lines += _memory(needed, workers.in_parallel(len(jobs)), workers.memory)
        lines += [f"  {n} trials of {differing.label(cell)}" for cell, n in listed]
        if more := todo[LISTED:]:
            lines.append(f"  and {sum(f.missing for f in more)} trials of {len(more)} more cells")
    if len(looks) <= JUDGED:
        lines += [f"claims  {line}" for line in undecidable(run, experiment, judged)]
    return "\n".join(lines)


def undecidable(run: Run, experiment: Experiment, cells: Sequence[Cell]) -> list[str]:
    """A line for each claim that the trials of a run cannot decide."""
    from pandas import DataFrame

    table = DataFrame([columns(cell.experiment) for cell in cells])
    return [
        f"trials={run.trials}: too few to decide {claim}, which needs {count} in a cell"
        for claim, count in experiment.undecidable(table, run.trials).items()
    ]


def look(store: ReadOnlyStore, cell: Cell, trials: int) -> Measured:
    """What the store holds of a cell, and how many trials it lacks."""
    times = {int(row["trial"]): float(row["seconds"]) for row in store.rows(cell)}
    lacks = trials - sum(trial < trials for trial in times)
    return Measured(lacks, len(times), sum(times.values()), store.size(cell))


def costs(run: Run, looks: Sequence[Measured]) -> Costs:
    """Mean costs of this sweep's cells, else of an earlier sweep of the experiment, else None."""
    measured = [found for found in looks if found.trials]
    if trials := sum(found.trials for found in measured):
        return Costs(
            sum(found.seconds for found in measured) / trials,
            sum(found.bytes for found in measured) / trials,
            f"by {len(measured)} measured cells of this sweep",
        )
    folders = [Path(run.results)]
    if registry.CHECKOUT is not None:  # the committed results hold times of every experiment
        folders.append(registry.CHECKOUT / "results")
    for store in map(ReadOnlyStore, folders):
        for name in dict.fromkeys((run.name, run.experiment)):
            if found := _earlier(store, name, run):
                return found
    return Costs(None, None, "this experiment was never measured")


def _earlier(store: ReadOnlyStore, name: str, run: Run) -> Costs | None:
    """The mean time of a trial in a stored sweep; its table does not tell the size of its cells."""
    try:
        origin = typed(ORIGIN, store.read_provenance(name), name)
        path = store.sweep_folder(name) / "provenance.json"
    except StoreError:
        return None
    trials = origin.cells_complete * origin.trials
    if origin.experiment != run.experiment or not trials:
        return None
    source = f"rough: from {path}, cells of profile {shown(origin.profile)}"
    if origin.profile != run.profile:
        source += ", which may take more or less time"
    return Costs(origin.trial_seconds / trials, None, source)


def _time(todo: Sequence[Measured], known: Costs, workers: int | None) -> str:
    if known.seconds is None:
        return f"time    unknown: {known.source}"
    work = sum(f.missing * _seconds(f, known.seconds) for f in todo)
    beside = f", {in_unit(work / workers, TIMES)} with {workers} side by side" if workers else ""
    return f"time    {in_unit(work, TIMES)} of one core{beside} ({known.source})"


def _longest_job(
    jobs: Sequence[Sequence[Measured]], known: float, threads: int, timeout_min: int
) -> str:
    """The longest job; it runs its cells in turn and the trials of a cell in threads."""
    longest = max(
        sum(-(-f.missing // threads) * _seconds(f, known) for f in cells) for cells in jobs
    )
    told = f"job     the longest takes {in_unit(longest, TIMES)}"
    if longest <= 60 * timeout_min:
        return f"{told}, less than timeout_min={timeout_min}"
    return (
        f"{told}, MORE than timeout_min={timeout_min}: "
        "raise hydra.launcher.timeout_min or lower cells_per_job"
    )


def _seconds(found: Measured, otherwise: float) -> float:
    """Expected seconds of a trial: the mean of its cell's stored trials if there are any."""
    return found.seconds / found.trials if found.trials else otherwise


def _disk(todo: Sequence[Measured], known: Costs) -> str:
    if known.bytes is None:
        return "disk    unknown: no cell of this sweep is measured yet"
    size = sum(f.missing * (f.bytes / f.trials if f.trials else known.bytes) for f in todo)
    return f"disk    {in_unit(size, SIZES)} ({known.source})"


def _memory(needed: int, workers: int | None, limit: float | None) -> list[str]:
    """What the weights of the largest trials take, if that is known and worth a line."""
    if needed < WORTH_TELLING:
        return []
    beside = f", {in_unit(needed * workers, SIZES)} with {workers} side by side" if workers else ""
    have = f" (there are {in_unit(limit, SIZES)})" if limit else ""
    return [f"memory  at least {in_unit(needed, SIZES)} a trial{beside}{have}"]


def in_unit(value: float, units: Mapping[str, float]) -> str:
    """A value in the largest unit of which it has at least two."""
    name, unit = next(((n, u) for n, u in units.items() if value >= 2 * u), list(units.items())[-1])
    return f"{value / unit:.{0 if value >= 10 * unit else 1}f} {name}"
