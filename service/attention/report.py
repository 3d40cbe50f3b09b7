"""What was found, as Markdown that reads well on a terminal too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.attention import compare
from service.attention.compare import Findings
from service.attention.pairs import HEAD, IMITATED, STEPS
from service.attention.run import Collected
from service.attention.size import PairsSize, Size
from service.attention.text import WINDOW, Text
from service.client import Plan
from service.demo.client import DemoError
from service.demo.findings import LEVEL
from service.demo.law import Fit
from service.demo.pairs import findings as pairs_findings
from service.demo.pairs.run import Collected as PairsCollected
from service.demo.report import bytes_text

#: Where the document keeps the figures of the last full run.
START: Final = "<!-- figures -->\n"
END: Final = "<!-- end of figures -->"
#: Numbers of tokens and of draws to plan sketches for.
PLANNED_TOKENS: Final = tuple(2**power for power in range(11, 31))
PLANNED_SAMPLES: Final = (1, 16, 256)
_SHOWN_TOKENS: Final = (2**16, 2**17, 2**20, 2**24)

Plans = Mapping[tuple[int, int], Plan]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a run found."""

    text: Text
    size: Size
    findings: Findings
    collected: Collected
    plans: Plans
    pairs: pairs_findings.Findings
    pairs_collected: PairsCollected
    seconds: float
    versions: str
    model_heads: int

    @property
    def passed(self) -> bool:
        """Whether all draws could well be those of exact samplers."""
        return self.findings.passed and self.pairs.passed


