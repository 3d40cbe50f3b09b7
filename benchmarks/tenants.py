"""What a tenant at 10 times its limit costs another: B's latency while A floods, over A silent.

    python -m benchmarks.tenants [--small] [--json FILE] [--write]

The service, the flood and B are processes of their own: `sketchd serve` on SQLite, with
keys for both tenants. A sends ten times what its quota lets in, first of requests, then
of coordinates, without waiting for Retry-After; B sends small updates and samples, one
after another. Phases with A silent and A flooding take turns.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run

ROOT: Final = Path(__file__).parent.parent
TIMES: Final = 10
#: Coordinates of one batch of A.
BATCH: Final = 100
#: What A may, by the quota that it runs into; and requests a second that are ten times as much.
LIMITS: Final[dict[str, float]] = {"requests_per_second": 50.0, "updates_per_second": 5000.0}
FLOOD_PER_SECOND: Final = 500.0
CONNECTIONS: Final = 4
P99_TARGET: Final = 2.0


@dataclass(frozen=True, slots=True)
class Client:
    """A tenant's connection. Bodies are JSON."""

    connection: http.client.HTTPConnection
    key: str

    @classmethod
    @contextmanager
    def of(cls, port: int, key: str) -> Iterator[Client]:
        """A client of the service on this port, until the block ends."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            yield cls(connection, key)

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """(status, body) of the answer."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self.connection.request(method, path, body or None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def must(self, method: str, path: str, value: object = None) -> Any:
        """The JSON of an answer that has to be a success."""
        body = b"" if value is None else json.dumps(value).encode()
        status, found = self.send(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {found[:200]!r}")
        return json.loads(found)


@contextmanager
def served(folder: str, admin: str) -> Iterator[int]:
    """The service in a process of its own; its port."""
    command = ["-m", "service", "serve", "--port", "0", "--grpc-port", "0"]
    command += ["--store", f"sqlite:///{folder}/t.db"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
    }
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "SKETCHD_BOOTSTRAP_ADMIN_KEY": admin, "SKETCHD_LOG_LEVEL": "error"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if not line.startswith("sketchd ready:"):
            raise RuntimeError(f"not ready: {line}{process.stderr.read()}")
        yield int(line.split()[3].rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate()


def flood(port: int, key: str, body: bytes, told: Connection) -> None:
    """Update at FLOOD_PER_SECOND from one message until the next; then tell what was answered."""
    while told.recv() == "go":
        statuses: Counter[int] = Counter()
        ends = threading.Event()
        begun = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            counts = [
                threads.submit(_send_until, ends, port, key, body) for _ in range(CONNECTIONS)
            ]
            told.recv()
            ends.set()
            for count in counts:
                statuses.update(count.result())
        told.send((time.perf_counter() - begun, dict(statuses)))


def _send_until(ends: threading.Event, port: int, key: str, body: bytes) -> Counter[int]:
    """One connection's part of the flood."""
    statuses: Counter[int] = Counter()
    due = time.perf_counter()
    with Client.of(port, key) as client:
        while not ends.wait(max(0.0, due - time.perf_counter())):
            status, _ = client.send("POST", "/v1/sketches/a/updates", body)
            statuses[status] += 1
            due = max(due, time.perf_counter() - 0.5) + CONNECTIONS / FLOOD_PER_SECOND
    return statuses


@dataclass
class Phases:
    """Seconds of each of B's requests, by (what, whether A floods); and what A was answered."""

    latencies: dict[tuple[str, bool], list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    def ask(self, flooded: bool, works: dict[str, Callable[[], object]], seconds: float) -> None:
        """B's requests in turn for so long."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for what, work in works.items():
                start = time.perf_counter()
                work()
                took = time.perf_counter() - start
                self.latencies.setdefault((what, flooded), []).append(took)


def _percentile(seconds: Sequence[float], part: float) -> float:
    return 1e3 * sorted(seconds)[int(part * len(seconds))]


def _row(limit: str, what: str, phases: Phases) -> Row:
    silent, flooded = (phases.latencies[what, one] for one in (False, True))
    sent = phases.statuses.total() / phases.seconds
    let_in = phases.statuses[200] / phases.seconds * (1 if limit.startswith("req") else BATCH)
    return {
        "limit": limit,
        "what": what,
        "silent_p50_ms": 1e3 * statistics.median(silent),
        "flooded_p50_ms": 1e3 * statistics.median(flooded),
        "p50_ratio": statistics.median(flooded) / statistics.median(silent),
        "silent_p99_ms": _percentile(silent, 0.99),
        "flooded_p99_ms": _percentile(flooded, 0.99),
        "p99_ratio": _percentile(flooded, 0.99) / _percentile(silent, 0.99),
        "flood_per_second": sent,
        "let_in_over_limit": let_in / LIMITS[limit],
        "requests": len(silent) + len(flooded),
    }


def _keys(port: int, admin_key: str, limit: str) -> dict[str, str]:
    """Keys of A, which runs into one limit, and of B, which has none; each has a sketch."""
    keys: dict[str, str] = {}
    spec = {"kind": "vector", "shape": {"n": 1_000_000}, "method": "sketch", "seed": 7}
    with Client.of(port, admin_key) as admin:
        for tenant, quota in (("a", {limit: LIMITS[limit]}), ("b", {})):
            name = f"{tenant}-{limit.partition('_')[0]}"
            admin.must("PUT", f"/v1/admin/tenants/{name}", quota)
            issued = admin.must("POST", "/v1/admin/keys", {"tenant": name, "role": "write"})
            keys[tenant] = issued["key"]
            with Client.of(port, keys[tenant]) as client:
                client.must("PUT", f"/v1/sketches/{tenant}", {**spec, "width": 1024})
    return keys


def _phases(port: int, admin_key: str, limit: str, size: Size) -> Phases:
    """B's requests with A silent and with A flooding, in turn."""
    keys = _keys(port, admin_key, limit)
    rng = np.random.default_rng(size.seed)
    body = {"index": rng.integers(0, 1_000_000, BATCH).tolist(), "delta": [1] * BATCH}
    spawn = multiprocessing.get_context("spawn")
    told, tells = spawn.Pipe()
    flooding = spawn.Process(
        target=flood, args=(port, keys["a"], json.dumps(body).encode(), tells), daemon=True
    )
    flooding.start()
    phases, seconds = Phases(), 0.5 if size.small else 4.0
    try:
        with Client.of(port, keys["b"]) as b:
            works = {
                "update": lambda: b.must("POST", "/v1/sketches/b/updates", body),
                "sample": lambda: b.must("POST", "/v1/sketches/b/samples", {"count": 8}),
            }
            Phases().ask(False, works, 0.5)  # warm
            for _ in range(size.rounds_of(5, 1)):
                phases.ask(False, works, seconds)
                told.send("go")
                phases.ask(True, works, seconds)
                told.send("stop")
                took, statuses = told.recv()
                phases.seconds += took
                phases.statuses.update(statuses)
            told.send("end")
        flooding.join(10)
    finally:
        flooding.terminate()
        told.close()
        tells.close()
    return phases


def measure(size: Size) -> Findings:
    """One row a limit of A and a kind of request of B."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        key = secrets.token_hex(24)
        with served(folder, key) as port:
            for limit in LIMITS:
                phases = _phases(port, key, limit, size)
                rows += [_row(limit, what, phases) for what in ("update", "sample")]
    targets = [
        Target(f"p99 of B's {row['what']}, A at {TIMES} times its {row['limit']}, over A silent",
               "", P99_TARGET, row["p99_ratio"])
        for row in rows
    ]  # fmt: skip
    return Findings(rows, targets)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Latencies of B side by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    labels = [f"{row['what']}s, A over its\n{row['limit']}" for row in rows]
    at = np.arange(len(rows))
    figure, axes = plt.subplots(figsize=(8.0, 3.8), layout="constrained")
    for shift, (name, label) in enumerate(
        (
            ("silent_p50_ms", "p50, A silent"),
            ("flooded_p50_ms", "p50, A floods"),
            ("silent_p99_ms", "p99, A silent"),
            ("flooded_p99_ms", "p99, A floods"),
        )
    ):
        axes.bar(at + 0.2 * (shift - 1.5), [row[name] for row in rows], 0.2, label=label)
    axes.set_xticks(at, labels, fontsize=7)
    axes.set(ylabel="ms of a request of B")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)


BENCHMARK: Final = Benchmark(
    name="tenants",
    about=(__doc__ or "").splitlines()[0],
    caveats=(
        f"A may do {LIMITS['requests_per_second']:g} requests, or {LIMITS['updates_per_second']:g} "
        f"coordinates in batches of {BATCH}, a second, and sends up to ten times that on "
        f"{CONNECTIONS} connections.",
        "Service, flood and B share the processors: a part of what B loses is lost to the process "
        "that floods, not to the service.",
        "What A was let in over its limit includes the burst at the start of each phase.",
        "Ratios of one run; the 99th percentile of a shared machine moves by tens of per cent.",
    ),
    columns=(
        Column("A over its", "limit"),
        Column("B's", "what"),
        Column("p50, A silent, ms", "silent_p50_ms", "{:.2f}"),
        Column("A floods", "flooded_p50_ms", "{:.2f}"),
        Column("ratio", "p50_ratio", "{:.2f}"),
        Column("p99, A silent, ms", "silent_p99_ms", "{:.2f}"),
        Column("A floods", "flooded_p99_ms", "{:.2f}"),
        Column("ratio", "p99_ratio", "{:.2f}"),
        Column("A sent a second", "flood_per_second", "{:.0f}"),
        Column("let in over limit", "let_in_over_limit", "{:.2f}"),
    ),
    measure=measure,
    plot=plot,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.tenants`."""
    run(BENCHMARK, arguments)


if __name__ == "__main__":
    main()
