"""Load on a balancer: each sender does one thing over and over and keeps what went wrong."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import grpc
import httpx

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc as rpc
from tests.deploy.balanced import BEARER

#: Exact, so that what was counted can be told from what was not.
SPEC = {"kind": "vector", "shape": {"n": 64}, "method": "exact"}
#: Something to do, and what it needs open for that.
Load = AbstractContextManager[Callable[[], None]]
_METADATA = [(name.lower(), value) for name, value in BEARER.items()]


class Sender:
    """A thread that calls `send` until told to stop. done: how often that worked.

    failures: what it raised otherwise; the sender goes on.
    """

    def __init__(self, send: Callable[[], None]) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._send = send
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._send()
                self.done += 1
            except (httpx.HTTPError, grpc.RpcError, AssertionError) as error:
                self.failures.append(repr(error))
                self._stop.wait(0.05)

    def stop(self) -> None:
        """Return when the last call has ended."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextmanager
def sending(*loads: Load) -> Iterator[list[Sender]]:
    """A sender of each, stopped at the end."""
    with ExitStack() as opened:
        senders = [Sender(opened.enter_context(load)) for load in loads]
        try:
            yield senders
        finally:
            for one in senders:
                one.stop()


def create(url: str, *names: str) -> None:
    """Make sketches through the balancer."""
    for name in names:
        made = httpx.put(f"{url}/v1/sketches/{name}", json=SPEC, headers=BEARER, timeout=30)
        assert made.status_code in (200, 201), made.text


def counted(url: str, name: str) -> float:
    """What a sketch's first coordinate has come to."""
    answer = httpx.post(
        f"{url}/v1/sketches/{name}/estimates", json={"index": [0]}, headers=BEARER, timeout=30
    )
    return float(answer.json()["value"][0])


@contextmanager
def updates(url: str, name: str, kept: bool = True) -> Iterator[Callable[[], None]]:
    """One update without a key, which nobody may send twice. kept: on one connection."""
    path, body = f"{url}/v1/sketches/{name}/updates", {"index": [0], "delta": [1]}
    limits = httpx.Limits(max_keepalive_connections=1 if kept else 0)
    with httpx.Client(timeout=30, headers=BEARER, limits=limits) as http:

        def send() -> None:
            answer = http.post(path, json=body)
            assert answer.status_code == 200, answer.text

        yield send


@contextmanager
def keyed_updates(url: str, name: str) -> Iterator[Callable[[], None]]:
    """One update with a key, sent until it is answered, as clients do."""
    path, body = f"{url}/v1/sketches/{name}/updates", {"index": [0], "delta": [1]}
    numbers = itertools.count()
    with httpx.Client(timeout=30) as http:

        def send() -> None:
            headers = {**BEARER, "Idempotency-Key": f"{name}-{next(numbers)}"}
            end = time.monotonic() + 30
            while True:
                try:
                    answer = http.post(path, json=body, headers=headers)
                    if answer.status_code == 200:
                        return
                    assert answer.status_code in (502, 503), answer.text
                except httpx.TransportError:
                    pass
                assert time.monotonic() < end, "no answer"
                time.sleep(0.02)

        yield send


@contextmanager
def questions(url: str, name: str) -> Iterator[Callable[[], None]]:
    """A sample and a list."""
    with httpx.Client(timeout=30, headers=BEARER) as http:

        def send() -> None:
            drawn = http.post(f"{url}/v1/sketches/{name}/samples", json={"count": 1})
            assert drawn.status_code == 200, drawn.text
            listed = http.get(f"{url}/v1/sketches?limit=1")
            assert listed.status_code == 200, listed.text

        yield send


@contextmanager
def rpc_updates(port: int, name: str) -> Iterator[Callable[[], None]]:
    """One update over gRPC without a key, on one connection. No retries."""
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = rpc.SketchServiceStub(channel)
        metadata = [*_METADATA, ("sketchd-sketch", name)]

        def send() -> None:
            message = pb.UpdateRequest(sketch=name, index=[0], delta=[1])
            stub.Update(message, metadata=metadata, timeout=30)

        yield send
