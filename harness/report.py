"""From stored tables to verdicts, figures, LaTeX tables and the reports: REPORT.md, report.html."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from annotated_types import MinLen
from pydantic import TypeAdapter

from harness import figures, page
from harness.claims import Finding
from harness.files import StoreError
from harness.provenance import provenance
from harness.result import (
    INTRODUCTION,
    Origin,
    Result,
    count_verdicts,
    interval,
    load,
    load_judged,
    load_origin,
    number,
    rebuilt,
    typed,
)
from harness.store import Cell, Store, digest, write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """The record of a sweep: which cells it has."""

    experiment: str
    profile: str
    seed: int
    trials: int
    config: dict[str, Any]
    cells: Annotated[list[dict[str, Any]], MinLen(1)]


SWEEP = TypeAdapter(Sweep)
MADE = {"claims.csv", "claims.tex", "summary.csv", "summary.tex", "figure.png", "figure.pdf"}
"""What there is of a table with findings; of another it would contradict the table."""


def update(store: Store, name: str, wall_seconds: float | None = None) -> bool:
    """Collect a sweep's cells where they are kept; then judge and draw from the stored table.

    Returns whether the stored table is one of the recorded sweep, not an earlier one that is kept.
    """
    record = store.read_sweep(name)
    own = True
    if record is not None:
        sweep = typed(SWEEP, record, f"results={store.root}: the sweep {name}")
        own = _collect(store, name, sweep, wall_seconds)
    _replace(store.folder(name), MADE, _files(load(store, name)))
    return own


def _replace(folder: Path, names: Iterable[str], files: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a folder; those of the names that are not among them are removed."""
    left = set(names)
    for name, data in files:
        write_atomically(folder / name, data)
        left.discard(name)
    for name in left:
        (folder / name).unlink(missing_ok=True)


def _files(result: Result) -> Iterator[tuple[str, bytes]]:
    """What is made of a stored table: names and contents."""
    verdicts = [_plain(asdict(finding)) for finding in result.findings]
    yield "verdict.json", (json.dumps(verdicts, indent=1) + "\n").encode()
    if result.findings:
        yield from _texts("claims", _claims_table(result.findings))
        if result.summary is not None:
            yield from _texts("summary", result.summary)
        for suffix, data in figures.render(result.experiment, result.table).items():
            yield f"figure.{suffix}", data


def _collect(store: Store, name: str, sweep: Sweep, wall_seconds: float | None) -> bool:
    """Write table.csv and provenance.json, unless the table on the disk is to stay.

    Returns whether the table on the disk is then one of this sweep.
    """
    cells = [
        Cell(sweep.experiment, rebuilt(store, name, sweep.experiment, config), sweep.seed)
        for config in sweep.cells
    ]
    table, gathered = store.collect(cells, sweep.trials)
    asked = {key: value for key, value in vars(sweep).items() if key != "cells"}
    asked["cells_sha256"] = digest({"keys": [cell.key for cell in cells]})
    facts = {
        **asked,
        "version": cells[0].experiment.version,
        "cells": len(cells),
        "cells_complete": gathered.complete,
        "rows": len(table),
    }
    old = _stored(store, name)
    if old is None and not len(table) and store.has_table(name):
        return False  # `load` says what is wrong with it
    same_sweep = old is not None and all(getattr(old, key) == asked[key] for key in asked)
    if old is not None and _stays(old, facts, table):
        if same_sweep:
            log.warning("%s: cells are missing; its table, which has them, is kept", name)
        else:
            log.warning("%s", _kept(store, name, old, facts))
        return same_sweep
    facts |= {"trial_seconds": round(gathered.seconds, 1), "wall_seconds": wall_seconds}
    facts |= {"segments_by_blas_kernel": dict(sorted(gathered.kernels.items()))}
    store.write_table(name, table, {**facts, **provenance()}, keep=same_sweep)
    return True


def _stored(store: Store, name: str) -> Origin | None:
    """Where the stored table came from; None without one that can be judged."""
    try:
        return load_origin(store, name)
    except StoreError:
        return None


def _stays(old: Origin, new: Mapping[str, Any], table: pd.DataFrame) -> bool:
    """Whether a stored table stays when the `table` of a sweep is collected.

    A complete sweep takes its place.  One that is not, of the same cells, takes it if no row is
    lost; one of other cells, if it has rows and the stored one is not complete either.
    """
    if new["cells_complete"] == new["cells"]:
        return False
    if new["cells_sha256"] == old.cells_sha256:
        found = int((table["trial"] < old.trials).sum()) if len(table) else 0
        return found < old.rows
    return old.rows > 0 and (old.cells_complete == old.cells or not len(table))


