"""Real Redis servers for tests: alone, as a cluster, or watched by sentinels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from redis.crc import key_slot

from tests.redis_process import HOST, Certificates, ServerProcess, program, wait_for

__all__ = [
    "Certificates", "Cluster", "ServerProcess", "Watched", "closing", "cluster", "follows",
    "program", "sentinel", "serves", "speaks_tls", "standalone", "wait_for",
]  # fmt: skip

SLOTS: Final = 16384


def speaks_tls() -> bool:
    """Whether the program was built with TLS."""
    with contextlib.suppress(AssertionError):
        server = standalone(tls=Certificates())
        server.close()
        return True
    return False


def standalone(
    *,
    durable: bool = False,
    password: str | None = None,
    tls: Certificates | None = None,
    max_memory: int | None = None,
    replica_of: ServerProcess | None = None,
) -> ServerProcess:
    """One server. durable: an append-only file, on disk before each answer. max_memory: bytes."""
    options: dict[str, str] = {}
    if durable:
        options |= {"appendonly": "yes", "appendfsync": "always"}
    if max_memory is not None:
        options |= {"maxmemory": str(max_memory), "maxmemory-policy": "noeviction"}
    if replica_of is not None:
        options |= {"replicaof": f"{HOST} {replica_of.port}"}
    server = ServerProcess(options, password=password, tls=tls)
    if replica_of is not None:
        wait_for("the replica follows", lambda: follows(server))
        wait_for("the master counts on it", lambda: serves(replica_of))
    return server


def follows(server: ServerProcess) -> bool:
    """Whether it is a replica in touch with its master."""
    found = server.info("replication")
    return bool(found["role"] == "slave" and found["master_link_status"] == "up")


def serves(server: ServerProcess, replicas: int = 1) -> bool:
    """Whether it is a master with so many replicas up to date, such as WAIT counts."""
    found = server.info("replication")
    known = [found.get(f"slave{number}") for number in range(replicas)]
    # Before its first acknowledgement, up to a second later, nothing new is sent to a replica.
    ready = [one is not None and one["state"] == "online" and one["offset"] > 0 for one in known]
    return bool(found["role"] == "master" and all(ready))


@dataclass
class Cluster:
    """Servers that share the slots. masters come first, then the replicas of each in turn."""

    nodes: list[ServerProcess]
    masters: int

    @property
    def url(self) -> str:
        """As SKETCHD_STORE takes it; the first three are enough to find the others."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes[:3])

    def owner(self, key: str) -> ServerProcess:
        """The master that holds a key now, by what it says itself. Raises LookupError."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            if node.alive:
                own = next(line for line in _table(node) if "myself" in line.flags)
                if "master" in own.flags and any(
                    first <= slot <= last for first, last in own.slots
                ):
                    return node
        raise LookupError(f"nobody holds {key}")

    def settled(self) -> bool:
        """Whether every node that lives sees all slots served."""
        return all(
            "cluster_state:ok" in node.command("CLUSTER", "INFO")
            for node in self.nodes
            if node.alive
        )

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def cluster(masters: int = 3, replicas: int = 1, *, node_timeout_ms: int = 1500) -> Cluster:
    """A cluster that is complete and agreed upon."""
    options = {
        "cluster-node-timeout": str(node_timeout_ms),
        "cluster-replica-validity-factor": "0",
        "appendonly": "yes",
    }
    count = masters * (1 + replicas)
    nodes: list[ServerProcess] = []
    try:
        nodes += (ServerProcess(options, clustered=True) for _ in range(count))
        _join(nodes, masters)
    except BaseException:
        for node in nodes:
            node.close()
        raise
    return Cluster(nodes, masters)


def _join(nodes: Sequence[ServerProcess], masters: int) -> None:
    for number, node in enumerate(nodes, 1):
        node.command("CLUSTER", "SET-CONFIG-EPOCH", number)
    bounds = [SLOTS * number // masters for number in range(masters + 1)]
    for node, first, after in zip(nodes, bounds, bounds[1:], strict=False):
        node.command("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
    for node in nodes[1:]:
        nodes[0].command("CLUSTER", "MEET", HOST, node.port, node.bus_port)
    for node in nodes:
        wait_for("the nodes know each other", partial(_knows, node, len(nodes), 0))
    for number, node in enumerate(nodes[masters:]):
        master = nodes[number % masters].command("CLUSTER", "MYID")
        node.command("CLUSTER", "REPLICATE", master)
    for node in nodes[masters:]:
        wait_for("the replica follows", partial(follows, node))
    whole = Cluster(list(nodes), masters)
    wait_for("the cluster is whole", whole.settled)
    # A replica that is listed, too: only then can it be promoted by the others' votes.
    for node in nodes:
        wait_for("they know the replicas", partial(_knows, node, masters, len(nodes) - masters))


@dataclass(frozen=True)
class Line:
    """One line of CLUSTER NODES."""

    flags: frozenset[str]
    slots: list[tuple[int, int]]


def _table(node: ServerProcess) -> list[Line]:
    text = node.command("CLUSTER", "NODES")
    lines = []
    for line in text.splitlines():
        _, _, flags, _, _, _, _, _, *slots = line.split(" ")
        ranges = [one.partition("-") for one in slots if not one.startswith("[")]
        found = [(int(first), int(last or first)) for first, _, last in ranges]
        lines.append(Line(frozenset(flags.split(",")), found))
    return lines


def _knows(node: ServerProcess, masters: int, replicas: int) -> bool:
    lines = [line for line in _table(node) if "handshake" not in line.flags]
    found = sum("slave" in line.flags for line in lines)
    return (len(lines) - found, found) == (masters, replicas)


@dataclass
class Watched:
    """A master, its replica, and the sentinels that watch them."""

    master: ServerProcess
    replica: ServerProcess
    sentinels: list[ServerProcess]

    @property
    def url(self) -> str:
        """As SKETCHD_STORE takes it."""
        where = ",".join(one.address for one in self.sentinels)
        return f"redis+sentinel://{where}/main"

    def named(self, server: ServerProcess) -> bool:
        """Whether every sentinel calls it the master."""
        ask = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
        return all(int(one.command(*ask)[1]) == server.port for one in self.sentinels if one.alive)

    def close(self) -> None:
        for one in (*self.sentinels, self.replica, self.master):
            one.close()


def sentinel() -> Watched:
    """A master, a replica and three sentinels, two of which must agree, that know each other."""
    # Durable: a master that comes back empty while it still counts as master serves nothing.
    master = standalone(durable=True)
    replica = standalone(durable=True, replica_of=master)
    watchers = [ServerProcess({}, sentinel_of=master.port) for _ in range(3)]
    for one in watchers:
        wait_for("the sentinels know each other", partial(_complete, one))
    return Watched(master, replica, watchers)


def _complete(watcher: ServerProcess) -> bool:
    flat = watcher.command("SENTINEL", "MASTER", "main")
    found = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else flat
    return (int(found["num-slaves"]), int(found["num-other-sentinels"])) == (1, 2)


@contextlib.contextmanager
def closing(made: Any) -> Iterator[Any]:
    """The servers, ended afterwards whatever happens."""
    try:
        yield made
    finally:
        made.close()
