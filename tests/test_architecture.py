"""Who may import whom, and what: read off the source, and off a fresh interpreter."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT, TIMEOUT

ROWS: dict[str, int] = {
    "harness": 0,
    "harness.arrays": 0,
    "harness.compiled": 0,
    "harness.errors": 0,
    "harness.reading": 0,
    "harness.registry": 0,
    "harness.scaling": 0,
    "harness.network": 0,
    "harness.theory": 0,
    "harness.stats": 0,
    "harness.laws": 0,
    "harness.status": 0,
    "harness.streams": 0,
    "harness.problem": 1,
    "harness.identifiability": 1,
    "harness.conditions": 1,
    "harness.landscape": 1,
    "harness.descent": 1,
    "harness.priors": 1,
    "harness.claims": 1,
    "harness.ranges": 2,
    "harness.experiment": 2,
    "harness.selection": 2,
    "harness.ensemble": 2,
    "harness.matrices": 2,
    "harness.figures": 2,
    "harness.gallery": 2,
    "harness.peers": 2,
    "harness.mnist": 2,
    "experiments": 2,
    "harness.storage": 3,
    "experiments.storage": 3,
    "harness.mnist.pictures": 3,
    "harness.mnist.training": 3,
    "harness.schema": 4,
    "harness.report": 4,
    "harness.sweep": 4,
    "harness.commands": 5,
    "harness.app": 5,
    "harness.__main__": 5,
    "hydra_plugins": 5,
}
"""Row of a module or of a package with all it holds; a new module has to be given one here."""

UNKNOWN = 99

NUMERICAL = {"numpy", "scipy", "numba", "annotated_types"}
"""What rows 0 to 2 may use beside the standard library (the last: ranges of settings)."""


TORCH = {"harness.mnist.dcgan", "harness.mnist.decoder", "harness.mnist.sgd"}
"""Modules that need PyTorch: they are imported inside functions alone."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where the statement stands."""

    target: str
    typing_only: bool
    in_function: str | None


