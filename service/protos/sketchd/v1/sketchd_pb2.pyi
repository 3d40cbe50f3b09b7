from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Shape(_message.Message):
    __slots__ = ("n", "d", "n1", "n2", "d1", "d2")
    N_FIELD_NUMBER: _ClassVar[int]
    D_FIELD_NUMBER: _ClassVar[int]
    N1_FIELD_NUMBER: _ClassVar[int]
    N2_FIELD_NUMBER: _ClassVar[int]
    D1_FIELD_NUMBER: _ClassVar[int]
    D2_FIELD_NUMBER: _ClassVar[int]
    n: int
    d: int
    n1: int
    n2: int
    d1: int
    d2: int
    def __init__(self, n: _Optional[int] = ..., d: _Optional[int] = ..., n1: _Optional[int] = ..., n2: _Optional[int] = ..., d1: _Optional[int] = ..., d2: _Optional[int] = ...) -> None: ...

class Softmax(_message.Message):
    __slots__ = ("temperature",)
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    def __init__(self, temperature: _Optional[float] = ...) -> None: ...

class Distribution(_message.Message):
    __slots__ = ("power", "softmax")
    POWER_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    power: float
    softmax: Softmax
    def __init__(self, power: _Optional[float] = ..., softmax: _Optional[_Union[Softmax, _Mapping]] = ...) -> None: ...

class Matrix(_message.Message):
    __slots__ = ("rows", "columns", "values")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class Spec(_message.Message):
    __slots__ = ("kind", "shape", "method", "distribution", "samples", "repetitions", "seed", "magnitude", "quantum_bits", "width", "upper_width", "estimate_width", "depth", "second_width", "second_upper_width", "x", "X", "ttl_seconds")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REPETITIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    QUANTUM_BITS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    shape: Shape
    method: str
    distribution: Distribution
    samples: int
    repetitions: int
    seed: int
    magnitude: float
    quantum_bits: int
    width: int
    upper_width: int
    estimate_width: int
    depth: int
    second_width: int
    second_upper_width: int
    x: _containers.RepeatedScalarFieldContainer[float]
    X: Matrix
    ttl_seconds: float
    def __init__(self, kind: _Optional[str] = ..., shape: _Optional[_Union[Shape, _Mapping]] = ..., method: _Optional[str] = ..., distribution: _Optional[_Union[Distribution, _Mapping]] = ..., samples: _Optional[int] = ..., repetitions: _Optional[int] = ..., seed: _Optional[int] = ..., magnitude: _Optional[float] = ..., quantum_bits: _Optional[int] = ..., width: _Optional[int] = ..., upper_width: _Optional[int] = ..., estimate_width: _Optional[int] = ..., depth: _Optional[int] = ..., second_width: _Optional[int] = ..., second_upper_width: _Optional[int] = ..., x: _Optional[_Iterable[float]] = ..., X: _Optional[_Union[Matrix, _Mapping]] = ..., ttl_seconds: _Optional[float] = ...) -> None: ...

