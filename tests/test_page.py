"""The report as a page: what it says, that it is only text, and that a browser can use it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image

from harness.claims import Claim, Finding, Threshold, Verdict
from harness.experiment import Experiment
from harness.report import page
from harness.report.result import Origin, Result, load
from harness.stats import Estimate
from harness.storage.store import Store

EVIL = "<script>alert('x')</script>\"'&"
WAIT = 5
"""Seconds that the browser has for anything."""


class Fixed(Experiment):
    """An experiment whose findings are given."""

    claims = ()
    caption = "Of nothing."
    shown: list[Finding]
    short: pd.DataFrame | None

    def trial(self, rng: Any) -> Any:
        raise AssertionError("a page measures nothing")

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        return self.shown

    def figure(self, table: pd.DataFrame) -> Any:
        raise AssertionError("a page draws nothing")

    def summary(self, table: pd.DataFrame) -> pd.DataFrame | None:
        return self.short


def finding(claim: str = "fixed.claim", verdict: Verdict = Verdict.SUPPORTED) -> Finding:
    estimate = Estimate(0.5, 0.25, 0.75, 12, "none")
    return Finding(
        Claim(claim, "It holds", "eq. (1)"), "a grid", "rate", estimate, Threshold(0), verdict
    )


def result(
    name: str = "fixed",
    table: pd.DataFrame | None = None,
    summary: pd.DataFrame | None = None,
    *findings: Finding,
    **origin: Any,
) -> Result:
    experiment = Fixed()
    object.__setattr__(experiment, "shown", list(findings or [finding()]))
    object.__setattr__(experiment, "short", summary)
    facts: dict[str, Any] = {
        "experiment": "fixed",
        "version": 1,
        "profile": "quick",
        "seed": 0,
        "trials": 3,
        "cells": 2,
        "cells_complete": 1,
        "rows": 6,
        "trial_seconds": 1.5,
        "config": {"size": 3},
        "table_sha256": "0" * 64,
    }
    if table is None:
        table = pd.DataFrame({"size": [3, 9, 20], "status": ["ok", "ok", "stalled"]})
    return Result(name, experiment, table, Origin(**facts | origin))


class Outline(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def every(self, tag: str, attribute: str) -> list[str]:
        return [a[attribute] or "" for t, a in self.elements if t == tag and attribute in a]


@pytest.fixture
def swept(toy: Any, undisturbed: Path, tmp_path: Path) -> Path:
    """Results of the toy's sweep, a copy."""
    return Path(shutil.copytree(undisturbed, tmp_path / "results"))


# --- What it says ---------------------------------------------------------------------------


def test_the_page_says_of_each_claim_what_the_other_report_says(swept):
    outline = Outline((swept / "report.html").read_text())
    [judged] = load(Store(swept), "toy").findings
    for words in (
        judged.claim.id,
        judged.claim.statement,
        judged.claim.source,
        judged.tested,
        judged.statistic,
        str(judged.threshold),
        f"{judged.estimate.value:.4g}",
        f"[{judged.estimate.low:.4g}, {judged.estimate.high:.4g}]",
        f"n = {judged.estimate.n}",
        "Draws against the size.",
        "SUPPORTED",
    ):
        assert words in outline.text, words


def test_the_page_holds_its_figure_and_needs_no_other_file(swept):
    source = (swept / "report.html").read_text()
    outline = Outline(source)
    drawn = [swept / "overview.png", swept / "toy" / "figure.png"]
    pictures = [page._picture(path.read_bytes()) for path in drawn]
    assert outline.every("img", "src") == [picture.uri for picture in pictures if picture]
    assert all(outline.every("img", "alt"))
    assert not outline.every("script", "src")
    assert not outline.every("link", "href")
    assert "http:" not in source
    assert "https:" not in source


def test_every_link_leads_to_a_section_or_to_a_file_that_is_there(swept):
    outline = Outline((swept / "report.html").read_text())
    targets = [*outline.every("section", "id"), *outline.every("article", "id")]
    assert len(set(targets)) == len(targets)
    links = outline.every("a", "href")
    assert {"#toy.small", "#_claims", "toy/table.csv.gz", "toy/provenance.json"} <= set(links)
    for link in links:
        assert link[1:] in targets if link.startswith("#") else (swept / unquote(link)).exists()


