"""What a claim is, what evidence there is for it, and how data decide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.stats import Estimate, undetermined


class Verdict(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_FOUND = "NOT FOUND"
    """A search has not found what would contradict the claim; it may have missed it."""


class State(StrEnum):
    """Whether a verdict was confirmed."""

    EXPLORATORY = "exploratory"
    """It is of a seed that was known when the claim's design was made."""
    CONFIRMED = "confirmed"
    """The same design gives the same verdict on a fresh seed."""
    NOT_CONFIRMED = "not confirmed"
    """The fresh seed gives another verdict, or both are INCONCLUSIVE."""


class Role(StrEnum):
    """Why a claim is tested."""

    PAPER = "paper"
    """The paper states or assumes it."""
    SHARPER = "sharper"
    """A law or a constant at finite size, beyond the paper."""
    CONTROL = "control"
    """An assumption is dropped on purpose."""
    PRACTICE = "practice"
    """The algorithm, images, baselines."""
    SOFTWARE = "software"
    """The harness itself."""


class Bearing(StrEnum):
    """What a verdict says of the paper, whose theorems are sufficient conditions."""

    CONSISTENT = "consistent"
    SHARPER = "sharper"
    CONTRADICTS = "contradicts"
    HYPOTHESIS_NEEDED = "hypothesis needed"
    NOT_IN_PAPER = "not in the paper"


class Evidence(StrEnum):
    """How the measured quantity relates to the quantity in the claim."""

    VALUE = "value"
    """It is that quantity, up to its interval."""
    LOWER = "lower bound"
    """A lower bound: the true value may be larger."""
    UPPER = "upper bound"
    """A certified upper bound: the true value may be smaller."""
    SEARCH = "search"
    """The largest value, or the points, that a search found: there may be larger ones, or more."""


@dataclass(frozen=True)
class Outcome:
    """What a verdict would mean, in one plain sentence, and what it would say of the paper."""

    meaning: str = ""
    bearing: Bearing = Bearing.NOT_IN_PAPER


@dataclass(frozen=True)
class Claim:
    """A statement that data can refute.

    Attributes
    ----------
    id : short and unique, such as "hyperbolas.radius".
    statement : one line that stands alone.
    source : where it comes from (equation or theorem of the paper).
    role : why it is tested.
    evidence : how the measured quantity relates to the quantity in the statement.
    supported, refuted : what either verdict would mean.
    headline : whether its finding is among the few that every report begins with.
    """

    id: str
    statement: str
    source: str
    role: Role = Role.SHARPER
    evidence: Evidence = Evidence.VALUE
    supported: Outcome = Outcome()
    refuted: Outcome = Outcome()
    headline: bool = False

    def outcome(self, verdict: Verdict) -> Outcome | None:
        """What a verdict means; None if the data decide nothing."""
        match verdict:
            case Verdict.SUPPORTED | Verdict.NOT_FOUND:
                return self.supported
            case Verdict.REFUTED:
                return self.refuted
            case _:
                return None

    def bearing(self, verdict: Verdict) -> Bearing | None:
        """What a verdict says of the paper; None if the data decide nothing."""
        outcome = self.outcome(verdict)
        return outcome.bearing if outcome else None


