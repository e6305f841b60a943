"""Provenance of a table: code, versions, machine, threads."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from harness import __version__, registry

PACKAGES = (
    *("numpy", "scipy", "numba", "llvmlite", "pandas"),
    *("matplotlib", "hydra-core", "omegaconf", "joblib"),
)
BLAS_FACTS = ("internal_api", "version", "architecture", "num_threads")


def provenance() -> dict[str, Any]:
    """Commit and digest of the code, versions, platform, BLAS kernel and thread count."""
    with threadpool_limits(limits=1, user_api="blas"):  # as in every cell
        blas = [
            {key: library.get(key) for key in BLAS_FACTS}
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ]
    return {
        **_commit(),
        "harness": {"version": __version__, "sources_sha256": _sources()},
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


def _commit() -> dict[str, Any]:
    """Commit and dirty flag of the source tree that is imported, null where they are not known.

    A repository that merely encloses the package, around a virtual environment, say, is not asked.
    """
    tracked = _git("ls-files", "--error-unmatch", "--", "harness/storage/provenance.py")
    commit = _git("rev-parse", "HEAD") if tracked else None
    changes = _git("status", "--porcelain", "--", ".", ":!results") if commit else None
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    """Output of a git command in the source tree; None outside a checkout or without git."""
    if registry.CHECKOUT is None:
        return None
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=registry.CHECKOUT,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=20,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _sources() -> str:
    """SHA-256 of the package's and our experiments' source files, in the order of their paths."""
    sha = hashlib.sha256()
    for folder in (Path(__file__).parents[1], registry.EXPERIMENTS):
        for path in sorted(folder.rglob("*.py")):
            data = path.read_bytes()
            sha.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
    return sha.hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
