"""Who may ask, how much, how many at a time and for how long; what every answer carries; what is logged."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.serve.limits import Limits
from novanda.serve.logs import JsonLines

from .conftest import Connect, png, run_alone
from .test_api import PROBLEM, parts

TOKEN = "correct-horse-battery"
OPEN = ("/", "/page/app.js", "/page/style.css", "/healthz", "/readyz", "/openapi.json")
CLOSED = (
    ("GET", "/v1/models"),
    ("POST", "/v1/score"),
    ("POST", "/v1/explain"),
    ("GET", "/v1/feedback"),
    ("POST", "/v1/feedback"),
    ("DELETE", "/v1/feedback/1"),
    ("GET", "/metrics"),
    ("GET", "/v1/models/"),
    ("GET", "//v1/models"),
    ("GET", "/no/such/address"),
)

# ---------------------------------------------------------------------------------------------------------------
# Who may ask


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \u00e9",
    ],
)
def test_without_the_token_nothing_is_told(connect: Connect, given: str | None) -> None:
    client = connect(TOKEN)
    headers = {} if given is None else {b"Authorization": given.encode("utf-8")}
    for method, path in CLOSED:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json().keys() == PROBLEM
        assert TOKEN not in answer.text


def test_with_the_token_all_is_as_without_one(connect: Connect, images: np.ndarray) -> None:
    client = connect(TOKEN)
    for scheme in ("Bearer", "bearer"):
        client.headers["Authorization"] = f"{scheme} {TOKEN}"
        assert client.post("/v1/score", files=parts(("a.png", png(images[0])))).status_code == 200
    content = client.get("/openapi.json").json()
    assert content["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert content["paths"]["/v1/score"]["post"]["security"] == [{"token": []}]


def test_page_and_health_need_no_token(connect: Connect) -> None:
    client = connect(TOKEN)
    assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("LOCALHOST:8000", 200), ("[::1]:8000", 200), ("evil.example", 403), ("evil.example:8000", 403),
    ("localhost.evil.example", 403), ("[::2]", 403), ("", 403),
])  # fmt: skip
def test_other_host_names(connect: Connect, host: str, status: int) -> None:
    client = connect(hosts=frozenset({"localhost", "[::1]"}))
    assert client.get("/v1/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-origin", 200), ("same-site", 200), ("none", 200)]
)
def test_pages_of_other_sites(client: TestClient, site: str, status: int) -> None:
    assert client.get("/v1/models", headers={"Sec-Fetch-Site": site}).status_code == status
    assert client.get("/", headers={"Sec-Fetch-Site": site}).status_code == 200, "links to the page work"


# ---------------------------------------------------------------------------------------------------------------
# How much


def pieces(size: int, piece: int = 1000) -> Iterator[bytes]:
    yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    for _ in range(size // piece):
        yield b"x" * piece
    yield b"\r\n--B--\r\n"


HEADERS = {"Content-Type": "multipart/form-data; boundary=B"}


def test_a_large_file_is_refused_and_the_others_are_not(connect: Connect, images: np.ndarray) -> None:
    client = connect(file_bytes=5000, request_bytes=100_000)
    whole = png(images[0])
    files = parts(
        ("a.png", whole), ("b.png", whole + bytes(5001 - len(whole))), ("c.png", whole + bytes(5000 - len(whole)))
    )
    answer = client.post("/v1/score", files=files).json()
    problems = [result["error"] for result in answer["results"]]
    assert problems[0] is None
    assert problems[2] is None
    assert (problems[1]["error"], problems[1]["expected"]) == ("too_large", "a file of at most 5,000 bytes")
    assert problems[1]["got"] == "5,001 bytes"
    alone = client.post("/v1/score", files=files[1:2])
    assert (alone.status_code, alone.json()["error"]) == (413, "too_large")


def test_a_large_request_is_refused_by_what_it_announces_or_by_what_it_sends(connect: Connect) -> None:
    client = connect(file_bytes=5000, request_bytes=20_000)
    for content in (b"".join(pieces(30_000)), pieces(30_000)):
        answer = client.post("/v1/score", content=content, headers=HEADERS)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
        assert "20,000" in answer.json()["expected"]


def test_what_carries_no_files_may_not_be_large(client: TestClient) -> None:
    said = json.dumps({"model": "zeros", "name": "a" * 70_000, "novelty": 0, "verdict": "true_alarm"}).encode()
    for content in (said, iter([said[:1000], said[1000:]])):
        answer = client.post("/v1/feedback", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_too_many_files_and_pixels(connect: Connect, images: np.ndarray) -> None:
    client = connect(files=3, pixels=100)
    small, large = png(images[0]), png(np.zeros((11, 10), dtype=np.uint8))
    assert client.post("/v1/score", files=parts(*[("a.png", small)] * 3)).status_code == 200
    answer = client.post("/v1/score", files=parts(*[("a.png", small)] * 4))
    assert (answer.status_code, answer.json()["error"]) == (422, "too_many_files")
    mixed = client.post("/v1/score", files=parts(("a.png", small), ("b.png", large))).json()["results"]
    assert mixed[0]["error"] is None
    assert "10 x 11 pixels are more than the limit of 100" in mixed[1]["error"]["got"]


@pytest.mark.parametrize(
    "wrong", [{"files": 0}, {"seconds": -1}, {"batch_wait": -1}, {"file_bytes": 2, "request_bytes": 1}]
)
def test_limits_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Limits(**wrong)


def test_more_pixels_than_decoding_takes(connect: Connect) -> None:
    with pytest.raises(InputError, match="64,000,000"):
        connect(pixels=64_000_001)


# ---------------------------------------------------------------------------------------------------------------
# How many at a time, for how long


@pytest.fixture
def held(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is not set, nothing is scored."""
    event = threading.Event()
    plain = Detector.novelty_score

    def waiting(self: Detector, X: Any) -> np.ndarray:
        event.wait(30)
        return plain(self, X)

    monkeypatch.setattr(Detector, "novelty_score", waiting)
    yield event
    event.set()


