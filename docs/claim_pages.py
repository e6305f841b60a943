"""A page for each claim, written from the stored verdicts when the site is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_|[]<$"})


def write(results: Path, folder: Path) -> None:
    """Write `folder`/<claim>.md for every stored finding, and an index of them.

    results : folder with <experiment>/verdict.json and provenance.json.
    """
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.md"):
        stale.unlink()
    sections = []
    for record in sorted(results.glob("*/verdict.json")):
        findings = json.loads(record.read_text())
        origin = json.loads((record.parent / "provenance.json").read_text())
        for finding in findings:
            name = finding["claim"]["id"]
            (folder / f"{name}.md").write_text(_page(finding, origin, record.parent))
        sections.append(_section(record.parent.name, findings))
    (folder / "index.md").write_text("\n\n".join(["# All claims", *sections]) + "\n")


def _section(experiment: str, findings: list[dict[str, Any]]) -> str:
    rows = [
        f"| [{f['claim']['id']}]({f['claim']['id']}.md) | {_text(f['claim']['statement'])} "
        f"| {f['verdict']} | {f['state']} |"
        for f in findings
    ]
    pages = [f["claim"]["id"] for f in findings]
    hidden = ["```{toctree}", ":hidden:", *pages, "```"]
    table = ["| claim | statement | verdict | state |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([f"## {experiment}", "", *table, "", *hidden])


def _page(finding: dict[str, Any], origin: dict[str, Any], folder: Path) -> str:
    claim = finding["claim"]
    lines = [f"# {claim['id']}", "", f"**{_text(claim['statement'])}.**", ""]
    facts = {
        "Verdict": f"{finding['verdict']}, {finding['state']}",
        "Source": claim["source"],
        "Role": claim["role"],
        "Evidence": claim["evidence"],
        "Tested": finding["tested"],
        "Statistic": finding["statistic"],
        "Threshold": _threshold(finding["threshold"]),
        f"Seed {finding['seed']}": _measured(finding),
    }
    if (fresh := finding["confirmation"]) is not None:
        facts[f"Fresh seed {fresh['seed']}"] = f"{_measured(fresh)}: {fresh['verdict']}"
    facts |= {
        f"If {verdict}": f"{claim[verdict]['meaning']} ({claim[verdict]['bearing']})"
        for verdict in ("supported", "refuted")
        if claim[verdict]["meaning"]
    }
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {_text(str(value))} |" for name, value in facts.items()]
    if finding["members"]:
        lines += ["", "| member | measured | verdict |", "| --- | --- | --- |"]
        lines += [
            f"| {_text(m['label'])} | {_measured(m)} | {m['verdict']} |" for m in finding["members"]
        ]
    name, profile = folder.name, origin["profile"]
    lines += ["", f"![Figure of {name}](../../results/{name}/figure.png)", ""]
    lines += [f"    harness -m experiment={name} profile={profile} seed={finding['seed']}", ""]
    return "\n".join(lines)


def _measured(finding: dict[str, Any]) -> str:
    e = finding["estimate"]
    return (
        f"{_number(e['value'])} \\[{_number(e['low'])}, {_number(e['high'])}\\], n = {e['n']} "
        f"({_text(e['method'])}, level {_number(e['level'])})"
    )


def _threshold(limits: dict[str, float | None]) -> str:
    low, high = limits["low"], limits["high"]
    if low is None or high is None:
        return f"at most {high}" if low is None else f"at least {low}"
    return f"from {low} to {high}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _text(text: str) -> str:
    return text.translate(MARKDOWN)
