"""Seeds, missing trials, errors in mid-cell, statuses, what a row may hold, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from harness.claims import Finding
from harness.experiment import Experiment, Row, Settings, UnmeasurableError
from harness.status import Status
from harness.storage.cell import Cell
from harness.storage.store import Store
from harness.sweep import runner
from harness.sweep.runner import measure, run_cell, trial_seed
from tests.conftest import TIMEOUT

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Inner(Settings):
    n: int = 2
    solver: str = "fast"


@dataclass(frozen=True)
class Limits(Settings):
    rate: float = 0.5


@dataclass(frozen=True)
class Example(Experiment):
    """`body` is the trial, a class attribute so that it is no coordinate."""

    paired: ClassVar[tuple[str, ...]] = ("method", "inner.solver")
    body: ClassVar[Callable[[np.random.Generator], list[Row]]]

    inner: Inner = field(default_factory=Inner)
    method: str = "plain"
    scale: float = 1.0
    thresholds: Limits = field(default_factory=Limits)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        return type(self).body(rng)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        return []

    def figure(self, table: pd.DataFrame) -> Any:
        raise NotImplementedError


def draws(rng: np.random.Generator) -> list[Row]:
    return [{"draw": rng.standard_normal(), "second": rng.standard_normal()}]


def cell(body: Callable[[np.random.Generator], list[Row]] = draws, **fields: Any) -> Cell:
    made = type("Made", (Example,), {"body": staticmethod(body)})
    return Cell("example", made(**fields), 0)


def returning(*rows: Row) -> Cell:
    return cell(lambda rng: [dict(row) for row in rows])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def without_seconds(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


# --- Seeds ----------------------------------------------------------------------------------


def test_seeds_differ_across_trials_cells_and_base_seeds():
    cells = [cell(inner=Inner(n), scale=scale) for n in (2, 3) for scale in (1.0, 2.0)]
    cells += [replace(one, seed=1) for one in cells] + [replace(cells[0], name="other")]
    seeds = [trial_seed(one, trial) for one in cells for trial in range(50)]
    assert len(set(seeds)) == len(cells) * 50


@pytest.mark.parametrize(
    "other",
    [{"method": "fancy"}, {"inner": Inner(solver="slow")}, {"thresholds": Limits(0.9)}],
)
def test_paired_coordinates_and_thresholds_do_not_enter_the_seed(other):
    assert [trial_seed(cell(), t) for t in range(9)] == [
        trial_seed(cell(**other), t) for t in range(9)
    ]


def test_paired_cells_draw_the_same_and_are_stored_apart(store):
    plain, fancy = cell(), cell(method="fancy")
    run_cell(store, plain, 3)
    assert store.missing(fancy, 3) == [0, 1, 2]
    run_cell(store, fancy, 3)
    assert without_seconds(store.rows(plain)) == without_seconds(store.rows(fancy))


def test_rows_do_not_depend_on_other_cells_or_on_the_order(tmp_path):
    cells = [cell(scale=scale) for scale in (1.0, 2.0, 3.0)]
    alone, all_of_them = Store(tmp_path / "alone"), Store(tmp_path / "all")
    run_cell(alone, cells[1], 4)
    for one in reversed(cells):
        run_cell(all_of_them, one, 4)
    assert without_seconds(alone.rows(cells[1])) == without_seconds(all_of_them.rows(cells[1]))


def test_the_seed_in_a_row_repeats_the_trial():
    [row] = measure(cell(), 5)
    assert row["draw"] == np.random.default_rng(row["seed"]).standard_normal()
    assert row["seed"] == trial_seed(cell(), 5)


def test_seeds_fit_64_bits_and_are_the_same_in_every_process_and_release():
    seeds = [trial_seed(cell(), t) for t in range(200)]
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert max(seeds) > 2**63
    assert trial_seed(cell(), 0) == 9686705824294996441


# --- Missing trials -------------------------------------------------------------------------


def counted() -> tuple[Cell, list[int]]:
    calls: list[int] = []

    def body(rng: np.random.Generator) -> list[Row]:
        calls.append(1)
        return draws(rng)

    return cell(body), calls


def test_more_trials_measure_only_the_new_ones_and_leave_the_old(store):
    one, calls = counted()
    assert run_cell(store, one, 3) == 3
    before = store.rows(one)
    assert run_cell(store, one, 5) == 2
    assert len(calls) == 5
    assert store.rows(one)[:3] == before
    assert [row["trial"] for row in store.rows(one)] == [0, 1, 2, 3, 4]


def test_extended_rows_are_those_of_one_run(tmp_path):
    grown, whole = Store(tmp_path / "grown"), Store(tmp_path / "whole")
    for trials in (1, 2, 5):
        run_cell(grown, cell(), trials)
    run_cell(whole, cell(), 5)
    assert without_seconds(grown.rows(cell())) == without_seconds(whole.rows(cell()))


def test_nothing_missing_measures_and_writes_nothing(store):
    one, calls = counted()
    run_cell(store, one, 3)
    before = sorted(store.root.rglob("*"))
    assert run_cell(store, one, 3) == 0
    assert run_cell(store, one, 2) == 0
    assert len(calls) == 3
    assert sorted(store.root.rglob("*")) == before


def test_a_hole_is_filled(store):
    one = cell()
    store.append(one, measure(one, 1))
    assert run_cell(store, one, 3) == 2
    assert [row["trial"] for row in store.rows(one)] == [0, 1, 2]


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_a_later_trial_keeps_the_earlier_ones(store, error):
    calls: list[int] = []

    def body(rng: np.random.Generator) -> list[Row]:
        calls.append(1)
        if len(calls) == 4:
            raise error("stop")
        return draws(rng)

    one = cell(body)
    with pytest.raises(error):
        run_cell(store, one, 9)
    assert store.missing(one, 9) == [3, 4, 5, 6, 7, 8]
    assert run_cell(store, one, 9) == 6
    assert without_seconds(store.rows(one)) == [
        row for t in range(9) for row in without_seconds(measure(cell(), t))
    ]


def test_long_trials_reach_the_disk_one_by_one(store, monkeypatch):
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", 0.0)
    stored: list[int] = []

    def body(rng: np.random.Generator) -> list[Row]:
        stored.append(len(store.rows(one)))
        return draws(rng)

    one = cell(body)
    run_cell(store, one, 4)
    assert stored == [0, 1, 2, 3]


# --- Trials side by side --------------------------------------------------------------------


def test_rows_do_not_depend_on_how_many_trials_run_side_by_side(tmp_path):
    serial, threaded = Store(tmp_path / "serial"), Store(tmp_path / "threaded")
    run_cell(serial, cell(), 9)
    assert run_cell(threaded, cell(), 9, threads=4) == 9
    assert without_seconds(threaded.rows(cell())) == without_seconds(serial.rows(cell()))


def waits_for_another(seconds: float) -> tuple[Cell, threading.Barrier]:
    barrier = threading.Barrier(2)

    def body(rng: np.random.Generator) -> list[Row]:
        barrier.wait(seconds)
        return draws(rng)

    return cell(body), barrier


def test_so_many_trials_run_side_by_side_as_asked_for(store):
    one, _ = waits_for_another(TIMEOUT)
    assert run_cell(store, one, 4, threads=2) == 4


def test_an_experiment_that_measures_times_runs_its_trials_one_after_the_other(store):
    one, _ = waits_for_another(0.1)
    type(one.experiment).alone = True
    with pytest.raises(threading.BrokenBarrierError):
        run_cell(store, one, 4, threads=2)


def test_a_trial_that_asks_to_exit_is_an_error_like_another(store):
    def body(rng: np.random.Generator) -> list[Row]:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_cell(store, cell(body), 4, threads=2)


def test_an_error_in_a_thread_keeps_what_was_finished(store):
    started: list[int] = []

    def body(rng: np.random.Generator) -> list[Row]:
        started.append(1)
        if len(started) == 5:
            raise ArithmeticError("stop")
        return draws(rng)

    one = cell(body)
    with pytest.raises(ArithmeticError, match="stop"):
        run_cell(store, one, 100, threads=2)
    finished = len(started) - 1
    assert len(store.rows(one)) == finished
    assert run_cell(store, one, 100, threads=2) == 100 - finished
    assert store.missing(one, 100) == []


# --- Rows -----------------------------------------------------------------------------------


def test_a_row_has_trial_seed_scalars_status_and_seconds():
    [row] = measure(returning({"value": 1.5}), 7)
    assert list(row) == ["trial", "seed", "value", "status", "seconds"]
    assert (row["trial"], row["value"], row["status"]) == (7, 1.5, "ok")
    assert row["seconds"] >= 0


def test_all_rows_of_a_trial_share_its_number_and_seed():
    rows = measure(returning({"v": 1.0}, {"v": 2.0}, {"v": 3.0}), 4)
    assert [row["v"] for row in rows] == [1, 2, 3]
    assert {(row["trial"], row["seed"]) for row in rows} == {(4, trial_seed(cell(), 4))}


@pytest.mark.parametrize("value", [NAN, INF, -INF, np.float64(NAN), np.float32(INF)])
def test_a_value_that_is_not_finite_is_a_status(value):
    [row] = measure(returning({"v": 1.0, "w": value}), 0)
    assert row["status"] == "nonfinite"
    assert row["v"] == 1.0


def test_one_rows_nonfinite_value_is_not_the_others():
    rows = measure(returning({"v": NAN}, {"v": 1.0}), 0)
    assert [row["status"] for row in rows] == ["nonfinite", "ok"]


@pytest.mark.parametrize("status", [*Status, *map(str, Status), np.str_("stalled")])
def test_a_status_that_is_given_stays(status):
    [row] = measure(returning({"v": NAN, "status": status}), 0)
    assert row["status"] == str(status)
    assert type(row["status"]) is str


def test_a_status_outside_the_closed_set_is_an_error():
    with pytest.raises(ValueError, match="fine"):
        measure(returning({"v": 1.0, "status": "fine"}), 0)


@pytest.mark.parametrize("status", [Status.DEAD_NETWORK, Status.ZERO_OBSERVATION])
def test_a_draw_with_nothing_to_measure_is_a_row_with_its_status(store, status):
    def body(rng: np.random.Generator) -> list[Row]:
        raise UnmeasurableError(status)

    assert run_cell(store, cell(body), 2) == 2
    assert store.missing(cell(body), 2) == []
    for row in store.rows(cell(body)):
        assert list(row) == ["trial", "seed", "status", "seconds"]
        assert row["status"] == str(status)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Status.STALLED, "stalled"),
        (True, True),
        ("x", "x"),
    ],
)
def test_numpy_scalars_become_plain_ones(value, plain):
    [row] = measure(returning({"v": value}), 0)
    assert row["v"] == plain
    assert type(row["v"]) is type(plain)


@pytest.mark.parametrize(
    "value",
    [None, [1.0], (1,), {"a": 1}, 1j, b"x", np.zeros(1), np.array(1.0), np.complex128(1)],
    ids=repr,
)
def test_anything_but_a_scalar_is_an_error(value):
    with pytest.raises(TypeError, match="scalar"):
        measure(returning({"v": value}), 0)


def test_a_trial_without_rows_is_an_error(store):
    """It would be missing for ever."""
    with pytest.raises((TypeError, ValueError), match="row"):
        run_cell(store, returning(), 2)


@pytest.mark.parametrize("name", ["trial", "seed", "seconds", "n", "scale"])
def test_a_measured_column_cannot_take_the_name_of_another(store, name):
    """Not of the runner's own, nor of a coordinate, whose value it would replace in the table."""
    with pytest.raises((TypeError, ValueError), match=name):
        run_cell(store, returning({name: 7}), 1)


# --- Threads --------------------------------------------------------------------------------


def test_blas_runs_on_one_thread_in_a_cell_and_as_before_after_it(store):
    def blas() -> list[int]:
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    def body(rng: np.random.Generator) -> list[Row]:
        return [{"threads": max(blas())}]

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        run_cell(store, cell(body), 1)
        assert blas() == before
    assert before
    assert max(before) == 2
    assert store.rows(cell(body))[0]["threads"] == 1
