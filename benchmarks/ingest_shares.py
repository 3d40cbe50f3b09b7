"""Where the time of one body of 10,000 updates goes, from the socket to the checkpoint.

    python -m benchmarks.ingest_shares [--small] [--rounds N] [--json FILE] [--write]

Each step by itself, in one process and in turn with the others, per body. What is done for many
bodies at once (a commit, a fold, a checkpoint) is done for as many as the service would, and
divided. The disk stands beside what SQLite does on it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measuring import ingest_streams
from benchmarks.measuring.ingest_streams import FORMATS, Stream
from benchmarks.measuring.processes import serve_nothing
from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.timing import interleaved
from service import log_entries, request_bodies
from service.bench.jobs import http_job
from service.bench.processes import usage_of
from service.bench.sender_processes import send_all
from service.bench.senders import Client, Plan
from service.cli_serve import keep_the_heap
from service.clock import SystemClock
from service.ports import EMPTY_DIGEST, Checkpoint, Entry, Record, SketchKey, StoredEntry, chain
from service.settings import Settings
from service.store_sqlite import SqliteStore
from sketch_core.batch import encode, quantise
from sketch_core.codec import to_snapshot
from sketch_core.sketch import new_sketch

BATCH: Final = 10_000
#: Updates that wait together, and are committed as one.
GROUP: Final = 16
HTTP: Final = "HTTP: take the body and answer (CPU)"
COMMIT: Final = f"SQLite: append and commit, {GROUP} together"
CHECKPOINT: Final = "SQLite: replace the checkpoint"
FSYNC: Final = f"(the disk alone: write the same {GROUP} and fsync)"
_READ: Final = {
    "safetensors": request_bodies.update_from_tensors,
    "json": request_bodies.update_from_json,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work and how many bodies it does. of: the formats that have it."""

    name: str
    work: Callable[[], object]
    bodies: float = 1.0
    of: Sequence[str] = FORMATS


class _Disk:
    """A SQLite store in a folder, and a bare file beside it, driven from here."""

    def __init__(self, folder: Path, payload: bytes) -> None:
        self._loop = asyncio.new_event_loop()
        # Not a Runner: with each run its signal handling writes out what the last task returned.
        self._run = self._loop.run_until_complete
        self._store = SqliteStore(folder / "store.db", SystemClock())
        self._key = SketchKey("default", "v")
        self._payload = payload
        self._entries = 0
        self._digest = EMPTY_DIGEST
        self._checkpoint = (0, EMPTY_DIGEST)
        #: Seconds of each compaction, without the group before it.
        self.compacting: list[float] = []
        self._file = os.open(folder / "bare", os.O_CREAT | os.O_RDWR)
        self._run(self._store.start())
        record = Record(self._key, "i", b"", b"", 0.0, None, None, 0)
        self._run(self._store.create(record))

    def append(self) -> None:
        """A group of entries, all waiting at once."""
        entries = [
            Entry(f"{self._entries + at:032x}", frozenset("y"), self._payload, BATCH, BATCH)
            for at in range(GROUP)
        ]

        async def all_of_them() -> None:
            await asyncio.gather(*(
                self._store.append(self._key, "i", entry, None, max_log_bytes=1 << 50)
                for entry in entries
            ))  # fmt: skip

        self._run(all_of_them())
        self._entries += GROUP
        for entry in entries:
            self._digest = chain(self._digest, entry.id)

    def read(self) -> None:
        """What was appended since the checkpoint: one group."""
        found = self._run(self._store.read(self._key, "i", *self._checkpoint, max_bytes=1 << 30))
        assert len(found.entries) == GROUP

    def compact(self, state: bytes) -> None:
        """Replace the checkpoint, after a group that makes it out of date."""
        self.append()
        last = Checkpoint(self._entries, self._digest, state)
        replaced = self._checkpoint[0]
        started = time.perf_counter()
        assert self._run(self._store.compact(self._key, "i", replaced, last, exact=True))
        self.compacting.append(time.perf_counter() - started)
        self._checkpoint = (self._entries, self._digest)

    def fsync(self) -> None:
        """What a commit asks of the disk, without SQLite."""
        os.pwrite(self._file, self._payload * GROUP, 0)
        os.fsync(self._file)

    def close(self) -> None:
        """Finish what waits."""
        self._run(self._store.close())
        self._loop.close()
        os.close(self._file)


