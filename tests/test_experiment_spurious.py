"""Verdicts of `spurious` on fabricated tables, and its rows on real networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.spurious import near
from harness.claims import Verdict
from harness.problem import BRANCHES
from tests.configured import configured, noise, verdicts

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def table(power: float, exist: float, escapes: float, trials: int = 200) -> pd.DataFrame:
    """Networks of which a share have a spurious minimum, at epsilon = (ell / 100)^power / 2."""
    rows = []
    for n in (3, 5):
        for ell in (100, 200, 400):
            for trial, wobble in enumerate(noise(trials, 0.05, seed=ell)):
                some = trial < exist * trials
                rows.append(
                    {
                        "n": n,
                        "p": n,
                        "ell": ell,
                        "trial": trial,
                        "spurious": int(some),
                        "epsilon": 0.5 * (ell / 100) ** power * np.exp(wobble) if some else 0.0,
                        "escapes": int(some and trial < escapes * trials),
                    }
                )
    base = {
        "d": 2,
        "s": 2,
        "growth": "geometric",
        "c": 2.0,
        "last_layer": "truncated",
        "starts": 64,
        "max_steps": 500,
        "kappa": 0.5,
        "status": "ok",
    }
    return pd.DataFrame(rows).assign(**base)


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((-0.2, 1.0, 1.0), {"exist": YES, "distance": YES, "escape": YES}),
        ((0.1, 0.3, 0.1), {"exist": NO, "distance": NO, "escape": NO}),
        ((-0.0625, 0.75, 0.7), {"exist": UNSURE, "distance": UNSURE, "escape": UNSURE}),
        ((-0.2, 0.0, 0.0), {"exist": NO, "distance": UNSURE, "escape": YES}),
    ],
)
def test_verdicts(fabricated, expected):
    assert verdicts(configured("spurious"), table(*fabricated)) == expected


def test_the_hyperbolas_share_the_minima():
    experiment = configured("spurious", {"network.n": 3, "network.p": 3, "network.ell": 60})
    (row,) = experiment.trial(np.random.default_rng(0))
    assert row["truth_found"]
    assert row["spurious"] > 0
    assert sum(row[near(branch)] for branch in BRANCHES) == row["spurious"]
    assert 0 < row["epsilon"] <= 1
    assert 0 <= row["escapes"] <= row["spurious"]
