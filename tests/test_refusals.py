"""The contract of every refusal: bad input is one line, and nothing is computed or written.

The line names the key, the value and what is allowed; a command ends with exit code 2.  What a
module must refuse is a row of a table below.  What the readers of files refuse stands with their
tests, under the same contract: `tests.helpers.refused`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from harness import schema
from harness.mnist import weights
from harness.schema import ConfigError
from harness.storage.store import Store
from tests.configured import settings
from tests.conftest import TOY_YAML, tree

TOY = "experiment=toy"
NETS = "experiment=convergence"
SLURM = f"-m {TOY} hydra/launcher=slurm"
JOBLIB = f"-m {TOY} hydra/launcher=joblib"


def state(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the contents of files."""
    return {str(path): None for path in folder.rglob("*")} | dict(tree(folder))


# --- Commands -------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """An empty working folder."""


def a_file(folder: Path) -> None:
    """A file called `file`."""
    (folder / "file").touch()


def two_tables(folder: Path) -> None:
    """Results with the sweeps `mine`, which has images, and `plain`; and a file called `file`."""
    a_file(folder)
    store = Store(folder / "results")
    store.write_table("mine", pd.DataFrame({"method": ["m"], "x_png": [""]}), {})
    store.write_table("plain", pd.DataFrame({"trial": [0]}), {})


def another_schema(folder: Path) -> None:
    """Results with cells of schema 99."""
    (folder / "results" / "cells" / "toy").mkdir(parents=True)
    (folder / "results" / "cells" / "SCHEMA").write_text("99\n")
    Store(folder / "results").write_table("toy", pd.DataFrame({"trial": [0]}), {})


def damaged_checksums(text: str) -> Callable[[Path], None]:
    """A folder `w` of weights whose list of checksums is `text`."""

    def given(folder: Path) -> None:
        (folder / "w").mkdir()
        (folder / "w" / weights.CHECKSUMS).write_text(text)

    return given


@dataclass(frozen=True)
class Refused:
    """A command that is refused.

    command : its words after `harness`.
    says : regular expression for what its one line must name.
    given : puts into the working folder what is there before.
    needs : modules of an extra that the command asks for first.
    """

    command: str
    says: str
    given: Callable[[Path], None] = nothing
    needs: tuple[str, ...] = ()


ONE_FOLDER = "must be a folder that can be written"
TRAIN = "train weights=w"
TRAINED = ("torch", "mlxtend")

