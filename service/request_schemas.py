"""Wire types: what requests hold, as pydantic models that parse straight into numpy columns.

A body is parsed once into Python objects (wire.parse_json) and then validated
here, strictly and with unknown fields refused. Columns are read by wire's own
readers, which know the pointer of the value at fault and are far cheaper than
validating item by item; from protobuf they come as arrays (wire_arrays). The same
models are the schemas in /openapi.json; so are the answers' models, which are never
instantiated.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.functional_validators import PlainValidator
from pydantic.json_schema import WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from service import sketch_requests, wire, wire_arrays
from service.problems import InvalidFields, fields_of

#: Anchored, as JSON Schema wants it.
NAME_PATTERN: Final = f"^{sketch_requests.NAME_PATTERN}$"

#: A million misspelt fields are not worth a million errors.
_MOST_UNKNOWN: Final = 16
#: No kind has more operands.
_MOST_OPERANDS: Final = 8

_INDEX_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": wire.MAX_INDEX},
        {"type": "string", "pattern": "^[0-9]{1,19}$"},
    ]
}
_NUMBERS_SCHEMA: Final[dict[str, Any]] = {"type": "array", "items": {"type": "number"}}


def _read_integers(value: object, info: ValidationInfo) -> npt.NDArray[np.integer]:
    if isinstance(value, np.ndarray):
        return wire_arrays.whole(value, f"/{info.field_name}")
    return wire.integers(value, f"/{info.field_name}")


def _read_coordinates(value: object, info: ValidationInfo) -> npt.NDArray[np.integer]:
    if isinstance(value, np.ndarray):
        return wire_arrays.whole(value, f"/{info.field_name}")
    return wire.coordinates(value, f"/{info.field_name}")


def _read_numbers(value: object, info: ValidationInfo) -> npt.NDArray[np.floating]:
    if isinstance(value, np.ndarray):
        return wire_arrays.finite(value, f"/{info.field_name}")
    return wire.numbers(value, f"/{info.field_name}")


def _read_rows(value: object, info: ValidationInfo) -> npt.NDArray[np.floating]:
    if isinstance(value, np.ndarray):
        return wire_arrays.finite(value, f"/{info.field_name}")
    return wire.rows(value, f"/{info.field_name}")


Indices = Annotated[
    npt.NDArray[np.integer],
    PlainValidator(_read_integers),
    WithJsonSchema({"type": "array", "items": _INDEX_SCHEMA}),
]
_PAIR_SCHEMA: Final[dict[str, Any]] = {
    "type": "array", "items": _INDEX_SCHEMA, "minItems": 2, "maxItems": 2,
}  # fmt: skip
Coordinates = Annotated[
    npt.NDArray[np.integer],
    PlainValidator(_read_coordinates),
    WithJsonSchema({"type": "array", "items": {"anyOf": [*_INDEX_SCHEMA["anyOf"], _PAIR_SCHEMA]}}),
]
Numbers = Annotated[
    npt.NDArray[np.floating], PlainValidator(_read_numbers), WithJsonSchema(_NUMBERS_SCHEMA)
]
Rows = Annotated[
    npt.NDArray[np.floating],
    PlainValidator(_read_rows),
    WithJsonSchema({"type": "array", "items": _NUMBERS_SCHEMA}),
]
Name = Annotated[str, Field(pattern=NAME_PATTERN, description="Name of a sketch.")]
Whole = Annotated[int, Field(ge=0, le=wire.MAX_INDEX)]


class Request(BaseModel):
    """Strict, closed, and free of NaN: the base of every body."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )


class Update(Request):
    """One batch of increments of one operand. Which columns are there decides its layout:
    index and delta for y or x; for A, A1, A2 and X row, column and delta for entries, row and
    values for whole rows."""

    operand: str = Field("y", description="y (the default); A or x; A1, A2 or X.")
    index: Indices | None = Field(None, description="Coordinates of y or x.")
    row: Indices | None = Field(None, description="Rows of A, A1, A2 or X.")
    column: Indices | None = Field(None, description="Columns, one for each of row.")
    delta: Numbers | None = Field(None, description="What is added there, one number each.")
    values: Rows | None = Field(None, description="What is added to whole rows, a list each.")


class SketchUpdate(Update):
    """An update and the sketch it is for."""

    sketch: Name


class Updates(Request):
    """Updates of many sketches, each atomic and answered on its own."""

    updates: list[SketchUpdate]


class Queries(Request):
    """For a matrix whose x is neither fixed nor streamed, one query or several; for a tensor
    whose X is not, that X."""

    x: Numbers | None = Field(None, description="One query: d numbers.")
    queries: Rows | None = Field(None, description="Several queries: rows of d numbers.")
    X: Rows | None = Field(None, description="The X of a tensor: d1 rows of d2 numbers.")


class Sample(Queries):
    """What to draw."""

    count: Whole | None = Field(None, description="Draws; the spec's samples when absent.")
    replacement: bool | None = Field(
        None, description="When absent false; of a tensor true, and nothing else."
    )
    draw: Whole = Field(0, description="Which of the sketch's independent lists.")


