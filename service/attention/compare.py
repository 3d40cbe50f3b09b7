"""Attention outputs from a sketch's draws beside exact samplers, uniform ones and the top m."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from service.attention import estimators
from service.attention.size import Head, Size
from service.client.answers import Sample
from service.demo import law
from service.demo.findings import LEVEL
from service.demo.law import F64, I64, Fit

#: How tokens are chosen for ℓ2 attention: with replacement where nothing else is said.
SKETCH: Final = "sketch"
SKETCH_DISTINCT: Final = "sketch, distinct"
EXACT: Final = "exact sampler"
EXACT_DISTINCT: Final = "exact sampler, distinct"
UNIFORM: Final = "uniform"
UNIFORM_KNOWN: Final = "uniform, exact norm"
TOP: Final = "top m, an oracle"
METHODS: Final = (SKETCH, SKETCH_DISTINCT, EXACT, EXACT_DISTINCT, UNIFORM, UNIFORM_KNOWN, TOP)

#: How tokens are chosen for softmax attention.
REWEIGHTED: Final = "sketch, reweighted"
SOFTMAX_METHODS: Final = (REWEIGHTED, UNIFORM, TOP)


@dataclass(frozen=True, slots=True)
class Context:
    """What a head's queries attend to at the end of the text.

    queries float64 (q, d); keys, values float64 (n, d) of the tokens in the window;
    first: position of the oldest of them.
    """

    head: Head
    queries: F64
    keys: F64
    values: F64
    first: int


@dataclass(slots=True)
class Drawn:
    """What a head's sketch brought.

    independent: for each query its lists with replacement, int64 (m,) each. lists:
    for each budget, for each query, lists without replacement (index, y, π). Indices
    count from the oldest token in the window. evicted: how often another token came.
    """

    independent: list[list[I64]]
    lists: dict[int, list[list[tuple[I64, F64, F64]]]]
    evicted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    @classmethod
    def nothing(cls, size: Size) -> Drawn:
        """Before anything was drawn."""
        within = [m for m in size.budgets if m <= size.samples]
        lists: dict[int, list[list[tuple[I64, F64, F64]]]] = {
            m: [[] for _ in range(size.queries)] for m in within
        }
        return cls([[] for _ in range(size.queries)], lists)

    def take(self, context: Context, answers: Sequence[Sample], budget: int | None) -> None:
        """Take in one list a query: without replacement for a budget, with it for None."""
        for query, answer in enumerate(answers):
            self.statuses[answer.status] += 1
            index = answer.index.astype(np.int64) - context.first
            inside = (index >= 0) & (index < len(context.keys))
            self.evicted += int((~inside).sum())
            if budget is None or answer.inclusion_probability is None:
                self.independent[query].append(index[inside])
            elif inside.all() and index.size:
                brought = (index, answer.value, answer.inclusion_probability)
                self.lists[budget][query].append(brought)


@dataclass(frozen=True, slots=True)
class QueryFindings:
    """One query's. errors: by method, float64 (runs, budgets), nan where nothing was to be had.

    softmax: the same against softmax attention. apart: how far ℓ2 attention itself
    is from softmax attention, relative; law_apart: the total variation between their
    laws. spread, softmax_spread: as many equally likely tokens would be as spread
    out. single, single_uniform: root mean square error of one draw, by ℓ2 sampling
    and by uniform sampling. fit: χ² of the sketch's draws with replacement.
    """

    errors: dict[str, F64]
    softmax: dict[str, F64]
    apart: float
    law_apart: float
    spread: float
    softmax_spread: float
    single: float
    single_uniform: float
    fit: Fit | None


@dataclass(frozen=True, slots=True)
class HeadFindings:
    """One head's, query by query."""

    head: Head
    queries: list[QueryFindings]
    evicted: int
    statuses: Counter[str]

    def errors(self, method: str) -> F64:
        """Of all queries and runs, float64 (queries · runs, budgets)."""
        return np.concatenate([item.errors[method] for item in self.queries])

    def softmax(self, method: str) -> F64:
        """The same against softmax attention."""
        return np.concatenate([item.softmax[method] for item in self.queries])

    def median(self, figure: str) -> float:
        """The median over queries of one of their figures."""
        return float(np.median([getattr(item, figure) for item in self.queries]))


@dataclass(frozen=True, slots=True)
class Findings:
    """All heads', and whether the draws follow the law."""

    heads: list[HeadFindings]
    budgets: tuple[int, ...]
    live: int

    def p_values(self) -> list[float]:
        """Of all χ² tests."""
        return [item.fit.p_value for head in self.heads for item in head.queries if item.fit]

    @property
    def smallest(self) -> float:
        """The smallest p-value times the number of tests (Bonferroni), at most 1."""
        return min(1.0, min(self.p_values(), default=1.0) * max(len(self.p_values()), 1))

    @property
    def evicted(self) -> int:
        """How often a token came that is no longer there."""
        return sum(head.evicted for head in self.heads)

    @property
    def passed(self) -> bool:
        """Whether an exact sampler could well have brought this."""
        return bool(self.p_values()) and self.smallest >= LEVEL and self.evicted == 0

    def errors(self, method: str) -> F64:
        """Of all heads, float64 (heads · queries · runs, budgets)."""
        return np.concatenate([head.errors(method) for head in self.heads])

    def softmax(self, method: str) -> F64:
        """The same against softmax attention."""
        return np.concatenate([head.softmax(method) for head in self.heads])


