"""Which sketch a name means right now, remembered so that a request need not ask the store first.

Only parts that never change for one incarnation are remembered. Whether the
incarnation still exists is checked by the store within each operation; a
request that fails against a remembered one is tried once more against the
present one, in case the name was deleted and created anew, here or elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from service.errors import Conflict, InvalidRequest, NotFound
from service.materializer import Identity
from service.ports import Record, SketchKey, Store
from sketch_core.spec import Spec

T = TypeVar("T")

#: Remembered specs, by weight: a fixed x is the only part of a spec that can be long.
_WEIGHT_LIMIT: Final = 1 << 20
_SPEC_WEIGHT: Final = 64


def _weight(identity: Identity) -> int:
    return _SPEC_WEIGHT + len(identity.spec.x or ())


class Identities:
    """The remembered identities, least recently used first."""

    def __init__(self, store: Store) -> None:
        self._store = store
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

    def of(self, record: Record) -> Identity:
        """The identity of a record, remembered from now on."""
        known = self._known.get(record.key)
        if known is not None and known.incarnation == record.incarnation:
            self._known.move_to_end(record.key)
            return known
        self.forget(record.key)
        identity = Identity(record.key, record.incarnation, Spec.from_bytes(record.spec))
        self._known[record.key] = identity
        self._weight += _weight(identity)
        while self._weight > _WEIGHT_LIMIT and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._weight -= _weight(oldest)
        return identity

    def forget(self, key: SketchKey) -> Identity | None:
        """Drop what is remembered of a name, and return it."""
        identity = self._known.pop(key, None)
        if identity is not None:
            self._weight -= _weight(identity)
        return identity

    async def record(self, key: SketchKey) -> Record:
        """The record as it is now. Raises NotFound."""
        record = await self._store.get(key)
        if record is None:
            self.forget(key)
            raise no_such_sketch()
        return record

    async def _load(self, key: SketchKey) -> Identity:
        return self.of(await self.record(key))


def no_such_sketch() -> NotFound:
    """The one answer for what does not exist."""
    return NotFound("no such sketch")
