"""Sheets of small pictures, as in Figure 2 of the paper, from the images in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.figures import COLOURS, WIDE, sheet
from harness.mnist.images import from_png

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

SHOWN = 10
"""Columns of a sheet."""
EXACT = 200.0
"""PSNR in dB above which a product equals the image up to rounding."""
Picture = tuple[NDArray[np.float64], str]
"""A grey image (s, s) in [0, 1] and the words below it."""


def draw_pairs(figure: SubFigure, table: pd.DataFrame) -> None:
    """The first pairs: distorted image, digit, true digit, distortion, true distortion; PSNR."""
    columns = []
    for _, row in _first(table).iterrows():
        x, x0, w, w0 = (from_png(row[f"{name}_png"]) for name in ("x", "x0", "w", "w0"))
        y_psnr, x_psnr, w_psnr = (f"{row[f'{name}_psnr']:.1f}" for name in ("y", "x", "w"))
        columns.append([(x0 * w0, y_psnr), (x, x_psnr), (x0, ""), (w, w_psnr), (w0, "")])
    rows = ("distorted", "digit", "true digit", "distortion", "true dist.")
    _draw(figure, rows, columns)


def own_images(table: pd.DataFrame) -> Figure:
    """A user's first images, taken apart by the first method, and the fit of the product."""
    figure, columns = sheet(WIDE, 2.2), []
    for _, row in _first(table[table["method"] == table["method"].iloc[0]]).iterrows():
        y, x, w = (from_png(row[f"{name}_png"]) for name in ("y", "x", "w"))
        columns.append([(y, ""), (x, ""), (w, f"fit {min(row['fit_psnr'], EXACT):.0f}")])
    place = figure.subfigures(1, 1, squeeze=False)[0, 0]
    _draw(place, ("distorted", "digit", "distortion"), columns)
    return figure


def draw_distributions(figure: SubFigure, groups: Sequence[tuple[str, pd.DataFrame]]) -> None:
    """Boxes of PSNR and SSIM for each group of rows, named; dashed: the distorted image itself."""
    axes = figure.subplots(1, 3, sharey=True)
    box: Any = {"orientation": "horizontal", "whis": (5, 95), "showfliers": False}
    box |= {"medianprops": {"color": COLOURS[1]}, "widths": 0.6}
    names = "digit: PSNR [dB]", "digit: SSIM", "distortion: PSNR [dB]"
    for ax, column, title in zip(axes, ("x_psnr", "x_ssim", "w_psnr"), names, strict=True):
        values = [group[column].dropna() for _, group in groups]
        ax.boxplot(values, positions=np.arange(len(groups)), **box)
        ax.set_xlabel(title)
        own = column.replace("x_", "y_")
        distorted = [group[own] for _, group in groups if own != column and own in group]
        if distorted:
            ax.axvline(np.nanmedian(np.concatenate(distorted)), color="black", linestyle="--")
    axes[0].set_yticks(np.arange(len(groups)), labels=[name for name, _ in groups])
    axes[0].invert_yaxis()


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """The first rows of trial 0 that have images."""
    pictured = table.dropna(subset="x_png") if "x_png" in table else table.iloc[:0]
    return pictured[pictured["trial"] == 0].head(SHOWN)


def _draw(figure: SubFigure, rows: Sequence[str], columns: Sequence[Sequence[Picture]]) -> None:
    """Pictures in named rows; missing columns stay empty."""
    axes = figure.subplots(len(rows), SHOWN, squeeze=False)
    for ax in axes.T.ravel():
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontsize=7)
    for column, pictures in zip(axes.T, columns, strict=False):
        for ax, (image, words) in zip(column, pictures, strict=True):
            ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if words:
                ax.set_xlabel(words, fontsize=7, labelpad=1)
