"""A buffer before a real service whose answers get lost: every increment counts once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from service.client import AsyncClient, Client, Retry
from service.client.buffer import UpdateBuffer
from service.client.buffer_async import AsyncUpdateBuffer
from service.client.buffer_errors import UpdatesPending, UpdatesRefused
from tests.client import rig
from tests.client.proxy import Proxy, between

#: The client tries as little as it can: what is tried again is the buffer's doing.
ONCE = Retry(attempts=1)
SPEC = {**rig.SMALL, "method": "sketch"}
#: Long enough for anything that is to happen, and then the test fails.
PATIENCE = 60.0
STRIKES = 4


def _parts(rng: np.random.Generator) -> Any:
    """What four callers add: (4, 100) coordinates and increments."""
    return list(zip(rng.integers(0, 1000, (4, 100)), rng.normal(size=(4, 100)), strict=True))


def _expect(direct: Client, names: list[str], parts: Any) -> None:
    """Check that every sketch holds each increment once, bit by bit."""
    twin = direct.create(f"{names[0]}-twin", SPEC)
    for index, delta in parts:
        twin.update(index, delta)
    for name in names:
        sketch = direct.sketch(name)
        assert sketch.info().updates == 400
        assert sketch.snapshot().data == twin.snapshot().data


def _strike(proxy: Proxy, direct: Client, names: list[str], where: str) -> None:
    marker = names[0][:-2].encode()
    if where == "before":
        proxy.cut_before(marker, times=STRIKES)
    else:
        proxy.lose_answer(
            marker, lambda: any(direct.sketch(name).info().updates for name in names), STRIKES
        )


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
@pytest.mark.parametrize("where", ["before", "after"])
def test_threads_count_once_however_often_the_network_fails(
    service: Any, name: str, transport: str, where: str, rng: np.random.Generator
) -> None:
    names, parts = [f"{name}-a", f"{name}-b"], _parts(rng)
    with (
        Client(rig.url_of(service, "http")) as direct,
        between(rig.port_of(service, transport)) as proxy,
        Client(f"{transport}://127.0.0.1:{proxy.port}", retry=ONCE) as client,
    ):
        for one in names:
            direct.create(one, SPEC)
        _strike(proxy, direct, names, where)
        with UpdateBuffer(client, max_updates=50, max_delay=0.005, max_pending=200) as buffer:

            def run(index: Any, delta: Any) -> None:
                for at in range(len(index)):
                    for one in names:
                        buffer.add(one, index[at : at + 1], delta[at : at + 1])

            threads = [threading.Thread(target=run, args=part) for part in parts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()
            buffer.flush(PATIENCE)
            assert (buffer.sent, buffer.pending, buffer.refused) == (800, 0, 0)
        assert proxy.struck == STRIKES
        _expect(direct, names, parts)


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
async def test_tasks_count_once_however_often_the_network_fails(
    service: Any, name: str, transport: str, rng: np.random.Generator
) -> None:
    names, parts = [f"{name}-a", f"{name}-b"], _parts(rng)
    with (
        Client(rig.url_of(service, "http")) as direct,
        between(rig.port_of(service, transport)) as proxy,
    ):
        for one in names:
            direct.create(one, SPEC)
        _strike(proxy, direct, names, "after")
        async with (
            asyncio.timeout(PATIENCE),
            AsyncClient(f"{transport}://127.0.0.1:{proxy.port}", retry=ONCE) as client,
            AsyncUpdateBuffer(client, max_updates=50, max_delay=0.005, max_pending=200) as buffer,
        ):

            async def run(index: Any, delta: Any) -> None:
                for at in range(len(index)):
                    for one in names:
                        await buffer.add(one, index[at : at + 1], delta[at : at + 1])

            await asyncio.gather(*(run(*part) for part in parts))
            await buffer.flush(PATIENCE)
            assert (buffer.sent, buffer.pending, buffer.refused) == (800, 0, 0)
        assert proxy.struck == STRIKES
        _expect(direct, names, parts)


def test_a_flush_after_an_outage_sends_what_waited(
    service: Any, name: str, rng: np.random.Generator
) -> None:
    with (
        Client(rig.url_of(service, "http")) as direct,
        between(rig.port_of(service, "http")) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", retry=ONCE) as client,
    ):
        sketch = direct.create(name, SPEC)
        proxy.cut_before(b"/updates", times=10**6)
        with UpdateBuffer(client) as buffer:
            buffer.add(name, [1], [2.0])
            with pytest.raises(UpdatesPending):
                buffer.flush()
            buffer.add(name, [1], [3.0])
            proxy.cut_before(b"", times=0)
            buffer.flush(PATIENCE)
        assert sketch.estimate([1]).value.tolist() == [5.0]


def test_a_real_refusal_drops_its_batch_and_no_other(service: Any, name: str) -> None:
    with Client(rig.url_of(service, "http")) as client:
        sketch = client.create(name, rig.MATRIX)
        buffer = UpdateBuffer(client)
        buffer.add_rows(name, [1], [[1.0, 2.0, 3.0, 4.0]])
        buffer.add_rows(name, [1], [[1.0, 2.0]])
        buffer.add_entries(f"{name}-gone", [1], [1], [1.0])
        buffer.add(name, [0], [1.0], operand="x")
        with pytest.raises(UpdatesRefused) as raised:
            buffer.flush()
        refused = {(one.sketch, getattr(one.error, "code", "")) for one in raised.value.refusals}
        assert refused == {(name, "invalid"), (f"{name}-gone", "sketch_not_found")}
        assert (buffer.sent, buffer.refused, buffer.pending) == (5, 3, 0)
        buffer.close()
        assert sketch.estimate([1]).value.tolist() == [1.0]
