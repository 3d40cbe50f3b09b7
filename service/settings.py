"""Every knob of the service: one frozen object, read once from an environment that is handed in.

Each field is `SKETCHD_` and its name in capitals in the environment. The
command line overrides the environment, which overrides the default. The
documentation (docs/settings.md) is rendered from the same fields, so that the
two cannot drift apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PREFIX: Final = "SKETCHD_"

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class InvalidSetting(ValueError):
    """A setting that cannot be used; the message names its variable."""


@dataclass(frozen=True, slots=True)
class Knob:
    """What a setting means, its unit, and the inclusive range or the words it may take."""

    meaning: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()


def _knob(
    default: Any,
    meaning: str,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    words: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"knob": Knob(meaning, unit, low, high, words)})


def _bytes(default: int, meaning: str, low: int = 1) -> Any:
    return _knob(default, meaning, "bytes", low, 1 << 50)


def _seconds(default: float, meaning: str, low: float = 0.0) -> Any:
    return _knob(default, meaning, "seconds", low, 1e10)


def _count(default: int, meaning: str, low: int = 1, high: int = 1 << 40) -> Any:
    return _knob(default, meaning, "", low, high)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Build one with `read`, or with keywords in tests."""

    host: str = _knob("127.0.0.1", "Address to listen on.")
    port: int = _knob(8080, "Port to listen on; 0 takes a free one.", "", 0, 65535)
    grpc_port: int = _knob(
        0, "Port for gRPC; 0, the only value served yet, turns it off.", "", 0, 65535
    )
    access_log: str = _knob("off", "Whether each request writes a log line.", words=("off", "on"))
    store: str = _knob(
        "sqlite:///sketchd.db",
        "Store URL: sqlite:///relative.db, sqlite:////absolute.db, memory://, "
        "redis://[user:password@]host:port[/database], redis+cluster://host:port,host:port, "
        "redis+sentinel://host:port,host:port/NAME; rediss… for TLS.",
    )
    sqlite_queue_writes: int = _count(
        8192, "Writes that may wait for the SQLite store; one more is answered 503."
    )
    sqlite_queue_bytes: int = _bytes(
        128 * _MIB,
        "Bytes of the writes that may wait for the SQLite store; one large write comes on top.",
    )
    sqlite_busy_seconds: float = _seconds(
        5.0, "How long a write waits for another process that holds the SQLite file, before 503."
    )
    sqlite_file_bytes: int = _bytes(
        0,
        "Size at which the SQLite file takes no more and writes are answered 503; 0 for no limit.",
        0,
    )
    redis_connections: int = _count(
        64, "Connections to each Redis server; calls wait when all are busy.", 1, 10_000
    )
    redis_timeout_seconds: float = _seconds(
        2.0, "How long one attempt at a Redis command may take.", 1e-3
    )
    redis_retry_seconds: float = _seconds(
        8.0,
        "How long a Redis command is tried again while the server is lost, loads or fails over, "
        "before 503.",
    )
    redis_queue_calls: int = _count(
        4096, "Calls to Redis under way in one process; one more is answered 503."
    )
    redis_wait_replicas: int = _count(
        0, "Replicas of Redis that must have each write before it is answered; 0 for none.", 0, 64
    )
    redis_wait_seconds: float = _seconds(
        1.0, "How long a write waits for those replicas, before 503.", 1e-3
    )
    log_level: str = _knob("info", "Least severe log line written.", words=_LOG_LEVELS)
    drain_seconds: float = _seconds(
        10.0, "How long a stopping service waits for requests under way."
    )

    max_body_bytes: int = _bytes(16 * _MIB, "Largest request body, snapshots excepted.")
    max_snapshot_bytes: int = _bytes(272 * _MIB, "Largest snapshot taken in.")
    max_bodies_bytes: int = _bytes(
        512 * _MIB,
        "Bytes of bodies held at once, over all requests; more is answered 503. A body that comes "
        "alone is always taken.",
    )
    body_seconds: float = _seconds(
        30.0,
        "How long each 256 KiB of a body, or its rest, may take to arrive before it is answered "
        "408.",
        1e-3,
    )
    max_batch_updates: int = _count(
        1_000_000, "Numbers in one update batch: pairs, entries, or rows times columns."
    )
    max_request_sketches: int = _count(4096, "Sketches in one request to a batch endpoint.")
    request_parts_at_once: int = _count(
        64, "Sketches of one such request served at a time; enough for a store to group writes."
    )
    max_sample_count: int = _count(10_000, "Draws of one sample request, over all its queries.")
    max_request_draws: int = _count(
        100_000, "Draws of one request to /v1/samples, over all its parts and their queries."
    )
    max_queries: int = _count(256, "Queries (rows of `queries`) in one request.")
    max_query_numbers: int = _count(
        1 << 20, "Numbers (d1 times d2) of an `X` that comes with a question."
    )
    max_fixed_numbers: int = _count(
        1 << 16, "Numbers of an `x` or `X` given at creation; longer ones can be streamed."
    )
    max_exact_candidates: int = _count(
        1 << 28,
        "Numbers of Y that the exact method reads for one sample request to a tensor: draws times "
        "n2.",
    )
    max_estimate_indices: int = _count(
        100_000, "Coordinates of one estimate request, over all its queries."
    )
    max_sketch_bytes: int = _bytes(
        256 * _MIB, "Largest state of a sketch, all its repetitions together."
    )
    max_dense_bytes: int = _bytes(256 * _MIB, "Largest state of the exact method.")
    max_list_limit: int = _count(1000, "Largest page of a list of sketches.")
    min_ttl_seconds: float = _seconds(1.0, "Shortest ttl_seconds of a sketch.", 1e-3)
    max_ttl_seconds: float = _seconds(10 * 365 * 86400.0, "Longest ttl_seconds of a sketch.", 1e-3)

    idempotency_retention_seconds: float = _seconds(
        600.0, "How long an idempotency key is remembered; at least ten minutes.", 600.0
    )
    max_idempotency_key_length: int = _count(
        255, "Longest idempotency key, in characters.", 1, 4096
    )

    pool_threads: int = _count(4, "Threads that validate, fold and decode.", 1, 1024)
    pool_queue: int = _count(
        256, "Jobs that may wait for a thread; one more is answered 503.", 0, 1 << 20
    )
    cache_bytes: int = _bytes(
        512 * _MIB, "Folded states kept in memory; those in use come on top.", 0
    )
    table_cache_bytes: int = _bytes(
        48 * _MIB,
        "Tables of hashes and scales kept in memory; others are made at each use.",
        4 * _MIB,
    )
    fold_chunk_bytes: int = _bytes(
        4 * _MIB, "Log bytes read and folded at a time (one entry may be larger)."
    )

    max_log_bytes: int = _bytes(
        256 * _MIB, "Log bytes of one sketch at which its updates are answered 503."
    )
    compact_min_bytes: int = _bytes(
        256 * _KIB, "Log bytes below which a sketch is never compacted."
    )
    compact_ratio: float = _knob(
        1.0, "Log bytes, as a multiple of the state, at which a sketch is compacted.", "", 0.01, 1e6
    )
    compactions_at_once: int = _count(2, "Compactions one process runs at a time.", 1, 64)
    compact_lease_seconds: float = _seconds(
        60.0, "How long one replica keeps others from compacting the same sketch.", 1.0
    )
    compact_retry_seconds: float = _seconds(
        1.0, "First pause after a failed compaction; doubles up to a minute.", 1e-3
    )

    sweep_interval_seconds: float = _seconds(
        30.0, "Pause between removals of expired sketches and idempotency keys.", 1e-3
    )
    sweep_limit: int = _count(1000, "Expired sketches and keys removed in one step.")
    usage_interval_seconds: float = _seconds(
        15.0, "Pause between refreshes of the memory and backlog metrics.", 1e-3
    )
    metrics_largest_sketches: int = _count(
        100, "Sketches with a memory metric of their own; the rest are summed.", 0, 100_000
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item.name, getattr(self, item.name), item.metadata["knob"])
        if self.min_ttl_seconds > self.max_ttl_seconds:
            raise InvalidSetting(
                f"{variable('min_ttl_seconds')} is above {variable('max_ttl_seconds')}"
            )

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


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _check(name: str, value: object, knob: Knob) -> None:
    if isinstance(value, int | float):
        if not knob.low <= value <= knob.high:
            raise InvalidSetting(
                f"{variable(name)} must be between {knob.low:g} and {knob.high:g}, not {value}"
            )
    elif knob.words and value not in knob.words:
        raise InvalidSetting(f"{variable(name)} must be one of {', '.join(knob.words)}")


