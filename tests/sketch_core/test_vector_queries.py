"""Answers about vectors whose truth is known exactly: nothing, few, ties, spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sketch_core.scaling import Race, scales_as_float
from sketch_core.sketch import new_sketch
from tests.sketch_core.answers import (
    both,
    check_complete,
    every_power,
    vector_of,
)
from tests.sketch_core.streams import sketch_of, spec_of, vector_batch

# ---- nothing, one, few


@both
@every_power
@pytest.mark.parametrize("replacement", [False, True])
def test_nothing_is_empty(method: str, power: float, replacement: bool) -> None:
    for sketch in (
        new_sketch(spec_of(n=1000, method=method, power=power)),
        vector_of({3: 0.0}, method=method, power=power),
        vector_of({5: 1.5, 9: -1.5}, method=method, power=power),
    ):
        if sketch.sample(1)[0].status != "empty":
            sketch.apply([vector_batch(sketch.spec, {5: -1.5, 9: 1.5})])
        [sample] = sketch.sample(4, replacement=replacement)
        assert sample.status == "empty"
        assert sample.index.size == sample.value.size == sample.probability.size == 0
        assert (sample.inclusion_probability is None) == replacement
        assert sample.norm == sample.threshold == 0.0
        [norm] = sketch.norm()
        assert (norm.norm, norm.standard_error) == (0.0, 0.0)
        [estimates] = sketch.estimate(np.array([0, 999], np.uint64))
        assert estimates.value.tolist() == estimates.standard_error.tolist() == [0.0, 0.0]


@both
@every_power
def test_a_vector_of_one(method: str, power: float) -> None:
    sketch = vector_of({0: -2.5}, n=1, method=method, power=power)
    check_complete(sketch.sample(3)[0], {0: -2.5}, power)
    [once] = sketch.sample(1)
    assert once.status == "ok"
    assert once.index.tolist() == [0]
    [often] = sketch.sample(50, replacement=True)
    assert often.status == "ok"
    assert often.index.tolist() == [0] * 50
    assert often.inclusion_probability is None
    assert sketch.norm()[0].norm == pytest.approx(2.5, rel=1e-12)
    assert sketch.estimate(np.array([0], np.uint64))[0].value.tolist() == [-2.5]


@every_power
@pytest.mark.parametrize("n", [1000, 70_001, (1 << 40) + 1, 1 << 63])
def test_the_ends_of_any_n_are_drawn(n: int, power: float) -> None:
    """Coordinates 0, n - 1 and one between, n a power of two or not, up to 2^63 - 1 itself."""
    values = {0: 3.0, n // 2: -1.0, n - 1: 2.0}
    sketch = vector_of(values, n=n, method="sketch", power=power)
    check_complete(sketch.sample(8)[0], values, power)
    index = np.array(list(values), np.uint64)
    assert sketch.estimate(index)[0].value.tolist() == list(values.values())


@both
@every_power
def test_fewer_coordinates_than_asked_for(method: str, power: float) -> None:
    values = {i * 37 % 1000: float((-1) ** i * (1 + i)) for i in range(6)}
    sketch = vector_of(values, method=method, power=power)
    check_complete(sketch.sample(7)[0], values, power)
    [all_of_them] = sketch.sample(6)
    assert all_of_them.status == "ok"
    assert all_of_them.threshold == 0.0
    assert set(all_of_them.index.tolist()) == set(values)
    [most] = sketch.sample(5)
    assert most.status == "ok"
    assert most.index.tolist() == all_of_them.index.tolist()[:5]
    assert most.threshold > 0.0
    assert most.inclusion_probability is not None
    assert ((most.inclusion_probability > 0.0) & (most.inclusion_probability <= 1.0)).all()
    [many] = sketch.sample(200, replacement=True)
    assert many.status == "ok"
    assert set(many.index.tolist()) <= set(values)


@both
@every_power
def test_the_threshold_is_the_scaled_size_of_the_next(method: str, power: float) -> None:
    """τ as the definition has it, and π from it."""
    values = {i: float(1 + i) for i in range(9)}
    sketch = vector_of(values, method=method, power=power)
    spec = sketch.spec
    race = Race(spec.seed, 0, power, spec.clip)
    z = np.arange(1.0, 10.0) * scales_as_float(race.scales(np.arange(9, dtype=np.uint64)), power)
    order = np.argsort(-z)
    [sample] = sketch.sample(4)
    assert sample.index.tolist() == order[:4].tolist()
    assert sample.threshold == pytest.approx(z[order[4]], rel=1e-12)
    known = 1.0 - np.exp(-((np.arange(1.0, 10.0)[order[:4]] / z[order[4]]) ** power))
    assert sample.inclusion_probability == pytest.approx(known, rel=1e-9)


# ---- spikes


@every_power
def test_a_spike_hides_nothing(power: float) -> None:
    """10^12 times the rest: the rest is found, and exactly."""
    values = {4321: 1.0e12, **{i * 101: float(1 + i) for i in range(7)}}
    sketch = vector_of(values, n=1 << 16, samples=16, power=power, method="sketch", quantum_bits=0)
    assert sketch.exact
    [sample] = sketch.sample(16)
    check_complete(sample, values, power)


@both
@every_power
def test_a_spike_is_drawn_again_and_again(method: str, power: float) -> None:
    values = {4321: 2.0**40, 17: 1.0}
    sketch = vector_of(values, n=1 << 16, power=power, method=method, quantum_bits=0)
    [sample] = sketch.sample(500, replacement=True)
    assert sample.status == "ok"
    assert sample.index.tolist() == [4321] * 500


@every_power
def test_two_equal_spikes_are_both_found(power: float) -> None:
    """Beside 500 small ones; in the first two places, in the order of their exponentials."""
    source = np.random.default_rng(1)
    values = {int(i): float(source.normal()) for i in source.choice(60_000, 500, replace=False)}
    values |= {60_001: 1e5, 60_002: -1e5}
    fields: dict[str, Any] = {"n": 1 << 16, "power": power, "repetitions": 5, "quantum_bits": 4}
    sketch = vector_of(values, method="sketch", **fields)
    exact = vector_of(values, method="exact", **fields)
    for draw in range(5):
        [ours], [known] = sketch.sample(2, draw=draw), exact.sample(2, draw=draw)
        assert ours.index.tolist() == known.index.tolist()
        assert set(ours.index.tolist()) == {60_001, 60_002}
        assert ours.value == pytest.approx(known.value, rel=1e-3)


@both
def test_equal_coordinates_are_ordered_by_their_exponentials(method: str) -> None:
    """Of equal |y| the smaller exponential comes first, that is the smaller hash word or scale."""
    values = {i: (-1.0) ** i for i in range(40)}
    sketch = vector_of(values, method=method, samples=64)
    race = Race(sketch.spec.seed, 0, 2.0, sketch.spec.clip)
    coordinates = np.arange(40, dtype=np.uint64)
    known = np.lexsort((race.bits(coordinates), -race.scales(coordinates)))
    [sample] = sketch.sample(40)
    assert sample.index.tolist() == known.tolist()


@both
@every_power
def test_equal_scaled_sizes_are_ordered_by_hash_words(method: str, power: float) -> None:
    """Coordinates whose rounded scales are equal too: the smaller word comes first."""
    n = 1 << 15
    spec = spec_of(n=n, method=method, power=power, samples=64)
    race = Race(spec.seed, 0, power, spec.clip)
    coordinates = np.arange(n, dtype=np.uint64)
    scales, counts = np.unique(race.scales(coordinates), return_counts=True)
    tied = coordinates[race.scales(coordinates) == scales[np.argmax(counts)]][:20]
    assert tied.size == 20
    sketch = sketch_of(spec, [vector_batch(spec, {int(i): (-1.0) ** int(i) for i in tied})])
    [sample] = sketch.sample(20)
    assert sample.index.tolist() == tied[np.argsort(race.bits(tied))].tolist()
