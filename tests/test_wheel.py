"""The installed package: it needs no checkout, and takes no names but its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import __version__
from tests.conftest import ROOT, Outcome, write_own_claim

SOURCES = ("harness", "experiments", "conf", "hydra_plugins")
DATA = {"experiments": "harness/_data/experiments", "conf": "harness/_data/conf"}
"""Where the wheel has the folders that a checkout has beside the package."""
TIMEOUT = 300
"""Seconds for a command; the first one compiles."""


def shipped() -> set[str]:
    """Every source and data file of the tree, by its path in the wheel."""
    paths = [
        path.relative_to(ROOT)
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return {str(Path(DATA.get(path.parts[0], path.parts[0]), *path.parts[1:])) for path in paths}


def test_every_package_of_the_tree_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        settings["package-dir"].get(name, name.replace(".", "/")) for name in settings["packages"]
    }
    folders = {path.parent for name in SOURCES for path in (ROOT / name).rglob("*.py")}
    assert listed == {str(folder.relative_to(ROOT)) for folder in folders} | {"conf"}


def test_the_citation_names_the_paper_and_the_changelog_the_version():
    assert "1905.12576" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def called(command: list[str], cwd: Path) -> Outcome:
    """A command that finds no module by the environment or in its folder."""
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy of the tree."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(dist)]
    done = called([sys.executable, "-m", "pip", "wheel", *options, str(tree)], tree)
    assert done.code == 0, done
    [built] = dist.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel, beside the dependencies of the running interpreter."""

    site: Path
    program: Path

    def run(self, cwd: Path, *arguments: str) -> Outcome:
        return called([str(self.program), *arguments], cwd)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("environment")
    done = called([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder)
    assert done.code == 0, done
    python = folder / "bin" / "python"
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)]
    done = called(pip, folder)
    assert done.code == 0, done
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    installed = Installed(site, folder / "bin" / "harness")
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "dependencies.pth").write_text("\n".join(packages))
    return installed


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_tree_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == shipped()
    assert f"-{__version__}-" in wheel.name


@pytest.mark.slow
def test_only_the_harness_and_its_hydra_plugins_are_installed(installed):
    found = {path.name for path in installed.site.iterdir() if not path.name.endswith(".dist-info")}
    assert found - {"__pycache__"} == {"harness", "hydra_plugins", "dependencies.pth"}


@pytest.mark.slow
def test_the_claim_of_the_docs_runs_from_an_empty_folder_by_workers_too(installed, tmp_path):
    write_own_claim(tmp_path)
    two = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = installed.run(tmp_path, "-m", "experiment=norms", "claims=my_claims", "trials=5", *two)
    assert done.code == 0, done
    assert "norms.half" in done.out
    results = tmp_path / "results"
    assert {path.name for path in tmp_path.iterdir()} == {"my_claims", "results"}
    assert "## norms" in (results / "REPORT.md").read_text()
    assert {"provenance.json", "verdict.json", "claims.csv", "figure.png", "figure.pdf"} <= {
        path.name for path in (results / "norms").iterdir()
    }
    table = (results / "norms").glob("table.csv*")
    assert next(table).stat().st_size > 0
    again = installed.run(tmp_path, "report", "claims=my_claims")
    assert "norms.half" in again.out
    assert again.code == 0, again


@pytest.mark.slow
def test_an_experiment_of_the_harness_runs_from_an_empty_folder(installed, tmp_path):
    done = installed.run(tmp_path, "experiment=hyperbolas", "trials=1", "network.ell=20")
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert installed.run(tmp_path, "--version").out == f"harness {__version__}\n"
