"""A sketch beside the model: fold updates here, ship only the state.

What leaves is a *shipment*: the state of one operand (of a matrix: of all that changed) as
snapshot bytes, under an idempotency key of its own. Once its bytes are cut, the sketch here starts
from nothing and takes new updates; the shipment stays until it is acknowledged. So there are three
places where an increment can be, and it is always in exactly one of them:

    here  --cut-->  shipped, unacknowledged  --acknowledged-->  the service
      ^                      |
      +--- surely refused ---+

An unacknowledged shipment may or may not have been applied, so it may only be repeated, the same
bytes under the same key, which the service applies once. `ship` does that before it cuts again.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from service.client import buffer_batches as batches
from service.client.answers import Acknowledgement, Info, Sample
from service.client.arrays import numbers
from service.client.async_sketch import AsyncSketch
from service.client.buffer_batches import Layout
from service.client.errors import Conflict, FieldError, InvalidRequest, NotFound, SketchdError
from service.client.http_answers import UNINTELLIGIBLE
from service.client.inputs import whole
from service.client.sync_sketch import Sketch
from sketch_core import batch as core_batch
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.errors import DrawsExhausted, SketchError
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch as CoreSketch
from sketch_core.sketch import new_sketch
from sketch_core.spec import OPERANDS

#: Fields of a request that are the service's own.
_NOT_OF_SPEC: Final = ("ttl_seconds",)
#: Increments that are folded together, at least.
_FOLD_NUMBERS: Final = 8192
#: After these nothing of the request was applied, if no attempt before might have been.
_SURELY_REFUSED: Final = (InvalidRequest, NotFound, Conflict)


@dataclass(slots=True)
class _Shipment:
    """Bytes on their way to one sketch. uncertain: an attempt ended without a clear answer."""

    target: str
    operands: tuple[str, ...]
    data: bytes
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    uncertain: bool = False


class LocalSketch:
    """A sketch in this process, of the same spec and seed as one of the service.

    Threads may share it: updates wait for one another while they are folded, and for a moment
    while a shipment is cut, never for the network.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        """spec: of `create`, with a seed: sketches of unlike seeds do not add.

        Raises ValueError without one, InvalidRequest for what is no spec.
        """
        if spec.get("seed") is None:
            raise ValueError("seed: is required; LocalSketch.like(info) takes the service's")
        wanted = {name: value for name, value in spec.items() if name not in _NOT_OF_SPEC}
        try:
            self._spec = resolve(wanted)
        except SketchError as error:
            raise _refused(error, "invalid_spec") from error
        self._sketch = new_sketch(self._spec)
        # Checked and quantised, to be folded together: one by one, small ones cost far more.
        self._batches: list[core_batch.Batch] = []
        self._numbers = 0
        self._changed: set[str] = set()
        self._folding = threading.Lock()
        self._shipments: deque[_Shipment] = deque()
        self._shipping = threading.Lock()

    @classmethod
    def like(cls, info: Info) -> LocalSketch:
        """An empty sketch that adds to the one described: `LocalSketch.like(sketch.info())`."""
        return cls(info.spec)

    @property
    def memory_bytes(self) -> int:
        """Of the state, and of shipments that are not acknowledged."""
        return self._spec.memory_bytes + sum(len(one.data) for one in list(self._shipments))

    @property
    def unshipped(self) -> tuple[str, ...]:
        """The operands that changed since the last shipment was cut."""
        return tuple(name for name in OPERANDS[self._spec.kind] if name in self._changed)

    @property
    def unacknowledged(self) -> tuple[str, ...]:
        """The operands of shipments that are not acknowledged."""
        return tuple(name for one in list(self._shipments) for name in one.operands)

    def update(self, index: object, delta: object, *, operand: str = "y") -> None:
        """Add delta (b,) to y at index (b,), or to x of a matrix.

        Raises ValueError for what are no columns, InvalidRequest for what does not fit the spec,
        as the service would; nothing was applied then.
        """
        self._fold(operand, "index", index, delta)

    def update_entries(
        self, row: object, column: object, delta: object, *, operand: str = "A"
    ) -> None:
        """Add delta (b,) to an operand at (row, column), (b,) each; errors as of `update`."""
        self._fold(operand, "entries", row, column, delta)

    def update_rows(self, row: object, values: object, *, operand: str = "A") -> None:
        """Add values (b, d) to the rows (b,) of an operand; errors as of `update`."""
        self._fold(operand, "rows", row, values)

    def _fold(self, operand: str, layout: Layout, *given: object) -> None:
        columns = core_batch.Columns(operand, **batches.read(layout, given))
        try:
            batch, _ = core_batch.quantise(self._spec, columns)
        except SketchError as error:
            raise _refused(error) from error
        if not len(batch):
            return
        with self._folding:
            self._batches.append(batch)
            self._numbers += batch.coordinates
            self._changed.add(batch.operand)
            if self._numbers >= _FOLD_NUMBERS:
                self._folded()

    def _folded(self) -> CoreSketch:
        """The sketch with everything in it; the caller holds the lock."""
        if self._batches:
            self._sketch.apply(self._batches)
            self._batches, self._numbers = [], 0
        return self._sketch

    def snapshot(self) -> bytes:
        """The canonical bytes of what was folded and not yet shipped."""
        with self._folding:
            return to_snapshot(self._folded())

    def sample(
        self,
        count: int | None = None,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        x: object = None,
        X: object = None,
    ) -> Sample:
        """Draw from what was folded and not yet shipped; otherwise as `Sketch.sample`."""
        query = None
        if x is not None:
            query = numbers(x, "x", 1).astype(np.float64)[None]
        if X is not None:
            query = numbers(X, "X", 2).astype(np.float64)[None]
        wanted = whole(count, "count")
        wanted = self._spec.samples if wanted is None else wanted
        if wanted < 1:
            raise ValueError("count: must be at least 1")
        try:
            with self._folding:
                found = self._folded().sample(
                    wanted, replacement=replacement, draw=draw, queries=query
                )[0]
                exact = self._sketch.exact
        except SketchError as error:
            raise _refused(error) from error
        return Sample(
            status=found.status,
            index=found.index,
            value=found.value,
            probability=found.probability,
            inclusion_probability=found.inclusion_probability,
            norm=found.norm,
            threshold=found.threshold,
            draw=found.draw,
            draws=self._spec.repetitions if self._spec.method == "sketch" else None,
            version="local",
            exact=exact,
        )

    def ship(self, sketch: Sketch) -> Acknowledgement | None:
        """Add what was folded here to the service's sketch; durable when this returns.

        First repeats what an earlier call sent and nobody acknowledged, then sends what came
        since, so however often it fails, everything counts once. Each operand of a tensor is a
        request of its own. Returns the last acknowledgement, None where there was nothing to ship.

        Raises what `Sketch.add_snapshot` does: after InvalidRequest, NotFound or Conflict with no
        doubt about an earlier attempt the updates are back here, after other errors they stay in
        a shipment. Raises ValueError while a shipment to another sketch is unacknowledged.
        """
        with self._shipping:
            last = None
            for one in self._leaving(sketch.name):
                try:
                    last = sketch.add_snapshot(one.data, one.operands, idempotency_key=one.key)
                except BaseException as error:
                    self._failed(error)
                    raise
                self._shipments.popleft()
            return last

    async def ship_async(self, sketch: AsyncSketch) -> Acknowledgement | None:
        """`ship` for an AsyncSketch. Raises RuntimeError while another call ships."""
        if not self._shipping.acquire(blocking=False):
            raise RuntimeError("another call is shipping this sketch")
        try:
            last = None
            for one in self._leaving(sketch.name):
                try:
                    last = await sketch.add_snapshot(
                        one.data, one.operands, idempotency_key=one.key
                    )
                except BaseException as error:
                    self._failed(error)
                    raise
                self._shipments.popleft()
            return last
        finally:
            self._shipping.release()

    def discard_shipments(self) -> int:
        """Forget the shipments nobody acknowledged, applied or not. Returns how many there were.

        For when their sketch is gone for good, or was seen to hold them.
        """
        with self._shipping:
            forgotten = len(self._shipments)
            self._shipments.clear()
            return forgotten

    def _leaving(self, target: str) -> Iterator[_Shipment]:
        """The shipments to send, the oldest first; once those that are left are acknowledged,
        what changed is cut, once.
        """
        if self._shipments and self._shipments[0].target != target:
            raise ValueError(
                f"sketch: a shipment to {self._shipments[0].target} is not acknowledged: ship "
                "there first, or discard_shipments()"
            )
        while self._shipments:
            yield self._shipments[0]
        self._cut(target)
        while self._shipments:
            yield self._shipments[0]

    def _cut(self, target: str) -> None:
        """Make shipments of all that changed, and start from nothing."""
        with self._folding:
            operands, data = self.unshipped, b""
            if operands:
                data = to_snapshot(self._folded())
                self._sketch = new_sketch(self._spec)
                self._changed.clear()
                groups = [(name,) for name in operands] if self._alone else [operands]
                self._shipments.extend(_Shipment(target, group, data) for group in groups)

    @property
    def _alone(self) -> bool:
        """Whether operands go one at a time: Y of a tensor is linear in each, not in all."""
        return self._spec.kind == "tensor"

    def _failed(self, error: BaseException) -> None:
        """The oldest was not acknowledged; those after it, which nobody sent, share its fate."""
        oldest = self._shipments[0]
        if oldest.uncertain or not _surely_refused(error):
            oldest.uncertain = True
            return
        returned = [(one, from_snapshot(one.data, self._spec)) for one in self._shipments]
        with self._folding:
            for one, state in returned:
                for operand in one.operands:
                    self._sketch.merge(state, (operand,))
                self._changed.update(one.operands)
        self._shipments.clear()


def _surely_refused(error: BaseException) -> bool:
    """Whether the service itself refused it, and no attempt before may have been applied."""
    return (
        isinstance(error, _SURELY_REFUSED) and not error.uncertain and error.code != UNINTELLIGIBLE
    )


def _refused(error: SketchError, code: str = "invalid") -> SketchdError:
    """What the service would answer."""
    fields = (FieldError(error.pointer, error.detail),) if error.pointer else ()
    if isinstance(error, DrawsExhausted):
        code, fields = "draws_exhausted", (FieldError("/draw", error.detail),)
    return InvalidRequest(code, error.detail, status=422, fields=fields)
