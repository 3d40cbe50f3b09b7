"""HTTPS as people run it: a service in a process of its own, certificates of an authority."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from service.cli_tls import InvalidCertificate, server_context
from service.settings import InvalidSetting, Settings
from tests.service.test_cli import command, environment, refused

READY = re.compile(r"sketchd ready: http https://127\.0\.0\.1:(\d+) store memory://\n")


class Certificates:
    """An authority, and files that the service reads."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "service.pem", folder / "service.key"
        self.root = folder / "root.pem"
        self.authority.cert_pem.write_to_path(str(self.root))
        self.renew()

    def renew(self) -> None:
        """A new certificate and key, in place of the old files."""
        issued = self.authority.issue_cert("127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def trusting(self, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a client that trusts the authority uses. client: the certificate it shows."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if client is not None:
            client.configure_cert(context)
        return context

    def serial(self, port: int) -> int:
        """The number of the certificate that a new connection is shown."""
        pem = ssl.get_server_certificate(("127.0.0.1", port))
        return int(ssl_serial(pem))


def ssl_serial(pem: str) -> str:
    """A certificate's own number."""
    from cryptography import x509

    return str(x509.load_pem_x509_certificate(pem.encode()).serial_number)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """New ones for each test."""
    return Certificates(tmp_path)


@contextmanager
def serving(certificates: Certificates, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """(process, port) of a service that is ready."""
    process = subprocess.Popen(
        command(
            "serve", "--port", "0", "--store", "memory://",
            "--tls-certificate", str(certificates.certificate),
            "--tls-key", str(certificates.key), *more,
        ),
        stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = READY.fullmatch(line)
        assert found, line
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_https_is_served_and_http_is_not(certificates: Certificates) -> None:
    with serving(certificates) as (process, port):
        trusting = certificates.trusting()
        answer = httpx.get(f"https://127.0.0.1:{port}/readyz", verify=trusting)
        assert answer.json() == {"status": "ready"}
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/readyz")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://127.0.0.1:{port}/readyz", verify=ssl.create_default_context())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_versions_below_1_2_are_refused(certificates: Certificates) -> None:
    with serving(certificates) as (_, port):
        for version, fine in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)):
            context = certificates.trusting()
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client itself refuses
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of the old version's name
                context.minimum_version = context.maximum_version = version
            if fine:
                assert httpx.get(f"https://127.0.0.1:{port}/healthz", verify=context).is_success
            else:
                with pytest.raises(httpx.ConnectError):
                    httpx.get(f"https://127.0.0.1:{port}/healthz", verify=context)


def test_clients_must_show_a_certificate_where_told_so(certificates: Certificates) -> None:
    known = certificates.authority.issue_cert("client@example.org")
    unknown = trustme.CA().issue_cert("client@example.org")
    with serving(certificates, "--tls-client-ca", str(certificates.root)) as (_, port):
        url = f"https://127.0.0.1:{port}/healthz"
        assert httpx.get(url, verify=certificates.trusting(known)).is_success
        for shown in (None, unknown):
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=certificates.trusting(shown))


def test_a_new_certificate_needs_no_restart(certificates: Certificates) -> None:
    with serving(certificates) as (process, port):
        assert process.stderr is not None
        url = f"https://127.0.0.1:{port}/healthz"
        with httpx.Client(verify=certificates.trusting()) as client:
            assert client.get(url).is_success
            first = certificates.serial(port)
            certificates.renew()
            assert certificates.serial(port) == first
            process.send_signal(signal.SIGHUP)
            assert "certificate was read again" in process.stderr.readline()
            second = certificates.serial(port)
            assert second != first
            assert client.get(url).is_success  # a connection from before lives on
        # A new certificate with half a key: neither may get into what is served.
        certificates.renew()
        certificates.key.write_bytes(certificates.key.read_bytes()[:100])
        process.send_signal(signal.SIGHUP)
        assert "old certificate stays" in process.stderr.readline()
        assert certificates.serial(port) == second
        assert httpx.get(url, verify=certificates.trusting()).is_success


def test_what_cannot_be_used_is_one_clear_line(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = str(certificates.certificate), str(certificates.key)
    start = ("serve", "--port", "0", "--store", "memory://")
    assert "go together" in refused(*start, "--tls-certificate", certificate)
    wrong = refused(*start, "--tls-certificate", certificate, "--tls-key", certificate)
    assert "SKETCHD_TLS_KEY" in wrong
    for files in ({"tls_key": key}, {"tls_client_ca": certificate}):
        with pytest.raises(InvalidSetting, match="SKETCHD_TLS_CERTIFICATE"):
            Settings(**files)  # type: ignore[arg-type]

    def said(**files: str) -> str:
        with pytest.raises(InvalidCertificate) as refusal:
            server_context(Settings(**{"tls_certificate": certificate, **files}))  # type: ignore[arg-type]
        return str(refusal.value)

    gone = str(tmp_path / "gone")
    assert f"SKETCHD_TLS_KEY {gone} cannot be read: No such file" in said(tls_key=gone)
    assert "cannot be read: Is a directory" in said(tls_key=str(tmp_path))
    other = tmp_path / "other.key"
    other.write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())
    assert "mismatch" in said(tls_key=str(other))
    empty = tmp_path / "empty"
    empty.touch()
    assert f"SKETCHD_TLS_CLIENT_CA {empty} holds no" in said(tls_key=key, tls_client_ca=str(empty))
    locked = tmp_path / "locked.key"
    locked.write_bytes(_encrypted(certificates.key.read_bytes()))
    assert "cannot be used" in said(tls_key=str(locked))  # and nobody is asked for a password


def _encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
