"""Restoring sketches from a backup: everything is verified before anything is written.

A store creates a sketch empty, and no operation of a store does more than one
thing, so a sketch comes back in four steps:

    create    with its seals, under a ttl of PROVISIONAL_SECONDS
    append    an entry that nobody folds (log_entries.RESTORE): reads are answered 503
    compact   the state becomes the checkpoint and that entry goes, in one step
    set_ttl   the ttl of the backup, counting from now

So nobody reads a state that is not whole. (Between the first two steps, a round
trip apart, the sketch can be seen empty; it is never half filled.) What a
restore leaves when it is killed goes by itself when the provisional ttl has
passed, and until then is taken up by a restore of the same sketch, whatever it
should do about conflicts. Updates that arrive meanwhile are kept: they are
added to the state.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from service import log_entries
from service.backup_file import BackupReader, InvalidBackup, SavedSketch, UnsupportedBackup
from service.errors import Conflict, InvalidRequest, ServiceError, Unavailable
from service.ports import (
    EMPTY_DIGEST,
    Checkpoint,
    Clock,
    Entry,
    Record,
    SketchKey,
    Store,
    Tail,
    chain,
)
from service.sketch_requests import check_name
from sketch_core.codec import to_snapshot
from sketch_core.sketch import Sketch
from sketch_core.spec import OPERANDS, Spec

OnConflict = Literal["fail", "skip", "replace"]

#: The ttl of a sketch whose restore has not ended: long enough for a large state, and a number
#: nobody asks for, since it tells such a sketch from others.
PROVISIONAL_SECONDS: Final = 613.8125

#: How often others may be in the way of one sketch before it is given up.
_ATTEMPTS: Final = 100
_NO_LIMIT: Final = 1 << 60


@dataclass(slots=True)
class Restored:
    """How many sketches were written, and how many left as they were."""

    written: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where sketches go. on_conflict: what to do where the name exists.

    only: the one to take, or None for all. rename: its new name.
    """

    tenant: str
    on_conflict: OnConflict = "fail"
    only: str | None = None
    rename: str | None = None

    def check(self) -> None:
        """Refuse names that no tenant or sketch can have. Raises InvalidRequest."""
        for name in (self.tenant, self.rename):
            if name is not None:
                check_name(name)

    def key_of(self, sketch: SavedSketch) -> SketchKey:
        """The name a saved sketch gets."""
        return SketchKey(self.tenant, self.rename if self.rename is not None else sketch.name)

    def takes(self, sketch: SavedSketch) -> bool:
        """Whether it is one of those to restore."""
        return self.only is None or sketch.name == self.only


def verify(sketch: SavedSketch) -> Sketch:
    """The sketch as it will be answered from. Raises InvalidBackup for one that makes no sense,
    UnsupportedBackup for a state of a newer release.
    """
    try:
        check_name(sketch.name)
        spec = Spec.from_bytes(sketch.spec)
        loaded = log_entries.load_state(sketch.state, spec)
        known = set(OPERANDS[spec.kind])
    except ServiceError as error:
        newer = error.code == log_entries.UNKNOWN_FORMAT
        kind = UnsupportedBackup if newer else InvalidBackup
        raise kind(f"sketch {sketch.name!r}: {error.detail}") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidBackup(f"sketch {sketch.name!r}: its spec cannot be read: {error}") from error
    if not sketch.sealed <= known:
        raise InvalidBackup(f"sketch {sketch.name!r}: it seals what it does not have")
    if sketch.ttl_seconds is not None and not 0 < sketch.ttl_seconds < 1e10:
        raise InvalidBackup(f"sketch {sketch.name!r}: its ttl is not one")
    if min(sketch.updates, sketch.underflowed, sketch.state_bytes) < 0:
        raise InvalidBackup(f"sketch {sketch.name!r}: a counter is negative")
    return loaded


async def check(store: Store, reader: BackupReader, target: Target) -> int:
    """Read a backup whole, and return how many of its sketches are to be restored.

    Raises InvalidBackup; Conflict when on_conflict is "fail" and a name exists; and
    InvalidRequest when `only` is not in it. Writes nothing.
    """
    count = 0
    for sketch in reader.sketches():
        verify(sketch)
        if not target.takes(sketch):
            continue
        count += 1
        if target.on_conflict == "fail":
            existing = await store.get(target.key_of(sketch))
            if existing is not None and not _is_unfinished(existing, sketch):
                raise _exists(existing.key)
    if target.only is not None and not count:
        raise InvalidRequest(f"the backup has no sketch {target.only!r}")
    return count


