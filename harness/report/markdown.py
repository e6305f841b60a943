"""The report in Markdown: REPORT.md, and the table of claims of a page such as the README."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.reading import read_regular
from harness.report.result import Result
from harness.report.text import (
    EXPECTED_ERRORS,
    INTRODUCTION,
    Headline,
    fresh_seed,
    headlines,
    in_words,
    members,
    number,
    verdicts_by_role,
)
from harness.storage.files import StoreError, reason, write_atomically

CLAIMS = ("<!-- claims: written by `make readme` -->", "<!-- end of claims -->")
FINDINGS = ("<!-- findings: written by `make readme` -->", "<!-- end of findings -->")
"""The lines of a Markdown page between which `insert` writes the table, or the findings."""
CLAIM = re.compile(rb"(<!-- claim: ([\w.]+) -->)(.*?)(<!-- end of claim -->)", re.DOTALL)
"""The lines between which it writes what one claim came to."""


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
        *_findings(headlines(results), ""),
        "",
        "![All claims: each interval beside its threshold](overview.png)",
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


def insert(results: Sequence[Result], root: Path, page: Path) -> None:
    """Write findings, claims or what one claim came to into a Markdown page, linked to the report.

    The rest of the page stays as it is, byte for byte, and so do its line ends and mode.  Of a
    symbolic link the page that it leads to is changed.

    Raises
    ------
    StoreError
        If the page cannot be read, or has no two lines of `CLAIMS`, of `FINDINGS` or for a `CLAIM`.
    """
    try:
        data = read_regular(page)
    except OSError as error:
        raise StoreError(f"readme={page}: must be a Markdown page ({reason(error)})") from None
    if not CLAIM.search(data) and not any(_split_at(data, marks) for marks in (CLAIMS, FINDINGS)):
        pairs = " or ".join(f"{first} and {last}" for first, last in (CLAIMS, FINDINGS))
        raise StoreError(f"readme={page}: must have the lines {pairs}")
    report = os.path.relpath(root / "REPORT.md", page.parent)
    edited = _between(data, FINDINGS, _findings(headlines(results), report))
    edited = _between(edited, CLAIMS, _claims(results, report))
    edited = CLAIM.sub(lambda found: _one_claim(results, report, found), edited)
    write_atomically(page.resolve(), edited, keep_mode=True)


def _one_claim(results: Sequence[Result], report: str, found: re.Match[bytes]) -> bytes:
    """The text between two lines for a claim, with those lines."""
    begin, claim, inside, end = found.groups()
    known = [one for one in in_words(results) if one.finding.claim.id == claim.decode()]
    lines = _findings(known, report) or ["- Not measured in this version yet."]
    return b"".join([begin, _lines(inside, lines), end])


def _split_at(data: bytes, marks: tuple[str, str]) -> tuple[bytes, bytes, bytes] | None:
    """A page before, between and after two lines; None if it lacks one of them."""
    before, begin, rest = data.partition(marks[0].encode())
    inside, end, after = rest.partition(marks[1].encode())
    return (before + begin, inside, end + after) if begin and end else None


def _between(data: bytes, marks: tuple[str, str], lines: Sequence[str]) -> bytes:
    """The page with these lines between two others, if it has those."""
    if (parts := _split_at(data, marks)) is None:
        return data
    before, inside, after = parts
    return before + _lines(inside, lines) + after


def _lines(old: bytes, new: Sequence[str]) -> bytes:
    """Lines in place of old ones, with their line ends, and an empty line around them."""
    line_end = b"\r\n" if old.startswith(b"\r\n") else b"\n"
    return line_end.join(line.encode() for line in ("", "", *new, "", ""))


def _findings(found: Iterable[Headline], report: str) -> list[str]:
    """Findings in words as a list, each with a link to its section of the report."""
    return [
        f"- **{escaped(one.meaning)}** {escaped(one.measured)} "
        f"[{one.finding.claim.id}]({report}#{_heading_id(one.name)})"
        for one in found
    ]


def _claims(results: Sequence[Result], report: str) -> list[str]:
    rows = [
        {
            "claim": Ready(f"[{f.claim.id}]({report}#{_heading_id(result.name)})"),
            "statement": f.claim.statement,
            "verdict": Ready(f"**{f.verdict}**, {result.state(f)}"),
            "measured": str(f.estimate),
            "threshold": str(f.threshold),
        }
        for result in results
        for f in result.findings
    ]
    return table_lines(pd.DataFrame(rows))


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
