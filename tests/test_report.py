"""From stored tables to verdicts, figures and the report: repeatable, and without the cells."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import figures, registry
from harness.claims import Claim, Finding, Threshold, Verdict
from harness.experiment import experiment_class
from harness.report import judgements as memory
from harness.report import markdown, write
from harness.report.result import Judgement, Result, load
from harness.stats import Estimate
from harness.storage.store import Store
from tests.conftest import TOY_CELLS, Outcome, Private, tree

Harness = Callable[..., Outcome]
SWEEP = ("-m", "experiment=toy")
JUDGED = {
    "toy/table.csv.gz",
    "toy/provenance.json",
    "toy/verdict.json",
    "toy/claims.csv",
    "toy/claims.tex",
    "toy/summary.csv",
    "toy/summary.tex",
    "toy/figure.png",
    "toy/figure.pdf",
    "claims.csv",
    "claims.tex",
    "overview.png",
    "overview.pdf",
    "overview.svg",
    "REPORT.md",
    "report.html",
}


@pytest.fixture
def swept(toy: Private, undisturbed: Path, tmp_path: Path) -> Path:
    """Results of the toy's sweep, a copy."""
    return Path(shutil.copytree(undisturbed, tmp_path / "results"))


def committed(results: Path) -> dict[str, bytes]:
    """All files but the cells."""
    return {k: v for k, v in tree(results).items() if not k.startswith("cells")}


def table_text(results: Path) -> str:
    return gzip.decompress((results / "toy" / "table.csv.gz").read_bytes()).decode()


