"""Nothing that is read may run code, leave its folder or end in more than one line.

Files that try to run something try to make the file `PWNED`; that it is not there is the proof.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import schema
from harness.matrices import Matrix, load_matrix
from harness.mnist import weights
from harness.reading import RECORD_BYTES
from harness.report.collect import update
from harness.schema import ConfigError
from harness.storage.files import StoreError
from harness.storage.store import Store
from harness.sweep import allowed, slurm
from tests.conftest import ROOT, Outcome, Private, tree
from tests.helpers import refused

Harness = Callable[..., Outcome]
PWNED = "PWNED"
EVIL = "<script>alert(1)</script>"


class Bomb:
    """What unpickles by running a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {PWNED}",)


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob(PWNED))


@pytest.fixture
def swept(toy: Private, undisturbed: Path, tmp_path: Path) -> Path:
    """Results of the toy's sweep, a copy."""
    return Path(shutil.copytree(undisturbed, tmp_path / "results"))


@pytest.fixture
def given(swept: Path) -> Path:
    """The same as a stranger gives it away: without cells."""
    shutil.rmtree(swept / "cells")
    return swept


def edit(path: Path, **changes: Any) -> None:
    """Change a record."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal_of_a_report(harness: Harness) -> str:
    """The one line of a report on a results folder with something unusable in it."""
    done = harness("report")
    assert done.code == 2, done
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done
    return lines[0]


# --- A stranger's results -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["os", "../../x", "harness.app", "experiments", "", "toy.os"])
def test_only_a_known_experiment_is_ever_imported(harness, given, name):
    loaded = set(sys.modules)
    edit(given / "toy" / "provenance.json", experiment=name)
    assert re.search(
        rf"experiment={re.escape(name)}: must be one of .*toy", refusal_of_a_report(harness)
    )
    new = set(sys.modules) - loaded - set(schema.experiment_names())
    new -= {"__mp_main__"}  # what multiprocessing calls the main module
    assert {module.partition(".")[0] for module in new} <= sys.stdlib_module_names
    with refused("must be one of", ConfigError):
        schema.build(name, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": ["toy"]}, "experiment=.*string"),
        ({"experiment": None}, "experiment=None: .*string"),
        ({"config": "x"}, "config=x: "),
        ({"config": {}}, "missing"),
        ({"config": {"_target_": "os.system"}}, "missing|unknown"),
        ({"trial_seconds": "nan"}, "trial_seconds=nan: .*number"),
        ({"rows": "many"}, "rows=many: .*integer"),
        ({"cells": None}, "cells=None: .*integer"),
        ({"blas": [1]}, r"blas\.0=1: "),
        ({"profile": {"\x1b[2J": "x" * 10**6}}, "profile={.*string"),
        ({"version": 99}, "version 99"),
        ({"columns": {"trial": "S999999999"}}, "columns must be of types"),
        ({"columns": [["trial"]]}, "columns must be of types"),
        ({"columns": {"trial": "int64"}}, "other columns"),
    ],
)
def test_a_provenance_of_wrong_values_is_refused_in_one_line(harness, given, changes, message):
    edit(given / "toy" / "provenance.json", **changes)
    line = refusal_of_a_report(harness)
    assert re.search(message, line)
    assert len(line) < 1000
    assert line.isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe\x00", b"[" * 10**6, b'{"a":' * 10**6, b"9" * 10**5, pickle.dumps(Bomb())],
    ids=["empty", "binary", "deep list", "deep mapping", "long number", "pickle"],
)
@pytest.mark.parametrize("record", ["toy/provenance.json", "cells/toy.sweep.json"])
def test_a_record_of_garbage_is_refused_in_one_line(harness, swept, record, data):
    (swept / record).write_bytes(data)
    if record.startswith("toy"):
        shutil.rmtree(swept / "cells")
    assert f"{record} cannot be read" in refusal_of_a_report(harness)


def test_a_giant_record_is_not_read(harness, given):
    with (given / "toy" / "provenance.json").open("r+b") as stream:
        stream.truncate(RECORD_BYTES + 1)
    assert "67108865 bytes; at most 67108864 are read" in refusal_of_a_report(harness)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": "os"}, "experiment=os: must be one of"),
        ({"cells": []}, "cells=.*at least 1"),
        ({"cells": [1]}, r"cells\.0=1: "),
        ({"cells": [{"inner": {"size": -1}}]}, r"inner\.size=-1: "),
        ({"seed": "0"}, "seed=0: .*integer"),
        ({"trials": [3]}, "trials=.*integer"),
    ],
)
def test_a_sweep_of_wrong_values_is_refused_in_one_line(harness, swept, changes, message):
    shutil.rmtree(swept / "toy")
    edit(swept / "cells" / "toy.sweep.json", **changes)
    assert re.search(message, refusal_of_a_report(harness))


def test_a_sweep_of_endless_trials_takes_no_time(harness, swept):
    edit(swept / "cells" / "toy.sweep.json", trials=10**15)
    assert harness("report").code == 0
    assert "0 of 4 cells complete, 1000000000000000 trials" in (swept / "REPORT.md").read_text()


@pytest.mark.parametrize(
    "name", ["..", "", "cells", "REPORT.md", "report.html", "-x", f"a{EVIL[:8]}"]
)
def test_a_sweep_whose_name_is_none_is_refused_and_nothing_is_written_for_it(
    harness, swept, tmp_path, name
):
    shutil.rmtree(swept / "toy")
    record = swept / "cells" / "toy.sweep.json"
    record.rename(record.with_name(f"{name}.sweep.json"))
    before = set(tree(tmp_path))
    line = refusal_of_a_report(harness)
    assert f"{name!r} cannot be the name of a sweep: must be at most 100" in line
    assert set(tree(tmp_path)) <= before | {"results/REPORT.md", "results/report.html"}


@pytest.mark.parametrize(
    "columns",
    [
        {"draw": "text"},
        {"status": float("nan")},
        {"size": "../../x"},
        {"draw": float("nan"), "size": float("inf")},
    ],
)
def test_a_table_of_anything_is_reported_or_refused_in_one_line(harness, given, columns):
    store = Store(given)
    table, origin = store.read_table("toy")
    store.write_table("toy", table.assign(**columns), origin)
    done = harness("report")
    assert done.code in (0, 2)
    assert "Traceback" not in done.err
    assert sum(line.startswith("error: ") for line in done.err.splitlines()) == (done.code == 2)


@pytest.mark.parametrize("column", ["draw", "size", "status"])
def test_a_table_without_a_column_is_refused_in_one_line(harness, given, column):
    store = Store(given)
    table, origin = store.read_table("toy")
    store.write_table("toy", table.drop(columns=column), origin)
    assert re.search(
        rf"results: the table of toy has no column {column}|KeyError: .*{column}",
        refusal_of_a_report(harness),
    )
    assert "## toy" not in (given / "REPORT.md").read_text()


def test_text_of_a_table_is_text_in_both_reports(harness, given):
    store = Store(given)
    table, origin = store.read_table("toy")
    table[EVIL] = EVIL
    table["status"] = EVIL
    store.write_table("toy", table, origin | {"profile": EVIL, "commit": EVIL})
    assert harness("report").code == 0
    page = (given / "report.html").read_text()
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert EVIL not in (given / "REPORT.md").read_text()


# --- Links ----------------------------------------------------------------------------------


def outside(tmp_path: Path, moved: Path) -> Path:
    """Move a file or folder out of the results and leave a link in its place."""
    place = tmp_path / "elsewhere" / moved.name
    place.parent.mkdir()
    moved.rename(place)
    moved.symlink_to(place)
    return place.parent


@pytest.mark.parametrize("part", ["toy", "toy/table.csv.gz", "toy/provenance.json", "cells/toy"])
def test_a_link_out_of_the_folder_is_refused_and_nothing_behind_it_changes(
    harness, swept, tmp_path, part
):
    if not part.startswith("cells"):
        shutil.rmtree(swept / "cells")
    elsewhere = outside(tmp_path, swept / part)
    before = tree(elsewhere)
    assert "is a link that leads out of the folder" in refusal_of_a_report(harness)
    assert tree(elsewhere) == before


def test_a_cell_behind_a_link_is_not_even_set_aside_as_damaged(swept, tmp_path):
    segment = next((swept / "cells" / "toy").rglob("*.json"))
    elsewhere = outside(tmp_path, segment)
    (elsewhere / segment.name).write_text("not ours")
    with refused("leads out of the folder", StoreError):
        update(Store(swept), "toy")
    assert tree(elsewhere) == {segment.name: b"not ours"}


def test_a_figure_behind_a_link_is_not_shown(given, tmp_path):
    outside(tmp_path, given / "toy" / "figure.png")
    with refused("leads out of the folder", StoreError):
        Store(given).read_figure("toy")


@pytest.mark.parametrize("part", ["cells", "cells/.submitit"])
def test_the_files_of_slurm_s_jobs_are_not_behind_a_link(swept, tmp_path, part):
    (swept / "cells" / ".submitit").mkdir()
    elsewhere = outside(tmp_path, swept / part)
    before = set(elsewhere.rglob("*"))
    with refused("leads out of the folder", StoreError):
        slurm.new_folder("results", "results/cells/.submitit")
    assert set(elsewhere.rglob("*")) == before


def test_the_files_of_slurm_s_jobs_are_of_this_user_alone(swept, monkeypatch):
    folder = slurm.new_folder("results", "results/cells/.submitit")
    assert folder.parent == swept / "cells" / ".submitit"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with refused("must be a folder of the user who runs this", StoreError):
        slurm.new_folder("results", "results/cells/.submitit")


def test_a_line_break_in_a_path_is_no_line_of_a_job_s_script(tmp_path):
    with pytest.raises(ConfigError, match="must have neither % nor line breaks") as refusal:
        slurm.check_place(f"x\ntouch {PWNED}", f"x\ntouch {PWNED}/cells/.submitit")
    assert "\n" not in str(refusal.value)


def test_a_link_that_leads_to_itself_is_refused(harness, given):
    (given / "toy" / "table.csv.gz").unlink()
    (given / "toy" / "table.csv.gz").symlink_to("table.csv.gz")
    store = Store(given)
    with refused(r"link that leads out|cannot be read", StoreError):
        store.read_table("toy")


def test_a_pipe_is_not_waited_for(harness, given):
    (given / "toy" / "provenance.json").unlink()
    os.mkfifo(given / "toy" / "provenance.json")
    assert "toy/provenance.json is not a regular file" in refusal_of_a_report(harness)


def test_a_results_folder_that_is_a_link_itself_is_fine(harness, swept, tmp_path):
    (tmp_path / "alias").symlink_to(swept)
    assert harness("report", "results=alias").code == 0


@pytest.mark.parametrize(
    "rows",
    [
        "3",
        '["x"]',
        '[{"trial": "0", "seconds": 1}]',
        '[{"trial": 0, "seconds": "1"}]',
        '[{"trial": 0}]',
        '[{"trial": 0, "seconds": 1, "x": {"y": 1}}]',
        "[" * 10**5,
    ],
)
def test_rows_that_no_run_writes_are_set_aside_whatever_their_checksum(swept, rows):
    store = Store(swept)
    [segment, *_] = sorted((swept / "cells" / "toy").rglob("*.json"))
    header = json.dumps({"sha256": hashlib.sha256(rows.encode()).hexdigest()})
    segment.write_text(f"{header}\n{rows}\n")
    update(store, "toy")
    assert not segment.exists()
    assert segment.with_name(segment.name + ".damaged").exists()


FORGED: dict[str, Callable[[str], str]] = {
    "another trial for those who stop reading": lambda row: f'{row},"trial":2',
    "another trial first": lambda row: f'"trial":2,{row}',
    "a repeated key": lambda row: f'{row},"draw":7',
    "a blank before the colon": lambda row: f'{row},"draw" :7',
    "another cell's coordinate": lambda row: f'{row},"size":2',
    "another's coordinate by its escape": lambda row: f'{row},"s\\u0069ze":2',
    "another seed": lambda row: re.sub(r'"seed":\d+', '"seed":1', row),
    "no seed": lambda row: re.sub(r'"seed":\d+,', "", row),
    "no status": lambda row: re.sub(r',"status":"\w+"', "", row),
    "an unknown status": lambda row: re.sub(r'"status":"\w+"', '"status":"fine"', row),
    "no seconds": lambda row: re.sub(r',"seconds":[^,]+', "", row),
    "negative seconds": lambda row: re.sub(r'"seconds":[^,]+', '"seconds":-1', row),
    "endless seconds": lambda row: re.sub(r'"seconds":[^,]+', '"seconds":Infinity', row),
    "seconds that are not a number": lambda row: re.sub(r'"seconds":[^,]+', '"seconds":NaN', row),
    "seconds beyond a float": lambda row: re.sub(r'"seconds":[^,]+', f'"seconds":{10**400}', row),
    "a negative trial": lambda row: re.sub(r'"trial":\d+', '"trial":-1', row),
    "a trial of 5,000 digits": lambda row: re.sub(r'"trial":\d+', f'"trial":{"9" * 5000}', row),
    "a trial of 400 digits": lambda row: re.sub(r'"trial":\d+', f'"trial":{"9" * 400}', row),
    "a number of 66 bits": lambda row: f'{row},"more":{2**65}',
    "a list": lambda row: re.sub(r'"draw":[^,]+', '"draw":[1]', row),
    "null": lambda row: re.sub(r'"draw":[^,]+', '"draw":null', row),
    "text among numbers": lambda row: re.sub(r'"draw":[^,]+', '"draw":"x"', row),
    "a boolean among numbers": lambda row: re.sub(r'"draw":[^,]+', '"draw":true', row),
    "half a character": lambda row: f'{row},"more":"\\ud800"',
    "half a character as a name": lambda row: f'{row},"\\ud800":1',
    "no name": lambda row: f'{row},"":1',
    "a carriage return": lambda row: f'{row},"more":"a\\rb"',
}


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("command", ["report", "-m experiment=toy hydra/launcher=basic"])
def test_forged_rows_are_set_aside_and_measured_again(harness, swept, command, kind):
    """Their checksum is right, and so is the name of their file."""
    before = (swept / "toy" / "table.csv.gz").read_bytes()
    segment = min((swept / "cells" / "toy").rglob("*.json"))
    header, rows = segment.read_text().splitlines()
    first, rest = rows.removeprefix("[{").split("}", 1)
    forged = f"[{{{FORGED[kind](first)}}}{rest}"
    assert forged != rows
    sha = hashlib.sha256(forged.encode()).hexdigest()
    segment.write_text(json.dumps(json.loads(header) | {"sha256": sha}) + f"\n{forged}\n")
    assert harness(*command.split()).code == 0
    assert segment.with_name(f"{segment.name}.damaged").exists()
    assert (swept / "toy" / "table.csv.gz").read_bytes() == before
    assert harness("-m", "experiment=toy", "hydra/launcher=basic").code == 0
    assert (swept / "toy" / "table.csv.gz").read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [b"[" * 10**5 + b"\n[]\n", b'["kernel"]\n[]\n', b"3\n[]\n", b'"x"\n[]\n', b"\xff\n[]\n"],
    ids=["deep", "list", "number", "text", "no text"],
)
@pytest.mark.parametrize("name", ["x.json", "y" * 250 + ".json", "é" * 125 + ".json"])
def test_a_segment_of_garbage_is_set_aside_whatever_its_name(harness, swept, name, data):
    before = (swept / "toy" / "table.csv.gz").read_bytes()
    segment = min((swept / "cells" / "toy").rglob("*.json"))
    for _ in range(2):
        segment.with_name(name).write_bytes(data)
        assert harness("-m", "experiment=toy", "hydra/launcher=basic").code == 0
        assert not segment.with_name(name).exists()
    assert len(list(segment.parent.glob("*.damaged"))) == 2
    assert (swept / "toy" / "table.csv.gz").read_bytes() == before


# --- Matrices and weights -------------------------------------------------------------------


def test_a_pickled_matrix_is_refused(tmp_path):
    path = tmp_path / "W.npy"
    np.save(path, np.array([[Bomb()]], dtype=object), allow_pickle=True)
    with refused(r"network\.weights=.*must be a \.npy or \.npz", ValueError):
        load_matrix(str(path))
    path.write_bytes(pickle.dumps(Bomb()))
    with refused(r"network\.weights=.*must be a \.npy or \.npz", ValueError):
        load_matrix(str(path))
    np.savez(tmp_path / "W.npz", W=np.array([Bomb()], dtype=object), allow_pickle=True)
    with refused(r"network\.weights=.*must be a \.npy or \.npz", ValueError):
        load_matrix(str(tmp_path / "W.npz"))


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_archive_is_one_line(tmp_path, data):
    (tmp_path / "W.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"must be a \.npy or \.npz") as refusal:
        load_matrix(str(tmp_path / "W.npz"))
    assert "\n" not in str(refusal.value)


def test_a_member_of_an_archive_stays_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "W.npz", "w") as archive:
        archive.writestr(f"../{PWNED}", "x")
    with refused("real matrix", ValueError):
        load_matrix(str(tmp_path / "W.npz"))
    assert not (tmp_path.parent / PWNED).exists()


def test_a_stored_cell_opens_no_file_until_it_is_measured(tmp_path):
    """Its weights are a path of whoever measured it; here it may be anything."""
    stored = {"n": 3, "ell": 9, "law": "file", "weights": "/dev/stdin", "sha256": "0" * 16}
    matrix = Matrix(**stored)
    assert (matrix.n, matrix.ell, matrix.law) == (3, 9, "file")
    path = tmp_path / "W.npy"
    np.save(path, np.ones((9, 3)))
    other = Matrix(**stored | {"weights": str(path)})
    with refused(r"network\.sha256=0000000000000000: the file has", ValueError):
        other.sample(np.random.default_rng(0))
    fresh = Matrix(n=1, ell=1, law="gaussian", weights=str(path)).prepared()
    again = Matrix(**vars(fresh))
    np.testing.assert_array_equal(again.sample(np.random.default_rng(0)), np.ones((9, 3)))
    assert again == fresh


def test_a_malicious_checkpoint_is_not_unpickled(tmp_path):
    torch = pytest.importorskip("torch")
    from harness.mnist import training
    from harness.mnist.dcgan import CheckpointError

    torch.save({"step": Bomb()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "c.pt").write_bytes(b"")
    for name in ("a.pt", "b.pt", "c.pt"):
        with refused("is damaged", CheckpointError):
            training._read(tmp_path / name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps(Bomb()),
        (2**62).to_bytes(8, "little") + b"{}",
        (8).to_bytes(8, "little") + b'{"a":1} ',
    ],
)
def test_weights_that_are_no_safetensors_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "w.safetensors").write_bytes(data)
    sums = {"w.safetensors": weights.checksum(data)}
    (tmp_path / weights.CHECKSUMS).write_text(json.dumps(sums))
    with refused("is no safetensors file", weights.WeightsError):
        weights.load("w", tmp_path)


# --- Configurations -------------------------------------------------------------------------

TOUCH = "subprocess.run"
CALLS = [
    f"hydra.launcher._target_={TOUCH} +hydra.launcher.args=[touch,{PWNED}]",
    "hydra.launcher._target_=harness.app.os.system",
    f"hydra.sweeper._target_={TOUCH}",
    f"+hydra.sweeper.params={{a:{{_target_:builtins.open,file:{PWNED},mode:w}}}}",
    f"+hydra.launcher.extra={{_target_:builtins.open,file:{PWNED},mode:w}}",
    f"+hydra.launcher.extra=[{{_target_:builtins.open,file:{PWNED},mode:w}}]",
    f"+hydra.callbacks.x={{_target_:builtins.open,file:{PWNED},mode:w}}",
    f"+hydra.callbacks.x={{_target_:{TOUCH},args:[touch,{PWNED}]}}",
    "+hydra.callbacks.x={_target_:harness.app.Store,root:x}",
    f"+hydra.job_logging.handlers.x={{class:builtins.open,file:{PWNED},mode:w}}",
    f"+hydra.hydra_logging.handlers.x={{class:{TOUCH},args:[touch,{PWNED}]}}",
    f"+hydra.hydra_logging.formatters.x={{class:{TOUCH},args:[touch,{PWNED}]}}",
    f"+hydra.job_logging.handlers.x={{class:logging.os.system,command:'touch {PWNED}'}}",
    "+hydra.job_logging.handlers.x={class:logging.StreamHandler,stream:ext://os.environ}",
    f"+hydra.job_logging.handlers.x={{class:logging.FileHandler,filename:{PWNED}}}",
    "+hydra.job_logging.formatters.line.class=logging.FileHandler",
    "hydra.job_logging.handlers.console.class=${nowhere}",
    "hydra/sweeper=basic",
]


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_a_configuration_names_is_refused_before_it_is_made(harness, mode, call):
    line = harness(*mode, "experiment=toy", *re.split(r" (?=\+)", call)).refusal
    assert re.search(r"hydra\..*(_target_|class|stream)=.*: (must be one of|is not allowed)", line)


def test_a_known_launcher_and_plain_logging_are_fine(harness):
    launcher = "hydra.launcher._target_=hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    stream = "hydra.job_logging.handlers.console.stream=ext://sys.stdout"
    assert harness("-m", "experiment=toy", launcher, stream).code == 0


def yaml_of(private: Private, folder: Path, text: str) -> list[str]:
    """A --config-dir with the experiment `evil`, the toy's with some lines more."""
    conf = folder / "conf"
    (conf / "experiment").mkdir(parents=True, exist_ok=True)
    toys = (private.conf / "experiment" / "toy.yaml").read_text()
    (conf / "experiment" / "evil.yaml").write_text(f"{toys}name: evil\n{text}")
    return ["--config-dir", str(conf), "experiment=evil"]


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
@pytest.mark.parametrize(
    "text",
    [
        f"hydra: {{callbacks: {{x: {{_target_: builtins.open, file: {PWNED}, mode: w}}}}}}",
        f"evil: {{_target_: builtins.open, file: {PWNED}, mode: w}}\n"
        "hydra: {callbacks: {x: '${evil}'}}",
        f"hydra: {{job_logging: {{handlers: {{x: {{class: builtins.open, file: {PWNED}}}}}}}}}",
        "hydra: {job_logging: {handlers: '${evil.${hydra.job.num}}'}}",
    ],
    ids=["plain", "reference", "logging", "later"],
)
def test_a_call_in_a_file_is_refused_in_the_same_way(harness, private, tmp_path, mode, text):
    line = harness(*mode, *yaml_of(private, tmp_path, text)).refusal
    assert re.search(r"hydra\..*: is not allowed|hydra\..*: must be one of", line)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with configurations, which does something when it is imported."""
    name = "stranger"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f"open({PWNED!r}, 'w')")
    (tmp_path / name / "s.yaml").write_text(f"hydra: {{searchpath: ['pkg://{name}']}}")
    (tmp_path / name / "config.yaml").write_text(f"hydra: {{searchpath: ['pkg://{name}']}}")
    (tmp_path / "s.pickle").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    "command",
    [
        "-cp {folder} -cn s",
        "-cp {folder}",
        "-cp pkg://stranger",
        "--config-path={folder} --cfg hydra",
        "--config-n=s",
        "--experimental-rerun s.pickle",
        "hydra.searchpath=[pkg://stranger]",
        "+hydra.searchpath=[/nowhere,pkg\\://stranger]",
        "--hydra-help +hydra.hydra_logging.handlers.x.class=stranger",
    ],
)
@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
def test_nothing_is_imported_while_a_configuration_is_composed(
    harness, package, tmp_path, mode, command
):
    words = command.format(folder=tmp_path / package).split()
    line = harness(*mode, *words, "experiment=toy").refusal
    assert re.search(r"is not allowed; --config-dir=|must be of folders|takes no settings", line)


def test_a_folder_of_configurations_and_hydra_s_help_are_fine(harness, private, tmp_path):
    yaml_of(private, tmp_path, "")
    assert harness("experiment=toy", f"hydra.searchpath=[{tmp_path / 'conf'}]").code == 0
    assert harness("--config-name=config", "experiment=toy").code == 0
    assert harness("--hydra-help").code == 0


def test_a_target_in_an_experiment_s_own_settings_is_an_unknown_key(harness, private, tmp_path):
    text = f"inner: {{_target_: builtins.open, file: {PWNED}, size: 1, sizes: null}}"
    arguments = yaml_of(private, tmp_path, "")
    toys = (tmp_path / "conf" / "experiment" / "evil.yaml").read_text()
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(
        re.sub(r"^inner: .*$", text, toys, flags=re.M)
    )
    assert "inner._target_=builtins.open: unknown key" in harness(*arguments).refusal


@pytest.mark.parametrize("axis", ["hydra.job.name", "+hydra.callbacks", "hydra/launcher"])
def test_an_axis_is_no_setting_of_hydra(harness, private, tmp_path, axis):
    with refused("must be a setting of the experiment", ConfigError):
        allowed.check_axis(axis)
    grids = yaml_of(private, tmp_path, f"hydra: {{sweeper: {{grids: [{{{axis}: [1, 2]}}]}}}}")
    line = harness("-m", *grids).refusal
    assert f"{axis.lstrip('+')}: an axis must be a setting of the experiment" in line


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
def test_a_reference_is_not_followed_to_what_a_job_calls(harness, private, tmp_path, mode):
    """It is plain logging when the configuration is looked through, and another class in a job."""
    text = (
        "hydra:\n"
        "  job_logging:\n"
        "    names: {plain: logging.StreamHandler, '0': builtins.open}\n"
        "    handlers: {x: {class: '${hydra.job_logging.names.${method}}'}}\n"
    )
    line = harness(*mode, *yaml_of(private, tmp_path, text)).refusal
    assert "hydra.job_logging.handlers.x.class=${hydra.job_logging.names." in line


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["run", "sweep"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job: {env_set: {NUMBA_CACHE_DIR: PWNED}}", r"job\.env_set={'NUMBA_.*: must be {}"),
        ("job: {env_copy: [PATH]}", r"job\.env_set={'PATH'.*: must be {}"),
        (f"run: {{dir: {PWNED}}}", r"run\.dir=PWNED: must be \."),
        ("run: {dir: '${hydra.runtime.output_dir}'}", r"run\.dir=\$.*: must be \."),
        (f"sweep: {{dir: {PWNED}}}", r"sweep\.dir=PWNED: must be \."),
        (f"sweep: {{subdir: {PWNED}}}", r"sweep\.subdir=PWNED: must be \."),
        (f"output_subdir: {PWNED}", r"output_subdir=PWNED: must be null"),
    ],
)
def test_a_job_s_variables_and_hydra_s_folders_are_not_chosen(
    harness, private, tmp_path, mode, text, message
):
    line = harness(*mode, *yaml_of(private, tmp_path, f"hydra: {{{text}}}")).refusal
    assert re.match(rf"error: hydra\.{message}$", line), line


def test_joblib_s_folder_is_not_chosen(harness):
    command = ("-m", "experiment=toy", "hydra/launcher=joblib", "hydra.launcher.temp_folder=x")
    assert harness(*command).refusal == "error: hydra.launcher.temp_folder=x: must be null"


def test_a_reference_in_place_of_hydra_s_folders_is_refused(harness):
    line = harness("experiment=toy", "hydra.run=${hydra.sweep}").refusal
    assert line == "error: hydra.run.dir=${hydra.sweep}: must be ."


@pytest.mark.parametrize(
    "text",
    [
        f"evil: !!python/object/apply:os.system ['touch {PWNED}']",
        f"evil: !!python/object/new:os.system ['touch {PWNED}']",
        "evil: !!python/name:os.system",
        "evil: !!python/module:antigravity",
        "evil: [",
    ],
)
def test_yaml_makes_no_objects(harness, private, tmp_path, text):
    line = harness(*yaml_of(private, tmp_path, text)).refusal
    assert re.search(r"evil\.yaml.*line", line)
    assert "antigravity" not in sys.modules


def test_nothing_in_the_code_unpickles_or_evaluates():
    """Loaders that run what they read, by name; `torch.load` always with weights_only."""
    risky = re.compile(
        r"\bpickle\b|\bmarshal\b|\bshelve\b|\bjoblib\.load\b|allow_pickle=True|\beval\(|\bexec\(|"
        r"yaml\.(unsafe_|full_)?load\b|read_pickle|\binstantiate\("
    )
    for package in ("harness", "experiments", "hydra_plugins"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if path.name == "slurm.py":  # results of jobs that this process itself has submitted
                text = text.replace("import pickle\n", "").replace("pickle.loads(job.", "")
            if path.name == "compiled.py":  # compiled code, kept where Python keeps its own
                text = text.replace("import pickle\n", "").replace("pickle.loads(data)", "")
            text = text.replace("result_pickle", "")
            assert not risky.search(text.replace("import torch\n", "").replace(".eval()", "")), path
            assert text.count("torch.load(") == text.count("weights_only=True"), path
