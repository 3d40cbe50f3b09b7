"""What requests must satisfy before a use case acts on them, and how core errors become ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from service import log_entries
from service.errors import Conflict, InvalidRequest, NotFound
from service.ports import Entry, Idempotency, Record, SketchKey
from service.random_ids import new_id
from service.settings import Settings
from sketch_core.batch import Columns, encode, quantise
from sketch_core.errors import (
    DrawsExhausted,
    IncompatibleSketches,
    InvalidSnapshot,
    SketchError,
    UnsupportedSnapshot,
)
from sketch_core.spec import OPERANDS, Spec

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

#: The rule of names, of a whole string.
NAME_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
NAME_RULE: Final = (
    "a name is a letter or digit, then up to 127 letters, digits, '.', '_', ':' or '-'"
)
LONGEST_NAME: Final = 128
_NAME: Final = re.compile(NAME_PATTERN)

#: Work on up to this many numbers is done on the event loop: a thread would cost more.
INLINE_NUMBERS: Final = 512
#: The same for the columns of a batch, of which numpy checks and encodes 100,000 a millisecond: no
#: longer than 0.1 ms each. A keyed one is hashed as well, which takes four times as long.
INLINE_BATCH_NUMBERS: Final = 1 << 14
INLINE_KEYED_NUMBERS: Final = 1 << 12

#: Bytes of specs, stored and as sent, in one page of a list: a fixed x can make them long.
PAGE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """An update ready to be appended. body_digest: b"" when no key asked for it."""

    payload: bytes
    operand: str
    updates: int
    coordinates: int
    underflowed: int
    body_digest: bytes

    def entry(self) -> Entry:
        """What the log keeps of it, under an id of its own."""
        return Entry(
            id=new_id(),
            operands=frozenset((self.operand,)),
            payload=self.payload,
            updates=self.updates,
            coordinates=self.coordinates,
            underflowed=self.underflowed,
        )


def state_entry(data: bytes, operands: frozenset[str]) -> Entry:
    """What the log keeps of a state whose operands are added, under an id of its own."""
    return Entry(
        id=new_id(),
        operands=operands,
        payload=log_entries.pack_state(operands),
        attachment=data,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the core as errors of the service."""
    try:
        yield
    except DrawsExhausted as error:
        raise InvalidRequest(error.detail, code="draws_exhausted", pointer="/draw") from error
    except IncompatibleSketches as error:
        raise Conflict(error.detail, code="incompatible_sketches") from error
    except UnsupportedSnapshot as error:
        raise InvalidRequest(error.detail, code="unsupported_snapshot") from error
    except InvalidSnapshot as error:
        raise InvalidRequest(error.detail, code="invalid_snapshot") from error
    except SketchError as error:
        raise InvalidRequest(error.detail, pointer=error.pointer) from error


def check_name(name: str, pointer: str = "/name") -> str:
    """A name as given. Raises InvalidRequest."""
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(NAME_RULE, code="invalid_name", pointer=pointer)
    return name


def find_name(name: str) -> str:
    """A name to look up: one that cannot exist does not."""
    if _NAME.fullmatch(name) is None:
        raise NotFound("no such sketch")
    return name


def key_of(tenant: str, name: str) -> SketchKey:
    """The key of a sketch that a request names. Raises NotFound as find_name does."""
    return SketchKey(tenant, find_name(name))


def check_prefix(prefix: str) -> str:
    """A prefix of a name, as given. Raises InvalidRequest."""
    if prefix and _NAME.fullmatch(prefix) is None:
        raise InvalidRequest("no name starts so", code="invalid_name", pointer="/prefix")
    return prefix


def check_contains(contains: str) -> str:
    """A text to find in names, as given. Raises InvalidRequest."""
    if len(contains) > LONGEST_NAME:
        raise InvalidRequest(
            f"has {len(contains)} characters, and a name at most {LONGEST_NAME}",
            pointer="/contains",
        )
    return contains


def check_limit(limit: int, settings: Settings) -> None:
    """Refuse a page of a list over the limit."""
    if not 1 <= limit <= settings.max_list_limit:
        raise InvalidRequest(f"must be from 1 to {settings.max_list_limit}", pointer="/limit")


def write_cursor(name: str) -> str:
    """An opaque cursor that continues after this name."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> str | None:
    """The name a cursor continues after. Raises InvalidRequest for one we did not write."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        name = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        name = ""
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest("not a cursor of this service", pointer="/cursor")
    return name


def check_operand(spec: Spec, operand: str, pointer: str) -> str:
    """A streamed operand of the kind. Raises InvalidRequest."""
    if operand not in OPERANDS[spec.kind]:
        raise InvalidRequest(f"must be one of {', '.join(OPERANDS[spec.kind])}", pointer=pointer)
    return operand


def check_operands(spec: Spec, operands: Collection[str] | None) -> frozenset[str]:
    """The operands to add: those named, or the kind's first; of a tensor the one named."""
    if operands is None and spec.kind == "tensor":
        raise _one_operand()
    if operands is None:
        return frozenset(OPERANDS[spec.kind][:1])
    if not operands:
        raise InvalidRequest("names no operand", pointer="/operands")
    for at, operand in enumerate(operands):
        check_operand(spec, operand, f"/operands/{at}")
        if operand == spec.fixed_operand:
            raise InvalidRequest(
                f"{operand} was given at creation and is fixed", pointer=f"/operands/{at}"
            )
    if spec.kind == "tensor" and len(set(operands)) != 1:
        raise _one_operand()
    return frozenset(operands)


def _one_operand() -> InvalidRequest:
    return InvalidRequest(
        "name exactly one operand: Y is linear in each of A1, A2 and X, not in all together",
        pointer="/operands",
    )


