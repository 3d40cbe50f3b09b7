"""Ways in: host names as the document sets them, and what HAProxy is told, told to a real one."""

from __future__ import annotations

import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.deploy import manifest_links as links
from tests.deploy.kustomize import ROOT, Manifests, Variant, built
from tests.programs import ENDS_WITH_PARENT, needed
from tests.redis_process import HOST, free_port, wait_for
from tests.tidy.documents import blocks

_PODS: Final = 4
_SKETCHES: Final = [f"layer-{number}.head:{number % 7}" for number in range(200)]


class Pod(BaseHTTPRequestHandler):
    """Answers with the port it listens on, whatever is asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet, or each request waits for an acknowledgement

    def do_GET(self) -> None:
        """Which pod this is."""
        body = str(self.connection.getsockname()[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def pods() -> Iterator[list[int]]:
    """The ports of some."""
    servers = [ThreadingHTTPServer((HOST, 0), Pod) for _ in range(_PODS)]
    for one in servers:
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield [one.server_address[1] for one in servers]
    for one in servers:
        one.shutdown()
        one.server_close()


def what_is_asked() -> dict[str, str]:
    """What the component says of requests that name a sketch."""
    found = Manifests(built(Variant("overlays/production", ("ingress-haproxy",))))
    notes = found.one("Ingress", "sketchd-sketches")["metadata"]["annotations"]
    return {str(name): str(value) for name, value in notes.items()}


@contextmanager
def balancer(folder: Path, notes: dict[str, str], pods: list[int]) -> Iterator[str]:
    """A backend as the controller writes it: the algorithm, the snippet, a server for each pod."""
    port = free_port()
    servers = "\n".join(f"  server pod{number} {HOST}:{one}" for number, one in enumerate(pods))
    snippet = notes["haproxy.org/backend-config-snippet"].strip()
    (folder / "haproxy.cfg").write_text(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n"
        f"  timeout server {notes['haproxy.org/timeout-server']}\n"
        f"frontend in\n  bind {HOST}:{port}\n  default_backend sketches\n"
        f"backend sketches\n  balance {notes['haproxy.org/load-balance']}\n  {snippet}\n"
        f"{servers}\n",
        "utf-8",
    )
    command = [needed("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
    process = subprocess.Popen([*ENDS_WITH_PARENT, *command], stderr=subprocess.DEVNULL)
    try:
        url = f"http://{HOST}:{port}"
        wait_for("it answers", lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, "haproxy refuses what the annotations say"
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def places(url: str) -> dict[str, set[str]]:
    """By sketch, the pods that its requests came to."""
    found: dict[str, set[str]] = defaultdict(set)
    with httpx.Client(base_url=url) as client:
        for name in _SKETCHES:
            for rest in ("", "/updates", "/samples", "/estimates?a=b"):
                found[name].add(client.get(f"/v1/sketches/{name}{rest}").text)
    return found


def test_a_sketch_stays_with_its_pod(tmp_path: Path, pods: list[int]) -> None:
    notes = what_is_asked()
    with balancer(tmp_path, notes, pods) as url:
        before = places(url)
    assert all(len(found) == 1 for found in before.values())
    of_pods = {
        str(port): [name for name, at in before.items() if at == {str(port)}] for port in pods
    }
    assert all(of_pods.values())
    # One pod goes: the others keep theirs.
    with balancer(tmp_path, notes, pods[:-1]) as url:
        after = places(url)
    moved = [name for name in _SKETCHES if before[name] != after[name]]
    assert sorted(moved) == sorted(of_pods[str(pods[-1])])


def test_another_algorithm_spreads_a_sketch(tmp_path: Path, pods: list[int]) -> None:
    notes = what_is_asked() | {"haproxy.org/load-balance": "roundrobin"}
    with balancer(tmp_path, notes, pods) as url:
        assert any(len(found) > 1 for found in places(url).values())


@pytest.mark.parametrize("component", ["ingress-haproxy", "ingress-nginx"])
def test_host_names_are_set_as_the_document_says(component: str) -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    (patches,) = (one.text for one in blocks(text) if one.text.startswith("patches:"))
    found = Manifests(built(Variant("overlays/production", (component,), patches)))
    assert links.ports(found) == []
    for one in found.kind("Ingress"):
        host = "sketchd-grpc" if one["metadata"]["name"] == "sketchd-grpc" else "sketchd"
        (rule,) = one["spec"]["rules"]
        assert rule["host"] == f"{host}.acme.example"
    assert "example.com" not in str(found.kind("Ingress"))
