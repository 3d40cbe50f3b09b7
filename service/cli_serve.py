"""Running the service in this process: address, signals, and the one line that says it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from threadpoolctl import threadpool_limits

from service import app as composition
from service import logs
from service.cli_channel import WorkerEnd
from service.cli_ports import CannotServe, Ports, listen
from service.cli_ports import shown as host_and_port
from service.cli_protocol import protocol
from service.cli_tls import Certificates, InvalidCertificate
from service.errors import ServiceError
from service.grpc_server import GrpcServer, PortUnavailable
from service.http_origins import is_this_machine
from service.redis_url import shown
from service.settings import InvalidSetting, Settings, variable

#: uvicorn cancels requests this long after the drain has given up on them.
_DRAIN_MARGIN_SECONDS: Final = 1.0
_SWITCH_SECONDS: Final = 0.001
_COLLECT_AFTER: Final = (5000, 5, 20)
#: Of glibc's mallopt: up to this size memory comes from the heap, and so much of it stays there.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_HEAP_BLOCK_BYTES: Final = 1 << 20
_HEAP_KEPT_BYTES: Final = 64 << 20
#: Connections and files, where the system lets a process have as many.
_OPEN_FILES: Final = 65_536


class Server(uvicorn.Server):
    """uvicorn's: says when it is ready, stops at the first signal and at once at the second.

    announce: called when requests are accepted. alone: without a supervisor, which passes on
    signals that may have reached this process already, and knows when not to wait. rpcs: the
    server of gRPC, which starts and stops with this one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        runtime: composition.Runtime,
        announce: Callable[[], None],
        alone: bool = True,
        rpcs: GrpcServer | None = None,
    ) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._announce = announce
        self._alone = alone
        self._rpcs = rpcs
        #: When, on the monotonic clock, notice has been given for long enough.
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, then say so."""
        await super().startup(sockets=sockets)
        if self._rpcs is not None and not self.should_exit:
            try:
                await self._rpcs.start()
            except PortUnavailable as error:
                await super().shutdown(sockets=sockets)
                raise CannotServe(str(error)) from error
        # What is there by now stays: no later collection has to walk through it.
        gc.collect()
        gc.freeze()
        if not self.should_exit:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish HTTP and gRPC at the same time, then close the store."""
        if self._rpcs is None:
            await super().shutdown(sockets=sockets)
            return
        # As a request under way, for the store stays open until the last of those has ended.
        with contextlib.ExitStack() as open_until_then:
            open_until_then.enter_context(self._runtime.health.request())
            stopping = asyncio.create_task(self._rpcs.stop(self._runtime.settings.drain_seconds))
            stopping.add_done_callback(lambda _: open_until_then.close())
            await super().shutdown(sockets=sockets)
            await stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """First signal: tell balancers, finish what is under way. Second: leave now.

        Leaving at once is safe: whatever was acknowledged is durable already.
        """
        if self._runtime.health.leaving and self._alone:
            logs.leave_now(128 + sig)
        self.leave()

    def leave(self) -> None:
        """Give notice, then finish what is under way."""
        self._runtime.health.leave()
        notice = self._runtime.settings.notice_seconds
        if not notice:
            self.stop()
        elif self._stop_at is None:
            self._stop_at = time.monotonic() + notice

    async def on_tick(self, counter: int) -> bool:
        """Stop when notice has been given for long enough; uvicorn asks ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.stop()
        return await super().on_tick(counter)

    def stop(self) -> None:
        """Finish what is under way."""
        self._runtime.health.drain()
        self.should_exit = True


def run(settings: Settings) -> None:
    """Serve until a signal. Raises CannotServe with the reason when it cannot start."""
    ports = listen(settings)
    logs.configure(settings)
    serve_on(settings, ports)


def serve_on(settings: Settings, ports: Ports, worker: WorkerEnd | None = None) -> None:
    """Serve in this process. Raises CannotServe. worker: where it is one of several."""
    settings = dataclasses.replace(settings, host=ports.address)
    share_the_processor()
    allow_connections()
    try:
        certificates = Certificates(settings)
        runtime = composition.build(settings)
    except (InvalidSetting, InvalidCertificate) as error:
        raise CannotServe(str(error)) from error
    config = uvicorn.Config(
        composition.app_over(runtime)
        if worker is None
        else composition.app_over(runtime, worker.scrape, worker.watch),
        http=protocol(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type] # goes to call_later
        timeout_graceful_shutdown=int(settings.drain_seconds + _DRAIN_MARGIN_SECONDS),
    )
    config.load()
    config.ssl = certificates.context

    def announce() -> None:
        if worker is not None:
            worker.ready()
        else:
            print(ready_line(ports, settings), file=sys.stderr, flush=True)

    rpcs = None
    if settings.grpc_port:
        rpcs = GrpcServer(
            [composition.grpc_handlers(runtime)],
            settings.host,
            settings.grpc_port,
            certificates.credentials,
            settings,
            runtime.health,
        )
    server = Server(config, runtime, announce, alone=worker is None, rpcs=rpcs)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, runtime, ports, certificates, worker))


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


def allow_connections() -> None:
    """Raise the limit of open files as far as this process may, up to _OPEN_FILES.

    systemd and container engines start processes with 1,024, for the sake of programs that use
    select(): a connection above that is closed without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems have a limit beside, and refuse.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
    ports: Ports,
    certificates: Certificates,
    worker: WorkerEnd | None,
) -> None:
    # The store is opened first, and here, so that its failure is one clear line; when the
    # lifespan starts the runtime again nothing happens.
    try:
        await runtime.store.start()
        await runtime.administration.bootstrap()
        await check_keys(runtime)
    except CannotServe:
        ports.close()
        runtime.pool.close()
        await runtime.store.close()
        raise
    except ServiceError as error:
        ports.close()
        runtime.pool.close()
        raise CannotServe(f"cannot open {shown(runtime.settings.store)}: {error.detail}") from error
    if certificates.context is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.reload)
    if worker is None:
        await server.serve(sockets=[ports.http])
    else:
        await _serve_as_worker(server, runtime, ports.http, worker)


async def _serve_as_worker(
    server: Server, runtime: composition.Runtime, listening: socket.socket, worker: WorkerEnd
) -> None:
    """The same, with a supervisor to tell, to answer, and to follow into its end."""
    await worker.open()
    attending = asyncio.create_task(worker.attend(runtime.snapshot, runtime.seen))
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


def ready_line(ports: Ports, settings: Settings) -> str:
    """The line that says where the service can be reached."""
    scheme = "https" if settings.tls_certificate else "http"
    http = f"http {scheme}://{host_and_port(ports.address, ports.http.getsockname()[1])}"
    rpc = f" grpc {host_and_port(ports.address, settings.grpc_port)}" if ports.grpc else ""
    return f"sketchd ready: {http}{rpc} store {shown(settings.store)}"
