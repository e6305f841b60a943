"""The command line: Hydra in, typed values out.  The only module of the library that knows Hydra.

``harness experiment=X``     one cell: measures it, stores it, prints its rows
``harness -m experiment=X``  the experiment's sweep: cells, table, verdicts, figure, report
``harness report``           collects, judges and draws again what is stored, measures nothing
``harness compare``          whether two results folders say the same, to a tolerance
``harness train``            trains the generators of the MNIST part
``harness pictures name=X``  writes the images of a sweep of the MNIST part as PNG files
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter

from harness import compare, failures, interrupts, planning, report, schema, targets, training
from harness.failures import CellsFailedError, Failure
from harness.files import StoreError
from harness.jobs import grouped, run_job, unpack
from harness.mnist import pictures
from harness.mnist.images import ImageError
from harness.mnist.weights import WeightsError
from harness.planning import Run
from harness.progress import progress
from harness.result import in_one_line
from harness.runner import run_cell
from harness.store import Cell, Store

CONF = Path(__file__).resolve().parent.parent / "conf"
log = logging.getLogger(__name__)

BAD_INPUT = (
    schema.ConfigError,
    StoreError,
    ImageError,
    WeightsError,
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
)
BAD_INPUT_CODE = 2
HELP = {"--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i"}
RUN = TypeAdapter(Run)
PROFILES = "profiles"
"""Node of an experiment's YAML with the values that depend on the profile."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 cells failed, 2 bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and we say it in one line
    try:
        with interrupts.remembered():
            return _run(arguments)
    except BaseException as error:
        if not (interrupts.seen() or isinstance(error, KeyboardInterrupt)):
            raise
        print(
            "interrupted: what is stored is kept; the same command goes on from there",
            file=sys.stderr,
        )
        return interrupts.exit_code()


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments[:1] == ["report"]:
            return _report(arguments[1:])
        if arguments[:1] == ["compare"]:
            return _compare(arguments[1:])
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        if arguments[:1] == ["pictures"]:
            return _pictures(arguments[1:])
        if not HELP.intersection(arguments):
            _check_choice(arguments)
        sys.argv = [sys.argv[0], *arguments]
        _hydra_main()
    except CellsFailedError as failed:
        print(failed, file=sys.stderr)
        return 1
    except BAD_INPUT as error:
        if interrupts.seen():
            raise
        return _refuse(error)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _checked(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Hydra's loader of configurations, which refuses what must not be called."""

    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> DictConfig:
        config = load(*args, **kwargs)
        known = [*Plugins.instance().discover(Launcher), *Plugins.instance().discover(Sweeper)]
        targets.check(config.hydra, [f"{kind.__module__}.{kind.__name__}" for kind in known])
        return config

    return checked


# Hydra has no hook between loading a configuration and calling what it names.  Done on import, so
# that a launcher's worker processes, which import this module for the job, are covered as well.
ConfigLoaderImpl.load_configuration = _checked(  # type: ignore[method-assign]
    ConfigLoaderImpl.load_configuration
)


def _check_choice(arguments: Sequence[str]) -> None:
    """Refuse anything but one experiment, before Hydra composes what depends on it."""
    chosen = [a.partition("=")[2] for a in arguments if a.startswith("experiment=")]
    if any(re.search(r"[,(]", choice) for choice in chosen):
        raise schema.ConfigError(f"experiment={chosen[-1]}: one experiment at a time")
    pairs = zip(["", *arguments], arguments, strict=False)
    words = [a for before, a in pairs if not before.startswith("--config") and a[:1] != "-"]
    if not chosen and all("=" in word for word in words) and "--config-name" not in arguments:
        names = ", ".join(schema.experiment_names())
        raise schema.ConfigError(f"experiment: missing; must be one of {names}")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(cfg: DictConfig) -> list[tuple[str, Failure]]:
    """One Hydra job: one cell, or in a sweep those it is sent.  What fails there is returned."""
    try:
        run, cell = read(cfg)
        cells = [cell] if run.packed is None else unpack(run.packed, run.experiment, run.seed)
        run.store.check()
    except BAD_INPUT as error:  # Hydra prints lines of its own for anything but SystemExit
        if interrupts.seen():
            raise
        raise SystemExit(_refuse(error)) from None
    threads = _threads()
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(run.store, cells, run.trials, threads)
    if run.plan:
        print(planning.plan(run, [cell], lambda _: 1 if cell.experiment.alone else threads))
        return []
    measured = run_cell(run.store, cell, run.trials, threads)
    table, _ = run.store.collect([cell], run.trials)
    print(table.to_string(index=False, max_colwidth=40))
    print(
        f"{run.trials} trials ({measured} measured now) of one cell; "
        f"`harness -m experiment={run.experiment}` runs the sweep and judges it"
    )
    return []


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _threads() -> int:
    """Trials that this process runs side by side: on all cores, unless other cells run beside it.

    A Slurm job has the cores that it asked for.
    """
    hydra = HydraConfig.get()
    match hydra.runtime.choices["hydra/launcher"] if hydra.mode == RunMode.MULTIRUN else "basic":
        case "basic":
            return _cores()
        case "slurm":
            return int(os.environ.get("SLURM_CPUS_PER_TASK", 1))
        case _:
            return 1


def _workers(hydra: DictConfig, jobs: int, alone: bool) -> int | None:
    """Trials that a sweep runs side by side; None for a launcher that is not known.

    `alone` is of an experiment that runs a cell's trials one after the other.
    """
    launcher = hydra.launcher
    match hydra.runtime.choices["hydra/launcher"]:
        case "basic":
            return 1 if alone else _cores()
        case "joblib":
            workers = launcher.n_jobs
            return min(jobs, workers if workers > 0 else max(1, _cores() + 1 + workers))
        case "slurm":
            return min(jobs, launcher.array_parallelism) * (1 if alone else launcher.cpus_per_task)
        case _:
            return None


def read(cfg: DictConfig) -> tuple[Run, Cell]:
    """A composed configuration as typed values; ConfigError in one line if it cannot be."""
    values = {  # key by key: the profiles hold all grids, and would be copied for every cell
        str(key): OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in cfg.items()
        if key not in ("hydra", PROFILES)
    }
    settings = {key: values.get(key) for key in schema.RUN_KEYS}
    own = {key: value for key, value in values.items() if key not in schema.RUN_KEYS}
    experiment = schema.prepare(schema.build(str(settings["experiment"]), own))
    run = schema.validate(RUN, settings, "run")
    return run, Cell(run.experiment, experiment, run.seed)


def run_sweep(
    base: DictConfig,
    configs: Iterable[DictConfig],
    launch: Callable[[Sequence[Sequence[Cell]]], Mapping[str, Failure]],
) -> None:
    """Validate all cells, launch those with trials missing, then collect, judge and draw.

    Parameters
    ----------
    base : the configuration without the swept values; its experiment judges and draws.
    configs : one configuration a cell.
    launch : runs jobs of some cells each by Hydra's launcher; returns why cells failed, by key.

    Raises
    ------
    CellsFailedError
        At the end, if cells are not finished.
    """
    start = time.monotonic()
    run, template = read(base)
    runs, all_cells = zip(*(read(config) for config in configs), strict=True)
    cells = planning.distinct(run, runs, template, all_cells)
    store = run.store
    store.check()
    if run.plan:
        alone = template.experiment.alone
        print(planning.plan(run, cells, lambda jobs: _workers(base.hydra, jobs, alone)))
        return
    store.write_sweep(run.name, planning.record(run, template, cells))
    todo = [cell for cell in cells if store.missing(cell, run.trials)]
    why: Mapping[str, Failure] = {}
    if todo:
        with progress(store, run.name, cells, run.trials):
            try:
                why = launch(grouped(todo, run.cells_per_job))
            except BAD_INPUT:
                raise
            except Exception as error:  # of the launcher: a worker was killed, say
                if interrupts.seen():
                    raise
                why = dict.fromkeys((cell.key for cell in todo), failures.failure(error))
    _conclude(run, cells, why, time.monotonic() - start)


def _conclude(
    run: Run, cells: Sequence[Cell], why: Mapping[str, Failure], wall_seconds: float
) -> None:
    """Collect, judge, draw; raise CellsFailedError if trials are missing all the same."""
    failed = [cell for cell in cells if run.store.missing(cell, run.trials)]
    try:
        report.update(run.store, run.name, wall_seconds=wall_seconds)
        print(report.verdict_lines(run.store, run.name))
        print(f"report: {report.write(run.store)}")
    except StoreError as error:
        if not failed:
            raise
        log.error("%s cannot be judged or drawn: %s", run.name, error)
    except Exception:
        if not failed or interrupts.seen():
            raise
        log.exception("%s cannot be judged or drawn with cells missing", run.name)
    if failed:
        raise CellsFailedError(failures.report(failed, cells, why, _command()))


def _command() -> str:
    """The command line as it was given, for a shell."""
    program = Path(sys.argv[0]).name
    start = ["python", "-m", "harness"] if program == "__main__.py" else [program]
    return shlex.join([*start, *sys.argv[1:]])


def _report(arguments: Sequence[str]) -> int:
    """`harness report [results=FOLDER] [readme=PAGE]`."""
    given = {"results": "results", "readme": ""}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in given or not value:
            raise schema.ConfigError(
                f"{argument}: `harness report` takes results=FOLDER and readme=PAGE alone"
            )
        given[key] = value
    results = Path(given["results"])
    store = Store(results)
    if not store.names():
        raise StoreError(f"results={results}: holds no sweep")
    store.check()
    broken: list[ValueError] = []
    for name in store.names():
        try:
            with in_one_line(store, name):
                report.update(store, name)
                print(report.verdict_lines(store, name))
        except StoreError as error:
            broken.append(error)
    print(f"report: {report.write(store)}")
    if given["readme"]:
        report.insert_claims(store, Path(given["readme"]))
    for fault in broken:
        _refuse(fault)
    return BAD_INPUT_CODE if broken else 0


def _compare(arguments: Sequence[str]) -> int:
    """`harness compare FOLDER FOLDER [rtol=1e-9]`; 1 if they do not agree."""
    tolerances = [a.partition("=")[2] for a in arguments if a.startswith("rtol=")]
    folders = [argument for argument in arguments if not argument.startswith("rtol=")]
    try:
        rtol = float(tolerances[-1]) if tolerances else compare.RTOL
    except ValueError:
        rtol = -1.0
    if not rtol >= 0:
        raise schema.ConfigError(f"rtol={tolerances[-1]}: must be a number, 0 or more")
    if len(folders) != 2:
        raise schema.ConfigError("`harness compare` takes two results folders and rtol=NUMBER")
    one, other = (Store(Path(folder)) for folder in folders)
    for store in (one, other):
        if not store.names():
            raise StoreError(f"results={store.root}: holds no sweep")
    comparisons = compare.compare_folders(one, other, rtol)
    print(*(comparison.line for comparison in comparisons), sep="\n")
    return 0 if all(comparison.agree for comparison in comparisons) else 1


def _train(arguments: Sequence[str]) -> int:
    """`harness train [key=value ...]`, with the keys of conf/train.yaml."""
    if bad := [text for text in arguments if not re.match(r"[\w.]+=", text)]:
        raise schema.ConfigError(f"{bad[0]}: `harness train` takes key=value")
    base = OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml"))
    assert isinstance(base, dict)
    given = OmegaConf.from_dotlist(list(arguments))
    profile, profiles = given.get("profile", base["profile"]), base.pop(PROFILES)
    if profile not in profiles:
        raise schema.ConfigError(f"profile={profile}: must be one of {', '.join(profiles)}")
    base["models"] = profiles[profile]
    values = OmegaConf.to_container(OmegaConf.merge(base, given), resolve=True)
    assert isinstance(values, dict)
    own = {str(key): value for key, value in values.items()}
    settings = schema.validate(TypeAdapter(training.Training), own, "train")
    for path in training.train(settings):
        print(f"weights: {path}")
    return 0


def _pictures(arguments: Sequence[str]) -> int:
    """`harness pictures name=NAME [results=FOLDER] [to=FOLDER]`."""
    given = {"name": "", "results": "results", "to": ""}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in given or not value:
            raise schema.ConfigError(
                f"{argument}: `harness pictures` takes name=NAME, results=FOLDER "
                "and to=FOLDER alone"
            )
        given[key] = value
    name, store = given["name"], Store(Path(given["results"]), look=True)
    if not store.names():
        raise StoreError(f"results={store.root}: holds no sweep")
    if name not in store.names():
        raise StoreError(f"name={name}: must be one of {', '.join(store.names())}")
    folder = Path(given["to"] or f"{name}_pictures")
    print(f"pictures: {pictures.write(store, name, folder)} in {folder}")
    return 0


def _refuse(error: Exception) -> int:
    """Say in one line what is wrong with the input; the exit code."""
    print(f"error: {_one_line(error)}", file=sys.stderr)
    return BAD_INPUT_CODE


def _one_line(error: Exception) -> str:
    """The key, the value and what is allowed; Hydra spreads them over several lines."""
    text = str(error)
    if isinstance(error, schema.ConfigError):  # one line already; its cause is a worker's traceback
        return text
    lines = [line.strip() for line in f"{text}\n{error.__cause__ or ''}".splitlines()]
    if "Available options" in text:
        start = next(i for i, line in enumerate(lines) if line.startswith("Available options"))
        end = next((i for i, line in enumerate(lines) if line.startswith("Config search")), None)
        options = [line for line in lines[start + 1 : end] if line]
        if found := re.search(r"Could not find '(.+)/(.*)'", text):
            return f"{found[1]}={found[2]}: must be one of {', '.join(options)}"
        if found := re.search(r"You must specify '(.+?)'", text):
            return f"{found[1]}: missing; must be one of {', '.join(options)}"
    if found := re.search(r"Could not override '(.+?)'", text):
        given = [a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{found[1]}=")]
        return f"{(given or [found[1]])[-1]}: unknown key; `--cfg job` shows the keys there are"
    noise = ("object_type=", "reference_type=")
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(noise)))
