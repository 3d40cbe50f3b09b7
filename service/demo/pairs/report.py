"""The findings about pairs as text a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from service.demo.findings import LEVEL
from service.demo.law import Fit
from service.demo.pairs.findings import KEY_BLOCKS, QUERY_BLOCKS, CaseFindings, Findings
from service.demo.pairs.input import Input, Size
from service.demo.pairs.run import Collected
from service.demo.report import block, bytes_text, crossover


def heading(data: Input, size: Size, where: str) -> str:
    """What is about to happen."""
    return dedent(f"""\
        sketchd demo: which pairs of tokens attend to each other, when nobody forms the scores?

          input    {size.queries} queries and {size.keys:,} keys of {data.keys.shape[1]} numbers of
                   one attention head of all-MiniLM-L6-v2: {size.pairs:,} pairs
          service  {where}
          asked    pairs (i, j) by (q_i · X k_j)², {size.samples} at a time, from each of
                   {size.sketches} sketches: for X = 1 and X = W, and for both again with
                   {data.deleted.size:,} keys deleted, nothing built anew. W leaves out the head's
                   strongest direction and counts its second four times
        """)


def table(findings: Findings) -> str:
    """One line a case."""
    head = """\
  Draws against the exact law, P(i, j) = (q_i · X k_j)² / Σ (q · X k)²

                                     by size           by place         blocks      ‖Y‖
  keys     X     spread    draws   χ² (df)      p    χ² (df)      p    off  exact    off"""
    foot = f"""
  spread    as many equally likely pairs would be as spread out
  by size   χ² over classes of equal mass, from the least to the most likely pairs
  by place  χ² over tiles of queries × keys of equal mass
  blocks    total variation over {QUERY_BLOCKS} × {KEY_BLOCKS} blocks of queries × keys; beside it
            the mean of exact samplers with as many draws: the noise that none is free of.
            Draws that had stayed with the first law would be {findings.moved:.0%} off the last
  ‖Y‖       mean relative error of the estimates of ‖Y‖_F"""
    return "\n".join([head, *(_row(item) for item in findings.cases), foot])


def _row(item: CaseFindings) -> str:
    return (
        f"  {item.case.keys:7}  {item.case.label}  {item.effective:>9,.0f}  {item.draws:>7,}"
        f"  {_fit(item.by_size)}  {_fit(item.by_place)}"
        f"  {item.off:5.1%}  {item.floor:5.1%}  {item.norm_off:5.2%}"
    )


def _fit(fit: Fit | None) -> str:
    if fit is None:
        return " (too few)      "
    return f"{fit.statistic:5.1f} ({fit.freedom:>2})  {fit.p_value:5.3f}"


def memory(
    data: Input, size: Size, collected: Collected, plans: Mapping[int, Mapping[str, Any]]
) -> str:
    """What it took to hold, said plainly. plans: of such a sketch, by number of keys."""
    dense = (data.queries.size + data.keys.size) * 8.0
    pays, largest = crossover(plans), max(plans)
    there = [bytes_text(plans[largest][name]) for name in ("memory_bytes", "exact_memory_bytes")]
    lines = (
        (f"all {size.pairs:,} scores, never formed by the service", size.pairs * 8.0),
        ("queries and keys, as the exact method keeps them", dense),
        (f"a sketch that serves {size.samples} pairs", float(collected.state_bytes)),
    )
    return block(
        "Memory",
        *(f"{what:52}{bytes_text(held):>8}   {held / dense:4.1f} times" for what, held in lines),
        (f"Such a sketch pays from about {pays:,} keys on" if pays else "It never pays")
        + f"; for {largest:,}",
        f"it takes {there[0]} where queries and keys take {there[1]}.",
    )


def times(collected: Collected, size: Size) -> str:
    """How long it took."""
    spent, drawn = collected.seconds, sum(len(case.pairs) for case in collected.drawn)
    return block(
        "Time",
        f"streaming  {spent['streaming']:5.1f} s  {collected.numbers:,} numbers over HTTP",
        f"folding    {spent['folding']:5.1f} s  them into {size.sketches} sketches,"
        f" {spent['folding'] / size.sketches:.1f} s each;"
        f" {spent['folding deletions'] / size.sketches:.1f} s each for the deletions",
        f"drawing    {spent['drawing']:5.1f} s  {drawn:,} pairs,"
        f" {1000 * spent['drawing'] / max(drawn, 1):.1f} ms each; a new X folds nothing again",
    )


def verdict(findings: Findings, collected: Collected) -> str:
    """Whether it holds, and on what ground."""
    tests = len(findings.p_values())
    times_drawn = f"drawn {findings.deleted_drawn:,} times, which must not be"
    return block(
        "Verdict: " + ("PASSED" if findings.passed else "FAILED"),
        "lists         "
        + ", ".join(
            f"{number:,} {status}" for status, number in sorted(collected.statuses.items())
        ),
        "deleted keys  " + (times_drawn if findings.deleted_drawn else "never drawn"),
        f"law           smallest p-value of {tests} tests, times {tests}:"
        f" {findings.smallest:.2g} (fails under {LEVEL:g})",
    )
