"""Every knob of the service: one frozen object, read once from an environment that is handed in.

Each field is `SKETCHD_` and its name in capitals in the environment. The
command line overrides the environment, which overrides the default. The
documentation (docs/settings.md) is rendered from the same fields, so that the
two cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.settings_knobs import (
    PREFIX,
    InvalidSetting,
    byte_count,
    check,
    check_secret,
    count,
    document_of,
    knob,
    parse,
    seconds,
    secret,
    variable,
)

__all__ = ["PREFIX", "InvalidSetting", "Settings", "markdown", "read", "unrecognised", "variable"]

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Build one with `read`, or with keywords in tests."""

    host: str = knob("127.0.0.1", "Address to listen on.")
    port: int = knob(8080, "Port to listen on; 0 takes a free one.", "", 0, 65535)
    grpc_port: int = knob(50051, "Port for gRPC; 0 turns it off.", "", 0, 65535)
    access_log: str = knob("off", "Whether each request writes a log line.", words=("off", "on"))
    log_format: str = knob(
        "auto",
        "JSON lines, text for people, or JSON unless standard error is a terminal.",
        words=("auto", "json", "text"),
    )
    workers: int = count(
        1,
        "Processes that serve; more than one needs a store they can share. Limits of memory, "
        "queues and threads are of each.",
        1,
        256,
    )
    worker_restart_seconds: float = seconds(
        0.1, "Pause before a worker that died is replaced; doubles up to a minute.", 1e-3
    )
    store: str = knob(
        "sqlite:///sketchd.db",
        "Store URL: sqlite:///relative.db, sqlite:////absolute.db, memory://, "
        "redis://[user:password@]host:port[/database], redis+cluster://host:port,host:port, "
        "redis+sentinel://host:port,host:port/NAME; rediss… for TLS.",
    )
    sqlite_queue_writes: int = count(
        8192, "Writes that may wait for the SQLite store; one more is answered 503."
    )
    sqlite_queue_bytes: int = byte_count(
        128 * _MIB,
        "Bytes of the writes that may wait for the SQLite store; one large write comes on top.",
    )
    sqlite_busy_seconds: float = seconds(
        5.0, "How long a write waits for another process that holds the SQLite file, before 503."
    )
    sqlite_file_bytes: int = byte_count(
        0,
        "Size at which the SQLite file takes no more and writes are answered 503; 0 for no limit.",
        0,
    )
    redis_connections: int = count(
        64, "Connections to each Redis server; calls wait when all are busy.", 1, 10_000
    )
    redis_timeout_seconds: float = seconds(
        2.0, "How long one attempt at a Redis command may take.", 1e-3
    )
    redis_retry_seconds: float = knob(
        8.0,
        "How long a Redis command is tried again while the server is lost, loads or fails over, "
        "before 503.",
        "seconds",
        0.0,
        300.0,  # well below the time after which a lane is forgotten (append.lua)
    )
    redis_queue_calls: int = count(
        4096, "Calls to Redis under way in one process; one more is answered 503."
    )
    redis_wait_replicas: int = count(
        0, "Replicas of Redis that must have each write before it is answered; 0 for none.", 0, 64
    )
    redis_wait_seconds: float = seconds(
        1.0, "How long a write waits for those replicas, before 503.", 1e-3
    )
    redis_confirm_reads: str = knob(
        "off",
        "Whether those replicas confirm each read too: a master that hung while it was replaced "
        "then cannot answer a sample from the past in the moment it wakes. Costs a write and a "
        "round trip between the servers for each sample.",
        words=("off", "on"),
    )
    log_level: str = knob("info", "Least severe log line written.", words=_LOG_LEVELS)
    drain_seconds: float = seconds(
        10.0, "How long a stopping service waits for requests under way."
    )
    notice_seconds: float = seconds(
        0.0,
        "How long before that it goes on taking requests while /readyz is 503 already, so that "
        "balancers look elsewhere before it hangs up: longer than they take to notice.",
        0.0,
    )

    bootstrap_admin_key: str = secret(
        "An admin key of the tenant `default`, added at start unless another admin key exists: at "
        "least 32 printable ASCII characters without spaces. With it, keys are demanded on every "
        "address."
    )
    access_refresh_seconds: float = seconds(
        1.0, "How soon a replica learns of new and removed keys, tenants and quotas.", 1e-2
    )
    metrics_access: str = knob(
        "open",
        "Whether /metrics needs a key, of role read or more; of series with a tenant it then shows "
        "those of the key's own, and all to an admin.",
        words=("open", "key"),
    )
    max_tenants: int = count(10_000, "Tenants in all.")
    max_access_keys: int = count(10_000, "Access keys in all.")
    tls_certificate: str = knob(
        "", "PEM file with the certificate, and those that lead from it to a root; turns HTTPS on."
    )
    tls_key: str = knob("", "PEM file with the certificate's private key, not encrypted.")
    tls_client_ca: str = knob(
        "", "PEM file with the roots of client certificates: clients must then show one."
    )

    head_seconds: float = seconds(
        10.0,
        "How long a connection may take for the head of a request; for gRPC, until it speaks "
        "HTTP/2.",
        1e-3,
    )
    keep_alive_seconds: float = seconds(
        5.0,
        "How long a connection of HTTP without a request stays open; behind a balancer, longer "
        "than it keeps one, or it sends a request into a connection that is just being closed.",
        1e-3,
    )
    max_head_bytes: int = knob(
        64 * _KIB, "Largest head of a request; of an RPC, its metadata.", "bytes", _KIB, 16 * _MIB
    )
    grpc_max_message_bytes: int = byte_count(
        0,
        "Largest message of gRPC taken in; max_body_bytes holds for it too. 0 for max_body_bytes, "
        "and at least the 512 KiB that a piece of a snapshot may have. At most 2 GiB.",
        0,
    )
    grpc_arriving_messages: int = count(
        256,
        "Messages, other than of streams, that may be arriving at a time in one process; others "
        "wait for up to body_seconds and are then answered UNAVAILABLE.",
    )
    grpc_open_streams: int = count(
        2000, "Streams of requests open in one process; one more is answered UNAVAILABLE."
    )
    grpc_max_streams: int = count(
        1000, "RPCs under way on one connection; a client keeps more waiting.", 1, 1 << 20
    )
    grpc_max_calls: int = count(
        10_000, "RPCs under way in one process; one more is answered RESOURCE_EXHAUSTED."
    )
    grpc_idle_seconds: float = seconds(
        300.0, "How long a connection of gRPC without an RPC stays open.", 1e-3
    )
    grpc_keepalive_seconds: float = seconds(
        30.0, "Silence after which a client of gRPC is asked whether it is there.", 1.0
    )
    grpc_keepalive_timeout_seconds: float = seconds(
        10.0, "How long it may take to say so before it is hung up on.", 1e-3
    )
    max_body_bytes: int = byte_count(16 * _MIB, "Largest request body, snapshots excepted.")
    max_snapshot_bytes: int = byte_count(272 * _MIB, "Largest snapshot taken in.")
    max_bodies_bytes: int = byte_count(
        512 * _MIB,
        "Bytes of bodies held at once, over all requests; more is answered 503. A body that comes "
        "alone is always taken.",
    )
    body_seconds: float = seconds(
        30.0,
        "How long each 256 KiB of a body, or its rest, may take to arrive before it is answered "
        "408.",
        1e-3,
    )
    grpc_stream_messages: int = count(
        64,
        "Messages of one stream of updates or samples served at a time; the next one is read when "
        "the first of them is answered.",
        1,
        65_536,
    )
    max_batch_updates: int = count(
        1_000_000, "Numbers in one update batch: pairs, entries, or rows times columns."
    )
    max_request_sketches: int = count(4096, "Sketches in one request to a batch endpoint.")
    request_parts_at_once: int = count(
        64, "Sketches of one such request served at a time; enough for a store to group writes."
    )
    max_sample_count: int = count(10_000, "Draws of one sample request, over all its queries.")
    max_request_draws: int = count(
        100_000, "Draws of one request to /v1/samples, over all its parts and their queries."
    )
    max_queries: int = count(256, "Queries (rows of `queries`) in one request.")
    max_query_numbers: int = count(
        1 << 20, "Numbers (d1 times d2) of an `X` that comes with a question."
    )
    max_fixed_numbers: int = count(
        1 << 16, "Numbers of an `x` or `X` given at creation; longer ones can be streamed."
    )
    max_exact_candidates: int = count(
        1 << 28,
        "Numbers of Y that the exact method reads for one sample request to a tensor: draws times "
        "n2.",
    )
    max_estimate_indices: int = count(
        100_000, "Coordinates of one estimate request, over all its queries."
    )
    max_sketch_bytes: int = byte_count(
        256 * _MIB, "Largest state of a sketch, all its repetitions together."
    )
    max_dense_bytes: int = byte_count(256 * _MIB, "Largest state of the exact method.")
    max_list_limit: int = count(1000, "Largest page of a list of sketches.")
    min_ttl_seconds: float = seconds(1.0, "Shortest ttl_seconds of a sketch.", 1e-3)
    max_ttl_seconds: float = seconds(10 * 365 * 86400.0, "Longest ttl_seconds of a sketch.", 1e-3)

    idempotency_retention_seconds: float = seconds(
        600.0, "How long an idempotency key is remembered; at least ten minutes.", 600.0
    )
    max_idempotency_key_length: int = count(255, "Longest idempotency key, in characters.", 1, 4096)

    quota_lot_seconds: float = seconds(
        0.1,
        "Of a tenant's rate: how much a replica takes from the store at once at most, and how "
        "often it asks again for a tenant at its limit.",
        1e-3,
    )
    quota_burst_seconds: float = seconds(
        1.0, "Of a tenant's rate: how much may be used at once after a pause.", 1e-3
    )
    tenant_share: float = knob(
        0.5,
        "Part of max_bodies_bytes, grpc_arriving_messages and grpc_open_streams that one tenant "
        "may hold while the service has several.",
        "",
        0.01,
        1.0,
    )

    pool_threads: int = count(4, "Threads that validate, fold and decode.", 1, 1024)
    pool_queue: int = count(
        256, "Jobs that may wait for a thread; one more is answered 503.", 0, 1 << 20
    )
    cache_bytes: int = byte_count(
        512 * _MIB, "Folded states kept in memory; those in use come on top.", 0
    )
    table_cache_bytes: int = byte_count(
        48 * _MIB,
        "Tables of hashes and scales kept in memory; others are made at each use.",
        4 * _MIB,
    )
    fold_chunk_bytes: int = byte_count(
        4 * _MIB, "Log bytes read and folded at a time (one entry may be larger)."
    )

    max_log_bytes: int = byte_count(
        256 * _MIB, "Log bytes of one sketch at which its updates are answered 503."
    )
    compact_min_bytes: int = byte_count(
        256 * _KIB, "Log bytes below which a sketch is never compacted."
    )
    compact_ratio: float = knob(
        1.0, "Log bytes, as a multiple of the state, at which a sketch is compacted.", "", 0.01, 1e6
    )
    compactions_at_once: int = count(2, "Compactions one process runs at a time.", 1, 64)
    compact_lease_seconds: float = seconds(
        60.0, "How long one replica keeps others from compacting the same sketch.", 1.0
    )
    compact_retry_seconds: float = seconds(
        1.0, "First pause after a failed compaction; doubles up to a minute.", 1e-3
    )

    sweep_interval_seconds: float = seconds(
        30.0, "Pause between removals of expired sketches and idempotency keys.", 1e-3
    )
    sweep_limit: int = count(1000, "Expired sketches and keys removed in one step.")
    usage_interval_seconds: float = seconds(
        15.0, "Pause between refreshes of the memory and backlog metrics.", 1e-3
    )
    activity_sketches: int = count(
        1000,
        "Sketches whose requests of the last five minutes one process remembers, those asked most "
        "recently; up to 25 KB each.",
        1,
        1_000_000,
    )
    metrics_largest_sketches: int = count(
        100, "Sketches with a memory metric of their own; the rest are summed.", 0, 100_000
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            check(item.name, getattr(self, item.name), item.metadata["knob"])
        if self.min_ttl_seconds > self.max_ttl_seconds:
            raise InvalidSetting(
                f"{variable('min_ttl_seconds')} is above {variable('max_ttl_seconds')}"
            )
        check_secret("bootstrap_admin_key", self.bootstrap_admin_key)
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise InvalidSetting(
                f"{variable('tls_certificate')} and {variable('tls_key')} go together"
            )
        if self.tls_client_ca and not self.tls_certificate:
            raise InvalidSetting(f"{variable('tls_client_ca')} needs {variable('tls_certificate')}")
        if self.workers > 1 and self.store == "memory://":
            raise InvalidSetting(
                f"{variable('workers')} must be 1 with the store memory://, which no two can share"
            )
        if self.quota_lot_seconds > self.quota_burst_seconds:
            raise InvalidSetting(
                f"{variable('quota_lot_seconds')} is above {variable('quota_burst_seconds')}: "
                "the bucket could never fill a lot"
            )

    @property
    def largest_message_bytes(self) -> int:
        """Of gRPC."""
        wanted = self.grpc_max_message_bytes or max(self.max_body_bytes, 512 * _KIB)
        return min(wanted, (1 << 31) - 1)

    @property
    def max_compact_trigger(self) -> float:
        """Compaction starts well before the hard limit, whatever the state's size."""
        return self.max_log_bytes / 2

    def compact_trigger(self, state_bytes: int) -> float:
        """Log bytes at which a sketch of this size is compacted.

        About the size of the state, so that a byte is written about twice.
        """
        wanted = max(float(self.compact_min_bytes), self.compact_ratio * state_bytes)
        return min(wanted, self.max_compact_trigger)


def read(
    environ: Mapping[str, str], overrides: Mapping[str, object | None] | None = None
) -> Settings:
    """Settings from an environment; `overrides` (field name to value, None for absent) win.

    Raises InvalidSetting for a value that cannot be used. Variables that no
    setting has are ignored, see `unrecognised`.
    """
    known = {item.name: item for item in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}
    for key, text in environ.items():
        name = key.removeprefix(PREFIX).lower()
        if not key.startswith(PREFIX) or name not in known:
            continue
        values[name] = parse(name, str(known[name].type), text)
    for name, value in (overrides or {}).items():
        if value is None:
            continue
        if name not in known:
            raise InvalidSetting(f"{name} is not a setting of sketchd")
        values[name] = parse(name, str(known[name].type), str(value))
    return Settings(**values)


def unrecognised(environ: Mapping[str, str]) -> list[str]:
    """SKETCHD_ variables that no setting has: worth a warning, since a misspelt limit is no limit.

    Not an error: Kubernetes sets SKETCHD_SERVICE_HOST and the like for a service of that name.
    """
    known = {variable(item.name) for item in dataclasses.fields(Settings)}
    return sorted(key for key in environ if key.startswith(PREFIX) and key not in known)


def markdown() -> str:
    """docs/settings.md, rendered from the fields."""
    return document_of(Settings)
