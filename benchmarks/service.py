"""Measure the service on loopback: `make bench-service`, or `python benchmarks/service.py [--out FILE] [--quick]`.

Clients send one image a request over connections that stay open, as fast as answers come; the time is taken from the
first byte sent to the last received. Clients and service share this machine's cores, so the figures are a floor for a
service that has them to itself. Adds one JSON line to a file. Every part ends after a number of requests or of seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from speed import SPEC, machine, rounded, structured_images

from novanda import methods
from novanda.benchmark.results import append_result
from novanda.benchmark.running import commit
from novanda.detector import Detector
from novanda.method import Method
from novanda.training import Training

PROGRAM = "import sys; from novanda.cli import main; sys.exit(main())"
PACKAGES = ("novanda", "torch", "fastapi", "uvicorn", "starlette", "python-multipart")
SERVED: tuple[type[Method], ...] = (methods.NDA, methods.PCA)
"""The paper's network, and a method that costs next to nothing: what is left is the service itself."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured; kept in the line."""

    clients: tuple[int, ...] = (1, 8, 32)
    requests: int = 1000
    """In each timed part."""
    warm_up: int = 100
    """Before it, not timed."""
    many: int = 10_000
    """Requests over which memory is watched."""
    seconds: float = 60.0
    """After this long a timed part ends, however many requests it has had; watching memory may take five times that."""
    fitted: int = 512
    """Images on which the detectors were fitted, for one epoch."""


QUICK = Sizes(clients=(1, 2), requests=4, warm_up=2, many=20, fitted=128)
"""Only shows that everything runs: its figures mean nothing."""


def request_of(images: np.ndarray) -> list[bytes]:
    """A whole HTTP request for each image (H, W, C)."""
    made = []
    for image in images:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        body = (
            b'--B\r\nContent-Disposition: form-data; name="files"; filename="image.png"\r\n\r\n'
            + out.getvalue()
            + b"\r\n--B--\r\n"
        )
        head = (
            "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def ask(port: int, requests: Sequence[bytes], turns: Iterator[int], until: float, seconds: list[float]) -> None:
    """One client: takes turns until there are no more, noting the seconds of each request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for turn in turns:
            began = time.perf_counter()
            writer.write(requests[turn % len(requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            answer = await reader.readexactly(length)
            seconds.append(time.perf_counter() - began)
            if not head.startswith("http/1.1 200 "):
                raise RuntimeError(f"expected 200; got {head.splitlines()[0]}: {answer[:200]!r}")
            if time.perf_counter() > until:
                return
    finally:
        writer.close()


async def load(
    port: int, requests: Sequence[bytes], clients: int, count: int, most: float
) -> tuple[list[float], float]:
    """So many clients until so many requests are answered; the seconds of each, and of all together."""
    seconds: list[float] = []
    turns = iter(range(count))
    began = time.perf_counter()
    await asyncio.gather(*(ask(port, requests, turns, began + most, seconds) for _ in range(clients)))
    return seconds, time.perf_counter() - began


def latencies(port: int, requests: Sequence[bytes], clients: int, sizes: Sizes) -> dict[str, float]:
    """Milliseconds of a request at so many clients, and requests a second."""
    asyncio.run(load(port, requests, clients, sizes.warm_up, sizes.seconds))
    seconds, whole = asyncio.run(load(port, requests, clients, sizes.requests, sizes.seconds))
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return {
        "requests": len(seconds),
        "p50_ms": rounded(float(p50)),
        "p99_ms": rounded(float(p99)),
        "requests_per_second": rounded(len(seconds) / whole),
    }


def memory(process: int) -> float:
    """MiB that a process holds now."""
    status = Path(f"/proc/{process}/status").read_text()
    return rounded(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024)


def memory_over_many(process: int, port: int, requests: Sequence[bytes], sizes: Sizes) -> dict[str, Any]:
    """MiB before (though after the timed parts), after a tenth and after all of many requests at 8 clients."""
    found: dict[str, Any] = {"before": memory(process), "requests": 0}
    tenth = sizes.many // 10
    for part, count in (("after_a_tenth", tenth), ("after", sizes.many - tenth)):
        seconds, _ = asyncio.run(load(port, requests, 8, count, 5 * sizes.seconds))
        found[part] = memory(process)
        found["requests"] += len(seconds)
    return found


@contextmanager
def served(method: type[Method], sizes: Sizes, threads: int) -> Iterator[tuple[int, int]]:
    """A service of one detector in a process of its own: its number and its port."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.novanda"
        Detector(method(), Training(epochs=1)).fit(structured_images(sizes.fitted)).save(model)
        command = [sys.executable, "-c", PROGRAM, "serve", str(model), "--port", "0"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        environment.pop("NOVANDA_TOKEN", None)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            address = next(word for word in process.stdout.readline().split() if word.startswith("http"))
            try:
                yield process.pid, int(address.rstrip("/").rpartition(":")[2])
            finally:
                process.terminate()


def measure(sizes: Sizes, quick: bool, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Every measurement, as one JSON object."""
    began, average = time.perf_counter(), os.getloadavg()[0]
    requests = request_of(structured_images(64, seed=1))
    latency: dict[str, dict[str, dict[str, float]]] = {}
    watched = {}
    for method in SERVED:
        with served(method, sizes, threads) as (process, port):
            latency[method.name] = {}
            for clients in sizes.clients:
                say(f"{method.name}, {clients} clients")
                latency[method.name][str(clients)] = latencies(port, requests, clients, sizes)
            say(f"{method.name}, memory over {sizes.many:,} requests")
            watched[method.name] = memory_over_many(process, port, requests, sizes)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": quick,
        "machine": {**machine(), "threads": threads},
        "load_average": round(average, 2),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "sizes": {"sample": list(SPEC.shape), **asdict(sizes)},
        "latency": latency,
        "memory_mib": watched,
        "seconds": rounded(time.perf_counter() - began),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A result line for the eye."""
    for name, parts in found["latency"].items():
        for clients, values in parts.items():
            yield (
                f"{name}, {clients} clients: p50 {values['p50_ms']:.1f} ms, p99 {values['p99_ms']:.1f} ms, "
                f"{values['requests_per_second']:.0f} requests/s ({values['requests']} requests)"
            )
        held = found["memory_mib"][name]
        yield (
            f"{name}, memory: {held['before']:.0f} MiB, {held['after_a_tenth']:.0f} after a tenth, "
            f"{held['after']:.0f} after {held['requests']:,} more requests"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description="Latency and memory of the service on loopback.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("service.jsonl"), help="file to add to")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the service's torch")
    given = parser.parse_args(arguments)
    if given.threads < 1:
        parser.error(f"--threads must be at least 1; got {given.threads}")
    found = measure(
        QUICK if given.quick else Sizes(), given.quick, given.threads, lambda what: _say(f"measuring {what}")
    )
    append_result(given.out, found)
    for line in lines(found):
        sys.stdout.write(line + "\n")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
