"""The command line in one process: cells, sweeps, reports, and how they end."""

from __future__ import annotations

import gzip
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf.errors import OmegaConfBaseException

from harness import __version__ as version
from harness import registry, schema
from harness.app import main
from harness.claims import Verdict
from harness.sweep import sweep
from tests.conftest import ROOT, TIMEOUT, TOY_CELLS, tree, write_own_claim

pytestmark = pytest.mark.slow

TOY = "experiment=toy"
SMALL = "hydra.sweeper.grids=[{inner.size:[1,2]}]"
NETS = "experiment=convergence"
GO_ON = "the same command runs only what is missing: harness -m experiment=toy "


# --- One cell -------------------------------------------------------------------------------


def test_one_cell_is_measured_stored_and_printed(harness, tmp_path):
    done = harness(TOY, "trials=4")
    assert (done.code, done.err) == (0, "")
    assert "4 trials (4 measured now)" in done.out
    assert list(tree(tmp_path / "results")) != []
    assert not (tmp_path / "results" / "toy").exists()


def test_one_cell_again_measures_nothing_and_prints_the_same(harness, tmp_path):
    first = harness(TOY)
    before = tree(tmp_path)
    second = harness(TOY)
    assert tree(tmp_path) == before
    assert "3 trials (0 measured now)" in second.out
    assert second.out.splitlines()[:-1] == first.out.splitlines()[:-1]


def test_nothing_is_written_outside_results(harness, tmp_path):
    harness(TOY)
    harness("-m", TOY, SMALL)
    harness("report")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_bug_in_a_single_cell_raises(harness, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "3")
    with pytest.raises(ArithmeticError, match="on purpose"):
        harness(TOY)


# --- Sweeps, in this process ----------------------------------------------------------------


def table(folder: Path) -> list[str]:
    return gzip.decompress((folder / "toy" / "table.csv.gz").read_bytes()).decode().splitlines()


def test_a_sweep_says_its_verdicts_and_where_the_report_is(harness, tmp_path):
    done = harness("-m", TOY)
    assert done.code == 0
    verdict, measured, last = done.out.splitlines()
    assert verdict.strip().startswith(tuple(Verdict))
    assert "toy.small: The median of |draw| is small" in verdict
    assert "threshold <= 2 (exploratory)" in measured
    assert last == f"report: {Path('results') / 'REPORT.md'}"
    assert f"{TOY_CELLS}/{TOY_CELLS}" in done.err


def test_a_second_run_measures_nothing_and_changes_no_byte(harness, tmp_path, monkeypatch):
    harness("-m", TOY)
    before = tree(tmp_path)
    monkeypatch.setenv("TOY_BROKEN", "1")  # whatever measures size 1 again fails
    done = harness("-m", TOY)
    assert done.code == 0
    assert tree(tmp_path) == before


def test_more_trials_keep_the_rows_and_fewer_show_the_first(harness, tmp_path):
    harness("-m", TOY, SMALL)
    three, cells = table(tmp_path / "results"), tree(tmp_path / "results" / "cells" / "toy")
    harness("-m", TOY, SMALL, "trials=6")
    six = table(tmp_path / "results")
    assert set(three) < set(six)
    assert cells.items() <= tree(tmp_path / "results" / "cells" / "toy").items()
    harness("-m", TOY, SMALL, "trials=3")
    assert table(tmp_path / "results") == three
    harness("-m", TOY, SMALL, "trials=6", "results=fresh")
    assert table(tmp_path / "fresh") == six


def test_other_thresholds_judge_anew_without_measuring(harness, tmp_path, monkeypatch):
    first = harness("-m", TOY, SMALL, "thresholds.median=100")
    assert "SUPPORTED" in first.out
    cells = tree(tmp_path / "results" / "cells" / "toy")
    second = harness("-m", TOY, SMALL, "thresholds.median=1e-9")
    assert "REFUTED" in second.out
    assert tree(tmp_path / "results" / "cells" / "toy") == cells


