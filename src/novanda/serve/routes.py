"""What the service answers: one function a route."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from novanda.errors import InputError
from novanda.serve.answers import (
    ExplainAnswer,
    FeedbackIn,
    FeedbackList,
    FeedbackOut,
    FileResult,
    Health,
    LimitsAnswer,
    ModelsAnswer,
    Refusal,
    ScoreAnswer,
)
from novanda.serve.feedback import MAX_ROWS, Row
from novanda.serve.refusals import Refused, not_scorable, refused
from novanda.serve.service import Served, Service
from novanda.serve.uploads import FIELD, uploads

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
ROWS_AT_ONCE = 1000
_MAX_ID = 2**63 - 1  # SQLite's largest


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
router = APIRouter()


@router.post(
    "/v1/score",
    response_model=ScoreAnswer,
    responses=answers(400, 404, 408, 415, 422, 503),
    openapi_extra=files_body("PNG, JPEG, WebP, BMP or TIFF images; GET /v1/models tells the limits"),
    tags=["scores"],
)
async def score(request: Request, service: In, model: ModelName = None) -> ScoreAnswer:
    """Score images. One that is refused costs no other; if all are, the answer is the first one's refusal."""
    served = service.model(model)
    begun: list[tuple[str | None, asyncio.Future[float] | Refused]] = []
    try:
        body = uploads(request.stream(), request.headers.get("content-type", ""), service.limits)
        async for upload in body:
            try:
                sample = await service.sample(served, upload)
            except Refused as refusal:
                begun.append((upload.name, refusal))
            else:
                begun.append((upload.name, await served.batcher.submit(sample)))
        results = [await service.outcome(served, name, each) for name, each in begun]
    finally:
        for _, each in begun:
            if isinstance(each, asyncio.Future):
                each.cancel()
    _note(request, results)
    if all(result.error for result in results):
        first = begun[0][1]
        status = first.status_code if isinstance(first, Refused) else 422
        assert results[0].error is not None
        raise Refused(status, results[0].error, results=results)
    rate = None if served.calibration is None else served.calibration.false_alarm_rate
    return ScoreAnswer(model=served.name, false_alarm_rate=rate, results=results)


def _note(request: Request, results: list[FileResult]) -> None:
    """For the log line: how many, not which."""
    request.state.facts = {"files": len(results), "refused": sum(result.error is not None for result in results)}


@router.post(
    "/v1/explain",
    response_model=ExplainAnswer,
    responses={
        200: {
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            "description": "JSON with pictures in it, or one picture of all",
        },
        **answers(400, 404, 408, 415, 422, 503),
    },
    openapi_extra=files_body("one image", 1),
    tags=["scores"],
)
async def explain(
    request: Request,
    service: In,
    model: ModelName = None,
    form: Annotated[Literal["json", "png"], Query(alias="format")] = "json",
) -> Any:
    """Why one image got its score: what was expected, where it differs, the most similar training images."""
    served = service.model(model)
    body = uploads(request.stream(), request.headers.get("content-type", ""), replace(service.limits, files=1))
    async with service.explanation_slot():
        (upload,) = [upload async for upload in body]
        sample = await service.sample(served, upload)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                service.explaining, _explanation, served, sample, upload.name, form
            )
        except InputError as error:
            raise not_scorable(error) from error


def _explanation(served: Served, sample: np.ndarray, name: str | None, form: str) -> Any:
    """In a thread: the answer, pictures drawn."""
    # Brings torch and matplotlib, without which exported files are served.
    from novanda.serve.explaining import as_answer, as_png, explained

    explanation = explained(served, sample, name)
    if form == "png":
        return Response(as_png(explanation), media_type="image/png")
    return as_answer(served, explanation, name)


@router.post(
    "/v1/feedback",
    response_model=FeedbackOut,
    responses=answers(400, 404, 408, 409, 422, 503),
    tags=["feedback"],
)
async def give_feedback(request: Request, service: In, said: FeedbackIn) -> FeedbackOut:
    """Keep a person's word on a scored image. On disk before it is answered; a later word replaces an earlier one."""
    served = service.model(said.model)
    row = await asyncio.get_running_loop().run_in_executor(service.keeping, service.store.keep, said)
    if row is None:
        raise refused(
            409, "feedback_full", expected=f"at most {MAX_ROWS:,} words", got="as many are kept already",
            hint="export them, and start the service with a new --feedback file",
        )  # fmt: skip
    service.measures.feedback.labels(served.name, said.verdict).inc()
    return _kept(service, row)


