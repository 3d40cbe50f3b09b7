"""Sketching beside the model: the same bytes as direct updates, and nothing counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from service.client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    NotFound,
    Retry,
    SketchdError,
    Unreachable,
)
from service.client.local import LocalSketch
from tests.client import rig
from tests.client.proxy import Proxy, between

SEALED = {"kind": "matrix", "shape": {"n": 1000, "d": 4}, "seed": 7, "x": [1.0, -2.0, 0.5, 0.0]}
EXACT = {"kind": "vector", "shape": {"n": 100}, "seed": 7, "method": "exact"}
SKETCHED = {**rig.VECTOR, "method": "sketch"}
SPECS = {
    "vector": SKETCHED, "exact": EXACT, "matrix": {**rig.MATRIX, "method": "sketch"},
    "sealed": SEALED, "tensor": {**rig.TENSOR, "method": "sketch"},
}  # fmt: skip


@pytest.fixture
def plain(service: Any) -> Iterator[Client]:
    """A client by HTTP."""
    with Client(rig.url_of(service, "http")) as found:
        yield found


@pytest.fixture
def proxy(service: Any) -> Iterator[Proxy]:
    """A network that can fail."""
    with between(rig.port_of(service, "http")) as found:
        yield found


@pytest.fixture
def through(proxy: Proxy) -> Iterator[Client]:
    """A client that does not try again by itself."""
    with Client(f"http://127.0.0.1:{proxy.port}", retry=Retry(attempts=1)) as found:
        yield found


def updates(kind: str, rng: np.random.Generator) -> list[tuple[str, tuple[Any, ...], str]]:
    """Many small updates: method, columns, operand."""
    made: list[tuple[str, tuple[Any, ...], str]] = []
    rows = {"A": (1000, 4), "A1": (40, 2), "A2": (50, 3), "X": (2, 3)}
    for _ in range(30):
        if kind in ("vector", "exact"):
            columns = (rng.integers(0, 100, 5), rng.normal(size=5))
            made.append(("update", columns, "y"))
            continue
        names = ["A1", "A2", "X"] if kind == "tensor" else ["A"]
        for name in names:
            n, d = rows[name]
            made.append(("update_rows", (rng.integers(0, n, 3), rng.normal(size=(3, d))), name))
            entries = (rng.integers(0, n, 5), rng.integers(0, d, 5), rng.normal(size=5))
            made.append(("update_entries", entries, name))
        if kind == "matrix":
            made.append(("update", (rng.integers(0, 4, 2), rng.normal(size=2)), "x"))
    return made


def apply(target: Any, changes: list[tuple[str, tuple[Any, ...], str]]) -> None:
    for method, columns, operand in changes:
        getattr(target, method)(*columns, operand=operand)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("transport", rig.TRANSPORTS)
def test_what_is_shipped_gives_the_bytes_of_direct_updates(
    service: Any, transport: str, name: str, kind: str, rng: np.random.Generator
) -> None:
    with Client(rig.url_of(service, transport)) as client:
        shipped_like_direct(client, name, kind, rng)


def shipped_like_direct(plain: Client, name: str, kind: str, rng: np.random.Generator) -> None:
    direct = plain.create(f"{name}-direct", SPECS[kind])
    shipped = plain.create(f"{name}-shipped", SPECS[kind])
    local = LocalSketch.like(shipped.info())
    changes = updates(kind, rng)
    apply(direct, changes)
    apply(local, changes[: len(changes) // 2])
    local.ship(shipped)
    apply(local, changes[len(changes) // 2 :])
    local.ship(shipped)
    assert shipped.snapshot().data == direct.snapshot().data
    assert (local.unshipped, local.unacknowledged) == ((), ())


def test_a_sketch_here_holds_the_bytes_of_the_services(plain: Client, name: str) -> None:
    there = plain.create(name, SKETCHED)
    local = LocalSketch(SKETCHED)
    for target in (there, local):
        target.update([1, 2], [0.5, 3.0])
    assert local.snapshot() == there.snapshot().data
    assert local.memory_bytes == there.info().memory_bytes.state


@pytest.mark.parametrize("kind", ["vector", "exact", "matrix", "tensor"])
def test_samples_here_are_those_of_the_service(
    plain: Client, name: str, kind: str, rng: np.random.Generator
) -> None:
    there = plain.create(name, SPECS[kind])
    local = LocalSketch.like(there.info())
    changes = [one for one in updates(kind, rng) if one[2] not in ("x", "X")]
    apply(there, changes)
    apply(local, changes)
    query: dict[str, Any] = {}
    if kind == "matrix":
        query = {"x": [1.0, 2.0, -1.0, 0.25]}
    if kind == "tensor":
        query = {"X": np.arange(6.0).reshape(2, 3)}
    here, at_the_service = local.sample(**query), there.sample(**query)
    assert here.version == "local"
    for field in ("index", "value", "probability", "inclusion_probability"):
        np.testing.assert_array_equal(getattr(here, field), getattr(at_the_service, field), field)
    for field in ("status", "norm", "threshold", "draw", "draws", "exact"):
        assert getattr(here, field) == getattr(at_the_service, field), field


def test_nothing_to_ship_is_no_request() -> None:
    class Unused:
        name = "a"

    local = LocalSketch(SKETCHED)
    local.update([], [])
    unused: Any = Unused()
    assert local.ship(unused) is None


@pytest.mark.parametrize("kind", ["vector", "matrix", "tensor"])
def test_a_lost_answer_counts_once_and_updates_in_between_are_not_lost(
    plain: Client, through: Client, proxy: Proxy, name: str, kind: str, rng: np.random.Generator
) -> None:
    direct = plain.create(f"{name}-direct", SPECS[kind])
    shipped = plain.create(f"{name}-shipped", SPECS[kind])
    local = LocalSketch.like(shipped.info())
    changes = updates(kind, rng)
    third = len(changes) // 3
    apply(direct, changes)
    apply(local, changes[:third])
    before = shipped.info().version
    # The last bytes of what leaves; twice, since a client replaces a broken connection once.
    last = local.snapshot()[-16:]
    proxy.lose_answer(last, applied=lambda: shipped.info().version != before, times=2)
    with pytest.raises(Unreachable):
        local.ship(through.sketch(shipped.name))
    assert proxy.struck == 2
    assert local.unacknowledged
    apply(local, changes[third : 2 * third])
    proxy.cut_before(last, times=2)
    with pytest.raises(Unreachable):
        local.ship(through.sketch(shipped.name))
    apply(local, changes[2 * third :])
    local.ship(through.sketch(shipped.name))
    assert proxy.struck == 4
    assert shipped.snapshot().data == direct.snapshot().data
    assert (local.unshipped, local.unacknowledged) == ((), ())


def test_what_is_surely_refused_comes_back_and_may_go_elsewhere(plain: Client, name: str) -> None:
    direct = plain.create(f"{name}-direct", SPECS["tensor"])
    there = plain.create(f"{name}-there", SPECS["tensor"])
    local = LocalSketch(SPECS["tensor"])
    for target in (direct, local):
        target.update_rows([1], [[0.5, 2.0]], operand="A1")
        target.update_rows([2], [[0.5, 2.0, 1.0]], operand="A2")
    with pytest.raises(NotFound):
        local.ship(plain.sketch(f"{name}-nowhere"))
    assert (local.unshipped, local.unacknowledged) == (("A1", "A2"), ())
    other = plain.create(f"{name}-other", {**SPECS["tensor"], "seed": 8})
    with pytest.raises(Conflict):
        local.ship(other)
    local.ship(there)
    assert there.snapshot().data == direct.snapshot().data


def test_a_doubtful_shipment_binds_to_its_sketch_until_it_is_discarded(
    plain: Client, through: Client, proxy: Proxy, name: str
) -> None:
    there, other = plain.create(name, SKETCHED), plain.create(f"{name}-other", SKETCHED)
    local = LocalSketch(SKETCHED)
    local.update([1], [1.0])
    empty = local.memory_bytes
    proxy.cut_before(local.snapshot()[-16:], times=2)
    with pytest.raises(Unreachable):
        local.ship(through.sketch(name))
    assert local.memory_bytes > empty
    with pytest.raises(ValueError, match=f"a shipment to {name} is not acknowledged"):
        local.ship(other)
    there.delete()
    with pytest.raises(NotFound):
        local.ship(through.sketch(name))
    assert local.unacknowledged == ("y",), "an earlier attempt may have been applied"
    assert local.discard_shipments() == 1
    local.update([2], [1.0])
    local.ship(other)
    assert other.estimate([1, 2]).value.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("code", ["body_too_slow", "unintelligible"])
def test_a_refusal_after_a_lost_answer_within_a_call_leaves_it_in_doubt(
    plain: Client, proxy: Proxy, name: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = plain.create(name, SKETCHED)
    local = LocalSketch(SKETCHED)
    local.update([1], [1.0])
    with Client(f"http://127.0.0.1:{proxy.port}") as client:
        send, attempts = client._transport.send, iter(range(3))

        def refused_second(operation: Any, seconds: float) -> Any:
            if next(attempts) == 1:
                raise InvalidRequest(code, "not now", status=408)
            return send(operation, seconds)

        monkeypatch.setattr(client._transport, "send", refused_second)
        proxy.lose_answer(local.snapshot()[-16:], lambda: bool(there.estimate([1]).value[0]))
        with pytest.raises(InvalidRequest) as caught:
            local.ship(client.sketch(name))
        assert caught.value.uncertain
        local.ship(client.sketch(name))
    assert there.estimate([1]).value.tolist() == [1.0]


def test_a_proxys_refusal_leaves_a_shipment_in_doubt(plain: Client, name: str) -> None:
    there = plain.create(name, SKETCHED)
    local = LocalSketch(SKETCHED)
    local.update([1], [1.0])

    class Refused:
        name = there.name

        def add_snapshot(self, *_: object, **__: object) -> None:
            raise NotFound("unintelligible", "an answer of status 404", status=404)

    refused: Any = Refused()
    with pytest.raises(NotFound):
        local.ship(refused)
    assert local.unacknowledged == ("y",)
    local.ship(there)
    assert there.estimate([1]).value.tolist() == [1.0]


def test_threads_fold_and_ship_at_once(plain: Client, name: str, rng: np.random.Generator) -> None:
    direct = plain.create(f"{name}-direct", SKETCHED)
    shipped = plain.create(f"{name}-shipped", SKETCHED)
    local = LocalSketch.like(shipped.info())
    parts = [updates("vector", rng) for _ in range(4)]
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - asserted below
            failures.append(error)

    works: list[Callable[[], object]] = [lambda part=part: apply(local, part) for part in parts]  # type: ignore[misc]
    works += [lambda: [local.ship(shipped) for _ in range(3)]] * 2
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for part in parts:
        apply(direct, part)
    for thread in threads:
        thread.join(60)
    assert not failures
    local.ship(shipped)
    assert shipped.snapshot().data == direct.snapshot().data


async def test_an_event_loop_ships_too(service: Any, name: str) -> None:
    async with AsyncClient(rig.url_of(service, "http")) as client:
        there = await client.create(name, SKETCHED)
        local = LocalSketch(SKETCHED)
        local.update([1], [1.0])
        with pytest.raises(NotFound):
            await local.ship_async(client.sketch(f"{name}-nowhere"))
        local.update([1], [1.0])
        acknowledged = await local.ship_async(there)
        assert acknowledged is not None
        assert (await there.estimate([1])).value.tolist() == [2.0]
        assert await local.ship_async(there) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda target: target.update([100], [1.0]),
        lambda target: target.update([1, 2], [1.0, float("nan")]),
        lambda target: target.update([1], [1e300]),
        lambda target: target.update([1], [1.0], operand="x"),
        lambda target: target.update_rows([1], [[1.0]]),
        lambda target: target.sample(draw=5),
    ],
)
def test_what_does_not_fit_is_refused_as_by_the_service(
    plain: Client, name: str, change: Callable[[Any], object]
) -> None:
    spec = {**EXACT, "method": "sketch"}
    there, local = plain.create("refusals", spec), LocalSketch(spec)
    errors = []
    for target in (there, local):
        with pytest.raises(SketchdError) as raised:
            change(target)
        error = raised.value
        errors.append((type(error), error.code, error.status, error.fields))
    assert errors[0] == errors[1]
    assert local.unshipped == ()


def test_a_spec_needs_a_seed_and_must_be_one() -> None:
    with pytest.raises(ValueError, match="seed: is required"):
        LocalSketch({"kind": "vector", "shape": {"n": 10}})
    with pytest.raises(InvalidRequest) as raised:
        LocalSketch({"kind": "vector", "shape": {"n": 0}, "seed": 1})
    assert raised.value.fields[0].pointer == "/shape/n"
    local = LocalSketch({**SKETCHED, "ttl_seconds": 60})
    with pytest.raises(ValueError, match="count: must be at least 1"):
        local.sample(0)
    with pytest.raises(ValueError, match="delta: has 2 items, index has 1"):
        local.update([1], [1.0, 2.0])
    assert local.sample().status == "empty"
