"""Replicas behind a real HAProxy, as compose has them, on loopback addresses of this machine.

Each replica has an address of its own, 127.0.0.2 and on, and all have the same ports, as
containers do; a name server of the test's own tells the balancer of them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.deploy.compose import FOLDER, SECRETS, filled
from tests.deploy.resolver import Resolver
from tests.end_to_end.workers import Scraped, parsed, until
from tests.programs import ENDS_WITH_PARENT, needed
from tests.redis_process import free_port

CONFIGURATION = FOLDER / "haproxy" / "haproxy.cfg"
ROOT = FOLDER.parent
KEY = SECRETS["SKETCHD_BOOTSTRAP_ADMIN_KEY"]
BEARER = {"Authorization": f"Bearer {KEY}"}
#: What compose gives a replica.
SETTINGS: dict[str, str] = filled(SECRETS)["services"]["sketchd"]["environment"]


class Replica:
    """One process of the service, at an address of its own."""

    def __init__(self, address: str, ports: tuple[int, int], store: str, log: Path) -> None:
        self.address = address
        self.url = f"http://{address}:{ports[0]}"
        self._log = log
        self._http = httpx.Client(base_url=self.url, timeout=10)
        self._environment = {
            **{name: one for name, one in os.environ.items() if not name.startswith("SKETCHD_")},
            **SETTINGS,
            "SKETCHD_HOST": address,
            "SKETCHD_PORT": str(ports[0]),
            "SKETCHD_GRPC_PORT": str(ports[1]),
            "SKETCHD_STORE": store,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it; it may not be ready yet."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*ENDS_WITH_PARENT, sys.executable, "-m", "service", "serve"],
                cwd=ROOT, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.spawn()
        self.wait()

    def wait(self) -> None:
        """Until it is ready."""
        until(self._ready, f"{self.address} is ready")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """SIGTERM, as an engine does, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill -9, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._http.close()

    def scrape(self) -> Scraped:
        """Its metrics."""
        return parsed(self._http.get("/metrics").text)

    def said(self) -> str:
        """What it has logged."""
        return self._log.read_text()


class Balanced:
    """The balancer, and what is behind it. url, rpc_port: the balancer's."""

    def __init__(self, folder: Path, store: str, count: int) -> None:
        if sys.platform != "linux":
            pytest.skip("only Linux has all of 127.0.0.0/8 on its loopback")
        self.ports = (free_port(), free_port())
        self.replicas = [
            Replica(f"127.0.0.{2 + at}", self.ports, store, folder / f"replica-{at}.log")
            for at in range(count)
        ]
        self.resolver = Resolver([])
        self._log = folder / "balancer.log"
        self._at = {name: free_port() for name in ("HTTP", "GRPC", "STATUS")}
        self.url = f"http://127.0.0.1:{self._at['HTTP']}"
        self.status_url = f"http://127.0.0.1:{self._at['STATUS']}/healthz"
        self.rpc_port = self._at["GRPC"]
        self._process: subprocess.Popen[bytes] | None = None

    def balance(self) -> None:
        """Start the balancer, and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            **{f"BALANCER_{name}": f"127.0.0.1:{port}" for name, port in self._at.items()},
            "RESOLVER": self.resolver.at,
            "REPLICAS_HTTP_PORT": str(self.ports[0]),
            "REPLICAS_GRPC_PORT": str(self.ports[1]),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*ENDS_WITH_PARENT, needed("haproxy"), "-db", "-f", str(CONFIGURATION)],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        until(self._answers, "the balancer answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._at["HTTP"])) == 0

    def know(self, *replicas: Replica) -> None:
        """What the name leads to from now on."""
        self.resolver.addresses = [one.address for one in replicas]

    def until_all_serve(self) -> None:
        """Until the balancer sends requests of each kind to every replica that the name has."""
        known = [one for one in self.replicas if one.address in self.resolver.addresses]
        until(lambda: self._shares(known), "every replica gets requests")

    def _shares(self, known: list[Replica]) -> bool:
        before = [requests(one) for one in known]
        with httpx.Client(base_url=self.url, headers=BEARER, timeout=10) as http:
            for number in range(8 * len(known)):
                http.get(f"/v1/sketches/no-{number}")
                http.get("/v1/sketches")
        after = [requests(one) for one in known]
        return all(
            now[path] > then[path] for then, now in zip(before, after, strict=True) for path in then
        )

    def said(self) -> str:
        """What the balancer has logged."""
        return self._log.read_text()

    def close(self) -> None:
        """End everything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for one in self.replicas:
            one.close()
        self.resolver.close()


def requests(replica: Replica) -> dict[str, float]:
    """How many for one sketch and how many for lists a replica has had."""
    found = replica.scrape()
    return {
        path: found("sketchd_http_requests_total", route=path, method="GET")
        for path in ("/v1/sketches/{name}", "/v1/sketches")
    }


def batches(replica: Replica) -> float:
    """Update batches that a replica has taken."""
    return replica.scrape()("sketchd_update_batches_total")


@contextmanager
def balanced(folder: Path, store: str, count: int) -> Iterator[Balanced]:
    """So many replicas, ready and known to the balancer."""
    made = Balanced(folder, store, count)
    try:
        for one in made.replicas:
            one.spawn()
        for one in made.replicas:
            one.wait()
        made.know(*made.replicas)
        made.balance()
        if count:
            made.until_all_serve()
        yield made
    finally:
        made.close()
