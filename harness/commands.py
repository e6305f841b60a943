"""The commands beside sweeps: `report`, `compare`, `pictures`, `list`, `show`, and the help.

Each takes the words behind its name and returns the exit code.  Its docstring is its help.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

import harness
from harness import registry, schema
from harness.errors import printable
from harness.experiment import Experiment, experiment_class
from harness.report.collect import stored, update
from harness.report.markdown import insert
from harness.report.result import Result, in_one_line
from harness.report.text import closing_lines, verdict_lines
from harness.report.write import check_free, write_report
from harness.schema import ConfigError
from harness.storage import compare as comparison
from harness.storage.files import DiskError, StoreError, check_writable, write_atomically
from harness.storage.store import ReadOnlyStore, Store
from hydra_plugins.harness_yaml import read_mapping

BAD_INPUT_CODE = 2
GUIDE = """\
harness {version}: what finite networks say of the theory of blind demodulation

  harness list                     the experiments, and what each asks
  harness show NAME                its claims, settings and profiles
  harness experiment=NAME          measures one cell and prints its rows
  harness -m experiment=NAME       measures, judges and draws its sweep
    KEY=VALUE                      changes a setting; on a sweep, KEY=A,B,C varies it
    profile=quick|paper|full       how many networks, and which grids
    hydra/launcher=joblib|slurm    on all cores, or on a cluster
    results=FOLDER  name=NAME      where the results go
    plan=true                      says what it would take, and measures nothing
  harness report                   judges and draws again what is stored
  harness findings                 says in words what was found
  harness compare ONE OTHER        whether two results folders say the same
  harness pictures name=NAME       images of a sweep of the MNIST part
  harness gallery torus            an animation of Algorithm 1 and its sign checks
  harness train                    trains the generators of the MNIST part

`harness COMMAND --help` says more; `harness --hydra-help` has Hydra's options."""


def refuse(message: object) -> int:
    """Print one line on what is wrong with the input; return the exit code."""
    print(f"error: {printable(str(message))}", file=sys.stderr)
    return BAD_INPUT_CODE


def guide() -> int:
    """The commands there are."""
    print(GUIDE.format(version=harness.__version__))
    return 0


def report(arguments: Sequence[str]) -> int:
    """Judge and draw again every stored sweep, and write the report; nothing is measured.

    harness report [results=FOLDER] [readme=PAGE,...] [claims=FOLDER]

    The report is REPORT.md, report.html and the figure of all claims.  A page of your own gets the
    findings, the table of claims, or what one claim came to, between the lines that mark the place.
    """
    usage = "`harness report` takes results=FOLDER and readme=PAGE"
    given = settings(arguments, {"results": "results", "readme": ""}, usage)
    results = Path(given["results"])
    store = Store(results)
    if not store.names():
        raise StoreError(f"results={results}: holds no sweep")
    store.check()
    check_free(store)
    judged: list[Result] = []
    broken: list[StoreError] = []
    for name in tqdm(store.names(), desc="report", unit="sweep", disable=None):
        try:
            with in_one_line(store, name):
                judged.append(update(store, name))
        except DiskError:
            raise
        except StoreError as error:
            broken.append(error)
    written = write_report(store, judged)
    for page in filter(None, given["readme"].split(",")):
        insert(judged, store.root, Path(page))
    print(*map(verdict_lines, judged), closing_lines(judged), "", f"report: {written}", sep="\n")
    for fault in broken:
        refuse(fault)
    return BAD_INPUT_CODE if broken else 0


