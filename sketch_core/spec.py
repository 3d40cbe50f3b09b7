"""What a sketch is: kind, shape, distribution, sizes; and the fingerprint that decides merges.

A *request* is what a caller writes down, with most fields absent. `resolve`
checks it against one table of ranges, draws a seed where none is given, fills
in every size and returns a frozen `Spec`. Two sketches merge exactly when the
fingerprints of their specs agree.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sketch_core import scaling, sizing
from sketch_core.errors import InvalidSpec
from sketch_core.parameters import (
    PARAMETERS,
    SKETCH_POWERS,
    Distribution,
    distribution,
    members,
    number,
    whole,
)

Kind = Literal["vector", "matrix"]
Method = Literal["sketch", "exact"]

#: Streamed operands of each kind, the one that defines merge and snapshot defaults first.
OPERANDS: Final[dict[str, tuple[str, ...]]] = {"vector": ("y",), "matrix": ("A", "x")}
#: Shape fields of each kind.
SHAPE_FIELDS: Final[dict[str, tuple[str, ...]]] = {"vector": ("n",), "matrix": ("n", "d")}

#: Bits of a hash-stable fingerprint scheme; part of every fingerprint.
HASH_VERSION: Final = 1
#: Coordinates assumed touched when the default quantum is chosen.
TOUCHED_FOR_QUANTUM: Final = 1 << 20
MAX_QUANTUM_BITS: Final = 24
#: Significant bits of the largest |x_j| when x is fixed at creation and rounded.
FIXED_X_BITS: Final = 14
#: The largest |x_j| of such an x is at least this, unless all are zero.
SMALLEST_FIXED_X: Final = 2.0**-60
#: The largest |y_i| expected where a request does not say.
DEFAULT_MAGNITUDE: Final = 1024.0
#: The largest |increment| in quanta; leaves room for a sum of two in int64.
MAX_INCREMENT_BITS: Final = 62


_REQUEST_FIELDS: Final = frozenset(
    {"kind", "shape", "method", "distribution", "samples", "repetitions", "seed",
     "magnitude", "quantum_bits", "width", "upper_width", "estimate_width", "depth", "x"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spec:
    """A resolved spec: nothing left to choose. Build one with `resolve`.

    n: coordinates of y. d: columns of A (1 for a vector). magnitude: largest
    |y_i| expected. quantum_bits: increments of y, or of A and a streamed x, are
    multiples of 2^-quantum_bits. x: a query fixed at creation, as whole
    multiples of 2^-x_quantum_bits (d of them), or None. sizes: None for exact.
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

    @property
    def collapsed(self) -> bool:
        """Whether x was fixed at creation, so that the state is that of the vector y = A x."""
        return self.x is not None

    @property
    def columns(self) -> int:
        """Numbers a cell (or a dense row) holds: d, or 1 for vectors and collapsed matrices."""
        return 1 if self.collapsed else self.d

    @property
    def value_bits(self) -> int:
        """Cells count multiples of 2^-value_bits of y (or of A where it is not collapsed)."""
        return self.quantum_bits + (self.x_quantum_bits if self.collapsed else 0)

    @property
    def clip(self) -> int:
        return scaling.clip_bits(self.n)

    @property
    def dense_cells(self) -> int:
        """Numbers of the dense operands: the exact method's state."""
        x_cells = self.d if self.kind == "matrix" and not self.collapsed else 0
        return self.n * self.columns + x_cells

    @property
    def state_cells(self) -> int:
        """int64 numbers the state holds."""
        if self.sizes is None:
            return self.dense_cells
        x_cells = self.d if self.kind == "matrix" and not self.collapsed else 0
        scaled = self.repetitions * self.sizes.scaled_cells
        return (scaled + self.sizes.unscaled_cells) * self.columns + x_cells

    @property
    def memory_bytes(self) -> int:
        return 8 * self.state_cells

    @property
    def exact_memory_bytes(self) -> int:
        return 8 * self.dense_cells

    def shape_json(self) -> dict[str, int]:
        return {"n": self.n} if self.kind == "vector" else {"n": self.n, "d": self.d}

    def x_values(self) -> list[float] | None:
        """The fixed x after rounding, or None."""
        if self.x is None:
            return None
        return [math.ldexp(value, -self.x_quantum_bits) for value in self.x]

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
        if self.x is not None:
            out["x"] = self.x_values()
        return out

    def to_bytes(self) -> bytes:
        """Every field as canonical JSON, derived ones too: a stored spec outlives new defaults."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Spec:
        """The inverse of `to_bytes`."""
        fields = json.loads(data)
        fields["distribution"] = Distribution(**fields["distribution"])
        if fields["x"] is not None:
            fields["x"] = tuple(fields["x"])
        if fields["sizes"] is not None:
            shifts = tuple(fields["sizes"].pop("shifts"))
            fields["sizes"] = sizing.Sizes(shifts=shifts, **fields["sizes"])
        return Spec(**fields)

    def fingerprint(self) -> bytes:
        """32 bytes that agree exactly for specs whose states may be added.

        `samples` counts through the sizes only; `magnitude` through quantum_bits.
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
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


