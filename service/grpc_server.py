"""gRPC on a port: limits, health, reflection, and an end that loses no answer.

What is answered lives in the handlers that are passed in. Here is what holds for all of them: how
large and how many messages may be, who is hung up on, and what becomes of RPCs at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from service.grpc_keyless import KeylessCalls
from service.grpc_standard import HealthService, health_handler, reflection_handlers
from service.health import Health
from service.settings import Settings

#: A client may ping as often as this; more often, again and again, and it is hung up on.
_PING_SECONDS: Final = 5.0
#: Of the RPCs that may be under way, one in so many may be of those that need no key.
_KEYLESS_PART: Final = 4


class PortUnavailable(Exception):
    """The port cannot be listened on; the message is for a person."""


class GrpcServer:
    """A grpc.aio server. Start and stop it in one event loop, once.

    address: an IP address. port: 0 for a free one. credentials: None for plain text.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        address: str,
        port: int,
        credentials: grpc.ServerCredentials | None,
        settings: Settings,
        health: Health,
    ) -> None:
        self._handlers = handlers
        self._at = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._credentials = credentials
        self._settings = settings
        self._health = health
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen and serve; returns the port. Raises PortUnavailable."""
        keyless = KeylessCalls(max(1, self._settings.grpc_max_calls // _KEYLESS_PART))
        server = grpc.aio.server(
            handlers=[
                *self._handlers,
                health_handler(HealthService(self._health), keyless),
                *reflection_handlers(self._health, keyless),
            ],
            options=options(self._settings),
            maximum_concurrent_rpcs=self._settings.grpc_max_calls,
        )
        try:
            if self._credentials is None:
                port = server.add_insecure_port(self._at)
            else:
                port = server.add_secure_port(self._at, self._credentials)
        except RuntimeError as error:
            raise PortUnavailable(f"cannot listen on {self._at} for gRPC") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Take no new RPC; those under way have `grace` seconds, and are then cancelled.

        Streams are not made to end here: those that only wait for more follow `health`, which
        has to be draining by now.
        """
        if self._server is not None:
            await self._server.stop(grace)


def options(settings: Settings) -> list[tuple[str, int]]:
    """The channel arguments that the settings ask for."""
    return [
        # Every worker listens on the one port; the supervisor keeps others from it.
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.largest_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Else the window grows with the client's speed, to 16 MiB of each stream that nobody reads.
        ("grpc.http2.bdp_probe", 0),
        # Soft and hard limit alike: between the two grpc refuses at random.
        ("grpc.max_metadata_size", settings.max_head_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_head_bytes),
        ("grpc.max_concurrent_streams", settings.grpc_max_streams),
        # TLS and the first frame of HTTP/2.
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.head_seconds)),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.grpc_idle_seconds)),
        ("grpc.keepalive_time_ms", _milliseconds(settings.grpc_keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.grpc_keepalive_timeout_seconds)),
        # Asked on its own, and allowed to ask, while no RPC is under way too.
        ("grpc.http2.ping_timeout_ms", _milliseconds(settings.grpc_keepalive_timeout_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(_PING_SECONDS)),
    ]


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), (1 << 31) - 1)
