"""Where a service is reached, and what proves that it is the one."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

_FORMS: Final = "http://host:port, https://host:port, grpc://host:port or grpcs://host:port"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for https:// and grpcs://.

    ca: certificates of who may vouch for the service, those of the system where there are none:
    of the files that OpenSSL looks in, or SSL_CERT_FILE and SSL_CERT_DIR name. (Only where the
    system has none does grpcs:// take those that gRPC brings along.)
    certificate, key: what the client shows of itself, where the service asks for that.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise ValueError("key: is of no use without a certificate")

    def context(self) -> ssl.SSLContext:
        """For HTTP. Raises OSError where a file cannot be read."""
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), None if self.key is None else self.key)
        return context

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """For gRPC: the roots, the private key, the chain. Raises OSError."""
        key = self.certificate if self.key is None else self.key
        roots = _system_roots() if self.ca is None else _read(self.ca)
        return roots, _read(key), _read(self.certificate)


def _system_roots() -> bytes | None:
    """The roots that https:// goes by, as PEM; None where there are none."""
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath
    # OpenSSL looks in that folder when it needs a root, and lists none of it before.
    for path in Path(folder).glob("*.[0-9]") if folder else ():
        with contextlib.suppress(OSError):  # ssl.SSLError too: what is no certificate
            context.load_verify_locations(path)
    found = context.get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None


def _read(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL."""

    scheme: str
    host: str
    port: int

    @property
    def grpc(self) -> bool:
        """Whether gRPC is spoken there, and not HTTP."""
        return self.scheme.startswith("grpc")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is."""
        return self.scheme.endswith("s")

    @property
    def authority(self) -> str:
        """host:port as URLs have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What gRPC takes for it. With a scheme, or a host named unix, dns or xds would be one."""
        return f"dns:///{quote(self.authority, safe=':[]')}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse(url: str) -> Address:
    """The address in a URL. Raises ValueError, which never repeats what might be a secret."""
    if not isinstance(url, str):
        raise ValueError(f"url: must be a string like {_FORMS}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"url: is none; must be {_FORMS}") from None
    if parts.scheme not in ("http", "https", "grpc", "grpcs"):
        raise ValueError(f"url: must be {_FORMS}")
    if "@" in parts.netloc:
        raise ValueError("url: holds a user or password; give the access key as key=")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"url: must be {_FORMS}, and nothing else")
    if port is None:
        port = _PORTS.get(parts.scheme)
    if not port:
        raise ValueError(f"url: names no port; must be {_FORMS}")
    return Address(parts.scheme, parts.hostname, port)


def checked_key(key: str | None) -> str | None:
    """An access key that a header can carry. Raises ValueError, which does not repeat it."""
    if key is None:
        return None
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("key: must be printable ASCII characters without spaces")
    return key
