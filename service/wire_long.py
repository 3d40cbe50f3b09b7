"""Long JSON bodies, parsed in pieces, so that no other thread waits for the whole.

The parser keeps the interpreter lock from beginning to end: 10 MB held up the
event loop for 0.2 s, though they were read in a thread of the pool. A long body
is a few long arrays of numbers with little around them. Those are cut out,
parsed a piece at a time, and put back into what the rest was parsed to.

Cutting is only a shortcut. Where anything is unusual (brackets inside strings,
a comma too many, an array in another place) the body is parsed whole, and
whatever that says counts: both ways give the same value or the same error.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json

#: Arrays of more bytes than this are cut out; pieces have about this many, 0.1 ms of parsing.
PIECE_BYTES: Final = 1 << 16
#: Bodies with more arrays than this hold rows, each of them short: nothing to cut.
_MOST_ARRAYS: Final = 64


def parse(body: bytes, piece_bytes: int = PIECE_BYTES) -> Any:
    """The value of a JSON body. Raises ValueError when it is not JSON."""
    spans = list(_long_arrays(body, piece_bytes))
    if spans:
        try:
            return _parse_in_pieces(body, spans, piece_bytes)
        except ValueError:
            pass  # what is wrong, and where, the parser says best of the whole
    return from_json(body)


def _long_arrays(body: bytes, piece_bytes: int) -> Iterator[tuple[int, int]]:
    """(position of "[", of "]") of long arrays that hold no string, object or array."""
    closed = -1
    for _ in range(_MOST_ARRAYS):
        outer = body.find(b"[", closed + 1)
        if outer < 0:
            return
        closed = body.find(b"]", outer)
        if closed < 0:
            return
        opened = body.rfind(b"[", outer, closed)
        if closed - opened > piece_bytes and all(
            body.find(mark, opened, closed) < 0 for mark in (b'"', b"{", b"}")
        ):
            yield opened, closed


def _parse_in_pieces(body: bytes, spans: list[tuple[int, int]], piece_bytes: int) -> Any:
    token = secrets.token_hex(16)  # no body can hold it on purpose
    frame: list[bytes] = []
    at = 0
    for number, (opened, closed) in enumerate(spans):
        frame += [body[at:opened], f'"{token}{number}"'.encode()]
        at = closed + 1
    frame.append(body[at:])
    whole = from_json(b"".join(frame))
    if not isinstance(whole, dict):
        raise ValueError("the arrays are in another place")
    places = [
        name for name, value in whole.items() if type(value) is str and value.startswith(token)
    ]
    if len(places) != len(spans):
        raise ValueError("the arrays are in other places")
    for name in places:
        opened, closed = spans[int(whole[name].removeprefix(token))]
        whole[name] = _items(body, opened + 1, closed, piece_bytes)
    return whole


def _items(body: bytes, at: int, end: int, piece_bytes: int) -> list[Any]:
    """The items of one array without its brackets. Raises ValueError."""
    items: list[Any] = []
    while True:
        cut = body.find(b",", at + piece_bytes, end)
        piece = from_json(b"[" + body[at : cut if cut >= 0 else end] + b"]")
        if not piece:
            raise ValueError("a comma with nothing beside it")
        items += piece
        if cut < 0:
            return items
        at = cut + 1
