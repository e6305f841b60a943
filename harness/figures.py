"""Matplotlib style and the few shapes that the figures share.

Matplotlib is imported inside the functions: an experiment imports this module at its top and
still starts without it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.claims import Finding, Member
from harness.stats import Estimate, from_redraws, proportion

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from harness.experiment import Experiment

Statistic = Callable[["pd.Series"], Estimate]

# The palette of Okabe and Ito without its yellow: safe for every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # one more than colours: 56 pairs differ
SEQUENTIAL = "cividis"

WIDE, NARROW = 5.5, 3.25
"""Widths of a figure in inches: of a page's text, and of a column."""

STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.3,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.framealpha": 0.75,
    "legend.edgecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "harness",
}


TYPESET = {
    "ell": r"\ell",
    "epsilon": r"\epsilon",
    "kappa": r"\kappa",
    "h0": "h_0",
    "m0": "m_0",
    "-h0": "-h_0",
    "-m0": "-m_0",
}
SYMBOLS = re.compile(
    r"h m\^T|-[hm]0\b|\b(?:ell|epsilon|kappa|n_1|n_i|h0|m0)\b|\b[nphmd]\b(?!\^)"
    r"|\bs\b(?= = | \+)|(?<== )s\b"
)
"""Symbols in running words; s alone is a second."""
PANEL = re.compile(r"\([a-h]\)( |$)")
"""How the title of a panel begins."""

APART = 1.6
"""Least ratio of two labels on a logarithmic axis."""
METADATA: Any = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}
"""What Matplotlib leaves out of a file, so that it has the same bytes when it is drawn again."""
ABOUT = {"png": "Description", "pdf": "Subject", "svg": "Description"}
"""The entry of a file's metadata that says where the figure comes from."""


def render(experiment: Experiment, table: pd.DataFrame, about: str = "") -> dict[str, bytes]:
    """The experiment's figure as {"png": ..., "pdf": ...}, the same bytes for the same table."""
    return files(lambda: experiment.figure(table), ("png", "pdf"), about)


def files(draw: Callable[[], Figure], suffixes: Sequence[str], about: str = "") -> dict[str, bytes]:
    """The figure that `draw` makes in the harness's style, as the bytes of files by suffix.

    about : where it comes from; the files carry it.
    """
    import matplotlib
    from cycler import cycler
    from matplotlib.text import Text

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc changes nothing
        matplotlib.rcParams.update(STYLE | {"axes.prop_cycle": cycler(color=COLOURS)})
        figure = draw()
        for text in figure.findobj(Text):
            text.set_text(as_mathematics(text.get_text()))
        written = {}
        for suffix in suffixes:
            stream = io.BytesIO()
            metadata = METADATA[suffix] | ({ABOUT[suffix]: about} if about else {})
            figure.savefig(stream, format=suffix, metadata=metadata)
            data = stream.getvalue()
            written[suffix] = _with_palette(data, about) if suffix == "png" else data
            figure.set_layout_engine("none")  # laid out by the first: all files show the same
    return written


def _with_palette(png: bytes, about: str) -> bytes:
    """The picture in 256 colours of its own: a third of the size, and no eye tells."""
    from PIL import Image, PngImagePlugin

    notes = PngImagePlugin.PngInfo()
    if about:
        notes.add_text(ABOUT["png"], about)
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(stream, "png", optimize=True, pnginfo=notes, dpi=picture.info["dpi"])
    return stream.getvalue()


def as_mathematics(text: str) -> str:
    """Symbols in the words of a figure set as mathematics: "n = p, ell / n" -> "$n$ = $p$, ...".

    Text with mathematics of its own stays as it is.
    """
    if "$" in text:
        return text
    panel = PANEL.match(text)
    start = panel.end() if panel else 0
    words = SYMBOLS.sub(lambda found: f"${TYPESET.get(found[0], found[0])}$", text[start:])
    return text[:start] + words


