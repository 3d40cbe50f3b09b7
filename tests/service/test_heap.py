"""Working arrays are made of memory the process has already, where glibc can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, threading
import numpy as np
from service.cli_serve import keep_the_heap
{first}

def work():
    def faults():
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for many in (20, 500):
        before = faults()
        for _ in range(many):
            several = [np.ones(1 << 16) for _ in range(4)]
            del several
    print(faults() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(first: str) -> int:
    """Page faults of 2,000 arrays of 512 KB in a thread, after some that are not counted."""
    code = _FAULTS.format(first=first)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
def test_working_arrays_cost_no_page_faults() -> None:
    # Mapped anew each costs 128 pages; one fault each would be 2,000.
    assert faults("keep_the_heap()") < 2000 < faults("")