def table_rows(text: str, first: str = "") -> list[list[str]]:
    """The cells of the Markdown tables, from the line on that begins with a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith(f"| {first}")) :]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# --- The report -----------------------------------------------------------------------------


def test_a_sweep_leaves_exactly_the_files_that_are_promised(swept):
    assert set(committed(swept)) == JUDGED


def test_figures_carry_the_command_and_the_table_they_come_from(swept):
    facts = json.loads((swept / "toy" / "provenance.json").read_text())
    png, pdf = ((swept / "toy" / f"figure.{kind}").read_bytes() for kind in ("png", "pdf"))
    for words in ("harness -m experiment=toy profile=quick seed=", facts["table_sha256"]):
        assert words.encode() in png
    assert b"/Subject (harness -m experiment=toy" in pdf


def test_the_report_has_a_row_for_each_claim_with_what_was_tested_and_found(swept):
    rows = table_rows((swept / "REPORT.md").read_text(), "claim")
    header, _, row = rows[:3]
    assert header == [
        *("claim", "role", "statement", "tested", "statistic", "threshold", "verdict"),
        *("fresh seed", "bearing"),
    ]
    [finding] = json.loads((swept / "toy" / "verdict.json").read_text())
    estimate = finding["estimate"]
    assert row[0] == "[toy.small](#toy)"
    assert row[1] == "sharper"
    assert row[2] == "The median of |draw| is small (no source)".replace("|", r"\|")
    assert row[3] == "size = 1..3 (3 values), scale = 1"
    shown = f"{estimate['value']:.4g} [{estimate['low']:.4g}, {estimate['high']:.4g}]"
    assert f"{shown} (n = {estimate['n']})" in row[4]
    assert row[5] == "<= 2"
    assert finding["threshold"] == {"low": None, "high": 2.0}
    assert row[6] == f"**{finding['verdict']}**" == "**SUPPORTED**"
    assert row[7] == finding["state"] == "exploratory"
    assert row[8] == finding["bearing"] == "not in the paper"
    assert (finding["seed"], finding["confirmation"]) == (0, None)


def test_under_the_table_stands_each_figure_with_its_caption_and_where_it_came_from(swept):
    text = (swept / "REPORT.md").read_text()
    section = text[text.index("## toy") :]
    assert "![toy](toy/figure.png)" in section
    assert "Draws against the size." in section
    assert f"{TOY_CELLS} of {TOY_CELLS} cells complete, 3 trials a cell" in section
    for target in re.findall(r"\]\(([^)#]+)\)", section):
        assert (swept / target).exists(), target


def test_the_report_counts_verdicts_and_statuses(swept):
    text = (swept / "REPORT.md").read_text()
    header, _, row = table_rows(text, "role")[:3]
    assert dict(zip(header, row, strict=True)) == {
        **{"role": "sharper", "SUPPORTED": "1", "REFUTED": "0", "INCONCLUSIVE": "0"},
        **{"NOT FOUND": "0", "exploratory": "1", "confirmed": "0", "not confirmed": "0"},
        "wrong by chance": "0.1",
    }
    table = pd.read_csv(swept / "toy" / "table.csv.gz")
    for status, count in table["status"].value_counts().items():
        assert f"{count} {status}" in text


def test_a_partial_sweep_says_how_much_of_it_there_is(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_BROKEN", "2")
    harness(*SWEEP)
    text = (tmp_path / "results" / "REPORT.md").read_text()
    assert f"{TOY_CELLS - 1} of {TOY_CELLS} cells complete" in text


def test_two_sweeps_stand_in_the_report_in_alphabetical_order(harness, swept):
    small = "hydra.sweeper.grids=[{}]"
    assert harness(*SWEEP, small, "name=Another.one").code == 0
    text = (swept / "REPORT.md").read_text()
    assert text.index("## Another.one") < text.index("## toy")
    assert len(table_rows(text)) >= 4
    anchors = re.findall(r"\]\(#([^)]+)\)", text)
    headings = [re.sub(r"[^\w -]", "", h).lower() for h in re.findall(r"^## (.+)$", text, re.M)]
    assert anchors == [heading.replace(" ", "-") for heading in headings]


def test_verdicts_are_json_whatever_the_numbers(swept):
    def no_constants(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    for path in [swept / "toy" / "verdict.json", swept / "toy" / "provenance.json"]:
        json.loads(path.read_text(), parse_constant=no_constants)
    plain = write._plain({"a": math.nan, "b": {"c": -math.inf}, "d": 1.5})
    assert plain == {"a": "nan", "b": {"c": "-inf"}, "d": 1.5}


def test_a_claim_in_words_with_pipes_and_newlines_stays_one_row():
    finding = Finding(
        Claim("a.b", "||x|| <= 1\nfor all x", "eq. (1) | (2)"),
        "grid | of | x",
        "sup |x|",
        Estimate(math.nan, -math.inf, math.inf, 0, "none"),
        Threshold(high=1),
        Verdict.INCONCLUSIVE,
    )
    result = Result("a", None, pd.DataFrame(), None, judged=Judgement([finding], None))
    lines = markdown.table_lines(markdown._overview([result]))
    assert len(lines) == 3
    assert [len(row) for row in table_rows("\n".join(lines))] == [9, 9, 9]
    assert "undetermined (n = 0)" in lines[2]


# --- Confirmation ---------------------------------------------------------------------------

TOY = "experiment=toy"
FRESH = ("seed=${design.fresh_seed}", "results=results/confirmation")


def finding_of(folder: Path) -> dict[str, Any]:
    [finding] = json.loads((folder / "toy" / "verdict.json").read_text())
    return finding


def test_the_same_design_on_its_fresh_seed_confirms_a_finding(harness, swept):
    harness("-m", TOY, *FRESH)
    done = harness("report")
    finding = finding_of(swept)
    assert finding["state"] == "confirmed"
    other = finding_of(swept / "confirmation")
    assert finding["confirmation"]["estimate"] == other["estimate"] != finding["estimate"]
    assert finding["confirmation"]["seed"] == other["seed"] == 20261127
    assert "confirmed: SUPPORTED" in (swept / "REPORT.md").read_text()
    assert "(confirmed)" in done.out


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (("trials=4",), "its design is another one"),
        (("scale=0.5",), "its design is another one"),
        (("design.version=2",), "its design is another one"),
        (("thresholds.median=2.5",), "its design is another one"),
        (("inner.size=1,2",), "its design is another one"),
        (("seed=5",), "seed=5 is not the fresh seed 20261127"),
    ],
)
def test_another_design_or_seed_confirms_nothing(harness, swept, changes, why):
    harness("-m", TOY, *FRESH, *changes)
    done = harness("report")
    assert finding_of(swept)["state"] == "exploratory"
    assert f"results=results/confirmation: toy confirms nothing: {why}" in done.err


def test_a_verdict_that_the_fresh_seed_does_not_give_is_not_confirmed(harness, swept, monkeypatch):
    harness("-m", TOY, "thresholds.median=0.01", "name=toy")
    assert finding_of(swept)["verdict"] == "REFUTED"
    harness("-m", TOY, *FRESH, "thresholds.median=0.01")
    table = pd.read_csv(swept / "confirmation/toy/table.csv.gz")
    Store(swept / "confirmation").write_table(
        "toy",
        table.assign(draw=0.0),
        json.loads((swept / "confirmation/toy/provenance.json").read_text()),
    )
    harness("report")
    finding = finding_of(swept)
    assert (finding["state"], finding["confirmation"]["verdict"]) == ("not confirmed", "SUPPORTED")


# --- Too few trials -------------------------------------------------------------------------


def test_a_sweep_names_the_claims_that_it_cannot_decide(harness, monkeypatch, tmp_path):
    monkeypatch.setenv("TOY_NEEDS", "40")
    line = "trials=3: too few to decide toy.small, which needs 40 in a cell"
    assert f"claims  {line}" in harness("-m", TOY, "plan=true").out
    assert line in harness("-m", TOY).err
    assert "too few" not in harness("-m", TOY, "trials=40", "plan=true").out
    assert finding_of(tmp_path / "results")["note"] == ""  # what is decided is decided
    harness("-m", TOY, "thresholds.median=0.7", "name=close")
    [finding] = json.loads((tmp_path / "results/close/verdict.json").read_text())
    assert finding["verdict"] == "INCONCLUSIVE"
    assert finding["note"] == "too few trials: at least 40 a cell are needed"


def test_a_confirmation_that_cannot_decide_is_refused(harness, monkeypatch):
    monkeypatch.setenv("TOY_NEEDS", "40")
    assert "which needs 40 in a cell" in harness("-m", TOY, *FRESH).refusal


# --- Again ----------------------------------------------------------------------------------


def test_a_report_of_what_is_stored_changes_no_byte(harness, swept):
    before = tree(swept)
    done = harness("report")
    assert done.code == 0
    assert "toy.small" in done.out
    assert tree(swept) == before


def test_without_cells_tables_and_verdicts_stay_and_figures_are_drawn_again(
    harness, swept, tmp_path
):
    before = committed(swept)
    copy = tmp_path / "clone"
    shutil.copytree(
        swept, copy, ignore=shutil.ignore_patterns("cells", "figure.*", "REPORT.md", "*.html")
    )
    assert harness("report", "results=clone").code == 0
    assert committed(copy) == before
    assert not (copy / "cells").exists()


def test_lost_cells_do_not_take_the_table_with_them(harness, swept):
    """The sweep's record is there, its cells were deleted: the table is all that is left."""
    before = committed(swept)
    shutil.rmtree(swept / "cells" / "toy")
    harness("report")
    assert committed(swept)["toy/table.csv.gz"] == before["toy/table.csv.gz"]


