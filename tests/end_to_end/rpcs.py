"""gRPC to a process of its own: its port, and streams of updates that outlive it.

A writer sends keyed batches over one UpdateStream, many before the first is answered. When the
stream breaks it sends again, over another, whatever was not answered, with the same keys.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc

from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc as rpc
from sketch_core.batch import quantise
from tests.end_to_end.streams import Stream, drawn

#: Nothing of one test's connections is another's, and a service that is back is found at once.
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]
_AT_ONCE = 16


def channel(port: int, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A client of its own."""
    at = f"127.0.0.1:{port}"
    if credentials is None:
        return grpc.aio.insecure_channel(at, options=OPTIONS)
    return grpc.aio.secure_channel(at, credentials, options=OPTIONS)


def stub(of: grpc.aio.Channel) -> Any:
    """The RPCs over a channel."""
    return rpc.SketchServiceStub(of)


def spec_message(request: dict[str, Any]) -> pb.Spec:
    """A spec as JSON has it, as a message."""
    plain = {name: value for name, value in request.items() if name != "shape"}
    return pb.Spec(shape=pb.Shape(**request["shape"]), **plain)


async def answered(ask: Any) -> Any:
    """What `ask()` answers, asked again while the service is away."""
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.02)


@dataclass
class Writer:
    """Streams batches to one sketch.

    owed: what was sent and not answered. broken: how often a stream ended before it was done.
    """

    stream: Stream
    label: str
    seed: int
    owed: deque[pb.UpdateRequest] = field(default_factory=deque)
    broken: int = 0
    resent: int = 0

    async def run(self, to: grpc.aio.Channel, done: asyncio.Event) -> None:
        """Send until told to stop, and then until all is acknowledged."""
        draw = random.Random(f"{self.seed} {self.label}")
        while self.owed or not done.is_set():
            self.resent += len(self.owed)
            call = stub(to).UpdateStream()
            sending = asyncio.create_task(self._send(call, draw, done))
            try:
                await self._read(call)
                await sending
            except grpc.aio.AioRpcError as error:
                # A stream that is cut while a message is written ends, in grpc.aio, so.
                cut = error.details() == "Internal error from Core"
                if error.code() is not grpc.StatusCode.UNAVAILABLE and not cut:
                    raise
                self.broken += 1
                await asyncio.sleep(0.02)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _read(self, call: Any) -> None:
        while (result := await call.read()) is not grpc.aio.EOF:
            assert result.WhichOneof("result") == "response", result
            assert result.response.accepted == len(self.owed[0].delta)
            self.owed.popleft()
            self.stream.acknowledged += 1

    async def _send(self, call: Any, draw: random.Random, done: asyncio.Event) -> None:
        for message in list(self.owed):
            await call.write(message)
        while not done.is_set():
            if len(self.owed) >= _AT_ONCE:
                await asyncio.sleep(0.001)
                continue
            body, columns = drawn(self.stream, draw)
            self.stream.sent.append(quantise(self.stream.spec, columns)[0])
            key = f"{self.label}-{draw.getrandbits(60)}"
            message = pb.UpdateRequest(sketch=self.stream.name, idempotency_key=key, **body)
            self.owed.append(message)
            await call.write(message)
        await call.done_writing()
