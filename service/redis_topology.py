"""Which server holds a key: the only one, a master the sentinels name, or a slot's of a cluster.

A topology is asked for a server before each attempt and told of what failed;
it then asks again who is who before the next attempt, once for all callers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis import exceptions
from redis.crc import key_slot

from service.redis_errors import NoMaster
from service.redis_server import Access, RedisServer, ask_once
from service.redis_url import Address

#: Between two questions about the topology, however many calls fail.
_PAUSE_SECONDS: Final = 0.05
#: A member of a cluster or a sentinel that is alive answers sooner.
_ASK_SECONDS: Final = 1.0

#: Between two questions to sentinels that nothing has put in doubt.
_WATCH_SECONDS: Final = 1.0

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
    """Asks who is who, one caller at a time, at most once a pause."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = asyncio.Lock()
        self._doubt = True
        self._asked = float("-inf")

    def failed(self) -> None:
        """Ask before the next attempt."""
        self._doubt = True

    async def settle(self) -> None:
        """Ask if in doubt. Raises redis-py's errors, and NoMaster when nobody knows."""
        clock = asyncio.get_running_loop().time
        if not self._due(clock()):
            return
        async with self._lock:
            if not self._due(clock()):  # somebody else has asked meanwhile
                return
            # Cleared first: who fails while the question is under way may know better.
            self._doubt = False
            try:
                await self._ask()
            except BaseException:
                self._doubt = True
                raise
            finally:
                self._asked = clock()

    def _due(self, now: float) -> bool:
        return self._doubt and now - self._asked >= _PAUSE_SECONDS

    async def _ask(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, order=True)
class _Word:
    """What one sentinel says. Later: by epoch, or by a failover that it leads just now."""

    epoch: int
    promoting: bool
    master: Address


class Watched(_Asking):
    """The master that sentinels name.

    All of them are asked: those that have not heard of a failover yet, for seconds, still
    name the server that was lost, and it may be back with less than its successor has. They
    are asked now and then without a reason, too: a master that hung is back before anybody
    tells it that it was replaced, and connections to it look as good as ever.
    """

    def __init__(
        self, sentinels: Sequence[Address], master: str, opened: Open, access: Access
    ) -> None:
        super().__init__(access)
        self._sentinels = tuple(sentinels)
        self._name = master
        self._opened = opened
        self._master: RedisServer | None = None
        self._watching: asyncio.Task[None] | None = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with suppress(exceptions.RedisError, OSError):
                await self._ask()

    async def _ask(self) -> None:
        said = await asyncio.gather(*map(self._word, self._sentinels), return_exceptions=True)
        words = [one for one in said if isinstance(one, _Word)]
        if not words:
            # What somebody said is worth more than that another said nothing.
            raise min(
                (one for one in said if isinstance(one, BaseException)),
                key=lambda error: not isinstance(error, NoMaster),
            )
        await self._follow(max(words).master)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def _word(self, sentinel: Address) -> _Word:
        try:
            facts, place = await ask_once(
                sentinel,
                self._access,
                ("SENTINEL", "MASTER", self._name),
                ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name),
                seconds=_ASK_SECONDS,
            )
        except exceptions.ResponseError as error:
            raise NoMaster(f"the sentinels know no master {self._name} ({error})") from error
        known = dict(zip(facts[::2], facts[1::2], strict=True))
        master = Address(place[0].decode(), int(place[1]))
        former = Address(known[b"ip"].decode(), int(known[b"port"]))
        return _Word(int(known[b"config-epoch"]), master != former, master)

    async def _follow(self, address: Address) -> None:
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
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._master is not None:
            await self._master.close()


class Cluster(_Asking):
    """Slots and their masters."""

    def __init__(self, seeds: Sequence[Address], opened: Open, access: Access) -> None:
        super().__init__(access)
        self._seeds = tuple(seeds)
        self._opened = opened
        self._members: tuple[Address, ...] = ()
        self._servers: dict[Address, RedisServer] = {}
        self._slots: dict[int, RedisServer] = {}

    async def _ask(self) -> None:
        members = random.sample(self._members, len(self._members))
        trouble: Exception = NoMaster("there is nobody to ask")
        for address in dict.fromkeys([*members, *self._seeds]):
            try:
                reply = await ask_once(
                    address, self._access, ("CLUSTER", "SLOTS"), seconds=_ASK_SECONDS
                )
                await self._learn(address, reply[0])
            except (exceptions.RedisError, OSError) as error:
                trouble = error
                continue
            return
        raise trouble

    async def _learn(self, source: Address, reply: Any) -> None:
        owners: dict[int, Address] = {}
        members: set[Address] = set()
        for first, last, *nodes in reply:
            # An empty host is the one that was asked.
            found = [Address((node[0] or b"").decode() or source.host, node[1]) for node in nodes]
            members.update(found)
            owners.update(dict.fromkeys(range(first, last + 1), found[0]))
        if not owners:
            raise NoMaster("a member of the cluster knows of no slots")
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
