"""Provenance of a table: code, versions, machine, threads."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "hydra-core", "omegaconf", "joblib")
BLAS_FACTS = ("internal_api", "version", "architecture", "num_threads")
SOURCE = Path(__file__).resolve().parents[2]


def provenance() -> dict[str, Any]:
    """Commit and dirty flag of the code, versions, platform, BLAS kernel and thread count."""
    with threadpool_limits(limits=1, user_api="blas"):  # as in every cell
        blas = [
            {key: library.get(key) for key in BLAS_FACTS}
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ]
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!results")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "blas": blas,
    }


@cache
def blas_kernel() -> str:
    """The kernel that BLAS chose for this processor; it decides the last bits of products."""
    kernels = {
        str(library.get("architecture"))
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return "+".join(sorted(kernels)) or "none"


def _git(*arguments: str) -> str | None:
    """Output of a git command in the source tree; None outside a checkout or without git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=SOURCE, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