@router.get(
    "/v1/feedback",
    response_model=FeedbackList,
    responses={
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}}},
            "description": "a page as JSON, or all rows as CSV",
        },
        **answers(404, 422),
    },
    tags=["feedback"],
)
async def list_feedback(
    service: In,
    model: ModelName = None,
    after: Annotated[int, Query(ge=0, le=_MAX_ID, description="the `next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=ROWS_AT_ONCE)] = ROWS_AT_ONCE,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Any:
    """What was said, oldest first, of all models or of one. The CSV serves `novanda calibrate --confirm`."""
    if model is not None:
        service.model(model)
    if form == "csv":
        disposition = {"Content-Disposition": 'attachment; filename="feedback.csv"'}
        return StreamingResponse(_csv(service, model, after), media_type="text/csv", headers=disposition)
    rows = await _rows(service, after, limit, model)
    return FeedbackList(
        feedback=[_kept(service, row) for row in rows], next=rows[-1][0] if len(rows) == limit else None
    )


@router.delete(
    "/v1/feedback/{number}", status_code=204, response_class=Response, responses=answers(404, 422), tags=["feedback"]
)
async def withdraw_feedback(service: In, number: Annotated[int, Path(ge=1, le=_MAX_ID)]) -> Response:
    """Forget one word."""
    loop = asyncio.get_running_loop()
    if not await loop.run_in_executor(service.keeping, service.store.withdraw, number):
        raise refused(
            404, "unknown_feedback", expected="the id of a word that is kept", got=str(number),
            hint="GET /v1/feedback lists them",
        )  # fmt: skip
    return Response(status_code=204)


async def _rows(service: Service, after: int, most: int, model: str | None) -> list[Row]:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(service.keeping, service.store.listed, after, most, model)


def _kept(service: Service, row: Row) -> FeedbackOut:
    number, time, model, name, novelty, verdict = row
    served = service.models.get(model)  # an earlier start may have served others
    facts = served.decided(novelty) if served else {"p_value": None, "is_novel": None}
    return FeedbackOut(
        id=number, time=time, model=model, name=name, novelty=novelty, verdict=verdict,
        p_value=facts["p_value"], is_novel=facts["is_novel"],
    )  # fmt: skip


async def _csv(service: Service, model: str | None, after: int) -> AsyncIterator[str]:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "novelty", "p_value", "is_novel", "false_alarm", "verdict", "model", "time"])
    while True:
        page = await _rows(service, after, ROWS_AT_ONCE, model)
        for row in page:
            kept = _kept(service, row)
            p_value = "" if kept.p_value is None else repr(kept.p_value)
            flagged = "" if kept.is_novel is None else str(kept.is_novel).lower()
            picked = "yes" if kept.verdict == "false_alarm" else "no"
            rows.writerow(
                [kept.name, repr(kept.novelty), p_value, flagged, picked, kept.verdict, kept.model, kept.time]
            )
        yield text.getvalue()
        text.seek(0)
        text.truncate()
        if len(page) < ROWS_AT_ONCE:
            return
        after = page[-1][0]


@router.get("/v1/models", response_model=ModelsAnswer, responses=answers(), tags=["service"])
async def models(service: In) -> ModelsAnswer:
    """The detectors that can be asked, and the limits on what they are asked."""
    limits = service.limits
    return ModelsAnswer(
        service=version("novanda"),
        models=[served.described() for served in service.models.values()],
        limits=LimitsAnswer(**{name: getattr(limits, name) for name in LimitsAnswer.model_fields}),
    )


@router.get("/healthz", response_model=Health, tags=["service"])
async def healthz() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"model": Refusal, "description": "not now"}},
    tags=["service"],
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
    tags=["service"],
)
async def metrics(service: In) -> Response:
    """Counts and times in Prometheus' text format."""
    return Response(service.measures.text(), media_type=CONTENT_TYPE_LATEST)
