"""Placeholder head; replaced after calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: A hierarchy's first level has at most 2^FIRST_LEVEL_BITS prefixes, all of them evaluated.
FIRST_LEVEL_BITS: Final = 13
#: Each later level expands a kept prefix by at most this many bits.
MAX_EXPANSION_BITS: Final = 8
DEFAULT_DEPTH: Final = 5


def level_shifts(n: int) -> tuple[int, ...]:
    """How many low bits each level drops, from the coarsest level to 0. n: number of coordinates."""
    bits = max(n - 1, 0).bit_length()
    below = max(bits - FIRST_LEVEL_BITS, 0)
    steps = -(-below // MAX_EXPANSION_BITS)
    return tuple(-(-below * (steps - step) // steps) for step in range(steps)) + (0,)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Every derived size of a hierarchical sketch.

    depth: rows a level. width: buckets a row of the last level. upper_width: of
    the levels above. estimate_width: of the unscaled sketch. shifts: low bits
    dropped by each level, coarsest first, ending in 0.
    """

    depth: int
    width: int
    upper_width: int
    estimate_width: int
    shifts: tuple[int, ...]

    @property
    def levels(self) -> int:
        return len(self.shifts)

    @property
    def scaled_cells(self) -> int:
        """Cells of one repetition's hierarchy."""
        return self.depth * (self.width + self.upper_width * (self.levels - 1))

    @property
    def unscaled_cells(self) -> int:
        return self.depth * self.estimate_width


def suggest_sizes(
    n: int,
    samples: int,
    *,
    width: int | None = None,
    upper_width: int | None = None,
    estimate_width: int | None = None,
    depth: int | None = None,
) -> Sizes:
    """Sizes that recover samples + 1 coordinates with the documented probability."""
    root = math.sqrt(samples)
    chosen = width if width is not None else 64 * math.ceil((512 + 384 * root) / 64)
    return Sizes(
        depth=depth if depth is not None else DEFAULT_DEPTH,
        width=chosen,
        upper_width=upper_width if upper_width is not None else chosen,
        estimate_width=estimate_width if estimate_width is not None else max(1, chosen // 4),
        shifts=level_shifts(n),
    )


def expected_errors(sizes: Sizes) -> dict[str, float]:
    """What to expect of a sketch of these sizes, as shares of ‖y‖₂.

    estimate: standard deviation of a point estimate. norm: of ‖y‖₂, relative.
    """
    from sketch_core.count_sketch import median_deviation

    return {
        "estimate": median_deviation(sizes.depth) / math.sqrt(sizes.estimate_width),
        "norm": math.sqrt(2.0 / sizes.unscaled_cells) / 2.0,
    }
