"""The handlers that do nothing, each in a process of its own: the floors of any service here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from service.bench.processes import Server


def serve_nothing(folder: Path, *, grpc: bool = False) -> Server:
    """Over HTTP, under the server that the service runs under, or over gRPC."""
    module = f"benchmarks.measuring.floor{'_grpc' if grpc else ''}"
    return Server([sys.executable, "-m", module], os.environ, folder / f"{module}.log")
