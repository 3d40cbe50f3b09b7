"""Sends hostile requests and holds the service to what it answered.

For every live sketch the ledger keeps a sketch of its own, fed with exactly what was
acknowledged. After each request the snapshots must equal, byte for byte, and versions
must be what they were unless something was acknowledged: nothing half applied.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from sketch_core.batch import Columns, quantise
from sketch_core.codec import from_snapshot, to_snapshot
from sketch_core.resolve import resolve
from sketch_core.sketch import Sketch, new_sketch
from sketch_core.spec import OPERANDS
from tests.hostile import acknowledged
from tests.hostile.live_sketches import LIVE

JSON = "application/json"
TENSORS = "application/x-safetensors"
OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"

#: uvicorn closes a connection after 5 s without a request.
_IDLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. Header names are in lower case."""

    method: str
    target: str
    body: bytes
    sent: Mapping[str, str]
    status: int
    headers: Mapping[str, str]
    content: bytes

    def __str__(self) -> str:
        return (
            f"{self.method} {self.target[:200]} {dict(self.sent)} {self.body[:300]!r}\n"
            f"-> {self.status} {self.content[:500]!r}"
        )


@dataclass(slots=True)
class Account:
    """One live sketch: what it must hold, its version, and the keys that have succeeded."""

    model: Sketch
    version: str
    keys: set[tuple[str, int]] = field(default_factory=set)


