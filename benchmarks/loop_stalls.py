"""How long the largest legal requests keep the event loop from everybody else.

    python -m benchmarks.loop_stalls [--rounds N] [--only WORD]

The service runs in a process of its own on SQLite. A heartbeat on its event loop wakes
every millisecond; while a request is under way the longest delay of a beat is what any
other request may have waited. Two numbers tell whose fault it is:

    stall   wall time between two beats, less the millisecond: the loop's own work, the
            interpreter lock held by a thread of the pool, and other processes
    work    processor time of the loop's thread between two beats: its own work alone

Each request is sent --rounds times; of the longest stall and work of each round the
median is printed. Timings of a shared machine differ; `work` does so least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import httpx
import numpy as np
from safetensors.numpy import save

SEED: Final = 7
JSON: Final = "application/json"
TENSORS: Final = "application/x-safetensors"
OCTETS: Final = "application/octet-stream"
BEAT_SECONDS: Final = 0.001
LONG_D: Final = 1 << 16


# The served side


async def _beat(longest: list[float]) -> None:
    while True:
        wall, work = time.perf_counter(), time.thread_time()
        await asyncio.sleep(BEAT_SECONDS)
        longest[0] = max(longest[0], time.perf_counter() - wall - BEAT_SECONDS)
        longest[1] = max(longest[1], time.thread_time() - work)


def serve(folder: str, told: Connection) -> None:
    """Serve on a free port, as `sketchd serve` does; `told` answers each message with maxima."""
    import uvicorn

    from service import app as composition
    from service import cli_ports, cli_serve
    from service.cli_protocol import ProblemProtocol
    from service.settings import Settings

    cli_serve.share_the_processor()
    runtime = composition.build(Settings(store=f"sqlite:///{folder}/stalls.db"))
    listening = cli_ports.bind("127.0.0.1", 0)
    config = uvicorn.Config(
        composition.app_over(runtime), http=ProblemProtocol, ws="none", log_config=None
    )
    server = cli_serve.Server(config, runtime, lambda: None)
    longest = [0.0, 0.0]

    def answer() -> None:
        told.recv()
        told.send(tuple(longest))
        longest[:] = [0.0, 0.0]

    async def run() -> None:
        beating = asyncio.create_task(_beat(longest))
        asyncio.get_running_loop().add_reader(told.fileno(), answer)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        told.send(listening.getsockname()[1])
        await serving
        beating.cancel()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


# The asking side


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request. statuses: those that answer it as it should be."""

    label: str
    method: str
    path: str
    body: bytes = b""
    kind: str = JSON
    accept: str = "*/*"
    statuses: tuple[int, ...] = (200,)


