"""Verdicts of `stationary_points` and `torus` on fabricated tables."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.stationary_points import DERIVED, NEAR
from harness.claims import Verdict
from harness.landscape import MINIMA, direction, stationary_points
from harness.landscape.nearness import TRUE_LOSS
from tests.configured import configured, noise, verdicts

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def census_table(power: float, number: float, constant: float, trials: int = 300) -> pd.DataFrame:
    """Networks whose deviation falls like ell^(-1/2), and the angle like its power.

    The numbers of minima grow like their derived powers times ell^number.
    """
    rows = []
    for d, ell in product((2, 3), (50, 100, 200, 400, 800)):
        rng = np.random.default_rng([d, ell])
        noise = np.exp(0.15 * rng.standard_normal((2, trials)))
        deviation = 2 * ell**-0.5 * noise[0]
        angle = 0.3 * ell ** (-0.5 * power) * noise[1]
        columns = {"d": d, "s": d, "ell": ell, "trial": np.arange(trials), "replica": 0}
        for name, derived in DERIVED.items():
            columns |= {f"near_{name}": rng.poisson(3 * ell ** (derived + number), trials)}
            columns |= {f"angle_{name}": np.where(np.arange(trials) % 10, angle, np.nan)}
            columns |= {f"farthest_{name}": angle, f"deviation_{name}": deviation}
        columns |= {"wdc": constant * noise[0], "joint": 2 * constant * noise[1]}
        rows.append(pd.DataFrame(columns))
    base = {"n": 2, "p": 2, "growth": "proportional", "c": 0.5, "last_layer": "truncated"}
    return pd.concat(rows).assign(**base, status="ok")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((0.5, 0.0, 1.5), {"quarter": YES, "half": YES, "number": YES, "conditions": YES}),
        ((0.0, 0.5, 0.1), {"quarter": NO, "half": NO, "number": NO, "conditions": UNSURE}),
        ((0.25, 0.1, 0.5), {"quarter": UNSURE, "half": NO, "number": UNSURE}),
        ((0.4, 0.0, 1.5, 5), {"half": UNSURE, "conditions": UNSURE}),
        ((1.0, 0.0, 1.5), {"quarter": YES, "half": NO}),
    ],
)
def test_census_verdicts(table, expected):
    found = verdicts(configured("stationary_points"), census_table(*table))
    assert {name: found[name] for name in expected} == expected


def test_a_census_row_counts_the_minima_near_each_hyperbola():
    experiment = configured("stationary_points", {"network.ell": 60})
    [row] = experiment.trial(np.random.default_rng(1))
    P = experiment.network.problem(np.random.default_rng(1))
    points = stationary_points(P)
    minima = points[points["kind"].isin(MINIMA) & (points["loss_ratio"] > TRUE_LOSS)]
    assert row["spurious"] == len(minima)
    for name, branches in NEAR.items():
        at = minima[[branch in branches for branch in minima["branch"]]]
        assert row[f"near_{name}"] == len(at) > 0
        angles = [
            np.arccos(np.clip(-direction(point[polar]) @ truth, -1, 1))
            for _, point in at.iterrows()
            for sign, polar, truth in zip(
                point["branch"], ("theta", "phi"), (P.h0, P.m0), strict=True
            )
            if sign < 0
        ]
        assert row[f"angle_{name}"] == pytest.approx(np.median(angles))
        assert row[f"farthest_{name}"] == pytest.approx(max(angles))


def torus_table(correlation: float, power: float, trials: int = 100) -> pd.DataFrame:
    rows = []
    for ell, narrowest in ((50, 10), (200, 20), (800, 40)):
        for wobble in noise(trials, 0.02, seed=ell):
            rows.append(
                {
                    "ell": ell,
                    "narrowest": narrowest,
                    "deviation": narrowest**power * np.exp(wobble),
                    "correlation": correlation + wobble,
                }
            )
    base = {
        "n": 2,
        "p": 2,
        "d": 2,
        "s": 2,
        "growth": "geometric",
        "c": 2.0,
        "last_layer": "truncated",
        "points": 90,
        "status": "ok",
    }
    return pd.DataFrame(rows).assign(**base)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((0.95, -0.7), {"shape": YES, "rate": YES}),
        ((0.7, -0.2), {"shape": NO, "rate": NO}),
        ((0.9, -0.5), {"shape": UNSURE, "rate": UNSURE}),
    ],
)
def test_torus_verdicts(table, expected):
    assert verdicts(configured("torus"), torus_table(*table)) == expected
