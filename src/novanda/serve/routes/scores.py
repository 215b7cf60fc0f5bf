"""Scoring and explaining images."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from novanda.errors import InputError
from novanda.serve.answers import ExplainAnswer, FileResult, ScoreAnswer
from novanda.serve.refusals import Refused, not_scorable
from novanda.serve.routes.description import In, ModelName, answers, files_body
from novanda.serve.service import Served
from novanda.serve.uploads import uploads

router = APIRouter(tags=["scores"])


@router.post(
    "/v1/score",
    response_model=ScoreAnswer,
    responses=answers(400, 404, 408, 415, 422, 503),
    openapi_extra=files_body("PNG, JPEG, WebP, BMP or TIFF images; GET /v1/models tells the limits"),
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