def dumped(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def updates() -> Iterator[Ask]:
    """Batches at the limits of a body and of a batch, in every layout."""
    rng = np.random.default_rng(SEED)
    index = rng.integers(0, 1_000_000, 1_000_000)
    delta = rng.integers(-99, 99, 1_000_000)
    path = "/v1/sketches/v/updates"
    columns: dict[str, list[Any]] = {"index": index.tolist(), "delta": delta.tolist()}
    yield Ask("update, 1 M pairs", "POST", path, dumped(columns))
    words = {"index": [str(one) for one in columns["index"]], "delta": columns["delta"]}
    yield Ask("update, 1 M pairs, indices as strings", "POST", path, dumped(words))
    wrong = dumped(columns)[:-1] + b" nonsense"
    yield Ask("update, 1 M pairs, malformed at the end", "POST", path, wrong, statuses=(400,))
    columns["delta"][-1] = None
    yield Ask("update, 1 M pairs, the last null", "POST", path, dumped(columns), statuses=(422,))
    body = save({"index": index, "delta": delta.astype(np.float32)})
    yield Ask("update, 1 M pairs, safetensors", "POST", path, body, TENSORS)
    rows = rng.integers(-99, 99, (1_000_000 // 64, 64)).tolist()
    wide = {"operand": "A", "row": list(range(len(rows))), "values": rows}
    yield Ask("update, 1 M numbers in rows of 64", "POST", "/v1/sketches/m/updates", dumped(wide))
    narrow = {"operand": "A", "row": list(range(1_000_000)), "values": [[1]] * 1_000_000}
    yield Ask("update, 1 M rows of 1", "POST", "/v1/sketches/m1/updates", dumped(narrow))
    unknown = {f"a{at}": 1 for at in range(1_000_000)}
    yield Ask("update, 1 M unknown fields", "POST", path, dumped(unknown), statuses=(422,))


def batches() -> Iterator[Ask]:
    """Thousands of parts."""
    one = {"index": [1, 2], "delta": [1, 2]}
    few = [{"sketch": f"s{at % 1000}", **one} for at in range(4096)]
    yield Ask("4,096 updates of 2", "POST", "/v1/updates", dumped({"updates": few}))
    same = [{"sketch": "v", **one} for _ in range(4096)]
    yield Ask("4,096 updates of 2, one sketch", "POST", "/v1/updates", dumped({"updates": same}))
    large = {"index": list(range(240)), "delta": [1] * 240}
    many = [{"sketch": f"s{at % 1000}", **large} for at in range(4096)]
    yield Ask("4,096 updates of 240", "POST", "/v1/updates", dumped({"updates": many}))
    gone = [{"sketch": f"gone{at}", **one} for at in range(4096)]
    yield Ask("4,096 updates, no such sketch", "POST", "/v1/updates", dumped({"updates": gone}))
    bad = [{"sketch": "v", "index": [1], "delta": [None]} for at in range(4096)]
    yield Ask("4,096 updates, all invalid", "POST", "/v1/updates", dumped({"updates": bad}))
    asks = [{"sketch": f"s{at % 1000}", "count": 16} for at in range(4096)]
    yield Ask("4,096 samples of 16", "POST", "/v1/samples", dumped({"requests": asks}))
    odd = [{"sketch": "v", "count": None, "colour": 1} for at in range(4096)]
    yield Ask("4,096 samples, all invalid", "POST", "/v1/samples", dumped({"requests": odd}))


def questions() -> Iterator[Ask]:
    """Answers as long as they may be."""
    yield Ask("sample of 10,000", "POST", "/v1/sketches/e/samples", dumped({"count": 10_000}))
    drawn = dumped({"count": 10_000})
    yield Ask(
        "sample of 10,000, safetensors", "POST", "/v1/sketches/e/samples", drawn, JSON, TENSORS
    )
    queries = np.random.default_rng(SEED).integers(-9, 9, (256, 64)).tolist()
    path = "/v1/sketches/m/samples"
    yield Ask("sample, 256 queries of 39", "POST", path, dumped({"count": 39, "queries": queries}))
    yield Ask("norm, 256 queries", "POST", "/v1/sketches/m/norm", dumped({"queries": queries}))
    at = {"index": list(range(100_000))}
    yield Ask("estimates of 100,000", "POST", "/v1/sketches/v/estimates", dumped(at))
    yield Ask("snapshot out, 64 MB", "GET", "/v1/sketches/e/snapshot")


def sketches(snapshot: bytes) -> Iterator[Ask]:
    """Long specs, long lists, large states."""
    x = [float(at % 7) for at in range(LONG_D)]
    spec = {"kind": "matrix", "shape": {"n": 1000, "d": LONG_D}, "x": x, "seed": 7}
    made = dumped(spec)
    over = dumped({**spec, "x": [1.0] * 1_000_000})
    yield Ask("create, x of 1 M, refused", "PUT", "/v1/sketches/long", over, statuses=(422,))
    yield Ask("create, x of 65,536", "PUT", "/v1/sketches/long", made, statuses=(200, 201))
    yield Ask("plan, x of 65,536", "POST", "/v1/plan", made)
    yield Ask("info, x of 65,536", "GET", "/v1/sketches/long")
    yield Ask("list of one, x of 65,536", "GET", "/v1/sketches?prefix=long")
    yield Ask("list of 1,000", "GET", "/v1/sketches?limit=1000")
    large = {"kind": "vector", "shape": {"n": 1 << 62}, "seed": 7, "samples": 200}
    yield Ask("create, n = 2^62", "PUT", "/v1/sketches/huge", dumped(large), statuses=(200, 201))
    yield Ask("plan, n = 2^62", "POST", "/v1/plan", dumped(large))
    odd = {f"a{at}": 1 for at in range(1_000_000)}
    yield Ask("plan, 1 M unknown fields", "POST", "/v1/plan", dumped(odd), statuses=(422,))
    path = "/v1/sketches/e2/snapshot"
    yield Ask("snapshot in, 64 MB", "POST", path, snapshot, OCTETS)
    yield Ask("merge, 64 MB", "POST", "/v1/sketches/e2/merge", dumped({"source": "e"}))
    yield Ask("metrics", "GET", "/metrics")
    yield Ask("the OpenAPI document", "GET", "/openapi.json")


def prepare(client: httpx.Client) -> bytes:
    """The sketches asked for; returns a snapshot of the large one."""

    def make(name: str, spec: Mapping[str, object]) -> None:
        client.put(f"/v1/sketches/{name}", json={"seed": 7, **spec}).raise_for_status()

    vector = {"kind": "vector", "shape": {"n": 1_000_000}}
    make("v", {**vector, "method": "sketch"})
    make("m", {"kind": "matrix", "shape": {"n": 100_000, "d": 64}, "method": "sketch"})
    make("m1", {"kind": "matrix", "shape": {"n": 1_000_000, "d": 1}, "method": "sketch"})
    dense = {"kind": "vector", "shape": {"n": 8_000_000}, "method": "exact"}
    for name in ("e", "e2"):
        make(name, dense)
    for at in range(1000):
        make(f"s{at}", {**vector, "method": "exact", "shape": {"n": 1000}})
    index = np.arange(20_000)
    body = save({"index": index, "delta": np.ones(20_000, np.float32)})
    client.post("/v1/sketches/e/updates", content=body, headers={"content-type": TENSORS})
    return client.get("/v1/sketches/e/snapshot").raise_for_status().content


def send(client: httpx.Client, ask: Ask) -> str:
    """Send one request; what is odd about its answer."""
    headers = {"content-type": ask.kind, "accept": ask.accept}
    answer = client.request(ask.method, ask.path, content=ask.body or None, headers=headers)
    return (
        "" if answer.status_code in ask.statuses else f"  {answer.status_code}: {answer.text[:150]}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.loop_stalls`."""
    parser = argparse.ArgumentParser(prog="loop_stalls", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="requests whose name contains this")
    options = parser.parse_args(arguments)
    spawn = multiprocessing.get_context("spawn")
    told, tells = spawn.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        served = spawn.Process(target=serve, args=(folder, tells), daemon=True)
        served.start()
        port = told.recv()

        def read() -> tuple[float, float]:
            told.send(None)
            found: tuple[float, float] = told.recv()
            return found

        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
                snapshot = prepare(client)
                print(
                    f"loop_stalls   seed {SEED}, Python {platform.python_version()}, "
                    f"numpy {np.__version__}, {options.rounds} rounds; milliseconds"
                )
                print(f"{'request':42} {'stall':>8} {'work':>8} {'answered in':>12}")
                for ask in (*updates(), *batches(), *questions(), *sketches(snapshot)):
                    if options.only not in ask.label:
                        continue
                    stalls, works, times, remark = [], [], [], ""
                    for _ in range(options.rounds):
                        time.sleep(0.05)
                        read()
                        started = time.perf_counter()
                        remark = send(client, ask)
                        times.append(time.perf_counter() - started)
                        time.sleep(0.01)
                        stall, work = read()
                        stalls.append(stall)
                        works.append(work)
                    stall, work, took = (
                        1000 * statistics.median(many) for many in (stalls, works, times)
                    )
                    print(f"{ask.label:42} {stall:8.1f} {work:8.1f} {took:12.0f}{remark}")
                    sys.stdout.flush()
        finally:
            served.terminate()
            served.join()


if __name__ == "__main__":
    main()
