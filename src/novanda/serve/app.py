"""The application: routes, page, guard and refusals put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from novanda.serve.feedback import FeedbackStore
from novanda.serve.guard import Admission, Guard
from novanda.serve.limits import Limits
from novanda.serve.refusals import Refused, of_http, of_validation
from novanda.serve.routes import ROUTERS
from novanda.serve.service import Service

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.exported import ExportedDetector

_MEDIA = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEALTH = frozenset({"/healthz", "/readyz", "/openapi.json"})


def create_app(
    detectors: Mapping[str, Detector | ExportedDetector],
    store: FeedbackStore,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        detectors: fitted on image files, or exported, by the name they are asked for; the first is the default.
        store: where feedback is kept; closed when the application ends.
        limits: None is `Limits()`.
        token: asked of everything but the page's own files and the health routes; None asks for none.
        hosts: names by which it may be called; None: any.

    Raises:
        InputError: a detector does not take image files.
    """
    limits = limits or Limits()
    service = Service(detectors, store, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.working():
            yield

    app = FastAPI(
        title="novanda",
        version=version("novanda"),
        description="Novelty detection: how far from normal an image is, and whether that is too far.",
        lifespan=lifespan,
        # The framework's own pages about the API load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    page = _page_files()
    for address, (content, media) in page.items():
        app.add_api_route(address, _file(content, media), include_in_schema=False)
    app.add_exception_handler(HTTPException, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_refusal)
    admission = Admission(token, hosts, _HEALTH | page.keys())
    app.add_middleware(Guard, limits=limits, admission=admission, measures=service.measures)
    if token is not None:
        _tell_of_token(app)
    return app


async def _answer_refusal(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        refusal = of_validation(error.errors())
    else:
        assert isinstance(error, HTTPException)
        refusal = error if isinstance(error, Refused) else of_http(error)
    return JSONResponse(refusal.content(), refusal.status_code, refusal.headers)


def _page_files() -> dict[str, tuple[bytes, str]]:
    """The page's files by address, read once: no address that a client makes up reaches the disk."""
    found = {}
    for each in files("novanda.serve").joinpath("page").iterdir():
        address = "/" if each.name == "index.html" else f"/page/{each.name}"
        found[address] = (each.read_bytes(), _MEDIA[each.name.rpartition(".")[2]])
    return found


def _file(content: bytes, media: str) -> Any:
    async def page_file() -> Response:
        return Response(content, media_type=media, headers={"Cache-Control": "no-cache"})

    return page_file


def _tell_of_token(app: FastAPI) -> None:
    """Say in the OpenAPI page that a bearer token is wanted."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        content = plain()
        content["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for address, methods in content["paths"].items():
            if address not in _HEALTH:
                for operation in methods.values():
                    operation["security"] = [{"token": []}]
        return content

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way of changing the page
