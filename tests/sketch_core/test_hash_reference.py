"""The arrays of hashing.py and scaling.py against plain integers and 60 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketch_core import hashing, scaling
from tests.golden.make_golden import HASH_ENDS
from tests.sketch_core import reference

words = st.integers(0, reference.MASK) | st.sampled_from(HASH_ENDS)
small = st.integers(0, 40) | st.just(1 << 32)
POWERS = (1.0, 1.25, 1.5, 2.0)


def _array(values: list[int]) -> hashing.U64:
    return np.array(values, dtype=np.uint64)


@given(seed=words, purpose=st.integers(1, 4), repetition=small, index=small, x=words)
def test_mix_is_as_documented(seed: int, purpose: int, repetition: int, index: int, x: int) -> None:
    ours = hashing.derive_key(seed, purpose, repetition, index)
    known = reference.key(seed, purpose, repetition, index)
    assert (int(ours[0]), int(ours[1])) == known
    assert int(hashing.mix(ours, _array([x]))[0]) == reference.mix(known, x)


def test_mix_leaves_its_argument_alone_and_keeps_shapes() -> None:
    values = np.arange(6, dtype=np.uint64).reshape(2, 3)
    before = values.copy()
    assert hashing.mix(hashing.derive_key(1, 1, 0, 0), values).shape == (2, 3)
    assert (values == before).all()


@given(
    seed=words,
    repetition=small,
    level=st.integers(0, 8),
    depth=st.integers(1, 9),
    width=st.integers(1, 1 << 22) | st.sampled_from([1, 1 << 14, (1 << 14) + 1, 1 << 22]),
    prefix=words,
)
def test_buckets_are_as_documented(
    seed: int, repetition: int, level: int, depth: int, width: int, prefix: int
) -> None:
    ours = hashing.BucketHash(seed, repetition, level, depth, width).addresses(_array([prefix]))
    assert ours[:, 0].tolist() == [
        row * width + reference.bucket(seed, repetition, level, row, width, prefix)
        for row in range(depth)
    ]


@given(seed=words, repetition=small, first=st.integers(0, 200), count=st.integers(1, 80), x=words)
def test_signs_are_as_documented(
    seed: int, repetition: int, first: int, count: int, x: int
) -> None:
    cells = range(first, first + count)
    hashed = hashing.SignHash(seed, repetition, cells.stop)
    bits = hashed.words(_array([x]))
    minus = [int(hashed.negative(bits, cell, _array([0]))[0]) for cell in cells]
    assert [1 + 2 * mask for mask in minus] == [
        reference.sign(seed, repetition, cell, x) for cell in cells
    ]


@given(seed=words, repetition=small, x=words, start=st.integers(1, 10_000))
def test_exponential_and_repeat_bits_are_as_documented(
    seed: int, repetition: int, x: int, start: int
) -> None:
    race = scaling.Race(seed, repetition, 2.0, 46)
    assert int(race.bits(_array([x]))[0]) == reference.exponential_bits(seed, repetition, x)
    known = [reference.repeat_bits(seed, repetition, x, start + m) for m in range(3)]
    gaps = race.repeat_gaps(_array([x]), start, 3)[0]
    assert gaps.tolist() == scaling.exponentials(_array(known)).tolist()


def _relative(value: float, oracle: mpmath.mpf) -> float:
    with mpmath.workdps(60):
        return float(abs(mpmath.mpf(value) / oracle - 1))


@given(st.lists(words, min_size=1, max_size=30))
def test_exponentials_are_right_to_the_last_bits(bits: list[int]) -> None:
    """At most 8 units in the last place, small e included."""
    for ours, one in zip(scaling.exponentials(_array(bits)), bits, strict=True):
        assert _relative(float(ours), reference.exponential(one)) < 8 * 2.0**-53


def test_exponentials_at_every_size(rng: np.random.Generator) -> None:
    """Random words whose v is near 2^-63 … 1, and whose 1 - v is near 2^-53 … 1."""
    bits = []
    for leading in range(64):
        low = int(rng.integers(0, 1 << 63)) >> leading
        bits += [low, reference.MASK ^ low]
    for ours, one in zip(scaling.exponentials(_array(bits)), bits, strict=True):
        assert _relative(float(ours), reference.exponential(one)) < 8 * 2.0**-53


def test_exponentials_stay_inside_their_bounds() -> None:
    e = scaling.exponentials(_array(list(HASH_ENDS)))
    assert float(e.min()) == 2.0**-64
    assert 36.7 < float(e.max()) < 36.8
    order = np.argsort(np.array(HASH_ENDS, dtype=np.uint64), kind="stable")
    assert (np.diff(e[order]) >= 0.0).all()


@pytest.mark.parametrize("power", POWERS)
@given(bits=st.lists(words, min_size=1, max_size=10), clip=st.sampled_from([6, 20, 26, 40, 46]))
def test_scales_are_rounded_right(power: float, bits: list[int], clip: int) -> None:
    """Ten bits, to the nearest, except within 1e-12 of a tie; a whole number of quanta."""
    quantum = reference.QUANTUM_EXPONENT[power]
    ours = scaling.scales(_array(bits), power, clip)
    for scale, one in zip(ours.tolist(), bits, strict=True):
        mantissa, exponent = reference.scale_mantissa(one, power, clip)
        with mpmath.workdps(60):
            from_tie = abs(mantissa - mpmath.floor(mantissa) - mpmath.mpf("0.5"))
            if from_tie > 1e-12 * mantissa:
                assert scale == int(mpmath.nint(mantissa)) << exponent - quantum
            else:
                assert abs(mpmath.ldexp(scale, quantum - exponent) - mantissa) < 0.5 + 1e-9


@given(
    power=st.floats(1.0, 2.0),
    clip=st.integers(6, 46),
    bits=st.lists(words, min_size=1, max_size=20),
)
def test_scales_of_any_power_fit_their_quantum(power: float, clip: int, bits: list[int]) -> None:
    """At least 2^9 quanta, below 2^scale_bits <= 2^62, ten significant bits, right to half of one.

    A quantum that were too coarse would show as a negative shift, and a wrong number here.
    """
    ours = scaling.scales(_array(bits), power, clip)
    limit = scaling.scale_bits(power, clip)
    assert limit <= 62
    for scale, one in zip(ours.tolist(), bits, strict=True):
        assert 1 << scaling.SCALE_BITS - 1 <= scale < 1 << limit
        assert scale % (1 << scale.bit_length() - scaling.SCALE_BITS) == 0
        mantissa, exponent = reference.scale_mantissa(one, power, clip)
        with mpmath.workdps(60):
            rounded = mpmath.ldexp(scale, scaling.quantum_exponent(power) - exponent)
            assert abs(rounded - mantissa) < 0.5 + 1e-9


@pytest.mark.parametrize("power", POWERS)
def test_scale_bits_hold_at_both_ends(power: float) -> None:
    ends = _array([0, reference.MASK])
    for clip in (6, 26, 46):
        largest, smallest = scaling.scales(ends, power, clip).tolist()
        assert largest < 1 << scaling.scale_bits(power, clip)
        assert smallest >= 512


@pytest.mark.parametrize("power", [*POWERS, 1.7320508])
def test_first_gaps_belong_to_the_rounded_scales(power: float) -> None:
    """first_gaps = scale^-power to 1e-13: what is drawn uses the law the cells have."""
    coordinates = np.arange(300, dtype=np.uint64)
    race = scaling.Race(5, 0, power, 46)
    quanta = race.scales(coordinates).tolist()
    for gap, scale in zip(race.first_gaps(coordinates).tolist(), quanta, strict=True):
        with mpmath.workdps(60):
            number = mpmath.ldexp(scale, scaling.quantum_exponent(power))
            assert _relative(gap, number ** -mpmath.mpf(power)) < 1e-13


@given(st.floats(2.0**-1022, 2.0**1023))
def test_natural_log_is_right(value: float) -> None:
    with mpmath.workdps(60):
        known = mpmath.log(value)
    ours = float(scaling.natural_log(np.array([value]))[0])
    assert abs(ours - float(known)) <= 4e-16 * max(1.0, abs(float(known)))


def test_clip_bits_are_as_documented() -> None:
    """min(⌈log2 n⌉, 40) + 6."""
    for n, known in ((1, 6), (2, 7), (3, 8), (4, 8), (5, 9), (1 << 20, 26), ((1 << 20) + 1, 27),
                     (1 << 40, 46), ((1 << 40) + 1, 46), (1 << 63, 46)):  # fmt: skip
        assert scaling.clip_bits(n) == known
