"""doctor against real files and real servers, well and badly configured."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import cli, cli_doctor
from service.doctor import Line
from service.settings import Settings
from service.sqlite_schema import VERSION
from tests import redis_process, redis_servers
from tests.golden.make_golden import FOLDER
from tests.redis_servers import ServerProcess
from tests.service.test_cli import run


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with two sketches; ask for `file`, a copy that may be harmed."""
    path = tmp_path_factory.mktemp("restored") / "kept.db"
    backup = str(FOLDER / "tenant-v1.backup")
    assert run("restore", "--store", f"sqlite:///{path}", "--input", backup).returncode == 0
    assert [one.name for one in path.parent.iterdir()] == ["kept.db"]  # no journal beside it
    return path


@pytest.fixture
def file(restored: Path, tmp_path: Path) -> Path:
    """A SQLite store with two sketches."""
    path = tmp_path / "kept.db"
    shutil.copyfile(restored, path)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def lazy() -> Iterator[ServerProcess]:
    """A server that keeps nothing and forgets what does not fit."""
    options = {"appendonly": "no", "maxmemory": "100000000", "maxmemory-policy": "allkeys-lru"}
    with redis_servers.closing(ServerProcess(options)) as server:
        yield server


@pytest.fixture(scope="module")
def careful() -> Iterator[ServerProcess]:
    """A server that loses nothing."""
    with redis_servers.closing(redis_servers.standalone(durable=True, max_memory=1 << 30)) as one:
        yield one


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def found(lines: list[Line], check: str) -> tuple[str, str]:
    """The worst finding of a check."""
    order = ("ok", "warn", "fail")
    worst = max((line for line in lines if line.check == check), key=lambda x: order.index(x.level))
    return worst.level, worst.text


async def report(url: str, **settings: object) -> list[Line]:
    chosen = {"redis_retry_seconds": 1.0, "redis_timeout_seconds": 1.0} | settings
    return await cli_doctor.report(Settings(store=url, **chosen))  # type: ignore[arg-type]


def test_a_sound_file_ends_with_status_0(file: Path) -> None:
    done = run("doctor", "--store", f"sqlite:///{file}")
    assert (done.returncode, done.stderr) == (0, "")
    levels = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert levels["file"] == levels["format"] == levels["integrity"] == "ok"
    assert levels["durability"] == levels["contents"] == "ok"
    assert "sketches: 2, of tenants: 1" in done.stdout


