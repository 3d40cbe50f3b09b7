"""Campaigns of hostile requests: each sends about as many as it is told, through the ledger."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st

from sketch_core.codec import to_snapshot
from tests.hostile import json_bodies, tensor_bodies
from tests.hostile.explore import explore
from tests.hostile.ledger import OCTETS, TENSORS, Ledger
from tests.hostile.live_sketches import LIVE, STRANGE_NAMES
from tests.hostile.openapi_campaign import openapi
from tests.hostile.sockets import sockets

Campaign = Callable[[Ledger, int, int], None]


def json_columns(ledger: Ledger, requests: int, seed: int) -> None:
    """Good JSON bodies, damaged, to every route that reads JSON."""
    good = st.sampled_from(json_bodies.good_requests())
    strategy = good.flatmap(
        lambda one: st.tuples(st.just(one[0]), json_bodies.bodies(one[1]), json_bodies.HEADERS)
    )
    explore(lambda one: ledger.send("POST", *one), strategy, requests, seed)


def specs(ledger: Ledger, requests: int, seed: int) -> None:
    """Damaged specs: of sketches that exist, of new ones, and as plans."""
    names = ("fresh", *LIVE)
    wide = {"samples": 4, "repetitions": 1, "magnitude": 10, "quantum_bits": 8, "depth": 3}
    good = st.tuples(st.sampled_from(names), st.sampled_from(list(LIVE.values())), st.booleans())
    strategy = good.flatmap(
        lambda one: st.tuples(
            st.just(one[0]), json_bodies.bodies({**one[1].spec, **(wide if one[2] else {})})
        )
    )
    explore(
        lambda one: ledger.send("PUT", f"/v1/sketches/{one[0]}", one[1]),
        strategy, requests, seed,
    )  # fmt: skip


def tensors(ledger: Ledger, requests: int, seed: int) -> None:
    """Good safetensors bodies, made to lie."""
    good = st.sampled_from(tensor_bodies.good_requests())
    strategy = good.flatmap(lambda one: st.tuples(st.just(one[0]), tensor_bodies.bodies(*one[1:])))
    headers = {"content-type": TENSORS, "accept": TENSORS}
    explore(lambda one: ledger.send("POST", one[0], one[1], headers), strategy, requests, seed)


def snapshots(ledger: Ledger, requests: int, seed: int) -> None:
    """True snapshots, cut, changed, of another sketch, or whole."""
    strategy = st.tuples(
        st.sampled_from(list(LIVE)), st.sampled_from(list(LIVE)),
        st.sampled_from(("whole", "own", "cut", "flip", "longer", "version", "bytes")),
        st.floats(0, 1, exclude_max=True), st.integers(0, 7),
        st.sampled_from(("", "?operand=y", "?operand=A", "?operand=A&operand=x", "?operand=",
                         "?operand=A1", "?operand=X", "?operand=y&operand=y", "?operand=%00",
                         "?operand", "?other=1")),
    )  # fmt: skip

    def attempt(one: tuple[str, str, str, float, int, str]) -> None:
        name, source, way, place, bit, query = one
        body = bytearray(to_snapshot(ledger.accounts[name if way == "own" else source].model))
        at = 4 if way == "version" else int(place * len(body))
        if way in ("flip", "version"):
            body[at] ^= 1 << bit
        sent = {"cut": body[:at], "longer": body + b"\0", "bytes": body[at : at + 64]}.get(
            way, body
        )
        target = f"/v1/sketches/{name}/snapshot{query}"
        ledger.send("POST", target, bytes(sent), {"content-type": OCTETS})

    explore(attempt, strategy, requests, seed)


_PATHS: Final = ("", "/updates", "/samples", "/snapshot", "/seal", "/nothing", "/", "//updates")
_QUERIES: Final = (
    "?limit=0", "?limit=-1", "?limit=1e3", "?limit=9223372036854775808", "?limit=99999999999999999"
    "9999", "?limit=", "?limit=NaN", "?cursor=", "?cursor=AAAA", "?cursor=%FF", "?cursor=====",
    "?cursor=dmVjdG9y", "?prefix=%00", "?prefix=%", "?prefix=%F0%9F%92%A5", "?prefix=vec&limit=1",
    "?prefix=_", "?prefix=a&prefix=b", "?" + "a=1&" * 2000, "?limit=1&limit=2",
    "?cursor=" + "A" * 9999,
)  # fmt: skip


def names(ledger: Ledger, requests: int, seed: int) -> None:
    """Names and queries that are none, with every method there is and some that are not."""
    draw = random.Random(seed)
    methods = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
    for number in range(requests):
        method = draw.choice(methods)
        if number % 3 == 0:
            target = "/v1/sketches" + draw.choice(_QUERIES)
        else:
            target = f"/v1/sketches/{draw.choice(STRANGE_NAMES)}{draw.choice(_PATHS)}"
        body = b"" if method in ("GET", "HEAD") else b'{"index": [1], "delta": [1]}'
        ledger.send(method, target, body)


CAMPAIGNS: Final[dict[str, Campaign]] = {
    "openapi": openapi,
    "json": json_columns,
    "specs": specs,
    "tensors": tensors,
    "snapshots": snapshots,
    "names": names,
    "sockets": sockets,
}
