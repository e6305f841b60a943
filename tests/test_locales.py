"""The same bytes wherever numbers have commas, i has no dot, and text is not UTF-8."""

from __future__ import annotations

import locale
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.collect import update
from harness.report.write import write_report
from harness.storage.store import Store
from tests.conftest import ROOT, TIMEOUT, Private, tree

PLACES = {"de_DE.UTF-8": "UTF-8", "tr_TR.UTF-8": "UTF-8", "tr_TR.ISO-8859-9": "ISO-8859-9"}
"""Locales with decimal commas, by name, and their characters."""


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locales, which few machines have."""
    folder = tmp_path_factory.mktemp("locales")
    for name, characters in PLACES.items():
        region = name.partition(".")[0]
        command = ["localedef", "-i", region, "-f", characters, str(folder / name)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("localedef and its sources (Debian's package locales) are not here")
    return folder


@pytest.fixture(params=PLACES)
def place(request, locales: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A locale in force in this process, as if a module of a user's had set it."""
    monkeypatch.setenv("LOCPATH", str(locales))
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, request.param)
    assert locale.str(0.5) == "0,5"
    yield request.param
    locale.setlocale(locale.LC_ALL, before)


def written(folder: Path) -> dict[str, bytes]:
    """All files of a results folder but the time of writing in provenance.json."""
    return {path: data for path, data in tree(folder).items() if "provenance" not in path}


@pytest.mark.slow
def test_a_stored_table_gives_the_same_files_in_every_locale(place, tmp_path):
    """Of a whole experiment: table, verdicts, figures, CSV, LaTeX and both reports."""
    store = Store(tmp_path / "results")
    shutil.copytree(ROOT / "results" / "figure1", store.root / "figure1")
    table, origin = store.read_table("figure1")
    store.write_table("figure1", table, origin)
    write_report(store, [update(store, "figure1")])
    found = written(store.root)
    locale.setlocale(locale.LC_ALL, "C")
    write_report(store, [update(store, "figure1")])
    assert written(store.root) == found
    packed = (ROOT / "results" / "figure1" / "table.csv.gz").read_bytes()
    assert found["figure1/table.csv.gz"] == packed


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_a_sweep_gives_the_same_table_in_every_locale(
    private: Private, undisturbed: Path, locales: Path, tmp_path: Path, name: str
):
    environment = {"LOCPATH": str(locales), "LC_ALL": name, "LANG": name, "PYTHONUTF8": "0"}
    done = private.run(tmp_path, "-m", "experiment=toy", "hydra/launcher=basic", **environment)
    assert done.code == 0, done.err
    expected = written(undisturbed / "toy")
    assert written(tmp_path / "results" / "toy") == expected
