"""Verdicts of the experiments on Algorithm 1 on fabricated tables, and what their rows mean."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.ablation import WORDS
from experiments.expansion import _chance
from experiments.noise import least_squares_error
from experiments.sample_complexity import FATES
from harness.claims import Verdict
from harness.problem import Demodulation
from harness.storage.cell import Cell
from harness.sweep.runner import measure
from tests.configured import configured, noise, verdicts, with_base
from tests.helpers import network

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


# --- sample_complexity ----------------------------------------------------------------------

RATIOS = (0.6, 0.7, 0.8, 0.88, 0.94, 1, 1.06, 1.14, 1.25, 1.4, 1.7)


def lengths(law, wider: float, gap: float, split: float, deeper: float, trials: int = 200):
    """Half of the trials succeed at ell = law(n + p - 1), in arms at a factor of that.

    wider : exponent in n_1; gap : that ell over the one from near the truth.
    """
    rng = np.random.default_rng(0)
    arms = [
        (n, n, 2, c, law(2 * n - 1) * (c / 6) ** wider)
        for n in (10, 20, 40, 80, 160)
        for c in (6.0, 12.0, 24.0)
        if n <= 40 or c <= 12
    ]
    arms += [(n, 40 - n, 2, 6.0, law(39) * split) for n in (8, 32)]
    arms += [(n, n, 3, 6.0, law(2 * n - 1) * deeper) for n in (20, 40)]
    rows = []
    for n, p, d, c, middle in arms:
        floor = 4 * (n + p - 1)
        for ell in {round(middle * ratio) for ratio in RATIOS} | {floor, round(0.8 * floor)}:
            found = rng.random(trials) < 1 / (1 + (ell / middle) ** -12)
            held = found | (rng.random(trials) < 1 / (1 + (ell * gap / middle) ** -12))
            rows += [
                {"n": n, "p": p, "d": d, "s": d, "c": c, "ell": ell, "trial": trial}
                | {"epsilon_true": 1e-8 if found[trial] else 0.9, "full_rank": True}
                | {"epsilon_near": 1e-8 if held[trial] else 0.5}
                for trial in range(trials)
            ]
    return with_base("sample_complexity", rows)


CLAIMS = ("affine", "power", "floor", "width", "search", "split", "depth")


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((lambda x: 50 + 5.2 * x, -0.1, 1.6, 1.0, 1.4), (YES, NO, YES, YES, YES, YES, YES)),
        ((lambda x: 9 * x**1.2, 0.2, 1.02, 1.5, 1.0), (NO, YES, NO, NO, NO, NO, NO)),
        ((lambda x: 50 + 5.2 * x, 0.05, 1.15, 1.1, 1.15, 6), (UNSURE,) * 7),
    ],
    ids=["affine", "power", "few"],
)
def test_sample_complexity_verdicts(fabricated, expected):
    found = verdicts(configured("sample_complexity"), lengths(*fabricated))
    assert found == dict(zip(CLAIMS, expected, strict=True))


def test_sample_complexity_judges_the_widths_on_identifiable_truths_alone():
    table = lengths(lambda x: 50 + 5.2 * x, -0.1, 1.6, 1.0, 1.4, 60)
    lost = table[(table["c"] == 24) & (table["trial"] < 30)].index
    table.loc[lost, "epsilon_true"] = 0.9
    assert verdicts(configured("sample_complexity"), table)["width"] == UNSURE
    table.loc[lost, "full_rank"] = False
    [finding] = (
        f for f in configured("sample_complexity").judge(table) if f.claim.id.endswith("width")
    )
    assert finding.verdict == YES
    assert "excludes 2" in finding.note


def test_sample_complexity_says_why_trials_fail_and_how_many_end_at_the_step_limit():
    experiment = configured("sample_complexity")
    table = with_base(
        "sample_complexity",
        [
            {"epsilon_true": true, "epsilon_near": near, "full_rank": rank, "status": status}
            for true, near, rank, status in (
                (9e-4, np.nan, True, "converged"),
                (0.5, np.nan, False, "converged"),
                (0.5, 0.01, True, "stalled"),
                (0.5, 1e-9, True, "max_steps"),
                (0.5, 1e-9, True, "stalled"),
                (np.nan, np.nan, np.nan, "dead_network"),
            )
        ],
    )
    found = experiment._judged(table)  # type: ignore[attr-defined]
    assert found["found"].tolist() == [True] + [False] * 5
    assert found["held"].tolist() == [True, False, False, True, True, False]
    fates = [[name for name in FATES if row[name]] for _, row in found.iterrows()]
    assert fates == [[], [FATES[0]], [FATES[1]], [FATES[2]], [FATES[3]], [FATES[0]]]
    summary = experiment.summary(table)
    assert summary is not None
    assert summary["not identifiable"].tolist() == ["0.333"]


def test_the_second_start_is_taken_only_where_it_can_tell_something():
    changes = {"network.n": 5, "network.p": 5, "network.d": 2, "network.s": 2}
    long = configured("sample_complexity", changes | {"network.ell": 400})
    short = configured("sample_complexity", changes | {"network.ell": 20, "max_steps": 300})
    rows = [measure(Cell("sample_complexity", long, 0), trial)[0] for trial in range(6)]
    rows += [measure(Cell("sample_complexity", short, 0), trial)[0] for trial in range(3)]
    assert {row["full_rank"] for row in rows} == {True, False}
    for row in rows:
        again = row["full_rank"] and row["epsilon_true"] > long.near  # type: ignore[attr-defined]
        assert (row["steps_near"] > 0) == np.isfinite(row["epsilon_near"]) == again


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


# --- expansion ------------------------------------------------------------------------------


def expansions(half, excess: float, width, deep: float, fitted: float, trials: int = 200):
    """Half the trials succeed at n_1/n = half(n), and are identifiable at that over `excess`.

    width : of the transition in log(n_1/n), a function of n.
    """
    rng = np.random.default_rng(0)
    rows = []
    for n, c in itertools.product((10, 20, 40), (1.2, 1.6, 2, 2.25, 2.5, 2.75, 3, 4, 6, 10)):

        def rate(middle: float, n: int = n, c: float = c) -> float:
            return 1 / (1 + np.exp(-np.log(c / middle) / width(n)))

        found = rng.random(trials) < rate(half(n))
        seen = found | (rng.random(trials) < rate(half(n) / excess))
        found &= (n, c) != (20, 4) or np.arange(trials) < deep * trials
        rows += [
            {"n": n, "p": n, "c": c, "ell": 100 * n, "trial": trial, "loss_ratio": 0.0}
            | {"epsilon_true": 0.0 if found[trial] else 0.5, "full_rank": seen[trial]}
            for trial in range(trials)
        ]
    for (n, c), d, trial in itertools.product(
        ((20, 4.0), (10, 1.0), (10, 0.5)), (2, 3, 4), range(trials)
    ):
        if (c, d) != (4.0, 2):
            rows.append(
                {"n": n, "p": n, "d": d, "s": d, "c": c, "ell": 100 * n, "trial": trial}
                | {"epsilon_true": 0.0 if c > 1 and trial < deep * trials else 0.5}
                | {"full_rank": c > 1, "loss_ratio": 0.0 if trial < fitted * trials else 0.3}
            )
    return with_base("expansion", rows)


EXPANSION = ("information", "growth", "sharp", "depth", "narrow")


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((lambda n: 2 + 1.5 * n**-0.5, 1.1, lambda n: 0.3 * n**-0.5, 1.0, 0.0), YES),
        ((lambda n: 2 * (n / 10) ** 0.35, 1.5, lambda n: 0.06, 0.5, 0.5), NO),
        ((lambda n: 2.25, 1.25, lambda n: 0.3 * n**-0.25, 0.75, 0.1, 10), UNSURE),
    ],
    ids=["sharp", "growing", "few"],
)
def test_expansion_verdicts(fabricated, expected):
    found = verdicts(configured("expansion"), expansions(*fabricated))
    assert found == dict.fromkeys(EXPANSION, expected)


def test_expansion_leaves_dead_networks_out_and_says_how_many():
    table = expansions(lambda n: 2.4, 1.1, lambda n: 0.1, 1.0, 0.0, 50)
    dead = table[(table["c"] == 0.5) & (table["trial"] < 10)].index
    table.loc[dead, "status"] = "dead_network"
    table.loc[dead, ["epsilon_true", "loss_ratio"]] = np.nan
    table["full_rank"] = table["full_rank"].astype(object).where(~table.index.isin(dead))
    findings = configured("expansion").judge(table)
    assert findings[4].estimate.n == 40
    assert "30 of 300 draws had y0 = 0" in findings[4].tested
    assert "y0 = 0" not in findings[3].tested


def test_expansion_knows_how_many_trials_its_rates_need():
    cells = expansions(lambda n: 2.4, 1.1, lambda n: 0.1, 1.0, 0.0, 1)
    needed = configured("expansion").trials_needed(cells)
    assert set(needed) == {"expansion.depth", "expansion.narrow"}
    assert 10 <= needed["expansion.depth"] <= needed["expansion.narrow"] <= 75


def test_the_chance_of_enough_active_units_is_that_of_identifiable_truths():
    assert _chance(10, 1.0) == pytest.approx(2.0**-20)
    assert _chance(10, 0.5) == 0
    experiment = configured(
        "expansion", {"network.n": 4, "network.p": 4, "network.ell": 200, "network.c": 2.0}
    )
    cell = Cell("expansion", experiment, 0)
    ranks = [row.get("full_rank", False) for trial in range(150) for row in measure(cell, trial)]
    assert abs(np.mean(ranks) - _chance(4, 2.0)) < 4 * np.sqrt(0.25 / 150)
