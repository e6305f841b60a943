"""Verdicts of the experiments on Algorithm 1 on fabricated tables, and what their rows mean."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.ablation import WORDS
from experiments.noise import least_squares_error
from harness.claims import Verdict
from harness.conditions.aligned import aligned_truths
from harness.experiment import columns
from harness.problem import Demodulation
from harness.storage.cell import Cell
from harness.sweep.runner import measure
from tests.configured import configured, noise, verdicts
from tests.helpers import network

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def with_base(name: str, rows: list[dict]) -> pd.DataFrame:
    """Rows on top of the experiment's own coordinates."""
    base = columns(configured(name))
    return pd.DataFrame([base | {"status": "converged"} | row for row in rows])


# --- sample_complexity ----------------------------------------------------------------------


def phases(power: float, slower: float, trials: int = 200) -> pd.DataFrame:
    """Half of the trials succeed at ell = 100 (n / 10)^power, in arms at `slower` times that."""
    rng = np.random.default_rng(0)
    rows = []
    arms = [
        (n, n, growth, truth, level, 100 * (n / 10) ** power * factor)
        for n in (5, 10, 20)
        for growth, truth, level, factor in (
            ("log", "random", 0.0, 1.0),
            ("factor", "random", 0.0, 1.0),
            ("log", "aligned", 0.0, slower),
            ("log", "random", 0.1, slower),
        )
    ]
    arms += [(n, 20 - n, "log", "random", 0.0, 100 * slower) for n in (4, 16)]
    for n, p, growth, truth, level, middle in arms:
        for ratio, trial in itertools.product((0.35, 0.5, 0.7, 1, 1.4, 2, 2.8), range(trials)):
            success = rng.random() < 1 / (1 + ratio**-5)
            rows.append(
                {"n": n, "p": p, "growth": growth, "truth": truth, "noise": level, "trial": trial}
                | {"ell": round(middle * ratio), "epsilon_true": 1e-8 if success else 0.9}
                | {"steps": 500}
            )
    return with_base("sample_complexity", rows)


CLAIMS = ("linear", "local", "quadratic", "factor", "split", "aligned", "noise")


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((0.9, 1.0), (YES, YES, NO, YES, YES, YES, YES)),
        ((2.0, 1.9), (NO, NO, YES, NO, NO, NO, NO)),
        ((1.3, 1.25, 40), (UNSURE,) * 2 + (NO,) + (UNSURE,) * 4),
    ],
    ids=["linear", "quadratic", "between"],
)
def test_sample_complexity_verdicts(fabricated, expected):
    found = verdicts(configured("sample_complexity"), phases(*fabricated))
    assert found == dict(zip(CLAIMS, expected, strict=True))


def test_sample_complexity_counts_an_error_within_the_noise_as_success():
    experiment = configured("sample_complexity")
    table = with_base(
        "sample_complexity",
        [
            {"noise": level, "epsilon_true": error}
            for level, error in ((0.0, 9e-4), (0.0, 0.01), (0.1, 0.1), (0.1, 0.2), (0.1, np.nan))
        ],
    )
    success = experiment._with_success(table)["success"]  # type: ignore[attr-defined]
    assert success.tolist() == [True, False, True, False, False]


def test_an_aligned_truth_points_along_one_row_of_both_last_layers():
    """Exactly at depth 1; at depth 2 better than any of many random directions."""
    G1, G2 = network(1, (4, 60)), network(2, (3, 60))
    h0, m0 = aligned_truths(G1, G2)
    lengths = [np.linalg.norm(G.weights[0], axis=1) for G in (G1, G2)]
    row = int(np.argmax(lengths[0] * lengths[1]))
    for G, x in ((G1, h0), (G2, m0)):
        w = G.weights[0][row]
        np.testing.assert_allclose(x, w / np.linalg.norm(w))

    G1, G2 = network(3, (4, 30, 60)), network(4, (3, 30, 60))
    h0, m0 = aligned_truths(G1, G2)
    lengths = [np.linalg.norm(G.weights[-1], axis=1) for G in (G1, G2)]
    row = int(np.argmax(lengths[0] * lengths[1]))
    rng = np.random.default_rng(5)
    for G, x in ((G1, h0), (G2, m0)):
        assert np.linalg.norm(x) == pytest.approx(1)
        others = rng.normal(size=(2000, x.size))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        assert G(x)[row] >= np.quantile(G(others)[:, row], 0.99)


# --- noise ----------------------------------------------------------------------------------


def noisy(linear: float, rate: float, ratio: float, trials: int = 60) -> pd.DataFrame:
    rows = []
    for level, ell in itertools.product((0.01, 0.03, 0.1), (200, 400, 800)):
        for trial, wobble in enumerate(noise(trials, 0.05, seed=ell)):
            error = level**linear * (ell / 200) ** rate * np.exp(wobble)
            rows.append(
                {"noise": level, "ell": ell, "trial": trial, "error": error}
                | {"least_squares": error / ratio}
            )
    return with_base("noise", rows)


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((1.0, -0.5, 1.0), (YES, YES, YES)),
        ((1.4, -0.1, 1.5), (NO, NO, NO)),
        ((1.1, -0.65, 1.0, 3), (UNSURE, UNSURE, UNSURE)),
    ],
)
def test_noise_verdicts(fabricated, expected):
    found = verdicts(configured("noise"), noisy(*fabricated))
    assert found == dict(zip(("linear", "rate", "efficient"), expected, strict=True))