def test_provenance_is_told_as_far_as_it_is_known():
    known = dict(page.facts(result(commit="abc", dirty=True, packages={"numpy": "2", "x": None})))
    assert known["commit"] == "abc, with uncommitted changes"
    assert known["cells"] == "1 of 2 complete"
    assert known["rows"] == "6 (2 ok, 1 stalled)"
    assert known["packages"] == "numpy 2"
    assert "BLAS" not in known
    assert "platform" not in known


def test_a_sweep_without_rows_has_a_section_that_says_so():
    outline = Outline(page.render([result(table=pd.DataFrame())], {"fixed": None}))
    assert "No rows yet." in outline.text
    assert not outline.every("img", "src")


def test_a_figure_has_its_size_its_words_and_a_link_to_the_file_for_print(swept):
    outline = Outline((swept / "report.html").read_text())
    [picture] = [a for tag, a in outline.elements if tag == "img" and a.get("loading") == "lazy"]
    with Image.open(next(swept.glob("*/figure.png"))) as drawn:
        assert (picture["width"], picture["height"]) == tuple(map(str, drawn.size))
    assert "SUPPORTED" in (picture["alt"] or "") or "REFUTED" in (picture["alt"] or "")
    assert any(link.endswith("/figure.pdf") for link in outline.every("a", "href"))


@pytest.mark.parametrize("data", [None, b"", b"<svg onload=alert(1)>"])
def test_what_is_no_png_is_not_shown(data):
    outline = Outline(page.render([result()], {"fixed": data}))
    assert "There is no figure." in outline.text
    assert not outline.every("img", "src")


def test_a_claim_without_data_is_undetermined():
    nothing = replace(
        finding(), estimate=Estimate(float("nan"), float("-inf"), float("inf"), 0, "none")
    )
    outline = Outline(page.render([result("fixed", None, None, nothing)], {"fixed": None}))
    assert "undetermined" in outline.text
    assert not re.search(r"\bnan\b", outline.text.partition("use strict")[0])


# --- Tables ---------------------------------------------------------------------------------


def test_of_a_long_table_the_first_rows_are_shown_and_the_page_says_of_how_many():
    table = pd.DataFrame({"x": range(4801), "status": "ok"})
    source = page.render([result(table=table, summary=table)], {"fixed": None})
    assert "The first 50 of 4,801 rows" in source
    assert "The first 200 of 4,801 rows" in source
    assert source.count("<tr>") < 300


def test_of_a_short_table_nothing_is_said():
    assert "The first" not in page.render([result()], {"fixed": None})


def test_columns_of_one_value_are_told_in_words_and_images_not_at_all():
    table = pd.DataFrame({"n": [5, 5], "x": [1.23456, 2.0], "start_png": ["A" * 9999, "B"]})
    shown = page.excerpt(table, 10, fold=True)
    assert shown.columns == ["x"]
    assert shown.same == [("n", "5")]
    assert shown.rows == [[("1.235", 1.23456)], [("2", 2.0)]]


def test_long_texts_are_cut():
    assert page.text("a" * 60) == "a" * 60
    assert page.text("a" * 61) == "a" * 59 + "…"


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), ("3.5", 3.5), ("", None), ("a", None), (True, None), (float("nan"), None)],
)
def test_numbers_are_sorted_as_numbers(value, number):
    assert page._sortable(value) == number


# --- Only text ------------------------------------------------------------------------------


def test_nothing_from_a_results_folder_becomes_markup():
    table = pd.DataFrame({EVIL: [EVIL, "b"], "status": [EVIL, "ok"]})
    judged = Finding(
        Claim(EVIL, EVIL, EVIL),
        EVIL,
        EVIL,
        Estimate(0.5, 0, 1, 3, EVIL),
        Threshold(0),
        Verdict.REFUTED,
    )
    evil = result(EVIL, table, table, judged, profile=EVIL, commit=EVIL, config={EVIL: EVIL})
    object.__setattr__(evil.experiment, "caption", EVIL)
    plain = Outline(page.render([result(table=table, summary=table)], {"fixed": None}))
    outline = Outline(page.render([evil], {EVIL: page.PNG + EVIL.encode()}))
    assert len(outline.every("script", "src")) == 0
    assert [t for t, _ in outline.elements].count("script") == 1
    assert not any(name.startswith("on") for _, a in outline.elements for name in a)
    assert outline.text.count(EVIL) >= 15
    known = {tag for tag, _ in plain.elements} | {"figure", "img", "figcaption"}
    assert {tag for tag, _ in outline.elements} <= known
    for link in outline.every("a", "href"):
        assert re.fullmatch(r"[#\w.%/-]+", link)


