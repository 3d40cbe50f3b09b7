"""How long `sketchd serve` takes from its start to its first answer.

    python -m benchmarks.start [--rounds N]

Each round starts the service in a process of its own on free loopback ports, gRPC's
included, and an empty SQLite file, and asks /readyz until it answers. Beside it, in turn, a
process that imports nothing but numpy and FastAPI: the part of the start that is
not ours.
"""

from __future__ import annotations

import argparse
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence


def seconds_to_ready() -> float:
    """Start the service, wait for /readyz, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        ports = ["--port", "0", "--grpc-port", str(_free_port())]
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", *ports, "--store", "sqlite:///s.db"],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            if not line.startswith("sketchd ready:"):
                raise RuntimeError(f"not ready: {line}{process.stderr.read()}")
            url = line.split()[3]
            with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
                answer.read()
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def seconds_to_import() -> float:
    """A process that imports numpy and FastAPI and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import fastapi, numpy"], check=True)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.start`."""
    parser = argparse.ArgumentParser(prog="start", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    ready, imported = [], []
    for _ in range(rounds):
        ready.append(seconds_to_ready())
        imported.append(seconds_to_import())
    ours, least = statistics.median(ready), statistics.median(imported)
    print(
        f"start   Python {platform.python_version()}, {rounds} rounds: ready in {ours:.2f} s "
        f"(worst {max(ready):.2f} s); importing numpy and FastAPI alone {least:.2f} s; "
        f"ratio {ours / least:.1f}"
    )


if __name__ == "__main__":
    main()
