"""`harness pictures`: what its files are called, tables from anyone, bad input."""

from __future__ import annotations

import base64

import pandas as pd
import pytest

from harness.mnist import pictures
from harness.storage.files import StoreError
from harness.storage.store import Store
from tests.conftest import tree
from tests.helpers import refused


def png(mark: str) -> bytes:
    """What begins as a PNG file, and can be told from others."""
    return pictures.SIGNATURE + mark.encode()


def text(mark: str) -> str:
    return base64.b64encode(png(mark)).decode()


def written(folder, *rows: dict[str, object]) -> dict[str, bytes]:
    """The files that a table of these rows makes."""
    store = Store(folder / "results")
    store.write_table("mine", pd.DataFrame(rows), {})
    assert pictures.write(store, "mine", folder / "out") == len(tree(folder / "out"))
    return dict(tree(folder / "out"))


def own(file: str, **more: object) -> dict[str, object]:
    return {"method": "dcgan_printed", "trial": 0, "file": file, "x_png": text(file), **more}


def test_a_users_own_images_are_called_after_their_files(tmp_path):
    parts = {"y_png": text("y"), "w_png": text("w")}
    assert written(tmp_path, own("a.png", **parts), own("B.PNG", **parts)) == {
        "a_digit.png": png("a.png"),
        "a_distorted.png": png("y"),
        "a_distortion.png": png("w"),
        "B_digit.png": png("B.PNG"),
        "B_distorted.png": png("y"),
        "B_distortion.png": png("w"),
    }


def test_several_methods_and_trials_are_told_apart(tmp_path):
    rows = [own("a.png", method=method, trial=t) for method in ("m", "n") for t in (0, 1)]
    names = [f"a_{method}_trial{t}_digit.png" for method in ("m", "n") for t in (0, 1)]
    assert sorted(written(tmp_path, *rows)) == names


def test_pairs_are_called_by_number_and_those_without_images_left_out(tmp_path):
    row = {"x_png": text("x"), "x0_png": text("x0"), "w0_png": text("w0")}
    assert written(tmp_path, {"pair": 3, **row}, {"pair": 11}) == {
        "pair3_digit.png": png("x"),
        "pair3_true_digit.png": png("x0"),
        "pair3_true_distortion.png": png("w0"),
    }


def test_images_of_one_name_are_numbered_whatever_a_file_system_makes_of_capitals(tmp_path):
    files = ("a.png", "A.PNG", "a.PNG", "a_2.png")
    found = written(tmp_path, *map(own, files))
    assert found == {
        "a_digit.png": png("a.png"),
        "A_2_digit.png": png("A.PNG"),
        "a_3_digit.png": png("a.PNG"),
        "a_2_2_digit.png": png("a_2.png"),
    }


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("../../x.png", "x_digit.png"),
        ("/etc/passwd", "passwd_digit.png"),
        ("..", "image_digit.png"),
        (".hidden.png", "hidden_digit.png"),
        ("-rf.png", "rf_digit.png"),
        ("..\\..\\x.png", "_.._x_digit.png"),
        ("C:x\n\0.png", "C_x___digit.png"),
        ("my photo.png", "my_photo_digit.png"),
        ("x" * 300 + ".png", "x" * 80 + "_digit.png"),
        ("é.png", "é_digit.png"),
    ],
)
def test_a_file_of_the_table_is_no_path(tmp_path, file, name):
    assert list(written(tmp_path, own(file))) == [name]
    assert {path.name for path in tmp_path.iterdir()} == {"results", "out"}


def test_a_column_or_a_method_of_the_table_is_no_path(tmp_path):
    rows = [
        {"method": method, "file": "a.png", "/../../b_png": text(method)}
        for method in ("m", "../n")
    ]
    assert sorted(written(tmp_path, *rows)) == ["a__n__.._.._b.png", "a_m__.._.._b.png"]


@pytest.mark.parametrize("bad", ["@", "é", base64.b64encode(b"#!/bin/sh").decode(), ""])
def test_what_is_no_png_is_refused_and_nothing_written(tmp_path, bad):
    with refused(r"mine/table\.csv\.gz holds an image that is no PNG", StoreError):
        written(tmp_path, own("a.png"), own("b.png", x_png=bad))
    assert not (tmp_path / "out").exists()


def test_the_command_writes_to_a_new_folder_alone(harness, tmp_path):
    Store(tmp_path / "results").write_table("mine", pd.DataFrame([own("a.png")]), {})
    before = tree(tmp_path / "results")
    done = harness("pictures", "name=mine")
    assert (done.code, done.out, done.err) == (0, "pictures: 1 in mine_pictures\n", "")
    assert tree(tmp_path / "mine_pictures") == {"a_digit.png": png("a.png")}
    again = harness("pictures", "name=mine")
    assert again.refusal == "error: to=mine_pictures: must be a new or an empty folder"
    assert harness("pictures", "name=mine", "results=results", "to=b/c").code == 0
    assert tree(tmp_path / "b") == {"c/a_digit.png": png("a.png")}
    assert tree(tmp_path / "results") == before
    with (tmp_path / "results" / "mine" / "table.csv.gz").open("ab") as table:
        table.write(b"\n")
    assert "mine/table.csv.gz" in harness("pictures", "name=mine", "to=d").refusal
