"""The composition root: everything is made here, started in order, and stopped in reverse.

Start: the store opens, the first key is added, tenants and keys are read, the chores
begin, then ready; the documentation is written before the first request. Stop: not ready,
wait for the requests under way, end the background work, close the pool, close the store.
Nothing here runs at import.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import cast

import grpc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from service import (
    grpc_service,
    http_access,
    http_admin,
    http_api,
    http_dashboard,
    http_openapi,
    http_overview,
    http_problems,
    http_questions,
    http_service,
    http_updates,
    redis_url,
)
from service.access import Access
from service.access_admin import Administration
from service.access_ports import AccessStore
from service.chores import Chores
from service.clock import SystemClock
from service.directory import CachedDirectory
from service.errors import ServiceError
from service.grpc_context import GrpcServed
from service.grpc_places import Places
from service.health import Health
from service.http_context import Served
from service.http_metering import RequestMeter
from service.http_origins import is_this_machine
from service.http_routes import RouteNames
from service.in_flight import BodiesInFlight
from service.metrics import SHOWN_SETTINGS, Metrics
from service.metrics_activity import Activity, Seen
from service.metrics_shared import Snapshot
from service.middleware import RequestBoundary
from service.pool import BoundedPool
from service.ports import Clock, Store
from service.quota_meters import Meters, Pace
from service.quotas import Quotas, QuotaSource
from service.redis_access import RedisAccess
from service.redis_connection import RedisConnection, RedisOptions
from service.redis_url import shown
from service.settings import InvalidSetting, Settings
from service.sketches import Sketches
from service.sqlite_access import SqliteAccess
from service.sqlite_writer import SqliteLimits
from service.store_memory import MemoryStore
from service.store_memory_access import MemoryAccess
from service.store_redis import RedisStore
from service.store_sqlite import SqliteStore
from service.store_timed import TimedStore
from sketch_core import bound_table_cache

_SQLITE = "sqlite:///"
Scrape = Callable[[], Awaitable[Snapshot]]
Watch = Callable[[str], Awaitable[Seen]]


def version() -> str:
    """The version of the installed distribution; "dev" where none is installed."""
    try:
        return metadata.version("sketchd")
    except metadata.PackageNotFoundError:
        return "dev"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where everything durable is. access: over what `store` opens and closes."""

    store: Store
    access: AccessStore


def open_store(settings: Settings, clock: Clock) -> Backend:
    """The store the settings name; not started. Raises InvalidSetting for one nobody serves."""
    url = settings.store
    if url == "memory://":
        return Backend(MemoryStore(clock), MemoryAccess(clock))
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        # Three slashes and a relative path; a fourth one begins an absolute path.
        limits = SqliteLimits(
            queue_writes=settings.sqlite_queue_writes,
            queue_bytes=settings.sqlite_queue_bytes,
            busy_seconds=settings.sqlite_busy_seconds,
            file_bytes=settings.sqlite_file_bytes or None,
        )
        file = SqliteStore(url[len(_SQLITE) :], clock, limits)
        return Backend(file, SqliteAccess(file))
    if redis_url.is_redis(url):
        redis = redis_connection(settings)
        return Backend(
            RedisStore(redis, clock, usage_seconds=settings.usage_interval_seconds / 2),
            RedisAccess(redis),
        )
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
    directory: CachedDirectory
    access: Access
    administration: Administration
    quotas: Quotas
    bodies: BodiesInFlight

    async def snapshot(self) -> Snapshot:
        """The metrics now; taken in a thread of its own, for the pool may be full."""
        return await asyncio.to_thread(Snapshot.of, self.registry, self.metrics.as_of)

    async def seen(self, incarnation: str) -> Seen:
        """What this process has seen of a sketch lately."""
        return self.metrics.activity.of(incarnation)

    async def start(self) -> None:
        """Open the store. Raises StoreUnavailable; then there is nothing to stop."""
        await self.store.start()
        await self.administration.bootstrap()
        await self.directory.start()
        self.chores.start()
        self.health.ready()

    async def stop(self) -> None:
        """Finish what is under way, within the settings' patience, and let go of everything."""
        self.health.drain()
        await self.health.drained(self.settings.drain_seconds)
        await self.chores.stop()
        await self.directory.stop()
        await self.sketches.close()
        self.pool.close()
        await self.store.close()


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    store: Store | None = None,
    access: AccessStore | None = None,
    tenants: QuotaSource | None = None,
    meters: Meters | None = None,
) -> Runtime:
    """Make everything and start nothing. The rest: others than the settings', for tests.

    access: in memory where only `store` is given. tenants, meters: whose quotas count and
    where they are metered, where not those of `access`.
    """
    clock = clock if clock is not None else SystemClock()
    bound_table_cache(settings.table_cache_bytes)
    registry = CollectorRegistry()
    metrics = Metrics(registry, version(), Activity(settings.activity_sketches))
    metrics.show_settings({name: getattr(settings, name) for name in SHOWN_SETTINGS})
    if store is None:
        backend = open_store(settings, clock)
    else:
        backend = Backend(store, access if access is not None else MemoryAccess(clock))

    def store_up(up: bool) -> None:
        metrics.store_up(up)
        if not up:
            health.doubt()

    timed = TimedStore(backend.store, finished=metrics.store_finished, up=store_up)
    pool = BoundedPool(settings.pool_threads, settings.pool_queue, depth_changed=metrics.pool_depth)
    directory = CachedDirectory(backend.access, settings.access_refresh_seconds)
    demand_keys = bool(settings.bootstrap_admin_key) or not is_this_machine(settings.host)

    async def ping() -> None:
        directory.check()
        await timed.ping()

    health = Health(ping, told=metrics.ready, silent=partial(metrics.store_up, False))
    quotas = Quotas(
        tenants if tenants is not None else directory,
        meters if meters is not None else backend.access,
        Pace(settings.quota_lot_seconds, settings.quota_burst_seconds),
    )
    return Runtime(
        settings=settings,
        store=timed,
        pool=pool,
        metrics=metrics,
        registry=registry,
        sketches=Sketches.over(timed, pool, metrics, settings, clock, quotas),
        chores=Chores(
            timed, metrics, settings, limits=lambda: directory.limits, judge=health.judge
        ),
        health=health,
        directory=directory,
        access=Access(directory, clock, demand_keys=demand_keys),
        administration=Administration(timed, backend.access, settings, clock),
        quotas=quotas,
        bodies=BodiesInFlight(
            settings.max_bodies_bytes, settings.tenant_share, changed=metrics.bodies_held
        ),
    )


