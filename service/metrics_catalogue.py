"""Every metric by name: what it means, its labels, how workers' values join, what to alert on.

`service.metrics` makes the metrics from this table, `docs/metrics.md` is rendered from it,
and the workers of one machine join their values by its `joined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
#: How the values of several workers become one. sum: added up, also those of workers that have
#: ended where it is a counter or histogram. usage, store: what the store holds, or whether it
#: answers, is one thing seen by all, so the worker that looked last speaks for all. same: equal
#: in all workers. least, most: the smallest or the largest one of those that live.
Joined = Literal["sum", "usage", "store", "same", "least", "most"]

#: The `sketch` label of what is summed; no sketch can have this name.
OTHER: Final = "_other"
#: The `route` label of a request that no route matched: never a path that a client made up.
UNMATCHED: Final = "unmatched"

#: Requests last from well under a millisecond (an append) to seconds (a first fold).
_REQUEST_BUCKETS: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_STORE_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. meaning: its help text. alert: when to wake or tell somebody, one sentence.

    alerts: those of deploy/prometheus that look at it, each a section of docs/runbook.md.
    """

    kind: Kind
    meaning: str
    alert: str
    labels: tuple[str, ...] = ()
    joined: Joined = "sum"
    buckets: tuple[float, ...] = ()
    alerts: tuple[str, ...] = ()


