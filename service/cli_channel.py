"""What a worker and its supervisor say to each other, over a pair of connected sockets.

A message is a JSON object with its length in four bytes before it. First the supervisor sends
`settings`; the worker answers `ready`, or `failed` with a reason. Then either asks: the
supervisor for a `snapshot` of metrics (the "lasting" ones, or "all") or for what was `seen` of a
sketch, the worker for those of all workers together (`scrape`, `watch`). The end of the stream is
the end of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from service.errors import Unavailable
from service.metrics_activity import Seen
from service.metrics_shared import Snapshot

Message = dict[str, Any]
#: An answer that takes longer is not waited for.
ANSWER_SECONDS: Final = 2.0
#: For one worker's own metrics: less, or who asks for those of all gives up with the one that
#: does not answer, and nobody sees the others'.
SNAPSHOT_SECONDS: Final = 1.0


class Channel:
    """One end, in an event loop. Requests have numbers, and answers the number of theirs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._has_ended = False
        self._waiting: dict[int, asyncio.Future[Message | None]] = {}

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """A channel over one socket of a pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Send; nobody hears of it if the other has ended."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(framed(message))

    async def ask(self, message: Message, seconds: float = ANSWER_SECONDS) -> Message | None:
        """The other's answer, or None if there is none in time."""
        if self._has_ended:
            return None
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send({**message, "number": number})
        try:
            return await asyncio.wait_for(self._waiting[number], seconds)
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    async def attend(self, heard: Callable[[Message], Awaitable[Message | None]]) -> None:
        """Hand what comes to `heard`, and send what it answers, until the other ends."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(4), "big")
                message: Message = json.loads(await self._reader.readexactly(length))
                if "answers" in message:
                    self._answered(message["answers"], message)
                    continue
                answer = await heard(message)
                if answer is not None:
                    self.send({**answer, "answers": message["number"]})
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._has_ended = True
            for number in self._waiting:
                self._answered(number, None)

    def _answered(self, number: int, message: Message | None) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def close(self) -> None:
        """Send what waits to be sent, and end."""
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class WorkerEnd:
    """A worker's end. Made before there is an event loop, attended to in it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._channel: Channel | None = None

    def settings(self) -> Message:
        """The first message. Waits for it."""
        with self._end.makefile("rb") as incoming:
            length = int.from_bytes(incoming.read(4), "big")
            first: Message = json.loads(incoming.read(length))
        return dict(first["settings"])

    def failed(self, reason: str) -> None:
        """Say why there will be no worker; the event loop is not running (any more)."""
        self._end.setblocking(True)
        with contextlib.suppress(OSError):
            self._end.sendall(framed({"failed": reason}))

    async def open(self) -> None:
        """Make it the running event loop's."""
        self._channel = await Channel.over(self._end)

    async def attend(
        self,
        snapshot: Callable[[], Awaitable[Snapshot]],
        seen: Callable[[str], Awaitable[Seen]],
    ) -> None:
        """Answer the supervisor until it ends. Only when open."""
        assert self._channel is not None

        async def heard(message: Message) -> Message | None:
            if "seen" in message:
                return {"found": (await seen(message["seen"])).encoded()}
            if "snapshot" not in message:
                return None
            found = await snapshot()
            return {"found": (found if message["snapshot"] == "all" else found.lasting()).encoded()}

        await self._channel.attend(heard)

    def ready(self) -> None:
        """Say that this worker serves."""
        assert self._channel is not None
        self._channel.send({"ready": True})

    async def scrape(self) -> Snapshot:
        """The metrics of all workers together. Raises Unavailable."""
        return Snapshot.decoded(await self._joined({"scrape": True}))

    async def watch(self, incarnation: str) -> Seen:
        """What all workers together have seen of a sketch. Raises Unavailable."""
        return Seen.decoded(await self._joined({"watch": incarnation}))

    async def _joined(self, asked: Message) -> Message:
        assert self._channel is not None
        answer = await self._channel.ask(asked)
        if answer is None:
            raise Unavailable("the supervisor does not answer", code="not_ready")
        joined: Message = answer["joined"]
        return joined

    async def leave(self, last: Snapshot) -> None:
        """Hand over what this worker has counted, and end."""
        if self._channel is not None:
            self._channel.send({"last": last.lasting().encoded()})
            await self._channel.close()


def framed(message: Message) -> bytes:
    """A message as it travels."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body