def grpc_handlers(runtime: Runtime) -> grpc.GenericRpcHandler:
    """The RPCs over a runtime, for a server of grpc.aio on the loop that runs it."""
    return grpc_service.handlers(
        GrpcServed(
            sketches=runtime.sketches,
            pool=runtime.pool,
            settings=runtime.settings,
            metrics=runtime.metrics,
            quotas=runtime.quotas,
            access=runtime.access,
            health=runtime.health,
            bodies=runtime.bodies,
            # Half of the pool's queue: more would be refused there, each message by itself.
            stream_samples=Places(
                max(1, runtime.settings.pool_queue // 2),
                runtime.settings.tenant_share,
                "samples of streams are under way",
            ),
        )
    )


def create_app(settings: Settings, make: Callable[[Settings], Runtime] = build) -> FastAPI:
    """The ASGI application; its lifespan starts and stops the runtime."""
    return app_over(make(settings))


def app_over(runtime: Runtime, scrape: Scrape | None = None, watch: Watch | None = None) -> FastAPI:
    """The routes over a runtime. Whoever serves the app starts it through the lifespan.

    scrape, watch: what /metrics shows, and the activity of a sketch, where that is more than this
    process's own.
    """
    app = FastAPI(
        title="sketchd",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Else every request asks whether somebody has set OpenTelemetry up, for which nobody can.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=partial(_lifespan, runtime),
    )
    app.state.served = Served(
        runtime.sketches, runtime.pool, runtime.settings, runtime.metrics, runtime.quotas
    )
    app.state.health = runtime.health
    app.state.administration = runtime.administration
    app.state.directory = runtime.directory
    app.state.bodies = runtime.bodies
    app.state.scrape = scrape if scrape is not None else runtime.snapshot
    app.state.watch = watch if watch is not None else runtime.seen
    app.state.version = version()
    # The most frequent first: routes are tried in order. One flat table, not included
    # routers, so that a 405 can name the methods of every route at its path.
    roles = http_access.roles(runtime.settings.metrics_access)
    for routes in (
        http_updates.ROUTES,
        http_questions.ROUTES,
        http_api.router.routes,
        http_overview.router.routes,
        http_service.router.routes,
        http_service.ROUTES,
        http_dashboard.ROUTES,
        http_admin.router.routes,
    ):
        app.router.routes.extend(http_access.guarded(cast(Iterable[Route], routes), roles))
    app.add_exception_handler(ServiceError, http_problems.on_service_error)
    app.add_exception_handler(RequestValidationError, http_problems.on_validation_error)
    app.add_exception_handler(HTTPException, http_problems.on_http_exception)
    app.add_exception_handler(ClientDisconnect, http_problems.on_disconnect)
    # The last added is the outermost: who asks is known before what they may is asked.
    app.add_middleware(RequestMeter, quotas=runtime.quotas)
    app.add_middleware(http_access.Gate, access=runtime.access)
    app.add_middleware(
        RequestBoundary,
        health=runtime.health,
        bodies=runtime.bodies,
        told=runtime.metrics,
        routes=RouteNames(app.routes),
        access_log=runtime.settings.access_log == "on",
        keyless=lambda: runtime.access.keyless,
    )
    return app


@asynccontextmanager
async def _lifespan(runtime: Runtime, app: FastAPI) -> AsyncIterator[None]:
    await runtime.start()
    try:
        roles = http_access.roles(runtime.settings.metrics_access)
        document = http_openapi.document(
            app, http_updates.PLAIN_PATHS, version(), roles, keyless=runtime.access.keyless
        )
        app.state.openapi = json.dumps(document, ensure_ascii=False).encode()
        yield
    finally:
        await runtime.stop()
