"""Files out of a multipart body while it streams in: one in memory at a time, none on the disk.

The framework's own form parser writes files to the disk and knows no limit on their size; the parser beneath it
(python-multipart) is used here directly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from novanda.serve.limits import Limits
from novanda.serve.refusals import Refused, refused, too_large

FIELD = "files"
MAX_NAME = 1024
MAX_HEADER = 8192


@dataclass(frozen=True)
class Upload:
    """One file of a request.

    Attributes:
        name: as the client sent it, for the answer alone: nothing is opened or written by it.
        data: its bytes; empty where it was refused.
        problem: why it was refused while it came in.
    """

    name: str | None
    data: bytes
    problem: Refused | None = None


async def uploads(body: AsyncIterator[bytes], content_type: str, limits: Limits) -> AsyncIterator[Upload]:
    """Every file of the body, as soon as it is complete.

    Raises:
        Refused: 415 for no multipart, 400 for a broken one, 422 for too many files, none, or other fields.
    """
    parts = _Parts(limits)
    parser = _parser(content_type, parts)
    seen = False
    async for chunk in body:
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise _broken(str(error)) from error
        for upload in parts.taken():
            seen = True
            yield upload
    if not parts.ended:
        raise _broken("the body ends before its last boundary")
    if not seen:
        raise refused(
            422, "no_files", expected=f"at least one file in the field {FIELD!r}", got="none",
            hint=f"curl -F {FIELD}=@photo.png",
        )  # fmt: skip


def _parser(content_type: str, parts: _Parts) -> MultipartParser:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise refused(
            415, "not_multipart", expected="Content-Type: multipart/form-data with a boundary",
            got=content_type[:100] or "no Content-Type", hint=f"curl -F {FIELD}=@photo.png",
        )  # fmt: skip
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_headers_finished": parts.headers_finished,
                "on_part_data": parts.content,
                "on_part_end": parts.end,
                "on_end": parts.finish,
            },
        )
    except FormParserError as error:  # a boundary longer than the standard allows
        raise _broken(str(error)) from error


def _broken(got: str) -> Refused:
    return refused(
        400, "broken_multipart", expected="a whole multipart body", got=got[:200],
        hint="let a library write it (curl -F, FormData, requests' files=)",
    )  # fmt: skip


class _Parts:
    """What the parser calls back; holds the part that is coming in."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ended = False
        self._count = 0
        self._done: list[Upload] = []
        self.begin()

    def begin(self) -> None:
        self._field, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name: str | None = None
        self._data = bytearray()
        self._size = 0

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > MAX_HEADER:
            raise _broken(f"a part's header of more than {MAX_HEADER} bytes")

    def header_end(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            raise refused(
                422, "unknown_field", expected=f"files in the field {FIELD!r} and no other", got=repr(field[:100]),
                hint=f"curl -F {FIELD}=@photo.png; the model is named in the address, ?model=NAME",
            )  # fmt: skip
        self._count += 1
        if self._count > self.limits.files:
            raise refused(
                422, "too_many_files", expected=f"at most {self.limits.files} files in one request",
                got="more", hint="send the rest in further requests",
            )  # fmt: skip
        if b"filename" in options:
            self._name = options[b"filename"].decode("utf-8", "replace")[:MAX_NAME]

    def content(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size <= self.limits.file_bytes:
            self._data += data[start:end]
        else:
            self._data.clear()  # the rest is only counted

    def end(self) -> None:
        problem = None
        if self._size > self.limits.file_bytes:
            problem = too_large(
                "a file", self.limits.file_bytes, f"{self._size:,} bytes", "make the image smaller, or save it as JPEG"
            )
        self._done.append(Upload(self._name, bytes(self._data), problem))
        self._data = bytearray()

    def finish(self) -> None:
        self.ended = True

    def taken(self) -> list[Upload]:
        done, self._done = self._done, []
        return done
