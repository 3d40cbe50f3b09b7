"""Wire types: what answers hold. They describe /openapi.json and are never instantiated."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

_EXACT: Final = "Whether the state that answered is proven to hold the true integers."


class MemoryBytes(BaseModel):
    """Bytes of the folded state, and of the log since the last checkpoint."""

    state: int = Field(description="Bytes of the folded state.")
    log: int = Field(description="Bytes of updates not yet folded into a checkpoint.")


class PowerLaw(BaseModel):
    """Draws follow |y_i|^power."""

    power: float


class SoftmaxParameters(BaseModel):
    """The divisor of y_i."""

    temperature: float


class SoftmaxLaw(BaseModel):
    """Draws follow exp(y_i / temperature)."""

    softmax: SoftmaxParameters


class ShapeAnswer(BaseModel):
    """n, and d of a matrix."""

    n: int = Field(description="Coordinates of y.")
    d: int | None = Field(None, description="Columns of a matrix.")


class TensorShapeAnswer(BaseModel):
    """Rows and columns of A1 (n1 × d1) and of A2 (n2 × d2)."""

    n1: int = Field(description="Rows of A1: the first of a pair is below it.")
    n2: int = Field(description="Rows of A2: the second of a pair is below it.")
    d1: int = Field(description="Columns of A1, rows of X.")
    d2: int = Field(description="Columns of A2, and of X.")


class Info(BaseModel):
    """A sketch: its spec with every default filled in, and its state."""

    name: str = Field(description="Unique among the sketches of a tenant.")
    kind: Literal["vector", "matrix", "tensor"]
    shape: TensorShapeAnswer | ShapeAnswer
    method: Literal["sketch", "exact"] = Field(description="As asked, or what auto took.")
    distribution: PowerLaw | SoftmaxLaw = Field(description="The law of a draw.")
    samples: int = Field(description="Draws one list serves.")
    repetitions: int = Field(description="Independent lists held.")
    seed: int = Field(description="Sketches merge only if their seeds are the same.")
    magnitude: float = Field(description="Largest |y_i| expected.")
    quantum_bits: int = Field(description="Increments are rounded to multiples of 2^-quantum_bits.")
    width: int | None = Field(None, description="Absent for exact, like the next three.")
    upper_width: int | None = Field(None, description="Buckets a row of the levels above the last.")
    estimate_width: int | None = Field(
        None, description="Buckets a row of what serves point estimates."
    )
    depth: int | None = Field(None, description="Rows a level.")
    levels: int | None = Field(description="Null for exact.")
    second_width: int | None = Field(None, description="Of a tensor's A2, like the next two.")
    second_upper_width: int | None = Field(
        None, description="Buckets a row of the levels above the last."
    )
    second_levels: int | None = Field(None, description="Levels of each of its tables.")
    x: list[float] | None = Field(None, description="The fixed query after rounding, if any.")
    X: list[list[float]] | None = Field(None, description="The fixed X after rounding, if any.")
    ttl_seconds: float | None = Field(
        description="It expires that long after its last update; null for never."
    )
    memory_bytes: MemoryBytes = Field(description="What the sketch takes in the store.")
    updates: int = Field(description="Increments accepted.")
    underflowed: int = Field(description="Increments too small for the quantum, lost.")
    version: str = Field(description="Changes with every change of the state.")
    exact: bool = Field(description="Whether every cell is proven to hold the true integer.")
    sealed: list[str] = Field(description="Operands that no update can change.")
    created_at: str = Field(description="RFC 3339, in UTC.")
    expires_at: str | None = Field(description="RFC 3339, in UTC; null without ttl_seconds.")


class SketchList(BaseModel):
    """A page of sketches by name."""

    sketches: list[Info]
    next_cursor: str | None


class Acknowledgement(BaseModel):
    """The change is durable, and in every later answer."""

    accepted: int = Field(description="Updates in the batch; 0 for states that were added.")
    version: str


class FieldProblem(BaseModel):
    """One field at fault."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="Where the code is explained.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable and machine-readable.")
    errors: list[FieldProblem] | None = None
    request_id: str | None = Field(None, description="With status 500 only.")


