"""Images of many requests through the network together: a small queue in front of a detector."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from novanda.errors import InputError

Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Waiting:
    sample: np.ndarray
    novelty: asyncio.Future[float]


class Batcher:
    """Scores samples in batches of whatever is waiting. But for rounding a score does not depend on the company.

    While one batch is in the network the next one gathers, so that nobody waits for a full batch.

    Args:
        score: samples (B, C, H, W) to novelty (B,), higher = more novel.
        executor: where `score` runs.
        most: samples in a batch.
        wait: seconds that the first sample of a batch waits for others.
        observe: told the size of every batch.
    """

    def __init__(
        self, score: Score, executor: Executor, most: int, wait: float, observe: Callable[[int], None]
    ) -> None:
        self._score, self._executor = score, executor
        self._most, self._wait, self._observe = most, wait, observe
        # Bounded: who sends faster than the network scores is made to wait, and its bytes stay in its own socket.
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(4 * most)

    async def submit(self, sample: np.ndarray) -> asyncio.Future[float]:
        """Put a sample (C, H, W) in the queue, once there is room; its novelty comes later.

        The future raises InputError where the detector can not score this sample.
        """
        waiting = _Waiting(sample, asyncio.get_running_loop().create_future())
        await self._queue.put(waiting)
        return waiting.novelty

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            # Who gave up meanwhile has cancelled its future.
            batch = [waiting for waiting in await self._gathered() if not waiting.novelty.cancelled()]
            if not batch:
                continue
            outcomes = await loop.run_in_executor(self._executor, self._scored, [each.sample for each in batch])
            self._observe(len(batch))
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.novelty.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    waiting.novelty.set_exception(outcome)
                else:
                    waiting.novelty.set_result(outcome)

    async def _gathered(self) -> list[_Waiting]:
        loop = asyncio.get_running_loop()
        batch = [await self._queue.get()]
        until = loop.time() + self._wait
        while len(batch) < self._most:
            try:
                batch.append(self._queue.get_nowait())
            except asyncio.QueueEmpty:
                try:
                    async with asyncio.timeout_at(until):
                        batch.append(await self._queue.get())
                except TimeoutError:
                    break
        return batch

    def _scored(self, samples: Sequence[np.ndarray]) -> list[float | Exception]:
        """In a thread: the novelty of each, or why it has none; one bad sample costs no other."""
        try:
            return [float(value) for value in self._score(np.stack(samples))]
        except InputError as error:
            if len(samples) == 1:
                return [error]
            return [outcome for sample in samples for outcome in self._scored([sample])]
        except Exception as error:  # a bug, told to each who waits: the queue must go on for the others
            return [error] * len(samples)
