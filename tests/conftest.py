"""A toy experiment in a folder of claims, and ways to run the command line on it."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import registry, schema
from harness.mnist import weights

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300
"""Seconds after which a subprocess is taken to hang."""

TOY = '''
"""Normal draws are small: a claim for tests, without mathematics."""

import os
import signal
import time
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from harness import figures
from harness.claims import Claim, below
from harness.experiment import Experiment, Settings, UnmeasurableError
from harness.selection import spread
from harness.stats import quantile
from harness.status import Status


@dataclass(frozen=True)
class Inner(Settings):
    size: Annotated[int, Ge(1)]
    sizes: list[Annotated[int, Ge(1)]] | None = None


@dataclass(frozen=True)
class Thresholds(Settings):
    median: float


@dataclass(frozen=True)
class Toy(Experiment):
    claims: ClassVar = (Claim("toy.small", "The median of |draw| is small", "no source"),)
    caption: ClassVar = "Draws against the size."
    paired: ClassVar = ("method",)

    inner: Inner
    scale: Annotated[float, Gt(0)]
    method: Literal["plain", "fancy"]
    thresholds: Thresholds

    def trial(self, rng):
        """TOY_SLEEP: seconds of a trial.  TOY_BROKEN: the size that raises; TOY_KILLED: kills."""
        if os.environ.get("TOY_KILLED") == str(self.inner.size):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
        draws = self.scale * rng.standard_normal(2)
        if os.environ.get("TOY_BROKEN") == str(self.inner.size):
            raise ArithmeticError("broken on purpose")
        if draws[0] > 1.5:
            raise UnmeasurableError(Status.DEAD_NETWORK)
        return [
            {"draw": draw, "positive": draw > 0, "log": float("nan") if draw < -1 else draw**2}
            for draw in draws
        ]

    def judge(self, table):
        return [
            below(
                self.claims[0],
                quantile(table["draw"].abs()),
                self.thresholds.median,
                statistic="median of |draw|",
                tested=spread(table, ("size", "scale")),
            )
        ]

    def trials_needed(self, cells):
        """TOY_NEEDS: trials that the claim needs."""
        return {self.claims[0].id: int(os.environ.get("TOY_NEEDS", "0"))}

    def summary(self, table):
        return table.groupby("size", as_index=False)["draw"].median()

    def figure(self, table):
        figure, axes = figures.canvas(1, 1)
        axes[0, 0].plot(table["size"], table["draw"], "o")
        axes[0, 0].axis("off")  # text takes most of the time of a figure
        return figure
'''

TOY_YAML = """# @package _global_
experiment: toy
inner: {size: 3, sizes: null}
scale: 1.0
method: plain
thresholds: {median: 2.0}
profiles:
  quick:
    trials: 3
    grids:
      - {inner.size: [1, 2, 3]}
      - {method: [plain, fancy]}
  paper: {trials: 5, grids: [{inner.size: [1, 2]}]}
  full: {trials: 7, grids: [{}]}
"""
TOY_CELLS = 4
"""Cells of its quick profile: 3 + 2 of which one is in both grids."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a command that refused its input."""
        assert self.code == 2, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        assert self.out == "", self
        return lines[0]


@dataclass(frozen=True)
class Private:
    """The toy experiment's folder of claims, and its YAML in a folder for --config-dir."""

    root: Path

    @property
    def claims(self) -> Path:
        return self.root / "my claims"

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "harness", f"claims={self.claims}", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        """Environment of a subprocess that finds the harness of this checkout."""
        return {**os.environ, "PYTHONPATH": str(ROOT), **variables}

    def run(self, cwd: Path, *arguments: str, **variables: str) -> Outcome:
        """The command line in a process of its own."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session", autouse=True)
def a_terminal_that_can_close() -> Iterator[None]:
    """Let SIGHUP end the commands under test, which would ignore it under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Let Ctrl-C reach the commands under test; a shell ignores it in background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Private:
    """The toy experiment's folder."""
    folder = Private(tmp_path_factory.mktemp("private"))
    folder.claims.mkdir()
    (folder.claims / "toy.py").write_text(TOY)
    (folder.conf / "experiment").mkdir(parents=True)
    for yaml in (folder.claims / "toy.yaml", folder.conf / "experiment" / "toy.yaml"):
        yaml.write_text(TOY_YAML)
    return folder


@pytest.fixture(scope="session")
def undisturbed(private: Private, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the toy's sweep by the basic launcher, in a process of its own; read only."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = private.run(folder, "-m", "experiment=toy", "hydra/launcher=basic")
    assert done.code == 0, done.err
    return folder / "results"


@pytest.fixture
def toy(private: Private) -> Iterator[Private]:
    """The toy experiment known in this process, next to the real ones."""
    registry.use_claims(str(private.claims))
    yield private
    registry.forget_claims()
    schema._adapter.cache_clear()  # it holds classes of the modules that are forgotten


@pytest.fixture
def bare_logging() -> Iterator[None]:
    """Hydra configures the root logger; this puts back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def harness(
    toy: Private,
    bare_logging: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Outcome]:
    """`harness ARGUMENTS` in this process and in tmp_path, the toy experiment known."""
    from harness.app import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*arguments: str) -> Outcome:
        bare = ("report", "compare", "train", "pictures", "--hydra-help")
        alone = any(a.lstrip("+").startswith("claims=") or a in bare for a in arguments)
        own = [] if alone else [f"claims={toy.claims}"]
        capsys.readouterr()
        code = main([*own, *arguments])
        return Outcome(code, *capsys.readouterr())

    return run


PAGE_CLAIM = re.compile(r"`(my_claims/\w+\.(?:py|yaml))`:\n\n```\w+\n(.+?)```", re.DOTALL)


def write_own_claim(folder: Path) -> None:
    """Write the files of the page on claims of one's own below a folder."""
    found = PAGE_CLAIM.findall((ROOT / "docs" / "own-claim.md").read_text())
    assert [path for path, _ in found] == ["my_claims/norms.py", "my_claims/norms.yaml"]
    for path, text in found:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)


def store_weights(folder: Path, name: str, layers: Sequence[NDArray[np.float64]]) -> None:
    """A fully connected generator in `folder`, as `harness train` leaves it."""
    folder.mkdir(exist_ok=True)
    data = weights.pack({f"layers.{i}.weight": W for i, W in enumerate(layers)})
    (folder / f"{name}.safetensors").write_bytes(data)
    listed = folder / weights.CHECKSUMS
    sums = json.loads(listed.read_text()) if listed.exists() else {}
    listed.write_text(json.dumps(sums | {f"{name}.safetensors": weights.checksum(data)}))


def tree(folder: Path) -> Mapping[str, bytes]:
    """Contents of all files below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
