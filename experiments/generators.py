"""What the trained generators draw from random latent vectors: how diverse, and how like MNIST."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness import claims, figures, stats
from harness.claims import Claim, Finding, Outcome, Role
from harness.experiment import Experiment, Row, Settings
from harness.mnist import images, methods, quality, weights
from harness.ranges import Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CLASSES = range(10)
SIDE = 10
"""Samples along a side of the sheet."""
UNLIKE = 0.05
"""Share of held-out digits that count as unlike all training digits; it defines "near"."""

DIVERSE = Claim(
    "generators.diverse",
    "The DCGAN of digits draws every digit",
    "section 4",
    Role.PRACTICE,
    supported=Outcome("The prior knows all digits."),
    refuted=Outcome("The prior has lost some digits."),
)
ALIKE = Claim(
    "generators.alike",
    "What it draws is as like its nearest training digit as a held-out digit is",
    "section 4",
    Role.PRACTICE,
    supported=Outcome("What the prior draws looks like digits."),
    refuted=Outcome("What the prior draws does not look like digits."),
)


@dataclass(frozen=True)
class Thresholds(Settings):
    """share : least share of the rarest class.

    similarity : least median cosine to the nearest training digit, over that of held-out digits.
    """

    share: float
    similarity: float


@dataclass(frozen=True)
class Generators(Experiment):
    """One trial: batches of standard Gaussian latent vectors, and what is drawn from them.

    kind : "dcgan", or "decoder" for the ReLU networks, whose latent vectors in training had
        another law.
    weights : a folder made by `harness train`; by default the weights that come with the project.
    """

    claims: ClassVar[tuple[Claim, ...]] = (DIVERSE, ALIKE)
    caption: ClassVar[str] = (
        "What the generators of digits draw from standard Gaussian latent vectors: a hundred "
        "samples, not chosen, of the DCGAN and of the ReLU network (whose latent vectors had "
        "another law in training), each image at its own scale. Right: share of samples near a "
        "training digit of each class, that is, as near by angle as 95 in 100 held-out digits are, "
        "and of the rest; bars are 95% intervals, the dotted line is a tenth. Training saw the ten "
        "classes equally often."
    )
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("torch", "mlxtend", "PIL")

    kind: Literal["dcgan", "decoder"]
    samples: Together
    batches: Together
    thresholds: Thresholds
    weights: str | None
    sha256: str | None
    """Digest of the weights, set by `prepared`: new weights, new cells."""

    def prepared(self) -> Generators:
        images.require("mlxtend", "PIL")
        digest = methods.check(self.kind, weights.folder(self.weights))
        return replace(self, sha256=digest[:16])

    def trial(self, rng: np.random.Generator) -> list[Row]:
        held_out = quality.nearest_digits(images.test_digits()[0])[1]
        near = np.quantile(held_out, UNLIKE)
        rows: list[Row] = []
        for batch in range(self.batches):
            drawn = methods.draw_digits(self.kind, rng, self.samples, weights.folder(self.weights))
            classes, cosines = quality.nearest_digits(drawn)
            like = cosines >= near
            row: Row = {f"class_{c}": int(np.sum(like & (classes == c))) for c in CLASSES}
            row |= {
                "unlike": int(np.sum(~like)),
                "similarity": float(np.median(cosines)),
                "held_out_similarity": float(np.median(held_out)),
            }
            shown: Row = {"sheet_png": images.to_png(sheet(drawn))} if batch == 0 else {}
            rows.append(row | shown)
        return rows

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        rows = table[table["kind"] == "dcgan"]
        drawn = int(rows["samples"].sum())
        level = stats.simultaneous(len(CLASSES))
        shares = [
            stats.proportion(np.arange(drawn) < rows[f"class_{c}"].sum(), level=level)
            for c in CLASSES
        ]
        tested = f"{drawn} samples"
        return [
            claims.above(
                DIVERSE,
                shares if drawn else [],
                self.thresholds.share,
                statistic="share of the samples near a training digit of the rarest class",
                tested=tested,
            ),
            claims.above(
                ALIKE,
                stats.quantile(rows["similarity"] / rows["held_out_similarity"]),
                self.thresholds.similarity,
                statistic="median cosine to the nearest training digit, over that of held-out ones",
                tested=tested,
            ),
        ]

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(3)
        for ax in axes[:2]:
            ax.axis("off")
        for index, (kind, group) in enumerate(table.groupby("kind", sort=False)):
            ax = axes[index]
            ax.imshow(images.from_png(group["sheet_png"].iloc[0]), cmap="gray", vmin=0, vmax=1)
            name = {"dcgan": "DCGAN", "decoder": "ReLU network"}[str(kind)]
            ax.set_title(name)
            drawn = int(group["samples"].sum())
            columns = [*(f"class_{c}" for c in CLASSES), "unlike"]
            shares = [stats.proportion(np.arange(drawn) < group[name].sum()) for name in columns]
            at = [place + 0.2 * (index - 0.5) for place in range(len(columns))]
            label = f"{name}, {drawn} samples"
            figures.estimates(axes[2], at, shares, label=label, index=index, line=False)
        axes[2].axhline(0.1, color="black", linestyle=":", linewidth=1)
        axes[2].set(xlabel="nearest class", ylabel="share of samples")
        axes[2].set_xticks(range(len(CLASSES) + 1), labels=[*map(str, CLASSES), "none"])
        axes[2].set_ylim(bottom=0)
        figures.headroom(axes[2], 0.2)
        figures.legend(axes[2], loc="upper left")
        return figure


def sheet(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first images (N, s, s) side by side, each at its own scale: (10 s, 10 s)."""
    side = drawn.shape[-1]
    shown = np.zeros((SIDE * SIDE, side, side))
    some = drawn[: len(shown)]
    peak = np.maximum(some.max(axis=(1, 2), keepdims=True), 1e-12)
    shown[: len(some)] = some / peak
    return shown.reshape(SIDE, SIDE, side, side).transpose(0, 2, 1, 3).reshape(SIDE * side, -1)