class Ledger:
    """requests: hostile ones sent; answers: how many of each status."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.url = url
        self._raw = http.client.HTTPConnection(url.partition("//")[2], timeout=30)
        self._answered = time.monotonic()
        self.accounts: dict[str, Account] = {}
        self.requests = 0
        self.answers: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        for name in LIVE:
            self.restore(name)

    def restore(self, name: str) -> None:
        """Make a live sketch anew, with some updates in it."""
        live = LIVE[name]
        path = f"/v1/sketches/{name}"
        self.client.delete(path)
        made = self.client.put(path, json=live.spec)
        assert made.status_code == 201, made.text
        account = self.accounts[name] = Account(new_sketch(resolve(live.spec)), "")
        for update in live.updates:
            answer = self.client.post(f"{path}/updates", json=update)
            assert answer.status_code == 200, answer.text
            self._apply(name, acknowledged.columns_of_json(update), answer.json())
        for operand in live.sealed:
            answer = self.client.post(f"{path}/seal", json={"operand": operand})
            assert answer.status_code == 200, answer.text
        account.version = self.client.get(path).json()["version"]
        self.check(name)

    def send(
        self, method: str, target: str, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> Exchange:
        """One hostile request, its answer checked and booked."""
        sent = {"content-type": JSON, **(more or {})}
        if time.monotonic() - self._answered > _IDLE_SECONDS:
            self._raw.close()  # the service may be about to, which nobody could tell from a failure
        try:
            exchange = self._exchange(method, target, body, sent)
        except Exception:
            self._raw.close()  # so that a second attempt fails by itself, or not
            raise
        self._answered = time.monotonic()
        self.book(exchange)
        return exchange

    def _exchange(self, method: str, target: str, body: bytes, sent: Mapping[str, str]) -> Exchange:
        # Not through httpx, which tidies targets and refuses odd headers.
        self._raw.putrequest(method, target, "host" in sent, skip_accept_encoding=True)
        for name, value in sent.items():
            self._raw.putheader(name, value)
        self._raw.putheader("content-length", str(len(body)))
        self._raw.endheaders(body)
        answer = self._raw.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Exchange(method, target, body, sent, answer.status, headers, answer.read())

    def book(self, exchange: Exchange) -> None:
        """Check an answer and all it may have changed."""
        self.requests += 1
        self.answers[exchange.status] += 1
        try:
            self._check_answer(exchange)
            if exchange.status < 300:
                self.settle(exchange)
            name = _name(exchange.target)
            for one in [name] if name in self.accounts else list(self.accounts):
                self.check(one)
        except Exception as error:
            error.add_note(str(exchange))
            raise

    def check(self, name: str) -> None:
        """The service holds what the ledger holds."""
        account = self.accounts[name]
        answer = self.client.get(f"/v1/sketches/{name}/snapshot")
        assert answer.status_code == 200, answer.text
        version = answer.headers["x-sketch-version"]
        assert version == account.version, f"{name} went from {account.version} to {version}"
        assert answer.content == to_snapshot(account.model), f"{name} holds something else"

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._raw.close()

    def check_all(self) -> None:
        """So for every sketch, and there are no others."""
        for name in self.accounts:
            self.check(name)
        listed = self.client.get("/v1/sketches", params={"limit": 1000}).json()["sketches"]
        assert [one["name"] for one in listed] == sorted(self.accounts)

    def _check_answer(self, exchange: Exchange) -> None:
        status, headers = exchange.status, exchange.headers
        assert status < 500, "a failure of the service"
        assert headers["x-request-id"]
        if status < 400:
            return
        assert headers["content-type"] == PROBLEM
        if exchange.method != "HEAD":
            self.codes[check_problem(json.loads(exchange.content), status)] += 1

    def settle(self, exchange: Exchange) -> None:
        """Book what a success says has happened."""
        path = urlsplit(exchange.target).path
        name, action = _name(exchange.target), path.rpartition("/")[2]
        method, body = exchange.method, exchange.body
        key = exchange.sent.get("idempotency-key", "")
        if path == "/v1/updates" and method == "POST":
            self._settle_parts(body, json.loads(exchange.content)["results"], key)
        elif name is not None and path.count("/") == 3:
            self._settle_sketch(exchange, name)
        elif name is None or method != "POST" or action not in _CHANGES:
            return
        elif self._is_new(name, key, 0):
            _CHANGES[action](self, name, exchange)

    def _settle_sketch(self, exchange: Exchange, name: str) -> None:
        if exchange.method == "DELETE":
            self.restore(name)
        elif exchange.status == 201:
            made = self.client.get(f"/v1/sketches/{name}/snapshot")
            info = json.loads(exchange.content)
            wanted = {**acknowledged.json_object(exchange.body), "seed": info["seed"]}
            wanted.pop("ttl_seconds", None)
            assert made.content == to_snapshot(new_sketch(resolve(wanted)))
            assert self.client.delete(f"/v1/sketches/{name}").status_code == 204

    def _settle_parts(self, body: bytes, results: list[dict[str, Any]], key: str) -> None:
        parts = acknowledged.json_object(body)["updates"]
        assert len(parts) == len(results)
        for at, (part, result) in enumerate(zip(parts, results, strict=True)):
            assert result["status"] < 500, result
            if result["status"] != 200:
                check_problem(result["problem"], result["status"])
            elif self._is_new(part["sketch"], key, at + 1):
                self._apply(part["sketch"], acknowledged.columns_of_json(part), result)

    def _is_new(self, name: str, key: str, part: int) -> bool:
        """Whether a success counts: not when it repeats that of an earlier request."""
        keys = self.accounts[name].keys
        if key and (key, part) in keys:
            return False
        if key:
            keys.add((key, part))
        return True

    def _apply(self, name: str, columns: Columns | None, answer: dict[str, Any]) -> None:
        account = self.accounts[name]
        account.version = answer["version"]
        if columns is None:
            assert answer["accepted"] == 0
            return
        batch, _ = quantise(account.model.spec, columns)
        assert answer["accepted"] == len(batch)
        account.model.apply([batch])

    def _updated(self, name: str, exchange: Exchange) -> None:
        kind = exchange.sent.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind == TENSORS:
            columns = acknowledged.columns_of_tensors(exchange.body)
        else:
            columns = acknowledged.columns_of_json(acknowledged.json_object(exchange.body))
        self._apply(name, columns, json.loads(exchange.content))

    def _merged(self, name: str, exchange: Exchange) -> None:
        asked = acknowledged.json_object(exchange.body)
        self._add(name, self.accounts[asked["source"]].model.copy(), asked.get("operands"))
        self.accounts[name].version = json.loads(exchange.content)["version"]

    def _received(self, name: str, exchange: Exchange) -> None:
        state = from_snapshot(exchange.body, self.accounts[name].model.spec)
        operands = httpx.URL(exchange.target).params.get_list("operand")
        self._add(name, state, operands or None)
        self.accounts[name].version = json.loads(exchange.content)["version"]

    def _add(self, name: str, state: Sketch, operands: list[str] | None) -> None:
        model = self.accounts[name].model
        model.merge(state, set(operands or OPERANDS[model.spec.kind][:1]))

    def _sealed(self, name: str, exchange: Exchange) -> None:
        self.restore(name)  # a sealed sketch would refuse all that follows


_CHANGES = {
    "updates": Ledger._updated,
    "merge": Ledger._merged,
    "snapshot": Ledger._received,
    "seal": Ledger._sealed,
}


def check_problem(problem: dict[str, Any], status: int) -> str:
    """A problem as the contract has it. Returns its code."""
    assert problem["status"] == status
    assert problem["type"] == f"/docs/errors#{problem['code']}"
    assert problem["title"]
    assert isinstance(problem["detail"], str)
    for one in problem.get("errors", ()):
        assert one["pointer"].startswith("/"), problem
        assert one["detail"]
    code: str = problem["code"]
    return code


def _name(target: str) -> str | None:
    parts = urlsplit(target).path.split("/")
    found = len(parts) in (4, 5) and parts[1:3] == ["v1", "sketches"]
    return unquote(parts[3]) if found else None