class MemoryBytes(_message.Message):
    __slots__ = ("state", "log")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    state: int
    log: int
    def __init__(self, state: _Optional[int] = ..., log: _Optional[int] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("name", "kind", "shape", "method", "distribution", "samples", "repetitions", "seed", "magnitude", "quantum_bits", "width", "upper_width", "estimate_width", "depth", "levels", "second_width", "second_upper_width", "second_levels", "x", "X", "ttl_seconds", "memory_bytes", "updates", "underflowed", "version", "exact", "sealed", "created_at", "expires_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REPETITIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    QUANTUM_BITS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    SECOND_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_LEVELS_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    UNDERFLOWED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    shape: Shape
    method: str
    distribution: Distribution
    samples: int
    repetitions: int
    seed: int
    magnitude: float
    quantum_bits: int
    width: int
    upper_width: int
    estimate_width: int
    depth: int
    levels: int
    second_width: int
    second_upper_width: int
    second_levels: int
    x: _containers.RepeatedScalarFieldContainer[float]
    X: Matrix
    ttl_seconds: float
    memory_bytes: MemoryBytes
    updates: int
    underflowed: int
    version: str
    exact: bool
    sealed: _containers.RepeatedScalarFieldContainer[str]
    created_at: str
    expires_at: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., shape: _Optional[_Union[Shape, _Mapping]] = ..., method: _Optional[str] = ..., distribution: _Optional[_Union[Distribution, _Mapping]] = ..., samples: _Optional[int] = ..., repetitions: _Optional[int] = ..., seed: _Optional[int] = ..., magnitude: _Optional[float] = ..., quantum_bits: _Optional[int] = ..., width: _Optional[int] = ..., upper_width: _Optional[int] = ..., estimate_width: _Optional[int] = ..., depth: _Optional[int] = ..., levels: _Optional[int] = ..., second_width: _Optional[int] = ..., second_upper_width: _Optional[int] = ..., second_levels: _Optional[int] = ..., x: _Optional[_Iterable[float]] = ..., X: _Optional[_Union[Matrix, _Mapping]] = ..., ttl_seconds: _Optional[float] = ..., memory_bytes: _Optional[_Union[MemoryBytes, _Mapping]] = ..., updates: _Optional[int] = ..., underflowed: _Optional[int] = ..., version: _Optional[str] = ..., exact: _Optional[bool] = ..., sealed: _Optional[_Iterable[str]] = ..., created_at: _Optional[str] = ..., expires_at: _Optional[str] = ...) -> None: ...

class CreateSketchRequest(_message.Message):
    __slots__ = ("name", "spec")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: Spec
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[Spec, _Mapping]] = ...) -> None: ...

class CreateSketchResponse(_message.Message):
    __slots__ = ("sketch", "created")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    sketch: Sketch
    created: bool
    def __init__(self, sketch: _Optional[_Union[Sketch, _Mapping]] = ..., created: _Optional[bool] = ...) -> None: ...

class GetSketchRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListSketchesRequest(_message.Message):
    __slots__ = ("prefix", "limit", "cursor", "contains")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    CONTAINS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    limit: int
    cursor: str
    contains: str
    def __init__(self, prefix: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., contains: _Optional[str] = ...) -> None: ...

