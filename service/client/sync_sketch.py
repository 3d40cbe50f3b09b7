"""A sketch of a service, for code without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.client import inputs
from service.client import operations as ops
from service.client.answers import Acknowledgement, Estimate, Info, Norm, Sample, Snapshot
from service.client.arrays import indices

if TYPE_CHECKING:
    from service.client.sync_client import Client


class Sketch:
    """A handle of a sketch. Making one asks nothing of the service; any thread may use it.

    Columns may be numpy arrays, torch tensors, lists, or whatever has __array__ or __dlpack__;
    what cannot be read as a column is a ValueError that names it. Every method raises SketchdError
    for what the service refuses, and takes timeout: seconds for this call with all its attempts.
    idempotency_key: of a change that the caller may repeat in another call; within a call the
    client sees to it by itself that a retry counts once.
    """

    __slots__ = ("_client", "_name")

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = inputs.checked_name(name)

    def __repr__(self) -> str:
        return f"<Sketch {self._name} of {self._client.url}>"

    @property
    def name(self) -> str:
        """Its name within the tenant."""
        return self._name

    @property
    def client(self) -> Client:
        """The client that asks."""
        return self._client

    def update(
        self,
        index: object,
        delta: object,
        *,
        operand: str = "y",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Acknowledgement:
        """Add delta (b,) to y at index (b,), or to x of a matrix; durable when this returns."""
        asked = inputs.Update(
            self._name, index, delta, operand=operand, idempotency_key=idempotency_key
        )
        return self._client._call(inputs.add(asked), timeout)

    def update_entries(
        self,
        row: object,
        column: object,
        delta: object,
        *,
        operand: str = "A",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Acknowledgement:
        """Add delta (b,) to an operand at (row, column), (b,) each."""
        asked = inputs.Update(
            self._name,
            row=row,
            column=column,
            delta=delta,
            operand=operand,
            idempotency_key=idempotency_key,
        )
        return self._client._call(inputs.add(asked), timeout)

    def update_rows(
        self,
        row: object,
        values: object,
        *,
        operand: str = "A",
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Acknowledgement:
        """Add values (b, d) to the rows (b,) of an operand. float16, 32 and 64 go as they are."""
        asked = inputs.Update(
            self._name, row=row, values=values, operand=operand, idempotency_key=idempotency_key
        )
        return self._client._call(inputs.add(asked), timeout)

    def sample(
        self,
        count: int | None = None,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        x: object = None,
        X: object = None,
        timeout: float | None = None,
    ) -> Sample:
        """Draw coordinates. x (d,) of a matrix, X (d1, d2) of a tensor without one of its own.

        count: the spec's `samples` where it is None. replacement: where it is None false, of a
        tensor true. draw: which of the independent lists.
        """
        asked = inputs.SampleOf(self._name, count, replacement, draw, x, X)
        return self._client._call(inputs.draw_of(asked), timeout)[0]

    def sample_each(
        self,
        queries: object,
        count: int | None = None,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        timeout: float | None = None,
    ) -> list[Sample]:
        """One sample for each row of queries (q, d), all of one state."""
        asked = inputs.draw_of(inputs.SampleOf(self._name, count, replacement, draw))
        return self._client._call(inputs.with_queries(asked, queries), timeout)

    def estimate(
        self,
        index: object,
        *,
        x: object = None,
        X: object = None,
        timeout: float | None = None,
    ) -> Estimate:
        """y at index, (b,) or of a tensor (b, 2)."""
        asked = ops.EstimateAt(self._name, indices(index, "index"), inputs.query_of(x, X))
        return self._client._call(asked, timeout)[0]

    def estimate_each(
        self, index: object, queries: object, *, timeout: float | None = None
    ) -> list[Estimate]:
        """y at index (b,) for each row of queries (q, d), all of one state."""
        asked = ops.EstimateAt(self._name, indices(index, "index"), inputs.queries_of(queries))
        return self._client._call(asked, timeout)

    def norm(
        self,
        power: float | None = None,
        *,
        x: object = None,
        X: object = None,
        timeout: float | None = None,
    ) -> Norm:
        """‖y‖_power, of the spec's power where it is None; of softmax ln Σ exp(y/temperature)."""
        asked = ops.NormOf(self._name, inputs.real(power, "power"), inputs.query_of(x, X))
        return self._client._call(asked, timeout)[0]

    def norm_each(
        self, queries: object, power: float | None = None, *, timeout: float | None = None
    ) -> list[Norm]:
        """The norm for each row of queries (q, d), all of one state."""
        asked = ops.NormOf(self._name, inputs.real(power, "power"), inputs.queries_of(queries))
        return self._client._call(asked, timeout)

    def info(self, *, timeout: float | None = None) -> Info:
        """What the sketch is and holds."""
        return self._client._call(ops.Look(self._name), timeout)

    def seal(
        self,
        operand: str,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Info:
        """Let no later update change an operand."""
        asked = ops.Seal(self._name, inputs.operand_name(operand), inputs.key_of(idempotency_key))
        return self._client._call(asked, timeout)

    def set_ttl(self, seconds: float | None, *, timeout: float | None = None) -> Info:
        """Let the sketch expire so long after now, and after each later update; None for never."""
        asked = ops.SetTtl(self._name, inputs.real(seconds, "seconds"))
        return self._client._call(asked, timeout)

    def merge(
        self,
        source: str | Sketch,
        operands: str | Sequence[str] | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Acknowledgement:
        """Add another sketch of the tenant as it is now. operands: exactly one of a tensor."""
        name = source.name if isinstance(source, Sketch) else inputs.checked_name(source)
        asked = ops.Merge(
            self._name, name, inputs.operand_names(operands), inputs.key_of(idempotency_key)
        )
        return self._client._call(asked, timeout)

    def snapshot(self, *, timeout: float | None = None) -> Snapshot:
        """The canonical bytes of the state."""
        return self._client._call(ops.TakeSnapshot(self._name), timeout)

    def add_snapshot(
        self,
        data: bytes | bytearray | memoryview | Snapshot,
        operands: str | Sequence[str] | None = None,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Acknowledgement:
        """Add a state made elsewhere with the same spec. operands: exactly one of a tensor."""
        asked = ops.AddSnapshot(
            self._name,
            inputs.snapshot_bytes(data),
            inputs.operand_names(operands),
            inputs.key_of(idempotency_key),
        )
        return self._client._call(asked, timeout)

    def delete(self, *, timeout: float | None = None) -> None:
        """Forget the sketch and all that was added to it."""
        self._client._call(ops.Delete(self._name), timeout)
