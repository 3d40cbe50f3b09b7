"""`python -m service serve` on a SQLite file of its own, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_READY = re.compile(r"ready: http (http://\S+)")


@contextmanager
def served(folder: Path, **settings: object) -> Iterator[str]:
    """Where it listens. Its log must hold no traceback in the end, and it must stop when told."""
    log = folder / "service.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
    } | {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
    arguments = [
        sys.executable, "-m", "service", "serve",
        "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0",
        "--store", f"sqlite:///{folder / 'store.db'}",
    ]  # fmt: skip
    with log.open("wb") as errors:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        yield _address(process, log)
        assert process.poll() is None, f"the service died: {_end(log)}"
        process.terminate()
        assert process.wait(30) == 0, _end(log)
        assert "Traceback" not in log.read_text("utf-8", "replace"), _end(log)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = _READY.search(log.read_text("utf-8", "replace"))
        if found is not None:
            return found[1]
        assert process.poll() is None, f"the service ended: {_end(log)}"
        time.sleep(0.02)
    raise AssertionError(f"the service did not start: {_end(log)}")


def _end(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-4000:]
