"""Long JSON bodies, parsed in pieces, so that no other thread waits for the whole.

The parser keeps the interpreter lock from beginning to end: 10 MB held up the
event loop for 0.2 s, though they were read in a thread of the pool. A long body
is a few long arrays with little around them: columns of numbers, rows of numbers,
or the parts of a batch request. Those are cut out, parsed a piece at a time, and
put back into what the rest was parsed to.

Where to cut is only guessed, from the marks between items; that a guess was right
is seen from every piece being JSON by itself: a piece cut off inside a string, a row
or a part is not. Where one is wrong or anything is unusual (brackets inside strings, a
comma too many, an array in another place) the body is parsed whole, and whatever
that says counts: both ways give the same value or the same error, except that a
piece may nest two levels deeper, which no field of ours does.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json

#: Arrays of more bytes than this are cut out; pieces have about this many, 0.1 ms of parsing.
PIECE_BYTES: Final = 1 << 16
#: Bodies with more arrays than this have short ones: nothing to cut.
_MOST_ARRAYS: Final = 64
#: Patterns look at so many bytes at a time: they keep the interpreter lock too.
_WINDOW_BYTES: Final = 1 << 20
_SPACE: Final = re.compile(rb"[ \t\r\n]{0,99}")
#: From how its first item begins to how an array of such items ends. Numbers: the first bracket.
_ENDS: Final = {b"[": re.compile(rb"\][ \t\r\n]*\]"), b"{": re.compile(rb"\}[ \t\r\n]*\]")}
#: And to the comma between two of its items.
_COMMAS: Final = {b"[": re.compile(rb"\][ \t\r\n]*,"), b"{": re.compile(rb"\}[ \t\r\n]*,")}
_COMMA: Final = re.compile(rb",")


def parse(body: bytes, piece_bytes: int = PIECE_BYTES) -> Any:
    """The value of a JSON body. Raises ValueError when it is not JSON."""
    spans = list(_long_arrays(body, piece_bytes)) if len(body) > piece_bytes else []
    if spans:
        try:
            return _parse_in_pieces(body, spans, piece_bytes)
        except ValueError:
            pass  # what is wrong, and where, the parser says best of the whole
    return from_json(body)


def _found(pattern: re.Pattern[bytes], body: bytes, at: int, end: int) -> int:
    """Position after the first match in body[at:end], or -1."""
    while at < end:
        stop = min(end, at + _WINDOW_BYTES)
        match = pattern.search(body, at, stop)
        if match is not None:
            return match.end()
        # What begins in this window may end in the next one.
        at = stop if stop == end else stop - 100
    return -1


def _item_mark(body: bytes, opened: int) -> bytes:
    """The first byte of the first item of the array that opens there."""
    match = _SPACE.match(body, opened + 1)
    at = match.end() if match is not None else opened + 1
    return body[at : at + 1]


def _long_arrays(body: bytes, piece_bytes: int) -> Iterator[tuple[int, int]]:
    """(position of "[", of "]") of what look like long arrays."""
    closed = -1
    for _ in range(_MOST_ARRAYS):
        opened = body.find(b"[", closed + 1)
        if opened < 0:
            return
        pattern = _ENDS.get(_item_mark(body, opened))
        if pattern is None:
            closed = body.find(b"]", opened)
        else:
            closed = _found(pattern, body, opened, len(body)) - 1
        if closed < 0:
            return
        if closed - opened > piece_bytes:
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
        whole[name] = _items(body, opened, closed, piece_bytes)
    return whole


def _items(body: bytes, opened: int, closed: int, piece_bytes: int) -> list[Any]:
    """The items of the array body[opened:closed + 1]. Raises ValueError."""
    mark = _item_mark(body, opened)
    comma = _COMMAS.get(mark, _COMMA)
    items: list[Any] = []
    at = opened + 1
    while True:
        cut = _cut(comma, body, at, closed, piece_bytes)
        end = cut if cut >= 0 else closed
        if mark in _COMMAS and end - at > 2 * piece_bytes:
            piece = [_long_item(body[at:end].strip(b" \t\r\n"), piece_bytes)]
        else:
            piece = from_json(b"[" + body[at:end] + b"]")
        if not piece:
            raise ValueError("a comma with nothing beside it")
        items += piece
        if cut < 0:
            return items
        at = cut + 1


def _long_item(item: bytes, piece_bytes: int) -> Any:
    """One row or one part that is long by itself: two would have been cut apart."""
    if item.startswith(b"[") and item.endswith(b"]"):
        return _items(item, 0, len(item) - 1, piece_bytes)
    return parse(item, piece_bytes)


def _cut(comma: re.Pattern[bytes], body: bytes, at: int, closed: int, piece_bytes: int) -> int:
    """The comma that ends a piece which begins `at`, or -1 when the array ends it.

    It is a first one behind piece_bytes, unless that is far away and one comes earlier.
    """
    cut = _found(comma, body, min(at + piece_bytes, closed), closed) - 1
    if (cut if cut >= 0 else closed) - at > 2 * piece_bytes:
        earlier = _found(comma, body, at, min(at + piece_bytes, closed)) - 1
        if earlier >= 0:
            return earlier
    return cut
