"""Work in other threads while the caller prepares or uses the next piece; the order is always kept.

polars, pyarrow, isal and hashlib release the interpreter lock while they work, so threads are enough to keep two cores
busy. Each function and class here holds a small, fixed number of items at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
_END: Any = object()


def map_in_parallel(work: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """`work(item)` of each item, in their order; up to `workers` of them are being worked on and one more waits.

    An error that `work` raises for an item is raised in place of its result.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    underway: deque[Future[T]] = deque()
    try:
        for item in items:
            underway.append(pool.submit(work, item))
            if len(underway) > workers:
                yield underway.popleft().result()
        while underway:
            yield underway.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """The same items; each is produced while the caller uses the previous one."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        upcoming = pool.submit(next, items, _END)
        while (item := upcoming.result()) is not _END:
            upcoming = pool.submit(next, items, _END)
            yield item


@contextmanager
def begun(items: Iterator[T]) -> Iterator[Callable[[], list[T]]]:
    """Read the items in another thread meanwhile; gives a function that waits for all of them, or raises their error.

    Whoever leaves earlier, because of an error or an interruption, waits for no item that has not begun.
    """
    is_over = threading.Event()

    def read() -> list[T]:
        found: list[T] = []
        for item in items:
            found.append(item)
            if is_over.is_set():
                break
        close = getattr(items, "close", None)  # a generator's: what it holds is given back in this thread
        if close is not None:
            close()
        return found

    with ThreadPoolExecutor(1, thread_name_prefix="begun") as pool:
        try:
            yield pool.submit(read).result
        finally:
            is_over.set()


class BackgroundWorker:
    """A thread that runs one task at a time, in the order given, while its owner continues.

    An error is raised by the next call. `close` and `abandon` wait for the last task; `abandon` ignores its error.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._underway: Future[object] | None = None

    def start(self, work: Callable[..., object], *given: object) -> None:
        """Wait for the previous task, then start this one."""
        self.wait()
        self._underway = self._pool.submit(work, *given)

    def wait(self) -> None:
        if self._underway is not None:
            underway, self._underway = self._underway, None
            underway.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self.abandon()

    def abandon(self) -> None:
        self._pool.shutdown()
