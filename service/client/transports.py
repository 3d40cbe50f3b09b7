"""What a client needs of a transport, and which one an address takes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from service.client.addresses import Address, Tls
from service.client.operations import Operation

Answer = TypeVar("Answer")


class Transport(Protocol):
    """Sends operations, each once."""

    def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after about so many seconds. Raises SketchdError."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


class AsyncTransport(Protocol):
    """The same in an event loop."""

    async def send(self, operation: Operation[Answer], seconds: float) -> Answer:
        """One attempt, over after so many seconds. Raises SketchdError."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


def transport_to(address: Address, key: str | None, tls: Tls | None, tensors: bool) -> Transport:
    """The transport for an address. Only the library it needs is loaded."""
    if address.grpc:
        from service.client.grpc_driver import GrpcTransport

        return GrpcTransport(address, key, tls, tensors)
    from service.client.http_driver import HttpTransport

    return HttpTransport(address, key, tls, tensors)


def async_transport_to(
    address: Address, key: str | None, tls: Tls | None, tensors: bool
) -> AsyncTransport:
    """The same for an event loop."""
    if address.grpc:
        from service.client.grpc_driver import AsyncGrpcTransport

        return AsyncGrpcTransport(address, key, tls, tensors)
    from service.client.http_driver import AsyncHttpTransport

    return AsyncHttpTransport(address, key, tls, tensors)
