"""Where -g1, -g2 and the expected directions -t1, -t2 descend: generic points, and kinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from harness.claims import Claim, Finding, below
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.landscape import ProductGrid, product_grid
from harness.landscape.axes import PlaneKinks, plane_kinks, polar_plane
from harness.problem import BRANCHES, Demodulation
from harness.selection import at_baseline, spread, unmeasured, unsaturated
from harness.stats import Estimate, power_law, proportion, quantile, simultaneous

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

KINKS = Claim(
    "descent_map.kinks",
    "Where both networks have a kink, outside A_epsilon, -g1 or -g2 descends from every side",
    "Theorem 2",
)
FLAT = Claim(
    "descent_map.flat",
    "Outside A_epsilon g1 or g2 is not small beside its natural scale",
    "Theorem 2",
)
EXPECTED = Claim(
    "descent_map.expected",
    "The share of points outside A_epsilon where (-t1, -t2) does not descend falls like a power of "
    "ell when all layers widen",
    "proof of Theorem 2",
)
RADIUS = Claim(
    "descent_map.radius",
    "The least epsilon whose A holds all points where it does not falls no slower than ell^(-1/8)",
    "ours: pointwise deviations like ell^(-1/2), to the power 1/4 of Theorem 2",
)
SCALES = np.geomspace(0.25, 4, 13)
"""Multiples of a hyperbola's balanced point that bound the distance to it from above."""
WORDS = {
    "gradient": "-g1, -g2 fail",
    "expected": "(-t1, -t2) fails",
    "flat": "gradients small",
}


@dataclass(frozen=True)
class Thresholds(Settings):
    """Largest shares of networks and exponents in ell; `from_ell`, the least ell judged."""

    from_ell: int
    kink_networks: float
    flat_networks: float
    expected_exponent: float
    radius_exponent: float


