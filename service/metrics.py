"""What the service reports to Prometheus: one class on a registry that is handed in.

Metrics are told; they ask nobody. Labels are bounded: transports, kinds and
outcomes are short fixed lists, routes are templates, tenants and sketch names are
capped by the caller's `largest`. Durations are observed on failure too. What each
metric means stands in `metrics_catalogue`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service import errors, metrics_catalogue
from service.metrics_catalogue import METRICS
from service.metrics_process import ProcessCollector
from service.ports import Usage

M = TypeVar("M", Counter, Histogram)
#: The `sketch` label of what is summed; no sketch can have this name.
OTHER: Final = metrics_catalogue.OTHER
#: The `kind` label of a request whose sketch was not found.
UNKNOWN: Final = "unknown"

#: What other metrics are compared with, so that no alert has to know it.
SHOWN_SETTINGS: Final = (
    "workers", "pool_threads", "pool_queue", "cache_bytes", "max_bodies_bytes", "max_log_bytes",
)  # fmt: skip
#: Refusals of which the first one matters: their series are there from the start, for a series
#: that begins with 1 has not grown.
_ALERTED_REASONS: Final = ("internal", "stored_data_damaged", "backlog_full", "overloaded")
#: Methods that routes have; what else a client may write is one label.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What a request asked for that was timed, or should have been.
Timed = Literal["update", "sample"]

_OUTCOMES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (errors.InvalidRequest, "invalid"),
    (errors.NotFound, "not_found"),
    (errors.Conflict, "conflict"),
    (errors.Unavailable, "unavailable"),
    (errors.ServiceError, "refused"),
    (Exception, "error"),
)


def outcome_of(failure: BaseException) -> str:
    """The `outcome` label of a failure."""
    for kind, label in _OUTCOMES:
        if isinstance(failure, kind):
            return label
    return "cancelled"


#: The `outcome` of a request that no use case saw, by the status of its answer; 4xx: "refused".
_OUTCOMES_BY_STATUS: Final = {
    0: "cancelled", 400: "invalid", 422: "invalid", 404: "not_found", 409: "conflict",
    500: "error", 503: "unavailable",
}  # fmt: skip


@dataclass(slots=True)
class Receipt:
    """When a request came in, and by which transport: set by that, read by the use case.

    timed: whether a use case has timed it, or parts of it.
    """

    transport: str
    at: float
    timed: bool = False


_receipt: ContextVar[Receipt | None] = ContextVar("receipt", default=None)


def received(transport: str) -> Receipt:
    """Start the clock of the request that the current task serves ("http", "grpc")."""
    receipt = Receipt(transport, time.perf_counter())
    _receipt.set(receipt)
    return receipt


class Request:
    """One request under way; the use case fills in what it learns."""

    def __init__(self) -> None:
        receipt = _receipt.get()
        self.transport = receipt.transport if receipt is not None else "internal"
        self.started = receipt.at if receipt is not None else time.perf_counter()
        if receipt is not None:
            receipt.timed = True
        self.kind = UNKNOWN
        self.outcome = "ok"
        self.coordinates = 0


class Metrics:
    """Every metric of the service, by the names of the public interface."""

    def __init__(self, registry: CollectorRegistry, version: str = "dev") -> None:
        self._registry = registry
        self._known: dict[tuple[object, tuple[str, ...]], object] = {}
        self._update_seconds = self._histogram("sketchd_update_duration_seconds")
        self._sample_seconds = self._histogram("sketchd_sample_duration_seconds")
        self._updates = self._counter("sketchd_updates_total")
        self._batches = self._counter("sketchd_update_batches_total")
        self._memory = self._gauge("sketchd_sketch_memory_bytes")
        self._sketches = self._gauge("sketchd_sketches")
        self._state_bytes = self._gauge("sketchd_tenant_state_bytes")
        self._quota = self._gauge("sketchd_tenant_quota")
        self._inexact = self._gauge("sketchd_inexact_sketches")
        self._backlog = self._gauge("sketchd_log_backlog_updates")
        self._keys = self._gauge("sketchd_idempotency_keys")
        self._fold_seconds = self._histogram("sketchd_fold_duration_seconds")
        self._compactions = self._counter("sketchd_compactions_total")
        self._compactions.labels("error")
        self._store_seconds = self._histogram("sketchd_store_duration_seconds")
        self._store_up = self._gauge("sketchd_store_up")
        self._ready = self._gauge("sketchd_ready")
        self._rejected = self._counter("sketchd_rejected_total")
        for reason in _ALERTED_REASONS:
            self._rejected.labels(reason)
        self._http_requests = self._counter("sketchd_http_requests_total")
        self._grpc_requests = self._counter("sketchd_grpc_requests_total")
        self._grpc_messages = self._counter("sketchd_grpc_messages_total")
        self._bodies = self._gauge("sketchd_bodies_in_flight_bytes")
        self._cache_bytes = self._gauge("sketchd_cache_bytes")
        self._pool_jobs = self._gauge("sketchd_pool_jobs")
        self._loop_lag = self._histogram("sketchd_event_loop_lag_seconds")
        self._gauge("sketchd_workers").set(1)
        self._counter("sketchd_worker_restarts_total")
        self._settings = self._gauge("sketchd_setting")
        self._gauge("sketchd_build_info").labels(version).set(1)
        registry.register(ProcessCollector())
        #: When the gauges of one thing seen by all workers were last set (time.monotonic), by
        #: `metrics_catalogue.Joined`.
        self.as_of: dict[str, float] = {"usage": -1.0, "store": -1.0}
        self._shown: set[tuple[str, str]] = set()
        self._tenants: set[str] = set()
        self._limits: Mapping[tuple[str, str], float] = {}

    def _counter(self, name: str) -> Counter:
        one = METRICS[name]
        return Counter(name, one.meaning, one.labels, registry=self._registry)

    def _gauge(self, name: str) -> Gauge:
        one = METRICS[name]
        return Gauge(name, one.meaning, one.labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        one = METRICS[name]
        return Histogram(
            name, one.meaning, one.labels, buckets=one.buckets, registry=self._registry
        )

    def _series(self, metric: M, *labels: str) -> M:
        """The series of a counter or histogram, which are never removed. Looking one up in the
        client's library takes longer than counting in it.
        """
        known = self._known.get((metric, labels))
        if known is None:
            known = self._known[metric, labels] = metric.labels(*labels)
        return cast(M, known)

    @contextmanager
    def update(self) -> Iterator[Request]:
        """Time one update; outcome `replayed` is not counted in coordinates."""
        request = Request()
        try:
            yield request
        except BaseException as failure:
            request.outcome = outcome_of(failure)
            raise
        finally:
            elapsed = time.perf_counter() - request.started
            labels = (request.transport, request.kind, request.outcome)
            self._series(self._update_seconds, *labels).observe(elapsed)
            self._series(self._batches, request.kind, request.outcome).inc()
            if request.outcome == "ok":
                self._series(self._updates, request.kind).inc(request.coordinates)

    @contextmanager
    def sample(self) -> Iterator[Request]:
        """Time one sample, estimate or norm request."""
        request = Request()
        try:
            yield request
        except BaseException as failure:
            request.outcome = outcome_of(failure)
            raise
        finally:
            elapsed = time.perf_counter() - request.started
            labels = (request.transport, request.kind, request.outcome)
            self._series(self._sample_seconds, *labels).observe(elapsed)

    def http_finished(
        self, route: str, method: str, status: int, receipt: Receipt, timed: Timed | None
    ) -> None:
        """A request of HTTP has ended.

        route: a template, never a path. status: of the answer, 0 if none began. timed: which
        durations it belongs to; counted there now if it failed before a use case could.
        """
        family = f"{status // 100}xx" if status else "none"
        shown = method if method in _METHODS else "other"
        self._series(self._http_requests, route, shown, family).inc()
        if timed is None or receipt.timed or 0 < status < 400:
            return
        outcome = _OUTCOMES_BY_STATUS.get(status, "refused" if status < 500 else "error")
        self._unseen(timed, receipt, outcome)

    def rpc_finished(self, method: str, code: str) -> None:
        """An RPC has ended. method: of the .proto, never a caller's text. code: of gRPC."""
        self._series(self._grpc_requests, method, code).inc()

    def rpc_message_finished(self, method: str, code: str) -> None:
        """A message of a stream of requests has been answered."""
        self._series(self._grpc_messages, method, code).inc()

    def rpc_refused(self, timed: Timed, receipt: Receipt, refusal: BaseException) -> None:
        """An RPC, or a message of a stream, failed. Counted where no use case has done so."""
        if not receipt.timed:
            self._unseen(timed, receipt, outcome_of(refusal))

    def part_refused(self, timed: Timed, refusal: BaseException) -> None:
        """A part of a batch request was refused before a use case saw it."""
        receipt = _receipt.get() or Receipt("internal", time.perf_counter())
        receipt.timed = True
        self._unseen(timed, receipt, outcome_of(refusal))

    def _unseen(self, timed: Timed, receipt: Receipt, outcome: str) -> None:
        elapsed = time.perf_counter() - receipt.at
        if timed == "update":
            self._update_seconds.labels(receipt.transport, UNKNOWN, outcome).observe(elapsed)
            self._batches.labels(UNKNOWN, outcome).inc()
        else:
            self._sample_seconds.labels(receipt.transport, UNKNOWN, outcome).observe(elapsed)

    def bodies_held(self, size: int) -> None:
        self._bodies.set(size)

    def loop_woke_late(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def rejected(self, reason: str) -> None:
        """A transport refused a request. reason: the problem's code, never a caller's text."""
        self._rejected.labels(reason).inc()

    def folded(self, seconds: float) -> None:
        self._fold_seconds.observe(seconds)

    def compacted(self, outcome: str) -> None:
        """outcome: ok, lost (a replica was first), held (one has the lease), gone, or error."""
        self._compactions.labels(outcome).inc()

    def cached(self, size: int) -> None:
        self._cache_bytes.set(size)

    def pool_depth(self, jobs: int) -> None:
        self._pool_jobs.set(jobs)

    def store_finished(self, operation: str, outcome: str, seconds: float) -> None:
        self._series(self._store_seconds, operation, outcome).observe(seconds)

    def store_up(self, up: bool) -> None:
        self._store_up.set(1 if up else 0)
        self.as_of["store"] = time.monotonic()

    def ready(self, ready: bool) -> None:
        """Whether requests can be served, as somebody has just found out."""
        self._ready.set(1 if ready else 0)

    def show_settings(self, settings: Mapping[str, float]) -> None:
        """Once: those of SHOWN_SETTINGS."""
        for name, value in settings.items():
            self._settings.labels(name).set(value)

    def show_limits(self, limits: Mapping[tuple[str, str], float]) -> None:
        """Replace the limits of tenants, by tenant and resource. The same object again changes
        nothing, and costs nothing.
        """
        if limits is self._limits:
            return
        for gone in self._limits.keys() - limits.keys():
            self._quota.remove(*gone)
        for (tenant, resource), limit in limits.items():
            self._quota.labels(tenant, resource).set(limit)
        self._limits = limits

    def show(self, usage: Usage) -> None:
        """Replace the gauges of sizes and counts; what is gone leaves no series behind."""
        shown = {(item.key.tenant, item.key.name) for item in usage.largest}
        shown |= {(tenant, OTHER) for tenant in usage.other}
        for tenant, name in self._shown - shown:
            for part in ("state", "log"):
                self._memory.remove(tenant, name, part)
        self._shown = shown
        for item in usage.largest:
            self._show_memory(item.key.tenant, item.key.name, item.state_bytes, item.log_bytes)
        for tenant, (state, log) in usage.other.items():
            self._show_memory(tenant, OTHER, state, log)
        tenants = usage.sketches.keys() | usage.state_bytes.keys()
        for tenant in self._tenants - tenants:
            for gauge in (self._sketches, self._state_bytes, self._inexact):
                gauge.remove(tenant)
        self._tenants = tenants
        for tenant in tenants:
            self._sketches.labels(tenant).set(usage.sketches.get(tenant, 0))
            self._state_bytes.labels(tenant).set(usage.state_bytes.get(tenant, 0))
            self._inexact.labels(tenant).set(usage.inexact.get(tenant, 0))
        self._backlog.set(usage.backlog)
        self._keys.set(usage.idempotency_keys)
        self.as_of["usage"] = time.monotonic()

    def _show_memory(self, tenant: str, name: str, state: int, log: int) -> None:
        self._memory.labels(tenant, name, "state").set(state)
        self._memory.labels(tenant, name, "log").set(log)