def test_a_name_of_ones_own_keeps_a_sweep_apart_and_shares_the_cells(harness, tmp_path):
    harness("-m", TOY, SMALL)
    first = tree(tmp_path / "results" / "toy")
    cells = tree(tmp_path / "results" / "cells" / "toy")
    harness("-m", TOY, SMALL, "name=mine", "inner.size=2,3")
    assert tree(tmp_path / "results" / "toy") == first
    assert tree(tmp_path / "results" / "cells" / "toy").items() >= cells.items()
    assert (tmp_path / "results" / "mine" / "table.csv.gz").exists()


def cells_of(lines: list[str]) -> set[str]:
    """The coordinates (size, scale, method) of a table's rows."""
    return {",".join(line.split(",")[:3]) for line in lines[1:]}


def test_the_command_line_replaces_an_axis_in_every_grid(harness, tmp_path):
    harness("-m", TOY, "inner.size=8,9")
    grids = {"8,1.0,plain", "9,1.0,plain", "8,1.0,fancy", "9,1.0,fancy"}
    assert cells_of(table(tmp_path / "results")) == grids


def test_the_command_line_fixes_an_axis_in_every_grid(harness, tmp_path):
    harness("-m", TOY, "scale=0.5", "inner.size=2")
    assert cells_of(table(tmp_path / "results")) == {"2,0.5,plain", "2,0.5,fancy"}


@pytest.mark.parametrize("override", ["inner={size:7}", "inner={size:7,sizes:null}"])
def test_a_group_given_whole_reaches_the_cells_that_are_planned(harness, tmp_path, override):
    """What is validated and listed is what the launcher measures."""
    harness("-m", TOY, override)
    assert cells_of(table(tmp_path / "results")) == {"7,1.0,plain", "7,1.0,fancy"}
    facts = json.loads((tmp_path / "results" / "toy" / "provenance.json").read_text())
    assert (facts["cells"], facts["cells_complete"]) == (2, 2)


@pytest.mark.parametrize(
    ("grids", "cells"),
    [
        ("[{}]", {"3,1.0,plain"}),
        ("[]", {"3,1.0,plain"}),
        ("[{scale:[0.5,2]}]", {"3,0.5,plain", "3,2.0,plain"}),
        ("[{scale:2}]", {"3,2.0,plain"}),
        ("[{inner.sizes:[null,[1,2]]}]", {"3,1.0,plain", "3,1-2,1.0"}),
        ("[{method:[plain,fancy]},{method:[fancy]}]", {"3,1.0,plain", "3,1.0,fancy"}),
    ],
)
def test_grids_may_hold_any_value(harness, tmp_path, grids, cells):
    assert harness("-m", TOY, f"hydra.sweeper.grids={grids}").code == 0
    lines = table(tmp_path / "results")
    if "sizes" in grids:  # an optional coordinate has a column where some cell has it
        assert len({line.split(",")[0] for line in lines[1:]}) == 1
        assert sum("1-2" in line for line in lines) >= 3
        assert sum("nan" in line for line in lines) >= 3
    else:
        assert cells_of(lines) == cells


def test_a_cell_that_raises_does_not_stop_the_others(harness, tmp_path, monkeypatch):
    harness("-m", TOY, "results=whole")
    monkeypatch.setenv("TOY_BROKEN", "2")
    done = harness("-m", TOY)
    assert done.code == 1
    assert f"\n1 of {TOY_CELLS} cells failed:\n  1 x ArithmeticError: broken on purpose" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    assert set(table(tmp_path / "results")) < set(table(tmp_path / "whole"))
    monkeypatch.delenv("TOY_BROKEN")
    assert harness("-m", TOY).code == 0
    assert table(tmp_path / "results") == table(tmp_path / "whole")


