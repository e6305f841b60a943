"""kill -9, company, full disks, damage, clocks that jump, other versions: nothing finished is lost.

After each, the same sweep is let finish, and its table compared, byte by byte, with that of a sweep
left undisturbed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from harness.experiment import Row
from harness.storage import files
from harness.storage.cell import Cell
from harness.storage.files import StoreError
from harness.storage.store import Store
from harness.sweep import runner
from tests import target
from tests.conftest import TIMEOUT, tree
from tests.helpers import refused
from tests.target import CELLS, TRIALS, sweep, table

pytestmark = pytest.mark.slow

KILLS = 60
FOLDERS = [
    "results",
    "with spaces and \N{LATIN SMALL LETTER E WITH ACUTE}\N{SNOWMAN}",
    "[a-b]*?",
    "link",
]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The sweep left undisturbed, each trial in a segment of its own; read only."""
    root = tmp_path_factory.mktemp("undisturbed") / "results"
    start(sweep, root).join(TIMEOUT)
    return Store(root)


@pytest.fixture(scope="session")
def undisturbed_table(whole: Store) -> bytes:
    return table(whole)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def swept(store: Store, whole: Store) -> Store:
    """A copy of the finished sweep."""
    shutil.copytree(whole.root / "cells", store.root / "cells")
    return store


@pytest.fixture(autouse=True)
def _every_trial_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", -1.0)


