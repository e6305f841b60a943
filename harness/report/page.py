"""The report as one self-contained HTML page, with figures, style and script inside.

The template escapes everything that comes from a results folder.  The page loads nothing and runs
only its own script, which sorts tables.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.claims import Verdict
from harness.report.result import Result
from harness.report.text import (
    EXPECTED_ERRORS,
    INTRODUCTION,
    fresh_seed,
    headlines,
    interval,
    number,
    place,
    verdicts_by_role,
)
from harness.storage.tables import without_images

SUMMARY_ROWS = 200
TABLE_ROWS = 50
"""Rows shown of a summary and of a table; the files have all."""
LONGEST = 60
"""Characters shown of a text in a table."""
DIRTY = ", with uncommitted changes"
PNG = b"\x89PNG\r\n\x1a\n"
HEADER = 24
"""Bytes of a PNG file up to the end of its width and height."""


@dataclass(frozen=True)
class Picture:
    """A PNG file inside the page, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Excerpt:
    """The first rows of a table, without the columns that have one value throughout.

    Attributes
    ----------
    rows : the cells of each row, as (text, number to sort by or None).
    same : name and value of each column left out.
    total : number of rows of the whole table.
    """

    columns: list[str]
    rows: list[list[tuple[str, float | None]]]
    same: list[tuple[str, str]]
    total: int


def render(
    results: Sequence[Result], figures: Mapping[str, bytes | None], overview: bytes | None = None
) -> str:
    """The page; `figures` maps the name of a sweep to its PNG file, or to None.

    overview : the PNG file of the figure of all claims.
    """
    verdicts = {finding.verdict for result in results for finding in result.findings}
    return _template("report.html").render(
        verdicts=[verdict for verdict in Verdict if verdict in verdicts],
        introduction=INTRODUCTION,
        headlines=headlines(results),
        overview=_picture(overview),
        roles=verdicts_by_role(results),
        expected_errors=EXPECTED_ERRORS,
        fresh_seed=fresh_seed,
        place=place,
        results=results,
        images={name: _picture(data) for name, data in figures.items()},
        style=_inline("report.css"),
        script=_inline("report.js"),
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "facts": facts,
        "interval": interval,
        "json": lambda value: json.dumps(value, indent=1),
        "number": number,
        "alternative": alternative,
        "anchor": anchor,
        "policy": _policy,
        "table": lambda result: excerpt(result.table, TABLE_ROWS, fold=True),
        "summary": lambda result: excerpt(result.summary, SUMMARY_ROWS),
        "text": text,
    }
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def _inline(name: str) -> Markup:
    """The unescaped text of one of our own files, for a <style> or a <script>."""
    source, _, _ = _environment().loader.get_source(_environment(), name)  # type: ignore[union-attr]
    return Markup(source)


def _policy(source: str) -> str:
    """The Content-Security-Policy source that allows this inline text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _picture(data: bytes | None) -> Picture | None:
    if data is None or not data.startswith(PNG) or len(data) < HEADER:
        return None
    width, height = struct.unpack(">II", data[HEADER - 8 : HEADER])
    return Picture("data:image/png;base64," + base64.b64encode(data).decode(), width, height)


def alternative(result: Result) -> str:
    """What a figure says, for those who do not see it: the verdicts that it shows."""
    said = (f"{f.claim.id}: {f.verdict}, {number(f.estimate.value)}" for f in result.findings)
    return f"Figure of {result.name}. {'; '.join(said)}."


def anchor(name: str) -> str:
    """The name of a sweep as part of a URL: its anchor in the page, its folder in links."""
    return quote(name, safe="")


def text(value: Any) -> str:
    """A value as a table shows it."""
    shown = number(value) if isinstance(value, float) else str(value)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def excerpt(table: pd.DataFrame, limit: int, *, fold: bool = False) -> Excerpt:
    """The first rows of a table, without images; `fold` moves columns with one value to `same`."""
    kept = without_images(table)
    single = [name for name in kept if fold and kept[name].nunique(dropna=False) == 1]
    shown = kept.drop(columns=single)
    return Excerpt(
        columns=[text(name) for name in shown.columns],
        rows=[
            [(text(value), _sortable(value)) for value in row]
            for row in shown.head(limit).itertuples(index=False, name=None)
        ],
        same=[(text(name), text(table[name].iloc[0])) for name in single],
        total=len(table),
    )


def _sortable(value: Any) -> float | None:
    """The number that a value or its text represents; None if it is not a number."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def facts(result: Result) -> list[tuple[str, str]]:
    """Where the table came from: name and value of each known entry of its provenance."""
    origin = result.origin
    counts = ", ".join(f"{count} {status}" for status, count in result.statuses.items())
    packages = ", ".join(
        f"{name} {version}" for name, version in origin.packages.items() if version
    )
    found = {
        "experiment": origin.experiment,
        "profile": origin.profile,
        "seed": origin.seed,
        "cells": f"{origin.cells_complete} of {origin.cells} complete",
        "trials": f"{origin.trials} a cell",
        "rows": f"{origin.rows} ({counts})" if counts else origin.rows,
        "time": f"{origin.trial_seconds:g} s of trials",
        "commit": origin.commit and origin.commit + (DIRTY if origin.dirty else ""),
        "Python": origin.python,
        "packages": packages,
        "platform": origin.platform,
        "processor": origin.processor,
        "BLAS": "; ".join(_blas(library) for library in origin.blas),
        "SHA-256 of the CSV text": origin.table_sha256,
    }
    return [(name, str(value)) for name, value in found.items() if value not in (None, "")]


def _blas(library: Mapping[str, Any]) -> str:
    return (
        f"{library.get('internal_api')} {library.get('version')} ({library.get('architecture')}, "
        f"threads: {library.get('num_threads')})"
    )
