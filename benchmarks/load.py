"""Latency under load: a thousand sketches, many clients, nine updates for each sample.

    python -m benchmarks.load [--store sqlite|redis|memory] [--replicas N …] [--clients N]
        [--sketches N] [--seconds S] [--batch B] [--small] [--json FILE] [--write]

Clients keep their connections and send the next request when they have the answer to the last,
so that the service is always as busy as they can make it. Every request must be answered, and
the updates that each sketch counts must be those that were acknowledged. Beside the clients one
connection asks /healthz every few milliseconds: that needs nothing but a turn of the event loop,
and shows how long any request waits for one. Where the service reports
`sketchd_event_loop_lag_seconds`, its 99th percentile stands beside it.
"""

from __future__ import annotations

import http.client
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.measuring import ingest_streams
from benchmarks.measuring.ingest_streams import BATCHES, names_of
from benchmarks.measuring.loads import chosen_load
from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.stores import STORES, opened
from service.bench.jobs import Job, http_job
from service.bench.processes import Server, Usage, serve
from service.bench.sender_processes import send_all, shared
from service.bench.senders import Client, Plan, Sent

SAMPLES_IN: Final = 10
_PING_SECONDS: Final = 0.005
#: Requests a client's list holds before it starts again.
_TURNS: Final = 5000
_LAG: Final = re.compile(
    r'^sketchd_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked. seconds: measured, after a quarter of that to warm up."""

    stores: Sequence[str]
    replicas: Sequence[int]
    clients: int
    sketches: int
    seconds: float
    batch: int
    n: int = 1 << 20


class Pinger:
    """Asks /healthz again and again, in a thread. seconds: of each answer."""

    def __init__(self, server: Server) -> None:
        self.seconds: list[float] = []
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asking = http.client.HTTPConnection(self._server.host, self._server.port, timeout=60)
        while not self._done.wait(_PING_SECONDS):
            started = time.perf_counter()
            asking.request("GET", "/healthz")
            asking.getresponse().read()
            self.seconds.append(time.perf_counter() - started)
        asking.close()

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self.seconds

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def jobs_of(load: Load, seed: int) -> list[Job]:
    """Of each sketch: BATCHES updates, then one sample."""
    source = ingest_streams.stream(load.n, load.batch, seed)
    bodies = source.bodies("safetensors")
    found: list[Job] = []
    for name in names_of(load.sketches):
        path = f"/v1/sketches/{name}"
        found += [
            http_job("update", "POST", f"{path}/updates", body, ingest_streams.MEDIA["safetensors"])
            for body in bodies
        ]
        found.append(http_job("sample", "POST", f"{path}/samples", b"{}"))
    return found


def clients_of(load: Load, servers: Sequence[Server], rng: np.random.Generator) -> list[Client]:
    """Each asks sketches at random, one request in SAMPLES_IN for a sample."""
    found = []
    for at in range(load.clients):
        server = servers[at % len(servers)]
        sketch = rng.integers(0, load.sketches, _TURNS)
        samples = rng.random(_TURNS) < 1 / SAMPLES_IN
        which = np.where(samples, BATCHES, rng.integers(0, BATCHES, _TURNS))
        turns = (sketch * (BATCHES + 1) + which).tolist()
        found.append(Client(server.host, server.port, turns))
    return found


def measure_case(load: Load, store: str, replicas: int, seed: int) -> list[Row]:
    """A row for the updates and one for the samples."""
    rng = np.random.default_rng(seed)
    jobs = jobs_of(load, seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        opened_store = stack.enter_context(opened(store, folder))
        servers = [stack.enter_context(serve(folder, opened_store.url)) for _ in range(replicas)]
        base = f"http://{servers[0].host}:{servers[0].port}"
        asking = stack.enter_context(httpx.Client(base_url=base, timeout=120.0))
        creation = ingest_streams.stream(load.n, 1, seed).creation()
        for name in names_of(load.sketches):
            asking.put(f"/v1/sketches/{name}", content=creation).raise_for_status()
        clients = clients_of(load, servers, rng)
        warm = _send(jobs, clients, load.seconds / 4)
        lags = [_lag_counts(server) for server in servers]
        before = sum((one.usage() for one in servers), Usage(0.0, 0))
        with Pinger(servers[0]) as pings:
            sent = _send(jobs, clients, load.seconds)
        used = sum((one.usage() for one in servers), Usage(0.0, 0)) - before
        lag = _lag_p99([now - then for now, then in zip(
            map(_lag_counts, servers), lags, strict=True)])  # fmt: skip
        _check(asking, load, [warm, sent])
    asked = sum(sent.answered.values()) + sum(sent.refused.values()) + sent.lost
    seconds = sent.ended - sent.started
    shared_figures: Row = {
        "store": store,
        "replicas": replicas,
        "cpu_ms": 1e3 * used.cpu / asked,
        "sender_ms": 1e3 * sent.cpu / asked,
        "refused": sum(sent.refused.values()),
        "lost": sent.lost,
        "turn_p99_ms": 1e3 * float(np.quantile(pings, 0.99)),
        "turn_max_ms": 1e3 * max(pings),
        "lag_p99_ms": None if lag is None else 1e3 * lag,
    }
    return [
        {"kind": kind, "per_second": len(taken) / seconds, **_quantiles(taken), **shared_figures}
        for kind, taken in sorted(sent.seconds.items(), reverse=True)
    ]


def _send(jobs: Sequence[Job], clients: Sequence[Client], seconds: float) -> Sent:
    return send_all([Plan(jobs, part, seconds) for part in shared(clients, 1)])


def _quantiles(taken: Sequence[float]) -> Row:
    p50, p95, p99, p999 = (1e3 * float(q) for q in np.quantile(taken, (0.5, 0.95, 0.99, 0.999)))
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "p999_ms": p999, "p99_over": p99 / p50}


def _check(asking: httpx.Client, load: Load, runs: Sequence[Sent]) -> None:
    """Compare what each sketch counts with what was acknowledged. Raises AssertionError."""
    acknowledged: Counter[int] = Counter()
    for one in runs:
        acknowledged.update(one.answered)
    cursor: str | None = None
    found: dict[str, int] = {}
    while not found or cursor is not None:
        asked = {"limit": "1000"} if cursor is None else {"limit": "1000", "cursor": cursor}
        page: dict[str, Any] = asking.get("/v1/sketches", params=asked).raise_for_status().json()
        found |= {info["name"]: info["updates"] for info in page["sketches"]}
        cursor = page["next_cursor"]
    for at, name in enumerate(names_of(load.sketches)):
        first = at * (BATCHES + 1)
        times = sum(acknowledged[job] for job in range(first, first + BATCHES))
        if found[name] != times * load.batch:
            raise AssertionError(f"{name}: {found[name]} updates, acknowledged {times} batches")


def _lag_counts(server: Server) -> Counter[float]:
    """The service's own measure: cumulative counts by bound in seconds; empty without one."""
    text = httpx.get(f"http://{server.host}:{server.port}/metrics").raise_for_status().text
    return Counter({float(bound): int(float(count)) for bound, count in _LAG.findall(text)})


def _lag_p99(counts: Sequence[Counter[float]]) -> float | None:
    """The least bound, in seconds, that 99 of 100 turns of the loop kept."""
    total: Counter[float] = Counter()
    for one in counts:
        total.update(one)
    if not total:
        return None
    kept = [bound for bound, count in total.items() if count >= 0.99 * total[max(total)]]
    return min(kept)


def targets_of(rows: Sequence[Row]) -> list[Target]:
    """The bounds on updates, requests and the event loop."""
    found = []
    for row in rows:
        if row["kind"] != "update":
            continue
        where = f"{row['store']}, {row['replicas']} replica(s)"
        found += [
            Target(f"{where}: p99 of an update over its p50", "times", 10.0, row["p99_over"]),
            Target(f"{where}: requests lost or refused", "", 0.0, row["lost"] + row["refused"]),
            Target(f"{where}: wait for a turn, p99", "ms", 20.0, row["turn_p99_ms"]),
        ]
    return found


def plot(rows: Sequence[Row], path: Path) -> None:
    """The percentiles of each kind."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 4.0), layout="constrained")
    names = {"p50_ms": "50 %", "p95_ms": "95 %", "p99_ms": "99 %", "p999_ms": "99.9 %"}
    for row in rows:
        label = f"{row['kind']}, {row['store']}, {row['replicas']} replica(s)"
        axes.plot(list(names.values()), [row[name] for name in names], marker="o", label=label)
    axes.set_yscale("log")
    axes.set_ylabel("ms until the answer")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


COLUMNS: Final = (
    Column("store", "store"),
    Column("replicas", "replicas"),
    Column("kind", "kind"),
    Column("a second", "per_second", "{:,.0f}"),
    Column("p50, ms", "p50_ms", "{:.1f}"),
    Column("p95", "p95_ms", "{:.1f}"),
    Column("p99", "p99_ms", "{:.1f}"),
    Column("p99.9", "p999_ms", "{:.1f}"),
    Column("p99 over p50", "p99_over", "{:.1f}"),
    Column("refused", "refused"),
    Column("lost", "lost"),
    Column("service, CPU ms a request", "cpu_ms", "{:.2f}"),
    Column("senders", "sender_ms", "{:.3f}"),
    Column("wait for a turn, p99, ms", "turn_p99_ms", "{:.1f}"),
    Column("longest", "turn_max_ms", "{:.1f}"),
    Column("loop lag, p99 at most, ms", "lag_p99_ms", "{:.0f}"),
)


def benchmark(load: Load | None) -> Benchmark:
    """The benchmark of a load; of the usual one, or a small one, for None."""

    def measure(size: Size) -> Findings:
        asked = load or (SMALL if size.small else USUAL)
        rows = [
            row
            for store in asked.stores
            for replicas in asked.replicas
            for row in measure_case(asked, store, replicas, size.seed)
        ]
        return Findings(rows, targets_of(rows))

    shown = load or USUAL
    return Benchmark(
        name="load",
        about=(__doc__ or "").splitlines()[0],
        caveats=(
            f"{shown.sketches:,} sketches of n = {shown.n:,}, {shown.clients} clients that never "
            f"pause, updates of {shown.batch}, samples of 16; {shown.seconds:g} s, once warm.",
            "Clients, replicas and store share the processors of one machine: latency is mostly "
            "the queue of the clients, which p99 over p50 does not depend on.",
            "A wait for a turn contains the way of a request through the server as well.",
        ),
        columns=COLUMNS,
        measure=measure,
        plot=plot,
    )


USUAL: Final = Load(STORES["sqlite"] + STORES["redis"], (1, 2), 64, 1000, 10.0, 100)
SMALL: Final = Load(STORES["sqlite"], (1,), 8, 10, 0.5, 10, 1 << 12)
BENCHMARK: Final = benchmark(None)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.load`."""
    load, rest, shown = chosen_load(arguments, USUAL, SMALL)
    run(BENCHMARK if load is None else benchmark(load), rest, shown)


if __name__ == "__main__":
    main()
