"""Specs with a long fixed x, and long batches: none of them may hold the event loop up."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from service import sketch_plans
from service import sketch_requests as requests
from service.errors import InvalidRequest
from sketch_core.batch import Columns
from sketch_core.spec import OPERANDS, Spec
from tests.service.rig import VECTOR, rigged

LONG = 4000
LONG_X: dict[str, Any] = {
    "kind": "matrix", "shape": {"n": 4, "d": LONG}, "method": "exact", "seed": 3,
}  # fmt: skip


LONG_MATRIX: dict[str, Any] = {
    "kind": "tensor", "shape": {"n1": 4, "n2": 5, "d1": 40, "d2": 100}, "method": "exact",
    "seed": 3,
}  # fmt: skip


def test_an_x_is_long_by_all_its_numbers() -> None:
    for x, long in (
        ([[1.0] * 512], False), ([[1.0] * 513], True), ([[1.0]] * 513, True), ([[]] * 513, True),
        ([[1.0] * 300, [1.0] * 300], True), (["1" * 600], False), ("1" * 600, False), (None, False),
    ):  # fmt: skip
        assert sketch_plans.has_long_x({"kind": "tensor", "X": x}) == long


def test_a_batch_is_long_by_its_longest_column_and_sooner_under_a_key() -> None:
    most = {False: requests.INLINE_BATCH_NUMBERS, True: requests.INLINE_KEYED_NUMBERS}
    for keyed, size in most.items():
        for long, many in ((False, size), (True, size + 1)):
            column, one = np.zeros(many, np.int64), np.ones(1)
            entries = Columns("A", row=column, column=column, delta=one)
            assert requests.is_long_batch(entries, keyed) == long
            rows = Columns("A", row=column[:1], values=np.zeros((1, many)))
            assert requests.is_long_batch(rows, keyed) == long


async def test_pages_with_long_specs_are_short_and_cover_the_list_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "PAGE_BYTES", 100_000)
    async with rigged() as [rig]:
        wanted = [f"s{i}" for i in range(5)] + ["t"]
        for name in wanted[:-1]:
            x = [0.5 + float(name[1:])] * LONG
            info, new = await rig.sketches.create("default", name, LONG_X | {"x": x})
            assert new
            assert await rig.sketches.create("default", name, LONG_X | {"x": x}) == (info, False)
        await rig.sketches.create("default", "t", VECTOR)
        bytes_ = (await rig.record("s0")).definition_bytes
        assert bytes_ < 100_000 < 5 * bytes_
        names: list[str] = []
        pages, cursor = 0, None
        while pages == 0 or cursor is not None:
            page, cursor = await rig.sketches.list("default", cursor=cursor)
            assert page
            names += [info.name for info in page]
            pages += 1
        assert names == wanted
        assert pages > 1


@pytest.mark.parametrize(
    ("request_", "fixed"),
    [(LONG_X, {"x": [1.0] * LONG}), (LONG_MATRIX, {"X": [[1.0] * 100] * 40})],
    ids=["x", "X"],
)
async def test_long_specs_and_columns_are_worked_on_in_the_pool(
    monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any], fixed: dict[str, Any]
) -> None:
    """Decoding, hashing and checking what is long never happens in the event loop's thread."""
    loop_thread = threading.get_ident()
    threads: dict[str, set[bool]] = {}

    def watch(holder: Any, name: str) -> None:
        inner = getattr(holder, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident() == loop_thread)
            return inner(*args, **kwargs)

        monkeypatch.setattr(holder, name, watched)

    for name in ("from_bytes", "to_bytes", "fingerprint"):
        watch(Spec, name)
    watch(requests, "prepare")
    watch(sketch_plans, "read_request")
    async with rigged(2) as [rig, other]:
        for name in "ab":
            await rig.sketches.create("default", name, request_ | fixed)
        await other.sketches.get("default", "a")
        first = OPERANDS[request_["kind"]][0]
        await other.sketches.merge("default", "a", "b", [first])
        await rig.sketches.list("default")
        many = np.zeros(600, np.int64)  # itself not long: the fixed x is
        with pytest.raises(InvalidRequest):  # a short delta beside a long column
            await rig.sketches.update(
                "default", "a", Columns(first, row=many, column=many, delta=np.ones(1))
            )
    assert threads == {
        name: {False}
        for name in ("from_bytes", "to_bytes", "fingerprint", "prepare", "read_request")
    }
