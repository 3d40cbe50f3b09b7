"""How many messages may be arriving and how many streams be open, and whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import queue

import grpc
import pytest

from service.errors import Overloaded
from service.grpc_places import Places
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings
from tests.service.grpc_rig import Both, refused, serving, vector
from tests.service.test_grpc_messages import Holding


async def test_those_that_wait_take_turns() -> None:
    places = Places(2, 1.0, "things")
    order: list[str] = []

    async def visit(tenant: str) -> None:
        async with places.place_within(tenant, 20):
            order.append(tenant)

    with places.place("a"), places.place("a"):
        visits = [asyncio.create_task(visit(one)) for one in ("a", "a", "a", "b")]
        await asyncio.sleep(0.01)
        assert order == []
    await asyncio.gather(*visits)
    assert order == ["a", "b", "a", "a"]
    assert places.taken == 0


async def test_a_tenant_has_its_share_once_there_are_several() -> None:
    places = Places(4, 0.5, "things")
    with contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(places.place("a"))
    with places.place("b"), places.place("a"), places.place("a"):
        with pytest.raises(Overloaded, match="too many things"), places.place("a"):
            pass
        with pytest.raises(Overloaded):
            async with places.place_within("a", 0.01):
                pass
        async with places.place_within("b", 0.01):
            assert places.taken == 4
    assert places.taken == 0


async def test_who_gives_up_leaves_no_trace() -> None:
    places = Places(1, 1.0, "things")

    async def visit() -> None:
        async with places.place_within("a", 20):
            pass

    with places.place("a"):
        visits = [asyncio.create_task(visit()) for _ in range(3)]
        await asyncio.sleep(0.01)
        visits[0].cancel()
        await asyncio.sleep(0.01)
    visits[1].cancel()  # at the very moment at which its turn has come
    await asyncio.gather(*visits, return_exceptions=True)
    assert visits[2].exception() is None
    assert places.taken == 0
    assert places._waiting == {}


def test_messages_that_do_not_come_leave_places_for_few_others() -> None:
    settings = Settings(store="memory://", grpc_arriving_messages=2, body_seconds=0.5)
    with serving(settings) as both:
        both.make("v")
        held = [Holding(both, "Update", None) for _ in range(2)]
        _settle(both)
        failure = refused(lambda: both.stub.Update(vector("v", [1], [1.0]), timeout=20))
        assert (failure.status, failure.code) == (grpc.StatusCode.UNAVAILABLE, "overloaded")
        held[0].let.set()
        assert both.stub.Update(vector("v", [1], [1.0]), timeout=20).accepted == 1
        held[1].let.set()


def test_streams_have_a_limit() -> None:
    with serving(Settings(store="memory://", grpc_open_streams=1)) as both:
        both.make("v")
        sent: queue.Queue[pb.UpdateRequest | None] = queue.Queue()
        results = both.stub.UpdateStream(iter(sent.get, None), timeout=20)
        sent.put(vector("v", [1], [1.0]))
        assert next(results).response.accepted == 1
        more = both.stub.SampleStream(iter([pb.SampleRequest(sketch="v")]), timeout=20)
        assert refused(lambda: next(more)).code == "overloaded"
        sent.put(None)
        assert list(results) == []
        [result] = both.stub.SampleStream(iter([pb.SampleRequest(sketch="v")]), timeout=20)
        assert result.response.index == [1]


def _settle(both: Both) -> None:
    """Let the service take in what was just sent."""
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), both.loop).result(20)
