"""The help of the command line, and the commands that list and show experiments."""

from __future__ import annotations

import shutil

import pytest

from harness.commands import COMMANDS, GUIDE
from harness.schema import experiment_names


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_says_what_there_is(harness, arguments):
    done = harness(*arguments)
    assert (done.code, done.err) == (0, "")
    for name in (*COMMANDS, "train"):
        assert f"harness {name}" in done.out


def test_the_guide_fits_a_terminal():
    assert max(map(len, GUIDE.splitlines())) <= 88


def test_the_findings_are_those_of_the_report_and_nothing_is_written(
    harness, toy, undisturbed, tmp_path
):
    shutil.copytree(undisturbed, tmp_path / "results")
    said = harness("report").out.partition("\nreport: ")[0].strip()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = harness("findings")
    assert done.code == 0
    assert done.out.strip()
    assert said.endswith(done.out.strip())
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_without_a_sweep_there_are_no_findings(harness):
    done = harness("findings", "results=nowhere")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: results=nowhere: holds no sweep\n"


@pytest.mark.parametrize("command", [*COMMANDS, "train"])
def test_every_command_has_a_help_of_its_own(harness, command):
    done = harness(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"\nharness {command}" in done.out


def test_the_list_has_every_experiment_with_its_question(harness):
    done = harness("list")
    assert done.code == 0
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert list(lines) == experiment_names()
    assert all(question.endswith((".", "?")) for question in lines.values())


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_is_shown_with_claims_settings_and_profiles(harness, name):
    done = harness("show", name)
    assert (done.code, done.err) == (0, "")
    for words in (f"{name}: ", "\nclaims\n", "\nsettings\n", "profile quick, ", "profile full, "):
        assert words in done.out


def test_a_claim_of_one_s_own_is_listed_and_shown(harness, tmp_path):
    from tests.conftest import write_own_claim

    write_own_claim(tmp_path)
    assert "norms " in harness("list", "claims=my_claims").out
    assert "norms.half" in harness("show", "norms", "claims=my_claims").out


@pytest.mark.parametrize(
    ("module", "configuration", "words"),
    [
        ("def (", "profiles: {}", r"a.py: cannot be used (SyntaxError: "),
        ("x = 1", "profiles: {}", r"a.py: cannot be used (TypeError: "),
        (None, "experiment: a", "a.yaml: has no profiles"),
        (None, "profiles: {quick: 3}", "a.yaml: profiles.quick: must have trials and grids"),
    ],
)
def test_a_claim_of_one_s_own_that_cannot_be_used_is_one_line(
    harness, tmp_path, module, configuration, words
):
    from tests.conftest import write_own_claim

    write_own_claim(tmp_path)
    folder = tmp_path / "my_claims"
    good = (folder / "norms.py").read_text()
    (folder / "a.py").write_text(good if module is None else module)
    (folder / "a.yaml").write_text(configuration)
    assert words in harness("show", "a", "claims=my_claims").err
    listed = harness("list", "claims=my_claims")
    assert listed.code == 0
    assert "norms " in listed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["reprot"],
            "reprot: must be KEY=VALUE or one of compare, findings, gallery, list, pictures",
        ),
        (["reprot"], "did you mean report?"),
        (["-m", "experiment=wcd"], "did you mean wdc?"),
        (["show", "capure"], "did you mean capture?"),
        (["show"], "takes the name of an experiment"),
        (["show", "a", "b"], "takes the name of an experiment"),
        (["gallery", "tours"], "tours: `harness gallery` takes torus first"),
        (["gallery", "torus", "seed=-1"], "seed=-1: must be a whole number from 0 to 10^18"),
        (["gallery", "torus", "n=3"], "n=3: `harness gallery torus` takes to=FOLDER and seed"),
        (["list", "all"], "all: `harness list` takes claims=FOLDER alone"),
    ],
)
def test_a_slip_is_one_line_that_says_what_was_meant(harness, arguments, words):
    assert words in harness(*arguments).refusal
