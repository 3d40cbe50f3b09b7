"""What the Redis store's scripts refuse with, and what that means."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from service.errors import BacklogFull, Conflict, InvalidRequest, NotFound, StoreUnavailable
from service.ports import SketchKey
from service.redis_layout import newer_format

#: How often something that others keep changing is looked at again before giving up.
ATTEMPTS: Final = 32


def restless(key: SketchKey) -> StoreUnavailable:
    """What to raise after so many attempts."""
    return StoreUnavailable(f"the sketch {key.name!r} changes too fast to be read or changed")


def refuse(key: SketchKey, answer: list[Any]) -> NoReturn:
    """Raise what a script's refusal means."""
    word = answer[0].decode()
    if word == "gone":
        raise NotFound(f"no sketch named {key.name!r}")
    if word == "newer":
        raise newer_format(answer[1].decode(errors="replace"))
    if word == "reused":
        raise InvalidRequest(
            "the idempotency key was used for another request", code="idempotency_key_reused"
        )
    if word == "sealed":
        raise Conflict(f"operand {answer[1].decode()!r} is sealed", code="operand_sealed")
    if word == "full":
        raise BacklogFull(f"the log of {key.name!r} holds {int(float(answer[1]))} bytes")
    if word == "torn":
        where = answer[1].decode()
        raise StoreUnavailable(f"the log of {key.name!r} in Redis lacks its entry before {where}")
    if word == "ghost":
        raise StoreUnavailable("an append arrived after it had been given up")
    raise StoreUnavailable(f"a script of the Redis store answered {word!r}")
