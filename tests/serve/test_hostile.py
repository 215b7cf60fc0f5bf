"""Two hundred hostile uploads: every one refused, the sound image beside it scored as if it were alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from novanda.serve.uploads import MAX_NAME

from .conftest import Connect, png
from .test_api import PROBLEM, parts

COUNT = 200
NAMES = (
    "../../etc/passwd", "/dev/zero", "file:///etc/passwd", "C:\\boot.ini", "CON", "a\x00.png", "-rf", "~root", " ", ".",
    "$(reboot).png", "'; DROP TABLE feedback; --", "=cmd|' /C calc'!A0", "\u202egnp.exe", "\U0001f4a3.png", "n" * 3000,
    "..", "%2e%2e%2f", "<img src=x onerror=alert(1)>.png",
)  # fmt: skip


def encoded(form: str, side: int = 40) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def png_of(width: int, height: int, data: bytes, before: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A gray PNG that says it has this size, whatever its data hold, with further chunks before them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def hostile() -> Iterator[tuple[str, bytes]]:
    """(name, content), without end."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    yield "bomb-in-pixels.png", png_of(50_000, 50_000, bomb)
    yield "bomb-at-the-limit.png", png_of(5001, 5000, zlib.compress(bytes(5000 * 5002), 9))
    yield "bomb-in-text.png", png_of(64, 64, zlib.compress(bytes(64 * 65)), before=[(b"zTXt", b"a\0\0" + bomb)])
    yield "bomb-in-profile.png", png_of(64, 64, b"", before=[(b"iCCP", b"a\0\0" + bomb)])
    yield "no-pixels.png", png_of(0, 0, b"")
    yield "flat.png", png_of(1, 20_000, zlib.compress(bytes(40_000)))
    yield "negative.png", png_of(2**31, 2**31, b"")
    yield "empty.png", b""
    yield "one-byte.png", b"\x89"
    yield "signature-only.png", b"\x89PNG\r\n\x1a\n"
    yield "page.html", b"<!doctype html><script>alert(1)</script>"
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    yield "program.png", b"\x7fELF" + bytes(2000)
    yield "script.jpg", b"#!/bin/sh\nrm -rf /\n"
    yield "pickle.png", b"\x80\x04cos\nsystem\n(S'true'\ntR."
    yield "archive.png", b"PK\x03\x04" + bytes(500)
    yield "moving.gif", encoded("GIF")
    yield "postscript.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"
    yield "document.pdf", b"%PDF-1.7\n"
    yield "zeros.bin", bytes(100_000)
    for name in NAMES:
        yield name, b"no image, whatever its name says"
    generator = np.random.default_rng(1)
    while True:  # torn and garbled files of every kind that is read
        for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
            whole = encoded(form)
            yield f"torn.{form}", whole[: int(generator.integers(1, max(2, len(whole) // 4)))]
            garbled = bytearray(whole)
            garbled[:24] = generator.bytes(24)
            yield f"garbled.{form}", bytes(garbled)


@pytest.mark.parametrize(("batch", "rounding"), [(1, 0.0), (32, 1e-5)])
def test_two_hundred_hostile_uploads(connect: Connect, images: np.ndarray, batch: int, rounding: float) -> None:
    client: TestClient = connect(batch=batch)  # alone to the last digit; which share a batch is a matter of time
    sound = png(images[0])
    (alone,) = client.post("/v1/score", files=parts(("sound.png", sound))).json()["results"]
    assert alone["error"] is None
    alone["novelty"] = pytest.approx(alone["novelty"], rel=rounding, abs=0)
    attacks = [attack for attack, _ in zip(hostile(), range(COUNT), strict=False)]
    for start in range(0, COUNT, 20):
        chosen = attacks[start : start + 20]
        files = [("sound.png", sound), *chosen, ("sound.png", sound)]
        answer = client.post("/v1/score", files=parts(*files))
        assert answer.status_code == 200
        first, *refused, last = answer.json()["results"]
        assert first == alone
        assert last == alone
        assert len(refused) == len(chosen)
        for (name, _), result in zip(chosen, refused, strict=True):
            assert result["novelty"] is None, name
            assert result["error"].keys() == PROBLEM
            assert len(result["name"]) <= MAX_NAME
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("name", ["bomb-in-pixels.png", "page.html", "empty.png"])
def test_alone_each_is_a_clear_refusal(connect: Connect, name: str) -> None:
    content = dict(attack for attack, _ in zip(hostile(), range(20), strict=False))[name]
    for path in ("/v1/score", "/v1/explain"):
        answer = connect().post(path, files=parts((name, content)))
        assert answer.status_code == 422
        assert answer.json()["error"] == "unreadable"


def test_a_bomb_is_refused_before_it_is_decoded(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    content = png_of(50_000, 50_000, zlib.compress(bytes(1000)))
    problem = connect().post("/v1/score", files=parts(("bomb.png", content))).json()
    assert "50000 x 50000 pixels are more than the limit of 25,000,000" in problem["got"]
