"""Segments that survive damage, kills and company; keys; tables that read back as written."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import math
import multiprocessing
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.claims import Finding
from harness.experiment import Experiment, Row, Settings
from harness.storage import files, tables
from harness.storage import store as store_module
from harness.storage.cell import Cell, trial_seed
from harness.storage.files import StoreError, write_atomically
from harness.storage.segments import encode
from harness.storage.store import ReadOnlyStore, Store
from tests.conftest import tree
from tests.helpers import refused

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Limits(Settings):
    rate: float = 0.5


@dataclass(frozen=True)
class Example(Experiment):
    n: int = 2
    kappa: float = 0.5
    widths: tuple[int, ...] | None = None
    thresholds: Limits = Limits()

    def trial(self, rng: np.random.Generator) -> list[Row]:
        raise AssertionError("a store measures nothing")

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        return []

    def figure(self, table: pd.DataFrame) -> Any:
        raise NotImplementedError


class Revised(Example):
    version: ClassVar[int] = 2


CELL = Cell("example", Example(), 0)


def row(trial: int, value: float = 0.5, cell: Cell = CELL, **more: Any) -> Row:
    return {
        "trial": trial,
        "seed": trial_seed(cell, trial),
        "value": value,
        **more,
        "status": "ok",
        "seconds": 0.25,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def segments(store: Store, suffix: str = ".json") -> list[Path]:
    return sorted((store.root / "cells").rglob(f"*{suffix}"))


def same(left: object, right: object) -> bool:
    """Equality of rows in which NaN equals NaN and -0.0 differs from 0.0."""
    return repr(left) == repr(right)


# --- Segments -------------------------------------------------------------------------------


def test_rows_read_back_as_they_were_written(store):
    values = [NAN, INF, -INF, 0.1 + 0.2, 5e-324, -0.0, 1.7976931348623157e308]
    rows = [row(i, v, word="é,\n\"'", flag=i > 2, count=i) for i, v in enumerate(values)]
    store.append(CELL, rows)
    assert same(store.rows(CELL), rows)
    assert [type(v) for v in store.rows(CELL)[0].values()] == [type(v) for v in rows[0].values()]


def test_an_unknown_cell_has_no_rows_and_misses_all_trials(store):
    assert store.rows(CELL) == []
    assert store.missing(CELL, 3) == [0, 1, 2]
    assert not store.root.exists()


def test_rows_come_by_trial_whatever_the_order_of_segments(store):
    for trial in (7, 0, 12, 3):
        store.append(CELL, [row(trial, trial), row(trial, -trial)])
    assert [r["trial"] for r in store.rows(CELL)] == [0, 0, 3, 3, 7, 7, 12, 12]
    assert [r["value"] for r in store.rows(CELL)] == [0, 0, 3, -3, 7, -7, 12, -12]
    assert store.missing(CELL, 9) == [1, 2, 4, 5, 6, 8]


def test_a_trial_found_in_two_segments_counts_once_with_all_its_rows(store):
    store.append(CELL, [row(0), row(0, 2.0), row(1, 3.0)])
    store.append(CELL, [row(1, 3.0, extra=1), row(2, 4.0)])
    store.append(CELL, [row(0), row(0, 2.0)])
    assert [(r["trial"], r["value"]) for r in store.rows(CELL)] == [
        (0, 0.5),
        (0, 2.0),
        (1, 3.0),
        (2, 4.0),
    ]
    table, gathered = store.collect([CELL], 3)
    assert len(table) == 4
    assert gathered.seconds == 0.25 * 3


def test_appending_the_same_rows_again_changes_nothing(store):
    store.append(CELL, [row(0)])
    before = tree(store.root)
    store.append(CELL, [row(0)])
    assert tree(store.root) == before


# --- Damage ---------------------------------------------------------------------------------


def flip(position: int) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[position % len(data)] ^= 0x10
        return bytes(changed)

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "bit of the payload": flip(-20),
    "bit of the first row": lambda data: flip(data.index(b"\n") + 5)(data),
    "emptied": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "header alone": lambda data: data[: data.index(b"\n") + 1],
    "no header": lambda data: data[data.index(b"\n") + 1 :],
    "appended": lambda data: data + b"{}\n",
    "zeros": lambda data: bytes(len(data)),
    "not text": lambda data: b"\xff\xfe" + data,
    "another kind of JSON": lambda data: b"[1]\n[2]\n",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_segment_is_set_aside_and_nothing_else_is_lost(store, kind, caplog):
    store.append(CELL, [row(0), row(1)])
    store.append(CELL, [row(2), row(3)])
    other = replace(CELL, seed=1)
    store.append(other, [row(0, cell=other)])
    victim = next(path for path in segments(store) if path.name.startswith("000002"))
    damaged = DAMAGE[kind](victim.read_bytes())
    victim.write_bytes(damaged)

    assert store.missing(CELL, 4) == [2, 3]
    assert [r["trial"] for r in store.rows(CELL)] == [0, 1]
    assert store.missing(other, 1) == []
    [aside] = segments(store, ".damaged")
    assert aside.name == victim.name + ".damaged"
    assert aside.read_bytes() == damaged
    [record] = caplog.records
    assert str(victim) in record.getMessage()

    store.append(CELL, [row(2), row(3)])  # measured again, the same bytes under the same name
    assert store.missing(CELL, 4) == []


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(
    deadline=None,
    max_examples=300,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_flipped_bit_changes_a_row(tmp_path, position, bit):
    store = Store(tmp_path / "results")
    rows = [row(0, 0.125, word="abc"), row(1, NAN)]
    name, sound = encode(CELL, rows, "kernel")
    path = store.root / "cells" / CELL.name / CELL.key / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray(sound)
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(bytes(data))
    with suppress(StoreError):  # of another schema, for all one can tell: refused, not touched
        missing = store.missing(CELL, 2)
        assert same(store.rows(CELL), [] if missing else rows)
        assert missing in ([], [0, 1])
    path.unlink(missing_ok=True)


def test_a_segment_set_aside_by_someone_else_in_between_is_no_error(store, monkeypatch):
    store.append(CELL, [row(0)])
    segments(store)[0].write_bytes(b"")

    def too_late(source: Path, target: Path) -> None:
        raise FileNotFoundError(str(source))

    monkeypatch.setattr(files.os, "replace", too_late)
    assert store.rows(CELL) == []


# --- Kills ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_write_that_fails_leaves_what_was_there(store, monkeypatch, step):
    store.append(CELL, [row(0)])
    before = tree(store.root)

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(KeyboardInterrupt):
        store.append(CELL, [row(1)])
    assert tree(store.root) == before
    assert store.missing(CELL, 2) == [1]


def test_the_half_file_of_a_killed_writer_is_not_read(store):
    store.append(CELL, [row(0)])
    [path] = segments(store)
    half = path.with_name(f".{path.name}.0123456789abcdef.tmp")
    half.write_bytes(path.read_bytes()[:40])
    assert [r["trial"] for r in store.rows(CELL)] == [0]
    assert half.exists()
    assert store.names() == []


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")
    seen = []
    replace_file = os.replace

    def watch(source: Path, target: Path) -> None:
        seen.append(path.read_bytes())
        replace_file(source, target)

    monkeypatch.setattr(files.os, "replace", watch)
    write_atomically(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


# --- Company --------------------------------------------------------------------------------


def append_many(root: str, trials: list[int]) -> None:
    for trial in trials:
        Store(Path(root)).append(CELL, [row(trial, trial / 7)])


def test_two_processes_append_to_one_cell(store):
    context = multiprocessing.get_context("spawn")
    shares = [list(range(0, 60)), list(range(40, 100))]  # some trials by both
    workers = [context.Process(target=append_many, args=(str(store.root), s)) for s in shares]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        store.rows(CELL)  # a reader meanwhile finds nothing damaged
        workers[0].join(0.01)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [r["trial"] for r in store.rows(CELL)] == list(range(100))
    assert [r["value"] for r in store.rows(CELL)] == [trial / 7 for trial in range(100)]
    assert segments(store, ".damaged") == segments(store, ".tmp") == []


# --- Folders that cannot be used ------------------------------------------------------------


def refusal(store: Store) -> str:
    with pytest.raises(StoreError) as caught:
        store.check()
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"results={store.root}: ")
    return line


def test_a_usable_folder_is_made_and_no_file_in_it(store):
    store.check()
    assert store.root.is_dir()
    assert tree(store.root) == {}


def test_a_folder_under_a_device_is_refused():
    assert "must be a folder that can be written" in refusal(Store(Path("/dev/null/results")))


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "must be a folder that can be written" in refusal(Store(tmp_path / "file"))


def test_a_read_only_folder_is_refused(store, monkeypatch):
    store.root.mkdir()

    def deny(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module.tempfile, "TemporaryFile", deny)  # root may write anywhere
    assert refusal(store).endswith("must be a folder that can be written (Permission denied)")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(store):
    store.root.mkdir(mode=0o500)
    refusal(store)


@pytest.mark.parametrize("schema", [b"0\n", b"2\n", b"", b"one", b"\xff\xfe\x00", b"1\n2\n"])
def test_cells_of_another_schema_are_refused(store, schema):
    store.append(CELL, [row(0)])
    (store.root / "cells" / "SCHEMA").write_bytes(schema)
    before = tree(store.root)
    assert "this version reads schema 1: choose another folder" in refusal(store)
    assert tree(store.root) == before


def test_a_file_in_the_place_of_the_cells_is_refused(store):
    store.root.mkdir()
    (store.root / "cells").touch()
    refusal(store)


def test_cells_of_this_schema_are_accepted(store):
    store.append(CELL, [row(0)])
    store.check()
    assert store.missing(CELL, 1) == []


# --- Keys -----------------------------------------------------------------------------------

OTHERS = {
    "name": replace(CELL, name="other"),
    "seed": replace(CELL, seed=1),
    "version": replace(CELL, experiment=Revised()),
    "whole number": replace(CELL, experiment=Example(n=3)),
    "last bit of a number": replace(CELL, experiment=Example(kappa=math.nextafter(0.5, 1))),
    "optional list": replace(CELL, experiment=Example(widths=(2, 5))),
    "another list": replace(CELL, experiment=Example(widths=(25,))),
}


def test_the_key_changes_with_whatever_determines_rows():
    keys = {CELL.key, *(cell.key for cell in OTHERS.values())}
    assert len(keys) == len(OTHERS) + 1


def test_the_key_does_not_change_with_thresholds():
    assert replace(CELL, experiment=Example(thresholds=Limits(0.9))).key == CELL.key


def test_the_key_is_the_same_in_every_process_and_release():
    assert CELL.key == "0fb00d05331d73ba4007"


def test_cells_do_not_see_each_others_rows(store):
    store.append(CELL, [row(0)])
    assert all(store.missing(cell, 1) == [0] for cell in OTHERS.values())


# --- Two files that are one ------------------------------------------------------------------


def test_a_reader_waits_while_a_writer_is_between_table_and_provenance(store, monkeypatch):
    store.append(CELL, [row(0), row(1)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    between, go_on = threading.Event(), threading.Event()
    write = files.write_atomically

    def slow(path: Path, data: bytes) -> None:
        if path.name == "provenance.json":
            between.set()
            assert go_on.wait(60)
        write(path, data)

    monkeypatch.setattr("harness.storage.store.write_atomically", slow)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(store.write_table, "example", store.collect([CELL], 2)[0], {})
        assert between.wait(60)
        reading = pool.submit(ReadOnlyStore(store.root).read_table, "example")
        with pytest.raises(TimeoutError):
            reading.result(0.2)
        go_on.set()
        writing.result(60)
        assert len(reading.result(60)[0]) == 2


def test_two_writers_leave_a_table_and_its_provenance(store, monkeypatch):
    """The second begins when the first has written its table."""
    store.append(CELL, [row(0), row(1)])
    tables = [store.collect([CELL], trials)[0] for trials in (1, 2)]
    between, names = threading.Event(), []
    write = files.write_atomically

    def slow(path: Path, data: bytes) -> None:
        names.append(path.name)
        write(path, data)
        if len(names) == 1:
            between.set()
            time.sleep(0.2)

    monkeypatch.setattr("harness.storage.store.write_atomically", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.write_table, "example", tables[0], {})
        assert between.wait(60)
        pool.submit(store.write_table, "example", tables[1], {}).result(60)
        first.result(60)
    assert names == ["table.csv.gz", "provenance.json"] * 2
    assert len(store.read_table("example")[0]) == 2


@pytest.mark.parametrize("kind", ["held for ever", "none", "a link", "a pipe", "a folder"])
def test_a_lock_that_cannot_be_had_stops_nobody(store, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    store.append(CELL, [row(0)])
    lock = store.root / "cells" / "example.lock"
    if kind == "a link":
        lock.symlink_to(tmp_path / "elsewhere")
    elif kind == "a pipe":
        os.mkfifo(lock)
    elif kind == "a folder":
        lock.mkdir()
    elif kind == "none":
        monkeypatch.setattr(files, "fcntl", None)
    with files.locked(lock) if kind == "held for ever" else contextlib.nullcontext():
        store.write_table("example", store.collect([CELL], 1)[0], {})
        assert len(store.read_table("example")[0]) == 1
    assert not (tmp_path / "elsewhere").exists()


# --- Tables ---------------------------------------------------------------------------------


def test_the_table_is_the_same_whatever_order_cells_were_computed_in(tmp_path):
    cells = [replace(CELL, experiment=Example(n=n)) for n in (3, 1, 2)]
    written = []
    for turn, order in enumerate(([0, 1, 2], [2, 0, 1], [1, 2, 0])):
        store = Store(tmp_path / str(turn))
        for i in order:
            for trial in (turn % 3, (turn + 1) % 3, (turn + 2) % 3):
                store.append(cells[i], [row(trial, 10 * i + trial, cells[i])])
        table, _ = store.collect(cells, 3)
        store.write_table("example", table, {})
        written.append((store.root / "example" / "table.csv.gz").read_bytes())
        assert list(table["n"]) == [3, 3, 3, 1, 1, 1, 2, 2, 2]
        assert list(table["trial"]) == [0, 1, 2] * 3
    assert written[0] == written[1] == written[2]


def test_a_table_has_coordinates_first_status_last_and_no_times(store):
    store.append(CELL, [row(0, flag=True)])
    table, _ = store.collect([CELL], 1)
    assert list(table.columns) == ["n", "kappa", "trial", "seed", "value", "flag", "status"]


@pytest.mark.parametrize("value", ["x", True])
def test_a_column_of_numbers_in_one_cell_and_none_in_another_is_refused(store, value):
    """The file would hold neither; whose rows are forged, if any are, nobody can know."""
    other = replace(CELL, seed=1)
    store.append(CELL, [row(0)])
    store.append(other, [row(0, value, other)])
    with refused("some cells hold numbers and others none in column value: delete", StoreError):
        store.collect([CELL, other], 1)


def test_a_table_leaves_out_trials_beyond_the_number_asked(store):
    store.append(CELL, [row(trial) for trial in range(5)])
    table, gathered = store.collect([CELL], 3)
    assert list(table["trial"]) == [0, 1, 2]
    assert gathered.seconds == 0.75


def test_a_table_of_nothing_is_empty(store):
    table, gathered = store.collect([CELL], 3)
    assert (len(table), gathered.seconds, gathered.complete) == (0, 0, 0)
    store.write_table("example", table, {"note": "kept"})
    table, provenance = store.read_table("example")
    assert len(table) == 0
    assert provenance["note"] == "kept"


def round_trip(store: Store, rows: list[Row], cells: list[Cell] | None = None) -> None:
    for cell in cells or [CELL]:
        store.append(cell, [one | {"seed": trial_seed(cell, int(one["trial"]))} for one in rows])
    table, _ = store.collect(cells or [CELL], len(rows))
    store.write_table("example", table, {})
    read, _ = store.read_table("example")
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    store.write_table("again", read, {})
    first, second = (store.root / name / "table.csv.gz" for name in ("example", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_numbers_round_trip_exactly(store):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(3000) * 10.0 ** rng.integers(-300, 300, 3000)
    round_trip(store, [row(i, float(v)) for i, v in enumerate(values)])


COLUMNS: dict[str, list[Any]] = {
    "floats": [NAN, INF, -INF, 5e-324, -0.0, 0.1 + 0.2, 1.7976931348623157e308],
    "whole floats": [1.0, 2.0],
    "integers": [0, -1, 2**53 + 1, 2**63 - 1],
    "booleans": [True, False],
    "words": ["every", "never"],
    "signs": ["++", "-+", "-"],
    "marks": ["a,b", 'say "x"', "two\nlines", " spaces ", "é"],
    "not missing": ["None", "null", "NA", "", "inf"],
    "digits": ["1", "02", "1e5"],
    "truths": ["True", "False"],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_round_trip_with_their_type(store, kind):
    round_trip(store, [row(i, more=value) for i, value in enumerate(COLUMNS[kind])])


@pytest.mark.parametrize("kind", ["floats", "integers", "booleans", "words", "signs"])
def test_columns_that_some_rows_do_not_have_round_trip(store, kind):
    rows = [row(i, more=value) for i, value in enumerate(COLUMNS[kind][:2])]
    round_trip(store, [*rows, row(2)])


@pytest.mark.parametrize("widths", [(5,), (5, 20)])
def test_a_coordinate_that_is_a_list_round_trips(store, widths):
    cells = [replace(CELL, experiment=Example(n=n, widths=widths)) for n in (1, 2)]
    round_trip(store, [row(0)], cells)


def test_a_table_that_was_changed_is_noticed(store):
    store.append(CELL, [row(0, 0.5)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    path = store.root / "example" / "table.csv.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text.replace(b"0.5", b"0.6", 1)))
    with refused(r"example/table\.csv\.gz does not belong to its prov", StoreError):
        store.read_table("example")


@pytest.mark.parametrize("kind", ["truncated", "appended", "emptied", "not text"])
def test_a_damaged_archive_is_noticed(store, kind):
    store.append(CELL, [row(0, 0.5)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    path = store.root / "example" / "table.csv.gz"
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    with pytest.raises(StoreError, match=r"example/table\.csv\.gz does not belong to its prov"):
        store.read_table("example")


def test_the_archive_of_a_table_depends_on_nothing_but_the_table(store):
    store.append(CELL, [row(0, 0.5), row(1, 0.25)])
    table, _ = store.collect([CELL], 2)
    for name in ("one", "another"):
        store.write_table(name, table, {"note": name})
    first, second = ((store.root / n / "table.csv.gz").read_bytes() for n in ("one", "another"))
    assert first == second
    assert first[3:8] == bytes(5)  # no file name, time 0
    text = table.to_csv(index=False).encode()
    assert gzip.decompress(first) == text
    assert store.read_provenance("one")["table_sha256"] == hashlib.sha256(text).hexdigest()
    read = pd.read_csv(store.root / "one" / "table.csv.gz")
    assert list(read["value"]) == [0.5, 0.25]


def test_an_archive_of_more_than_the_limit_is_refused_while_it_is_unpacked(store, monkeypatch):
    store.append(CELL, [row(0, 0.5)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    path = store.root / "example" / "table.csv.gz"
    path.write_bytes(gzip.compress(bytes(10**8)))
    monkeypatch.setattr(tables, "TEXT_BYTES", 10**6)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError) as caught:
            store.read_table("example")
        assert tracemalloc.get_traced_memory()[1] < 2 * 10**7
    finally:
        tracemalloc.stop()
    assert str(caught.value).endswith("example/table.csv.gz unpacks to more than 1000000 bytes")


def test_a_plain_table_of_an_earlier_version_is_read_until_the_next_one_is_written(store):
    store.append(CELL, [row(0, 0.5)])
    table, _ = store.collect([CELL], 1)
    store.write_table("example", table, {})
    packed, plain = (store.root / "example" / name for name in ("table.csv.gz", "table.csv"))
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert store.names() == ["example"]
    assert store.has_table("example")
    pd.testing.assert_frame_equal(store.read_table("example")[0], table)
    plain.write_text(plain.read_text() + "1\n")
    with pytest.raises(StoreError, match=r"example/table\.csv does not belong to its prov"):
        store.read_table("example")
    store.write_table("example", table, {})
    assert not plain.exists()
    pd.testing.assert_frame_equal(store.read_table("example")[0], table)


@pytest.mark.parametrize("missing", ["table.csv.gz", "provenance.json"])
def test_a_table_without_its_provenance_or_the_other_way_round_is_refused(store, missing):
    store.append(CELL, [row(0)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    (store.root / "example" / missing).unlink()
    with refused(f"{missing} is missing", StoreError):
        store.read_table("example")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null"])
def test_a_provenance_that_cannot_be_read_is_refused_in_one_line(store, text):
    store.append(CELL, [row(0)])
    store.write_table("example", store.collect([CELL], 1)[0], {})
    (store.root / "example" / "provenance.json").write_text(text)
    with refused(r"example/(provenance\.json|table\.csv)", StoreError):
        store.read_table("example")


# --- Sweeps ---------------------------------------------------------------------------------


def test_a_sweep_is_remembered(store):
    assert store.read_sweep("example") is None
    sweep = {"experiment": "example", "cells": [{"n": 2, "widths": None}], "trials": 3}
    store.write_sweep("example", sweep)
    assert store.read_sweep("example") == sweep


@pytest.mark.parametrize("text", ["", "{"])
def test_a_sweep_that_cannot_be_read_is_refused_in_one_line(store, text):
    store.write_sweep("example", {})
    (store.root / "cells" / "example.sweep.json").write_text(text)
    with refused("example", StoreError):
        store.read_sweep("example")


def test_names_are_those_of_tables_and_sweeps(store):
    assert store.names() == []
    store.write_sweep("b", {})
    store.write_table("c", pd.DataFrame({"x": [1]}), {})
    store.write_table("a", pd.DataFrame({"x": [1]}), {})
    store.append(CELL, [row(0)])
    assert store.names() == ["a", "b", "c"]


def test_provenance_names_the_hash_of_the_table(store):
    store.write_table("a", pd.DataFrame({"x": [1]}), {"commit": "abc"})
    record = json.loads((store.root / "a" / "provenance.json").read_text())
    assert record["commit"] == "abc"
    assert len(record["table_sha256"]) == 64
