"""What the service reports to Prometheus: one class on a registry that is handed in.

Metrics are told; they ask nobody. Labels are bounded: transports, kinds and
outcomes are short fixed lists, tenants and sketch names are capped by the
caller's `largest`. Durations are observed on failure too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service import errors
from service.ports import Usage

#: Requests last from well under a millisecond (an append) to seconds (a first fold).
_REQUEST_BUCKETS: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_STORE_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
#: The `sketch` label of what is summed; no sketch can have this name.
OTHER: Final = "_other"
#: The `kind` label of a request whose sketch was not found.
UNKNOWN: Final = "unknown"

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


@dataclass(slots=True)
class Receipt:
    """When a request came in, and by which transport: set by that, read by the use case."""

    transport: str
    at: float


_receipt: ContextVar[Receipt | None] = ContextVar("receipt", default=None)


def received(transport: str) -> None:
    """Start the clock of the request that the current task serves ("http", "grpc")."""
    _receipt.set(Receipt(transport, time.perf_counter()))


class Request:
    """One request under way; the use case fills in what it learns."""

    def __init__(self) -> None:
        receipt = _receipt.get()
        self.transport = receipt.transport if receipt is not None else "internal"
        self.started = receipt.at if receipt is not None else time.perf_counter()
        self.kind = UNKNOWN
        self.outcome = "ok"
        self.coordinates = 0


class Metrics:
    """Every metric of the service, by the names of the public interface."""

    def __init__(self, registry: CollectorRegistry) -> None:
        request = ("transport", "kind", "outcome")
        self._update_seconds = Histogram(
            "sketchd_update_duration_seconds",
            "Seconds from the receipt of an update to its durable answer.",
            request, buckets=_REQUEST_BUCKETS, registry=registry,
        )  # fmt: skip
        self._sample_seconds = Histogram(
            "sketchd_sample_duration_seconds",
            "Seconds from the receipt of a sample, estimate or norm request to its answer.",
            request, buckets=_REQUEST_BUCKETS, registry=registry,
        )  # fmt: skip
        self._updates = Counter(
            "sketchd_updates", "Coordinates updated.", ("kind",), registry=registry
        )
        self._batches = Counter(
            "sketchd_update_batches", "Update batches answered.", ("kind", "outcome"),
            registry=registry,
        )  # fmt: skip
        self._memory = Gauge(
            "sketchd_sketch_memory_bytes",
            "Bytes of a sketch's folded state, and of its log since the checkpoint; the largest "
            f'sketches by name, the rest of a tenant summed as "{OTHER}".',
            ("tenant", "sketch", "part"), registry=registry,
        )  # fmt: skip
        self._sketches = Gauge("sketchd_sketches", "Sketches.", ("tenant",), registry=registry)
        self._backlog = Gauge(
            "sketchd_log_backlog_updates", "Coordinates logged and not yet compacted.",
            registry=registry,
        )  # fmt: skip
        self._keys = Gauge(
            "sketchd_idempotency_keys", "Idempotency keys remembered.", registry=registry
        )
        self._fold_seconds = Histogram(
            "sketchd_fold_duration_seconds", "Seconds to fold one chunk of log entries.",
            buckets=_REQUEST_BUCKETS, registry=registry,
        )  # fmt: skip
        self._compactions = Counter(
            "sketchd_compactions", "Compactions ended.", ("outcome",), registry=registry
        )
        self._cache_bytes = Gauge(
            "sketchd_cache_bytes", "Bytes of folded states cached.", registry=registry
        )
        self._pool_jobs = Gauge(
            "sketchd_pool_jobs", "Jobs waiting for a pool thread or running.", registry=registry
        )
        self._store_seconds = Histogram(
            "sketchd_store_duration_seconds", "Seconds of one store operation.",
            ("operation", "outcome"), buckets=_STORE_BUCKETS, registry=registry,
        )  # fmt: skip
        self._store_up = Gauge(
            "sketchd_store_up", "Whether the store answered last time (1 or 0).", registry=registry
        )
        self._rejected = Counter(
            "sketchd_rejected", "Requests refused, by the problem's code.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self._shown: set[tuple[str, str]] = set()
        self._tenants: set[str] = set()

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
            self._update_seconds.labels(*labels).observe(elapsed)
            self._batches.labels(request.kind, request.outcome).inc()
            if request.outcome == "ok":
                self._updates.labels(request.kind).inc(request.coordinates)

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
            self._sample_seconds.labels(*labels).observe(elapsed)

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
        self._store_seconds.labels(operation, outcome).observe(seconds)

    def store_up(self, up: bool) -> None:
        self._store_up.set(1 if up else 0)

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
        for tenant in self._tenants - usage.sketches.keys():
            self._sketches.remove(tenant)
        self._tenants = set(usage.sketches)
        for tenant, count in usage.sketches.items():
            self._sketches.labels(tenant).set(count)
        self._backlog.set(usage.backlog)
        self._keys.set(usage.idempotency_keys)

    def _show_memory(self, tenant: str, name: str, state: int, log: int) -> None:
        self._memory.labels(tenant, name, "state").set(state)
        self._memory.labels(tenant, name, "log").set(log)
