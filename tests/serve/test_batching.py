"""The queue: every sample gets its own score, whatever it was batched with, and nothing stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest
from starlette.testclient import TestClient

from novanda.detector import Detector
from novanda.errors import InputError
from novanda.serve.batching import Batcher, Score

from .conftest import Connect, png, run_alone
from .test_api import parts

Result = TypeVar("Result")


def mean(batch: np.ndarray) -> np.ndarray:
    result: np.ndarray = batch.mean((1, 2, 3))
    return result


def ramp(value: float) -> np.ndarray:
    return np.full((1, 2, 2), value)


def working(
    work: Callable[[Batcher], Awaitable[Result]], score: Score = mean, most: int = 4, wait: float = 0.0
) -> tuple[Result, list[int]]:
    """What the work gives with a running queue, and the sizes of the batches."""
    sizes: list[int] = []

    async def run() -> Result:
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(score, pool, most, wait, sizes.append)
            worker = asyncio.create_task(batcher.run())
            try:
                return await asyncio.wait_for(work(batcher), 30)
            finally:
                worker.cancel()

    return run_alone(run()), sizes


def test_each_gets_its_own_score_in_batches_of_at_most_the_limit() -> None:
    async def work(batcher: Batcher) -> list[float]:
        futures = await asyncio.gather(*(batcher.submit(ramp(value)) for value in range(30)))
        return list(await asyncio.gather(*futures))

    scores, sizes = working(work)
    assert scores == list(range(30))
    assert sum(sizes) == 30
    assert max(sizes) == 4


def test_one_waits_for_others_as_long_as_it_is_told() -> None:
    async def work(batcher: Batcher) -> list[float]:
        first = await batcher.submit(ramp(1))
        await asyncio.sleep(0.05)
        second = await batcher.submit(ramp(2))
        return [await first, await second]

    scores, sizes = working(work, most=2, wait=20.0)
    assert (scores, sizes) == ([1, 2], [2]), "a full batch goes at once, one that is not waits"
    assert working(work, most=2, wait=0.0) == ([1, 2], [1, 1])


def test_while_one_batch_is_scored_the_next_gathers() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(batch: np.ndarray) -> np.ndarray:
        begun.set()
        go.wait(20)
        return mean(batch)

    async def work(batcher: Batcher) -> list[float]:
        first = await batcher.submit(ramp(0))
        await asyncio.to_thread(begun.wait, 20)
        others = [await batcher.submit(ramp(value)) for value in (1, 2, 3)]
        go.set()
        return [await each for each in (first, *others)]

    assert working(work, slow) == ([0, 1, 2, 3], [1, 3])


def test_one_bad_sample_costs_no_other() -> None:
    def picky(batch: np.ndarray) -> np.ndarray:
        if (batch == 2).any():
            raise InputError("not 2")
        return mean(batch)

    async def work(batcher: Batcher) -> list[float | BaseException]:
        futures = await asyncio.gather(*(batcher.submit(ramp(value)) for value in range(4)))
        return list(await asyncio.gather(*futures, return_exceptions=True))

    (zero, one, two, three), _ = working(work, picky, wait=1.0)
    assert (zero, one, three) == (0, 1, 3)
    assert isinstance(two, InputError)


def test_a_bug_is_told_to_those_who_wait_and_the_queue_goes_on() -> None:
    calls = []

    def broken_once(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return mean(batch)

    async def work(batcher: Batcher) -> float:
        with pytest.raises(RuntimeError, match="a bug"):
            await (await batcher.submit(ramp(1)))
        return await (await batcher.submit(ramp(5)))

    assert working(work, broken_once)[0] == 5


def test_who_gave_up_is_left_out() -> None:
    begun, go = threading.Event(), threading.Event()
    seen: list[list[float]] = []

    def slow(batch: np.ndarray) -> np.ndarray:
        seen.append(mean(batch).tolist())
        begun.set()
        go.wait(20)
        return mean(batch)

    async def work(batcher: Batcher) -> float:
        first = await batcher.submit(ramp(0))
        await asyncio.to_thread(begun.wait, 20)
        second, third = await batcher.submit(ramp(1)), await batcher.submit(ramp(2))
        second.cancel()
        first.cancel()
        go.set()
        return await third

    assert working(work, slow)[0] == 2
    assert seen == [[0], [2]]


def test_concurrent_requests_get_the_scores_of_single_ones(
    connect: Connect, detector: Detector, images: np.ndarray
) -> None:
    client: TestClient = connect(batch=16, batch_wait=20)
    direct = np.concatenate([detector.novelty_score(image[None, :, :, None]) for image in images])

    def ask(place: int) -> float:
        answer = client.post("/v1/score", files=parts(("a.png", png(images[place]))))
        found: float = answer.json()["results"][0]["novelty"]
        return found

    with ThreadPoolExecutor(16) as pool:
        scores = list(pool.map(ask, range(len(images))))
    # Kernels sum in another order for another batch size: the seventh digit.
    np.testing.assert_allclose(scores, direct, rtol=1e-5)
    text = client.get("/metrics").text
    batches = next(float(line.split()[1]) for line in text.splitlines() if line.startswith("novanda_batch_size_count"))
    assert batches < len(images), "nothing was batched"
