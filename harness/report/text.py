"""The words and numbers that all reports share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.claims import Finding, Role, State, Verdict
from harness.report.result import Result
from harness.stats import LEVEL, Estimate

MARK = "What finite random networks say of the theory of blind demodulation"
"""How the introduction of every report begins, also of earlier versions."""
INTRODUCTION = (
    f"{MARK} with generative "
    "priors. A verdict compares an interval with a threshold that the configuration fixed "
    "before the run: SUPPORTED if the whole interval lies on the claimed side, REFUTED if it "
    "lies on the other, INCONCLUSIVE otherwise; NOT FOUND if a search has not found what would "
    "refute the claim, which is no proof that there is none. Intervals have confidence "
    f"{LEVEL:.0%}, jointly (Bonferroni) where a claim is about the worst of several cells, not "
    "over the claims; n counts what the interval is taken over. The premise of the theorems holds "
    "for no network that a computer holds (see premise): what is tested is their conclusions, at "
    "the sizes given. A finding is exploratory until the same design has confirmed it on a fresh "
    "seed."
)


EXPECTED_ERRORS = (
    "The last column is the number of decided claims that chance alone would decide wrongly, at "
    "most, if every interval missed as often as its level allows."
)


@dataclass(frozen=True)
class Headline:
    """A finding in words: what it means, what was measured, and its place in the page."""

    name: str
    finding: Finding
    meaning: str
    measured: str
    place: str


def headlines(results: Iterable[Result]) -> list[Headline]:
    """The findings that a report begins with, those first that the data decide."""
    chosen = [one for one in in_words(results) if one.finding.claim.headline]
    return sorted(chosen, key=lambda one: one.finding.verdict == Verdict.INCONCLUSIVE)


def in_words(results: Iterable[Result]) -> list[Headline]:
    """All findings, in words that follow from their verdicts alone."""
    return [_headline(result, finding) for result in results for finding in result.findings]


def _headline(result: Result, finding: Finding) -> Headline:
    outcome = finding.claim.outcome(finding.verdict)
    meaning = outcome.meaning if outcome else "The data do not decide yet."
    if finding.verdict == Verdict.NOT_FOUND:
        meaning = "A search has found nothing against it, which is no proof."
    fresh = result.confirmed(finding)
    again = f"; on a fresh seed {fresh.estimate}, {fresh.verdict}" if fresh else ""
    origin = result.origin
    part = f", {origin.cells_complete} of {origin.cells} cells"
    measured = (
        f"{finding.claim.statement}: {finding.verdict}, {result.state(finding)}, profile "
        f"{origin.profile}{part * (origin.cells_complete < origin.cells)} "
        f"({finding.statistic}: {finding.estimate}, threshold {finding.threshold}{again})."
    )
    return Headline(result.name, finding, meaning, measured, place(result, finding))


def place(result: Result, finding: Finding) -> str:
    """Where a finding is in the page: its claim, after the name of a sweep that has its own."""
    own = result.name == result.origin.experiment
    return finding.claim.id if own else f"{result.name}.{finding.claim.id}"


def verdicts_by_role(results: Iterable[Result]) -> list[dict[str, str | int]]:
    """A row for each role that has claims: its findings by verdict and by state."""
    rows = []
    found = [(result, finding) for result in results for finding in result.findings]
    for role in Role:
        own = [(result, f) for result, f in found if f.claim.role == role]
        counts = Counter(f.verdict for _, f in own)
        states = Counter(result.state(f) for result, f in own)
        decided = len(own) - counts[Verdict.INCONCLUSIVE]
        row: dict[str, str | int] = {"role": str(role)}
        row |= {str(verdict): counts[verdict] for verdict in Verdict}
        row |= {str(state): states[state] for state in State}
        row["wrong by chance"] = f"{(1 - LEVEL) * decided:.1f}"
        if own:
            rows.append(row)
    return rows


def fresh_seed(result: Result, finding: Finding) -> str:
    """What the confirmation of a finding came to, in words."""
    fresh = result.confirmed(finding)
    if fresh is None:
        return str(State.EXPLORATORY)
    return f"{result.state(finding)}: {fresh.verdict}, {fresh.estimate}"


def members(finding: Finding) -> pd.DataFrame:
    """A row for each member of a family."""
    return pd.DataFrame(
        [
            {"member": m.label, "measured": str(m.estimate), "verdict": str(m.verdict)}
            for m in finding.members
        ]
    )


def verdict_lines(result: Result) -> str:
    """The verdicts of a sweep for the terminal: the claim, and below it what was measured."""
    lines = [
        f"{f.verdict:>12}  {f.claim.id}: {f.claim.statement}\n"
        f"{'':>14}{f.statistic} = {f.estimate}, threshold {f.threshold}"
        f"{'; ' * bool(f.note)}{f.note} ({result.state(f)})"
        for f in result.findings
    ]
    return "\n".join(lines) or f"{result.name}: no rows yet"


def closing_lines(results: Sequence[Result]) -> str:
    """What was found, in words, and the number of verdicts by role, for the terminal."""
    lines = [f"- {one.meaning} {one.measured}" for one in headlines(results)]
    counts = pd.DataFrame(verdicts_by_role(results))
    found = ["", "What was found:", *lines] if lines else []
    return "\n".join([*found, "", counts.to_string(index=False)] if len(counts) else found)


def interval(estimate: Estimate) -> str:
    """The interval of an estimate, as "[low, high]"."""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float) -> str:
    """A number to four significant digits."""
    return f"{value:.4g}"
