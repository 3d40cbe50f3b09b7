"""Commands to Redis, wherever the key lives, until they succeed or patience is over.

Every call is safe to repeat (the scripts see to it), so whatever passes by
itself is tried again: a lost connection, a server that loads or was demoted,
slots that move, a failover. Nothing below this module retries.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from redis import exceptions

from service.errors import StoreUnavailable
from service.redis_errors import passes, refusal
from service.redis_server import Access, Command, Part, RedisServer, tls_context
from service.redis_topology import Cluster, Single, Topology, Watched
from service.redis_url import Address, RedisUrl

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. sha: by which a server that has seen it knows it."""

    name: str
    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """connections: a server. timeout_seconds: of one attempt; retry_seconds: of all.

    queue_calls: under way at once, one more is refused. wait_replicas: how many must confirm
    each write within wait_seconds.
    """

    connections: int = 64
    timeout_seconds: float = 2.0
    retry_seconds: float = 8.0
    queue_calls: int = 4096
    wait_replicas: int = 0
    wait_seconds: float = 1.0


class RedisConnection:
    """A server, a cluster, or a master behind sentinels; replies are bytes, numbers and lists.

    prefix: of every key. Every method but close raises StoreUnavailable.
    """

    def __init__(self, url: RedisUrl, options: RedisOptions) -> None:
        self.prefix = url.prefix
        self._url = url
        self._options = options
        self._under_way = 0
        self._topology: Topology | None = None
        self._answers = True

    async def start(self) -> None:
        """Connect. Once started, nothing happens."""
        if self._topology is not None:
            return
        self._topology = self._chosen_topology()
        try:
            await self._patiently(self._ping, self._options.retry_seconds)
        except StoreUnavailable as error:
            await self.close()
            why = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
            raise StoreUnavailable(f"{error.detail}{why}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        topology, self._topology = self._topology, None
        if topology is not None:
            await topology.close()

    async def ping(self) -> None:
        """Return when every master answers now; a failover under way is not waited for long."""
        await self._patiently(self._ping, self._options.timeout_seconds)

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Part],
        *,
        writes: bool,
    ) -> Any:
        """Run a script where its first key lives; all keys are in that slot.

        With writes, and replicas to wait for, what it wrote is there too when this returns. A
        repetition must therefore write again what it found written: for a command that only
        reads, servers differ in what WAIT waits for.
        """
        key = _key(keys[0])
        tail = (len(keys), *keys, *args)
        by_sha: Command = ("EVALSHA", script.sha, *tail)
        by_source: Command = ("EVAL", script.source, *tail)

        async def attempt(deadline: float) -> Any:
            try:
                return (await self._at(key, [by_sha], writes, deadline))[0]
            except exceptions.NoScriptError:
                # Nothing has run, and what replicas confirmed beside it says nothing.
                return (await self._at(key, [by_source], writes, deadline))[0]

        return await self._patiently(attempt, self._options.retry_seconds)

    async def command(self, *parts: Part, writes: bool) -> Any:
        """One command whose second part is its key."""
        return (await self.commands([parts], writes=writes))[0]

    async def commands(self, batch: Sequence[Command], *, writes: bool) -> list[Any]:
        """Commands on keys of one slot, pipelined over one connection; their replies."""
        if not batch:
            return []

        async def attempt(deadline: float) -> list[Any]:
            return await self._at(_key(batch[0][1]), batch, writes, deadline)

        return await self._patiently(attempt, self._options.retry_seconds)

    async def spread(self, batch: Sequence[Command]) -> list[Any]:
        """Reading commands on keys of any slots, pipelined to each server; their replies."""

        async def attempt(deadline: float) -> list[Any]:
            topology = await self._settled(deadline)
            parts: dict[RedisServer, list[int]] = {}
            for number, command in enumerate(batch):
                parts.setdefault(topology.server(_key(command[1])), []).append(number)
            answers: list[Any] = [None] * len(batch)

            async def part(server: RedisServer, numbers: list[int]) -> None:
                commands = [batch[number] for number in numbers]
                replies = await self._exchange(server, commands, deadline)
                for number, reply in zip(numbers, replies, strict=True):
                    answers[number] = reply

            await _all(part(server, numbers) for server, numbers in parts.items())
            return answers

        return await self._patiently(attempt, self._options.retry_seconds)

    async def on_masters(self, *parts: Part) -> list[Any]:
        """The same command, without a key, at every master; their replies."""

        async def attempt(deadline: float) -> list[Any]:
            topology = await self._settled(deadline)
            servers = topology.masters()
            replies = await _all(self._exchange(one, [parts], deadline) for one in servers)
            return [reply for (reply,) in replies]

        return await self._patiently(attempt, self._options.retry_seconds)

    def _chosen_topology(self) -> Topology:
        url = self._url
        context = tls_context(url.tls)
        access = Access(url.login, url.database, context, master_only=url.mode == "sentinel")

        def opened(address: Address) -> RedisServer:
            return RedisServer(address, access, self._options.connections)

        if url.mode == "sentinel":
            sentinels = Access(url.sentinel_login, context=context)
            return Watched(url.addresses, url.master, opened, sentinels)
        if url.mode == "cluster":
            return Cluster(url.addresses, opened, access)
        return Single(url.addresses[0], opened)

    async def _ping(self, deadline: float) -> None:
        topology = await self._settled(deadline)
        await _all(self._exchange(one, [("PING",)], deadline) for one in topology.masters())

    async def _settled(self, deadline: float) -> Topology:
        if self._topology is None:
            raise StoreUnavailable("the connection to Redis is closed")
        async with asyncio.timeout_at(deadline):
            await self._topology.settle()
        return self._topology

    async def _patiently(self, attempt: Callable[[float], Awaitable[T]], seconds: float) -> T:
        """The attempt's result, repeated while it fails in ways that pass, so long."""
        if self._under_way >= self._options.queue_calls:
            raise StoreUnavailable(f"{self._under_way} calls wait for Redis already")
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        pause = _FIRST_PAUSE
        reason: Exception | None = None
        self._under_way += 1
        try:
            while True:
                try:
                    answer = await attempt(deadline)
                except (exceptions.RedisError, OSError) as error:
                    if not passes(error):
                        raise refusal(error) from error
                    self._failed(error)
                    # That the last attempt was cut short says less than how those before it failed.
                    if reason is None or not (_is_timeout(error) and clock() >= deadline):
                        reason = error
                    rest = pause * random.uniform(0.5, 1.0)
                    if clock() + rest >= deadline:
                        raise refusal(reason) from error
                    await asyncio.sleep(rest)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    self._answered()
                    return answer
        finally:
            self._under_way -= 1

    def _failed(self, error: Exception) -> None:
        if self._topology is not None:
            self._topology.failed()
        if self._answers:
            self._answers = False
            _log.warning("%s fails: %s", self._url, str(error) or type(error).__name__)

    def _answered(self) -> None:
        if not self._answers:
            self._answers = True
            _log.warning("%s answers again", self._url)

    async def _at(
        self, key: bytes, commands: Sequence[Command], writes: bool, deadline: float
    ) -> list[Any]:
        topology = await self._settled(deadline)
        return await self._exchange(topology.server(key), commands, deadline, writes)

    async def _exchange(
        self,
        server: RedisServer,
        commands: Sequence[Command],
        deadline: float,
        writes: bool = False,
    ) -> list[Any]:
        """Replies of one server, or of the one it refers to. Raises the first error reply."""
        replies = await self._confirmed(server, commands, deadline, writes)
        for number, reply in enumerate(replies):
            if type(reply) is exceptions.AskError:
                # This key alone has moved already: those beside it may still be here.
                other = self._redirected(reply, server)
                asking = [("ASKING",), commands[number]]
                replies[number] = (await self._confirmed(other, asking, deadline, writes))[1]
        for reply in replies:
            if isinstance(reply, exceptions.MovedError):
                self._redirected(reply, server)
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _redirected(self, reply: exceptions.AskError, server: RedisServer) -> RedisServer:
        assert self._topology is not None
        return self._topology.redirected(reply, server)

    async def _confirmed(
        self, server: RedisServer, commands: Sequence[Command], deadline: float, writes: bool
    ) -> list[Any]:
        """Replies, error replies in their place; of writes once enough replicas have them.

        WAIT goes down the same connection: it speaks for what that has seen and nothing else.
        """
        options = self._options
        left = max(deadline - asyncio.get_running_loop().time(), 0.0)
        seconds = min(options.timeout_seconds, left)
        if not writes or not options.wait_replicas:
            return await server.exchange(commands, seconds, deadline)
        wait = ("WAIT", options.wait_replicas, max(1, round(1000 * options.wait_seconds)))
        seconds = options.timeout_seconds + options.wait_seconds
        *replies, confirmed = await server.exchange([*commands, wait], seconds, deadline)
        if any(isinstance(reply, Exception) for reply in replies):
            return replies
        if isinstance(confirmed, Exception):
            raise confirmed
        if confirmed < options.wait_replicas:
            raise StoreUnavailable(
                f"{confirmed} of {options.wait_replicas} replicas confirmed the write within "
                f"{options.wait_seconds:g} s"
            )
        return replies


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError | exceptions.TimeoutError)


def _key(part: Part) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


async def _all(attempts: Iterable[Awaitable[T]]) -> list[T]:
    """Every result, or the first error once all have ended."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
