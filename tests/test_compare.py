"""Folders that agree exactly, to a tolerance, or not; and where they differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.storage.compare import compare
from harness.storage.store import Store
from tests.conftest import tree

INF, NAN = float("inf"), float("nan")
TABLE = pd.DataFrame(
    {
        "ell": [100, 100, 200],
        "trial": [0, 1, 0],
        "loss": [1.0, NAN, INF],
        "found": [True, False, True],
        "status": ["ok", "nonfinite", "ok"],
    }
)


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    other = TABLE.copy()
    other.loc[row, column] = value
    return other


def test_equal_tables_are_exactly_equal():
    assert compare(TABLE, TABLE.copy(), 0.0) == (True, "exactly equal, 3 rows")


def test_last_bits_are_within_the_tolerance_and_shown():
    agree, text = compare(TABLE, changed("loss", 0, 1.0 + 1e-12), 1e-9)
    assert agree
    assert text == (
        "equal to rtol=1e-09, 3 rows; worst in loss, line 2 of the CSV: 1.0 and 1.000000000001"
    )
    assert not compare(TABLE, changed("loss", 0, 1.0 + 1e-12), 1e-13)[0]


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("loss", 1, 0.5),
        ("loss", 2, -INF),
        ("loss", 0, NAN),
        ("found", 1, True),
        ("status", 2, "stalled"),
        ("trial", 1, 2),
    ],
)
def test_what_is_no_rounding_is_no_agreement_at_any_tolerance(column, row, value):
    agree, text = compare(TABLE, changed(column, row, value), 1e300)
    assert not agree
    assert f"worst in {column}, line {row + 2} " in text


def test_the_worst_of_several_differences_is_shown():
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"a": rng.random(50), "b": rng.random(50)})
    other = one * (1 + 1e-12)
    other.loc[31, "b"] *= 1 + 1e-6
    assert "worst in b, line 33 " in compare(one, other, 1e-9)[1]


def test_other_rows_or_columns_are_no_agreement():
    assert compare(TABLE, TABLE[:2], 1.0) == (False, "3 and 2 rows")
    assert compare(TABLE, TABLE.drop(columns="loss"), 1.0) == (False, "columns differ: loss")
    assert compare(TABLE, TABLE[TABLE.columns[::-1]], 1.0)[1] == "columns differ: their order"


# --- The command ----------------------------------------------------------------------------


def test_the_command_says_how_two_folders_compare(harness, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "copy")
    before = tree(tmp_path)
    done = harness("compare", str(undisturbed), "copy")
    assert done.code == 0, done
    [line] = done.out.splitlines()
    assert line.startswith("toy: exactly equal, ")
    assert "unknown" not in line
    assert tree(tmp_path) == before

    store = Store(Path("copy"))
    table, origin = store.read_table("toy")
    store.write_table("toy", table.assign(draw=table["draw"] * (1 + 1e-12)), origin)
    assert harness("compare", str(undisturbed), "copy").code == 0
    done = harness("compare", str(undisturbed), "copy", "rtol=1e-14")
    assert done.code == 1
    assert "not equal to rtol=1e-14" in done.out
    (tmp_path / "copy" / "toy").rename(tmp_path / "copy" / "other")
    shutil.rmtree(tmp_path / "copy" / "cells")
    assert harness("compare", str(undisturbed), "copy").code == 1
