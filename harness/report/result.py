"""A stored sweep and what its table says: the content of every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, TypeVar

import pandas as pd
from annotated_types import Ge, Lt
from pydantic import TypeAdapter

from harness import schema
from harness.claims import Finding, State, Verdict
from harness.experiment import Experiment, columns
from harness.schema import Design
from harness.storage.files import StoreError
from harness.storage.store import TABLE, ReadOnlyStore

T = TypeVar("T")
Count = Annotated[int, Ge(0), Lt(2**63)]
Seconds = Annotated[float, Ge(0), Lt(1e15)]


@dataclass(frozen=True)
class Origin:
    """Where a table came from: the entries of provenance.json that the reports show."""

    experiment: str
    version: int
    config: dict[str, Any]
    profile: str
    seed: int
    trials: Count
    cells: Count
    cells_complete: Count
    rows: Count
    trial_seconds: Seconds
    table_sha256: str
    cells_sha256: str | None = None
    design: Design | None = None
    design_sha256: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    python: str | None = None
    packages: dict[str, str | None] = field(default_factory=dict)
    platform: str | None = None
    processor: str | None = None
    blas: list[dict[str, Any]] = field(default_factory=list)
    segments_by_blas_kernel: dict[str, int] = field(default_factory=dict)


ORIGIN = TypeAdapter(Origin)


@dataclass(frozen=True)
class Judgement:
    """What an experiment says of a table: its findings and its summary."""

    findings: list[Finding]
    summary: pd.DataFrame | None


@dataclass(frozen=True)
class Result:
    """A stored sweep: its experiment, table and provenance.

    The table is judged once, when `findings` are first asked for; `summary` alike.

    Attributes
    ----------
    table_file : name of the table's file.
    own : False if the table was left by an earlier sweep of that name.
    judged : the judgement, if it is known already.
    confirmation : the result of the same design on its fresh seed, if there is one.
    """

    name: str
    experiment: Experiment
    table: pd.DataFrame
    origin: Origin
    table_file: str = TABLE
    own: bool = True
    judged: Judgement | None = None
    confirmation: Result | None = None

    @cached_property
    def findings(self) -> list[Finding]:
        """What the table says of each claim; nothing if it has no rows."""
        if self.judged is not None:
            return self.judged.findings
        if not len(self.table):
            return []
        findings, few = self.experiment.findings(self.table), self._too_few
        return [_noted(finding, few.get(finding.claim.id)) for finding in findings]

    def confirmed(self, finding: Finding) -> Finding | None:
        """What the fresh seed says of the same claim."""
        found = self.confirmation.findings if self.confirmation else []
        return next((other for other in found if other.claim.id == finding.claim.id), None)

    def state(self, finding: Finding) -> State:
        """Whether a finding is exploratory, or what its confirmation came to."""
        fresh = self.confirmed(finding)
        if fresh is None:
            return State.EXPLORATORY
        agree = fresh.verdict == finding.verdict and fresh.verdict != Verdict.INCONCLUSIVE
        return State.CONFIRMED if agree else State.NOT_CONFIRMED

    @cached_property
    def _too_few(self) -> dict[str, int]:
        """By claim: the trials a cell needs, for claims that those of the table cannot decide."""
        cells = self.table.reindex(columns=list(columns(self.experiment))).drop_duplicates()
        return self.experiment.undecidable(cells, self.origin.trials)

    @cached_property
    def summary(self) -> pd.DataFrame | None:
        """The experiment's summary of the table, if it has one."""
        if self.judged is not None:
            return self.judged.summary
        return self.experiment.summary(self.table) if len(self.table) else None

    @cached_property
    def statuses(self) -> dict[str, int]:
        """Number of rows by status."""
        return dict(sorted(Counter(map(str, self.table.get("status", ()))).items()))


def _noted(finding: Finding, needed: int | None) -> Finding:
    """The finding; one that is inconclusive for want of trials says so."""
    if needed is None or finding.verdict != Verdict.INCONCLUSIVE:
        return finding
    return replace(finding, note=f"too few trials: at least {needed} a cell are needed")


def load(store: ReadOnlyStore, name: str) -> Result:
    """Read the stored sweep `name`.

    Raises
    ------
    StoreError
        If it cannot be used, or if another version of the experiment measured it: this version may
        not know how to judge its rows.
    """
    table, facts = store.read_table(name)
    origin, experiment = identify(store, name, facts)
    if len(table) and (missing := {"trial", "seed", "status"} - set(table.columns)):
        raise StoreError(f"results={store.root}: the table of {name} has no column {min(missing)}")
    return Result(name, experiment, table, origin, store.table_file(name).name)


def identify(store: ReadOnlyStore, name: str, facts: dict[str, Any]) -> tuple[Origin, Experiment]:
    """Where a table came from, by its provenance, and its experiment; StoreError as in `load`."""
    origin = typed(ORIGIN, facts, f"results={store.root}: {name}/provenance.json")
    experiment = rebuilt(store, name, origin.experiment, origin.config)
    if origin.version != experiment.version:
        raise StoreError(
            f"results={store.root}: {name} was measured by version {origin.version} of "
            f"{origin.experiment}; this is version {experiment.version}: run it again"
        )
    return origin, experiment


def rebuilt(
    store: ReadOnlyStore, name: str, experiment: str, config: Mapping[str, Any]
) -> Experiment:
    """The experiment with a stored configuration; StoreError if it no longer accepts it."""
    try:
        return schema.build(experiment, config)
    except schema.ConfigError as error:
        where = f"results={store.root}: {name}"
        if experiment not in schema.experiment_names():
            raise StoreError(f"{where} cannot be judged: {error}") from None
        raise StoreError(
            f"{where} does not fit this version of its experiment ({error}): run it again"
        ) from None


def typed(adapter: TypeAdapter[T], facts: Mapping[str, Any], where: str) -> T:
    """A stored record with checked types; StoreError names the first wrong one."""
    try:
        return schema.validate(adapter, facts, where)
    except schema.ConfigError as error:
        raise StoreError(f"{where}: {error}") from None


@contextmanager
def in_one_line(store: ReadOnlyStore, name: str) -> Iterator[None]:
    """Re-raise any exception as a StoreError that names the sweep.

    For judging and drawing stored tables: one may come from anyone, and the code of an experiment
    cannot foresee everything that may be in it.
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
