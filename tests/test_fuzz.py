"""Damaged and hostile files of every kind, at random: each is used or refused in a line or two.

FUZZ=10 in the environment tries ten times as many.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import schema
from harness.errors import InputError
from harness.matrices import load_matrix
from harness.mnist import images, weights
from harness.storage.cell import Cell
from harness.storage.files import StoreError
from harness.storage.store import Store
from tests.conftest import Outcome, Private, store_weights

pytestmark = pytest.mark.slow

Harness = Callable[..., Outcome]
BUDGET = int(os.environ.get("FUZZ", "1"))
COMMANDS = 1
"""Mutated files of each kind that each command is tried on, times the budget."""
READS = 60
"""Mutated files of each kind that are read in the library, times the budget."""
SECONDS = 60
MEMORY = 2**31
"""Time and further memory of one command or reading."""
SWEEP = ["-m", "experiment=toy", "hydra/launcher=basic"]
TOKENS = [
    *[b"[" * 10**5, b'{"a":' * 10**4, b"9" * 5000, b"1e999", b"-1", b"NaN", b"null", b"true"],
    *[b"\xff\xfe", b"\x00", b"\n", b"\r", b'"', b"\\ud800", b"\\", b"{}", b"[]", b",", b"("],
    *[b"18446744073709551616", b"1_0", b"'", b"O", b"\x1b[2J"],
]
VALUES = [
    *[None, True, -1, 0, 3, 2**64, 10**400, 1e308, -1e308, float("nan"), float("inf")],
    *["", "x", "\ud800", "\x1b[2J", "a\nb\rc", "../../x", "=1", "y" * 10**5],
    *[[], {}, [[]], {"a": 1}, ["a", 1], [{"_target_": "os.system"}]],
]


class TooSlowError(BaseException):
    """Not caught by what catches every error of a file."""


@contextmanager
def bounded() -> Iterator[None]:
    """Bounded time and memory for the block."""

    def stop(*_: Any) -> None:
        raise TooSlowError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The data with one to three bytes, slices or tokens changed."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice([0, 1, 1, 4, 30]))
        match rng.randrange(4):
            case 0:
                data = (
                    data[:start] + bytes(rng.randrange(256) for _ in data[start:end]) + data[end:]
                )
            case 1:
                data = data[:start] + rng.choice(TOKENS) + data[end:]
            case 2:
                data = data[:start] + data[end:] if rng.random() < 0.8 else data[:start]
            case 3:
                data = data[:end] + data[start:end] + data[end:]
    return data


def altered(rng: random.Random, value: Any) -> Any:
    """A JSON value with one value somewhere in it replaced, removed, or of another name."""
    if rng.random() < 0.2 or not isinstance(value, (dict, list)) or not value:
        return rng.choice(VALUES)
    if isinstance(value, list):
        i = rng.randrange(len(value))
        return [*value[:i], altered(rng, value[i]), *value[i + 1 :]]
    key = rng.choice(list(value))
    match rng.randrange(6):
        case 0:
            return {k: v for k, v in value.items() if k != key}
        case 1:
            return value | {rng.choice(["", "size", "\ud800", "more"]): rng.choice(VALUES)}
        case _:
            return value | {key: altered(rng, value[key])}


def altered_json(rng: random.Random, data: bytes) -> bytes:
    """Half of the time sound JSON with another value, else other bytes."""
    if rng.random() < 0.5:
        return mutated(rng, data)
    return json.dumps(altered(rng, json.loads(data))).encode()


# --- Kinds of files in a results folder -----------------------------------------------------


def segment(rng: random.Random, results: Path) -> None:
    """A segment, two thirds with the right checksum."""
    path = rng.choice(sorted((results / "cells" / "toy").rglob("*.json")))
    header, rows = path.read_bytes().splitlines()
    if rng.random() < 0.3:
        path.write_bytes(mutated(rng, path.read_bytes()))
        return
    rows = altered_json(rng, rows)
    known = json.loads(header) | {"sha256": hashlib.sha256(rows).hexdigest()}
    if rng.random() < 0.3:
        known = altered(rng, known)
    path.write_bytes(json.dumps(known).encode() + b"\n" + rows + b"\n")


def table(rng: random.Random, results: Path) -> None:
    """A table, mostly with the right checksum; packed, or plain as in earlier versions."""
    path, origin = (results / "toy" / name for name in ("table.csv.gz", "provenance.json"))
    if rng.random() < 0.3:
        path.write_bytes(mutated(rng, path.read_bytes()))
        return
    text = mutated(rng, gzip.decompress(path.read_bytes()))
    sha = hashlib.sha256(text).hexdigest()
    origin.write_text(json.dumps(json.loads(origin.read_text()) | {"table_sha256": sha}))
    path.write_bytes(gzip.compress(text))
    if rng.random() < 0.3:
        path.unlink()
        path.with_suffix("").write_bytes(text)


def record(name: str) -> Callable[[random.Random, Path], None]:
    def change(rng: random.Random, results: Path) -> None:
        path = results / name
        path.write_bytes(altered_json(rng, path.read_bytes()))

    return change


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "segment": segment,
    "schema": record("cells/SCHEMA"),
    "sweep": record("cells/toy.sweep.json"),
    "table": table,
    "provenance": record("toy/provenance.json"),
    "findings": record("cells/toy.findings.json"),
}
"""Change a file of a kind in a results folder at random."""

LINES: dict[str, list[str]] = {
    "report": ["report"],
    "compare": ["compare", "results", "other"],
    "plan": [*SWEEP, "plan=true"],
    "sweep": SWEEP,
    "other sweep": [*SWEEP, "name=two", "hydra.sweeper.grids=[{inner.size:[1]}]"],
    "cell": ["experiment=toy"],
}


def check(done: Outcome, seed: str) -> None:
    """A command ends well or with few lines."""
    assert done.code in (0, 1, 2), (seed, done)
    assert "Traceback" not in done.err + done.out, (seed, done)
    told = [line for line in done.err.splitlines() if line.strip() and "cell/s" not in line]
    assert len(told) <= 3, (seed, done)
    assert all(len(line) < 2000 for line in told), seed
    assert "\x1b[2J" not in done.err + done.out, seed


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_on_a_mutated_results_folder(harness, undisturbed, tmp_path, kind, line):
    shutil.copytree(undisturbed, tmp_path / "other")
    for turn in range(COMMANDS * BUDGET):
        seed = f"{kind} {line} {turn}"
        rng = random.Random(seed)
        shutil.copytree(undisturbed, tmp_path / "results")
        KINDS[kind](rng, tmp_path / "results")
        if rng.random() < 0.5 and kind in ("table", "provenance"):
            shutil.rmtree(tmp_path / "results" / "cells")
        with bounded():
            check(harness(*LINES[line]), seed)
        shutil.rmtree(tmp_path / "results")


def test_a_mutated_segment_is_missing_or_in_the_table(toy, undisturbed, tmp_path):
    """One of the two, for each trial; and the table can be written and read."""
    store = Store(tmp_path / "results")
    sweep = Store(undisturbed).read_sweep("toy")
    assert sweep is not None
    cells = [Cell("toy", schema.build("toy", config), 0) for config in sweep["cells"]]
    for turn in range(READS * BUDGET):
        shutil.copytree(undisturbed / "cells", store.root / "cells")
        segment(random.Random(turn), store.root)
        with bounded(), contextlib.suppress(StoreError):  # another schema, or text for numbers
            missing = {cell.key: store.missing(cell, 3) for cell in cells}
            for cell in cells:
                there = {row["trial"] for row in store.rows(cell)} & {0, 1, 2}
                assert sorted({0, 1, 2} - there) == missing[cell.key], turn
            table, gathered = store.collect(cells, 3)
            assert gathered.complete == sum(not lacks for lacks in missing.values()), turn
            assert np.isfinite(gathered.seconds), turn
            store.write_table("t", table, {})
            pd.testing.assert_frame_equal(store.read_table("t")[0], table)
        shutil.rmtree(store.root)


def test_pictures_of_a_mutated_table(harness, tmp_path):
    image = images.to_png(np.eye(28))
    rows = pd.DataFrame({"trial": [0, 1], "x_png": [image, image], "file": ["a.png", "b.png"]})
    for turn in range(READS * BUDGET // 4):
        rng = random.Random(turn)
        Store(tmp_path / "results").write_table("toy", rows, {})
        table(rng, tmp_path / "results")
        with bounded():
            check(harness("pictures", "name=toy"), str(turn))
        for folder in ("results", "toy_pictures"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)


# --- What a user gives ----------------------------------------------------------------------


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(6.0).reshape(3, 2))
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, np.arange(6.0).reshape(3, 2))
    return stream.getvalue()


def read_image(folder: Path, data: bytes) -> None:
    (folder / "a.png").write_bytes(data)
    images.read_folder(folder, 28)


def read_matrix(folder: Path, data: bytes) -> None:
    (folder / "W.npy").write_bytes(data)
    load_matrix(str(folder / "W.npy"))


def read_weights(folder: Path, data: bytes) -> None:
    (folder / "w.safetensors").write_bytes(data)
    sums = {"w.safetensors": weights.checksum(data)}
    (folder / weights.CHECKSUMS).write_text(json.dumps(sums))
    weights.load_network("w", folder)
    weights.recipe("w", folder)


def read_checksums(folder: Path, data: bytes) -> None:
    (folder / weights.CHECKSUMS).write_bytes(data)
    weights.load_network("w", folder)


GIVEN: dict[str, tuple[Callable[[], bytes], Callable[[Path, bytes], None]]] = {
    "npy": (npy, read_matrix),
    "npz": (npz, read_matrix),
    "image": (lambda: base64.b64decode(images.to_png(np.eye(28))), read_image),
    "weights": (lambda: weights.pack({"layers.0.weight": np.ones((4, 2))}, "r"), read_weights),
    "checksums": (lambda: json.dumps({"w.safetensors": "0" * 64}).encode(), read_checksums),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", GIVEN)
def test_a_mutated_file_is_read_or_refused_in_one_line(tmp_path, kind):
    make, read = GIVEN[kind]
    store_weights(tmp_path, "w", [np.ones((4, 2))])
    sound = make()
    for turn in range(READS * BUDGET * (5 if kind == "npy" else 1)):
        rng = random.Random(turn)
        start = 0 if kind != "npy" or rng.random() < 0.2 else 128  # mostly the header alone
        data = mutated(rng, sound[: start or None]) + (sound[start:] if start else b"")
        try:
            with bounded():
                read(tmp_path, data)
        except (InputError, ValueError) as error:  # of a setting: the command line says it
            told = str(error)
            assert len(told.splitlines()) == 1, (turn, told)
            assert len(told) < 2000, turn


def test_a_mutated_configuration_of_a_claim(harness, private: Private, tmp_path):
    shutil.copytree(private.claims, tmp_path / "c")
    sound = (tmp_path / "c" / "toy.yaml").read_bytes()
    for turn in range(4 * COMMANDS * BUDGET):
        (tmp_path / "c" / "toy.yaml").write_bytes(mutated(random.Random(turn), sound))
        with bounded():
            done = harness("experiment=toy", f"claims={tmp_path / 'c'}", "plan=true")
        check(done, str(turn))
