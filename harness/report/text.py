"""The words and numbers that all reports share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.claims import Verdict
from harness.report.result import Result
from harness.stats import LEVEL, Estimate

MARK = "What finite random networks say of the theory of blind demodulation"
"""How the introduction of every report begins, also of earlier versions."""
INTRODUCTION = (
    f"{MARK} with generative "
    "priors. A verdict compares an interval with a threshold that the configuration fixed "
    "before the run: SUPPORTED if the whole interval lies on the claimed side, REFUTED if it "
    "lies on the other, INCONCLUSIVE otherwise. Intervals have confidence "
    f"{LEVEL:.0%}, jointly (Bonferroni) where a claim is about the worst of several cells, not "
    "over the claims; n counts what the interval is taken over. The premise of the theorems holds "
    "for no network that a computer holds (see premise): what is tested is their conclusions, at "
    "the sizes given. The README says which rules were made after a look at data."
)


def count_verdicts(results: Iterable[Result]) -> dict[Verdict, int]:
    """Number of findings by verdict, in the order of the verdicts."""
    counts = Counter(finding.verdict for result in results for finding in result.findings)
    return {verdict: counts[verdict] for verdict in Verdict}


def verdict_lines(result: Result) -> str:
    """The verdicts of a sweep for the terminal, one line each."""
    lines = [
        f"{f.verdict:>12}  {f.claim.id}: {f.statistic} = {f.estimate}, threshold {f.threshold}"
        for f in result.findings
    ]
    return "\n".join(lines) or f"{result.name}: no rows yet"


def interval(estimate: Estimate) -> str:
    """The interval of an estimate, as "[low, high]"."""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float) -> str:
    """A number to four significant digits."""
    return f"{value:.4g}"