def test_the_exit_status_and_the_json_tell_what_is_wrong(file: Path) -> None:
    url = f"sqlite:///{file}"
    file.chmod(0o622)
    assert run("doctor", "--store", url).returncode == 0
    done = run("doctor", "--store", url, "--strict", "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert {"file": "warn"}.items() <= {one["check"]: one["level"] for one in findings}.items()
    change(file, f"PRAGMA user_version = {VERSION + 1}")
    done = run("doctor", "--store", url)
    assert done.returncode == 2
    assert "use a newer release" in done.stdout


def test_what_is_no_store_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (f"sqlite:///{tmp_path}/none.db", "memory://", "nonsense", "redis://:@"):
        assert cli.main(["doctor", "--store", url]) == 2
        said = capsys.readouterr().err
        assert said.startswith("sketchd: ")
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_harmed_file_is_found(file: Path) -> None:
    pages = bytearray(file.read_bytes())
    pages[4096:8192] = bytes(4096)
    file.write_bytes(pages)
    done = run("doctor", "--store", f"sqlite:///{file}")
    assert (done.returncode, done.stderr) == (2, "")
    file.write_bytes(b"no database at all" * 1000)
    done = run("doctor", "--store", f"sqlite:///{file}")
    assert done.returncode == 2
    assert re.search(r"^fail +file .* cannot be read", done.stdout, flags=re.MULTILINE)


def test_doctor_migrates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    done = run("doctor", "--store", f"sqlite:///{path}")
    assert re.search(r"^(warn|fail) +format ", done.stdout, flags=re.MULTILINE)
    assert path.read_bytes() == b""


async def test_a_database_that_is_not_in_wal_mode_is_found(file: Path) -> None:
    change(file, "PRAGMA journal_mode = DELETE")
    assert found(await report(f"sqlite:///{file}"), "durability")[0] == "fail"


async def test_a_careful_server_has_no_failures(careful: ServerProcess) -> None:
    careful.client.set("sketchd:format", "1")
    lines = await report(careful.url)
    checks = ("connection", "version", "format", "persistence", "memory", "replicas", "clock")
    for check in checks:
        assert found(lines, check)[0] == "ok", found(lines, check)


async def test_a_lazy_server_is_found_out(lazy: ServerProcess) -> None:
    lines = await report(lazy.url)
    assert found(lines, "persistence") == (
        "fail",
        "neither appendonly nor save: a restart loses everything; CONFIG SET appendonly yes",
    )
    assert found(lines, "memory")[0] == "fail"
    assert "allkeys-lru" in found(lines, "memory")[1]
    assert found(lines, "format") == ("ok", "the store is empty; this release will write format 1")
    assert lazy.client.dbsize() == 0  # doctor wrote nothing


@pytest.mark.parametrize(
    "name, good, bad, check",
    [
        ("appendfsync", "always", "everysec", "persistence"),
        ("appendfsync", "always", "no", "persistence"),
        ("maxmemory", "1000000000", "0", "memory"),
        ("maxmemory", "1000000000", "500000", "memory"),
        ("maxmemory-policy", "noeviction", "volatile-ttl", "memory"),
    ],
)
async def test_each_setting_of_a_server_both_ways(
    careful: ServerProcess, name: str, good: str, bad: str, check: str
) -> None:
    try:
        for value, well in ((good, True), (bad, False), (good, True)):
            careful.client.config_set(name, value)
            level, _ = found(await report(careful.url), check)
            assert (level == "ok") is well, (value, level)
    finally:
        careful.client.config_set(name, good)


async def test_a_newer_format_is_a_failure_and_is_left_alone(lazy: ServerProcess) -> None:
    lazy.client.set("other:format", "2")
    try:
        level, text = found(await report(f"{lazy.url}?prefix=other"), "format")
        assert (level, "use a newer release" in text) == ("fail", True)
        assert lazy.client.get("other:format") in ("2", b"2")
    finally:
        lazy.client.delete("other:format")


async def test_a_server_where_config_is_refused_is_judged_by_what_it_shows(
    careful: ServerProcess,
) -> None:
    careful.client.acl_setuser(
        "guest", enabled=True, passwords=["+pass"], keys=["*"], categories=["+@all"],
        commands=["-config"],
    )  # fmt: skip
    lines = await report(careful.url.replace("redis://", "redis://guest:pass@"))
    level, text = found(lines, "persistence")
    assert (level, "CONFIG is refused" in text) == ("warn", True)
    assert found(lines, "memory")[0] == "ok"


async def test_replicas_are_counted(careful: ServerProcess) -> None:
    assert found(await report(careful.url, redis_wait_replicas=1), "replicas")[0] == "fail"
    with redis_servers.closing(redis_servers.standalone(replica_of=careful)) as replica:
        redis_servers.wait_for(
            "the replica is online",
            lambda: careful.info("replication")["connected_slaves"] == 1,
        )
        assert found(await report(careful.url), "replicas")[0] == "warn"
        careful.client.config_set("min-replicas-to-write", "1")
        try:
            lines = await report(careful.url, redis_wait_replicas=1)
            assert found(lines, "replicas")[0] == "ok"
        finally:
            careful.client.config_set("min-replicas-to-write", "0")
        assert found(await report(replica.url), "replicas")[0] == "fail"


async def test_a_server_that_is_not_there_is_a_failure_without_its_password() -> None:
    port = redis_process.free_port()
    lines = await report(f"redis://user:hunter2@127.0.0.1:{port}")
    assert [(line.level, line.check) for line in lines] == [("fail", "connection")]
    assert "hunter2" not in lines[0].text


async def test_a_cluster_is_judged_as_one() -> None:
    with redis_servers.closing(redis_servers.cluster(masters=3, replicas=0)) as cluster:
        level, text = found(await report(cluster.url), "cluster")
        assert (level, text) == ("ok", "3 masters, state ok, 16384 of 16384 slots served")
        level, text = found(await report(cluster.nodes[0].url), "cluster")
        assert (level, "redis+cluster://" in text) == ("fail", True)
