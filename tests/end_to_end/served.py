"""The real service as a process: started, killed, started again on the same file."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_READY = re.compile(rb"http (http://\S+)")


class ServedProcess:
    """`python -m service serve` on a SQLite file. url: where it listens, while it does."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._log = folder / "service.log"
        self._arguments = [
            sys.executable, "-m", "service", "serve",
            "--host", "127.0.0.1", "--port", "0", "--store", f"sqlite:///{folder / 'store.db'}",
        ]  # fmt: skip
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
        } | {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: asyncio.subprocess.Process | None = None
        self.url: str | None = None

    async def spawn(self) -> None:
        """Start it; it may not be ready yet."""
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ready(self) -> None:
        """Wait until it says where it listens."""
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            with self._log.open("ab") as log:
                log.write(line)
            found = _READY.search(line)
            if b"ready" in line and found is not None:
                self.url = found.group(1).decode()
                return
        raise AssertionError(f"the service ended: {self._log.read_text()[-2000:]}")

    async def kill(self) -> None:
        """Kill -9, at once."""
        self.url = None
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
