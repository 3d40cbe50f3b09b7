"""TLS for HTTP and gRPC from the same files, and new certificates without a restart."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final

import grpc

from service.settings import Settings, variable

_LOG: Final = logging.getLogger("sketchd.tls")


class InvalidCertificate(Exception):
    """The files cannot be used; the message is one line for a person."""


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The context the settings ask for, None for plain HTTP. Raises InvalidCertificate."""
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, settings)
    if settings.tls_client_ca:
        where = f"{variable('tls_client_ca')} {settings.tls_client_ca}"
        _check_readable(settings.tls_client_ca, where)
        try:
            context.load_verify_locations(cafile=settings.tls_client_ca)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidCertificate(f"{where} holds no certificate: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Certificates:
    """The files of the settings as HTTPS and gRPC take them. Raises InvalidCertificate.

    context: for HTTPS. credentials: for gRPC. Both None for plain text.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renewed: grpc.ServerCertificateConfiguration | None = None
        self.context = server_context(settings)
        self.credentials: grpc.ServerCredentials | None = None
        if self.context is not None and settings.grpc_port:
            roots = settings.tls_client_ca
            self._roots = Path(roots).read_bytes() if roots else None
            self.credentials = grpc.dynamic_ssl_server_credentials(
                self._for_grpc(),
                self._take_renewed,  # type: ignore[arg-type] # None is what it means to be
                require_client_authentication=bool(roots),
            )

    def reload(self) -> None:
        """Take the files as they are now, for connections from now on; keep the old ones if bad.

        The roots of client certificates stay: a context can only be given more of them.
        """
        assert self.context is not None
        try:
            # Tried on another context first, for loading half of it would break this one.
            _load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._settings)
            if self.credentials is not None:
                self._renewed = self._for_grpc()
            _load_certificate(self.context, self._settings)
        except (InvalidCertificate, OSError) as error:
            _LOG.error("the old certificate stays: %s", error)
        else:
            _LOG.info("the certificate was read again")

    def _for_grpc(self) -> grpc.ServerCertificateConfiguration:
        pair = (
            Path(self._settings.tls_key).read_bytes(),
            Path(self._settings.tls_certificate).read_bytes(),
        )
        return grpc.ssl_server_certificate_configuration([pair], self._roots)

    def _take_renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks, in a thread of its own, at each handshake: None for nothing new."""
        renewed, self._renewed = self._renewed, None
        return renewed


def _load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    files = {name: getattr(settings, name) for name in ("tls_certificate", "tls_key")}
    for name, path in files.items():
        _check_readable(path, f"{variable(name)} {path}")
    try:
        # A password is never asked for: nobody sits there to type it.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidCertificate(
            f"{variable('tls_certificate')} {settings.tls_certificate} and "
            f"{variable('tls_key')} {settings.tls_key} cannot be used: {_reason(error)}"
        ) from error


def _check_readable(path: str, where: str) -> None:
    try:
        with Path(path).open("rb") as file:  # a directory opens nowhere
            file.read(1)
    except OSError as error:
        raise InvalidCertificate(f"{where} cannot be read: {os.strerror(error.errno or 0)}") from (
            error
        )


def _reason(error: Exception) -> str:
    """OpenSSL's words without its numbers and source lines."""
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else "it is not PEM"
