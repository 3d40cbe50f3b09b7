"""Attention outputs from few tokens, beside the exact ones, by several ways of choosing them.

Problem.   o = Σ w_i v_i over n tokens, w_i = (k_i · q)² / Σ (k_j · q)² (ℓ2
           attention) or the softmax of k_i · q / √d; estimate it from m tokens.
Estimators. Draws with replacement in proportion to w: the mean of v, unbiased,
           its variance Σ w_i ‖v_i - o‖² / m, the floor of a sketch's draws.
           Draws without replacement in the order of a race (ppswor): Σ y² v / π
           over Σ y² / π, π the inclusion probabilities (Horvitz–Thompson); each
           sum is unbiased for true y, the quotient up to O(1 / m). Uniform draws:
           the same with their weights, over their own sum (self-normalised) or
           over the true one (unbiased). Top m: the m heaviest tokens, renormalised;
           an oracle, since it takes all n scores to find them, and biased.
Guarantee. What is computed here is exact arithmetic in float64; what a sketch
           adds is the error of its recovered y and of its law, and comes from outside.

Arrays: scores float64 (n,), values float64 (n, d). Errors are ‖ô - o‖ / ‖o‖.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.demo.law import F64, I64, exact_draws, law

#: Float64 (n,): the unnormalised weights of the tokens. Whatever factor they share cancels.
Weights = F64


def softmax_weights(scores: F64) -> Weights:
    """exp(k · q / √d), the largest 1. scores float64 (n,), already divided by √d."""
    return np.asarray(np.exp(scores - scores.max()))


def output(weights: Weights, values: F64) -> F64:
    """Σ w v / Σ w, float64 (d,)."""
    return np.asarray(weights @ values / weights.sum())


def error(estimate: F64, exact: F64) -> float:
    """‖ô - o‖ / ‖o‖."""
    return float(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))


def of_draws(index: I64, values: F64, budgets: Sequence[int], exact: F64) -> F64:
    """Errors of the mean of v over the first m draws with replacement, float64 (budgets,)."""
    sums = np.cumsum(values[index], axis=0)
    return np.array([error(sums[m - 1] / m, exact) for m in budgets])


def of_weighted(
    index: I64, weight: F64, values: F64, budgets: Sequence[int], exact: F64, mean: float = 0.0
) -> F64:
    """Errors of Σ w v / Σ w over the first m draws, float64 (budgets,).

    weight float64 (draws,): of each draw. mean: a draw's mean weight where it is known,
    and then divided by instead of what the draws themselves say.
    """
    above = np.cumsum(weight[:, None] * values[index], axis=0)
    below = np.cumsum(weight)
    return np.array(
        [error(above[m - 1] / (m * mean if mean else below[m - 1]), exact) for m in budgets]
    )


def of_lists(lists: Sequence[tuple[I64, F64, F64]], values: F64, exact: F64) -> float:
    """Error of Horvitz–Thompson over lists together: each brought (index, y, π)."""
    above, below = np.zeros(values.shape[1]), 0.0
    for index, score, inclusion in lists:
        weight = score**2 / inclusion
        above += weight @ values[index]
        below += float(weight.sum())
    return error(above / below, exact)


def of_heaviest(weights: Weights, values: F64, budgets: Sequence[int], exact: F64) -> F64:
    """Errors of the m heaviest tokens, renormalised, float64 (budgets,)."""
    order = np.argsort(-weights, kind="stable")[: max(budgets)]
    return of_weighted(order, weights[order], values, budgets, exact)


def single_draw_error(weights: Weights, values: F64, proposal: F64 | None = None) -> float:
    """Root mean square error of one draw, relative: it falls as 1 / √m.

    proposal float64 (n,): the law of the draws, whose weighted mean is then taken (to
    first order, self-normalised); None for the weights themselves.
    """
    share = weights / weights.sum()
    exact = share @ values
    distance = ((values - exact) ** 2).sum(axis=1)
    spread = share if proposal is None else share**2 / proposal
    return float(np.sqrt(spread @ distance) / np.linalg.norm(exact))


def exact_lists(scores: F64, count: int, rng: np.random.Generator) -> tuple[I64, F64, F64]:
    """One list without replacement of an exact sampler: index, y and π."""
    return exact_draws(scores, 1, count, rng).lists[0]


def exact_index(scores: F64, count: int, rng: np.random.Generator) -> I64:
    """Draws with replacement of an exact sampler, int64 (count,)."""
    cumulated = np.cumsum(law(scores))
    drawn = rng.random(count) * cumulated[-1]
    return np.asarray(np.searchsorted(cumulated, drawn, side="right"), dtype=np.int64)
