"""Pictures to look at: Algorithm 1 on the torus of directions, with and without its sign check."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import figures
from harness.arrays import Array
from harness.descent import SignCheck, alternating_descent, step_size
from harness.ensemble import unit_vectors
from harness.landscape.arcs import plane_through
from harness.landscape.torus import section, torus_profile
from harness.network import gaussian_network
from harness.problem import Demodulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = (2, 40, 800)
STARTS, STEPS, EVERY = 24, 120, 2
"""Descents, their steps, and the number of steps between two pictures."""
NEAR = 0.05
"""Distance to the true hyperbola, as epsilon of A, within which a descent has arrived."""
LEVELS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 1.0]
"""Losses over ||y0||^2 / 2 between which the torus is drawn in one colour."""
CHECKS: dict[SignCheck, str] = {"never": "without sign checks", "every": "with sign checks"}


def problem(seed: int) -> Demodulation:
    """Gaussian networks of `WIDTHS` and a random truth, turned so that h0, m0 have the angle 0."""
    rng = np.random.default_rng(seed)
    G1, G2 = gaussian_network(rng, WIDTHS), gaussian_network(rng, WIDTHS)
    h0, m0 = unit_vectors(rng, 2, 2)
    P = Demodulation(G1, G2, h0, m0)
    return section(P, *(plane_through(x, rng.standard_normal(2)) for x in (h0, m0)))


def paths(P: Demodulation, starts: tuple[Array, Array], check: SignCheck) -> tuple[Array, int]:
    """Angles of h and m at steps 0, 1, ..., `STEPS` of Algorithm 1, and how many starts arrive.

    Parameters
    ----------
    starts : (K, 2), (K, 2)

    Returns
    -------
    angles : (1 + STEPS, K, 2)
    arrived : descents that end within `NEAR` of the true hyperbola.
    """
    h, m = starts
    places = [_angles(h, m)]
    for _ in range(STEPS):  # a step after the other, since a descent keeps only its end
        solution = alternating_descent(P, h, m, step_size(P), 1, sign_check=check)
        h, m = solution.h, solution.m
        places.append(_angles(h, m))
    return np.array(places), int(np.sum(P.neighbourhood(h, m) <= NEAR))


def torus(seed: int = 0) -> dict[str, bytes]:
    """The animation torus.gif, and its last picture as torus.png and torus.pdf.

    Both runs have the same network and the same starts.  The default seed is 0, whatever it shows.
    """
    P = problem(seed)
    rng = np.random.default_rng([seed, 1])
    starts = unit_vectors(rng, STARTS, 2), unit_vectors(rng, STARTS, 2)
    runs = {words: paths(P, starts, check) for check, words in CHECKS.items()}
    grid = np.linspace(-np.pi, np.pi, 241)
    loss = torus_profile(P, grid, grid).loss_ratio

    def draw(step: int) -> Figure:
        figure = figures.sheet(figures.WIDE, 3.0)
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (words, (angles, arrived)) in zip(axes, runs.items(), strict=True):
            draw_torus(ax, grid, loss)
            _draw_paths(ax, angles[: step + 1])
            ax.set_title(f"{words}: {arrived} of {STARTS} find the truth", pad=9)
        torus_axes(axes[0], first=True, last=True)
        torus_axes(axes[1], first=False, last=True)
        return figure

    about = f"harness gallery torus seed={seed}"
    files = {
        f"torus.{kind}": data
        for kind, data in figures.files(partial(draw, STEPS), ("png", "pdf"), about).items()
    }
    frames = [
        figures.files(partial(draw, step), ("png",))["png"] for step in range(0, STEPS + 1, EVERY)
    ]
    return files | {"torus.gif": animation(frames)}


def animation(frames: Sequence[bytes], milliseconds: int = 80, pause: int = 3000) -> bytes:
    """PNG pictures one after the other as a GIF that repeats, the last one shown for longer."""
    from PIL import Image

    last = Image.open(io.BytesIO(frames[-1])).convert("RGB")
    palette = last.quantize(128, dither=Image.Dither.NONE)
    pictures = [
        Image.open(io.BytesIO(frame))
        .convert("RGB")
        .quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    stream = io.BytesIO()
    times = [milliseconds] * (len(pictures) - 1) + [pause]
    pictures[0].save(
        stream, "gif", save_all=True, append_images=pictures[1:], duration=times, loop=0
    )
    return stream.getvalue()


def draw_torus(ax: Axes, grid: Array, loss_ratio: Array) -> Any:
    """The loss at angles of h (across) and of m (upwards), with the four hyperbolas as rings."""
    image = ax.pcolormesh(
        grid,
        grid,
        loss_ratio.T,
        cmap=figures.SEQUENTIAL,
        norm=figures.by_level(LEVELS),
        rasterized=True,
        shading="nearest",
    )
    ring: Any = {"s": 50, "facecolors": "none", "edgecolors": "black"}
    for theta in (-np.pi, 0, np.pi):  # those at pi on both sides of the cut
        ax.scatter([theta] * 3, (-np.pi, 0, np.pi), **ring, clip_on=False, zorder=5)
    return image


def torus_axes(ax: Axes, *, first: bool, last: bool) -> None:
    """Axes from -pi to pi, with labels in the first column and in the last row."""
    ticks, names = [-np.pi, 0, np.pi], [r"$-\pi$", "0", r"$\pi$"]
    ax.set(xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi), aspect="equal")
    ax.set_xticks(ticks, labels=names if last else [""] * 3)
    ax.set_yticks(ticks, labels=names if first else [""] * 3)
    ax.grid(False)
    if last:
        ax.set_xlabel("angle of h to h0")
    if first:
        ax.set_ylabel("angle of m to m0")


def _angles(h: Array, m: Array) -> Array:
    return np.stack([np.arctan2(x[:, 1], x[:, 0]) for x in (h, m)], axis=-1)


def _draw_paths(ax: Axes, angles: Array) -> None:
    """Paths (T, K, 2), broken where they cross the cut or a sign flips, and where they are now."""
    jumps = np.abs(np.diff(angles, axis=0)).max(axis=-1) > np.pi / 2
    for path, jump in zip(angles.transpose(1, 0, 2), jumps.T, strict=True):
        broken = np.insert(path, np.flatnonzero(jump) + 1, np.nan, axis=0)
        ax.plot(broken[:, 0], broken[:, 1], color="white", linewidth=0.8, alpha=0.8)
    dots: Any = {"s": 14, "color": figures.COLOURS[1], "edgecolors": "white", "linewidths": 0.4}
    ax.scatter(angles[-1, :, 0], angles[-1, :, 1], zorder=6, **dots)
