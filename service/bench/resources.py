"""What a load used: the service's processor time and memory, and how busy the machine was."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.bench.control import Control
from service.bench.processes import Usage, family_of, usage_of


@dataclass(frozen=True, slots=True)
class Used:
    """During `seconds` of the load.

    cpu: seconds of the service's processes. memory: bytes at their peak since they started
    (`peak`), or now. busy: the share of all processors of this machine that was not idle, with
    whatever else ran there. source: "processes", "metrics" or "" where nothing is known.
    """

    seconds: float
    cpu: float | None
    memory: int | None
    peak: bool
    written: int | None
    busy: float | None
    source: str


class Watch:
    """Looks at the service when the load begins and when it ends."""

    def __init__(self, pids: Sequence[int], control: Control) -> None:
        self._pids = pids
        self._control = control
        self._begun: float | None = None
        self._usage: Usage | None = None
        self._metrics: tuple[float, int] | None = None
        self._machine: tuple[float, float] | None = None

    def begin(self) -> None:
        """The first time: look. Later nothing happens."""
        if self._begun is not None:
            return
        self._begun = time.perf_counter()
        self._usage = self._processes()
        self._machine = _machine()
        if self._usage is None:
            self._metrics = self._control.process_metrics()

    def used(self) -> Used:
        """What was used since."""
        self.begin()
        assert self._begun is not None
        seconds = max(1e-9, time.perf_counter() - self._begun)
        busy = None
        machine = _machine()
        if machine is not None and self._machine is not None:
            idle, whole = (now - then for now, then in zip(machine, self._machine, strict=True))
            busy = 1 - idle / whole if whole else None
        now = self._processes()
        if now is not None and self._usage is not None:
            used = now - self._usage
            return Used(seconds, used.cpu, used.peak, True, used.written, busy, "processes")
        metrics = self._control.process_metrics() if self._metrics is not None else None
        if metrics is not None and self._metrics is not None:
            cpu = metrics[0] - self._metrics[0]
            return Used(seconds, cpu, metrics[1], False, None, busy, "metrics")
        return Used(seconds, None, None, False, None, busy, "")

    def _processes(self) -> Usage | None:
        """Of the service and its workers together; None where there is no telling."""
        if not self._pids:
            return None
        with contextlib.suppress(OSError):
            everyone = {pid for one in self._pids for pid in family_of(one)}
            return sum(map(usage_of, everyone), Usage(0.0, 0))
        return None


def _machine() -> tuple[float, float] | None:
    """Idle time, and all time, of all processors; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        times = [int(one) / os.sysconf("SC_CLK_TCK") for one in fields]
        return times[3] + times[4], sum(times)
    return None