def canvas(rows: int, columns: int, height: float = 2.1) -> tuple[Figure, Any]:
    """A figure as wide as a page: its axes (rows, columns), each row `height` inches high."""
    figure = sheet(WIDE, height * rows)
    return figure, figure.subplots(rows, columns, squeeze=False)


def panels(count: int, height: float = 2.1) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page, with `count` axes in rows of two, each `height` inches high.

    The last of an odd number is as wide as two; one alone makes a figure as wide as a column.
    """
    if count == 1:
        figure = sheet(NARROW, height)
        return figure, [figure.subplots()]
    rows = -(-count // 2)
    figure = sheet(WIDE, height * rows)
    grid = figure.add_gridspec(rows, 2)
    places: list[Any] = [grid[k // 2, k % 2] for k in range(count)]
    if count % 2:
        places[-1] = grid[rows - 1, :]
    return figure, [figure.add_subplot(place) for place in places]


def sheet(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def estimates(
    ax: Axes,
    x: Sequence[float],
    values: Sequence[Estimate],
    *,
    label: str | None = None,
    index: int = 0,
    line: bool = True,
) -> None:
    """Estimates with their intervals as bars, in colour and marker number `index` of the palette.

    An unbounded side of an interval has no bar; undetermined estimates are left out.
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


def redraws(ax: Axes, x: Iterable[float], values: NDArray[np.float64], **look: Any) -> None:
    """`estimates` from values and their redraws (1 + R, K) at x (K,), see `stats.from_redraws`."""
    estimates(ax, list(x), [from_redraws(column, 0) for column in values.T], **look)


def curve(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    statistic: Statistic,
    *,
    label: str | None = None,
    index: int = 0,
    line: bool = True,
    band: bool = False,
    shift: float = 1.0,
) -> None:
    """A statistic of column y at each value of column x, as `estimates`.

    With `band`, a pale bar shows the central 90% of the values.  `shift` multiplies the positions
    on the x axis, so that curves can be told apart.
    """
    groups = {value * shift: group[y] for value, group in table.groupby(x)}
    if band and groups:
        low, high = np.transpose([np.quantile(values, [0.05, 0.95]) for values in groups.values()])
        colour = COLOURS[index % len(COLOURS)]
        ax.vlines(list(groups), low, high, color=colour, alpha=0.3, linewidth=4)
    points = [statistic(values) for values in groups.values()]
    estimates(ax, list(groups), points, label=label, index=index, line=line)


def styled(
    table: pd.DataFrame,
    by: str,
    *,
    label: str = "{}",
    spread: float = 1.0,
    order: Iterable[Any] | None = None,
) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """The groups of column `by`, each with the label, index and shift that `curve` takes.

    Parameters
    ----------
    label : str
        A format string, filled with the value of `by`.
    spread : float
        Ratio of the shifts of two neighbours; together they are centred on the true positions.
    order : iterable, optional
        The values of `by` in the order of their colours; a value without rows is skipped and
        keeps its colour.  Sorted values by default.
    """
    groups = dict(iter(table.groupby(by)))
    values = list(groups) if order is None else list(order)
    for index, value in enumerate(values):
        if value in groups:
            shift = spread ** (index - (len(values) - 1) / 2)
            yield groups[value], {"label": label.format(value), "index": index, "shift": shift}


def curves(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    statistic: Statistic,
    *,
    by: str,
    label: str = "{}",
    spread: float = 1.0,
    order: Iterable[Any] | None = None,
    line: bool = True,
    band: bool = False,
) -> None:
    """A `curve` for each group of column `by`, with the look that `styled` gives it."""
    for group, style in styled(table, by, label=label, spread=spread, order=order):
        curve(ax, group, x, y, statistic, line=line, band=band, **style)