def test_the_least_squares_error_is_that_of_descent_for_small_noise():
    rng = np.random.default_rng(6)
    G1, G2 = network(7, (3, 30, 300)), network(8, (2, 30, 300))
    h0, m0 = rng.normal(size=3), rng.normal(size=2)
    clean = Demodulation(G1, G2, h0, m0)
    e = 1e-6 * np.linalg.norm(clean.y0) * rng.normal(size=300) / np.sqrt(300)
    P = Demodulation(G1, G2, h0, m0, e)
    x = np.concatenate([h0, m0])
    for _ in range(20):  # Gauss and Newton
        h, m = x[:3], x[3:]
        a, b = G1(h), G2(m)
        jacobian = np.hstack([b[:, None] * G1.Lambda(h), a[:, None] * G2.Lambda(m)])
        x = x - np.linalg.lstsq(jacobian, a * b - P.y0, rcond=None)[0]
    found = float(P.product_error(x[None, :3], x[None, 3:])[0])
    assert least_squares_error(P, e) == pytest.approx(found, rel=1e-3)


# --- ablation -------------------------------------------------------------------------------


def arms(rates: dict[str, float], trials: int = 400) -> pd.DataFrame:
    """The printed algorithm succeeds in the first half of the trials, an arm in the first few."""
    rows = [
        {"arm": arm, "ell": ell, "trial": trial, "steps": 100}
        | {"epsilon_true": 0.0 if trial < rates.get(arm, 0.5) * trials else 0.5}
        for arm, ell, trial in itertools.product(WORDS, (120, 240), range(trials))
    ]
    return with_base("ablation", rows)


GOOD = {"check_never": 0.3, "fixed_step": 0.3, "restarts": 0.9}
BAD = {"check_once": 0.3, "unbalanced": 0.7, "joint": 0.3, "restarts": 0.4}


@pytest.mark.parametrize(
    ("rates", "trials", "expected"),
    [(GOOD, 400, YES), (BAD, 400, NO), (GOOD, 8, UNSURE)],
)
def test_ablation_verdicts(rates, trials, expected):
    found = verdicts(configured("ablation"), arms(rates, trials))
    assert set(found.values()) == {expected}


def test_all_arms_of_a_trial_have_one_network_truth_and_start():
    sizes, losses = set(), {}
    for arm in WORDS:
        experiment = configured(
            "ablation", {"arm": arm, "network.n": 3, "network.p": 3, "network.ell": 60}
        )
        [row] = measure(Cell("ablation", experiment, 0), 1)
        sizes.add(row["size"])
        losses[arm] = row["loss_ratio"]
    assert len(sizes) == 1
    assert losses["restarts"] <= losses["paper"]


# --- depth ----------------------------------------------------------------------------------


def depths(log: float, narrow: float, fitted: float, trials: int = 100) -> pd.DataFrame:
    """Rates of success, and of the observation fitted, in the narrow networks that fail."""
    rows = []
    for growth, c, rate in (("log", 4.0, log), ("factor", 1.0, narrow), ("factor", 0.5, narrow)):
        for d, trial in itertools.product((2, 3), range(trials)):
            success = trial < rate * trials
            fits = success or trial >= (1 - fitted) * trials
            rows.append(
                {"growth": growth, "c": c, "d": d, "s": d, "ell": 800, "trial": trial}
                | {"epsilon_true": 0.0 if success else 0.5, "loss_ratio": 0.0 if fits else 0.3}
            )
    return with_base("depth", rows)


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [((1.0, 0.0, 0.0), YES), ((0.5, 0.5, 0.5), NO), ((1.0, 0.0, 0.0, 8), UNSURE)],
)
def test_depth_verdicts(fabricated, expected):
    assert set(verdicts(configured("depth"), depths(*fabricated)).values()) == {expected}


def test_depth_leaves_dead_networks_out_and_says_how_many():
    table = depths(1.0, 0.0, 0.0)
    dead = table.tail(30).index
    table.loc[dead, "status"] = "dead_network"
    table.loc[dead, ["epsilon_true", "loss_ratio"]] = np.nan
    findings = configured("depth").judge(table)
    assert findings[2].estimate.n == 70
    assert "30 of 200 draws had y0 = 0" in findings[2].tested
    assert "y0 = 0" not in findings[1].tested


def test_depth_is_judged_at_its_worst_cell_and_not_over_a_pool():
    table = depths(1.0, 0.0, 0.0)
    worst = table.index[(table["c"] == 0.5) & (table["d"] == 3)][:30]
    table.loc[worst, "loss_ratio"] = 0.0
    finding = configured("depth").judge(table)[3]
    assert finding.estimate.value == 0.3
    assert finding.verdict == NO
