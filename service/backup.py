"""Backups: every sketch of a tenant, or some, as of one instant each, while others write.

A sketch is folded up to the position its record had when it was looked at, so
that state, counters and seals belong together. Sketches are read one after the
other: two of them are not of the same instant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from service import log_entries
from service.backup_file import BackupWriter, SavedSketch
from service.errors import NotFound, Unavailable
from service.ports import EMPTY_DIGEST, Record, SketchKey, Store, chain
from sketch_core.codec import to_snapshot
from sketch_core.sketch import new_sketch
from sketch_core.spec import Spec

#: Records read at a time, and the bytes of their definitions.
_PAGE: Final = 256
_PAGE_BYTES: Final = 4 << 20
#: Log bytes read and folded at a time.
_CHUNK_BYTES: Final = 4 << 20
#: How often compaction may overtake the reading of one sketch.
_OVERTAKINGS: Final = 1000


@dataclass(slots=True)
class Saved:
    """What a backup holds. state_bytes: of the snapshots. left_out: names, and why."""

    sketches: int = 0
    state_bytes: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


async def save(
    store: Store,
    tenant: str,
    writer: BackupWriter,
    *,
    name: str | None = None,
    prefix: str = "",
    skip_unreadable: bool = False,
    progress: Callable[[str, Saved], None] = lambda _name, _saved: None,
) -> Saved:
    """Write the sketches of a tenant: one by name, or all with a prefix. The caller finishes.

    skip_unreadable: leave out, and name, what this release cannot read. progress: told
    the name of each sketch before it is read. Raises NotFound for a name that does not
    exist, and Unavailable (its detail names the sketch) for one that cannot be read.
    """
    saved = Saved()
    async for record in _records(store, tenant, name, prefix):
        progress(record.key.name, saved)
        try:
            found = await freeze(store, record)
        except Unavailable as failure:
            failure.detail = f"sketch {record.key.name!r}: {failure.detail}"
            if not (skip_unreadable and failure.code in log_entries.UNREADABLE):
                raise
            saved.left_out[record.key.name] = failure.detail
            continue
        if found is None:
            continue  # deleted meanwhile: as if it had been before
        writer.add(found)
        saved.sketches += 1
        saved.state_bytes += len(found.state)
    return saved


async def freeze(store: Store, record: Record) -> SavedSketch | None:
    """A sketch as of one instant, not before its record was read; None if it is gone."""
    while True:
        try:
            return await _freeze(store, record)
        except NotFound:
            current = await store.get(record.key)
            if current is None:
                return None
            record = current  # deleted and made anew


async def _records(
    store: Store, tenant: str, name: str | None, prefix: str
) -> AsyncIterator[Record]:
    if name is not None:
        record = await store.get(SketchKey(tenant, name))
        if record is None:
            raise NotFound(f"tenant {tenant!r} has no sketch {name!r}")
        yield record
        return
    after: str | None = None
    while True:
        page = await store.list(
            tenant, prefix=prefix, limit=_PAGE, after=after, max_bytes=_PAGE_BYTES
        )
        for listed in page:
            after = listed.key.name
            # The page may be minutes old when a large tenant's turn comes.
            current = await store.get(listed.key)
            if current is not None:
                yield current
        if not page:
            return


async def _freeze(store: Store, record: Record) -> SavedSketch:
    """Fold up to exactly the record's position. Raises NotFound when the incarnation is gone."""
    spec = Spec.from_bytes(record.spec)
    sketch, position, digest = new_sketch(spec), 0, EMPTY_DIGEST
    overtaken = 0
    while (position, digest) != (record.position, record.digest):
        tail = await store.read(
            record.key, record.incarnation, position, digest, max_bytes=_CHUNK_BYTES
        )
        if tail.checkpoint is not None:
            position, digest = tail.checkpoint.position, tail.checkpoint.digest
            state = tail.checkpoint.state
            sketch = log_entries.load_state(state, spec) if state else new_sketch(spec)
        entries = [entry for entry in tail.entries if entry.position <= record.position]
        log_entries.fold(sketch, entries)
        for entry in entries:
            position, digest = entry.position, chain(digest, entry.id)
        if position >= record.position and digest != record.digest:
            # A compaction went past the record, or a failover took its end away: aim anew.
            # What is folded already stays good for as long as the store agrees to it.
            overtaken += 1
            if overtaken > _OVERTAKINGS:
                raise Unavailable("the sketch changes faster than it can be read")
            record = await _again(store, record)
    return SavedSketch(
        name=record.key.name,
        created_at=record.created_at,
        ttl_seconds=record.ttl_seconds,
        state_bytes=record.state_bytes,
        sealed=record.sealed,
        updates=record.updates,
        underflowed=record.underflowed,
        exact=record.exact and sketch.exact,
        spec=record.spec,
        request=record.request,
        state=to_snapshot(sketch),
    )


async def _again(store: Store, record: Record) -> Record:
    current = await store.get(record.key)
    if current is None or current.incarnation != record.incarnation:
        raise NotFound("no such sketch")
    return current
