"""What the service takes before it says no."""

from __future__ import annotations

from dataclasses import dataclass, fields

from novanda.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients may ask; each refusal names the bound it met.

    Attributes:
        file_bytes: the largest image file. A larger one is refused, the others of its request are not.
        request_bytes: the largest request, all its files together.
        files: the most files in one request.
        pixels: the largest image, refused from its header before a pixel is decoded.
        seconds: the longest a request may take, from its first byte to the answer.
        requests: the most requests in work at a time; more are told to come back.
        explanations: the most explanations in work or waiting at a time, for each takes as long as many scores.
        batch: the most images that go through the network together.
        batch_wait: milliseconds that an image waits for others to share its batch; 0 does not wait.
    """

    file_bytes: int = 16 * 2**20
    request_bytes: int = 128 * 2**20
    files: int = 64
    pixels: int = 25_000_000
    seconds: float = 60.0
    requests: int = 32
    explanations: int = 4
    batch: int = 32
    batch_wait: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value >= 0 if field.name == "batch_wait" else value > 0):
                raise InputError(f"the limit {field.name} must be above 0; got {value!r}")
        if self.file_bytes > self.request_bytes:
            raise InputError(
                f"a request must have room for one file; got request_bytes {self.request_bytes:,} "
                f"below file_bytes {self.file_bytes:,}"
            )
