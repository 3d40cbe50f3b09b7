"""What the manifests promise, tried with real processes: settings, files, the way a pod ends."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from tests.deploy.kustomize import SMALL, Manifests, built, container_of, pod_of
from tests.deploy.pod_process import PodProcess, redis_of
from tests.end_to_end.rpcs import channel, stub
from tests.redis_process import ServerProcess, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are Linux'")

SPEC: Final = {"kind": "vector", "shape": {"n": 64}, "method": "exact"}
#: How late the slowest of kube-proxy, DNS and ingress controllers hears of a pod's end.
HEARING_SECONDS: Final = 3.0


@pytest.fixture
def found() -> Manifests:
    return Manifests(built(SMALL))


@pytest.fixture
def redis(found: Manifests) -> Iterator[ServerProcess]:
    """The overlay's own: its configuration, its password."""
    server = redis_of(found)
    yield server
    server.close()


def test_a_pod_serves_with_the_manifests_settings(found: Manifests, redis: ServerProcess) -> None:
    assert redis.client.config_get("appendfsync")["appendfsync"] == "always"
    with PodProcess(found, redis) as pod, httpx.Client(headers=pod.headers) as client:
        pod.started()
        assert pod.probe("liveness")
        assert httpx.get(f"{pod.url}/v1/sketches").status_code == 401
        one = f"{pod.url}/v1/sketches/one"
        assert client.put(one, json=SPEC).status_code == 201
        assert client.post(f"{one}/updates", json={"index": [3], "delta": [2]}).status_code == 200
        assert client.post(f"{one}/samples", json={"count": 1}).json()["index"] == [3]
        redis.kill()
        # Out of the Services, but not restarted.
        wait_for("it is not ready", lambda: not pod.probe("readiness"))
        assert pod.probe("liveness")
        redis.restart()
        wait_for("it is ready again", lambda: pod.probe("readiness"))
        pod.terminate()
        assert pod.wait(pod_of(found.service)["terminationGracePeriodSeconds"]) == 0
    ready, *log = pod.log
    assert ready.startswith("sketchd ready:")
    assert {json.loads(line)["level"] for line in log} <= {"info", "warning"}
    assert not any(pod.admin_key in line for line in pod.log)


def test_no_file_can_grow(found: Manifests, redis: ServerProcess) -> None:
    with PodProcess(found, redis, SKETCHD_STORE="sqlite:///never.db") as pod:
        wait_for("it ends", lambda: pod.ended is not None)
    assert "cannot open sqlite:///never.db" in "".join(pod.log)


def test_links_of_services_would_break_the_settings(found: Manifests, redis: ServerProcess) -> None:
    """Why enableServiceLinks is false: the variables that a Service called sketchd makes."""
    assert pod_of(found.service)["enableServiceLinks"] is False
    with PodProcess(found, redis, SKETCHD_PORT="tcp://10.96.0.10:8080") as pod:
        wait_for("it ends", lambda: pod.ended is not None)
    assert "SKETCHD_PORT must be a whole number" in "".join(pod.log)


@dataclass
class Traffic:
    """Clients behind a Service: each request goes to one of the pods it has heard of.

    endpoints: those pods. added: acknowledged increments. failed: answers nobody wants.
    """

    endpoints: list[PodProcess]
    added: int = 0
    failed: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def over_http(self, number: int) -> None:
        """Update until told to stop, over connections that are kept."""
        async with httpx.AsyncClient(timeout=30) as client:
            while not self.done.is_set():
                number += 1
                pod = self.endpoints[number % len(self.endpoints)]
                await self._count(self._post(client, pod, b'{"index": [1], "delta": [1]}'))

    async def over_grpc(self, number: int) -> None:
        """The same over gRPC."""
        channels: dict[int, grpc.aio.Channel] = {}
        while not self.done.is_set():
            number += 1
            pod = self.endpoints[number % len(self.endpoints)]
            own = channels.setdefault(pod.grpc_port, channel(pod.grpc_port))
            metadata = (("authorization", f"Bearer {pod.admin_key}"),)
            message = pb.UpdateRequest(sketch="counts", index=[1], delta=[1.0])
            await self._count(stub(own).Update(message, metadata=metadata, timeout=30))
        for one in channels.values():
            await one.close()

    async def slowly(self, pod: PodProcess, seconds: float) -> None:
        """One request whose body takes its time."""

        async def body() -> AsyncIterator[bytes]:
            yield b'{"index": [1], '
            for _ in range(20):
                await asyncio.sleep(seconds / 20)
                yield b" "
            yield b'"delta": [1]}'

        async with httpx.AsyncClient(timeout=seconds + 30) as client:
            await self._count(self._post(client, pod, body()))

    async def _post(self, client: httpx.AsyncClient, pod: PodProcess, body: Any) -> None:
        answer = await client.post(
            f"{pod.url}/v1/sketches/counts/updates",
            content=body,
            headers=pod.headers | {"Content-Type": "application/json"},
        )
        answer.raise_for_status()

    async def _count(self, request: Any) -> None:
        try:
            await request
        except (httpx.HTTPError, grpc.aio.AioRpcError) as error:
            self.failed.append(repr(error))
        else:
            self.added += 1


