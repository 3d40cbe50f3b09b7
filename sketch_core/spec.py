"""What a sketch is: kind, shape, distribution, sizes; and the fingerprint that decides merges.

A `Spec` has nothing left to choose; `sketch_core.resolve` makes one of a request.
Its table of operands says what may be streamed, how increments name their
places, and what is kept; everything else asks that table. Two sketches merge
exactly when the fingerprints of their specs agree.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sketch_core import scaling, sizing
from sketch_core.errors import InvalidBatch
from sketch_core.hashing import SECOND_REPETITION
from sketch_core.parameters import Distribution

Kind = Literal["vector", "matrix", "tensor"]
Method = Literal["sketch", "exact"]

#: Operands of each kind, the one that defines merge and snapshot defaults first.
OPERANDS: Final[dict[str, tuple[str, ...]]] = {
    "vector": ("y",),
    "matrix": ("A", "x"),
    "tensor": ("A1", "A2", "X"),
}
#: Shape fields of each kind.
SHAPE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "vector": ("n",),
    "matrix": ("n", "d"),
    "tensor": ("n1", "n2", "d1", "d2"),
}
#: The operand that may be given at creation or with the query, of the kinds that have one.
QUERY_OPERAND: Final[dict[str, str]] = {"matrix": "x", "tensor": "X"}

#: Bits of a hash-stable fingerprint scheme; part of every fingerprint.
HASH_VERSION: Final = 1
#: Coordinates assumed touched when the default quantum is chosen.
TOUCHED_FOR_QUANTUM: Final = 1 << 20
#: The largest |increment| in quanta; leaves room for a sum of two in int64.
MAX_INCREMENT_BITS: Final = 62
#: Fields of stored specs that only tensors have.
_TENSOR_FIELDS: Final = ("n2", "d2", "second_sizes")


@dataclass(frozen=True, slots=True)
class Operand:
    """A streamed operand: rows × columns numbers.

    by_index: increments name a coordinate (`index`), not a row and a column.
    columns: as streamed. cell_columns: numbers a row has in the state, 1 where a
    fixed x collapses it. sizes: of the tables that keep it, None where it is kept
    dense. lists: how many scaled tables there are. first_repetition: which hash keys
    they use. rank: axes of the dense array.
    """

    name: str
    rows: int
    columns: int
    by_index: bool
    cell_columns: int
    sizes: sizing.Sizes | None
    lists: int = 1
    first_repetition: int = 0
    rank: int = 2

    @property
    def clip(self) -> int:
        """c such that the exponentials of its rows are clipped below at 2^-c."""
        return scaling.clip_bits(self.rows)

    @property
    def cells(self) -> int:
        """int64 numbers of its state."""
        if self.sizes is None:
            return self.rows * self.cell_columns
        return (
            self.lists * self.sizes.scaled_cells + self.sizes.unscaled_cells
        ) * self.cell_columns

    def extents(self) -> dict[str, tuple[int, ...]]:
        """The arrays of its state by name, in canonical order, and their shapes."""
        if self.sizes is None:
            shape = (self.rows,) if self.rank == 1 else (self.rows, self.cell_columns)
            return {"dense": shape}
        return {
            "scaled": (self.lists, self.sizes.scaled_cells, self.cell_columns),
            "unscaled": (self.sizes.unscaled_cells, self.cell_columns),
        }


@dataclass(frozen=True, slots=True)
class Spec:
    """A resolved spec: nothing left to choose. Build one with `resolve`.

    n, d: rows and columns of the first operand, so the coordinates of y and the
    columns of A (1 for a vector), n1 and d1 of a tensor. n2, d2: those of its second.
    magnitude: largest |y_i| expected (of entries of operands, for a tensor).
    quantum_bits: increments are multiples of 2^-quantum_bits. x: a query fixed at
    creation, as whole multiples of 2^-x_quantum_bits: d of them, or d1 · d2 row by row;
    or None. sizes: of the tables of the first operand, None for exact. second_sizes: of
    the tables of A2.
    """

    kind: Kind
    n: int
    d: int
    method: Method
    distribution: Distribution
    samples: int
    repetitions: int
    seed: int
    magnitude: float
    quantum_bits: int
    x: tuple[int, ...] | None = None
    x_quantum_bits: int = 0
    sizes: sizing.Sizes | None = None
    n2: int | None = None
    d2: int | None = None
    second_sizes: sizing.Sizes | None = None

    @property
    def collapsed(self) -> bool:
        """Whether a fixed x makes the state that of the vector y = A x."""
        return self.kind == "matrix" and self.x is not None

    @property
    def query_operand(self) -> str | None:
        """x or X, which may come with a query unless it is fixed or streamed; None for vectors."""
        return QUERY_OPERAND.get(self.kind)

    @property
    def fixed_operand(self) -> str | None:
        """The operand given at creation, or None."""
        return None if self.x is None else self.query_operand

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Everything that may be streamed, in the kind's order."""
        if self.kind == "vector":
            return (Operand("y", self.n, 1, True, 1, self.sizes, self.repetitions),)
        columns = 1 if self.collapsed else self.d
        if self.kind == "matrix":
            main = Operand("A", self.n, self.d, False, columns, self.sizes, self.repetitions)
            x = Operand("x", self.d, 1, True, 1, None, rank=1)
            return (main,) if self.collapsed else (main, x)
        assert self.n2 is not None
        assert self.d2 is not None
        first = Operand("A1", self.n, self.d, False, self.d, self.sizes, self.repetitions)
        second = Operand(
            "A2", self.n2, self.d2, False, self.d2, self.second_sizes,
            self.repetitions * self.samples, SECOND_REPETITION,
        )  # fmt: skip
        middle = Operand("X", self.d, self.d2, False, self.d2, None)
        return (first, second) if self.x is not None else (first, second, middle)

    def operand(self, name: str) -> Operand:
        """A streamed operand by name. Raises InvalidBatch for one that cannot be streamed."""
        for operand in self.operands:
            if operand.name == name:
                return operand
        if name == self.fixed_operand:
            raise InvalidBatch(f"{name} was given at creation and is fixed", pointer="/operand")
        names = ", ".join(OPERANDS[self.kind])
        raise InvalidBatch(f"must be one of {names}", pointer="/operand")

    @property
    def columns(self) -> int:
        """Numbers a cell (or a dense row) of the first operand holds: 1 where x is fixed."""
        return 1 if self.collapsed else self.d

    @property
    def value_bits(self) -> int:
        """Cells count multiples of 2^-value_bits of y (of operands where they are not y's own)."""
        return self.quantum_bits + (self.x_quantum_bits if self.collapsed else 0)

    @property
    def clip(self) -> int:
        return scaling.clip_bits(self.n)

    @property
    def dense_cells(self) -> int:
        """Numbers of the dense operands: the exact method's state."""
        return sum(operand.rows * operand.cell_columns for operand in self.operands)

    @property
    def state_cells(self) -> int:
        """int64 numbers the state holds."""
        return sum(operand.cells for operand in self.operands)

    @property
    def memory_bytes(self) -> int:
        return 8 * self.state_cells

    @property
    def derived_bytes(self) -> int:
        """What questions keep beside the state until it changes: triangles of A1 and A2."""
        return 0 if self.d2 is None else 8 * (self.d**2 + self.d2**2)

    @property
    def exact_memory_bytes(self) -> int:
        return 8 * self.dense_cells

    @property
    def coordinates(self) -> int:
        """How many coordinates y has: n, or n1 · n2."""
        return self.n * (self.n2 or 1)

    def shape_json(self) -> dict[str, int]:
        """The shape as a request has it."""
        fields = SHAPE_FIELDS[self.kind]
        if self.n2 is None or self.d2 is None:
            return dict(zip(fields, (self.n, self.d), strict=False))
        return dict(zip(fields, (self.n, self.n2, self.d, self.d2), strict=True))

    def fixed_matrix(self) -> npt.NDArray[np.float64] | None:
        """x or X fixed at creation, after rounding: float64 (d,) or (d1, d2), or None."""
        if self.x is None:
            return None
        values = np.ldexp(np.array(self.x, dtype=np.float64), -self.x_quantum_bits)
        return values if self.d2 is None else values.reshape(self.d, self.d2)

    def to_json(self) -> dict[str, Any]:
        """The spec with every default filled in; `resolve` of it gives the same Spec."""
        out: dict[str, Any] = {
            "kind": self.kind,
            "shape": self.shape_json(),
            "method": self.method,
            "distribution": self.distribution.to_json(),
            "samples": self.samples,
            "repetitions": self.repetitions,
            "seed": self.seed,
            "magnitude": self.magnitude,
            "quantum_bits": self.quantum_bits,
        }
        if self.sizes is not None:
            out["width"] = self.sizes.width
            out["upper_width"] = self.sizes.upper_width
            out["estimate_width"] = self.sizes.estimate_width
            out["depth"] = self.sizes.depth
        if self.second_sizes is not None:
            out["second_width"] = self.second_sizes.width
            out["second_upper_width"] = self.second_sizes.upper_width
        fixed = self.fixed_matrix()
        if fixed is not None:
            out[QUERY_OPERAND[self.kind]] = fixed.tolist()
        return out

    def to_bytes(self) -> bytes:
        """Every field as canonical JSON, derived ones too: a stored spec outlives new defaults."""
        fields = dataclasses.asdict(self)
        if self.kind != "tensor":
            for name in _TENSOR_FIELDS:
                del fields[name]
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Spec:
        """The inverse of `to_bytes`."""
        fields = json.loads(data)
        fields["distribution"] = Distribution(**fields["distribution"])
        if fields["x"] is not None:
            fields["x"] = tuple(fields["x"])
        for name in ("sizes", "second_sizes"):
            if fields.get(name) is not None:
                shifts = tuple(fields[name].pop("shifts"))
                fields[name] = sizing.Sizes(shifts=shifts, **fields[name])
        return Spec(**fields)

    def fingerprint(self) -> bytes:
        """32 bytes that agree exactly for specs whose states may be added.

        `samples` counts through the sizes only (and a tensor's number of lists);
        `magnitude` through quantum_bits.
        """
        sizes = None if self.sizes is None else dataclasses.asdict(self.sizes)
        identity = {
            "hash": HASH_VERSION,
            "kind": self.kind,
            "shape": self.shape_json(),
            "method": self.method,
            "distribution": self.distribution.to_json(),
            "repetitions": self.repetitions,
            "seed": self.seed,
            "quantum_bits": self.quantum_bits,
            "x": self.x,
            "x_quantum_bits": self.x_quantum_bits,
            "sizes": sizes,
        }
        if self.second_sizes is not None:
            identity["second_sizes"] = dataclasses.asdict(self.second_sizes)
            identity["samples"] = self.samples
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()
