"""Plans carried out by processes of their own, started together and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, Self

import uvloop

from service.bench.senders import Client, Plan, Sending, Sent

#: How often a process says how far it is.
_TELL_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 30.0
_LEAVE_SECONDS: Final = 5.0
_STOP: Final = "stop"
#: Called with the successes of all processes so far, a few times a second.
Watcher = Callable[[int], None]


class CannotSend(Exception):
    """A sending process could not connect, or died; the message says why."""


class Senders:
    """Processes that hold their connections and wait for `go`."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._processes: list[tuple[BaseProcess, Connection]] = []
        self._total = Sent()
        self._progress: dict[Connection, int] = {}
        self._running: set[Connection] = set()
        spawn = multiprocessing.get_context("spawn")
        try:
            for plan in plans:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_process, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                self._processes.append((process, ours))
                ours.send(plan)
            for _, pipe in self._processes:
                _connected(pipe)
        except BaseException:
            self.close()
            raise

    def go(self) -> None:
        """Let all of them begin."""
        for _, pipe in self._processes:
            pipe.send("go")
            self._running.add(pipe)

    def stop(self) -> None:
        """Have them send nothing more."""
        for _, pipe in self._processes:
            try:
                pipe.send(_STOP)
            except OSError:  # done already
                continue

    def found(self, watcher: Watcher | None = None) -> Sent:
        """Wait until all have finished. Raises CannotSend when one dies.

        Interrupted, it can be called again, and goes on.
        """
        while self._running:
            for pipe in wait(list(self._running)):
                assert isinstance(pipe, Connection)
                try:
                    said = pipe.recv()
                except EOFError as error:
                    raise CannotSend("a sending process ended before its work") from error
                if isinstance(said, Sent):
                    self._total.add(said)
                    self._running.remove(pipe)
                else:
                    self._progress[pipe] = said
            if watcher is not None:
                watcher(sum(self._progress.values()))
        return self._total

    def close(self) -> None:
        """End the processes."""
        for process, pipe in self._processes:
            pipe.close()
            process.join(_LEAVE_SECONDS)
            if process.is_alive():
                process.terminate()
                process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connected(pipe: Connection) -> None:
    if not pipe.poll(_CONNECT_SECONDS):
        raise CannotSend("a sending process did not connect in time")
    try:
        said = pipe.recv()
    except EOFError as error:
        raise CannotSend("a sending process ended before it was connected") from error
    if said is not None:
        raise CannotSend(said)


def send_all(plans: Sequence[Plan], watcher: Watcher | None = None) -> Sent:
    """Run each plan in a process of its own, all starting together."""
    with Senders(plans) as senders:
        senders.go()
        return senders.found(watcher)


def shared(clients: Sequence[Client], processes: int) -> Iterator[Sequence[Client]]:
    """Clients dealt to so many processes."""
    return (clients[at::processes] for at in range(min(processes, len(clients))))


def _process(pipe: Connection) -> None:
    # Ctrl-C reaches every process of a terminal; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan: Plan = pipe.recv()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            found = runner.run(_carry_out(plan, pipe))
        except OSError as error:
            pipe.send(f"cannot connect: {error}")
            return
        if found is not None:
            pipe.send(found)


async def _carry_out(plan: Plan, pipe: Connection) -> Sent | None:
    sending = Sending(plan)
    await sending.connect()
    pipe.send(None)
    # Blocks until all are connected: nothing else is to be done here.
    try:
        pipe.recv()
    except EOFError:
        return None
    # A thread, for the pipe must stay one that blocks: what was found is larger than it holds.
    loop = asyncio.get_running_loop()
    threading.Thread(target=_heed, args=(sending, pipe, loop), daemon=True).start()
    telling = asyncio.create_task(_tell(sending, pipe))
    try:
        return await sending.run()
    finally:
        telling.cancel()


def _heed(sending: Sending, pipe: Connection, loop: asyncio.AbstractEventLoop) -> None:
    """Stop when told to, or when whoever could tell is gone."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(sending.stop)


async def _tell(sending: Sending, pipe: Connection) -> None:
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        pipe.send(sending.succeeded)
