"""The real service as a process: started, killed, started again on the same file."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_READY = re.compile(rb"http (http://\S+)")


class ServedProcess:
    """`python -m service serve`, on a SQLite file and without gRPC unless told otherwise.

    url: where it listens, while it does. log: what it writes to standard error.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        store: str | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        settings = {"grpc_port": 0, **settings}
        store = store if store is not None else f"sqlite:///{folder / 'store.db'}"
        self.log = folder / "service.log"
        self._arguments = [
            sys.executable, "-m", "service", "serve",
            "--host", "127.0.0.1", "--port", "0", "--store", store,
        ]  # fmt: skip
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
        } | {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._known = asyncio.Event()
        self.url: str | None = None

    async def spawn(self) -> None:
        """Start it; it may not be ready yet."""
        self._known.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        self._reading = asyncio.create_task(self._read(self._process.stderr))

    async def _read(self, lines: asyncio.StreamReader) -> None:
        with self.log.open("ab") as log:
            async for line in lines:
                log.write(line)
                log.flush()
                found = _READY.search(line)
                if b"ready" in line and found is not None:
                    self.url = found.group(1).decode()
                    self._known.set()
        self._known.set()

    async def ready(self) -> None:
        """Wait until it says where it listens."""
        await self._known.wait()
        if self.url is None:
            raise AssertionError(f"the service ended: {self.log.read_text()[-2000:]}")

    async def kill(self) -> None:
        """Kill -9, at once."""
        self.url = None
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None and self._reading is not None:
            await self._process.wait()
            await self._reading
            self.url = None
