"""A stored sweep, judged: what the Markdown and the HTML report are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from harness import schema
from harness.claims import Experiment, Finding, Verdict
from harness.stats import LEVEL, Estimate
from harness.store import Store, StoreError

INTRODUCTION = (
    "What finite random networks say of the theory of blind demodulation with generative "
    "priors. A verdict compares an interval with a threshold that the configuration fixed "
    "before the run: SUPPORTED if the whole interval lies on the claimed side, REFUTED if it "
    "lies on the other, INCONCLUSIVE otherwise. Intervals have confidence "
    f"{LEVEL:.0%}, jointly (Bonferroni) where a claim is about the worst of several cells; n "
    "counts what the interval is taken over."
)


@dataclass(frozen=True)
class Result:
    """A sweep as stored: its experiment, table and provenance, judged anew."""

    name: str
    experiment: Experiment
    table: pd.DataFrame
    origin: dict[str, Any]

    @cached_property
    def findings(self) -> list[Finding]:
        return self.experiment.judge(self.table) if len(self.table) else []

    @cached_property
    def summary(self) -> pd.DataFrame | None:
        return self.experiment.summary(self.table) if len(self.table) else None

    @property
    def statuses(self) -> dict[str, int]:
        """How many rows have each status."""
        counts = self.table["status"].value_counts().sort_index() if len(self.table) else {}
        return {str(status): int(count) for status, count in counts.items()}


def load(store: Store, name: str) -> Result:
    """The stored sweep `name`.

    Raises
    ------
    StoreError
        If it cannot be used; also if another version of the experiment measured it, whose rows
        this one need not know how to judge.
    """
    table, origin = store.read_table(name)
    experiment = rebuilt(store, name, origin["experiment"], origin["config"])
    if origin["version"] != experiment.version:
        raise StoreError(
            f"results={store.root}: {name} was measured by version {origin['version']} of "
            f"{origin['experiment']}; this is version {experiment.version}: run it again"
        )
    return Result(name, experiment, table, origin)


def rebuilt(store: Store, name: str, experiment: str, config: Mapping[str, Any]) -> Experiment:
    """The experiment that the sweep `name` was stored with; StoreError if it has changed since."""
    try:
        return schema.build(experiment, config)
    except schema.ConfigError as error:
        raise StoreError(
            f"results={store.root}: {name} does not fit this version of its experiment ({error}): "
            "run it again"
        ) from None


def count_verdicts(results: Iterable[Result]) -> dict[Verdict, int]:
    """How many findings have each verdict, in the order of the verdicts."""
    counts = Counter(finding.verdict for result in results for finding in result.findings)
    return {verdict: counts[verdict] for verdict in Verdict}


def interval(estimate: Estimate) -> str:
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float) -> str:
    return f"{value:.4g}"
