"""Updates a second that are durable, folded and compacted, over HTTP.

    python -m benchmarks.durable_ingest [--store sqlite|redis|memory] [--replicas N …]
        [--clients N] [--sketches N] [--seconds S] [--formats F …] [--batches B …]
        [--small] [--json FILE] [--write]

The service runs as `python -m service serve` does, the senders in processes of their own with
bodies prepared beforehand. Three kinds of rows:

    nothing    a handler that reads the body and answers, under the same HTTP server
    append     no compaction is ever due: what the log alone takes
    sustained  defaults; the clock stops when all has been read back, folded, and no log is longer
               than what starts a compaction. Every state must be, byte for byte, what the
               acknowledged batches make.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.measuring import ingest_streams
from benchmarks.measuring.ingest_streams import FORMATS, Stream
from benchmarks.measuring.loads import chosen_load
from benchmarks.measuring.processes import serve_nothing
from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.stores import STORES, OpenStore, opened
from service.bench.processes import Server, Usage, serve
from service.bench.sender_processes import send_all, shared
from service.bench.senders import Client, Plan, Sent
from service.settings import Settings

LARGE: Final = 10_000
BATCHES: Final = (10, 1_000, LARGE)
N: Final = 1 << 20
#: A log this long is never compacted, and never full.
ENDLESS: Final[dict[str, Any]] = {"compact_min_bytes": 1 << 48, "max_log_bytes": 1 << 49}
#: Without progress for so long, a backlog is left as it is, and shows in the figures.
_STUCK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of every row."""

    stores: Sequence[str]
    replicas: Sequence[int]
    clients: int
    sketches: int
    seconds: float
    formats: Sequence[str]
    batches: Sequence[int]
    n: int = N


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is served, over which store, and what is sent."""

    mode: str
    store: str
    form: str
    batch: int
    replicas: int = 1


def cases_of(load: Load) -> list[Case]:
    """The rows of a run: the floor, appending alone, and all but the first number of replicas
    with the largest batches only.
    """
    largest = max(load.batches)
    cases = [Case("nothing", "none", form, largest) for form in load.formats]
    first, *more = load.replicas
    for store in load.stores:
        cases += [Case("append", store, form, largest, first) for form in load.formats]
        cases += [
            Case("sustained", store, form, batch, first)
            for form in load.formats
            for batch in sorted(load.batches, reverse=True)
        ]
        cases += [
            Case("sustained", store, form, largest, replicas)
            for replicas in more
            for form in load.formats
        ]
    return cases


class Served:
    """Services of one row, and what they say of themselves."""

    def __init__(self, servers: Sequence[Server], store: OpenStore | None) -> None:
        self.servers = servers
        self.store = store
        # Any of them will do: they share the store.
        self.http = httpx.Client(
            base_url=f"http://{servers[0].host}:{servers[0].port}", timeout=120.0
        )

    def create(self, source: Stream, sketches: int) -> None:
        """Make the sketches, and let every replica know them."""
        for name in ingest_streams.names_of(sketches):
            self.http.put(f"/v1/sketches/{name}", content=source.creation()).raise_for_status()

    def usage(self) -> tuple[Usage, Usage]:
        """Of the services together, and of the store's own process."""
        used = sum((one.usage() for one in self.servers), Usage(0.0, 0))
        return used, self.store.usage() if self.store is not None else Usage(0.0, 0)

    def compactions(self) -> int:
        """How many succeeded so far."""
        return sum(int(_metric(one, 'sketchd_compactions_total{outcome="ok"}'))
                   for one in self.servers)  # fmt: skip

    def infos(self) -> list[dict[str, Any]]:
        """Of all sketches."""
        answer = self.http.get("/v1/sketches", params={"limit": 1000}).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["sketches"]
        return found

    def drain(self, trigger: float) -> int:
        """Wait until no log is due for compaction; returns the bytes of all logs."""
        left, since = -1, time.perf_counter()
        while True:
            logs = [info["memory_bytes"]["log"] for info in self.infos()]
            if max(logs) < trigger:
                return sum(logs)
            if sum(logs) != left:
                left, since = sum(logs), time.perf_counter()
            elif time.perf_counter() - since > _STUCK_SECONDS:
                return left
            time.sleep(0.02)

    def check(self, source: Stream, case: Case, sketches: int, sent: Sent) -> None:
        """Compare every state, and the count of updates, with what was acknowledged."""
        updates = {info["name"]: info["updates"] for info in self.infos()}
        for at, name in enumerate(ingest_streams.names_of(sketches)):
            times = ingest_streams.times_of(sent.answered, at)
            if updates[name] != sum(times) * case.batch:
                raise AssertionError(f"{name}: {updates[name]} updates, not what was acknowledged")
            if self.snapshot(name) != source.snapshot(case.form, times):
                raise AssertionError(f"{name}: not the state that the acknowledged batches make")

    def snapshot(self, name: str) -> bytes:
        """The state at its head: folds whatever has not been."""
        return self.http.get(f"/v1/sketches/{name}/snapshot").raise_for_status().content


