"""Every way in which the service says no: a status, and a `Problem` that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from novanda.errors import InputError
from novanda.serve.answers import FileResult, Problem, Refusal


class Refused(HTTPException):
    """Ends a request; an HTTPException, for those are what the framework's own parsing lets through."""

    def __init__(
        self,
        status: int,
        problem: Problem,
        *,
        headers: Mapping[str, str] | None = None,
        results: Sequence[FileResult] | None = None,
    ) -> None:
        super().__init__(status, problem.error, dict(headers) if headers else None)
        self.problem = problem
        self.results = results

    def content(self) -> dict[str, Any]:
        """The answer's JSON object."""
        named = self.problem.model_dump()
        refusal = Refusal(**named, results=None if self.results is None else list(self.results))
        return refusal.model_dump(exclude_none=self.results is None)


def refused(
    status: int, error: str, *, expected: str, got: str, hint: str, headers: Mapping[str, str] | None = None
) -> Refused:
    """A refusal in words."""
    return Refused(status, Problem(error=error, expected=expected, got=got, hint=hint), headers=headers)


def busy(what: str) -> Refused:
    """Too much is in work already."""
    return refused(
        503,
        "busy",
        expected=f"fewer {what} at a time",
        got="as many as are allowed",
        hint="wait as long as Retry-After says, then send it again",
        headers={"Retry-After": "1"},
    )


def too_large(what: str, most: int, got: str, hint: str) -> Refused:
    """More bytes than a bound allows."""
    return refused(413, "too_large", expected=f"{what} of at most {most:,} bytes", got=got, hint=hint)


def not_scorable(error: InputError) -> Refused:
    """An image that can be read, but of which the detector can make nothing."""
    return refused(
        422, "not_scorable", expected="an image like those fitted on", got=str(error), hint="look at the image"
    )


def of_http(error: HTTPException) -> Refused:
    """The framework's own refusals in our words."""
    if isinstance(error, Refused):
        return error
    words = {
        404: ("not_found", "an address that the service has", "this one", "see /openapi.json for all of them"),
        405: ("method_not_allowed", "another HTTP method here", "this one", "see /openapi.json; Allow names it"),
        400: ("bad_request", "a body that can be read", str(error.detail), "see /openapi.json for its form"),
    }
    name, expected, got, hint = words.get(
        error.status_code, ("refused", "something else", str(error.detail), "see /openapi.json")
    )
    problem = Problem(error=name, expected=expected, got=got, hint=hint)
    return Refused(error.status_code, problem, headers=error.headers)


def of_validation(errors: Sequence[Any]) -> Refused:
    """The first of the framework's findings about parameters or a JSON body."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    return refused(
        422,
        "invalid",
        expected=f"{place}: {first['msg']}",
        got=_short(first.get("input")),
        hint="see /openapi.json for what is taken",
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