def modules() -> dict[str, Path]:
    """Dotted name -> file of everything that is ours."""
    found = {}
    for package in ("harness", "experiments", "hydra_plugins"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_ours(name: str) -> bool:
    return name.split(".")[0] in {"harness", "experiments", "hydra_plugins"}


def row(module: str) -> int:
    """Row of a module by the longest name of the table that it begins with."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in ROWS and (name != "harness" or length == len(parts)):
            return ROWS[name]
    return UNKNOWN


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Everything a module imports; of `from a import b` the module a.b where there is one."""

    def walk(node: ast.AST, typing_only: bool, function: str | None) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    for alias in names:
                        yield Import(alias.name, typing_only, function)
                case ast.ImportFrom(module=source, names=names, level=level):
                    assert level == 0, f"{module}: imports are absolute"
                    assert source is not None
                    for alias in names:
                        inner = f"{source}.{alias.name}"
                        yield Import(inner if inner in MODULES else source, typing_only, function)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    yield from walk(ast.Module(child.body, []), True, function)
                    yield from walk(ast.Module(child.orelse, []), typing_only, function)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    yield from walk(child, typing_only, name)
                case _:
                    yield from walk(child, typing_only, function)

    return tuple(walk(ast.parse(MODULES[module].read_text()), False, None))


def outside(module: str) -> set[str]:
    """Packages that are neither ours nor the standard library's, imported to be run."""
    return {
        root
        for item in imports(module)
        if not item.typing_only
        and not is_ours(root := item.target.split(".")[0])
        and root not in sys.stdlib_module_names
    }


every_module = pytest.mark.parametrize("module", MODULES)


# --- Layers ---------------------------------------------------------------------------------


@every_module
def test_a_module_imports_from_its_own_row_or_lower_ones(module):
    for item in imports(module):
        if is_ours(item.target):
            assert row(item.target) <= row(module), f"{module} imports {item.target}"


@every_module
def test_a_module_has_a_row(module):
    assert row(module) != UNKNOWN, "add it to the table of this test and to the design"


def test_every_row_of_the_table_is_a_module_or_a_package():
    packages = {name.rpartition(".")[0] for name in MODULES}
    assert set(ROWS) <= set(MODULES) | packages


def test_no_cycles_even_among_imports_for_types():
    graph = {m: {i.target for i in imports(m) if is_ours(i.target)} - {m} for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_no_experiment_imports_another():
    for module in MODULES:
        if module.startswith("experiments."):
            assert not any(item.target.startswith("experiments") for item in imports(module))


# --- What each row may use ------------------------------------------------------------------


@pytest.mark.parametrize("module", [m for m in MODULES if row(m) <= 1])
def test_the_mathematics_needs_numbers_alone(module):
    tables = {"pandas"} if module == "harness.landscape.census" else set()  # what it returns
    solver = {"cvxpy"} if module == "harness.priors.convex" else set()
    assert outside(module) <= {"numpy", "scipy", "numba"} | tables | solver


@pytest.mark.parametrize("module", [m for m in MODULES if row(m) == 2])
def test_ensembles_and_experiments_need_numbers_alone_when_imported(module):
    at_top = {
        item.target.split(".")[0]
        for item in imports(module)
        if not item.typing_only and item.in_function is None
    }
    outside_at_top = {name for name in at_top if not is_ours(name)} - sys.stdlib_module_names
    extra = {"harness.mnist.weights": {"safetensors"}} | {name: {"torch"} for name in TORCH}
    assert outside_at_top <= NUMERICAL | extra.get(module, set())


@every_module
def test_modules_that_need_pytorch_are_imported_inside_functions_alone(module):
    if module not in TORCH:
        for item in imports(module):
            if item.target in TORCH | {"torch"}:
                assert item.in_function is not None or item.typing_only, module


@every_module
def test_cvxpy_is_known_to_the_convex_rivals_alone_and_inside_their_functions(module):
    for item in imports(module):
        if item.target.split(".")[0] == "cvxpy":
            assert module == "harness.priors.convex", module
            assert item.in_function is not None


@every_module
def test_hydra_is_known_to_the_app_and_the_plugin_alone(module):
    if module != "harness.app" and not module.startswith("hydra_plugins"):
        assert not {"hydra", "omegaconf"} & {i.target.split(".")[0] for i in imports(module)}


@every_module
def test_matplotlib_is_known_to_figures_alone_and_inside_its_functions(module):
    for item in imports(module):
        if item.target.split(".")[0] == "matplotlib" and not item.typing_only:
            assert module == "harness.figures", module
            assert item.in_function is not None


PRINTING = {"harness.app", "harness.commands", "hydra_plugins.harness_sweeper"}


@pytest.mark.parametrize("module", [m for m in MODULES if m not in PRINTING])
def test_only_the_app_its_commands_and_its_sweeper_print(module):
    calls = [
        node
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not calls


WRITERS = {"write_text", "write_bytes", "mkdir", "unlink", "rename", "replace", "touch", "rmdir"}


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m not in {"harness.storage.store", "harness.storage.files"}]
)
def test_only_the_store_touches_files(module):
    """By `os`, `shutil` or methods of a path; reading /proc or a README is not meant."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id="open"):
                    raise AssertionError(f"{module}: open")
                case ast.Attribute(attr=name, value=ast.Name(id="os" | "shutil" | "tempfile")):
                    assert name not in WRITERS | {"remove", "makedirs", "copy", "rmtree"}, module
                case ast.Attribute(attr="write_text" | "write_bytes" | "mkdir" | "touch" as name):
                    raise AssertionError(f"{module}: {name}")


@every_module
def test_no_module_is_long(module):
    assert len(MODULES[module].read_text().splitlines()) <= 500


# --- What an import loads -------------------------------------------------------------------

HEAVY = ("hydra", "omegaconf", "matplotlib", "pandas", "pydantic", "numba", "tqdm", "joblib")
"""Packages that take a noticeable time to import."""


def loaded_by(*names: str) -> set[str]:
    """Of HEAVY, what a fresh interpreter has loaded after importing the modules."""
    code = (
        "import json, sys\n"
        + "".join(f"import {name}\n" for name in names)
        + f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_import_of_the_library_and_its_networks_loads_nothing_heavy():
    assert loaded_by("harness", "harness.network", "harness.theory", "harness.problem") == set()


def test_import_of_all_mathematics_and_experiments_loads_at_most_a_compiler():
    names = [m for m in MODULES if row(m) <= 2 and m not in TORCH]
    assert loaded_by(*names) <= {"numba"}


def test_import_of_what_measures_loads_neither_hydra_nor_matplotlib():
    assert loaded_by("harness.sweep.runner", "harness.schema") <= {"pandas", "pydantic"}


def test_an_experiment_is_a_file_of_at_most_300_lines():
    files = sorted((ROOT / "experiments").glob("*.py"))
    lines = {path.name: len(path.read_text().splitlines()) for path in files}
    assert {name for name, count in lines.items() if count > 300} == set()
