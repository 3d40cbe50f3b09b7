"""The parts of a batch request: each served on its own, many at a time, none of them in a hurry.

A request may have thousands of parts. Those that wait for the store wake together, and
what each then does takes tens of microseconds; one after another without a pause they
would keep the event loop from every other request. So they take turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from service import problems
from service.errors import InvalidRequest, ServiceError
from service.http_context import Served

Asked = TypeVar("Asked")
#: A sketch's name as sent, and what is asked of it or what is wrong with that.
Part = tuple[str | None, Asked | InvalidRequest]
Serve = Callable[[int, str, Asked], Awaitable[dict[str, Any]]]

#: Parts work on the event loop for about this long before all else gets a turn.
_TURN_SECONDS: Final = 0.0005


class Turns:
    """Lets the event loop serve others between turns, however many tasks ask for one."""

    def __init__(self) -> None:
        self._next = asyncio.Lock()
        self._until = 0.0

    async def turn(self) -> None:
        """Return when the caller may work for a moment."""
        if time.perf_counter() < self._until:
            return
        async with self._next:  # one by one: a turn that has begun meanwhile is shared
            if time.perf_counter() >= self._until:
                await asyncio.sleep(0)
                self._until = time.perf_counter() + _TURN_SECONDS


async def each_part(
    context: Served, field: str, parts: Sequence[Part[Asked]], serve: Serve[Asked]
) -> list[dict[str, Any]]:
    """The result of every part, in order.

    Parts of one sketch are served one after another, so that they take effect in order.
    field: the name of the list in the body, where pointers begin.
    """
    results: list[dict[str, Any]] = [{} for _ in parts]
    of_sketch: dict[str | None, list[int]] = {}
    for at, (name, _) in enumerate(parts):
        of_sketch.setdefault(name, []).append(at)
    turns = Turns()

    async def serve_from(lines: Iterator[list[int]]) -> None:
        for line in lines:
            for at in line:
                await turns.turn()
                results[at] = await _serve_part(context, field, at, parts[at], serve)

    lines = iter(of_sketch.values())  # of all workers: each takes what is next
    async with asyncio.TaskGroup() as group:
        for _ in range(min(len(of_sketch), context.settings.request_parts_at_once)):
            group.create_task(serve_from(lines))
    return results


async def _serve_part(
    context: Served, field: str, at: int, part: Part[Asked], serve: Serve[Asked]
) -> dict[str, Any]:
    name, asked = part
    if isinstance(asked, InvalidRequest):
        context.metrics.part_refused("update" if field == "updates" else "sample", asked)
        return _refused(context, name, asked, f"/{field}/{at}")
    assert name is not None
    try:
        return {"sketch": name, "status": 200, **await serve(at, name, asked)}
    except ServiceError as error:
        return _refused(context, name, error, f"/{field}/{at}")


def _refused(
    context: Served, name: str | None, error: ServiceError, pointer: str
) -> dict[str, Any]:
    context.metrics.rejected(error.code)
    return {
        "sketch": name,
        "status": problems.status_of(error),
        "problem": problems.body_of(error, pointer),
    }
