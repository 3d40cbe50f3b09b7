"""One replica's end of a meter: a token bucket in the store that all replicas take from in lots.

A request is paid from what this replica holds. When that is too little the store is
asked, for what was spent here lately, so that it hears of a busy tenant about once in
`lot_seconds` and of a quiet one once a request, and hardly a token is taken that nobody
spends. One question is under way at a time; those who come meanwhile wait in line and
are mostly paid from its answer. An answer that falls short says how full the bucket is,
hence when it can hold enough: until then requests are refused from memory.

What a replica holds is below one lot, `lot_seconds` of the rate, and is dropped when it
stays unspent. Hence, with R replicas, what is let in between s and t is at most

    burst + rate * (t - s) + R * lot_seconds * rate + (largest need - burst, if positive)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from service.access_ports import Lot, Rate
from service.errors import RateLimited, StoreUnavailable

#: Retry-After of a rate of nothing at all.
_NEVER_SECONDS: Final = 60.0
#: Of a sum of tokens: how far rounding may have left it below what was asked for.
_ROUNDING: Final = 1e-9


class Meters(Protocol):
    """The part of an AccessStore that is asked here."""

    async def take(self, tenant: str, meter: str, need: float, want: float, rate: Rate) -> Lot:
        """As AccessStore.take."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """lot_seconds: of the rate in a lot at most. burst_seconds: of the rate in a full bucket.

    keep_seconds: how long what was taken may stay unspent.
    """

    lot_seconds: float = 0.1
    burst_seconds: float = 1.0
    keep_seconds: float = 1.0


class _Demand:
    """What was spent within about the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = -math.inf
        self._now = self._before = 0.0

    def add(self, at: float, tokens: float) -> None:
        self._turn(at)
        self._now += tokens

    def lately(self, at: float) -> float:
        self._turn(at)
        return max(self._now, self._before)

    def _turn(self, at: float) -> None:
        passed = at - self._begun
        if passed >= self._seconds:
            self._before = self._now if passed < 2 * self._seconds else 0.0
            self._now, self._begun = 0.0, at


@dataclass(frozen=True, slots=True)
class _Short:
    """The store's bucket, when it last gave less than was wanted: at most `level` tokens."""

    at: float
    level: float


class ReplicaMeter:
    """Tokens of one tenant and meter at one replica. Touched on one event loop only.

    what: the tokens' name in an error. now: monotonic seconds.
    """

    def __init__(
        self,
        tenant: str,
        name: str,
        what: str,
        meters: Meters,
        pace: Pace,
        now: Callable[[], float],
    ) -> None:
        self._tenant = tenant
        self._name = name
        self._what = what
        self._meters = meters
        self._pace = pace
        self._now = now
        self._rate = Rate(0.0, 0.0)
        self._held = 0.0
        self._stale_at = math.inf
        self._short: _Short | None = None
        self._demand = _Demand(pace.lot_seconds)
        self._line = asyncio.Lock()
        self._waiting = 0.0
        self._failure: StoreUnavailable | None = None

    async def spend(self, need: float, per_second: float) -> None:
        """Pay `need` tokens, or raise RateLimited, or StoreUnavailable; then none were paid."""
        self._follow(per_second)
        if need <= 0:
            return
        if not self._line.locked() and self._pay(need):
            return
        self._refuse(need)
        failure = self._failure
        self._waiting += need
        try:
            async with self._line:
                if self._failure is not None and self._failure is not failure:
                    # The store failed one ahead in the line: asking it again, one by one, would
                    # let those who wait longest wait for ever.
                    raise StoreUnavailable(
                        self._failure.detail, retry_after=self._failure.retry_after
                    )
                if self._pay(need):
                    return
                self._refuse(need)
                await self._take(need)
                if not self._pay(need):
                    raise self._limited(self._wait(need))
        finally:
            self._waiting -= need

    def check(self, need: float, per_second: float) -> None:
        """Raise RateLimited if `spend` is known to; asks nobody and pays nothing."""
        self._follow(per_second)
        self._drop_stale()
        if self._held < need:
            self._refuse(need)

    def give_back(self, tokens: float) -> None:
        """Tokens that were paid for nothing; no more of them are kept than a lot."""
        self._drop_stale()
        self._held = max(self._held, min(self._held + tokens, self._lot))
        self._stale_at = self._now() + self._pace.keep_seconds

    # Steps

    @property
    def _lot(self) -> float:
        return self._rate.per_second * self._pace.lot_seconds

    def _follow(self, per_second: float) -> None:
        """Forget what was known of the bucket when the quota has changed."""
        if per_second == self._rate.per_second:
            return
        self._rate = Rate(per_second, per_second * self._pace.burst_seconds)
        self._short = None
        self._held = min(self._held, self._lot)

    def _drop_stale(self) -> None:
        if self._now() >= self._stale_at:
            self._held = 0.0

    def _pay(self, need: float) -> bool:
        self._drop_stale()
        if self._held < need * (1 - _ROUNDING):
            return False
        self._held = max(0.0, self._held - need)
        self._demand.add(self._now(), need)
        return True

    def _wait(self, need: float) -> float:
        """Seconds until the bucket can hold what is missing; 0 when the store must be asked."""
        if self._rate.per_second <= 0:
            return _NEVER_SECONDS
        if self._short is None:
            return 0.0
        missing = min(need - self._held, self._rate.burst) - self._short.level
        # Not each time that a single token may have come, or a tenant at its limit would
        # have the store asked with every request.
        pause = max(self._pace.lot_seconds, missing / self._rate.per_second)
        return max(0.0, self._short.at + pause - self._now())

    def _refuse(self, need: float) -> None:
        wait = self._wait(need)
        if wait > 0:
            raise self._limited(wait)

    def _limited(self, wait: float) -> RateLimited:
        rate = self._rate.per_second
        return RateLimited(
            f"the tenant's {self._what} are over {rate:g} a second", retry_after=wait
        )

    async def _take(self, need: float) -> None:
        missing = need - self._held
        lately = max(self._waiting, self._demand.lately(self._now()))
        want = max(missing, min(self._lot, lately))
        taking = asyncio.ensure_future(
            self._meters.take(self._tenant, self._name, missing, want, self._rate)
        )
        try:
            lot = await asyncio.shield(taking)
        except StoreUnavailable as failure:
            # Another one: this has the frames it went through, and they lead back here.
            self._failure = StoreUnavailable(failure.detail, retry_after=failure.retry_after)
            raise
        except asyncio.CancelledError:
            # The lot is the tenant's, whoever asked for it: a caller that goes must not lose it.
            taking.add_done_callback(lambda done: self._taken_late(done, missing, want))
            raise
        self._learn(lot, missing, want)
        self._held += lot.tokens
        if lot.tokens > 0:
            self._stale_at = self._now() + self._pace.keep_seconds

    def _taken_late(self, taking: asyncio.Future[Lot], missing: float, want: float) -> None:
        if not taking.cancelled() and taking.exception() is None:
            lot = taking.result()
            self._learn(lot, missing, want)
            self.give_back(lot.tokens)

    def _learn(self, lot: Lot, missing: float, want: float) -> None:
        """Note how full an answer says the bucket is."""
        now = self._now()
        if lot.tokens >= want * (1 - _ROUNDING):
            self._short = None
        elif lot.tokens > 0:  # all it had
            self._short = _Short(now, 0.0)
        else:
            level = min(missing, self._rate.burst) - lot.retry_after * self._rate.per_second
            self._short = _Short(now, level)
