"""What each tenant may use, over all replicas: the use cases and the transports ask here.

Standing quotas, sketches and bytes of states, are kept by the store at creation: an
Allowance says how much. Rates, requests and coordinates a second, are kept by meters
in the store from which this replica takes tokens in lots (quota_meters). A quota that is
changed counts from when the source, the directory of tenants, has it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, Self

from service.access_ports import Lot, Quota, Rate
from service.errors import BacklogFull, Conflict, InvalidRequest, NotFound
from service.ports import Allowance
from service.quota_meters import Meters, Pace, ReplicaMeter

#: Meters by the names the store knows them by, and what their tokens are.
REQUESTS: Final = "requests"
UPDATES: Final = "updates"
_WHAT: Final = {REQUESTS: "requests", UPDATES: "updates"}


class QuotaSource(Protocol):
    """Who knows the tenants."""

    def quota(self, tenant: str) -> Quota:
        """Limits of a tenant as they are now; asked with every request, so from memory."""
        ...


class Unlimited:
    """A source without limits."""

    def quota(self, tenant: str) -> Quota:  # noqa: ARG002 - of any
        """No limit."""
        return Quota()


class Unmetered:
    """Meters that give whatever is wanted."""

    async def take(
        self,
        tenant: str,  # noqa: ARG002
        meter: str,  # noqa: ARG002
        need: float,  # noqa: ARG002
        want: float,
        rate: Rate,  # noqa: ARG002
    ) -> Lot:
        """All that is wanted."""
        return Lot(want)


class Payment:
    """Coordinates paid for an append under way. replayed: set when it turned out to be one."""

    def __init__(self) -> None:
        self.replayed = False


class Quotas:
    """The limits of every tenant at this replica. Touched on one event loop only."""

    def __init__(
        self,
        source: QuotaSource,
        meters: Meters,
        pace: Pace = Pace(),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._meters = meters
        self._pace = pace
        self._now = now
        self._known: dict[tuple[str, str], ReplicaMeter] = {}

    @classmethod
    def none(cls) -> Self:
        """No limits for anybody."""
        return cls(Unlimited(), Unmetered())

    def allowance(self, tenant: str) -> Allowance | None:
        """What the tenant's sketches may take in all, for Store.create; None for no limit."""
        quota = self._source.quota(tenant)
        if quota.sketches is None and quota.state_bytes is None:
            return None
        return Allowance(quota.sketches, quota.state_bytes)

    def check_batch(self, tenant: str, numbers: int) -> None:
        """Raise InvalidRequest for a batch that changes more than the tenant's quota."""
        most = self._source.quota(tenant).batch_updates
        if most is not None and numbers > most:
            raise InvalidRequest(
                f"at most {most} numbers in one batch: the tenant's quota batch_updates",
                code="batch_too_large",
            )

    async def request(self, tenant: str) -> None:
        """Pay for one request. Raises RateLimited, and StoreUnavailable."""
        rate = self._source.quota(tenant).requests_per_second
        if rate is not None:
            await self._meter(tenant, REQUESTS).spend(1.0, rate)

    def check_updates(self, tenant: str) -> None:
        """Raise RateLimited if not even one coordinate would be let in, as far as known here."""
        rate = self._source.quota(tenant).updates_per_second
        if rate is not None:
            self._meter(tenant, UPDATES).check(1.0, rate)

    @asynccontextmanager
    async def updates(self, tenant: str, coordinates: int) -> AsyncIterator[Payment]:
        """Pay for coordinates around their append. Raises RateLimited, and StoreUnavailable.

        They are given back when the append was a replay, or was refused by the store.
        """
        payment = Payment()
        rate = self._source.quota(tenant).updates_per_second
        if rate is None:
            yield payment
            return
        meter = self._meter(tenant, UPDATES)
        await meter.spend(float(coordinates), rate)
        try:
            yield payment
        except (BacklogFull, Conflict, InvalidRequest, NotFound):
            meter.give_back(float(coordinates))
            raise
        if payment.replayed:
            meter.give_back(float(coordinates))

    def _meter(self, tenant: str, name: str) -> ReplicaMeter:
        known = self._known.get((tenant, name))
        if known is None:
            known = ReplicaMeter(tenant, name, _WHAT[name], self._meters, self._pace, self._now)
            self._known[tenant, name] = known
        return known