def _kept(store: Store, name: str, old: Origin, new: Mapping[str, Any]) -> str:
    """One line on a table that stays though another sweep was begun."""
    return (
        f"{store.folder(name)} keeps its table, {old.cells_complete} of {old.cells} cells of "
        f"profile {old.profile} with {old.trials} trials: only {new['cells_complete']} of "
        f"{new['cells']} cells of profile {new['profile']} with {new['trials']} trials are done "
        f"(name=NAME shows them apart)"
    )


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
    """Write REPORT.md, report.html and all claims from everything stored; the path of REPORT.md."""
    results = []
    for name in store.names():
        try:
            results.append(load_judged(store, name))
        except StoreError as error:
            log.warning("left out of the report: %s", error)
    path = store.root / "REPORT.md"
    write_atomically(path, _markdown_report(results).encode())
    drawn = {result.name: store.read_figure(result.name) for result in results}
    write_atomically(store.root / "report.html", page.render(results, drawn).encode())
    every = [finding for result in results for finding in result.findings]
    texts = _texts("claims", _claims_table(every)) if every else ()
    _replace(store.root, ("claims.csv", "claims.tex"), texts)
    return path


CLAIMS = ("<!-- claims: written by `make readme` -->", "<!-- end of claims -->")
"""Lines of a Markdown page between which `insert_claims` writes."""


def insert_claims(store: Store, page: Path) -> None:
    """Write the table of all stored claims into a Markdown page, such as the README.

    Raises
    ------
    StoreError
        If the page cannot be read or has not the two lines of `CLAIMS`.
    """
    try:
        text = page.read_text()
    except (OSError, UnicodeDecodeError):
        raise StoreError(f"readme={page}: must be a Markdown page") from None
    before, begin, rest = text.partition(CLAIMS[0])
    _, end, after = rest.partition(CLAIMS[1])
    if not begin or not end:
        raise StoreError(f"readme={page}: must have the lines {CLAIMS[0]} and {CLAIMS[1]}")
    rows = [
        {
            "claim": f"[{f.claim.id}]({store.root}/REPORT.md#{_anchor(result.name)})",
            "statement": f.claim.statement,
            "verdict": f"**{f.verdict}**",
            "measured": str(f.estimate),
            "threshold": f.threshold,
        }
        for result in (load_judged(store, name) for name in store.names())
        for f in result.findings
    ]
    table = "\n".join(_markdown(pd.DataFrame(rows)))
    write_atomically(page, f"{before}{begin}\n\n{table}\n\n{end}{after}".encode())


def _markdown_report(results: Sequence[Result]) -> str:
    counts = count_verdicts(results)
    lines = [
        "# Report",
        "",
        INTRODUCTION,
        "",
        "; ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".",
        "",
        *_markdown(_overview({result.name: result.findings for result in results})),
    ]
    for result in results:
        lines += ["", *_section(result)]
    text = "\n".join(lines) + "\n"
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)  # no text of a table begins a tag


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


def _section(result: Result) -> list[str]:
    origin = result.origin
    lines = [f"## {result.name}", ""]
    if not result.findings:
        return [*lines, "No rows yet."]
    lines += [f"![{result.name}]({result.name}/figure.png)", "", result.experiment.caption, ""]
    if result.summary is not None:
        lines += [*_markdown(result.summary), ""]
    lines.append(
        f"Experiment `{origin.experiment}`, profile {origin.profile}: "
        f"{origin.cells_complete} of {origin.cells} cells complete, "
        f"{origin.trials} trials a cell, {origin.rows} rows ("
        + ", ".join(f"{count} {status}" for status, count in result.statuses.items())
        + f"), seed {origin.seed}; {origin.trial_seconds:g} s of trials. "
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
                "value": number(f.estimate.value),
                "interval": interval(f.estimate),
                "n": f.estimate.n,
                "threshold": f.threshold,
                "verdict": str(f.verdict),
            }
            for f in findings
        ]
    )


def _texts(stem: str, table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """A table as CSV and as LaTeX (booktabs)."""
    yield f"{stem}.csv", table.to_csv(index=False).encode()
    text = table.to_latex(index=False, escape=True, float_format="%.4g")
    for sign, command in (("<=", r"$\le$"), (">=", r"$\ge$"), ("|", r"\textbar{}")):
        text = text.replace(sign, command)  # LaTeX's plain fonts have other glyphs in their places
    yield f"{stem}.tex", text.encode()


def _markdown(table: pd.DataFrame) -> list[str]:
    def text(value: Any) -> str:
        shown = number(value) if isinstance(value, float) else str(value)
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