def random_seed() -> int:
    """A seed from the operating system, below 2^53 so that every JSON reader keeps it whole."""
    return secrets.randbits(53)


def _shape(kind: str, value: object) -> tuple[int, int]:
    fields = SHAPE_FIELDS[kind]
    given = members(value, frozenset(fields), "/shape")
    for name in fields:
        if name not in given:
            raise InvalidSpec("is required", pointer=f"/shape/{name}")
    n = whole("n", given["n"], "/shape/n")
    d = whole("d", given["d"], "/shape/d") if "d" in fields else 1
    return n, d


def _fixed_x(kind: str, d: int, value: object) -> tuple[tuple[int, ...], int]:
    """Round x to whole multiples of a power of two, the largest to FIXED_X_BITS bits."""
    if kind != "matrix":
        raise InvalidSpec(f"a {kind} has no operand x", pointer="/x")
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidSpec("must be a list of numbers", pointer="/x")
    if len(value) != d:
        raise InvalidSpec(f"must have d = {d} numbers, has {len(value)}", pointer="/x")
    numbers = [number("x", item, f"/x/{i}") for i, item in enumerate(value)]
    largest = max(abs(number) for number in numbers)
    if largest == 0.0:
        return (0,) * d, 0
    if largest < SMALLEST_FIXED_X:
        raise InvalidSpec("the largest must be at least 2^-60, or all zero", pointer="/x")
    bits = FIXED_X_BITS - math.frexp(largest)[1]
    if round(math.ldexp(largest, bits)) == 1 << FIXED_X_BITS:
        bits -= 1  # rounded up to a power of two: x resolved again must give the same bits
    return tuple(round(math.ldexp(number, bits)) for number in numbers), bits


def _default_magnitude(x: tuple[int, ...] | None, x_bits: int) -> float:
    """DEFAULT_MAGNITUDE, times the largest |x_j| where x is fixed.

    So the quantum of A does not depend on the unit of x.
    """
    largest = math.ldexp(max(map(abs, x)), -x_bits) if x is not None else 1.0
    allowed = PARAMETERS["magnitude"]
    return min(max(DEFAULT_MAGNITUDE * (largest or 1.0), allowed.low), allowed.high)


def default_quantum_bits(n: int, power: float, magnitude: float, x_quantum_bits: int = 0) -> int:
    """The finest quantum at which coordinates up to `magnitude` keep every cell below 2^62.

    Assumes at most 2^20 touched coordinates; the scale of the most favoured of
    them is within 2^scale_bits except with probability 1/64.
    """
    touched = min(n, TOUCHED_FOR_QUANTUM)
    room = 62 - scaling.scale_bits(power, scaling.clip_bits(touched))
    return min(room - math.ceil(math.log2(magnitude)) - x_quantum_bits, MAX_QUANTUM_BITS)


