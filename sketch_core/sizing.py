"""Guarantees as code: from samples, power and shape to widths, depth and levels, and back.

Problem.   How wide must the tables be, so that a list of k coordinates is whole in
           at least RECOVERY of all cases, whatever the vector?
Source.    The race of exponentials: the k-th arrival is Γ_k, a sum of k standard
           exponentials, over the total rate (Rényi); what is not found is noise.
Deviation. The paper's widths are asymptotic. These come from a formula with two
           constants calibrated by simulation and checked on the real code by
           benchmarks/calibrate.py, whose table stands in docs/sizing.md.
Guarantee. Of the model, which simulation bears out as far as its table can show:
           with T coordinates of equal magnitude touched (the worst case: any
           other shape has less noise beside its list), T up to TOUCHED, all k
           coordinates are served in at least 99.9 % of lists. Beyond T lists
           become partial.

The formula. Scale ‖y‖_p to 1. The k-th largest |z| is Γ_k^(-1/p); let g be the
99.9 % quantile of Γ_k. The energy beside the g largest is

    N = ln(T / g)                                 for p = 2,
    N = (g^(1-2/p) - T^(1-2/p)) / (2/p - 1)       for p < 2,

and a cell of a table of width w holds a share N / w of it: σ̂² = N / w. The k-th
stands DETECTION σ̂ above zero when w = DETECTION² · g^(2/p) · N. WIDTH_FACTOR
leaves room for the error of the estimate. Upper levels only have to bring a
prefix into the beam: UPPER_SHARE of that width will do, and a little more for
each further level, since a coordinate must pass them all. For p < 2 the widths are
small enough that a few dozen coordinates of middling size, rather than many
small ones, make the noise; CROWDING keeps that many buckets for each of g.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: A hierarchy's first level has at most 2^FIRST_LEVEL_BITS prefixes, all of them evaluated.
FIRST_LEVEL_BITS: Final = 13
#: Up to this many index bits one level does: evaluating every coordinate is
#: cheaper than the cells of a level.
SINGLE_LEVEL_BITS: Final = 15
#: Each later level expands a kept prefix by at most this many bits.
MAX_EXPANSION_BITS: Final = 7
DEFAULT_DEPTH: Final = 5

#: Share of lists that are whole at default sizes.
RECOVERY: Final = 0.999
#: The standard normal quantile of RECOVERY.
_RECOVERY_DEVIATE: Final = 3.0902
#: Touched coordinates the default sizes are made for, where n allows as many.
TOUCHED: Final = 1 << 20
#: A coordinate is served when it stands this many σ̂ above zero.
DETECTION: Final = 3.0
WIDTH_FACTOR: Final = 1.15
UPPER_SHARE: Final = 0.42
UPPER_SHARE_PER_LEVEL: Final = 0.02
CROWDING: Final = 24.0
#: Width of the unscaled sketch: a share of `width`, between these bounds.
ESTIMATE_SHARE: Final = 0.25
ESTIMATE_BOUNDS: Final = (256, 4096)
_MULTIPLE: Final = 32
#: Width of a tensor's unscaled tables. A2's give the energies of rows, each with a relative
#: standard deviation of √(2 / (depth · width)): 2 %, which seeds average out.
TENSOR_ESTIMATE_WIDTH: Final = 1024
#: It is at least this many times as wide as an operand has columns.
TENSOR_BUCKETS_A_COLUMN: Final = 2

#: Standard deviation of the median of t standard normal variables.
_MEDIAN_DEVIATION: Final = {1: 1.0, 3: 0.6698, 5: 0.5357, 7: 0.4583, 9: 0.4075}


def median_deviation(depth: int) -> float:
    """Standard deviation of the median of `depth` standard normals (asymptotic above 9)."""
    return _MEDIAN_DEVIATION.get(depth, math.sqrt(math.pi / (2 * depth)))


def level_shifts(n: int) -> tuple[int, ...]:
    """How many low bits each level drops, from the coarsest level to 0, for n coordinates."""
    bits = max(n - 1, 0).bit_length()
    if bits <= SINGLE_LEVEL_BITS:
        return (0,)
    below = bits - FIRST_LEVEL_BITS
    steps = -(-below // MAX_EXPANSION_BITS)
    return (*(-(-below * (steps - step) // steps) for step in range(steps)), 0)


def arrival_quantile(samples: int) -> float:
    """The RECOVERY quantile of Γ_samples, by Wilson and Hilferty's cube."""
    ninth = 1.0 / (9.0 * samples)
    return float(samples * (1.0 - ninth + _RECOVERY_DEVIATE * math.sqrt(ninth)) ** 3)


