"""What the algorithms need of the hashes, on structured and on random coordinates.

Every test gathers p-values, two-sided (what is too even is as wrong), and fails
when the smallest is below FALSE_FAILURES over their number: a sound family
fails a test here once in a million seeds. `_smallest` says which deviation
would be caught 95 times in 100; each test asserts its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from sketch_core.hashing import U64, UNSCALED_REPETITION, BucketHash, SignHash
from sketch_core.scaling import Race

pytestmark = pytest.mark.statistical

FALSE_FAILURES = 1e-6
COUNT = 1 << 16
Small = npt.NDArray[np.int64]

_STEPS = np.arange(COUNT, dtype=np.uint64)
SETS: dict[str, Callable[[np.random.Generator], U64]] = {
    "consecutive": lambda _: _STEPS,
    "consecutive from 2^62": lambda _: _STEPS + np.uint64(1 << 62),
    "consecutive to 2^63": lambda _: np.uint64((1 << 63) - COUNT) + _STEPS,
    **{
        f"strided by 2^{bits}": lambda _, bits=bits: _STEPS << np.uint64(bits)  # type: ignore[misc]
        for bits in (1, 7, 16, 21, 32, 40, 47)
    },
    **{
        f"strided by {stride}": lambda _, stride=stride: _STEPS * np.uint64(stride)  # type: ignore[misc]
        for stride in (3, 1_000_003, 0x61C8864680B5)
    },
    "two sparse digits": lambda _: (_STEPS & np.uint64(255))
    | (_STEPS >> np.uint64(8) << np.uint64(55)),
    "random": lambda rng: np.unique(rng.integers(0, 1 << 63, COUNT).astype(np.uint64)),
}  # fmt: skip
every_set = pytest.mark.parametrize("name", SETS)


def _two_sided(below: float, above: float) -> float:
    return min(1.0, 2.0 * min(below, above))


def _uniform(cells: Small, size: int) -> float:
    """p of cells 0 … size - 1 being equally likely, by χ²."""
    counts = np.bincount(cells, minlength=size)
    assert counts.size == size
    expected = cells.size / size
    statistic = float(((counts - expected) ** 2).sum() / expected)
    law = stats.chi2(size - 1)
    if size < 32:
        # Few cells are exactly even now and then: too even is no verdict there.
        return float(law.sf(statistic))
    return _two_sided(float(law.cdf(statistic)), float(law.sf(statistic)))


def _balanced(signs: Small) -> float:
    """p of the sum of ±1."""
    deviate = float(signs.sum()) / math.sqrt(signs.size)
    return 2.0 * float(stats.norm.sf(abs(deviate)))


def _rare(hits: int, trials: int, chance: float) -> float:
    return float(stats.binomtest(hits, trials, chance).pvalue)


def _settle(p_values: list[float]) -> None:
    assert min(p_values) > FALSE_FAILURES / len(p_values), (min(p_values), len(p_values))


def _smallest(size: int, tests: int) -> float:
    """The relative root mean square deviation of `size` cells that is caught 19 times in 20."""
    need = stats.norm.isf(FALSE_FAILURES / tests / 2) + stats.norm.isf(0.05)
    return math.sqrt(float(need) * math.sqrt(2.0 * (size - 1)) / COUNT)


def _buckets(
    seed: int, coordinates: U64, width: int, *, repetition: int = 0, level: int = 0
) -> Small:
    """Buckets (7, b) of seven rows."""
    hashed = BucketHash(seed, repetition, level, 7, width)
    rows: Small = hashed.addresses(coordinates) - np.arange(7)[:, None] * width
    return rows


def _signs(seed: int, coordinates: U64, cells: list[int], repetition: int = 0) -> Small:
    """Signs ±1 (cells, b)."""
    hashed = SignHash(seed, repetition, 130)
    words = hashed.words(coordinates)
    spare = [np.empty_like(coordinates) for _ in cells]
    found: Small = np.array(
        [1 + 2 * hashed.negative(words, cell, out) for cell, out in zip(cells, spare, strict=True)]
    )
    return found


@every_set
def test_buckets_are_uniform(name: str, seed: int, rng: np.random.Generator) -> None:
    """Every row, both field widths, odd and even widths. Catches loads off by 1 to 12 % (rms)."""
    coordinates = SETS[name](rng)
    p_values = []
    widths = (2, 7, 64, 1000, 3392, (1 << 14) + 1)
    for width in widths:
        for repetition, level in ((0, 0), (1, 3), (UNSCALED_REPETITION, 0)):
            rows = _buckets(seed, coordinates, width, repetition=repetition, level=level)
            p_values += [_uniform(row, width) for row in rows]
    _settle(p_values)
    assert _smallest(2, len(p_values)) < 0.015
    assert _smallest(3392, len(p_values)) < 0.12


@every_set
def test_buckets_of_any_two_rows_are_independent(
    name: str, seed: int, rng: np.random.Generator
) -> None:
    """Rows of one word and of two, levels, repetitions, neighbours: 256 joint cells.

    Catches joint loads off by 6 % (rms), and twice as many double collisions as by chance.
    """
    coordinates = SETS[name](rng)
    tables = {
        "first": _buckets(seed, coordinates, 16),
        "wide": _buckets(seed, coordinates, 1 << 15) >> 11,
        "level": _buckets(seed, coordinates, 16, level=1),
        "repetition": _buckets(seed, coordinates, 16, repetition=1),
        "seed": _buckets(seed ^ 1, coordinates, 16),
    }
    p_values = []
    for left, right in itertools.combinations(range(7), 2):
        p_values.append(_uniform(16 * tables["first"][left] + tables["first"][right], 256))
        p_values.append(_uniform(16 * tables["wide"][left] + tables["wide"][right], 256))
    for other in ("level", "repetition", "seed", "wide"):
        for row in range(7):
            p_values.append(_uniform(16 * tables["first"][row] + tables[other][row], 256))
    for lag in (1, 2, 3, 256):
        for row in tables["first"]:
            p_values.append(_uniform(16 * row[:-lag] + row[lag:], 256))
    wide = _buckets(seed, coordinates, 1024)
    for left, right in ((0, 1), (0, 2), (1, 2), (2, 3), (0, 6)):
        cells = np.sort(1024 * wide[left] + wide[right])
        shared = np.bincount(cells, minlength=1 << 20)
        pairs = int((shared * (shared - 1) // 2).sum())
        expected = coordinates.size * (coordinates.size - 1) / 2 / (1 << 20)
        p_values.append(
            _two_sided(
                float(stats.poisson.cdf(pairs, expected)),
                float(stats.poisson.sf(pairs - 1, expected)),
            )
        )
    _settle(p_values)
    assert _smallest(256, len(p_values)) < 0.06


@every_set
def test_signs_are_balanced_and_uncorrelated(
    name: str, seed: int, rng: np.random.Generator
) -> None:
    """Alone, in pairs of cells, across repetitions, neighbours by twos and fours, with buckets.

    Catches a correlation of 3.2 %.
    """
    coordinates = SETS[name](rng)
    cells = [0, 1, 2, 3, 4, 5, 31, 62, 63, 64, 65, 127, 128, 129]
    signs = _signs(seed, coordinates, cells)
    p_values = [_balanced(row) for row in signs]
    p_values += [_balanced(one * two) for one, two in itertools.combinations(signs, 2)]
    for other in (_signs(seed, coordinates, cells, 1), _signs(seed ^ 2, coordinates, cells)):
        p_values += [_balanced(one * two) for one, two in zip(signs, other, strict=True)]
    for lag in (1, 2, 3, 16, 256):
        p_values += [_balanced(row[:-lag] * row[lag:]) for row in signs]
    p_values += [_balanced(row[:-3] * row[1:-2] * row[2:-1] * row[3:]) for row in signs]
    p_values += [_balanced(signs[0] * signs[1] * signs[2] * row) for row in signs[3:]]
    buckets = _buckets(seed, coordinates, 16)
    for row, sign in itertools.product(buckets, signs[:7]):
        p_values.append(_uniform(2 * row + (sign > 0), 32))
    _settle(p_values)
    need = stats.norm.isf(FALSE_FAILURES / len(p_values) / 2) + stats.norm.isf(0.05)
    assert need / math.sqrt(COUNT) < 0.032


@every_set
def test_exponentials_are_exponential(name: str, seed: int, rng: np.random.Generator) -> None:
    """Unrounded ones by Kolmogorov and Smirnov; both by their lower tail, which decides races.

    Catches a distribution function off by 1.5 %, a hundredth of the lowest part off by 25 %.
    """
    coordinates = SETS[name](rng)
    p_values = []
    for repetition in range(3):
        race = Race(seed, repetition, 2.0, 46)
        e = race.unrounded_gaps(coordinates)
        p_values.append(float(stats.kstest(e, "expon").pvalue))
        for arrival in (1, 2):
            repeat = race.repeat_gaps(coordinates, arrival, 1)[:, 0]
            p_values.append(float(stats.kstest(repeat, "expon").pvalue))
        for gaps in (e, race.first_gaps(coordinates)):
            for bits in range(1, 14):
                chance = -math.expm1(-(2.0**-bits))
                hits = int(np.count_nonzero(gaps < 2.0**-bits))
                if gaps is e:
                    p_values.append(_rare(hits, gaps.size, chance))
                else:
                    # Rounded to ten bits: the edge itself may move by 2^-9.
                    near = min(max(chance * 0.996, hits / gaps.size), chance * 1.004)
                    p_values.append(_rare(hits, gaps.size, near))
    _settle(p_values)
    assert stats.kstwo.isf(FALSE_FAILURES / len(p_values), COUNT) < 0.015


@every_set
def test_exponentials_are_independent(name: str, seed: int, rng: np.random.Generator) -> None:
    """Of other repetitions, neighbours, their own repeats, signs and buckets, in 16 × 16 cells.

    Catches joint loads off by 6 % (rms).
    """
    coordinates = SETS[name](rng)

    def sixteenths(e: npt.NDArray[np.float64]) -> Small:
        return np.minimum((-np.expm1(-e) * 16).astype(np.int64), 15)

    races = [Race(seed, repetition, 2.0, 46) for repetition in range(4)]
    first = [sixteenths(race.unrounded_gaps(coordinates)) for race in races]
    p_values = [_uniform(row, 16) for row in first]
    p_values += [_uniform(16 * one + two, 256) for one, two in itertools.combinations(first, 2)]
    for lag in (1, 2, 16, 256):
        p_values += [_uniform(16 * row[:-lag] + row[lag:], 256) for row in first]
    repeats = races[0].repeat_gaps(coordinates, 1, 5)
    row_of = [first[0], *(sixteenths(repeats[:, m]) for m in range(5))]
    p_values += [_uniform(16 * one + two, 256) for one, two in itertools.combinations(row_of, 2)]
    p_values.append(_uniform(16 * row_of[1][:-1] + row_of[1][1:], 256))
    for bucket in _buckets(seed, coordinates, 16):
        p_values.append(_uniform(16 * first[0] + bucket, 256))
    for sign in _signs(seed, coordinates, list(range(10))):
        p_values.append(_uniform(2 * first[0] + (sign > 0), 32))
    _settle(p_values)
    assert _smallest(256, len(p_values)) < 0.06


def test_one_bit_of_a_coordinate_changes_half_of_the_hash(
    seed: int, rng: np.random.Generator
) -> None:
    """Avalanche: every input bit flips every output bit half the time, within 3.3 %."""
    from sketch_core.hashing import derive_key, mix

    key = derive_key(seed, 1, 0, 0)
    coordinates = rng.integers(0, 1 << 63, 1 << 14).astype(np.uint64)
    before = mix(key, coordinates)
    p_values = []
    for bit in range(63):
        changed = before ^ mix(key, coordinates ^ np.uint64(1 << bit))
        counts = np.unpackbits(changed.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0)
        deviates = (counts - coordinates.size / 2) / math.sqrt(coordinates.size / 4)
        p_values += (2.0 * stats.norm.sf(np.abs(deviates))).tolist()
    _settle(p_values)
    need = stats.norm.isf(FALSE_FAILURES / len(p_values) / 2) + stats.norm.isf(0.05)
    assert need / math.sqrt(coordinates.size) < 0.065


def test_a_weak_family_fails(seed: int) -> None:
    """Multiply and shift, on the strides it is known to fail on."""
    coordinates = SETS["strided by 2^40"](np.random.default_rng(0))
    weak = (coordinates * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
    buckets = ((weak & np.uint64(0x1FFFFF)) * np.uint64(64) >> np.uint64(21)).astype(np.int64)
    with pytest.raises(AssertionError):
        _settle([_uniform(buckets, 64)])
    with pytest.raises(AssertionError):
        _settle([_uniform(16 * buckets[:-1] // 4 + buckets[1:] // 4, 256)])