METRICS: Final[dict[str, Described]] = {
    "sketchd_update_duration_seconds": Described(
        "histogram",
        "Seconds from the receipt of an update to its durable answer, each part of a batch "
        "request on its own; those that failed included.",
        "More than one in a hundred of outcome `ok` takes longer than the objective, 100 ms.",
        ("transport", "kind", "outcome"), buckets=_REQUEST_BUCKETS,
        alerts=("SketchdLatencyBudgetBurningFast", "SketchdLatencyBudgetBurningSlowly"),
    ),
    "sketchd_sample_duration_seconds": Described(
        "histogram",
        "Seconds from the receipt of a sample, estimate or norm request to its answer; those "
        "that failed included.",
        "The 99th percentile of outcome `ok` stays above what your readers wait for.",
        ("transport", "kind", "outcome"), buckets=_REQUEST_BUCKETS,
    ),
    "sketchd_updates_total": Described(
        "counter", "Coordinates updated; a replayed batch adds none.",
        "The rate falls to zero while your producers run.", ("kind",),
    ),
    "sketchd_update_batches_total": Described(
        "counter", "Update batches answered, by outcome.",
        "More than a twentieth of the batches end as `unavailable` or `error` for ten minutes.",
        ("kind", "outcome"),
        alerts=("SketchdBatchesFailing",),
    ),
    "sketchd_sketch_memory_bytes": Described(
        "gauge",
        "Bytes of a sketch's folded state, and of its log since the checkpoint (part state, "
        "log); the largest sketches by name, the rest of a tenant summed as "
        f'"{OTHER}".',
        "A sketch's `log` part stays above 60% of SKETCHD_MAX_LOG_BYTES: at the whole its "
        "updates are refused.",
        ("tenant", "sketch", "part"), joined="usage",
        alerts=("SketchdLogNearLimit",),
    ),
    "sketchd_sketches": Described(
        "gauge", "Sketches of a tenant.", "It comes near the tenant's quota.", ("tenant",),
        joined="usage",
        alerts=("SketchdTenantNearSketchQuota",),
    ),
    "sketchd_tenant_state_bytes": Described(
        "gauge", "Bytes of the folded states of all sketches of a tenant.",
        "It comes near the tenant's quota of bytes.", ("tenant",), joined="usage",
        alerts=("SketchdTenantNearBytesQuota",),
    ),
    "sketchd_tenant_quota": Described(
        "gauge",
        "A tenant's limit, by the name of its quota's field; no series where none is set.",
        "None; what there is of it comes near.", ("tenant", "resource"), joined="usage",
        alerts=("SketchdTenantNearSketchQuota", "SketchdTenantNearBytesQuota"),
    ),
    "sketchd_inexact_sketches": Described(
        "gauge",
        "Sketches of a tenant that say `exact: false`: a sum may have passed 64 bits, and what "
        "they answer may be wrong altogether.",
        "It grows: somebody sends numbers too large for the sketch's quantum.", ("tenant",),
        joined="usage",
        alerts=("SketchdExactnessLost",),
    ),
    "sketchd_log_backlog_updates": Described(
        "gauge", "Coordinates logged and not yet compacted, over everything.",
        "It doubles within an hour: compaction does not keep up.", joined="usage",
        alerts=("SketchdBacklogGrowing",),
    ),
    "sketchd_idempotency_keys": Described(
        "gauge", "Idempotency keys remembered.",
        "It grows faster than your rate of keyed requests times their retention.",
        joined="usage",
    ),
    "sketchd_fold_duration_seconds": Described(
        "histogram", "Seconds to fold one chunk of log entries into a state.",
        "The 99th percentile stays above a second.", buckets=_REQUEST_BUCKETS,
    ),
    "sketchd_compactions_total": Described(
        "counter",
        "Compactions ended: ok, lost (another was first), held (another has the lease), gone "
        "(the sketch was deleted), error.",
        "`error` grows for ten minutes.", ("outcome",),
        alerts=("SketchdCompactionFailing",),
    ),
    "sketchd_store_duration_seconds": Described(
        "histogram", "Seconds of one store operation; those that failed included.",
        "The 99th percentile of `append` stays above a tenth of a second.",
        ("operation", "outcome"), buckets=_STORE_BUCKETS,
        alerts=("SketchdStoreFailing", "SketchdStoreSlow"),
    ),
    "sketchd_store_up": Described(
        "gauge", "Whether the store answered last time it was asked (1 or 0).",
        "It is 0 for a minute: nothing can be served.", joined="store",
        alerts=("SketchdStoreDown", "SketchdNoReplicaReady"),
    ),
    "sketchd_ready": Described(
        "gauge",
        "Whether /readyz would say that requests can be served, as last found out (1 or 0); of "
        "several workers the least.",
        "It is 0 for minutes: balancers send this replica nothing.", joined="least",
        alerts=("SketchdNoReplicaReady", "SketchdNotReady"),
    ),
    "sketchd_rejected_total": Described(
        "counter",
        "Requests, and parts of batch requests, answered with a problem, by the problem's code.",
        "`backlog_full` or `overloaded` grow for ten minutes, `internal` or "
        "`stored_data_damaged` at all.",
        ("reason",),
        alerts=(
            "SketchdOverloaded", "SketchdInternalErrors", "SketchdStoredDataDamaged",
            "SketchdLogFull",
        ),
    ),
    "sketchd_http_requests_total": Described(
        "counter",
        "HTTP requests ended, by template of their route "
        f'("{UNMATCHED}" where there is none), method and class of status ("none" where the '
        "client left before an answer began).",
        "More than one in a thousand requests for sketches are `5xx`, at a pace that spends the "
        "month's budget early.",
        ("route", "method", "status"),
        alerts=("SketchdErrorBudgetBurningFast", "SketchdErrorBudgetBurningSlowly"),
    ),
    "sketchd_grpc_requests_total": Described(
        "counter",
        "RPCs ended, by method and gRPC code; a stream is one, whatever its messages.",
        "`INTERNAL` and `UNAVAILABLE` count with the `5xx` of HTTP.",
        ("method", "code"),
        alerts=("SketchdErrorBudgetBurningFast", "SketchdErrorBudgetBurningSlowly"),
    ),
    "sketchd_grpc_messages_total": Described(
        "counter", "Messages of UpdateStream and SampleStream answered, by gRPC code.",
        "`INTERNAL` and `UNAVAILABLE` count with the `5xx` of HTTP.",
        ("method", "code"),
        alerts=("SketchdErrorBudgetBurningFast", "SketchdErrorBudgetBurningSlowly"),
    ),
    "sketchd_bodies_in_flight_bytes": Described(
        "gauge", "Bytes of request bodies held now.",
        "It stays near SKETCHD_MAX_BODIES_BYTES (of each worker): beyond it bodies are refused.",
    ),
    "sketchd_cache_bytes": Described(
        "gauge", "Bytes of folded states cached.",
        "None; beside SKETCHD_CACHE_BYTES it tells whether the cache is full.",
    ),
    "sketchd_pool_jobs": Described(
        "gauge", "Jobs waiting for a thread of the pool or running.",
        "It stays above the number of threads: the processors are what is short.",
        alerts=("SketchdPoolSaturated",),
    ),
    "sketchd_event_loop_lag_seconds": Described(
        "histogram", "Seconds that the event loop woke later than it was asked to, four times a "
        "second.",
        "The 99th percentile stays above 100 ms: something computes where it should wait.",
        buckets=_LAG_BUCKETS,
        alerts=("SketchdEventLoopLag",),
    ),
    "sketchd_workers": Described(
        "gauge", "Worker processes that serve.",
        "It is below SKETCHD_WORKERS for a minute.",
        alerts=("SketchdWorkersMissing", "SketchdPoolSaturated"),
    ),
    "sketchd_worker_restarts_total": Described(
        "counter", "Workers that ended by themselves and were replaced.",
        "It grows at all: the log says why.",
        alerts=("SketchdWorkersDying",),
    ),
    "sketchd_setting": Described(
        "gauge",
        "Settings that other metrics are compared with, as this service was started; limits of "
        "memory, queues and threads are of each worker.",
        "None.", ("setting",), joined="same",
        alerts=("SketchdLogNearLimit", "SketchdWorkersMissing", "SketchdPoolSaturated"),
    ),
    "sketchd_build_info": Described(
        "gauge", "Always 1; the version is its label.",
        "Several versions are seen for longer than an upgrade takes.", ("version",),
        joined="same",
        alerts=("SketchdSeveralVersions",),
    ),
    "process_cpu_seconds_total": Described(
        "counter", "Seconds of processors used by all workers, those that have ended included.",
        "Its rate stays near the number of processors.",
    ),
    "process_resident_memory_bytes": Described(
        "gauge",
        "Bytes of memory resident, of all workers; what they share counts for each of them.",
        "It comes near what the container may have.",
    ),
    "process_open_fds": Described(
        "gauge", "File descriptors open in the worker that has the most.",
        "It comes near `process_max_fds`: connections would be refused.", joined="most",
        alerts=("SketchdFileDescriptorsNearLimit",),
    ),
    "process_max_fds": Described(
        "gauge", "File descriptors that a worker may have open.",
        "None; beside `process_open_fds` it tells how many are left.", joined="least",
        alerts=("SketchdFileDescriptorsNearLimit",),
    ),
    "process_start_time_seconds": Described(
        "gauge", "When the worker that has served the longest was started, since the epoch.",
        "It changes several times within an hour.", joined="least",
        alerts=("SketchdRestarting",),
    ),
}  # fmt: skip


def markdown() -> str:
    """docs/metrics.md's table, rendered from METRICS."""
    lines = ["| metric | type | labels | meaning | alert when |", "| --- | --- | --- | --- | --- |"]
    for name, one in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        links = ", ".join(f"[{alert}](runbook.md#{alert.lower()})" for alert in one.alerts)
        when = f"{one.alert} {links}" if links else one.alert
        lines.append(f"| `{name}` | {one.kind} | {labels} | {one.meaning} | {when} |")
    return "\n".join(lines) + "\n"
