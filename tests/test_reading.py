"""What is read is a regular file with an end: nothing else is waited for, or read at all."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import matrices
from harness.errors import InputError
from harness.matrices import load_matrix, matrix_digest
from harness.mnist import images, weights
from harness.reading import UnfitError, read_regular
from harness.storage import tables
from harness.storage.store import Store
from tests.conftest import ROOT, TIMEOUT, Outcome, Private, store_weights
from tests.helpers import refused

Harness = Callable[..., Outcome]
HUGE = 10**11


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(HUGE)


def make_folder(path: Path) -> None:
    path.mkdir()


ODD = [make_fifo, make_device, make_socket, make_sparse, make_folder]
odd = pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__.removeprefix("make_"))


def put(make: Callable[[Path], None], path: Path) -> None:
    """Put something odd in the place of a file."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


@pytest.fixture
def swept(toy: Private, undisturbed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "results"))


@odd
def test_only_a_regular_file_is_read(tmp_path, make):
    put(make, tmp_path / "x")
    with pytest.raises(UnfitError, match=r"is not a regular file|has 10{11} bytes; at most 9"):
        read_regular(tmp_path / "x", 9)


def test_a_file_is_read_to_its_limit_and_no_further(tmp_path):
    (tmp_path / "x").write_bytes(b"123456789")
    assert read_regular(tmp_path / "x", 9) == b"123456789"
    with pytest.raises(UnfitError, match="has 9 bytes; at most 8 are read"):
        read_regular(tmp_path / "x", 8)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "y", 8)


def test_a_file_that_grows_while_it_is_read_is_not_followed():
    with pytest.raises(UnfitError, match="grows while it is read"):
        read_regular(Path("/proc/self/status"))


@odd
@pytest.mark.parametrize(
    "file",
    [
        "cells/SCHEMA",
        "cells/toy.sweep.json",
        "toy/provenance.json",
        "toy/table.csv.gz",
        "toy/table.csv",
        "toy/figure.png",
    ],
)
def test_a_record_is_refused_in_one_line(harness, swept, make, file):
    if not file.startswith("cells"):
        shutil.rmtree(swept / "cells")
    if file.endswith("table.csv"):
        (swept / "toy" / "table.csv.gz").unlink()
    put(make, swept / file)
    done = harness("report")
    if file.endswith(".png") and make is not make_folder:  # it is drawn again in its place
        assert done.code == 0, done
        return
    line = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert (done.code, len(line)) == (2, 1), done
    assert "Traceback" not in done.err
    if make is make_device:
        assert "is a link that leads out of the folder" in line[0]


@odd
def test_a_segment_is_set_aside_and_measured_again(harness, swept, make):
    before = (swept / "toy" / "table.csv.gz").read_bytes()
    segment = min((swept / "cells" / "toy").rglob("*.json"))
    put(make, segment)
    done = harness("-m", "experiment=toy", "hydra/launcher=basic")
    if make is make_device:
        assert "is a link that leads out of the folder" in done.err
        return
    assert done.code == 0, done
    assert (swept / "toy" / "table.csv.gz").read_bytes() == before
    assert os.path.lexists(f"{segment}.damaged")
    assert harness("-m", "experiment=toy", "hydra/launcher=basic", "plan=true").code == 0


@odd
def test_what_is_remembered_is_then_forgotten(harness, swept, make):
    shutil.copytree(swept / "toy", swept / "toy2")
    put(make, swept / "cells" / "toy2.findings.json")
    done = harness("-m", "experiment=toy", "hydra/launcher=basic")
    assert (done.code, "Traceback" in done.err) == (0, False), done


@odd
def test_matrices_weights_and_images_are_refused_in_one_line(tmp_path, make):
    for name in ("W.npy", "W.npz"):
        put(make, tmp_path / name)
        with refused(r"network\.weights=.*must be a \.npy or \.npz file", ValueError):
            load_matrix(str(tmp_path / name))
    put(make, tmp_path / "images" / "a.png")
    said = "a folder with PNG files is" if make is make_folder else r"a\.png is not a PNG image"
    with refused(f"images=.*{said}", images.ImageError):
        images.read_folder(tmp_path / "images", 64)
    store_weights(tmp_path / "w", "digits_decoder", [np.ones((4, 2))])
    put(make, tmp_path / "w" / "digits_decoder.safetensors")
    with refused(r"weights=.*: cannot be read \(", weights.WeightsError):
        weights.load("digits_decoder", tmp_path / "w")
    put(make, tmp_path / "w" / weights.CHECKSUMS)
    with refused(r"weights=.*: cannot be read \(", weights.WeightsError):
        weights.listed(tmp_path / "w")


