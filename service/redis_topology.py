"""Which server holds a key: the only one, a master the sentinels name, or a slot's of a cluster.

A topology is asked for a server before each attempt and told of what failed;
it then asks again who is who before the next attempt, once for all callers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis import exceptions
from redis.crc import key_slot

from service.redis_errors import NoMaster
from service.redis_server import Access, Command, RedisServer, ask_once
from service.redis_url import Address

#: Between two questions about the topology, however many calls fail.
_PAUSE_SECONDS: Final = 0.05
#: A member of a cluster or a sentinel that is alive answers sooner.
_ASK_SECONDS: Final = 1.0

Open = Callable[[Address], RedisServer]


class Topology(Protocol):
    """Servers by key."""

    async def settle(self) -> None:
        """Find out who is who if that is in doubt. Raises redis-py's errors and NoMaster."""
        ...

    def server(self, key: bytes) -> RedisServer:
        """The one that holds a key, as far as is known. Raises NoMaster."""
        ...

    def masters(self) -> list[RedisServer]:
        """All that hold keys. Raises NoMaster."""
        ...

    def redirected(self, moved: exceptions.AskError, server: RedisServer) -> RedisServer:
        """The server a MOVED or ASK reply of `server` names; a MOVED is remembered."""
        ...

    def failed(self) -> None:
        """Something went wrong that another topology may explain."""
        ...

    async def close(self) -> None: ...


class Single:
    """One server and no other."""

    def __init__(self, address: Address, opened: Open) -> None:
        self._server = opened(address)

    async def settle(self) -> None: ...

    def server(self, key: bytes) -> RedisServer:  # noqa: ARG002
        return self._server

    def masters(self) -> list[RedisServer]:
        return [self._server]

    def redirected(self, moved: exceptions.AskError, server: RedisServer) -> RedisServer:  # noqa: ARG002
        raise NoMaster("the server belongs to a cluster: SKETCHD_STORE needs redis+cluster://")

    def failed(self) -> None: ...

    async def close(self) -> None:
        await self._server.close()


class _Asking:
    """Asks the first that answers, one caller at a time, at most once a pause."""

    def __init__(self, access: Access, command: Command) -> None:
        self._access = access
        self._command = command
        self._lock = asyncio.Lock()
        self._doubt = True
        self._asked = float("-inf")

    def failed(self) -> None:
        """Ask before the next attempt."""
        self._doubt = True

    async def settle(self) -> None:
        """Ask if in doubt. Raises NoMaster when nobody answers."""
        clock = asyncio.get_running_loop().time
        if not self._due(clock()):
            return
        async with self._lock:
            if not self._due(clock()):  # somebody else has asked meanwhile
                return
            # Cleared first: who fails while the question is under way may know better.
            self._doubt = False
            try:
                await self._ask(self._candidates())
            except BaseException:
                self._doubt = True
                raise
            finally:
                self._asked = clock()

    def _due(self, now: float) -> bool:
        return self._doubt and now - self._asked >= _PAUSE_SECONDS

    async def _ask(self, candidates: Sequence[Address]) -> None:
        silence = NoMaster("there is nobody to ask")
        trouble: Exception = silence
        for address in candidates:
            try:
                reply = await ask_once(address, self._access, self._command, _ASK_SECONDS)
                await self._learn(address, reply)
            except (exceptions.RedisError, OSError) as error:
                # What somebody said is worth more than that another said nothing.
                if not isinstance(trouble, NoMaster) or trouble is silence:
                    trouble = error
                continue
            return
        raise trouble

    def _candidates(self) -> Sequence[Address]:
        raise NotImplementedError

    async def _learn(self, source: Address, reply: Any) -> None:
        raise NotImplementedError


class Watched(_Asking):
    """The master that sentinels name."""

    def __init__(
        self, sentinels: Sequence[Address], master: str, opened: Open, access: Access
    ) -> None:
        super().__init__(access, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master))
        self._sentinels = list(sentinels)
        self._name = master
        self._opened = opened
        self._master: RedisServer | None = None

    def _candidates(self) -> Sequence[Address]:
        # Another one each time: the first may be the one that lags behind.
        self._sentinels.append(self._sentinels.pop(0))
        return tuple(self._sentinels)

    async def _learn(self, source: Address, reply: Any) -> None:  # noqa: ARG002
        if reply is None:
            raise NoMaster(f"the sentinels know no master {self._name}")
        address = Address(reply[0].decode(), int(reply[1]))
        if self._master is None or self._master.address != address:
            former, self._master = self._master, self._opened(address)
            if former is not None:
                await former.close()

    def server(self, key: bytes) -> RedisServer:  # noqa: ARG002
        return self.masters()[0]

    def masters(self) -> list[RedisServer]:
        if self._master is None:
            raise NoMaster("no sentinel has named a master yet")
        return [self._master]

    def redirected(self, moved: exceptions.AskError, server: RedisServer) -> RedisServer:  # noqa: ARG002
        raise NoMaster("the master belongs to a cluster: SKETCHD_STORE needs redis+cluster://")

    async def close(self) -> None:
        if self._master is not None:
            await self._master.close()


class Cluster(_Asking):
    """Slots and their masters."""

    def __init__(self, seeds: Sequence[Address], opened: Open, access: Access) -> None:
        super().__init__(access, ("CLUSTER", "SLOTS"))
        self._seeds = tuple(seeds)
        self._opened = opened
        self._members: tuple[Address, ...] = ()
        self._servers: dict[Address, RedisServer] = {}
        self._slots: dict[int, RedisServer] = {}

    def _candidates(self) -> Sequence[Address]:
        members = random.sample(self._members, len(self._members))
        return tuple(dict.fromkeys([*members, *self._seeds]))

    async def _learn(self, source: Address, reply: Any) -> None:
        owners: dict[int, Address] = {}
        members: set[Address] = set()
        for first, last, *nodes in reply:
            # An empty host is the one that was asked.
            found = [Address((node[0] or b"").decode() or source.host, node[1]) for node in nodes]
            members.update(found)
            owners.update(dict.fromkeys(range(first, last + 1), found[0]))
        if not owners:
            raise NoMaster(f"{source} knows of no slots")
        wanted = set(owners.values())
        gone = [self._servers.pop(address) for address in set(self._servers) - wanted]
        self._slots = {slot: self._server_at(address) for slot, address in owners.items()}
        self._members = tuple(sorted(members))
        for server in gone:
            await server.close()

    def _server_at(self, address: Address) -> RedisServer:
        if address not in self._servers:
            self._servers[address] = self._opened(address)
        return self._servers[address]

    def server(self, key: bytes) -> RedisServer:
        slot = key_slot(key)
        if slot not in self._slots:
            self.failed()
            raise NoMaster(f"no server holds slot {slot}")
        return self._slots[slot]

    def masters(self) -> list[RedisServer]:
        return list(dict.fromkeys(self._slots.values()))

    def redirected(self, moved: exceptions.AskError, server: RedisServer) -> RedisServer:
        other = self._server_at(Address(moved.host or server.address.host, moved.port))
        if isinstance(moved, exceptions.MovedError):
            self._slots[moved.slot_id] = other
            self.failed()
        return other

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()
