"""TLS for gRPC: the same files, checks and renewals as for HTTPS."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.redis_process import free_port
from tests.service.test_cli import command, environment
from tests.service.test_cli_tls import Certificates

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@contextmanager
def serving(
    certificates: Certificates, *more: str
) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """(process, port of HTTPS, port of gRPC) of a service with TLS."""
    port = free_port()
    process = subprocess.Popen(
        command(
            "serve", "--port", "0", "--grpc-port", str(port),
            "--tls-certificate", str(certificates.certificate),
            "--tls-key", str(certificates.key), *more,
        ),
        stderr=subprocess.PIPE, text=True, env=environment(), cwd=certificates.certificate.parent,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("sketchd ready: http https://127.0.0.1:"), line
        assert f" grpc 127.0.0.1:{port} store " in line
        yield process, int(line.split()[3].rpartition(":")[2]), port
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def trusting(
    certificates: Certificates, client: trustme.LeafCert | None = None
) -> grpc.ChannelCredentials:
    """What a client that trusts the authority uses. client: the certificate it shows."""
    root = certificates.authority.cert_pem.bytes()
    if client is None:
        return grpc.ssl_channel_credentials(root)
    chain = b"".join(pem.bytes() for pem in client.cert_chain_pems)
    return grpc.ssl_channel_credentials(root, client.private_key_pem.bytes(), chain)


def connected(port: int, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    at = f"127.0.0.1:{port}"
    if credentials is None:
        return grpc.insecure_channel(at, options)
    return grpc.secure_channel(at, credentials, options)


def asked(channel: Any) -> Any:
    """The health of the service, or the code with which asking fails."""
    try:
        found = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
    except grpc.RpcError as error:
        return error.code()
    return found.status


def answer(port: int, credentials: grpc.ChannelCredentials | None) -> Any:
    """The same over a connection of its own."""
    with connected(port, credentials) as channel:
        return asked(channel)


def test_only_tls_and_only_with_the_right_root(certificates: Certificates) -> None:
    with serving(certificates) as (process, _, port):
        assert answer(port, trusting(certificates)) == SERVING
        stranger = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        assert answer(port, stranger) is grpc.StatusCode.UNAVAILABLE
        assert answer(port, None) is grpc.StatusCode.UNAVAILABLE
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while raw.recv(4096):
                pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""  # who knocks cannot fill the log


def test_clients_must_show_a_certificate_where_told_so(certificates: Certificates) -> None:
    known = certificates.authority.issue_cert("client@example.org")
    unknown = trustme.CA().issue_cert("client@example.org")
    with serving(certificates, "--tls-client-ca", str(certificates.root)) as (_, _, port):
        assert answer(port, trusting(certificates, known)) == SERVING
        for shown in (None, unknown):
            credentials = trusting(certificates, shown)
            assert answer(port, credentials) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_certificate_needs_no_restart(certificates: Certificates, workers: int) -> None:
    with serving(certificates, "--workers", str(workers)) as (process, https, port):
        assert process.stderr is not None

        def hang_up(expected: str) -> None:
            process.send_signal(signal.SIGHUP)
            for _ in range(workers):
                assert process.stderr is not None
                assert expected in process.stderr.readline()

        with connected(port, trusting(certificates)) as before:
            assert asked(before) == SERVING
            first = certificates.serial(port)
            assert first == certificates.serial(https)
            certificates.renew()
            assert certificates.serial(port) == first
            hang_up("certificate was read again")
            renewed = certificates.serial(https)
            assert renewed != first
            for _ in range(5):
                assert certificates.serial(port) == renewed
            assert asked(before) == SERVING  # a connection from before lives on
        # A new certificate with half a key: neither may get into what is served.
        certificates.renew()
        certificates.key.write_bytes(certificates.key.read_bytes()[:100])
        hang_up("old certificate stays")
        for _ in range(5):
            assert certificates.serial(port) == renewed
        assert answer(port, trusting(certificates)) == SERVING
