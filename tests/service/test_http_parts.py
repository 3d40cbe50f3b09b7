"""The parts of a batch request leave the event loop to others."""

from __future__ import annotations

import asyncio
import gc
import json
import time

from service import request_bodies
from service.errors import InvalidRequest
from service.http_parts import Turns

WORK_SECONDS = 0.0002


async def test_turns_let_others_run_between() -> None:
    turns = Turns()
    beats = served = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def work() -> None:
        nonlocal served
        for _ in range(5):
            await turns.turn()
            until = time.perf_counter() + WORK_SECONDS
            while time.perf_counter() < until:
                pass
            served += 1

    beating = asyncio.create_task(beat())
    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(work())
    beating.cancel()
    assert served == 200
    # Without turns 40 would work between two beats, and there would be five or so beats.
    assert beats >= served / 5


def test_errors_of_parts_are_no_garbage_that_circles() -> None:
    part = {"sketch": "v", "index": [1], "delta": [None]}
    body = json.dumps({"updates": [part] * 50}).encode()
    gc.collect()
    gc.disable()
    try:
        found = request_bodies.updates_from_json(body, 50)
        assert all(isinstance(one, InvalidRequest) for _, one in found)
        del found
        assert gc.collect() == 0
    finally:
        gc.enable()
