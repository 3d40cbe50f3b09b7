"""Running the service in this process: address, signals, and the one line that says it is ready."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import gc
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from threadpoolctl import threadpool_limits

from service import app as composition
from service import logs
from service.cli_channel import WorkerEnd
from service.cli_protocol import ProblemProtocol
from service.cli_tls import InvalidCertificate, reload_certificate, server_context
from service.errors import ServiceError
from service.http_origins import is_this_machine
from service.redis_url import shown
from service.settings import InvalidSetting, Settings, variable

_BACKLOG: Final = 2048
#: uvicorn cancels requests this long after the drain has given up on them.
_DRAIN_MARGIN_SECONDS: Final = 1.0
_SWITCH_SECONDS: Final = 0.001
_COLLECT_AFTER: Final = (5000, 5, 20)
#: Of glibc's mallopt: up to this size memory comes from the heap, and so much of it stays there.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_HEAP_BLOCK_BYTES: Final = 1 << 20
_HEAP_KEPT_BYTES: Final = 64 << 20


class CannotServe(Exception):
    """The service cannot start; the message is one line for a person."""


class Server(uvicorn.Server):
    """uvicorn's: says when it is ready, stops at the first signal and at once at the second.

    announce: called when requests are accepted. alone: without a supervisor, which passes on
    signals that may have reached this process already, and knows when not to wait.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        runtime: composition.Runtime,
        announce: Callable[[], None],
        alone: bool = True,
    ) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._announce = announce
        self._alone = alone

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, then say so."""
        await super().startup(sockets=sockets)
        # What is there by now stays: no later collection has to walk through it.
        gc.collect()
        gc.freeze()
        if not self.should_exit:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """First signal: tell balancers, finish what is under way. Second: leave now.

        Leaving at once is safe: whatever was acknowledged is durable already.
        """
        if self.should_exit and self._alone:
            logs.leave_now(128 + sig)
        self.stop()

    def stop(self) -> None:
        """Finish what is under way."""
        self._runtime.health.drain()
        self.should_exit = True


def run(settings: Settings) -> None:
    """Serve until a signal. Raises CannotServe with the reason when it cannot start."""
    listening = listen(settings)
    logs.configure(settings)
    serve_on(settings, listening)


def listen(settings: Settings) -> socket.socket:
    """The listening socket that the settings ask for. Raises CannotServe."""
    if settings.grpc_port != 0:
        raise CannotServe(
            f"gRPC is not served yet: leave {variable('grpc_port')} (--grpc-port) at 0"
        )
    return bind(address_of(settings.host), settings.port)


def serve_on(settings: Settings, listening: socket.socket, worker: WorkerEnd | None = None) -> None:
    """Serve in this process. Raises CannotServe. worker: where it is one of several."""
    settings = dataclasses.replace(settings, host=str(listening.getsockname()[0]))
    share_the_processor()
    try:
        tls = server_context(settings)
        runtime = composition.build(settings)
    except (InvalidSetting, InvalidCertificate) as error:
        raise CannotServe(str(error)) from error
    config = uvicorn.Config(
        composition.app_over(runtime, worker.scrape if worker is not None else None),
        http=ProblemProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(settings.drain_seconds + _DRAIN_MARGIN_SECONDS),
    )
    config.load()
    config.ssl = tls

    def announce() -> None:
        if worker is not None:
            worker.ready()
        else:
            print(ready_line(listening, settings), file=sys.stderr, flush=True)

    server = Server(config, runtime, announce, alone=worker is None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, runtime, listening, settings, worker))


def share_the_processor() -> None:
    """Tell libraries and interpreter that this process has a pool of threads and an event loop."""
    # The pool is the parallelism: products within a job would start threads that wait
    # for a processor the other jobs are using.
    threadpool_limits(limits=1, user_api="blas")
    # A thread of the pool that computes in Python keeps the event loop waiting that long.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Nor does anything run while garbage is collected. Next to nothing here is garbage that
    # circles, but the requests under way are thousands of young objects: looked at with every 700
    # new ones they took a twentieth of the processor time, with every 5,000 a hundredth.
    gc.set_threshold(*_COLLECT_AFTER)
    keep_the_heap()


def keep_the_heap() -> None:
    """Let glibc keep what numpy's working arrays of some 100 KB are made of, not map it anew.

    Each fresh page costs a fault: a third of the time to fold a long log. Elsewhere than on
    glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _HEAP_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _HEAP_KEPT_BYTES)


async def _serve(
    server: Server,
    runtime: composition.Runtime,
    listening: socket.socket,
    settings: Settings,
    worker: WorkerEnd | None,
) -> None:
    # The store is opened first, and here, so that its failure is one clear line; when the
    # lifespan starts the runtime again nothing happens.
    try:
        await runtime.store.start()
        await runtime.administration.bootstrap()
        await check_keys(runtime)
    except CannotServe:
        listening.close()
        runtime.pool.close()
        await runtime.store.close()
        raise
    except ServiceError as error:
        listening.close()
        runtime.pool.close()
        raise CannotServe(f"cannot open {shown(settings.store)}: {error.detail}") from error
    tls = server.config.ssl
    if tls is not None:
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, reload_certificate, tls, settings
        )
    if worker is None:
        await server.serve(sockets=[listening])
    else:
        await _serve_as_worker(server, runtime, listening, worker)


async def _serve_as_worker(
    server: Server, runtime: composition.Runtime, listening: socket.socket, worker: WorkerEnd
) -> None:
    """The same, with a supervisor to tell, to answer, and to follow into its end."""
    await worker.open()
    attending = asyncio.create_task(worker.attend(runtime.snapshot))
    attending.add_done_callback(lambda _: server.stop())
    await server.serve(sockets=[listening])
    await worker.leave(await runtime.snapshot())
    await asyncio.gather(attending, return_exceptions=True)


async def check_keys(runtime: composition.Runtime) -> None:
    """Raises CannotServe where others could reach the service and there is no key.

    Without access keys whoever reaches the port may do everything, so the port
    stays on this machine.
    """
    host = runtime.settings.host
    if is_this_machine(host) or runtime.settings.bootstrap_admin_key:
        return
    await runtime.directory.refresh()
    if not runtime.directory.had_keys:
        raise CannotServe(
            f"{host} is not a loopback address and there is no access key: add one with `sketchd "
            f"key add default --role admin --store {shown(runtime.settings.store)}`, or set "
            f"{variable('bootstrap_admin_key')}"
        )


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
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: else
    # every answer written as head and body waits 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        # Listening at once, so that a second service finds the port taken and not merely bound.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise CannotServe(f"cannot listen on {address}:{port}: {error.strerror}") from error
    listening.set_inheritable(True)
    return listening


def ready_line(listening: socket.socket, settings: Settings) -> str:
    """The line that says where the service can be reached."""
    scheme = "https" if settings.tls_certificate else "http"
    address, port = listening.getsockname()[:2]
    host = f"[{address}]" if ":" in address else address
    return f"sketchd ready: http {scheme}://{host}:{port} store {shown(settings.store)}"
