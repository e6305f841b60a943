"""Random problems: two expansive ReLU networks and a truth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from harness.experiment import Settings, UnmeasurableError
from harness.laws import Law, random_layer
from harness.network import LastLayer, ReluNetwork, gaussian_network
from harness.problem import Demodulation
from harness.ranges import WIDEST, Scale, Size
from harness.status import Status
from harness.theory import truncation_alpha

Depth = Annotated[int, Ge(1), Le(1000)]
Growth = Literal["log", "factor", "geometric", "proportional"]


@dataclass(frozen=True)
class Ensemble(Settings):
    """Two random networks with ell outputs (Theorem 2); none of its hypotheses is enforced.

    Attributes
    ----------
    n, p : latent dimensions.
    d, s : depths.
    ell : signal length, the last width of both networks.
    growth : rule for the inner widths n_i, i = 1..d-1, with its constant c:
        "log"           ceil(c n_{i-1} max(1, log n_{i-1})), assumption A2
        "factor"        ceil(c n_{i-1})
        "geometric"     ceil(n^(1 - i/d) ell^(i/d)), equal expansion at every layer; c is not used
        "proportional"  ceil(c ell)
    last_layer : "truncated" (the theorem's law) or "gaussian".
    widths1, widths2 : all widths (n, ..., ell) and (p, ..., ell), instead of the rule.
    law : law of all weights in place of the Gaussian one, see `harness.laws`; needs `last_layer`
        gaussian.
    """

    n: Size
    p: Size
    d: Depth
    s: Depth
    ell: Size
    growth: Growth
    c: Scale
    last_layer: LastLayer
    widths1: list[Size] | None = None
    widths2: list[Size] | None = None
    law: Law | None = None

    def __post_init__(self) -> None:
        for key, given, size, depth in (
            ("network.widths1", self.widths1, ("n", self.n), ("d", self.d)),
            ("network.widths2", self.widths2, ("p", self.p), ("s", self.s)),
        ):
            ends = (size[1], self.ell)
            if given is not None and (len(given) != depth[1] + 1 or (given[0], given[-1]) != ends):
                raise ValueError(
                    f"{key}={list(given)}: must have network.{depth[0]} + 1 = {depth[1] + 1}"
                    f" entries, begin with network.{size[0]} = {size[1]}"
                    f" and end in network.ell = {self.ell}"
                )
        if self.law is not None and self.last_layer != "gaussian":
            raise ValueError(
                f"network.law={self.law}: needs network.last_layer=gaussian, which truncates no row"
            )
        self.widths()

    def widths(self) -> tuple[list[int], list[int]]:
        """(n, ..., ell) of G1 and (p, ..., ell) of G2; ValueError if a layer is too wide."""
        return (
            list(self.widths1) if self.widths1 else self._grow(self.n, self.d, "network.d"),
            list(self.widths2) if self.widths2 else self._grow(self.p, self.s, "network.s"),
        )

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return 8 * sum(a * b for widths in self.widths() for a, b in pairwise(widths))

    def networks(self, rng: np.random.Generator) -> tuple[ReluNetwork, ReluNetwork]:
        """Independent G1 and G2."""
        G1, G2 = (self._network(rng, widths) for widths in self.widths())
        return G1, G2

    def _network(self, rng: np.random.Generator, widths: list[int]) -> ReluNetwork:
        if self.law is None:
            return gaussian_network(rng, widths, self.last_layer)
        return ReluNetwork(
            [random_layer(rng, rows, columns, self.law) for columns, rows in pairwise(widths)]
        )

    def problem(self, rng: np.random.Generator) -> Demodulation:
        """Two networks and a truth, with h0 and m0 uniform on the unit spheres.

        Raises
        ------
        UnmeasurableError
            If y0 = 0: a network is dead, or the two supports do not meet.
        """
        G1, G2 = self.networks(rng)
        P = Demodulation(G1, G2, unit_vectors(rng, 1, self.n)[0], unit_vectors(rng, 1, self.p)[0])
        if P.status != Status.OK:
            raise UnmeasurableError(P.status)
        return P

    @property
    def alpha(self) -> float:
        """Product over the two last layers of the alpha in E w w^T = (alpha/ell) I."""
        if self.last_layer == "gaussian":
            return 1.0
        widths1, widths2 = self.widths()
        return truncation_alpha(widths1[-2]) * truncation_alpha(widths2[-2])

    def _grow(self, first: int, depth: int, key: str) -> list[int]:
        widths = [first]
        for i in range(1, depth):
            match self.growth:
                case "log":
                    width = self.c * widths[-1] * max(1.0, log(widths[-1]))
                case "factor":
                    width = self.c * widths[-1]
                case "geometric":
                    width = first ** (1 - i / depth) * self.ell ** (i / depth)
                case "proportional":
                    width = self.c * self.ell
            if width > WIDEST:
                raise ValueError(
                    f"{key}={depth}: with network.growth={self.growth} and network.c={self.c:g}, "
                    f"layer {i} has more than {WIDEST} units"
                )
            widths.append(max(1, ceil(round(width, 9))))
        return [*widths, self.ell]


def unit_vectors(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Independent uniform points of the unit sphere, (count, size)."""
    v = rng.standard_normal((count, size))
    return v / np.linalg.norm(v, axis=1, keepdims=True)