async def restore(
    store: Store,
    clock: Clock,
    reader: BackupReader,
    target: Target,
    *,
    progress: Callable[[str, int], None] = lambda _name, _position: None,
) -> Restored:
    """Write the sketches of a backup that `check` has let through.

    progress: told each name, and how many bytes of the file are read. Raises as `check`
    does, and StoreUnavailable; then the sketches before the one at fault are restored.
    """
    restored = Restored()
    for sketch in reader.sketches():
        progress(sketch.name, reader.position)
        if not target.takes(sketch):
            continue
        if await restore_one(store, clock, sketch, target.key_of(sketch), target.on_conflict):
            restored.written += 1
        else:
            restored.skipped += 1
    return restored


async def restore_one(
    store: Store, clock: Clock, sketch: SavedSketch, key: SketchKey, on_conflict: OnConflict
) -> bool:
    """Write one sketch. False, changing nothing, where its name exists and is to be skipped."""
    verify(sketch)
    for _ in range(_ATTEMPTS):
        record, new = await store.create(_provisional(sketch, key, clock.now()))
        if new or _is_unfinished(record, sketch):
            await _fill(store, record, sketch)
            await store.set_ttl(key, sketch.ttl_seconds)
            return True
        if on_conflict == "skip":
            return False
        if on_conflict == "fail":
            raise _exists(key)
        await store.delete(key)
    raise Unavailable(f"sketch {key.name!r} is created again and again by others")


def _exists(key: SketchKey) -> Conflict:
    return Conflict(f"sketch {key.name!r} of tenant {key.tenant!r} exists already")


def _provisional(sketch: SavedSketch, key: SketchKey, now: float) -> Record:
    return Record(
        key=key,
        incarnation=secrets.token_hex(16),
        spec=sketch.spec,
        request=sketch.request,
        created_at=now,
        ttl_seconds=PROVISIONAL_SECONDS,
        expires_at=now + PROVISIONAL_SECONDS,
        state_bytes=sketch.state_bytes,
        sealed=sketch.sealed,
        exact=sketch.exact,
    )


def _is_unfinished(record: Record, sketch: SavedSketch) -> bool:
    """Whether a sketch was left by a restore of this one that was broken off."""
    return (
        record.ttl_seconds == PROVISIONAL_SECONDS
        and record.spec == sketch.spec
        and record.request == sketch.request
    )


async def _fill(store: Store, record: Record, sketch: SavedSketch) -> None:
    """Give a provisional sketch its state, unless an earlier restore did."""
    hold = _hold_of(record, sketch)
    for _ in range(_ATTEMPTS):
        tail = await store.read(
            record.key, record.incarnation, 0, EMPTY_DIGEST, max_bytes=_NO_LIMIT
        )
        if tail.checkpoint is not None:
            if tail.checkpoint.digest == chain(EMPTY_DIGEST, hold.id):
                return
            raise Conflict(
                f"sketch {record.key.name!r} was written to before its state was restored: "
                "delete it and restore it again"
            )
        if all(entry.id != hold.id for entry in tail.entries):
            await store.append(record.key, record.incarnation, hold, None, max_log_bytes=_NO_LIMIT)
        elif await store.compact(
            record.key, record.incarnation, 0, _checkpoint(sketch, tail), exact=sketch.exact
        ):
            return
    raise Unavailable(f"sketch {record.key.name!r} changes faster than it can be restored")


def _hold_of(record: Record, sketch: SavedSketch) -> Entry:
    """The entry that keeps a sketch from being read, and counts what was counted.

    Its id follows from the incarnation, so that a later restore knows it again.
    """
    return Entry(
        id=hashlib.sha256(f"restore {record.incarnation}".encode()).hexdigest()[:32],
        operands=frozenset(),  # seals are about updates: they do not keep a state from returning
        payload=log_entries.RESTORE,
        updates=sketch.updates,
        underflowed=sketch.underflowed,
    )


def _checkpoint(sketch: SavedSketch, tail: Tail) -> Checkpoint:
    """The state, with what others have added to the log meanwhile folded in."""
    digest = EMPTY_DIGEST
    for entry in tail.entries:
        digest = chain(digest, entry.id)
    added = [entry for entry in tail.entries if entry.payload != log_entries.RESTORE]
    state = sketch.state
    if added:
        loaded = verify(sketch)
        log_entries.fold(loaded, added)
        state = to_snapshot(loaded)
    return Checkpoint(tail.entries[-1].position, digest, state)