COMMANDS = [
    # the experiment
    Refused("trials=3", "experiment: missing; must be one of .*convergence.*toy"),
    Refused("-m", "experiment: missing; must be one of .*convergence.*toy"),
    Refused("experiment=bogus", "experiment=bogus: must be one of .*convergence.*toy"),
    Refused("-m experiment=bogus", "experiment=bogus: must be one of .*convergence.*toy"),
    Refused("experiment=", "experiment=: must be one of .*toy"),
    Refused("experiment=toy,convergence", "experiment=toy,convergence: one experiment at"),
    Refused("-m experiment=toy,convergence", "experiment=toy,convergence: one experiment at"),
    Refused("-m experiment=glob(*)", r"experiment=glob\(\*\): one experiment at a time"),
    # keys
    Refused(f"{TOY} bogus=1", "bogus=1: unknown key"),
    Refused(f"{TOY} +bogus=1", "bogus=1: unknown key of experiment toy"),
    Refused(f"{TOY} ++bogus=1", "bogus=1: unknown key of experiment toy"),
    Refused(f"{TOY} inner.bogus=1", "inner.bogus=1: unknown key"),
    Refused(f"{TOY} +inner.bogus=1", "inner.bogus=1: unknown key of experiment toy"),
    Refused(f"{TOY} thresholds.bogus=1", "thresholds.bogus=1: unknown key"),
    Refused(f"{TOY} ~scale", "scale: missing"),
    Refused(f"-m {TOY} bogus=1", "bogus=1: unknown key"),
    Refused(f"-m {TOY} bogus=1,2", "bogus=1: unknown key of experiment toy"),
    Refused(f"-m {TOY} inner.bogus=1,2", "inner.bogus=1: unknown key of experiment toy"),
    # types
    Refused(f"{TOY} scale=abc", "scale=abc: .*number"),
    Refused(f"{TOY} scale=", "scale=: .*number"),
    Refused(f"{TOY} scale=[1,2]", r"scale=\[1, 2\]: .*number"),
    Refused(f"{TOY} inner.size=2.5", "inner.size=2.5: .*integer"),
    Refused(f"{TOY} inner.size=true", "inner.size=True: .*integer"),
    Refused(f"{TOY} method=magic", "method=magic: .*'plain' or 'fancy'"),
    Refused(f"{TOY} trials=true", "trials=True: .*integer"),
    Refused(f"{TOY} trials=many", "trials=many: .*integer"),
    Refused(f"{TOY} seed=null", "seed=None: .*integer"),
    # ranges
    Refused(f"{TOY} scale=0", "scale=0: .*greater than 0"),
    Refused(f"{TOY} scale=nan", "scale=nan: .*finite"),
    Refused(f"{TOY} trials=0", "trials=0: .*greater than or equal to 1"),
    Refused(f"{TOY} profiles.quick.trials=0", "trials=0: .*greater than or equal to 1"),
    Refused(f"{TOY} cells_per_job=0", "cells_per_job=0: .*greater than or equal to 1"),
    Refused(f"-m {TOY} cells_per_job=0", "cells_per_job=0: .*greater than or equal to 1"),
    Refused(f"-m {TOY} cells_per_job=many", "cells_per_job=many: .*integer"),
    Refused(f"-m {TOY} cells_per_job=1,2", "cells_per_job=2: is of the whole sweep"),
    Refused(f"{TOY} plan=maybe", "plan=maybe: .*boolean"),
    Refused(f"-m {TOY} plan=maybe", "plan=maybe: .*boolean"),
    Refused(f"{TOY} packed=bogus", "packed=bogus: is set by a sweep itself"),
    Refused(f"-m {TOY} packed=bogus", "packed=bogus: is set by a sweep itself"),
    Refused(f"{TOY} seed=-1", "seed=-1: .*greater than or equal to 0"),
    Refused(f"{NETS} network.d=0", "network.d=0: .*greater than or equal to 1"),
    Refused(f"{NETS} network.ell=0", "network.ell=0: .*greater than or equal to 1"),
    Refused(f"{NETS} network.widths1=[5,7,199]", "network.widths1=.*end in network.ell = 200"),
    Refused(f"{NETS} network.widths2=[4,7,200]", "network.widths2=.*begin with network.p = 5"),
    Refused(f"{NETS} kappa=0", "kappa=0: .*greater than or equal to"),
    Refused(f"{NETS} kappa=nan", "kappa=nan: .*finite"),
    Refused(f"{NETS} network=bogus", "network=bogus: must be one of expansive"),
    # names and profiles
    Refused(f"{TOY} name=../up", r"name=\.\./up: "),
    Refused(f"{TOY} name=.hidden", r"name=\.hidden: "),
    Refused(f"{TOY} name=", "name=: "),
    Refused(f"-m {TOY} name=cells", "name=cells: "),
    Refused(f"-m {TOY} name=REPORT.md", r"name=REPORT\.md: "),
    Refused(f"{TOY} profile=bogus", "profile=bogus: must be one of full, paper, quick"),
    Refused(f"{TOY} profile=", "profile=: must be one of full, paper, quick"),
    # sweeps
    Refused(f"-m {TOY} scale=1,2,-3,4", "scale=-3: .*greater than 0"),
    Refused(f"-m {TOY} inner.size=1,two,3", "inner.size=two: .*integer"),
    Refused(f"-m {TOY} scale=interval(0,1)", "(?i)interval"),
    Refused(f"-m {TOY} profile=quick,paper", "profile=paper: is of the whole sweep"),
    Refused(f"-m {TOY} trials=1,2", "trials=1: is of the whole sweep"),
    Refused(f"-m {TOY} seed=1,2", "seed=1: is of the whole sweep"),
    Refused(f"-m {TOY} hydra.sweeper.grids=[{{seed:[5]}}]", "seed=5: is of the whole sweep"),
    Refused(f"-m {TOY} hydra.sweeper.grids=5", r"grids=5: "),
    Refused(f"-m {TOY} hydra.sweeper.grids=[5]", r"grids=.*5"),
    Refused(f"{TOY} scale=1,2", "scale=1,2.*--multirun"),
    # numbers so large that listing or storing what they ask for would fill memory
    Refused(f"{TOY} trials={10**18}", f"trials={10**18}: at most most_trials=1000000"),
    Refused(f"{TOY} trials={'9' * 5000}", "trials=99+[.]{3}: has a number of 5000 digits"),
    Refused(f"-m {TOY} scale=range(1,1000000001)", "5000000000 cells in all; at most most_cells"),
    *(
        Refused(f"-m {TOY} scale=range({given})", r"scale=range\(.*\): needs finite numbers")
        for given in ("1,inf", "1,nan", "1,5,0", "-inf,1", "1,2,inf")
    ),
    Refused(f"-m {TOY} scale=range(5,1)", "holds no value"),
    Refused(f"-m {TOY} scale.z=1,2", "scale.z=1: scale has no settings of its own"),
    Refused(
        f"-m {NETS} " + " ".join(f"network.{key}=range(1,1001)" for key in "npds"),
        "network.n=range.1,1001.: 48000000000000 cells in all; at most most_cells=1000000",
    ),
    *(
        Refused(f"{mode}{NETS} network.{key}={value}", f"network.{key}=.*less than or equal to")
        for mode in ("", "-m ")
        for key, value in (("n", 10**10), ("d", 1001), ("s", 10**9), ("ell", "9" * 31))
    ),
    Refused(f"{NETS} network.c=1e9", "network.d=2: .*c=1e.09, layer 1 has more than 10+ units"),
    *(
        Refused(f"{mode}{command}", "the weights of a trial take .* GB; there are .*memory_gb")
        for mode in ("", "-m ")
        for command in (
            f"{NETS} network.ell={10**9}",
            f"experiment=joint_wdc n={10**9}",
            f"experiment=premise n={10**9} ell={10**9}",
            f"experiment=figure1 expansivity={10**22}",
            f"{NETS} memory_gb=1e-6",
        )
    ),
    Refused(f"{NETS} memory_gb=0", "memory_gb=0: .*greater than 0"),
    Refused(f"{TOY} most_cells=0", "most_cells=0: .*greater than or equal to 1"),
    Refused("experiment=convergence kappa=1e308", "kappa=1e.308: .*less than or equal to"),
    Refused("experiment=convergence network.c=1e-320", "network.c=.*: .*greater than or equal to"),
    Refused(f"experiment=stationary_points replica={10**21}", "replica=1000.*less than or equal"),
    Refused(f"experiment=spurious starts={10**9}", "starts=1000000000: .*less than or equal"),
    Refused(f"experiment=mnist pairs={10**9}", "pairs=1000000000: .*less than or equal"),
    Refused(f"experiment=storage rows={2**63 - 1}", "rows=.*less than or equal"),
    Refused(f"experiment=torus points={10**9}", "points=1000000000: .*less than or equal"),
    Refused("experiment=noise noise=1e308", "noise=1e.308: .*less than or equal to"),
    Refused("experiment=wdc boxes=10", "boxes=10: .*greater than or equal to 36"),
    Refused("experiment=benchmark task=census widths=[3,5]", "must begin with 2 where task=census"),
    Refused(f"experiment=benchmark widths=[{10**6},{10**6}]", "take .* GB; there are"),
    Refused(f"experiment=prior_price k={10**5} columns={10**5}", "take .* GB; there are"),
    # paths
    Refused(f"list claims={'a' * 300}", "claims=aa+.*cannot be read"),
    Refused("list claims=~nosuchuser", "claims=~nosuchuser: cannot be read"),
    *(
        Refused(f"{command} results={'a' * 300}", "File name too long")
        for command in ("report", "findings")
    ),
    Refused("gallery torus to=file", "to=file: must be a folder that can be written", a_file),
    Refused("gallery torus seed=٣", "seed=٣: must be a whole number"),
    # launchers
    Refused(f"-m {TOY} hydra/launcher=bogus", "hydra/launcher=bogus: must be one of basic, joblib"),
    Refused(f"{SLURM} hydra.launcher.poll_s=soon", "poll_s=soon: .*number"),
    Refused(f"{SLURM} hydra.launcher.cpus_per_task=0", "cpus_per_task=0: .*than"),
    Refused(
        f"{SLURM} hydra.launcher.timeout_min=0.5",
        "timeout_min=0.5: .*integer",
    ),
    Refused(f"{SLURM} results=a%j", "results=/.*/a%j: must have neither %"),
    Refused(f"{SLURM} hydra.launcher.submitit_folder=x", "=x: must be in results="),
    Refused(f"{JOBLIB} hydra.launcher.n_jobs=two", "n_jobs=two"),
    Refused(f"{JOBLIB} hydra.launcher.n_jobs=0", "n_jobs=0: must be a number of w"),
    Refused(f"-m {TOY} plan=true hydra/launcher=joblib hydra.launcher.n_jobs=0", "n_jobs=0: must"),
    # Hydra's own language
    Refused(f"{TOY} scale", "'scale'"),
    Refused(f"{TOY} scale=[1", r"\[1"),
    Refused(f"{TOY} scale=${{nope}}", "nope"),
    Refused("reprot", "reprot: must be KEY=VALUE or one of"),
    *(
        Refused(
            f"{mode}{TOY} results={value}", rf'results=.*: is no value .*"results=\'{quoted}\'"$'
        )
        for mode in ("", "-m ")
        for value, quoted in (
            ("r=1", "r=1"),
            ("é", "é"),
            ("r[1]", r"r\[1\]"),
            ("~r", "~r"),
            ("r#1", "r#1"),
            ("r(1)", r"r\(1\)"),
        )
    ),
    Refused(f"{TOY} results=it's", r"quote it for Hydra and for the shell: '.*it\\'.*'$"),
    Refused("--config-name bogus", "bogus"),
    # names that no table or terminal takes
    *(
        Refused(f"{command}=a\udcffb", "=a b: must be text in UTF-8: rename what it names")
        for command in (
            f"{TOY} results",
            "report results",
            "pictures to",
            "train weights",
            "compare a",
        )
    ),
    Refused(
        "experiment=wdc network.weights='a\rb.npy'",
        "network.weights=a b.npy: has a character that no table holds: rename",
    ),
    # results
    *(
        Refused(f"{mode}{TOY} results={folder}", f"results={folder}: {ONE_FOLDER}")
        for folder in ("/dev/null/x", "/dev/null", "/proc/x")
        for mode in ("", "-m ")
    ),
    Refused(f"{TOY} results=", "results="),  # the empty path is the current folder, nobody means it
    Refused(f"{TOY} results=null", "results="),
    Refused(f"{TOY} results=''", "results="),
    *(
        Refused(command, "results=results: holds cells of schema '99'", another_schema)
        for command in (TOY, f"-m {TOY}", "report")
    ),
    # report
    Refused("report bogus", "bogus"),
    Refused("report bogus=1", "bogus=1"),
    Refused("report results=", "results="),
    Refused("report results=nowhere", "results=nowhere: holds no sweep"),
    Refused("report results=/dev/null/x", "results=/dev/null/x: "),
    Refused("report -m", "-m"),
    # compare
    Refused("compare", "takes two results folders"),
    Refused("compare results", "takes two results folders"),
    Refused("compare a b c", "takes two results folders"),
    Refused("compare nowhere nothing", "results=nowhere: holds no sweep"),
    Refused("compare a b rtol=-1", "rtol=-1: must be a number, 0 or more"),
    Refused("compare a b rtol=few", "rtol=few: must be a number, 0 or more"),
    Refused("compare a=b", "takes two results folders"),
    # pictures
    Refused("pictures", "name=: must be one of mine, plain", two_tables),
    Refused("pictures name=other", "name=other: must be one of mine, plain", two_tables),
    Refused("pictures name=../mine", r"name=\.\./mine: must be one of mine, plain", two_tables),
    Refused("pictures name=plain", "results=results: plain holds no images", two_tables),
    Refused("pictures name=mine results=nowhere", "results=nowhere: holds no sweep", two_tables),
    Refused("pictures name=mine to=file", "to=file: must be a new or an empty folder", two_tables),
    Refused(
        "pictures name=mine to=", "to=: `harness pictures` takes name=NAME, results=FOLDER and"
    ),
    Refused("pictures mine", "mine: `harness pictures` takes name=NAME, results=FOLDER and to="),
    # train
    Refused(f"{TRAIN} profile=slow", "profile=slow: must be one of quick, paper"),
    Refused(
        f"{TRAIN} models.digits_decoder.steps=0",
        r"digits_decoder\.steps=0: input should be",
    ),
    Refused(
        f"{TRAIN} models.digits_dcgan.depth=2",
        r"models\.digits_dcgan\.depth=2: unknown key of train",
    ),
    Refused(f"{TRAIN} models.digits_decoder.widths=[5,10]", "must end in 784 pixels"),
    Refused(f"{TRAIN} threads=0", "threads=0"),
    Refused(f"{TRAIN} nothing", "nothing: `harness train` takes key=value"),
    *(
        Refused(TRAIN, "checksums.json: damaged; must be checksums by the names of files", *given)
        for given in ((damaged_checksums(text), TRAINED) for text in ("{", "[]", "null"))
    ),
    Refused("train weights=file", "weights=file: must be a folder that can be", a_file, TRAINED),
    Refused("train seed=!!binary", "seed=!!binary: cannot be read .*tag"),
    Refused(f"train seed={'[' * 1500}{']' * 1500}", r"seed=\[+.*nested too deep"),
    Refused(f"train seed={2**63}", f"seed={2**63}: .*less than"),
    Refused(f"train threads={10**20}", f"threads={10**20}: .*less than or equal to 1024"),
    Refused("train models.digits_dcgan.width=100000", "digits_dcgan.width=100000: .*1024"),
]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case.command or "nothing")
def test_a_command_is_refused_in_one_line_and_touches_nothing(harness, tmp_path, case):
    for module in case.needs:
        pytest.importorskip(module)
    case.given(tmp_path)
    before = state(tmp_path)
    line = harness(*case.command.split(" ") if case.command else ()).refusal
    assert line.startswith("error: ")
    assert re.search(case.says, line), line
    assert state(tmp_path) == before


