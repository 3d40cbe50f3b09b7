"""Connections that keep the deadline of a call.

Timeouts of httpx are of each read and each write, so a server that takes or gives a byte now and
then would hold a thread for as long as it likes. Backends and streams are those of httpx's own
transport, which this module need not import.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import httpx

#: Written at a time.
_PIECE_BYTES: Final = 1 << 16


class Deadline(threading.local):
    """When the call of this thread is over, by the monotonic clock."""

    at = float("inf")

    def cut(self, timeout: float | None, over: type[httpx.TimeoutException]) -> float:
        """The timeout, or what is left of the call. Raises `over` where nothing is."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise over("the call is over")
        return left if timeout is None else min(timeout, left)


class DeadlineBackend:
    """Makes connections whose every step ends with the call that takes it."""

    def __init__(self, backend: Any) -> None:
        self.deadline = Deadline()
        self._backend = backend

    def connect_tcp(self, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        """A connection; each address that the name has may take so long."""
        seconds = self.deadline.cut(timeout, httpx.ConnectTimeout)
        made = self._backend.connect_tcp(*args, timeout=seconds, **options)
        return _DeadlineStream(made, self.deadline)


class _DeadlineStream:
    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, self._deadline.cut(timeout, httpx.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE_BYTES):
            seconds = self._deadline.cut(timeout, httpx.WriteTimeout)
            self._stream.write(buffer[at : at + _PIECE_BYTES], seconds)

    def start_tls(self, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        seconds = self._deadline.cut(timeout, httpx.ConnectTimeout)
        made = self._stream.start_tls(*args, timeout=seconds, **options)
        return _DeadlineStream(made, self._deadline)
