"""Verdicts of the experiments on the truth's neighbourhood and on where descents end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.claims import Verdict
from tests.configured import configured, settings, verdicts

YES, NO, UNSURE, MISSED = (
    Verdict.SUPPORTED,
    Verdict.REFUTED,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_FOUND,
)


def network(name: str, **changes: object) -> dict[str, object]:
    """The columns of the experiment's own network, with some changed."""
    return settings(name)["network"] | changes


def basin_table(
    power: float, lowest: float, ratio: float, back: float, trials: int = 200
) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    own = {key: settings("basin")[key] for key in ("kappa", "near", "radius", "starts")}
    parts = []
    for d in (1, 2):
        for ell in (800, 1600, 3200):
            gap = (1 - lowest) * (ell / 3200) ** power * np.exp(0.1 * rng.standard_normal(trials))
            rate = np.full(trials, 0.9)
            columns = {
                "lowest": 1 - gap,
                "highest": 2.2,
                "certified_region": 1e-3,
                "certified_basin": 1e-4,
                "rate": rate,
                "measured": rate**ratio,
                "returned": back,
                "status": "ok",
                "max_steps": settings("basin")["max_steps"],
            }
            where = network("basin", d=d, s=d, p=5, ell=ell)
            parts.append(pd.DataFrame(own | where | columns))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((-0.5, 0.9, 1.0, 1.0), (YES, YES, YES, MISSED)),
        ((-0.2, 0.2, 1.2, 0.9), (NO, NO, NO, NO)),
        ((-0.5, 0.9, 1.0, 1.0, 5), (UNSURE, UNSURE, UNSURE, UNSURE)),
    ],
)
def test_basin_verdicts(table, expected):
    found = verdicts(configured("basin"), basin_table(*table))
    assert tuple(found[name] for name in ("curvature", "convex", "rate", "radius")) == expected


def capture_table(near: float, truth: float, benefit: list[float], trials: int) -> pd.DataFrame:
    """Shares of ends near a hyperbola and at the truth; what sign checks add, for n = 5, 10, 20."""
    parts = []
    for n, ell, gain in zip((5, 10, 20), (104, 157, 265), benefit, strict=True):
        for length, rates in ((160 * n, (truth, truth, near)), (ell, (0.5 + gain, 0.5, 0.6))):
            every, never, captured = (np.arange(trials) < rate * trials for rate in rates)
            columns = {
                "epsilon_every": np.where(every, 0.0, 1.0),
                "epsilon_never": np.where(never, 0.0, 1.0),
                "epsilon_nearest_never": np.where(captured, 0.0, 1.0),
                "nearest_never": "++",
                "status_every": "converged",
                "kappa": settings("capture")["kappa"],
                "max_steps": settings("capture")["max_steps"],
                "status": "ok",
            }
            where = network("capture", n=n, p=n, d=2, s=2, ell=length)
            parts.append(pd.DataFrame(where | columns))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((1.0, 1.0, [0.2, 0.1, 0.0], 2000), (YES, YES, YES)),
        ((0.8, 0.8, [0.05, 0.1, 0.2], 2000), (NO, NO, NO)),
        ((0.97, 0.95, [0.2, 0.1, 0.15], 20), (UNSURE, UNSURE, UNSURE)),
    ],
)
def test_capture_verdicts(table, expected):
    found = verdicts(configured("capture"), capture_table(*table))
    assert tuple(found[name] for name in ("near", "truth", "benefit")) == expected
