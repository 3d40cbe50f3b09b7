"""From a request, most of whose fields are absent, to a Spec with nothing left to choose.

Problem.   A caller says what is streamed and how many draws are wanted; a sketch needs
           widths, depths, levels, a quantum, a seed and a method.
Source.    The table of ranges in parameters.py and the formulas of sizing.py.
Guarantee. Every refusal names the field at fault. What is given is honoured, and
           resolving a Spec written out again gives the same Spec.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sketch_core import scaling, sizing
from sketch_core.errors import InvalidSpec
from sketch_core.parameters import (
    EXACT_PAIRS,
    PARAMETERS,
    SKETCH_POWERS,
    TENSOR_POWERS,
    Distribution,
    distribution,
    members,
    number,
    whole,
)
from sketch_core.spec import OPERANDS, QUERY_OPERAND, SHAPE_FIELDS, TOUCHED_FOR_QUANTUM, Kind, Spec

MAX_QUANTUM_BITS: Final = 24
#: Significant bits of the largest |x_j| when x is fixed at creation and rounded …
FIXED_X_BITS: Final = 14
#: … and of a fixed X, which multiplies nothing that is stored.
FIXED_MATRIX_BITS: Final = 40
#: The largest number of such an x or X is at least this, unless all are zero.
SMALLEST_FIXED_X: Final = 2.0**-60
#: The largest |y_i| expected where a request does not say.
DEFAULT_MAGNITUDE: Final = 1024.0

_SIZES: Final = ("width", "upper_width", "estimate_width", "depth")
_SECOND_SIZES: Final = ("second_width", "second_upper_width")
_REQUEST_FIELDS: Final = frozenset(
    {"kind", "shape", "method", "distribution", "samples", "repetitions", "seed",
     "magnitude", "quantum_bits", *_SIZES, *_SECOND_SIZES, *QUERY_OPERAND.values()}
)  # fmt: skip


def random_seed() -> int:
    """A seed from the operating system, below 2^53 so that every JSON reader keeps it whole."""
    return secrets.randbits(53)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Rows and columns of the first operand, and of a tensor's second."""

    n: int
    d: int = 1
    n2: int | None = None
    d2: int | None = None


def _shape(kind: str, value: object) -> _Shape:
    fields = SHAPE_FIELDS[kind]
    given = members(value, frozenset(fields), "/shape")
    for name in fields:
        if name not in given:
            raise InvalidSpec("is required", pointer=f"/shape/{name}")
    numbers = [whole(name, given[name], f"/shape/{name}") for name in fields]
    if kind == "tensor":
        n1, n2, d1, d2 = numbers
        return _Shape(n1, d1, n2, d2)
    return _Shape(*numbers)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """An x or X given at creation, as whole multiples of 2^-bits, row by row."""

    quanta: tuple[int, ...]
    bits: int

    @property
    def largest(self) -> float:
        return math.ldexp(max(map(abs, self.quanta)), -self.bits)


def _listed(name: str, size: str, count: int, value: object, pointer: str) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidSpec(f"must be a list of {name}", pointer=pointer)
    if len(value) != count:
        raise InvalidSpec(f"must have {size} = {count} {name}, has {len(value)}", pointer=pointer)
    return value


def _fixed(kind: str, shape: _Shape, value: object) -> _Fixed:
    """Round x, or X, to whole multiples of a power of two, the largest to a number of bits."""
    if kind == "tensor":
        assert shape.d2 is not None
        rows = _listed("rows", "d1", shape.d, value, "/X")
        listed = [_listed("numbers", "d2", shape.d2, row, f"/X/{i}") for i, row in enumerate(rows)]
        numbers = [
            number("X", item, f"/X/{i}/{j}")
            for i, row in enumerate(listed)
            for j, item in enumerate(row)
        ]
        return _rounded(numbers, FIXED_MATRIX_BITS, "/X")
    items = _listed("numbers", "d", shape.d, value, "/x")
    numbers = [number("x", item, f"/x/{i}") for i, item in enumerate(items)]
    return _rounded(numbers, FIXED_X_BITS, "/x")


def _rounded(numbers: Sequence[float], significant: int, pointer: str) -> _Fixed:
    largest = max(abs(number) for number in numbers)
    if largest == 0.0:
        return _Fixed((0,) * len(numbers), 0)
    if largest < SMALLEST_FIXED_X:
        raise InvalidSpec("the largest must be at least 2^-60, or all zero", pointer=pointer)
    bits = significant - math.frexp(largest)[1]
    if round(math.ldexp(largest, bits)) == 1 << significant:
        bits -= 1  # rounded up to a power of two: x resolved again must give the same bits
    return _Fixed(tuple(round(math.ldexp(number, bits)) for number in numbers), bits)


