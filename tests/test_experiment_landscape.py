"""Verdicts of `stationary_points` and `torus` on fabricated tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.claims import Verdict
from tests.configured import configured, noise, settings, verdicts

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def census_table(
    power: float, spurious: int, escapes: float, complete: float, trials: int = 200
) -> pd.DataFrame:
    """Networks with the truth and so many spurious minima, at epsilon = wdc^power / 2."""
    rows = []
    for ell, wdc in ((50, 1.2), (200, 0.8), (800, 0.4)):
        spread = np.exp(noise(trials, 0.05, seed=ell))
        for trial in range(trials):
            common = {
                "trial": trial,
                "ell": ell,
                "wdc": wdc * spread[trial],
                "minima": spurious + 1,
                "saddles": 2,
                "maxima": 1,
                "degenerate": 0,
                "plateau": False,
                "torus_index": 0 if trial < complete * trials else 1,
            }
            for k in range(spurious + 1):
                rows.append(
                    common
                    | {
                        "branch": "-+" if k else "++",
                        "spurious": k > 0,
                        "epsilon": (0.5 * wdc**power * spread[trial] if k else 0.0),
                        "recovers": k == 0 or trial < escapes * trials,
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
        "budget": settings("stationary_points")["budget"],
        "max_steps": 500,
        "kappa": 0.5,
        "status": "ok",
    }
    return pd.DataFrame(rows).assign(**base)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((1.0, 2, 1.0, 1.0), {"distance": YES, "exist": YES, "escape": YES, "complete": YES}),
        ((0.0, 0, 1.0, 0.5), {"distance": UNSURE, "exist": NO, "escape": YES, "complete": NO}),
        ((0.0, 2, 0.5, 0.95), {"distance": NO, "exist": YES, "escape": NO, "complete": UNSURE}),
        ((0.25, 2, 0.95, 1.0), {"distance": UNSURE, "exist": YES, "escape": UNSURE}),
    ],
)
def test_census_verdicts(table, expected):
    found = verdicts(configured("stationary_points"), census_table(*table))
    assert {name: found[name] for name in expected} == expected


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