def test_when_all_places_are_taken_clients_are_told_to_come_back(
    connect: Connect, images: np.ndarray, held: threading.Event
) -> None:
    client = connect(requests=2)
    files = parts(("a.png", png(images[0])))
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(client.post, "/v1/score", files=files) for _ in range(2)]
        service = client.app.state.service  # type: ignore[attr-defined]  # FastAPI's
        deadline = time.monotonic() + 20
        while service.measures.in_work._value.get() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        third = client.post("/v1/score", files=files)
        assert (third.status_code, third.json()["error"], third.headers["retry-after"]) == (503, "busy", "1")
        assert client.get("/healthz").status_code == 200
        held.set()
        assert [each.result().status_code for each in first] == [200, 200]
    assert client.post("/v1/score", files=files).status_code == 200


def test_a_score_that_takes_too_long(connect: Connect, images: np.ndarray, held: threading.Event) -> None:
    client = connect(seconds=0.3)
    answer = client.post("/v1/score", files=parts(("a.png", png(images[0]))))
    assert (answer.status_code, answer.json()["error"]) == (408, "too_slow")
    held.set()
    deadline = time.monotonic() + 20
    while client.post("/v1/score", files=parts(("a.png", png(images[0])))).status_code != 200:
        assert time.monotonic() < deadline, "the queue did not go on"


def test_explanations_have_places_of_their_own(connect: Connect, images: np.ndarray, held: threading.Event) -> None:
    client = connect(explanations=1)
    files = parts(("a.png", png(images[0])))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/explain", files=files)
        service = client.app.state.service  # type: ignore[attr-defined]  # FastAPI's
        deadline = time.monotonic() + 20
        while not service._explanations and time.monotonic() < deadline:
            time.sleep(0.01)
        second = client.post("/v1/explain", files=files)
        assert (second.status_code, second.json()["error"]) == (503, "busy")
        held.set()
        assert first.result().status_code == 200


