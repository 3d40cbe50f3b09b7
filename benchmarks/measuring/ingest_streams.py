"""Updates for ingest: bodies prepared in every format, and the state they must end in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from benchmarks.measuring.streams import F64, spec_of
from service import sketch_requests
from service.bench.jobs import Job, http_job
from sketch_core.batch import Columns, decode
from sketch_core.codec import to_snapshot
from sketch_core.sketch import new_sketch, sketch_of
from sketch_core.spec import Spec
from sketch_core.state import LinearState

FORMATS: Final = ("safetensors", "json")
MEDIA: Final = {"safetensors": "application/x-safetensors", "json": "application/json"}
#: Different batches a sketch is sent, over and over.
BATCHES: Final = 4


@dataclass(frozen=True, slots=True)
class Stream:
    """Batches and the sketch they go to.

    index: int64 (BATCHES, b). delta: float32 (BATCHES, b). seed: of the sketch.
    """

    n: int
    seed: int
    index: npt.NDArray[np.int64]
    delta: npt.NDArray[np.float32]

    @property
    def spec(self) -> Spec:
        """Of each sketch it is sent to."""
        return spec_of("vector", {"n": self.n}, self.seed)

    def creation(self) -> bytes:
        """The body that creates such a sketch."""
        asked = {"kind": "vector", "shape": {"n": self.n}, "seed": self.seed, "method": "sketch"}
        return json.dumps(asked).encode()

    def bodies(self, form: str) -> list[bytes]:
        """Each batch as a request brings it: integers and float32, or six digits in JSON."""
        pairs = zip(self.index, self.delta, strict=True)
        if form == "safetensors":
            return [save({"index": index, "delta": delta}) for index, delta in pairs]
        return [
            json.dumps({"index": index.tolist(), "delta": _digits(delta).tolist()}).encode()
            for index, delta in pairs
        ]

    def columns(self, form: str) -> list[Columns]:
        """What a service reads from the bodies."""
        return [
            Columns("y", index=index, delta=delta if form == "safetensors" else _digits(delta))
            for index, delta in zip(self.index, self.delta, strict=True)
        ]

    def payload_bytes(self, form: str) -> int:
        """Bytes of all the batches as a log keeps them."""
        return sum(
            len(sketch_requests.prepare(self.spec, columns, keyed=False).payload)
            for columns in self.columns(form)
        )

    def snapshot(self, form: str, times: Sequence[int]) -> bytes:
        """The state after each batch was added so many times."""
        total = new_sketch(self.spec).arrays()
        for columns, many in zip(self.columns(form), times, strict=True):
            prepared = sketch_requests.prepare(self.spec, columns, keyed=False)
            once = new_sketch(self.spec)
            once.apply([decode(prepared.payload[2:])])
            for operand, named in once.arrays().items():
                for name, cells in named.items():
                    total[operand][name] += many * cells
        return to_snapshot(sketch_of(self.spec, LinearState(total)))


def _digits(delta: npt.NDArray[np.float32]) -> F64:
    return np.round(delta.astype("f8"), 6)


def stream(n: int, batch: int, seed: int) -> Stream:
    """Gaussian increments of coordinates drawn at random."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, n, (BATCHES, batch))
    return Stream(n, seed, index, rng.normal(size=(BATCHES, batch)).astype(np.float32))


def names_of(sketches: int) -> list[str]:
    """Of the sketches of a run."""
    return [f"ingest-{at}" for at in range(sketches)]


def jobs_of(source: Stream, form: str, sketches: int) -> list[Job]:
    """Each batch for each sketch: job BATCHES · s + k is batch k for sketch s."""
    bodies = source.bodies(form)
    return [
        http_job("update", "POST", f"/v1/sketches/{name}/updates", body, MEDIA[form])
        for name in names_of(sketches)
        for body in bodies
    ]


def times_of(answered: Counter[int], sketch: int) -> list[int]:
    """How often each batch was added to a sketch."""
    return [answered[BATCHES * sketch + batch] for batch in range(BATCHES)]
