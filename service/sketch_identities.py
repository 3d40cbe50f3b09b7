"""Which sketch a name means right now, remembered so that a request need not ask the store first.

Only parts that never change for one incarnation are remembered. Whether the
incarnation still exists is checked by the store within each operation; a
request that fails against a remembered one is tried once more against the
present one, in case the name was deleted and created anew, here or elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from service.errors import Conflict, InvalidRequest, NotFound
from service.materializer import Identity
from service.pool import BoundedPool
from service.ports import Record, SketchKey, Store
from sketch_core.spec import Spec

P = ParamSpec("P")
T = TypeVar("T")

#: Remembered specs, by weight: a fixed x is the only part of a spec that can be long.
_WEIGHT_LIMIT: Final = 1 << 20
_SPEC_WEIGHT: Final = 64

#: Records of a page looked at before all else on the event loop gets a turn.
_RECORDS_A_TURN: Final = 64
#: Stored specs up to this many bytes are decoded on the event loop: a thread would cost more.
_INLINE_BYTES: Final = 16 << 10


def _weight(identity: Identity) -> int:
    return _SPEC_WEIGHT + len(identity.spec.x or ())


def is_long(record: Record) -> bool:
    """Whether decoding the record's spec would hold the event loop up."""
    return len(record.spec) > _INLINE_BYTES


async def off_loop(
    pool: BoundedPool, long: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run in the pool what takes long, and the rest at once."""
    if long:
        return await pool.run(function, *args, **kwargs)
    return function(*args, **kwargs)


class Identities:
    """The remembered identities, least recently used first.

    Touched on the event loop only; the pool decodes long specs and nothing else.
    """

    def __init__(self, store: Store, pool: BoundedPool) -> None:
        self._store = store
        self._pool = pool
        self._known: OrderedDict[SketchKey, Identity] = OrderedDict()
        self._weight = 0

    async def act(self, key: SketchKey, attempt: Callable[[Identity], Awaitable[T]]) -> T:
        """`attempt` with the identity of a name; a second time if the first was out of date.

        An attempt that raises must not have changed anything. Raises NotFound.
        """
        known = self._known.get(key)
        if known is None:
            return await attempt(await self._load(key))
        self._known.move_to_end(key)
        try:
            return await attempt(known)
        except (NotFound, InvalidRequest, Conflict):
            current = await self._load(key)
            if current == known:
                raise
        return await attempt(current)

    async def of(self, record: Record) -> Identity:
        """The identity of a record, remembered from now on."""
        known = self._remembered(record)
        if known is not None:
            return known
        spec = await off_loop(self._pool, is_long(record), Spec.from_bytes, record.spec)
        known = self._remembered(record)  # perhaps by another request meanwhile
        if known is not None:
            return known
        self.forget(record.key)
        identity = Identity(record.key, record.incarnation, spec)
        self._known[record.key] = identity
        self._weight += _weight(identity)
        while self._weight > _WEIGHT_LIMIT and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._weight -= _weight(oldest)
        return identity

    async def of_page(self, records: Sequence[Record]) -> list[Identity]:
        """The identities of a page of a list."""
        identities = []
        for at, record in enumerate(records):
            if at % _RECORDS_A_TURN == 0:
                await asyncio.sleep(0)
            identities.append(await self.of(record))
        return identities

    def _remembered(self, record: Record) -> Identity | None:
        known = self._known.get(record.key)
        if known is None or known.incarnation != record.incarnation:
            return None
        self._known.move_to_end(record.key)
        return known

    def forget(self, key: SketchKey) -> Identity | None:
        """Drop what is remembered of a name, and return it."""
        identity = self._known.pop(key, None)
        if identity is not None:
            self._weight -= _weight(identity)
        return identity

    async def check(self, key: SketchKey) -> None:
        """Raise NotFound if the name is neither remembered nor stored."""
        if key not in self._known:
            await self._load(key)

    async def record(self, key: SketchKey) -> Record:
        """The record as it is now. Raises NotFound."""
        record = await self._store.get(key)
        if record is None:
            self.forget(key)
            raise no_such_sketch()
        return record

    async def _load(self, key: SketchKey) -> Identity:
        return await self.of(await self.record(key))


def no_such_sketch() -> NotFound:
    """The one answer for what does not exist."""
    return NotFound("no such sketch")
