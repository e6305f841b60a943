"""What `prior_representation` decides from fabricated tables, and what its trials measure."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.prior_representation import EVERY, _principal
from harness.claims import Verdict
from harness.mnist import images
from harness.priors import bases
from harness.storage.cell import Cell
from harness.sweep.runner import measure
from tests.configured import configured, noise, skip_without_extra, verdicts, with_base
from tests.helpers import refused

skip_without_extra("prior_representation")
YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def saving(network: float, dcgan: float, error: float, digits: int) -> pd.DataFrame:
    """Terms over latent dimensions of the network and of the DCGAN, and the projection error."""
    rows: list[dict[str, Any]] = []
    for kind, ground in (("decoder", "black"), ("dcgan", "black"), ("dcgan", "white")):
        ratio, n = (network, 32) if kind == "decoder" else (dcgan, 100)
        for basis, (digit, wobble) in product(EVERY, enumerate(noise(digits, 0.1))):
            size = np.exp(wobble)
            rows.append(
                {"kind": kind, "ground": ground, "basis": basis, "digit": digit, "n": n}
                | {"terms": ratio * n * size, "error": error * size, "error_n": 0.4}
            )
    return with_base("prior_representation", rows)


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((3.0, 1.5, 0.15, 60), (YES, YES, YES)),
        ((3.0, 0.5, 0.4, 60), (YES, UNSURE, UNSURE)),  # a better search may change both
        ((2.02, 1.01, 0.19, 5), (UNSURE, UNSURE, UNSURE)),
    ],
)
def test_prior_representation_verdicts(fabricated, expected):
    found = verdicts(configured("prior_representation"), saving(*fabricated))
    assert found == dict(zip(("network", "dcgan", "close"), expected, strict=True))


def test_the_terms_of_a_digit_are_those_that_leave_its_projection_s_error():
    changes = {"digits": 2, "starts": 1}
    experiment = configured("prior_representation", changes).prepared()
    rows = measure(Cell("prior_representation", experiment, 0), 0)
    assert [row["basis"] for row in rows] == [basis for basis in EVERY for _ in range(2)]
    x0 = images.test_digits()[0][:2]
    for row in rows[: 2 * len(bases.BASES)]:
        found = bases.coefficients(row["basis"], x0)[row["digit"]]
        left = np.sort(found**2)[::-1]
        share = [np.sqrt(left[k:].sum() / left.sum()) for k in (row["terms"], row["terms"] - 1)]
        assert share[0] <= row["error"] < share[1]
        assert row["error_n"] == pytest.approx(np.sqrt(left[row["n"] :].sum() / left.sum()))


@pytest.mark.parametrize("ground", ["black", "white"])
def test_principal_directions_of_enlarged_digits_are_found_without_enlarging(ground):
    shrink, principal = _principal(images.LARGE, ground)
    some = images.on_ground(images.test_digits()[0][:5], ground)
    training = images.on_ground(images.training_digits()[0], ground)
    small = (shrink @ some @ shrink.T).reshape(5, -1) @ principal
    large = images.resize(some, images.LARGE).reshape(5, -1)
    np.testing.assert_allclose(small @ small.T, large @ large.T, rtol=1e-9)
    energy = (shrink @ training @ shrink.T).reshape(len(training), -1) @ principal[:, :2]
    first, second = np.sum(energy**2, axis=0)
    enlarged = images.resize(training, images.LARGE).reshape(len(training), -1)
    direction = np.ones(images.LARGE**2)
    for _ in range(60):  # power iteration
        direction = (enlarged @ direction) @ enlarged
        leading = np.linalg.norm(direction)
        direction /= leading
    assert first > second
    assert first == pytest.approx(leading, rel=1e-9)


def test_batches_beyond_the_digits_and_networks_on_white_are_refused():
    with refused("batch=50: must be < 50, 10 of the held-out digits each", ValueError):
        configured("prior_representation", {"batch": 50}).prepared()
    with refused("ground=white: .* ground=black", ValueError):
        configured("prior_representation", {"ground": "white"}).prepared()
