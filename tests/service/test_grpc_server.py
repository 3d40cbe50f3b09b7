"""The gRPC server around the RPCs: health, reflection, limits, hostile peers, the end of streams.

The RPCs are stand-ins, so that nothing of what they do is tested here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from service import grpc_keyless
from service.errors import Unavailable
from service.grpc_server import GrpcServer, PortUnavailable
from service.grpc_standard import SKETCHES
from service.health import Health
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.protos.sketchd.v1 import sketchd_pb2_grpc as rpc
from service.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING
OK = grpc.StatusCode.OK
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
#: The first bytes of a client, an empty SETTINGS frame after them.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0" + b"12345678"
GOAWAY = 7


class StandIn(rpc.SketchServiceServicer):  # type: ignore[misc] # generated without types
    """Answers once it is let, and counts what it has read."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.read = 0

    async def GetSketch(self, request: Any, context: Any) -> pb.Sketch:
        self.read += 1
        await self.let.wait()
        return pb.Sketch(name=request.name)


class Store:
    """What readiness asks for."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    async def ping(self) -> None:
        self.asked += 1
        if not self.is_up:
            raise Unavailable("the store is away")


@dataclasses.dataclass
class Rig:
    """A server on a free port, what is behind it, and a client."""

    port: int
    server: GrpcServer
    stand_in: StandIn
    store: Store
    health: Health
    channel: grpc.aio.Channel

    @property
    def stub(self) -> Any:
        return rpc.SketchServiceStub(self.channel)

    @property
    def judge(self) -> Any:
        return health_pb2_grpc.HealthStub(self.channel)

    async def status(self, service: str = "") -> int:
        """What the health service says."""
        asked = health_pb2.HealthCheckRequest(service=service)
        return int((await self.judge.Check(asked)).status)


@asynccontextmanager
async def serving(address: str = "127.0.0.1", **settings: Any) -> AsyncIterator[Rig]:
    """Ready from the start; whatever is under way in the end is cancelled."""
    store, stand_in = Store(), StandIn()
    health = Health(store.ping)
    taken: list[grpc.GenericRpcHandler] = []

    class Collector:
        """What the generated code adds its handlers to."""

        def add_generic_rpc_handlers(self, handlers: Any) -> None:
            taken.extend(handlers)

        def add_registered_method_handlers(self, *_: Any) -> None:
            pass

    rpc.add_SketchServiceServicer_to_server(stand_in, Collector())
    server = GrpcServer(taken, address, 0, None, Settings(**settings), health)
    port = await server.start()
    health.ready()
    shown = f"[{address}]" if ":" in address else address
    async with grpc.aio.insecure_channel(f"{shown}:{port}") as channel:
        try:
            yield Rig(port, server, stand_in, store, health, channel)
        finally:
            await server.stop(0.0)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error of an RPC that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def test_health_is_that_of_readyz() -> None:
    async with serving() as rig:
        assert await rig.status() == SERVING
        assert await rig.status(SKETCHES) == SERVING
        missing = await refused(rig.status("sketchd.v1.Nothing"))
        assert missing.code() is grpc.StatusCode.NOT_FOUND
        rig.store.is_up = False
        assert await rig.status() == NOT_SERVING
        listed = await rig.judge.List(health_pb2.HealthListRequest())
        assert {name: one.status for name, one in listed.statuses.items()} == {
            "": NOT_SERVING, SKETCHES: NOT_SERVING
        }  # fmt: skip
        rig.store.is_up = True
        assert await rig.status() == SERVING
        rig.health.drain()
        assert await rig.status(SKETCHES) == NOT_SERVING


async def test_watchers_hear_of_each_change_and_of_the_end_and_share_one_look() -> None:
    async with serving() as rig:
        watching = [rig.judge.Watch(health_pb2.HealthCheckRequest()) for _ in range(20)]
        for one in watching:
            assert (await one.read()).status == SERVING
        assert rig.store.asked == 1
        rig.store.is_up = False
        for one in watching:
            assert (await one.read()).status == NOT_SERVING
        rig.store.is_up = True
        for one in watching:
            assert (await one.read()).status == SERVING
        rig.health.drain()
        await rig.server.stop(20)
        for one in watching:
            last = await one.read()
            assert last is not grpc.aio.EOF
            assert last.status == NOT_SERVING
            assert await one.read() is grpc.aio.EOF
        unknown = rig.judge.Watch(health_pb2.HealthCheckRequest(service="nothing"))
        assert (await refused(unknown.read())).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_describes_all_that_it_lists(package: str) -> None:
    async with serving() as rig:
        info: Any = rig.channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await info.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await info.read()).list_services_response.service
        names = [one.name for one in listed]
        assert {SKETCHES, "grpc.health.v1.Health", f"{package}.ServerReflection"} <= set(names)
        for name in names:
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            await info.write(asked)
            found = (await info.read()).file_descriptor_response.file_descriptor_proto
            assert any(name.rpartition(".")[0].encode() in one for one in found), name
        await info.done_writing()
        assert await info.read() is grpc.aio.EOF


async def test_messages_and_metadata_have_limits() -> None:
    async with serving(grpc_max_message_bytes=100_000, max_head_bytes=20_000) as rig:
        rig.stand_in.let.set()
        fits = pb.GetSketchRequest(name="s" * 99_990)
        assert len((await rig.stub.GetSketch(fits)).name) == 99_990  # an answer may be longer
        over = await refused(rig.stub.GetSketch(pb.GetSketchRequest(name="s" * 100_001)))
        assert over.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        few, many = [("x", "a" * 19_000)], [("x", "a" * 21_000)]
        for _ in range(20):  # never by chance
            await rig.stub.GetSketch(pb.GetSketchRequest(), metadata=few)
            error = await refused(rig.stub.GetSketch(pb.GetSketchRequest(), metadata=many))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await rig.status() == SERVING


async def test_more_rpcs_than_there_may_be_are_refused_or_wait() -> None:
    async with serving(grpc_max_calls=5) as rig:
        calls = [rig.stub.GetSketch(pb.GetSketchRequest()) for _ in range(5)]
        await until(lambda: rig.stand_in.read == 5)
        over = await refused(rig.stub.GetSketch(pb.GetSketchRequest()))
        assert over.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.stand_in.let.set()
        await asyncio.gather(*calls)
        await rig.stub.GetSketch(pb.GetSketchRequest())


async def test_one_connection_has_only_so_many_rpcs_under_way() -> None:
    async with serving(grpc_max_streams=5) as rig:
        assert await rig.status() == SERVING  # which also tells the client of the limit
        calls = [rig.stub.GetSketch(pb.GetSketchRequest()) for _ in range(12)]
        await until(lambda: rig.stand_in.read == 5)
        # A connection of its own is not held up.
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{rig.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as other:
            asked = health_pb2.HealthCheckRequest()
            assert (await health_pb2_grpc.HealthStub(other).Check(asked)).status == SERVING
        assert rig.stand_in.read == 5
        rig.stand_in.let.set()
        # Those that waited are let in, or told to come again where they were a moment too soon.
        found = await asyncio.gather(*(call.code() for call in calls))
        assert set(found) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert found.count(grpc.StatusCode.OK) >= 5


async def said(port: int, sent: bytes, again: bytes = b"") -> bytes:
    """What a peer that sends these bytes reads until it is hung up on. again: sent until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    told = b""
    try:
        async with asyncio.timeout(30):
            while True:
                if again:
                    writer.write(again)
                    await asyncio.sleep(0.001)
                try:
                    async with asyncio.timeout(0.01 if again else None):
                        piece = await reader.read(1 << 16)
                except TimeoutError:
                    continue
                if not piece:
                    return told
                told += piece
    except ConnectionResetError:
        return told
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"PRI * HT",
        PREFACE[:24],
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        bytes(range(256)) * 64,
        PREFACE + b"\xff\xff\xff\1\5\0\0\0\1" + b"\x80" * 1000,
        PREFACE + b"\0\0\0\3\0\0\0\0\0",
        PREFACE + b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",
    ],
    ids=[
        "silent",
        "slow",
        "no settings",
        "http/1",
        "tls",
        "bytes",
        "huge frame",
        "reset 0",
        "window 0",
    ],
)
async def test_a_peer_that_does_not_speak_http_2_is_hung_up_on(sent: bytes) -> None:
    async with serving(head_seconds=0.3, grpc_idle_seconds=2.0) as rig:
        await said(rig.port, sent)
        assert await rig.status() == SERVING


