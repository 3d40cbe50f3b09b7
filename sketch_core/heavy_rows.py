"""The largest rows of a matrix that only its hierarchical CountSketch is left of.

Problem.   Cells of a hierarchy are rows of r numbers, the sketch of a matrix Z with
           rows z_i. List the rows of largest ‖z_i‖ in order, with their values.
Source.    heavy_hitters.py, for numbers; Song, Xie, Zhou, Section 5, for rows.
Deviation. The size of a cell is its Euclidean norm, and signs come from the full index at
           every level, so a cell's squared norm is the energy of its prefixes. At the last
           level the rows of a coordinate's cells are joined by their median, column
           by column; a coordinate is trusted by the rules for numbers, with the mean
           taken along its median. Noise that has several directions is shorter than
           noise in one by the same median, so those rules err on the safe side.
Guarantee. As for numbers, σ̂ being the root mean squared norm of the residual cells:
           a trusted row is off by about 0.54 σ̂ in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sketch_core.count_sketch import Table, median_of_rows, root_mean_square
from sketch_core.hashing import U64
from sketch_core.heavy_hitters import (
    MAX_PEELINGS,
    SETTLED,
    Hierarchy,
    beam_width,
    in_a_shadow,
    trustworthy,
)
from sketch_core.sizing import DETECTION

F64 = npt.NDArray[np.float64]


#: Numbers of candidates' rows that exist at a time.
_ROW_NUMBERS: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class RecoveredRows:
    """The trusted rows, largest first, ties in order of `tie_break`.

    index: uint64 (m,). value: float64 (m, r), estimates of z_i. size: their norms, (m,).
    sigma: σ̂. threshold: every row served is at least this long; 0 when nothing is left.
    """

    index: U64
    value: F64
    size: F64
    sigma: float
    threshold: float


def recover_rows(
    hierarchy: Hierarchy, cells: F64, wanted: int, tie_break: Callable[[U64], U64], floor: float
) -> RecoveredRows:
    """Find the rows of largest ‖z_i‖.

    cells: float64 (hierarchy.cells, r). wanted, tie_break, floor: as for Hierarchy.recover.
    """
    last = hierarchy.tables[-1]
    beam = beam_width(wanted)
    magnitudes = row_norms(cells)
    prefixes = hierarchy.descend(magnitudes[: last.base], beam)
    candidates = hierarchy.heaviest(magnitudes[last.base :], prefixes, beam)
    return _peel(last, cells[last.base :].copy(), candidates, tie_break, floor)


def row_norms(rows: F64) -> F64:
    """Euclidean norms: float64 (m, r) to (m,)."""
    norms: F64 = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return norms


def _estimated(
    residual: F64, where: npt.NDArray[np.int64], sign: F64, value: F64
) -> tuple[F64, F64, F64]:
    """Medians of each candidate's rows, (m, r), their norms, and their means along them, (m,).

    The rows of all candidates never exist at once.
    """
    depth, count = where.shape
    estimate, along = np.empty_like(value), np.empty(count)
    step = max(1, _ROW_NUMBERS // (depth * value.shape[1]))
    for start in range(0, count, step):
        part = slice(start, start + step)
        rows = residual[where[:, part]]
        rows *= sign[:, part, None]
        rows += value[part]
        mean = rows.mean(axis=0)
        estimate[part] = median_of_rows(rows.reshape(depth, -1)).reshape(mean.shape)
        along[part] = np.einsum("ij,ij->i", mean, estimate[part])
    size = row_norms(estimate)
    along /= np.where(size > 0.0, size, 1.0)
    return estimate, size, along


def _peel(
    table: Table, residual: F64, candidates: U64, tie_break: Callable[[U64], U64], floor: float
) -> RecoveredRows:
    """Subtract what stands out until nothing more does, the largest first where cells are shared.

    The steps of heavy_hitters._peel, with rows for numbers; why each is there is said there.
    """
    where = table.prefix_addresses(candidates)
    sign = table.signs_of(candidates).astype(np.float64)
    value = np.zeros((candidates.size, residual.shape[1]))
    trusted = np.zeros(candidates.size, dtype=bool)
    # Kept cell by cell: all of them anew each time would cost more than the peeling.
    norms = row_norms(residual)
    sigma = root_mean_square(norms)
    largest = math.inf
    for _ in range(MAX_PEELINGS):
        estimate, size, along = _estimated(residual, where, sign, value)
        threshold = max(DETECTION * sigma, floor)
        before, trusted = trusted, trustworthy(size, along, threshold, table.depth)
        change = np.where(trusted[:, None], estimate, 0.0) - value
        new = np.flatnonzero(trusted & ~value.any(axis=1))
        held = new[in_a_shadow(where[:, new], along[new])]
        trusted[held] = False
        change[held] = 0.0
        same = not held.size and bool((trusted == before).all())
        moved = row_norms(change)
        previous, largest = largest, float(moved.max(initial=0.0))
        if same and largest <= SETTLED * sigma + floor:
            break
        if same and largest > 0.7 * previous:
            change *= 0.5
        changed = np.flatnonzero(moved)
        value[changed] += change[changed]
        for row, cells in enumerate(where[:, changed]):
            np.subtract.at(residual, cells, sign[row, changed, None] * change[changed])
        touched = where[:, changed].reshape(-1)
        norms[touched] = row_norms(residual[touched])
        sigma = root_mean_square(norms)
    chosen = np.flatnonzero(trusted & value.any(axis=1))
    sizes = row_norms(value[chosen])
    order = np.lexsort((tie_break(candidates[chosen]), -sizes))
    chosen = chosen[order]
    nothing_left = float(norms.max(initial=0.0)) <= floor
    return RecoveredRows(
        index=candidates[chosen],
        value=value[chosen],
        size=sizes[order],
        sigma=sigma,
        threshold=0.0 if nothing_left else max(DETECTION * sigma, floor),
    )