class ListSketchesResponse(_message.Message):
    __slots__ = ("sketches", "next_cursor")
    SKETCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    sketches: _containers.RepeatedCompositeFieldContainer[Sketch]
    next_cursor: str
    def __init__(self, sketches: _Optional[_Iterable[_Union[Sketch, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class PatchSketchRequest(_message.Message):
    __slots__ = ("name", "ttl_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ttl_seconds: float
    def __init__(self, name: _Optional[str] = ..., ttl_seconds: _Optional[float] = ...) -> None: ...

class DeleteSketchRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteSketchResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: Spec
    def __init__(self, spec: _Optional[_Union[Spec, _Mapping]] = ...) -> None: ...

class ExpectedErrors(_message.Message):
    __slots__ = ("estimate", "norm")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    estimate: float
    norm: float
    def __init__(self, estimate: _Optional[float] = ..., norm: _Optional[float] = ...) -> None: ...

class Advice(_message.Message):
    __slots__ = ("method", "reason")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    method: str
    reason: str
    def __init__(self, method: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("spec", "kind", "shape", "method", "samples", "repetitions", "quantum_bits", "quantum", "largest_value", "memory_bytes", "exact_memory_bytes", "limit_bytes", "fits", "ttl_seconds", "expected_errors", "advice", "width", "upper_width", "estimate_width", "depth", "levels", "second_width", "second_upper_width", "second_levels")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REPETITIONS_FIELD_NUMBER: _ClassVar[int]
    QUANTUM_BITS_FIELD_NUMBER: _ClassVar[int]
    QUANTUM_FIELD_NUMBER: _ClassVar[int]
    LARGEST_VALUE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXACT_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    SECOND_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_UPPER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SECOND_LEVELS_FIELD_NUMBER: _ClassVar[int]
    spec: Spec
    kind: str
    shape: Shape
    method: str
    samples: int
    repetitions: int
    quantum_bits: int
    quantum: float
    largest_value: float
    memory_bytes: int
    exact_memory_bytes: int
    limit_bytes: int
    fits: bool
    ttl_seconds: float
    expected_errors: ExpectedErrors
    advice: Advice
    width: int
    upper_width: int
    estimate_width: int
    depth: int
    levels: int
    second_width: int
    second_upper_width: int
    second_levels: int
    def __init__(self, spec: _Optional[_Union[Spec, _Mapping]] = ..., kind: _Optional[str] = ..., shape: _Optional[_Union[Shape, _Mapping]] = ..., method: _Optional[str] = ..., samples: _Optional[int] = ..., repetitions: _Optional[int] = ..., quantum_bits: _Optional[int] = ..., quantum: _Optional[float] = ..., largest_value: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., exact_memory_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., fits: _Optional[bool] = ..., ttl_seconds: _Optional[float] = ..., expected_errors: _Optional[_Union[ExpectedErrors, _Mapping]] = ..., advice: _Optional[_Union[Advice, _Mapping]] = ..., width: _Optional[int] = ..., upper_width: _Optional[int] = ..., estimate_width: _Optional[int] = ..., depth: _Optional[int] = ..., levels: _Optional[int] = ..., second_width: _Optional[int] = ..., second_upper_width: _Optional[int] = ..., second_levels: _Optional[int] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("sketch", "operand", "index", "row", "column", "delta", "values", "safetensors", "idempotency_key")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    OPERAND_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    operand: str
    index: _containers.RepeatedScalarFieldContainer[int]
    row: _containers.RepeatedScalarFieldContainer[int]
    column: _containers.RepeatedScalarFieldContainer[int]
    delta: _containers.RepeatedScalarFieldContainer[float]
    values: _containers.RepeatedScalarFieldContainer[float]
    safetensors: bytes
    idempotency_key: str
    def __init__(self, sketch: _Optional[str] = ..., operand: _Optional[str] = ..., index: _Optional[_Iterable[int]] = ..., row: _Optional[_Iterable[int]] = ..., column: _Optional[_Iterable[int]] = ..., delta: _Optional[_Iterable[float]] = ..., values: _Optional[_Iterable[float]] = ..., safetensors: _Optional[bytes] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("accepted", "version")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    version: str
    def __init__(self, accepted: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("status", "code", "detail", "errors", "retry_after_seconds")
    class Field(_message.Message):
        __slots__ = ("pointer", "detail")
        POINTER_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        pointer: str
        detail: str
        def __init__(self, pointer: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    status: int
    code: str
    detail: str
    errors: _containers.RepeatedCompositeFieldContainer[Problem.Field]
    retry_after_seconds: float
    def __init__(self, status: _Optional[int] = ..., code: _Optional[str] = ..., detail: _Optional[str] = ..., errors: _Optional[_Iterable[_Union[Problem.Field, _Mapping]]] = ..., retry_after_seconds: _Optional[float] = ...) -> None: ...

class UpdateResult(_message.Message):
    __slots__ = ("response", "problem")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    response: UpdateResponse
    problem: Problem
    def __init__(self, response: _Optional[_Union[UpdateResponse, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class SampleRequest(_message.Message):
    __slots__ = ("sketch", "count", "replacement", "draw", "x", "queries", "X", "safetensors", "as_safetensors")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    DRAW_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    AS_SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    count: int
    replacement: bool
    draw: int
    x: _containers.RepeatedScalarFieldContainer[float]
    queries: Matrix
    X: Matrix
    safetensors: bytes
    as_safetensors: bool
    def __init__(self, sketch: _Optional[str] = ..., count: _Optional[int] = ..., replacement: _Optional[bool] = ..., draw: _Optional[int] = ..., x: _Optional[_Iterable[float]] = ..., queries: _Optional[_Union[Matrix, _Mapping]] = ..., X: _Optional[_Union[Matrix, _Mapping]] = ..., safetensors: _Optional[bytes] = ..., as_safetensors: _Optional[bool] = ...) -> None: ...

class SampleResponse(_message.Message):
    __slots__ = ("status", "index", "index2", "value", "probability", "inclusion_probability", "norm", "threshold", "draw", "draws", "version", "exact", "results", "safetensors")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX2_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DRAW_FIELD_NUMBER: _ClassVar[int]
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    status: str
    index: _containers.RepeatedScalarFieldContainer[int]
    index2: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    probability: _containers.RepeatedScalarFieldContainer[float]
    inclusion_probability: _containers.RepeatedScalarFieldContainer[float]
    norm: float
    threshold: float
    draw: int
    draws: int
    version: str
    exact: bool
    results: _containers.RepeatedCompositeFieldContainer[SampleResponse]
    safetensors: bytes
    def __init__(self, status: _Optional[str] = ..., index: _Optional[_Iterable[int]] = ..., index2: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., probability: _Optional[_Iterable[float]] = ..., inclusion_probability: _Optional[_Iterable[float]] = ..., norm: _Optional[float] = ..., threshold: _Optional[float] = ..., draw: _Optional[int] = ..., draws: _Optional[int] = ..., version: _Optional[str] = ..., exact: _Optional[bool] = ..., results: _Optional[_Iterable[_Union[SampleResponse, _Mapping]]] = ..., safetensors: _Optional[bytes] = ...) -> None: ...

class SampleResult(_message.Message):
    __slots__ = ("response", "problem")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    response: SampleResponse
    problem: Problem
    def __init__(self, response: _Optional[_Union[SampleResponse, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class EstimateRequest(_message.Message):
    __slots__ = ("sketch", "index", "index2", "x", "queries", "X")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX2_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    index: _containers.RepeatedScalarFieldContainer[int]
    index2: _containers.RepeatedScalarFieldContainer[int]
    x: _containers.RepeatedScalarFieldContainer[float]
    queries: Matrix
    X: Matrix
    def __init__(self, sketch: _Optional[str] = ..., index: _Optional[_Iterable[int]] = ..., index2: _Optional[_Iterable[int]] = ..., x: _Optional[_Iterable[float]] = ..., queries: _Optional[_Union[Matrix, _Mapping]] = ..., X: _Optional[_Union[Matrix, _Mapping]] = ...) -> None: ...

class EstimateResponse(_message.Message):
    __slots__ = ("index", "index2", "value", "standard_error", "version", "exact", "results")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX2_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    index: _containers.RepeatedScalarFieldContainer[int]
    index2: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    standard_error: _containers.RepeatedScalarFieldContainer[float]
    version: str
    exact: bool
    results: _containers.RepeatedCompositeFieldContainer[EstimateResponse]
    def __init__(self, index: _Optional[_Iterable[int]] = ..., index2: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., standard_error: _Optional[_Iterable[float]] = ..., version: _Optional[str] = ..., exact: _Optional[bool] = ..., results: _Optional[_Iterable[_Union[EstimateResponse, _Mapping]]] = ...) -> None: ...

class NormRequest(_message.Message):
    __slots__ = ("sketch", "power", "x", "queries", "X")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    power: float
    x: _containers.RepeatedScalarFieldContainer[float]
    queries: Matrix
    X: Matrix
    def __init__(self, sketch: _Optional[str] = ..., power: _Optional[float] = ..., x: _Optional[_Iterable[float]] = ..., queries: _Optional[_Union[Matrix, _Mapping]] = ..., X: _Optional[_Union[Matrix, _Mapping]] = ...) -> None: ...

class NormResponse(_message.Message):
    __slots__ = ("power", "norm", "standard_error", "version", "exact", "results")
    POWER_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    power: float
    norm: float
    standard_error: float
    version: str
    exact: bool
    results: _containers.RepeatedCompositeFieldContainer[NormResponse]
    def __init__(self, power: _Optional[float] = ..., norm: _Optional[float] = ..., standard_error: _Optional[float] = ..., version: _Optional[str] = ..., exact: _Optional[bool] = ..., results: _Optional[_Iterable[_Union[NormResponse, _Mapping]]] = ...) -> None: ...

class SealRequest(_message.Message):
    __slots__ = ("sketch", "operand", "idempotency_key")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    OPERAND_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    operand: str
    idempotency_key: str
    def __init__(self, sketch: _Optional[str] = ..., operand: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class MergeRequest(_message.Message):
    __slots__ = ("sketch", "source", "operands", "idempotency_key")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OPERANDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    source: str
    operands: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    def __init__(self, sketch: _Optional[str] = ..., source: _Optional[str] = ..., operands: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ("sketch",)
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    def __init__(self, sketch: _Optional[str] = ...) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("data", "version", "size")
    DATA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    version: str
    size: int
    def __init__(self, data: _Optional[bytes] = ..., version: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class AddSnapshotRequest(_message.Message):
    __slots__ = ("sketch", "operands", "idempotency_key", "data")
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    OPERANDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sketch: str
    operands: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    data: bytes
    def __init__(self, sketch: _Optional[str] = ..., operands: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...
