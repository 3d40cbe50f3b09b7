"""Updates and samples through HTTP and gRPC, each beside a handler that does nothing.

    python -m benchmarks.transports [--store sqlite|redis|memory] [--clients N] [--sketches N]
        [--seconds S] [--formats F …] [--batches B …] [--small] [--json FILE] [--write]

For each transport the same clients send the same requests to the service, and, in the same run,
to the floor: a handler that reads the message and answers, on the server that the service uses,
in a process of its own. What the service takes beyond that is its own work.

Updates count once they are durable and folded: the clock stops when the state of every sketch
has been read back, and each must count what was acknowledged. A sample is of 16, of a sketch
that nobody changes meanwhile.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from benchmarks.measuring.loads import chosen_load
from benchmarks.measuring.processes import serve_nothing
from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.stores import opened
from service.bench import requests
from service.bench.control import HttpControl
from service.bench.options import FORMATS, Options, parse
from service.bench.processes import Server, free_port, serve
from service.bench.requests import BODIES
from service.bench.sender_processes import send_all
from service.bench.senders import GRPC, GRPC_STREAM, HTTP, Client, Plan, Sent

TITLES: Final = {
    "json": "HTTP, JSON",
    "safetensors": "HTTP, safetensors",
    "grpc": "gRPC, calls",
    "grpc-stream": "gRPC, a stream",
}
_TRANSPORTS: Final = {"json": HTTP, "safetensors": HTTP, "grpc": GRPC, "grpc-stream": GRPC_STREAM}
NOTHING: Final = "nothing"


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked. clients: where it is not one. formats: of TITLES. batches: of updates."""

    stores: Sequence[str]
    clients: int
    sketches: int
    seconds: float
    formats: Sequence[str]
    batches: Sequence[int]
    n: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of one kind. batch: increments of an update."""

    kind: str
    batch: int
    clients: int

    @property
    def title(self) -> str:
        """For the table."""
        return f"update of {self.batch:,}" if self.kind == "update" else "sample of 16"


def asked_of(load: Load) -> list[Asked]:
    """Throughput of every batch, latency of the largest and the smallest, and samples."""
    batches = sorted(load.batches, reverse=True)
    found = [Asked("update", batch, load.clients) for batch in batches]
    found += [Asked("update", batch, 1) for batch in dict.fromkeys((batches[0], batches[-1]))]
    return found + [Asked("sample", batches[-1], clients) for clients in (load.clients, 1)]


@dataclass(frozen=True, slots=True)
class Measured:
    """per_second: updates, or samples. seconds: until the answer, half and 99 of 100 of them.

    cpu: seconds of the server's processor time a request.
    """

    per_second: float
    p50: float
    p99: float
    cpu: float


class Place:
    """Something that answers over HTTP and gRPC. store: None where it does nothing."""

    def __init__(self, http: Server, rpc: Server, grpc_port: int, load: Load) -> None:
        self._http = http
        self._rpc = rpc
        self._grpc_port = grpc_port
        self._load = load
        self.names = [f"t-{at}" for at in range(load.sketches)]
        self.acknowledged: Counter[int] = Counter()

    def ask(self, form: str, asked: Asked, options: Options) -> tuple[Sent, float, float]:
        """Send for as long as the load says.

        Returns what came of it, when all of it was folded, and the processor time it took.
        """
        server = self._rpc if FORMATS[form] else self._http
        port = self._grpc_port if FORMATS[form] else server.port
        jobs = requests.jobs_of(options, self.names, server.host)
        kind = BODIES if asked.kind == "sample" else 0
        clients = [
            Client(server.host, port, range(first, first + BODIES))
            for at in range(asked.clients)
            for first in (2 * BODIES * (at % self._load.sketches) + kind,)
        ]
        plan = Plan(
            jobs, clients, self._load.seconds, _TRANSPORTS[form],
            warmup=self._load.seconds / 8, shared=asked.clients,
        )  # fmt: skip
        before = server.usage()
        sent = send_all([plan])
        for answered in (sent.answered, sent.warm):
            for job, many in answered.items():
                self.acknowledged[jobs[job].sketch] += many * jobs[job].updates
        ended = self.folded(sent)
        return sent, ended, (server.usage() - before).cpu

    def folded(self, sent: Sent) -> float:
        """When everything is."""
        return sent.ended


class Service(Place):
    """The service over a store."""

    def __init__(self, server: Server, grpc_port: int, load: Load, seed: int) -> None:
        super().__init__(server, server, grpc_port, load)
        self._base = f"http://{server.host}:{server.port}"
        self._asking = httpx.Client(base_url=self._base, timeout=120.0)
        self._control = HttpControl(self._base, None, None)
        for name in self.names:
            spec = {"kind": "vector", "shape": {"n": load.n}, "seed": seed, "method": "sketch"}
            self._control.create(name, spec)

    def folded(self, sent: Sent) -> float:
        """Read every state. Raises AssertionError for one that is not what was acknowledged."""
        for name in self.names:
            self._asking.get(f"/v1/sketches/{name}/snapshot").raise_for_status()
        ended = time.perf_counter() if "update" in sent.seconds else sent.ended
        counted = self._control.counted("t-")
        for at, name in enumerate(self.names):
            if counted[name].updates != self.acknowledged[at]:
                raise AssertionError(
                    f"{name}: {counted[name].updates:,} updates, acknowledged "
                    f"{self.acknowledged[at]:,}"
                )
        return ended

    def close(self) -> None:
        """Let go of the connections."""
        self._asking.close()
        self._control.close()


def measured(place: Place, form: str, asked: Asked, load: Load, seed: int) -> Measured:
    """One kind of request through one transport. Raises AssertionError for any not answered."""
    options = parse([
        "serve", "--format", form, "--batch", str(asked.batch), "--n", str(load.n),
        "--seed", str(seed), "--sketches", str(load.sketches),
    ])  # fmt: skip
    sent, ended, cpu = place.ask(form, asked, options)
    taken = sent.seconds.get(asked.kind, ())
    if sent.lost or sent.refused or not taken:
        raise AssertionError(f"{form}, {asked}: {sent.lost} lost {sent.reasons}, {sent.refused}")
    each = asked.batch if asked.kind == "update" else 1
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    everything = len(taken) + sum(sent.warm.values())
    return Measured(len(taken) * each / (ended - sent.started), float(p50), float(p99),
                    cpu / everything)  # fmt: skip


def places(load: Load, stack: ExitStack, seed: int) -> Iterator[tuple[str, Place]]:
    """The floor first, then the service over each store, one at a time."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    with serve_nothing(folder) as http, serve_nothing(folder, grpc=True) as rpc:
        yield NOTHING, Place(http, rpc, rpc.port, load)
    for store in load.stores:
        place = folder / store.replace(" ", "-")
        place.mkdir()
        port = free_port()
        with (
            opened(store, place) as open_store,
            serve(place, open_store.url, "--grpc-port", str(port)) as server,
        ):
            service = Service(server, port, load, seed)
            yield store, service
            service.close()


