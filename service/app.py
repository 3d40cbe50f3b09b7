"""The composition root: everything is made here, started in order, and stopped in reverse.

Start: the store opens, the documentation is written, the chores begin, then
ready. Stop: not ready, wait for the requests under way, end the background
work, close the pool, close the store. Nothing here runs at import.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import (
    http_api,
    http_openapi,
    http_problems,
    http_questions,
    http_service,
    http_updates,
    redis_url,
)
from service.chores import Chores
from service.clock import SystemClock
from service.errors import ServiceError
from service.health import Health
from service.http_context import Served
from service.http_in_flight import BodiesInFlight
from service.metrics import Metrics
from service.middleware import RequestBoundary
from service.pool import BoundedPool
from service.ports import Clock, Store
from service.redis_connection import RedisConnection, RedisOptions
from service.redis_url import shown
from service.settings import InvalidSetting, Settings
from service.sketches import Sketches
from service.sqlite_writer import SqliteLimits
from service.store_memory import MemoryStore
from service.store_redis import RedisStore
from service.store_sqlite import SqliteStore
from service.store_timed import TimedStore
from sketch_core import bound_table_cache

_SQLITE = "sqlite:///"


def version() -> str:
    """The version of the installed distribution; "dev" where none is installed."""
    try:
        return metadata.version("sketchd")
    except metadata.PackageNotFoundError:
        return "dev"


def open_store(settings: Settings, clock: Clock) -> Store:
    """The store the settings name; not started. Raises InvalidSetting for one nobody serves."""
    url = settings.store
    if url == "memory://":
        return MemoryStore(clock)
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        # Three slashes and a relative path; a fourth one begins an absolute path.
        limits = SqliteLimits(
            queue_writes=settings.sqlite_queue_writes,
            queue_bytes=settings.sqlite_queue_bytes,
            busy_seconds=settings.sqlite_busy_seconds,
            file_bytes=settings.sqlite_file_bytes or None,
        )
        return SqliteStore(url[len(_SQLITE) :], clock, limits)
    if redis_url.is_redis(url):
        return RedisStore(redis_connection(settings), clock)
    raise InvalidSetting(
        f"SKETCHD_STORE: {shown(url)!r} is not a store this version serves; it is "
        "sqlite:///relative.db, sqlite:////absolute.db, memory:// or one that begins with redis"
    )


def redis_connection(settings: Settings) -> RedisConnection:
    """The connection the settings describe; not started. Raises InvalidSetting."""
    try:
        url = redis_url.parse(settings.store)
    except redis_url.InvalidRedisUrl as error:
        raise InvalidSetting(str(error)) from error
    options = RedisOptions(
        connections=settings.redis_connections,
        timeout_seconds=settings.redis_timeout_seconds,
        retry_seconds=settings.redis_retry_seconds,
        queue_calls=settings.redis_queue_calls,
        wait_replicas=settings.redis_wait_replicas,
        wait_seconds=settings.redis_wait_seconds,
    )
    return RedisConnection(url, options)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs behind the routes. Starting twice is starting once, and so is stopping."""

    settings: Settings
    store: Store
    pool: BoundedPool
    metrics: Metrics
    registry: CollectorRegistry
    sketches: Sketches
    chores: Chores
    health: Health

    async def start(self) -> None:
        """Open the store. Raises StoreUnavailable; then there is nothing to stop."""
        await self.store.start()
        self.chores.start()
        self.health.ready()

    async def stop(self) -> None:
        """Finish what is under way, within the settings' patience, and let go of everything."""
        self.health.drain()
        await self.health.drained(self.settings.drain_seconds)
        await self.chores.stop()
        await self.sketches.close()
        self.pool.close()
        await self.store.close()


def build(settings: Settings, *, clock: Clock | None = None, store: Store | None = None) -> Runtime:
    """Make everything and start nothing. clock, store: others than the settings', for tests."""
    clock = clock if clock is not None else SystemClock()
    bound_table_cache(settings.table_cache_bytes)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    inner = store if store is not None else open_store(settings, clock)
    timed = TimedStore(inner, finished=metrics.store_finished, up=metrics.store_up)
    pool = BoundedPool(settings.pool_threads, settings.pool_queue, depth_changed=metrics.pool_depth)
    return Runtime(
        settings=settings,
        store=timed,
        pool=pool,
        metrics=metrics,
        registry=registry,
        sketches=Sketches.over(timed, pool, metrics, settings, clock),
        chores=Chores(timed, metrics, settings),
        health=Health(timed.ping),
    )


def create_app(settings: Settings, make: Callable[[Settings], Runtime] = build) -> FastAPI:
    """The ASGI application; its lifespan starts and stops the runtime."""
    return app_over(make(settings))


def app_over(runtime: Runtime) -> FastAPI:
    """The routes over a runtime. Whoever serves the app starts it through the lifespan."""
    app = FastAPI(
        title="sketchd",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, runtime),
    )
    app.state.served = Served(runtime.sketches, runtime.pool, runtime.settings, runtime.metrics)
    app.state.health = runtime.health
    bodies = BodiesInFlight(runtime.settings.max_bodies_bytes)
    app.state.bodies = bodies
    app.state.registry = runtime.registry
    # The most frequent first: routes are tried in order. One flat table, not included
    # routers, so that a 405 can name the methods of every route at its path.
    for routes in (
        http_updates.ROUTES,
        http_questions.router.routes,
        http_api.router.routes,
        http_service.router.routes,
        http_service.ROUTES,
    ):
        app.router.routes.extend(routes)
    app.add_exception_handler(ServiceError, http_problems.on_service_error)
    app.add_exception_handler(RequestValidationError, http_problems.on_validation_error)
    app.add_exception_handler(HTTPException, http_problems.on_http_exception)
    app.add_exception_handler(ClientDisconnect, http_problems.on_disconnect)
    app.add_middleware(
        RequestBoundary,
        health=runtime.health,
        bodies=bodies,
        access_log=runtime.settings.access_log == "on",
    )
    return app


@asynccontextmanager
async def _lifespan(runtime: Runtime, app: FastAPI) -> AsyncIterator[None]:
    document = http_openapi.document(app, http_updates.PLAIN_PATHS, version())
    app.state.openapi = json.dumps(document, ensure_ascii=False).encode()
    await runtime.start()
    try:
        yield
    finally:
        await runtime.stop()
