"""How clients are made, named, shared and ended; and that no key ever shows."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
import traceback
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import (
    AsyncClient,
    Client,
    Conflict,
    Retry,
    Tls,
    Unauthorized,
    Unreachable,
    Update,
)
from service.client.addresses import parse
from tests.client import rig
from tests.client.proxy import between
from tests.tidy.tree import ROOT

SECRET = "sk_" + "s3cr3t" * 8


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://host", "http://host:80"),
        ("https://host/", "https://host:443"),
        ("grpc://[::1]:50051", "grpc://[::1]:50051"),
        ("grpcs://host:1", "grpcs://host:1"),
        ("HTTP://Host:5", "http://host:5"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert str(parse(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "host:8080", "ftp://host:1", "grpc://host", "http://", "http://host:99999",
        "http://host:port", "http://host/path", "http://host?key=1", "http://host#x",
        "http://[::1", "http://:80", "grpc://host:0",
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: .*http://host:port"):
        Client(url)


def test_a_url_holds_no_key_and_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="key=") as caught:
        Client(f"http://{SECRET}@host:80")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, ValueError), ({"timeout": -1.0}, ValueError),
        ({"timeout": float("nan")}, ValueError), ({"timeout": "long"}, TypeError),
        ({"retry": 3}, TypeError), ({"tls": Tls()}, ValueError),
        ({"key": "two words"}, ValueError), ({"key": "a\r\nx: y"}, ValueError),
        ({"key": ""}, ValueError), ({"key": "schlüssel"}, ValueError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_senseless_options_are_refused(kind: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{next(iter(options))}: "):
        kind("http://127.0.0.1:1", **options)


def test_no_key_shows(service: Any, way: tuple[str, bool], face: str) -> None:
    with rig.served(bootstrap_admin_key="k" * 40) as closed:
        url = rig.url_of(closed, way[0])
        with rig.connected(face, url, key=SECRET) as client:
            assert SECRET not in repr(client)
            assert SECRET not in repr(client.sketch("a"))
            with pytest.raises(Unauthorized) as caught:
                client.create("a", rig.SMALL)
            told = "".join(traceback.format_exception(caught.value))
            assert SECRET not in told + repr(vars(caught.value))
            assert caught.value.code == "unauthorized"
        with rig.connected(face, url, key="k" * 40) as client:
            client.create("a", rig.SMALL).update([1], [1.0])


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_a_closed_client_says_so(service: Any, transport: str, face: str) -> None:
    with rig.connected(face, rig.url_of(service, transport)) as client:
        sketch = client.sketch("a")
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match=r"Client of .* \(closed\)> cannot be used"):
            sketch.info()
        with pytest.raises(RuntimeError, match="closed"):
            client.update_many([])


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_a_client_closed_under_a_call_says_so(service: Any, transport: str, face: str) -> None:
    with between(rig.port_of(service, transport)) as proxy:
        url = f"{transport}://127.0.0.1:{proxy.port}"
        with (
            ThreadPoolExecutor(2) as pool,
            rig.connected(face, url, timeout=2.0) as client,
        ):
            client.plan(rig.SMALL)  # it is connected
            proxy.stall()
            one = pool.submit(client.sketch("a").info)
            many = pool.submit(client.update_many, [Update("a", [1], [1.0])] * 2)
            time.sleep(0.3)
            client.close()
            with pytest.raises((RuntimeError, Unreachable)):
                one.result(20)
            failed = many.exception(20)
            assert isinstance(failed, RuntimeError) or failed is None
            if failed is None:
                assert all(isinstance(result, Unreachable) for result in many.result())


def _left_open(kind: Any, url: str) -> None:
    kind(url)
    gc.collect()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_an_unclosed_client_is_told_of_with_where_it_was_made(kind: Any, transport: str) -> None:
    tracemalloc.start(5)
    try:
        told = rf"unclosed <{kind.__name__} of {transport}://127"
        with pytest.warns(ResourceWarning, match=told) as caught:
            _left_open(kind, f"{transport}://127.0.0.1:1")
        [one] = [each for each in caught if each.category is ResourceWarning]
        made = tracemalloc.get_object_traceback(one.source)
    finally:
        tracemalloc.stop()
    assert made is not None
    assert Path(__file__).name in {Path(frame.filename).name for frame in made}


def test_a_client_is_not_taken_across_a_fork(service: Any) -> None:
    with Client(rig.url_of(service, "http")) as client:
        client._process = os.getpid() + 1  # as its copy in a child would see it
        with pytest.raises(RuntimeError, match="forked"):
            client.sketch("a").info()
        client._process = os.getpid()


def test_only_the_library_that_is_needed_is_loaded() -> None:
    code = (
        "import sys; from service.client import Client; {use};"
        "print(sorted({{'grpc', 'httpx', 'torch'}} & set(sys.modules)))"
    )
    for use, expected in (
        ("pass", "[]"),
        ("Client('http://h:1').close()", "['httpx']"),
        ("Client('grpc://h:1').close()", "['grpc']"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(use=use)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_timeouts_of_calls_are_checked(client: Any) -> None:
    with pytest.raises(ValueError, match=r"^timeout: "):
        client.sketch("a").info(timeout=0)
    with pytest.raises(TypeError, match=r"^timeout: "):
        client.plan(rig.SMALL, timeout=True)


def test_queries_are_checked_before_anything_is_sent(client: Any) -> None:
    sketch = client.sketch("a")
    with pytest.raises(ValueError, match=r"^X: give x or X"):
        sketch.sample(3, x=[1.0], X=[[1.0]])
    with pytest.raises(ValueError, match=r"^x: "):
        sketch.norm(x=[[1.0]])
    with pytest.raises(ValueError, match=r"^queries: "):
        sketch.sample_each([])
    with pytest.raises(ValueError, match=r"^queries: must have at least one row"):
        sketch.sample_each(np.zeros((0, 4)))
    with pytest.raises(ValueError, match=r"^count: "):
        sketch.sample(2.5)
    with pytest.raises(ValueError, match=r"^count: "):
        sketch.sample(-1)
    with pytest.raises(ValueError, match=r"^data: "):
        sketch.add_snapshot("text")


def test_names_survive_awkward_clients(service: Any, face: str, name: str) -> None:
    odd = f"{name}:a.b_c-d"[-100:].lstrip("-._:")
    for transport in rig.TRANSPORTS:
        with rig.connected(face, rig.url_of(service, transport)) as client:
            client.create(odd, rig.SMALL)
            assert client.sketch(odd).info().name == odd
            with pytest.raises(Conflict):
                client.create(odd, {**rig.SMALL, "seed": 8})


def test_a_client_retries_by_its_own_policy(service: Any, face: str) -> None:
    with between(rig.port_of(service, "http")) as proxy:
        proxy.cut_before(b"GET", times=10)
        url = f"http://127.0.0.1:{proxy.port}"
        with rig.connected(face, url, retry=Retry(attempts=3, first_pause=0.0)) as client:
            with pytest.raises(Exception, match="unreachable"):
                client.sketch("a").info()
    assert proxy.struck == 4  # three, and one for a connection that may have been idle too long


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://dns:50051", "dns:///dns:50051"),
        ("grpcs://xds:50051", "dns:///xds:50051"),
        ("grpc://127.0.0.1:1", "dns:///127.0.0.1:1"),
        ("grpc://[::1]:1", "dns:///[::1]:1"),
        ("grpc://[fe80::1%eth0]:1", "dns:///[fe80::1%25eth0]:1"),
    ],
)
def test_what_grpc_takes_for_an_address(url: str, target: str) -> None:
    assert parse(url).target == target


def test_a_host_named_like_a_scheme_of_grpc_is_a_host(
    face: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("50051")  # of this folder: what gRPC would take unix:50051 for
        listening.listen()
        listening.setblocking(False)
        once = {"retry": Retry(attempts=1), "timeout": 5.0}
        with rig.connected(face, "grpc://unix:50051", **once) as client:
            with pytest.raises(Unreachable):
                client.sketch("a").info()
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_addresses_of_either_version_and_names_are_reached(
    service: Any, face: str, name: str, transport: str, host: str
) -> None:
    listening = "127.0.0.1" if host == "localhost" else host
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no ::1")
    with between(rig.port_of(service, transport), listening) as proxy:
        url = f"{transport}://{f'[{host}]' if ':' in host else host}:{proxy.port}"
        with rig.connected(face, url, retry=Retry(attempts=1), timeout=10.0) as client:
            assert client.create(name, rig.SMALL).info().name == name


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_proxies_of_the_surroundings_do_not_count(
    service: Any, face: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for transport in rig.TRANSPORTS:
        url = rig.url_of(service, transport)
        with rig.connected(face, url, retry=Retry(attempts=1), timeout=10.0) as client:
            assert client.create(name, rig.SMALL).info().name == name
