"""A pod without a cluster: the manifest's command and environment as a process of this machine.

Differences to a container are few and stand here: it listens on a loopback port that the kernel
gave, and the store's URL leads to a Redis of the test's own. What a read-only root file system
refuses is refused here too, by a limit: no file may grow by a single byte.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from tests.deploy.kustomize import ROOT, Document, Manifests, container_of
from tests.redis_process import HOST, ServerProcess, free_port

_READY: Final = re.compile(r"sketchd ready: http (http://\S+)")
#: Ends with its parent, and writes no files; stands before the command, see programs.py.
_CONFINED: Final = [
    sys.executable, "-ISc",
    "import ctypes, os, resource, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"  # PR_SET_PDEATHSIG, SIGKILL
    "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    "os.execv(sys.argv[1], sys.argv[1:])",
]  # fmt: skip


def redis_of(found: Manifests) -> ServerProcess:
    """A server with the redis.conf and the password of the manifests."""
    (text,) = (
        one["data"]["redis.conf"] for one in found.kind("ConfigMap") if "redis.conf" in one["data"]
    )
    pairs = (line.split(None, 1) for line in text.splitlines() if line and line[0] != "#")
    options = {name: value.strip('"') for name, value in pairs}
    for name in ("port", "bind", "dir"):  # the test's own
        del options[name]
    password = found.environment(found.service)["REDIS_PASSWORD"]
    return ServerProcess(options, password=password)


class PodProcess:
    """`sketchd serve` as a manifest has it. more: variables on top of those."""

    def __init__(self, found: Manifests, redis: ServerProcess, **more: str) -> None:
        self.container: Document = container_of(found.service)
        declared = found.environment(found.service)
        self.admin_key = declared["SKETCHD_BOOTSTRAP_ADMIN_KEY"]
        assert urlsplit(declared["SKETCHD_STORE"]).password == redis.password
        own = {
            "SKETCHD_STORE": redis.url,
            "SKETCHD_HOST": HOST,
            "SKETCHD_PORT": "0",
            "SKETCHD_GRPC_PORT": str(free_port()),
        }
        kept = {name: value for name, value in os.environ.items() if "SKETCHD" not in name}
        # As the image has it: bytecode is there already, and none is written.
        kept |= {"PYTHONDONTWRITEBYTECODE": "1"}
        self.environment = kept | declared | own | more
        self.log: list[str] = []
        self.url = ""
        self.grpc_port = int(self.environment["SKETCHD_GRPC_PORT"])
        self._process: subprocess.Popen[str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of a request that may do everything."""
        return {"Authorization": f"Bearer {self.admin_key}"}

    def __enter__(self) -> Self:
        command = self.container["command"]
        assert command[0] == "sketchd"
        self._process = subprocess.Popen(
            [*_CONFINED, sys.executable, "-m", "service", *command[1:]],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self.log.append(line)
                if found := _READY.search(line):
                    self.url = found[1]

    @property
    def ended(self) -> int | None:
        """The exit status, None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def probe(self, name: str) -> bool:
        """Whether one of the container's probes succeeds now, asked as the kubelet asks."""
        asked = self.container[f"{name}Probe"]
        assert asked["httpGet"]["port"] == "http"
        url = self.url + asked["httpGet"]["path"]
        try:
            return httpx.get(url, timeout=asked["timeoutSeconds"]).status_code == 200
        except httpx.TransportError:
            return False

    def started(self) -> PodProcess:
        """Itself, once the startup and readiness probes succeed, for which it has as long as the
        kubelet gives it. Raises AssertionError if it ends.
        """
        startup = self.container["startupProbe"]
        until = time.monotonic() + startup["periodSeconds"] * startup["failureThreshold"]
        while not (self.url and self.probe("startup") and self.probe("readiness")):
            assert self.ended is None, "".join(self.log)[-3000:]
            assert time.monotonic() < until, "the kubelet would have given it up"
            time.sleep(0.05)
        return self

    def terminate(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, seconds: float) -> int:
        """The exit status, within the time that the kubelet would give it."""
        assert self._process is not None
        return self._process.wait(seconds)

    def peak_bytes(self) -> int:
        """The most memory it has had at once."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10
