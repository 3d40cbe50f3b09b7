"""A real service on a free loopback port, served from a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import uvicorn
from safetensors.numpy import load, save

from service import app as composition
from service import cli_ports
from service.cli_protocol import ProblemProtocol
from service.errors import StoreUnavailable
from service.ports import Store
from service.quota_meters import Meters
from service.quotas import QuotaSource
from service.settings import Settings

TENSORS = "application/x-safetensors"
PROBLEM = "application/problem+json"
JSON = {"content-type": "application/json"}
VECTOR = {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 7}
MATRIX = {"kind": "matrix", "shape": {"n": 100_000, "d": 4}, "seed": 7}


@dataclass
class Service:
    """A running service and a client of it."""

    client: httpx.Client
    runtime: composition.Runtime
    app: Any
    loop: asyncio.AbstractEventLoop
    port: int

    def make(self, name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
        """A sketch of this name, vector unless said otherwise."""
        answer = self.client.put(f"/v1/sketches/{name}", json=VECTOR if spec is None else spec)
        assert answer.status_code == 201, answer.text
        info: dict[str, Any] = answer.json()
        return info

    def info(self, name: str) -> dict[str, Any]:
        """What the service says of a sketch."""
        answer = self.client.get(f"/v1/sketches/{name}")
        assert answer.status_code == 200, answer.text
        info: dict[str, Any] = answer.json()
        return info

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """POST JSON; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json=body, headers=named)


@contextmanager
def running(
    settings: Settings,
    store: Store | None = None,
    *,
    tenants: QuotaSource | None = None,
    meters: Meters | None = None,
) -> Iterator[Service]:
    """Serve until the block ends."""
    runtime = composition.build(settings, store=store, tenants=tenants, meters=meters)
    listening = cli_ports.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    app = composition.app_over(runtime)
    server = uvicorn.Server(
        uvicorn.Config(app, http=ProblemProtocol, ws="none", log_config=None, lifespan="on")
    )
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "the service ended while it started"
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.005)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Service(client, runtime, app, loops[0], port)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "the service did not stop"


class Unreliable:
    """A store that can be told to fail, around one that works."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.down = False
        self.fails: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name not in ("start", "close"):
                if self.down:
                    raise StoreUnavailable("the store does not answer", retry_after=2.5)
                if self.fails is not None:
                    raise self.fails
            return await method(*args, **kwargs)

        return call


def tensors(columns: dict[str, Any], **metadata: str) -> bytes:
    """A safetensors body."""
    arrays = {name: np.asarray(one, order="C") for name, one in columns.items()}
    return save(arrays, metadata or None)


def read_tensors(body: bytes) -> dict[str, Any]:
    """The arrays of a safetensors answer."""
    found: dict[str, Any] = load(body)
    return found


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a well-formed problem, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["x-request-id"]
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["title"]
    assert isinstance(problem["detail"], str)
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    return problem


@contextmanager
def unchanged(service: Service, *names: str) -> Iterator[None]:
    """Check that versions and counters of sketches are afterwards what they were before."""
    before = [service.info(name) for name in names]
    yield
    assert [service.info(name) for name in names] == before
