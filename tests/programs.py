"""Programs of the system that tests start: where they are, and how they end with the tests.

`make test` installs them where it may (system_packages.sh). Elsewhere the tests that need a
missing one are skipped, but where CI is set, and nobody looks, they fail.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

import pytest

#: Asks Linux to end the program that follows with its parent's thread: start servers from one
#: that stays. Asked in a process of its own and not by preexec_fn, which forks: where gRPC has run,
#: its handlers of forks then end the child before the server begins.
ENDS_WITH_PARENT: Final = (
    [
        sys.executable, "-ISc",
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).prctl(1, 9)\n"  # PR_SET_PDEATHSIG, SIGKILL
        "os.execv(sys.argv[1], sys.argv[1:])",
    ]
    if sys.platform == "linux"
    else []
)  # fmt: skip


def needed(name: str) -> str:
    """The path of a program. Without it the test that asks is skipped, or fails where CI is set."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is not None:
        return found
    reason = f"{name} is not installed; tests/system_packages.sh does where it may"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