@pytest.mark.parametrize("command", [f"-m {TOY} scale=1,2,-3", f"{TOY} trials=0"])
def test_a_folder_in_use_is_not_touched_either(harness, tmp_path, command):
    """A bad value stops a sweep before its first cell."""
    assert harness(TOY).code == 0
    before = tree(tmp_path)
    assert harness(*command.split()).refusal
    assert tree(tmp_path) == before


# --- Settings -------------------------------------------------------------------------------

AT_LEAST_1 = "greater than or equal to 1"
SETTINGS: list[tuple[str, Mapping[str, Any], str]] = [
    ("toy", {"bogus": 1}, "bogus=1: unknown key of experiment toy"),
    ("toy", {"inner.bogus": 1}, "inner.bogus=1: unknown key of experiment toy"),
    ("toy", {"thresholds.bogus": 1}, "thresholds.bogus=1: unknown key"),
    ("toy", {"scale": ...}, "scale: missing"),
    ("toy", {"inner.size": ...}, "inner.size: missing"),
    ("toy", {"inner": ...}, "inner: missing"),
    ("toy", {"scale": None}, "scale=None: .*number"),
    ("toy", {"scale": "abc"}, "scale=abc: .*number"),
    ("toy", {"scale": [1]}, r"scale=\[1\]: .*number"),
    ("toy", {"scale": 0}, "scale=0: .*greater than 0"),
    ("toy", {"scale": -1.5}, "scale=-1.5: .*greater than 0"),
    ("toy", {"scale": float("nan")}, "scale=nan: .*finite"),
    ("toy", {"scale": float("inf")}, "scale=inf: .*finite"),
    ("toy", {"thresholds.median": float("inf")}, "thresholds.median=inf: .*finite"),
    ("toy", {"inner.size": 0}, f"inner.size=0: .*{AT_LEAST_1}"),
    ("toy", {"inner.size": -4}, f"inner.size=-4: .*{AT_LEAST_1}"),
    ("toy", {"inner.size": 2.5}, "inner.size=2.5: .*integer"),
    ("toy", {"inner.size": "two"}, "inner.size=two: .*integer"),
    ("toy", {"inner.size": True}, "inner.size=True: .*integer"),
    ("toy", {"inner.sizes": [2, 0]}, f"inner.sizes.1=0: .*{AT_LEAST_1}"),
    ("toy", {"inner.sizes": 5}, "inner.sizes=5: .*array"),
    ("toy", {"inner": 5}, "inner=5: .*object"),
    ("toy", {"method": "magic"}, "method=magic: .*'plain' or 'fancy'"),
    ("toy", {"method": False}, "method=False: .*'plain' or 'fancy'"),
    ("bogus", {}, "experiment=bogus: must be one of .*convergence.*toy"),
    # networks
    ("hyperbolas", {"network.widths1": [10, 7, 399]}, r"network.widths1.*end in network.ell = 400"),
    ("hyperbolas", {"network.widths1": [4, 7, 400]}, r"network.widths1.*begin with network.n = 10"),
    ("hyperbolas", {"network.widths1": [10, 400]}, r"network.widths1.*network.d \+ 1 = 3 entries"),
    ("hyperbolas", {"network.widths1": []}, r"network.widths1=\[\].*network.d \+ 1 = 3 entries"),
    (
        "hyperbolas",
        {"network.widths2": [10, 7, 7, 400]},
        r"network.widths2.*network.s \+ 1 = 3 entries",
    ),
    ("hyperbolas", {"network.widths2": [10, 0, 400]}, f"network.widths2.1=0: .*{AT_LEAST_1}"),
    ("hyperbolas", {"network.d": 0}, f"network.d=0: .*{AT_LEAST_1}"),
    ("hyperbolas", {"network.ell": 0}, f"network.ell=0: .*{AT_LEAST_1}"),
    (
        "hyperbolas",
        {"network.growth": "fast"},
        "network.growth=fast: .*'log', 'factor', 'geometric' or 'proportional'",
    ),
    ("hyperbolas", {"network.c": 0.0}, "network.c=0.0: .*greater than or equal to"),
    # what an experiment cannot measure
    ("stationary_points", {"network.n": 3, "network.p": 2}, "network.n=3: must be 2"),
    ("stationary_points", {"network.p": 5}, "network.p=5: must be 2"),
    ("torus", {"network.n": 1, "network.p": 2}, "network.n=1: must be >= 2"),
    ("torus", {"points": 2}, "points"),
    ("descent_map", {"network.n": 1, "network.p": 2}, "network.n=1: .* at least 2"),
    ("descent_map", {"radii": []}, r"radii=\[\]"),
    ("mnist", {"batch": 200}, "batch=200: must be < 50, 10 of the held-out digits each"),
    (
        "mnist",
        {"weights": "none", "method": "decoder_engine", "ground": "black"},
        "weights=none.*missing; `harness train`",
    ),
    ("mnist", {"images": "none"}, "images=none: a folder with PNG files is needed"),
    (
        "mnist",
        {"method": "decoder_engine"},
        "ground=white: decoder_engine has networks without bias",
    ),
    ("mnist", {"ground": "grey"}, "ground=grey: .*'white' or 'black'"),
]


@pytest.mark.parametrize(("name", "changes", "says"), SETTINGS, ids=str)
def test_a_setting_is_refused_in_one_line_with_its_key_and_what_is_allowed(
    toy, tmp_path, monkeypatch, name, changes, says
):
    monkeypatch.chdir(tmp_path)
    values = toy_settings() if name == "toy" else settings(name) if name != "bogus" else {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        group = values
        for parent in parents:
            group = group[parent]
        if value is ...:
            del group[last]
        else:
            group[last] = value
    with pytest.raises(ConfigError) as refusal:
        schema.prepare(schema.build(name, values))
    [line] = str(refusal.value).splitlines()
    assert re.match(says, line), line
    assert state(tmp_path) == {}


def toy_settings() -> dict[str, Any]:
    """The toy's own settings as its YAML has them."""
    values = OmegaConf.to_container(OmegaConf.create(TOY_YAML))
    return {k: v for k, v in values.items() if k not in ("experiment", "profiles")}
