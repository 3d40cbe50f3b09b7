"""Each check of doctor, shown stores that are well and stores that are not."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from service import doctor, doctor_redis, doctor_sqlite
from service.access_ports import AccessKey, Directory
from service.doctor import ContentFacts, Line
from service.doctor_redis import RedisFacts, ServerFacts
from service.doctor_sqlite import SqliteFacts, file_system
from service.ports import Usage
from service.sqlite_schema import VERSION

GOOD_FILE = SqliteFacts("/data/s.db", 0o600, True, 1 << 20, 4096, 1 << 40, 0, "ext4")

INFO = {
    "tcp_port": "1", "redis_version": "7.0.15", "used_memory": "1000", "maxmemory": "100000",
    "total_system_memory": "200000", "maxmemory_policy": "noeviction", "role": "master",
    "connected_slaves": "1", "aof_enabled": "1", "rdb_last_bgsave_status": "ok",
    "aof_last_write_status": "ok", "cluster_enabled": "0", "rdb_changes_since_last_save": "17",
}  # fmt: skip
CONFIG = {
    "appendonly": "yes", "appendfsync": "always", "save": "3600 1", "maxmemory": "100000",
    "maxmemory-policy": "noeviction", "min-replicas-to-write": "1",
}  # fmt: skip
GOOD_CLUSTER = {"cluster_state": "ok", "cluster_slots_ok": "16384"}


def server(config: dict[str, str] | None = None, **info: str) -> ServerFacts:
    return ServerFacts(INFO | info, CONFIG | (config or {}))


def redis(one: ServerFacts | None = None, **facts: Any) -> RedisFacts:
    base = RedisFacts((one or server(),), format="1", round_trip=0.001, wait_replicas=1)
    return dataclasses.replace(base, **facts)


def levels(lines: list[Line], check: str) -> list[str]:
    return [line.level for line in lines if line.check == check]


def test_a_good_file_is_well() -> None:
    lines = doctor.examine(doctor_sqlite.CHECKS, GOOD_FILE)
    assert {line.level for line in lines} == {"ok"}
    assert [line.check for line in lines] == list(doctor_sqlite.CHECKS)
    assert GOOD_FILE.is_current


@pytest.mark.parametrize(
    "check, level, words, changes",
    [
        ("file", "fail", "not a database", {"error": "file is not a database"}),
        ("file", "fail", "cannot be written", {"writable": False}),
        ("file", "warn", "chmod 600", {"mode": 0o620}),
        ("file", "ok", "may read it", {"mode": 0o644}),
        ("format", "fail", "another application", {"application_id": 1}),
        ("format", "fail", "use a newer release", {"version": VERSION + 1}),
        ("format", "warn", "make a backup", {"version": VERSION - 1}),
        ("durability", "fail", "journal mode delete", {"journal_mode": "delete"}),
        ("durability", "fail", "below FULL", {"synchronous": 1}),
        ("integrity", "fail", "row 5 missing (and 1 more)", {"problems": ("row 5 missing", "x")}),
        ("space", "fail", "about to be", {"free_bytes": 10 << 20}),
        ("space", "warn", "are free", {"free_bytes": 500 << 20}),
        ("space", "warn", "are free", {"free_bytes": 3 << 30, "size": 8 << 30}),
        ("wal", "warn", "somebody reads", {"wal_bytes": 1 << 30}),
        ("file-system", "fail", "network", {"file_system": "nfs4"}),
        ("file-system", "warn", "goes with", {"file_system": "tmpfs"}),
    ],
)
def test_what_is_wrong_with_a_file_is_found(
    check: str, level: str, words: str, changes: dict[str, Any]
) -> None:
    facts = dataclasses.replace(GOOD_FILE, **changes)
    lines = doctor.examine(doctor_sqlite.CHECKS, facts)
    [found] = [line for line in lines if line.check == check]
    assert found.level == level
    assert words in found.text
    assert {line.level for line in lines if line.check != check} <= {"ok"}
    if check == "format" or "writ" in words or "error" in changes:
        assert not facts.is_current


@pytest.mark.parametrize("size, level", [(70, "ok"), (90, "warn"), (99, "fail")])
def test_a_limit_on_the_file_counts(size: int, level: str) -> None:
    facts = dataclasses.replace(GOOD_FILE, size=size << 20, limit_bytes=100 << 20)
    assert max(levels(doctor.examine(doctor_sqlite.CHECKS, facts), "space"), key=rank) == level


def rank(level: str) -> int:
    return ["ok", "warn", "fail"].index(level)


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(tmp_path: Any) -> None:
    mounts = (
        f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\nc {tmp_path}/with\\040space xfs rw 0 0\n"
        f"d {tmp_path}/wi tmpfs rw 0 0\nbroken\n"
    )
    assert file_system(tmp_path.parent / "s.db", mounts) == "ext4"
    assert file_system(tmp_path / "s.db", mounts) == "nfs4"
    assert file_system(tmp_path / "with space" / "s.db", mounts) == "xfs"
    assert file_system(tmp_path / "within" / "s.db", mounts) == "nfs4"
    assert file_system(tmp_path, "") is None


def test_a_good_redis_is_well() -> None:
    for facts in (redis(), redis(clustered=True, cluster=GOOD_CLUSTER)):
        lines = doctor.examine(doctor_redis.CHECKS, facts)
        assert {line.level for line in lines} == {"ok"}
        assert facts.is_current


@pytest.mark.parametrize(
    "check, level, words, facts",
    [
        ("connection", "warn", "50.0 ms", redis(round_trip=0.05)),
        ("connection", "fail", "closer", redis(round_trip=0.5)),
        ("version", "fail", "at least Redis 6.2", redis(server(redis_version="6.0.16"))),
        ("version", "fail", "does not know XTRIM",
         redis(dataclasses.replace(server(), missing=("XTRIM",)))),
        ("version", "ok", "Valkey 8.0.1",
         redis(server(redis_version="7.2.4", valkey_version="8.0.1"))),
        ("format", "ok", "empty", redis(format=None)),
        ("format", "fail", "use a newer release", redis(format="2")),
        ("format", "fail", "not a store of sketchd", redis(format="hello")),
        ("persistence", "warn", "last second", redis(server({"appendfsync": "everysec"}))),
        ("persistence", "warn", "30 seconds", redis(server({"appendfsync": "no"}))),
        ("persistence", "warn", "since the last save (schedule 3600 1; 17 changes now)",
         redis(server({"appendonly": "no"}))),
        ("persistence", "fail", "a restart loses everything",
         redis(server({"appendonly": "no", "save": ""}))),
        ("persistence", "fail", "the last save failed",
         redis(server(rdb_last_bgsave_status="err"))),
        ("persistence", "fail", "append-only file failed",
         redis(server(aof_last_write_status="err"))),
        ("persistence", "warn", "CONFIG is refused", redis(ServerFacts(INFO))),
        ("memory", "fail", "noeviction", redis(server({"maxmemory-policy": "allkeys-lru"}))),
        ("memory", "warn", "noeviction",
         redis(server({"maxmemory-policy": "allkeys-lru", "maxmemory": "0"}))),
        ("memory", "warn", "no maxmemory", redis(server({"maxmemory": "0"}))),
        ("memory", "warn", "90000 of 100000", redis(server(used_memory="90000"))),
        ("memory", "fail", "503", redis(server(used_memory="99000"))),
        ("replicas", "fail", "takes no writes", redis(server(role="slave"))),
        ("replicas", "fail", "every update is answered 503", redis(wait_replicas=2)),
        ("replicas", "warn", "SKETCHD_REDIS_WAIT_REPLICAS=1", redis(wait_replicas=0)),
        ("replicas", "warn", "cut off", redis(server({"min-replicas-to-write": "0"}))),
        ("replicas", "ok", "no replica", redis(server(connected_slaves="0"), wait_replicas=0)),
        ("cluster", "fail", "use redis+cluster://", redis(server(cluster_enabled="1"))),
        ("cluster", "fail", "16000 of 16384",
         redis(clustered=True, cluster=GOOD_CLUSTER | {"cluster_slots_ok": "16000"})),
        ("cluster", "fail", "state fail",
         redis(clustered=True, cluster=GOOD_CLUSTER | {"cluster_state": "fail"})),
        ("clock", "warn", "-2.5 s", redis(dataclasses.replace(server(), clock_offset=-2.5))),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_redis_is_found(
    check: str, level: str, words: str, facts: RedisFacts
) -> None:
    lines = doctor.examine(doctor_redis.CHECKS, facts)
    found = [line for line in lines if line.check == check]
    assert any(line.level == level and words in line.text for line in found), found
    if level == "ok":
        assert {line.level for line in lines} == {"ok"}
    assert facts.is_current == (facts.format == "1")


def test_each_master_of_a_cluster_is_looked_at() -> None:
    bad = server({"appendfsync": "no"}, tcp_port="7")
    facts = redis(servers=(server(), bad, server()), clustered=True, cluster=GOOD_CLUSTER)
    lines = doctor.examine(doctor_redis.CHECKS, facts)
    assert levels(lines, "persistence") == ["ok", "warn", "ok"]
    [warning] = [line for line in lines if line.level == "warn"]
    assert warning.text.startswith("port 7: ")


def key(role: Any, expires_at: float | None = None) -> AccessKey:
    return AccessKey(f"{role}{expires_at}", "default", role, b"", 0.0, expires_at)


@pytest.mark.parametrize(
    "keys, level",
    [
        ([], "warn"),
        ([key("write")], "warn"),
        ([key("write"), key("admin", 5.0)], "warn"),
        ([key("admin", 50.0)], "ok"),
        ([key("admin")], "ok"),
    ],
)
def test_somebody_must_hold_an_admin_key(keys: list[AccessKey], level: str) -> None:
    directory = Directory("1", {}, {one.id: one for one in keys})
    facts = ContentFacts(Usage(sketches={"a": 2, "b": 1}), directory, now=10.0)
    lines = doctor.examine(doctor.CONTENTS, facts)
    assert levels(lines, "access") == [level]
    assert "sketches: 3, of tenants: 2" in lines[0].text
    without = dataclasses.replace(facts, directory=None)
    assert levels(doctor.examine(doctor.CONTENTS, without), "access") == []


def test_the_exit_status_is_that_of_the_worst() -> None:
    ok, warn, fail = Line("ok", "a", ""), Line("warn", "a", ""), Line("fail", "a", "")
    assert [doctor.status_of([ok], strict=strict) for strict in (False, True)] == [0, 0]
    assert [doctor.status_of([ok, warn], strict=strict) for strict in (False, True)] == [0, 1]
    assert [doctor.status_of([fail, warn], strict=strict) for strict in (False, True)] == [2, 2]
    assert json.loads(doctor.as_json([warn]))["findings"] == [
        {"level": "warn", "check": "a", "text": ""}
    ]
