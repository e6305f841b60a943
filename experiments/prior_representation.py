"""What a dimension holds: latent dimensions against terms of a basis, at one error, on digits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Gt

from harness import claims, figures, selection, stats
from harness.arrays import Array
from harness.claims import Bearing, Claim, Evidence, Finding, Outcome, Role
from harness.experiment import Experiment, Row, Settings
from harness.mnist import images, methods, weights
from harness.mnist.images import Ground
from harness.priors import bases, signal_error
from harness.ranges import Replica, Size, Together

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FEWER = "in every basis, at the error of its own projection on what the generator draws"

NETWORK = Claim(
    "prior_representation.network",
    f"Half of the held-out digits, bright on black, need at least twice as many terms {FEWER}, as "
    "the trained ReLU network has latent dimensions",
    "the paper's introduction: the latent dimension may be smaller than a sparsity",
    Role.PAPER,
    Evidence.LOWER,
    supported=Outcome("The premise of generative priors holds for digits.", Bearing.CONSISTENT),
    refuted=Outcome("A basis is nearly as short as the network.", Bearing.CONTRADICTS),
)
DCGAN = Claim(
    "prior_representation.dcgan",
    f"Half of the held-out digits, on white and on black, need at least as many terms {FEWER}, as "
    "the DCGAN has latent dimensions",
    "section 4; the paper's introduction",
    Role.PAPER,
    Evidence.LOWER,
    supported=Outcome("The premise holds for the paper's own generators.", Bearing.CONSISTENT),
    refuted=Outcome("A basis is shorter than the paper's own generators.", Bearing.CONTRADICTS),
)
CLOSE = Claim(
    "prior_representation.close",
    "The generators draw half of the held-out digits to a relative error of 0.2",
    "section 4; no number in the paper",
    Role.PRACTICE,
    Evidence.UPPER,
    supported=Outcome("What generators cannot draw is no obstacle at such an error."),
    refuted=Outcome("What generators cannot draw limits every recovery with them."),
)
EVERY = (*bases.BASES, "pca")
LABELS = {"dct": "DCT", "haar": "Haar", "db4": "db4", "pixels": "pixels", "pca": "PCA"}


@dataclass(frozen=True)
class Thresholds(Settings):
    """network, dcgan : least median of terms over latent dimensions.  error : of a projection."""

    network: Annotated[float, Gt(0)]
    dcgan: Annotated[float, Gt(0)]
    error: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class PriorRepresentation(Experiment):
    """One trial: a batch of held-out digits; a row for each digit and basis.

    kind : "decoder", the ReLU networks (28 x 28, on black alone), or "dcgan" (64 x 64).
    batch : number of a batch of `digits`.
    starts, steps : of a projection; DCGANs take four times so many steps.

    error : relative error of the digit's projection on what the generator draws, as far as a
        search finds it: an upper end, so that `terms` is a lower one.
    terms : least number of terms with at most this error: the largest ones of a basis; of "pca" the
        first principal directions of the training digits.
    error_n : what as many terms as latent dimensions leave.
    """

    claims: ClassVar[tuple[Claim, ...]] = (NETWORK, DCGAN, CLOSE)
    caption: ClassVar[str] = (
        "Held-out digits in bases and in the range of trained generators: a ReLU network with 32 "
        "latent dimensions on 28 x 28 pixels, a DCGAN with 100 on 64 x 64. (a) Terms that a digit "
        "needs for the error of its own projection on the generator, over the latent dimension; "
        "PCA is a subspace, the others keep each digit's largest terms. Medians with 95% intervals "
        "and the central 90% of digits. (b) Relative error of as many terms as latent dimensions; "
        "dotted: median error of the projection."
    )
    needs: ClassVar[tuple[str, ...]] = ("torch", "mlxtend")
    paired: ClassVar[tuple[str, ...]] = ("kind", "ground", "starts", "steps", "weights", "sha256")

    kind: Literal["decoder", "dcgan"]
    ground: Ground
    batch: Replica
    digits: Together
    starts: Together
    steps: Size
    thresholds: Thresholds
    weights: str | None
    sha256: str | None
    """Digest of the weights, set by `prepared`: new weights, new cells."""

    def prepared(self) -> PriorRepresentation:
        images.require("mlxtend")
        methods.check_ground(
            "decoder_projection" if self.kind == "decoder" else "dcgan_projection", self.ground
        )
        batches = -(-images.HELD_OUT_PER_CLASS * 10 // self.digits)
        if self.batch >= batches:
            allowed = f"< {batches}, {self.digits} of the held-out digits each"
            raise ValueError(f"batch={self.batch}: must be {allowed}")
        digest = methods.check(self.kind, weights.folder(self.weights))
        return replace(self, sha256=digest[:16])

    def trial(self, rng: np.random.Generator) -> list[Row]:
        first = self.batch * self.digits
        small, labels = images.test_digits()
        small = small[first : first + self.digits]
        side = images.SIDE if self.kind == "decoder" else images.LARGE
        x0 = images.on_ground(images.resize(small, side), self.ground)
        effort = methods.Effort(self.starts, self.steps, 1.0, 1)
        drawn, n = methods.project_digits(
            self.kind, x0, rng, effort, weights.folder(self.weights), self.ground
        )
        errors = [signal_error(x.ravel(), t.ravel()) for x, t in zip(drawn, x0, strict=True)]
        rows: list[Row] = []
        for basis, tails in _tails(x0, small, self.ground):
            needed = bases.terms_needed(tails, errors)
            for index, error in enumerate(errors):
                rows.append(
                    {
                        "digit": first + index,
                        "label": int(labels[first + index]),
                        "basis": basis,
                        "n": n,
                        "error": error,
                        "terms": int(needed[index]),
                        "error_n": float(tails[index, n]),
                    }
                )
        return rows

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits, table = self.thresholds, table.assign(saved=table["terms"] / table["n"])
        network, dcgan = (table[table["kind"] == kind] for kind in ("decoder", "dcgan"))
        alone = table[table["basis"] == EVERY[0]]
        medians = "median of terms over latent dimensions"

        def tested(rows: pd.DataFrame) -> str:
            return (
                f"{rows['digit'].nunique()} digits; {selection.spread(rows, ('starts', 'steps'))}"
            )

        return [
            claims.above(
                NETWORK,
                selection.jointly(stats.quantile, network, "basis", "saved"),
                limits.network,
                statistic=medians,
                tested=tested(network),
            ),
            claims.above(
                DCGAN,
                selection.jointly(stats.quantile, dcgan, ["ground", "basis"], "saved"),
                limits.dcgan,
                statistic=medians,
                tested=tested(dcgan),
            ),
            claims.below(
                CLOSE,
                selection.jointly(stats.quantile, alone, ["kind", "ground"], "error"),
                limits.error,
                statistic="median relative error of the projection",
                tested=tested(alone),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "digits": len,
            "n": selection.median("n", ".0f"),
            "projection error": selection.median("error"),
            "terms": selection.median("terms", ".0f"),
            "terms / n": lambda rows: f"{(rows['terms'] / rows['n']).median():.2f}",
            "error of n terms": selection.median("error_n"),
        }
        return selection.summarise(table, ["kind", "ground", "basis"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = table.assign(saved=table["terms"] / table["n"], place=0)
        table["place"] = table["basis"].map(EVERY.index)
        figure, (saved, errors) = figures.panels(2, height=2.6)
        for index, ((kind, ground), rows) in enumerate(table.groupby(["kind", "ground"])):
            name = "ReLU network" if kind == "decoder" else "DCGAN"
            look: Any = {"index": index, "line": False, "band": True, "label": f"{name}, {ground}"}
            shifted = rows.assign(place=rows["place"] + 0.2 * (index - 1))
            figures.curve(saved, shifted, "place", "saved", stats.quantile, **look)
            figures.curve(errors, shifted, "place", "error_n", stats.quantile, **look)
            level = rows["error"].median()
            errors.axhline(level, color=figures.COLOURS[index], linestyle=":", linewidth=1)
        saved.axhline(1, color="0.5", linewidth=0.8)
        figures.plain_log(saved)
        figures.headroom(saved, 0.25)
        saved.set(title="(a) terms for the generator's error", ylabel="terms / latent dimensions")
        errors.set(title="(b) error of n terms", ylabel="relative error")
        errors.set_ylim(bottom=0)
        for ax in (saved, errors):
            ax.set_xticks(range(len(EVERY)), labels=[LABELS[basis] for basis in EVERY])
        figures.legend(saved, loc="upper left")
        return figure


def _tails(x0: Array, small: Array, ground: Ground) -> Iterator[tuple[str, Array]]:
    """The relative errors that terms leave, by basis, of digits x0 enlarged from `small`."""
    for basis in bases.BASES:
        yield basis, bases.tails(bases.coefficients(basis, x0), best=True)
    shrink, principal = _principal(x0.shape[-1], ground)
    flat = (shrink @ images.on_ground(small, ground) @ shrink.T).reshape(len(small), -1)
    yield "pca", bases.tails(flat @ principal, best=False)


@cache
def _principal(side: int, ground: Ground) -> tuple[Array, Array]:
    """Principal directions of the training digits, and the map R to where they are given.

    An enlarged digit is M x M^T with M = Q R, so R x R^T has the same norm and inner products.
    """
    shrink = np.linalg.qr(images.interpolation(images.SIDE, side))[1]
    training = images.on_ground(images.training_digits()[0], ground)
    return shrink, bases.directions(shrink @ training @ shrink.T)
