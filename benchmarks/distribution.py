"""How far the draws are from the exact law, beside an exact sampler's noise.

    python -m benchmarks.distribution [--long | --small] [--seed S] [--json FILE] [--write]

Runs the grid of tests/statistical (short by default, as `make test` does; --long
as `make test-long` does; --small its first case alone) and prints one row a case;
--write puts the table into docs/accuracy.md and draws docs/images/accuracy.png; --json
is described in benchmarks/measuring/report.py.

Caveats. Total variation is between class shares, 16 classes of equal mass: a
difference inside a class is not seen by it, but is by the column `not the
winner`. One run on one seed: read p-values by their smallest, times their number.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats
from tqdm import tqdm

from benchmarks.measuring.report import (
    SEED,
    Findings,
    Target,
    as_json,
    put_between,
    write_json,
)
from tests.statistical import grid
from tests.statistical.decisions import CLASSES, LEVEL, Verdict

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "accuracy.md"
PLOT: Final = DOCUMENT.parent / "images" / "accuracy.png"
START: Final = "<!-- table -->\n"
END: Final = "<!-- end of table -->"
#: Cases of the short grid that --small runs.
SMALL_CASES: Final = 1
#: At which the smallest p-value, times the number of tests, would call the law into question.
CORRECTED_LEVEL: Final = 1e-3
CAVEATS: Final = (
    "Total variation is between class shares, 16 classes of equal mass: a difference inside a "
    "class is not seen by it, but is by `differs`, the first draws that are not the race's.",
    "One run on one seed: read p-values by their smallest, times their number.",
)
#: Exact samplers whose distances make the noise floor.
FLOOR_RUNS: Final = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """What one case came to. differs: first draws that are not the race's winner, of `served`."""

    name: str
    lists: int
    failed: int
    first: Verdict
    independent: Verdict
    others: tuple[Verdict, ...]
    differs: int
    served: int
    never: int
    draws: int
    kib: float

    @property
    def p_values(self) -> list[float]:
        """Of all tests of the case."""
        return [item.p_value for item in (self.first, self.independent, *self.others)]


def measure(full: bool, position: int, seed: int) -> Row:
    """Run one case of the grid."""
    case = (grid.LONG if full else grid.SHORT)[position]
    drawn = grid.drawn(case, seed)
    order = grid.order(drawn)
    others = [grid.number_of_distinct(drawn), *([order] if order else [])]
    differs, served = grid.first_differs(drawn)
    return Row(
        name=case.name.replace(" (long)", ""),
        lists=drawn.lists,
        failed=drawn.failed,
        first=grid.first_draws(drawn),
        independent=grid.independent_draws(drawn),
        others=tuple(others),
        differs=differs,
        served=served,
        never=drawn.never,
        draws=drawn.draws,
        kib=drawn.spec.memory_bytes / drawn.spec.repetitions / 1024,
    )


def floor(draws: int) -> tuple[float, float]:
    """Total variation of an exact sampler's class shares: its median, and 95 % quantile."""
    rng = np.random.default_rng(draws)
    counts = rng.multinomial(draws, np.full(CLASSES, 1.0 / CLASSES), FLOOR_RUNS)
    distance = np.abs(counts / draws - 1.0 / CLASSES).sum(axis=1) / 2.0
    middle, high = np.quantile(distance, [0.5, 0.95])
    return float(middle), float(high)


def _upper(hits: int, trials: int) -> float:
    """The 95 % upper confidence bound of a rate (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.95, hits + 1, trials - hits)) if hits < trials else 1.0


def _distance(verdict: Verdict) -> str:
    middle, high = floor(verdict.trials)
    return f"{verdict.observed:.4f} ({middle:.4f}, {high:.4f})"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, and a summary under them."""
    lines = [
        "| vector | lists | first draw | caught from | with replacement | caught from "
        "| not the winner | smallest p | zeros drawn | of draws |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.lists} | {_distance(row.first)} | {row.first.smallest:.3f} "
            f"| {_distance(row.independent)} | {row.independent.smallest:.3f} "
            f"| {row.differs / max(row.served, 1):.1e} (< {_upper(row.differs, row.served):.0e}) "
            f"| {min(row.p_values):.2g} | {row.never} | {row.draws} |"
        )
    p_values = [value for row in rows for value in row.p_values]
    never, draws = sum(row.never for row in rows), sum(row.draws for row in rows)
    failed, lists = sum(row.failed for row in rows), sum(row.lists for row in rows)
    lines += [
        "",
        f"{len(p_values)} tests, the smallest p-value {min(p_values):.2g} "
        f"(times their number: {min(1.0, min(p_values) * len(p_values)):.2g}; "
        f"a test rejects below {LEVEL:.0e}). "
        f"{never} of {draws} draws were of coordinates that are zero. "
        f"{failed} of {lists} lists served nothing.",
    ]
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Distances of draws with replacement, on the band of exact samplers."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    height = np.arange(len(rows))[::-1]
    bands = [floor(row.independent.trials) for row in rows]
    figure, axes = plt.subplots(figsize=(7.0, 0.17 * len(rows) + 1.2), layout="constrained")
    axes.barh(height, [high for _, high in bands], color="0.85", label="95 % of exact samplers")
    axes.plot([m for m, _ in bands], height, "|", color="0.4", label="their median")
    axes.plot([r.independent.observed for r in rows], height, "o", ms=3.5, label="sketchd")
    axes.set_yticks(height, [row.name for row in rows], fontsize=6)
    axes.set_xlabel("total variation from the exact law, 16 classes, draws with replacement")
    axes.set_xscale("log")
    axes.margins(y=0.01)
    axes.legend(loc="upper right", fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write(text: str, document: Path) -> None:
    """Put a table between the document's markers."""
    put_between(text, document, START, END)


def findings(rows: Sequence[Row]) -> Findings:
    """The rows with their noise floors, and what they are held to."""
    p_values = [value for row in rows for value in row.p_values]
    listed = []
    for row in rows:
        middle, high = floor(row.independent.trials)
        listed.append(asdict(row) | {"floor_median": middle, "floor_95": high})
    return Findings(listed, [
        Target("the smallest p-value, times the number of tests", "", CORRECTED_LEVEL,
               min(1.0, min(p_values) * len(p_values)), at_least=True),
        Target("draws of coordinates that are zero", "", 0.0, float(sum(r.never for r in rows))),
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when a case fails."""
    parser = argparse.ArgumentParser(prog="distribution", description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the long grid")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_CASES} case, seconds")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--write", action="store_true", help="into docs/accuracy.md")
    chosen = parser.parse_args(arguments)
    cases = grid.LONG if chosen.long else grid.SHORT
    count = min(len(cases), SMALL_CASES) if chosen.small else len(cases)
    option = " --long" if chosen.long else " --small" if chosen.small else ""
    command = f"python -m benchmarks.distribution{option}"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.jobs, mp_context=context) as pool:
        found = pool.map(measure, [chosen.long] * count, range(count), [chosen.seed] * count)
        rows = list(tqdm(found, total=count, disable=not sys.stderr.isatty()))
    text = (
        f"Seed {chosen.seed}, numpy {np.__version__}, Python {platform.python_version()}, "
        f"`{command}`.\n\n" + table(rows)
    )
    print(text)
    if chosen.json:
        report = as_json("distribution", command, chosen.seed, findings(rows), CAVEATS, ("scipy",))
        write_json(chosen.json, report)
    if chosen.write:
        write(text, DOCUMENT)
        plot(rows, PLOT)
    bad = [row.name for row in rows if min(row.p_values) < LEVEL]
    for name in bad:
        print(f"not the law: {name}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
