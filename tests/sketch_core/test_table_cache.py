"""Tables are kept up to a bound in bytes, and answers do not depend on which are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sketch_core import bound_table_cache
from sketch_core.table_cache import DEFAULT_BYTES, TABLES, TableCache
from tests.sketch_core.streams import sketch_of, spec_of, vector_batch


class Maker:
    """Makes tables of a size, and counts."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.made: list[str] = []

    def of(self, key: str) -> Callable[[], tuple[str, int]]:
        def make() -> tuple[str, int]:
            self.made.append(key)
            return key.upper(), self.size

        return make

    def get(self, cache: TableCache, *keys: str) -> list[str]:
        """The tables of keys, one after another."""
        return [cache.get(key, self.of(key)) for key in keys]


@pytest.fixture
def bounded() -> Iterator[None]:
    yield
    bound_table_cache(DEFAULT_BYTES)


def test_a_table_is_made_once() -> None:
    maker, cache = Maker(), TableCache(100)
    assert maker.get(cache, "a", "b", "a", "a") == ["A", "B", "A", "A"]
    assert maker.made == ["a", "b"]
    assert cache.held_bytes == 20


def test_the_least_recently_used_go_first() -> None:
    """Down to seven eighths of the bound."""
    maker, cache = Maker(), TableCache(40)
    maker.get(cache, "a", "b", "c", "d", "a")
    assert cache.held_bytes == 40
    maker.get(cache, "e")
    assert cache.held_bytes == 30
    maker.made.clear()
    maker.get(cache, "a", "d", "e")
    assert maker.made == []
    maker.get(cache, "b", "c")
    assert maker.made == ["b", "c"]


def test_a_table_as_large_as_the_bound_is_kept_alone_and_a_larger_one_is_not() -> None:
    maker, cache = Maker(), TableCache(20)
    maker.get(cache, "a", "b")
    assert Maker(20).get(cache, "large") == ["LARGE"]
    assert cache.held_bytes == 20
    larger = Maker(21)
    assert larger.get(cache, "larger", "larger") == ["LARGER", "LARGER"]
    assert larger.made == ["larger", "larger"]
    assert cache.held_bytes == 20


def test_a_new_bound_holds_at_once() -> None:
    maker, cache = Maker(), TableCache(100)
    maker.get(cache, "a", "b", "c")
    cache.rebound(29)
    assert cache.held_bytes == 20
    maker.made.clear()
    maker.get(cache, "c", "b")
    assert maker.made == []
    cache.rebound(0)
    assert cache.held_bytes == 0
    assert maker.get(cache, "a", "a") == ["A", "A"]
    assert maker.made == ["a", "a"]
    with pytest.raises(ValueError, match="less than nothing"):
        bound_table_cache(-1)


def test_threads_agree_on_the_tables_and_the_bound_holds() -> None:
    cache = TableCache(200)
    wrong: list[str] = []

    def work(first: int) -> None:
        maker = Maker()
        for at in range(3000):
            key = f"k{(first * 7 + at * at) % 40}"
            if maker.get(cache, key) != [key.upper()] or cache.held_bytes > 210:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < cache.held_bytes <= 200
    assert cache.held_bytes == 10 * len(cache._entries)


@pytest.mark.parametrize("power", [1.0, 1.3, 2.0])
def test_answers_do_not_depend_on_the_bound(bounded: None, power: float) -> None:
    spec = spec_of(n=1 << 20, method="sketch", power=power, repetitions=2, samples=4)
    values = {i * 37: float(i + 1) for i in range(200)}
    answers = []
    for bound in (DEFAULT_BYTES, 200_000, 0):
        TABLES.clear()
        bound_table_cache(bound)
        sketch = sketch_of(spec, [vector_batch(spec, values)])
        [sample] = sketch.sample(4, draw=1)
        answers.append((sketch.arrays()["y"]["scaled"].tobytes(), sample.index.tolist()))
        assert TABLES.held_bytes <= bound
    assert answers[0] == answers[1] == answers[2]


def test_geometries_and_scales_count_their_bytes(bounded: None) -> None:
    TABLES.clear()
    spec = spec_of(n=1 << 20, method="sketch", samples=4)
    sketch = sketch_of(spec, [vector_batch(spec, {5: 1.0})])
    sketch.sample(1)
    hierarchies = [
        entry.table for entry in TABLES._entries.values() if hasattr(entry.table, "recover")
    ]
    [hierarchy] = hierarchies
    arrays = [value for value in vars(hierarchy).values() if isinstance(value, np.ndarray)]
    scale_bytes = (1 << 12) * (spec.clip + 2) * 8 + 8
    known = sum(array.nbytes for array in arrays) + scale_bytes
    assert known < TABLES.held_bytes < known + 16_384
