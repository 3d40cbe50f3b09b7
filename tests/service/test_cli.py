"""The command as people run it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service import app as composition
from service.cli_ports import CannotServe, address_of, bind
from service.cli_serve import check_keys
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"sketchd ready: http (http://\S+) store (\S+)\n")


def command(*arguments: str) -> list[str]:
    """The command line of sketchd."""
    return [sys.executable, "-m", "service", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings of the machine's, with these, and without gRPC's port."""
    kept = {name: one for name, one in os.environ.items() if not name.startswith("SKETCHD_")}
    return {**kept, "PYTHONPATH": str(ROOT), "SKETCHD_GRPC_PORT": "0", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(**variables),
        timeout=30, check=False,
    )  # fmt: skip


@contextmanager
def serving(
    folder: Path, *arguments: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """(process, URL, store) of a service that is ready."""
    process = subprocess.Popen(
        command("serve", *arguments), stderr=subprocess.PIPE, text=True, cwd=folder,
        env=environment(**variables),
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = READY.fullmatch(line)
        assert found, line + process.stderr.read()
        yield process, found[1], found[2]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_ready_is_said_in_one_line_and_a_signal_ends_it_quietly(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0") as (process, url, store):
        assert store == "sqlite:///sketchd.db"
        assert (tmp_path / "sketchd.db").exists()
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_state_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'kept.db'}"
    spec = {"kind": "vector", "shape": {"n": 1000000}}
    with serving(tmp_path, "--port", "0", "--store", store) as (process, url, _):
        httpx.put(f"{url}/v1/sketches/a", json=spec).raise_for_status()
        update = {"index": [5], "delta": [2]}
        httpx.post(f"{url}/v1/sketches/a/updates", json=update).raise_for_status()
        before = httpx.get(f"{url}/v1/sketches/a/snapshot").content
        process.kill()
        process.wait()
    with serving(tmp_path, SKETCHD_PORT="0", SKETCHD_STORE=store) as (_, url, shown):
        assert shown == store
        assert httpx.get(f"{url}/v1/sketches/a/snapshot").content == before


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--port", "0", "--store", store)
    with serving(tmp_path, *options) as (_, one, _), serving(tmp_path, *options) as (_, two, _):
        spec = {"kind": "vector", "shape": {"n": 1000}}
        httpx.put(f"{one}/v1/sketches/a", json=spec).raise_for_status()
        for at, url in enumerate([one, two] * 3):
            update = {"index": [at], "delta": [1]}
            httpx.post(f"{url}/v1/sketches/a/updates", json=update).raise_for_status()
            other = two if url == one else one
            found = httpx.post(f"{other}/v1/sketches/a/norm", json={"power": 2}).json()
            assert found["norm"] == pytest.approx((at + 1) ** 0.5)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path, sig: int) -> None:
    with serving(tmp_path, "--port", "0", "--store", "memory://") as (process, url, _):
        spec = b'{"kind": "vector", "shape": {"n": 1000}}'
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            head = (
                "PUT /v1/sketches/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(spec)}\r\n\r\n"
            )
            raw.sendall(head.encode() + spec[:10])
            time.sleep(0.2)
            process.send_signal(sig)
            time.sleep(0.3)
            assert process.poll() is None
            raw.sendall(spec[10:])
            assert raw.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert process.wait(10) == 0


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--store", "memory://") as (process, url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"PUT /v1/sketches/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            # The code of leaving now: a graceful stop ends with 0, after the drain.
            assert process.wait(5) == 128 + signal.SIGTERM


def test_the_limits_of_a_head_are_settings(tmp_path: Path) -> None:
    limits = {"SKETCHD_MAX_HEAD_BYTES": "2048", "SKETCHD_HEAD_SECONDS": "0.3"}
    with serving(tmp_path, "--port", "0", "--store", "memory://", **limits) as (_, url, _):
        assert httpx.get(f"{url}/healthz", headers={"x": "a" * 1500}).status_code == 200
        over = httpx.get(f"{url}/healthz", headers={"x": "a" * 2500})
        assert over.status_code == 431
        assert "2048 bytes" in over.json()["detail"]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=8) as silent:
            assert silent.recv(1) == b""  # and not after the default of ten seconds


