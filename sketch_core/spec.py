"""What a sketch is: kind, shape, distribution, sizes, and the fingerprint that decides what merges.

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
#: The largest |increment| in quanta; leaves room for a sum of two in int64.
MAX_INCREMENT_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class Range:
    """An inclusive range of a numeric spec field; `integer` refuses fractions."""

    low: float
    high: float
    integer: bool = True


#: The one table of parameter ranges; it documents and validates.
PARAMETERS: Final[dict[str, Range]] = {
    "n": Range(1, 1 << 63),
    "d": Range(1, 1 << 16),
    "samples": Range(1, 4096),
    "repetitions": Range(1, 4096),
    "seed": Range(0, (1 << 64) - 1),
    "magnitude": Range(2.0**-60, 2.0**60, integer=False),
    "quantum_bits": Range(-60, 60),
    "width": Range(1, 1 << 22),
    "upper_width": Range(1, 1 << 22),
    "estimate_width": Range(1, 1 << 22),
    "depth": Range(1, 31),
    # Smaller powers have norms beyond float64: ‖y‖_p of n ones is n^(1/p).
    "power": Range(0.125, 64.0, integer=False),
    "temperature": Range(2.0**-60, 2.0**60, integer=False),
    "x": Range(-(2.0**60), 2.0**60, integer=False),
}
#: Powers a sketch can serve; the exact method takes every power of PARAMETERS.
SKETCH_POWERS: Final = Range(1.0, 2.0, integer=False)

_REQUEST_FIELDS: Final = frozenset(
    {"kind", "shape", "method", "distribution", "samples", "repetitions", "seed",
     "magnitude", "quantum_bits", "width", "upper_width", "estimate_width", "depth", "x"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distribution:
    """The law of a draw, f(y_i) / Σ f(y_j): f = |·|^power, or else exp(· / temperature)."""

    power: float | None = 2.0
    temperature: float | None = None

    def to_json(self) -> dict[str, Any]:
        if self.power is not None:
            return {"power": self.power}
        return {"softmax": {"temperature": self.temperature}}


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


def _number(field: str, value: object, pointer: str) -> float:
    allowed = PARAMETERS[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSpec("must be a number", pointer=pointer)
    if allowed.integer:
        if isinstance(value, float):
            if not value.is_integer():
                raise InvalidSpec("must be a whole number", pointer=pointer)
            value = int(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidSpec("must be finite", pointer=pointer)
    if not allowed.low <= value <= allowed.high:
        low, high = (
            (int(allowed.low), int(allowed.high))
            if allowed.integer
            else (allowed.low, allowed.high)
        )
        raise InvalidSpec(f"must be between {low} and {high}", pointer=pointer)
    return value


def _whole(field: str, value: object, pointer: str) -> int:
    return int(_number(field, value, pointer))


def _members(value: object, allowed: frozenset[str], pointer: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSpec("must be an object", pointer=pointer)
    for name in value:
        if name not in allowed:
            token = str(name).replace("~", "~0").replace("/", "~1")
            raise InvalidSpec("unknown field", pointer=f"{pointer}/{token}")
    return value


def _distribution(value: object) -> Distribution:
    members = _members(value, frozenset({"power", "softmax"}), "/distribution")
    if len(members) != 1:
        raise InvalidSpec('must be {"power": p} or {"softmax": {…}}', pointer="/distribution")
    if "power" in members:
        return Distribution(float(_number("power", members["power"], "/distribution/power")))
    softmax = _members(members["softmax"], frozenset({"temperature"}), "/distribution/softmax")
    temperature = softmax.get("temperature", 1.0)
    return Distribution(
        None, float(_number("temperature", temperature, "/distribution/softmax/temperature"))
    )


def _shape(kind: str, value: object) -> tuple[int, int]:
    fields = SHAPE_FIELDS[kind]
    members = _members(value, frozenset(fields), "/shape")
    for name in fields:
        if name not in members:
            raise InvalidSpec("is required", pointer=f"/shape/{name}")
    n = _whole("n", members["n"], "/shape/n")
    d = _whole("d", members["d"], "/shape/d") if "d" in fields else 1
    return n, d


def _fixed_x(kind: str, d: int, value: object) -> tuple[tuple[int, ...], int]:
    """Round x to whole multiples of a power of two, the largest to FIXED_X_BITS bits."""
    if kind != "matrix":
        raise InvalidSpec(f"a {kind} has no operand x", pointer="/x")
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidSpec("must be a list of numbers", pointer="/x")
    if len(value) != d:
        raise InvalidSpec(f"must have d = {d} numbers, has {len(value)}", pointer="/x")
    numbers = [_number("x", item, f"/x/{i}") for i, item in enumerate(value)]
    largest = max(abs(number) for number in numbers)
    if largest == 0.0:
        return (0,) * d, 0
    if largest < SMALLEST_FIXED_X:
        raise InvalidSpec("the largest must be at least 2^-60, or all zero", pointer="/x")
    bits = FIXED_X_BITS - math.frexp(largest)[1]
    if round(math.ldexp(largest, bits)) == 1 << FIXED_X_BITS:
        bits -= 1  # rounded up to a power of two: x resolved again must give the same bits
    return tuple(round(math.ldexp(number, bits)) for number in numbers), bits


def default_quantum_bits(n: int, power: float, magnitude: float, x_quantum_bits: int = 0) -> int:
    """The finest quantum at which coordinates up to `magnitude` keep every cell below 2^62.

    Assumes at most 2^20 touched coordinates; the scale of the most favoured of
    them is within 2^scale_bits except with probability 1/64.
    """
    touched = min(n, TOUCHED_FOR_QUANTUM)
    room = 62 - scaling.scale_bits(power, scaling.clip_bits(touched))
    return min(room - math.ceil(math.log2(magnitude)) - x_quantum_bits, MAX_QUANTUM_BITS)


def resolve(request: Mapping[str, Any], *, draw_seed: Callable[[], int] = random_seed) -> Spec:
    """Check a spec request and fill in everything it leaves open.

    request: the JSON object of the public interface, without service-only
    fields such as ttl_seconds. draw_seed: where an absent seed comes from.
    Raises InvalidSpec with the pointer of the field at fault.
    """
    members = _members(request, _REQUEST_FIELDS, "")
    kind = members.get("kind")
    if kind is None:
        raise InvalidSpec("is required", pointer="/kind")
    if not isinstance(kind, str) or kind not in OPERANDS:
        raise InvalidSpec(f"must be one of {', '.join(OPERANDS)}", pointer="/kind")
    if "shape" not in members:
        raise InvalidSpec("is required", pointer="/shape")
    n, d = _shape(kind, members["shape"])

    def given(name: str) -> bool:
        return members.get(name) is not None

    distribution = (
        _distribution(members["distribution"]) if given("distribution") else Distribution()
    )
    method = members["method"] if given("method") else "auto"
    if method not in ("auto", "sketch", "exact"):
        raise InvalidSpec("must be auto, sketch or exact", pointer="/method")
    samples = _whole("samples", members["samples"], "/samples") if given("samples") else 16
    repetitions = (
        _whole("repetitions", members["repetitions"], "/repetitions") if given("repetitions") else 1
    )
    magnitude = (
        float(_number("magnitude", members["magnitude"], "/magnitude"))
        if given("magnitude")
        else 1024.0
    )
    chosen = {
        name: _whole(name, members[name], f"/{name}")
        for name in ("width", "upper_width", "estimate_width", "depth")
        if given(name)
    }
    depth = chosen.get("depth")
    if depth is not None and depth % 2 == 0:
        raise InvalidSpec("must be odd, so that a median is a cell", pointer="/depth")
    x, x_bits = _fixed_x(kind, d, members["x"]) if given("x") else (None, 0)

    servable = (
        distribution.power is not None
        and SKETCH_POWERS.low <= distribution.power <= SKETCH_POWERS.high
    )
    if method == "sketch" and distribution.power is None:
        raise InvalidSpec(
            "no sketch smaller than the vector can serve softmax: any such structure needs "
            "Ω(n) bits (Song, Xie, Zhou, Theorem 4.4); use method exact",
            pointer="/distribution/softmax",
        )
    if method == "sketch" and not servable:
        raise InvalidSpec(
            "a sketch serves powers from 1 to 2; use method exact for others",
            pointer="/distribution/power",
        )
    power = distribution.power if servable and distribution.power is not None else 2.0
    if given("quantum_bits"):
        quantum_bits = _whole("quantum_bits", members["quantum_bits"], "/quantum_bits")
    else:
        quantum_bits = default_quantum_bits(n, power, magnitude, x_bits)
        if quantum_bits < PARAMETERS["quantum_bits"].low:
            raise InvalidSpec("too large for so small an x", pointer="/magnitude")

    spec = Spec(
        kind=kind,  # type: ignore[arg-type]
        n=n,
        d=d,
        method="exact",
        distribution=distribution,
        samples=samples,
        repetitions=repetitions,
        seed=_whole("seed", members["seed"], "/seed") if given("seed") else draw_seed(),
        magnitude=magnitude,
        quantum_bits=quantum_bits,
        x=x,
        x_quantum_bits=x_bits,
    )
    if method == "exact" or not servable:
        return spec
    sketched = dataclasses.replace(
        spec,
        method="sketch",
        sizes=sizing.suggest_sizes(n, samples, power, **chosen),
    )
    if method == "auto" and spec.memory_bytes <= sketched.memory_bytes:
        return spec
    return sketched