def findings(arguments: Sequence[str]) -> int:
    """Say in words what the stored sweeps have found; nothing is measured or written.

    harness findings [results=FOLDER] [claims=FOLDER]
    """
    given = settings(arguments, {"results": "results"}, "`harness findings` takes results=FOLDER")
    store = Store(Path(given["results"]))
    if not store.names():
        raise StoreError(f"results={store.root}: holds no sweep")
    print(closing_lines(stored(store, store.names())).lstrip())
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Compare two results folders, row by row, numbers to a relative tolerance.

    harness compare FOLDER FOLDER [rtol=1e-9]

    The exit code is 1 if they do not agree.
    """
    tolerances = [a.partition("=")[2] for a in arguments if a.startswith("rtol=")]
    folders = [argument for argument in arguments if not argument.startswith("rtol=")]
    try:
        rtol = float(tolerances[-1]) if tolerances else comparison.RTOL
    except ValueError:
        rtol = -1.0
    if not rtol >= 0:
        raise ConfigError(f"rtol={tolerances[-1]}: must be a number, 0 or more")
    if len(folders) != 2:
        raise ConfigError("`harness compare` takes two results folders and rtol=NUMBER")
    one, other = (ReadOnlyStore(Path(folder)) for folder in folders)
    for store in (one, other):
        if not store.names():
            raise StoreError(f"results={store.root}: holds no sweep")
    found = comparison.compare_folders(one, other, rtol)
    print(*(line.line for line in found), sep="\n")
    return 0 if all(line.agree for line in found) else 1


def write_pictures(arguments: Sequence[str]) -> int:
    """Write the images of a sweep of the MNIST part as PNG files.

    harness pictures name=NAME [results=FOLDER] [to=FOLDER]

    They go to a new folder, by default NAME_pictures.
    """
    from harness.mnist import pictures

    usage = "`harness pictures` takes name=NAME, results=FOLDER and to=FOLDER"
    given = settings(arguments, {"name": "", "results": "results", "to": ""}, usage)
    name, store = given["name"], ReadOnlyStore(Path(given["results"]))
    if not store.names():
        raise StoreError(f"results={store.root}: holds no sweep")
    if name not in store.names():
        raise StoreError(f"name={name}: must be one of {', '.join(store.names())}")
    folder = Path(given["to"] or f"{name}_pictures")
    print(f"pictures: {pictures.write(store, name, folder)} in {folder}")
    return 0


def write_gallery(arguments: Sequence[str]) -> int:
    """Draw Algorithm 1 on the torus of directions, with and without its sign check.

    harness gallery torus [to=FOLDER] [seed=NUMBER]

    Writes torus.gif, and its last picture as torus.png and torus.pdf, into the current folder or
    another one.
    """
    from harness import gallery  # which loads the landscape

    if not arguments or arguments[0] != "torus":
        raise ConfigError(f"{' '.join(arguments[:1])}: `harness gallery` takes torus first")
    given = settings(
        arguments[1:], {"to": ".", "seed": "0"}, "`harness gallery torus` takes to=FOLDER and seed"
    )
    if not re.fullmatch(r"[0-9]{1,18}", given["seed"]):
        raise ConfigError(f"seed={given['seed']}: must be a whole number from 0 to 10^18")
    check_writable("to", Path(given["to"]))
    for name, data in gallery.torus(int(given["seed"])).items():
        write_atomically(Path(given["to"]) / name, data)
        print(Path(given["to"]) / name)
    return 0


def list_experiments(arguments: Sequence[str]) -> int:
    """List the experiments, and what each asks.

    harness list [claims=FOLDER]
    """
    settings(arguments, {}, "`harness list` takes claims=FOLDER")
    for name in schema.experiment_names():
        try:
            question, _ = _experiment(name)
        except ConfigError as error:
            question = str(error)
        print(f"{name:20} {question}")
    return 0


def show(arguments: Sequence[str]) -> int:
    """Show what an experiment asks and claims, its settings, and the grids of its profiles.

    harness show NAME [claims=FOLDER]
    """
    if len(arguments) != 1:
        raise ConfigError("`harness show` takes the name of an experiment; `harness list` has them")
    [name] = arguments
    if name not in schema.experiment_names():
        raise ConfigError(schema.unknown_experiment(name))
    written = _configuration(name)
    question, kind = _experiment(name)
    print(f"{name}: {question}\n\nclaims")
    for claim in kind.claims:
        print(f"  {claim.id} ({claim.role}): {claim.statement}")
    left_out = {"defaults", "experiment", "profiles", "thresholds", "design"}
    for title, part in (
        ("settings", {key: value for key, value in written.items() if key not in left_out}),
        ("thresholds", written.get("thresholds") or {}),
    ):
        print(
            f"\n{title}", *(f"  {key} = {_shown(value)}" for key, value in part.items()), sep="\n"
        )
    for profile, sweep in written["profiles"].items():
        print(f"\nprofile {profile}, {sweep.get('trials')} trials a cell")
        print(*(f"  {_shown(grid)}" for grid in sweep["grids"]), sep="\n")
    return 0


def _experiment(name: str) -> tuple[str, type[Experiment]]:
    """What an experiment asks, by its docstring, and its class.

    Raises
    ------
    ConfigError
        If it is a claim of one's own whose module raises anything, or holds no experiment.
    """
    try:
        module = registry.module(name)
        kind = experiment_class(module)
    except Exception as error:
        reason = printable(f"{type(error).__name__}: {error}")
        raise ConfigError(f"{name}.py: cannot be used ({reason})") from None
    return (inspect.getdoc(module) or "").partition("\n")[0], kind


def _configuration(name: str) -> dict[str, Any]:
    """An experiment's configuration file as it is written, with profiles that have grids."""
    text, _ = read_mapping(registry.configuration(name), trusted=True)  # which checks it
    read = yaml.safe_load(text)
    if not isinstance(read.get("profiles"), dict):
        raise ConfigError(f"{name}.yaml: has no profiles")
    for profile, sweep in read["profiles"].items():
        if not isinstance(sweep, dict) or not isinstance(sweep.get("grids"), list):
            raise ConfigError(f"{name}.yaml: profiles.{profile}: must have trials and grids")
    return read


def _shown(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("\n...")


def settings(arguments: Sequence[str], defaults: Mapping[str, str], usage: str) -> dict[str, str]:
    """Settings of a command from its key=value arguments; ConfigError for any other argument."""
    given = dict(defaults)
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in given or not value:
            raise ConfigError(f"{argument}: {usage} alone")
        given[key] = value
    return given


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "report": report,
    "findings": findings,
    "compare": compare,
    "pictures": write_pictures,
    "gallery": write_gallery,
    "list": list_experiments,
    "show": show,
}


def check_word(word: str, others: Sequence[str]) -> None:
    """Refuse a first word that is neither a command, nor an option, nor a setting."""
    if re.fullmatch(r"\w+", word) is None:
        return
    names = sorted([*COMMANDS, *others])
    near = get_close_matches(word, names, 1, schema.ALIKE)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{word}: must be KEY=VALUE or one of {', '.join(names)}{meant}")


def run(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """A command with its words, or its help."""
    if {"--help", "-h"}.intersection(arguments):
        print(inspect.getdoc(command))
        return 0
    return command(arguments)
