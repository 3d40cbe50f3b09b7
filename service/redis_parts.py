"""Large values of the Redis store: in chunks, staged under keys of their own.

One command with an argument of many megabytes stops a Redis server for as long
as it takes to copy it; chunks let others in between. A part is written before
anything refers to it and expires by itself if nothing ever does; the script
that refers to it checks that it is whole and makes it stay.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from service.errors import StoreUnavailable
from service.redis_connection import Script
from service.redis_layout import SketchKeys
from service.redis_scripts import load

_STAGE: Final = load("stage")
#: About 2 ms of a busy server each; and from 65 chunks on Redis frees a part in the background.
CHUNK_BYTES: Final = 1 << 18
#: How long a part that nothing refers to is kept.
_STAGED_SECONDS: Final = 3600
#: How long a part that was not written whole keeps its failure from being told.
_DISCARD_SECONDS: Final = 1.0


class Commands(Protocol):
    """What this needs of a connection."""

    async def commands(self, batch: Sequence[tuple[Any, ...]], *, writes: bool) -> list[Any]: ...

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[bytes | str | int | float],
        *,
        writes: bool,
    ) -> Any: ...


def chunk_count(content: bytes) -> int:
    """How many chunks; even nothing is one."""
    return max(1, -(-len(content) // CHUNK_BYTES))


async def stage(redis: Commands, keys: SketchKeys, content: bytes) -> str:
    """Write a part and return its key. A chunk written twice is written once.

    Replicas are not waited for: the script that refers to the part comes later in the same
    stream of replication, and is. What cannot be written whole is removed at once: on a server
    that is full it would keep everybody from writing for as long as it lasts.
    """
    key = keys.part(secrets.token_hex(12))
    view = memoryview(content)
    try:
        for at in range(chunk_count(content)):
            chunk = bytes(view[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES])
            await redis.run(_STAGE, [key], [at, chunk, _STAGED_SECONDS], writes=False)
    except BaseException:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                await discard(redis, key)
        raise
    return key


async def fetch(redis: Commands, key: str, chunks: int) -> bytes | None:
    """A part, whole; None when it is gone, wholly or partly."""
    found: list[bytes] = []
    for at in range(chunks):
        ((chunk,),) = await redis.commands([("HMGET", key, str(at))], writes=False)
        if chunk is None:
            return None
        found.append(chunk)
    return found[0] if len(found) == 1 else b"".join(found)


async def discard(redis: Commands, key: str) -> None:
    """Remove a staged part that nothing refers to."""
    await redis.commands([("UNLINK", key)], writes=False)
