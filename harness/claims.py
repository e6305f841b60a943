"""What a claim is and how data decide it: SUPPORTED, REFUTED or INCONCLUSIVE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.stats import Estimate, undetermined


class Verdict(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Claim:
    """A statement that data can refute.

    id : short and unique, such as "hyperbolas.radius"
    statement : one line
    source : where it comes from (equation or theorem of the paper)
    """

    id: str
    statement: str
    source: str


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured for it, and the verdict."""

    claim: Claim
    tested: str
    statistic: str
    estimate: Estimate
    threshold: str
    verdict: Verdict


Estimates = Estimate | Sequence[Estimate]
"""One estimate, or a family that must hold as a whole (intervals at `stats.simultaneous`)."""


def above(
    claim: Claim, estimates: Estimates, threshold: float, *, statistic: str, tested: str
) -> Finding:
    """`within` [threshold, infinity)."""
    return _decide(claim, estimates, threshold, np.inf, f">= {threshold:g}", statistic, tested)


def below(
    claim: Claim, estimates: Estimates, threshold: float, *, statistic: str, tested: str
) -> Finding:
    """`within` (-infinity, threshold]."""
    return _decide(claim, estimates, -np.inf, threshold, f"<= {threshold:g}", statistic, tested)


def within(
    claim: Claim, estimates: Estimates, low: float, high: float, *, statistic: str, tested: str
) -> Finding:
    """SUPPORTED if the whole interval lies in [low, high], REFUTED if outside, else neither.

    A family is SUPPORTED if all of its members are and REFUTED if one is; the finding shows the
    member that decides: of those with the family's verdict, the one that reaches farthest out.
    """
    return _decide(claim, estimates, low, high, f"in [{low:g}, {high:g}]", statistic, tested)


def _decide(
    claim: Claim,
    estimates: Estimates,
    low: float,
    high: float,
    threshold: str,
    statistic: str,
    tested: str,
) -> Finding:
    family = [estimates] if isinstance(estimates, Estimate) else list(estimates)
    if not family:
        family = [undetermined(0, "no data")]
    verdicts = {_verdict(estimate, low, high) for estimate in family}
    if Verdict.REFUTED in verdicts:
        verdict = Verdict.REFUTED
    elif verdicts == {Verdict.SUPPORTED}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.INCONCLUSIVE

    def margin(estimate: Estimate) -> tuple[float, float]:
        """How far the interval, and then the value, stays inside the limits."""
        if np.isnan(estimate.value):
            return -np.inf, -np.inf
        ends = (
            (estimate.low - low if np.isfinite(low) else np.inf),
            (high - estimate.high if np.isfinite(high) else np.inf),
        )
        return min(ends), min(estimate.value - low, high - estimate.value)

    shown = min(
        (e for e in family if _verdict(e, low, high) == verdict),
        key=margin,
    )
    return Finding(claim, tested, statistic, shown, threshold, verdict)


def _verdict(estimate: Estimate, low: float, high: float) -> Verdict:
    if np.isnan(estimate.value):
        return Verdict.INCONCLUSIVE
    if low <= estimate.low and estimate.high <= high:
        return Verdict.SUPPORTED
    if estimate.high < low or high < estimate.low:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE
