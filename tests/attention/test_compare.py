"""What is made of the draws: exact ones pass, those of another law or of evicted tokens do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from service.attention import compare, estimators
from service.attention.compare import Context, Drawn, Findings
from service.attention.size import QUICK, Head
from service.client import Sample
from service.demo import law
from service.demo.findings import LEVEL
from service.demo.law import F64

SIZE = replace(QUICK, queries=3, samples=64, repetitions=8)
FIRST = 1000


@pytest.fixture
def context(rng: np.random.Generator) -> Context:
    """1,500 tokens, some of them heavier than others."""
    keys = rng.normal(size=(1500, 8)) * rng.gamma(2.0, size=(1500, 1))
    values = rng.normal(size=(1500, 8)) + 0.5
    return Context(Head(1, 2), rng.normal(size=(SIZE.queries, 8)), keys, values, FIRST)


def answered(scores: F64, weights: F64, budget: int | None, rng: np.random.Generator) -> Sample:
    """What a service with this law would answer."""
    if budget is None:
        index = rng.choice(len(weights), SIZE.samples, p=weights / weights.sum())
        value, inclusion = scores[index], None
    else:
        index, _, inclusion = estimators.exact_lists(np.sqrt(weights), budget, rng)
        value = scores[index]
    return Sample(
        "ok", (index + FIRST).astype(np.uint64), value, value**2, inclusion, 1.0, 0.0, 0, 8, "1",
        True,
    )  # fmt: skip


def drawn(context: Context, change: Callable[[F64], F64], rng: np.random.Generator) -> Drawn:
    """All lists of a sketch that draws by change((k · q)²)."""
    found = Drawn.nothing(SIZE)
    scores = [context.keys @ query for query in context.queries]
    for _ in range(SIZE.repetitions):
        for budget in (None, *(m for m in SIZE.budgets if m <= SIZE.samples)):
            answers = [answered(each, change(each**2), budget, rng) for each in scores]
            found.take(context, answers, budget)
    return found


def judged(context: Context, found: Drawn) -> Findings:
    head = compare.find(context, found, SIZE, seed=1)
    return Findings([head], SIZE.budgets, len(context.keys))


@pytest.mark.statistical
def test_exact_draws_pass_and_their_errors_fall(context: Context, rng: np.random.Generator) -> None:
    """Fails by chance less than once in 1,000 seeds: LEVEL, and medians of 24 lists."""
    found = judged(context, drawn(context, lambda weights: weights, rng))
    assert found.passed
    assert len(found.p_values()) == SIZE.queries
    assert found.heads[0].statuses == Counter(ok=8 * 3 * 5)
    for method in (compare.SKETCH, compare.SKETCH_DISTINCT, compare.EXACT, compare.UNIFORM):
        errors = np.nanmedian(found.errors(method), axis=0)
        assert errors.shape == (len(SIZE.budgets),)
        assert errors[-1] < 0.5 * errors[1], method  # 64 times the draws: an eighth expected
    for query in found.heads[0].queries:
        assert query.single < query.single_uniform
        assert 0 < query.law_apart < 1
        assert query.errors[compare.TOP].shape == (1, len(SIZE.budgets))
        assert query.softmax[compare.REWEIGHTED].shape == (SIZE.repetitions, len(SIZE.budgets))


@pytest.mark.statistical
@pytest.mark.parametrize("change", [np.ones_like, np.sqrt, np.square])
def test_draws_of_another_law_fail(
    context: Context, rng: np.random.Generator, change: Callable[[F64], F64]
) -> None:
    """Pass by chance less than once in 10^9 seeds."""
    found = judged(context, drawn(context, change, rng))
    assert not found.passed
    assert found.smallest < LEVEL


@pytest.mark.statistical
def test_reweighted_draws_go_towards_softmax(context: Context, rng: np.random.Generator) -> None:
    """4,096 draws by (k · q)² weighed by exp(k · q / √d) / (k · q)²; fails once in 10^6 seeds.

    Six standard errors of the self-normalised estimate, by its variance to first order.
    """
    scores = context.keys @ context.queries[0]
    soft = estimators.softmax_weights(scores / np.sqrt(8))
    proposal = law.law(scores)
    index = estimators.exact_index(scores, 4096, rng)
    exact = estimators.output(soft, context.values)
    error = estimators.of_weighted(
        index, soft[index] / proposal[index], context.values, (4096,), exact
    )[0]
    single = estimators.single_draw_error(soft, context.values, proposal)
    assert error < 6 * single / 64
    unweighted = estimators.of_draws(index, context.values, (4096,), exact)[0]
    assert unweighted > error


def test_an_evicted_token_that_is_drawn_fails_the_run(
    context: Context, rng: np.random.Generator
) -> None:
    found = drawn(context, lambda weights: weights, rng)
    answer = answered(context.keys @ context.queries[0], np.ones(1500), None, rng)
    stale = replace(answer, index=answer.index - np.uint64(FIRST))
    found.take(context, [stale], None)
    assert found.evicted == int((stale.index < FIRST).sum()) > 0
    assert not judged(context, found).passed
