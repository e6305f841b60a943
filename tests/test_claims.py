"""Verdicts from intervals, coordinates from fields, and the one experiment of a module."""

from __future__ import annotations

import json
import types
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.claims import (
    Bearing,
    Claim,
    Evidence,
    Finding,
    Outcome,
    Threshold,
    Verdict,
    above,
    below,
    within,
)
from harness.experiment import (
    Experiment,
    Row,
    Settings,
    canonical,
    columns,
    coordinates,
    experiment_class,
)
from harness.selection import (
    at_baseline,
    crossings,
    jointly,
    jointly_redrawn,
    largest,
    ok,
    spread,
    summarise,
    unmeasured,
    unsaturated,
)
from harness.stats import Estimate, proportion, quantile, simultaneous, undetermined

PROPERTY = settings(deadline=None, max_examples=200, derandomize=True, database=None)
INF, NAN = float("inf"), float("nan")
CLAIM = Claim("test.claim", "A statement", "a source")
WORDS = {"statistic": "a number", "tested": "a grid"}


def estimate(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, low, high, 9, "test")


# --- Verdicts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (1.1, 1.5, 2.0, Verdict.SUPPORTED),
        (1.0, 1.0, 1.0, Verdict.SUPPORTED),
        (1.0, 1.5, INF, Verdict.SUPPORTED),
        (INF, INF, INF, Verdict.SUPPORTED),
        (0.1, 0.5, 0.9, Verdict.REFUTED),
        (-INF, 0.5, 0.9, Verdict.REFUTED),
        (-INF, -INF, -INF, Verdict.REFUTED),
        (0.9, 1.5, 2.0, Verdict.INCONCLUSIVE),
        (0.5, 0.9, 1.0, Verdict.INCONCLUSIVE),
        (-INF, 5.0, INF, Verdict.INCONCLUSIVE),
        (-INF, NAN, INF, Verdict.INCONCLUSIVE),
        (2.0, NAN, 3.0, Verdict.INCONCLUSIVE),
        (2.0, 3.0, NAN, Verdict.INCONCLUSIVE),
        (NAN, 3.0, 4.0, Verdict.INCONCLUSIVE),
        (NAN, NAN, NAN, Verdict.INCONCLUSIVE),
    ],
)
def test_above_and_its_mirror_image_below(low, value, high, verdict):
    finding = above(CLAIM, estimate(low, value, high), 1.0, **WORDS)
    mirrored = below(CLAIM, estimate(-high, -value, -low), -1.0, **WORDS)
    assert (finding.verdict, mirrored.verdict) == (verdict, verdict)
    assert (str(finding.threshold), str(mirrored.threshold)) == (">= 1", "<= -1")


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (-0.5, 0.0, 0.5, Verdict.SUPPORTED),
        (-1.0, 0.0, 1.0, Verdict.SUPPORTED),
        (1.1, 1.2, INF, Verdict.REFUTED),
        (-INF, -2.0, -1.1, Verdict.REFUTED),
        (0.5, 0.9, 1.1, Verdict.INCONCLUSIVE),
        (-1.1, 0.0, 0.0, Verdict.INCONCLUSIVE),
        (-2.0, 0.0, 2.0, Verdict.INCONCLUSIVE),
        (1.0, 1.5, 2.0, Verdict.INCONCLUSIVE),
        (-INF, 0.0, INF, Verdict.INCONCLUSIVE),
        (-0.5, NAN, 0.5, Verdict.INCONCLUSIVE),
    ],
)
def test_within(low, value, high, verdict):
    finding = within(CLAIM, estimate(low, value, high), -1.0, 1.0, **WORDS)
    assert finding.verdict == verdict
    assert str(finding.threshold) == "in [-1, 1]"


def test_a_finding_carries_what_was_asked():
    shown = estimate(0.0, 1.0, 2.0)
    assert above(CLAIM, shown, 0.0, **WORDS) == Finding(
        CLAIM, "a grid", "a number", shown, Threshold(low=0.0), Verdict.SUPPORTED
    )


