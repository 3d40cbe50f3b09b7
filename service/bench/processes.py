"""Servers in processes of their own, and what Linux says a process used: time, memory, writing.

A server listens on loopback, on a port the kernel gave, and is ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

#: Where the packages are that a server runs.
ROOT: Final = Path(__file__).resolve().parents[2]
_READY: Final = re.compile(r"^.*?ready: .*\n", re.MULTILINE)
_MISSPELT: Final = re.compile(r"SKETCHD_\w+ is not a setting")
_HTTP: Final = re.compile(r"https?://([0-9.]+):(\d+)")
_GRPC: Final = re.compile(r"\bgrpc (?:grpcs?://)?([0-9.]+):(\d+)")
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0


class CannotStart(Exception):
    """A server ended before it was ready, or took too long; the message says what it printed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far. written: bytes it caused to be sent to a disk.

    cpu: seconds of user and system time, of all its threads. peak: most bytes of memory it
    ever had at a time (of several processes the sum).
    """

    cpu: float
    written: int
    peak: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.written + other.written, self.peak + other.peak)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu - other.cpu, self.written - other.written, self.peak)


def usage_of(pid: int) -> Usage:
    """What /proc says of a process; nothing written where it does not tell (no Linux: OSError)."""
    # The name, in parentheses, may hold anything: what follows the last one is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    written = 0
    with contextlib.suppress(PermissionError):
        written = _field(Path(f"/proc/{pid}/io"), "write_bytes")
    peak = _field(Path(f"/proc/{pid}/status"), "VmHWM") << 10
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), written, peak)


def _field(path: Path, name: str) -> int:
    """The number after a name in a file of /proc; 0 without one."""
    for line in path.read_text().splitlines():
        found, _, value = line.partition(":")
        if found == name:
            return int(value.split()[0])
    return 0


def family_of(pid: int) -> list[int]:
    """A process and all that descend from it: the workers of a service."""
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, tasks.read_text().split())
    return found


def listening_on(port: int) -> list[int]:
    """Processes of this machine, as far as this user may look, that listen on a TCP port."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    return [pid for pid in _processes() if sockets & _open_files(pid)] if sockets else []


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _open_files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # another user's, or gone
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(path.readlink()))
    return found


class Server:
    """A process that prints one line, `… ready: …` with its addresses, on standard error.

    host, port: of HTTP (of gRPC, where it serves nothing else). grpc_port: 0 for none. It is in
    a session of its own: Ctrl-C in the terminal reaches whoever started it, who ends it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as written:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdout=written, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        try:
            said = self._ready_line()
            grpc = _GRPC.search(said)
            self.grpc_port = int(grpc[2]) if grpc else 0
            address = _HTTP.search(said) or grpc
            if address is None:
                raise CannotStart(f"no address in {said!r}")
            self.host, self.port = address[1], int(address[2])
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def usage(self) -> Usage:
        """What it and the workers it has used so far."""
        return sum(map(usage_of, family_of(self.pid)), Usage(0.0, 0))

    def _ready_line(self) -> str:
        """Wait for the line. What follows it goes on to be read by nobody: keep logs short."""
        assert self._process.stderr is not None
        deadline = time.monotonic() + _READY_SECONDS
        seen = ""
        while True:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._process.stderr], [], [], max(0.0, left))
            part = os.read(self._process.stderr.fileno(), 1 << 16) if ready else b""
            seen += part.decode(errors="replace")
            found = _READY.search(seen)
            if found is not None:
                # Measured with the default instead, nobody would know.
                if (misspelt := _MISSPELT.search(seen)) is not None:
                    raise CannotStart(misspelt[0])
                return found[0]
            if not part:
                raise CannotStart(f"the server is not ready: {seen[-2000:].strip()}")

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


def serve(
    folder: Path, store: str, *options: str, module: str = "service", **settings: object
) -> Server:
    """`python -m service serve` over a store, with the log in a folder.

    options: more of the command line. module: another that takes the same command line.
    settings: as in the environment, in lower case; none of the surroundings reaches it. Raises
    CannotStart.
    """
    # -P and the path: this very package, not what lies in the working directory.
    command = [sys.executable, "-P", "-m", module, "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--grpc-port", "0", "--store", store, *options]
    return Server(command, environment_of(**settings), folder / "service.log")


def environment_of(**settings: object) -> dict[str, str]:
    """The surroundings of a server, without any setting or key but these."""
    found = {name: v for name, v in os.environ.items() if not name.startswith("SKETCHD_")}
    found |= {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
    found.setdefault("SKETCHD_LOG_LEVEL", "error")
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), found.get("PYTHONPATH")]))
    return found


def free_port() -> int:
    """A port that was free a moment ago, for servers that cannot take one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
