"""The shapes of all answers, as the OpenAPI page tells them. Novelty points upwards everywhere: higher = more novel."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Verdict = Literal["false_alarm", "true_alarm"]


class Problem(BaseModel):
    """Why something was refused."""

    error: str = Field(description="a short name that programs can compare")
    expected: str
    got: str
    hint: str = Field(description="what to do about it")


class FileResult(BaseModel):
    """What came of one file: either a novelty or an error."""

    name: str | None = Field(description="as the client sent it; null if it sent none")
    novelty: float | None = Field(description="the method's own quantity, higher = more novel")
    p_value: float | None = Field(description="conformal, in (0, 1], low = novel; null without a threshold")
    is_novel: bool | None = Field(description="novelty > threshold, which is p_value <= false_alarm_rate")
    threshold: float | None
    error: Problem | None


class ScoreAnswer(BaseModel):
    """One result a file, in the order in which they were sent."""

    model: str
    false_alarm_rate: float | None = Field(description="the asked one, which the threshold stands for")
    results: list[FileResult]


class Refusal(Problem):
    """Nothing was done; where each file was refused for a reason of its own, `results` has them all."""

    results: list[FileResult] | None = None


class Neighbour(BaseModel):
    """A normal training image that looks alike to the method."""

    distance: float
    image: str = Field(description="PNG as a data: address")


class ExplainAnswer(BaseModel):
    """Why one image got its score, with pictures as data: addresses of PNGs."""

    model: str
    name: str | None
    novelty: float
    p_value: float | None
    is_novel: bool | None
    threshold: float | None
    image: str = Field(description="what the detector saw, after it was resized")
    expected: str | None = Field(description="what it expected to see; null where the method draws nothing")
    heat: str = Field(description="where they differ, or what the score hangs on; see heat_kind")
    heat_kind: Literal["error", "occlusion"]
    heat_caption: str
    heat_full: float = Field(
        description="the heat of the last colour; 1 is what normal images reach in one pixel of a hundred"
    )
    neighbours: list[Neighbour]
    remarks: list[str]


class Sample(BaseModel):
    """What images are made into before they are scored."""

    channels: int
    height: int
    width: int


class ModelAnswer(BaseModel):
    """One detector that is served."""

    name: str
    method: str
    title: str
    sample: Sample
    false_alarm_rate: float | None
    threshold: float | None
    calibration_count: int = Field(description="held-out normals; p-values are multiples of 1 / (this + 1)")
    can_explain: bool


class LimitsAnswer(BaseModel):
    """What the service takes."""

    file_bytes: int
    request_bytes: int
    files: int
    pixels: int
    seconds: float


class ModelsAnswer(BaseModel):
    """The detectors named at start, the default first."""

    service: str = Field(description="novanda's version")
    models: list[ModelAnswer]
    limits: LimitsAnswer


class FeedbackIn(BaseModel, extra="forbid", strict=True):
    """A person's word on one scored image."""

    model: str = Field(max_length=64)
    name: str = Field(max_length=1024, description="what the image is called")
    novelty: float = Field(allow_inf_nan=False, description="as it was scored")
    verdict: Verdict = Field(description="false_alarm: it is normal; true_alarm: it is novel")


class FeedbackOut(FeedbackIn):
    """As it is kept."""

    id: int
    time: str = Field(description="when it was last said, UTC, ISO 8601")
    p_value: float | None
    is_novel: bool | None


class FeedbackList(BaseModel):
    """A page of what was said, oldest first."""

    feedback: list[FeedbackOut]
    next: int | None = Field(description="give it as `after` for the next page; null on the last")


class Health(BaseModel):
    """Whether the service lives, or can work."""

    status: str
