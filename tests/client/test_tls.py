"""TLS by both transports: the right certificates let in, all others are told so."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from service.client import Client, Retry, Tls, Unreachable
from tests.client import rig

#: How a test asks: once, and not for long.
_ONCE = {"retry": Retry(attempts=1), "timeout": 10.0}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, certificates of 127.0.0.1 and of a client that it vouches for, and another root."""
    folder = tmp_path_factory.mktemp("tls")
    root = trustme.CA()
    root.cert_pem.write_to_path(str(folder / "root.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    issued = root.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client = root.issue_cert("client.test")
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    return folder


class _Front:
    """Ends TLS before a service that speaks plainly; both know nothing of each other."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """The port it listens at."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End all, also the connections whose handshake failed: their loop ends after this."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                # Before Python 3.12 wait_closed does not wait for connections.
                while getattr(self._server, "_active_count", 0):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.005)
                await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(_pass(reader, outer), _pass(inner, writer))
            finally:
                outer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.close()


@contextlib.contextmanager
def _front(service: Any, transport: str, certificates: Path, client_ca: bool) -> Iterator[str]:
    """The URL of a service behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(certificates / "server.pem"))
    context.set_alpn_protocols(["h2"] if transport == "grpc" else ["http/1.1"])
    if client_ca:
        context.load_verify_locations(str(certificates / "root.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    with rig.looping() as loop:
        front = _Front(rig.port_of(service, transport), context)
        loop.set_exception_handler(lambda *_: None)  # handshakes that fail are what is tested
        port = asyncio.run_coroutine_threadsafe(front.start(), loop).result(10)
        try:
            yield f"{transport}s://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(front.stop(), loop).result(10)


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_a_root_of_ones_own(
    service: Any, transport: str, face: str, certificates: Path, name: str
) -> None:
    with _front(service, transport, certificates, client_ca=False) as url:
        with rig.connected(face, url, tls=Tls(ca=certificates / "root.pem")) as client:
            client.create(name, rig.SMALL).update([1], [2.0])
            assert client.sketch(name).norm().norm == 2.0
        for tls in (Tls(ca=certificates / "other.pem"), None):
            with rig.connected(face, url, tls=tls, **_ONCE) as client:
                with pytest.raises(Unreachable):
                    client.sketch(name).info()


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_a_certificate_of_the_client(
    service: Any, transport: str, face: str, certificates: Path, name: str
) -> None:
    mine = Tls(
        ca=certificates / "root.pem",
        certificate=certificates / "client.pem",
        key=certificates / "client.key",
    )
    with _front(service, transport, certificates, client_ca=True) as url:
        with rig.connected(face, url, tls=mine) as client:
            assert client.create(name, rig.SMALL).info().name == name
        with rig.connected(face, url, tls=Tls(ca=certificates / "root.pem"), **_ONCE) as client:
            with pytest.raises(Unreachable):
                client.sketch(name).info()


@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_the_roots_of_the_system(
    service: Any,
    transport: str,
    face: str,
    certificates: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "root.pem"))
    with _front(service, transport, certificates, client_ca=False) as url:
        with rig.connected(face, url, **_ONCE) as client:
            assert client.create(name, rig.SMALL).info().name == name


def test_roots_of_a_folder_are_found_by_grpc_too(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = (certificates / "root.pem").read_bytes()
    (tmp_path / "none.pem").write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert Tls().pems()[0] is None
    (tmp_path / "0a1b2c3d.0").write_bytes(root)
    (tmp_path / "0a1b2c3d.1").write_bytes(b"no certificate")
    found = Tls().pems()[0]
    assert found is not None
    assert found.split() == root.split()


def test_files_that_are_not_there_are_told_at_once() -> None:
    for url in ("https://127.0.0.1:1", "grpcs://127.0.0.1:1"):
        with pytest.raises(OSError):
            Client(url, tls=Tls(ca="missing.pem"))
    with pytest.raises(ValueError, match=r"^key: "):
        Tls(key="only.pem")
