"""The wall clock of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """ports.Clock over the operating system's time."""

    def now(self) -> float:
        return time.time()
