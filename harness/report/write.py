"""From stored tables to verdicts, figures, LaTeX tables and the reports: REPORT.md, report.html."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness import figures
from harness.claims import Finding
from harness.report import page
from harness.report.collect import SWEEP, collect
from harness.report.result import (
    INTRODUCTION,
    Result,
    count_verdicts,
    interval,
    load,
    load_judged,
    number,
    typed,
)
from harness.storage.files import StoreError, write_atomically
from harness.storage.store import Store

log = logging.getLogger(__name__)


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
        own = collect(store, name, sweep, wall_seconds)
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
