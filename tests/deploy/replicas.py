"""Replicas of the service over one Redis, with keys, tenants and quotas, as processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.end_to_end.workers import ROOT, until
from tests.programs import ENDS_WITH_PARENT
from tests.redis_process import HOST, free_port
from tests.redis_servers import closing, standalone

ADMIN_KEY: Final = "an-admin-key-of-the-tests-only-0123456789"
_READY: Final = re.compile(r"^sketchd ready: http (https?://\S+) ", flags=re.MULTILINE)
#: Small logs, so that seconds of traffic compact them; looks at the store twice a second.
SETTINGS: Final[dict[str, object]] = {
    "compact_min_bytes": 8192,
    "usage_interval_seconds": 0.5,
    "access_refresh_seconds": 0.2,
    "metrics_largest_sketches": 12,
}


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that serves. rpc: host:port of its gRPC."""

    url: str
    rpc: str

    @property
    def target(self) -> str:
        """What Prometheus scrapes."""
        return self.url.partition("//")[2]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the tests. key: of role write. quota: as the admin interface takes it."""

    name: str
    key: str
    quota: dict[str, Any]


@contextmanager
def replica(folder: Path, store: str, **settings: object) -> Iterator[Replica]:
    """One replica until the block ends."""
    folder.mkdir(parents=True)
    log, port = folder / "service.log", free_port()
    settings = {**SETTINGS, "bootstrap_admin_key": ADMIN_KEY, "grpc_port": port, **settings}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
    } | {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
    arguments = [
        *ENDS_WITH_PARENT, sys.executable, "-m", "service", "serve",
        "--host", HOST, "--port", "0", "--store", store,
    ]  # fmt: skip
    with log.open("wb") as errors:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        until(
            lambda: process.poll() is not None or bool(_READY.search(log.read_text("utf-8"))),
            "the line that says it is ready",
        )
        found = _READY.search(log.read_text("utf-8"))
        assert found is not None, log.read_text("utf-8")
        yield Replica(found[1], f"{HOST}:{port}")
    finally:
        process.kill()
        process.wait()


@contextmanager
def replicas(folder: Path, count: int = 2, **settings: object) -> Iterator[list[Replica]]:
    """Several over a Redis of their own."""
    with ExitStack() as stack:
        store = stack.enter_context(closing(standalone()))
        yield [
            stack.enter_context(replica(folder / f"replica-{number}", store.url, **settings))
            for number in range(count)
        ]


def admit(to: Replica, quotas: dict[str, dict[str, Any]]) -> list[Tenant]:
    """Make tenants, each with a key of its own. quotas: by the tenant's name."""
    found = []
    with httpx.Client(
        base_url=to.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30
    ) as client:
        for name, quota in quotas.items():
            client.put(f"/v1/admin/tenants/{name}", json=quota).raise_for_status()
            made = client.post("/v1/admin/keys", json={"tenant": name, "role": "write"})
            made.raise_for_status()
            found.append(Tenant(name, made.json()["key"], quota))
    return found
