"""The ranges of a spec's parameters, and the checks that name the field at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sketch_core.errors import InvalidSpec

#: The ends of the positive float64 numbers.
LEAST_POSITIVE: Final = math.ulp(0.0)
LARGEST: Final = math.nextafter(math.inf, 0.0)


@dataclass(frozen=True, slots=True)
class Range:
    """An inclusive range of a numeric spec field; `integer` refuses fractions."""

    low: float
    high: float
    integer: bool = True

    @property
    def reason(self) -> str:
        """Why a number outside is refused."""
        if (self.low, self.high) == (LEAST_POSITIVE, LARGEST):
            return "must be finite and more than 0"
        if self.integer:
            return f"must be between {int(self.low)} and {int(self.high)}"
        return f"must be between {self.low} and {self.high}"


#: The one table of parameter ranges; it documents and validates.
PARAMETERS: Final[dict[str, Range]] = {
    "n": Range(1, 1 << 63),
    "d": Range(1, 1 << 16),
    "n1": Range(1, 1 << 40),
    "n2": Range(1, 1 << 40),
    "d1": Range(1, 1 << 12),
    "d2": Range(1, 1 << 12),
    "samples": Range(1, 4096),
    "repetitions": Range(1, 4096),
    "seed": Range(0, (1 << 64) - 1),
    "magnitude": Range(2.0**-60, 2.0**60, integer=False),
    "quantum_bits": Range(-60, 60),
    "width": Range(1, 1 << 22),
    "upper_width": Range(1, 1 << 22),
    "estimate_width": Range(1, 1 << 22),
    "second_width": Range(1, 1 << 22),
    "second_upper_width": Range(1, 1 << 22),
    # One row cannot tell a coordinate from another in its bucket.
    "depth": Range(3, 31),
    "power": Range(LEAST_POSITIVE, LARGEST, integer=False),
    "temperature": Range(2.0**-60, 2.0**60, integer=False),
    "x": Range(-(2.0**60), 2.0**60, integer=False),
    "X": Range(-(2.0**60), 2.0**60, integer=False),
}
#: Powers a sketch can serve; the exact method takes every power of PARAMETERS.
SKETCH_POWERS: Final = Range(1.0, 2.0, integer=False)
#: The same for a tensor: the energy of a row of Y is a quadratic form, other powers are not.
TENSOR_POWERS: Final = Range(2.0, 2.0, integer=False)
#: Coordinates of a tensor's Y that the exact method forms, for laws other than power 2.
EXACT_PAIRS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Distribution:
    """The law of a draw, f(y_i) / Σ f(y_j): f = |·|^power, or else exp(· / temperature)."""

    power: float | None = 2.0
    temperature: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As a request has it."""
        if self.power is not None:
            return {"power": self.power}
        return {"softmax": {"temperature": self.temperature}}


def number(field: str, value: object, pointer: str) -> float:
    """A number within PARAMETERS[field], or InvalidSpec at `pointer`."""
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
        raise InvalidSpec(allowed.reason, pointer=pointer)
    return value


def whole(field: str, value: object, pointer: str) -> int:
    """A whole number within PARAMETERS[field], or InvalidSpec at `pointer`."""
    return int(number(field, value, pointer))


def members(value: object, allowed: frozenset[str], pointer: str) -> Mapping[str, Any]:
    """The members of an object whose names are all allowed, or InvalidSpec."""
    if not isinstance(value, Mapping):
        raise InvalidSpec("must be an object", pointer=pointer)
    for name in value:
        if name not in allowed:
            token = str(name).replace("~", "~0").replace("/", "~1")
            raise InvalidSpec("unknown field", pointer=f"{pointer}/{token}")
    return value


def distribution(value: object) -> Distribution:
    """The distribution that a request's field of that name asks for, or InvalidSpec."""
    given = members(value, frozenset({"power", "softmax"}), "/distribution")
    if len(given) != 1:
        raise InvalidSpec('must be {"power": p} or {"softmax": {…}}', pointer="/distribution")
    if "power" in given:
        return Distribution(float(number("power", given["power"], "/distribution/power")))
    softmax = members(given["softmax"], frozenset({"temperature"}), "/distribution/softmax")
    temperature = softmax.get("temperature", 1.0)
    return Distribution(
        None, float(number("temperature", temperature, "/distribution/softmax/temperature"))
    )