async def test_a_flood_of_pings_ends_the_connection_that_sends_it() -> None:
    async with serving() as rig:
        assert b"too_many_pings" in await said(rig.port, PREFACE, PING * 50)
        assert await rig.status() == SERVING


async def test_hundreds_of_silent_connections_keep_nobody_out() -> None:
    async with serving(head_seconds=0.5) as rig:
        silent = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(300)]
        try:
            rig.stand_in.let.set()
            await rig.stub.GetSketch(pb.GetSketchRequest())
            async with asyncio.timeout(30):
                await asyncio.gather(*(ended(one) for one in silent))
        finally:
            for one in silent:
                one.close()


async def ended(connection: socket.socket) -> None:
    """Wait until the other side has closed a connection."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(connection, 4096):
        pass


async def test_idle_connections_are_closed_and_clients_come_back() -> None:
    async with serving(grpc_idle_seconds=0.3) as rig:
        assert GOAWAY in await said(rig.port, PREFACE)
        for _ in range(3):
            assert await rig.status() == SERVING
            await asyncio.sleep(0.5)


async def test_a_client_that_does_not_answer_a_ping_is_hung_up_on() -> None:
    async with serving(grpc_keepalive_seconds=1.0, grpc_keepalive_timeout_seconds=0.3) as rig:
        # It opens a stream, so that it is not idle, and is never heard of again.
        method = b"/" + SKETCHES.encode() + b"/UpdateStream"
        headers = b"\x83\x86" + b"".join(
            b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
            for name, value in (
                (b":path", method), (b":authority", b"a"), (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            )
        )  # fmt: skip
        opened = len(headers).to_bytes(3, "big") + b"\1\4\0\0\0\1" + headers
        assert b"ping_timeout" in await said(rig.port, PREFACE + opened)


async def test_rpcs_under_way_end_and_others_are_refused() -> None:
    async with serving() as rig:
        under_way = rig.stub.GetSketch(pb.GetSketchRequest(name="a"))
        await until(lambda: rig.stand_in.read == 1)
        rig.health.drain()
        stopping = asyncio.create_task(rig.server.stop(20))
        await asyncio.sleep(0.05)
        late = await refused(rig.stub.GetSketch(pb.GetSketchRequest(name="late")))
        assert late.code() is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        rig.stand_in.let.set()
        assert (await under_way).name == "a"
        await stopping
        assert rig.stand_in.read == 1


async def test_streams_that_wait_for_a_question_do_not_hold_the_end_up() -> None:
    async with serving() as rig:
        info: Any = rig.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        streams = [info() for _ in range(3)]
        for stream in streams:
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert (await stream.read()).list_services_response.service
        streams.pop().cancel()
        rig.health.drain()
        async with asyncio.timeout(10):
            await rig.server.stop(600)
        for stream in streams:
            assert await stream.read() is grpc.aio.EOF


async def test_what_does_not_end_is_cancelled_when_the_grace_is_over() -> None:
    async with serving() as rig:
        call = rig.stub.GetSketch(pb.GetSketchRequest())
        await until(lambda: rig.stand_in.read == 1)
        async with asyncio.timeout(10):
            await rig.server.stop(0.2)
        assert (await refused(call)).code() in (
            grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
        )  # fmt: skip


async def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        health = Health(Store().ping)
        server = GrpcServer([], "127.0.0.1", port, None, Settings(), health)
        with pytest.raises(PortUnavailable, match=f"127.0.0.1:{port} for gRPC"):
            await server.start()
        await server.stop(1.0)


async def test_ipv6_is_served_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with serving("::1") as rig:
        assert await rig.status() == SERVING


async def test_rpcs_without_a_key_leave_room_for_the_others() -> None:
    async with serving(grpc_max_calls=8) as rig:
        watching = [rig.judge.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for one in watching:
            assert (await one.read()).status == SERVING
        for late in (rig.judge.Watch(health_pb2.HealthCheckRequest()).read(), rig.status()):
            assert (await refused(late)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.stand_in.let.set()
        assert (await rig.stub.GetSketch(pb.GetSketchRequest(name="a"))).name == "a"
        watching[0].cancel()
        async with asyncio.timeout(20):  # until the service has heard of it
            while await rig.judge.Check(health_pb2.HealthCheckRequest()).code() is not OK:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_a_request_without_a_key_is_short_and_comes_soon(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_keyless, "_SECONDS", 0.3)
    async with serving() as rig:
        open_call: Any = rig.channel.stream_stream(path)
        silent = open_call()
        async with asyncio.timeout(10):
            assert await silent.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK)
        for wrong in (b"\x0a\xff", b"\x0a" + b"\x80\x80\x01" + bytes(1 << 14)):
            call = open_call()
            await call.write(wrong)
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await rig.status() == SERVING


async def test_what_nobody_reads_is_not_taken_in() -> None:
    """However fast the client: each stream of a connection could hold as much as a message."""

    async def unread(_: Any, __: Any) -> bytes:
        await asyncio.sleep(600)
        return b""

    handlers = grpc.method_handlers_generic_handler(
        "test", {"Unread": grpc.stream_unary_rpc_method_handler(unread)}
    )
    server = GrpcServer([handlers], "127.0.0.1", 0, None, Settings(), Health(Store().ping))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        sent = 0
        try:
            for _ in range(20):
                call: Any = channel.stream_unary("/test/Unread")()
                with contextlib.suppress(TimeoutError):
                    for _ in range(64):
                        async with asyncio.timeout(0.3):
                            await call.write(bytes(1 << 18))
                        sent += 1 << 18
        finally:
            await server.stop(0.0)
    assert sent <= 20 << 19  # a write is done when its last bytes are about to be sent


@pytest.mark.parametrize(
    ("asked", "body", "largest"),
    [
        (0, 64 << 20, 64 << 20),
        (0, 1 << 10, 1 << 19),
        (1 << 20, 64 << 20, 1 << 20),
        (0, 1 << 40, (1 << 31) - 1),
    ],
)
def test_the_largest_message_is_the_largest_body(asked: int, body: int, largest: int) -> None:
    settings = Settings(grpc_max_message_bytes=asked, max_body_bytes=body)
    assert settings.largest_message_bytes == largest
