"""What all routes share: how their refusals and bodies are described, and what they are given."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from novanda.serve.answers import Refusal
from novanda.serve.service import Service
from novanda.serve.uploads import FIELD

REASONS = {
    400: "the body can not be read",
    401: "the token is missing or wrong",
    403: "asked under an unknown host name, or by another site's page",
    404: "no such model or row",
    408: "the request took too long to arrive",
    409: "no room for more",
    413: "too many bytes",
    415: "no multipart/form-data",
    422: "nothing in it can be used; of files, `results` has each one's reason",
    503: "too much in work; Retry-After says when to come back",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals and those that every route can give, for the OpenAPI page."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({401, 403, 413, *statuses}):
        found[status] = {"model": Refusal, "description": REASONS[status]}
        if status == 503:
            found[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return found


def files_body(about: str, most: int | None = None) -> dict[str, Any]:
    """The multipart body, which is read by hand, as OpenAPI says it."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "description": about}
    files |= {} if most is None else {"maxItems": most}
    schema = {"type": "object", "properties": {FIELD: files}, "required": [FIELD], "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def service_of(request: Request) -> Service:
    """The service of the application that was asked."""
    service: Service = request.app.state.service
    return service


In = Annotated[Service, Depends(service_of)]
ModelName = Annotated[str | None, Query(max_length=64, description="left out: the first that was named at start")]