def test_the_page_may_run_its_own_script_and_load_nothing():
    outline = Outline(page.render([result()], {"fixed": None}))
    [policy] = [a["content"] for t, a in outline.elements if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


# --- In a browser ---------------------------------------------------------------------------

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium; the tests are skipped where it, its driver or selenium are not there."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed: .ci/chromium installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        opened.set_page_load_timeout(WAIT)
        opened.set_script_timeout(WAIT)
        yield opened
    finally:
        opened.quit()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Any:
    """The page of two sweeps, the second far below the first."""
    sizes = pd.DataFrame({"size": [9, 20, 3, float("nan")], "word": ["b10", "b9", "a", "c"]})
    wide = pd.DataFrame({f"column_{i}": [i, 0.1] for i in range(60)}).assign(status="ok")
    results = [result("first", wide, wide), result("second", None, sizes, finding("second.claim"))]
    path = tmp_path / "report.html"
    path.write_text(page.render(results, dict.fromkeys(("first", "second"))))
    browser.set_window_size(1200, 800)
    browser.get(path.as_uri())
    return browser


def sizes(opened: Any, column: int) -> list[str]:
    """A column of the second sweep's summary, from top to bottom."""
    cells = opened.find_elements("css selector", f"#second table td:nth-child({column + 1})")
    return [cell.text for cell in cells[:4]]


def test_a_claim_leads_to_its_place(opened):
    opened.find_element("link text", "second.claim").click()
    article = opened.find_element("id", "second.second.claim")
    assert opened.current_url.endswith("#second.second.claim")
    top = opened.execute_script("return arguments[0].getBoundingClientRect().top", article)
    assert 0 <= top < 800
    assert "It holds" in article.text


def test_claims_are_filtered_by_words_verdict_and_role(opened):
    def shown() -> list[str]:
        rows = opened.find_elements("css selector", "#_claims tbody tr")
        return [row.text.split()[0] for row in rows if row.is_displayed()]

    words = opened.find_element("name", "words")
    assert shown() == ["fixed.claim", "second.claim"]
    words.send_keys("SECOND")
    assert shown() == ["second.claim"]
    assert opened.find_element("tag name", "output").text == "1 of 2 claims"
    words.clear()
    words.send_keys(" ")
    assert len(shown()) == 2
    opened.find_element("css selector", "[name=verdict][value=SUPPORTED]").click()
    assert shown() == []
    opened.find_element("css selector", "[name=verdict][value=SUPPORTED]").click()
    opened.find_element("css selector", "[name=role][value=sharper]").click()
    assert shown() == []


def test_a_click_sorts_by_number_a_second_one_the_other_way_and_missing_values_stay_last(opened):
    header, word = opened.find_elements("css selector", "#second table th")[:2]
    header.find_element("tag name", "button").click()
    assert sizes(opened, 0) == ["3", "9", "20", "nan"]
    assert header.get_attribute("aria-sort") == "ascending"
    header.find_element("tag name", "button").click()
    assert sizes(opened, 0) == ["20", "9", "3", "nan"]
    assert header.get_attribute("aria-sort") == "descending"
    word.find_element("tag name", "button").click()
    assert sizes(opened, 1) == ["a", "b9", "b10", "c"]
    assert header.get_attribute("aria-sort") is None


def test_the_keyboard_sorts_as_well(opened):
    button = opened.find_element("css selector", "#second table th button")
    button.send_keys(" ")
    assert sizes(opened, 0) == ["3", "9", "20", "nan"]


def test_on_a_phone_wide_tables_scroll_and_the_page_does_not(opened, tmp_path):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
        assert opened.execute_script(widths) == [390, 390]
        box = opened.find_element("css selector", "#first .scroll")
        assert box.get_property("scrollWidth") > box.get_property("clientWidth")
        assert opened.save_screenshot(str(tmp_path / "phone.png"))
        assert (tmp_path / "phone.png").stat().st_size > 10_000
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_runs_without_a_complaint_and_asks_for_nothing(opened):
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert opened.get_log("browser") == []
    assert opened.find_elements("css selector", "th button")
