"""Deleting sketches of the Redis store: everything of one incarnation, and then its place."""

from __future__ import annotations

from typing import Final

from service.errors import StoreUnavailable
from service.ports import SketchKey
from service.redis_connection import RedisConnection
from service.redis_index import Index
from service.redis_layout import Layout, newer_format, number
from service.redis_scripts import load

_DELETE: Final = load("delete")
#: How often new large parts may turn up between looking and deleting.
_ATTEMPTS: Final = 32


class Removal:
    """Removes sketches by name and incarnation, so that a later one of the name stays."""

    def __init__(self, redis: RedisConnection, layout: Layout, index: Index) -> None:
        self._redis = redis
        self._layout = layout
        self._index = index

    async def remove(
        self,
        key: SketchKey,
        incarnation: str,
        *,
        expired_by: float | None = None,
        vacate: bool = True,
    ) -> bool:
        """Returns whether that incarnation is gone now.

        expired_by: only if it has expired by then. vacate: give back its place too; False
        where another incarnation is about to take it.
        """
        for _ in range(_ATTEMPTS):
            word = await self._try(key, incarnation, expired_by)
            if word == b"kept":
                return False
            if word != b"changed":
                if vacate:
                    await self._index.vacate(key, incarnation)
                return True
        raise StoreUnavailable(f"the sketch {key.name!r} changes too fast to be deleted")

    async def _try(self, key: SketchKey, incarnation: str, expired_by: float | None) -> bytes:
        keys = self._layout.sketch(key)
        attached, state = await self._redis.commands(
            [("ZRANGE", keys.attachments, 0, -1), ("HGET", keys.sketch, "B")], writes=False
        )
        parts = [*attached, state] if state else attached
        answer = await self._redis.run(
            _DELETE,
            [*keys.fixed, *parts],
            [incarnation, len(attached), int(bool(state)), number(expired_by)],
            writes=True,
        )
        word: bytes = answer[0]
        if word == b"newer":
            raise newer_format(answer[1].decode(errors="replace"))
        return word
