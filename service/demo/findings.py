"""What the draws say, query by query, and whether a correct sampler could have brought them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from service.demo import law
from service.demo.input import Input, Size
from service.demo.law import F64, Draws, Fit

#: The demo fails when a correct sampler would look this bad less than once in 10,000 runs.
LEVEL: Final = 1e-4
#: Runs of the exact sampler that the noise floor is taken over.
FLOOR_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class QueryFindings:
    """One query's.

    effective: how many equally likely keys are as spread out. independent,
    first: the χ² tests of draws with replacement and of first draws, None where
    there are too few; floor: the test of an exact sampler's draws with
    replacement. errors: of the attention output after each list; floor_errors:
    of FLOOR_RUNS exact samplers, (runs, lists).
    """

    query: int
    effective: float
    draws: int
    independent: Fit | None
    first: Fit | None
    floor: Fit | None
    errors: F64
    floor_errors: F64


@dataclass(frozen=True, slots=True)
class Findings:
    """All of them. deleted_drawn: how often a deleted key came, which must be never."""

    queries: list[QueryFindings]
    deleted_drawn: int
    served: int

    @property
    def tests(self) -> int:
        """How many χ² tests were made of the sketch's draws."""
        return len(self.p_values())

    def p_values(self) -> list[float]:
        """Those of the sketch's draws."""
        return [
            fit.p_value for item in self.queries for fit in (item.independent, item.first) if fit
        ]

    @property
    def smallest(self) -> float:
        """The smallest p-value times the number of tests (Bonferroni), at most 1."""
        return min(1.0, min(self.p_values(), default=1.0) * max(self.tests, 1))

    @property
    def passed(self) -> bool:
        """Whether an exact sampler could well have brought this."""
        return self.smallest >= LEVEL and self.deleted_drawn == 0 and self.served > 0


def find(data: Input, size: Size, draws: list[Draws], seed: int) -> Findings:
    """Compare every query's draws with the law and with exact samplers of as many draws."""
    rng = np.random.default_rng(seed)
    gone = np.zeros(size.keys, dtype=np.bool_)
    gone[data.deleted] = True
    deleted_drawn = 0
    found = []
    for query, brought in enumerate(draws):
        parts = [brought.first, brought.independent, *(index for index, _, _ in brought.lists)]
        drawn = np.concatenate(parts)
        deleted_drawn += int(gone[drawn].sum())
        found.append(_one(data, size, query, brought, rng))
    return Findings(found, deleted_drawn, sum(item.draws for item in found))


def _one(
    data: Input, size: Size, query: int, draws: Draws, rng: np.random.Generator
) -> QueryFindings:
    scores = data.scores(query)
    probabilities = law.law(scores)
    exact = [law.exact_draws(scores, size.lists, size.count, rng) for _ in range(FLOOR_RUNS)]
    return QueryFindings(
        query=query,
        effective=law.effective(probabilities),
        draws=draws.independent.size,
        independent=law.fit(draws.independent, probabilities),
        first=law.fit(draws.first, probabilities),
        floor=law.fit(exact[0].independent[: draws.independent.size], probabilities),
        errors=law.running_error(draws, scores, data.values),
        floor_errors=np.stack([law.running_error(item, scores, data.values) for item in exact]),
    )
