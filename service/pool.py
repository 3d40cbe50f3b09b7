"""A bounded pool of threads for numpy work, so that the event loop never computes.

numpy lets go of the interpreter lock in most of what folding and decoding do.
What does not fit in the queue is refused at once: a queue without a bound only
moves the refusal to the caller's timeout.

Tenants wait in lines of their own and take turns, so that one which floods the pool
makes another wait for the jobs that run, not for all that it has queued. A full queue
gives the last place of the longest line to a tenant whose line is shorter. A tenant
that is alone has all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from service.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")

#: Whose line the jobs of the present task wait in. Set by the transports for each request; a
#: task that is started meanwhile (a catch-up, a compaction) works for the same tenant's sketch.
_tenant: ContextVar[str] = ContextVar("pool_tenant", default="")


def working_for(tenant: str) -> None:
    """From now on jobs of the current task, and of those it starts, wait in this tenant's line."""
    _tenant.set(tenant)


class _Job:
    """A call and its outcome, for a caller on an event loop.

    begun: a thread has taken it; changes under the pool's lock. The outcome goes to the loop in
    one callback: a concurrent Future, chained and shielded, took as long as all else in here.
    """

    __slots__ = ("_call", "_loop", "_outcome", "_over", "_waiter", "begun", "tenant")

    def __init__(self, tenant: str, call: Callable[[], Any]) -> None:
        self.tenant = tenant
        self.begun = False
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Any] = self._loop.create_future()
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    def work(self) -> Callable[[], None]:
        """Call. Returns what tells the caller of it."""
        try:
            told = partial(self._settle, self._call(), None)
        except BaseException as failure:  # noqa: BLE001 - the caller's
            told = partial(self._settle, None, failure)
        return partial(self._tell, told)

    def refuse(self, failure: Overloaded) -> None:
        """What was not begun will not be: tell the caller why."""
        self._tell(partial(self._settle, None, failure))

    def drop(self) -> None:
        """The same, by cancelling."""
        self._tell(self._outcome.cancel)

    async def outcome(self) -> Any:
        """What the call returned or raised. Cancelled, this says nothing about the call."""
        return await self._outcome

    async def over(self) -> None:
        """Return once a call that has begun is over, however often the waiter is cancelled."""
        while not self._over:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                continue

    def _tell(self, told: Callable[[], object]) -> None:
        """Have it called on the caller's loop. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(told)

    def _settle(self, answer: Any, failure: BaseException | None) -> None:
        self._over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._outcome.done():
            return
        if failure is None:
            self._outcome.set_result(answer)
        elif isinstance(failure, StopIteration):
            # Which no future takes, and whoever waited would wait for ever.
            self._outcome.set_exception(RuntimeError("the call raised StopIteration"))
        else:
            self._outcome.set_exception(failure)


class _Lines:
    """Jobs that wait, a line a tenant; whose turn it is stands first."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[_Job]] = OrderedDict()
        self.length = 0

    def add(self, job: _Job) -> None:
        self._lines.setdefault(job.tenant, deque()).append(job)
        self.length += 1

    def next(self) -> _Job | None:
        """The first of the tenant whose turn it is, which then is the last to have one."""
        if not self._lines:
            return None
        tenant, line = self._lines.popitem(last=False)
        job = line.popleft()
        if line:
            self._lines[tenant] = line
        self.length -= 1
        return job

    def remove(self, job: _Job) -> None:
        """Take a job back; nothing happens if it does not wait."""
        line = self._lines.get(job.tenant, ())
        if job in line:
            line.remove(job)  # type: ignore[union-attr]
            self.length -= 1
            if not line:
                del self._lines[job.tenant]

    def clear(self) -> list[_Job]:
        """Take all back."""
        found = [job for line in self._lines.values() for job in line]
        self._lines.clear()
        self.length = 0
        return found

    def yield_place(self, tenant: str) -> _Job | None:
        """The last job of the longest line, taken back, if the tenant's line is shorter even with
        one more."""
        longest = max(self._lines.values(), key=len, default=deque())
        if len(longest) <= len(self._lines.get(tenant, ())) + 1:
            return None
        self.length -= 1
        return longest.pop()


class BoundedPool:
    """Threads and a bounded queue before them, shared fairly.

    depth_changed: told the number of unfinished jobs after each change, from any thread.
    """

    def __init__(
        self,
        threads: int,
        queue: int,
        *,
        retry_after: float = 1.0,
        depth_changed: Callable[[int], None] | None = None,
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="sketchd-pool")
        self._threads = threads
        self._limit = threads + queue
        self._retry_after = retry_after
        self._depth_changed = depth_changed
        self._lock = threading.Lock()
        self._busy = 0  # threads at work or about to be
        self._running = 0
        self._lines = _Lines()

    @property
    def unfinished(self) -> int:
        """Jobs queued or running."""
        return self._running + self._lines.length

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in a thread and wait. Raises Overloaded when the queue is full.

        When this returns or raises, cancellation included, the function is not
        running: what it reads may then be changed. A cancelled caller's job is
        dropped while it is queued and waited for once it runs.
        """
        # In the caller's context, so that log lines name its request.
        call = partial(copy_context().run, partial(function, *args, **kwargs))
        job = _Job(_tenant.get(), call)
        self._enter(job)
        try:
            answer: T = await job.outcome()
        except asyncio.CancelledError:
            if not self._forget(job):
                await job.over()
            raise
        return answer

    def close(self) -> None:
        """Refuse new jobs, drop queued ones, wait for running ones."""
        self._executor.shutdown(wait=False)
        with self._lock:
            dropped = self._lines.clear()
        for job in dropped:
            job.drop()
        self._executor.shutdown(wait=True)
        self._tell()

    def _enter(self, job: _Job) -> None:
        """Put the job into its line, and a thread to work if one is at rest. Raises Overloaded."""
        dropped = None
        with self._lock:
            if self.unfinished >= self._limit:
                dropped = self._lines.yield_place(job.tenant)
                if dropped is None:
                    raise self._overloaded()
            if self._busy < self._threads:
                # Without the job: the executor would keep it for as long as the thread has work.
                self._executor.submit(self._work)
                self._busy += 1
            self._lines.add(job)
        if dropped is not None:
            dropped.refuse(self._overloaded())
        self._tell()

    def _work(self) -> None:
        """What a thread does: one job after another until nobody waits."""
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """One job, whose arguments and outcome nobody here keeps afterwards; whether there was."""
        with self._lock:
            job = self._lines.next()
            if job is None:
                self._busy -= 1
                return False
            job.begun = True
            self._running += 1
        tell = job.work()
        with self._lock:
            self._running -= 1
        self._tell()
        tell()  # only now: who hears of it finds the place free
        return True

    def _forget(self, job: _Job) -> bool:
        """Take a job back. Returns whether that was possible: it has not begun and never will."""
        with self._lock:
            if job.begun:
                return False
            self._lines.remove(job)
        self._tell()
        return True

    def _overloaded(self) -> Overloaded:
        return Overloaded("too many requests wait for a thread", retry_after=self._retry_after)

    def _tell(self) -> None:
        if self._depth_changed is not None:
            self._depth_changed(self.unfinished)