@dataclass(frozen=True, slots=True)
class _Request:
    """The members of a request that are given: absent and null are the same."""

    members: Mapping[str, Any]

    def given(self, name: str) -> bool:
        return self.members.get(name) is not None

    def whole(self, name: str, default: int) -> int:
        return whole(name, self.members[name], f"/{name}") if self.given(name) else default

    def number(self, name: str, default: float) -> float:
        return float(number(name, self.members[name], f"/{name}")) if self.given(name) else default

    def kind(self) -> Kind:
        kind = self.members.get("kind")
        if kind is None:
            raise InvalidSpec("is required", pointer="/kind")
        if not isinstance(kind, str) or kind not in OPERANDS:
            raise InvalidSpec(f"must be one of {', '.join(OPERANDS)}", pointer="/kind")
        return kind  # type: ignore[return-value]

    def shape(self, kind: Kind) -> tuple[int, int]:
        if "shape" not in self.members:
            raise InvalidSpec("is required", pointer="/shape")
        return _shape(kind, self.members["shape"])

    def method(self) -> str:
        method = self.members["method"] if self.given("method") else "auto"
        if method not in ("auto", "sketch", "exact"):
            raise InvalidSpec("must be auto, sketch or exact", pointer="/method")
        return str(method)

    def sizes(self) -> dict[str, int]:
        """The sizes that are given, by name."""
        names = ("width", "upper_width", "estimate_width", "depth")
        chosen = {name: self.whole(name, 0) for name in names if self.given(name)}
        if chosen.get("depth", 1) % 2 == 0:
            raise InvalidSpec("must be odd, so that a median is a cell", pointer="/depth")
        return chosen


def _servable_power(law: Distribution, method: str) -> float | None:
    """The power a sketch can serve, or None where only the exact method can.

    Raises InvalidSpec when a sketch is asked for all the same.
    """
    power = law.power
    if power is not None and SKETCH_POWERS.low <= power <= SKETCH_POWERS.high:
        return power
    if method == "sketch" and power is None:
        raise InvalidSpec(
            "no sketch smaller than the vector can serve softmax: any such structure needs "
            "Ω(n) bits (Song, Xie, Zhou, Theorem 4.4); use method exact",
            pointer="/distribution/softmax",
        )
    if method == "sketch":
        raise InvalidSpec(
            "a sketch serves powers from 1 to 2; use method exact for others",
            pointer="/distribution/power",
        )
    return None


def resolve(request: Mapping[str, Any], *, draw_seed: Callable[[], int] = random_seed) -> Spec:
    """Check a spec request and fill in everything it leaves open.

    request: the JSON object of the public interface, without service-only
    fields such as ttl_seconds. draw_seed: where an absent seed comes from.
    Raises InvalidSpec with the pointer of the field at fault.
    """
    asked = _Request(members(request, _REQUEST_FIELDS, ""))
    kind = asked.kind()
    n, d = asked.shape(kind)
    law = distribution(asked.members["distribution"]) if asked.given("distribution") else None
    law = law or Distribution()
    method = asked.method()
    samples = asked.whole("samples", 16)
    repetitions = asked.whole("repetitions", 1)
    chosen = asked.sizes()
    x, x_bits = _fixed_x(kind, d, asked.members["x"]) if asked.given("x") else (None, 0)
    magnitude = asked.number("magnitude", _default_magnitude(x, x_bits))
    power = _servable_power(law, method)
    finest = default_quantum_bits(n, power or 2.0, magnitude, x_bits)
    quantum_bits = asked.whole("quantum_bits", finest)
    if quantum_bits < PARAMETERS["quantum_bits"].low:
        raise InvalidSpec("too large for so small an x", pointer="/magnitude")
    exact = Spec(
        kind=kind,
        n=n,
        d=d,
        method="exact",
        distribution=law,
        samples=samples,
        repetitions=repetitions,
        seed=asked.whole("seed", 0) if asked.given("seed") else draw_seed(),
        magnitude=magnitude,
        quantum_bits=quantum_bits,
        x=x,
        x_quantum_bits=x_bits,
    )
    if method == "exact" or power is None:
        return exact
    sizes = sizing.suggest_sizes(n, samples, power, **chosen)
    sketched = dataclasses.replace(exact, method="sketch", sizes=sizes)
    smaller = exact.memory_bytes <= sketched.memory_bytes
    return exact if method == "auto" and smaller else sketched
