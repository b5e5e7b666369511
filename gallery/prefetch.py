"""Work done ahead of its use: by several threads, in order, within bounds of count and of
memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Prefetch(Generic[T, R]):
    """Iterating gives `work(item)` of every item, in the items' order, done ahead by `threads`
    threads.

    At most `ahead` items are in work or wait to be taken. A thread of its own draws the items, so
    that they, too, may take their time. Errors of `work` or the items are raised in their turn. Use
    it as a context manager: at the block's end the threads stop, each after the item that it is at.
    """

    def __init__(
        self, work: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
    ) -> None:
        self._work, self._items = work, items
        self._pool = ThreadPoolExecutor(threads, "prefetch")
        self._feeder = threading.Thread(target=self._feed, name="prefetch-feeder")
        self._coming: SimpleQueue[Future[R] | None] = SimpleQueue()
        self._slots = threading.Semaphore(ahead)
        self._stopped = False

    def __enter__(self) -> Self:
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._slots.release()
        self._pool.shutdown(cancel_futures=True)
        self._feeder.join()

    def __iter__(self) -> Iterator[R]:
        while (future := self._coming.get()) is not None:
            result = future.result()
            self._slots.release()
            yield result

    def _feed(self) -> None:
        try:
            for item in self._items:
                self._slots.acquire()
                if self._stopped:
                    return
                self._coming.put(self._pool.submit(self._work, item))
            self._coming.put(None)
        except BaseException as error:  # raised again where the results are taken
            failed: Future[R] = Future()
            failed.set_exception(error)
            self._coming.put(failed)
