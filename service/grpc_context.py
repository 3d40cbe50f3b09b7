"""What RPCs act on, and what is known of one of them once it is let in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from service.access import Access, Principal
from service.errors import InvalidRequest, TooLarge, Unauthorized
from service.grpc_places import Places
from service.health import Health
from service.in_flight import BodiesInFlight, BodyInFlight
from service.metrics import Metrics
from service.pool import BoundedPool
from service.quotas import Quotas
from service.settings import Settings
from service.sketches import Sketches

T = TypeVar("T")
V = TypeVar("V")
M = TypeVar("M", bound=Message)

#: Messages up to this many bytes are read on the event loop: packed columns are one copy.
_INLINE_MESSAGE_BYTES: Final = 1 << 18
#: RPCs whose requests are names and little else. One made of a million empty fields would keep
#: the interpreter for a third of a second, and become eight times as large.
_SHORT: Final = frozenset(
    {"GetSketch", "ListSketches", "PatchSketch", "DeleteSketch", "Seal", "Merge", "GetSnapshot"}
)
_SHORT_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class GrpcServed:
    """What the RPCs act on; the composition root makes it.

    stream_samples: what the pool takes of the messages of sample streams at a time.
    """

    sketches: Sketches
    pool: BoundedPool
    settings: Settings
    metrics: Metrics
    quotas: Quotas
    access: Access
    health: Health
    bodies: BodiesInFlight
    stream_samples: Places


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC that was let in. authorization: what let it in, None where nothing was sent."""

    served: GrpcServed
    method: str
    request_id: str
    caller: Principal
    authorization: str | None = field(repr=False)

    @property
    def tenant(self) -> str:
        """The tenant the RPC speaks for: that of its key."""
        return self.caller.tenant

    def check_still(self) -> None:
        """Raise Unauthorized if the key that let the RPC in works no longer."""
        if self.served.access.admit(self.authorization) != self.caller:
            raise Unauthorized("the key no longer stands for whom it did")

    def body(self) -> BodyInFlight:
        """The bytes of a message, none of them held yet."""
        body = self.served.bodies.begin()
        body.belongs_to(self.tenant)
        return body

    def check_size(self, raw: bytes) -> None:
        """Raise TooLarge for a message over the limit of bodies, or of the RPC."""
        limit = self.served.settings.max_body_bytes
        if self.method in _SHORT:
            limit = min(limit, _SHORT_BYTES)
        if len(raw) > limit:
            raise TooLarge(f"the body is over the limit of {limit} bytes")

    async def parsed(self, parse: Callable[[V], T], value: V, inline: bool) -> T:
        """`parse(value)`, here or in the pool."""
        if inline:
            return parse(value)
        return await self.served.pool.run(parse, value)

    async def read(self, parse: Callable[[bytes], T], raw: bytes) -> T:
        """`parse` of a message's bytes, in the pool when they are many."""
        return await self.parsed(parse, raw, len(raw) <= _INLINE_MESSAGE_BYTES)


def message_of(kind: type[M], raw: bytes) -> M:
    """The message that the bytes hold. Raises InvalidRequest (malformed)."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidRequest(
            f"the message is not a {kind.DESCRIPTOR.name}: {error}",
            code="malformed_protobuf",
            malformed=True,
        ) from error