bounds = st.floats(-10, 10)


@given(bounds, bounds, bounds, bounds, bounds)
@PROPERTY
def test_a_verdict_is_the_sign_of_every_point_of_the_interval(a, b, c, d, e):
    low, value, high = sorted((a, b, c))
    left, right = sorted((d, e))
    verdict = within(CLAIM, estimate(low, value, high), left, right, **WORDS).verdict
    inside = [left <= x <= right for x in np.linspace(low, high, 7)]
    if verdict == Verdict.SUPPORTED:
        assert all(inside)
    elif verdict == Verdict.REFUTED:
        assert not any(inside)
    else:
        assert not (left <= low and high <= right)
        assert low <= right
        assert left <= high


def test_missing_data_decide_nothing():
    for nothing in (proportion(np.zeros(0, dtype=bool)), quantile([]), undetermined(0, "none"), []):
        for decide in (above, below):
            assert decide(CLAIM, nothing, 0.0, **WORDS).verdict == Verdict.INCONCLUSIVE
        assert within(CLAIM, nothing, -1, 1, **WORDS).verdict == Verdict.INCONCLUSIVE


# --- Families -------------------------------------------------------------------------------

GOOD, BETTER = estimate(0.1, 0.2, 0.3), estimate(0.0, 0.1, 0.2)
BAD, WORSE = estimate(1.5, 2.0, 2.5), estimate(1.6, 3.0, 5.0)
UNSURE = estimate(0.5, 0.6, 1.5)


@pytest.mark.parametrize(
    ("family", "verdict", "shown"),
    [
        ([BETTER, GOOD], Verdict.SUPPORTED, GOOD),
        ([GOOD, UNSURE, BETTER], Verdict.INCONCLUSIVE, UNSURE),
        ([GOOD, BAD, UNSURE, WORSE], Verdict.REFUTED, WORSE),
        ([GOOD, undetermined(0, "none")], Verdict.INCONCLUSIVE, undetermined(0, "none")),
        ([BAD, undetermined(0, "none")], Verdict.REFUTED, BAD),
        ([UNSURE, undetermined(0, "none")], Verdict.INCONCLUSIVE, undetermined(0, "none")),
    ],
)
def test_a_family_holds_if_all_members_hold_and_falls_with_one(family, verdict, shown):
    for members in (family, family[::-1]):
        finding = below(CLAIM, members, 1.0, **WORDS)
        assert finding.verdict == verdict
        assert str(finding.estimate) == str(shown)


def test_a_family_of_one_is_the_estimate():
    for member in (GOOD, BAD, UNSURE):
        assert below(CLAIM, [member], 1.0, **WORDS) == below(CLAIM, member, 1.0, **WORDS)


def test_the_member_shown_does_not_depend_on_the_order_where_an_end_is_unbounded():
    near, far = estimate(-INF, 0.5, 1.5), estimate(-INF, 0.5, 8.0)
    for family in ([near, far], [far, near], [UNSURE, near, far], [far, near, UNSURE]):
        assert below(CLAIM, family, 1.0, **WORDS).estimate == far
    mirrored = [estimate(-e.high, -e.value, -e.low) for e in (near, far)]
    for family in (mirrored, mirrored[::-1]):
        assert above(CLAIM, family, -1.0, **WORDS).estimate == mirrored[1]


def test_the_members_of_a_family_are_kept_with_their_labels():
    finding = below(CLAIM, {"n = 2": GOOD, "n = 5": BAD, "n = 9": UNSURE}, 1.0, **WORDS)
    assert [(m.label, m.estimate, m.verdict) for m in finding.members] == [
        ("n = 2", GOOD, Verdict.SUPPORTED),
        ("n = 5", BAD, Verdict.REFUTED),
        ("n = 9", UNSURE, Verdict.INCONCLUSIVE),
    ]
    assert below(CLAIM, GOOD, 1.0, **WORDS).members == ()