def test_how_long_an_idle_connection_stays_is_a_setting(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--store", "memory://")
    with serving(tmp_path, *arguments, SKETCHD_KEEP_ALIVE_SECONDS="0.3") as (_, url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=4) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            came = b"".join(iter(lambda: idle.recv(4096), b""))
        # All of it, and then the end, before the default of five seconds.
        assert came.startswith(b"HTTP/1.1 200")
        assert came.endswith(b"}")


def refused(*arguments: str, **variables: str) -> str:
    """The one line with which a command is refused."""
    done = run(*arguments, **variables)
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("sketchd: ")
    return done.stderr


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused("serve", "--port", port, "--store", "memory://")
        assert f"127.0.0.1:{port}" in line
        assert "in use" in line


def test_what_cannot_be_served_is_one_clear_line(tmp_path: Path) -> None:
    memory = {"SKETCHD_STORE": "memory://"}
    assert "cannot listen" in refused("serve", "--port", "0", SKETCHD_HOST="192.0.2.1", **memory)
    assert "resolve" in refused("serve", "--host", "a..b", "--port", "0")
    assert "SKETCHD_GRPC_PORT" in refused("serve", "--port", "0", "--grpc-port", "70000")
    assert "SKETCHD_STORE" in refused("serve", "--port", "0", "--store", "postgresql://localhost")
    assert "SKETCHD_PORT" in refused("serve", "--port", "70000")
    assert "SKETCHD_PORT" in refused("serve", SKETCHD_PORT="red")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1000)
    assert "cannot open" in refused("serve", "--port", "0", "--store", f"sqlite:///{broken}")
    nowhere = f"sqlite:///{tmp_path}/no/folder.db"
    assert "cannot open" in refused("serve", "--port", "0", "--store", nowhere)


def test_a_variable_that_is_no_setting_is_mentioned() -> None:
    done = run("serve", "--host", "a..b", SKETCHD_MAX_BODY_BITES="5")
    assert "SKETCHD_MAX_BODY_BITES is not a setting" in done.stderr
    assert "sketchd ready" not in done.stderr


def test_names_lead_to_addresses() -> None:
    assert address_of("localhost") in ("127.0.0.1", "::1")
    for one in ("127.0.0.2", "0.0.0.0", "::1"):
        assert address_of(one) == one
    with pytest.raises(CannotServe):
        address_of("a..b")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_another_address_than_loopback_needs_a_key(host: str) -> None:
    # Asked of the check itself: a test must not listen where others could reach it.
    runtime = composition.build(Settings(store="memory://", host=host))
    with pytest.raises(CannotServe, match=r"sketchd key add .* SKETCHD_BOOTSTRAP_ADMIN_KEY"):
        await check_keys(runtime)
    await runtime.administration.add_key("default", "read")
    await check_keys(runtime)
    runtime.pool.close()


@pytest.mark.parametrize(
    "settings", [{"host": "127.0.0.2"}, {"host": "::1"}, {"bootstrap_admin_key": "k" * 32}]
)
async def test_loopback_or_a_bootstrap_key_needs_none(settings: dict[str, str]) -> None:
    runtime = composition.build(Settings(**{"store": "memory://", "host": "0.0.0.0", **settings}))  # type: ignore[arg-type]
    await check_keys(runtime)
    runtime.pool.close()


def test_answers_do_not_wait_for_acknowledgements() -> None:
    # asyncio sets TCP_NODELAY only on sockets whose protocol is named.
    with bind("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    "arguments",
    [[], ["serve"], ["demo"], ["version"], ["tenant"], ["tenant", "set"], ["key"], ["key", "add"]]
    + [["backup"], ["restore"], ["inspect"], ["doctor"]],
)
def test_help_everywhere(arguments: list[str]) -> None:
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: sketchd")


def test_version_and_wrong_commands() -> None:
    assert re.fullmatch(r"sketchd \S+\n", run("version").stdout)
    assert run().returncode == 2
    assert run("sevre").returncode == 2
    assert run("serve", "--prot", "1").returncode == 2


def test_the_access_log_is_one_json_object_a_request(tmp_path: Path) -> None:
    options = {"SKETCHD_ACCESS_LOG": "on", "SKETCHD_STORE": "memory://", "SKETCHD_PORT": "0"}
    with serving(tmp_path, **options) as (process, url, _):
        httpx.get(f"{url}/v1/sketches/a%0Ab", headers={"x-request-id": "me"})
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert process.stderr is not None
        [line] = map(json.loads, process.stderr.read().splitlines())
    assert line["logger"] == "sketchd.access"
    assert line["request_id"] == "me"
    assert (line["method"], line["status"]) == ("GET", 422)
    assert line["route"] == "/v1/sketches/{name}"
    assert line["path"] is None  # of a refused request it could be a key gone astray