@odd
def test_a_checkpoint_is_refused_in_one_line(tmp_path, make):
    pytest.importorskip("torch")
    from harness.mnist import training
    from harness.mnist.dcgan import CheckpointError

    put(make, tmp_path / "a.pt")
    with refused("is damaged", CheckpointError):
        training._read(tmp_path / "a.pt")


@odd
def test_the_configuration_of_a_claim_is_refused_in_one_line(harness, private, tmp_path, make):
    shutil.copytree(private.claims, tmp_path / "c")
    put(make, tmp_path / "c" / "toy.yaml")
    line = harness("experiment=toy", f"claims={tmp_path / 'c'}").refusal
    assert "toy.yaml cannot be read (" in line


@odd
def test_a_page_is_refused_in_one_line(harness, swept, tmp_path, make):
    put(make, tmp_path / "PAGE.md")
    done = harness("report", "readme=PAGE.md")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("error: readme=PAGE.md: must be a Markdown page")


# --- Archives that unpack to much -----------------------------------------------------------


def test_a_table_is_unpacked_to_a_limit(swept, monkeypatch):
    (swept / "toy" / "table.csv.gz").write_bytes(gzip.compress(bytes(10**7)))
    monkeypatch.setattr(tables, "TEXT_BYTES", 10**6)
    with refused("unpacks to more than 1000000 bytes", InputError):
        Store(swept).read_table("toy")


def test_an_archive_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "W.npz", np.zeros((10**6, 2)))
    monkeypatch.setattr(matrices, "MATRIX_BYTES", 10**6)
    with refused(r"unpacks to 16000128 bytes; at most 1000000 are read", ValueError):
        load_matrix(str(tmp_path / "W.npz"))


def test_an_archive_gives_no_more_than_it_says(tmp_path):
    """A forged size is the most that is unpacked."""
    np.savez_compressed(tmp_path / "W.npz", np.ones((1000, 2)))
    data = (tmp_path / "W.npz").read_bytes()
    real, forged = ((16_128).to_bytes(4, "little"), (200).to_bytes(4, "little"))
    assert real in data
    (tmp_path / "W.npz").write_bytes(data.replace(real, forged))
    with refused(r"must be a \.npy or \.npz", ValueError):
        load_matrix(str(tmp_path / "W.npz"))


def test_a_matrix_has_a_largest_size(tmp_path, monkeypatch):
    np.save(tmp_path / "W.npy", np.ones((1000, 2), np.uint8))
    monkeypatch.setattr(matrices, "MATRIX_BYTES", 8000)
    with refused("has 2000 entries; at most 1000 are read", ValueError):
        load_matrix(str(tmp_path / "W.npy"))


def test_a_matrix_is_checked_and_hashed_without_copies_of_it(tmp_path):
    """The file, and the matrix as float64: nothing else of its size is made."""
    import tracemalloc

    np.save(tmp_path / "W.npy", np.ones((10**6, 2), np.uint8))
    tracemalloc.start()
    matrix = load_matrix(str(tmp_path / "W.npy"))
    matrix_digest(matrix)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.02 * (matrix.nbytes + matrix.size) + 10**5


def test_the_digest_of_a_matrix_is_as_it_was():
    W = np.arange(6.0).reshape(3, 2)
    assert matrix_digest(W, np.asfortranarray(W.T)) == "f11cdc0506f94c9d"


@pytest.mark.slow
def test_a_matrix_without_memory_for_it_is_refused_in_one_line(tmp_path):
    np.save(tmp_path / "W.npy", np.ones((60_000_000, 2), np.uint8))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "experiment=wdc", "network.weights=W.npy", "trials=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode in (1, 2), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "memory" in done.stderr