def test_a_sweep_whose_every_cell_raises_says_so(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "3")
    done = harness("-m", TOY, "hydra.sweeper.grids=[{}]")
    assert done.code == 1
    assert "1 of 1 cells failed:" in done.err
    assert "no rows yet" in done.out
    assert "No rows yet." in (tmp_path / "results" / "REPORT.md").read_text()


@pytest.mark.parametrize("size", [1, 2])
def test_a_sweep_whose_later_jobs_cannot_begin_ends_like_one_whose_cells_fail(
    harness, tmp_path, monkeypatch, size
):
    """The results folder is spoilt by the time the first cell is measured."""
    harness(TOY, "results=elsewhere")  # makes the class known
    toy = sys.modules["own_claims.toy"].Toy
    trial, mark = toy.trial, tmp_path / "results" / "cells" / "SCHEMA"

    def spoil(self: object, rng: object) -> object:
        mark.write_text("99\n")
        return trial(self, rng)

    with monkeypatch.context() as patch:
        patch.setattr(toy, "trial", spoil)
        done = harness("-m", TOY, f"cells_per_job={size}")
    lost = TOY_CELLS - size
    assert done.code == 1
    assert f"\n{lost} of {TOY_CELLS} cells failed:\n  {lost} x holds cells of schema" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)
    assert "toy.small" in done.out
    mark.unlink()
    assert harness("-m", TOY).code == 0


@pytest.mark.parametrize("method", ["judge", "summary", "figure"])
def test_failed_cells_are_told_even_if_what_is_left_cannot_be_judged_or_drawn(
    harness, tmp_path, monkeypatch, method
):
    """A figure is written for a whole table; with cells missing it may well raise."""
    harness(TOY, "results=elsewhere")  # makes the class known
    monkeypatch.setenv("TOY_BROKEN", "2")
    command = ["-m", TOY, SMALL]

    def fail(self: object, rows: object) -> None:
        raise ValueError("no such rows")

    monkeypatch.setattr(sys.modules["own_claims.toy"].Toy, method, fail)
    done = harness(*command)
    assert done.code == 1
    assert "1 of 2 cells failed:" in done.err
    assert done.err.splitlines()[-1].startswith(GO_ON)


def test_another_sweeps_broken_table_does_not_hide_this_ones_result(harness, tmp_path):
    harness("-m", TOY, SMALL, "name=old")
    shutil.rmtree(tmp_path / "results" / "cells")
    with (tmp_path / "results" / "old" / "table.csv.gz").open("ab") as stream:
        stream.write(b"1,2,3\n")
    done = harness("-m", TOY, SMALL)
    assert "toy.small" in done.out
    report = (tmp_path / "results" / "REPORT.md").read_text()
    assert "## toy" in report


# --- What Ctrl-C and the planner do, without a signal ---------------------------------------


def test_an_interrupt_is_said_in_one_line(harness, monkeypatch):
    harness(TOY, "results=elsewhere")

    def interrupt(self: object, rng: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["own_claims.toy"].Toy, "trial", interrupt)
    for mode in ([], ["-m"]):
        done = harness(*mode, TOY)
        assert done.code == 130
        assert "the same command goes on from there" in done.err.splitlines()[-1]


