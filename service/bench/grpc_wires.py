"""The same over gRPC: a call for each message, or streams on which clients take turns."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from service.bench.jobs import Job, authority
from service.bench.wires import Answer, Lost
from service.protos.sketchd.v1 import sketchd_pb2 as pb

_SERVICE: Final = "/sketchd.v1.SketchService/"
_UNARY: Final = {"update": "Update", "sample": "Sample"}
_STREAM: Final = {"update": "UpdateStream", "sample": "SampleStream"}
_RESULT: Final = {"update": pb.UpdateResult, "sample": pb.SampleResult}
#: How a result begins that is a problem: the tag of its second field.
_PROBLEM: Final = b"\x12"
_AGAIN: Final = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})
#: After these an update may have been applied all the same.
_UNSURE: Final = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED,
})  # fmt: skip
#: How the message of an error begins.
_CODE: Final = re.compile(r"([a-z_]+): ")
_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Channel:
    """The connection that the clients of one process share, and what goes with every call."""

    channel: Any
    metadata: Metadata
    timeout: float


def open_channel(
    host: str, port: int, access_key: str | None, tls: bool, ca: Path | None, timeout: float
) -> Channel:
    """A connection to the service, opened by the first call."""
    metadata = (("authorization", f"Bearer {access_key}"),) if access_key else ()
    target = authority(host, port)
    if tls:
        roots = ca.read_bytes() if ca is not None else None
        credentials = grpc.ssl_channel_credentials(roots)
        channel = grpc.aio.secure_channel(target, credentials, options=OPTIONS)
    else:
        channel = grpc.aio.insecure_channel(target, options=OPTIONS)
    return Channel(channel, metadata, timeout)


class UnaryWire:
    """A call for each message. Messages go as the bytes they are."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._calls = {
            kind: channel.channel.unary_unary(_SERVICE + method, None, None)
            for kind, method in _UNARY.items()
        }

    async def connect(self) -> None:
        """Wait for the channel. Raises OSError."""
        await _ready(self._channel)

    async def ask(self, job: Job, key: bytes | None) -> Answer:
        """Call, and wait for the answer. Raises Lost when none came in time."""
        try:
            answer: bytes = await self._calls[job.kind](
                job.over_grpc(key), timeout=self._channel.timeout, metadata=self._channel.metadata
            )
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return Answer(None, len(answer))

    def close(self) -> None:
        """Nothing of its own."""


class StreamWire:
    """A stream for updates and one for samples, each opened when first used.

    Several clients may share it: answers come in the order of the messages, and a message need
    not wait for the answer to the one before.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._streams: dict[str, _Stream] = {}

    async def connect(self) -> None:
        """Wait for the channel. Raises OSError."""
        await _ready(self._channel)

    async def ask(self, job: Job, key: bytes | None) -> Answer:
        """Send a message and wait for its result. Raises Lost when the stream ends before."""
        stream = self._streams.get(job.kind)
        if stream is None or stream.ended:
            stream = self._streams[job.kind] = _Stream(self._channel, job.kind)
        return await stream.ask(job.over_grpc(key))

    def close(self) -> None:
        """Give up whatever is under way."""
        for stream in self._streams.values():
            stream.close()


class _Stream:
    """One call, its waiting clients in order, and the task that reads results."""

    def __init__(self, channel: Channel, kind: str) -> None:
        method = channel.channel.stream_stream(_SERVICE + _STREAM[kind], None, None)
        self._call = method(metadata=channel.metadata)
        self._timeout = channel.timeout
        self._kind = kind
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())
        self.ended = False

    async def ask(self, message: bytes) -> Answer:
        """One message, one result."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # Looked at even where the writing failed first.
        answer.add_done_callback(lambda one: one.cancelled() or one.exception())
        try:
            async with self._writing:
                self._waiting.append(answer)
                await self._call.write(message)
            async with asyncio.timeout(self._timeout):
                return await answer
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            # Results are told apart by their order alone: without this one all are lost.
            self.close()
            raise Lost(_words(error)) from error

    async def _read(self) -> None:
        reason = "the stream ended"
        try:
            while (result := await self._call.read()) is not grpc.aio.EOF:
                answer = self._answer(result)
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            reason = _words(error)
        self.ended = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(Lost(reason))

    def _answer(self, result: bytes) -> Answer:
        if not result.startswith(_PROBLEM):
            return Answer(None, len(result))
        problem: pb.Problem = _RESULT[self._kind].FromString(result).problem  # type: ignore[attr-defined]
        status = _CODES.get(problem.status, grpc.StatusCode.UNKNOWN)
        after = problem.retry_after_seconds if problem.HasField("retry_after_seconds") else None
        return Answer(
            f"{status.name} {problem.code}", len(result), status in _AGAIN, status in _UNSURE, after
        )

    def close(self) -> None:
        """End the call; whoever waits has lost."""
        self.ended = True
        self._call.cancel()


def _refused(error: grpc.aio.AioRpcError) -> Answer:
    status = error.code()
    code = _CODE.match(error.details() or "")
    if code is None and status in _UNSURE:  # not the service's own words: a lost connection, say
        raise Lost(f"{status.name}: {error.details()}")
    name = f"{status.name} {code[1]}" if code is not None else status.name
    return Answer(name, 0, status in _AGAIN, status in _UNSURE)


def _words(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__


async def _ready(channel: Channel) -> None:
    try:
        async with asyncio.timeout(channel.timeout):
            await channel.channel.channel_ready()
    except TimeoutError as error:
        raise OSError("no gRPC connection") from error
