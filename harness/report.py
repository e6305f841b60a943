"""From stored tables to verdicts, figures, LaTeX tables and results/REPORT.md."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import figures, schema
from harness.claims import Experiment, Finding, Verdict
from harness.provenance import provenance
from harness.stats import LEVEL, Estimate
from harness.store import Cell, Store, StoreError, digest, write_atomically

SWEEP_FACTS = ("experiment", "profile", "seed", "trials", "config")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A sweep as stored: its experiment, table and provenance, judged anew."""

    name: str
    experiment: Experiment
    table: pd.DataFrame
    origin: dict[str, Any]

    @property
    def findings(self) -> list[Finding]:
        return self.experiment.judge(self.table) if len(self.table) else []


def load(store: Store, name: str) -> Result:
    """The stored sweep `name`."""
    table, origin = store.read_table(name)
    return Result(name, schema.build(origin["experiment"], origin["config"]), table, origin)


def update(store: Store, name: str, wall_seconds: float | None = None) -> None:
    """Collect a sweep's cells where they are kept; then judge and draw from the stored table."""
    sweep = store.read_sweep(name)
    if sweep is not None:
        _collect(store, name, sweep, wall_seconds)
    result = load(store, name)
    folder = store.folder(name)
    findings = result.findings
    verdicts = [_plain(asdict(finding)) for finding in findings]
    write_atomically(folder / "verdict.json", (json.dumps(verdicts, indent=1) + "\n").encode())
    if findings:
        _write_table(folder / "claims", _claims_table(findings))
        summary = result.experiment.summary(result.table)
        if summary is not None:
            _write_table(folder / "summary", summary)
        for suffix, data in figures.render(result.experiment, result.table).items():
            write_atomically(folder / f"figure.{suffix}", data)


def _collect(store: Store, name: str, sweep: dict[str, Any], wall_seconds: float | None) -> None:
    """Write table.csv and provenance.json, unless the table on the disk is the same already."""
    cells = [
        Cell(sweep["experiment"], schema.build(sweep["experiment"], config), sweep["seed"])
        for config in sweep["cells"]
    ]
    table, gathered = store.collect(cells, sweep["trials"])
    facts = {
        **{key: sweep[key] for key in SWEEP_FACTS},
        "version": cells[0].experiment.version,
        "cells": len(cells),
        "cells_sha256": digest({"keys": [cell.key for cell in cells]}),
        "cells_complete": gathered.complete,
        "rows": len(table),
    }
    try:
        old = store.read_provenance(name)
    except StoreError:
        old = {}
    same_sweep = all(old.get(key) == facts[key] for key in (*SWEEP_FACTS, "cells_sha256"))
    if same_sweep and old["rows"] > len(table):
        log.warning("%s: cells are missing; its table, which has them, is kept", name)
    else:
        facts |= {"trial_seconds": round(gathered.seconds, 1), "wall_seconds": wall_seconds}
        facts |= {"segments_by_blas_kernel": dict(sorted(gathered.kernels.items()))}
        store.write_table(name, table, {**facts, **provenance()}, keep=same_sweep)


def verdict_lines(store: Store, name: str) -> str:
    """The verdicts of a sweep for the terminal, a line each."""
    findings = load(store, name).findings
    return (
        "\n".join(
            f"{f.verdict:>12}  {f.claim.id}: {f.statistic} = {f.estimate}, threshold {f.threshold}"
            for f in findings
        )
        or f"{name}: no rows yet"
    )


def write(store: Store) -> Path:
    """Write results/REPORT.md from everything stored; return its path."""
    results = []
    for name in store.names():
        try:
            results.append(load(store, name))
        except (StoreError, schema.ConfigError) as error:
            log.warning("left out of the report: %s", error)
    findings = {result.name: result.findings for result in results}
    counts = Counter(f.verdict for listed in findings.values() for f in listed)
    lines = [
        "# Report",
        "",
        "What finite random networks say of the theory of blind demodulation with generative "
        "priors. A verdict compares an interval with a threshold that the configuration fixed "
        "before the run: SUPPORTED if the whole interval lies on the claimed side, REFUTED if it "
        "lies on the other, INCONCLUSIVE otherwise. Intervals have confidence "
        f"{LEVEL:.0%}, jointly (Bonferroni) where a claim is about the worst of several cells; n "
        "counts what the interval is taken over.",
        "",
        "; ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict) + ".",
        "",
        *_markdown(_overview(findings)),
    ]
    for result in results:
        lines += ["", *_section(result, findings[result.name])]
    path = store.root / "REPORT.md"
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    every = [f for listed in findings.values() for f in listed]
    if every:
        _write_table(store.root / "claims", _claims_table(every))
    return path


def _overview(findings: dict[str, list[Finding]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": f"[{f.claim.id}](#{_anchor(name)})",
                "statement": f"{f.claim.statement} ({f.claim.source})",
                "tested": f.tested,
                "statistic": f"{f.statistic}: {f.estimate}",
                "threshold": f.threshold,
                "verdict": f"**{f.verdict}**",
            }
            for name, listed in findings.items()
            for f in listed
        ]
    )


def _anchor(heading: str) -> str:
    """The link that Markdown viewers give a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def _section(result: Result, findings: Sequence[Finding]) -> list[str]:
    origin = result.origin
    lines = [f"## {result.name}", ""]
    if not findings:
        return [*lines, "No rows yet."]
    lines += [f"![{result.name}]({result.name}/figure.png)", "", result.experiment.caption, ""]
    summary = result.experiment.summary(result.table)
    if summary is not None:
        lines += [*_markdown(summary), ""]
    statuses = result.table["status"].value_counts().sort_index()
    lines.append(
        f"Experiment `{origin['experiment']}`, profile {origin['profile']}: "
        f"{origin['cells_complete']} of {origin['cells']} cells complete, "
        f"{origin['trials']} trials a cell, {origin['rows']} rows ("
        + ", ".join(f"{count} {status}" for status, count in statuses.items())
        + f"), seed {origin['seed']}; {origin['trial_seconds']:g} s of trials. "
        f"Data: [table.csv]({result.name}/table.csv), "
        f"[provenance.json]({result.name}/provenance.json)."
    )
    return lines


def _claims_table(findings: Sequence[Finding]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": f.claim.id,
                "statistic": f.statistic,
                "value": _number(f.estimate.value),
                "interval": _interval(f.estimate),
                "n": f.estimate.n,
                "threshold": f.threshold,
                "verdict": str(f.verdict),
            }
            for f in findings
        ]
    )


def _interval(estimate: Estimate) -> str:
    return f"[{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _write_table(stem: Path, table: pd.DataFrame) -> None:
    """A table as CSV and as LaTeX (booktabs)."""
    write_atomically(stem.with_suffix(".csv"), table.to_csv(index=False).encode())
    text = table.to_latex(index=False, escape=True, float_format="%.4g")
    for sign, command in (("<=", r"$\le$"), (">=", r"$\ge$"), ("|", r"\textbar{}")):
        text = text.replace(sign, command)  # LaTeX's plain fonts have other glyphs in their places
    write_atomically(stem.with_suffix(".tex"), text.encode())


def _markdown(table: pd.DataFrame) -> list[str]:
    def text(value: Any) -> str:
        shown = _number(value) if isinstance(value, float) else str(value)
        return shown.replace("|", "\\|").replace("\n", " ")

    rows: list[Any] = [table.columns, *table.itertuples(index=False)]
    lines = ["| " + " | ".join(text(v) for v in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(table.columns), *lines[1:]]


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they are written as the strings nan, inf, -inf."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