def test_a_sweep_that_was_stopped_is_reported_as_far_as_it_is(harness, swept):
    """As after Ctrl-C: a record of the sweep, some of its cells, no table yet."""
    shutil.rmtree(swept / "toy")
    cell = sorted((swept / "cells" / "toy").iterdir())[0]
    shutil.rmtree(cell)
    assert harness("report").code == 0
    assert set(committed(swept)) == JUDGED
    assert f"{TOY_CELLS - 1} of {TOY_CELLS} cells complete" in (swept / "REPORT.md").read_text()


def test_a_stopped_sweep_without_a_cell_is_reported_without_rows(harness, swept):
    shutil.rmtree(swept / "toy")
    shutil.rmtree(swept / "cells" / "toy")
    done = harness("report")
    assert done.code == 0
    assert "no rows yet" in done.out
    assert "No rows yet." in (swept / "REPORT.md").read_text()


@pytest.fixture
def clone(swept: Path) -> Path:
    """The results without the cells, as they are committed."""
    shutil.rmtree(swept / "cells")
    return swept


@pytest.mark.parametrize(("sizes", "cells"), [("1,2", "1 of 2"), ("2", "0 of 1")])
def test_a_complete_table_stays_while_another_sweep_is_not_complete(
    harness, clone, monkeypatch, sizes, cells
):
    """The user is told, at the end of the sweep and by every report."""
    before = committed(clone)
    other = [*SWEEP, "profile=paper", f"inner.size={sizes}"]
    told = (
        f"results/toy keeps its table, {TOY_CELLS} of {TOY_CELLS} cells of profile quick with 3 "
        f"trials: only {cells} cells of profile paper with 5 trials are done"
    )
    monkeypatch.setenv("TOY_BROKEN", "2")
    done = harness(*other)
    assert done.code == 1
    assert "toy.small" not in done.out
    assert told in done.err
    assert told in harness("report").err
    assert committed(clone) == before
    harness(*other, "name=apart")
    assert f'"cells_complete": {cells[0]}' in (clone / "apart" / "provenance.json").read_text()
    monkeypatch.delenv("TOY_BROKEN")
    assert harness(*other).code == 0
    assert json.loads((clone / "toy" / "provenance.json").read_text())["profile"] == "paper"


