"""One interface over all kinds and methods, and the one place that chooses a class for a spec."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from sketch_core.batch import Batch
from sketch_core.exact import ExactSketch
from sketch_core.exact_tensor import ExactTensor
from sketch_core.hashing import U64
from sketch_core.linear_sketch import LinearSketch
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.spec import Spec
from sketch_core.state import Arrays, LinearState
from sketch_core.tensor_sketch import TensorSketch

F64 = npt.NDArray[np.float64]


class Sketch(Protocol):
    """A sketch, or the exact operands, of one spec.

    Not safe for concurrent changes; queries change nothing.

    Questions to a matrix whose x is neither fixed nor streamed need `queries`,
    float64 (q, d); to a tensor whose X is not, float64 (q, d1, d2); all others
    refuse it (InvalidQuery). Indices of a tensor are pairs, uint64 (b, 2).
    """

    spec: Spec

    @property
    def exact(self) -> bool:
        """Whether every cell is proven to hold the true integer (nothing can have wrapped)."""
        ...

    def apply(self, batches: Sequence[Batch]) -> None:
        """Add increments. Batches come from `quantise` with this spec (or from `decode`)."""
        ...

    def copy(self) -> Self: ...

    def merge(self, other: Self, operands: Collection[str] | None = None) -> None:
        """Add another sketch's operands, by default the first. Raises IncompatibleSketches."""
        ...

    def arrays(self) -> Arrays:
        """The state: for each operand its int64 arrays by name, in canonical order. Not copies."""
        ...

    def sample(
        self,
        count: int,
        *,
        replacement: bool | None = None,
        draw: int = 0,
        queries: F64 | None = None,
    ) -> list[Sample]:
        """Draw `count` coordinates, one Sample a query (one in all without queries).

        replacement: by default only a tensor draws with it; it has no other way.

        Raises DrawsExhausted when draw is not below the repetitions, InvalidQuery.
        """
        ...

    def estimate(self, index: U64, *, queries: F64 | None = None) -> list[Estimates]:
        """Point estimates of y at index, uint64 (b,), one a query."""
        ...

    def norm(self, power: float | None = None, *, queries: F64 | None = None) -> list[Norm]:
        """Estimates of ‖y‖_power (default: the spec's distribution), one a query."""
        ...


def new_sketch(spec: Spec) -> Sketch:
    """An empty sketch (or empty exact operands) for a spec."""
    return _class_of(spec)(spec)


def sketch_of(spec: Spec, state: LinearState) -> Sketch:
    """A sketch around a state of the spec's shapes."""
    return _class_of(spec)(spec, state)


def _class_of(
    spec: Spec,
) -> type[ExactSketch | LinearSketch | ExactTensor | TensorSketch]:
    if spec.kind == "tensor":
        return ExactTensor if spec.method == "exact" else TensorSketch
    return ExactSketch if spec.method == "exact" else LinearSketch
