"""Clients of each kind with one face, so that one script runs with all, and a real service."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from service.client import AsyncClient, AsyncSketch, Client
from service.settings import Settings
from tests.service.grpc_rig import Both, serving

VECTOR: Final = {"kind": "vector", "shape": {"n": 1_000_000}, "seed": 7}
SMALL: Final = {"kind": "vector", "shape": {"n": 1000}, "seed": 7}
MATRIX: Final = {
    "kind": "matrix", "shape": {"n": 1000, "d": 4}, "method": "sketch", "seed": 7, "repetitions": 2,
}  # fmt: skip
TENSOR: Final = {
    "kind": "tensor", "shape": {"n1": 40, "n2": 50, "d1": 2, "d2": 3}, "seed": 7,
}  # fmt: skip

#: How a client reaches the service; plain: without safetensors.
WAYS: Final = ("http", "http plain", "grpc", "grpc plain")
#: The transports of these.
TRANSPORTS: Final = ("http", "grpc")
#: Which of the two classes.
FACES: Final = ("sync", "async")


class Awaited:
    """An AsyncClient, or a sketch of it, with the methods of the sync one."""

    def __init__(self, whole: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._whole = whole
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._whole, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            plain = [one._whole if isinstance(one, Awaited) else one for one in args]
            made = found(*plain, **kwargs)
            if inspect.isasyncgen(made):
                return self._run(_listed(made))
            if inspect.iscoroutine(made):
                made = self._run(made)
            return Awaited(made, self._loop) if isinstance(made, AsyncSketch) else made

        return call

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


async def _listed(items: Any) -> Sequence[Any]:
    return [item async for item in items]


@contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def connected(face: str, url: str, **options: Any) -> Iterator[Any]:
    """A client, or what looks like one."""
    if face == "sync":
        with Client(url, **options) as client:
            yield client
        return
    with looping() as loop:

        async def make() -> AsyncClient:
            return AsyncClient(url, **options)

        asynchronous = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
        try:
            yield Awaited(asynchronous, loop)
        finally:
            asyncio.run_coroutine_threadsafe(asynchronous.close(), loop).result(10)


@contextmanager
def served(store: str = "memory://", **settings: Any) -> Iterator[Both]:
    """A service of both transports."""
    with serving(Settings(store=store, **settings)) as service:
        yield service


def port_of(service: Both, transport: str) -> int:
    """Where a transport is served."""
    if transport == "http":
        return int(service.http.base_url.port or 0)
    return int(service.address.rpartition(":")[2])


def url_of(service: Both, transport: str) -> str:
    """What a client of that transport is given."""
    return f"{transport}://127.0.0.1:{port_of(service, transport)}"