def test_more_trials_replace_a_complete_table_as_soon_as_it_loses_no_row(
    harness, swept, monkeypatch
):
    before = set(table_text(swept).splitlines())
    monkeypatch.setenv("TOY_BROKEN", "2")
    assert harness(*SWEEP, "trials=5").code == 1
    assert set(table_text(swept).splitlines()) > before


def test_more_trials_of_some_cells_do_not_replace_a_complete_table(harness, clone, monkeypatch):
    before = committed(clone)
    monkeypatch.setenv("TOY_BROKEN", "2")
    done = harness(*SWEEP, "trials=50")
    assert done.code == 1
    assert "with 3 trials: only 3 of 4 cells of profile quick with 50 trials" in done.err
    assert committed(clone) == before


def test_a_table_that_is_not_complete_gives_way_to_rows_but_not_to_none(
    harness, swept, monkeypatch
):
    shutil.rmtree(swept)
    monkeypatch.setenv("TOY_BROKEN", "2")
    harness(*SWEEP)
    before = committed(swept)
    harness(*SWEEP, "inner.size=2", "seed=1")
    assert committed(swept) == before
    harness(*SWEEP, "inner.size=1,2", "seed=1")
    facts = json.loads((swept / "toy" / "provenance.json").read_text())
    assert (facts["seed"], facts["cells_complete"]) == (1, 2)


def test_a_table_that_cannot_be_judged_gives_way_to_rows_but_not_to_none(
    harness, clone, monkeypatch
):
    store = Store(clone)
    table, origin = store.read_table("toy")
    store.write_table("toy", table, origin | {"version": 7})
    before = (clone / "toy" / "table.csv.gz").read_bytes()
    monkeypatch.setenv("TOY_BROKEN", "2")
    done = harness(*SWEEP, "inner.size=2")
    assert "toy was measured by version 7" in done.err
    assert (clone / "toy" / "table.csv.gz").read_bytes() == before
    assert harness(*SWEEP).code == 1
    assert store.read_provenance("toy")["cells_complete"] == TOY_CELLS - 1


def test_without_findings_nothing_is_left_that_contradicts_the_table(harness, swept, monkeypatch):
    for path in (swept / "toy" / "table.csv.gz", *(swept / "cells" / "toy").iterdir()):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    assert harness("report").code == 0
    assert set(committed(swept)) == {
        "toy/table.csv.gz",
        "toy/provenance.json",
        "toy/verdict.json",
        "REPORT.md",
        "report.html",
    }


def test_one_broken_table_is_named_and_the_others_are_reported(harness, swept):
    assert harness(*SWEEP, "hydra.sweeper.grids=[{}]", "name=broken").code == 0
    shutil.rmtree(swept / "cells")
    with (swept / "broken" / "table.csv.gz").open("ab") as stream:
        stream.write(b"1,2,3\n")
    (swept / "REPORT.md").unlink()
    done = harness("report")
    assert done.code != 0
    assert (
        "broken/table.csv.gz does not belong to its provenance.json (changed, or"
        in done.err.splitlines()[-1]
    )
    assert "## toy" in (swept / "REPORT.md").read_text()


def test_a_table_of_another_version_of_the_experiment_is_named_and_not_judged(harness, swept):
    shutil.rmtree(swept / "cells")
    store = Store(swept)
    table, origin = store.read_table("toy")
    store.write_table("toy", table, origin | {"version": 7})
    done = harness("report")
    assert done.code == 2
    assert "toy was measured by version 7 of toy; this is version 1" in done.err.splitlines()[-1]
    assert "## toy" not in (swept / "REPORT.md").read_text()


# --- Once ------------------------------------------------------------------------------------


