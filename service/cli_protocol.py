"""uvicorn's HTTP, held to the contract where a request is not HTTP or never ends.

uvicorn answers such bytes at once, even while it owes answers to requests that came
before them on the connection: the sender of an update that was applied read that it was
not. It keeps heads of any length, and waits for the first one for ever: whoever opens
connections and says nothing takes all there can be, without a key. And it drops the
body of a request that asks for another protocol, so that a question was answered as if it
had none.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service import middleware
from service.sketch_ids import new_id

#: Bytes of a request's head; also of what may come between two pieces of a body.
MOST_HEAD_BYTES: Final = 1 << 16
#: How long the head of a connection's first request, or of one that has begun to come, may take.
HEAD_SECONDS: Final = 10.0

_MALFORMED: Final = middleware.problem_of_broken_http(
    400, "malformed_http", "the request is not valid HTTP/1.1"
)
_TOO_LARGE: Final = middleware.problem_of_broken_http(
    431, "head_too_large", f"the head is over the limit of {MOST_HEAD_BYTES} bytes"
)
_UPGRADE: Final = middleware.problem_of_broken_http(
    400,
    "malformed_http",
    "only HTTP/1.1 is served: a body cannot come with a wish for another",
)
_REASONS: Final = {400: "Bad Request", 431: "Request Header Fields Too Large"}


class ProblemProtocol(HttpToolsProtocol):
    """One connection. What cannot be parsed is a problem document, and the end of it."""

    _pending = 0  # bytes since the parser last had a head or a piece of a body
    _unanswered = 0
    _refusal: tuple[int, bytes] = (400, _MALFORMED)
    _broken = False
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head, but not for ever."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._head_is_here()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head has begun to come."""
        super().on_message_begin()
        self._await_head()

    def _await_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_is_here(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        """No head has come in time. Answers that are owed are still given."""
        self._patience = None
        self._broken = True
        if self._unanswered <= 0 and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless what came before was no HTTP."""
        if self._broken:
            return
        self._pending += len(data)
        super().data_received(data)
        if self._pending > MOST_HEAD_BYTES and not self._broken:
            self._refusal = (431, _TOO_LARGE)
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head alone is enough to refuse it."""
        self._head_is_here()
        self._pending = 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > (
            MOST_HEAD_BYTES
        ):
            self._refusal = (431, _TOO_LARGE)
            raise ValueError("the head is too large")
        names = {name for name, _ in self.headers}
        if self.parser.should_upgrade() and names & {b"content-length", b"transfer-encoding"}:
            self._refusal = (400, _UPGRADE)
            raise ValueError("the parser would skip the body")
        super().on_headers_complete()
        self._unanswered += 1

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._pending = 0
        super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which nobody reads, are dropped."""
        last = self._last
        if last is None or last.scope is not self.scope:
            super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature is uvicorn's
        """Answer what is not HTTP and hang up, after the answers to what came before it."""
        self._broken = True
        if self._is_unfinished():
            self._unanswered -= 1
            if self.pipeline:  # it waits for its turn, which never comes
                self.pipeline.popleft()
        if not self._unanswered:
            self._hang_up()

    def on_response_complete(self) -> None:
        """Go on with the next request, or hang up where there can be none."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._broken and self._unanswered <= 0 and not self.transport.is_closing():
            self._hang_up()

    @property
    def _last(self) -> RequestResponseCycle | None:
        """The last request whose head was whole; uvicorn's type forgets that there may be none."""
        return self.cycle

    def _is_unfinished(self) -> bool:
        """Whether the last request that began is the one that is broken."""
        last = self._last
        return last is not None and last.more_body and not last.response_complete

    def _hang_up(self) -> None:
        status, problem = self._refusal
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(problem)}\r\nx-request-id: {new_id()}\r\n"
            "connection: close\r\n\r\n"
        )
        half_an_answer = False
        if self._is_unfinished():
            # Its route hears that the client is gone, and writes nothing more.
            half_an_answer = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not half_an_answer:
            self.transport.write(head.encode("ascii") + problem)
        self.transport.close()
