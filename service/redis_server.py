"""One Redis server: a bounded set of connections, each used by one call at a time.

redis-py's connections do the protocol, TLS and logins; its pools, retries and
cluster client are left out, because they repeat and re-route on their own and
here one policy decides that (redis_connection). Whatever is not read to its
end is thrown away with its connection, so no reply reaches another call.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import Connection, SSLConnection

from service.errors import StoreUnavailable
from service.redis_errors import NoMaster
from service.redis_url import Address, Login, Tls

#: A number stands for its shortest decimal text.
Part = bytes | str | int | float
Command = Sequence[Part]

#: RESP2: arrays, bytes, numbers and nothing pushed.
_PROTOCOL: Final = 2
_ROLE_MASTER: Final = b"master"


@dataclass(frozen=True, slots=True)
class Access:
    """How to log in. context: for TLS. master_only: refuse a server that says it is a replica."""

    login: Login
    database: int = 0
    context: ssl.SSLContext | None = None
    master_only: bool = False


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """What TLS trusts and shows. Raises StoreUnavailable when a file cannot be used."""
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # an SSLError is one
        raise StoreUnavailable(f"the TLS files of SKETCHD_STORE cannot be used: {error}") from error
    context.check_hostname = tls.verify == "full"
    if tls.verify == "none":
        context.verify_mode = ssl.CERT_NONE
    return context


def _connection(address: Address, access: Access) -> Connection:
    """A connection that is not open yet, without timeouts or retries of its own."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "username": access.login.user,
        "password": access.login.password,
        "db": access.database,
        "protocol": _PROTOCOL,
        # Whoever calls has one timeout over everything; a second one would cost a task a write.
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    if access.context is None:
        return Connection(**options)
    connection = SSLConnection(**options)
    # One context for all: reading certificates takes milliseconds.
    connection.ssl_context.context = access.context
    return connection


class RedisServer:
    """The connections to one address. Open when first used; `close` ends all of them."""

    def __init__(self, address: Address, access: Access, connections: int) -> None:
        self.address = address
        self._access = access
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(connections)
        self._closed = False

    async def exchange(
        self, commands: Sequence[Command], seconds: float, deadline: float
    ) -> list[Any]:
        """Send all commands over one connection; their replies, in order.

        An error reply stands in its place, not raised. deadline: of the loop's clock, until
        which a free connection is waited for; then everything takes at most `seconds`.
        Raises redis-py's ConnectionError and TimeoutError, and TimeoutError.
        """
        async with asyncio.timeout_at(deadline):
            await self._free.acquire()
        connection = self._idle.pop() if self._idle else _connection(self.address, self._access)
        whole = False
        try:
            async with asyncio.timeout(seconds):
                if not connection.is_connected:
                    await self._open(connection)
                packed = connection.pack_commands(commands)
                await connection.send_packed_command(packed, check_health=False)
                replies = [await _reply(connection) for _ in commands]
            whole = True
            return replies
        except (exceptions.ConnectionError, TimeoutError, OSError):
            # The idle ones may have gone the same way; each would cost a call an attempt.
            await self.drop_idle()
            raise
        finally:
            try:
                if whole and not self._closed:
                    self._idle.append(connection)
                else:  # a caller that was cancelled too: the reply would be the next one's
                    await connection.disconnect(nowait=True)
            finally:
                self._free.release()

    async def _open(self, connection: Connection) -> None:
        await connection.connect()  # type: ignore[no-untyped-call]
        if self._access.master_only:
            await connection.send_command("ROLE")
            role = await connection.read_response()
            if role[0] != _ROLE_MASTER:
                raise NoMaster("what the sentinels name is not a master")

    async def drop_idle(self) -> None:
        """Close the connections nobody uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back."""
        self._closed = True
        await self.drop_idle()


async def _reply(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


async def ask_once(
    address: Address, access: Access, *commands: Command, seconds: float
) -> list[Any]:
    """Replies over a connection of its own, as rare questions are asked. Raises as exchange does,
    and the first error reply.
    """
    server = RedisServer(address, access, 1)
    try:
        deadline = asyncio.get_running_loop().time() + seconds
        replies = await server.exchange(commands, seconds, deadline)
    finally:
        await server.close()
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
