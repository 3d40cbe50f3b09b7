"""The replica's own copy of all tenants and keys: no request waits for the store to be let in.

Every second or so it asks the store whether the version has moved. While the store is
away the last copy known goes on serving; before the first one nobody is let in.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from typing import Final

from service import access_ports as ports
from service.access_ports import AccessStore
from service.errors import StoreUnavailable, Unavailable

_LOG: Final = logging.getLogger("sketchd.directory")
_NO_LIMITS: Final = ports.Quota()
#: What a quota can limit.
_LIMITED: Final = tuple(field.name for field in dataclasses.fields(ports.Quota))
#: A store that takes longer does not answer, and is asked again.
_PATIENCE_SECONDS: Final = 5.0


class CachedDirectory:
    """Tenants and keys as of the last refresh. Looked at from the event loop only."""

    def __init__(self, store: AccessStore, refresh_seconds: float) -> None:
        self._store = store
        self._refresh_seconds = refresh_seconds
        self._known: ports.Directory | None = None
        self._had_keys = False
        self._limits: dict[tuple[str, str], float] = {}
        self._away = False
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        """Whether the store has answered at least once."""
        return self._known is not None

    @property
    def had_keys(self) -> bool:
        """Whether a key has existed since this replica started.

        A store that has lost its keys must not open the service to everybody.
        """
        return self._had_keys

    def check(self) -> None:
        """Raises Unavailable (code not_ready) before the first copy."""
        if self._known is None:
            raise Unavailable("tenants and keys are not loaded yet", code="not_ready")

    def key(self, id: str) -> ports.AccessKey | None:
        """The key of this id, expired or not."""
        return None if self._known is None else self._known.keys.get(id)

    def tenant(self, name: str) -> ports.Tenant | None:
        """The tenant of this name."""
        return None if self._known is None else self._known.tenants.get(name)

    def quota(self, tenant: str) -> ports.Quota:
        """The tenant's limits; none for one that nobody has registered."""
        found = self.tenant(tenant)
        return _NO_LIMITS if found is None else found.quota

    @property
    def limits(self) -> Mapping[tuple[str, str], float]:
        """All limits that are set, by tenant and name of the quota's field. Another object after
        each change.
        """
        return self._limits

    async def refresh(self) -> None:
        """Return when the copy is as new as this call. Raises StoreUnavailable."""
        async with self._one_at_a_time:  # or an older answer could come after a newer one
            version = None if self._known is None else self._known.version
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    found = await self._store.directory(version)
            except TimeoutError:
                raise StoreUnavailable("the store did not answer in time") from None
            if found is not None:
                self._known = found
                self._limits = _limits_of(found)
                self._had_keys = self._had_keys or bool(found.keys)

    async def start(self) -> None:
        """Load, and refresh from now on. A store that is away is asked again and again."""
        if self._task is None:
            await self._refresh_or_warn()
            self._task = asyncio.create_task(self._refresh_for_ever())

    async def stop(self) -> None:
        """Refresh no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds)
            await self._refresh_or_warn()

    async def _refresh_or_warn(self) -> None:
        try:
            await self.refresh()
        except StoreUnavailable as failure:
            if not self._away:  # once, not every second
                _LOG.warning("tenants and keys stay as they are known: %s", failure.detail)
            self._away = True
        except Exception:  # noqa: BLE001 - the copy must not grow old because of one failure
            _LOG.exception("tenants and keys could not be read")
        else:
            self._away = False


def _limits_of(directory: ports.Directory) -> dict[tuple[str, str], float]:
    return {
        (name, limited): limit
        for name, tenant in directory.tenants.items()
        for limited in _LIMITED
        if (limit := getattr(tenant.quota, limited)) is not None
    }
