"""What a benchmark hands over: figures and targets, printed, as JSON, as a table and a plot.

The JSON of a report:

    benchmark  its name
    command    what was run
    seed       of all its random numbers
    versions   python, numpy, and the peers that took part
    processors how many there are, and the threads that BLAS takes
    caveats    what to keep in mind
    rows       the figures, one object a row of the table; null where nothing was measured
    targets    objects of `what`, `unit`, `bound`, `at_least` (else at most), `reached`, `met`
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import threadpoolctl

DOCS: Final = Path(__file__).parent.parent.parent / "docs"
DOCUMENT: Final = "measures.md"
SEED: Final = 20251003

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure should keep: at most it, or at least."""

    what: str
    unit: str
    bound: float
    reached: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps it."""
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    def cells(self) -> str:
        """As cells of a table."""
        side = "at least" if self.at_least else "at most"
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.what} | {side} {self.bound:g}{unit} | {self.reached:.3g}{unit} "
            f"| {'yes' if self.met else '**no**'}"
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its heading, the field of a row, and how a number is written."""

    heading: str
    field: str
    written: str = "{}"

    def cell(self, row: Row) -> str:
        """The field of a row as text; a dash where nothing was measured."""
        value = row[self.field]
        return "–" if value is None else self.written.format(value)


@dataclass(frozen=True, slots=True)
class Size:
    """How much to run. small: seconds instead of minutes. rounds: None for the usual number."""

    small: bool
    seed: int
    rounds: int | None

    def rounds_of(self, usual: int, few: int = 3) -> int:
        """How many rounds, when not told: the usual number, or a few in a small run."""
        if self.rounds is not None:
            return self.rounds
        return few if self.small else usual


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found."""

    rows: Sequence[Row]
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A measurement and how to show it. peers: packages whose versions matter beside numpy."""

    name: str
    about: str
    caveats: Sequence[str]
    columns: Sequence[Column]
    measure: Callable[[Size], Findings]
    plot: Callable[[Sequence[Row], Path], None]
    peers: Sequence[str] = ()

    @property
    def picture(self) -> str:
        """The file name of the plot."""
        return f"{self.name.replace('_', '-')}.png"


def versions(peers: Sequence[str] = ()) -> dict[str, str]:
    """Of Python, numpy and the packages named."""
    found = {"python": platform.python_version()}
    for package in ("numpy", *peers):
        found[package] = importlib.metadata.version(package)
    return found


def processors() -> dict[str, int]:
    """How many this process may use, and the threads that BLAS takes."""
    import numpy as np  # loads the BLAS that is asked

    pools = threadpoolctl.threadpool_info()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert np.__version__
    return {
        "processors": usable or 1,
        "blas_threads": max((pool["num_threads"] for pool in pools), default=1),
    }


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Rows in Markdown."""
    lines = [
        "| " + " | ".join(column.heading for column in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    lines += ["| " + " | ".join(column.cell(row) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def target_table(targets: Sequence[Target]) -> str:
    """Targets in Markdown."""
    lines = ["| target | | reached | met |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [f"| {target.cells()} |" for target in targets]) + "\n"


def as_json(
    name: str,
    command: str,
    seed: int,
    findings: Findings,
    caveats: Sequence[str],
    peers: Sequence[str] = (),
) -> dict[str, Any]:
    """The report as JSON has it; the module's header lists the fields."""
    return {
        "benchmark": name,
        "command": command,
        "seed": seed,
        "versions": versions(peers),
        "processors": processors(),
        "caveats": list(caveats),
        "rows": list(findings.rows),
        "targets": [{**asdict(target), "met": target.met} for target in findings.targets],
    }


def write_json(path: Path, value: object) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def put_between(text: str, document: Path, start: str, end: str) -> None:
    """Replace what stands between two lines of a document."""
    whole = document.read_text(encoding="utf-8")
    head, rest = whole.split(start)
    _, tail = rest.split(end)
    document.write_text(head + start + "\n" + text + "\n" + end + tail, encoding="utf-8")


def heading(report: dict[str, Any]) -> str:
    """What has to be known to repeat a run, in one sentence."""
    named = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    threads = report["processors"]
    return (
        f"Seed {report['seed']}, {named}, {threads['processors']} processors, "
        f"BLAS threads: {threads['blas_threads']}, `{report['command']}`.\n"
    )


def _write(benchmark: Benchmark, report: dict[str, Any], text: str, docs: Path) -> None:
    put_between(
        text,
        docs / DOCUMENT,
        f"<!-- {benchmark.name} -->\n",
        f"<!-- end of {benchmark.name} -->",
    )
    pictures = docs / "images"
    pictures.mkdir(exist_ok=True)
    benchmark.plot(report["rows"], pictures / benchmark.picture)


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    made.add_argument("--small", action="store_true", help="small sizes, seconds")
    made.add_argument("--seed", type=int, default=SEED)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    made.add_argument(
        "--write", type=Path, nargs="?", const=DOCS, metavar="DOCS",
        help=f"put the table into {DOCUMENT} and the plot beside it (default: docs)",
    )  # fmt: skip
    return made


def run(
    benchmark: Benchmark, arguments: Sequence[str] | None = None, grid: str = ""
) -> dict[str, Any]:
    """The command line of a benchmark: measure, print, write. Returns the report.

    grid: the option of its own that a benchmark was given, for the command that it reports.
    """
    options = parser(benchmark.name, benchmark.about)
    options.add_argument("--rounds", type=int, help="of each timing")
    options.add_argument("--blas-threads", type=int, default=1)
    chosen = options.parse_args(arguments)
    if chosen.rounds is not None and chosen.rounds < 2:
        options.error("--rounds: at least 2, for quartiles")
    command = f"python -m benchmarks.{benchmark.name}{grid}{' --small' if chosen.small else ''}"
    # One thread unless told: as the service has it, and what a busy machine can give.
    with threadpoolctl.threadpool_limits(chosen.blas_threads, user_api="blas"):
        findings = benchmark.measure(Size(chosen.small, chosen.seed, chosen.rounds))
        report = as_json(
            benchmark.name, command, chosen.seed, findings, benchmark.caveats, benchmark.peers
        )
    text = (
        heading(report)
        + "\n"
        + table(benchmark.columns, findings.rows)
        + "\n"
        + target_table(findings.targets)
    )
    print(text)
    for caveat in benchmark.caveats:
        print(f"- {caveat}")
    sys.stdout.flush()
    if chosen.json:
        write_json(chosen.json, report)
    if chosen.write:
        _write(benchmark, report, text, chosen.write)
    return report
