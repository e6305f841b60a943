"""What `descent_map` measures, and its verdicts on tables made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.descent_map import DescentMap
from harness.claims import Verdict
from harness.experiment import columns
from harness.landscape import product_grid, slopes
from harness.problem import BRANCHES, Demodulation
from harness.theory import expected_gradients
from tests.configured import configured
from tests.helpers import integer_network, problem


def experiment_with(changes: dict[str, Any] | None = None) -> DescentMap:
    experiment = configured("descent_map", changes)
    assert isinstance(experiment, DescentMap)
    return experiment


SMALL = {"degrees": [0, 60, 180], "radii": [0.1, 0.9], "network.ell": 12}


def table_of(share: float, radius: float, trials: int = 60) -> pd.DataFrame:
    """Shares of failures outside A and their reach, with these exponents in ell."""
    rng = np.random.default_rng(0)
    parts = []
    for d in (2, 3):
        for ell in (300, 600, 1200):
            noise = np.exp(0.05 * rng.standard_normal(trials))
            parts.append(
                pd.DataFrame(
                    {
                        **{"n": 5, "p": 5, "d": d, "s": d, "ell": ell, "c": 0.2},
                        **{"growth": "proportional", "last_layer": "truncated"},
                        "pairs": 1000,
                        "trial": np.arange(trials),
                        "outside": 0.1 * (ell / 300) ** share * noise,
                        "reach": 0.9 * (ell / 300) ** radius * noise,
                        "status": "ok",
                    }
                )
            )
    return pd.concat(parts)


def verdicts(table: pd.DataFrame) -> dict[str, Verdict]:
    experiment = experiment_with()
    coordinates = {"degrees", "radii", "epsilon"}
    own = {k: v for k, v in columns(experiment).items() if k in coordinates}
    return {f.claim.id.partition(".")[2]: f.verdict for f in experiment.judge(table.assign(**own))}


def test_every_claim_comes_out_in_each_of_the_three_ways() -> None:
    assert set(verdicts(table_of(-1.5, -0.3)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(table_of(0.0, 0.0)).values()) == {Verdict.REFUTED}
    assert set(verdicts(table_of(-1.5, -0.3, trials=1)).values()) == {Verdict.INCONCLUSIVE}


def test_one_bad_claim_does_not_touch_the_other() -> None:
    assert verdicts(table_of(-1.5, 0.0)) == {
        "expected": Verdict.SUPPORTED,
        "radius": Verdict.REFUTED,
    }


def test_a_share_of_zero_is_counted_as_one_pair() -> None:
    table = table_of(-1.5, -0.3)
    table.loc[table["ell"] == 1200, "outside"] = 0.0
    assert verdicts(table)["expected"] == Verdict.SUPPORTED


# --- What a trial measures ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_what_a_loop_over_balanced_points_counts(seed: int) -> None:
    experiment = experiment_with(SMALL)
    [row] = experiment.trial(np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    P = experiment.network.problem(rng)
    towards = slopes.steepest(P, rng)
    H, M = experiment._plane(P, towards, np.radians(slopes.signed(experiment.degrees)))
    assert row["pairs"] == len(H) * len(M) == 4 * 4 * 2
    shape: Any = {"d": P.d, "s": P.s, "ell": P.ell, "alpha": experiment.network.alpha}
    distances = []
    for h0 in H:
        for m0 in M:
            c = np.sqrt(np.linalg.norm(h0) / np.linalg.norm(m0))
            h, m = h0 / c, m0 * c
            t1, t2 = expected_gradients(h, m, P.h0, P.m0, **shape)
            if P.directional_derivative(h, m, -t1, -t2) >= 0:
                distances.append(min(float(P.neighbourhood(h, m, branch)) for branch in BRANCHES))
    far = sum(epsilon > experiment.epsilon for epsilon in distances)
    assert row["share"] == pytest.approx(len(distances) / row["pairs"])
    assert row["outside"] == pytest.approx(far / row["pairs"])
    assert row["reach"] == pytest.approx(max(distances, default=0.0), abs=1e-7)


@pytest.mark.parametrize("epsilon", [0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["one-layer", "two-layer", "deep"])
def test_reach_is_the_largest_distance_and_the_count_beyond(name: str, epsilon: float) -> None:
    """Also for d = 1, where three of the hyperbolas lie in K."""
    P = problem(name)
    rng = np.random.default_rng(1)
    near = np.linspace(0, 1, 700)[:, None] ** 3
    h = P.h0 + near * rng.normal(size=(700, P.n))
    m = 0.6 * (P.m0 + near * rng.normal(size=(700, P.p)))
    ratio = np.sqrt(np.linalg.norm(h, axis=1) / np.linalg.norm(m, axis=1))[:, None]
    exact = np.min([P.neighbourhood(h / ratio, m * ratio, b) for b in BRANCHES], axis=0)
    for count in (0, 1, 50, 700):
        least, outside = slopes.reach(P, h[:count], m[:count], epsilon)
        assert least == pytest.approx(exact[:count].max(initial=0.0), abs=1e-12)
        assert outside == (exact[:count] > epsilon).sum()


def test_degenerate_networks_give_rows() -> None:
    """Dead cones and units without weights everywhere."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        G1, G2 = integer_network(rng, (2, 2, 4)), integer_network(rng, (2, 4))
        P = Demodulation(G1, G2, np.ones(2), np.array([1.0, -2.0]))
        grid = product_grid(P, rng.standard_normal((5, 2)), rng.standard_normal((5, 2)))
        assert slopes.expected_fails(grid).shape == (5, 5)
        assert all(np.isfinite(vector).all() for vector in slopes.steepest(P, rng))


def test_the_map_is_drawn_again_from_the_seed_of_its_row() -> None:
    experiment = experiment_with(SMALL)
    one, other = (experiment.network.problem(np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one.y0, other.y0)
    larger = replace(experiment, network=replace(experiment.network, ell=20))
    assert larger.network.problem(np.random.default_rng(9)).ell == 20
