"""The handlers that do nothing, each in a process of its own: the floors of any service here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from service.bench.processes import Server


def serve_nothing(folder: Path) -> Server:
    """Over HTTP, under the server that the service runs under."""
    return Server([sys.executable, "-m", "benchmarks.measuring.floor"], os.environ,
                  folder / "floor.log")  # fmt: skip