def heading(text: Text, size: Size, where: str) -> str:
    """What is about to happen."""
    return "\n".join(
        [
            "sketchd attention: a transformer reads a long text; whom do its queries attend to?",
            "",
            f"  text     {text.source}: {text.tokens.size:,} tokens in {size.windows} windows of"
            f" {WINDOW}",
            "  model    all-MiniLM-L6-v2; heads "
            + ", ".join(f"{head.head} of layer {head.layer}" for head in size.heads),
            f"  window   the last {size.live:,} tokens; older keys are taken out again",
            f"  service  {where}",
            "",
        ]
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns as wide as they need to be, numbers to the right."""
    columns = [list(column) for column in zip(headings, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "| " + " | ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ) + " |"
        for row in (headings, *rows)
    ]  # fmt: skip
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def report(outcome: Outcome) -> str:
    """All of it, in Markdown."""
    parts = [
        _setting(outcome),
        "### The heads",
        _heads(outcome.findings),
        "### The output of ℓ2 attention",
        _outputs(outcome.findings),
        "### The output of softmax attention",
        _softmax(outcome.findings),
        "### Memory and time",
        _costs(outcome),
        _plans(outcome.plans, outcome.model_heads),
        "### Pairs",
        _pairs(outcome),
        "### Whether the draws follow the law",
        _verdict(outcome),
    ]
    return "\n\n".join(parts)


def _setting(outcome: Outcome) -> str:
    size, collected, text = outcome.size, outcome.collected, outcome.text
    seconds = collected.seconds
    return (
        f"{text.source[0].upper()}{text.source[1:]}, {text.tokens.size:,} tokens; the last"
        f" {size.live:,} stay. {len(size.heads)} heads, a sketch each ({size.repetitions} lists of"
        f" {size.samples} draws), {collected.rows:,} keys streamed, evictions included."
        f" Reading the text took {seconds['reading']:.0f} s, streaming {seconds['streaming']:.0f}"
        f" s, folding it at the first question {seconds['folding']:.0f} s, drawing"
        f" {seconds['drawing']:.0f} s; {outcome.seconds:.0f} s in all. {outcome.versions}."
    )


def _heads(findings: Findings) -> str:
    rows = [
        [
            str(head.head),
            f"{head.median('spread'):,.0f}",
            f"{head.median('softmax_spread'):,.0f}",
            f"{head.median('single'):.0%}",
            f"{(head.median('single_uniform') / head.median('single')) ** 2:.1f}",
            f"{head.median('law_apart'):.0%}",
            f"{head.median('apart'):.0%}",
        ]
        for head in findings.heads
    ]
    headings = (
        "head", "ℓ2 spread", "softmax spread", "error of one draw", "uniform needs", "laws apart",
        "outputs apart",
    )  # fmt: skip
    return table(headings, rows) + (
        "\n\n*spread*: as many equally likely tokens, of"
        f" {findings.live:,}, would be as spread out. *Error of one draw*: √(Σ w ‖v - o‖²) / ‖o‖,"
        " which falls as 1 / √draws. *Uniform needs*: so many times the draws for the same error."
        " *Laws apart*: total variation between squared scores and softmax. *Outputs apart*:"
        " ‖o_ℓ2 - o_softmax‖ / ‖o_softmax‖. Medians over queries."
    )


def _outputs(findings: Findings) -> str:
    medians = {method: _medians(findings.errors(method)) for method in compare.METHODS}
    low, high = np.nanquantile(findings.errors(compare.SKETCH), [0.1, 0.9], axis=0)
    rows = [
        [
            f"{m:,}",
            *(f"{medians[method][column]:.1%}" for method in compare.METHODS),
            f"{low[column]:.1%} – {high[column]:.1%}",
        ]
        for column, m in enumerate(findings.budgets)
    ]
    return "Relative error of the output, medians over heads, queries and runs:\n\n" + table(
        ("draws", *compare.METHODS, "80 % of the sketch's lists"), rows
    )


def _softmax(findings: Findings) -> str:
    medians = {method: _medians(findings.softmax(method)) for method in compare.SOFTMAX_METHODS}
    rows = [
        [f"{m:,}", *(f"{medians[method][column]:.1%}" for method in compare.SOFTMAX_METHODS)]
        for column, m in enumerate(findings.budgets)
    ]
    apart = np.median([item.apart for head in findings.heads for item in head.queries])
    return (
        f"Exact ℓ2 attention is itself {apart:.0%} away from it (median). Relative error of the"
        " output:\n\n" + table(("draws", *compare.SOFTMAX_METHODS), rows)
    )


def _medians(errors: Any) -> list[float]:
    return [float(value) for value in np.nanmedian(errors, axis=0)]


def _costs(outcome: Outcome) -> str:
    rows = [
        [
            cost.what + (f", lists of {cost.draws}" if cost.what == "sketch" else ""),
            bytes_text(cost.bytes),
            f"{cost.draws:,}",
            f"{cost.seconds * 1000:.2g} ms",
        ]
        for cost in outcome.collected.costs
    ]
    log = bytes_text(outcome.collected.log_bytes)
    lean, dense = (
        next(cost.seconds for cost in outcome.collected.costs if cost.what == what)
        for what in ("sketch", "dense float32 in numpy")
    )
    return (
        f"One head, {outcome.size.live:,} tokens in the window of {outcome.size.tokens:,} read,"
        " one query at a time:\n\n"
        + table(("keys held as", "bytes", "tokens that count", "a query"), rows)
        + "\n\nA sketch's bytes are those of one list; its time includes the way to the service and"
        f" back. Until the log is folded it holds the batches as well, {log} a head here. A dense"
        " product takes time in proportion to the tokens: as long as the first line from about"
        f" {outcome.size.live * lean / dense / 1e6:.2g} million on."
    )


def _plans(plans: Plans, heads: int) -> str:
    rows = []
    for tokens in _SHOWN_TOKENS:
        sizes = [bytes_text(plans[tokens, k].memory_bytes) for k in PLANNED_SAMPLES]
        dense = plans[tokens, PLANNED_SAMPLES[0]].exact_memory_bytes
        rows.append([f"{tokens:,}", *sizes, bytes_text(dense / 4), bytes_text(dense)])
    from_where = [
        [f"pays from, {what}"] + [_crossover(plans, k, part) for k in PLANNED_SAMPLES] + ["", ""]
        for what, part in (("float16", 4), ("float64", 1))
    ]
    lists = (f"list of {k}" for k in PLANNED_SAMPLES)
    headings = ("tokens", *lists, "float16 keys", "float64 keys")
    tokens = _SHOWN_TOKENS[1]
    plan = plans[tokens, PLANNED_SAMPLES[1]]
    dense = plan.exact_memory_bytes
    return (
        "One head of 32 numbers, planned by the service:\n\n"
        + table(headings, rows + from_where)
        + f"\n\nAll {heads} heads of the model over {tokens:,} tokens:"
        f" {bytes_text(heads * plan.memory_bytes)} of sketches that serve lists of"
        f" {PLANNED_SAMPLES[1]}, {bytes_text(heads * dense / 4)} of float16 keys,"
        f" {bytes_text(heads * dense)} of float64 keys."
    )


def _crossover(plans: Plans, samples: int, part: int) -> str:
    """The first power of two of tokens whose dense keys, divided by `part`, outweigh the sketch."""
    paying = [
        tokens
        for tokens in PLANNED_TOKENS
        if plans[tokens, samples].memory_bytes * part < plans[tokens, samples].exact_memory_bytes
    ]
    return f"{paying[0]:,}" if paying else "never"


def _pairs(outcome: Outcome) -> str:
    found, collected = outcome.pairs, outcome.pairs_collected
    size: PairsSize = outcome.size.pairs
    rows = [
        [
            f"{'some evicted' if item.case.thinned else 'all tokens'}, X ="
            f" {'1 / √d' if item.case.label == '1' else 'W'}",
            f"{item.draws:,}",
            f"{item.effective:,.0f}",
            _fit(item.by_size),
            _fit(item.by_place),
            f"{item.off:.1%}",
            f"{item.floor:.1%}",
            f"{item.norm_off:.1%}",
        ]
        for item in found.cases
    ]
    keys = size.windows * WINDOW
    headings = (
        "operands", "pairs", "spread", "p by size", "p by place", "off", "exact sampler off",
        "‖Y‖ off",
    )  # fmt: skip
    return (
        f"{WINDOW} queries × {keys:,} keys of {HEAD}, {WINDOW * keys:,} pairs, from {size.sketches}"
        f" sketches of {size.samples} pairs ({bytes_text(collected.state_bytes)} each, where the"
        f" scores would take {bytes_text(WINDOW * keys * 8)} and both operands"
        f" {bytes_text((WINDOW + keys) * 32 * 8)}). X goes in {STEPS} steps from 1 / √d to the W"
        f" that imitates {IMITATED} best, back, and there again; {size.evicted * WINDOW:,} tokens"
        " are taken out between.\n\n"
        + table(headings, rows)
        + "\n\n*off*: total variation over blocks of queries × keys; beside it exact samplers with"
        f" as many draws. Draws that had stayed with the first law would be {found.moved:.0%} off"
        " the last."
    )


def _fit(fit: Fit | None) -> str:
    return f"{fit.p_value:.3f}" if fit else "too few"


def _verdict(outcome: Outcome) -> str:
    findings, pairs = outcome.findings, outcome.pairs
    statuses: dict[str, int] = {}
    for head in findings.heads:
        for status, number in head.statuses.items():
            statuses[status] = statuses.get(status, 0) + number
    counted = ", ".join(f"{number:,} {status}" for status, number in sorted(statuses.items()))
    tests = len(findings.p_values())
    return "\n".join(
        [
            f"{'PASSED' if outcome.passed else 'FAILED'}.",
            "",
            f"- Lists: {counted}.",
            f"- Evicted tokens: drawn {findings.evicted + pairs.deleted_drawn:,} times.",
            f"- Keys: the smallest p-value of {tests} χ² tests, times {tests}:"
            f" {findings.smallest:.2g} (fails below {LEVEL:g}).",
            f"- Pairs: of {len(pairs.p_values())}, likewise: {pairs.smallest:.2g}.",
        ]
    )


def write(text: str, document: Path) -> None:
    """Put the report between the document's marks. Raises what `parts_around` raises."""
    before, after = parts_around(document)
    document.write_text(before + START + "\n" + text + "\n\n" + END + after, "utf-8")


def parts_around(document: Path) -> tuple[str, str]:
    """What stands before and after the figures. DemoError where there are no marks, OSError."""
    before, start, rest = document.read_text("utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise DemoError(f"{document}: no {START.strip()} … {END}")
    return before, after