def find(context: Context, drawn: Drawn, size: Size, seed: int) -> HeadFindings:
    """Compare a head's draws, query by query."""
    rng = np.random.default_rng((seed, context.head.layer, context.head.head))
    queries = [_one(context, drawn, query, size, rng) for query in range(size.queries)]
    return HeadFindings(context.head, queries, drawn.evicted, drawn.statuses)


def _one(
    context: Context, drawn: Drawn, query: int, size: Size, rng: np.random.Generator
) -> QueryFindings:
    scores = context.keys @ context.queries[query]
    weights, values = scores**2, context.values
    soft = estimators.softmax_weights(scores / math.sqrt(context.keys.shape[1]))
    exact, exact_soft = (estimators.output(each, values) for each in (weights, soft))
    shares, soft_shares = weights / weights.sum(), soft / soft.sum()
    ours = drawn.independent[query]
    flat = np.full(scores.size, 1 / scores.size)
    return QueryFindings(
        errors=_errors(weights, values, drawn, query, size, rng),
        softmax=_softmax_errors(weights, soft, values, ours, size, rng),
        apart=estimators.error(exact, exact_soft),
        law_apart=float(np.abs(shares - soft_shares).sum() / 2),
        spread=law.effective(shares),
        softmax_spread=law.effective(soft_shares),
        single=estimators.single_draw_error(weights, values),
        single_uniform=estimators.single_draw_error(weights, values, flat),
        fit=law.fit(np.concatenate(ours), shares),
    )


def _errors(
    weights: F64, values: F64, drawn: Drawn, query: int, size: Size, rng: np.random.Generator
) -> dict[str, F64]:
    budgets, exact = size.budgets, estimators.output(weights, values)
    scores, n, most = np.sqrt(weights), len(weights), max(size.budgets)
    uniform = [rng.integers(n, size=most) for _ in range(size.runs)]
    ours = drawn.independent[query]
    exact_index = [estimators.exact_index(scores, most, rng) for _ in range(size.runs)]
    mean = float(weights.mean())
    return {
        SKETCH: _pooled(ours, values, size, exact),
        SKETCH_DISTINCT: _distinct(
            {m: found[query] for m, found in drawn.lists.items()}, values, size, exact
        ),
        EXACT: np.stack(
            [estimators.of_draws(index, values, budgets, exact) for index in exact_index]
        ),
        EXACT_DISTINCT: _distinct(
            {
                m: [estimators.exact_lists(scores, m, rng) for _ in range(size.repetitions)]
                for m in drawn.lists
            },
            values,
            size,
            exact,
        ),
        UNIFORM: np.stack(
            [estimators.of_weighted(i, weights[i], values, budgets, exact) for i in uniform]
        ),
        UNIFORM_KNOWN: np.stack(
            [estimators.of_weighted(i, weights[i], values, budgets, exact, mean) for i in uniform]
        ),
        TOP: estimators.of_heaviest(weights, values, budgets, exact)[None],
    }


def _pooled(lists: Sequence[I64], values: F64, size: Size, exact: F64) -> F64:
    """Errors of draws with replacement: a list where it is long enough, else several together."""
    found = np.full((size.repetitions, len(size.budgets)), np.nan)
    whole = [index for index in lists if index.size == size.samples]
    for column, m in enumerate(size.budgets):
        together = max(1, m // size.samples)
        for run in range(len(whole) // together):
            index = np.concatenate(whole[run * together : (run + 1) * together])[:m]
            found[run, column] = estimators.of_draws(index, values, (m,), exact)[0]
    return found


def _distinct(
    lists: dict[int, list[tuple[I64, F64, F64]]], values: F64, size: Size, exact: F64
) -> F64:
    """Errors of draws without replacement: lists of the budget, or several of the longest."""
    found = np.full((size.repetitions, len(size.budgets)), np.nan)
    longest = max(lists)
    for column, m in enumerate(size.budgets):
        brought, together = lists[min(m, longest)], max(1, m // longest)
        for run in range(len(brought) // together):
            part = brought[run * together : (run + 1) * together]
            found[run, column] = estimators.of_lists(part, values, exact)
    return found


def _softmax_errors(
    weights: F64, soft: F64, values: F64, ours: Sequence[I64], size: Size, rng: np.random.Generator
) -> dict[str, F64]:
    """Against softmax attention. Draws by ℓ2 are weighed by the quotient of the two weights."""
    budgets, exact, most = size.budgets, estimators.output(soft, values), max(size.budgets)
    uniform = [rng.integers(len(soft), size=most) for _ in range(size.runs)]
    reweighted = np.full((size.repetitions, len(budgets)), np.nan)
    pool = np.concatenate(ours)
    for column, m in enumerate(budgets):
        for run in range(min(size.repetitions, pool.size // m)):
            # Lists are independent of one another: any stretch of the pool is as good.
            index = pool[run * m : (run + 1) * m]
            weight = soft[index] / weights[index]
            reweighted[run, column] = estimators.of_weighted(index, weight, values, (m,), exact)[0]
    return {
        REWEIGHTED: reweighted,
        UNIFORM: np.stack(
            [estimators.of_weighted(i, soft[i], values, budgets, exact) for i in uniform]
        ),
        TOP: estimators.of_heaviest(soft, values, budgets, exact)[None],
    }
