"""Clients that send prepared requests over HTTP/1.1 and keep their connections, cheaply.

A process of its own holds many clients on one selector. Requests are whole before the
clock starts; of an answer only the status and the length are read. Each client sends its next
request when it has the answer to the last.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

_READ_BYTES: Final = 1 << 16
#: A client whose answer does not come for so long has lost its request.
_LOST_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """A request. kind: under which its latency is counted. request: its bytes, head and body."""

    kind: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Client:
    """One connection. turns: positions of jobs, sent in this order and from the start again."""

    host: str
    port: int
    turns: Sequence[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process sends: for `seconds`, or until each client has gone through its turns."""

    jobs: Sequence[Job]
    clients: Sequence[Client]
    seconds: float | None


@dataclass(slots=True)
class Sent:
    """What came of it. answered: by job, those answered 200. seconds: of each answer 200, by kind.

    refused: by status. lost: requests without an answer. started, ended: on the monotonic
    clock that all processes share. cpu: seconds of the sending processes.
    """

    answered: Counter[int] = field(default_factory=Counter)
    seconds: dict[str, array[float]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    started: float = float("inf")
    ended: float = 0.0
    cpu: float = 0.0

    def add(self, other: Sent) -> None:
        """Take in what another process found."""
        self.answered.update(other.answered)
        self.refused.update(other.refused)
        for kind, taken in other.seconds.items():
            self.seconds.setdefault(kind, array("d")).extend(taken)
        self.lost += other.lost
        self.started = min(self.started, other.started)
        self.ended = max(self.ended, other.ended)
        self.cpu += other.cpu


def request_bytes(
    method: str, path: str, body: bytes = b"", kind: str = "application/json", **headers: str
) -> bytes:
    """A request as it goes over the wire."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode("ascii") + body


class _Connection:
    """A client under way."""

    def __init__(self, client: Client) -> None:
        self.socket = socket.create_connection((client.host, client.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.client = client
        self.turn = 0
        self.job = 0
        self.started = 0.0
        self._left = memoryview(b"")
        self._got = bytearray()

    def begin(self, jobs: Sequence[Job]) -> None:
        """Start to send the next request."""
        turns = self.client.turns
        self.job = turns[self.turn % len(turns)]
        self.turn += 1
        self._left = memoryview(jobs[self.job].request)
        self._got.clear()
        self.started = time.perf_counter()

    def send(self) -> bool:
        """Send what the kernel takes. Returns whether all of it is sent."""
        try:
            while self._left:
                self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> int | None:
        """The status, once the answer is there. Raises ConnectionError when it cannot come."""
        part = self.socket.recv(_READ_BYTES)
        if not part:
            raise ConnectionError("closed before the answer")
        self._got += part
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return None
        at = self._got.lower().index(b"content-length:", 0, end + 2) + 15
        length = int(self._got[at : self._got.index(b"\r\n", at)])
        if len(self._got) < end + 4 + length:
            return None
        return int(self._got[9:12])


def _drive(plan: Plan, connections: list[_Connection]) -> Sent:
    """Send until the plan is done and every request has its answer."""
    found = Sent(started=time.perf_counter())
    stop = found.started + plan.seconds if plan.seconds is not None else None
    spent = time.process_time()
    with selectors.DefaultSelector() as selector:
        for one in connections:
            one.begin(plan.jobs)
            selector.register(one.socket, selectors.EVENT_WRITE, one)
        while selector.get_map():
            ready = selector.select(_LOST_SECONDS)
            if not ready:
                found.lost += len(selector.get_map())
                break
            for key, _ in ready:
                _step(plan, key.data, selector, found, stop)
    found.ended = time.perf_counter()
    found.cpu = time.process_time() - spent
    return found


def _step(
    plan: Plan,
    one: _Connection,
    selector: selectors.BaseSelector,
    found: Sent,
    stop: float | None,
) -> None:
    sending = selector.get_key(one.socket).events == selectors.EVENT_WRITE
    try:
        if sending:
            if one.send():
                selector.modify(one.socket, selectors.EVENT_READ, one)
            return
        status = one.receive()
    except (ConnectionError, ValueError):
        found.lost += 1
        selector.unregister(one.socket)
        return
    if status is None:
        return
    now = time.perf_counter()
    if status == 200:
        found.answered[one.job] += 1
        found.seconds.setdefault(plan.jobs[one.job].kind, array("d")).append(now - one.started)
    else:
        found.refused[status] += 1
    if now >= stop if stop is not None else one.turn >= len(one.client.turns):
        selector.unregister(one.socket)
        return
    one.begin(plan.jobs)
    # Small requests leave at once: no need to ask whether they may.
    if not one.send():
        selector.modify(one.socket, selectors.EVENT_WRITE, one)


def _process(pipe: Connection) -> None:
    plan: Plan = pipe.recv()
    connections = [_Connection(client) for client in plan.clients]
    pipe.send("connected")
    pipe.recv()
    pipe.send(_drive(plan, connections))
    for one in connections:
        one.socket.close()


def send_all(plans: Sequence[Plan]) -> Sent:
    """Run each plan in a process of its own, all starting together."""
    spawn = multiprocessing.get_context("spawn")
    running = []
    for plan in plans:
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_process, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        ours.send(plan)
        running.append((process, ours))
    try:
        for _, pipe in running:
            pipe.recv()
        for _, pipe in running:
            pipe.send("go")
        found = Sent()
        for _, pipe in running:
            found.add(pipe.recv())
    finally:
        for process, pipe in running:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.terminate()
    return found


def shared(clients: Sequence[Client], processes: int) -> Iterator[Sequence[Client]]:
    """Clients dealt to so many processes."""
    return (clients[at::processes] for at in range(min(processes, len(clients))))
