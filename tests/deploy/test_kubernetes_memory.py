"""The memory limit of the manifest against a pod whose every bound is reached at once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import grpc
import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from deploy.kubernetes import memory
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.deploy.kustomize import SMALL, Manifests, built, container_of
from tests.deploy.manifest_pods import read
from tests.deploy.pod_process import PodProcess
from tests.deploy.quantities import quantity
from tests.end_to_end.rpcs import channel, stub
from tests.end_to_end.workers import parsed
from tests.redis_process import ServerProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")

_MIB: Final = 1 << 20
_TENSORS: Final = {"Content-Type": "application/x-safetensors"}
_JSON: Final = {"Content-Type": "application/json"}
#: Answers that a pod at its bounds may give: refusals are how it stays within them. 422: the body
#: that is no update.
_EXPECTED: Final = {200, 422, 503, "hung up"}
_OVER_RPC: Final = {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


@pytest.fixture
def redis() -> Iterator[ServerProcess]:
    """With the overlay's password, and otherwise fast: what it keeps is not the question."""
    found = Manifests(built(SMALL))
    server = ServerProcess({}, password=found.environment(found.service)["REDIS_PASSWORD"])
    yield server
    server.close()


class Load:
    """Requests to one pod. answers: their outcomes, by kind."""

    def __init__(self, pod: PodProcess, given: Settings, client: httpx.AsyncClient) -> None:
        self._pod = pod
        self._given = given
        self._client = client
        self.answers: Counter[tuple[str, object]] = Counter()

    async def create(self, name: str, numbers: int, method: str = "exact") -> None:
        """A vector; an exact one's state has eight bytes for each number."""
        spec = {"kind": "vector", "shape": {"n": numbers}, "method": method}
        answer = await self._client.put(f"/v1/sketches/{name}", json=spec)
        answer.raise_for_status()

    async def fill(self, name: str, numbers: int) -> None:
        """Touch every page of its state."""
        every = np.arange(0, numbers, 8, dtype=np.int32)
        for start in range(0, len(every), 1_000_000):
            index = every[start : start + 1_000_000]
            body = save({"index": index, "delta": np.ones(len(index), np.float16)})
            await self.ask("fill", f"{name}/updates", body, _TENSORS)
        await self.ask("read", f"{name}/estimates", b'{"index": [0]}', _JSON)

    async def ask(self, kind: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """POST, whatever comes of it."""
        try:
            answer = await self._client.post(f"/v1/sketches/{path}", content=body, headers=headers)
        except httpx.TransportError:
            # Refused and hung up on before the body was sent: the answer may be lost on the way.
            self.answers[kind, "hung up"] += 1
        else:
            self.answers[kind, answer.status_code] += 1

    async def snapshot(self, name: str) -> None:
        """The whole state."""
        answer = await self._client.get(f"/v1/sketches/{name}/snapshot")
        self.answers["snapshot", answer.status_code] += 1

    async def message(self, stub: Any, numbers: int) -> None:
        """One update of the largest size over gRPC."""
        index = np.arange(numbers, dtype=np.uint64)
        request = pb.UpdateRequest(sketch="v", index=index, delta=np.ones(numbers))
        metadata = (("authorization", f"Bearer {self._pod.admin_key}"),)
        try:
            await stub.Update(request, metadata=metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            self.answers["message", error.code()] += 1
        else:
            self.answers["message", grpc.StatusCode.OK] += 1

    def everything(self, large: list[str], stub: Any) -> list[Coroutine[Any, Any, None]]:
        """Bodies up to their sum and beyond, each as large as may be; the costliest JSON there is;
        every message that may arrive; the largest states, drawn from and sent.
        """
        size = self._given.max_body_bytes
        pair = b"1000000000,", b"1.5,"
        count = min((size - 64) // sum(map(len, pair)), 1_000_000)
        numbers = b'{"index": [%s1], "delta": [%s1]}' % (
            pair[0] * (count - 1),
            pair[1] * (count - 1),
        )
        nested = b'{"index": [%s[]]}' % (b"[]," * ((size - 64) // 3))
        bodies = 2 * self._given.max_bodies_bytes // size
        messages = self._given.grpc_arriving_messages + self._given.grpc_open_streams
        fitting = self._given.largest_message_bytes // 17
        return [
            *(self.ask("json", "v/updates", numbers, _JSON) for _ in range(bodies)),
            *(self.ask("nested", "v/updates", nested, _JSON) for _ in range(2)),
            *(self.message(stub, fitting) for _ in range(messages)),
            *(self.ask("sample", f"{name}/samples", b'{"count": 1}', _JSON) for name in large),
            *(self.snapshot(name) for name in large),
        ]


async def driven(pod: PodProcess, given: Settings) -> Load:
    """The cache filled, then everything at once."""
    limits = httpx.Limits(max_connections=200)
    own = channel(pod.grpc_port)
    async with httpx.AsyncClient(
        base_url=pod.url, headers=pod.headers, timeout=120, limits=limits
    ) as client:
        load = Load(pod, given, client)
        await load.create("v", 1 << 31, "sketch")
        small, largest = 1_000_000, given.max_dense_bytes // 8
        for number in range(given.cache_bytes // (8 * small) + 1):
            await load.create(f"small-{number}", small)
            await load.fill(f"small-{number}", small)
        shown = parsed((await client.get("/metrics")).text)
        assert shown("sketchd_cache_bytes") > 0.9 * given.cache_bytes
        large = [f"large-{number}" for number in range(memory.STATES_IN_USE)]
        for name in large:
            await load.create(name, largest)
            await load.fill(name, largest)
        await asyncio.gather(*load.everything(large, stub(own)))
        (await client.get("/readyz")).raise_for_status()
    await own.close()
    return load


async def test_a_pod_at_all_its_bounds_stays_below_its_limit(redis: ServerProcess) -> None:
    found = Manifests(built(SMALL))
    given = read(found)
    limit = quantity(container_of(found.service)["resources"]["limits"]["memory"])
    with PodProcess(found, redis) as pod:
        pod.started()
        load = await driven(pod, given)
        peak = pod.peak_bytes()
        assert pod.ended is None
    planned = memory.total(given)
    print(f"peak {peak / _MIB:.0f} MiB, planned {planned / _MIB:.0f}, limit {limit / _MIB:.0f}")
    for (kind, outcome), count in sorted(load.answers.items(), key=str):
        print(f"{kind}: {count} times {outcome}")
        assert outcome in _EXPECTED | _OVER_RPC
    # The load came near the bounds: one that does not proves nothing.
    assert load.answers["json", 200] > 0
    assert load.answers["json", 503] + load.answers["json", "hung up"] > 0
    assert load.answers["snapshot", 200] > 0
    assert peak > planned / 3
    assert peak < limit
