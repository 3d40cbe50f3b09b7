"""Clients that send prepared requests, and what came of it.

A process of its own holds many clients on one event loop. A client sends its next request when
it has the answer to the last (closed loop), or, at a given rate, at the next of evenly spaced
times. A time that finds no client free waits for one, and its latency counts from that time, so
that a slow service cannot hide by being asked less.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final

from service.bench.jobs import Job
from service.bench.wires import Answer, HttpWire, Lost, Wire

#: Pauses before a retry: the first at most this, doubled each time, the last.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_LOST: Final = "lost"
#: Transports of a plan.
HTTP: Final = "http"
GRPC: Final = "grpc"
GRPC_STREAM: Final = "grpc-stream"


@dataclass(frozen=True, slots=True)
class Client:
    """One client. turns: positions of jobs, sent in this order and from the start again."""

    host: str
    port: int
    turns: Sequence[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process sends.

    seconds: for so long, once warm, or until each client has gone through its turns. warmup:
    seconds before that count for nothing. rate: requests a second, or as fast as answers come.
    late: seconds until the first of them. attempts: of one request, at most. keys: how
    idempotency keys begin, or no keys. timeout: seconds for an answer. shared: clients that take
    turns on one stream. access_key, tls, ca: how to speak to the service; over HTTP the key is
    in the requests already.
    """

    jobs: Sequence[Job]
    clients: Sequence[Client]
    seconds: float | None
    transport: str = HTTP
    warmup: float = 0.0
    rate: float | None = None
    late: float = 0.0
    attempts: int = 1
    keys: str | None = None
    timeout: float = 120.0
    shared: int = 1
    access_key: str | None = None
    tls: bool = False
    ca: Path | None = None