def scope_of_a_score(**headers: str) -> dict[str, Any]:
    named = {"host": "localhost", "transfer-encoding": "chunked", "content-type": HEADERS["Content-Type"], **headers}
    return {
        "type": "http", "method": "POST", "path": "/v1/score", "raw_path": b"/v1/score", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "http_version": "1.1", "scheme": "http", "client": None, "server": ("localhost", 80), "root_path": "",
    }  # fmt: skip


def test_a_body_that_comes_too_slowly(connect: Connect) -> None:
    app = connect(seconds=0.3).app
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05 if not sent else 600)
        return {"type": "http.request", "body": b"\r\n", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    # The client would go on for ever; the answer comes all the same.
    run_alone(asyncio.wait_for(app(scope_of_a_score(), receive, send), 60))
    assert sent[0]["status"] == 408
    assert json.loads(b"".join(message.get("body", b"") for message in sent))["error"] == "too_slow"


def test_a_refused_client_is_heard_out_before_the_connection_closes(connect: Connect) -> None:
    """Closed while bytes still come in, a connection is reset, and the answer is lost on its way."""
    app = connect(file_bytes=1000, request_bytes=2000).app
    happened: list[str] = []

    async def receive() -> dict[str, Any]:
        happened.append("in")
        return {"type": "http.request", "body": bytes(1000), "more_body": happened.count("in") < 9}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            happened.append("more" if message.get("more_body") else "end")

    run_alone(asyncio.wait_for(app(scope_of_a_score(), receive, send), 60))
    told = happened.index("more")
    assert happened[:told].count("in") <= 3
    assert happened[told + 1 :] == ["in"] * (9 - happened[:told].count("in")) + ["end"]
    # Who asks whether to send at all, and is told no, has nothing more to say.
    happened.clear()
    run_alone(
        asyncio.wait_for(app(scope_of_a_score(expect="100-continue", **{"content-length": "9000"}), receive, send), 60)
    )
    assert happened == ["more", "end"]


# ---------------------------------------------------------------------------------------------------------------
# What every answer carries, and what is logged


def test_headers_of_every_answer(connect: Connect) -> None:
    client = connect(TOKEN)
    seen = set()
    for path in ("/", "/page/app.js", "/v1/models", "/healthz", "/openapi.json", "/no/such/address"):
        headers = client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/page/app.js") else "no-store")
        assert "server" not in headers
        seen.add(headers["x-request-id"])
    assert len(seen) == 6


def test_log_lines_have_no_names_and_no_contents(
    client: TestClient, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/v1/score?model=zeros", files=parts(("secret-name.png", png(images[0])), ("b.png", b"secret")))
        client.post("/v1/feedback", json={"model": "zeros", "name": "secret", "novelty": 1, "verdict": "true_alarm"})
        client.get("/secret?token=secret")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "novanda.serve"]
    assert not [line for line in lines if "secret" in line]
    first, _, third = map(json.loads, lines)
    assert first.keys() == {
        "time", "level", "event", "request", "method", "route", "status", "seconds", "bytes", "files", "refused",
    }  # fmt: skip
    assert (first["route"], first["status"], first["files"], first["refused"]) == ("/v1/score", 200, 2, 1)
    assert (third["route"], third["status"]) == ("unmatched", 404)


def test_a_bug_is_answered_with_json_and_logged_with_its_traceback(
    connect: Connect, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, broken = Detector.novelty_score, True

    def score(self: Detector, X: Any) -> np.ndarray:
        if broken:
            raise RuntimeError("a bug")
        return plain(self, X)

    monkeypatch.setattr(Detector, "novelty_score", score)
    client = connect()
    files = parts(("a.png", png(images[0])))
    answer = client.post("/v1/score", files=files)
    assert answer.status_code == 500
    assert answer.json().keys() == PROBLEM
    assert "a bug" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["hint"]
    (line,) = [json.loads(JsonLines().format(each)) for each in caplog.records if each.levelno == logging.ERROR]
    assert line["request"] == answer.headers["x-request-id"]
    assert "RuntimeError: a bug" in line["traceback"]
    broken = False
    assert client.post("/v1/score", files=files).status_code == 200, "the queue did not go on"
