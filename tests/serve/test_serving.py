"""`novanda serve` as a process: how it starts, what it refuses to start with, signals, kills, and bytes on a socket."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest

from novanda.cli import main
from novanda.detector import Detector
from novanda.export import export
from novanda.methods import OCSVM
from novanda.serve.answers import FeedbackIn
from novanda.serve.feedback import FeedbackStore

from .conftest import Process, Start, png

Run = Callable[..., SimpleNamespace]
WORD = {"model": "zeros", "name": "a.png", "novelty": 0.25, "verdict": "false_alarm"}


def score(address: str, *contents: bytes) -> httpx2.Response:
    files = [("files", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return httpx2.post(f"{address}/v1/score", files=files, timeout=60)


# ---------------------------------------------------------------------------------------------------------------
# Starting


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> SimpleNamespace:
        code = main(["serve", *map(str, words)])
        said = capfd.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return command


def refused(done: SimpleNamespace, *words: str) -> None:
    """Exit code 2 and one line with these words."""
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("novanda: error: ")
    for word in words:
        assert word in line


def test_what_it_refuses_to_start_with(run: Run, model: Path, tmp_path: Path) -> None:
    refused(run(), "say what to serve")
    refused(run(tmp_path / "none.novanda"), "none.novanda", "can not be read")
    refused(run(model, model), "two models would be called zeros")
    refused(run("b b=x"), "NAME=b b=x")
    refused(run(model, "--port", 70000), "--port", "70000")
    refused(run(model, "--host", "no.such.host.invalid"), "no.such.host.invalid")
    refused(run(model, "--limits.files", 0), "limit files")
    refused(run(model, "--limits.pixels", 10**9), "64,000,000")
    (tmp_path / "text").write_text("no database")
    refused(run(model, "--feedback", tmp_path / "text"), "can not keep feedback", "--feedback")
    refused(run(model, "--feedback", tmp_path / "no" / "folder"), "can not keep feedback")
    refused(run(model, "--feedback", tmp_path), "no regular file")


def test_a_detector_of_no_images_is_refused(run: Run, tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(60, 4))
    Detector(OCSVM(), false_alarm_rate=0.2).fit(table).save(tmp_path / "table.novanda")
    refused(run(tmp_path / "table.novanda"), "table can not be served", "features")


def test_tokens_that_are_none(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(run(model, "--token-file", tmp_path / "none"), "none", "can not be read")
    for token in ("", "short", "with spaces in between", "naïve-token-of-some-length"):
        (tmp_path / "token").write_text(token)
        refused(run(model, "--token-file", tmp_path / "token"), "at least 16 printable ASCII")
        monkeypatch.setenv("NOVANDA_TOKEN", token)
        refused(run(model), "NOVANDA_TOKEN", "at least 16")
        monkeypatch.delenv("NOVANDA_TOKEN")


def test_a_port_that_is_taken(run: Run, model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(run(model, "--port", port, "--feedback", tmp_path / "f"), f"127.0.0.1 port {port}", "choose another")


def test_named_models_a_token_and_other_hosts(start: Start, model: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse-battery\n")
    process = start(f"other={model}", "--token-file", tmp_path / "token", "--allow-host", "parts.example")
    with httpx2.Client(base_url=process.address) as client:
        assert client.get("/v1/models").status_code == 401
        client.headers["Authorization"] = "Bearer correct-horse-battery"
        assert [found["name"] for found in client.get("/v1/models").json()["models"]] == ["zeros", "other"]
        assert client.get("/v1/models", headers={"Host": "parts.example"}).status_code == 200
        assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
    command = Path(f"/proc/{process.child.pid}/cmdline").read_text()
    assert "correct-horse" not in command


def test_an_exported_file_is_served_without_torch(detector: Detector, images: np.ndarray, tmp_path: Path) -> None:
    export(detector, tmp_path / "zeros.onnx")
    process = Process(
        tmp_path / "zeros.onnx", "--port", "0", "--feedback", tmp_path / "f.sqlite", blocked=("torch", "matplotlib")
    )
    answer = score(process.address, png(images[0])).json()
    assert answer["results"][0]["novelty"] == pytest.approx(detector.novelty_score(images[:1, :, :, None])[0], rel=1e-4)
    assert process.end()[0] == 0


def test_it_listens_to_this_machine_alone(narrow: Process) -> None:
    process = narrow
    assert process.address.startswith("http://127.0.0.1:")
    table = Path("/proc/net/tcp").read_text()
    listening = [line.split()[1] for line in table.splitlines() if f":{process.port:04X}" in line.split()[1]]
    assert "0100007F" in {address.partition(":")[0] for address in listening}
    assert "00000000" not in {address.partition(":")[0] for address in listening}


# ---------------------------------------------------------------------------------------------------------------
# Ending


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_told_to_stop_it_finishes_what_it_has_begun(
    start: Start, images: np.ndarray, by: signal.Signals, code: int
) -> None:
    process = start()
    content = png(images[0])
    whole = score(process.address, content).json()["results"]
    body = b'--B\r\nContent-Disposition: form-data; name="files"; filename="0.png"\r\n\r\n' + content + b"\r\n--B--\r\n"
    request = (
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
    with socket.create_connection(("127.0.0.1", process.port), timeout=60) as connection:
        connection.sendall(request[:-50])
        with httpx2.Client(base_url=process.address) as client:
            wait_until(lambda: "novanda_requests_in_work 2.0" in client.get("/metrics").text)
        process.child.send_signal(by)
        wait_until(lambda: not listens(process.port))
        connection.sendall(request[-50:])
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"] == whole
    ended, logged = process.end()
    assert ended == code
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line.get("route") == "/v1/score"] == [200, 200]
    assert "Traceback" not in logged


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_feedback_survives_a_kill(start: Start, tmp_path: Path) -> None:
    process = start()
    answered: list[int] = []

    def speak() -> None:
        with httpx2.Client(base_url=process.address) as client, contextlib.suppress(httpx2.HTTPError):
            for number in range(1_000_000):  # until it is killed in the middle
                answer = client.post("/v1/feedback", json={**WORD, "novelty": number})
                answered.append(int(answer.json()["novelty"]))

    speaker = threading.Thread(target=speak)
    speaker.start()
    wait_until(lambda: len(answered) >= 20)
    process.end(signal.SIGKILL)
    speaker.join(60)
    again = start()
    listed = csv.DictReader(httpx2.get(f"{again.address}/v1/feedback?format=csv").text.splitlines())
    kept = [int(float(row["novelty"])) for row in listed]
    assert kept[: len(answered)] == answered
    assert len(kept) <= len(answered) + 1, "at most the one whose answer was lost"
    again.end()
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    assert len(store.listed(0, len(kept) + 1)) == len(kept)
    store.close()


def test_the_store_writes_ahead_and_two_may_use_it(tmp_path: Path) -> None:
    first, second = (FeedbackStore(tmp_path / "f.sqlite") for _ in range(2))
    assert first._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert first._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    first.keep(FeedbackIn(**WORD))  # type: ignore[arg-type]  # values of several types
    second.keep(FeedbackIn(**{**WORD, "novelty": 0.5}))  # type: ignore[arg-type]  # values of several types
    assert [row[4] for row in first.listed(0, 10)] == [0.25, 0.5]
    first.close()
    second.close()


def test_a_full_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novanda.serve.feedback.MAX_ROWS", 1)
    store = FeedbackStore(tmp_path / "f.sqlite")
    said = FeedbackIn(**WORD)  # type: ignore[arg-type]  # values of several types
    assert store.keep(said) is not None
    assert store.keep(said) is None
    store.close()


# ---------------------------------------------------------------------------------------------------------------
# Bytes on a socket


def heard(connection: socket.socket) -> bytes:
    """All that comes until the service closes the connection, or its JSON ends."""
    received = b""
    while part := connection.recv(65536):
        received += part
        if b"\r\n\r\n" in received and received.endswith(b"}"):
            break
    return received


FORM = "Content-Type: multipart/form-data; boundary=B"
BEGUN = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
ENDED = b"\r\n--B--\r\n"


def head(*lines: str) -> bytes:
    return "\r\n".join(("POST /v1/score HTTP/1.1", "Host: localhost", *lines, "", "")).encode()


def test_limits_hold_while_the_body_streams_in(narrow: Process) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=60) as connection:
        connection.sendall(head(FORM, "Content-Length: 99999999999"))
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"99,999,999,999 bytes announced" in answer
    # Of a body without an announced length it is told in the middle, and a client that does not listen is heard out.
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=60) as connection:
        connection.sendall(head(FORM, "Transfer-Encoding: chunked") + b"%x\r\n" % len(BEGUN) + BEGUN + b"\r\n")
        for _ in range(700):
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"too_large"' in answer


def test_a_refused_file_is_never_in_memory(narrow: Process, images: np.ndarray) -> None:
    assert score(narrow.address, png(images[0])).status_code == 200
    before, size = peak(narrow.child.pid), 19_000_000
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=60) as connection:
        connection.sendall(head(FORM, f"Content-Length: {len(BEGUN) + size + len(ENDED)}") + BEGUN)
        for _ in range(size // 1_000_000):
            connection.sendall(bytes(1_000_000))
        connection.sendall(ENDED)
        assert b"19,000,000 bytes" in heard(connection)
    assert peak(narrow.child.pid) - before < size // 2


def peak(process: int) -> int:
    """The most memory a process has held, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_huge_headers_and_no_http(narrow: Process) -> None:
    for sent in (head("X: " + "x" * 2_000_000), b"\x16\x03\x01" + os.urandom(200) + b"\r\n\r\n", b"GET\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", narrow.port), timeout=60) as connection:
            with contextlib.suppress(OSError):  # it may have closed before all was sent
                connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert httpx2.get(f"{narrow.address}/healthz").status_code == 200


def test_a_client_that_goes_away_costs_nothing(narrow: Process, images: np.ndarray) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", narrow.port)) as connection:
            connection.sendall(head(FORM, "Content-Length: 1000") + b"--B")
    wait_until(lambda: 'status="499"' in httpx2.get(f"{narrow.address}/metrics").text)
    assert score(narrow.address, png(images[0])).status_code == 200
