"""The ports of the service: HTTP's listens from the start, gRPC's is kept for who will listen."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from service.settings import Settings, variable

_BACKLOG: Final = 2048


class CannotServe(Exception):
    """The service cannot start; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Ports:
    """http: listens. grpc: bound only, while this process and its workers have the port, or None.

    Workers inherit the first. gRPC makes sockets of its own, in each worker one, on the same port.
    """

    http: socket.socket
    grpc: socket.socket | None

    @property
    def address(self) -> str:
        """The IP address of both."""
        return str(self.http.getsockname()[0])

    def close(self) -> None:
        """Let go of both."""
        self.http.close()
        if self.grpc is not None:
            self.grpc.close()


def listen(settings: Settings) -> Ports:
    """The ports that the settings ask for. Raises CannotServe."""
    address = address_of(settings.host)
    listening = bind(address, settings.port)
    try:
        return Ports(listening, reserve(address, settings.grpc_port))
    except CannotServe:
        listening.close()
        raise


def address_of(host: str) -> str:
    """The address a host names. Raises CannotServe for a name that leads nowhere."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # not found, or not even a host name
        raise CannotServe(f"cannot resolve {host!r}: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    # IPv4 first: "localhost" means it to most clients.
    return min(addresses, key=lambda one: ":" in one)


def bind(address: str, port: int) -> socket.socket:
    """A listening socket. Raises CannotServe, with the reason, when the port is taken."""
    try:
        listening = _listening(address, port)
    except OSError as error:
        raise CannotServe(f"cannot listen on {shown(address, port)}: {error.strerror}") from error
    listening.set_inheritable(True)
    return listening


def _listening(address: str, port: int) -> socket.socket:
    listening = _socket(address)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        # Listening at once, so that a second service finds the port taken and not merely bound.
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def reserve(address: str, port: int) -> socket.socket | None:
    """A socket that keeps the port for gRPC, None for port 0. Raises CannotServe where it is taken.

    Every worker listens on the port with SO_REUSEPORT, by which the kernel gives each its share of
    the connections. That option would also let a second service join in unnoticed; hence first
    a look without it, and then a socket that others who look without it stumble over, even while
    no worker listens.
    """
    if port == 0:
        return None
    try:
        _listening(address, port).close()
        return _reserved(address, port)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {shown(address, port)} for gRPC: {error.strerror}; "
            f"{variable('grpc_port')} (--grpc-port) chooses another port, and 0 turns gRPC off"
        ) from error


def _reserved(address: str, port: int) -> socket.socket:
    """Bound, and never listening. Raises OSError."""
    # Without SO_REUSEADDR two that start at once exclude each other. What remains of another
    # program's closed connections would exclude it too, and then it has to be with.
    for reuse in (0, 1):
        keeping = _socket(address)
        try:
            keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            keeping.bind((address, port))
            return keeping
        except OSError:
            keeping.close()
            if reuse:
                raise
    raise AssertionError


def _socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: else
    # every answer written as head and body waits 40 ms for an acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def shown(address: str, port: int) -> str:
    """host:port as in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
