"""Servers in processes of their own, and what Linux says they used: processor time, bytes written.

A server listens on loopback, on a port the kernel gave, and is ended by its process id.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
_READY: Final = re.compile(r"http://([0-9.]+):(\d+)")
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far. written: bytes it caused to be sent to a disk.

    cpu: seconds of user and system time, of all its threads.
    """

    cpu: float
    written: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.written + other.written)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu - other.cpu, self.written - other.written)


def usage_of(pid: int) -> Usage:
    """What /proc says of a process; nothing written where it does not tell (no Linux: OSError)."""
    # The name, in parentheses, may hold anything: what follows the last one is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    written = 0
    try:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            name, _, value = line.partition(": ")
            if name == "write_bytes":
                written = int(value)
    except PermissionError:
        pass
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), written)


class Server:
    """A process that prints one line with http://HOST:PORT on standard error when it is ready."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as written:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdout=written, stderr=subprocess.PIPE
            )
        try:
            self.host, self.port = self._address()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _address(self) -> tuple[str, int]:
        """Wait for the line. What follows it goes on to be read by nobody: keep logs short."""
        assert self._process.stderr is not None
        deadline = time.monotonic() + _READY_SECONDS
        seen = b""
        while True:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._process.stderr], [], [], max(0.0, left))
            part = os.read(self._process.stderr.fileno(), 1 << 16) if ready else b""
            seen += part
            found = _READY.search(seen.decode(errors="replace"))
            if found is not None:
                return found.group(1), int(found.group(2))
            if not part:
                raise RuntimeError(f"the server is not ready: {seen[-2000:].decode()}")

    def close(self) -> None:
        """End it, with patience, and wait."""
        self._process.terminate()
        try:
            _, rest = self._process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, rest = self._process.communicate()
        with self._log.open("ab") as written:
            written.write(rest or b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(folder: Path, store: str, **settings: object) -> Server:
    """`python -m service serve` over a store; settings as in the environment, in lower case."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SKETCHD_")}
    environment |= {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
    environment.setdefault("SKETCHD_LOG_LEVEL", "error")
    command = [sys.executable, "-m", "service", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--grpc-port", "0"]
    return Server([*command, "--store", store], environment, folder / "service.log")


def serve_nothing(folder: Path) -> Server:
    """The handler that does nothing, under the same server: the floor of any HTTP service here."""
    return Server([sys.executable, "-m", "benchmarks.measuring.floor"], os.environ,
                  folder / "floor.log")  # fmt: skip