class UpdateResult(BaseModel):
    """The answer to one part: accepted and version, or a problem."""

    sketch: str | None
    status: int
    accepted: int | None = None
    version: str | None = None
    problem: Problem | None = None


class UpdateResults(BaseModel):
    """One result a part, in order."""

    results: list[UpdateResult]


#: A coordinate of y: an index, or of a tensor a pair of them.
_Coordinate = int | str | tuple[int | str, int | str]


class Drawn(BaseModel):
    """Drawn coordinates. Indices over 2^53 are strings; those of a tensor are pairs."""

    status: Literal["ok", "partial", "failed", "empty"] = Field(
        description="ok: every draw was served. partial: fewer could be, with confidence, or y has "
        "fewer coordinates that are not 0. failed: none could, though y is not 0. empty: y is 0."
    )
    index: list[_Coordinate] = Field(
        description="The coordinates drawn, of a tensor as pairs [i1, i2]; over 2^53 as strings."
    )
    value: list[float | None] = Field(description="Estimates of y_i.")
    probability: list[float | None] = Field(
        description="Estimates of |y_i|^p / ‖y‖_p^p; of exp(y_i/T) / Σ exp(y/T) for softmax."
    )
    inclusion_probability: list[float | None] | None = Field(
        None, description="That the list holds the coordinate. Absent with replacement."
    )
    norm: float | None = Field(
        description="Estimate of ‖y‖_p; for softmax a logarithm, log Σ exp(y/T). "
        "Null when it is no finite float64."
    )
    threshold: float | None = Field(
        description="The scaled magnitude below which nothing was served; 0 when every coordinate "
        "that is not 0 was. For softmax its logarithm, then null."
    )
    draw: int = Field(description="Which of the independent lists.")
    draws: int | None = Field(description="Lists held; null when any draw is served (exact).")
    version: str = Field(description="Of the state that was asked.")
    exact: bool = Field(description=_EXACT)


class DrawnResults(BaseModel):
    """One answer a query."""

    results: list[Drawn]


class SampleResult(BaseModel):
    """The answer to one part, or a problem."""

    sketch: str | None
    status: int
    answer: Drawn | DrawnResults | None = None
    problem: Problem | None = None


class SampleResults(BaseModel):
    """One result a part, in order."""

    results: list[SampleResult]


class Estimates(BaseModel):
    """Point estimates of y."""

    index: list[_Coordinate] = Field(description="As asked; those over 2^53 as strings.")
    value: list[float | None] = Field(description="Estimates of y there.")
    standard_error: list[float | None] = Field(description="Of each value; 0 for the exact method.")
    version: str = Field(description="Of the state that was asked.")
    exact: bool = Field(description=_EXACT)


class EstimateResults(BaseModel):
    """One answer a query."""

    results: list[Estimates]


class NormAnswer(BaseModel):
    """‖y‖_power; for softmax log Σ exp(y_i / temperature), and power null."""

    power: float | None = Field(description="Which norm; null for softmax.")
    norm: float | None = Field(
        description="Estimate of ‖y‖_power; for softmax a logarithm, log Σ exp(y/T). "
        "Null when it is no finite float64."
    )
    standard_error: float | None = Field(description="Of norm; 0 for the exact method.")
    version: str = Field(description="Of the state that was asked.")
    exact: bool = Field(description=_EXACT)


class NormResults(BaseModel):
    """One answer a query."""

    results: list[NormAnswer]


class Advice(BaseModel):
    """Which method `auto` takes, and why."""

    method: Literal["sketch", "exact"] = Field(description="What auto takes.")
    reason: str = Field(description="In a sentence.")


class ExpectedErrors(BaseModel):
    """Of a sketch of these sizes, as shares of ‖y‖₂; empty for the exact method."""

    estimate: float | None = Field(None, description="Standard deviation of a point estimate.")
    norm: float | None = Field(None, description="Relative standard deviation of ‖y‖₂.")


