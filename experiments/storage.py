"""Whether planning and collecting a sweep take time and memory proportional to its size."""

from __future__ import annotations

import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from harness import claims, figures, selection, stats
from harness.claims import Claim, Finding, Role
from harness.experiment import Experiment, Row, Settings
from harness.storage.cell import Cell, trial_seed
from harness.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROUNDS = 2
"""Turns of each method in a trial; the better time counts."""
MEMORY = Path("/dev/shm")
"""Folder of the cells, if it exists: on a disk its speed and its syncs would be measured."""

LINEAR = Claim(
    "storage.linear",
    "The time to plan and to collect a sweep grows no faster than its number of cells",
    "each file is read once and the table is made in batches",
    Role.SOFTWARE,
)
PRICE = Claim(
    "storage.price",
    "Collecting takes at most about twice as long as a loop that checks nothing",
    "most of the time goes to parsing",
    Role.SOFTWARE,
)
SPACE = Claim(
    "storage.space",
    "Collecting takes the memory of a few copies of the table",
    "rows are held as mappings a batch at a time",
    Role.SOFTWARE,
)
WORDS = {
    "plan": "plan: checksums and trials",
    "collect": "collect: the table",
    "loop": "plain loop, json and pandas",
    "csv": "pandas, the table as one CSV",
}


@dataclass(frozen=True)
class Thresholds(Settings):
    """linear : greatest exponent.  price : least speed / plain loop's.  space : greatest memory /
    table's.
    """

    linear: float
    price: float
    space: float


