"""Equal |z| and rounded increments: neither may favour one side."""

from __future__ import annotations

import numpy as np
import pytest

from sketch_core.batch import Columns, quantise
from sketch_core.resolve import resolve
from sketch_core.scaling import Race
from sketch_core.sketch import new_sketch
from tests.statistical import decisions
from tests.statistical.decisions import decide

pytestmark = pytest.mark.statistical

N = 1 << 12
PAIRS = 300


@pytest.mark.parametrize("method", ["sketch", "exact"])
def test_ties_go_to_either_index_alike(method: str, seed: int) -> None:
    """Pairs of coordinates whose rounded scales agree, alone in a vector: a tie of |z|.

    Whether the lower index is drawn first is a fair coin; 300 pairs catch 0.18 to
    either side of a half.
    """
    lower_first = []
    for number in range(PAIRS):
        spec = resolve(
            {"kind": "vector", "shape": {"n": N}, "method": method, "seed": seed + number}
        )
        pair = _tied(Race(spec.seed, 0, 2.0, spec.clip))
        sketch = new_sketch(spec)
        sketch.apply([quantise(spec, Columns("y", index=pair, delta=np.ones(2)))[0]])
        drawn = sketch.sample(2)[0].index
        assert sorted(drawn.tolist()) == pair.tolist()
        lower_first.append(float(drawn[0] == pair[0]))
    decide(decisions.mean_is(np.array(lower_first), 0.5), "the lower index first")


def _tied(race: Race) -> np.ndarray:
    """Two coordinates of equal scale, the lower first."""
    index = np.arange(N, dtype=np.uint64)
    _, first, back = np.unique(race.scales(index), return_index=True, return_inverse=True)
    second = np.flatnonzero(first[back] != np.arange(N))[0]
    return np.array([first[back[second]], second], dtype=np.uint64)


def test_rounding_increments_favours_no_side(rng: np.random.Generator) -> None:
    """The mean error of 20,000 increments, in quanta; catches 0.013."""
    spec = resolve({"kind": "vector", "shape": {"n": N}, "quantum_bits": 4})
    delta = 10.0 * rng.standard_normal(20_000)
    batch, _ = quantise(spec, Columns("y", index=np.zeros(delta.size, np.uint64), delta=delta))
    errors = batch.quanta - delta * 16.0
    verdict = decisions.mean_is(errors, 0.0)
    assert verdict.smallest < 0.013
    decide(verdict, "rounding error")