def measure(load: Load, seed: int) -> list[Row]:
    """A row for each store, request and transport."""
    rows: list[Row] = []
    floor: dict[tuple[Asked, str], Measured] = {}
    with ExitStack() as stack:
        for where, place in places(load, stack, seed):
            for asked in asked_of(load):
                for form in load.formats:
                    found = measured(place, form, asked, load, seed)
                    if where == NOTHING:
                        floor[asked, form] = found
                    else:
                        rows.append(_row(where, form, asked, found, floor[asked, form]))
    return rows


def _row(store: str, form: str, asked: Asked, found: Measured, floor: Measured) -> Row:
    return {
        "asked": asked.title,
        "clients": asked.clients,
        "store": store,
        "transport": TITLES[form],
        "form": form,
        "per_second": found.per_second,
        "floor_per_second": floor.per_second,
        "share": found.per_second / floor.per_second,
        "p50_ms": 1e3 * found.p50,
        "floor_p50_ms": 1e3 * floor.p50,
        "p99_ms": 1e3 * found.p99,
        "floor_p99_ms": 1e3 * floor.p99,
        "p99_over": found.p99 / found.p50,
        "cpu_ms": 1e3 * found.cpu,
        "floor_cpu_ms": 1e3 * floor.cpu,
    }


def targets_of(rows: Sequence[Row]) -> list[Target]:
    """Of measures of durable ingest, with the largest batches and every client."""
    bounds = {"safetensors": 2.0, "json": 0.4}
    first = rows[0]
    return [
        Target(
            f"{row['store']}, {row['transport']}, {row['asked']}",
            "M updates/s", bounds[row["form"]], row["per_second"] / 1e6, at_least=True,
        )
        for row in rows
        if row["form"] in bounds
        and (row["asked"], row["clients"]) == (first["asked"], first["clients"])
    ]  # fmt: skip