@dataclass(frozen=True)
class Storage(Experiment):
    """One trial: cells of random rows are written, then planned, collected and read by plain means.

    The answers are compared.  Times are processor times: on a busy machine the clock slows long
    runs down more than short ones.
    """

    claims: ClassVar[tuple[Claim, ...]] = (LINEAR, PRICE, SPACE)
    caption: ClassVar[str] = (
        "Processor time and largest memory of planning and of collecting a sweep against its "
        "number of cells, a file each, beside a plain loop over the same files that checks "
        "nothing, and pandas reading the same table from one file. Medians with 95% "
        "order-statistic intervals."
    )
    alone: ClassVar[bool] = True

    cells: Annotated[int, Ge(1), Le(10**6)]
    rows: Annotated[int, Ge(1), Le(10**6)]
    columns: Annotated[int, Ge(1), Le(10**4)]
    thresholds: Thresholds

    def trial(self, rng: np.random.Generator) -> list[Row]:
        place = MEMORY if MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(dir=place) as folder:
            store = Store(Path(folder))
            methods = self._methods(store, rng)
            answers = {name: method() for name, method in methods.items()}
            table = answers.pop("collect")
            if any(answers.pop("plan")):
                raise AssertionError("trials are missing")
            for name, other in answers.items():
                if not _in_order(other, table).equals(table):
                    raise AssertionError(f"{name} and collect give different tables")
            size = int(table.memory_usage().sum())
            del answers, table, other
            best = _times(methods)
            peaks = {name: _peak(method) for name, method in methods.items()}
        return [
            {
                "method": name,
                "time": best[name],
                "microseconds_a_file": 1e6 * best[name] / self.cells,
                "rows_per_second": self.cells * self.rows / best[name],
                "memory": peaks[name],
                "table_memory": size,
            }
            for name in methods
        ]

    def _methods(self, store: Store, rng: np.random.Generator) -> dict[str, Callable[[], Any]]:
        """The methods to compare, on cells that are written first; they differ in `cells`."""
        cells = [Cell("storage", replace(self, cells=i + 1), 0) for i in range(self.cells)]
        for cell in cells:
            store.append(cell, self._rows(cell, rng))
        store.write_table("storage", store.collect(cells, self.rows)[0], {})
        return {
            "plan": lambda: [trial for cell in cells for trial in store.missing(cell, self.rows)],
            "collect": lambda: store.collect(cells, self.rows)[0],
            "loop": lambda: _loop(store.root),
            "csv": lambda: _csv(store.root),
        }

    def _rows(self, cell: Cell, rng: np.random.Generator) -> list[Row]:
        values = rng.standard_normal((self.rows, self.columns)).tolist()
        return [
            {"trial": trial, "seed": trial_seed(cell, trial)}
            | {f"value{i}": number for i, number in enumerate(numbers)}
            | {"status": "ok", "seconds": 0.1}
            for trial, numbers in enumerate(values)
        ]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        tested = selection.spread(table, ("cells", "rows"))
        largest = selection.largest(table, "cells")
        at_largest = selection.spread(largest, ("cells", "rows"))
        times, memory = (
            largest.pivot(index="trial", columns="method", values=name)
            for name in ("time", "memory")
        )
        ours = table[table["method"].isin(["plan", "collect"])]
        size = largest.groupby("trial")["table_memory"].first()
        return [
            claims.below(
                LINEAR,
                selection.jointly(stats.power_law, ours, "method", "cells", "time"),
                self.thresholds.linear,
                statistic="exponent of time in cells (worse of planning and collecting)",
                tested=tested,
            ),
            claims.above(
                PRICE,
                stats.quantile(times["loop"] / times["collect"]),
                self.thresholds.price,
                statistic="median of its speed / the plain loop's",
                tested=at_largest,
            ),
            claims.below(
                SPACE,
                stats.quantile(memory["collect"] / size),
                self.thresholds.space,
                statistic="median of its largest memory / the table's",
                tested=at_largest,
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        values: dict[str, Any] = {
            "median time": lambda g: f"{g['time'].median():.3g} s",
            "microseconds a file": selection.median("microseconds_a_file"),
            "rows a second": selection.median("rows_per_second"),
            "largest memory": lambda g: f"{g['memory'].median() / 1e6:.3g} MB",
            "the table's": lambda g: f"{g['table_memory'].median() / 1e6:.3g} MB",
        }
        table = table.assign(method=table["method"].map(WORDS))
        return selection.summarise(table, ["cells", "method"], values, sort=False)

    def figure(self, table: pd.DataFrame) -> Figure:
        figure, axes = figures.panels(2)
        shown = table.assign(memory=table["memory"] / 1e6, method=table["method"].map(WORDS))
        for ax, y, label in zip(
            axes, ("time", "memory"), ("seconds", "largest memory (MB)"), strict=True
        ):
            order = WORDS.values()
            figures.curves(ax, shown, "cells", y, stats.quantile, by="method", order=order)
            ax.set(xscale="log", yscale="log", xlabel="cells", ylabel=label)
        figures.headroom(axes[0], 0.45)
        figures.legend(axes[0], loc="upper left")
        return figure


def _loop(root: Path) -> pd.DataFrame:
    """A first attempt: parse every file, make every row a mapping, check nothing."""
    from pandas import DataFrame

    records = []
    for path in root.glob("cells/storage/*/*.json"):
        header, rows = path.read_text("utf-8").splitlines()
        place = json.loads(header)["coordinates"]
        records += [place | row for row in json.loads(rows)]
    return DataFrame.from_records(records)


def _csv(root: Path) -> pd.DataFrame:
    from pandas import read_csv

    return read_csv(root / "storage" / "table.csv.gz")


def _in_order(other: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return other.sort_values(["cells", "trial"], ignore_index=True)[list(table)]


def _times(methods: dict[str, Callable[[], Any]]) -> dict[str, float]:
    best = dict.fromkeys(methods, np.inf)
    for _ in range(ROUNDS):
        for name, method in methods.items():
            start = time.process_time()
            method()
            best[name] = min(best[name], time.process_time() - start)
    return best


def _peak(method: Callable[[], Any]) -> int:
    """Largest memory of a run, in bytes."""
    tracemalloc.start()
    try:
        method()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
