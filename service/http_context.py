"""What every route needs: the use cases it serves, and the request's body, media types and keys.

Bodies are read here and nowhere else, so that the limits of one body and of all
together hold for every route: at once by Content-Length, else as soon as the
bytes exceed them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from starlette.requests import Request

from service import in_flight, wire, wire_tensors
from service.body_blocks import BodyBlocks
from service.errors import TooLarge, TooSlow, UnsupportedMedia
from service.http_access import caller_of, check_still
from service.metrics import Metrics
from service.quotas import Quotas
from service.settings import Settings
from service.sketch_requests import check_key
from service.sketches import Sketches

P = ParamSpec("P")
T = TypeVar("T")
#: Returns, or refuses the request.
Check = Callable[[], Awaitable[object]]

JSON: Final = "application/json"
TENSORS: Final = wire_tensors.MEDIA_TYPE
OCTETS: Final = "application/octet-stream"

#: Bodies beyond this many bytes are not read for a sketch that does not exist.
_READ_UNSEEN_BYTES: Final = 1 << 16
#: A body that took longer has outlived what was known of its key when it began.
_LONG_READ_SECONDS: Final = 0.5
#: Below these, a safetensors body is read in tens of microseconds.
_INLINE_TENSOR_BYTES: Final = 1 << 18
_INLINE_HEADER_BYTES: Final = 1 << 12


class Pool(Protocol):
    """Threads with a bounded queue; Overloaded when it is full."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread and wait."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """What the routes act on; the composition root puts it into the app's state."""

    sketches: Sketches
    pool: Pool
    settings: Settings
    metrics: Metrics
    quotas: Quotas


def served(request: Request) -> Served:
    """What this app's routes act on."""
    context: Served = request.app.state.served
    return context


def tenant_of(request: Request) -> str:
    """The tenant a request speaks for: that of its key."""
    return caller_of(request.scope).tenant


def media_type(request: Request, *readable: str) -> str:
    """The body's media type, the first readable where none is named, or UnsupportedMedia."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedMedia(f"a body in content-encoding {encoding!r} is not read")
    named = request.headers.get("content-type")
    if named is None:
        return readable[0]
    kind, _, rest = named.partition(";")
    kind = kind.strip().lower()
    charset = rest.partition("charset=")[2].strip().strip('"').lower()
    if kind not in readable or charset not in ("", "utf-8"):
        raise UnsupportedMedia(f"{named!r} is not read here; {' and '.join(readable)} is")
    return kind


def wants_tensors(request: Request) -> bool:
    """Whether the Accept header names safetensors and likes it no less than JSON."""
    weights: dict[str, float] = {}
    for part in ",".join(request.headers.getlist("accept")).split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        weights[kind] = min((_weight(one) for one in parameters), default=1.0)
    json = next((weights[kind] for kind in (JSON, "application/*", "*/*") if kind in weights), 0.0)
    return 0.0 < weights.get(TENSORS, 0.0) >= json


def _weight(parameter: str) -> float:
    """The q of RFC 9110; 1 for what is not one."""
    name, _, value = parameter.partition("=")
    plain = value.replace(".", "", 1).isdecimal() and value.isascii() and len(value) <= 5
    return float(value) if name.strip() == "q" and plain else 1.0


async def read_body(request: Request, limit: int, first: Check | None = None) -> bytes:
    """The whole body.

    first: refuses the request for what is known without its body; asked before a long
    one is read, and not at all for a short one. Raises TooLarge as soon as the body is
    known to exceed `limit` bytes, Overloaded as soon as all bodies exceed theirs, and
    TooSlow when a block of it takes too long: a client that stalls would keep its bytes.
    """
    held = in_flight.of(request.scope)
    announced = _announced(request)
    if announced > limit:
        raise _too_large(limit)
    if first is not None and announced > _READ_UNSEEN_BYTES:
        await first()
        first = None
    held.reaches(announced)
    patience = served(request).settings.body_seconds
    now = asyncio.get_running_loop().time
    blocks = BodyBlocks()
    began = now()
    try:
        async with asyncio.timeout(patience) as until:
            async for chunk in request.stream():
                size = blocks.size + len(chunk)
                if size > limit:
                    raise _too_large(limit)
                held.reaches(size)
                if blocks.add(chunk):
                    until.reschedule(now() + patience)
                if first is not None and size > _READ_UNSEEN_BYTES:
                    until.reschedule(None)
                    await first()
                    first = None
                    until.reschedule(now() + patience)
    except TimeoutError:
        if not until.expired():
            raise
        raise TooSlow(f"the body did not come within {patience:g} seconds") from None
    if now() - began > _LONG_READ_SECONDS:
        check_still(request.scope)
    return await parsed(request, BodyBlocks.take, blocks, blocks.is_short)


def _announced(request: Request) -> int:
    """Content-Length, 0 where there is none."""
    announced = request.headers.get("content-length", "")
    return int(announced[:20]) if announced.isascii() and announced.isdigit() else 0


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {limit} bytes")


async def read_json(request: Request, parse: Callable[[bytes], T], first: Check | None = None) -> T:
    """A JSON body, parsed; in the pool when it is large. first: as for read_body."""
    media_type(request, JSON)
    body = await read_body(request, served(request).settings.max_body_bytes, first)
    return await parsed(request, parse, body, len(body) <= wire.INLINE_JSON_BYTES)


async def read_columns(
    request: Request,
    from_json: Callable[[bytes], T],
    from_tensors: Callable[[bytes], T],
    first: Check | None = None,
) -> T:
    """A body of columns in either format, parsed; in the pool when it is large.

    first: as for read_body.
    """
    kind = media_type(request, JSON, TENSORS)
    body = await read_body(request, served(request).settings.max_body_bytes, first)
    if kind == JSON:
        return await parsed(request, from_json, body, len(body) <= wire.INLINE_JSON_BYTES)
    header = int.from_bytes(body[:8], "little")
    small = len(body) <= _INLINE_TENSOR_BYTES and header <= _INLINE_HEADER_BYTES
    return await parsed(request, from_tensors, body, small)


async def parsed(request: Request, parse: Callable[[Any], T], value: Any, inline: bool) -> T:
    """`parse(value)`, here or in the pool."""
    if inline:
        return parse(value)
    return await served(request).pool.run(parse, value)


def exists(request: Request, name: str) -> Check:
    """A check that the sketch a request names is there, for all that is known here.

    Raises NotFound. What went since is refused where the request is acted on.
    """
    return partial(served(request).sketches.check_known, tenant_of(request), name)


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header, checked before the body is read."""
    return check_key(request.headers.get("idempotency-key"), served(request).settings)


def part_key(key: str | None, at: int) -> str | None:
    """The key of one part of a batch request: of fixed length, never a caller's own."""
    if key is None:
        return None
    return "part:" + hashlib.sha256(f"{key}\n{at}".encode()).hexdigest()
