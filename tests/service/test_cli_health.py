"""`sketchd health` against real services: alive, ready, gone, over TLS."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service import cli_health
from service.settings import Settings
from tests.redis_servers import closing, standalone
from tests.service.test_cli import run, serving
from tests.service.test_cli_tls import Certificates
from tests.service.test_cli_tls import serving as serving_tls


def port_of(url: str) -> str:
    """Of http://host:port."""
    return url.rpartition(":")[2]


def test_the_address_is_where_the_environment_says_that_it_listens() -> None:
    defaults = Settings()
    assert cli_health.address({}) == f"http://{defaults.host}:{defaults.port}"
    for host, called in {"0.0.0.0": "127.0.0.1", "::": "[::1]", "fe80::1": "[fe80::1]"}.items():
        environ = {"SKETCHD_HOST": host, "SKETCHD_PORT": "81"}
        assert cli_health.address(environ) == f"http://{called}:81"
    assert cli_health.address({"SKETCHD_TLS_CERTIFICATE": "x"}).startswith("https://")


def test_a_service_that_answers_is_alive_and_ready_until_it_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path, "--port", "0", "--store", "memory://") as (process, url, _):
        environ = {"SKETCHD_HOST": "0.0.0.0", "SKETCHD_PORT": port_of(url)}
        done = run("health", **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
        assert run("health", "--ready", "--url", url).stdout == "ready\n"
        process.kill()
        process.wait()
        done = run("health", **environ)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"sketchd: {url}/healthz: ")
        assert "refused" in done.stderr


def test_without_its_store_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    with (
        closing(standalone()) as redis,
        serving(tmp_path, "--port", "0", "--store", redis.url) as (_, url, _),
    ):
        assert run("health", "--ready", "--url", url).returncode == 0
        redis.kill()
        assert run("health", "--url", url).returncode == 0
        done = run("health", "--ready", "--url", url)
        assert done.returncode == 1
        assert "/readyz: 503 " in done.stderr
        assert done.stderr.count("\n") == 1


def test_one_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = run("health", "--url", url, "--timeout", "0.2")
    assert done.returncode == 1
    assert "timed out" in done.stderr


@pytest.mark.parametrize("url", ["ftp://a", "127.0.0.1:80", "http://", "http://a:x", "http://a:0"])
def test_what_is_no_url_is_said(url: str) -> None:
    done = run("health", "--url", url)
    assert done.returncode == 2
    assert "--url: " in done.stderr


@pytest.mark.parametrize("seconds", ["0", "nan", "inf", "1e30"])
def test_a_timeout_that_no_socket_takes_is_said(seconds: str) -> None:
    done = run("health", "--timeout", seconds)
    assert done.returncode == 2
    assert "--timeout: " in done.stderr


def test_an_environment_that_names_no_port_is_said_to_be_at_fault() -> None:
    # What Kubernetes sets for a Service called sketchd.
    done = run("health", SKETCHD_PORT="tcp://10.96.0.10:8080")
    assert done.returncode == 2
    assert "SKETCHD_PORT: " in done.stderr


def test_over_tls_its_own_certificate_opens_what_demands_one(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    files = {"CERTIFICATE": certificates.certificate, "KEY": certificates.key}
    tls = {f"SKETCHD_TLS_{name}": str(path) for name, path in files.items()}
    demanding = {**tls, "SKETCHD_TLS_CLIENT_CA": str(certificates.root)}
    with serving_tls(certificates, "--tls-client-ca", str(certificates.root)) as (_, port):
        assert run("health", "--ready", SKETCHD_PORT=str(port), **demanding).returncode == 0
        done = run("health", SKETCHD_PORT=str(port), **tls)
        assert done.returncode == 1
        assert done.stderr.startswith(f"sketchd: https://127.0.0.1:{port}/healthz: ")


def test_it_imports_no_framework() -> None:
    # It is started every few seconds; with the service's libraries it would take a second each.
    code = (
        "import sys; from service.cli import main; main(['health', '--url', 'http://127.0.0.1:1']);"
        "print({n.partition('.')[0] for n in sys.modules} & set(sys.argv[1:]))"
    )
    heavy = ["numpy", "fastapi", "grpc", "pydantic", "redis", "uvicorn", "asyncio"]
    command = [sys.executable, "-c", code, *heavy]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "set()\n"
