"""Failed cells, grouped by kind, for the end of a sweep."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.storage.cell import Cell, Differing
from harness.storage.files import StoreError

KINDS = 10
"""Kinds of failure that are described; the rest are only counted."""
LINES = 12
"""Lines of a traceback that are shown."""
NUMBER = re.compile(r"[-+]?(\d[\w.+-]*|\b(nan|inf)\b)")
"""Numbers in a message; failures whose messages differ only in numbers are of one kind."""
INNER = {Path(__file__).with_name(f"{name}.py") for name in ("jobs", "runner")}
"""Modules between a job and a trial; their frames are left out of tracebacks."""


class CellsFailedError(Exception):
    """Some cells of a sweep failed; the others are stored.  The message is `describe` of them."""


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Attributes
    ----------
    kind : type and first line of the exception, or how the job ended.
    trace : first lines of the traceback, or the path of the job's log.
    """

    kind: str
    trace: str = ""


UNKNOWN = Failure("not measured")


def failure(error: BaseException) -> Failure:
    """The Failure that describes an exception."""
    if isinstance(
        error, StoreError
    ):  # without the file name, a full disk is one kind for all cells
        return Failure(str(error).partition(": ")[2] or str(error))
    message = (str(error).strip().splitlines() or [""])[0]
    kind = f"{type(error).__name__}: {message}".rstrip(": ")
    told = traceback.TracebackException.from_exception(error)
    outer = [i + 1 for i, frame in enumerate(told.stack) if Path(frame.filename) in INNER]
    del told.stack[: min(max(outer, default=0), len(told.stack) - 1)]
    return Failure(kind, "\n".join("".join(told.format()).splitlines()[:LINES]))


def describe(
    failed: Sequence[Cell], cells: Sequence[Cell], why: Mapping[str, Failure], command: str
) -> str:
    """The failed cells by kind, most frequent first, and the command that measures what is missing.

    Parameters
    ----------
    failed : the cells with missing trials.
    cells : all cells of the sweep.
    why : the known failures by the key of the cell.
    """
    kinds: dict[str, list[Cell]] = {}
    for cell in failed:
        kinds.setdefault(NUMBER.sub("#", why.get(cell.key, UNKNOWN).kind), []).append(cell)
    told = [alike for _, alike in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))]
    differing = Differing(cells)
    lines = [f"{len(failed)} of {len(cells)} cells failed:"]
    for alike in told[:KINDS]:
        reasons = [why.get(cell.key, UNKNOWN) for cell in alike]
        varied = " (the others with other numbers)" if len({r.kind for r in reasons}) > 1 else ""
        lines.append(f"  {len(alike)} x {reasons[0].kind}{varied}")
        lines.append(f"      such as {differing.label(alike[0])}")
        lines += [f"      | {line}" for line in reasons[0].trace.splitlines()]
    if more := told[KINDS:]:
        lines.append(f"  {sum(map(len, more))} x {len(more)} other kinds")
    return "\n".join([*lines, f"the same command runs only what is missing: {command}"])