def _parse(name: str, kind: str, text: str) -> object:
    if kind == "str":
        return text
    number = int if kind == "int" else float
    try:
        value = number(text)
    except ValueError:
        what = "a whole number" if kind == "int" else "a number"
        raise InvalidSetting(f"{variable(name)} must be {what}, not {text!r}") from None
    if not math.isfinite(value):
        raise InvalidSetting(f"{variable(name)} must be finite, not {text!r}")
    return value


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
        values[name] = _parse(name, str(known[name].type), text)
    for name, value in (overrides or {}).items():
        if value is None:
            continue
        if name not in known:
            raise InvalidSetting(f"{name} is not a setting of sketchd")
        values[name] = _parse(name, str(known[name].type), str(value))
    return Settings(**values)


def unrecognised(environ: Mapping[str, str]) -> list[str]:
    """SKETCHD_ variables that no setting has: worth a warning, since a misspelt limit is no limit.

    Not an error: Kubernetes sets SKETCHD_SERVICE_HOST and the like for a service of that name.
    """
    known = {variable(item.name) for item in dataclasses.fields(Settings)}
    return sorted(key for key in environ if key.startswith(PREFIX) and key not in known)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def markdown() -> str:
    """docs/settings.md, rendered from the fields."""
    lines = [
        "# Settings",
        "",
        "Rendered from `service/settings.py`; a test keeps the two equal. Options of the command",
        "line win over the environment, which wins over the default.",
        "",
        "| variable | default | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for item in dataclasses.fields(Settings):
        knob: Knob = item.metadata["knob"]
        meaning = knob.meaning + (f" One of {', '.join(knob.words)}." if knob.words else "")
        lines.append(
            f"| `{variable(item.name)}` | `{_shown(item.default)}` | {knob.unit} | {meaning} |"
        )
    return "\n".join(lines) + "\n"
