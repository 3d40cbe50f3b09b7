"""Strategies of JSON that is almost right: good bodies of the live sketches, damaged.

A body is a tree whose leaves may be `Raw` text, so that it can hold what no JSON
writer writes: NaN, 1e400, a thousand digits, a key twice.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from hypothesis import strategies as st

from tests.hostile.live_sketches import LIVE, Json


class Raw(str):
    """Text that stands in the body as it is."""

    __slots__ = ()


class Twice(str):
    """A key that comes a second time: its own text, but no equal of the first."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def written(value: object) -> str:
    """JSON text of a tree, whatever stands in it."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        items = (f"{json.dumps(str(name))}: {written(item)}" for name, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(item) for item in value) + "]"
    return json.dumps(value)


_DEEP: Final = 100_000
NUMBERS: Final[tuple[Any, ...]] = (
    *map(Raw, (
        "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1.7976931348623157e308", "1e309",
        "-1e309", "1e400", "1e-400", "5e-324", "1e999999999", "1e-999999999", "0e999999999", "-0",
        "-0.0", "01", "+1", ".5", "1.", "1e", "--1", "0x10", "1_000", "1" * 400, "1" * 5000,
        "0." + "1" * 5000, "nan", "inf", "undefined", "'1'", "9223372036854775807.0", "1E0", "3e0",
    )),
    0, 1, 2, -1, 3.0, 0.5, 1 << 31, 1 << 32, (1 << 52) + 1, 1 << 53, (1 << 53) + 1, (1 << 62),
    (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1, 1 << 64, 1 << 65, 10**30, -(1 << 63),
    -(1 << 63) - 1, -(1 << 64),
)  # fmt: skip
OTHERS: Final[tuple[Any, ...]] = (
    None, True, False, "", "7", "-1", "1.5", "1e3", " 7", "7 ", "0x7", "NaN", "9" * 19, "9" * 20,
    "9" * 400, "\u0663", "\x00", "\ud800", "\U0001f4a5", "y", "A", "x", "X", [], {}, [[]], [{}],
    {"": ""}, [None], "vector", "nobody", "../vector",
    Raw("[" * _DEEP), Raw("[" * _DEEP + "]" * _DEEP), Raw('{"a":' * _DEEP + "1" + "}" * _DEEP),
    Raw("[" * 198 + "]" * 198), Raw("[" * 300 + "]" * 300), Raw('"\\ud800"'), Raw('"\\x41"'),
    Raw('"\t"'), Raw(""), Raw(","), Raw("/* no */ 1"), Raw("]"), Raw("}"),
)  # fmt: skip
HOSTILE: Final = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(OTHERS).map(copy.deepcopy),  # what is put in may be damaged further
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
FIELDS: Final = (
    "index", "delta", "row", "column", "values", "operand", "sketch", "count", "replacement",
    "draw", "x", "X", "queries", "power", "source", "operands", "seed", "", "__proto__", "a/b~c",
    "\x00", "INDEX",
)  # fmt: skip


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every item in a tree, the root left out."""
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    found = [path] if path else []
    for name, item in items:
        found += _places(item, (*path, name))
    return found


_WAYS: Final = ("replace", "replace", "drop", "repeat", "wrap", "add", "twice")


