"""What `prior_price` decides from fabricated tables, and that its trials measure what it says."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.prior_price import NETWORKS, PriorPrice
from harness import priors
from harness.claims import Verdict
from harness.priors import published
from harness.stats import crossings
from harness.status import Status
from harness.storage.cell import Cell
from harness.sweep.runner import measure
from tests.configured import configured, verdicts, with_base

YES, NO, UNSURE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
RATIOS = 2.0 ** np.arange(0, 5, 0.25)


def rows(method: str, signal: str, k: int, half: float, trials: int) -> list[dict[str, Any]]:
    """Trials that succeed with a probability that crosses 1/2 at ell = half."""
    floor = (4 if method in NETWORKS else 1) * (2 * k - 1)
    rng = np.random.default_rng([k, len(method), len(signal)])
    found = []
    for ratio, trial in product(RATIOS, range(trials)):
        ell = np.ceil(ratio * floor)
        hit = rng.random() < 1 / (1 + np.exp(-np.log(ell / half) / 0.05))
        found.append(
            {"method": method, "signal": signal, "k": k, "ratio": ratio, "trial": trial}
            | {"error": 1e-6 if hit else 0.5, "status": "converged", "steps": 9}
            | {"informative": ell / 4 if method in NETWORKS else ell, "residual": 0.0}
        )
    return found


def prices(
    flat: float, peaky: float, l1: float, anchor: float, network: float, oracle: float, trials: int
) -> pd.DataFrame:
    """Tables of which `flat` and `l1` are exponents, and the others ratios."""
    found = []
    for k in (5, 8, 10, 16, 20, 32):
        half = 60 * (k / 8) ** flat
        found += rows("factorization", "flat", k, half, trials)
        found += rows("factorization", "decaying", k, half / peaky, trials)
    for k, length in {2: 18.0, 3: 27.0, 5: 52.0, 7: 70.5, 10: 101.0}.items():
        half = anchor * length if l1 == 1 else 18 * (k / 2) ** l1
        found += rows("l1_branch_hull", "flat", k, half, trials)
    for k in (5, 10, 20, 32):
        found += rows("algorithm1", "gaussian", k, network * 10 * k, trials)
        found += rows("pattern", "gaussian", k, network * 10 * k / oracle, trials)
    return with_base("prior_price", found)


NAMES = ("quadratic", "peaky", "signs", "anchor", "oracle", "dimension", "crossing")


@pytest.mark.parametrize(
    ("fabricated", "expected"),
    [
        ((2.0, 1.5, 1.0, 1.0, 1.5, 1.3, 60), (YES,) * 7),
        ((1.1, 1.0, 1.6, 1.0, 0.9, 1.0, 60), (NO, NO, NO, NO, YES, NO, NO)),
        ((1.1, 1.0, 1.0, 0.7, 5.0, 2.6, 60), (NO, NO, YES, NO, NO, YES, NO)),
    ],
    ids=["as the paper has it", "cheap networks", "dear networks"],
)
def test_prior_price_verdicts(fabricated, expected):
    found = verdicts(configured("prior_price"), prices(*fabricated))
    assert found == dict(zip(NAMES, expected, strict=True))


def test_without_the_extra_its_claims_are_open_and_the_others_are_not():
    table = prices(2.0, 1.5, 1.0, 1.0, 1.5, 1.3, 60)
    skipped = table["method"] == "l1_branch_hull"
    table.loc[skipped, "status"] = "skipped"
    table.loc[skipped, ["error", "informative"]] = np.nan
    found = verdicts(configured("prior_price"), table)
    open_claims = {"signs", "anchor", "dimension"}
    assert {name for name, verdict in found.items() if verdict == UNSURE} == open_claims
    assert set(found.values()) == {UNSURE, YES}


def test_a_draw_with_nothing_to_measure_is_one_without_success():
    table = prices(2.0, 1.5, 1.0, 1.0, 1.5, 1.3, 2)
    table.loc[0, ["error", "status"]] = np.nan, "dead_network"
    judged = configured("prior_price")._judged(table)  # type: ignore[attr-defined]
    assert len(judged) == len(table)
    assert not judged.loc[0, "found"]
    assert judged.loc[0, "ell"] == 9


def test_the_summary_tells_a_quadratic_law_from_a_linear_one():
    table = pd.concat([prices(2.0, 1.5, 1.0, 1.0, 1.5, 1.3, 60)])
    summary = configured("prior_price").summary(table)
    assert summary is not None
    last = summary.groupby(["method", "signal"]).last()
    assert last.loc[("factorization", "flat"), "share of k^2"] > 0.9
    assert abs(last.loc[("algorithm1", "gaussian"), "share of k^2"]) < 0.15
    assert last.loc[("algorithm1", "gaussian"), "per dimension"] == pytest.approx(7.5, rel=0.1)
    assert last.loc[("algorithm1", "gaussian"), "informative"] == pytest.approx(7.5 / 4, rel=0.1)


def test_the_published_lengths_are_those_of_the_table():
    """Where 5 of 10 succeed in the authors' table, read by eye."""
    for k, low, high in ((2, 16, 20), (3, 24, 28), (5, 50, 54), (7, 68, 72), (10, 96, 104)):
        lengths, found = published.draws(k)
        assert low <= crossings([(lengths, found)])[0, 0] <= high
        assert all(
            found[lengths == ell].sum() == n for ell, n in published.L1_BRANCH_HULL[k].items()
        )


