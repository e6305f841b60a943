"""Files in a results folder that the harness has not written stay as they are."""

from __future__ import annotations

import re
import shutil

import pytest

from harness.report.write import MARKS
from tests.conftest import ROOT, tree

SWEEP = ("-m", "experiment=toy", "hydra/launcher=basic")


@pytest.mark.parametrize("name", MARKS)
def test_a_report_of_someone_else_is_never_overwritten(harness, undisturbed, tmp_path, name):
    shutil.copytree(undisturbed, tmp_path / "results")
    (tmp_path / "results" / name).write_text("mine")
    before = tree(tmp_path)
    for command in (SWEEP, (*SWEEP, "scale=2"), (*SWEEP, "plan=true"), ("report",)):
        line = harness(*command).refusal
        assert (
            f"results=results: {name} exists but was not written by the harness: move it, or choose"
            in line
        )
        assert tree(tmp_path) == before


def test_a_figure_of_someone_else_is_never_overwritten(harness, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "overview.png").write_text("mine")
    before = tree(tmp_path)
    line = harness(*SWEEP).refusal
    assert (
        "results=results: overview.png exists but was not written by the harness: move it" in line
    )
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["figure.png", "claims.csv", "verdict.json"])
def test_a_folder_of_someone_else_is_no_sweep(harness, tmp_path, name):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / name).write_text("mine")
    before = tree(tmp_path)
    line = harness(*SWEEP, "results=.", "name=docs").refusal
    assert re.search(
        rf"results=\.: docs/{name} exists but was not written by a sweep: move it, or choose", line
    )
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["overview.png", "toy/figure.png", "toy/verdict.json"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_measured(
    harness, undisturbed, tmp_path, name
):
    shutil.copytree(undisturbed, tmp_path / "results")
    (tmp_path / "results" / name).unlink(missing_ok=True)
    (tmp_path / "results" / name).mkdir()
    before = tree(tmp_path)
    line = harness(*SWEEP, "scale=2").refusal
    assert f"results=results: {name} is a folder: move it" in line
    assert tree(tmp_path) == before


def test_one_s_own_are_written_again(harness, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "results")
    (tmp_path / "results" / "toy" / "provenance.json").unlink()  # as after a kill
    assert harness(*SWEEP, "scale=2").code == 0
    assert harness("report").code == 0


def test_the_reports_here_are_known(tmp_path):
    for name, mark in MARKS.items():
        path = ROOT / "results" / name
        assert not path.exists() or mark in path.read_text()
