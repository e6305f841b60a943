"""Every experiment, shrunk: it runs, judges, draws; and its claims can come out either way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.benchmark import BARS, Benchmark
from experiments.convergence import MARK_COLUMNS
from harness import figures
from harness.claims import Role, Verdict
from harness.mnist import weights
from harness.network import gaussian_network
from harness.storage.cell import Cell
from harness.storage.store import Store
from harness.sweep.runner import measure, run_cell
from harness.theory import rho
from tests.configured import (
    NAMES,
    configured,
    kind,
    noise,
    settings,
    shrunk,
    skip_without_extra,
    verdicts,
)
from tests.conftest import store_weights

TRIALS = 6


@pytest.fixture(scope="module", autouse=True)
def _small_decoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The weights of the project, with small random decoders in place of the trained ones."""
    folder = tmp_path_factory.mktemp("weights") / "small"
    shutil.copytree(weights.FOLDER, folder)
    rng = np.random.default_rng(0)
    for name, widths in zip(weights.DECODERS, ((8, 24, 784), (3, 12, 784)), strict=True):
        store_weights(folder, name, gaussian_network(rng, widths).weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "FOLDER", folder)
        yield


def experiment_cells(name: str) -> list[Cell]:
    """The cells of an experiment's shrunk sweep."""
    return [Cell(name, experiment, seed=0) for experiment in shrunk(name)]


