"""Findings in words, and where the figure of all claims puts them."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

from harness import claims
from harness.claims import Claim, Evidence, Finding, Outcome, Role, Verdict
from harness.experiment import Experiment, experiment_class
from harness.report import markdown, overview, text
from harness.report.result import Result
from harness.schema import experiment_names
from harness.stats import Estimate
from tests import test_page

CLAIM = Claim(
    "fixed.size",
    "The size is one",
    "eq. (1)",
    Role.PAPER,
    supported=Outcome("It is one."),
    refuted=Outcome("It is not one."),
    headline=True,
)
PLACES = {
    "inside": (1.0, 0.95, 1.05),
    "touching": (1.0, 0.9, 1.05),
    "across": (1.0, 0.8, 1.05),
    "just outside": (0.8, 0.7, 0.91),
    "outside": (0.8, 0.7, 0.85),
    "beyond": (1.5, 1.4, 1.6),
}


def found(value: float, low: float, high: float, claim: Claim = CLAIM) -> Finding:
    estimate = Estimate(value, low, high, 7, "given")
    return claims.within(claim, estimate, 0.9, 1.1, statistic="size", tested="here")


def shown(finding: Finding, fresh: Finding | None = None) -> Result:
    result = test_page.result("fixed", None, None, finding)
    other = test_page.result("fixed", None, None, fresh) if fresh else None
    return replace(result, confirmation=other)


@pytest.mark.parametrize("ends", PLACES.values(), ids=PLACES)
def test_a_claim_is_drawn_beyond_one_only_if_it_is_supported(ends):
    finding = found(*ends)
    at = overview.distance(finding)
    assert (at >= 1) == (finding.verdict == Verdict.SUPPORTED)
    assert (at < -1) == (finding.verdict == Verdict.REFUTED)


def test_what_is_not_determined_has_no_place():
    assert np.isnan(overview.distance(found(np.nan, -np.inf, np.inf)))
    assert np.isnan(overview.distance(found(1.0, -np.inf, np.inf)))


def test_a_finding_in_words_says_what_its_verdict_means_with_the_numbers():
    [words] = text.headlines([shown(found(1.0, 0.95, 1.05))])
    assert words.meaning == "It is one."
    assert "The size is one: SUPPORTED, exploratory, profile quick, 1 of 2 cells" in words.measured
    assert "1 [0.95, 1.05] (n = 7), threshold in [0.9, 1.1]" in words.measured
    [words] = text.headlines([shown(found(2.0, 1.9, 2.1))])
    assert words.meaning == "It is not one."
    [words] = text.headlines([shown(found(1.0, 0.5, 1.5))])
    assert words.meaning == "The data do not decide yet."


def test_what_a_search_has_not_found_is_no_fact():
    """An upper limit on what a search finds can be passed, never kept."""
    claim = replace(CLAIM, evidence=Evidence.SEARCH)
    [words] = text.headlines([shown(found(1.0, 0.95, 1.05, claim))])
    assert words.meaning == "A search has found nothing against it, which is no proof."


def test_a_finding_in_words_says_what_the_fresh_seed_said():
    [words] = text.headlines([shown(found(1.0, 0.95, 1.05), found(1.01, 0.93, 1.08))])
    assert "SUPPORTED, confirmed" in words.measured
    assert "on a fresh seed 1.01 [0.93, 1.08] (n = 7), SUPPORTED" in words.measured


def test_only_headlines_are_put_into_words():
    quiet = replace(CLAIM, headline=False)
    assert text.headlines([shown(found(1.0, 0.95, 1.05, quiet))]) == []


def test_the_report_begins_with_them():
    report = markdown.report([shown(found(1.0, 0.95, 1.05))])
    assert report.index("**It is one.**") < report.index("| role |")


def test_six_to_eight_claims_are_headlines_each_with_both_meanings():
    names = experiment_names()
    chosen = [claim for name in names for claim in kind(name).claims if claim.headline]
    assert 6 <= len(chosen) <= 8
    for claim in chosen:
        assert claim.supported.meaning
        assert claim.refuted.meaning


def kind(name: str) -> type[Experiment]:
    return experiment_class(importlib.import_module(f"experiments.{name}"))
