"""Measure again what the default sizes of sketch_core.sizing rest on.

Run it with `make calibrate`; `--write` puts the tables into docs/sizing.md, `--json FILE`
writes their figures as benchmarks/measuring/report.py describes, `--small` takes seconds.

Two measurements. The *model* draws the arrivals of a race over T equal
coordinates directly (partial sums of exponentials), puts the largest few
thousand into real tables under real hashes, adds the rest as Gaussian noise of
the right energy, and decodes with the real decoder: thousands of lists a minute
for any (samples, power, n). The *check* does the whole thing, 2^20 streamed
updates through `apply`, for the defaults only; it shows that the model's figures
are those of the code.

For each list three things are counted: whether fewer than `samples` coordinates
were served (a *partial* list), how many of those served are not among the
arrivals at all (*wrong*), and whether one of the first half of the arrivals is
missing although weaker ones are there (*gap*).
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from benchmarks.measuring.report import (
    Findings,
    Row,
    Target,
    as_json,
    put_between,
    write_json,
)
from sketch_core.batch import Columns, quantise
from sketch_core.heavy_hitters import Hierarchy, Recovered
from sketch_core.linear_sketch import LinearSketch
from sketch_core.resolve import resolve
from sketch_core.scaling import Race
from sketch_core.sizing import TOUCHED, Sizes, noise_energy, suggest_sizes
from sketch_core.spec import Spec

#: Arrivals that the model places one by one; the rest is noise.
PLACED: Final = 6000
DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "sizing.md"
START: Final = "<!-- calibration -->\n"
END: Final = "<!-- end of calibration -->"
GRID: Final = [
    (1 << bits, samples, power)
    for power in (1.0, 1.5, 2.0)
    for samples in (1, 16, 64)
    for bits in (14, 20, 40, 63)
]
#: What the real code is checked at: (n, samples, power).
CHECKED: Final = [(1 << 20, 16, 2.0), (1 << 20, 1, 2.0), (1 << 20, 16, 1.0), (1 << 40, 16, 2.0)]
SMALL_GRID: Final = [(1 << 14, 1, 1.0), (1 << 20, 16, 2.0)]
SMALL_LISTS: Final = 10
#: At most this share of lists may be partial, by the number of samples.
PARTIAL_LISTS: Final = {16: 1e-3, 1: 1e-2}
CAVEATS: Final = (
    "A rate of zero bounds the true one by 3 over the number of lists only.",
    "The model places the largest arrivals and adds the rest as Gaussian noise; the check "
    "streams all of them, which is why it has fewer lists.",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a number of lists came to."""

    lists: int
    partial: int
    wrong: int
    gaps: int
    draws: int

    def row(self) -> str:
        """The three rates as table cells; a zero as the 95 % bound that it stands for."""
        return " | ".join(
            f"{count / of:.1e}" if count else f"< {3.0 / of:.0e}"
            for count, of in (
                (self.partial, self.lists),
                (self.wrong, self.draws),
                (self.gaps, self.lists),
            )
        )


