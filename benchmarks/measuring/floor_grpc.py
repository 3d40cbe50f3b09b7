"""A gRPC service that takes messages and says so: what grpc.aio alone costs.

    python -m benchmarks.measuring.floor_grpc

Prints its address on standard error when it is ready, as the service does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import grpc
import uvloop

from benchmarks.measuring.floor import SAMPLE_BYTES
from service import cli_serve
from service.grpc_server import options
from service.protos.sketchd.v1 import sketchd_pb2 as pb
from service.settings import Settings

_UPDATED = pb.UpdateResponse(accepted=1, version="6a5372a7-1")
_UPDATE = _UPDATED.SerializeToString()
_RESULT = pb.UpdateResult(response=_UPDATED).SerializeToString()
#: As long as a sample; nobody reads it.
_SAMPLE = bytes(SAMPLE_BYTES)


async def _take_update(message: bytes, context: Any) -> bytes:  # noqa: ARG001
    return _UPDATE


async def _take_sample(message: bytes, context: Any) -> bytes:  # noqa: ARG001
    return _SAMPLE


async def _take_updates(_: Any, context: Any) -> None:
    while await context.read() is not grpc.aio.EOF:
        await context.write(_RESULT)


async def _take_samples(_: Any, context: Any) -> None:
    while await context.read() is not grpc.aio.EOF:
        await context.write(_SAMPLE)


_METHODS: Final[dict[str, Any]] = {
    "Update": grpc.unary_unary_rpc_method_handler(_take_update),
    "Sample": grpc.unary_unary_rpc_method_handler(_take_sample),
    "UpdateStream": grpc.stream_stream_rpc_method_handler(_take_updates),
    "SampleStream": grpc.stream_stream_rpc_method_handler(_take_samples),
}


class _Handlers(grpc.GenericRpcHandler):
    """Messages stay the bytes they are."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Of the method's name alone."""
        return _METHODS.get(str(handler_call_details.method).rpartition("/")[2])


async def _serve() -> None:
    server = grpc.aio.server(handlers=[_Handlers()], options=options(Settings()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready: grpc 127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve until a signal."""
    cli_serve.share_the_processor()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
