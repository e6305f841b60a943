"""Laws of random layers: moments, structure, and what an ensemble makes of them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from harness.claims import Verdict
from harness.laws import LEVELS, Law, quantisation, random_layer
from harness.network import gaussian_network
from harness.schema import ConfigError
from tests.configured import configured, verdicts

LAWS = get_args(Law)


@pytest.mark.parametrize("law", LAWS)
def test_entries_have_mean_0_and_variance_1_over_rows(law):
    rows, columns = 4000, 5
    W = random_layer(np.random.default_rng(1), rows, columns, law) * np.sqrt(rows)
    fourth = np.mean(np.minimum(W**4, 1e3))  # Student t has no fourth moment
    error = 5 / np.sqrt(W.size)
    assert abs(W.mean()) < error
    assert abs(np.mean(W**2) - 1) < error * np.sqrt(fourth)


def test_the_gaussian_law_is_that_of_gaussian_network():
    W = random_layer(np.random.default_rng(2), 7, 3, "gaussian")
    np.testing.assert_array_equal(
        W, gaussian_network(np.random.default_rng(2), (3, 7), "gaussian").weights[0]
    )


def test_blocks_of_orthogonal_rows():
    W = random_layer(np.random.default_rng(3), 10, 4, "orthogonal")
    for block in (W[:4], W[4:8], W[8:]):
        np.testing.assert_allclose(block @ block.T, 0.4 * np.eye(len(block)), atol=1e-15)


def test_quantised_entries_take_16_levels_nearest_to_a_gaussian():
    W = random_layer(np.random.default_rng(4), 500, 50, "quantised")
    values = np.unique(W)
    assert len(values) == LEVELS
    np.testing.assert_allclose(np.diff(values), np.diff(values)[0])
    levels, deviation = quantisation()
    gaussian = np.random.default_rng(4).standard_normal((500, 50))
    nearest = levels[np.abs(gaussian[..., None] - levels).argmin(axis=-1)]
    np.testing.assert_allclose(W * deviation * np.sqrt(500), nearest, atol=1e-12)


def test_an_ensemble_draws_all_layers_from_its_law():
    experiment = configured("laws", {"network.law": "sparse"})
    G1, G2 = experiment.network.networks(np.random.default_rng(5))
    for W in (*G1.weights, *G2.weights):
        assert np.mean(W == 0) > 0.8


def test_a_law_does_not_go_with_truncation():
    with pytest.raises(ConfigError, match=r"network.law=heavy: needs network.last_layer=gaussian"):
        configured("capture", {"network.law": "heavy"})


@pytest.mark.parametrize(
    ("factor", "plateau", "trials", "expected"),
    [
        (1.0, 1.0, 2000, Verdict.SUPPORTED),
        (1.5, 0.8, 2000, Verdict.REFUTED),
        (1.1, 0.96, 40, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(factor, plateau, trials, expected):
    import pandas as pd

    experiment = configured("laws")
    network = vars(experiment.network)
    rows = []
    for law, scale in ((None, 1.0), ("orthogonal", factor)):
        for ell in (100, 130, 160, 200, 260, 800):
            rate = plateau if ell == 800 else min(0.95, max(0.0, ell / scale / 160 - 0.5))
            columns = {
                **{key: value for key, value in network.items() if value is not None},
                **{"ell": ell, "law": law, "kappa": experiment.kappa, "status": "converged"},
                "max_steps": experiment.max_steps,
                "epsilon_true": np.where(np.arange(trials) < rate * trials, 0.0, 1.0),
            }
            rows.append(pd.DataFrame(columns))
    assert set(verdicts(experiment, pd.concat(rows)).values()) == {expected}


def test_the_gaussian_law_counts_among_those_that_trials_must_decide():
    import pandas as pd

    experiment = configured("laws")
    every = experiment.trials_needed(pd.DataFrame({"law": [None, "sparse", "heavy"]}))
    two = experiment.trials_needed(pd.DataFrame({"law": ["sparse", "heavy"]}))
    assert every["laws.plateau"] > two["laws.plateau"]
    alone = experiment.trials_needed(pd.DataFrame({"law": [None, None]}))
    assert 0 < alone["laws.plateau"] < two["laws.plateau"]