DANGLING = ("It ", "So ", "The same", "That ", "This ", "Nor ", "Neither ", "Also ", "Too ")


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_stands_alone_and_says_what_its_verdicts_would_mean(name):
    claims = kind(name).claims
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.id.startswith(f"{name}.")
        assert not claim.statement.startswith(DANGLING), claim.id
        if claim.role != Role.SOFTWARE:
            assert claim.supported.meaning.endswith("."), claim.id
            assert claim.refuted.meaning.endswith("."), claim.id


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["paper", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_the_trials_of_a_profile_can_decide_every_claim(harness, name, profile):
    skip_without_extra(name)
    plan = harness("-m", f"experiment={name}", f"profile={profile}", "plan=true").out
    assert "too few to decide" not in plan


@pytest.mark.parametrize("name", NAMES)
def test_shrunk_experiment_runs_judges_and_draws(name: str, tmp_path: Path) -> None:
    store, cells = Store(tmp_path), experiment_cells(name)
    for cell in cells:
        run_cell(store, cell, TRIALS)
    table, _ = store.collect(cells, TRIALS)
    experiment = cells[0].experiment
    findings = experiment.judge(table)
    assert [f.claim for f in findings] == list(experiment.claims)
    assert all(f.tested and f.statistic and f.threshold for f in findings)
    files = figures.render(experiment, table)
    assert files["png"].startswith(b"\x89PNG")
    assert files["pdf"].startswith(b"%PDF")
    summary = experiment.summary(table)
    assert summary is None or len(summary) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_of_one_cell_is_inconclusive_not_an_error(name: str, tmp_path: Path) -> None:
    store, [cell, *_] = Store(tmp_path), experiment_cells(name)
    run_cell(store, cell, 1)
    table, _ = store.collect([cell], 1)
    assert len(cell.experiment.judge(table)) == len(cell.experiment.claims)
    figures.render(cell.experiment, table)


# Verdicts of each experiment's judge on fabricated tables


def figure1_table(bias: float, width: float, exponent: float, trials: int = 400) -> pd.DataFrame:
    rows = []
    predicted = {
        "h > 0, m > 0": 1.0,
        "h < 0, m > 0": -rho(2),
        "h > 0, m < 0": -rho(2),
        "h < 0, m < 0": rho(2) ** 2,
    }
    for e in (64, 96, 192):
        for valley, position in predicted.items():
            error = bias + noise(trials, width * e**exponent, seed=e)
            rows.append(
                pd.DataFrame(
                    {
                        "expansivity": e,
                        "last_layer": "truncated",
                        "valley": valley,
                        "predicted": position,
                        "product": position + error,
                        "status": "ok",
                    }
                )
            )
    return pd.concat(rows)


def test_figure1_verdicts() -> None:
    experiment = configured("figure1")
    good = verdicts(experiment, figure1_table(0.0, 0.4, -0.5, trials=2000))
    assert good == {"valleys": Verdict.SUPPORTED, "rate": Verdict.SUPPORTED}
    off = verdicts(experiment, figure1_table(0.1, 0.01, 0.0))
    assert off == {"valleys": Verdict.REFUTED, "rate": Verdict.REFUTED}
    few = verdicts(experiment, figure1_table(0.0, 0.4, -0.5, trials=3))
    assert few == {"valleys": Verdict.INCONCLUSIVE, "rate": Verdict.INCONCLUSIVE}


def hyperbolas_table(bias: float, width: float, ordered: float, trials: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for d in (2, 3):
        for ell in (50, 200, 800):
            wrong = rng.random(trials) > ordered
            for branch, predicted in {"-+": rho(d), "+-": rho(d), "--": rho(d) ** 2}.items():
                deviation = bias + width * ell**-0.5 * rng.standard_normal(trials)
                rows.append(
                    pd.DataFrame(
                        {
                            **dict.fromkeys(("n", "p"), 10),
                            **dict.fromkeys(("d", "s"), d),
                            "ell": ell,
                            "growth": "proportional",
                            "c": 0.5,
                            "last_layer": "truncated",
                            "trial": np.arange(trials),
                            "branch": branch,
                            "radius_predicted": predicted,
                            "radius": predicted + deviation,
                            "loss_ratio": 1 - predicted**2 + deviation,
                            "true_preferred": ~wrong,
                            "status": "ok",
                        }
                    )
                )
    return pd.concat(rows)


def test_hyperbolas_verdicts() -> None:
    experiment = configured("hyperbolas")
    assert set(verdicts(experiment, hyperbolas_table(0.0, 1.0, 1.0)).values()) == {
        Verdict.SUPPORTED
    }
    assert set(verdicts(experiment, hyperbolas_table(0.3, 0.1, 0.5)).values()) == {Verdict.REFUTED}
    assert set(verdicts(experiment, hyperbolas_table(0.0, 1.0, 1.0, trials=4)).values()) == {
        Verdict.INCONCLUSIVE
    }


def landscape_table(exponent: float, trials: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    own = settings("expected_landscape")
    effort = {key: own[key] for key in ("points", "starts", "steps")}
    return pd.concat(
        pd.DataFrame(
            effort
            | own["network"]
            | {"p": 5, "d": d, "s": d, "ell": ell, "narrowest": ell // 2, "agreement": 0.5}
            | {
                name: ell**exponent * np.exp(0.1 * rng.standard_normal(trials))
                for name in ("loss_median", "grad_h_median", "grad_m_median", "grad_h_worst")
            }
            | {"status": "ok"}
        )
        for d in (1, 2)
        for ell in (400, 800, 1600)
    )


def test_expected_landscape_verdicts() -> None:
    experiment = configured("expected_landscape")
    assert set(verdicts(experiment, landscape_table(-0.5)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, landscape_table(0.0)).values()) == {Verdict.REFUTED}
    assert set(verdicts(experiment, landscape_table(-0.5, trials=1)).values()) == {
        Verdict.INCONCLUSIVE
    }


def maximisers_table(rises: float, trials: int = 200) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                **dict.fromkeys(("n", "p"), 5),
                **dict.fromkeys(("d", "s"), d),
                "ell": ell,
                "growth": "geometric",
                "c": 2.0,
                "last_layer": "truncated",
                "directions": 64,
                "largest_derivative": np.zeros(trials),
                "rises": rises,
                "stays": 0.0,
                "least_cosine": 0.1,
                "status": "ok",
            }
        )
        for d in (1, 2)
        for ell in (5, 320)
    )


def test_local_maximisers_verdicts() -> None:
    experiment = configured("local_maximisers")
    assert set(verdicts(experiment, maximisers_table(0.0)).values()) == {Verdict.NOT_FOUND}
    assert set(verdicts(experiment, maximisers_table(0.1)).values()) == {Verdict.REFUTED}
    assert set(verdicts(experiment, maximisers_table(0.0, trials=2)).values()) == {
        Verdict.INCONCLUSIVE
    }


def convergence_table(share: float, steps: int, trials: int = 200) -> pd.DataFrame:
    place = (np.arange(trials) + 0.5) / trials
    return pd.DataFrame(
        {
            **dict.fromkeys(("n", "p"), 5),
            **dict.fromkeys(("d", "s"), 2),
            "ell": 200,
            "growth": "log",
            "c": 4.0,
            "last_layer": "truncated",
            "kappa": 0.25,
            "start_size": 1.0,
            "sign_check": "every",
            "max_steps": 3000,
            "trial": np.arange(trials),
            "epsilon_true": np.where(place < share, 1e-8, 0.9),
            "steps": steps,
            "rate": 0.99,
            **dict.fromkeys(MARK_COLUMNS, 0.1),
            "status": "converged",
        }
    )


def test_convergence_verdicts() -> None:
    experiment = configured("convergence")
    assert set(verdicts(experiment, convergence_table(1.0, 200)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, convergence_table(0.5, 900)).values()) == {Verdict.REFUTED}
    few = verdicts(experiment, convergence_table(1.0, 200, trials=2))
    assert set(few.values()) == {Verdict.INCONCLUSIVE}


def wdc_table(
    exponent: float, shape: float, sampled: float, stays: float, trials: int = 60
) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    effort = {key: settings("wdc")[key] for key in ("samples", "budget", "boxes")}
    rows = []
    for n in (2, 5, 10, 40):
        for ell in (40 * n, 160 * n, 640 * n):
            for law in ("gaussian", "sparse", "heavy") if n == 2 else ("gaussian",):
                constant = np.exp(0.1 * rng.standard_normal(trials))
                constant *= stays if law == "sparse" else (ell / n) ** exponent * n**shape
                rows.append(
                    pd.DataFrame(
                        {
                            **{"n": n, "ell": ell, "law": law, "rows_per_column": ell / n},
                            **effort,
                            **{"lower": constant, "upper": constant, "search": constant},
                            **{"expected_gain": 0.01, "sampled": sampled * constant},
                            "status": "ok",
                        }
                    )
                )
    return pd.concat(rows)


def test_wdc_verdicts() -> None:
    experiment = configured("wdc")
    assert set(verdicts(experiment, wdc_table(-0.5, 0.0, 0.99, 0.5)).values()) == {
        Verdict.SUPPORTED
    }
    assert set(verdicts(experiment, wdc_table(0.0, 0.5, 0.5, 0.3)).values()) == {Verdict.REFUTED}
    few = verdicts(experiment, wdc_table(-0.5, 0.0, 0.99, 0.5, trials=1))
    assert set(few.values()) == {Verdict.INCONCLUSIVE}


def joint_table(power: float, share: float, trials: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    effort = {key: settings("joint_wdc")[key] for key in ("samples", "budget")}
    return pd.concat(
        pd.DataFrame(
            {
                **{"n": n, "p": n, "ell": ell, "last_layer": "gaussian"},
                **effort,
                "upper": np.inf,
                "row_ratio": (ratio := 2 + 0.1 * rng.standard_normal(trials)),
                "search": (
                    value := n**power
                    * (ratio * n**2 / ell + 1.5 * np.sqrt(2 * n / ell))
                    * np.exp(0.02 * rng.standard_normal(trials))
                ),
                "aligned": share * value,
                "sampled": share * value,
                "expected_gain": 0.01,
                "status": "ok",
            },
            index=range(place * trials, (place + 1) * trials),
        )
        for place, (n, ell) in enumerate(
            (n, ratio * n**2) for n in (5, 10, 20, 40) for ratio in (1, 2, 4)
        )
    )


def test_joint_wdc_verdicts() -> None:
    experiment = configured("joint_wdc")
    assert set(verdicts(experiment, joint_table(0.0, 0.9)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, joint_table(0.5, 0.1)).values()) == {Verdict.REFUTED}
    few = verdicts(experiment, joint_table(0.0, 0.9, trials=2))
    assert set(few.values()) == {Verdict.INCONCLUSIVE}


def test_the_joint_law_is_found_again_from_data_that_follow_it() -> None:
    table = joint_table(0.0, 0.9, trials=100)
    from experiments.joint_wdc import _fits

    fits = _fits(table, 200)
    np.testing.assert_allclose(fits[0], [1.0, 1.5], rtol=0.02)
    assert (np.quantile(fits[1:], 0.005, axis=0) < [1, 1.5]).all()
    assert (np.quantile(fits[1:], 0.995, axis=0) > [1, 1.5]).all()


def premise_table(constant: float, power: float, trials: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.concat(
        pd.DataFrame(
            {
                **{"n": n, "ell": 40 * n, "last_layer": "gaussian"},
                "lower": (lower := constant * (1 + 0.1 * n**power * rng.standard_normal(trials))),
                "upper": lower,
                "status": "ok",
            }
        )
        for n in (2, 4, 8, 16, 32)
    )


def test_premise_verdicts() -> None:
    experiment = configured("premise")
    assert set(verdicts(experiment, premise_table(1e-14, -0.5)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, premise_table(0.5, 0.0)).values()) == {Verdict.REFUTED}
    few = verdicts(experiment, premise_table(1e-14, -0.5, trials=2))
    assert set(few.values()) == {Verdict.INCONCLUSIVE}


def test_benchmark_verdicts() -> None:
    experiment = configured("benchmark")
    assert isinstance(experiment, Benchmark)

    def table(faster: float, trials: int = 20, installed: bool = True) -> pd.DataFrame:
        rows = []
        for bar in BARS:
            for method, time in ((bar.method, 1.0), (bar.against, faster)):
                there = installed or "jax" not in method
                row = {"task": bar.task, "widths": bar.widths or "10-1000", "points": 5}
                rows += [
                    row
                    | {"method": method, "time": time, "installed": there, "trial": trial}
                    | {"status": "ok"}
                    for trial in range(trials)
                ]
        ways = {"tracking": 1.0, "jax_single": faster, "jax_cores": 2 * faster, "networks": 0.1}
        rows += [
            {"task": "trials", "widths": widths, "points": 5, "method": method, "time": time}
            | {"installed": installed or "jax" not in method, "trial": trial, "status": "ok"}
            for widths in experiment.thresholds.trials
            for method, time in ways.items()
            for trial in range(trials)
        ]
        return pd.DataFrame(rows)

    assert set(verdicts(experiment, table(50.0)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, table(0.1)).values()) == {Verdict.REFUTED}
    assert set(verdicts(experiment, table(50.0, trials=2)).values()) == {Verdict.INCONCLUSIVE}
    absent = verdicts(experiment, table(50.0, installed=False))
    for claim in ("grid_nested", "descent", "descent_deep", "trials"):
        assert absent[claim] == Verdict.INCONCLUSIVE
    assert absent["residual"] == Verdict.SUPPORTED


def test_storage_verdicts() -> None:
    experiment = configured("storage")

    def table(exponent: float, loop: float, memory: int, trials: int = 20) -> pd.DataFrame:
        seconds = {"plan": 0.5, "collect": 1.0, "loop": loop, "csv": 1.0}
        rows = [
            {"cells": cells, "rows": 10, "trial": trial, "method": method, "status": "ok"}
            | {"time": time * cells**exponent, "memory": memory, "table_memory": 10}
            for cells in (100, 1000)
            for trial in range(trials)
            for method, time in seconds.items()
        ]
        return pd.DataFrame(rows)

    assert set(verdicts(experiment, table(1.0, 1.0, 20)).values()) == {Verdict.SUPPORTED}
    assert set(verdicts(experiment, table(2.0, 0.1, 90)).values()) == {Verdict.REFUTED}
    few = table(1.0, 1.0, 20, trials=1)
    assert set(verdicts(experiment, few).values()) == {Verdict.INCONCLUSIVE}


# What the trials measure


def test_dead_networks_are_rows_and_count_as_failures() -> None:
    tiny = configured("convergence", {"network.ell": 1, "network.n": 1, "network.p": 1})
    rows = [row for trial in range(40) for row in measure(Cell("convergence", tiny, 0), trial)]
    table = pd.DataFrame(rows)
    dead = table["status"].isin(["dead_network", "zero_observation"])
    assert dead.any()
    assert table.loc[dead, "epsilon_true"].isna().all()
    assert not tiny._with_success(table).loc[dead, "success"].any()  # type: ignore[attr-defined]


def test_figure1_measures_the_minimum_along_each_quadrant() -> None:
    experiment = configured("figure1", {"expansivity": 16})
    rng = np.random.default_rng(3)
    P = experiment.problem(np.random.default_rng(3))  # type: ignore[attr-defined]
    for row in experiment.trial(rng):
        product = float(row["product"])
        sign_h = 1.0 if row["valley"].startswith("h >") else -1.0  # type: ignore[union-attr]
        h = np.array([sign_h])
        around = [float(P.loss(h, np.array([sign_h * product * q]))) for q in (0.999, 1.0, 1.001)]
        assert min(around) == around[1]


def test_hyperbolas_measure_what_a_brute_scan_of_the_ray_finds() -> None:
    experiment = configured("hyperbolas", {"network.ell": 100})
    P = experiment.network.problem(np.random.default_rng(4))  # type: ignore[attr-defined]
    scan = np.linspace(0, 2, 20001)
    for row in experiment.trial(np.random.default_rng(4)):
        i, j = (1.0 if sign == "+" else -1.0 for sign in str(row["branch"]))
        losses = P.loss(i * scan[:, None] * P.h0, j * P.m0)
        assert scan[losses.argmin()] == pytest.approx(row["radius"], abs=1e-4)
        assert losses.min() / P.loss_at_zero == pytest.approx(row["loss_ratio"], abs=1e-7)


def test_convergence_row_is_what_algorithm_1_gives() -> None:
    experiment = configured("convergence", {"network.ell": 60, "max_steps": 50})
    [row] = experiment.trial(np.random.default_rng(5))
    faster = replace(experiment, max_steps=1)
    [first] = faster.trial(np.random.default_rng(5))
    assert row["steps"] > first["steps"] == 1
    assert first["status"] == "max_steps"
    assert row["loss_ratio"] < first["loss_ratio"]
