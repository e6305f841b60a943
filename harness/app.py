"""The command line: Hydra in, typed values out.  Apart from the plugins, only it imports Hydra.

``harness experiment=X``     one cell: measures it, stores it, prints its rows
``harness -m experiment=X``  the experiment's sweep: cells, table, verdicts, figure, report
``harness train``            trains the generators of the MNIST part
``harness report``, ...      the commands of `harness.commands`

With -m Hydra calls `HarnessSweeper.sweep` (hydra_plugins/harness_sweeper.py), and that `run_sweep`
(harness/sweep/sweep.py), which launches jobs: each enters `_hydra_main` again, with the cells that
are packed for it.  In the end `report.collect.update` judges and draws, and
`report.write.write_report` writes the report.

With ``claims=FOLDER`` all but `compare` and `train` know the experiments of a folder of your own
too (`harness.registry`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter

import harness
from harness import commands, registry, schema, streams
from harness.errors import InputError, printable
from harness.mnist import training
from harness.schema import ConfigError, Run
from harness.storage.cell import Cell
from harness.storage.files import DiskError
from harness.storage.tables import without_images
from harness.sweep import allowed, failures, interrupts, planning, sweep
from harness.sweep.failures import CellsFailedError, Failure
from harness.sweep.jobs import run_job, unpack
from harness.sweep.memory_limit import available, check
from harness.sweep.runner import run_cell
from hydra_plugins.harness_config import PROFILES, plain
from hydra_plugins.harness_yaml import check_value, read_mapping

BAD_INPUT = (InputError, HydraException, OmegaConfBaseException, yaml.YAMLError)
FAILED_CODE = 1
HELP = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i"}
NUMBA_CACHE = "NUMBA_CACHE_DIR"
"""The one setting of numba that is obeyed: it changes no result."""
NUMBA_FILE = Path(".numba_config.yaml")
"""Settings that numba reads in the current folder; one of them loads code from any other."""
MOST_DIGITS = 300
DIGITS = re.compile(rf"\d{{{MOST_DIGITS + 1},}}")
WITHOUT_CLAIMS = ("compare", "train")
"""Commands that do not take claims=FOLDER."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 cells failed, 2 bad input."""
    streams.make_unfailing()
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises; we print one line
    try:
        with interrupts.remembered(), _own_environment():
            return _run(arguments)
    except BaseException as error:
        if not (interrupts.seen() or isinstance(error, KeyboardInterrupt)):
            raise
        print(interrupts.MESSAGE, file=sys.stderr)
        return interrupts.exit_code()


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Change what workers and jobs inherit.

    They import nothing of the current folder, and compile the kernels as everyone does.
    """
    numba = [name for name in os.environ if name.startswith("NUMBA_") and name != NUMBA_CACHE]
    before = {name: os.environ.pop(name) for name in numba}
    before["PYTHONSAFEPATH"] = os.environ.get("PYTHONSAFEPATH", "")  # an empty one has no effect
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.update(before)


def _run(arguments: Sequence[str]) -> int:
    try:
        if "--version" in arguments:
            print(f"harness {harness.__version__}")
            return 0
        _check_text(arguments)
        if "" in arguments:
            raise ConfigError("an empty word: give KEY=VALUE, or a command of `harness --help`")
        words = [argument for argument in arguments if not argument.startswith("claims=")]
        if words in ([], ["--help"], ["-h"], ["help"]):
            return commands.guide()
        if arguments[0] not in WITHOUT_CLAIMS:
            arguments = _with_claims(arguments)
        if command := {**commands.COMMANDS, "train": _train}.get(arguments[0]):
            return commands.run(command, arguments[1:])
        commands.check_word(arguments[0], ("train",))
        if NUMBA_FILE.exists():
            raise ConfigError(f"{NUMBA_FILE}: numba would obey it; remove it or leave this folder")
        if not HELP.intersection(arguments):
            _check_choice(arguments)
        allowed.check_command(get_args_parser().parse_args(arguments))
        sys.argv = [sys.argv[0], *arguments]
        _hydra_main()
    except CellsFailedError as failed:
        print(failed, file=sys.stderr)
        return 1
    except BAD_INPUT as error:
        if interrupts.seen():
            raise
        code = commands.refuse(_one_line(error))
        return FAILED_CODE if isinstance(error, DiskError) else code
    except OSError as error:  # a path that is too long or may not be read, a folder that is gone
        if interrupts.seen():
            raise
        where = f"{schema.shown(str(error.filename))}: " if error.filename else ""
        return commands.refuse(f"{where}{error.strerror or error}")
    except MemoryError:
        return _out_of_memory()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are not text, which could be neither stored nor printed, and numbers of
    more digits than Python reads.
    """
    for argument in arguments:
        if found := DIGITS.search(argument):
            raise ConfigError(
                f"{schema.shown(argument)[:60]}...: has a number of {len(found[0])} digits; "
                f"at most {MOST_DIGITS} are read"
            )
        if re.search("[\ud800-\udfff]", argument):
            raise ConfigError(
                f"{schema.shown(argument)}: must be text in UTF-8: rename what it names"
            )