def _default_magnitude(fixed: _Fixed | None) -> float:
    """DEFAULT_MAGNITUDE, times the largest |x_j| where x is fixed.

    So the quantum of A does not depend on the unit of x.
    """
    largest = fixed.largest if fixed is not None else 1.0
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

    def shape(self, kind: Kind) -> _Shape:
        if "shape" not in self.members:
            raise InvalidSpec("is required", pointer="/shape")
        return _shape(kind, self.members["shape"])

    def method(self) -> str:
        method = self.members["method"] if self.given("method") else "auto"
        if method not in ("auto", "sketch", "exact"):
            raise InvalidSpec("must be auto, sketch or exact", pointer="/method")
        return str(method)

    def fixed(self, kind: Kind, shape: _Shape) -> _Fixed | None:
        """The x or X that is given."""
        wanted = QUERY_OPERAND.get(kind)
        for name in QUERY_OPERAND.values():
            if name != wanted and self.given(name):
                raise InvalidSpec(f"a {kind} has no operand {name}", pointer=f"/{name}")
        if wanted is None or not self.given(wanted):
            return None
        return _fixed(kind, shape, self.members[wanted])

    def sizes(self, names: tuple[str, ...]) -> dict[str, int]:
        """Those of the sizes that are given, by name."""
        chosen = {name: self.whole(name, 0) for name in names if self.given(name)}
        if chosen.get("depth", 1) % 2 == 0:
            raise InvalidSpec("must be odd, so that a median is a cell", pointer="/depth")
        return chosen

    def second_sizes(self, kind: Kind) -> dict[str, int]:
        """Sizes of A2's tables that are given, by the name they have there."""
        chosen = self.sizes(_SECOND_SIZES)
        if chosen and kind != "tensor":
            raise InvalidSpec(
                "only a tensor has a second operand", pointer=f"/{next(iter(chosen))}"
            )
        return {name.removeprefix("second_"): size for name, size in chosen.items()}


def _servable_power(kind: str, law: Distribution, method: str) -> float | None:
    """The power a sketch can serve, or None where only the exact method can.

    Raises InvalidSpec when a sketch is asked for all the same.
    """
    power = law.power
    allowed = TENSOR_POWERS if kind == "tensor" else SKETCH_POWERS
    if power is not None and allowed.low <= power <= allowed.high:
        return power
    if method == "sketch" and power is None:
        raise InvalidSpec(
            "no sketch smaller than the vector can serve softmax: any such structure needs "
            "Ω(n) bits (Song, Xie, Zhou, Theorem 4.4); use method exact",
            pointer="/distribution/softmax",
        )
    if method == "sketch":
        served = "power 2" if kind == "tensor" else "powers from 1 to 2"
        what = "a sketch of a tensor" if kind == "tensor" else "a sketch"
        raise InvalidSpec(
            f"{what} serves {served}; use method exact for others", pointer="/distribution/power"
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
    shape = asked.shape(kind)
    law = distribution(asked.members["distribution"]) if asked.given("distribution") else None
    law = law or Distribution()
    method = asked.method()
    samples = asked.whole("samples", 16)
    repetitions = asked.whole("repetitions", 1)
    chosen, second_chosen = asked.sizes(_SIZES), asked.second_sizes(kind)
    fixed = asked.fixed(kind, shape)
    collapsing = fixed if kind == "matrix" else None
    x_bits = collapsing.bits if collapsing else 0
    magnitude = asked.number("magnitude", _default_magnitude(collapsing))
    power = _servable_power(kind, law, method)
    finest = default_quantum_bits(max(shape.n, shape.n2 or 1), power or 2.0, magnitude, x_bits)
    quantum_bits = asked.whole("quantum_bits", finest)
    if quantum_bits < PARAMETERS["quantum_bits"].low:
        raise InvalidSpec("too large for so small an x", pointer="/magnitude")
    exact = Spec(
        kind=kind,
        n=shape.n,
        d=shape.d,
        method="exact",
        distribution=law,
        samples=samples,
        repetitions=repetitions,
        seed=asked.whole("seed", 0) if asked.given("seed") else draw_seed(),
        magnitude=magnitude,
        quantum_bits=quantum_bits,
        x=fixed.quanta if fixed else None,
        x_quantum_bits=fixed.bits if fixed else 0,
        n2=shape.n2,
        d2=shape.d2,
    )
    if method == "exact" or power is None:
        _check_pairs(exact)
        return exact
    sizes, second = _suggested(shape, samples, power, chosen, second_chosen)
    sketched = dataclasses.replace(exact, method="sketch", sizes=sizes, second_sizes=second)
    smaller = exact.memory_bytes <= sketched.memory_bytes
    return exact if method == "auto" and smaller else sketched


def _check_pairs(exact: Spec) -> None:
    """Refuse a tensor all of whose coordinates would have to be formed, if they are too many."""
    formed = exact.kind == "tensor" and exact.distribution.power != 2.0
    if formed and exact.coordinates > EXACT_PAIRS:
        raise InvalidSpec(
            f"the exact method forms all n1 · n2 coordinates for a law other than power 2: "
            f"at most {EXACT_PAIRS}",
            pointer="/shape/n1",
        )


def _suggested(
    shape: _Shape,
    samples: int,
    power: float,
    chosen: Mapping[str, int],
    second_chosen: Mapping[str, int],
) -> tuple[sizing.Sizes, sizing.Sizes | None]:
    """The sizes of the first operand's tables, and of a tensor's second."""
    if shape.n2 is None:
        return sizing.suggest_sizes(shape.n, samples, power, **chosen), None
    assert shape.d2 is not None
    columns, directions = max(shape.d, shape.d2), min(shape.d, shape.d2)
    first, second = sizing.suggest_tensor_sizes(
        shape.n, shape.n2, columns, samples, chosen, second_chosen
    )
    if first.unscaled_cells < directions:
        raise InvalidSpec(
            f"times depth must be at least min(d1, d2) = {directions}: fewer buckets cannot "
            "tell a row of Y from another",
            pointer="/estimate_width",
        )
    return first, second
