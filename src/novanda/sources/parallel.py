"""A function over many items in threads, in order, with little in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """As many threads as cores, at most 8: image decoding gains little beyond."""
    return min(8, os.cpu_count() or 1)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yield function(item) for each item, in order; at most four items a thread are begun and not yet yielded.

    `Executor.map` would begin every item at once, and its bookkeeping would grow with a folder of a million files.
    """
    threads = workers or default_workers()
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="novanda-decode") as pool:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) >= 4 * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
