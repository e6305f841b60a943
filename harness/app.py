"""The command line: Hydra in, typed values out.  The only module of the library that knows Hydra.

``harness experiment=X``     one cell: measures it, stores it, prints its rows
``harness -m experiment=X``  the experiment's sweep: cells, table, verdicts, figure, report
``harness report``           collects, judges and draws again what is stored, measures nothing
``harness compare``          whether two results folders say the same, to a tolerance
``harness train``            trains the generators of the MNIST part
``harness pictures name=X``  writes the images of a sweep of the MNIST part as PNG files
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
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
from harness.planning import Run, Workers
from harness.progress import progress
from harness.result import in_one_line
from harness.runner import run_cell
from harness.store import Cell, Store
from harness.tables import without_images

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
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except BaseException as error:
        if not (interrupts.seen() or isinstance(error, KeyboardInterrupt)):
            if isinstance(error, BrokenPipeError):
                return _unread()
            raise
        with contextlib.suppress(OSError):  # of a terminal that is closed
            print(
                "interrupted: what is stored is kept; the same command goes on from there",
                file=sys.stderr,
            )
        return interrupts.exit_code()


def _unread() -> int:
    """The exit code when the reader of the output, `head` say, has had enough."""
    with Path(os.devnull).open("w") as nowhere:  # for what Python has yet to write when it ends
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())
    return 128 + signal.SIGPIPE


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
        targets.check_command(get_args_parser().parse_args(arguments))
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
        known = Plugins.instance().discover(Launcher)
        launchers = [f"{kind.__module__}.{kind.__name__}" for kind in known]
        if config.hydra.job.config_name is not None:  # None: of Hydra alone, for --hydra-help
            targets.check(config.hydra, OmegaConf.to_container(config.hydra), launchers)
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
def _hydra_main(cfg: DictConfig) -> list[tuple[str, Failure]] | Failure:
    """One Hydra job: one cell, or in a sweep those it is sent.

    What fails there is returned: cells by their keys, or why the job could not begin.
    """
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        run, cell = read(cfg)
        cells = [cell] if run.packed is None else unpack(run.packed, run.experiment, run.seed)
        run.store.check()
    except BAD_INPUT as error:  # Hydra prints lines of its own for anything but SystemExit
        if interrupts.seen():
            raise
        if sweep:  # begun long ago, maybe: the other jobs go on
            return failures.failure(error)
        raise SystemExit(_refuse(error)) from None
    threads = _threads()
    if sweep:
        return run_job(run.store, cells, run.trials, threads)
    if run.plan:
        _say(planning.plan(run, [cell], Workers(1, 1 if cell.experiment.alone else threads)))
        return []
    measured = run_cell(run.store, cell, run.trials, threads)
    table, _ = run.store.collect([cell], run.trials)
    _say(
        without_images(table).to_string(index=False, max_colwidth=40),
        f"{run.trials} trials ({measured} measured now) of one cell; "
        f"`harness -m experiment={run.experiment}` runs the sweep and judges it",
    )
    return []


def _say(*lines: str) -> None:
    """Print from within a Hydra job, of which Hydra tells all that it raises but SystemExit."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        raise SystemExit(_unread()) from None


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


def _workers(hydra: DictConfig, alone: bool) -> Workers:
    """What a sweep's launcher measures with.

    `alone` is of an experiment that runs a cell's trials one after the other.

    Raises
    ------
    ConfigError
        If it has nothing to measure with.
    """
    launcher = hydra.launcher
    match hydra.runtime.choices["hydra/launcher"]:
        case "basic":
            return Workers(1, 1 if alone else _cores())
        case "joblib":
            jobs = launcher.n_jobs
            if jobs == 0:
                raise schema.ConfigError(
                    "hydra.launcher.n_jobs=0: must be a number of workers, or -1 for all cores"
                )
            return Workers(jobs if jobs > 0 else max(1, _cores() + 1 + jobs))
        case "slurm":
            threads = 1 if alone else launcher.cpus_per_task
            return Workers(launcher.array_parallelism, threads, launcher.timeout_min)
        case _:
            return Workers(None)


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
    workers = _workers(base.hydra, template.experiment.alone)
    store = run.store
    store.check()
    if run.plan:
        print(planning.plan(run, cells, workers))
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
    for line in lines:
        print(line)
    if failed:
        raise CellsFailedError(failures.report(failed, cells, why, _command()))


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
    verdicts: list[str] = []
    broken: list[ValueError] = []
    for name in store.names():
        try:
            with in_one_line(store, name):
                report.update(store, name)
                verdicts.append(report.verdict_lines(store, name))
        except StoreError as error:
            broken.append(error)
    written = report.write(store)
    if given["readme"]:
        report.insert_claims(store, Path(given["readme"]))
    print(*verdicts, f"report: {written}", sep="\n")
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
