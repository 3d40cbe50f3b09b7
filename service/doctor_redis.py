"""The checks of a Redis store, and the gathering of what they look at.

A server that is managed by others often refuses CONFIG: then INFO has to do, and
doctor says what it could not see.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.doctor import Check, Finding
from service.errors import StoreUnavailable
from service.redis_connection import RedisConnection
from service.redis_layout import FORMAT

#: XTRIM MINID came with it.
OLDEST: Final = (6, 2)
#: What some servers that call themselves Redis lack, or their owners forbid.
COMMANDS: Final = (
    "EVAL", "EVALSHA", "XADD", "XTRIM", "XRANGE", "ZRANGE", "ZRANGEBYLEX", "UNLINK", "WAIT",
)  # fmt: skip

_PINGS: Final = 5
_SLOW_SECONDS: Final = 0.01
_VERY_SLOW_SECONDS: Final = 0.1
_CLOCK_SECONDS: Final = 1.0
_TIGHT, _FULL = 0.8, 0.95
_SLOTS: Final = 16384


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One master. info: INFO, and config: CONFIG GET, as text; config empty where refused.

    missing: commands it does not know. clock_offset: seconds its clock is ahead of ours.
    """

    info: Mapping[str, str]
    config: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    clock_offset: float = 0.0

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"port {self.info.get('tcp_port', '?')}"

    def setting(self, name: str) -> str | None:
        """A setting, from INFO where CONFIG is refused; None where neither says."""
        found = self.config.get(name)
        if found is not None:
            return found
        if name == "appendonly" and "aof_enabled" in self.info:
            return "yes" if self.info["aof_enabled"] == "1" else "no"
        if name in ("maxmemory", "maxmemory-policy"):
            return self.info.get(name.replace("-", "_"))
        return None

    def number(self, name: str) -> int:
        """A number of INFO, 0 where it is not there."""
        text = self.info.get(name, "")
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """clustered: whether the URL is a cluster's; cluster: then CLUSTER INFO. format: the stored
    marker, None for an empty store. round_trip: seconds. wait_replicas: the setting.
    """

    servers: tuple[ServerFacts, ...]
    clustered: bool = False
    cluster: Mapping[str, str] = field(default_factory=dict)
    format: str | None = None
    round_trip: float = 0.0
    wait_replicas: int = 0

    @property
    def is_current(self) -> bool:
        """Whether it can be opened as it is."""
        return self.format == FORMAT


async def gather(connection: RedisConnection, *, clustered: bool, wait_replicas: int) -> RedisFacts:
    """Ask every master, changing nothing. Raises StoreUnavailable."""
    trips = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        await connection.ping()
        trips.append(time.perf_counter() - begun)
    infos = [read_info(one) for one in await connection.on_masters("INFO", "everything")]
    configs = await _configs(connection, len(infos))
    missing = [_missing(one) for one in await connection.on_masters("COMMAND", "INFO", *COMMANDS)]
    begun = time.time()
    clocks = await connection.on_masters("TIME")
    here = (begun + time.time()) / 2
    marker = await connection.command("GET", f"{connection.prefix}:format", writes=False)
    cluster = read_info((await connection.on_masters("CLUSTER", "INFO"))[0]) if clustered else {}
    return RedisFacts(
        servers=tuple(
            ServerFacts(info, config, lacks, int(clock[0]) + int(clock[1]) / 1e6 - here)
            for info, config, lacks, clock in zip(infos, configs, missing, clocks, strict=True)
        ),
        clustered=clustered,
        cluster=cluster,
        format=None if marker is None else _text(marker),
        round_trip=statistics.median(trips),
        wait_replicas=wait_replicas,
    )


def read_info(reply: Any) -> dict[str, str]:
    """The fields of an INFO reply."""
    pairs = (line.partition(":") for line in _text(reply).splitlines() if line[:1] not in ("", "#"))
    return {name: value for name, _, value in pairs}