def start(job: Callable[..., None], root: Path, *arguments: str) -> BaseProcess:
    """A process that takes a moment to begin: it is forked off one that has all imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.target"])
    process = context.Process(target=job, args=(str(root), *arguments))
    process.start()
    return process


def sweep_here(store: Store) -> None:
    for cell in CELLS:
        runner.run_cell(store, cell, TRIALS)


def segments(store: Store, suffix: str = ".json") -> dict[str, bytes]:
    cells = store.root / "cells" / "target"
    return {k: v for k, v in tree(cells).items() if k.endswith(suffix)} if cells.exists() else {}


def leftovers(store: Store) -> list[Path]:
    return [path for path in store.root.rglob(".*.tmp") if path.is_file()]


def finishes_as_if_nothing_had_happened(store: Store, expected: bytes) -> bool:
    sweep_here(store)
    return table(store) == expected and all(not store.missing(cell, TRIALS) for cell in CELLS)


def is_part_of(store: Store, whole: Store) -> bool:
    """Every trial that is stored has its rows, once and to the last bit."""

    def rows(results: Store, cell: Cell) -> list[Row]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in results.rows(cell)]

    for cell in CELLS:
        found = rows(store, cell)
        trials = {row["trial"] for row in found}
        if found != [row for row in rows(whole, cell) if row["trial"] in trials]:
            return False
    return True


# --- kill -9 --------------------------------------------------------------------------------


def test_kills_at_random_moments_lose_double_and_damage_nothing(
    tmp_path, whole, undisturbed_table, caplog
):
    """Folder after folder, each killed again and again until it is finished."""
    rng = random.Random(0)
    kills, in_the_midst, root = 0, 0, tmp_path / "0"
    while kills < KILLS:
        store = Store(root)
        before = segments(store)
        process = start(sweep, root)
        time.sleep(rng.uniform(0.0, 0.12))
        process.kill()
        process.join(TIMEOUT)
        kills += process.exitcode == -signal.SIGKILL
        in_the_midst += before.keys() < segments(store).keys()
        assert before.items() <= segments(store).items()
        assert is_part_of(store, whole)
        if not any(store.missing(cell, TRIALS) for cell in CELLS):
            assert table(store) == undisturbed_table
            shutil.rmtree(root)
            root = tmp_path / str(kills)
    assert finishes_as_if_nothing_had_happened(Store(root), undisturbed_table)
    assert in_the_midst > 5
    assert not caplog.records


def test_a_writer_killed_in_mid_write_leaves_nothing_that_is_read(store, undisturbed_table, caplog):
    rng = random.Random(1)
    for _ in range(20):
        process = start(target.write_for_ever, store.root)
        time.sleep(rng.uniform(0.03, 0.1))
        process.kill()
        process.join(TIMEOUT)
    assert leftovers(store), "no kill ever hit a write"
    assert finishes_as_if_nothing_had_happened(store, undisturbed_table)
    assert not caplog.records


STEPS = [
    f"{when} {step}"
    for step in ("_write_and_rename", "fsync", "replace", "_sync")
    for when in ("before", "after")
]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_of_a_write_loses_at_most_what_was_not_written(
    store, undisturbed_table, step
):
    process = start(target.die_at, store.root, step)
    process.join(TIMEOUT)
    assert process.exitcode == -signal.SIGKILL
    before = segments(store)
    assert finishes_as_if_nothing_had_happened(store, undisturbed_table)
    assert before.items() <= segments(store).items()


def test_a_name_is_on_the_disk_before_a_write_returns(tmp_path, monkeypatch):
    """A power cut may undo what was not synced: content, the name, the names of new folders."""
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    files.write_atomically(tmp_path / "new" / "newer" / "file", b"x")
    assert synced[0].endswith(".tmp")
    assert set(synced[1:]) == {
        str(tmp_path / "new" / "newer"),
        str(tmp_path / "new"),
        str(tmp_path),
    }


# --- What killed writers leave --------------------------------------------------------------


def leave(store: Store, seconds: float) -> Path:
    """A leftover whose last change was so many seconds ago."""
    path = store.root / "cells" / "target" / CELLS[0].key / ".000000-000001-ab.json.0f.tmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_leftovers_are_swept_up_when_they_are_old_and_not_before(store):
    for seconds, stays in ((60, True), (2 * files.STALE_SECONDS, False)):
        path = leave(store, seconds)
        store.missing(CELLS[0], 1)
        assert path.exists() == stays


def test_leftovers_beside_tables_and_reports_are_swept_up_too(swept):
    old = swept.root / "target" / ".table.csv.gz.0f.tmp"
    old.parent.mkdir()
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    table(swept)
    assert leftovers(swept) == []


def test_a_writer_whose_file_is_taken_for_a_leftover_writes_again(store, monkeypatch):
    """The clock jumps by a day while another process sweeps up."""
    replace = os.replace

    def late(source: Path, destination: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        with monkeypatch.context() as clock:
            now = time.time()
            clock.setattr(time, "time", lambda: now + 86400)
            files.sweep_up(Path(source).parent)
        assert not Path(source).exists()
        replace(source, destination)

    monkeypatch.setattr(os, "replace", late)
    store.append(CELLS[0], runner.measure(CELLS[0], 0))
    assert store.missing(CELLS[0], 1) == []


# --- Company --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4])
def test_processes_on_the_same_sweep_make_the_table_of_one(
    store, whole, undisturbed_table, count, caplog
):
    crowd = [start(sweep, store.root) for _ in range(count)]
    while any(process.is_alive() for process in crowd):
        assert is_part_of(store, whole)  # a reader meanwhile
        crowd[0].join(0.05)
    assert [process.exitcode for process in crowd] == [0] * count
    assert table(store) == undisturbed_table
    assert leftovers(store) == []
    assert not caplog.records


def test_processes_of_which_some_are_killed_leave_the_others_undisturbed(store, undisturbed_table):
    crowd = [start(sweep, store.root) for _ in range(4)]
    rng = random.Random(2)
    for process in crowd[:2]:
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
    for process in crowd:
        process.join(TIMEOUT)
    assert [process.exitcode for process in crowd[2:]] == [0, 0]
    assert table(store) == undisturbed_table


# --- Disks ----------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory, where one may mount it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system in memory cannot be mounted here: root alone may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=TIMEOUT)


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all but so many bytes."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass
    os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


def test_a_full_disk_keeps_what_is_finished_and_says_so_in_one_line(tmp_path, undisturbed_table):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = Store(disk / "results")
        ballast = fill(disk, 40 * 4096)
        with pytest.raises(StoreError) as caught:
            sweep_here(store)
        [line] = str(caught.value).splitlines()
        assert line.endswith("cannot be written (No space left on device)")
        before = segments(store)
        assert before
        assert leftovers(store) == []
        ballast.unlink()
        assert finishes_as_if_nothing_had_happened(store, undisturbed_table)
        assert before.items() <= segments(store).items()


def test_a_sweep_on_a_full_disk_exits_with_1_and_completes_when_there_is_space(
    tmp_path, undisturbed, harness, monkeypatch
):
    """By the command line; the disk fills up in the second cell."""
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 5.0)
    command = ("-m", "experiment=toy", "hydra/launcher=basic", "results=disk/results")
    with mounted(tmp_path / "disk", "size=4m") as disk:
        ballast = fill(disk, 3 * 4096)  # schema, sweep, one cell
        failed = harness(*command)
        assert failed.code == 1, failed
        assert "Traceback" not in failed.err
        *_, count, kind, _, command_line = failed.err.splitlines()
        assert count == "3 of 4 cells failed:"
        assert kind == "  3 x cannot be written (No space left on device)"
        assert command_line.startswith("the same command runs only what is missing: harness ")
        before = tree(disk / "results" / "cells" / "toy")
        assert len(before) == 1
        ballast.unlink()
        assert harness(*command).code == 0
        assert before.items() <= tree(disk / "results" / "cells" / "toy").items()
        expected = (undisturbed / "toy" / "table.csv.gz").read_bytes()
        assert (disk / "results" / "toy" / "table.csv.gz").read_bytes() == expected


@pytest.mark.parametrize("command", ["experiment=toy", "-m experiment=toy", "report"])
@pytest.mark.parametrize("writes", [0, 5, 20])
def test_a_disk_that_fills_up_is_no_bad_input(
    undisturbed, tmp_path, harness, monkeypatch, command, writes
):
    """Wherever it does, the command exits with 1 and no traceback."""
    shutil.copytree(undisturbed, tmp_path / "results")
    if command != "report":
        shutil.rmtree(tmp_path / "results" / "cells" / "toy")
    fsync, count = os.fsync, itertools.count()

    def refuse(descriptor: int) -> None:
        if next(count) >= writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    done = harness(*command.split())
    assert done.code == (0 if next(count) <= writes else 1), done
    assert "Traceback" not in done.err
    if done.code:
        assert "cannot be written (No space left on device)" in done.err
        assert done.err.count("No space left") <= 1 or command.startswith("-m"), done.err


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_write_that_the_system_refuses_loses_that_write_alone(
    store, undisturbed_table, monkeypatch, code
):
    fsync, count = os.fsync, itertools.count()

    def refuse(descriptor: int) -> None:
        if next(count) > 40:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", refuse)
        with refused(f"cannot be written .{os.strerror(code)}.", StoreError):
            sweep_here(store)
    before = segments(store)
    assert before
    assert leftovers(store) == []
    assert finishes_as_if_nothing_had_happened(store, undisturbed_table)
    assert before.items() <= segments(store).items()


def test_a_folder_that_becomes_read_only_is_refused_in_one_line_and_stays_as_it_is(
    tmp_path, undisturbed_table
):
    with mounted(tmp_path / "disk", "size=4m") as disk:
        store = Store(disk / "results")
        for cell in CELLS[:2]:
            runner.run_cell(store, cell, TRIALS)
        before = tree(disk)
        remount = ["mount", "-o", "remount", str(disk)]
        subprocess.run([*remount[:2], "remount,ro", remount[3]], check=True, timeout=TIMEOUT)
        for use in (store.check, lambda: sweep_here(store)):
            with pytest.raises(StoreError, match=r"written \(Read-only file system\)$") as caught:
                use()
            assert len(str(caught.value).splitlines()) == 1
        assert tree(disk) == before
        subprocess.run([*remount[:2], "remount,rw", remount[3]], check=True, timeout=TIMEOUT)
        assert finishes_as_if_nothing_had_happened(store, undisturbed_table)


# --- Damage ---------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-30] ^= 4
    path.write_bytes(bytes(data))


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_neighbour(path: Path) -> None:
    """The sound segment of another cell."""
    neighbour = path.parent.parent / CELLS[1].key
    shutil.copy(sorted(neighbour.iterdir())[3], path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bit-flipped": flip,
    "emptied": lambda path: os.truncate(path, 0),
    "a folder": to_folder,
    "of another cell": to_neighbour,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_cell_files_are_named_set_aside_and_measured_again(
    swept, undisturbed_table, kind, caplog
):
    folder = swept.root / "cells" / "target" / CELLS[0].key
    victims = sorted(folder.iterdir())[2:9:3]
    names = [f"{CELLS[0].key}/{victim.name}" for victim in victims]
    others = {k: v for k, v in segments(swept).items() if k not in names}
    for victim in victims:
        DAMAGE[kind](victim)
    assert swept.missing(CELLS[0], TRIALS) == [2, 5, 8]
    assert [
        str(victim) in r.getMessage() for victim, r in zip(victims, caplog.records, strict=True)
    ]
    assert {p.name for p in folder.glob("*.damaged")} == {f"{v.name}.damaged" for v in victims}
    assert finishes_as_if_nothing_had_happened(swept, undisturbed_table)
    assert others.items() <= segments(swept).items()


def test_a_file_damaged_twice_is_kept_twice(store):
    rows = runner.measure(CELLS[0], 0)
    for _ in range(2):
        store.append(CELLS[0], rows)
        [path] = (store.root / "cells" / "target" / CELLS[0].key).glob("*.json")
        flip(path)
        assert store.missing(CELLS[0], 1) == [0]
    assert len(segments(store, ".damaged")) == 2


def test_a_file_that_cannot_be_read_is_named_and_not_touched(swept, monkeypatch):
    """The disk, or whose file it is, may be put right: nothing is measured in its stead."""
    before = tree(swept.root)

    def fail(path: Path, limit: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as disk:
        disk.setattr("harness.storage.store.read_regular", fail)
        with refused(r"\.json: cannot be read \(Permission denied\)$", StoreError):
            swept.missing(CELLS[0], TRIALS)
    assert tree(swept.root) == before


def test_a_file_in_the_place_of_a_cells_folder_is_named(store):
    folder = store.root / "cells" / "target" / CELLS[0].key
    folder.parent.mkdir(parents=True)
    folder.touch()
    with refused(r"cannot be read \(Not a directory\)$", StoreError):
        store.missing(CELLS[0], 1)


def test_files_of_someone_else_in_a_cells_folder_are_left_alone(swept, undisturbed_table):
    folder = swept.root / "cells" / "target" / CELLS[0].key
    for name in ("notes.txt", ".DS_Store", "._000000-000000-ab.json", "table.csv"):
        (folder / name).write_bytes(b"mine")
    before = tree(swept.root)
    assert finishes_as_if_nothing_had_happened(swept, undisturbed_table)
    assert before.items() <= tree(swept.root).items()


def test_a_trial_with_other_rows_in_two_segments_counts_once_and_always_the_same(swept):
    other = [row | {"largest": 0.5} for row in runner.measure(CELLS[0], 3)]
    swept.append(CELLS[0], other)
    first, again = (table(swept) for _ in range(2))
    assert first == again
    assert len([row for row in swept.rows(CELLS[0]) if row["trial"] == 3]) == 2


# --- Clocks ---------------------------------------------------------------------------------


def test_clocks_that_jump_back_and_forth_change_nothing(store, undisturbed_table, monkeypatch):
    rng = random.Random(3)
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 5.0)
    with monkeypatch.context() as clock:
        for name in ("time", "monotonic", "perf_counter"):
            clock.setattr(time, name, lambda: rng.uniform(-1e9, 1e9))
        sweep_here(store)
    assert len(segments(store)) == len(CELLS) * TRIALS  # a jump never puts a checkpoint off
    assert table(store) == undisturbed_table
    assert all(row["seconds"] >= 0 for cell in CELLS for row in store.rows(cell))


@pytest.mark.parametrize("year", [-30, 30])
def test_files_of_the_far_past_or_future_are_as_good_as_others(swept, undisturbed_table, year):
    when = time.time() + year * 365 * 86400
    for path in (swept.root / "cells").rglob("*"):
        os.utime(path, (when, when))
    before = segments(swept)
    assert finishes_as_if_nothing_had_happened(swept, undisturbed_table)
    assert segments(swept) == before


# --- Other versions -------------------------------------------------------------------------


def test_a_folder_of_an_older_schema_is_refused_in_one_line_and_stays_as_it_is(
    undisturbed, tmp_path, harness
):
    shutil.copytree(undisturbed, tmp_path / "results")
    (tmp_path / "results" / "cells" / "SCHEMA").write_text("0\n")
    before = tree(tmp_path)
    for command in (("-m", "experiment=toy", "hydra/launcher=basic", "trials=4"), ("report",)):
        line = harness(*command).refusal
        assert line == (
            "error: results=results: holds cells of schema '0'; this version reads schema 1: "
            "choose another folder"
        )
    assert tree(tmp_path) == before


def test_a_cell_file_of_another_schema_is_refused_in_one_line_and_not_set_aside(swept):
    folder = swept.root / "cells" / "target" / CELLS[0].key
    path = sorted(folder.iterdir())[4]
    header, rows = path.read_bytes().splitlines()
    path.write_bytes(json.dumps(json.loads(header) | {"schema": 2}).encode() + b"\n" + rows + b"\n")
    before = tree(swept.root)
    for use in (swept.rows, lambda cell: runner.run_cell(swept, cell, TRIALS + 1)):
        with pytest.raises(StoreError) as caught:
            use(CELLS[0])
        assert str(caught.value) == (
            f"{path}: is of schema '2'; this version reads schema 1: choose another folder"
        )
    assert tree(swept.root) == before


# --- Places ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_a_results_folder_may_have_any_name_and_be_a_link(tmp_path, undisturbed_table, name):
    if name == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to("elsewhere", target_is_directory=True)
    store = Store(tmp_path / name)
    store.check()
    assert finishes_as_if_nothing_had_happened(store, undisturbed_table)
    assert len(segments(store)) == len(CELLS) * TRIALS


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with refused("must be a folder that can be written", StoreError):
        Store(tmp_path / "link").check()


def test_names_stay_apart_where_case_is_not_seen(swept):
    names = [path.name for path in swept.root.rglob("*")]
    assert len({name.lower() for name in names if name.endswith(".json")}) == len(
        {name for name in names if name.endswith(".json")}
    )
    assert all(name == name.lower() for name in names if name != "SCHEMA")
