"""What the pairs say, case by case, and whether an exact sampler could have brought them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.demo import law
from service.demo.findings import FLOOR_RUNS, LEVEL
from service.demo.law import F64, I64, Fit
from service.demo.pairs.input import Case, Input, bands
from service.demo.pairs.run import Drawn

#: Blocks of the maps: two columns are the deleted keys, and a full run draws some ten pairs a
#: block, below which the noise would hide the law.
QUERY_BLOCKS: Final = 8
KEY_BLOCKS: Final = 20
#: Tiles for the test by place: at most so many bands of queries, and of keys in each.
_MOST_BANDS: Final = 7


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """One case's.

    by_size: χ² over classes of pairs from the least to the most likely; by_place:
    over tiles of queries × keys of equal mass; None where the pairs are too few.
    off, floor: total variation over blocks, of the draws and of the mean exact
    sampler with as many. norm_off: mean relative error of ‖Y‖_F. shares, drawn:
    of each block, float64 (QUERY_BLOCKS, KEY_BLOCKS), exact and in the draws.
    """

    case: Case
    draws: int
    effective: float
    by_size: Fit | None
    by_place: Fit | None
    off: float
    floor: float
    norm_off: float
    shares: F64
    drawn: F64


@dataclass(frozen=True, slots=True)
class Findings:
    """All of them. deleted_drawn: how often a deleted key came, which must be never.

    moved: total variation over blocks between the laws of the first and the last
    case, which draws that stayed with the first would be off by.
    """

    cases: list[CaseFindings]
    deleted_drawn: int
    moved: float

    def p_values(self) -> list[float]:
        """Of all tests."""
        return [fit.p_value for item in self.cases for fit in (item.by_size, item.by_place) if fit]

    @property
    def smallest(self) -> float:
        """The smallest p-value times the number of tests (Bonferroni), at most 1.

        The cases share sketches, so their draws depend on one another: the bound holds all the
        same.
        """
        return min(1.0, min(self.p_values(), default=1.0) * max(len(self.p_values()), 1))

    @property
    def passed(self) -> bool:
        """Whether an exact sampler could well have brought this, every case of it."""
        served = all(item.draws for item in self.cases)
        return served and self.smallest >= LEVEL and self.deleted_drawn == 0


def find(data: Input, drawn: list[Drawn], seed: int) -> Findings:
    """Compare every case with its law and with exact samplers of as many draws."""
    rng = np.random.default_rng(seed)
    gone = np.zeros(len(data.keys), dtype=np.bool_)
    gone[data.deleted] = True
    deleted_drawn = 0
    cases = []
    for case, brought in zip(data.cases, drawn, strict=True):
        if case.thinned:
            deleted_drawn += int(gone[brought.pairs[:, 1]].sum())
        cases.append(_one(data, case, brought, rng))
    moved = float(np.abs(cases[0].shares - cases[-1].shares).sum() / 2)
    return Findings(cases, deleted_drawn, moved)


def _one(data: Input, case: Case, brought: Drawn, rng: np.random.Generator) -> CaseFindings:
    scores = data.scores(case)
    norm = float(np.linalg.norm(scores))
    n1, n2 = scores.shape
    probabilities = law.law(scores.ravel())
    draws = brought.pairs[:, 0] * n2 + brought.pairs[:, 1]
    block = _blocks(data)
    blocks = QUERY_BLOCKS * KEY_BLOCKS
    shares = law.masses(block, probabilities, blocks)
    shape = (QUERY_BLOCKS, KEY_BLOCKS)
    counted = np.bincount(block[draws], minlength=blocks) / max(draws.size, 1)
    return CaseFindings(
        case=case,
        draws=draws.size,
        effective=law.effective(probabilities),
        by_size=law.fit(draws, probabilities),
        by_place=_by_place(data, probabilities.reshape(n1, n2), draws),
        off=law.distance(block[draws], shares) if draws.size else math.nan,
        floor=_floor(shares, draws.size, rng),
        norm_off=float(np.abs(brought.norms / norm - 1.0).mean()) if draws.size else math.nan,
        shares=shares.reshape(shape),
        drawn=counted.reshape(shape),
    )


def _blocks(data: Input) -> I64:
    """The block of each pair, int64 (n1 · n2,), in the order of the maps."""
    rows, columns = bands(data.query_order, QUERY_BLOCKS), bands(data.key_order, KEY_BLOCKS)
    return np.asarray((rows[:, None] * KEY_BLOCKS + columns).ravel())


def _by_place(data: Input, probabilities: F64, draws: I64) -> Fit | None:
    """χ² over tiles: bands of queries of equal mass, in each bands of keys of equal mass."""
    count = min(_MOST_BANDS, math.isqrt(draws.size // 10))
    count -= 1 - count % 2
    if count < 3:
        return None
    rows = law.classes(probabilities.sum(axis=1), count, data.query_order)
    tiles = np.empty(probabilities.shape, dtype=np.int64)
    for band in range(count):
        here = rows == band
        mass = probabilities[here].sum(axis=0)
        tiles[here] = band * count + law.classes(mass / mass.sum(), count, data.key_order)
    member = tiles.ravel()
    shares = law.masses(member, probabilities.ravel(), count * count)
    return law.fit_in(member[draws], shares)


def _floor(shares: F64, draws: int, rng: np.random.Generator) -> float:
    """The mean total variation over blocks of exact samplers with as many draws."""
    if not draws:
        return math.nan
    runs = [rng.choice(shares.size, draws, p=shares) for _ in range(FLOOR_RUNS)]
    return float(np.mean([law.distance(run, shares) for run in runs]))