# --- Trials ---------------------------------------------------------------------------------


def trial(**changes: Any) -> dict[str, Any]:
    experiment = configured("prior_price", {"k": 4, "ratio": 8.0, **changes})
    [row] = measure(Cell("prior_price", experiment, 0), 1)
    return row


@pytest.mark.parametrize(
    ("method", "signal", "columns"),
    [
        ("alternating", "gaussian", 1),
        ("spectral", "gaussian", 1),
        ("gradient", "gaussian", 1),
        ("polyak", "gaussian", 1),
        ("nuclear", "gaussian", 1),
        ("factorization", "decaying", 2),
        ("supports", "flat", 8),
        ("algorithm1", "gaussian", 1),
        ("pattern", "gaussian", 1),
        ("pattern_random", "gaussian", 1),
        ("branch_hull", "gaussian", 1),
        ("l1_branch_hull", "flat", 4),
    ],
)
def test_every_method_succeeds_with_many_rows(method, signal, columns):
    if method in priors.CONES and not priors.solver_installed():
        pytest.skip(f"{method} needs cvxpy, of the extra 'priors'")
    row = trial(method=method, signal=signal, columns=columns, starts=4)
    assert row["status"] == "converged"
    assert row["error"] < 1e-3


def test_methods_share_the_truth_and_more_starts_fit_no_worse():
    found = [trial(method="pattern_random", starts=starts, ratio=1.4) for starts in (1, 5)]
    found.append(trial(method="algorithm1", ratio=1.4))
    assert len({row["informative"] for row in found}) == 1
    assert found[1]["residual"] <= found[0]["residual"]


def test_without_the_extra_a_convex_method_is_skipped_and_measured_once_it_is_there(monkeypatch):
    from harness.priors import convex

    experiment = configured("prior_price", {"method": "branch_hull"})
    assert isinstance(experiment, PriorPrice)
    monkeypatch.setattr(convex, "find_spec", lambda _: None)
    without = experiment.prepared()
    [row] = measure(Cell("prior_price", without, 0), 0)
    assert row["status"] == Status.SKIPPED
    monkeypatch.setattr(convex, "find_spec", lambda _: True)
    assert Cell("prior_price", experiment.prepared(), 0).key != Cell("prior_price", without, 0).key


def test_a_descent_that_diverges_has_a_finite_error():
    for kappa in (1e3, 1e9):
        row = trial(method="algorithm1", kappa=kappa)
        assert row["status"] == Status.DIVERGED
        assert 1e-3 < row["error"] <= 1
        assert np.isfinite(row["residual"])