# --- Evidence from one side -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "inside", "beyond", "short"),
    [
        # of the claim "at most 1": an interval below 1, and one above; of "at least 1": one below
        (Evidence.VALUE, "SUPPORTED", "REFUTED", "REFUTED"),
        (Evidence.SEARCH, "NOT FOUND", "REFUTED", "NOT FOUND"),
        (Evidence.LOWER, "INCONCLUSIVE", "REFUTED", "INCONCLUSIVE"),
        (Evidence.UPPER, "SUPPORTED", "INCONCLUSIVE", "REFUTED"),
    ],
)
def test_evidence_from_one_side_decides_one_side(evidence, inside, beyond, short):
    claim = Claim("test.claim", "A statement", "a source", evidence=evidence)
    assert below(claim, GOOD, 1.0, **WORDS).verdict == inside
    assert below(claim, BAD, 1.0, **WORDS).verdict == beyond
    assert above(claim, GOOD, 1.0, **WORDS).verdict == short
    found = "INCONCLUSIVE" if evidence == Evidence.UPPER else "SUPPORTED"
    assert above(claim, BAD, 1.0, **WORDS).verdict == found
    assert below(claim, UNSURE, 1.0, **WORDS).verdict == "INCONCLUSIVE"


def test_a_family_with_misses_is_not_found():
    claim = Claim("test.claim", "A statement", "a source", evidence=Evidence.SEARCH)
    assert above(claim, [BAD, GOOD], 1.0, **WORDS).verdict == Verdict.NOT_FOUND
    assert above(claim, [BAD, GOOD, UNSURE], 1.0, **WORDS).verdict == Verdict.INCONCLUSIVE
    assert below(claim, [GOOD, BAD], 1.0, **WORDS).verdict == Verdict.REFUTED


def test_a_verdict_has_a_bearing_on_the_paper():
    yes, no = Outcome("so", Bearing.CONSISTENT), Outcome("not so", Bearing.CONTRADICTS)
    claim = Claim("test.claim", "A statement", "Theorem 1", supported=yes, refuted=no)
    assert below(claim, GOOD, 1.0, **WORDS).bearing == Bearing.CONSISTENT
    assert below(claim, BAD, 1.0, **WORDS).bearing == Bearing.CONTRADICTS
    assert below(claim, UNSURE, 1.0, **WORDS).bearing is None


@pytest.mark.parametrize(("named", "noted"), [(0.2, False), (0.5, True), (None, False)])
def test_a_note_says_that_an_interval_excludes_the_value_that_theory_names(named, noted):
    finding = below(CLAIM, GOOD, 1.0, **WORDS, named=named)
    assert bool(finding.note) == noted
    assert below(CLAIM, BAD, 1.0, **WORDS, named=named).note == ""


# --- Coordinates ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Deep(Settings):
    size: int = 4


@dataclass(frozen=True)
class Inner(Settings):
    n: int = 2
    widths: tuple[int, ...] | None = None
    deep: Deep = field(default_factory=Deep)


@dataclass(frozen=True)
class Limits(Settings):
    rate: float = 0.5


@dataclass(frozen=True)
class Example(Experiment):
    version: ClassVar[int] = 3

    inner: Inner = field(default_factory=Inner)
    kappa: float = 0.25
    check: bool = True
    word: str = "every"
    thresholds: Limits = field(default_factory=Limits)

    def trial(self, rng: np.random.Generator) -> list[Row]:
        return [{"value": float(rng.random())}]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        return []

    def figure(self, table: pd.DataFrame) -> Any:
        raise NotImplementedError


def test_coordinates_are_the_fields_by_dotted_name_without_class_attributes_and_thresholds():
    assert coordinates(Example(Inner(widths=(2, 5, 9)))) == {
        "inner.n": 2,
        "inner.widths": "2-5-9",
        "inner.deep.size": 4,
        "kappa": 0.25,
        "check": True,
        "word": "every",
    }