class SketchSample(Sample):
    """A sample request and the sketch it is for."""

    sketch: Name


class Samples(Request):
    """Sample requests to many sketches, each answered on its own."""

    requests: list[SketchSample]


class Estimate(Queries):
    """Coordinates of y to estimate; of a tensor pairs [i1, i2]."""

    index: Coordinates = Field(description="Which, at most as many as the service allows.")


class Norm(Queries):
    """Which norm; the spec's power when absent."""

    power: float | None = Field(
        None, description="A sketch has 2 and its own, the exact method any above 0."
    )


class Seal(Request):
    """The operand that no later update may change."""

    operand: str = Field(description="y; A or x; A1, A2 or X.")


class Merge(Request):
    """The sketch to add, and which of its operands."""

    source: Name
    operands: list[str] | None = Field(
        None,
        max_length=_MOST_OPERANDS,
        description="y of a vector, A of a matrix when absent; of a tensor exactly one.",
    )


class Patch(Request):
    """The new time to live; null for none."""

    ttl_seconds: float | None


class Softmax(Request):
    """The law exp(y_i / temperature)."""

    temperature: float = 1.0


class Distribution(Request):
    """The law of a draw: |y_i|^power, or softmax (exact method only). One of the two."""

    power: float | None = None
    softmax: Softmax | None = None


Size = Annotated[int, Field(ge=1)]


class Shape(Request):
    """n coordinates of a vector; n rows and d columns of a matrix."""

    n: Size
    d: Size | None = None


class TensorShape(Request):
    """Rows and columns of A1 (n1 × d1) and of A2 (n2 × d2)."""

    n1: Size
    n2: Size
    d1: Size
    d2: Size


class Spec(Request):
    """What a sketch is to be."""

    # sketch_core checks it; here it is only described.
    kind: Literal["vector", "matrix", "tensor"] = Field(
        description="Whether y itself is streamed, or A of y = A x, or A1 and A2 of Y = A1 X A2ᵀ."
    )
    shape: Shape | TensorShape = Field(description="Of the kind.")
    method: Literal["auto", "sketch", "exact"] = Field(
        "auto", description="auto takes whichever of the others takes less memory."
    )
    distribution: Distribution | None = Field(
        None, description="The law of a draw; absent, power 2."
    )
    samples: int = Field(16, description="Draws one list serves.")
    repetitions: int = Field(1, description="Independent lists held.")
    seed: int | None = Field(None, description="Drawn at random when absent.")
    magnitude: float = Field(1024.0, description="Largest |y_i| expected.")
    quantum_bits: int | None = Field(
        None, description="Increments are rounded to multiples of 2^-quantum_bits."
    )
    width: int | None = Field(
        None, description="Buckets a row of the last level; like the others, computed when absent."
    )
    upper_width: int | None = Field(None, description="Buckets a row of the levels above.")
    estimate_width: int | None = Field(
        None, description="Buckets a row of what serves point estimates."
    )
    depth: int | None = Field(None, description="Rows of a level; odd.")
    second_width: int | None = Field(
        None, description="Buckets a row of the last level of A2's tables."
    )
    second_upper_width: int | None = Field(None, description="Buckets a row of their levels above.")
    x: list[float] | None = Field(None, description="Fixes the query of a matrix: d numbers.")
    X: list[list[float]] | None = Field(
        None, description="Fixes the X of a tensor: d1 rows of d2 numbers."
    )
    ttl_seconds: float | None = Field(
        None, description="The sketch expires that long after its last update."
    )


Limit = Annotated[int, Field(ge=0, le=wire.MAX_JSON_INTEGER)]
Speed = Annotated[float, Field(ge=1e-3, le=1e12)]


class Quota(Request):
    """Limits of a tenant over all replicas; null is no limit."""

    sketches: Limit | None = Field(None, description="How many it may have.")
    state_bytes: Limit | None = Field(None, description="Bytes of all their states.")
    updates_per_second: Speed | None = Field(None, description="Coordinates.")
    requests_per_second: Speed | None = Field(None, description="Of any kind.")
    batch_updates: Limit | None = Field(None, description="Coordinates in one batch.")


class NewKey(Request):
    """A key to make."""

    tenant: Annotated[str, Field(pattern=NAME_PATTERN, description="Whose sketches it opens.")]
    role: Literal["read", "write", "admin"] = Field(
        description="Each may do what those before it may."
    )
    label: str = Field("", max_length=128, description="To tell keys apart.")
    expires_in_seconds: float | None = Field(None, description="From now; null for never.")


Model = TypeVar("Model", bound=Request)


def validate(model: type[Model], value: object) -> Model:
    """`value`, parsed JSON, as a model. Of many unknown fields only the first are named.

    Pointers of the errors begin at `value`. Raises InvalidFields, or InvalidRequest from a column.
    """
    known = model.model_fields
    if isinstance(value, dict) and len(value) > len(known) + _MOST_UNKNOWN:
        unknown = islice((name for name in value if name not in known), _MOST_UNKNOWN)
        value = {name: value[name] for name in chain(known.keys() & value.keys(), unknown)}
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidFields(fields_of(error.errors(include_url=False))) from error