@dataclass(frozen=True)
class Threshold:
    """The limits [low, high] that an estimate is compared with."""

    low: float = -np.inf
    high: float = np.inf

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f">= {self.low:g}"
        if np.isinf(self.low):
            return f"<= {self.high:g}"
        return f"in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Member:
    """One of a family of estimates, with the verdict that it would have alone."""

    label: str
    estimate: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured for it, and the verdict.

    Attributes
    ----------
    tested : where: the range of the coordinates and the number of networks.
    statistic : the name of what was measured.
    estimate : its value; of a family, that of the member that decides.
    members : all members of a family, or none.
    note : what else a reader must know: too few trials, or an interval that excludes the value that
        the theory names.
    """

    claim: Claim
    tested: str
    statistic: str
    estimate: Estimate
    threshold: Threshold
    verdict: Verdict
    members: tuple[Member, ...] = ()
    note: str = ""

    @property
    def bearing(self) -> Bearing | None:
        """What the verdict says of the paper; None if the data decide nothing."""
        return self.claim.bearing(self.verdict)


Estimates = Estimate | Sequence[Estimate] | Mapping[str, Estimate]
"""One estimate, or a family that must hold as a whole (intervals at `stats.simultaneous`), by
label if it is a mapping."""


def above(
    claim: Claim,
    estimates: Estimates,
    threshold: float,
    *,
    statistic: str,
    tested: str,
    named: float | None = None,
) -> Finding:
    """`within` [threshold, infinity)."""
    return within(
        claim, estimates, threshold, np.inf, statistic=statistic, tested=tested, named=named
    )


def below(
    claim: Claim,
    estimates: Estimates,
    threshold: float,
    *,
    statistic: str,
    tested: str,
    named: float | None = None,
) -> Finding:
    """`within` (-infinity, threshold]."""
    return within(
        claim, estimates, -np.inf, threshold, statistic=statistic, tested=tested, named=named
    )


Range = tuple[float, float]  # values that support a claim; infinite where a side is open


def within(
    claim: Claim,
    estimates: Estimates,
    low: float,
    high: float,
    *,
    statistic: str,
    tested: str,
    named: float | None = None,
) -> Finding:
    """SUPPORTED if the whole interval lies in [low, high], REFUTED if outside, else neither.

    Evidence from one side decides less.  What is measured by a search, or is a lower bound, may be
    larger in truth: that it lies below `high` supports nothing, and that it lies below `low`
    refutes nothing.  A search then says NOT FOUND, a bound INCONCLUSIVE; upper bounds alike.

    A family is SUPPORTED if all of its members are and REFUTED if one is; if some are NOT FOUND
    and the others SUPPORTED, it is NOT FOUND.  The finding shows the member that decides: of those
    with the family's verdict, the one that reaches farthest out.

    Parameters
    ----------
    named : float, optional
        The value that the theory names; the note says if a SUPPORTED interval excludes it.
    """
    limits = Threshold(low, high)
    members = [
        Member(label, estimate, _verdict(claim.evidence, estimate, limits))
        for label, estimate in _family(estimates)
    ]
    verdict = _joint(member.verdict for member in members)
    shown = min(
        (member.estimate for member in members if member.verdict == verdict),
        key=lambda estimate: _margin(estimate, limits),
    )
    excludes = named is not None and not shown.low <= named <= shown.high
    note = f"the interval excludes {named:g}, the value that the theory names" if excludes else ""
    return Finding(
        claim,
        tested,
        statistic,
        shown,
        limits,
        verdict,
        tuple(members) if len(members) > 1 else (),
        note if verdict == Verdict.SUPPORTED else "",
    )


def _family(estimates: Estimates) -> list[tuple[str, Estimate]]:
    if isinstance(estimates, Estimate):
        return [("", estimates)]
    if isinstance(estimates, Mapping):
        labelled = list(estimates.items())
    else:
        labelled = [(str(place), estimate) for place, estimate in enumerate(estimates, 1)]
    return labelled or [("", undetermined(0, "no data"))]


def _joint(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a family."""
    found = set(verdicts)
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.NOT_FOUND):
        if verdict in found:
            return verdict
    return Verdict.SUPPORTED


def _margin(estimate: Estimate, limits: Threshold) -> tuple[float, float]:
    """How far the interval, and then the value, stays inside the limits."""
    if np.isnan(estimate.value):
        return -np.inf, -np.inf
    ends = (
        (estimate.low - limits.low if np.isfinite(limits.low) else np.inf),
        (limits.high - estimate.high if np.isfinite(limits.high) else np.inf),
    )
    return min(ends), min(estimate.value - limits.low, limits.high - estimate.value)


def _verdict(evidence: Evidence, estimate: Estimate, limits: Threshold) -> Verdict:
    if np.isnan(estimate.value):
        return Verdict.INCONCLUSIVE
    undecided = Verdict.NOT_FOUND if evidence == Evidence.SEARCH else Verdict.INCONCLUSIVE
    may_be_larger = evidence in (Evidence.LOWER, Evidence.SEARCH)
    may_be_smaller = evidence == Evidence.UPPER
    if limits.low <= estimate.low and estimate.high <= limits.high:
        open_end = (may_be_larger and np.isfinite(limits.high)) or (
            may_be_smaller and np.isfinite(limits.low)
        )
        return undecided if open_end else Verdict.SUPPORTED
    if estimate.high < limits.low:
        return undecided if may_be_larger else Verdict.REFUTED
    if limits.high < estimate.low:
        return undecided if may_be_smaller else Verdict.REFUTED
    return Verdict.INCONCLUSIVE