def steps_of(source: Stream, disk: _Disk) -> list[Step]:
    """Everything but HTTP."""
    spec = source.spec
    columns = source.columns("safetensors")[0]
    batch = quantise(spec, columns)[0]
    payload = log_entries.pack_batch(encode(batch))
    trigger = Settings().compact_trigger(spec.memory_bytes)
    due = max(1.0, trigger / len(payload))
    many = max(1, round(due))
    entries = [StoredEntry(1, "0", payload, None)] * many
    sketch = new_sketch(spec)
    log_entries.fold(sketch, entries)
    state = to_snapshot(sketch)
    reading = [
        Step(f"read {form}", partial(_READ[form], source.bodies(form)[0]), 1.0, (form,))
        for form in FORMATS
    ]
    return [
        *reading,
        Step("check and quantise", lambda: quantise(spec, columns)),
        Step("encode", lambda: log_entries.pack_batch(encode(batch))),
        Step(COMMIT, disk.append, GROUP),
        Step("SQLite: read the log back", disk.read, GROUP),
        Step("fold", lambda: log_entries.fold(sketch, entries), many),
        Step("checkpoint: bytes and checksum", lambda: to_snapshot(sketch), due),
        Step(CHECKPOINT, lambda: disk.compact(state), due),
        Step(FSYNC, disk.fsync, GROUP),
    ]


def http_seconds(source: Stream, form: str, seconds: float) -> float:
    """Processor time that a service which does nothing takes for one body."""
    body = source.bodies(form)[0]
    job = http_job("take", "POST", "/", body, ingest_streams.MEDIA[form])
    with tempfile.TemporaryDirectory() as folder, serve_nothing(Path(folder)) as server:
        clients = [Client(server.host, server.port, [0])] * 8
        before = usage_of(server.pid)
        sent = send_all([Plan([job], clients, seconds)])
        return (usage_of(server.pid) - before).cpu / sent.answered[0]


def measure(size: Size) -> Findings:
    """Microseconds of each step, and its share of what a body takes in all."""
    keep_the_heap()  # as the service does
    source = ingest_streams.stream(1 << (12 if size.small else 20), BATCH, size.seed)
    columns = source.columns("safetensors")[0]
    payload = log_entries.pack_batch(encode(quantise(source.spec, columns)[0]))
    with tempfile.TemporaryDirectory() as folder:
        disk = _Disk(Path(folder), payload)
        try:
            steps = steps_of(source, disk)
            times = interleaved({step.name: step.work for step in steps}, size.rounds_of(41))
        finally:
            disk.close()
    taken = {step.name: times[step.name].median / step.bodies for step in steps}
    due = next(step.bodies for step in steps if step.name == CHECKPOINT)
    taken[CHECKPOINT] = statistics.median(disk.compacting) / due
    beside = taken.pop(FSYNC)
    of = {step.name: step.of for step in steps}
    rows: list[Row] = []
    totals = {}
    for form in FORMATS:
        mine = {HTTP: http_seconds(source, form, 0.5 if size.small else 3.0)}
        mine |= {name: seconds for name, seconds in taken.items() if form in of[name]}
        totals[form] = sum(mine.values())
        rows += [
            {"format": form, "step": name, "us": 1e6 * one, "share": one / totals[form]}
            for name, one in mine.items()
        ]
        rows.append({"format": form, "step": "all", "us": 1e6 * totals[form], "share": 1.0})
        rows.append({"format": form, "step": FSYNC, "us": 1e6 * beside, "share": None})
    bounds = {"safetensors": 5.0, "json": 25.0}
    targets = [
        Target(f"a body of {BATCH:,}, {form}", "ms", bounds[form], 1e3 * totals[form])
        for form in FORMATS
    ]
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """A bar for each format, cut into its steps."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 2.6), layout="constrained")
    steps = list(dict.fromkeys(row["step"] for row in rows if row["share"] not in (None, 1.0)))
    left = dict.fromkeys(FORMATS, 0.0)
    for number, step in enumerate(steps):
        for row in rows:
            if row["step"] == step:
                axes.barh(
                    row["format"], row["us"], left=left[row["format"]], color=f"C{number}",
                    label=step if left[row["format"]] == 0.0 or row["format"] == FORMATS[0]
                    else None,
                )  # fmt: skip
                left[row["format"]] += row["us"]
    axes.set_xlabel(f"µs for a body of {BATCH:,} updates")
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(handles.values(), handles.keys(), fontsize=6, ncols=2)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="ingest_shares",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        "One thing at a time: in a service the steps of several requests overlap on the "
        "processors there are, and threads wait for each other's interpreter lock.",
        "Medians of wall time; HTTP is processor time of a process of its own, its clients on "
        "another. A commit includes its fsync and its share of copying the journal back.",
        "A vector sketch of n = 2^20 at the defaults, compacted whenever its log is due.",
    ),
    columns=(
        Column("format", "format"),
        Column("step", "step"),
        Column("µs a body", "us", "{:,.0f}"),
        Column("share", "share", "{:.0%}"),
    ),
    measure=measure,
    plot=plot,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.ingest_shares`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
