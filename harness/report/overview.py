"""All claims in one figure: each interval relative to its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import figures
from harness.claims import Finding, Role, Verdict
from harness.report.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FARTHEST = 30.0
"""Largest distance from its threshold at which an estimate is drawn."""
ROW = 0.13
"""Height of a row, in inches."""
COLOUR = {
    Verdict.SUPPORTED: figures.COLOURS[0],
    Verdict.REFUTED: figures.COLOURS[1],
    Verdict.NOT_FOUND: figures.COLOURS[4],
    Verdict.INCONCLUSIVE: "0.55",
}
MARKER = {Role.PAPER: "o", Role.SHARPER: "D", Role.CONTROL: "s", Role.PRACTICE: "^"}
FRESH: Any = {"marker": "|", "markersize": 7, "markeredgewidth": 1.4}


@dataclass(frozen=True)
class Row:
    """A claim of the figure: its `distance`, and that on the fresh seed or NaN."""

    label: str
    role: Role
    verdict: Verdict
    distance: float
    fresh: float


def distance(finding: Finding) -> float:
    """Distance of an estimate from the nearest threshold, positive on the claimed side.

    In units of the part of its interval that reaches towards that threshold: the whole interval is
    on one side beyond 1 or below -1.  At most `FARTHEST`; NaN if the estimate is not determined.
    """
    e, limits = finding.estimate, finding.threshold
    above, below = e.value - limits.low, limits.high - e.value
    inside, reach = (above, e.value - e.low) if above < below else (below, e.high - e.value)
    if inside < 0:
        reach = e.high - e.low - reach
    if np.isnan(inside) or not np.isfinite(reach):
        return np.nan
    return float(np.clip(inside / max(reach, 1e-300), -FARTHEST, FARTHEST))


def rows(results: Sequence[Result]) -> list[Row]:
    """The rows of the figure, those of the harness itself left out."""
    found = []
    for result in results:
        for finding in result.findings:
            if finding.claim.role == Role.SOFTWARE:
                continue
            fresh = result.confirmed(finding)
            found.append(
                Row(
                    finding.claim.id,
                    finding.claim.role,
                    finding.verdict,
                    distance(finding),
                    distance(fresh) if fresh else np.nan,
                )
            )
    return found


def render(results: Sequence[Result]) -> dict[str, bytes]:
    """The figure as {"png": ..., "pdf": ..., "svg": ...}; nothing without claims."""
    found = rows(results)
    return figures.files(lambda: draw(found), ("png", "pdf", "svg")) if found else {}


def draw(found: Sequence[Row]) -> Figure:
    """Two columns of claims, each a marker by role, filled by verdict, beside its threshold."""
    half = -(-len(found) // 2)
    figure = figures.sheet(figures.WIDE, 0.9 + ROW * half)
    for ax, part in zip(figure.subplots(1, 2), (found[:half], found[half:]), strict=True):
        _column(ax, part, half)
    figure.suptitle("Distance from the threshold / length of the interval towards it", fontsize=8)
    roles = [role for role in Role if role in {row.role for row in found}]
    entries = [figures.mark(marker=MARKER[role], color="0.4", label=role) for role in roles]
    entries += [
        figures.mark(marker="s", color=colour, label=verdict.lower())
        for verdict, colour in COLOUR.items()
        if verdict in {row.verdict for row in found}
    ]
    entries.append(figures.mark(**FRESH, color="0.4", label="fresh seed"))
    figure.legend(handles=entries, loc="outside lower center", ncols=5, fontsize=7)
    return figure


def _column(ax: Axes, found: Sequence[Row], height: int) -> None:
    ax.axvspan(-1, 1, color="0.93", linewidth=0)
    ax.axvline(0, color="0.3", linewidth=0.8)
    for y, row in enumerate(found):
        colour = COLOUR[row.verdict]
        if np.isnan(row.distance):
            ax.text(0, y, "undetermined", ha="center", va="center", fontsize=7, color="0.4")
            continue
        end = row.distance - np.sign(row.distance)  # of the interval, towards the threshold
        ax.plot([row.distance, end], [y, y], color=colour, linewidth=1.2)
        ax.plot(row.distance, y, marker=MARKER[row.role], color=colour, markersize=4)
        ax.plot(row.fresh, y, **FRESH, linestyle="none", color=colour)
    ax.set_xscale("symlog", linthresh=2, linscale=1.2)
    ax.set_xlim(-1.3 * FARTHEST, 1.3 * FARTHEST)
    ax.set_xticks([-FARTHEST, -1, 1, FARTHEST])
    ax.set_xticklabels([f"{tick:g}" for tick in ax.get_xticks()], fontsize=7)
    ax.set_yticks(range(len(found)), labels=[row.label for row in found], fontsize=7)
    ax.set_ylim(height - 0.4, -0.6)
    ax.grid(False, axis="y")
    for side, words in ((0.0, "against"), (1.0, "as claimed")):
        align = "left" if side == 0.0 else "right"
        ax.text(side, 1.0, words, transform=ax.transAxes, ha=align, va="bottom", fontsize=7)