def _out_of_memory() -> int:
    print("error: there is not enough memory for this", file=sys.stderr)
    return 1


def _with_claims(arguments: Sequence[str]) -> list[str]:
    """Make the claims of `claims=FOLDER` known; return the arguments for the command.

    Hydra gets the absolute path, since a job may start in another folder, and the configurations,
    which its launchers hand to their workers.
    """
    given = [argument for argument in arguments if argument.startswith("claims=")]
    rest = [argument for argument in arguments if argument not in given]
    if not given:
        return rest
    if len(given) > 1:
        raise ConfigError(f"{given[1]}: one folder of claims at a time")
    folder = registry.use_claims(given[0].removeprefix("claims="))
    if found := re.search(r"['$\\\n]", str(folder)):
        raise ConfigError(f"claims={schema.shown(folder)}: the path must not contain {found[0]!r}")
    if rest and rest[0] in commands.COMMANDS:
        return rest
    for name in registry.own_names():
        _, node = read_mapping(folder / f"{name}.yaml", trusted=True)
        ConfigStore.instance().store(name, node, "experiment", "_global_", provider="claims")
    plain = re.fullmatch(r"[\w./-]+", str(folder), re.ASCII)
    overrides = get_args_parser().parse_known_intermixed_args(rest)[0].overrides
    options = [argument for argument in rest if argument not in overrides]
    return [*options, *overrides, f"claims={folder}" if plain else f"claims='{folder}'"]


def _check_choice(arguments: Sequence[str]) -> None:
    """Refuse anything but one experiment, before Hydra composes the configuration."""
    chosen = [a.partition("=")[2] for a in arguments if a.startswith("experiment=")]
    if any(re.search(r"[,(]", choice) for choice in chosen):
        raise ConfigError(f"experiment={chosen[-1]}: one experiment at a time")
    pairs = zip(["", *arguments], arguments, strict=False)
    words = [a for before, a in pairs if not before.startswith("--config") and a[:1] != "-"]
    if not chosen and all("=" in word for word in words) and "--config-name" not in arguments:
        names = ", ".join(schema.experiment_names())
        raise ConfigError(f"experiment: missing; must be one of {names}")
    if chosen and chosen[-1] not in schema.experiment_names():
        registry.check_has_configuration(chosen[-1])


@hydra.main(version_base="1.3", config_path=str(registry.CONF), config_name="config")
def _hydra_main(cfg: DictConfig) -> list[tuple[str, Failure]] | Failure:
    """One Hydra job: one cell, or the cells that a sweep sends it.

    Returns the cells that failed, by their keys, or why the job could not begin.
    """
    settings = HydraConfig.get()
    in_sweep = settings.mode == RunMode.MULTIRUN
    try:
        run, cell = sweep.read(plain(cfg))
        cells = [cell] if run.packed is None else unpack(run.packed, run.experiment, run.seed)
        if not in_sweep:  # a sweep has checked its cells before it launches jobs
            check(cell, 1e9 * run.memory_gb if run.memory_gb else available())
        run.check_results()
    except BAD_INPUT as error:  # Hydra prints lines of its own for anything but SystemExit
        if interrupts.seen():
            raise
        if in_sweep:  # the sweep may have run for hours: its other jobs go on
            return failures.failure(error)
        raise SystemExit(commands.refuse(_one_line(error))) from None
    if in_sweep:
        threads = sweep.threads(settings.runtime.choices["hydra/launcher"])
        return run_job(run.store, cells, run.trials, threads)
    try:
        return _one_cell(run, cell)
    except MemoryError:
        raise SystemExit(_out_of_memory()) from None
    except DiskError as error:
        commands.refuse(_one_line(error))
        raise SystemExit(FAILED_CODE) from None


