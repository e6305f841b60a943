"""The command line in one process: bad input is one line and exit code 2, nothing is touched."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import shutil
import signal
import sys
from pathlib import Path

import pytest
from omegaconf.errors import OmegaConfBaseException

import experiments
from harness.claims import Verdict
from harness.sweep import sweep
from tests.conftest import ROOT, TOY_CELLS, tree

TOY = "experiment=toy"
SMALL = "hydra.sweeper.grids=[{inner.size:[1,2]}]"
NETS = "experiment=convergence"
GO_ON = "the same command runs only what is missing: harness --config-dir "


# --- Bad input ------------------------------------------------------------------------------

BAD: list[tuple[str, str]] = [
    # the experiment
    ("", "experiment: missing; must be one of .*convergence.*toy"),
    ("-m", "experiment: missing; must be one of .*convergence.*toy"),
    ("experiment=bogus", "experiment=bogus: must be one of .*convergence.*toy"),
    ("-m experiment=bogus", "experiment=bogus: must be one of .*convergence.*toy"),
    ("experiment=", "experiment=: must be one of .*toy"),
    ("experiment=toy,convergence", "experiment=toy,convergence: one experiment at a time"),
    ("-m experiment=toy,convergence", "experiment=toy,convergence: one experiment at a time"),
    ("-m experiment=glob(*)", r"experiment=glob\(\*\): one experiment at a time"),
    # keys
    (f"{TOY} bogus=1", "bogus=1: unknown key"),
    (f"{TOY} +bogus=1", "bogus=1: unknown key of experiment toy"),
    (f"{TOY} ++bogus=1", "bogus=1: unknown key of experiment toy"),
    (f"{TOY} inner.bogus=1", "inner.bogus=1: unknown key"),
    (f"{TOY} +inner.bogus=1", "inner.bogus=1: unknown key of experiment toy"),
    (f"{TOY} thresholds.bogus=1", "thresholds.bogus=1: unknown key"),
    (f"{TOY} ~scale", "scale: missing"),
    (f"-m {TOY} bogus=1", "bogus=1: unknown key"),
    (f"-m {TOY} bogus=1,2", "bogus=1: unknown key of experiment toy"),
    (f"-m {TOY} inner.bogus=1,2", "inner.bogus=1: unknown key of experiment toy"),
    # types
    (f"{TOY} scale=abc", "scale=abc: .*number"),
    (f"{TOY} scale=", "scale=: .*number"),
    (f"{TOY} scale=[1,2]", r"scale=\[1, 2\]: .*number"),
    (f"{TOY} inner.size=2.5", "inner.size=2.5: .*integer"),
    (f"{TOY} inner.size=true", "inner.size=True: .*integer"),
    (f"{TOY} method=magic", "method=magic: .*'plain' or 'fancy'"),
    (f"{TOY} trials=true", "trials=True: .*integer"),
    (f"{TOY} trials=many", "trials=many: .*integer"),
    (f"{TOY} seed=null", "seed=None: .*integer"),
    # ranges
    (f"{TOY} scale=0", "scale=0: .*greater than 0"),
    (f"{TOY} scale=nan", "scale=nan: .*finite"),
    (f"{TOY} trials=0", "trials=0: .*greater than or equal to 1"),
    (f"{TOY} profiles.quick.trials=0", "trials=0: .*greater than or equal to 1"),
    (f"{TOY} cells_per_job=0", "cells_per_job=0: .*greater than or equal to 1"),
    (f"-m {TOY} cells_per_job=0", "cells_per_job=0: .*greater than or equal to 1"),
    (f"-m {TOY} cells_per_job=many", "cells_per_job=many: .*integer"),
    (f"-m {TOY} cells_per_job=1,2", "cells_per_job=1,2: must be the same in all cells"),
    (f"{TOY} plan=maybe", "plan=maybe: .*boolean"),
    (f"-m {TOY} plan=maybe", "plan=maybe: .*boolean"),
    (f"{TOY} packed=bogus", "packed=bogus: is set by a sweep itself"),
    (f"-m {TOY} packed=bogus", "packed=bogus: is set by a sweep itself"),
    (f"{TOY} seed=-1", "seed=-1: .*greater than or equal to 0"),
    (f"{NETS} network.d=0", "network.d=0: .*greater than or equal to 1"),
    (f"{NETS} network.ell=0", "network.ell=0: .*greater than or equal to 1"),
    (f"{NETS} network.widths1=[5,7,199]", "network.widths1=.*end in network.ell = 200"),
    (f"{NETS} network.widths2=[4,7,200]", "network.widths2=.*begin with network.p = 5"),
    (f"{NETS} kappa=0", "kappa=0: .*greater than 0"),
    (f"{NETS} kappa=nan", "kappa=nan: .*finite"),
    (f"{NETS} network=bogus", "network=bogus: must be one of expansive"),
    # names and profiles
    (f"{TOY} name=../up", r"name=\.\./up: "),
    (f"{TOY} name=.hidden", r"name=\.hidden: "),
    (f"{TOY} name=", "name=: "),
    (f"-m {TOY} name=cells", "name=cells: "),
    (f"-m {TOY} name=REPORT.md", r"name=REPORT\.md: "),
    (f"{TOY} profile=bogus", "profile=bogus: must be one of full, paper, quick"),
    (f"{TOY} profile=", "profile=: must be one of full, paper, quick"),
    # sweeps
    (f"-m {TOY} scale=1,2,-3,4", "scale=-3: .*greater than 0"),
    (f"-m {TOY} inner.size=1,two,3", "inner.size=two: .*integer"),
    (f"-m {TOY} scale=interval(0,1)", "(?i)interval"),
    (f"-m {TOY} profile=quick,paper", "profile=quick,paper: must be the same in all cells"),
    (f"-m {TOY} trials=1,2", "trials=1,2: must be the same in all cells"),
    (f"-m {TOY} seed=1,2", "seed=1,2: must be the same in all cells"),
    (f"-m {TOY} hydra.sweeper.grids=[{{seed:[5]}}]", "seed=5: is of the whole sweep"),
    (f"-m {TOY} hydra.sweeper.grids=5", r"grids=5: "),
    (f"-m {TOY} hydra.sweeper.grids=[5]", r"grids=.*5"),
    (f"{TOY} scale=1,2", "scale=1,2.*--multirun"),
    # launchers
    (f"-m {TOY} hydra/launcher=bogus", "hydra/launcher=bogus: must be one of basic, joblib"),
    (f"-m {TOY} hydra/launcher=slurm hydra.launcher.poll_s=soon", "poll_s=soon: .*number"),
    (f"-m {TOY} hydra/launcher=slurm hydra.launcher.cpus_per_task=0", "cpus_per_task=0: .*than"),
    (f"-m {TOY} hydra/launcher=slurm hydra.launcher.timeout_min=0.5", "timeout_min=0.5: .*integer"),
    (f"-m {TOY} hydra/launcher=slurm results=a%j", "results=/.*/a%j: must have neither %"),
    (f"-m {TOY} hydra/launcher=slurm hydra.launcher.submitit_folder=x", "=x: must be in results="),
    (f"-m {TOY} hydra/launcher=joblib hydra.launcher.n_jobs=two", "n_jobs=two"),
    (f"-m {TOY} hydra/launcher=joblib hydra.launcher.n_jobs=0", "n_jobs=0: must be a number of w"),
    (f"-m {TOY} plan=true hydra/launcher=joblib hydra.launcher.n_jobs=0", "n_jobs=0: must"),
    # Hydra's own language
    (f"{TOY} scale", "'scale'"),
    (f"{TOY} scale=[1", r"\[1"),
    (f"{TOY} scale=${{nope}}", "nope"),
    ("reprot", "'reprot'"),
    ("--config-name bogus", "bogus"),
]


@pytest.mark.parametrize(("arguments", "pattern"), BAD, ids=[text or "nothing" for text, _ in BAD])
def test_bad_input_is_one_line_and_nothing_is_touched(harness, tmp_path, arguments, pattern):
    line = harness(*arguments.split()).refusal
    assert line.startswith("error: ")
    assert re.search(pattern, line), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("results", ["/dev/null/x", "/dev/null", "/proc/x"])
@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_results_that_cannot_be_written_are_refused(harness, tmp_path, results, mode):
    line = harness(*mode, TOY, f"results={results}").refusal
    assert re.match(f"error: results={results}: must be a folder that can be written", line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "null", "''"])
def test_results_that_are_no_folder_are_refused(harness, tmp_path, value):
    """The empty path is the current folder, which nobody means."""
    assert "results=" in harness(TOY, f"results={value}").refusal
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[TOY], ["-m", TOY], ["report"]])
def test_results_of_another_schema_are_refused_and_left_as_they_are(harness, tmp_path, command):
    harness("-m", TOY, "hydra.sweeper.grids=[{}]")
    (tmp_path / "results" / "cells" / "SCHEMA").write_text("99\n")
    before = tree(tmp_path)
    line = harness(*command).refusal
    assert re.match("error: results=results: holds cells of schema '99'", line)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["bogus"], "bogus"),
        (["bogus=1"], "bogus=1"),
        (["results="], "results="),
        (["results=nowhere"], "results=nowhere: holds no sweep"),
        (["results=/dev/null/x"], "results=/dev/null/x: "),
        (["-m"], "-m"),
    ],
    ids=str,
)
def test_a_report_of_nothing_is_refused_and_nothing_is_made(harness, tmp_path, arguments, pattern):
    assert re.search(pattern, harness("report", *arguments).refusal)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_value_stops_a_sweep_before_its_first_cell_in_a_folder_in_use(harness, tmp_path):
    harness(TOY)
    before = tree(tmp_path)
    assert harness("-m", TOY, "scale=1,2,-3").refusal
    assert harness(TOY, "trials=0").refusal
    assert tree(tmp_path) == before


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
    *verdicts, last = done.out.splitlines()
    assert len(verdicts) == 1
    assert verdicts[0].strip().startswith(tuple(Verdict))
    assert "toy.small" in verdicts[0]
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
    toy = sys.modules["experiments.toy"].Toy
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

    monkeypatch.setattr(sys.modules["experiments.toy"].Toy, method, fail)
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

    monkeypatch.setattr(sys.modules["experiments.toy"].Toy, "trial", interrupt)
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


# --- The README's experiment ----------------------------------------------------------------


def test_the_experiment_of_the_readme_runs_as_printed(harness, tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    found = re.findall(
        r"`(experiments/\w+\.py|conf/experiment/\w+\.yaml)`:\n\n```\w+\n(.+?)```", text, re.DOTALL
    )
    assert len(found) == 2
    for path, source in found:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    name = Path(found[0][0]).stem
    folder = str(tmp_path / "experiments")
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, folder])
    monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
    search = f"hydra.searchpath=[file://{tmp_path}/conf]"
    done = harness("-m", f"experiment={name}", search, "trials=5")
    assert done.code == 0, done.err
    assert done.out.strip().startswith(tuple(Verdict))
    assert (tmp_path / "results" / name / "figure.png").stat().st_size > 1000
