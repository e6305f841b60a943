"""What `descent_map` measures, and its verdicts on tables made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments import descent_map
from experiments.descent_map import DescentMap
from harness.claims import Verdict
from harness.experiment import columns
from harness.landscape import slopes
from harness.landscape.axes import plane_kinks
from harness.problem import BRANCHES, Demodulation
from harness.theory import expected_gradients
from tests.configured import configured
from tests.helpers import integer_network, problem


def experiment_with(changes: dict[str, Any] | None = None) -> DescentMap:
    experiment = configured("descent_map", changes)
    assert isinstance(experiment, DescentMap)
    return experiment


SMALL = {"degrees": [0, 60, 180], "radii": [0.1, 0.9], "kink_radii": [0.3], "network.ell": 12}


def table_of(
    kinks: float, flat: float, share: float, radius: float, trials: int = 60
) -> pd.DataFrame:
    """Shares of networks with failures outside A, exponents of the share and of the radius."""
    rng = np.random.default_rng(0)
    place = (np.arange(trials) + 0.5) / trials
    parts = []
    for d in (2, 3):
        for ell in (300, 600, 1200):
            noise = np.exp(0.05 * rng.standard_normal(trials))
            for layers in ((0, 0), (1, 1), (2, 1)):
                parts.append(
                    pd.DataFrame(
                        {
                            **{"n": 5, "p": 5, "d": d, "s": d, "ell": ell, "c": 0.2},
                            **{"growth": "proportional", "last_layer": "truncated"},
                            **{"layer_h": layers[0], "layer_m": layers[1], "pairs": 1000},
                            "trial": np.arange(trials),
                            "outside_gradient": np.where(
                                (place < kinks) & (layers[0] == 2), 1e-3, 0
                            ),
                            "outside_flat": np.where((place < flat) & (layers[0] == 0), 1e-3, 0),
                            "outside_expected": 0.1 * (ell / 300) ** share * noise,
                            "epsilon_expected": 0.9 * (ell / 300) ** radius * noise,
                            "status": "ok",
                        }
                    )
                )
    return pd.concat(parts)


def verdicts(table: pd.DataFrame) -> dict[str, Verdict]:
    experiment = experiment_with()
    coordinates = {"degrees", "radii", "kink_radii", "epsilon", "flat"}
    own = {k: v for k, v in columns(experiment).items() if k in coordinates}
    return {f.claim.id.partition(".")[2]: f.verdict for f in experiment.judge(table.assign(**own))}


def test_every_claim_comes_out_in_each_of_the_three_ways() -> None:
    assert set(verdicts(table_of(0, 0, -1.5, -0.3)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(table_of(0.5, 0.5, 0.0, 0.0)).values()) == {Verdict.REFUTED}
    assert set(verdicts(table_of(0.1, 0.1, -1.5, -0.3, trials=1)).values()) == {
        Verdict.INCONCLUSIVE
    }


def test_one_bad_claim_does_not_touch_the_others() -> None:
    assert verdicts(table_of(0.5, 0, -1.5, -0.3)) == {
        "kinks": Verdict.REFUTED,
        "flat": Verdict.SUPPORTED,
        "expected": Verdict.SUPPORTED,
        "radius": Verdict.SUPPORTED,
    }
    assert verdicts(table_of(0, 0, -1.5, 0.0))["radius"] == Verdict.REFUTED


def test_a_share_of_zero_is_counted_as_one_pair() -> None:
    table = table_of(0, 0, -1.5, -0.3)
    table.loc[table["ell"] == 1200, "outside_expected"] = 0.0
    assert verdicts(table)["expected"] == Verdict.SUPPORTED


# --- What a trial measures ----------------------------------------------------------------------


def test_a_trial_has_a_row_for_generic_points_and_for_each_pair_of_layers() -> None:
    experiment = experiment_with({**SMALL, "network.ell": 60, "network.c": 0.5})
    rows = experiment.trial(np.random.default_rng(0))
    assert [(row["layer_h"], row["layer_m"]) for row in rows] == [
        *((0, 0), (1, 1), (1, 2), (2, 1), (2, 2)),
    ]
    assert rows[0]["pairs"] == 4 * 4 * 2
    assert all(
        0 <= row[f"outside_{q}"] <= row[f"share_{q}"] <= 1
        for row in rows  # type: ignore[operator]
        for q in descent_map.WORDS
    )


@pytest.mark.parametrize("seed", range(3))
def test_generic_shares_are_what_a_loop_over_balanced_points_counts(seed: int) -> None:
    experiment = experiment_with(SMALL)
    row = experiment.trial(np.random.default_rng(seed))[0]
    rng = np.random.default_rng(seed)
    P = experiment.network.problem(rng)
    towards = slopes.steepest(P, rng)
    H, M = experiment._plane(P, towards, np.radians(slopes.signed(experiment.degrees)))
    counts, reach = dict.fromkeys(descent_map.WORDS, 0), dict.fromkeys(descent_map.WORDS, 0.0)
    outside = dict.fromkeys(descent_map.WORDS, 0)
    shape: Any = {"d": P.d, "s": P.s, "ell": P.ell, "alpha": experiment.network.alpha}
    for h0 in H:
        for m0 in M:
            c = np.sqrt(np.linalg.norm(h0) / np.linalg.norm(m0))
            h, m = h0 / c, m0 * c
            g1, g2 = P.gradients(h, m)
            t1, t2 = expected_gradients(h, m, P.h0, P.m0, **shape)
            largest = max(np.linalg.norm(h) * np.linalg.norm(m), 1.0)
            scale = shape["alpha"] / 2 ** (P.d + P.s) / P.ell * largest * np.linalg.norm(m)
            along = [
                float(P.directional_derivative(h, m, -u, -v))
                for u, v in ((g1, 0 * g2), (0 * g1, g2), (t1, t2))
            ]
            found = {
                "gradient": along[0] >= 0 and along[1] >= 0,
                "expected": along[2] >= 0,
                "flat": max(np.linalg.norm(g1), np.linalg.norm(g2)) < experiment.flat * scale,
            }
            epsilon = min(float(P.neighbourhood(h, m, branch)) for branch in BRANCHES)
            for name, yes in found.items():
                counts[name] += yes
                outside[name] += yes and epsilon > experiment.epsilon
                reach[name] = max(reach[name], epsilon if yes else 0.0)
    for name in descent_map.WORDS:
        assert row[f"share_{name}"] == pytest.approx(counts[name] / (len(H) * len(M)))
        assert row[f"outside_{name}"] == pytest.approx(outside[name] / (len(H) * len(M)))
        assert row[f"epsilon_{name}"] == pytest.approx(reach[name], abs=1e-7)


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


def test_kinks_next_to_the_angles_are_of_every_layer_and_near() -> None:
    P = problem("two-layer")
    kinks = plane_kinks(P.G1, P.h0, np.ones(P.n))
    chosen = slopes.next_to(kinks, [0.0, 90.0, 180.0])
    assert set(chosen.layer) == set(kinks.layer)
    for k in set(kinks.layer):
        mine, all_ = chosen.angles[chosen.layer == k], kinks.angles[kinks.layer == k]
        assert 1 <= mine.size <= 5
        assert np.abs(mine).min() == np.abs(all_).min()
        assert (np.pi - np.abs(mine)).min() == (np.pi - np.abs(all_)).min()


def test_degenerate_networks_give_rows() -> None:
    """Dead cones and units without weights everywhere."""
    experiment = experiment_with(SMALL)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        G1, G2 = integer_network(rng, (2, 2, 4)), integer_network(rng, (2, 4))
        P = Demodulation(G1, G2, np.ones(2), np.array([1.0, -2.0]))
        towards = slopes.steepest(P, rng)
        rows = [experiment._generic(P, towards), *experiment._kinks(P, towards)]
        assert all(np.isfinite(float(row["share_expected"])) for row in rows)


def test_the_map_is_drawn_again_from_the_seed_of_its_row() -> None:
    experiment = experiment_with(SMALL)
    one, other = (experiment.network.problem(np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one.y0, other.y0)
    larger = replace(experiment, network=replace(experiment.network, ell=20))
    assert larger.network.problem(np.random.default_rng(9)).ell == 20