@dataclass(frozen=True)
class DescentMap(Experiment):
    """One trial: a network, a plane through h0 and one through m0; a row for each kind of point.

    The planes hold the directions in which g1 and g2 point where theory puts the hyperbola of
    (-h0, -m0).  h and m take all pairs of angles to h0 and m0, and r = ||h|| ||m|| all `radii`
    (times ||h0|| ||m0||); as f does not change along (c h, m/c), ||h|| = ||m||.  The kind of a
    point is the layer at whose kink h lies, and that for m: 0 and 0 for generic points; of the
    kinks in the planes those next to each of the angles are taken.

    Three questions, each with the share of pairs where the answer is yes, the share where it is so
    outside A_epsilon of all four hyperbolas, and the least epsilon whose A holds all of these
    pairs: "gradient", neither -g1 nor -g2 descends, at kinks for some of the sides that they are
    limits from; "expected", (-t1, -t2) does not descend; "flat", ||g1|| and ||g2|| are both below
    `flat` of their natural scales.  Nothing is left out by hand.
    """

    claims: ClassVar[tuple[Claim, ...]] = (KINKS, FLAT, EXPECTED, RADIUS)
    caption: ClassVar[str] = (
        "Where directions descend. At a generic point -g1 and -g2 cannot fail but in a dead cone, "
        "-g being the gradient's negative: only kinks and the expected directions (-t1, -t2) can "
        "tell anything. (a) One network, in planes through h0 and m0: share of the radii "
        "r = ||h|| ||m|| at which (-t1, -t2) does not descend, against the angles of h to h0 and "
        "of m to m0; crosses are the directions of the three spurious hyperbolas, the circle "
        "that of the true one. (b) The least epsilon for which A_epsilon of the four hyperbolas "
        "holds every sampled point where (-t1, -t2) does not descend: medians over networks with "
        "95% order-statistic intervals; no epsilon exceeds 1, the dotted line is the epsilon of "
        "(c). (c) Mean share of sampled points where (-t1, -t2) does not descend, and of pairs of "
        "kinks where neither -g1 nor -g2 does, anywhere (solid) and outside A_epsilon (dashed, "
        "hollow); a curve ends where no such point was found."
    )

    network: Ensemble
    degrees: list[Annotated[float, Ge(0), Le(180)]]
    radii: list[Annotated[float, Gt(0)]]
    kink_radii: list[Annotated[float, Gt(0)]]
    epsilon: Annotated[float, Gt(0), Le(1)]
    flat: Annotated[float, Gt(0)]
    thresholds: Thresholds

    def __post_init__(self) -> None:
        for key, size in (("n", self.network.n), ("p", self.network.p)):
            if size < 2:
                raise ValueError(f"network.{key}={size}: a plane needs at least 2 dimensions")
        for key in ("degrees", "radii", "kink_radii"):
            if not getattr(self, key):
                raise ValueError(f"{key}=[]: must not be empty")

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        towards = _steepest(P, rng)
        return [self._generic(P, towards), *self._kinks(P, towards)]

    def _generic(self, P: Demodulation, towards: tuple[Array, Array]) -> Row:
        H, M = self._plane(P, towards, np.radians(_signed(self.degrees)))
        grid = product_grid(P, H, M, alpha=self.network.alpha)
        fails = _fails(grid, grid, self.flat)
        return _row(P, H, M, (0, 0), fails, self.epsilon)

    def _plane(
        self, P: Demodulation, towards: tuple[Array, Array], angles: Array
    ) -> tuple[Array, Array]:
        """All angles, h at the radius of h0; m at all radii, by radius first."""
        norm_h, norm_m = np.linalg.norm(P.h0), np.linalg.norm(P.m0)
        H = polar_plane(P.h0, towards[0], [norm_h], angles)
        return H, polar_plane(P.m0, towards[1], norm_m * np.array(self.radii), angles)

    def _kinks(self, P: Demodulation, towards: tuple[Array, Array]) -> Iterator[Row]:
        """A row for every pair of layers."""
        kinks_h = _next_to(plane_kinks(P.G1, P.h0, towards[0]), self.degrees)
        kinks_m = _next_to(plane_kinks(P.G2, P.m0, towards[1]), self.degrees)
        radii = np.linalg.norm(P.m0) * np.array(self.kink_radii)
        H = np.linalg.norm(P.h0) * kinks_h.points
        M = np.multiply.outer(radii, kinks_m.points).reshape(-1, P.p)
        side_h, side_m = kinks_h.side, np.tile(kinks_m.side, (len(radii), 1))
        on, off = (
            product_grid(P, H, M, side_h=z * side_h, side_m=z * side_m, alpha=self.network.alpha)
            for z in (1, -1)
        )
        fails = _fails(on, off, self.flat)
        layer_m = np.tile(kinks_m.layer, len(radii))
        for layers in np.ndindex(P.d, P.s):
            pick = np.ix_(kinks_h.layer == layers[0] + 1, layer_m == layers[1] + 1)
            if pick[0].size and pick[1].size:
                here = {name: mask[pick] for name, mask in fails.items()}
                place = (layers[0] + 1, layers[1] + 1)
                yield _row(P, H[pick[0][:, 0]], M[pick[1][0]], place, here, self.epsilon)

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        wide = self._measured(table)
        wide = wide[wide["ell"] >= limits.from_ell]
        generic, kinks = wide[wide["layer_h"] == 0], wide[wide["layer_h"] > 0]
        own = generic[generic["n"] == self.network.n]
        growing = [group for _, group in own.groupby("d")]
        where = f"epsilon = {self.epsilon:g}, {spread(wide, ('n', 'd', 'ell'))}"
        fits = f"generic points, {spread(own, ('n', 'd', 'ell'))}"
        level = simultaneous(len(growing))
        resolved, left_out = unsaturated(own, "epsilon_expected", "d", "ell")
        depths = [group for _, group in resolved.groupby("d")]
        return [
            below(
                KINKS,
                _networks_with(kinks, "outside_gradient"),
                limits.kink_networks,
                statistic="share of networks with a pair of kinks outside A where both fail, at "
                "the worst n and depth",
                tested=f"{kinks['pairs'].sum():.0f} pairs of kinks, {where}{unmeasured(table)}",
            ),
            below(
                FLAT,
                _networks_with(generic, "outside_flat"),
                limits.flat_networks,
                statistic=f"share of networks with a point outside A where both are below "
                f"{self.flat:g} of their scales, at the worst n and depth",
                tested=f"{generic['pairs'].sum():.0f} generic points, {where}",
            ),
            below(
                EXPECTED,
                [
                    # None found is counted as one.
                    power_law(
                        g["ell"], g["outside_expected"].clip(lower=1 / g["pairs"]), level=level
                    )
                    for g in growing
                ],
                limits.expected_exponent,
                statistic="exponent in ell of the median share, at the worst depth",
                tested=f"epsilon = {self.epsilon:g}, {fits}",
            ),
            below(
                RADIUS,
                [
                    power_law(g["ell"], g["epsilon_expected"], level=simultaneous(len(depths)))
                    for g in depths
                ],
                limits.radius_exponent,
                statistic="exponent in ell of the median least epsilon, at the worst depth",
                tested=f"generic points, {spread(resolved, ('n', 'd', 'ell'))}{left_out}",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = []
        keys = ["n", "d", "ell", "layer_h", "layer_m"]
        for (n, d, ell, layer_h, layer_m), group in self._measured(table).groupby(keys):
            entry = {"n": n, "d = s": d, "ell": ell, "kinks of layers": f"{layer_h}, {layer_m}"}
            if layer_h == 0:
                entry["kinks of layers"] = "none"
            entry["pairs"] = group["pairs"].sum()
            entry["-g1 or -g2 fails"] = f"{group['share_either'].mean():.2g}"
            for name, words in WORDS.items():
                entry[words] = f"{group[f'share_{name}'].mean():.2g}"
                entry[f"{words} outside A"] = f"{group[f'outside_{name}'].mean():.2g}"
                entry[f"{words}: epsilon"] = f"{group[f'epsilon_{name}'].median():.3g}"
            rows.append(entry)
        return type(table)(rows)

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the base settings with n = p and d = s, networks with an observation."""
        base = at_baseline(self, table, ("n", "p", "d", "s", "ell"))
        base = base[(base["n"] == base["p"]) & (base["d"] == base["s"])]
        return base[base["status"] == "ok"]

    def figure(self, table: pd.DataFrame) -> Figure:
        from harness import figures

        table = self._measured(table)
        figure, axes = figures.canvas(1, 3, width=11.5, height=3.7)
        self._draw_map(figure, axes[0, 0], table)
        generic = table[table["layer_h"] == 0]
        cells = list(generic.groupby(["n", "d"]))
        for index, ((n, d), group) in enumerate(cells):
            style: Any = {"label": f"n = {n}, d = s = {d}", "index": index}
            figures.curve(axes[0, 1], group, "ell", "epsilon_expected", quantile, **style)
        axes[0, 1].axhline(self.epsilon, color="0.4", linestyle=":", linewidth=1)
        axes[0, 1].set(
            ylim=(0, 1.05),
            ylabel="least epsilon (median of networks)",
            title=r"(b) $A_\epsilon$ that holds every failure of $(-t_1, -t_2)$",
        )
        self._draw_shares(axes[0, 2], table)
        for ax in axes[0, 1:]:
            figures.log_ticks(ax, table["ell"].unique())
            ax.set_xlabel("signal length ell")
        figures.legend(axes[0, 1], loc="lower left")
        return figure

    def _draw_map(self, figure: Figure, ax: Axes, table: pd.DataFrame) -> None:
        """One network again, from its seed, at angles all around."""
        from harness import figures

        own = table[(table["n"] == self.network.n) & (table["d"] == self.network.d)]
        example = (own if len(own) else table).iloc[-1]
        sizes: Any = {name: int(example[name]) for name in ("n", "p", "d", "s", "ell")}
        rng = np.random.default_rng(int(example["seed"]))
        experiment = replace(self, network=replace(self.network, **sizes))
        P = experiment.network.problem(rng)
        degrees = np.linspace(-180, 180, 91)
        H, M = experiment._plane(P, _steepest(P, rng), np.radians(degrees))
        grid = product_grid(P, H, M, alpha=experiment.network.alpha)
        fails = _fails(grid, grid, self.flat)["expected"].reshape(91, -1, 91).mean(axis=1)
        image = ax.pcolormesh(
            degrees, degrees, fails.T, cmap=figures.SEQUENTIAL, vmin=0, rasterized=True
        )
        figure.colorbar(image, ax=ax, pad=0.02, label=r"share of radii with failure")
        ax.plot(0, 0, "o", markersize=9, color="white", fillstyle="none")
        for x, y in ((180, 0), (0, 180), (180, 180)):
            for i, j in {(x, y), (-x, y), (x, -y), (-x, -y)}:
                ax.plot(i, j, "x", markersize=8, color="white", clip_on=False, zorder=5)
        ticks = [-180, -90, 0, 90, 180]
        ax.set(
            xlabel=r"angle of $h$ to $h_0$ (degrees)",
            ylabel=r"angle of $m$ to $m_0$ (degrees)",
            xticks=ticks,
            yticks=ticks,
            title=f"(a) n = {P.n}, d = s = {P.d}, ell = {P.ell}, trial {example['trial']}",
        )
        ax.grid(False)

    def _draw_shares(self, ax: Axes, table: pd.DataFrame) -> None:
        from harness import figures

        own = table[(table["n"] == self.network.n) & (table["d"] == self.network.d)]
        generic, kinks = own[own["layer_h"] == 0], own[own["layer_h"] > 0]
        for index, (rows, name, words) in enumerate(
            (
                (generic, "expected", r"$(-t_1, -t_2)$, generic points"),
                (kinks, "gradient", r"$-g_1$ and $-g_2$, kinks"),
            )
        ):
            for column, line, filled in (("share", "-", "full"), ("outside", "--", "none")):
                mean = rows.groupby("ell")[f"{column}_{name}"].mean()
                mean = mean[mean > 0]
                ax.plot(
                    mean.index,
                    mean,
                    line,
                    marker=figures.MARKERS[index],
                    markersize=6,
                    fillstyle=filled,
                    color=figures.COLOURS[index],
                    label=words if column == "share" else r"the same, outside $A_\epsilon$",
                )
        ax.set_yscale("log")
        ax.set(
            ylabel="share of pairs that fail",
            title=f"(c) n = {self.network.n}, d = s = {self.network.d}",
        )
        figures.headroom(ax, 0.35)
        figures.legend(ax, loc="upper right")


def _networks_with(table: pd.DataFrame, column: str) -> list[Estimate]:
    """For each n and depth the share of networks with a row where the column is not 0."""
    worst = table.groupby(["n", "d", "ell", "trial"])[column].max().reset_index()
    cells = [group[column] for _, group in worst.groupby(["n", "d"])]
    return [proportion((cell > 0).to_numpy(), level=simultaneous(len(cells))) for cell in cells]


def _signed(degrees: list[float]) -> Array:
    """Each angle and its negative; 0 and 180 once."""
    return np.unique([*degrees, *(-angle for angle in degrees if 0 < angle < 180)])


def _steepest(P: Demodulation, rng: np.random.Generator) -> tuple[Array, Array]:
    """The gradients of f where theory puts the hyperbola of (-h0, -m0), or at random if zero.

    A little noise keeps them from being parallel to h0 and m0.
    """
    hb, mb = P.hyperbola((-1, -1))
    gradients = P.gradients(*((hb, mb) if hb.any() and mb.any() else (-P.h0, -P.m0)))
    g1, g2 = (1e3 * g / (np.linalg.norm(g) or 1.0) for g in gradients)
    return rng.standard_normal(P.n) + g1, rng.standard_normal(P.p) + g2


def _next_to(kinks: PlaneKinks, degrees: list[float]) -> PlaneKinks:
    """Of each layer the kinks next to each of the angles, of either sign."""
    angles = np.radians(_signed(degrees))
    chosen: list[int] = []
    for k in np.unique(kinks.layer):
        here = np.flatnonzero(kinks.layer == k)
        gap = np.abs(np.subtract.outer(kinks.angles[here], angles))
        nearest = np.minimum(gap, 2 * np.pi - gap).argmin(axis=0)
        chosen.extend(here[np.unique(nearest)])
    picked = (
        getattr(kinks, name)[chosen] for name in ("angles", "points", "layer", "unit", "side")
    )
    return PlaneKinks(*picked)


def _fails(one: ProductGrid, other: ProductGrid, flat: float) -> dict[str, NDArray[np.bool_]]:
    """Answers to the three questions on a grid, given with the gradients of either side.

    "either" is whether one of -g1, -g2 fails.  With ||h|| = ||m|| in place of the grid's norms the
    derivative along -t1 is multiplied by their ratio and that along -t2 divided by it.
    """
    fails_h = np.maximum(one.along_h, other.along_h) >= 0
    fails_m = np.maximum(one.along_m, other.along_m) >= 0
    ratio = one.scale_m / one.scale_h  # ||h|| / ||m||
    size_h = np.minimum(one.grad_h_norm, other.grad_h_norm) / one.scale_h
    size_m = np.minimum(one.grad_m_norm, other.grad_m_norm) / one.scale_m
    return {
        "gradient": fails_h & fails_m,
        "expected": ratio * one.along_expected_h + one.along_expected_m / ratio >= 0,
        "flat": np.maximum(size_h, size_m) < flat,
        "either": fails_h | fails_m,
    }


def _row(
    P: Demodulation,
    H: Array,
    M: Array,
    layers: tuple[int, int],
    fails: dict[str, NDArray[np.bool_]],
    epsilon: float,
) -> Row:
    row: Row = {"layer_h": layers[0], "layer_m": layers[1], "pairs": fails["either"].size}
    row["share_either"] = float(fails["either"].mean())
    for name in WORDS:
        i, j = np.nonzero(fails[name])
        least, outside = _reach(P, H[i], M[j], epsilon)
        row[f"share_{name}"] = float(fails[name].mean())
        row[f"outside_{name}"] = outside / fails[name].size
        row[f"epsilon_{name}"] = least
    return row


def _reach(P: Demodulation, h: Array, m: Array, epsilon: float) -> tuple[float, int]:
    """Least epsilon whose A holds all points (N, n), (N, p); how many are not in A_epsilon.

    At ||h|| = ||m||.  The exact distances are had only for points whose upper bounds say that they
    can matter, largest first.
    """
    ratio = np.sqrt(np.linalg.norm(h, axis=1) / np.linalg.norm(m, axis=1))[:, None]
    h, m = h / ratio, m * ratio
    bound = _bound(P, h, m)
    order = np.argsort(-bound)
    least, outside = 0.0, 0
    for start in range(0, order.size, 256):
        some = order[start : start + 256]
        if bound[some[0]] <= min(least, epsilon):
            break
        exact = np.min([P.neighbourhood(h[some], m[some], b) for b in BRANCHES], axis=0)
        least, outside = max(least, float(exact.max())), outside + int((exact > epsilon).sum())
    return least, outside


def _bound(P: Demodulation, h: Array, m: Array) -> Array:
    """Distances to the nearest of some points of the four hyperbolas: (N, n), (N, p) -> (N,)."""
    nearest = np.full(len(h), np.inf)
    for hb, mb in map(P.hyperbola, BRANCHES):
        a, b = float(hb @ hb), float(mb @ mb)
        if a > 0 and b > 0:
            nearest = np.minimum(nearest, 1.0)  # the limit far out on it
            for c in SCALES * (b / a) ** 0.25:
                gap = np.sum((h - c * hb) ** 2, axis=1) + np.sum((m - mb / c) ** 2, axis=1)
                nearest = np.minimum(nearest, np.sqrt(gap / (c * c * a + b / (c * c))))
    return nearest
