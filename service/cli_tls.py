"""TLS for HTTP: a context from the settings' files, and new certificates without a restart."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final

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


def reload_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Take the files as they are now, for connections from now on; keep the old ones if bad.

    The roots of client certificates stay: a context can only be given more of them.
    """
    try:
        # Tried on another context first, for loading half of it would break this one.
        _load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
        _load_certificate(context, settings)
    except InvalidCertificate as error:
        _LOG.error("the old certificate stays: %s", error)
    else:
        _LOG.info("the certificate was read again")


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