def _metric(server: Server, name: str) -> float:
    text = httpx.get(f"http://{server.host}:{server.port}/metrics").raise_for_status().text
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")
    )


def measure_case(case: Case, load: Load, seed: int) -> Row:
    """One row."""
    source = ingest_streams.stream(load.n, case.batch, seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if case.mode == "nothing":
            served = Served([stack.enter_context(serve_nothing(folder))], None)
        else:
            store = stack.enter_context(opened(case.store, folder))
            settings: dict[str, Any] = ENDLESS if case.mode == "append" else {}
            replicas = [
                stack.enter_context(serve(folder, store.url, **settings))
                for _ in range(case.replicas)
            ]
            served = Served(replicas, store)
        stack.callback(served.http.close)
        if case.mode != "nothing":
            served.create(source, load.sketches)
        return _measured(case, load, source, served)


def _measured(case: Case, load: Load, source: Stream, served: Served) -> Row:
    jobs = ingest_streams.jobs_of(source, case.form, load.sketches)
    clients = _clients(load, served.servers)
    before = served.usage()
    sent = send_all([Plan(jobs, part, load.seconds) for part in shared(clients, 1)])
    spec = source.spec
    ended, left = sent.ended, None
    if case.mode == "sustained":
        left = served.drain(Settings().compact_trigger(spec.memory_bytes))
        for name in ingest_streams.names_of(load.sketches):
            served.snapshot(name)
        ended = time.perf_counter()
    after = served.usage()
    batches = sum(sent.answered.values())
    if sent.lost or not batches:
        raise AssertionError(f"{sent.lost} requests lost, {batches} answered")
    logged = batches * source.payload_bytes(case.form) / ingest_streams.BATCHES
    compactions = served.compactions() if case.mode == "sustained" else None
    if case.mode != "nothing":
        served.check(source, case, load.sketches, sent)
    million = batches * case.batch / 1e6
    seconds = ended - sent.started
    service, store = (now - then for now, then in zip(after, before, strict=True))
    taken = sorted(sent.seconds["update"])
    size = len(source.snapshot(case.form, [0] * ingest_streams.BATCHES))
    return {
        "mode": case.mode,
        "store": case.store,
        "replicas": case.replicas,
        "format": case.form,
        "batch": case.batch,
        "updates": batches * case.batch / seconds,
        "requests": batches / seconds,
        "p50_ms": 1e3 * statistics.median(taken),
        "p99_ms": 1e3 * taken[int(0.99 * len(taken))],
        "service_cpu": service.cpu / million,
        "store_cpu": None if served.store is None or served.store.pid is None
        else store.cpu / million,
        "sender_cpu": sent.cpu / million,
        "refused": sum(sent.refused.values()),
        "compactions": compactions,
        "drain_s": None if left is None else ended - sent.ended,
        "left_mb": None if left is None else left / 1e6,
        "logged": None if compactions is None else 1 + compactions * size / logged,
        "written": None if case.mode == "nothing" or case.store == "memory"
        else (service.written + store.written) / logged,
    }  # fmt: skip


def _clients(load: Load, servers: Sequence[Server]) -> list[Client]:
    """Client c sends to replica c, and the batches of sketch c, modulo how many there are."""
    found = []
    for at in range(load.clients):
        server, sketch = servers[at % len(servers)], at % load.sketches
        first = ingest_streams.BATCHES * sketch
        turns = range(first, first + ingest_streams.BATCHES)
        found.append(Client(server.host, server.port, turns))
    return found


def targets_of(rows: Sequence[Row]) -> list[Target]:
    """The bounds, for the batches of 10,000 that were measured."""
    bounds = {("sustained", "safetensors"): 2.0, ("sustained", "json"): 0.4,
              ("append", "safetensors"): 5.0}  # fmt: skip
    return [
        Target(
            f"{row['mode']}, {row['store']}, {row['format']} of {row['batch']:,}",
            "M updates/s", bounds[row["mode"], row["format"]], row["updates"] / 1e6, at_least=True,
        )
        for row in rows
        if row["replicas"] == 1
        and (row["mode"], row["format"]) in bounds and row["batch"] == max(r["batch"] for r in rows)
    ]  # fmt: skip


def plot(rows: Sequence[Row], path: Path) -> None:
    """Updates a second of every row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    place = range(len(rows))[::-1]
    figure, axes = plt.subplots(figsize=(8.0, 0.3 * len(rows) + 1.0), layout="constrained")
    colours = {"nothing": "0.8", "append": "tab:orange", "sustained": "tab:blue"}
    axes.barh(place, [row["updates"] for row in rows], color=[colours[r["mode"]] for r in rows])
    labels = [
        f"{r['mode']}, {r['store']}, {r['replicas']} replica(s), {r['format']} of {r['batch']:,}"
        for r in rows
    ]
    axes.set_yticks(place, labels, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("durable updates a second")
    figure.savefig(path, dpi=130)
    plt.close(figure)


COLUMNS: Final = (
    Column("served", "mode"),
    Column("store", "store"),
    Column("replicas", "replicas"),
    Column("format", "format"),
    Column("batch", "batch", "{:,}"),
    Column("updates/s", "updates", "{:,.0f}"),
    Column("requests/s", "requests", "{:,.0f}"),
    Column("p50, ms", "p50_ms", "{:.1f}"),
    Column("p99, ms", "p99_ms", "{:.1f}"),
    Column("service, CPU s a million", "service_cpu", "{:.3f}"),
    Column("store", "store_cpu", "{:.3f}"),
    Column("senders", "sender_cpu", "{:.3f}"),
    Column("refused", "refused"),
    Column("compactions", "compactions"),
    Column("drained in, s", "drain_s", "{:.2f}"),
    Column("left, MB", "left_mb", "{:.2f}"),
    Column("log and checkpoints over batches", "logged", "{:.2f}"),
    Column("written to disk over batches", "written", "{:.2f}"),
)


def benchmark(load: Load | None) -> Benchmark:
    """The benchmark of a load; of the usual one, or a small one, for None."""

    def measure(size: Size) -> Findings:
        asked = load or (SMALL if size.small else USUAL)
        rows = [measure_case(case, asked, size.seed) for case in cases_of(asked)]
        return Findings(rows, targets_of(rows))

    shown = load or USUAL
    return Benchmark(
        name="durable_ingest",
        about=(__doc__ or "").splitlines()[0],
        caveats=(
            f"{shown.clients} clients, {shown.sketches} sketches of "
            f"n = {shown.n:,} at the defaults, {shown.seconds:g} s a row: the processes of one "
            "machine, senders and store included, share its processors.",
            "sustained counts the time until every state was read back and no log was due for "
            "compaction; left is what logs below that hold.",
            "log and checkpoints over batches counts bytes handed to the store; written to disk "
            "is what the kernel says the processes wrote, journals and indices included.",
        ),
        columns=COLUMNS,
        measure=measure,
        plot=plot,
    )


USUAL: Final = Load(STORES["sqlite"] + STORES["redis"], (1, 2), 16, 8, 6.0, FORMATS, BATCHES)
SMALL: Final = Load(STORES["sqlite"], (1,), 4, 2, 0.3, FORMATS, (1_000,), 1 << 12)
BENCHMARK: Final = benchmark(None)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.durable_ingest`."""
    load, rest, shown = chosen_load(arguments, USUAL, SMALL, FORMATS)
    run(BENCHMARK if load is None else benchmark(load), rest, shown)


if __name__ == "__main__":
    main()
