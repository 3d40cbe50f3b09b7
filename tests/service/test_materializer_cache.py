"""What the cache of folded states must not keep, and must not lose."""

from __future__ import annotations

import asyncio

from tests.service.rig import VECTOR, Rig, pairs, rigged


async def seen(rig: Rig, name: str) -> int:
    """The position a read of the sketch sees."""
    async with rig.materializer.at_head(await rig.identity(name)) as version:
        return version.position


async def test_a_version_of_a_sketch_deleted_during_its_catch_up_is_not_cached() -> None:
    async with rigged() as [rig]:
        await rig.sketches.create("default", "a", VECTOR)
        for _ in range(3):
            await rig.sketches.update("default", "a", pairs([1], [1.0]))
        identity = await rig.identity("a")
        release, reached = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            reached.set()
            await release.wait()

        rig.steps.after["read"] = hold
        reading = asyncio.create_task(seen(rig, "a"))
        await reached.wait()
        await rig.sketches.update("default", "a", pairs([1], [1.0]))  # remembers the identity
        await rig.sketches.delete("default", "a")
        release.set()
        assert await reading == 3  # asked before the deletion, and answered from before it
        assert rig.cached(identity) is None
        assert rig.materializer.cached_bytes == 0


async def test_a_version_larger_than_the_cache_leaves_the_others_there() -> None:
    async with rigged(cache_bytes=64_000) as [rig]:
        for name in "ab":
            await rig.sketches.create("default", name, VECTOR | {"width": 8})
            await seen(rig, name)
        small = [await rig.identity(name) for name in "ab"]
        held_bytes = rig.materializer.cached_bytes
        assert 0 < held_bytes <= 64_000
        await rig.sketches.create("default", "large", VECTOR | {"width": 1 << 12})
        large = await rig.identity("large")
        assert large.spec.memory_bytes > 64_000
        await rig.sketches.update("default", "large", pairs([1], [1.0]))
        assert await seen(rig, "large") == 1
        assert rig.cached(large) is None
        assert all(rig.cached(identity) is not None for identity in small)
        assert rig.materializer.cached_bytes == held_bytes
