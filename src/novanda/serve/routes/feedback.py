"""Keeping, listing and withdrawing what people say of scored images."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from novanda.serve.answers import FeedbackIn, FeedbackList, FeedbackOut
from novanda.serve.feedback import MAX_ROWS, Row
from novanda.serve.refusals import refused
from novanda.serve.routes.description import In, ModelName, answers
from novanda.serve.service import Service

ROWS_AT_ONCE = 1000
_MAX_ID = 2**63 - 1  # SQLite's largest

router = APIRouter(tags=["feedback"])


@router.post(
    "/v1/feedback",
    response_model=FeedbackOut,
    responses=answers(400, 404, 408, 409, 422, 503),
)
async def give_feedback(service: In, said: FeedbackIn) -> FeedbackOut:
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


@router.delete("/v1/feedback/{number}", status_code=204, response_class=Response, responses=answers(404, 422))
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
