"""Standard streams that are closed, full, unread or of a small alphabet: the work is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TIMEOUT, TOY_CELLS, Private, tree

CELL = ["experiment=toy", "results='é'"]
SWEEP = ["-m", *CELL, "hydra/launcher=basic"]
TWO = ["-m", *CELL, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
COMMANDS: Mapping[str, tuple[list[str], int]] = {
    "plan": ([*SWEEP, "plan=true"], 0),
    "cell": (CELL, 0),
    "sweep": (SWEEP, 0),
    "workers": ([*TWO, "seed=1", "name=second"], 0),
    "report": (["report", "results=é"], 0),
    "compare": (["compare", "é", "é"], 0),
    "help": (["experiment=toy", "--help"], 0),
    "refusal": (["experiment=toy", "method='é'"], 2),
    "failures": ([*SWEEP, "seed=2", "name=failing"], 1),
}
"""Commands and their exit codes; the last one with a trial that raises."""
ALL = """
import json, os, sys
from pathlib import Path
from harness.app import main

commands, codes = json.loads(sys.argv[1]), []
for command in commands:
    if command is commands[-1]:
        os.environ["TOY_BROKEN"] = "2"
    codes.append(main(command))
Path("codes").write_text(json.dumps(codes))
"""


def run_all(private: Private, folder: Path, fault: str, stream: str) -> Any:
    """Run all commands in one process, in a folder, with a fault of one of its streams."""
    claims = [f"claims={private.claims}"]
    commands = [[*(claims * (key != "compare")), *given] for key, (given, _) in COMMANDS.items()]
    command = [sys.executable, "-c", ALL, json.dumps(commands)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    variables = {"PYTHONIOENCODING": fault if stream == "both" else "utf-8"}
    with ExitStack() as stack:
        match fault:
            case "closed":
                number = {"stdout": 1, "stderr": 2}[stream]
                command = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command]
            case "full":
                streams[stream] = stack.enter_context(Path("/dev/full").open("w"))
            case "unread" | "unread and unbuffered":
                unread, streams[stream] = os.pipe()
                os.close(unread)
                stack.callback(os.close, streams[stream])
                variables = variables | {"PYTHONUNBUFFERED": fault[len("unread") :]}
        return subprocess.run(
            command,
            cwd=folder,
            env=private.environment(**variables),
            timeout=TIMEOUT,
            check=False,
            **streams,
        )


@pytest.fixture(scope="module")
def whole(private: Private, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """How the commands end, and what they leave, with streams that work."""
    folder = tmp_path_factory.mktemp("whole")
    return run_all(private, folder, "none", "none"), folder


FAULTS = [
    (fault, stream)
    for fault in ("closed", "full", "unread", "unread and unbuffered")
    for stream in ("stdout", "stderr")
]


def tables(folder: Path) -> dict[str, bytes]:
    """Everything stored but times, which differ from run to run."""
    timed = ("provenance.json", ".html")
    files = {k: v for k, v in tree(folder).items() if "/cells/" not in k and not k.endswith(timed)}
    return {k: v for k, v in files.items() if not k.endswith("REPORT.md")}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "stream"), [*FAULTS, ("ascii", "both"), ("latin-1", "both")])
def test_commands_do_their_work_and_exit_as_ever(private, whole, tmp_path, fault, stream):
    expected, folder = whole
    done = run_all(private, tmp_path, fault, stream)
    assert done.returncode == 0, done.stderr
    codes = json.loads((tmp_path / "codes").read_text())
    assert dict(zip(COMMANDS, codes, strict=True)) == {k: code for k, (_, code) in COMMANDS.items()}
    assert tables(tmp_path) == tables(folder)
    assert (tmp_path / "é" / "REPORT.md").exists()
    if stream == "stderr":
        assert done.stdout == expected.stdout
    if stream == "stdout":
        assert b"Exception ignored" not in done.stderr
        assert done.stderr.count(b"Traceback") == expected.stderr.count(b"Traceback") == 1
    if fault == "ascii":
        assert "report: é/REPORT.md".encode() in expected.stdout
        assert rb"report: \xe9/REPORT.md" in done.stdout
        assert f"1 of {TOY_CELLS} cells failed" in done.stderr.decode("ascii")
