"""A TCP proxy that misbehaves on request: the network between a client and a real service."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

_PATIENCE_SECONDS: Final = 20.0


class Proxy:
    """Forwards connections to a port of this machine, with the faults that were asked for.

    A fault strikes connections on which the marker has passed, from client to service, and is
    counted in `struck`.
    """

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.target = target
        self.struck = 0
        self.connections = 0
        self._marker = b""
        self._times = 0
        self._applied: Callable[[], bool] | None = None
        self._before = False
        self._stall = False
        self._budgets: list[int] = []
        self._left: dict[socket.socket, int] = {}
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_before(self, marker: bytes, times: int = 1) -> None:
        """Close instead of passing on what holds the marker."""
        with self._lock:
            self._marker, self._times, self._before = marker, times, True

    def lose_answer(self, marker: bytes, applied: Callable[[], bool], times: int = 1) -> None:
        """Pass it on, let no answer through, and close once `applied` says that it was done."""
        with self._lock:
            self._marker, self._times, self._before = marker, times, False
            self._applied = applied

    def cut_anywhere(self, rng: np.random.Generator, most: int, times: int) -> None:
        """Cut the next connections after any number of bytes below `most`, whichever way."""
        with self._lock:
            self._budgets = [int(one) for one in rng.integers(0, most, times)]

    def stall(self) -> None:
        """Pass nothing on any more, and close nothing."""
        self._stall = True

    def close(self) -> None:
        """Drop all connections, and take no more."""
        self._listening.close()
        self.drop()

    def drop(self) -> None:
        """Drop all connections."""
        with self._lock:
            held, self._sockets = self._sockets, set()
        for one in held:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                _end(near)
                continue
            far.settimeout(None)
            for one in (near, far):  # or a request in two pieces waits for an acknowledgement
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {near, far}
                if self._budgets:
                    self._left[near] = self._budgets.pop()
            muted = threading.Event()
            threading.Thread(target=self._up, args=(near, far, muted), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near, muted), daemon=True).start()

    def _strikes(self, seen: bytes) -> bool:
        with self._lock:
            if self._times == 0 or self._marker not in seen:
                return False
            self._times -= 1
            self.struck += 1
            return True

    def _within(self, near: socket.socket, data: bytes) -> bytes:
        """What of the data may pass before the connection's end; all of it where none is set."""
        with self._lock:
            if near not in self._left:
                return data
            passed = data[: self._left[near]]
            self._left[near] -= len(data)
            self.struck += self._left[near] < 0 <= self._left[near] + len(data)
            return passed

    def _up(self, near: socket.socket, far: socket.socket, muted: threading.Event) -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                if self._stall:
                    continue
                seen = (seen + data)[-(1 << 16) :]
                if not muted.is_set() and self._strikes(seen):
                    if self._before:
                        break
                    muted.set()
                    cut = (near, far)
                    threading.Thread(target=self._cut_once_applied, args=cut, daemon=True).start()
                passed = self._within(near, data)
                far.sendall(passed)
                if len(passed) < len(data):
                    break
        _end(near)
        _end(far)

    def _cut_once_applied(self, near: socket.socket, far: socket.socket) -> None:
        assert self._applied is not None
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._applied() and time.monotonic() < until:
            time.sleep(0.005)
        _end(near)
        _end(far)

    def _down(self, far: socket.socket, near: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                if muted.is_set() or self._stall:
                    continue
                passed = self._within(near, data)
                near.sendall(passed)
                if len(passed) < len(data):
                    _end(far)
                    break
        if not muted.is_set():
            _end(near)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def between(target: int, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy to a port until the block ends. host: where it listens."""
    proxy = Proxy(target, host)
    try:
        yield proxy
    finally:
        proxy.close()
