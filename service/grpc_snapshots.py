"""Snapshots in pieces: out, and in under the limits that bodies of HTTP have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import grpc

from service import grpc_answers, grpc_messages
from service.body_blocks import BLOCK_BYTES, BodyBlocks
from service.errors import InvalidRequest, TooLarge, TooSlow
from service.grpc_context import Call, message_of
from service.in_flight import BodyInFlight
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.sketch_requests import check_key, check_name

#: A body that took longer has outlived what was known of its key when it began.
_LONG_READ_SECONDS: Final = 0.5


async def write_snapshot(data: bytes, version: str, context: Any) -> None:
    """Send the bytes in pieces; the first names the version and the size."""
    for at in range(0, max(1, len(data)), BLOCK_BYTES):
        piece = pb.SnapshotChunk(data=data[at : at + BLOCK_BYTES])
        if at == 0:
            piece.version, piece.size = version, len(data)
        await context.write(piece.SerializeToString())


@dataclass(frozen=True, slots=True)
class _Head:
    """What the first message of AddSnapshot says. operands: None where it names none."""

    sketch: str
    operands: list[str] | None
    key: str | None


async def add_snapshot(call: Call, context: Any) -> bytes:
    """The RPC AddSnapshot."""
    body = call.body()
    try:
        head, data = await _read(call, context, body)
        done = await call.served.sketches.add_snapshot(
            call.tenant, head.sketch, data, head.operands, idempotency_key=head.key
        )
        return grpc_answers.acknowledgement(done).SerializeToString()
    finally:
        body.release()


async def _read(call: Call, context: Any, body: BodyInFlight) -> tuple[_Head, bytes]:
    """All messages. Raises TooLarge, TooSlow, Overloaded, and what is wrong with the first."""
    limit = call.served.settings.max_snapshot_bytes
    patience = call.served.settings.body_seconds
    now = asyncio.get_running_loop().time
    blocks = BodyBlocks()
    head: _Head | None = None
    began = now()
    try:
        async with asyncio.timeout(patience) as until:
            while (raw := await context.read()) is not grpc.aio.EOF:
                message = message_of(pb.AddSnapshotRequest, raw)
                if blocks.size + len(message.data) > limit:
                    raise TooLarge(f"the body is over the limit of {limit} bytes")
                body.reaches(blocks.size + len(raw))
                if head is None:
                    head = _head_of(call, message)
                    until.reschedule(None)
                    await call.served.sketches.check_known(call.tenant, head.sketch)
                    until.reschedule(now() + patience)
                elif message.sketch or message.operands or message.idempotency_key:
                    raise InvalidRequest(
                        "sketch, operands and idempotency_key belong into the first message",
                        pointer="/sketch",
                    )
                if blocks.add(message.data):
                    until.reschedule(now() + patience)
    except TimeoutError:
        if not until.expired():
            raise
        raise TooSlow(f"the body did not come within {patience:g} seconds") from None
    if head is None:
        raise InvalidRequest("the first message names the sketch", pointer="/sketch")
    if now() - began > _LONG_READ_SECONDS:
        call.check_still()
    return head, await call.parsed(BodyBlocks.take, blocks, blocks.is_short)


def _head_of(call: Call, message: pb.AddSnapshotRequest) -> _Head:
    sketch = check_name(message.sketch, "/sketch")
    key = check_key(message.idempotency_key or None, call.served.settings)
    return _Head(sketch, grpc_messages.operands_of(message), key)
