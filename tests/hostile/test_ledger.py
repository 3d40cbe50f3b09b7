"""The ledger notices each fault it is there to find: services with one fault each must fail it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service import problems, request_bodies, sketches
from service.errors import InvalidRequest
from service.settings import Settings
from tests.hostile.ledger import Ledger
from tests.service.http_rig import running

TARGET = "/v1/sketches/vector/updates"
GOOD = b'{"index": [1], "delta": [2]}'


def _crash(*_: object) -> Any:
    raise RuntimeError("a bug")


def _apply_then_refuse(patch: pytest.MonkeyPatch) -> None:
    update = sketches.Sketches.update

    async def refused(*args: Any, **kwargs: Any) -> None:
        await update(*args, **kwargs)
        raise InvalidRequest("no")

    patch.setattr(sketches.Sketches, "update", refused)


def _lose_half(patch: pytest.MonkeyPatch) -> None:
    columns_of = request_bodies.update_from_json

    def half(body: bytes) -> Any:
        return columns_of(body.replace(b"[2]", b"[1]"))

    patch.setattr("service.request_bodies.update_from_json", half)


def _acknowledge_only(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> sketches.Acknowledgement:
        return sketches.Acknowledgement(1, "0-0")

    patch.setattr(sketches.Sketches, "update", nothing)


def _refuse_without_code(patch: pytest.MonkeyPatch) -> None:
    def plain(status: int, code: str, detail: str) -> dict[str, Any]:
        return {"status": status, "detail": detail}

    patch.setattr(problems, "problem", plain)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bytes, str]] = {
    "a crash": (
        lambda patch: patch.setattr(request_bodies, "update_from_json", _crash),
        GOOD, "a failure of the service",
    ),
    "a refusal that was applied": (_apply_then_refuse, GOOD, "vector went from"),
    "an update half applied": (_lose_half, GOOD, "vector holds something else"),
    "an acknowledgement of nothing": (_acknowledge_only, GOOD, "vector went from 0-0"),
    "a problem without a code": (_refuse_without_code, b"{", "'type'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault: str) -> None:
    make, body, says = FAULTS[fault]
    with running(Settings(store="memory://")) as service:
        ledger = Ledger(str(service.client.base_url))
        try:
            assert ledger.send("POST", TARGET, body).status in (200, 400)
            with pytest.MonkeyPatch.context() as patch:
                make(patch)
                with pytest.raises((AssertionError, KeyError), match=says):
                    ledger.send("POST", TARGET, body)
        finally:
            ledger.close()