def noise_energy(power: float, found: float, touched: float) -> float:
    """Energy beside the `found` largest of `touched` scaled coordinates, ‖y‖_p being 1."""
    if touched <= found:
        return 0.0
    if power == 2.0:
        return math.log(touched / found)
    exponent = 1.0 - 2.0 / power
    return float((found**exponent - touched**exponent) / -exponent)


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
        """Levels of the hierarchy."""
        return len(self.shifts)

    @property
    def scaled_cells(self) -> int:
        """Cells of one repetition's hierarchy."""
        return self.depth * (self.width + self.upper_width * (self.levels - 1))

    @property
    def unscaled_cells(self) -> int:
        """Cells of the unscaled sketch."""
        return self.depth * self.estimate_width


def _rounded_up(width: float) -> int:
    return max(_MULTIPLE, _MULTIPLE * math.ceil(width / _MULTIPLE))


def suggest_sizes(
    n: int,
    samples: int,
    power: float,
    *,
    width: int | None = None,
    upper_width: int | None = None,
    estimate_width: int | None = None,
    depth: int | None = None,
) -> Sizes:
    """Sizes that serve `samples` coordinates in RECOVERY of lists; what is given is honoured.

    n: coordinates. power: 1 to 2. A given width scales the widths not given.
    """
    touched = float(min(n, TOUCHED))
    found = min(arrival_quantile(samples), touched)
    crowded = CROWDING * found
    shifts = level_shifts(n)
    if width is None:
        needed = DETECTION**2 * found ** (2.0 / power) * noise_energy(power, found, touched)
        width = _rounded_up(max(WIDTH_FACTOR * needed, crowded))
    if upper_width is None:
        share = UPPER_SHARE + UPPER_SHARE_PER_LEVEL * max(len(shifts) - 2, 0)
        upper_width = min(width, _rounded_up(max(share * width, crowded)))
    if estimate_width is None:
        low, high = ESTIMATE_BOUNDS
        estimate_width = min(max(_rounded_up(ESTIMATE_SHARE * width), low), max(high, width))
    return Sizes(
        depth=depth if depth is not None else DEFAULT_DEPTH,
        width=width,
        upper_width=upper_width,
        estimate_width=estimate_width,
        shifts=shifts,
    )


def suggest_tensor_sizes(
    n1: int,
    n2: int,
    columns: int,
    samples: int,
    chosen: Mapping[str, int],
    second_chosen: Mapping[str, int],
) -> tuple[Sizes, Sizes]:
    """Sizes for `samples` pairs of a tensor: of A1's tables, and of each of A2's.

    A1's hierarchy brings `samples` rows; each of A2's one column. columns: the larger of d1
    and d2, directions that an unscaled table must tell apart. chosen, second_chosen:
    sizes that are given, by name. The unscaled tables have one width, so that those of
    the operands convolve to one of Y.
    """
    default = max(TENSOR_ESTIMATE_WIDTH, _rounded_up(TENSOR_BUCKETS_A_COLUMN * columns))
    estimate = {"estimate_width": default} | dict(chosen)
    first = suggest_sizes(n1, samples, 2.0, **estimate)
    shared = {"estimate_width": first.estimate_width, "depth": first.depth}
    return first, suggest_sizes(n2, 1, 2.0, **shared, **second_chosen)


def expected_errors(sizes: Sizes, *, tensor: bool = False) -> dict[str, float]:
    """What to expect of a sketch of these sizes, as shares of ‖y‖₂.

    estimate: standard deviation of a point estimate. norm: of ‖y‖₂, relative; both
    unscaled tables of a tensor contribute.
    """
    tables = 2.0 if tensor else 1.0
    return {
        "estimate": median_deviation(sizes.depth) / math.sqrt(sizes.estimate_width),
        "norm": math.sqrt(2.0 * tables / sizes.unscaled_cells) / 2.0,
    }
