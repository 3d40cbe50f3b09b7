"""The report of a run as people read it."""

from __future__ import annotations

import textwrap
from typing import Final

from service.bench.findings import Findings, notes, numbers_of, quantiles
from service.bench.options import Options

_WIDTH: Final = 92
_SHOWN: Final = (0.5, 0.9, 0.99, 0.999, 1.0)
_NAMES_SHOWN: Final = 5


def heading(options: Options, where: str) -> str:
    """What is about to be done."""
    shape = f"{options.n:,}" if options.kind == "vector" else f"{options.n:,} × {options.d:,}"
    of = "numbers" if options.kind == "vector" else "rows"
    pace = f"{options.rate:,.0f} requests/s" if options.rate else "as fast as answers come"
    lines = [
        f"{options.sketches:,} {options.kind} sketches of {shape}, {options.clients:,} clients, "
        f"{pace}",
        f"{options.updates}:{options.samples} updates of {options.batch:,} {of} ({options.form}) "
        "to samples",
        where,
        f"{options.seconds:g} s after {options.warmup:g} s to warm up",
    ]
    return "\n".join(f"  {line}" for line in lines)


def text(options: Options, findings: Findings) -> str:
    """All that was found."""
    parts = [_operations(findings), _rows(options, findings)]
    remarks = [
        textwrap.fill(note, _WIDTH, initial_indent="  ! ", subsequent_indent="    ")
        for note in notes(options, findings)
    ]
    if remarks:
        parts.append("\n".join(remarks))
    return "\n" + "\n\n".join(parts)


def _operations(findings: Findings) -> str:
    headings = ("requests/s", "p50", "p90", "p99", "p99.9", "max")
    lines = [f"  {'':10}" + "".join(f"{one:>12}" for one in headings)]
    for kind in sorted(findings.sent.seconds, reverse=True):
        taken = dict(quantiles(findings, kind))
        cells = [f"{len(findings.sent.seconds[kind]) / findings.seconds:,.1f}"]
        cells += [duration(taken[share]) for share in _SHOWN]
        lines.append(f"  {kind:10}" + "".join(f"{one:>12}" for one in cells))
    return "\n".join(lines) if len(lines) > 1 else "  no request succeeded"


def _rows(options: Options, findings: Findings) -> str:
    sent, seconds = findings.sent, findings.seconds
    errors = [f"{what}: {many:,}" for what, many in sent.refused.most_common()]
    if sent.lost:
        errors.append(f"no answer: {sent.lost:,} ({sent.reasons.most_common(1)[0][0]})")
    updates = f"{findings.updates / seconds:,.0f} a second"
    if options.kind == "matrix":
        numbers = findings.updates * numbers_of(options) / seconds
        updates += f" (rows; {numbers:,.0f} numbers)"
    rows = {
        "updates": updates,
        "errors": ", ".join(errors) or "none",
        "retried": f"{sent.retried:,} times",
        "sent": f"{size(sent.sent_bytes / seconds)}/s, received "
        f"{size(sent.received_bytes / seconds)}/s",
        "service": _service(findings),
        "generator": f"{sent.cpu / seconds:.2f} processors, "
        f"{sent.busiest:.0%} of one in its busiest process",
        "sketches": f"{size(findings.state_bytes)} of states, {size(findings.log_bytes)} of logs",
        "counts": _counts(findings),
    }
    wide = max(map(len, rows))
    return "\n".join(
        textwrap.fill(what, _WIDTH, initial_indent=f"  {name:{wide}}  ",
                      subsequent_indent=" " * (wide + 4))
        for name, what in rows.items()
    )  # fmt: skip


def _service(findings: Findings) -> str:
    used = findings.used
    if used.cpu is None or used.memory is None:
        return "not on this machine, and its /metrics tell nothing of its process"
    what = f"{used.cpu / used.seconds:.2f} processors, {size(used.memory)} of memory"
    what += " at its peak" if used.peak else ""
    return what + (f", {size(used.written / used.seconds)}/s written" if used.written else "")


def _counts(findings: Findings) -> str:
    if findings.agree:
        return (
            f"every sketch holds what was acknowledged ({findings.acknowledged:,} updates in all)"
        )
    if findings.uncounted:
        return f"UNKNOWN: {findings.acknowledged:,} updates were acknowledged; {findings.uncounted}"
    shown = ", ".join(findings.differing[:_NAMES_SHOWN])
    more = len(findings.differing) - _NAMES_SHOWN
    return (
        f"WRONG: {findings.acknowledged:,} updates were acknowledged, the service counts "
        f"{findings.counted:,}; differing: {shown}" + (f" and {more:,} more" if more > 0 else "")
    )


def duration(seconds: float) -> str:
    """Three digits, with a unit."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms" if seconds < 0.1 else f"{1e3 * seconds:.0f} ms"
    return f"{seconds:.2f} s"


def size(count: float) -> str:
    """Bytes, in the unit that fits."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
