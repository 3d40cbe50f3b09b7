"""The payload of a log entry: a tiny envelope that says which format and what kind of change.

    offset  size  field
    0       1     format, 1; it covers everything inside, the batch's own bytes included
    1       1     type: "B" a batch, "S" a state to add, "R" a restore under way
    2       …     B: the bytes of sketch_core.batch.encode
                  S: the operands to add, ASCII, separated by commas (of a tensor
                     one); the state itself (sketch_core.codec) is the entry's attachment
                  R: nothing. service.restore puts it before a state and compacts it away
                     with the state: until then nobody folds this log, and the sketch is
                     answered 503 instead of as if it were empty

A change of the envelope or of what it carries gets a new format number, and
readers that know it are rolled out before the first writer. A reader that meets
an unknown number says so and does not serve the sketch; others go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from service.errors import Unavailable
from service.ports import StoredEntry
from sketch_core import batch as batches
from sketch_core.batch import Batch
from sketch_core.codec import from_snapshot
from sketch_core.errors import InvalidBatch, SketchError, UnsupportedSnapshot
from sketch_core.sketch import Sketch
from sketch_core.spec import OPERANDS, Spec

FORMAT: Final = 1
_BATCH: Final = ord("B")
_STATE: Final = ord("S")
_RESTORE: Final = ord("R")

#: The `code` of an Unavailable for bytes written by a newer version, and for harmed ones.
UNKNOWN_FORMAT: Final = "stored_format_unknown"
DAMAGED: Final = "stored_data_damaged"
#: The same for a sketch whose state has not arrived yet.
RESTORING: Final = "restore_unfinished"
#: All codes of what this code cannot fold.
UNREADABLE: Final = frozenset({UNKNOWN_FORMAT, DAMAGED, RESTORING})

#: The payload of the entry that holds a sketch back until its state is there.
RESTORE: Final = bytes((FORMAT, _RESTORE))


def pack_batch(encoded: bytes) -> bytes:
    """The payload of an update. encoded: from sketch_core.batch.encode."""
    return bytes((FORMAT, _BATCH)) + encoded


def pack_state(operands: Iterable[str]) -> bytes:
    """The payload of an entry whose attachment is a state to add."""
    return bytes((FORMAT, _STATE)) + ",".join(sorted(operands)).encode("ascii")


def unknown_format(detail: str) -> Unavailable:
    """The refusal to serve a sketch stored by a newer version."""
    return Unavailable(
        f"{detail}; this replica is older than the data", code=UNKNOWN_FORMAT, retry_after=30.0
    )


def damaged(detail: str) -> Unavailable:
    """The refusal to serve a sketch whose stored bytes make no sense."""
    return Unavailable(detail, code=DAMAGED, retry_after=30.0)


def load_state(data: bytes, spec: Spec) -> Sketch:
    """A stored state. Raises Unavailable for one that this code cannot read."""
    try:
        return from_snapshot(data, spec)
    except UnsupportedSnapshot as error:
        raise unknown_format(f"a stored state cannot be read: {error.detail}") from error
    except SketchError as error:
        raise damaged(f"a stored state is damaged: {error.detail}") from error


def fold(sketch: Sketch, entries: Iterable[StoredEntry]) -> None:
    """Add entries to a sketch, which must be private to the caller.

    Raises Unavailable for an entry that cannot be read, having changed nothing.
    """
    # Everything is read before anything is added.
    steps: list[list[Batch] | tuple[Sketch, frozenset[str]]] = []
    for entry in entries:
        if _kind_of(entry) != _BATCH:
            steps.append(_state_of(entry, sketch.spec))
        elif steps and isinstance(steps[-1], list):
            steps[-1].append(_batch_of(entry))
        else:
            steps.append([_batch_of(entry)])
    # Updates between two states go in one call. Sums know no order, but whether they are
    # proven exact on the way does, and must not depend on how a log was cut into reads.
    for step in steps:
        if isinstance(step, list):
            sketch.apply(step)
        else:
            sketch.merge(*step)


def _kind_of(entry: StoredEntry) -> int:
    form, what = (entry.payload[0], entry.payload[1]) if len(entry.payload) > 1 else (0, 0)
    if form == FORMAT and what == _RESTORE:
        raise Unavailable(
            "the sketch is being restored from a backup; if nobody is at it any more, run "
            "`sketchd restore` again",
            code=RESTORING,
            retry_after=5.0,
        )
    if form > FORMAT or (form == FORMAT and what not in (_BATCH, _STATE)):
        raise unknown_format(f"log entry {entry.position} has format {form}.{what}")
    if form != FORMAT:
        raise damaged(f"log entry {entry.position} is not an entry")
    return what


def _batch_of(entry: StoredEntry) -> Batch:
    try:
        return batches.decode(entry.payload[2:])
    except InvalidBatch as error:
        raise damaged(f"log entry {entry.position}: {error.detail}") from error


def _state_of(entry: StoredEntry, spec: Spec) -> tuple[Sketch, frozenset[str]]:
    operands = frozenset(entry.payload[2:].decode("ascii", "replace").split(","))
    known = operands <= set(OPERANDS[spec.kind])
    # Y is linear in each operand of a tensor, not in several together.
    if entry.attachment is None or not known or (spec.kind == "tensor" and len(operands) != 1):
        raise damaged(f"log entry {entry.position} adds no state of this sketch")
    return load_state(entry.attachment, spec), operands
