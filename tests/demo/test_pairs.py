"""The demo's statistics of pairs: right on exact draws, draws of other laws found out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from service.demo import law
from service.demo.findings import LEVEL
from service.demo.law import F64, I64
from service.demo.pairs.findings import KEY_BLOCKS, QUERY_BLOCKS, Findings, find
from service.demo.pairs.input import Case, Input, Size, bands, read_input
from service.demo.pairs.run import Drawn

SIZE = Size(queries=128, keys=2048, sketches=20, samples=64)
DRAWS = SIZE.sketches * SIZE.samples


@pytest.fixture(scope="module")
def data() -> Input:
    return read_input(SIZE)


def from_law(scores: F64, rng: np.random.Generator) -> Drawn:
    """What a perfect service would bring for scores of shape (n1, n2)."""
    flat = rng.choice(scores.size, DRAWS, p=law.law(scores.ravel()))
    norm = float(np.linalg.norm(scores))
    return Drawn(np.stack(np.divmod(flat, scores.shape[1]), axis=1), np.full(SIZE.sketches, norm))


def exact(data: Input, rng: np.random.Generator) -> list[Drawn]:
    return [from_law(data.scores(case), rng) for case in data.cases]


def judged(data: Input, drawn: list[Drawn]) -> Findings:
    return find(data, drawn, seed=1)


def test_the_cases_change_one_thing_at_a_time(data: Input) -> None:
    assert [(case.label, case.thinned) for case in data.cases] == [
        ("1", False),
        ("W", False),
        ("1", True),
        ("W", True),
    ]
    assert data.deleted.size == 204


def test_w_leaves_out_the_strongest_direction_and_raises_the_second(data: Input) -> None:
    before, after = (np.linalg.svd(data.scores(case), compute_uv=False) for case in data.cases[:2])
    assert after[0] == pytest.approx(4 * before[1], rel=1e-6)
    assert after[1:31] == pytest.approx(before[2:32], rel=1e-6)


def test_deleted_keys_fill_the_last_columns_of_the_maps(data: Input) -> None:
    columns = bands(data.key_order, KEY_BLOCKS)
    assert set(columns[data.deleted]) == {KEY_BLOCKS - 2, KEY_BLOCKS - 1}
    assert (data.scores(data.cases[3])[:, data.deleted] == 0.0).all()


def test_bands_are_even_and_follow_the_order() -> None:
    order = np.array([3, 1, 0, 2], dtype=np.int64)
    assert bands(order, 2).tolist() == [1, 0, 1, 0]


@pytest.mark.statistical
def test_exact_draws_pass(data: Input, rng: np.random.Generator) -> None:
    """Fails by chance once in 10,000 seeds."""
    found = judged(data, exact(data, rng))
    assert found.passed
    assert len(found.p_values()) == 8
    assert found.cases[0].norm_off == pytest.approx(0.0, abs=1e-12)
    assert found.cases[0].shares.shape == (QUERY_BLOCKS, KEY_BLOCKS)
    for item in found.cases:
        assert item.shares.sum() == pytest.approx(1.0)
        assert item.drawn.sum() == pytest.approx(1.0)
        # As far off as exact samplers are on average, give or take a fifth.
        assert item.off == pytest.approx(item.floor, rel=0.2)


def uniform(data: Input, case: Case) -> F64:
    """Every pair alike."""
    return np.where(data.scores(case) == 0.0, 0.0, 1.0)


def first_law(data: Input, case: Case) -> F64:
    """A sketch that never heard of the new X."""
    return data.scores(data.cases[2 if case.thinned else 0])


def power_one(data: Input, case: Case) -> F64:
    """Draws in proportion to |Y|, not its square."""
    return np.asarray(np.sqrt(np.abs(data.scores(case))))


def independent_sides(data: Input, case: Case) -> F64:
    """A query by its mass and a key by its own, as if they had nothing to do with each other."""
    squares = data.scores(case) ** 2
    return np.asarray(np.sqrt(np.outer(squares.sum(axis=1), squares.sum(axis=0))))


@pytest.mark.statistical
@pytest.mark.parametrize("wrong", [uniform, first_law, power_one, independent_sides])
def test_draws_of_another_law_fail(
    data: Input, rng: np.random.Generator, wrong: Callable[[Input, Case], F64]
) -> None:
    """One case of it is enough. Passes by chance with a probability under 10^-9."""
    drawn = exact(data, rng)
    drawn[3] = from_law(wrong(data, data.cases[3]), rng)
    found = judged(data, drawn)
    assert not found.passed
    assert found.smallest < LEVEL


@pytest.mark.statistical
def test_the_test_by_place_sees_what_the_one_by_size_cannot(
    data: Input, rng: np.random.Generator
) -> None:
    """Mirrored queries: a law of other places. Passes by chance with a probability under 10^-9."""
    drawn = exact(data, rng)
    mirrored = np.empty_like(data.query_order)
    mirrored[data.query_order] = data.query_order[::-1]
    drawn[0].pairs[:, 0] = mirrored[drawn[0].pairs[:, 0]]
    by_place = judged(data, drawn).cases[0].by_place
    assert by_place is not None
    assert by_place.p_value < 1e-9


def test_one_deleted_key_fails(data: Input, rng: np.random.Generator) -> None:
    drawn = exact(data, rng)
    drawn[2].pairs[7, 1] = data.deleted[0]
    found = judged(data, drawn)
    assert found.deleted_drawn == 1
    assert not found.passed


def test_a_case_without_draws_fails(data: Input, rng: np.random.Generator) -> None:
    drawn = exact(data, rng)
    drawn[1] = Drawn(no_pairs(), np.zeros(0))
    assert not judged(data, drawn).passed


def no_pairs() -> I64:
    return np.zeros((0, 2), dtype=np.int64)
