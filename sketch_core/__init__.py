"""Sketches of streamed vectors, matrices and tensor products, and samples: numpy, nothing else.

What a process needs to sketch on its side and ship only the snapshot:

    resolve(request) -> Spec            the sizes a request for a sketch leaves open
    new_sketch(spec) -> Sketch          an empty sketch, or the dense operands of the exact method
    quantise(spec, Columns(...))        a checked batch of increments, for Sketch.apply
    to_snapshot, from_snapshot          the state as canonical bytes, and back
    TensorSparse                        a CountSketch of (A1 ⊗ A2) vec(X), from those of A1 and A2
    bound_table_cache(bytes)            how much memory tables kept for speed may take

The modules say what each part computes, from which paper, and what it guarantees.
"""

from __future__ import annotations

from sketch_core.batch import Batch, Columns, quantise
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.errors import SketchError
from sketch_core.resolve import resolve
from sketch_core.results import Estimates, Norm, Sample
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import Spec
from sketch_core.table_cache import bound_table_cache
from sketch_core.tensor_sparse import TensorSparse

__all__ = [
    "Batch",
    "Columns",
    "Estimates",
    "Norm",
    "Sample",
    "Sketch",
    "SketchError",
    "Spec",
    "TensorSparse",
    "bound_table_cache",
    "from_snapshot",
    "new_sketch",
    "quantise",
    "resolve",
    "to_snapshot",
]
