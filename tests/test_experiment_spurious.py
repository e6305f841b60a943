"""Verdicts of `spurious` and `conclusion` on fabricated tables, and their rows on real networks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from harness.claims import Verdict
from harness.landscape.nearness import census_minima
from harness.problem import BRANCHES
from tests.configured import configured, settings, verdicts

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
MISSED = Verdict.NOT_FOUND
BASE = {"d": 2, "s": 2, "c": 0.2, "last_layer": "truncated", "status": "ok"}
PLANE = [(2, ell, growth) for growth in ("geometric", "proportional") for ell in (200, 800)]
MANY = [(n, ratio * n, "geometric") for n, ratio in product((3, 6, 12, 20), (50, 100))]


def place(n: int, ell: int, growth: str, trials: int) -> dict[str, object]:
    """Coordinates of a cell, and its trials as shares of 1."""
    trial = np.arange(trials)
    return BASE | {"n": n, "p": n, "ell": ell, "growth": growth, "trial": trial, "replica": 0}


def escapes(plane: float, many: float, trials: int = 200) -> pd.DataFrame:
    """Networks of which these shares escape from both of their minima."""
    parts = []
    for n, ell, growth in PLANE + MANY[:4]:
        share = (np.arange(trials) + 0.5) / trials
        free = share < (plane if n == 2 else many)
        columns = {
            "minima": 2,
            "expected": 2.5,
            "least": 2.0,
            "most": 4.0,
            "checked": 2,
            "escapes": np.where(free, 2, 1),
        }
        parts.append(pd.DataFrame(place(n, ell, growth, trials) | columns))
    kept = ("starts", "max_steps", "kappa")
    return pd.concat(parts).assign(**{name: settings("spurious")[name] for name in kept})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((1.0, 1.0), {"plane": YES, "traps": MISSED}),
        ((0.5, 0.5), {"plane": NO, "traps": NO}),
        ((0.95, 0.9), {"plane": UNSURE, "traps": UNSURE}),
        ((1.0, 1.0, 20), {"plane": UNSURE, "traps": UNSURE}),
    ],
)
def test_escape_verdicts(table, expected):
    assert verdicts(configured("spurious"), escapes(*table)) == expected


def test_networks_without_minima_do_not_count_as_escaped():
    table = escapes(1.0, 1.0)
    empty = table.assign(minima=0, escapes=0)
    assert verdicts(configured("spurious"), empty)["plane"] == UNSURE


@pytest.mark.parametrize("n", [2, 3])
def test_escapes_and_checks_are_those_of_single_minima(n):
    experiment = configured("spurious", {"network.n": n, "network.p": n, "network.ell": 60})
    [row] = experiment.trial(np.random.default_rng(1))
    assert 0 <= row["escapes"] <= row["minima"]
    if n == 2:
        P = experiment.network.problem(np.random.default_rng(1))
        minima = census_minima(P)
        better = [
            min(P.loss(i * h, j * m) for i, j in BRANCHES[1:]) < P.loss(h, m)
            for h, m in zip(minima.h, minima.m, strict=True)
        ]
        assert (row["minima"], row["checked"]) == (len(better), sum(better))


# --- conclusion -----------------------------------------------------------------------------


def outcomes(
    plane: float, kinks: float, near: float, far: float, trend: float, trials: int = 200
) -> pd.DataFrame:
    """Shares of networks with minima outside A: n = 2, on kinks of both, n = 3, n >= 12.

    At n = 2 the constants follow epsilon with this slope, and noise.
    """
    parts = []
    for n, ell, growth in PLANE + MANY:
        rng = np.random.default_rng([n, ell, len(growth)])
        rank = (rng.permutation(trials) + 0.5) / trials
        share = plane if n == 2 else near if n < 12 else far
        columns = {
            "minima": 4.0,
            "first": 3,
            "second": 3,
            "both": 2,
            "known": 3.0 if n == 2 else np.nan,
            "expected": 4.5,
            "least": 4.0,
            "most": 8.0,
            "epsilon": np.where(rank < share, 0.6 + 0.3 * rank, 0.4 * rank),
            "kinks": np.where(rank < kinks, 0.6, 0.0),
            "radius": 1.0,
        }
        for name in ("wdc_first", "wdc", "joint"):
            columns[name] = trend * columns["epsilon"] + 0.1 * rng.standard_normal(trials)
        parts.append(pd.DataFrame(place(n, ell, growth, trials) | columns))
    kept = ("starts", "budget", "certify")
    return pd.concat(parts).assign(**{name: settings("conclusion")[name] for name in kept})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((0, 0, 1, 0, 1), {"plane": YES, "none": MISSED, "fades": YES, "foretold": YES}),
        ((0.9, 0.5, 1, 0.9, 0), {"plane": NO, "none": NO, "fades": NO, "foretold": NO}),
        ((0.1, 0.1, 0.5, 0.1, 0.1), {"plane": UNSURE, "none": UNSURE, "fades": NO}),
        ((0.1, 0.1, 0.5, 0, 0.1, 8), {"plane": UNSURE, "fades": UNSURE, "foretold": UNSURE}),
        ((0.0, 0.5, 1, 0, 1), {"plane": NO}),
    ],
)
def test_conclusion_verdicts(table, expected):
    found = verdicts(configured("conclusion"), outcomes(*table))
    assert {name: found[name] for name in expected} == expected


def test_a_census_knows_what_hunts_find_and_more():
    experiment = configured("conclusion", {"network.n": 2, "network.p": 2, "network.ell": 50})
    [row] = experiment.trial(np.random.default_rng(0))
    hunted = row["first"] + row["second"] - row["both"]
    assert 0 < row["known"] == hunted <= row["minima"]
    assert 0 <= row["kinks"] <= row["epsilon"] <= 1
    assert row["wdc_first"] <= row["wdc"]
    assert row["proved_least"] - 1e-9 <= row["epsilon"] <= row["proved_most"] + 1e-9


def test_hunts_join_what_each_of_them_finds():
    experiment = configured("conclusion", {"network.ell": 60})
    [row] = experiment.trial(np.random.default_rng(0))
    assert row["minima"] == row["first"] + row["second"] - row["both"] > 0
    assert np.isnan(row["known"])
    assert row["minima"] <= row["expected"]
    assert row["least"] <= row["most"]