@pytest.fixture
def judgements(toy: Private, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each table that the toy judges, one after the other."""
    found: list[int] = []
    kind = experiment_class(registry.module("toy"))
    judge = kind.judge

    def counted(experiment: Any, table: pd.DataFrame) -> list[Finding]:
        found.append(len(table))
        return judge(experiment, table)

    monkeypatch.setattr(kind, "judge", counted)
    monkeypatch.setattr(memory, "STARTED", math.inf)  # the toy's file is younger than the process
    return found


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tables that are read."""
    found: list[str] = []
    read = Store.read_table

    def counted(store: Store, name: str) -> Any:
        found.append(name)
        return read(store, name)

    monkeypatch.setattr(Store, "read_table", counted)
    return found


ONE = "hydra.sweeper.grids=[{}]"


def test_a_report_reads_and_judges_each_table_once(harness, judgements, readings, tmp_path):
    for name in ("one", "two"):
        assert harness(*SWEEP, ONE, f"name={name}").code == 0
    page = tmp_path / "PAGE.md"
    page.write_text("\n".join(markdown.CLAIMS))
    for arguments in ([], [f"readme={page}"]):
        judgements.clear()
        readings.clear()
        assert harness("report", *arguments).code == 0
        assert len(judgements) == 2
        assert readings == ["one", "two"]
    assert page.read_text().count("toy.small") == 2


def test_a_sweep_judges_its_own_table_once_and_no_other_again(harness, judgements, readings):
    assert harness(*SWEEP, ONE, "name=one").code == 0
    report = Path("results/REPORT.md")
    [line] = [line for line in report.read_text().splitlines() if "[toy.small](#one)" in line]
    section = report.read_text().partition("## one")[2].rstrip()
    judgements.clear()
    readings.clear()
    assert harness(*SWEEP, ONE, "name=two", "trials=4").code == 0
    assert len(judgements) == 1
    assert sorted(readings) == ["one", "two"]
    assert line in report.read_text().splitlines()
    assert section in report.read_text()


def test_a_sweep_judges_the_tables_of_a_clone_once_and_remembers(harness, judgements):
    assert harness(*SWEEP, ONE, "name=one").code == 0
    shutil.rmtree("results/cells")
    judgements.clear()
    assert harness(*SWEEP, ONE, "name=two").code == 0
    assert len(judgements) == 2
    assert harness(*SWEEP, ONE, "name=three").code == 0
    assert len(judgements) == 3


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another table or another code": lambda memory: memory | {"stamp": "0" * 64},
    "no claim of the experiment": lambda memory: (
        memory["findings"][0]["claim"].update(statement="All is well") or memory
    ),
    "another type": lambda memory: memory["findings"][0]["estimate"].update(n="many") or memory,
    "an unknown verdict": lambda memory: memory["findings"][0].update(verdict="FINE") or memory,
    "another record": lambda memory: memory["findings"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_findings_that_do_not_belong_to_the_table_are_not_used(harness, judgements, change):
    assert harness(*SWEEP, ONE, "name=one").code == 0
    path = Path("results/cells/one.findings.json")
    sound = path.read_bytes()
    path.write_text(json.dumps(CHANGES[change](json.loads(sound))))
    judgements.clear()
    assert harness(*SWEEP, ONE, "name=two").code == 0
    assert len(judgements) == 2
    assert path.read_bytes() == sound


def test_findings_are_not_remembered_if_the_code_has_changed_meanwhile(
    harness, judgements, monkeypatch
):
    monkeypatch.setattr(memory, "STARTED", 0.0)
    assert harness(*SWEEP, ONE).code == 0
    assert not list(Path("results/cells").glob("*.findings.json"))


def test_findings_that_cannot_be_remembered_are_in_the_report_all_the_same(harness, judgements):
    assert harness(*SWEEP, ONE).code == 0
    [kept] = Path("results/cells").glob("*.findings.json")
    kept.unlink()
    kept.mkdir()  # nothing can be written there
    assert harness(*SWEEP, ONE, "name=other").code == 0
    assert "[toy.small](#toy)" in Path("results/REPORT.md").read_text()
    assert harness("findings").code == 0


def test_a_report_uses_no_remembered_findings(harness, judgements):
    assert harness(*SWEEP, ONE).code == 0
    judgements.clear()
    assert harness("report").code == 0
    assert len(judgements) == 1


# --- Figures and provenance -----------------------------------------------------------------


def test_a_figure_has_the_same_bytes_for_the_same_table(swept):
    result = load(Store(swept), "toy")
    first = figures.render(result.experiment, result.table, write._about(result))
    assert figures.render(result.experiment, result.table, write._about(result)) == first
    assert first["png"] == (swept / "toy" / "figure.png").read_bytes()
    assert first["png"].startswith(b"\x89PNG")
    assert first["pdf"].startswith(b"%PDF")


def test_a_figure_shows_its_table(swept):
    result = load(Store(swept), "toy")
    other = result.table.assign(draw=-result.table["draw"])  # the toy's axes have no labels
    first = figures.render(result.experiment, result.table)
    assert figures.render(result.experiment, other)["png"] != first["png"]


def test_drawing_leaves_the_style_as_it_was(swept):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    result = load(Store(swept), "toy")
    figures.render(result.experiment, result.table)
    assert dict(mpl.rcParams) == before


def test_judging_uses_the_stored_table(harness, swept):
    """A table changed together with its hash is what is judged: nothing is kept in memory."""
    shutil.rmtree(swept / "cells")
    store = Store(swept)
    table, origin = store.read_table("toy")
    origin.pop("table_sha256")
    store.write_table("toy", table.assign(draw=100.0), origin)
    assert "REFUTED" in harness("report").out


def test_provenance_says_what_was_run_where_and_by_which_code(swept):
    facts = json.loads((swept / "toy" / "provenance.json").read_text())
    assert (facts["experiment"], facts["profile"], facts["seed"]) == ("toy", "quick", 0)
    assert (facts["trials"], facts["cells"], facts["cells_complete"]) == (3, TOY_CELLS, TOY_CELLS)
    assert facts["config"]["inner"] == {"size": 3, "sizes": None}
    assert facts["rows"] == len(table_text(swept).splitlines()) - 1
    assert facts["packages"]["numpy"]
    assert all(library["num_threads"] == 1 for library in facts["blas"])
    assert facts["wall_seconds"] > 0
    assert facts["trial_seconds"] >= 0
    assert {"commit", "dirty", "python", "platform", "table_sha256"} <= facts.keys()


# --- The table of claims in a page ----------------------------------------------------------


def test_the_table_of_claims_is_written_between_two_lines_of_a_page(harness, tmp_path):
    assert harness("-m", "experiment=toy").code == 0
    page = tmp_path / "PAGE.md"
    page.write_text(
        "before\n" + "stale\n".join(f"{line}\n" for line in markdown.CLAIMS) + "after\n"
    )
    for _ in range(2):
        assert harness("report", f"readme={page}").code == 0
        text = page.read_text()
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert "stale" not in text
        assert text.count("[toy.small](results/REPORT.md#toy)") == 1


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_page_is_edited_between_the_lines_alone(harness, tmp_path, encoding, ends):
    """Its encoding, line ends, mode and link are kept; so is what else is in its folder."""
    assert harness("-m", "experiment=toy").code == 0
    lines = ["é ü", markdown.CLAIMS[0], "stale", markdown.CLAIMS[1], "ß", "no line end"]
    data = ends.join(lines).encode(encoding)
    real, page, notes = tmp_path / "docs" / "page.md", tmp_path / "PAGE.md", tmp_path / "docs/n.tmp"
    real.parent.mkdir()
    for path in (real, notes):
        path.write_bytes(data)
        os.utime(path, (0, 0))
    real.chmod(0o640)
    page.symlink_to(real)
    for _ in range(2):
        assert harness("report", "readme=PAGE.md").code == 0
        edited = real.read_bytes()
        assert page.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o640
        first, last = (line.encode() for line in markdown.CLAIMS)
        assert edited.partition(first)[0] == data.partition(first)[0]
        assert edited.partition(last)[2] == data.partition(last)[2]
        table = edited.partition(first)[2].partition(last)[0].decode()
        assert "[toy.small](results/REPORT.md#toy)" in table
        assert set(re.findall(r"\r?\n", table)) == {ends}
    assert {path.name for path in real.parent.iterdir()} == {"page.md", "n.tmp"}


def test_findings_and_claims_may_both_stand_in_a_page(harness, swept, tmp_path):
    page = tmp_path / "PAGE.md"
    page.write_text("\n".join((*markdown.FINDINGS, "between", *markdown.CLAIMS)))
    assert harness("report", f"readme={page}").code == 0
    findings, _, claims = page.read_text().partition("between")
    assert "[toy.small]" in claims
    assert "- **" not in findings  # toy.small is no headline


def test_what_one_claim_came_to_is_written_where_a_page_asks_for_it(harness, swept, tmp_path):
    pages = [tmp_path / "PAGE.md", tmp_path / "docs" / "page.md"]
    pages[1].parent.mkdir()
    for page in pages:
        page.write_text(
            "a\n<!-- claim: toy.small -->\nstale\n<!-- end of claim -->\nb\n"
            "<!-- claim: toy.other -->\n<!-- end of claim -->\nc\n"
        )
    for _ in range(2):
        assert harness("report", "readme=PAGE.md,docs/page.md").code == 0
        for page, report in zip(pages, ("results", "../results"), strict=True):
            text = page.read_text()
            assert text.count(f"[toy.small]({report}/REPORT.md#toy)") == 1
            assert text.count("Not measured in this version yet.") == 1
            assert "stale" not in text
            assert [line for line in text.splitlines() if line in ("a", "b", "c")] == [
                "a",
                "b",
                "c",
            ]


@pytest.mark.parametrize("text", [None, "no lines\n"])
def test_a_page_without_the_two_lines_is_refused(harness, tmp_path, text):
    assert harness("-m", "experiment=toy").code == 0
    page = tmp_path / "PAGE.md"
    if text is not None:
        page.write_text(text)
    refused = harness("report", f"readme={page}")
    assert refused.code == 2
    assert refused.err.startswith(f"error: readme={page}: must ")
    assert text is None or page.read_text() == text


# --- What comes from data is text -----------------------------------------------------------

EVIL = "x\n\n# Heading\n| a | **SUPPORTED** |\r![i](http://e/i.png) [l](http://e) `c` \\| d\u2028e"


def test_nothing_in_a_provenance_becomes_a_line_or_a_link_of_the_report(harness, swept):
    shutil.rmtree(swept / "cells")
    path = swept / "toy" / "provenance.json"
    evil = dict.fromkeys(("profile", "python", "platform", "processor", "commit"), EVIL)
    plain = (swept / "REPORT.md").read_text().splitlines()
    path.write_text(json.dumps(json.loads(path.read_text()) | evil | {"packages": {EVIL: EVIL}}))
    assert harness("report").code == 0
    lines = (swept / "REPORT.md").read_text().splitlines()
    assert len(lines) == len(plain)
    changed = [line for line, other in zip(lines, plain, strict=True) if line != other]
    assert len(changed) == 1
    assert changed[0].startswith("Experiment `toy`, profile x  # Heading \\| a \\| \\*\\*SUPPORTED")
    assert "](http" not in changed[0]


@pytest.mark.parametrize(
    "make", [lambda rows: pd.DataFrame(rows), lambda rows: pd.DataFrame(rows).T]
)
def test_a_cell_of_a_table_in_markdown_is_one_cell_whatever_its_text(make):
    lines = markdown.table_lines(make([{"a": EVIL, "b": "[x]: http://e"}, {"a": "\\", "b": "|"}]))
    assert len(lines) == 4
    for line in lines:
        cells = re.sub(r"\\.", "", line).split("|")
        assert len(cells) == 4, line
        assert not re.search(r"[`*]|\][(\[:]", "|".join(cells)), line


FORMULAS = [
    "=HYPERLINK(1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|x",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "-g1",
]


def test_text_in_csv_files_is_no_formula_and_numbers_stay(swept):
    numbers = ["-0.024", "-1.188 [-1.358, 1e-05]", "-0.5 [-inf, 1] (n = 3)", "-inf", "[-1, 2]"]
    table = pd.DataFrame({"a": FORMULAS, "x": [-1.5] * 7, "n": [-1] * 7, "t": [*numbers, "", "ok"]})
    (_, data), _ = write._texts("summary", table)
    read = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    assert list(read) == ["a", "x", "n", "t"]
    assert list(read["a"]) == [f"'{text}".replace("\r", " ") for text in FORMULAS]
    assert list(read["x"]) == ["-1.5"] * 7
    assert list(read["n"]) == ["-1"] * 7
    assert list(read["t"]) == [*numbers, "", "ok"]