@st.composite
def damaged(draw: st.DrawFn, tree: Json) -> Json:
    """A tree with up to three things wrong with it; sometimes none."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 1, 2, 3)))):
        places = _places(tree)
        way = draw(st.sampled_from(_WAYS))
        if not places or way == "add":
            tree[draw(st.sampled_from(FIELDS))] = draw(HOSTILE)
            continue
        *above, last = draw(st.sampled_from(places))
        parent: Any = tree
        for step in above:
            parent = parent[step]
        if way == "replace":
            parent[last] = draw(HOSTILE)
        elif way == "drop":
            del parent[last]
        elif way == "wrap":
            parent[last] = [parent[last]]
        elif isinstance(parent, list):
            parent.insert(last, copy.deepcopy(parent[last]))
        else:
            parent[Twice(last) if way == "twice" else f"{last}2"] = draw(
                st.just(copy.deepcopy(parent[last])) | HOSTILE
            )
    return tree


def _questions(name: str) -> list[tuple[str, Json]]:
    live = LIVE[name]
    found: list[tuple[str, Json]] = []
    for query in [live.query] + ([live.several] if live.several else []):
        found += [
            (f"/v1/sketches/{name}/samples", {"count": 2, "replacement": True, "draw": 0, **query}),
            (f"/v1/sketches/{name}/estimates", {"index": list(live.index), **query}),
            (f"/v1/sketches/{name}/norm", {"power": 2, **query}),
        ]
    return found


def _long(body: Json) -> Json:
    """The same with columns so long that they are read in pieces, in a thread of the pool."""
    times = 4000
    return {
        name: value * times
        if isinstance(value, list) and name not in ("x", "X", "queries")
        else value
        for name, value in body.items()
    }


def good_requests() -> list[tuple[str, Json]]:
    """(path, body) of everything POST takes as JSON, of every live sketch."""
    found: list[tuple[str, Json]] = []
    parts: list[Json] = []
    asked: list[Json] = []
    for name, live in LIVE.items():
        for update in live.updates:
            found += [(f"/v1/sketches/{name}/updates", update)] * 3
            found.append((f"/v1/sketches/{name}/updates", _long(update)))
            parts.append({"sketch": name, **update})
        questions = _questions(name)
        found += questions
        found.append((questions[1][0], _long(questions[1][1])))
        asked.append({"sketch": name, **questions[0][1]})
        main = live.updates[0].get("operand", "y")
        found.append((f"/v1/sketches/{name}/merge", {"source": name, "operands": [main]}))
        found.append((f"/v1/sketches/{name}/merge", {"source": name}))
        found.append((f"/v1/sketches/{name}/seal", {"operand": "y"}))
        found.append(("/v1/plan", live.spec))
        found.append(("/v1/updates", {"updates": parts[-3:]}))
        found.append(("/v1/samples", {"requests": asked[-3:]}))
    return found


BYTES_AROUND: Final = (
    (b"\xef\xbb\xbf", b""), (b"\xff\xfe", b""), (b"", b"\x00"), (b"", b"}"), (b"", b" {}"),
    (b"\x1e", b""), (b"[", b"]"), (b"// no\n", b""), (b"", b"\xff"), (b" \r\n\t", b"\n"),
    (b"\x0b", b""), (b")]}',\n", b""), (b"", b","),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn, tree: Json) -> bytes:
    """A damaged tree as bytes, which may be damaged too."""
    text = written(draw(damaged(tree)))
    body = text.encode("utf-8", "surrogatepass")
    way = draw(st.sampled_from(("whole",) * 12 + ("cut", "around", "flip", "utf-16", "latin")))
    if way == "cut":
        return body[: draw(st.integers(0, max(0, len(body) - 1)))]
    if way == "around":
        before, after = draw(st.sampled_from(BYTES_AROUND))
        return before + body + after
    if way == "flip" and body:
        changed = bytearray(body)
        changed[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if way == "utf-16":
        return text.encode("utf-16", "surrogatepass")
    return body.replace(b"e", b"\xe9") if way == "latin" else body


HEADERS: Final = st.sampled_from(
    ({},) * 30 + (
        {"content-type": "text/plain"}, {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json;charset=UTF-8"}, {"content-type": ""},
        {"content-type": "application/x-safetensors"}, {"content-type": "application/octet-stream"},
        {"content-encoding": "gzip"}, {"content-encoding": "br, gzip"}, {"content-type": ";"},
        {"content-encoding": "identity"}, {"accept": "application/x-safetensors"},
        {"accept": "application/x-safetensors;q=NaN, */*;q=1e999"}, {"accept": ",;q=,"},
        {"idempotency-key": "k"}, {"idempotency-key": " "}, {"idempotency-key": "k" * 256},
        {"idempotency-key": "caf\xe9"}, {"x-request-id": "a b"}, {"x-request-id": "r" * 200},
        {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": ""},
        {"expect": "100-continue"}, {"range": "bytes=0-1"}, {"if-none-match": "*"},
        {"x-http-method-override": "DELETE"}, {"connection": "close"},
    )
)  # fmt: skip