def _one_cell(run: Run, cell: Cell) -> list[tuple[str, Failure]]:
    """Measure one cell and print its rows, or its plan."""
    workers = sweep.workers("basic", {}, cell.experiment.alone, run.memory_gb)
    if run.plan:
        print(planning.plan(run, cell.experiment, [cell], workers))
        return []
    measured = run_cell(run.store, cell, run.trials, workers.threads)
    table, _ = run.store.collect([cell], run.trials)
    print(
        without_images(table).to_string(index=False, max_colwidth=40),
        f"{run.trials} trials ({measured} measured now) of one cell; "
        f"`harness -m experiment={run.experiment}` runs the sweep and judges it",
        sep="\n",
    )
    return []


def _train(arguments: Sequence[str]) -> int:
    """Train the generators of the MNIST part, from checkpoints if there are some.

    harness train [key=value ...]

    The keys are those of conf/train.yaml, such as profile=paper and weights=FOLDER.
    """
    if bad := [text for text in arguments if not re.match(r"[\w.]+=", text)]:
        raise ConfigError(f"{bad[0]}: `harness train` takes key=value")
    base = OmegaConf.to_container(OmegaConf.load(registry.CONF / "train.yaml"))
    assert isinstance(base, dict)
    for text in arguments:
        check_value(*text.split("=", 1))
    given = OmegaConf.from_dotlist(list(arguments))
    profile, profiles = given.get("profile", base["profile"]), base.pop(PROFILES)
    if profile not in profiles:
        raise ConfigError(f"profile={profile}: must be one of {', '.join(profiles)}")
    base["models"] = profiles[profile]
    values = OmegaConf.to_container(OmegaConf.merge(base, given), resolve=True)
    assert isinstance(values, dict)
    own = {str(key): value for key, value in values.items()}
    settings = schema.validate(TypeAdapter(training.Training), own, "train")
    for path in training.train(settings):
        print(f"weights: {path}")
    return 0


def _one_line(error: Exception) -> str:
    """The key, the value and what is allowed, on one line where Hydra takes several."""
    text = str(error)
    if isinstance(error, OverrideParseException) and "=" in error.override:
        return _unquoted(error.override)
    if isinstance(error, InputError):  # one line already; its cause says the same again
        return printable(text)
    lines = [line.strip() for line in f"{text}\n{error.__cause__ or ''}".splitlines()]
    if "Available options" in text:
        start = next(i for i, line in enumerate(lines) if line.startswith("Available options"))
        end = next((i for i, line in enumerate(lines) if line.startswith("Config search")), None)
        options = [line for line in lines[start + 1 : end] if line]
        if found := re.search(r"Could not find '(.+)/(.*)'", text):
            if found[1] == "experiment":
                return schema.unknown_experiment(found[2])
            return f"{found[1]}={found[2]}: must be one of {', '.join(options)}"
        if found := re.search(r"You must specify '(.+?)'", text):
            return f"{found[1]}: missing; must be one of {', '.join(options)}"
    if found := re.search(r"Could not override '(.+?)'", text):
        given = [a for a in sys.argv[1:] if a.lstrip("+~").startswith(f"{found[1]}=")]
        return f"{(given or [found[1]])[-1]}: unknown key; `--cfg job` shows the keys there are"
    noise = ("object_type=", "reference_type=")
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(noise)))


def _unquoted(override: str) -> str:
    """How to give a value whose characters mean something else to Hydra."""
    key, _, value = override.partition("=")
    text = f"{key}={QuotedString(value, Quote.single).with_quotes()}"
    word = shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'
    return (
        f"{schema.shown(override)}: is no value in Hydra's grammar; to give it as text, quote it "
        f"for Hydra and for the shell: {schema.shown(word)}"
    )