async def _configs(connection: RedisConnection, masters: int) -> list[dict[str, str]]:
    try:
        replies = await connection.on_masters("CONFIG", "GET", "*")
    except StoreUnavailable:  # refused; a server that is gone fails the next question
        return [{} for _ in range(masters)]
    found = []
    for reply in replies:
        flat = (
            list(reply) if not isinstance(reply, dict) else [x for kv in reply.items() for x in kv]
        )
        texts = [_text(item) for item in flat]
        found.append(dict(zip(texts[::2], texts[1::2], strict=True)))
    return found


def _missing(reply: Any) -> tuple[str, ...]:
    return tuple(name for name, known in zip(COMMANDS, reply, strict=True) if not known)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _each(facts: RedisFacts) -> Iterable[tuple[str, ServerFacts]]:
    """Every master, with what to write before findings about it."""
    for server in facts.servers:
        yield (f"{server.name}: " if len(facts.servers) > 1 else ""), server


def _round_trip(facts: RedisFacts) -> Iterable[Finding]:
    milliseconds = f"{1000 * facts.round_trip:.1f} ms there and back"
    if facts.round_trip > _VERY_SLOW_SECONDS:
        yield "fail", f"{milliseconds}: every update takes as long; bring service and server closer"
    elif facts.round_trip > _SLOW_SECONDS:
        yield "warn", f"{milliseconds}: every update takes as long"
    else:
        yield "ok", milliseconds


def _version(facts: RedisFacts) -> Iterable[Finding]:
    for who, server in _each(facts):
        own = server.info.get("valkey_version")
        text = server.info.get("redis_version", "")
        numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
        said = f"{who}{'Valkey ' + own if own else 'Redis ' + text}"
        if numbers < OLDEST:
            yield "fail", f"{said}: at least Redis 6.2 is needed"
        elif server.missing:
            yield "fail", f"{said} does not know {', '.join(server.missing)}"
        else:
            yield "ok", said


def _format(facts: RedisFacts) -> Iterable[Finding]:
    if facts.format is None:
        yield "ok", f"the store is empty; this release will write format {FORMAT}"
    elif facts.format == FORMAT:
        yield "ok", f"format {FORMAT}, the one this release writes"
    elif facts.format.isdigit() and int(facts.format) > int(FORMAT):
        yield (
            "fail",
            f"format {facts.format} is newer than {FORMAT}, the newest this release reads: use a "
            "newer release",
        )
    else:
        yield "fail", f"the marker of the format is {facts.format!r}: it is not a store of sketchd"


def _append_only(who: str, fsync: str | None) -> Finding:
    if fsync == "always":
        return "ok", f"{who}appendfsync always: what was acknowledged is on the disk"
    advice = "CONFIG SET appendfsync always"
    if fsync == "everysec":
        return (
            "warn",
            f"{who}appendfsync everysec: a loss of power takes the last second of acknowledged "
            f"updates, two on a busy disk; {advice}",
        )
    if fsync == "no":
        return (
            "warn",
            f"{who}appendfsync no: a loss of power takes what the kernel had not written, often "
            f"30 seconds of acknowledged updates; {advice}",
        )
    return "warn", f"{who}appendonly yes; CONFIG is refused, so appendfsync is not known"


def _persistence(facts: RedisFacts) -> Iterable[Finding]:
    for who, server in _each(facts):
        if server.setting("appendonly") == "yes":
            yield _append_only(who, server.setting("appendfsync"))
        elif server.config.get("save") == "":
            yield (
                "fail",
                f"{who}neither appendonly nor save: a restart loses everything; CONFIG SET "
                "appendonly yes",
            )
        else:
            schedule = server.config.get("save", "not known")
            pending = server.number("rdb_changes_since_last_save")
            yield (
                "warn",
                f"{who}appendonly no: a crash loses everything since the last save (schedule "
                f"{schedule}; {pending} changes now); CONFIG SET appendonly yes",
            )
        for name, what in (
            ("rdb_last_bgsave_status", "the last save"),
            ("aof_last_write_status", "the last write to the append-only file"),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file"),
        ):
            if server.info.get(name, "ok") != "ok":
                yield "fail", f"{who}{what} failed: look at the server's log and disk"


