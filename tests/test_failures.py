"""What is told of the cells of a sweep that failed, and how cells travel to their jobs."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import pytest

from harness import schema
from harness.storage.cell import Cell, Differing
from harness.storage.store import Store
from harness.sweep import sweep
from harness.sweep.failures import KINDS, LINES, UNKNOWN, Failure, describe, failure
from harness.sweep.jobs import batched, pack, run_job, unpack

COMMAND = "harness -m experiment=toy"


def toy_cell(size: int, method: str = "plain") -> Cell:
    values = {
        "inner": {"size": size, "sizes": None},
        "scale": 1.0,
        "method": method,
        "thresholds": {"median": 2.0},
    }
    return Cell("toy", schema.build("toy", values), 0)


@pytest.fixture
def cells(toy: object) -> list[Cell]:
    return [toy_cell(size) for size in range(1, 31)]


def raised(depth: int) -> Exception:
    """An error from a depth of calls, as an except clause has it."""

    def call(left: int) -> None:
        if not left:
            raise ArithmeticError("first line\nsecond line")
        call(left - 1)

    try:
        call(depth)
    except ArithmeticError as error:
        return error
    raise AssertionError


# --- One failure ----------------------------------------------------------------------------


def test_a_failure_is_known_by_its_type_and_the_first_line_of_its_message():
    assert failure(raised(0)).kind == "ArithmeticError: first line"
    assert failure(KeyError()).kind == "KeyError"


def test_of_a_traceback_the_first_lines_are_kept():
    trace = failure(raised(40)).trace.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert len(trace) <= LINES


def test_a_traceback_begins_where_the_experiment_does(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "1")
    [(key, why)] = run_job(Store(tmp_path), cells[:2], 1, 1)
    assert key == cells[0].key
    assert re.match(r'.*\n  File ".*toy\.py", line \d+, in trial\n', why.trace)


def test_a_failure_travels_between_processes():
    why = Failure("kind", "trace")
    assert pickle.loads(pickle.dumps(why)) == why


# --- All of them ----------------------------------------------------------------------------


def test_failures_are_grouped_by_kind_the_most_frequent_first(cells):
    why = {cell.key: Failure("rare", "here") for cell in cells[:2]}
    why |= {cell.key: Failure("frequent") for cell in cells[2:8]}
    lines = describe(cells[:9], cells, why, COMMAND).splitlines()
    assert lines == [
        "9 of 30 cells failed:",
        "  6 x frequent",
        "      such as size=3",
        "  2 x rare",
        "      such as size=1",
        "      | here",
        f"  1 x {UNKNOWN.kind}",
        "      such as size=9",
        f"the same command runs only what is missing: {COMMAND}",
    ]


@pytest.mark.parametrize(
    "messages",
    [
        ["bad 0.123", "bad -4e-05", "bad nan", "bad 17."],
        ["shapes (3,) and (4, 2)", "shapes (5,) and (61, 2)"],
        ["<object at 0x7f7d981df060>", "<object at 0x7f7d9b3d5810>"],
    ],
)
def test_failures_that_differ_in_numbers_are_of_one_kind_with_an_example_in_full(cells, messages):
    failed = cells[: len(messages)]
    why = {
        cell.key: Failure(f"ValueError: {text}")
        for cell, text in zip(failed, messages, strict=True)
    }
    lines = describe(failed, cells, why, COMMAND).splitlines()
    assert lines[1:-1] == [
        f"  {len(messages)} x ValueError: {messages[0]} (the others with other numbers)",
        "      such as size=1",
    ]


def test_many_kinds_are_counted_not_told(cells):
    why = {cell.key: Failure("kind " + "o" * i) for i, cell in enumerate(cells)}
    lines = describe(cells, cells, why, COMMAND).splitlines()
    assert lines[-2] == f"  {30 - KINDS} x {30 - KINDS} other kinds"
    assert len(lines) == 2 * KINDS + 3


def test_a_cell_is_told_by_what_varies(cells):
    assert Differing(cells).label(cells[0]) == "size=1"
    assert Differing([*cells, toy_cell(1, "fancy")]).label(cells[0]) == "size=1, method=plain"
    assert Differing(cells[:1]).label(cells[0]) == "the only cell"


def test_the_command_is_quoted_for_a_shell(harness, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "2")
    done = harness("-m", "experiment=toy", "hydra.sweeper.grids=[{inner.size: [1, 2]}]")
    assert (
        "-m experiment=toy 'hydra.sweeper.grids=[{inner.size: [1, 2]}]' "
        in done.err.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("program", "path", "start"),
    [
        ("here/bin/harness", "here/bin", "harness"),
        ("here/bin/harness", "bin", "./bin/harness"),
        ("here/bin/harness", "", "./bin/harness"),
        ("bin/harness", "here/bin", "{folder}/bin/harness"),
        ("src/harness/__main__.py", "here/bin", "python -m harness"),
        ("src/harness/__main__.py", "bin", "./bin/python -m harness"),
    ],
)
def test_the_command_can_be_pasted(tmp_path, monkeypatch, program, path, start):
    """Its program is told by its name only if a shell finds that very one."""
    for folder in (tmp_path / "bin", tmp_path / "here" / "bin"):
        folder.mkdir(parents=True)
        for name in ("harness", "python"):
            (folder / name).touch(0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", str(tmp_path / path) if path else "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / "bin" / "python"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / program), "-m", "experiment=toy"])
    assert sweep._command() == f"{start.format(folder=tmp_path)} -m experiment=toy"


# --- Jobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "lengths"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_cells_are_grouped_in_order(size, lengths):
    groups = batched(list(range(5)), size)
    assert [len(group) for group in groups] == lengths
    assert [i for group in groups for i in group] == list(range(5))


def test_cells_travel_as_a_short_word(cells):
    word = pack(cells)
    assert re.fullmatch(r"[\w=-]+", word)
    assert len(word) < 30 * len(cells)
    assert [cell.key for cell in unpack(word, "toy", 0)] == [cell.key for cell in cells]


def test_a_word_that_is_none_is_refused():
    with pytest.raises(schema.ConfigError, match="packed=bogus"):
        unpack("bogus", "toy", 0)


def test_the_cells_of_a_job_that_do_not_fail_are_measured(
    cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("TOY_BROKEN", "2")
    store = Store(tmp_path)
    assert [key for key, _ in run_job(store, cells[:3], 3, 1)] == [cells[1].key]
    assert [len(store.missing(cell, 3)) for cell in cells[:3]] == [0, 3, 0]
    assert "ArithmeticError: broken on purpose" in caplog.text
