"""What the service does now and then beside requests: sweep, refresh the gauges, ask the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.ports import Store
from service.settings import Settings

_log = logging.getLogger(__name__)
_LAG_PAUSE_SECONDS: Final = 0.25
#: How old the last judgement of readiness may grow, for where no balancer asks nobody else does:
#: one that is in doubt, and one that is not. Each writes to the store, which keeps a disk awake
#: that nobody else uses; what can go wrong shows in whatever else asks the store.
_DOUBTFUL_SECONDS: Final = 5.0
_SURE_SECONDS: Final = 60.0
#: Limits of tenants by (tenant, name of the quota's field).
Limits = Mapping[tuple[str, str], float]


class Chores:
    """Background tasks over a store. A failure is logged and the chore tried again next time.

    limits: those of tenants that are set now. judge: find out whether the service is ready,
    unless that was done in the last so many seconds: where nothing is in doubt, and where it is.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        settings: Settings,
        *,
        limits: Callable[[], Limits] | None = None,
        judge: Callable[[float, float], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._settings = settings
        self._limits = limits
        self._judge = judge
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(
                self._repeat("sweep", self.sweep, self._settings.sweep_interval_seconds)
            ),
            asyncio.create_task(
                self._repeat("usage", self.refresh, self._settings.usage_interval_seconds)
            ),
            asyncio.create_task(self._watch_the_loop()),
            asyncio.create_task(self._repeat("readiness", self.judge, _DOUBTFUL_SECONDS)),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Remove what expired, in steps that leave the store to others in between."""
        limit = self._settings.sweep_limit
        while await self._store.sweep(limit) >= limit:
            pass

    async def refresh(self) -> None:
        """Show the store's present usage in the metrics, and the tenants' limits beside it."""
        usage = await self._store.usage(self._settings.metrics_largest_sketches)
        if self._limits is not None:
            self._metrics.show_limits(self._limits())
        self._metrics.show(usage)

    async def judge(self) -> None:
        """See to it that somebody has lately found out whether the service is ready."""
        if self._judge is not None:
            await self._judge(_SURE_SECONDS, _DOUBTFUL_SECONDS)

    async def _watch_the_loop(self) -> None:
        """How late the event loop wakes whoever asked for it: what every request waits besides."""
        now = asyncio.get_running_loop().time
        while True:
            due = now() + _LAG_PAUSE_SECONDS
            await asyncio.sleep(_LAG_PAUSE_SECONDS)
            self._metrics.loop_woke_late(max(0.0, now() - due))

    async def _repeat(self, name: str, chore: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await chore()
            except StoreUnavailable as failure:
                _log.warning("%s put off: %s", name, failure.detail)
            except Exception:  # noqa: BLE001 - a chore must not end with one failure
                _log.exception("%s failed", name)
            await asyncio.sleep(pause)
