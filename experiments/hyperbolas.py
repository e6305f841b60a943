"""Whether the four hyperbolas are where the theory puts them, their losses in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import claims, figures, selection, stats
from harness.claims import Bearing, Claim, Finding, Outcome, Role
from harness.ensemble import Ensemble
from harness.experiment import Experiment, Row, Settings
from harness.problem import BRANCHES, branch_name
from harness.theory import rho

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RADIUS = Claim(
    "hyperbolas.radius",
    "Along the spurious branches, (-h0, m0), (h0, -m0) and (-h0, -m0), the loss of the median "
    "network is least at rho_d, rho_s and rho_d rho_s times the true radius",
    "Theorem 2",
    Role.PAPER,
    supported=Outcome("The hyperbolas lie where the theorem puts them.", Bearing.CONSISTENT),
    refuted=Outcome("A hyperbola lies elsewhere.", Bearing.CONTRADICTS),
)
LOSS = Claim(
    "hyperbolas.loss",
    "The least loss of the median network along a spurious branch is 1 - rho^2 of the loss on K, "
    "rho = rho_d, rho_s or rho_d rho_s",
    "expected loss, proof of Theorem 2",
    Role.PAPER,
    supported=Outcome("The valleys are as deep as expected.", Bearing.CONSISTENT),
    refuted=Outcome("A valley has another depth.", Bearing.CONTRADICTS),
)
RATE = Claim(
    "hyperbolas.rate",
    "When all layers widen with ell, d = s, the radius of least loss along a spurious branch of "
    "one network deviates from its expectation like ell^(-1/2)",
    "the concentration that the proof of Theorem 2 rests on; no rate is stated",
    Role.SHARPER,
    supported=Outcome("Radii fluctuate as a mean does.", Bearing.SHARPER),
    refuted=Outcome("Radii approach their expectation at another rate."),
)
ORDER = Claim(
    "hyperbolas.order",
    "For d, s >= 2 the loss at the three predicted spurious points of a network is larger than "
    "with their signs turned, as the sign check of Algorithm 1 needs it, in 95% of networks",
    "Algorithm 1, step (i)",
    Role.PAPER,
    supported=Outcome("The sign check leads off the spurious branches.", Bearing.CONSISTENT),
    refuted=Outcome(
        "At some depths the order of losses is lost: rho is too close to 1 for these widths.",
        Bearing.HYPOTHESIS_NEEDED,
    ),
)
NAMES = {branch: branch_name(branch) for branch in BRANCHES}


@dataclass(frozen=True)
class Thresholds(Settings):
    """Tolerances at the largest ell, of radius / true radius and loss / loss on K; see `judge`."""

    radius_error: float
    loss_error: float
    exponent_error: float
    order_rate: float


@dataclass(frozen=True)
class Hyperbolas(Experiment):
    """One trial: a network; a row for each of the four branches of Theorem 2.

    For fixed directions u, v the loss is quadratic in r = ||h|| ||m||, so that its minimum along a
    branch is measured exactly: r* = <y0, a*b> / ||a*b||^2 with a = G1(u), b = G2(v).
    """

    claims: ClassVar[tuple[Claim, ...]] = (RADIUS, LOSS, RATE, ORDER)
    caption: ClassVar[str] = (
        "The three spurious hyperbolas. Left: measured position of the least loss along (-h0, m0), "
        "relative to the true radius, against the depth d = s; the line is rho_d, dots are medians "
        "over networks, bars their 95% order-statistic intervals, pale bands the central "
        "90% of networks. Middle: the loss there relative to the loss on K; lines are the "
        "closed forms 1 - rho_d^2 (one factor flipped) and 1 - rho_d^4 (both). Right: share of "
        "networks in which the sign check, at one of the three predicted spurious points, would "
        "not choose the true branch (at d = 1 these points lie in K), with 95% Clopper-Pearson "
        "intervals."
    )

    network: Ensemble
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        P = self.network.problem(rng)
        a = {sign: P.G1(sign * P.h0) for sign in (1, -1)}
        b = {sign: P.G2(sign * P.m0) for sign in (1, -1)}
        rows: list[Row] = []
        for i, j in BRANCHES:
            product = a[i] * b[j]
            overlap, size = float(P.y0 @ product), float(product @ product)
            hb, mb = P.hyperbola((i, j))
            # The sign check at the predicted point: its loss with each choice of signs.
            losses = {(k, q): float(P.loss(k * i * hb, q * j * mb)) for k, q in BRANCHES}
            rows.append(
                {
                    "branch": NAMES[i, j],
                    "radius_predicted": (1 if i > 0 else rho(P.d)) * (1 if j > 0 else rho(P.s)),
                    "radius": overlap / size if size > 0 else 0.0,
                    "loss_ratio": 1 - overlap**2 / (size * float(P.y0 @ P.y0)) if size > 0 else 1.0,
                    "flat": size == 0,
                    "true_preferred": min(losses, key=losses.__getitem__) == (1, 1),
                }
            )
        return rows

    def trials_needed(self, cells: pd.DataFrame) -> dict[str, int]:
        wide = selection.largest(cells, "ell")
        deep = ((wide["d"] >= 2) & (wide["s"] >= 2)).sum()
        middle = stats.trials_for_quantile(level=stats.simultaneous(3 * len(wide)))
        order = stats.trials_for_proportion(
            self.thresholds.order_rate, level=stats.simultaneous(int(deep))
        )
        return {RADIUS.id: middle, LOSS.id: middle, ORDER.id: order}

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        limits = self.thresholds
        table = self._measured(table)
        base = selection.at_baseline(self, table, ("n", "p", "d", "s", "ell"))
        base = base[base["branch"] != "++"]
        wide, equal = selection.largest(base, "ell"), base[base["d"] == base["s"]]
        widening = equal[equal["radius_predicted"] > 0].assign(
            distance=lambda rows: rows["radius_error"].abs()
        )
        deep = _ordered(_deep(wide)).rename("ordered").reset_index()
        where = selection.spread(wide, ("d", "s", "n", "ell"))
        tested = f"{where}, three branches, {_networks(wide)}"
        cells = ["d", "s", "branch"]
        return [
            claims.within(
                RADIUS,
                selection.jointly(stats.quantile, wide, cells, "radius_error"),
                *(-limits.radius_error, limits.radius_error),
                statistic="median of radius - predicted, by depths and branch",
                tested=tested,
            ),
            claims.within(
                LOSS,
                selection.jointly(stats.quantile, wide, cells, "loss_error"),
                *(-limits.loss_error, limits.loss_error),
                statistic="median of loss ratio - predicted, by depths and branch",
                tested=tested,
            ),
            claims.within(
                RATE,
                selection.jointly(stats.power_law, widening, ["d", "branch"], "ell", "distance"),
                *(-0.5 - limits.exponent_error, -0.5 + limits.exponent_error),
                statistic="exponent in ell of the median |radius - predicted|, by depth and branch",
                tested=f"{selection.spread(equal, ('d', 'n', 'ell'))}, d = s",
                named=-0.5,
            ),
            claims.above(
                ORDER,
                selection.jointly(stats.proportion, deep, ["d", "s"], "ordered"),
                limits.order_rate,
                statistic="share of networks with the right order, by depths",
                tested=f"{selection.spread(_deep(wide), ('d', 's', 'n', 'ell'))}, all three points",
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {"rho_d": lambda g: round(rho(int(g["d"].iloc[0])), 5)}
        for branch in sorted({NAMES[b] for b in BRANCHES} - {"++"}):
            values[f"radius {branch}"] = partial(_median_radius, branch=branch)
        values["order fails"] = lambda g: str(stats.proportion(~_ordered(g)))
        base = self._measured(table)
        return selection.summarise(base[base["d"] == base["s"]], ["d", "s", "ell"], values)

    def figure(self, table: pd.DataFrame) -> Figure:
        table = self._measured(table)
        equal = table[(table["d"] == table["s"]) & (table["branch"] != "++")]
        figure, axes = figures.panels(3)
        depth = np.arange(1, equal["d"].max() + 1 if len(equal) else 2)
        rhos = np.array([rho(int(d)) for d in depth])
        widest = selection.largest(equal, "ell")
        left, middle, right = axes

        one, both = (widest[widest["branch"] == branch] for branch in ("-+", "--"))
        dots = partial(figures.curve, x="d", statistic=stats.quantile, line=False, band=True)

        left.plot(depth, rhos, color="black", label=r"$\rho_d$")
        dots(left, one, y="radius", label="measured, (-h0, m0)")
        left.set(ylabel=r"$\|h\|\,\|m\|$ of least loss / true", ylim=(-0.03, 1.1))

        middle.plot(depth, 1 - rhos**2, color="black", label=r"$1 - \rho_d^2$")
        middle.plot(depth, 1 - rhos**4, "--", color="black", label=r"$1 - \rho_d^4$")
        dots(middle, one, y="loss_ratio", label="(-h0, m0)")
        dots(middle, both, y="loss_ratio", label="(-h0, -m0)", index=1)
        middle.set(ylabel=r"least loss / loss on $K$", ylim=(0, 1.05))

        wrong = (~_ordered(_deep(equal))).rename("wrong").reset_index()
        look: Any = {"by": "ell", "label": "ell = {}", "spread": 1.01}
        figures.curves(right, wrong, "d", "wrong", stats.proportion, **look)
        right.set(ylabel="networks with a wrong order")
        for ax in axes:
            ax.set(xlabel="depth d = s", xticks=depth)
            if ax is not middle:
                figures.headroom(ax, 0.5 if ax is right else 0.3)
            figures.legend(ax, loc="lower left" if ax is middle else "upper left")
        middle.set_title(f"n = p = {self.network.n}, ell = {widest['ell'].max()}")
        return figure

    def _measured(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of networks that are not dead, with the errors against the closed forms."""
        alive = selection.ok(table)
        predicted = alive["radius_predicted"]
        return alive.assign(
            radius_error=alive["radius"] - predicted,
            loss_error=alive["loss_ratio"] - (1 - predicted**2),
            true_preferred=alive["true_preferred"].astype(bool),
        )


def _deep(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["d"] >= 2) & (table["s"] >= 2)]


def _networks(table: pd.DataFrame) -> str:
    """The least number of networks in a cell."""
    return f"at least {table.groupby(['d', 's', 'branch']).size().min()} networks a cell"


def _ordered(table: pd.DataFrame) -> pd.Series:
    """Whether the sign check prefers the true branch at all three points, for each network."""
    spurious = table[table["branch"] != "++"]
    return spurious.groupby(["n", "p", "d", "s", "ell", "trial"])["true_preferred"].all()


def _median_radius(table: pd.DataFrame, branch: str) -> str:
    return str(round(table.loc[table["branch"] == branch, "radius"].median(), 4))
