"""A store as commands use it: opened from its URL without a service, and closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.access_ports import AccessStore
from service.app import open_store
from service.clock import SystemClock
from service.ports import Clock, Store
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """A started store. access: its directory of tenants."""

    store: Store
    access: AccessStore
    clock: Clock


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Opened]:
    """The store of the settings. Raises InvalidSetting and StoreUnavailable."""
    clock = SystemClock()
    backend = open_store(settings, clock)
    try:
        await backend.store.start()
        yield Opened(backend.store, backend.access, clock)
    finally:
        await backend.store.close()