def exceedances(
    ax: Axes, table: pd.DataFrame, column: str, levels: Iterable[float], *, by: str, label: str
) -> None:
    """Share of rows in which a column exceeds each level, with intervals: a curve a group."""
    at = list(levels)
    for group, style in styled(table, by, label=label):
        shares = [proportion(group[column] > level) for level in at]
        estimates(ax, at, shares, label=style["label"], index=style["index"])
    ax.set(xlabel=column, ylim=(-0.02, 1.05))


def members(ax: Axes, findings: Iterable[Finding]) -> None:
    """The members of findings, one below the other, on the range that each claim allows in grey."""
    rows = [
        (
            index,
            finding,
            f"{finding.claim.id.partition('.')[2]}, {member.label}".strip(", "),
            member,
        )
        for index, finding in enumerate(findings)
        for member in finding.members or (Member("", finding.estimate, finding.verdict),)
    ]
    for place, (index, finding, _, member) in enumerate(rows):
        low, high = np.clip([finding.threshold.low, finding.threshold.high], -1e6, 1e6)
        ax.barh(place, high - low, left=low, color="0.9", height=1)
        found, ends = member.estimate, np.array([member.estimate.low, member.estimate.high])
        if np.isfinite(found.value):
            low, high = np.where(np.isfinite(ends), ends, found.value)
            look: Any = {"fmt": MARKERS[index % len(MARKERS)], "capsize": 2, "elinewidth": 1}
            sides = [[found.value - low], [high - found.value]]
            ax.errorbar(found.value, place, xerr=sides, color=COLOURS[index % len(COLOURS)], **look)
    ax.set_yticks(range(len(rows)), labels=[label for _, _, label, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(False, axis="y")


def reference(ax: Axes, x: Iterable[float], start: float, exponent: float, **style: Any) -> None:
    """A power law through (least x, start), as a line across the values of x; none without x."""
    places = np.array(sorted(set(x)), dtype=float)
    if places.size:
        ax.plot(places, start * (places / places[0]) ** exponent, **style)


def legend(ax: Axes, **options: Any) -> None:
    """A legend, if any artist has a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**options)


def mark(**style: Any) -> Any:
    """A marker without a place, as an entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", **style)


def headroom(ax: Axes, share: float) -> None:
    """Raise the top of the y axis by a share of its height, for a legend above the data."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        ax.set_ylim(low, high * (high / low) ** share)
    else:
        ax.set_ylim(low, high + share * (high - low))


def log_ticks(ax: Axes, values: Iterable[float], axis: str = "x") -> None:
    """A logarithmic axis (base 2) with plain labels at the values that are `APART` from another."""
    getattr(ax, f"set_{axis}scale")("log", base=2)
    ordered: list[float] = []
    for value in sorted(set(values)):
        if not ordered or value >= APART * ordered[-1]:
            ordered.append(value)
    getattr(ax, f"set_{axis}ticks")(ordered, labels=[f"{v:g}" for v in ordered])
    getattr(ax, f"{axis}axis").minorticks_off()


def log_edges(values: Iterable[float]) -> NDArray[np.float64]:
    """Edges of cells around K increasing values on a logarithmic axis: (K + 1,).

    Neighbouring cells meet at the geometric mean; the outer ones reach as far out as they reach in.
    """
    logs = np.log(np.array(list(values), dtype=float))
    gaps = np.diff(logs) if len(logs) > 1 else np.array([0.5])
    inner = logs[:-1] + np.diff(logs) / 2
    return np.exp(np.concatenate([[logs[0] - gaps[0] / 2], inner, [logs[-1] + gaps[-1] / 2]]))


def plain_log(ax: Axes, axis: str = "y") -> None:
    """A logarithmic axis with plain labels at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    getattr(ax, f"set_{axis}scale")("log")
    scale = getattr(ax, f"{axis}axis")
    scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    scale.set_major_formatter(FormatStrFormatter("%g"))
    scale.set_minor_formatter(NullFormatter())


def by_level(levels: Sequence[float]) -> Normalize:
    """A norm that gives every interval between two levels an equal share of the colours."""
    from matplotlib.colors import BoundaryNorm

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