def plot(rows: Sequence[Row], path: Path) -> None:
    """For each store: updates a second, and latencies of one client; the floors in outline."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    stores = list(dict.fromkeys(row["store"] for row in rows))
    most = max(row["clients"] for row in rows)
    figure, every = plt.subplots(
        len(stores), 2, figsize=(10.0, 3.2 * len(stores)), layout="constrained", squeeze=False
    )
    for store, (left, right) in zip(stores, every, strict=True):
        mine = [row for row in rows if row["store"] == store]
        busy = [row for row in mine if row["clients"] == most and row["asked"].startswith("up")]
        for axes, chosen, field, label in (
            (left, busy, "per_second", f"updates/s, {most} clients, {store}"),
            (right, [row for row in mine if row["clients"] == 1], "p50_ms",
             f"ms until the answer, one client, {store}"),
        ):  # fmt: skip
            groups = list(dict.fromkeys(row["asked"] for row in chosen))
            forms = list(dict.fromkeys(row["transport"] for row in chosen))
            for number, form in enumerate(forms):
                of = [row for row in chosen if row["transport"] == form]
                at = [groups.index(row["asked"]) + 0.2 * number for row in of]
                axes.bar(at, [row[field] for row in of], 0.18, color=f"C{number}", label=form)
                axes.bar(at, [row[f"floor_{field}"] for row in of], 0.18, fill=False,
                         edgecolor="0.3", linestyle=":")  # fmt: skip
            axes.set_xticks([at + 0.3 for at in range(len(groups))], groups)
            axes.set_yscale("log")
            axes.set_ylabel(label, fontsize=8)
    every[0][0].legend(fontsize=7, title="dotted: a handler that does nothing", title_fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


COLUMNS: Final = (
    Column("asked", "asked"),
    Column("clients", "clients"),
    Column("store", "store"),
    Column("transport", "transport"),
    Column("updates or samples/s", "per_second", "{:,.0f}"),
    Column("nothing", "floor_per_second", "{:,.0f}"),
    Column("of it", "share", "{:.0%}"),
    Column("p50, ms", "p50_ms", "{:.2f}"),
    Column("nothing", "floor_p50_ms", "{:.2f}"),
    Column("p99, ms", "p99_ms", "{:.2f}"),
    Column("nothing", "floor_p99_ms", "{:.2f}"),
    Column("CPU ms a request", "cpu_ms", "{:.3f}"),
    Column("nothing", "floor_cpu_ms", "{:.3f}"),
)


def benchmark(load: Load | None) -> Benchmark:
    """The benchmark of a load; of the usual one, or a small one, for None."""

    def found(size: Size) -> Findings:
        rows = measure(load or (SMALL if size.small else USUAL), size.seed)
        return Findings(rows, targets_of(rows))

    shown = load or USUAL
    return Benchmark(
        name="transports",
        about=(__doc__ or "").splitlines()[0],
        caveats=(
            f"{shown.sketches} sketches of n = {shown.n:,} at the defaults, {shown.seconds:g} s a "
            "row; clients, service and store share the processors of one machine.",
            "nothing is what a handler reaches that reads the message and answers, with the same "
            "clients on the same kind of server.",
            "Over gRPC increments are columns of the message, integers and float64; all clients "
            "share one connection, and those of the stream one stream.",
            "Updates count when the state of every sketch has been read back, folded; processor "
            "time is the service's own, without a Redis server's.",
        ),
        columns=COLUMNS,
        measure=found,
        plot=plot,
        peers=("grpcio", "uvicorn"),
    )


USUAL: Final = Load(("sqlite", "redis, fsync everysec"), 16, 16, 1.5, tuple(TITLES),
                    (100, 1_000, 10_000))  # fmt: skip
SMALL: Final = Load(("sqlite",), 4, 2, 0.15, tuple(TITLES), (100,), 1 << 12)
BENCHMARK: Final = benchmark(None)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.transports`."""
    load, rest, shown = chosen_load(arguments, USUAL, SMALL, tuple(TITLES))
    run(BENCHMARK if load is None else benchmark(load), rest, shown)


if __name__ == "__main__":
    main()
