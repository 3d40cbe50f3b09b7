"""How many connections the process may have at once."""

from __future__ import annotations

import resource
from pathlib import Path

import httpx

from tests.end_to_end.workers import parsed
from tests.service.test_cli import serving


def test_it_raises_the_limit_that_it_was_started_with(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serving(tmp_path, "--port", "0", "--store", "memory://") as (_, url, _):
            found = parsed(httpx.get(f"{url}/metrics").text)("process_max_fds")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = hard if hard != resource.RLIM_INFINITY else 65_536
    assert found == min(most, 65_536)
