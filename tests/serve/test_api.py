"""Every route, asked as a program would, against the detector asked directly."""

from __future__ import annotations

import base64
import csv
import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import spearmanr
from starlette.testclient import TestClient

from novanda import pictures
from novanda.cli import main
from novanda.detector import Detector
from novanda.explanations import explain
from novanda.export import export
from novanda.exported import ExportedDetector
from novanda.serve.app import create_app
from novanda.serve.feedback import FeedbackStore

from .conftest import Connect, png

SOUND = ("novelty", "p_value", "is_novel", "threshold")
PROBLEM = {"error", "expected", "got", "hint"}


def parts(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", file) for file in files]


def scored(client: TestClient, images: np.ndarray, **query: str) -> list[dict[str, Any]]:
    files = parts(*((f"{number}.png", png(image)) for number, image in enumerate(images)))
    answer = client.post("/v1/score", files=files, params=query)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def test_scores_are_those_of_the_detector(client: TestClient, detector: Detector, images: np.ndarray) -> None:
    results = scored(client, images)
    assert [result["name"] for result in results] == [f"{number}.png" for number in range(len(images))]
    direct = images[:, :, :, None]
    np.testing.assert_allclose([r["novelty"] for r in results], detector.novelty_score(direct), rtol=1e-5)
    np.testing.assert_array_equal([r["p_value"] for r in results], detector.p_value(direct))
    np.testing.assert_array_equal([r["is_novel"] for r in results], detector.predict(direct) < 0)
    assert 0 < sum(r["is_novel"] for r in results) < len(images)
    assert {r["threshold"] for r in results} == {detector.calibration().threshold}
    assert {r["error"] for r in results} == {None}


@pytest.mark.parametrize(("batch", "rounding"), [(1, 0.0), (32, 1e-5)])
def test_a_refused_file_costs_no_other(connect: Connect, images: np.ndarray, batch: int, rounding: float) -> None:
    client = connect(batch=batch)  # alone to the last digit; which samples share a batch is a matter of time
    whole = png(images[0])
    files = parts(
        ("a.png", whole), ("torn.png", whole[:60]), ("text.png", b"text"), ("empty.png", b""), ("b.png", whole)
    )
    answer = client.post("/v1/score", files=files).json()
    assert answer["model"] == "zeros"
    assert answer["false_alarm_rate"] == 0.1
    (alone,) = scored(client, images[:1])
    alone["novelty"] = pytest.approx(alone["novelty"], rel=rounding, abs=0)
    first, *refused, last = answer["results"]
    for result in (first, last):
        assert [result[key] for key in SOUND] == [alone[key] for key in SOUND]
    for result in refused:
        assert [result[key] for key in SOUND] == [None] * 4
        assert result["error"].keys() == PROBLEM
    assert [result["error"]["got"].partition(":")[0] for result in refused] == [
        "broken or not an image",
        "not an image",
        "the file is empty (0 bytes)",
    ]


def test_where_all_are_refused_so_is_the_request(client: TestClient) -> None:
    answer = client.post("/v1/score", files=parts(("a.png", b"text"), ("b.png", b"")))
    assert answer.status_code == 422
    found = answer.json()
    assert found["error"] == "unreadable"
    assert [result["name"] for result in found["results"]] == ["a.png", "b.png"]
    assert found["got"] == found["results"][0]["error"]["got"]


def test_names_come_back_as_they_were_sent_and_touch_nothing(
    client: TestClient, images: np.ndarray, tmp_path: Path
) -> None:
    names = ["../../etc/passwd", "/etc/passwd", "naïve 像.png", "a;b\\c.png", "x" * 2000]
    before = sorted(tmp_path.rglob("*"))
    answer = client.post("/v1/score", files=parts(*((name, png(images[0])) for name in names)))
    assert [result["name"] for result in answer.json()["results"]] == [*names[:4], "x" * 1024]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_without_a_name_is_a_file(client: TestClient, images: np.ndarray) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + png(images[0]) + b"\r\n--B--\r\n"
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    (result,) = answer.json()["results"]
    assert result["name"] is None
    assert result["novelty"] is not None


FORM = "multipart/form-data; boundary=B"
FIELD = b"--B\r\nContent-Disposition: form-data; name="


@pytest.mark.parametrize(
    ("content_type", "body", "status", "error"),
    [
        ("application/json", b"{}", 415, "not_multipart"),
        ("multipart/form-data", b"", 415, "not_multipart"),
        ("", b"", 415, "not_multipart"),
        (FORM, b"", 400, "broken_multipart"),
        (FORM, b"no boundary at all", 400, "broken_multipart"),
        (FORM + 300 * "B", b"", 400, "broken_multipart"),
        (FORM, FIELD + b'"files"\r\n\r\nnever ends', 400, "broken_multipart"),
        (FORM, b"--B\r\n" + b"A" * 10000 + b": x\r\n\r\n", 400, "broken_multipart"),
        (FORM, b"--B--\r\n", 422, "no_files"),
        (FORM, b"--B\r\nX: y\r\n\r\nx\r\n--B--\r\n", 422, "unknown_field"),
        (FORM, FIELD + b'"path"\r\n\r\nx\r\n--B--\r\n', 422, "unknown_field"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/score", "/v1/explain"])
def test_bodies_that_are_none(
    client: TestClient, path: str, content_type: str, body: bytes, status: int, error: str
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json().keys() == PROBLEM


def test_unknown_models_and_addresses(client: TestClient, images: np.ndarray) -> None:
    answer = client.post("/v1/score?model=ones", files=parts(("a.png", png(images[0]))))
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_model")
    assert "zeros" in answer.json()["expected"]
    for method, path, status in (("GET", "/v2", 404), ("GET", "/v1/score", 405), ("GET", "/docs", 404)):
        refused = client.request(method, path)
        assert refused.status_code == status
        assert refused.json().keys() == PROBLEM
    too_long = client.get("/v1/feedback", params={"model": "m" * 65})
    assert (too_long.status_code, too_long.json()["error"]) == (422, "invalid")


def test_models_and_limits(connect: Connect, detector: Detector) -> None:
    answer = connect(files=7).get("/v1/models").json()
    (found,) = answer["models"]
    assert found == {
        "name": "zeros",
        "method": "pca",
        "title": "PCA reconstruction",
        "sample": {"channels": 1, "height": 8, "width": 8},
        "false_alarm_rate": 0.1,
        "threshold": detector.calibration().threshold,
        "calibration_count": 24,
        "can_explain": True,
    }
    assert answer["limits"]["files"] == 7


# ---------------------------------------------------------------------------------------------------------------
# Explaining


def pixels_of(address: str) -> np.ndarray:
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_explanation_is_that_of_the_detector(client: TestClient, detector: Detector, images: np.ndarray) -> None:
    answer = client.post("/v1/explain", files=parts(("one.png", png(images[-1])))).json()
    (direct,) = explain(detector, images[-1:, :, :, None])
    assert answer["name"] == "one.png"
    assert answer["novelty"] == pytest.approx(direct.novelty, rel=1e-5)
    assert (answer["p_value"], answer["is_novel"]) == (direct.p_value, direct.is_novel)
    assert answer["heat_kind"] == direct.heat_kind == "error"
    np.testing.assert_array_equal(pixels_of(answer["image"]), images[-1])
    assert direct.expected is not None
    np.testing.assert_array_equal(pixels_of(answer["expected"]), direct.expected[:, :, 0])
    # Colours brighten with heat, up to where they end.
    brightness = pixels_of(answer["heat"]).sum(2, dtype=int).ravel()
    assert spearmanr(brightness, np.minimum(direct.heat.ravel(), answer["heat_full"])).statistic > 0.99
    for told, neighbour in zip(answer["neighbours"], direct.neighbours, strict=True):
        assert told["distance"] == pytest.approx(neighbour.distance, rel=1e-5)
        np.testing.assert_array_equal(pixels_of(told["image"]), neighbour.image[:, :, 0])
    assert answer["remarks"] == list(direct.remarks)
    assert "row" not in str({key: value for key, value in answer.items() if not str(value).startswith("data:")})


def test_explanation_as_one_picture(client: TestClient, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    sheet = pictures.explanation_sheet

    def remembered(explanations: Any) -> Any:
        drawn.extend(explanations)
        return sheet(explanations)

    monkeypatch.setattr(pictures, "explanation_sheet", remembered)
    answer = client.post("/v1/explain?format=png", files=parts(("one.png", png(images[-1]))))
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).width == 1200
    assert [each.name for each in drawn] == ["one.png"]
    assert {neighbour.identifier for neighbour in drawn[0].neighbours} == {""}, "paths of the training images are told"


def test_only_one_image_is_explained_at_a_time(client: TestClient, images: np.ndarray) -> None:
    answer = client.post("/v1/explain", files=parts(("a.png", png(images[0])), ("b.png", png(images[1]))))
    assert (answer.status_code, answer.json()["error"]) == (422, "too_many_files")
    broken = client.post("/v1/explain", files=parts(("a.png", b"text")))
    assert (broken.status_code, broken.json()["error"]) == (422, "unreadable")


# ---------------------------------------------------------------------------------------------------------------
# Feedback


def word(**changed: Any) -> dict[str, Any]:
    return {"model": "zeros", "name": "a.png", "novelty": 0.25, "verdict": "false_alarm", **changed}


def test_feedback_is_kept_listed_changed_and_withdrawn(client: TestClient, detector: Detector) -> None:
    first = client.post("/v1/feedback", json=word()).json()
    second = client.post("/v1/feedback", json=word(name='b, "c".png', novelty=-1, verdict="true_alarm")).json()
    again = client.post("/v1/feedback", json=word(verdict="true_alarm")).json()
    assert again["id"] == first["id"]
    p_values = detector.calibration().p_value(np.array([0.25, -1]))
    listed = client.get("/v1/feedback").json()
    assert listed["next"] is None
    assert [(row["id"], row["verdict"], row["p_value"]) for row in listed["feedback"]] == [
        (first["id"], "true_alarm", p_values[0]),
        (second["id"], "true_alarm", p_values[1]),
    ]
    rows = list(csv.DictReader(client.get("/v1/feedback?format=csv").text.splitlines()))
    assert [row["path"] for row in rows] == ["a.png", 'b, "c".png']
    assert [float(row["novelty"]) for row in rows] == [0.25, -1]
    assert [row["false_alarm"] for row in rows] == ["no", "no"]
    assert client.delete(f"/v1/feedback/{first['id']}").status_code == 204
    assert client.delete(f"/v1/feedback/{first['id']}").status_code == 404
    assert [row["id"] for row in client.get("/v1/feedback").json()["feedback"]] == [second["id"]]


def test_false_alarms_move_the_threshold(
    client: TestClient, model: Path, detector: Detector, images: np.ndarray, tmp_path: Path
) -> None:
    """The whole way: score, mark, export, `novanda calibrate --confirm`."""
    threshold = detector.calibration().threshold
    flagged = [result for result in scored(client, images) if result["is_novel"]]
    for number, result in enumerate(flagged):
        verdict = "false_alarm" if number < 3 else "true_alarm"
        said = {"model": "zeros", "name": result["name"], "novelty": result["novelty"], "verdict": verdict}
        assert client.post("/v1/feedback", json=said).status_code == 200
    (tmp_path / "feedback.csv").write_bytes(client.get("/v1/feedback?format=csv").content)
    out = tmp_path / "moved.novanda"
    assert main(["calibrate", str(model), "--confirm", str(tmp_path / "feedback.csv"), "--out", str(out)]) == 0
    moved = Detector.load(out).calibration()
    assert len(moved) == len(detector.calibration()) + 3
    assert moved.threshold > threshold


def test_an_exported_file_scores_and_explains_nothing(detector: Detector, images: np.ndarray, tmp_path: Path) -> None:
    export(detector, tmp_path / "zeros.onnx")
    exported = ExportedDetector.load(tmp_path / "zeros.onnx")
    app = create_app({"zeros": exported}, FeedbackStore(tmp_path / "f.sqlite"))
    with TestClient(app, base_url="http://localhost") as client:
        (found,) = client.get("/v1/models").json()["models"]
        assert (found["method"], found["can_explain"]) == ("pca", False)
        results = scored(client, images)
        answer = client.post("/v1/explain", files=parts(("a.png", png(images[0]))))
    direct = images[:, :, :, None]
    np.testing.assert_allclose([r["novelty"] for r in results], detector.novelty_score(direct), rtol=1e-4)
    np.testing.assert_array_equal([r["is_novel"] for r in results], detector.predict(direct) < 0)
    assert (answer.status_code, answer.json()["error"]) == (422, "no_explanations")


def test_feedback_comes_in_pages(client: TestClient) -> None:
    for number in range(5):
        client.post("/v1/feedback", json=word(novelty=number))
    seen: list[float] = []
    after: int | None = 0
    while after is not None:
        page = client.get("/v1/feedback", params={"after": after, "limit": 2}).json()
        seen += [row["novelty"] for row in page["feedback"]]
        after = page["next"]
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "said",
    [
        {},
        word(verdict="maybe"),
        word(novelty="0.5"),
        word(novelty=None),
        word(name="n" * 1025),
        word(more=1),
        [word()],
    ],
)
def test_feedback_that_is_none(client: TestClient, said: Any) -> None:
    answer = client.post("/v1/feedback", json=said)
    assert answer.status_code == 422
    assert answer.json().keys() == PROBLEM
    assert client.get("/v1/feedback").json()["feedback"] == []


@pytest.mark.parametrize("said", [b"{", b"[" * 20000, b'{"novelty": NaN}', b"1" * 5000, b"\xff", b'"\\ud800"', b""])
def test_json_that_is_none(client: TestClient, said: bytes) -> None:
    answer = client.post("/v1/feedback", content=said, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json().keys() == PROBLEM


@pytest.mark.parametrize("novelty", ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400])
def test_a_novelty_that_is_no_finite_number(client: TestClient, novelty: str) -> None:
    said = f'{{"model": "zeros", "name": "a", "verdict": "true_alarm", "novelty": {novelty}}}'
    answer = client.post("/v1/feedback", content=said, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


# ---------------------------------------------------------------------------------------------------------------
# Health


def test_health_and_readiness(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}

    def broken() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(client.app.state.service.store, "check", broken)  # type: ignore[attr-defined]  # FastAPI's
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "disk I/O error" in answer.json()["got"]


def test_metrics_count_what_happened(client: TestClient, images: np.ndarray) -> None:
    results = scored(client, images[-3:])
    client.post("/v1/score", files=parts(("a.png", b"text")))
    client.post("/v1/feedback", json=word())
    client.get("/no/such/address")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    novel = sum(result["is_novel"] for result in results)
    assert found["novanda_files_total", "novel", "zeros"] == novel > 0
    assert found["novanda_files_total", "refused", "zeros"] == 1
    assert found["novanda_requests_total", "/v1/score", "200", "POST"] == 1
    assert found["novanda_requests_total", "/v1/score", "422", "POST"] == 1
    assert found["novanda_requests_total", "404", "GET", "unmatched"] == 1
    assert found["novanda_batch_size_sum", "zeros"] == 3
    assert found["novanda_feedback_total", "false_alarm", "zeros"] == 1