@dataclass(slots=True)
class Sent:
    """What came of it.

    answered: by job, those that succeeded; warm: those of the warm-up. seconds: of each success,
    by kind. each_second: successes by kind and whole second since the start. refused: by status
    and code, requests that were given up. lost: requests without an answer; reasons: why, those
    that were tried again too. unsure: by sketch, increments of updates that were not
    acknowledged and may have been applied all the same. retried: attempts beyond the first.
    unsent: times that found no client free before the end.
    sent_bytes, received_bytes: of requests and answers. started, ended: on the monotonic clock
    that all processes share, without the warm-up. cpu: seconds of the sending processes;
    busiest: of the busiest one, as a share of that time.
    """

    answered: Counter[int] = field(default_factory=Counter)
    warm: Counter[int] = field(default_factory=Counter)
    seconds: dict[str, array[float]] = field(default_factory=dict)
    each_second: dict[str, Counter[int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unsure: Counter[int] = field(default_factory=Counter)
    retried: int = 0
    unsent: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    started: float = float("inf")
    ended: float = 0.0
    cpu: float = 0.0
    busiest: float = 0.0

    def add(self, other: Sent) -> None:
        """Take in what another process found."""
        for counts, more in ((self.answered, other.answered), (self.warm, other.warm),
                             (self.unsure, other.unsure)):  # fmt: skip
            counts.update(more)
        self.refused.update(other.refused)
        self.reasons.update(other.reasons)
        for kind, taken in other.seconds.items():
            self.seconds.setdefault(kind, array("d")).extend(taken)
        for kind, done in other.each_second.items():
            self.each_second.setdefault(kind, Counter()).update(done)
        self.lost += other.lost
        self.retried += other.retried
        self.unsent += other.unsent
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.started = min(self.started, other.started)
        self.ended = max(self.ended, other.ended)
        self.cpu += other.cpu
        self.busiest = max(self.busiest, other.busiest)


class Sending:
    """One process's run: its clients, its clock, and what was found so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.found = Sent()
        self._stopped = False
        self._keys_made = 0
        #: Successes so far, those of the warm-up included.
        self.succeeded = 0
        self._spent = 0.0
        self._begin = 0.0
        self._arrivals: Iterator[float] = iter(())
        self._wires: list[Wire] = []
        #: Clients whose time has not come.
        self._waiting: set[asyncio.Future[None]] = set()
        # Pauses only: what is sent is decided by the turns.
        self._pauses = random.Random(0)

    async def connect(self) -> None:
        """Open every connection. Raises OSError."""
        self._wires = list(self._opened())
        for wire in dict.fromkeys(self._wires):
            await wire.connect()

    def _opened(self) -> Iterator[Wire]:
        plan = self._plan
        if plan.transport == HTTP:
            tls = _tls_context(plan)
            for one in plan.clients:
                yield HttpWire(one.host, one.port, tls, plan.timeout)
            return
        from service.bench import grpc_wires

        one = plan.clients[0]
        channel = grpc_wires.open_channel(
            one.host, one.port, plan.access_key, plan.tls, plan.ca, plan.timeout
        )
        if plan.transport == GRPC:
            yield from (grpc_wires.UnaryWire(channel) for _ in plan.clients)
            return
        for first in range(0, len(plan.clients), plan.shared):
            stream = grpc_wires.StreamWire(channel)
            yield from (stream for _ in plan.clients[first : first + plan.shared])

    async def run(self) -> Sent:
        """Send until the plan is done and every request has its answer."""
        self._begin = time.perf_counter() + self._plan.warmup
        self.found.started = self._begin
        if self._plan.rate is not None:
            first = time.perf_counter() + self._plan.late
            self._arrivals = _evenly(first, 1 / self._plan.rate, self._end)
        starting = asyncio.create_task(self._mark())
        await asyncio.gather(*(
            self._be(client, wire)
            for client, wire in zip(self._plan.clients, self._wires, strict=True)
        ))  # fmt: skip
        found = self.found
        found.ended = time.perf_counter()
        if not starting.done():
            starting.cancel()
            self._spent = time.process_time()
        # Stopped while warming up: nothing was measured, in no time.
        found.started = min(found.started, found.ended)
        # What found no client free before the end; times to come are not late.
        found.unsent += sum(1 for _ in takewhile(lambda at: at < found.ended, self._arrivals))
        if found.ended > found.started:
            found.cpu = time.process_time() - self._spent
            found.busiest = found.cpu / (found.ended - found.started)
        for wire in self._wires:
            wire.close()
        return found

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for."""
        self._stopped = True
        for waiting in self._waiting:
            _settle(waiting)

    async def _stopped_within(self, seconds: float) -> bool:
        """Sleep, but no longer than until the stop; returns whether it came."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _settle, over)
        self._waiting.add(over)
        try:
            await over
        finally:
            timer.cancel()
            self._waiting.discard(over)
        return self._stopped

    async def _mark(self) -> None:
        await asyncio.sleep(self._plan.warmup)
        self._spent = time.process_time()

    @property
    def _end(self) -> float:
        seconds = self._plan.seconds
        return float("inf") if seconds is None else self._begin + seconds

    async def _be(self, client: Client, wire: Wire) -> None:
        """One client, from its first turn to the end."""
        end, open_loop = self._end, self._plan.rate is not None
        turn, turns = 0, client.turns
        while not self._stopped and (self._plan.seconds is not None or turn < len(turns)):
            intended = now = time.perf_counter()
            if open_loop:
                arrival = next(self._arrivals, None)
                if arrival is None:
                    return
                intended = arrival
                if arrival > now and await self._stopped_within(arrival - now):
                    return
            # One whose time came before the end, to a client that was free, is not late.
            if now >= end or self._stopped:
                self.found.unsent += open_loop and not self._stopped
                return
            position = turns[turn % len(turns)]
            turn += 1
            await self._do(position, wire, intended)

    async def _do(self, position: int, wire: Wire, intended: float) -> None:
        """One request, to its success or until it is given up."""
        job = self._plan.jobs[position]
        key = None
        if self._plan.keys is not None and job.updates:
            self._keys_made += 1
            key = f"{self._plan.keys}-{self._keys_made}".encode()
        unsure = False
        for attempt in range(self._plan.attempts):
            try:
                answer = await wire.ask(job, key)
            except Lost as lost:
                self.found.reasons[str(lost)] += 1
                answer = Answer(_LOST, 0, again=True, applied=True)
            if intended >= self._begin:
                self.found.sent_bytes += len(job.head) + len(job.body)
                self.found.received_bytes += answer.size
            if answer.refusal is None:
                self._succeeded(job, position, intended)
                return
            unsure |= answer.applied
            safe = key is not None or not job.updates or not answer.applied
            last = attempt + 1 == self._plan.attempts
            if last or not (answer.again and safe) or self._stopped:
                break
            self.found.retried += 1
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            pause = answer.retry_after or longest * self._pauses.uniform(0.5, 1.0)
            await asyncio.sleep(min(_LONGEST_PAUSE, pause))
        if unsure and job.updates:
            self.found.unsure[job.sketch] += job.updates
        if answer.refusal == _LOST:
            self.found.lost += 1
        else:
            self.found.refused[str(answer.refusal)] += 1
        if answer.again and not self._stopped and self._plan.attempts > 1:
            await asyncio.sleep(_FIRST_PAUSE)  # busy, or nobody there: do not hammer

    def _succeeded(self, job: Job, position: int, intended: float) -> None:
        now, found = time.perf_counter(), self.found
        self.succeeded += 1
        if intended < self._begin:
            found.warm[position] += 1
            return
        found.answered[position] += 1
        taken = found.seconds.get(job.kind)
        if taken is None:
            taken = found.seconds[job.kind] = array("d")
            found.each_second[job.kind] = Counter()
        taken.append(now - intended)
        found.each_second[job.kind][int(now - self._begin)] += 1


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _evenly(first: float, step: float, end: float) -> Iterator[float]:
    number = 0
    while (at := first + number * step) < end:
        yield at
        number += 1


def _tls_context(plan: Plan) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=plan.ca) if plan.tls else None
