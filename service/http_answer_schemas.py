"""Wire types: what answers hold. They describe /openapi.json and are never instantiated."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

_EXACT: Final = "Whether the state that answered is proven to hold the true integers."


class MemoryBytes(BaseModel):
    """Bytes of the folded state, and of the log since the last checkpoint."""

    state: int
    log: int


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

    n: int
    d: int | None = None


class Info(BaseModel):
    """A sketch: its spec with every default filled in, and its state."""

    name: str
    kind: Literal["vector", "matrix"]
    shape: ShapeAnswer
    method: Literal["sketch", "exact"]
    distribution: PowerLaw | SoftmaxLaw
    samples: int
    repetitions: int
    seed: int
    magnitude: float
    quantum_bits: int
    width: int | None = Field(None, description="Absent for exact, like the next three.")
    upper_width: int | None = None
    estimate_width: int | None = None
    depth: int | None = None
    levels: int | None = Field(description="Null for exact.")
    x: list[float] | None = Field(None, description="The fixed query after rounding, if any.")
    ttl_seconds: float | None
    memory_bytes: MemoryBytes
    updates: int
    underflowed: int = Field(description="Increments too small for the quantum, lost.")
    version: str
    exact: bool = Field(description="Whether every cell is proven to hold the true integer.")
    sealed: list[str]
    created_at: str
    expires_at: str | None


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


class Drawn(BaseModel):
    """Drawn coordinates. Indices over 2^53 are strings."""

    status: Literal["ok", "partial", "failed", "empty"]
    index: list[int | str]
    value: list[float | None] = Field(description="Estimates of y_i.")
    probability: list[float | None] = Field(description="Of |y_i|^p / ‖y‖_p^p.")
    inclusion_probability: list[float | None] | None = Field(
        None, description="Absent with replacement."
    )
    norm: float | None = Field(description="Null when it exceeds the largest float64.")
    threshold: float | None
    draw: int
    draws: int | None = Field(description="Lists held; null when any draw is served (exact).")
    version: str
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

    index: list[int | str]
    value: list[float | None]
    standard_error: list[float | None]
    version: str
    exact: bool = Field(description=_EXACT)


class EstimateResults(BaseModel):
    """One answer a query."""

    results: list[Estimates]


class NormAnswer(BaseModel):
    """‖y‖_power; for softmax Σ exp(y_i / temperature) and power null."""

    power: float | None
    norm: float | None
    standard_error: float | None
    version: str
    exact: bool = Field(description=_EXACT)


class NormResults(BaseModel):
    """One answer a query."""

    results: list[NormAnswer]


class Advice(BaseModel):
    """Which method `auto` takes, and why."""

    method: Literal["sketch", "exact"]
    reason: str


class Plan(BaseModel):
    """What a spec would become."""

    spec: dict[str, Any] = Field(description="With every default filled in.")
    kind: Literal["vector", "matrix"]
    shape: ShapeAnswer
    method: Literal["sketch", "exact"]
    samples: int
    repetitions: int
    quantum_bits: int
    quantum: float = Field(description="Increments are rounded to multiples of this.")
    largest_value: float = Field(description="The |y_i| that surely fits a cell.")
    memory_bytes: int
    exact_memory_bytes: int = Field(description="Of the dense operands.")
    limit_bytes: int
    fits: bool
    ttl_seconds: float | None
    expected_errors: dict[str, Any]
    advice: Advice
    width: int | None = Field(None, description="Absent for exact, like the next four.")
    upper_width: int | None = None
    estimate_width: int | None = None
    depth: int | None = None
    levels: int | None = None


class Health(BaseModel):
    """The service's own state."""

    status: str