def judge(lists: Iterable[tuple[Recovered, Sequence[int]]], samples: int) -> Outcome:
    """Count partial lists, wrong coordinates and gaps; each list comes with its true arrivals."""
    count = partial = wrong = gaps = draws = 0
    for recovered, arrivals in lists:
        rank = {coordinate: place for place, coordinate in enumerate(arrivals)}
        places = [rank.get(int(index), -1) for index in recovered.index]
        served = places[:samples]
        count += 1
        draws += len(served)
        partial += len(served) < samples
        wrong += sum(place < 0 for place in served)
        first = range(min(max(1, samples // 2), len(arrivals)))
        gaps += len(served) == samples and not set(first) <= set(places)
    return Outcome(count, partial, wrong, gaps, draws)


def modelled_list(
    n: int, samples: int, power: float, sizes: Sizes, rng: np.random.Generator
) -> tuple[Recovered, list[int]]:
    """One list of the model: T equal coordinates, ‖y‖_p = 1, fresh hashes."""
    touched = min(n, TOUCHED)
    placed = min(PLACED, touched)
    magnitude = np.cumsum(rng.exponential(size=placed)) ** (-1.0 / power)
    rest = noise_energy(power, float(placed), float(touched))
    draw = rng.choice(n, placed, replace=False) if n <= TOUCHED else rng.integers(0, n, placed)
    index = draw.astype(np.uint64)
    hierarchy = Hierarchy(int(rng.integers(1 << 53)), 0, n, sizes)
    cells = np.empty(hierarchy.cells)
    for table in hierarchy.tables:
        where = table.prefix_addresses(index >> np.uint64(table.shift))
        signed = table.signs_of(index) * magnitude
        cells[table.base : table.base + table.cells] = np.bincount(
            where.ravel(), signed.ravel(), table.cells
        ) + rng.normal(size=table.cells) * math.sqrt(rest / table.width)
    recovered = hierarchy.recover(cells, samples + 1, lambda coordinates: coordinates)
    return recovered, [int(i) for i in index]


def model(n: int, samples: int, power: float, lists: int, seed: int) -> tuple[Sizes, Outcome]:
    """Lists of the model at the default sizes of (n, samples, power)."""
    sizes = suggest_sizes(n, samples, power)
    rng = np.random.default_rng((seed, n, samples, int(16 * power)))
    title = f"model: n = 2^{n.bit_length() - 1}, k = {samples}, p = {power:g}"
    shown = tqdm(range(lists), desc=title, leave=False, file=sys.stderr)
    return sizes, judge((modelled_list(n, samples, power, sizes, rng) for _ in shown), samples)


def streamed_lists(spec: Spec, touched: int) -> Iterable[tuple[Recovered, list[int]]]:
    """Every repetition's list of a real sketch of `touched` equal coordinates, in any order."""
    sketch = LinearSketch(spec)
    rng = np.random.default_rng(spec.seed)
    index = np.arange(touched, dtype=np.uint64)
    if spec.n > touched:
        index = np.unique(rng.integers(0, spec.n, touched).astype(np.uint64))
    for start in range(0, index.size, 1 << 16):
        part = index[start : start + (1 << 16)]
        batch, _ = quantise(spec, Columns("y", index=part, delta=np.ones(part.size)))
        sketch.apply([batch])
    for draw in range(spec.repetitions):
        race = Race(spec.seed, draw, spec.distribution.power or 2.0, spec.clip)
        order = np.lexsort((race.bits(index), -race.scales(index)))[:PLACED]
        yield sketch.recovered(draw, spec.samples), [int(i) for i in index[order]]


def check(samples: int, power: float, n: int, lists: int, seed: int) -> Outcome:
    """Lists of the real code at default sizes with 2^20 touched coordinates."""
    repetitions = 16
    title = f"check: n = 2^{n.bit_length() - 1}, k = {samples}, p = {power:g}"

    def all_lists() -> Iterable[tuple[Recovered, list[int]]]:
        for number in tqdm(
            range(-(-lists // repetitions)), desc=title, leave=False, file=sys.stderr
        ):
            spec = resolve(
                {
                    "kind": "vector",
                    "shape": {"n": n},
                    "method": "sketch",
                    "samples": samples,
                    "repetitions": repetitions,
                    "distribution": {"power": power},
                    "seed": seed + number,
                }
            )
            yield from streamed_lists(spec, TOUCHED)

    return judge(all_lists(), samples)


def measure(
    grid: Sequence[tuple[int, int, float]], lists: int, checked: int, seed: int
) -> list[Row]:
    """One row for each case of the model, then for each of the check."""
    rows: list[Row] = []
    for n, samples, power in grid:
        sizes, outcome = model(n, samples, power, lists, seed)
        rows.append(_row("model", n, samples, power, sizes, outcome))
    for n, samples, power in CHECKED if checked else ():
        sizes = suggest_sizes(n, samples, power)
        outcome = check(samples, power, n, checked, seed)
        rows.append(_row("check", n, samples, power, sizes, outcome))
    return rows


def _row(of: str, n: int, samples: int, power: float, sizes: Sizes, outcome: Outcome) -> Row:
    return {
        "of": of,
        "n_bits": n.bit_length() - 1,
        "samples": samples,
        "power": power,
        "width": sizes.width,
        "upper_width": sizes.upper_width,
        "levels": sizes.levels,
        "state_kib": 8 * (sizes.scaled_cells + sizes.unscaled_cells) / 1024,
        **asdict(outcome),
        "rates": outcome.row(),
    }


def findings(rows: Sequence[Row]) -> Findings:
    """The rows, and what those of 2^20 coordinates at power 2 are held to."""
    return Findings(rows, [
        Target(f"share of partial lists, {row['samples']} samples, n = 2^20, {row['of']}", "",
               PARTIAL_LISTS[row["samples"]], row["partial"] / row["lists"])
        for row in rows
        if row["n_bits"] == 20 and row["power"] == 2.0 and row["samples"] in PARTIAL_LISTS
    ])  # fmt: skip


def tables(rows: Sequence[Row], lists: int, checked: int, seed: int) -> str:
    """Both tables in Markdown."""
    lines = [
        f"Model, {lists} lists a row, seed {seed}, 2^20 coordinates touched (or all n):",
        "",
        "| n | samples | power | width | upper | levels | state | partial | wrong | gap |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["of"] == "model":
            lines.append(
                f"| 2^{row['n_bits']} | {row['samples']} | {row['power']:g} | {row['width']} | "
                f"{row['upper_width']} | {row['levels']} | {row['state_kib']:.0f} KiB | "
                f"{row['rates']} |"
            )
    if checked:
        lines += [
            "",
            f"Check, the real code, {checked} lists a row, 2^20 equal coordinates streamed:",
            "",
            "| n | samples | power | partial | wrong | gap |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| 2^{row['n_bits']} | {row['samples']} | {row['power']:g} | {row['rates']} |"
            for row in rows
            if row["of"] == "check"
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.calibrate`."""
    parser = argparse.ArgumentParser(prog="calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--lists", type=int, default=1000, help="lists a row of the model")
    parser.add_argument("--checked", type=int, default=320, help="lists a row of the check")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    parser.add_argument("--small", action="store_true", help="two rows of a few lists")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    lists, checked = (SMALL_LISTS, 0) if chosen.small else (chosen.lists, chosen.checked)
    rows = measure(SMALL_GRID if chosen.small else GRID, lists, checked, chosen.seed)
    text = tables(rows, lists, checked, chosen.seed)
    print(f"numpy {np.__version__}, Python {platform.python_version()}\n")
    print(text)
    if chosen.json:
        command = f"python -m benchmarks.calibrate{' --small' if chosen.small else ''}"
        write_json(chosen.json, as_json("calibrate", command, chosen.seed, findings(rows), CAVEATS))
    if chosen.write:
        put_between(text, DOCUMENT, START, END)


if __name__ == "__main__":
    main()