def _memory(facts: RedisFacts) -> Iterable[Finding]:
    for who, server in _each(facts):
        used, total = server.number("used_memory"), server.number("total_system_memory")
        limit = int(server.setting("maxmemory") or 0)
        policy = server.setting("maxmemory-policy")
        if policy is None:
            yield "warn", f"{who}maxmemory-policy is not known: it must be noeviction"
        elif policy != "noeviction":
            yield (
                "fail" if limit else "warn",
                f"{who}maxmemory-policy {policy}: a full server forgets sketches without a word; "
                "CONFIG SET maxmemory-policy noeviction",
            )
        bound = limit or total
        if not bound:
            continue
        level: Finding = ("ok", f"{who}{used} of {bound} bytes of memory are used")
        if used > _FULL * bound:
            level = ("fail", f"{level[1]}: writes are about to be answered 503")
        elif used > _TIGHT * bound:
            level = ("warn", level[1])
        elif not limit:
            level = ("warn", f"{level[1]}; no maxmemory: the kernel ends a server that takes all")
        yield level


def _replicas(facts: RedisFacts) -> Iterable[Finding]:
    wanted = facts.wait_replicas
    for who, server in _each(facts):
        count = server.number("connected_slaves")
        if server.info.get("role", "master") != "master":
            yield "fail", f"{who}the server is a replica: it takes no writes"
        elif count < wanted:
            yield (
                "fail",
                f"{who}{count} replicas, and SKETCHD_REDIS_WAIT_REPLICAS is {wanted}: every "
                "update is answered 503",
            )
        elif not count:
            yield "ok", f"{who}no replica: when the server is down, the service is"
        elif not wanted:
            yield (
                "warn",
                f"{who}{count} replicas: a failover loses updates they had not received; set "
                "SKETCHD_REDIS_WAIT_REPLICAS=1",
            )
        else:
            yield "ok", f"{who}{count} replicas, {wanted} of which confirm each update"
        if count and server.config.get("min-replicas-to-write", "") == "0":
            yield (
                "warn",
                f"{who}min-replicas-to-write 0: a master cut off from its replicas goes on taking "
                "updates that a failover then drops; CONFIG SET min-replicas-to-write 1",
            )


def _cluster(facts: RedisFacts) -> Iterable[Finding]:
    enabled = any(server.info.get("cluster_enabled") == "1" for server in facts.servers)
    if enabled and not facts.clustered:
        yield "fail", "the server belongs to a cluster: use redis+cluster:// in place of redis://"
    if not facts.clustered:
        return
    slots = int(facts.cluster.get("cluster_slots_ok", "0"))
    state = facts.cluster.get("cluster_state", "unknown")
    said = f"{len(facts.servers)} masters, state {state}, {slots} of {_SLOTS} slots served"
    yield ("ok" if state == "ok" and slots == _SLOTS else "fail"), said


def _clock(facts: RedisFacts) -> Iterable[Finding]:
    for who, server in _each(facts):
        offset = server.clock_offset
        if abs(offset) > _CLOCK_SECONDS:
            yield (
                "warn",
                f"{who}the server's clock is {offset:+.1f} s off this machine's: sketches expire "
                "and rates refill by the one or the other; run NTP on both",
            )
        else:
            yield "ok", f"{who}the clocks agree within {max(abs(offset), 0.001):.3f} s"


CHECKS: Final[dict[str, Check[RedisFacts]]] = {
    "connection": _round_trip,
    "version": _version,
    "format": _format,
    "persistence": _persistence,
    "memory": _memory,
    "replicas": _replicas,
    "cluster": _cluster,
    "clock": _clock,
}
