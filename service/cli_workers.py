"""Several processes that serve on the same ports, and the supervisor that keeps them running.

The supervisor owns HTTP's listening socket, so that connections wait there while a worker is
replaced; every worker inherits it and accepts when it has time. For gRPC every worker listens
with a socket of its own, and the supervisor keeps the port for them. It asks the workers for their
metrics, joins them for whichever is scraped, and remembers the counters of those that ended.
docs/decisions/0008-workers.md says why so.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from service import logs
from service.cli_channel import SNAPSHOT_SECONDS, Channel, Message, WorkerEnd
from service.cli_ports import CannotServe, Ports, listen
from service.cli_serve import ready_line, serve_on
from service.metrics_activity import Seen
from service.metrics_shared import Family, Snapshot, joined
from service.settings import Settings

_LOG: Final = logging.getLogger("sketchd.workers")
#: A worker's counters are asked for this often, so that no more is lost when it is killed.
_REMEMBER_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
#: Beyond notice and drain: what closing the store may take before a worker is killed.
_STOP_MARGIN_SECONDS: Final = 5.0
_CODE: Final = str(Path(__file__).resolve().parent.parent)
_RESTARTS: Final = "sketchd_worker_restarts_total"


class Worker:
    """One process as its supervisor sees it. last: its counters as last heard."""

    def __init__(self, process: Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.is_ready = False
        self.reason = ""
        self.last = Snapshot()

    @classmethod
    async def started(cls, settings: Settings, listening: socket.socket) -> Worker:
        """A new process, which begins to open its store. Raises OSError when there can be none."""
        ours, theirs = socket.socketpair()
        # -P and the path: the code of the worker is that of its supervisor, whatever else lies
        # in the folder it was started in.
        path = os.pathsep.join(filter(None, (_CODE, os.environ.get("PYTHONPATH"))))
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "service.cli_workers",
                    str(listening.fileno()), str(theirs.fileno()),
                    pass_fds=(listening.fileno(), theirs.fileno()), stdin=DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                )  # fmt: skip
        except OSError:
            ours.close()
            raise
        channel = await Channel.over(ours)
        # Not on its command line, where everybody may read: the store's URL can hold a password.
        channel.send({"settings": dataclasses.asdict(settings)})
        return cls(process, channel)

    async def snapshot(self, which: str) -> Snapshot | None:
        """Its metrics now ("all", or the "lasting" ones); None if it does not say in time."""
        answer = await self.channel.ask({"snapshot": which}, SNAPSHOT_SECONDS)
        if answer is None:
            return None
        found = Snapshot.decoded(answer["found"])
        self.last = found.lasting()
        return found

    async def seen(self, incarnation: str) -> Seen | None:
        """What it has seen of a sketch lately; None if it does not say in time."""
        answer = await self.channel.ask({"seen": incarnation}, SNAPSHOT_SECONDS)
        return None if answer is None else Seen.decoded(answer["found"])

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)


class Supervisor:
    """Starts, watches and stops the workers, and joins their metrics."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings = settings
        self._ports = ports
        self._workers: set[Worker] = set()
        self._ended = Snapshot()
        self._stopping = asyncio.Event()
        self._all_ready = False
        #: Set when something changes at the start: a worker is ready, or none will be.
        self._news = asyncio.Event()
        self._failure: str | None = None
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until a signal. Raises CannotServe when a worker cannot start at first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        places: list[asyncio.Task[None]] = []
        # One first: what keeps it from starting is said once, and it makes or migrates the store.
        for count in (1, self._settings.workers):
            while len(places) < count:
                places.append(asyncio.create_task(self._keep(len(places) + 1)))
            await self._until_ready(count)
        remembering = asyncio.create_task(self._remember())
        if self._failure is None and not self._stopping.is_set():
            self._all_ready = True
            print(ready_line(self._ports, self._settings), file=sys.stderr, flush=True)
            await self._stopping.wait()
        self._ports.close()
        await self._end(places)
        remembering.cancel()
        if self._failure is not None:
            raise CannotServe(self._failure)

    async def _until_ready(self, count: int) -> None:
        while self._failure is None and not self._stopping.is_set():
            if sum(worker.is_ready for worker in self._workers) >= count:
                return
            self._news.clear()
            await self._news.wait()

    async def _keep(self, place: int) -> None:
        """Have a worker in this place until the supervisor stops."""
        pause = self._settings.worker_restart_seconds
        while not self._stopping.is_set():
            began = time.monotonic()
            ended = await self._one_life()
            if self._stopping.is_set():
                return
            if not self._all_ready:
                self._fail(ended)
                return
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause = self._settings.worker_restart_seconds
            _LOG.error("worker %d: %s; another starts in %g s", place, ended, pause)
            await self._stopped_within(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _one_life(self) -> str:
        """Start a worker and wait until it ends. Returns why it did."""
        try:
            worker = await Worker.started(self._settings, self._ports.http)
        except OSError as error:
            return f"cannot start a process: {error.strerror}"
        self._workers.add(worker)
        status = await self._attend(worker)
        self._workers.discard(worker)  # and, before anybody can ask:
        self._forget(worker, restarts=0.0 if self._stopping.is_set() else 1.0)
        return worker.reason or f"process {worker.process.pid} ended with status {status}"

    async def _attend(self, worker: Worker) -> int:
        """Listen to a worker until it ends. Returns its exit status, negative for a signal."""

        async def heard(message: Message) -> Message | None:
            if "ready" in message:
                worker.is_ready = True
                self._news.set()
                if self._all_ready:
                    _LOG.info("a new worker serves, process %d", worker.process.pid)
            elif "failed" in message:
                worker.reason = str(message["failed"])
            elif "last" in message:
                worker.last = Snapshot.decoded(message["last"])
            elif "scrape" in message:
                self._answer(worker, message, self._scrape)
            elif "watch" in message:
                self._answer(worker, message, partial(self._watch, message["watch"]))
            return None

        if self._stopping.is_set():  # the signal came while it was being started
            worker.signal(signal.SIGTERM)
        await worker.channel.attend(heard)
        status = await worker.process.wait()
        await worker.channel.close()
        return status

    def _answer(
        self, worker: Worker, message: Message, found: Callable[[], Awaitable[Message]]
    ) -> None:
        """Without making the worker's other messages wait: its own metrics are among them."""

        async def answer() -> None:
            worker.channel.send({"joined": await found(), "answers": message["number"]})

        task = asyncio.create_task(answer())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _scrape(self) -> Message:
        return (await self.scraped()).encoded()

    async def _watch(self, incarnation: str) -> Message:
        """What the workers that answer in time have seen of a sketch."""
        asked = [worker for worker in self._workers if worker.is_ready]
        found = await asyncio.gather(*(worker.seen(incarnation) for worker in asked))
        return Seen.by(one for one in found if one is not None).encoded()

    async def scraped(self) -> Snapshot:
        """The metrics of all workers, those that have ended included."""
        asked = [worker for worker in self._workers if worker.is_ready]
        found = await asyncio.gather(*(worker.snapshot("all") for worker in asked))
        # Who has ended meanwhile is among the ended, with what it has just said.
        living = [
            worker.last if snapshot is None else snapshot
            for worker, snapshot in zip(asked, found, strict=True)
            if worker in self._workers
        ]
        return joined(living, [self._ended])

    def _forget(self, worker: Worker, restarts: float = 0.0) -> None:
        """Keep the counters of a worker that has ended, so that no total ever falls."""
        told = Snapshot({_RESTARTS: Family(_RESTARTS, {(_RESTARTS, ()): restarts})})
        self._ended = joined([], [self._ended, worker.last, told])

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(_REMEMBER_SECONDS)
            ready = [worker for worker in self._workers if worker.is_ready]
            await asyncio.gather(*(worker.snapshot("lasting") for worker in ready))

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._news.set()

    def _stop(self, number: int) -> None:
        """First signal: all finish what is under way. Second: all leave now."""
        if self._stopping.is_set():
            self._pass_on(signal.SIGKILL)
            logs.leave_now(128 + number)
        self._stopping.set()
        self._news.set()
        self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        for worker in self._workers:
            worker.signal(number)

    async def _end(self, places: list[asyncio.Task[None]]) -> None:
        self._stopping.set()
        self._pass_on(signal.SIGTERM)
        settings = self._settings
        patience = settings.notice_seconds + settings.drain_seconds + _STOP_MARGIN_SECONDS
        _, late = await asyncio.wait(places, timeout=patience)
        if late:
            _LOG.error("%d workers did not stop within %g s and are killed", len(late), patience)
            self._pass_on(signal.SIGKILL)
        for place in await asyncio.gather(*places, return_exceptions=True):
            if isinstance(place, BaseException):
                _LOG.error("a worker could not be kept", exc_info=place)

    async def _stopped_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def supervise(settings: Settings) -> None:
    """Serve with several processes until a signal. Raises CannotServe."""
    ports = listen(settings)
    logs.configure(settings)
    asyncio.run(Supervisor(settings, ports).run())


def work(listening: int, channel: int) -> int:
    """One worker: serves on an inherited socket. Both are descriptors. Returns the exit status."""
    # What the terminal sends to all processes is for the supervisor to pass on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whoever has something to read again may take this; nobody ends because of it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = WorkerEnd(socket.socket(fileno=channel))
    settings = Settings(**end.settings())
    logs.configure(settings)
    try:
        serve_on(settings, Ports(socket.socket(fileno=listening), None), end)
    except CannotServe as error:
        end.failed(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(work(int(sys.argv[1]), int(sys.argv[2])))
