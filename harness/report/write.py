"""The files made from judged tables: verdicts, figures, CSV and LaTeX tables, the two reports."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness import figures
from harness.claims import Finding
from harness.reading import RECORD_BYTES
from harness.report import markdown, overview, page
from harness.report.result import Result
from harness.report.text import MARK, interval, number
from harness.storage.files import StoreError, write_atomically
from harness.storage.store import TABLE, Store

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How text starts that spreadsheets take for a formula."""
NUMBERS = re.compile(r"[-+](\d[\d.e+-]*|inf)( \[[-+\d.e, inf]+\])?( \(n = \d+\))?")
"""A number, with an interval or without."""
MARKS = {
    "REPORT.md": MARK,
    "report.html": MARK,
    "claims.csv": "claim,statistic,value,interval,n,threshold,verdict",
    "claims.tex": "claim & statistic & value & interval & n & threshold & verdict",
}
"""The files of a report, each with a text by which it is known to be ours."""
OVERVIEW = ("overview.png", "overview.pdf", "overview.svg")
"""The figure of all claims."""
DERIVED = {"claims.csv", "claims.tex", "summary.csv", "summary.tex", "figure.png", "figure.pdf"}
"""Files of a sweep that are removed where its table does not give them."""


WRITTEN = ("verdict.json", "provenance.json", TABLE)
"""What else a sweep writes into its folder."""


def check_free(store: Store, names: Iterable[str] = ()) -> None:
    """Raise StoreError rather than write a report, or these sweeps, over files that are not ours.

    A sweep's folder is ours if it has a table or its provenance, which are written first.
    """
    for name, mark in MARKS.items():
        try:
            ours = mark.encode() in store.read(store.root / name, RECORD_BYTES)
        except FileNotFoundError:
            continue
        if not ours:
            raise _not_ours(store, name)
    if not any((store.root / name).exists() for name in MARKS):
        for name in OVERVIEW:
            if (store.root / name).exists():
                raise _not_ours(store, name)
    for name in OVERVIEW:
        _check_no_folder(store, name)
    for name in names:
        folder = store.sweep_folder(name)
        for file in (*DERIVED, *WRITTEN):
            _check_no_folder(store, f"{name}/{file}")
        if store.has_table(name) or (folder / "provenance.json").exists():
            continue
        if found := sorted(file for file in {*DERIVED, "verdict.json"} if (folder / file).exists()):
            raise StoreError(
                f"results={store.root}: {name}/{found[0]} exists but was not written by a sweep: "
                "move it, or choose another name=NAME"
            )


def _check_no_folder(store: Store, name: str) -> None:
    if (store.root / name).is_dir():
        raise StoreError(f"results={store.root}: {name} is a folder: move it")


def _not_ours(store: Store, name: str) -> StoreError:
    return StoreError(
        f"results={store.root}: {name} exists but was not written by the harness: "
        "move it, or choose another folder with results=FOLDER"
    )


def write_sweep(store: Store, result: Result) -> None:
    """Write verdict, claims, summary and figure beside the table they are made from."""
    _replace(store.sweep_folder(result.name), DERIVED, _files(result))


def write_report(store: Store, results: Sequence[Result]) -> Path:
    """Write REPORT.md, report.html and the tables of all claims; return the path of REPORT.md.

    Raises
    ------
    StoreError
        If one of them is there and is not ours.
    """
    check_free(store)
    path = store.root / "REPORT.md"
    write_atomically(path, markdown.report(results).encode())
    drawn = {result.name: store.read_figure(result.name) for result in results}
    drawings = overview.render(results)
    text = page.render(results, drawn, drawings.get("png"))
    write_atomically(store.root / "report.html", text.encode())
    claimed = [result for result in results if result.findings]
    texts = _texts("claims", _claims_table(claimed)) if claimed else ()
    _replace(store.root, ("claims.csv", "claims.tex"), texts)
    _replace(store.root, OVERVIEW, ((f"overview.{kind}", drawings[kind]) for kind in drawings))
    return path


def _replace(folder: Path, names: Iterable[str], files: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a folder; remove those of `names` that are not among them."""
    stale = set(names)
    for name, data in files:
        write_atomically(folder / name, data)
        stale.discard(name)
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def _files(result: Result) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files made from a table."""
    verdicts = [_plain(_record(result, finding)) for finding in result.findings]
    yield "verdict.json", (json.dumps(verdicts, indent=1) + "\n").encode()
    if result.findings:
        yield from _texts("claims", _claims_table([result]))
        if result.summary is not None:
            yield from _texts("summary", result.summary)
        drawn = figures.render(result.experiment, result.table, _about(result))
        yield from ((f"figure.{suffix}", data) for suffix, data in drawn.items())


def _about(result: Result) -> str:
    """The command, table and source that a figure comes from."""
    origin = result.origin
    name = "" if result.name == origin.experiment else f" name={result.name}"
    return (
        f"harness -m experiment={origin.experiment}{name} profile={origin.profile} "
        f"seed={origin.seed} trials={origin.trials}; SHA-256 of the table {origin.table_sha256}; "
        f"commit {origin.commit or 'unknown'}"
    )


def _record(result: Result, finding: Finding) -> dict[str, Any]:
    """A finding as verdict.json has it, with its confirmation."""
    fresh, seed = result.confirmed(finding), result.confirmation
    confirmation = _fields(fresh) | {"seed": seed.origin.seed} if fresh and seed else None
    return _fields(finding) | {
        "state": result.state(finding),
        "seed": result.origin.seed,
        "confirmation": confirmation,
    }


def _fields(finding: Finding) -> dict[str, Any]:
    low, high = finding.threshold.low, finding.threshold.high
    threshold = {
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
    }
    return asdict(finding) | {"threshold": threshold, "bearing": finding.bearing}


def _claims_table(results: Sequence[Result]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": f.claim.id,
                "statistic": f.statistic,
                "value": number(f.estimate.value),
                "interval": interval(f.estimate),
                "n": f.estimate.n,
                "threshold": str(f.threshold),
                "verdict": str(f.verdict),
                "state": str(result.state(f)),
                "role": str(f.claim.role),
                "bearing": str(f.bearing or ""),
            }
            for result in results
            for f in result.findings
        ]
    )


def _texts(stem: str, table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """A table as CSV and as LaTeX (booktabs)."""
    yield f"{stem}.csv", table.map(_inert).to_csv(index=False).encode()
    text = table.to_latex(index=False, escape=True, float_format="%.4g")
    for sign, command in (("<=", r"$\le$"), (">=", r"$\ge$"), ("|", r"\textbar{}")):
        text = text.replace(sign, command)  # LaTeX's default encoding shows other glyphs for these
    yield f"{stem}.tex", text.encode()


def _inert(value: Any) -> Any:
    """The value, text that a spreadsheet would take for a formula with an apostrophe before it."""
    if not isinstance(value, str):
        return value
    line = value.replace("\r", " ")  # which some versions of Python leave without quotes
    formula = value.startswith(FORMULA) and not NUMBERS.fullmatch(value)
    return f"'{line}" if formula else line


def _plain(value: Any) -> Any:
    """The value with NaN and infinities, which JSON lacks, as the strings nan, inf, -inf."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
