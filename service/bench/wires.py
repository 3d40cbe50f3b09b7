"""Connections that carry prepared requests, as cheaply as Python can: HTTP/1.1 on raw sockets.

Of an answer only the status, the length and, where it is a refusal, the code are read. The gRPC
wires are in `grpc_wires`, so that a run over HTTP does not wait for that library.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from dataclasses import dataclass
from typing import Final, Protocol, cast

from service.bench.jobs import Job

_CODE: Final = re.compile(rb'"code":\s*"([a-z_]+)"')
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after: *([0-9.]+)", re.IGNORECASE)
_LENGTH: Final = b"content-length:"


class Lost(Exception):
    """No answer came. The request may have had its effect."""


@dataclass(frozen=True, slots=True)
class Answer:
    """refusal: None, or status and code of the problem. size: bytes received.

    again: whether trying again later may help. applied: whether the request may have had an
    effect although it was refused. retry_after: seconds, where the service said.
    """

    refusal: str | None
    size: int
    again: bool = False
    applied: bool = False
    retry_after: float | None = None


class Wire(Protocol):
    """One client's way to the service: one request at a time."""

    async def connect(self) -> None:
        """Be ready to send. Raises OSError."""
        ...

    async def ask(self, job: Job, key: bytes | None) -> Answer:
        """Send, and wait for the answer. Raises Lost, also when none comes in time."""
        ...

    def close(self) -> None: ...


class HttpWire(asyncio.Protocol):
    """One connection, opened again when it is lost."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> None:
        self._address = (host, port)
        self._tls = tls
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._got = bytearray()
        self._wanted = 0
        self._started = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Open the connection. Raises OSError."""
        host, port = self._address
        await self._loop.create_connection(lambda: self, host, port, ssl=self._tls)

    async def ask(self, job: Job, key: bytes | None) -> Answer:
        """Send a request and wait for its answer. Raises Lost."""
        if self._transport is None:
            try:
                await self.connect()
            except OSError as error:
                raise Lost(str(error)) from error
        if self._transport is None:
            raise Lost("closed at once")
        self._answer = self._loop.create_future()
        self._got.clear()
        self._wanted = 0
        self._started = time.perf_counter()
        self._transport.write(job.over_http(key))
        return await self._answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of the protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._look_after()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of the protocol: whoever waits waits in vain."""
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(str(exc or "closed before the answer")))

    def data_received(self, data: bytes) -> None:
        """Of the protocol: part of an answer."""
        self._got += data
        if not self._wanted:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._got.lower().find(_LENGTH, 0, end)
            if at < 0:
                self._drop("an answer without a length")
                return
            at += len(_LENGTH)
            self._wanted = end + 4 + int(self._got[at : self._got.index(b"\r\n", at)])
        if len(self._got) >= self._wanted and self._answer is not None and not self._answer.done():
            self._answer.set_result(self._read())

    def _read(self) -> Answer:
        status = bytes(self._got[9:12])
        if status == b"200":
            return Answer(None, self._wanted)
        code = _CODE.search(self._got)
        after = _RETRY_AFTER.search(self._got)
        return Answer(
            status.decode() + (f" {code[1].decode()}" if code else ""),
            self._wanted,
            again=status in (b"429", b"503"),
            applied=status[:1] == b"5",
            retry_after=float(after[1]) if after else None,
        )

    def _look_after(self) -> None:
        """Every now and then: give up on an answer that takes too long."""
        self._watch = self._loop.call_later(min(1.0, self._timeout), self._look_after)
        waits = self._answer is not None and not self._answer.done()
        if waits and time.perf_counter() - self._started > self._timeout:
            self._drop("no answer in time")

    def _drop(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(reason))
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
