"""The report in Markdown: REPORT.md, and the table of claims of a page such as the README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reading import read_regular
from harness.report.result import Result
from harness.report.text import (
    EXPECTED_ERRORS,
    INTRODUCTION,
    fresh_seed,
    members,
    number,
    verdicts_by_role,
)
from harness.storage.files import StoreError, reason, write_atomically

CLAIMS = ("<!-- claims: written by `make readme` -->", "<!-- end of claims -->")
"""The lines of a Markdown page between which `insert_claims` writes."""


class Ready(str):
    """A cell that is Markdown already."""

    __slots__ = ()


def report(results: Sequence[Result]) -> str:
    """The text of REPORT.md."""
    lines = [
        "# Report",
        "",
        INTRODUCTION,
        "",
        *table_lines(pd.DataFrame(verdicts_by_role(results))),
        "",
        EXPECTED_ERRORS,
        "",
        *table_lines(_overview(results)),
    ]
    for result in results:
        lines += ["", *_section(result)]
    text = "\n".join(lines) + "\n"
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)  # no text of a table starts a tag


def insert_claims(results: Sequence[Result], root: Path, page: Path) -> None:
    """Write the table of all claims into a Markdown page, with links to the report in `root`.

    The rest of the page stays as it is, byte for byte, and so do its line ends and mode.  Of a
    symbolic link the page that it leads to is changed.

    Raises
    ------
    StoreError
        If the page cannot be read or lacks one of the two lines of `CLAIMS`.
    """
    try:
        data = read_regular(page)
    except OSError as error:
        raise StoreError(f"readme={page}: must be a Markdown page ({reason(error)})") from None
    before, begin, rest = data.partition(CLAIMS[0].encode())
    _, end, after = rest.partition(CLAIMS[1].encode())
    if not begin or not end:
        raise StoreError(f"readme={page}: must have the lines {CLAIMS[0]} and {CLAIMS[1]}")
    rows = [
        {
            "claim": Ready(f"[{f.claim.id}]({root}/REPORT.md#{_heading_id(result.name)})"),
            "statement": f.claim.statement,
            "verdict": Ready(f"**{f.verdict}**, {result.state(f)}"),
            "measured": str(f.estimate),
            "threshold": str(f.threshold),
        }
        for result in results
        for f in result.findings
    ]
    line_end = b"\r\n" if rest.startswith(b"\r\n") else b"\n"
    table = [line.encode() for line in ("", "", *table_lines(pd.DataFrame(rows)), "", "")]
    edited = b"".join([before, begin, line_end.join(table), end, after])
    write_atomically(page.resolve(), edited, keep_mode=True)


def _overview(results: Sequence[Result]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": Ready(f"[{f.claim.id}](#{_heading_id(result.name)})"),
                "role": str(f.claim.role),
                "statement": f"{f.claim.statement} ({f.claim.source})",
                "tested": f.tested,
                "statistic": f"{f.statistic}: {f.estimate}",
                "threshold": str(f.threshold),
                "verdict": Ready(f"**{f.verdict}**" + (f" ({escaped(f.note)})" if f.note else "")),
                "fresh seed": fresh_seed(result, f),
                "bearing": f.bearing or "",
            }
            for result in results
            for f in result.findings
        ]
    )


def _heading_id(heading: str) -> str:
    """The link target that Markdown viewers give a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def _section(result: Result) -> list[str]:
    origin = result.origin
    lines = [f"## {result.name}", ""]
    if not result.findings:
        return [*lines, "No rows yet."]
    lines += [f"![{result.name}]({result.name}/figure.png)", "", result.experiment.caption, ""]
    for finding in result.findings:
        if finding.members:
            lines += [f"Members of {finding.claim.id}, {escaped(finding.statistic)}:", ""]
            lines += [*table_lines(members(finding)), ""]
    if result.summary is not None:
        lines += [*table_lines(result.summary), ""]
    lines.append(
        f"Experiment `{origin.experiment}`, profile {escaped(origin.profile)}: "
        f"{origin.cells_complete} of {origin.cells} cells complete, "
        f"{origin.trials} trials a cell, {origin.rows} rows ("
        + ", ".join(f"{count} {escaped(status)}" for status, count in result.statuses.items())
        + f"), seed {origin.seed}; {origin.trial_seconds:g} s of trials. "
        f"Data: [{result.table_file}]({result.name}/{result.table_file}), "
        f"[provenance.json]({result.name}/provenance.json)."
    )
    return lines


def table_lines(table: pd.DataFrame) -> list[str]:
    """A table in Markdown, one line a row."""

    def text(value: Any) -> str:
        if isinstance(value, Ready):
            return value
        return escaped(number(value) if isinstance(value, float) else str(value))

    rows: list[Any] = [table.columns, *table.itertuples(index=False)]
    lines = ["| " + " | ".join(text(v) for v in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(table.columns), *lines[1:]]


def escaped(text: str) -> str:
    """Text on one line that is no Markdown: it starts no code, emphasis, link, image or cell."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"[\\`*|]|(?<=\])[(\[:]", r"\\\g<0>", line)
