"""What is served, whether it lives, and what it counted."""

from __future__ import annotations

import asyncio
import sqlite3
from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from novanda.serve.answers import Health, LimitsAnswer, ModelsAnswer, Refusal
from novanda.serve.refusals import refused
from novanda.serve.routes.description import In, answers

router = APIRouter(tags=["service"])


@router.get("/v1/models", response_model=ModelsAnswer, responses=answers())
async def models(service: In) -> ModelsAnswer:
    """The detectors that can be asked, and the limits on what they are asked."""
    limits = service.limits
    return ModelsAnswer(
        service=version("novanda"),
        models=[served.described() for served in service.models.values()],
        limits=LimitsAnswer(**{name: getattr(limits, name) for name in LimitsAnswer.model_fields}),
    )


@router.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"model": Refusal, "description": "not now"}},
)
async def readyz(service: In) -> Health:
    """Whether work can be taken: the detectors are loaded and feedback can be kept."""
    try:
        await asyncio.get_running_loop().run_in_executor(service.keeping, service.store.check)
        reason = None if service.ready else "the service is starting or stopping"
    except sqlite3.Error as error:
        reason = f"feedback can not be read: {error}"
    if reason is not None:
        raise refused(
            503,
            "not_ready",
            expected="a service that can work",
            got=reason,
            hint="ask again",
            headers={"Retry-After": "1"},
        )
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **answers()},
)
async def metrics(service: In) -> Response:
    """Counts and times in Prometheus' text format."""
    return Response(service.measures.text(), media_type=CONTENT_TYPE_LATEST)