async def replaced(
    old: PodProcess, new: PodProcess, traffic: Traffic, pause: float, grace: float
) -> int:
    """What a rolling update does: the new pod is ready, the old one is deleted. Its exit status."""
    await asyncio.to_thread(new.started)
    traffic.endpoints.append(new)

    async def heard() -> None:
        await asyncio.sleep(HEARING_SECONDS)
        traffic.endpoints.remove(old)

    hearing = asyncio.create_task(heard())
    await asyncio.sleep(pause)  # preStop
    old.terminate()
    status = await asyncio.to_thread(old.wait, grace - pause)
    await hearing
    return status


async def rolled(found: Manifests, redis: ServerProcess, pause: float, **more: str) -> Traffic:
    """One of two pods replaced under load; checks that what was acknowledged is counted."""
    grace = pod_of(found.service)["terminationGracePeriodSeconds"]
    pods = [PodProcess(found, redis, **more) for _ in range(3)]
    old, other, new = pods
    with old, other:
        old.started()
        other.started()
        traffic = Traffic([old, other])
        async with httpx.AsyncClient(headers=old.headers, timeout=30) as client:
            one = f"{other.url}/v1/sketches/counts"
            assert (await client.put(one, json=SPEC)).status_code == 201
            load = [asyncio.create_task(traffic.over_http(number)) for number in range(4)]
            load += [asyncio.create_task(traffic.over_grpc(number)) for number in range(2)]
            # Begun before the end is known, over after SIGTERM.
            load.append(asyncio.create_task(traffic.slowly(old, pause + 5)))
            with new:
                status = await replaced(old, new, traffic, pause, grace)
                traffic.done.set()
                await asyncio.gather(*load)
                assert status == 0, "".join(old.log)[-3000:]
                answer = await client.post(f"{one}/estimates", json={"index": [1]})
    assert traffic.added > 100
    # Whoever was refused may have been counted; who was answered was, once.
    assert traffic.added <= answer.json()["value"][0] <= traffic.added + len(traffic.failed)
    return traffic


def test_a_connection_that_was_kept_is_served_after_sigterm_and_then_closed(
    found: Manifests, redis: ServerProcess
) -> None:
    # Through a Service it stays with the pod, whatever clients have heard.
    with PodProcess(found, redis) as pod:
        pod.started()
        at = urlsplit(pod.url)
        connection = HTTPConnection(at.hostname or "", at.port, timeout=30)
        connection.connect()
        kept = connection.sock
        pod.terminate()
        wait_for("the pod has heard of its end", lambda: not pod.probe("readiness"))
        time.sleep(1)  # many times what it takes to hang up where no notice is given
        connection.request("GET", "/v1/sketches", headers=pod.headers)
        answer = connection.getresponse()
        assert connection.sock in (kept, None)
        assert answer.status == 200
        assert answer.getheader("connection") == "close"
        connection.close()
        assert pod.wait(pod_of(found.service)["terminationGracePeriodSeconds"]) == 0


async def test_a_rolling_update_fails_no_request(found: Manifests, redis: ServerProcess) -> None:
    pause = container_of(found.service)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause > HEARING_SECONDS
    traffic = await rolled(found, redis, pause)
    print(f"{traffic.added} updates through a rolling update")
    assert traffic.failed == []


async def test_without_the_pause_requests_would_fail(
    found: Manifests, redis: ServerProcess
) -> None:
    # Nor any notice, which lasts longer than it takes here to be heard of.
    assert (await rolled(found, redis, 0.0, SKETCHD_NOTICE_SECONDS="0")).failed
