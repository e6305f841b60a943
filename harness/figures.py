"""Matplotlib style and the few shapes that the figures share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cycler
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from harness.stats import Estimate

if TYPE_CHECKING:
    from harness.experiment import Experiment

# Okabe and Ito's palette, told apart with every kind of colour vision, without the yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # one more than colours: 56 pairs differ
SEQUENTIAL = "cividis"

STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.framealpha": 0.75,
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.prop_cycle": cycler.cycler(color=COLOURS),
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
}


def render(experiment: Experiment, table: pd.DataFrame) -> dict[str, bytes]:
    """The experiment's figure as {"png": ..., "pdf": ...}, the same bytes for the same table."""
    with matplotlib.rc_context(STYLE):
        figure = experiment.figure(table)
        files = {}
        for suffix, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix, metadata=metadata)
            files[suffix] = stream.getvalue()
    return files


def canvas(rows: int, columns: int, width: float = 7.2, height: float = 2.8) -> tuple[Figure, Any]:
    """A figure of rows x columns axes, each row `height` inches, and its (rows, columns) axes."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def estimates(
    ax: Axes,
    x: Sequence[float],
    values: Sequence[Estimate],
    *,
    label: str | None = None,
    index: int = 0,
    line: bool = True,
) -> None:
    """Estimates with their intervals as bars, in the palette's colour and marker `index`.

    An unbounded end of an interval is drawn to the value itself; undetermined ones are left out.
    """
    shown = [(at, e) for at, e in zip(x, values, strict=True) if np.isfinite(e.value)]
    at = [a for a, _ in shown]
    centre = np.array([e.value for _, e in shown])
    low = np.array([e.low if np.isfinite(e.low) else e.value for _, e in shown])
    high = np.array([e.high if np.isfinite(e.high) else e.value for _, e in shown])
    ax.errorbar(
        at,
        centre,
        yerr=np.maximum([centre - low, high - centre], 0.0) if shown else None,
        label=label,
        color=COLOURS[index % len(COLOURS)],
        marker=MARKERS[index % len(MARKERS)],
        linestyle="-" if line else "none",
        capsize=2,
        elinewidth=1,
    )


def curve(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    statistic: Callable[[pd.Series], Estimate],
    *,
    label: str | None = None,
    index: int = 0,
    line: bool = True,
    band: bool = False,
    shift: float = 1.0,
) -> None:
    """A statistic of column y at each value of column x, as `estimates`.

    With `band`, a pale bar shows the central 90% of the values; `shift` multiplies the places on
    the x axis, to tell curves apart.
    """
    groups = {value * shift: group[y] for value, group in table.groupby(x)}
    if band and groups:
        low, high = np.transpose([np.quantile(values, [0.05, 0.95]) for values in groups.values()])
        colour = COLOURS[index % len(COLOURS)]
        ax.vlines(list(groups), low, high, color=colour, alpha=0.3, linewidth=4)
    points = [statistic(values) for values in groups.values()]
    estimates(ax, list(groups), points, label=label, index=index, line=line)


def legend(ax: Axes, **options: Any) -> None:
    """A legend, where there is something to explain."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**options)


def headroom(ax: Axes, share: float) -> None:
    """Raise the top of the y axis by a share of its height, for a legend above the data."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        ax.set_ylim(low, high * (high / low) ** share)
    else:
        ax.set_ylim(low, high + share * (high - low))


def log_ticks(ax: Axes, values: Iterable[float], axis: str = "x") -> None:
    """A logarithmic axis (base 2) with a plain label at each of the values."""
    getattr(ax, f"set_{axis}scale")("log", base=2)
    ordered = sorted(set(values))
    getattr(ax, f"set_{axis}ticks")(ordered, labels=[f"{v:g}" for v in ordered])
    getattr(ax, f"{axis}axis").minorticks_off()


def plain_log(ax: Axes, axis: str = "y") -> None:
    """A logarithmic axis with plain labels at 1, 2 and 5 times the powers of ten."""
    getattr(ax, f"set_{axis}scale")("log")
    scale = getattr(ax, f"{axis}axis")
    scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    scale.set_major_formatter(FormatStrFormatter("%g"))
    scale.set_minor_formatter(NullFormatter())


def by_level(levels: Sequence[float]) -> Normalize:
    """A norm that spends the same span of colours on every step between two levels."""
    return BoundaryNorm(levels, ncolors=256, extend="max")


def heat_map(
    ax: Axes,
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    statistic: Callable[[pd.DataFrame], float],
    fmt: str = "{:.2f}",
) -> Any:
    """Cells (x, y) coloured by a statistic in [0, 1] and labelled with it; returns the image."""
    xs, ys = sorted(table[x].unique()), sorted(table[y].unique())
    values = np.full((len(ys), len(xs)), np.nan)
    for (j, i), group in table.groupby([y, x]):
        values[ys.index(j), xs.index(i)] = statistic(group)
    image = ax.imshow(values, origin="lower", aspect="auto", vmin=0, vmax=1, cmap=SEQUENTIAL)
    for (j, i), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if value > 0.55 else "white"
            ax.text(i, j, fmt.format(value), ha="center", va="center", color=colour, fontsize=7.5)
    ax.set_xticks(range(len(xs)), labels=[f"{v:g}" for v in xs])
    ax.set_yticks(range(len(ys)), labels=[f"{v:g}" for v in ys])
    ax.grid(False)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return image
