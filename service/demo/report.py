"""The demo's findings as text a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any, Final

import numpy as np

from service.demo.findings import LEVEL, Findings, QueryFindings
from service.demo.input import Input, Size
from service.demo.law import Fit
from service.demo.run import Collected

#: Numbers of keys to ask a plan for, to find from where a sketch pays.
PLANNED: Final = tuple(int(round(2 ** (step / 4), -3)) for step in range(44, 97))


def heading(data: Input, size: Size, where: str) -> str:
    """What is about to happen."""
    n, d = data.keys.shape
    return dedent(f"""\
        sketchd demo: which keys does a query attend to, when nobody stores the keys?

          input    {n:,} keys of {d} numbers, one attention head of all-MiniLM-L6-v2
                   over real text; {data.deleted.size:,} of them are deleted again
          service  {where}
          asked    {size.queries} queries, {size.lists} independent lists of {size.count} keys each,
                   with and without replacement, from {size.sketches} sketches one after another
        """)


_TABLE_HEAD: Final = """\
  Draws against the exact law, P(i) = (k_i · q)² / Σ (k_j · q)²

                      with replacement                first draws         output
  q  spread    draws   χ² (df)      p    off  exact   χ² (df)      p     error  exact"""

_TABLE_FOOT: Final = """
  spread  as many equally likely keys would be as spread out
  off     total variation distance over classes of equal mass; beside it an
          exact sampler's with as many draws: the noise that none is free of
  output  Σ y² v / Σ y² by Horvitz–Thompson over all lists, relative error;
          beside it the mean of exact samplers with as many lists"""


def table(findings: Findings) -> str:
    """One line a query."""
    return "\n".join([_TABLE_HEAD, *(_row(item) for item in findings.queries), _TABLE_FOOT])


def _row(item: QueryFindings) -> str:
    return (
        f" {item.query:>2}  {item.effective:>6,.0f}  {item.draws:>7,}  {_fit(item.independent)}"
        f"  {_off(item.independent)}  {_off(item.floor)}  {_fit(item.first)}"
        f"     {item.errors[-1]:5.1%}  {float(np.mean(item.floor_errors[:, -1])):5.1%}"
    )


def _fit(fit: Fit | None) -> str:
    return (
        f"{fit.statistic:5.1f} ({fit.freedom:>2})  {fit.p_value:5.3f}"
        if fit
        else " (too few)      "
    )


def _off(fit: Fit | None) -> str:
    return f"{fit.distance:5.1%}" if fit else "    -"


def memory(
    data: Input, size: Size, collected: Collected, plans: Mapping[int, Mapping[str, Any]]
) -> str:
    """What it took to hold, said plainly. plans: of a sketch of one list, by number of keys."""
    n, d = data.keys.shape
    one, dense = float(plans[n]["memory_bytes"]), float(n * d * 8)
    pays, largest = crossover(plans), max(plans)
    there = [bytes_text(plans[largest][name]) for name in ("memory_bytes", "exact_memory_bytes")]
    repetitions = f"a sketch of {size.repetitions} lists, as drawn from here"
    ratio = collected.state_bytes / dense
    return block(
        "Memory",
        f"{'the keys, as the exact method keeps them':42}{bytes_text(dense):>8}",
        f"{'a sketch of one list':42}{bytes_text(one):>8}   {one / dense:.2f} times the keys",
        f"{repetitions:42}{bytes_text(collected.state_bytes):>8}   {ratio:.2f} times the keys",
        "The demo insists on sketches, to test them. Left to itself"
        + (' ("method": "auto")' if ratio > 1 else ""),
        "the service would keep whichever is smaller"
        + (", here the keys themselves." if ratio > 1 else ", here the sketch."),
        f"A sketch of one list pays from about {pays:,} keys on; for"
        if pays
        else "A sketch of one list never pays; for",
        f"{largest:,} it takes {there[0]} where the keys take {there[1]}.",
    )


def times(collected: Collected, size: Size) -> str:
    """How long it took."""
    rate = collected.numbers / max(collected.streaming, 1e-9)
    each = collected.sampling / max(collected.requests, 1) * 1000
    lists = collected.requests * size.queries
    return block(
        "Time",
        f"streaming  {collected.streaming:5.1f} s  {collected.numbers:,} numbers over HTTP,",
        f"                    {rate / 1e6:.1f} million a second, each durable when answered",
        f"drawing    {collected.sampling:5.1f} s  {lists:,} lists,"
        f" {collected.requests:,} requests of {each:.0f} ms,",
        "                    folding what was streamed included",
    )


def verdict(findings: Findings, collected: Collected) -> str:
    """Whether it holds, and on what ground."""
    statuses = sorted(collected.statuses.items())
    times_drawn = f"drawn {findings.deleted_drawn:,} times, which must not be"
    return block(
        "Verdict: " + ("PASSED" if findings.passed else "FAILED"),
        "lists         " + ", ".join(f"{number:,} {status}" for status, number in statuses),
        "deleted keys  " + (times_drawn if findings.deleted_drawn else "never drawn"),
        f"law           smallest p-value of {findings.tests} tests, times {findings.tests}:"
        f" {findings.smallest:.2g} (fails under {LEVEL:g})",
    )


def block(title: str, *lines: str) -> str:
    """A title, and lines under it."""
    return "\n".join([f"  {title}", *(f"    {line}" for line in lines)])


def bytes_text(number: float) -> str:
    """Three digits and a unit."""
    for unit in ("B", "KB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def crossover(plans: Mapping[int, Mapping[str, Any]]) -> int | None:
    """The first number of keys at which a plan is smaller than the dense operands."""
    paying = (
        n for n, plan in sorted(plans.items()) if plan["memory_bytes"] < plan["exact_memory_bytes"]
    )
    return next(paying, None)
