"""Whether a trial fits into memory, as far as that is known before it runs."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from harness.schema import ConfigError
from harness.storage.cell import Cell

CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux tells the limit of a container or a job, in versions 2 and 1 of control groups."""


def available() -> int:
    """Bytes that this process may use: the machine's, its control group's or its Slurm job's.

    A limit of the shell (ulimit -v) counts as well.
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it says "max"
            found.append(int(file.read_text()))
    for name, count in (("NODE", "1"), ("CPU", os.environ.get("SLURM_CPUS_ON_NODE", "1"))):
        with contextlib.suppress(KeyError, ValueError):
            found.append(int(os.environ[f"SLURM_MEM_PER_{name}"]) * int(count) * 2**20)
    found.append(resource.getrlimit(resource.RLIMIT_AS)[0])  # RLIM_INFINITY is negative
    return min(size for size in found if size > 0)  # Slurm says 0 for all of the node's


def check(cell: Cell, limit: float | None) -> None:
    """Raise ConfigError if the weights of one trial of a cell take more bytes than `limit`."""
    if limit is None or cell.bytes <= limit:
        return
    sizes = {key: value for key, value in cell.identity.items() if type(value) is int}
    key = max(sizes, key=lambda key: sizes[key])
    raise ConfigError(
        f"{key}={sizes[key]}: the weights of a trial take {cell.bytes / 1e9:.3g} GB; there are "
        f"{limit / 1e9:.3g} (memory_gb sets another limit)"
    )