def check_key(key: str | None, settings: Settings) -> str | None:
    """An idempotency key within its limits, the only place that checks. Raises InvalidRequest."""
    longest = settings.max_idempotency_key_length
    if key is not None and not (0 < len(key) <= longest and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {longest} printable ASCII characters",
            code="invalid_idempotency_key",
        )
    return key


def idempotency(key: str | None, body_digest: bytes, settings: Settings) -> Idempotency | None:
    """What the store remembers of a keyed change."""
    if key is None:
        return None
    return Idempotency(key, body_digest, settings.idempotency_retention_seconds)


def digest_of(operation: str, *parts: bytes | str) -> bytes:
    """A digest of what was asked: the operation and its parts, each with its length."""
    digest = hashlib.sha256(operation.encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def _canonical(name: str, values: npt.NDArray[np.generic] | None) -> list[bytes | str]:
    """A column's name, shape and bytes, the same from JSON and from tensors of any width."""
    if values is None:
        return []
    wide = np.ascontiguousarray(values, "<f8" if values.dtype.kind == "f" else "<u8")
    return [f"{name}{values.shape}", wide.tobytes()]


def columns_digest(columns: Columns) -> bytes:
    """The digest of an update, however it was encoded on the wire."""
    parts: list[bytes | str] = [columns.operand]
    for name in ("index", "row", "column", "delta", "values"):
        parts += _canonical(name, getattr(columns, name))
    return digest_of("update", *parts)


def check_numbers(columns: Columns, settings: Settings) -> int:
    """How many numbers a batch changes: its deltas, or rows times columns. Raises InvalidRequest
    when they are over the limit.
    """
    numbers = columns.values if columns.values is not None else columns.delta
    size = 0 if numbers is None else numbers.size
    if size > settings.max_batch_updates:
        raise InvalidRequest(
            f"at most {settings.max_batch_updates} numbers in one batch", code="batch_too_large"
        )
    return size


def is_long_batch(columns: Columns, keyed: bool) -> bool:
    """Whether checking a batch would hold the event loop up; any column may be the long one."""
    most = INLINE_KEYED_NUMBERS if keyed else INLINE_BATCH_NUMBERS
    names = ("index", "row", "column", "delta", "values")
    found = (getattr(columns, name) for name in names)
    return any(column is not None and column.size > most for column in found)


def has_long_x(spec: Spec) -> bool:
    """Whether hashing or comparing a spec would hold the event loop up."""
    return spec.x is not None and len(spec.x) > INLINE_NUMBERS


def may_merge(source: Spec, target: Spec) -> bool:
    """Whether a state of the one may be added to the other."""
    return source.fingerprint() == target.fingerprint()


def cut_page(records: list[Record], limit: int) -> tuple[list[Record], bool]:
    """The page, and whether more follows. records: up to limit + 1 and PAGE_BYTES of them."""
    size = sum(record.definition_bytes for record in records)
    more = len(records) > limit or (size > PAGE_BYTES and len(records) > 1)
    return (records[:-1] if more else records), more


def prepare(spec: Spec, columns: Columns, keyed: bool) -> Prepared:
    """Check an update whole against the spec and encode it. Raises InvalidBatch."""
    batch, underflowed = quantise(spec, columns)
    return Prepared(
        payload=log_entries.pack_batch(encode(batch)),
        operand=batch.operand,
        updates=len(batch),
        coordinates=batch.coordinates,
        underflowed=underflowed,
        body_digest=columns_digest(columns) if keyed else b"",
    )


def check_queries(spec: Spec, queries: F64 | None, settings: Settings) -> int:
    """How many answers a request wants.

    queries: of x (q, d), an X (1, d1, d2), or None. Raises InvalidRequest for too many, and for
    those of another kind.
    """
    if queries is None:
        return 1
    if queries.ndim == 3 and spec.kind != "tensor":
        raise InvalidRequest(f"a {spec.kind} takes no X", pointer="/X")
    if queries.ndim == 2 and spec.kind == "tensor":
        raise InvalidRequest("a tensor takes no x: its query is X", pointer="/x")
    if queries.ndim == 3:
        if queries.size > settings.max_query_numbers:
            raise InvalidRequest(
                f"at most {settings.max_query_numbers} numbers; stream X instead",
                code="query_too_large",
                pointer="/X",
            )
        return 1
    if len(queries) > settings.max_queries:
        raise InvalidRequest(
            f"at most {settings.max_queries} queries in one request",
            code="too_many_queries",
            pointer="/queries",
        )
    return max(1, len(queries))


def check_count(spec: Spec, count: int, answers: int, settings: Settings) -> None:
    """Refuse a number of draws over the limit."""
    most = settings.max_sample_count // answers
    if spec.kind == "tensor" and spec.method == "exact" and spec.n2 is not None:
        # Each draw reads a row of Y; a sketch's never do.
        most = min(most, max(1, settings.max_exact_candidates // spec.n2))
    if not 1 <= count <= most:
        each = "" if answers == 1 else f" for each of {answers} queries"
        raise InvalidRequest(f"must be from 1 to {most}{each}, not {count}", pointer="/count")


def index_of(spec: Spec, index: U64) -> U64:
    """Coordinates as the core takes them: an empty list is one of pairs too."""
    return index.reshape(0, 2) if spec.kind == "tensor" and not index.size else index


def check_indices(indices: int, answers: int, settings: Settings) -> None:
    """Refuse more point estimates than the limit."""
    if indices * answers > settings.max_estimate_indices:
        raise InvalidRequest(
            f"at most {settings.max_estimate_indices // answers} coordinates",
            code="too_many_indices",
            pointer="/index",
        )