def test_columns_are_the_last_parts_of_the_names():
    assert columns(Example()) == {
        "n": 2,
        "widths": None,
        "size": 4,
        "kappa": 0.25,
        "check": True,
        "word": "every",
    }


def test_canonical_text_does_not_depend_on_the_order_of_keys():
    one, other = {"a": 1, "b": {"x": 1.5, "y": None}}, {"b": {"y": None, "x": 1.5}, "a": 1}
    assert canonical(one) == canonical(other)
    assert json.loads(canonical(one)) == one


def test_canonical_text_refuses_numbers_that_are_not_finite():
    for value in (NAN, INF):
        with pytest.raises(ValueError, match="JSON"):
            canonical({"a": value})


def test_an_experiment_without_trial_judge_and_figure_cannot_be_made():
    @dataclass(frozen=True)
    class Partial(Experiment):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Partial()


# --- The class of a module ------------------------------------------------------------------


def module(**members: type) -> types.ModuleType:
    made = types.ModuleType("made")
    for name, member in members.items():
        setattr(made, name, member)
    return made


def local(base: type = Example) -> type:
    return type("Local", (base,), {"__module__": "made"})


def test_the_one_experiment_of_a_module_is_found_among_imported_ones():
    mine = local()
    assert experiment_class(module(Example=Example, Mine=mine, Experiment=Experiment)) is mine


@pytest.mark.parametrize("members", [{}, {"A": local(), "B": local()}, {"Example": Example}])
def test_a_module_without_exactly_one_experiment_is_an_error(members):
    with pytest.raises(TypeError, match=r"made defines [02] experiments; exactly 1"):
        experiment_class(module(**members))


# --- Rows of a table ------------------------------------------------------------------------


def grid() -> pd.DataFrame:
    rows = [
        columns(Example(Inner(n=n), kappa=kappa, word=word)) | {"value": n * kappa, "status": "ok"}
        for n in (2, 3)
        for kappa in (0.25, 0.5)
        for word in ("every", "never")
    ]
    return pd.DataFrame(rows).drop(columns="widths")


@pytest.mark.parametrize(
    ("free", "count"),
    [((), 1), (("n",), 2), (("n", "kappa"), 4), (("n", "kappa", "word"), 8), (("word",), 2)],
)
def test_at_baseline_keeps_the_experiments_own_point_but_for_free_columns(free, count):
    rows = at_baseline(Example(), grid(), free)
    assert len(rows) == count
    for name, value in columns(Example()).items():
        if name not in free and value is not None:
            assert set(rows[name]) == {value}


def test_at_baseline_of_a_point_not_measured_is_empty():
    assert at_baseline(Example(kappa=7.0), grid(), ("n",)).empty


def test_at_baseline_leaves_out_rows_that_have_what_the_experiment_has_not():
    table = pd.concat([grid(), grid().assign(widths="2-5-9")])
    assert len(at_baseline(Example(), table, ())) == 1


def test_at_baseline_of_an_optional_coordinate_no_row_has_is_empty():
    assert at_baseline(Example(Inner(widths=(2, 5))), grid(), ()).empty


def test_ok_keeps_rows_of_that_status_alone():
    table = grid().assign(status=["ok", "dead_network"] * 4)
    assert list(ok(table).index) == [0, 2, 4, 6]


def test_largest_keeps_the_largest_values_of_a_column():
    table = pd.DataFrame({"n": [3, 5, 4, 5], "value": range(4)})
    assert list(largest(table, "n")["value"]) == [1, 3]
    assert list(largest(table, "n", count=2)["value"]) == [1, 2, 3]
    assert largest(table.iloc[:0], "n").empty


@pytest.mark.parametrize(("by", "groups"), [("n", 2), (["n", "kappa"], 4), (("word",), 2)])
def test_jointly_estimates_each_group_at_the_level_of_its_family(by, groups):
    estimates = jointly(quantile, grid(), by, "value")
    assert len(estimates) == groups
    assert {estimate.level for estimate in estimates.values()} == {simultaneous(groups)}
    medians = grid().groupby(by if isinstance(by, str) else list(by))["value"].median()
    assert [estimate.value for estimate in estimates.values()] == list(medians)


