"""The use cases: what they accept, refuse and promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import Conflict, InvalidRequest, NotFound, ServiceError, StoreUnavailable
from service.sketch_requests import check_key
from service.sketches import SampleRequest, Sketches
from sketch_core.batch import Columns
from sketch_core.codec import to_snapshot
from tests.service.rig import VECTOR, pairs, reference, rigged

MATRIX: dict[str, Any] = {
    "kind": "matrix", "shape": {"n": 100, "d": 3}, "method": "sketch", "seed": 3, "width": 64,
}  # fmt: skip
EXACT = {"kind": "vector", "shape": {"n": 50}, "method": "exact", "seed": 3}


def rows(row: list[int], values: list[list[float]]) -> Columns:
    return Columns("A", row=np.array(row), values=np.array(values))


async def values(sketches: Sketches, name: str, index: list[int]) -> list[float]:
    found, _ = await sketches.estimate("default", name, np.array(index, np.uint64))
    return [float(value) for value in found[0].value]


async def test_the_same_spec_again_is_found_and_another_refused() -> None:
    async with rigged() as [rig]:
        create = rig.sketches.create
        request: dict[str, Any] = {"kind": "vector", "shape": {"n": 1_000_000}, "ttl_seconds": 60}
        info, new = await create("default", "a", request)
        assert new
        assert info.expires_at == info.created_at + 60
        assert await create("default", "a", dict(reversed(request.items()))) == (info, False)
        assert await create("default", "a", request | {"x": None}) == (info, False)
        filled = info.spec.to_json()
        assert await create("default", "a", filled) == (info, False)
        assert await create("default", "a", filled | {"ttl_seconds": 60}) == (info, False)
        for other in ({"samples": 4}, {"ttl_seconds": 61}, {"seed": 1}, {"magnitude": 3}):
            with pytest.raises(Conflict) as caught:
                await create("default", "a", request | other)
            assert caught.value.code == "spec_differs"
        assert (await create("other", "a", request | {"samples": 4}))[1]


@pytest.mark.parametrize(
    ("request_", "code", "pointer"),
    [
        ({"kind": "vector"}, "invalid_spec", "/shape"),
        (VECTOR | {"color": 1}, "invalid_spec", "/color"),
        (VECTOR | {"ttl_seconds": 0.5}, "invalid", "/ttl_seconds"),
        (VECTOR | {"ttl_seconds": True}, "invalid", "/ttl_seconds"),
        (VECTOR | {"ttl_seconds": float("nan")}, "invalid", "/ttl_seconds"),
        (VECTOR | {"width": 1 << 20}, "sketch_too_large", "/width"),
        (VECTOR | {"repetitions": 4000}, "sketch_too_large", "/repetitions"),
        (MATRIX | {"shape": {"n": 9, "d": 9999}}, "sketch_too_large", "/shape/d"),
        (EXACT | {"shape": {"n": 1 << 20}}, "dense_too_large", "/shape/n"),
    ],
)
async def test_a_bad_spec_names_its_field(
    request_: dict[str, Any], code: str, pointer: str
) -> None:
    async with rigged(max_sketch_bytes=1 << 20, max_dense_bytes=1 << 20) as [rig]:
        with pytest.raises(InvalidRequest) as caught:
            await rig.sketches.create("default", "a", request_)
        assert (caught.value.code, caught.value.pointer) == (code, pointer)
        with pytest.raises(NotFound):
            await rig.sketches.get("default", "a")


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a" * 129, "é", "a\n", "_other"])
async def test_a_bad_name_is_refused_at_creation_and_not_found_later(name: str) -> None:
    async with rigged() as [rig]:
        with pytest.raises(InvalidRequest):
            await rig.sketches.create("default", name, VECTOR)
        with pytest.raises(NotFound):
            await rig.sketches.get("default", name)


async def test_pages_of_a_list_cover_it_once() -> None:
    async with rigged() as [rig]:
        names = sorted([f"p{i}" for i in range(5)] + ["P", "q"])
        for name in names:
            await rig.sketches.create("default", name, VECTOR)
        found: list[str] = []
        cursor = None
        for _ in range(4):
            page, cursor = await rig.sketches.list("default", limit=2, cursor=cursor)
            found += [info.name for info in page]
        assert (found, cursor) == (names, None)
        page, cursor = await rig.sketches.list("default", prefix="p", limit=5)
        assert ([info.name for info in page], cursor) == ([f"p{i}" for i in range(5)], None)
        for bad in ({"limit": 0}, {"limit": 1001}, {"cursor": "?"}, {"cursor": "AA"}):
            with pytest.raises(InvalidRequest):
                await rig.sketches.list("default", **bad)


async def test_a_key_counts_once_whatever_the_encoding_and_refuses_another_body() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        update = rig.sketches.update
        first = await update("default", "a", pairs([1, 2], [1.0, 2.0]), idempotency_key="k")
        await update("default", "a", pairs([1], [1.0]))
        narrow = Columns("y", index=np.array([1, 2], "u1"), delta=np.array([1, 2], "f4"))
        assert await update("default", "a", narrow, idempotency_key="k") == first
        assert await values(rig.sketches, "a", [1, 2]) == pytest.approx([2.0, 2.0])
        for body in (pairs([2, 1], [1.0, 2.0]), pairs([1, 2], [1.0, 2.0000001])):
            with pytest.raises(InvalidRequest) as caught:
                await update("default", "a", body, idempotency_key="k")
            assert caught.value.code == "idempotency_key_reused"
        with pytest.raises(InvalidRequest) as caught:
            await rig.sketches.merge("default", "a", "a", idempotency_key="k")
        assert caught.value.code == "idempotency_key_reused"
        for key in ("", "k" * 256, "k\n", "ä"):
            with pytest.raises(InvalidRequest) as caught:
                check_key(key, rig.settings)
            assert caught.value.code == "invalid_idempotency_key"


async def test_a_batch_is_applied_whole_or_not_at_all() -> None:
    async with rigged(max_batch_updates=1000) as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        for batch, pointer in (
            (pairs([1, 1000], [1.0, 1.0]), "/index/1"),
            (pairs([1, 2], [1.0, float("inf")]), "/delta/1"),
            (pairs([1, 2], [1.0]), "/delta"),
            (pairs(list(range(999)) + [1000], [1.0] * 1000), "/index/999"),  # in the pool
            (pairs([1] * 1001, [1.0] * 1001), ""),
        ):
            with pytest.raises(InvalidRequest) as caught:
                await rig.sketches.update("default", "a", batch)
            assert caught.value.pointer == pointer
        info = await rig.sketches.get("default", "a")
        assert (info.updates, info.log_bytes) == (0, 0)
        await rig.sketches.update("default", "a", pairs([3], [2.0**-40]))
        assert (await rig.sketches.get("default", "a")).underflowed == 1


async def test_sealed_operands_take_no_more_updates() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "m", MATRIX)
        await rig.sketches.update("default", "m", rows([1], [[1.0, 2.0, 3.0]]))
        assert (await rig.sketches.seal("default", "m", "A")).sealed == ("A",)
        assert (await rig.sketches.seal("default", "m", "A")).sealed == ("A",)
        for change in (
            rig.sketches.update("default", "m", rows([1], [[1.0, 2.0, 3.0]])),
            rig.sketches.merge("default", "m", "m"),
        ):
            with pytest.raises(Conflict) as caught:
                await change
            assert caught.value.code == "operand_sealed"
        x = Columns("x", index=np.array([0]), delta=np.array([1.0]))
        await rig.sketches.update("default", "m", x)
        assert await values(rig.sketches, "m", [1]) == pytest.approx([1.0])
        with pytest.raises(InvalidRequest):
            await rig.sketches.seal("default", "m", "y")


async def test_a_fixed_x_is_sealed_and_takes_no_updates() -> None:
    async with rigged() as [rig]:
        info, _ = await rig.sketches.create("default", "m", MATRIX | {"x": [1.0, 0.0, -1.0]})
        assert info.sealed == ("x",)
        assert (await rig.sketches.seal("default", "m", "x")).sealed == ("x",)
        await rig.sketches.update("default", "m", rows([1], [[5.0, 2.0, 3.0]]))
        assert await values(rig.sketches, "m", [1]) == pytest.approx([2.0], abs=1e-3)
        x = Columns("x", index=np.array([0]), delta=np.array([1.0]))
        with pytest.raises(InvalidRequest):
            await rig.sketches.update("default", "m", x)
        with pytest.raises(InvalidRequest):
            await rig.sketches.merge("default", "m", "m", ["x"])


async def test_merging_adds_and_with_itself_doubles() -> None:
    async with rigged() as [rig]:
        for name in ("a", "b"):
            await rig.sketches.create("default", name, VECTOR | {"ttl_seconds": 99})
        await rig.sketches.create("default", "other", VECTOR | {"seed": 8})
        await rig.sketches.update("default", "a", pairs([1], [2.0]))
        await rig.sketches.update("default", "b", pairs([1, 5], [1.0, 4.0]))
        merge = rig.sketches.merge
        first = await merge("default", "a", "b", idempotency_key="k")
        assert first.accepted == 0
        assert await merge("default", "a", "b", idempotency_key="k") == first
        assert await values(rig.sketches, "a", [1, 5]) == pytest.approx([3.0, 4.0])
        await merge("default", "a", "a")
        assert await values(rig.sketches, "a", [1, 5]) == pytest.approx([6.0, 8.0])
        with pytest.raises(Conflict) as conflict:
            await merge("default", "a", "other")
        assert conflict.value.code == "incompatible_sketches"
        with pytest.raises(NotFound) as missing:
            await merge("default", "a", "nobody")
        assert missing.value.pointer == "/source"
        for operands, pointer in (([], "/operands"), (["A"], "/operands/0")):
            with pytest.raises(InvalidRequest) as caught:
                await merge("default", "a", "b", operands)
            assert caught.value.pointer == pointer
        # The retry of a merge that was answered needs its source no more.
        await rig.sketches.delete("default", "b")
        assert await merge("default", "a", "b", idempotency_key="k") == first
        assert await values(rig.sketches, "a", [1, 5]) == pytest.approx([6.0, 8.0])


async def test_snapshots_travel_and_harmed_ones_are_refused_whole() -> None:
    async with rigged(2) as [one, two]:
        await one.sketches.create("default", "a", VECTOR)
        await one.sketches.create("default", "other", VECTOR | {"seed": 8})
        batches = [pairs([1, 900], [1.5, -2.0]), pairs([7], [1.0])]
        spec = (await one.identity("a")).spec
        elsewhere = to_snapshot(reference(spec, batches))
        add = two.sketches.add_snapshot
        first = await add("default", "a", elsewhere, idempotency_key="k")
        assert await add("default", "a", elsewhere, idempotency_key="k") == first
        assert (await one.sketches.snapshot("default", "a"))[0] == elsewhere
        for harmed in (b"", elsewhere[:-1], elsewhere[:99] + b"\x7f" + elsewhere[100:]):
            with pytest.raises(InvalidRequest) as caught:
                await add("default", "a", harmed)
            assert caught.value.code == "invalid_snapshot"
        with pytest.raises(Conflict) as conflict:
            await add("default", "other", elsewhere)
        assert conflict.value.code == "incompatible_sketches"
        assert (await one.sketches.snapshot("default", "a"))[0] == elsewhere


async def test_samples_count_their_draws() -> None:
    async with rigged(max_sample_count=100, max_queries=8) as [rig]:
        await rig.sketches.create("default", "a", VECTOR | {"repetitions": 2})
        await rig.sketches.create("default", "e", EXACT)
        await rig.sketches.create("default", "m", MATRIX)
        sample = rig.sketches.sample
        assert (await sample("default", "a", SampleRequest())).samples[0].status == "empty"
        await rig.sketches.update("default", "a", pairs([3], [1.0]))
        await rig.sketches.update("default", "e", pairs([3], [1.0]))
        await rig.sketches.update("default", "m", rows([4], [[1.0, 0.0, 2.0]]))
        answer = await sample("default", "a", SampleRequest(count=1, draw=1))
        assert (answer.draws, answer.samples[0].index.tolist()) == (2, [3])
        assert (await sample("default", "e", SampleRequest(count=1, draw=99))).draws is None
        queries = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        answer = await sample("default", "m", SampleRequest(count=1, queries=queries))
        assert [one.value.tolist() for one in answer.samples] == [
            pytest.approx([1.0]), pytest.approx([2.0]),
        ]  # fmt: skip
        for name, request, code, pointer in (
            ("a", SampleRequest(draw=2), "draws_exhausted", "/draw"),
            ("a", SampleRequest(count=0), "invalid", "/count"),
            ("a", SampleRequest(count=101), "invalid", "/count"),
            ("m", SampleRequest(count=60, queries=queries), "invalid", "/count"),
            ("m", SampleRequest(queries=np.ones((9, 3))), "too_many_queries", "/queries"),
        ):
            with pytest.raises(InvalidRequest) as caught:
                await sample("default", name, request)
            assert (caught.value.code, caught.value.pointer) == (code, pointer)
        for name, refused in (("m", None), ("a", queries), ("m", np.ones((1, 2)))):
            with pytest.raises(InvalidRequest):
                await sample("default", name, SampleRequest(count=1, queries=refused))


async def test_the_specs_own_count_keeps_to_the_limit() -> None:
    async with rigged(max_sample_count=20) as [rig]:
        await rig.sketches.create("default", "a", EXACT | {"samples": 21})
        await rig.sketches.create("default", "m", MATRIX | {"samples": 11})
        two = np.eye(3)[:2]
        for name, queries in (("a", None), ("m", two)):
            with pytest.raises(InvalidRequest) as caught:
                await rig.sketches.sample("default", name, SampleRequest(queries=queries))
            assert (caught.value.code, caught.value.pointer) == ("invalid", "/count")
            assert rig.steps.calls["read"] == 0  # refused before the work
        await rig.sketches.sample("default", "m", SampleRequest(count=10, queries=two))


async def test_the_store_is_asked_once_whether_a_sketch_is_there() -> None:
    async with rigged(2) as [rig, other]:
        with pytest.raises(NotFound):
            await rig.sketches.check_known("default", "a")
        await other.sketches.create("default", "a", VECTOR)
        asked = rig.steps.calls["get"]
        for _ in range(3):
            await rig.sketches.check_known("default", "a")
        assert rig.steps.calls["get"] == asked + 1
        await rig.sketches.delete("default", "a")
        with pytest.raises(NotFound):
            await rig.sketches.check_known("default", "a")


async def test_a_deleted_or_expired_sketch_is_gone_everywhere() -> None:
    async with rigged(2) as [one, two]:
        for name in ("a", "b"):
            await one.sketches.create("default", name, VECTOR | {"ttl_seconds": 10})
            for rig in (one, two):
                await rig.sketches.update("default", name, pairs([1], [1.0]))
                await rig.sketches.norm("default", name)
        info = await two.sketches.set_ttl("default", "b", None)
        assert info.expires_at is None
        one.clock.time += 11.0
        await two.sketches.delete("default", "b")
        index = np.array([1], np.uint64)
        for name in ("a", "b"):
            for rig in (one, two):
                for call in (
                    rig.sketches.get("default", name),
                    rig.sketches.delete("default", name),
                    rig.sketches.set_ttl("default", name, 5.0),
                    rig.sketches.seal("default", name, "y"),
                    rig.sketches.update("default", name, pairs([1], [1.0])),
                    rig.sketches.merge("default", name, name),
                    rig.sketches.sample("default", name, SampleRequest()),
                    rig.sketches.estimate("default", name, index),
                    rig.sketches.norm("default", name),
                    rig.sketches.snapshot("default", name),
                    rig.sketches.add_snapshot("default", name, b""),
                ):
                    with pytest.raises(NotFound):
                        await call


@pytest.mark.parametrize(
    ("request_", "method", "reason"),
    [
        ({"kind": "vector", "shape": {"n": 1 << 30}}, "sketch", "takes"),
        ({"kind": "vector", "shape": {"n": 100}}, "exact", "take 800 bytes"),
        ({"kind": "vector", "shape": {"n": 100}, "method": "sketch"}, "exact", "take 800 bytes"),
        ({"kind": "vector", "shape": {"n": 99}, "distribution": {"power": 3}}, "exact", "powers"),
        (
            {"kind": "vector", "shape": {"n": 99}, "distribution": {"softmax": {}}},
            "exact",
            "softmax",
        ),
    ],
)
async def test_a_plan_advises_and_says_why(
    request_: dict[str, Any], method: str, reason: str
) -> None:
    async with rigged(max_sketch_bytes=1000) as [rig]:
        plan = rig.sketches.plan(request_ | {"ttl_seconds": 60})
        assert plan["advice"]["method"] == method
        assert reason in plan["advice"]["reason"]
        assert plan["fits"] == (plan["memory_bytes"] <= plan["limit_bytes"])
        assert plan["exact_memory_bytes"] == 8 * request_["shape"]["n"]
        if plan["method"] == "sketch":
            assert plan["levels"] >= 1
            assert plan["expected_errors"]
            assert plan["largest_value"] >= plan["spec"]["magnitude"]


async def test_only_service_errors_leave_the_use_cases() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        index = np.array([1000], np.uint64)
        for call in (
            rig.sketches.estimate("default", "a", index),
            rig.sketches.norm("default", "a", 7.0),
            rig.sketches.norm("default", "a", float("nan")),
            rig.sketches.sample("default", "a", SampleRequest(draw=-1)),
            rig.sketches.estimate("default", "a", index, np.ones((1, 1))),
        ):
            with pytest.raises(ServiceError):
                await call


async def test_every_answer_says_whether_its_state_is_exact_and_so_does_info_afterwards() -> None:
    """2^21 at a quantum of 2^-40 takes 61 bits: eight of them wrap a cell."""
    spec = EXACT | {"quantum_bits": 40, "magnitude": 1 << 21}
    one = np.array([3], np.uint64)
    async with rigged(2) as [rig, other]:
        await rig.sketches.create("default", "a", spec)
        for count in range(8):
            await rig.sketches.update("default", "a", pairs([3], [2.0**21]))
            if count == 0:
                assert (await rig.sketches.sample("default", "a", SampleRequest())).exact
        assert not (await rig.sketches.sample("default", "a", SampleRequest())).exact
        assert not (await rig.sketches.estimate("default", "a", one))[0][0].exact
        assert not (await rig.sketches.norm("default", "a"))[0][0].exact
        # The other replica has folded nothing, as after a restart.
        for replica_ in (rig, other):
            assert not (await replica_.sketches.get("default", "a")).exact
        await rig.sketches.sample("default", "a", SampleRequest())
        assert rig.steps.calls["mark_inexact"] == 1


async def test_a_store_that_cannot_note_lost_exactness_is_told_again() -> None:
    async def unavailable() -> None:
        raise StoreUnavailable("the disk is full")

    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", EXACT | {"quantum_bits": 40, "magnitude": 1})
        for _ in range(8):
            await rig.sketches.update("default", "a", pairs([3], [2.0**21]))
        rig.steps.before["mark_inexact"] = unavailable
        assert not (await rig.sketches.sample("default", "a", SampleRequest())).exact
        assert (await rig.sketches.get("default", "a")).exact
        del rig.steps.before["mark_inexact"]
        assert not (await rig.sketches.sample("default", "a", SampleRequest())).exact
        assert not (await rig.sketches.get("default", "a")).exact
