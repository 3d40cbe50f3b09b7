"""What this process takes of its machine, under the names that Prometheus' clients agree on.

Read when it is scraped, from the process itself and nobody else. What a system does not tell
(resident memory outside Linux) leaves a metric without a series.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.metrics_catalogue import METRICS

_STATM: Final = Path("/proc/self/statm")
#: Of this process on every Unix; on Linux a link to the former.
_DESCRIPTORS: Final = tuple(map(Path, ("/proc/self/fd", "/dev/fd")))


class ProcessCollector(Collector):
    """For a registry. started_at: seconds since the epoch, of this process."""

    def __init__(self) -> None:
        self._started_at = _started_at()

    def collect(self) -> Iterator[Metric]:
        """The families, each with its one series where the system tells."""
        read: dict[str, Callable[[], float]] = {
            "process_cpu_seconds_total": time.process_time,
            "process_resident_memory_bytes": _resident_bytes,
            "process_open_fds": _open_descriptors,
            "process_max_fds": lambda: float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            "process_start_time_seconds": lambda: self._started_at,
        }
        for name, value in read.items():
            one = METRICS[name]
            metric = Metric(name.removesuffix("_total"), one.meaning, one.kind)
            with contextlib.suppress(OSError):
                metric.add_sample(name, {}, value())
            yield metric


def _started_at() -> float:
    """By the system's own account where it has one: this is asked some time after the start."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
    return time.time()


def _resident_bytes() -> float:
    return float(int(_STATM.read_text().split()[1]) * resource.getpagesize())


def _open_descriptors() -> float:
    folder = next((one for one in _DESCRIPTORS if one.exists()), _DESCRIPTORS[0])
    return float(len(os.listdir(folder)))  # noqa: PTH208 - nobody wants paths of them
