"""A small detector of real images, and services of it: in this process, and as a process of their own."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from starlette.testclient import TestClient

from novanda.detector import Detector
from novanda.methods import PCA
from novanda.serve.app import create_app
from novanda.serve.feedback import FeedbackStore
from novanda.serve.limits import Limits

PROGRAM = "import sys; from novanda.cli import main; sys.exit(main())"
# As if a package were not installed; None in sys.modules would be taken for an import by who looks there.
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""
NORMAL = 0
LOCAL = "http://localhost"


Result = TypeVar("Result")


def run_alone(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` in a thread of its own: a browser open in other tests keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def digits(label: int) -> np.ndarray:
    """Scans of one digit, (N, 8, 8) uint8."""
    found = load_digits()
    chosen: np.ndarray = (found.images[found.target == label] * 255 / 16).round().astype(np.uint8)
    return chosen


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(PCA(components=8), seed=0, false_alarm_rate=0.1).fit(digits(NORMAL)[:120, :, :, None])


@pytest.fixture(scope="session")
def model(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "zeros.novanda"
    detector.save(path)
    return path


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Twenty zeros that were not learned from and twenty ones, (40, 8, 8) uint8."""
    return np.concatenate([digits(NORMAL)[120:140], digits(1)[:20]])


Connect = Callable[..., TestClient]


@pytest.fixture
def connect(detector: Detector, tmp_path: Path) -> Iterator[Connect]:
    """Makes clients of services in this process; keywords are those of `Limits`, and token and hosts."""
    opened: list[TestClient] = []

    def make(token: str | None = None, hosts: frozenset[str] | None = None, **limits: float) -> TestClient:
        store = FeedbackStore(tmp_path / f"feedback{len(opened)}.sqlite")
        app = create_app({"zeros": detector}, store, Limits(**limits), token=token, hosts=hosts)  # type: ignore[arg-type]  # by name
        client = TestClient(app, base_url=LOCAL, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()


class Process:
    """`novanda serve` as a person starts it."""

    def __init__(
        self, *words: str | Path, environment: dict[str, str] | None = None, blocked: tuple[str, ...] = ()
    ) -> None:
        # A pipe that nobody reads would stop it when it is full.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `end`
        self.child = subprocess.Popen(
            [sys.executable, "-c", BLOCKED.format(names=blocked) + PROGRAM, "serve", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
        assert self.child.stdout is not None
        said = self.child.stdout.readline()
        if not said:
            raise AssertionError(self.end()[1])
        self.address = next(word for word in said.split() if word.startswith("http")).rstrip("/")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def end(self, by: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what was logged."""
        if self.child.poll() is None:
            self.child.send_signal(by)
        self.child.communicate(timeout=60)
        if not self._log.closed:
            self._log.seek(0)
            self._logged = self._log.read()
            self._log.close()
        return self.child.returncode, self._logged


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def narrow(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with small limits, shared by a file's tests, which must leave it as it is."""
    store = tmp_path_factory.mktemp("narrow") / "feedback.sqlite"
    flags = ("--limits.request-bytes", "20000000", "--limits.file-bytes", "100000")
    process = Process(model, "--port", "0", "--feedback", store, *flags)
    yield process
    process.end(signal.SIGKILL)


@pytest.fixture
def start(model: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts services of the detector on free ports; words are further models and flags."""
    running: list[Process] = []

    def make(*words: str | Path, port: int = 0, environment: dict[str, str] | None = None) -> Process:
        process = Process(
            model, *words, "--port", str(port), "--feedback", tmp_path / "feedback.sqlite", environment=environment
        )
        running.append(process)
        return process

    yield make
    for process in running:
        process.end(signal.SIGKILL)