def test_an_interrupt_that_a_library_turns_into_an_error_of_its_own_is_still_one(
    harness, monkeypatch
):
    """OmegaConf does, when Ctrl-C meets a copy: it raises that None has no attribute."""

    def masked(config: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise OmegaConfBaseException("'NoneType' object has no attribute")

    monkeypatch.setattr(sweep, "read", masked)
    handler = signal.getsignal(signal.SIGINT)
    for mode in ([], ["-m"]):
        done = harness(*mode, TOY)
        assert done.code == 130
        assert "the same command goes on from there" in done.err.splitlines()[-1]
    assert signal.getsignal(signal.SIGINT) == handler


def test_an_unknown_flag_is_refused(harness, tmp_path):
    done = harness("--bogus", TOY)
    assert done.code == 2
    assert "--bogus" in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_help_and_configuration_are_shown(harness, tmp_path):
    for arguments in (["--cfg", "job", TOY], ["--help", TOY]):
        shown = harness(*arguments)
        assert (shown.code, shown.err) == (0, "")
        assert "method: plain" in shown.out
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_experiment(harness):
    shown = harness("--help")
    assert (shown.code, shown.err) == (0, "")
    assert "experiment" in shown.out


def test_python_m_harness_is_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "report", "results=nowhere"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("harness", run_name="__main__")
    assert stop.value.code == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_version_is_the_one_of_the_package(harness):
    assert harness("--version").out == f"harness {version}\n"


# --- Claims of one's own --------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the claim of docs/own-claim.md."""
    write_own_claim(tmp_path)
    return tmp_path / "my_claims"


SWEEP = ("-m", "experiment=norms", "claims=my_claims", "trials=5")


def test_the_claim_of_the_docs_runs_as_printed(harness, tmp_path, mine):
    done = harness(*SWEEP)
    assert done.code == 0, done.err
    assert done.out.strip().startswith(tuple(Verdict))
    assert (tmp_path / "results" / "norms" / "figure.png").stat().st_size > 1000


def test_a_report_of_claims_that_it_is_not_told_of_says_so_and_writes_the_others(
    harness, tmp_path, mine
):
    harness("-m", TOY, SMALL)
    harness(*SWEEP)
    registry.forget_claims()
    schema._adapter.cache_clear()  # a process of its own has no such memory
    without = harness("report")
    errors = [line for line in without.err.splitlines() if line.startswith("error: ")]
    assert (without.code, len(errors)) == (2, 2)
    assert all("a claim of your own needs claims=FOLDER" in line for line in errors)
    told = harness("report", "claims=my_claims")
    assert "norms.half" in told.out
    assert "## norms" in (tmp_path / "results" / "REPORT.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ("experiment=norms claims=nowhere", "claims=nowhere: must be a folder"),
        ("experiment=norms claims=", "claims=: must be a folder"),
        ("experiment=norms claims=my_claims/norms.py", "norms.py: must be a folder"),
        ("experiment=norms claims=empty", "claims=empty: holds no claim"),
        ("experiment=norms claims=my_claims claims=empty", "claims=empty: one folder"),
        ("experiment=norms claims=bare", "claims=bare: norms.yaml has no norms.py beside it"),
        ("experiment=helper claims=my_claims", "helper.py has no helper.yaml beside it"),
        ("experiment=norms claims=clash", "claims=clash: wdc is an experiment of the harness"),
        ("experiment=norms claims=broken", r"norms.yaml cannot be read \(.+\)"),
        ("experiment=norms claims=list", "norms.yaml must be a mapping"),
        ("experiment=norms claims=dashed", "claims=dashed: my-norms.yaml: a claim's name"),
        ("experiment=norms claims=a$b", r"a\$b: the path must not contain '\$'"),
        ("experiment=norms +claims=my_claims", "claims"),
        ("experiment=wdc ++claims=my_claims", "claims=my_claims: must be given as claims=FOLDER"),
        ("experiment=bogus claims=my_claims", "experiment=bogus: must be one of .*, norms, .*wdc$"),
        ("train claims=my_claims", "claims=my_claims: unknown key"),
        ("report claims=nowhere", "claims=nowhere: must be a folder"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["run", "sweep"])
def test_claims_that_cannot_be_used_are_refused_in_one_line(
    harness, tmp_path, mine, mode, arguments, pattern
):
    (mine / "helper.py").touch()
    for name, files in {
        "empty": [],
        "bare": ["norms.yaml"],
        "clash": ["wdc.yaml", "wdc.py"],
        "dashed": ["my-norms.yaml", "my-norms.py"],
        "a$b": ["norms.yaml", "norms.py"],
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    for name, text in {"broken": "a: {", "list": "[1, 2]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "norms.yaml").write_text(text)
        (tmp_path / name / "norms.py").touch()
    words = arguments.split()
    command = words[0] in ("train", "report")
    before = tree(tmp_path)
    line = harness(*([] if command else mode), *words).refusal
    assert re.search(pattern, line), line
    assert tree(tmp_path) == before


@pytest.mark.parametrize("mode", [[], ["-m"]], ids=["run", "sweep"])
def test_a_configuration_cannot_name_a_folder_of_claims(harness, capsys, tmp_path, mine, mode):
    """A folder of claims is code; a folder for --config-dir is not."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = f"# @package _global_\nexperiment: norms\nclaims: {mine}\n"
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(text)
    registry.forget_claims()
    assert main([*mode, "--config-dir", "conf", "experiment=evil"]) == 2
    assert "my_claims: must be given as claims=FOLDER" in capsys.readouterr().err
    assert registry.claims_folder() is None


INJECTED = {
    "an axis": "sweeper: {{grids: [{{claims: [{mine}], network: [expansive, expansive]}}]}}",
    "another parameter": "sweeper: {{params: {{claims: {mine}}}}}",
    "a worker's overrides": "overrides: {{hydra: ['claims={mine}', 'experiment=norms']}}",
}


@pytest.mark.parametrize("text", INJECTED.values(), ids=INJECTED)
def test_no_other_way_leads_from_a_configuration_to_claims(harness, capsys, tmp_path, mine, text):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = "# @package _global_\ndefaults: [noise, _self_]\nname: evil\n"
    own += f"hydra: {{{text.format(mine=mine)}}}\n"
    (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(own)
    registry.forget_claims()
    assert main(["-m", "--config-dir", "conf", "experiment=evil", "plan=true"]) == 2
    line = capsys.readouterr().err
    assert re.search("my_claims: (must be given as claims=FOLDER|is not allowed)", line)
    assert registry.claims_folder() is None


def test_folders_of_the_current_directory_are_not_imported(harness, tmp_path):
    """Neither ours nor what a claim is called means what stands there."""
    for name in ("experiments", "own_claims", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise AssertionError")
        (tmp_path / name / "wdc.py").write_text("raise AssertionError")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "experiment=wdc", "plan=true"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- A user's settings ----------------------------------------------------------------------


def test_settings_of_numba_change_nothing_but_the_place_of_its_cache(harness, monkeypatch):
    own = {"NUMBA_DISABLE_JIT": "1", "NUMBA_OPT": "9", "NUMBA_CACHE_DIR": "/dev/null"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    seen = []

    def look(*_: object) -> int:
        seen.append({name for name in os.environ if name.startswith("NUMBA_")})
        return 0

    monkeypatch.setattr("harness.app._run", look)
    assert harness("experiment=toy").code == 0
    assert seen == [{"NUMBA_CACHE_DIR"}]
    assert {name: os.environ[name] for name in own} == own


def test_settings_of_numba_in_the_current_folder_are_refused(harness, tmp_path):
    """They name the folder of its cache, which holds code."""
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: elsewhere")
    assert harness("experiment=toy").refusal.startswith("error: .numba_config.yaml: ")


def test_variables_of_other_tools_change_nothing(private, undisturbed, tmp_path):
    strange = {"MPLBACKEND": "nonsense", "TQDM_MININTERVAL": "abc", "SOURCE_DATE_EPOCH": "abc"}
    done = private.run(tmp_path, "-m", "experiment=toy", "hydra/launcher=basic", **strange)
    assert done.code == 0, done.err
    for name in ("figure.png", "figure.pdf", "verdict.json"):
        found = (tmp_path / "results" / "toy" / name).read_bytes()
        assert found == (undisturbed / "toy" / name).read_bytes()


@pytest.mark.parametrize("words", [[""], ["-m", ""], ["report", ""]])
def test_an_empty_word_is_refused(harness, words):
    assert "an empty word: give KEY=VALUE" in harness(*words).refusal