def test_jointly_names_the_groups():
    assert next(iter(jointly(quantile, grid(), ["n", "kappa"], "value"))) == "n = 2, kappa = 0.25"


def test_jointly_without_columns_hands_over_the_rows_of_a_group():
    own = jointly(lambda g, level: quantile(g["value"], level=level), grid(), "n")
    assert own == jointly(quantile, grid(), "n", "value")


def test_jointly_of_no_rows_is_an_empty_family():
    assert jointly(quantile, grid().iloc[:0], "n", "value") == {}


def test_crossings_of_groups_are_named_by_their_values_and_estimated_at_the_family_level():
    rng = np.random.default_rng(0)
    rows = [
        {"n": n, "ell": ell, "found": rng.random() < 1 / (1 + (ell / middle) ** -4)}
        for n, middle in ((3, 40.0), (2, 20.0))
        for ell in (10, 20, 40, 80)
        for _ in range(50)
    ]
    places, found = crossings(pd.DataFrame(rows), "n", "ell", "found")
    assert places.tolist() == [2, 3]
    assert found[0] == pytest.approx([20, 40], rel=0.3)
    family = jointly_redrawn(
        lambda part: crossings(part, "n", "ell", "found")[1][:, 0], pd.DataFrame(rows), "n"
    )
    assert list(family) == ["n = 2", "n = 3"]
    assert {estimate.level for estimate in family.values()} == {simultaneous(2)}
    assert {estimate.n for estimate in family.values()} == {200}
    assert [estimate.value for estimate in family.values()] == pytest.approx(found[0].tolist())


def test_summarise_has_a_row_for_each_group_with_its_coordinates_first():
    values = {"rows": len, "mean": lambda group: group["value"].mean()}
    by_names = summarise(grid(), ["n", "kappa"], values)
    assert list(by_names) == ["n", "kappa", "rows", "mean"]
    assert by_names.to_numpy().tolist() == [
        [n, kappa, 2, n * kappa] for n in (2, 3) for kappa in (0.25, 0.5)
    ]
    headed = summarise(grid(), {"n": "latent dimension"}, values)
    assert list(headed) == ["latent dimension", "rows", "mean"]


def test_summarise_can_keep_the_order_of_the_table():
    table = grid().iloc[::-1]
    assert list(summarise(table, ["n"], {})["n"]) == [2, 3]
    assert list(summarise(table, ["n"], {}, sort=False)["n"]) == [3, 2]
    assert summarise(table.iloc[:0], ["n"], {}).empty


def test_spread_says_in_words_what_varied():
    assert spread(grid(), ("n", "kappa", "size")) == (
        "n = 2..3 (2 values), kappa = 0.25..0.5 (2 values), size = 4"
    )
    assert spread(grid().iloc[:0], ("n",)) == ""
    assert spread(grid().assign(n=[2.0] * 8), ("n",)) == "n = 2"


def test_cells_next_to_the_bound_are_left_out_and_counted():
    table = grid().assign(epsilon=[0.95, 0.99, 0.2, 0.5, 0.5, 0.99, 0.5, 0.99])
    rows, words = unsaturated(table, "epsilon", "n", "kappa")
    assert words.startswith("; 2 of 4 cells left out, with medians above 0.9 or alone")
    assert set(rows["n"]) == {3}
    rows, words = unsaturated(table, "epsilon", "n", "kappa", limit=1.0)
    assert (len(rows), words) == (8, "")


def test_draws_with_nothing_to_measure_are_counted_in_words():
    table = grid()
    assert unmeasured(table) == ""
    table.loc[:1, "status"] = ["dead_network", "zero_observation"]
    assert unmeasured(table) == "; 2 of 8 draws had y0 = 0 and are left out"
