"""Requests as they go over the wire, whole but for the idempotency key before the clock starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Of sketchd.v1.UpdateRequest, as tags of length-delimited fields.
_SKETCH_TAG: Final = b"\x0a"
_SAFETENSORS_TAG: Final = b"\x42"
_KEY_TAG: Final = b"\x4a"


@dataclass(frozen=True, slots=True)
class Job:
    """A request.

    kind: "update" or "sample", under which its latency is counted. head, body: over HTTP the
    lines before the empty one, and what follows it; over gRPC two parts of one message, which
    put together are that message. Bodies may be shared by many jobs. sketch: the position of
    the sketch it concerns. updates: increments that it adds.
    """

    kind: str
    head: bytes
    body: bytes = b""
    sketch: int = 0
    updates: int = 0

    def over_http(self, key: bytes | None) -> bytes:
        """The request with an idempotency key, or without."""
        named = b"" if key is None else b"idempotency-key: %s\r\n" % key
        return b"%s%s\r\n%s" % (self.head, named, self.body)

    def over_grpc(self, key: bytes | None) -> bytes:
        """The message with an idempotency key (at most 127 bytes), or without."""
        named = b"" if key is None else b"%s%c%s" % (_KEY_TAG, len(key), key)
        return b"%s%s%s" % (self.head, self.body, named)


def http_job(
    kind: str,
    method: str,
    path: str,
    body: bytes = b"",
    media: str = "application/json",
    *,
    accept: str | None = None,
    host: str = "127.0.0.1",
    access_key: str | None = None,
    sketch: int = 0,
    updates: int = 0,
) -> Job:
    """A request over HTTP/1.1 on a connection that stays."""
    more = f"authorization: Bearer {access_key}\r\n" if access_key else ""
    more += f"accept: {accept}\r\n" if accept else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media}\r\n"
        f"content-length: {len(body)}\r\n{more}"
    )
    return Job(kind, head.encode("ascii"), body, sketch, updates)


def grpc_job(
    kind: str,
    name: str,
    body: bytes = b"",
    *,
    sketch: int = 0,
    updates: int = 0,
    tensors: bool = False,
) -> Job:
    """A message for a sketch of that name.

    body: the rest of it, encoded; with `tensors` a safetensors body, as HTTP takes it, instead.
    """
    head = field_bytes(_SKETCH_TAG, name.encode("ascii"))
    if tensors:
        head += _SAFETENSORS_TAG + _varint(len(body))
    return Job(kind, head, body, sketch, updates)


def authority(host: str, port: int) -> str:
    """Both in one; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def field_bytes(tag: bytes, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return tag + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
