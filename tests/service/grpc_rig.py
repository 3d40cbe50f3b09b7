"""A real service of both transports over one runtime, served from a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import uvicorn
import uvloop
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service import app as composition
from service import cli_serve
from service.cli_protocol import ProblemProtocol
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc
from service.settings import Settings

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Failure:
    """An RPC that failed, as its client sees it. retry: seconds, or None."""

    status: grpc.StatusCode
    code: str
    detail: str
    fields: tuple[tuple[str, str], ...]
    retry: float | None
    http_status: int
    request_id: str


def failure_of(error: Any) -> Failure:
    """What the status says; it must be whole and agree with itself."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    details = {}
    for packed in status.details:
        for kind in ("ErrorInfo", "BadRequest", "RetryInfo"):
            message = getattr(error_details_pb2, kind)()
            if packed.Unpack(message):
                details[kind] = message
    info = details["ErrorInfo"]
    assert info.domain == "sketchd"
    code, _, detail = error.details().partition(": ")
    assert code == info.reason == dict(error.trailing_metadata())["sketchd-code"]
    bad = details.get("BadRequest")
    retry = details.get("RetryInfo")
    return Failure(
        status=error.code(),
        code=code,
        detail=detail,
        fields=() if bad is None else tuple((f.field, f.description) for f in bad.field_violations),
        retry=None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        http_status=int(info.metadata["status"]),
        request_id=info.metadata["request_id"],
    )


def refused(call: Callable[[], Any]) -> Failure:
    """How a call fails."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return failure_of(error)
    raise AssertionError(f"was answered: {answer}")


@dataclass
class Both:
    """A running service and clients of it."""

    runtime: composition.Runtime
    app: Any
    loop: asyncio.AbstractEventLoop
    address: str
    channel: grpc.Channel
    stub: Any
    http: httpx.Client

    def make(self, name: str, **spec: Any) -> pb.Sketch:
        """A sketch of this name, a vector unless said otherwise."""
        plain: dict[str, Any] = {"kind": "vector", "shape": pb.Shape(n=1000), "method": "sketch"}
        fields = {**plain, "seed": 7, **spec}
        request = pb.CreateSketchRequest(name=name, spec=pb.Spec(**fields))
        made: pb.Sketch = self.stub.CreateSketch(request, timeout=20).sketch
        return made

    def snapshot(self, name: str) -> bytes:
        """The bytes of a sketch's state."""
        pieces = list(self.stub.GetSnapshot(pb.GetSnapshotRequest(sketch=name), timeout=20))
        data = b"".join(piece.data for piece in pieces)
        assert pieces[0].size == len(data)
        return data

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """The function's result, called on the event loop of the service."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(20)


def vector(sketch: str, index: list[int], delta: list[float], key: str = "") -> pb.UpdateRequest:
    """A batch of a vector."""
    return pb.UpdateRequest(sketch=sketch, index=index, delta=delta, idempotency_key=key)


def same(one: Message, other: Message) -> bool:
    """Whether two messages hold the same."""
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@contextmanager
def serving(settings: Settings, **parts: Any) -> Iterator[Both]:
    """Serve both transports until the block ends. parts: as of app.build."""
    runtime = composition.build(settings, **parts)
    app = composition.app_over(runtime)
    listening = cli_serve.bind("127.0.0.1", 0)
    http_server = uvicorn.Server(
        uvicorn.Config(app, http=ProblemProtocol, ws="none", log_config=None, lifespan="on")
    )
    ready: list[tuple[asyncio.AbstractEventLoop, int]] = []
    started = threading.Event()
    failures: list[BaseException] = []

    async def serve() -> None:
        server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", settings.max_body_bytes + (1 << 16))]
        )
        server.add_generic_rpc_handlers((composition.grpc_handlers(runtime),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.append((asyncio.get_running_loop(), port))

        async def tell() -> None:
            while not http_server.started:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)
            started.set()

        telling = asyncio.create_task(tell())
        await http_server.serve(sockets=[listening])
        telling.cancel()
        await server.stop(2)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the service
                runner.run(serve())
        except BaseException as failure:  # noqa: BLE001 - told below
            failures.append(failure)
        finally:
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(20)
    assert not failures, failures
    loop, port = ready[0]
    address = f"127.0.0.1:{port}"
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with (
        grpc.insecure_channel(address, options) as channel,
        httpx.Client(
            base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30
        ) as client,
    ):
        stub = sketchd_pb2_grpc.SketchServiceStub(channel)
        yield Both(runtime, app, loop, address, channel, stub, client)
    http_server.should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "the service did not stop"
    assert not failures, failures


def bearer(key: str) -> Metadata:
    """The metadata that carry a key."""
    return (("authorization", f"Bearer {key}"),)
