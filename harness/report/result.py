"""A stored sweep, judged: what the Markdown and the HTML report are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pandas as pd
from pydantic import TypeAdapter

from harness import schema
from harness.claims import Finding, Verdict
from harness.experiment import Experiment
from harness.stats import LEVEL, Estimate
from harness.storage.files import StoreError
from harness.storage.store import Store

T = TypeVar("T")

INTRODUCTION = (
    "What finite random networks say of the theory of blind demodulation with generative "
    "priors. A verdict compares an interval with a threshold that the configuration fixed "
    "before the run: SUPPORTED if the whole interval lies on the claimed side, REFUTED if it "
    "lies on the other, INCONCLUSIVE otherwise. Intervals have confidence "
    f"{LEVEL:.0%}, jointly (Bonferroni) where a claim is about the worst of several cells, not "
    "over the claims; n counts what the interval is taken over. The premise of the theorems holds "
    "for no network that a computer holds (see premise): what is tested is their conclusions, at "
    "the sizes given. The README says which rules were made after a look at data."
)


@dataclass(frozen=True)
class Origin:
    """Where a table came from: what the reports tell of its provenance.json."""

    experiment: str
    version: int
    config: dict[str, Any]
    profile: str
    seed: int
    trials: int
    cells: int
    cells_complete: int
    rows: int
    trial_seconds: float
    table_sha256: str
    cells_sha256: str | None = None
    commit: str | None = None
    dirty: bool = False
    python: str | None = None
    packages: dict[str, str | None] = field(default_factory=dict)
    platform: str | None = None
    processor: str | None = None
    blas: list[dict[str, Any]] = field(default_factory=list)
    segments_by_blas_kernel: dict[str, int] = field(default_factory=dict)


ORIGIN = TypeAdapter(Origin)


@dataclass(frozen=True)
class Result:
    """A sweep as stored: its experiment, table and provenance, judged anew."""

    name: str
    experiment: Experiment
    table: pd.DataFrame
    origin: Origin

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
    table, facts = store.read_table(name)
    origin, experiment = _origin(store, name, facts)
    if len(table) and (missing := {"trial", "seed", "status"} - set(table.columns)):
        raise StoreError(f"results={store.root}: {name}/table.csv has no column {min(missing)}")
    return Result(name, experiment, table, origin)


def load_origin(store: Store, name: str) -> Origin:
    """Where the table of the stored sweep `name` came from; StoreError as of `load`."""
    return _origin(store, name, store.read_provenance(name))[0]


def _origin(store: Store, name: str, facts: dict[str, Any]) -> tuple[Origin, Experiment]:
    origin = typed(ORIGIN, facts, f"results={store.root}: {name}/provenance.json")
    experiment = rebuilt(store, name, origin.experiment, origin.config)
    if origin.version != experiment.version:
        raise StoreError(
            f"results={store.root}: {name} was measured by version {origin.version} of "
            f"{origin.experiment}; this is version {experiment.version}: run it again"
        )
    return origin, experiment


def rebuilt(store: Store, name: str, experiment: str, config: Mapping[str, Any]) -> Experiment:
    """The experiment that the sweep `name` was stored with; StoreError if it has changed since."""
    try:
        return schema.build(experiment, config)
    except schema.ConfigError as error:
        raise StoreError(
            f"results={store.root}: {name} does not fit this version of its experiment ({error}): "
            "run it again"
        ) from None


def load_judged(store: Store, name: str) -> Result:
    """`load`, and StoreError also if the table cannot be judged."""
    with in_one_line(store, name):
        result = load(store, name)
        _ = result.findings, result.summary, result.statuses
        return result


def typed(adapter: TypeAdapter[T], facts: dict[str, Any], where: str) -> T:
    """A record that was read, with the types that it should have; StoreError if it has others."""
    try:
        return schema.validate(adapter, facts, where)
    except schema.ConfigError as error:
        raise StoreError(f"{where}: {error}") from None


@contextmanager
def in_one_line(store: Store, name: str) -> Iterator[None]:
    """Raise whatever judging and drawing a stored table raises as a StoreError.

    The table may come from anyone, and an experiment's own code cannot foresee all that is in it.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"results={store.root}: {name} cannot be judged or drawn "
            f"({type(error).__name__}: {reason})"
        ) from error


def count_verdicts(results: Iterable[Result]) -> dict[Verdict, int]:
    """How many findings have each verdict, in the order of the verdicts."""
    counts = Counter(finding.verdict for result in results for finding in result.findings)
    return {verdict: counts[verdict] for verdict in Verdict}


def interval(estimate: Estimate) -> str:
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float) -> str:
    return f"{value:.4g}"
