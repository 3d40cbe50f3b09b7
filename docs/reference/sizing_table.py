"""The table in docs/sizing.md from what is known (n, k, p, rates, tenants) to what it takes.

Bytes come from sketch_core, as a plan's do; processor times from the tables of docs/measures.md,
so that both change when those are measured again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docs.reference.markdown import between
from service.settings import Settings
from sketch_core import resolve

MEASURES: Final = Path(__file__).resolve().parent.parent / "measures.md"
START: Final = "<!-- installation -->\n"
END: Final = "<!-- end of installation -->"

#: What a sketch takes in Redis beside its state, and what a remembered key takes.
SKETCH_BYTES: Final = 1500
KEY_BYTES: Final = 250
#: Share of a processor to use: the rest is for peaks, and for the other replica's work.
USE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """Processor seconds in docs/measures.md, on Redis with fsync everysec.

    updates: of service and Redis together for a million increments, by increments a batch.
    sample: of one sample of 16 by HTTP.
    """

    updates: Mapping[int, float]
    sample: float


@dataclass(frozen=True, slots=True)
class Installation:
    """What somebody knows beforehand. updates: increments a second in all; samples likewise."""

    who: str
    spec: Mapping[str, Any]
    sketches: int
    updates: float
    batch: int
    samples: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What it comes to. Bytes; processors busy on average, before room is left."""

    state: int
    states: int
    redis: int
    processors: float
    replicas: int


INSTALLATIONS: Final = (
    Installation("a team", {"kind": "vector", "shape": {"n": 10**6}},
                 100, 10_000, 10, 20),
    Installation("clicks by hashed name", {"kind": "vector", "shape": {"n": 2**40},
                 "distribution": {"power": 1}}, 1_000, 500_000, 1_000, 50),
    Installation("the same by squares", {"kind": "vector", "shape": {"n": 2**40}},
                 1_000, 500_000, 1_000, 50),
    Installation("1,000 tenants with 10 each", {"kind": "vector", "shape": {"n": 10**6},
                 "samples": 1}, 10_000, 1_000_000, 1_000, 200),
    Installation("attention heads, 64 tokens/s", {"kind": "matrix",
                 "shape": {"n": 2**20, "d": 32}}, 72, 64 * 72 * 32, 10_000, 100),
)  # fmt: skip


def measured(text: str) -> Measured:
    """Read the tables of docs/measures.md. Raises ValueError where they are not as expected."""
    updates = {
        int(row["batch"].replace(",", "")): float(row["service, CPU s a million"])
        + float(row["store"][1])
        for row in _rows(text, "durable_ingest")
        if (row["served"], row["replicas"], row["format"]) == ("sustained", "1", "safetensors")
        and row["store"][0] == "redis, fsync everysec"
    }
    samples = [
        float(row["CPU µs a request"].replace(",", "")) * 1e-6
        for row in _rows(text, "transport_shares")
        if (row["asked"], row["transport"][0]) == ("sample of 16", "HTTP, JSON")
        and row["store"] == "redis, fsync everysec"
    ]
    if not updates or len(samples) != 1:
        raise ValueError("docs/measures.md has no such rows any more")
    return Measured(updates, samples[0])


def _rows(text: str, name: str) -> Iterable[dict[str, Any]]:
    """Rows of the first table of a benchmark. A head that comes twice holds both cells."""
    body = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
    table = next((part for part in body.split("\n\n") if part.lstrip().startswith("|")), "")
    heads, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")
    ]
    lines = lines[1:]
    for line in lines:
        row: dict[str, Any] = {}
        for head, value in zip(heads, line, strict=True):
            both = heads.count(head) > 1
            row[head] = [*row.get(head, []), value] if both else value
        yield row


def needs(installation: Installation, costs: Measured) -> Needs:
    """What an installation takes."""
    state = resolve({**installation.spec, "seed": 1}).memory_bytes
    states = state * installation.sketches
    settings = Settings()
    # A checkpoint, the next one while it is written, and the longest log that is left alone.
    one = 2 * state + round(settings.compact_trigger(state)) + SKETCH_BYTES
    keys = installation.updates / installation.batch * settings.idempotency_retention_seconds
    redis = one * installation.sketches + KEY_BYTES * round(keys)
    processors = (
        installation.updates / 1e6 * costs.updates[installation.batch]
        + installation.samples * costs.sample
    )
    return Needs(state, states, redis, processors, max(2, math.ceil(processors / USE)))


def _size(count: float) -> str:
    """Bytes as docs say them: three digits, powers of ten."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} B"


def _sketches(one: Installation) -> str:
    """How many sketches of what."""
    shape, spec = one.spec["shape"], one.spec
    bits = shape["n"].bit_length() - 1
    power_of_two = "2" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(bits))
    size = power_of_two if shape["n"] == 1 << bits else f"{shape['n']:,}"
    if "d" in shape:
        size += f" × {shape['d']}"
    power = spec.get("distribution", {}).get("power", 2)
    kind = {"vector": "vectors", "matrix": "matrices"}[spec["kind"]]
    return f"{one.sketches:,} {kind} of {size}, k={spec.get('samples', 16)}, p={power}"


def table(costs: Measured) -> str:
    """The table in Markdown."""
    lines = [
        "| you have | and every second | each state, all | Redis | processors | replicas |",
        "|" + " --- |" * 6,
    ]
    for one in INSTALLATIONS:
        taken = needs(one, costs)
        cells = (
            f"{one.who}: {_sketches(one)}",
            f"{one.updates:,} increments in batches of {one.batch:,}, {one.samples:,} samples",
            f"{_size(taken.state)}, {_size(taken.states)}",
            _size(taken.redis),
            f"{taken.processors:.2f}",
            str(taken.replicas),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def updated(document: str) -> str:
    """docs/sizing.md with the table made anew."""
    costs = measured(MEASURES.read_text("utf-8"))
    return between(document, START, END, "\n" + table(costs) + "\n")
