"""Whether the service is alive, ready, or on its way out; and how many requests are under way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from service.errors import ServiceError, Unavailable

_LOG: Final = logging.getLogger("sketchd.health")
#: A store that takes longer to answer a ping does not serve requests either.
_PING_SECONDS: Final = 2.0


class NotReady(Unavailable):
    """The service is starting or stopping."""

    default_code = "not_ready"


class Health:
    """Not ready at first and while draining; ready in between, as long as the store answers.

    ping: returns when the store can read and write. told: of each judgement, and of the end.
    silent: called when the store did not answer in time.
    """

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        *,
        told: Callable[[bool], None] = lambda _: None,
        silent: Callable[[], None] = lambda: None,
    ) -> None:
        self._ping = ping
        self._told = told
        self._silent = silent
        self._was_ready: bool | None = None
        self._judged_at = float("-inf")
        self._doubted = True
        self._started = False
        self._leaving = False
        self._draining = False
        self._stopping = asyncio.Event()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """Requests whose answer is not complete."""
        return self._under_way

    @property
    def leaving(self) -> bool:
        """Whether it has begun to stop or soon will: not ready, though requests are still taken."""
        return self._leaving

    @property
    def draining(self) -> bool:
        """Whether the service has begun to stop."""
        return self._draining

    def ready(self) -> None:
        """The store has answered: let traffic come."""
        self._started = True

    def leave(self) -> None:
        """Tell balancers to send no more; what they send all the same is served as ever."""
        self._leaving = True
        self._told(False)

    def drain(self) -> None:
        """Begin to stop: streams end, and balancers are told."""
        self.leave()
        self._draining = True
        self._stopping.set()

    async def stopping(self) -> None:
        """Return when the service has begun to stop: for streams that only wait for more."""
        await self._stopping.wait()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request while it is under way."""
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def check(self) -> None:
        """Return when requests can be served; raises Unavailable with the reason."""
        try:
            await self._check()
        except ServiceError as failure:
            self._judged(False, failure.detail)
            raise
        self._judged(not self._leaving)  # which may have begun while the store was asked

    def doubt(self) -> None:
        """The store has failed somebody: the last judgement may no longer hold."""
        self._doubted = True

    async def judge(self, sure_seconds: float, doubtful_seconds: float | None = None) -> None:
        """Check, unless that was done within the last so many seconds; raises nothing.

        doubtful_seconds: where it was not ready then, or the store has failed somebody since; as
        sure_seconds if not given.
        """
        fresh = sure_seconds
        if self._doubted and doubtful_seconds is not None:
            fresh = doubtful_seconds
        if time.monotonic() - self._judged_at >= fresh:
            with suppress(ServiceError):
                await self.check()

    def _judged(self, ready: bool, reason: str = "") -> None:
        self._judged_at = time.monotonic()
        self._doubted = not ready
        self._told(ready)
        if self._was_ready and not ready and not self._leaving:
            _LOG.warning("not ready: %s", reason)
        elif self._was_ready is False and ready:
            _LOG.info("ready again")
        if self._started:
            self._was_ready = ready

    async def _check(self) -> None:
        if self._leaving:
            raise NotReady("the service is stopping")
        if not self._started:
            raise NotReady("the service is starting")
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._ping()
        except TimeoutError:
            self._silent()
            raise NotReady(f"the store did not answer within {_PING_SECONDS:g} s") from None

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so long. Returns whether none is."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            pass
        return self._under_way == 0
