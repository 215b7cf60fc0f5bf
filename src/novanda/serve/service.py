"""The detectors that are served, the threads they work in, and what becomes of one file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.calibration import Calibration
from novanda.errors import DataError, InputError
from novanda.exported import ExportedDetector
from novanda.serve.answers import FileResult, ModelAnswer, Sample
from novanda.serve.batching import Batcher
from novanda.serve.feedback import FeedbackStore
from novanda.serve.limits import Limits
from novanda.serve.measures import Measures
from novanda.serve.refusals import Refused, busy, not_scorable, refused
from novanda.serve.uploads import Upload
from novanda.sources.decoding import MAX_PIXELS, check_spec_for_files, conform, decode_bytes

if TYPE_CHECKING:
    from novanda.detector import Detector

_CALLED = "file"
"""What decoding calls a stranger's file, so that its name gets nowhere but into the answer."""


@dataclass(frozen=True)
class Served:
    """One detector under the name it is served by."""

    name: str
    detector: Detector | ExportedDetector
    batcher: Batcher

    @property
    def calibration(self) -> Calibration | None:
        """The calibration in force."""
        return self.detector.calibration_

    def decided(self, novelty: float) -> dict[str, Any]:
        """Novelty, p_value, is_novel and threshold, by this detector's calibration."""
        calibration = self.calibration
        if calibration is None:
            return {"novelty": novelty, "p_value": None, "is_novel": None, "threshold": None}
        p_value = float(calibration.p_value(np.array([novelty]))[0])
        threshold = calibration.threshold
        return {"novelty": novelty, "p_value": p_value, "is_novel": novelty > threshold, "threshold": threshold}

    def described(self) -> ModelAnswer:
        """What clients are told of it."""
        spec, calibration = self.detector.spec_, self.calibration
        if isinstance(self.detector, ExportedDetector):
            name = title = self.detector.method_name
        else:
            name, title = self.detector.method_.name, self.detector.method_.title
        return ModelAnswer(
            name=self.name,
            method=name,
            title=title,
            sample=Sample(channels=spec.channels, height=spec.height, width=spec.width),
            false_alarm_rate=None if calibration is None else calibration.false_alarm_rate,
            threshold=None if calibration is None else calibration.threshold,
            calibration_count=0 if calibration is None else len(calibration),
            can_explain=not isinstance(self.detector, ExportedDetector),
        )


class Service:
    """What the routes work with. The first detector is the default.

    Raises:
        InputError: a detector does not take image files; a limit is beyond what decoding can do.
    """

    def __init__(
        self, detectors: Mapping[str, Detector | ExportedDetector], store: FeedbackStore, limits: Limits
    ) -> None:
        if limits.pixels > MAX_PIXELS:
            raise InputError(f"the limit pixels can be at most {MAX_PIXELS:,}, decoding's own; got {limits.pixels:,}")
        self.limits, self.store, self.measures = limits, store, Measures()
        self.ready = False
        # Pillow lets other threads run while it decodes; more threads than cores would only hold more pixels.
        self.decoding = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "novanda-decode")
        # One at a time: the network itself uses all cores.
        self.scoring = ThreadPoolExecutor(1, "novanda-score")
        self.explaining = ThreadPoolExecutor(1, "novanda-explain")
        self.keeping = ThreadPoolExecutor(1, "novanda-feedback")
        self._explanations = 0
        self.models = {name: self._served(name, detector) for name, detector in detectors.items()}

    def _served(self, name: str, detector: Detector | ExportedDetector) -> Served:
        try:
            check_spec_for_files(detector.spec_)
        except InputError as error:
            raise InputError(f"{name} can not be served: {error}") from error
        batcher = Batcher(
            detector.novelty_score,
            self.scoring,
            self.limits.batch,
            self.limits.batch_wait / 1000,
            self.measures.batches.labels(name).observe,
        )
        return Served(name, detector, batcher)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """While it lasts, batches are scored."""
        workers = [asyncio.create_task(served.batcher.run()) for served in self.models.values()]
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for pool in (self.decoding, self.scoring, self.explaining, self.keeping):
                pool.shutdown()
            self.store.close()

    def model(self, name: str | None) -> Served:
        """The detector of that name, or the default; Refused for an unknown one."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise refused(
                404, "unknown_model", expected=f"one of {', '.join(self.models)}", got=repr(name),
                hint="GET /v1/models lists them; they are named when the service is started",
            )  # fmt: skip
        return self.models[name]

    async def sample(self, served: Served, upload: Upload) -> np.ndarray:
        """A file's pixels as this detector's sample (C, H, W); Refused for what is no image."""
        if upload.problem is not None:
            raise upload.problem
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.decoding, self._sample, served, upload.data)

    def _sample(self, served: Served, data: bytes) -> np.ndarray:
        try:
            return conform(decode_bytes(data, _CALLED, self.limits.pixels), served.detector.spec_)
        except DataError as error:
            raise refused(
                422, "unreadable", got=str(error).removeprefix(f"{_CALLED}: "),
                expected=f"a PNG, JPEG, WebP, BMP or TIFF image of at most {self.limits.pixels:,} pixels",
                hint="open it in an image viewer; if that can read it, save it as PNG and send that",
            ) from error  # fmt: skip

    async def outcome(self, served: Served, name: str | None, begun: asyncio.Future[float] | Refused) -> FileResult:
        """What is told of one file once its score, or the reason why it has none, is there."""
        try:
            if isinstance(begun, Refused):
                raise begun
            facts = served.decided(await begun)
        except InputError as error:
            return await self.outcome(served, name, not_scorable(error))
        except Refused as refusal:
            self.measures.files.labels(served.name, "refused").inc()
            nothing = dict.fromkeys(("novelty", "p_value", "is_novel", "threshold"))
            return FileResult(name=name, **nothing, error=refusal.problem)
        word = {True: "novel", False: "normal", None: "undecided"}[facts["is_novel"]]
        self.measures.files.labels(served.name, word).inc()
        return FileResult(name=name, **facts, error=None)

    @asynccontextmanager
    async def explanation_slot(self) -> AsyncIterator[None]:
        """Room for one explanation; Refused where all is taken."""
        if self._explanations >= self.limits.explanations:
            raise busy("explanations")
        self._explanations += 1
        try:
            yield
        finally:
            self._explanations -= 1