class Plan(BaseModel):
    """What a spec would become."""

    spec: dict[str, Any] = Field(description="With every default filled in.")
    kind: Literal["vector", "matrix", "tensor"]
    shape: TensorShapeAnswer | ShapeAnswer
    method: Literal["sketch", "exact"] = Field(description="As asked, or what auto takes.")
    samples: int = Field(description="Draws one list serves.")
    repetitions: int = Field(description="Independent lists held.")
    quantum_bits: int = Field(description="Sets the quantum, 2^-quantum_bits.")
    quantum: float = Field(description="Increments are rounded to multiples of this.")
    largest_value: float = Field(description="The largest |y_i| for which cells are sure to fit.")
    memory_bytes: int = Field(description="Of the state, all repetitions together.")
    exact_memory_bytes: int = Field(description="Of the dense operands.")
    limit_bytes: int = Field(description="The most the service allows a state of this method.")
    fits: bool = Field(description="Whether memory_bytes is within the limit.")
    ttl_seconds: float | None = Field(description="As asked; null for none.")
    expected_errors: ExpectedErrors = Field(
        description="Shares of ‖y‖₂: estimate and norm. Empty for the exact method."
    )
    advice: Advice = Field(description="Which method auto takes, and why.")
    width: int | None = Field(None, description="Absent for exact, like the next four.")
    upper_width: int | None = Field(None, description="Buckets a row of the levels above the last.")
    estimate_width: int | None = Field(
        None, description="Buckets a row of what serves point estimates."
    )
    depth: int | None = Field(None, description="Rows a level.")
    levels: int | None = Field(None, description="Levels of the sketch.")
    second_width: int | None = Field(None, description="Of a tensor's A2, like the next two.")
    second_upper_width: int | None = Field(
        None, description="Buckets a row of the levels above the last."
    )
    second_levels: int | None = Field(None, description="Levels of each of its tables.")


class QuotaAnswer(BaseModel):
    """Limits of a tenant; null is no limit."""

    sketches: int | None = Field(description="How many it may have.")
    state_bytes: int | None = Field(description="Bytes of all their states.")
    updates_per_second: float | None = Field(description="Coordinates.")
    requests_per_second: float | None = Field(description="Of any kind.")
    batch_updates: int | None = Field(description="Coordinates in one batch.")


class WhoAmI(BaseModel):
    """Whom a request speaks for."""

    tenant: str
    role: Literal["read", "write", "admin"]
    key: str | None = Field(description="Id of the key; null where no key is needed.")
    quota: QuotaAnswer
    version: str = Field(description="Of the service.")


class DurationSeconds(BaseModel):
    """Percentiles of durations, right within 4 %, and the longest."""

    p50: float
    p90: float
    p99: float
    max: float


class AskedAnswer(BaseModel):
    """Samples, estimates and norms."""

    requests: int = Field(description="Those that failed included.")
    failed: int = Field(description="Those not answered with success.")
    seconds: DurationSeconds | None = Field(
        description="From receipt to answer; null without requests."
    )


class UpdatedAnswer(AskedAnswer):
    """Updates."""

    coordinates: int = Field(description="Numbers added; those of retries count once.")


class ActivityAnswer(BaseModel):
    """What the service that answered has seen of a sketch lately."""

    window_seconds: float = Field(description="Nothing older is told.")
    watched_seconds: float = Field(description="For how long it has watched; rates are over this.")
    processes: int = Field(description="How many of its processes are added up.")
    update: UpdatedAnswer
    sample: AskedAnswer


class Tenant(BaseModel):
    """One who has sketches."""

    name: str
    created_at: str = Field(description="RFC 3339, UTC.")
    quota: QuotaAnswer


class TenantList(BaseModel):
    """All tenants, by name."""

    tenants: list[Tenant]


class Key(BaseModel):
    """A key, without its secret."""

    id: str = Field(description="Names the key; no secret.")
    tenant: str
    role: Literal["read", "write", "admin"]
    label: str
    created_at: str = Field(description="RFC 3339, UTC.")
    expires_at: str | None = Field(description="null for never.")


class KeyList(BaseModel):
    """Keys, the oldest first."""

    keys: list[Key]


class IssuedKey(Key):
    """A new key."""

    key: str = Field(description="What to send as Bearer; told this once.")


class Health(BaseModel):
    """The service's own state."""

    status: str
