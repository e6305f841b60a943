"""Whether a sweep of many cells is planned and collected in time and memory like its table's."""

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
from annotated_types import Ge

from harness.claims import Claim, Finding, above, below
from harness.experiment import Experiment, Row, Settings
from harness.selection import spread
from harness.stats import power_law, quantile, simultaneous
from harness.storage.cell import Cell
from harness.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROUNDS = 2
"""Turns of each method in a trial; the better one counts."""
MEMORY = Path("/dev/shm")
"""Where the cells go if it is there: a disk would be measured instead, and its syncs waited for."""

LINEAR = Claim(
    "storage.linear",
    "The time to plan and to collect a sweep grows no faster than its number of cells",
    "each file is read once and the table is made in batches",
)
PRICE = Claim(
    "storage.price",
    "Collecting takes at most about twice as long as a loop that checks nothing",
    "most of the time goes to parsing",
)
SPACE = Claim(
    "storage.space",
    "Collecting takes the memory of a few copies of the table",
    "rows are held as mappings a batch at a time",
)
WORDS = {
    "plan": "plan: checksums and trials",
    "collect": "collect: the table",
    "loop": "plain loop, json and pandas",
    "csv": "pandas, the table as one CSV",
}


@dataclass(frozen=True)
class Thresholds(Settings):
    """Largest exponent; least speed / plain loop's; largest memory / table's."""

    linear: float
    price: float
    space: float


@dataclass(frozen=True)
class Storage(Experiment):
    """One trial: cells of random rows written, then planned, collected and read by plain means.

    Answers are checked against each other.  Times are of the processor, of this machine and run:
    it does all the work, and on a busy machine the clock slows long runs down more than short ones.
    """

    claims: ClassVar[tuple[Claim, ...]] = (LINEAR, PRICE, SPACE)
    caption: ClassVar[str] = (
        "Processor time and largest memory of planning and of collecting a sweep against its "
        "number of cells, a file each, beside a plain loop over the same files that checks "
        "nothing, and pandas reading the same table from one file. Medians with 95% "
        "order-statistic intervals."
    )
    alone: ClassVar[bool] = True

    cells: Annotated[int, Ge(1)]
    rows: Annotated[int, Ge(1)]
    columns: Annotated[int, Ge(1)]
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
        """What is compared, the cells written: they differ in a coordinate that is at hand."""
        cells = [Cell("storage", replace(self, cells=i + 1), 0) for i in range(self.cells)]
        for cell in cells:
            store.append(cell, self._rows(rng))
        store.write_table("storage", store.collect(cells, self.rows)[0], {})
        return {
            "plan": lambda: [trial for cell in cells for trial in store.missing(cell, self.rows)],
            "collect": lambda: store.collect(cells, self.rows)[0],
            "loop": lambda: _loop(store.root),
            "csv": lambda: _csv(store.root),
        }

    def _rows(self, rng: np.random.Generator) -> list[Row]:
        values = rng.standard_normal((self.rows, self.columns)).tolist()
        return [
            {"trial": trial, "seed": int(rng.integers(2**64, dtype=np.uint64))}
            | {f"value{i}": number for i, number in enumerate(numbers)}
            | {"status": "ok", "seconds": 0.1}
            for trial, numbers in enumerate(values)
        ]

    def judge(self, table: pd.DataFrame) -> list[Finding]:
        tested = spread(table, ("cells", "rows"))
        largest = table[table["cells"] == table["cells"].max()]
        level = simultaneous(2)
        times, memory = (
            largest.pivot(index="trial", columns="method", values=name)
            for name in ("time", "memory")
        )
        ours = [table[table["method"] == name] for name in ("plan", "collect")]
        size = largest.groupby("trial")["table_memory"].first()
        return [
            below(
                LINEAR,
                [power_law(rows["cells"], rows["time"], level=level) for rows in ours],
                self.thresholds.linear,
                statistic="exponent of time in cells (worse of planning and collecting)",
                tested=tested,
            ),
            above(
                PRICE,
                quantile(times["loop"] / times["collect"]),
                self.thresholds.price,
                statistic="median of its speed / the plain loop's",
                tested=spread(largest, ("cells", "rows")),
            ),
            below(
                SPACE,
                quantile(memory["collect"] / size),
                self.thresholds.space,
                statistic="median of its largest memory / the table's",
                tested=spread(largest, ("cells", "rows")),
            ),
        ]

    def summary(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = [
            {
                "cells": cells,
                "method": WORDS[method],
                "median time": f"{group['time'].median():.3g} s",
                "microseconds a file": f"{group['microseconds_a_file'].median():.3g}",
                "rows a second": f"{group['rows_per_second'].median():.3g}",
                "largest memory": f"{group['memory'].median() / 1e6:.3g} MB",
                "the table's": f"{group['table_memory'].median() / 1e6:.3g} MB",
            }
            for (cells, method), group in table.groupby(["cells", "method"], sort=False)
        ]
        return type(table)(rows)

    def figure(self, table: pd.DataFrame) -> Figure:
        from harness import figures

        figure, axes = figures.canvas(1, 2)
        megabytes = table.assign(memory=table["memory"] / 1e6)
        for ax, (y, label) in zip(
            axes[0], {"time": "seconds", "memory": "largest memory (MB)"}.items(), strict=True
        ):
            for index, (method, words) in enumerate(WORDS.items()):
                rows = megabytes[megabytes["method"] == method]
                figures.curve(ax, rows, "cells", y, quantile, label=words, index=index)
            ax.set(xscale="log", yscale="log", xlabel="cells", ylabel=label)
        figures.headroom(axes[0, 0], 0.45)
        figures.legend(axes[0, 0], loc="upper left")
        return figure


def _loop(root: Path) -> pd.DataFrame:
    """What one writes first: every file parsed, every row a mapping, no checksum looked at."""
    from pandas import DataFrame

    records = []
    for path in root.glob("cells/storage/*/*.json"):
        header, rows = path.read_text().splitlines()
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
    """Bytes that a run takes at the most."""
    tracemalloc.start()
    try:
        method()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
