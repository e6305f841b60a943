"""The shapes that figures share: which curves are drawn, where, and in which look."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from harness import figures
from harness.claims import Claim, above, within
from harness.schema import experiment_names
from harness.stats import Estimate, mean, undetermined
from tests.conftest import ROOT


def table() -> pd.DataFrame:
    """Three values of n, two of ell; the value of a row is n ell +- 1."""
    rows = [
        {"n": n, "ell": ell, "value": float(n * ell + sign)}
        for n in (2, 3, 5)
        for ell in (10, 20)
        for sign in (-1, 1)
    ]
    return pd.DataFrame(rows)


def test_groups_are_styled_in_order_and_their_shifts_are_centred():
    groups, styles = zip(*figures.styled(table(), "n", label="n = {}", spread=1.1), strict=True)
    assert [set(group["n"]) for group in groups] == [{2}, {3}, {5}]
    assert [style["label"] for style in styles] == ["n = 2", "n = 3", "n = 5"]
    assert [style["index"] for style in styles] == [0, 1, 2]
    assert [style["shift"] for style in styles] == pytest.approx([1 / 1.1, 1, 1.1])


def test_a_value_of_the_order_without_rows_keeps_its_colour():
    styled = list(figures.styled(table(), "n", order=(5, 4, 2)))
    assert [(set(group["n"]), style["index"]) for group, style in styled] == [({5}, 0), ({2}, 2)]


def test_curves_draw_the_statistic_of_each_group():
    _, axes = figures.canvas(1, 1)
    ax = axes[0, 0]
    figures.curves(ax, table(), "ell", "value", mean, by="n", label="{:g}", spread=1.05)
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["2", "3", "5"]
    for n, shift, bars in zip((2, 3, 5), (1 / 1.05, 1, 1.05), handles, strict=True):
        np.testing.assert_allclose(
            bars[0].get_xydata(), [[10 * shift, 10 * n], [20 * shift, 20 * n]]
        )
    assert len({bars[0].get_color() for bars in handles}) == 3


def test_members_are_drawn_one_below_the_other_over_what_the_claim_allows():
    claim = Claim("a.b", "statement", "source")
    words = {"statistic": "s", "tested": "t"}
    family = {
        "n = 2": Estimate(1.5, 1.2, 1.9, 9, "any"),
        "n = 3": undetermined(0, "any"),
        "n = 5": Estimate(0.5, -np.inf, 0.7, 9, "any"),
    }
    findings = [within(claim, family, 1, 2, **words), above(claim, family["n = 2"], 1, **words)]
    _, axes = figures.canvas(1, 1)
    ax = axes[0, 0]
    figures.members(ax, findings)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["b, n = 2", "b, n = 3", "b, n = 5", "b"]
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches[:3]] == [(1, 1)] * 3
    bars = [container for container in ax.containers if isinstance(container, ErrorbarContainer)]
    assert [bar[0].get_xydata()[0].tolist() for bar in bars] == [[1.5, 0], [0.5, 2], [1.5, 3]]
    ends = [bar[2][0].get_segments()[0][:, 0].tolist() for bar in bars]
    assert ends == [[1.2, 1.9], [0.5, 0.7], [1.2, 1.9]]


def test_redraws_are_estimates_of_their_first_row():
    _, axes = figures.canvas(1, 1)
    ax = axes[0, 0]
    figures.redraws(ax, [1.0, 2.0], np.array([[5.0, np.nan], [4.0, 1.0], [6.0, 1.0]]), label="a")
    [bars] = ax.containers
    assert bars[0].get_xydata().tolist() == [[1.0, 5.0]]


def test_a_reference_is_a_power_law_through_its_start():
    _, axes = figures.canvas(1, 1)
    ax = axes[0, 0]
    figures.reference(ax, [40, 10, 40], 3.0, -0.5, color="0.5")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[10, 3.0], [40, 1.5]])
    figures.reference(ax, [], 3.0, -0.5)
    assert len(ax.lines) == 1


def test_cells_of_a_logarithmic_axis_meet_at_geometric_means():
    np.testing.assert_allclose(figures.log_edges([1, 4, 64]) ** 2, [1 / 4, 4, 256, 65536])
    assert len(figures.log_edges([3])) == 2


def test_a_users_matplotlib_settings_change_no_byte(monkeypatch):
    class Drawing:
        @staticmethod
        def figure(table):
            figure, axes = figures.canvas(1, 1)
            figures.curve(axes[0, 0], table, "ell", "value", mean)
            return figure

    experiment, rows = Drawing(), table()
    before = figures.render(experiment, rows)
    for key, value in {"text.usetex": True, "font.size": 20, "savefig.dpi": 50}.items():
        monkeypatch.setitem(matplotlib.rcParams, key, value)
    assert figures.render(experiment, rows) == before


WORDS = {
    "n = p": "$n$ = $p$",
    "(d) d = s = 2, ell = 160 n": r"(d) $d$ = $s$ = 2, $\ell$ = 160 $n$",
    "(-h0, m0)": "($-h_0$, $m_0$)",
    "median error of h m^T": "median error of $h m^T$",
    "time: 0.5 s": "time: 0.5 s",
    "as printed, no sign check": "as printed, no sign check",
    r"$\rho_d$ and n": r"$\rho_d$ and n",
}


@pytest.mark.parametrize(("text", "set_"), WORDS.items())
def test_symbols_in_words_are_set_as_mathematics(text, set_):
    assert figures.as_mathematics(text) == set_


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_panels_fill_a_page_s_width_two_in_a_row(count):
    figure, axes = figures.panels(count)
    assert len(axes) == count
    width = figures.NARROW if count == 1 else figures.WIDE
    assert figure.get_size_inches()[0] == width


@pytest.mark.parametrize("name", experiment_names())
def test_a_figure_has_one_of_the_two_widths(name):
    source = (ROOT / "experiments" / f"{name}.py").read_text()
    for call in re.findall(r"figures\.(?:sheet|canvas)\([^)]*\)", source):
        assert "width" not in call, call
        assert "sheet" not in call or "figures.WIDE" in call, call


def test_labels_on_a_logarithmic_axis_keep_apart():
    _, [ax] = figures.panels(1)
    figures.log_ticks(ax, [120, 100, 160, 800, 140, 190])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["100", "160", "800"]
