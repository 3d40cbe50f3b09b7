"""The same random operations on every store: the same answers, the same refusals.

Operations are sent in bursts without waiting for one another, so that a store
which commits in groups has groups to commit; they take effect in the order in
which they were sent.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from service.errors import ServiceError
from service.ports import (
    EMPTY_DIGEST,
    Checkpoint,
    Entry,
    Idempotency,
    Record,
    SketchKey,
    Store,
    Tail,
)
from tests.contract.changes import ManualClock
from tests.contract.conftest import STORES

#: Stores that make no promise about the order of what is sent at once.
UNORDERED = {"redis", "redis-cluster", "redis-twice"}

Operation = Callable[[Store], Awaitable[Any]]

KEYS = [SketchKey("t", "a"), SketchKey("t", "ab"), SketchKey("u", "a")]
TTLS = st.sampled_from([None, None, None, 30.0, 10.0, 0.0])

_keys = st.sampled_from(KEYS)
_operands = st.frozensets(st.sampled_from("xy"), min_size=1)
_bytes = st.binary(max_size=20)
_once = st.none() | st.builds(
    Idempotency,
    key=st.sampled_from(["k", "l"]),
    body_digest=st.sampled_from([b"1", b"1", b"2"]),
    retention_seconds=st.sampled_from([5.0, 50.0, 50.0]),
)


class Agreement(RuleBasedStateMachine):
    """Remembers what a client would: incarnations it created, and places in logs it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.stores: dict[str, Store] = {}
        for name, build in STORES.items():
            path = Path(self.directory.name) / name
            path.mkdir()
            self.stores[name] = build(self.clock, path)
            self.runner.run(self.stores[name].start())
        self.burst: list[Operation] = []
        self.count = 0
        self.incarnations: dict[SketchKey, list[str]] = {key: ["0" * 32] for key in KEYS}
        self.places: dict[SketchKey, list[tuple[int, str]]] = {key: [] for key in KEYS}
        self.checkpoints: dict[SketchKey, int] = dict.fromkeys(KEYS, 0)
        # Most of what there is to compare happens to sketches that exist.
        for key in KEYS[:2]:
            self.create(key, None, 1)

    def teardown(self) -> None:
        try:
            self.look()
        finally:
            for store in self.stores.values():
                self.runner.run(store.close())
            self.runner.close()
            self.directory.cleanup()

    def incarnation(self, key: SketchKey, age: int) -> str:
        known = self.incarnations[key]
        return known[max(0, len(known) - 1 - age)]

    def unique(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def send(self) -> list[Any]:
        """Run the burst on every store; the answers, which must agree."""
        burst, self.burst = self.burst, []
        answers = {
            name: self.runner.run(_answers(store, burst, in_turn=name in UNORDERED))
            for name, store in self.stores.items()
        }
        expected = answers["memory"]
        for name, got in answers.items():
            assert got == expected, name
        return expected

    def ask(self, operation: Operation) -> Any:
        """The answer of one operation, after those that wait."""
        self.burst.append(operation)
        return self.send()[-1]

    @rule(key=_keys, once=_once.filter(bool), age=st.sampled_from([0, 0, 1]))
    def recall(self, key: SketchKey, once: Idempotency, age: int) -> None:
        incarnation = self.incarnation(key, age)
        self.burst.append(lambda store: store.recall(key, incarnation, once))

    @rule(key=_keys, payload=_bytes, once=_once, operands=_operands, age=st.just(0))
    def append(
        self,
        key: SketchKey,
        payload: bytes,
        once: Idempotency | None,
        operands: frozenset[str],
        age: int,
        attachment: bytes | None = None,
        limit: int = 1000,
    ) -> None:
        change = Entry(self.unique(), operands, payload, len(payload), 2, 1, attachment)
        incarnation = self.incarnation(key, age)
        self.burst.append(
            lambda store: store.append(key, incarnation, change, once, max_log_bytes=limit)
        )

    @rule(
        key=_keys,
        payload=_bytes,
        once=_once,
        operands=_operands,
        age=st.sampled_from([0, 0, 0, 1]),
        attachment=st.none() | _bytes,
        limit=st.sampled_from([0, 30, 1000]),
    )
    def append_otherwise(self, **what: Any) -> None:
        self.append(**what)

    @rule(key=st.just(KEYS[0]), payloads=st.lists(_bytes, min_size=1, max_size=5))
    def append_some(self, key: SketchKey, payloads: list[bytes]) -> None:
        for payload in payloads:
            self.append(key, payload, None, frozenset("z"), 0)

    @rule(key=_keys, ttl=TTLS, size=st.integers(0, 50))
    def create(self, key: SketchKey, ttl: float | None, size: int) -> None:
        now, incarnation = self.clock.now(), self.unique()
        expires_at = None if ttl is None else now + ttl
        new = Record(key, incarnation, b"spec", b"request", now, ttl, expires_at, size)
        answer = self.ask(lambda store: store.create(new))
        if answer[1]:
            self.incarnations[key].append(incarnation)
            self.checkpoints[key] = 0

    @rule(key=_keys, age=st.sampled_from([0, 0, 0, 1]), operand=st.sampled_from("xy"), once=_once)
    def seal(self, key: SketchKey, age: int, operand: str, once: Idempotency | None) -> None:
        incarnation = self.incarnation(key, age)
        self.burst.append(lambda store: store.seal(key, incarnation, operand, once))

    @rule(key=_keys, again=st.booleans())
    def delete(self, key: SketchKey, again: bool) -> None:
        self.burst.append(lambda store: store.delete(key))
        if again:
            self.create(key, None, 2)

    @rule(key=_keys, ttl=TTLS)
    def set_ttl(self, key: SketchKey, ttl: float | None) -> None:
        self.burst.append(lambda store: store.set_ttl(key, ttl))

    @rule(seconds=st.sampled_from([1.0, 1.0, 5.0, 10.0, 30.0]))
    def pass_time(self, seconds: float) -> None:
        self.send()
        self.clock.advance(seconds)

    @rule(
        key=_keys,
        age=st.sampled_from([0, 0, 0, 1]),
        place=st.integers(0, 8),
        wrong=st.sampled_from([False, False, True]),
        max_bytes=st.sampled_from([0, 10, 25, 1000]),
    )
    def read(self, key: SketchKey, age: int, place: int, wrong: bool, max_bytes: int) -> None:
        incarnation = self.incarnation(key, age)
        known = [(0, EMPTY_DIGEST), *self.places[key][-8:]]
        position, digest = known[-1 - place % len(known)]
        digest = "f" * 40 if wrong else digest
        self.send()
        self.ask(lambda store: store.read(key, incarnation, position, digest, max_bytes=max_bytes))
        self.note(key)

    @rule(
        key=_keys,
        age=st.sampled_from([0, 0, 0, 0, 1]),
        place=st.integers(0, 8),
        off=st.sampled_from([0, 0, 0, 1, -1]),
        wrong=st.sampled_from([False, False, False, True]),
        exact=st.booleans(),
        state=_bytes,
    )
    def compact(
        self,
        key: SketchKey,
        age: int,
        place: int,
        off: int,
        wrong: bool,
        exact: bool,
        state: bytes,
    ) -> None:
        self.note(key)
        incarnation = self.incarnation(key, age)
        known = [(0, EMPTY_DIGEST), *self.places[key][-8:]]
        position, digest = known[-1 - place % len(known)]
        checkpoint = Checkpoint(position, "f" * 40 if wrong else digest, state)
        replaces = self.checkpoints[key] + off
        done = self.ask(
            lambda store: store.compact(key, incarnation, replaces, checkpoint, exact=exact)
        )
        if done is True:
            self.checkpoints[key] = position

    @rule(
        key=_keys,
        age=st.sampled_from([0, 0, 0, 1]),
        holder=st.sampled_from(["me", "you"]),
        seconds=st.sampled_from([0.0, 5.0, 20.0]),
        release=st.booleans(),
    )
    def lease(self, key: SketchKey, age: int, holder: str, seconds: float, release: bool) -> None:
        incarnation = self.incarnation(key, age)
        if release:
            self.burst.append(lambda store: store.release_lease(key, incarnation, holder))
        else:
            self.burst.append(lambda store: store.acquire_lease(key, incarnation, holder, seconds))

    @rule(key=_keys, age=st.sampled_from([0, 0, 1]))
    def mark_inexact(self, key: SketchKey, age: int) -> None:
        incarnation = self.incarnation(key, age)
        self.burst.append(lambda store: store.mark_inexact(key, incarnation))

    @rule(limit=st.integers(1, 5))
    def sweep(self, limit: int) -> None:
        # Which of the expired ones go first is each store's own affair; their number is not.
        self.send()
        totals = set()
        for store in self.stores.values():
            counts: list[int] = []
            while not counts or counts[-1]:
                counts.append(self.runner.run(store.sweep(limit)))
            assert max(counts) <= limit
            totals.add(sum(counts))
        assert len(totals) == 1

    @rule()
    def look(self) -> None:
        """Everything there is to see."""
        self.send()
        for key in KEYS:
            self.note(key)
            self.ask(lambda store, key=key: store.get(key))  # type: ignore[misc]
        for tenant in ("t", "u"):
            page = self.ask(
                lambda store, tenant=tenant: store.list(  # type: ignore[misc]
                    tenant, prefix="a", limit=1, after=None
                )
            )
            after = page[-1].key.name if page else None
            self.ask(
                lambda store, tenant=tenant: store.list(  # type: ignore[misc]
                    tenant, prefix="", limit=2, after=None, contains="B"
                )
            )
            self.ask(
                lambda store, tenant=tenant, after=after: store.list(  # type: ignore[misc]
                    tenant, prefix="", limit=9, after=after, max_bytes=15
                )
            )
        for largest in (0, 1, 9):
            self.ask(lambda store, largest=largest: store.usage(largest))  # type: ignore[misc]

    def note(self, key: SketchKey) -> None:
        """Remember where the log ends."""
        incarnation = self.incarnation(key, 0)
        found = self.ask(lambda store: store.get(key))
        tail = self.ask(
            lambda store: store.read(key, incarnation, 0, EMPTY_DIGEST, max_bytes=1 << 30)
        )
        if isinstance(found, Record) and isinstance(tail, Tail):
            self.places[key].append((found.position, found.digest))


async def _answers(store: Store, burst: list[Operation], *, in_turn: bool) -> list[Any]:
    if in_turn:
        return [await _answer(store, one) for one in burst]
    # Reads do not queue behind writes, so a read comes alone, after the burst.
    writes, last = burst[:-1], burst[-1:]
    answers = list(await asyncio.gather(*(_answer(store, one) for one in writes)))
    for one in last:
        answers.append(await _answer(store, one))
    return answers


async def _answer(store: Store, operation: Operation) -> Any:
    try:
        return await operation(store)
    except ServiceError as error:
        return type(error).__name__, error.code


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
