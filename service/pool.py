"""A bounded pool of threads for numpy work, so that the event loop never computes.

numpy lets go of the interpreter lock in most of what folding and decoding do.
What does not fit in the queue is refused at once: a queue without a bound only
moves the refusal to the caller's timeout.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from service.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class BoundedPool:
    """Threads and a bounded queue before them.

    depth_changed: told the number of unfinished jobs after each change, from any thread.
    """

    def __init__(
        self,
        threads: int,
        queue: int,
        *,
        retry_after: float = 1.0,
        depth_changed: Callable[[int], None] | None = None,
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="sketchd-pool")
        self._limit = threads + queue
        self._retry_after = retry_after
        self._depth_changed = depth_changed
        self._lock = threading.Lock()
        self._unfinished = 0

    @property
    def unfinished(self) -> int:
        """Jobs queued or running."""
        return self._unfinished

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in a thread and wait. Raises Overloaded when the queue is full.

        When this returns or raises, cancellation included, the function is not
        running: what it reads may then be changed. A cancelled caller's job is
        dropped while it is queued and waited for once it runs.
        """
        self._enter()
        try:
            # In the caller's context, so that log lines name its request.
            job = self._executor.submit(copy_context().run, partial(function, *args, **kwargs))
        except BaseException:
            self._leave()
            raise
        job.add_done_callback(lambda _: self._leave())
        try:
            return await asyncio.shield(asyncio.wrap_future(job))
        except asyncio.CancelledError:
            if not job.cancel():
                await _finished(job)
            raise

    def close(self) -> None:
        """Refuse new jobs, drop queued ones, wait for running ones."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _enter(self) -> None:
        with self._lock:
            if self._unfinished >= self._limit:
                raise Overloaded(
                    "too many requests wait for a thread", retry_after=self._retry_after
                )
            self._unfinished += 1
            depth = self._unfinished
        self._tell(depth)

    def _leave(self) -> None:
        with self._lock:
            self._unfinished -= 1
            depth = self._unfinished
        self._tell(depth)

    def _tell(self, depth: int) -> None:
        if self._depth_changed is not None:
            self._depth_changed(depth)


async def _finished(job: Future[T]) -> None:
    """Wait until a running job is over, however often the waiter is cancelled meanwhile."""
    waiter = asyncio.wrap_future(job)
    waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
    while not waiter.done():
        try:
            await asyncio.wait([waiter])
        except asyncio.CancelledError:
            continue
