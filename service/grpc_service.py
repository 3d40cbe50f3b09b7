"""The RPCs of sketchd.v1.SketchService: what each asks of the use cases.

Every function takes the call and a message's bytes and returns the answer's; whatever is the
same for all of them is around it (grpc_calls).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import grpc

from service import grpc_answers, grpc_messages, wire
from service.answer_objects import is_long, sample_size
from service.errors import ServiceError
from service.grpc_access import ROLES, check_roles
from service.grpc_calls import Boundary
from service.grpc_context import Call, GrpcServed, message_of
from service.grpc_errors import problem_of
from service.grpc_snapshots import add_snapshot, write_snapshot
from service.grpc_streams import MessageStream, StreamOf
from service.problems import sent_queries
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.sketch_requests import INLINE_BATCH_NUMBERS, check_key, check_name
from service.sketches import Info, SampleRequest
from sketch_core.batch import Columns

SERVICE: Final = pb.DESCRIPTOR.services_by_name["SketchService"]
#: Messages up to this many bytes are turned into objects on the event loop.
_INLINE_BYTES: Final = wire.INLINE_JSON_BYTES
#: Of a list request without a limit.
_PAGE: Final = 100


# Sketches by name


async def _info(call: Call, sketch: Info) -> bytes:
    return await call.parsed(
        lambda one: grpc_answers.sketch_of(one).SerializeToString(), sketch, not is_long(sketch)
    )


async def create_sketch(call: Call, raw: bytes) -> bytes:
    """CreateSketch."""
    asked = await call.read(lambda some: message_of(pb.CreateSketchRequest, some), raw)
    name = check_name(asked.name)
    spec = await call.parsed(grpc_messages.spec_of, asked.spec, len(raw) <= _INLINE_BYTES)
    made, new = await call.served.sketches.create(call.tenant, name, spec)
    return await call.parsed(lambda one: grpc_answers.created(one, new), made, not is_long(made))


async def get_sketch(call: Call, raw: bytes) -> bytes:
    """GetSketch."""
    name = check_name(message_of(pb.GetSketchRequest, raw).name)
    return await _info(call, await call.served.sketches.get(call.tenant, name))


async def list_sketches(call: Call, raw: bytes) -> bytes:
    """ListSketches."""
    asked = message_of(pb.ListSketchesRequest, raw)
    found, following = await call.served.sketches.list(
        call.tenant,
        prefix=asked.prefix,
        contains=asked.contains,
        limit=asked.limit if asked.HasField("limit") else _PAGE,
        cursor=asked.cursor if asked.HasField("cursor") else None,
    )
    inline = len(found) <= 1 and not any(map(is_long, found))
    return await call.parsed(lambda some: grpc_answers.page(some, following), found, inline)


async def patch_sketch(call: Call, raw: bytes) -> bytes:
    """PatchSketch."""
    asked = message_of(pb.PatchSketchRequest, raw)
    name = check_name(asked.name)
    ttl_seconds = grpc_messages.patch_of(asked)
    return await _info(call, await call.served.sketches.set_ttl(call.tenant, name, ttl_seconds))


async def delete_sketch(call: Call, raw: bytes) -> bytes:
    """DeleteSketch."""
    name = check_name(message_of(pb.DeleteSketchRequest, raw).name)
    await call.served.sketches.delete(call.tenant, name)
    return pb.DeleteSketchResponse().SerializeToString()


async def plan(call: Call, raw: bytes) -> bytes:
    """Plan."""

    def answer(asked: pb.PlanRequest) -> bytes:
        spec = grpc_messages.spec_of(asked.spec)
        return grpc_answers.plan_of(call.served.sketches.plan(spec)).SerializeToString()

    asked = await call.read(lambda some: message_of(pb.PlanRequest, some), raw)
    return await call.served.pool.run(answer, asked)


# Changes


@dataclasses.dataclass(frozen=True, slots=True)
class _Update:
    """An update understood."""

    sketch: str
    columns: Columns
    key: str | None


def _read_update(raw: bytes) -> pb.UpdateRequest:
    return message_of(pb.UpdateRequest, raw)


async def _understand_update(call: Call, message: pb.UpdateRequest) -> _Update:
    name = check_name(message.sketch, "/sketch")
    key = check_key(message.idempotency_key or None, call.served.settings)
    call.served.quotas.check_updates(call.tenant)
    long = grpc_messages.longest_of(message) > INLINE_BATCH_NUMBERS
    short = not long and len(message.safetensors) <= _INLINE_BYTES
    return _Update(name, await call.parsed(grpc_messages.columns_of, message, short), key)


async def _act_update(call: Call, asked: _Update) -> pb.UpdateResponse:
    done = await call.served.sketches.update(
        call.tenant, asked.sketch, asked.columns, idempotency_key=asked.key
    )
    return grpc_answers.acknowledgement(done)


async def update(call: Call, raw: bytes) -> bytes:
    """Update."""
    asked = await _understand_update(call, await call.read(_read_update, raw))
    return (await _act_update(call, asked)).SerializeToString()


async def _update_result(call: Call, asked: _Update) -> bytes:
    return pb.UpdateResult(response=await _act_update(call, asked)).SerializeToString()


def _update_problem(error: ServiceError) -> bytes:
    return pb.UpdateResult(problem=problem_of(error)).SerializeToString()


_UPDATES: Final = StreamOf(
    read=_read_update,
    sketch_of=lambda message: message.sketch,
    understand=_understand_update,
    act=_update_result,
    refused=_update_problem,
    timed="update",
    ordered=True,
)


async def update_stream(call: Call, context: Any) -> None:
    """UpdateStream."""
    await MessageStream(call, context, _UPDATES).run()


async def seal(call: Call, raw: bytes) -> bytes:
    """Seal."""
    asked = message_of(pb.SealRequest, raw)
    name = check_name(asked.sketch, "/sketch")
    key = check_key(asked.idempotency_key or None, call.served.settings)
    operand = grpc_messages.seal_of(asked).operand
    sealed = await call.served.sketches.seal(call.tenant, name, operand, idempotency_key=key)
    return await _info(call, sealed)


async def merge(call: Call, raw: bytes) -> bytes:
    """Merge."""
    asked = await call.read(lambda some: message_of(pb.MergeRequest, some), raw)
    name = check_name(asked.sketch, "/sketch")
    key = check_key(asked.idempotency_key or None, call.served.settings)
    wanted = grpc_messages.merge_of(asked)
    done = await call.served.sketches.merge(
        call.tenant, name, wanted.source, wanted.operands, idempotency_key=key
    )
    return grpc_answers.acknowledgement(done).SerializeToString()


# Questions


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
    """A sample request understood. several: whether it asks several queries."""

    sketch: str
    request: SampleRequest
    several: bool
    tensors: bool


def _read_sample(raw: bytes) -> pb.SampleRequest:
    return message_of(pb.SampleRequest, raw)


async def _understand_sample(call: Call, message: pb.SampleRequest) -> _Sample:
    name = check_name(message.sketch, "/sketch")
    short = message.ByteSize() <= _INLINE_BYTES
    request, several = await call.parsed(grpc_messages.sample_of, message, short)
    return _Sample(name, request, several, message.as_safetensors)


async def _act_sample(
    call: Call, asked: _Sample, write: Callable[[pb.SampleResponse], bytes]
) -> bytes:
    with sent_queries(asked.several):
        drawn = await call.served.sketches.sample(call.tenant, asked.sketch, asked.request)
    return await call.parsed(
        lambda found: write(grpc_answers.samples(found, asked.several, asked.tensors)),
        drawn,
        sample_size(drawn) <= wire.INLINE_NUMBERS,
    )


async def sample(call: Call, raw: bytes) -> bytes:
    """Sample."""
    asked = await _understand_sample(call, await call.read(_read_sample, raw))
    return await _act_sample(call, asked, pb.SampleResponse.SerializeToString)


async def _sample_result(call: Call, asked: _Sample) -> bytes:
    return await _act_sample(
        call, asked, lambda drawn: pb.SampleResult(response=drawn).SerializeToString()
    )


def _sample_problem(error: ServiceError) -> bytes:
    return pb.SampleResult(problem=problem_of(error)).SerializeToString()


_SAMPLES: Final = StreamOf(
    read=_read_sample,
    sketch_of=lambda message: message.sketch,
    understand=_understand_sample,
    act=_sample_result,
    refused=_sample_problem,
    timed="sample",
    ordered=False,  # they change nothing
)


async def sample_stream(call: Call, context: Any) -> None:
    """SampleStream."""
    await MessageStream(call, context, _SAMPLES).run()


async def estimate(call: Call, raw: bytes) -> bytes:
    """Estimate."""
    asked = await call.read(lambda some: message_of(pb.EstimateRequest, some), raw)
    name = check_name(asked.sketch, "/sketch")
    short = len(raw) <= _INLINE_BYTES
    index, queries, several = await call.parsed(grpc_messages.estimate_of, asked, short)
    with sent_queries(several):
        found, version = await call.served.sketches.estimate(call.tenant, name, index, queries)
    return await call.parsed(
        lambda some: grpc_answers.estimates(some, version, several).SerializeToString(),
        found,
        sum(3 * int(one.index.size) for one in found) <= wire.INLINE_NUMBERS,
    )


async def norm(call: Call, raw: bytes) -> bytes:
    """Norm."""
    asked = await call.read(lambda some: message_of(pb.NormRequest, some), raw)
    name = check_name(asked.sketch, "/sketch")
    short = len(raw) <= _INLINE_BYTES
    power, queries, several = await call.parsed(grpc_messages.norm_of, asked, short)
    with sent_queries(several):
        found, version = await call.served.sketches.norm(call.tenant, name, power, queries)
    return grpc_answers.norms(found, version, several).SerializeToString()


# States


async def get_snapshot(call: Call, raw: bytes, context: Any) -> None:
    """GetSnapshot."""
    name = check_name(message_of(pb.GetSnapshotRequest, raw).sketch, "/sketch")
    data, version = await call.served.sketches.snapshot(call.tenant, name)
    await write_snapshot(data, version, context)


_UNARY: Final = {
    "CreateSketch": create_sketch,
    "GetSketch": get_sketch,
    "ListSketches": list_sketches,
    "PatchSketch": patch_sketch,
    "DeleteSketch": delete_sketch,
    "Plan": plan,
    "Update": update,
    "Sample": sample,
    "Estimate": estimate,
    "Norm": norm,
    "Seal": seal,
    "Merge": merge,
}
_STREAMS: Final = {"UpdateStream": update_stream, "SampleStream": sample_stream}


def handlers(served: GrpcServed) -> grpc.GenericRpcHandler:
    """Handlers for a server of grpc.aio. Messages stay bytes until they are let in.

    Raises LookupError for an RPC of the .proto that nothing serves or whose role nobody said.
    """
    boundary = Boundary(served)
    # Of one message or of a stream of them is the same on the wire; see Boundary.unary.
    unary = grpc.stream_unary_rpc_method_handler
    made: dict[str, Any] = {
        name: unary(boundary.unary(name, serve)) for name, serve in _UNARY.items()
    }
    for name, stream in _STREAMS.items():
        made[name] = grpc.stream_stream_rpc_method_handler(boundary.stream(name, stream))
    made["GetSnapshot"] = grpc.stream_stream_rpc_method_handler(
        boundary.answers("GetSnapshot", get_snapshot)
    )
    made["AddSnapshot"] = grpc.stream_unary_rpc_method_handler(
        boundary.stream("AddSnapshot", add_snapshot)
    )
    methods = [method.name for method in SERVICE.methods]
    check_roles(methods, ROLES)
    if missing := set(methods) - made.keys():
        raise LookupError(f"nothing serves {', '.join(sorted(missing))}")
    return grpc.method_handlers_generic_handler(SERVICE.full_name, made)
