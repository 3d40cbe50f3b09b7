"""Places for what may hold a message that is still arriving, each tenant with a share of them.

How much of a message has come grpc does not tell, so it cannot be counted with the bodies; what
can be bounded is how many are arriving at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.errors import Overloaded


class Places:
    """So many, touched on the event loop only.

    share: the part that one tenant may take once a second one has come. what: of an error.
    """

    def __init__(self, most: int, share: float, what: str) -> None:
        self._most = most
        self._share = max(1, int(most * share))
        self._what = what
        self.taken = 0
        self._of_tenant: Counter[str] = Counter()
        self._first: str | None = None
        self._several = False
        #: Tenants take turns, and of a tenant the first comes first.
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """A place now. Raises Overloaded."""
        self._meet(tenant)
        if not self._is_free(tenant):
            raise self._refusal()
        self._take(tenant)
        try:
            yield
        finally:
            self._leave(tenant)

    @asynccontextmanager
    async def place_within(self, tenant: str, seconds: float) -> AsyncIterator[None]:
        """A place once one is free. Raises Overloaded when none is in time."""
        self._meet(tenant)
        if self._is_free(tenant):
            self._take(tenant)
        else:
            await self._wait(tenant, seconds)
        try:
            yield
        finally:
            self._leave(tenant)

    async def _wait(self, tenant: str, seconds: float) -> None:
        line = self._waiting.setdefault(tenant, {})
        turn = asyncio.get_running_loop().create_future()
        line[turn] = None
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as failure:
            if turn.done() and not turn.cancelled():
                self._leave(tenant)  # it came at the same moment
            else:
                del line[turn]
                if not line and self._waiting.get(tenant) is line:
                    del self._waiting[tenant]
            if isinstance(failure, TimeoutError):
                raise self._refusal() from None
            raise

    def _take(self, tenant: str) -> None:
        self.taken += 1
        self._of_tenant[tenant] += 1

    def _leave(self, tenant: str) -> None:
        self.taken -= 1
        self._of_tenant[tenant] -= 1
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]
        for other in list(self._waiting):
            if self._is_free(other):
                line = self._waiting.pop(other)
                turn = next(iter(line))
                del line[turn]
                if line:
                    self._waiting[other] = line  # behind all others
                self._take(other)
                turn.set_result(None)
                return

    def _is_free(self, tenant: str) -> bool:
        most = self._share if self._several else self._most
        return self.taken < self._most and self._of_tenant[tenant] < most

    def _meet(self, tenant: str) -> None:
        if self._first is None:
            self._first = tenant
        self._several = self._several or tenant != self._first

    def _refusal(self) -> Overloaded:
        return Overloaded(f"too many {self._what}: {self.taken} of at most {self._most}")
