"""Which failures of Redis pass by themselves, and what the others are called."""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions

from service.errors import StoreUnavailable

#: First words of error replies that mean "not now" or "not here".
_PASSING: Final = frozenset(
    {"LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "MASTERDOWN", "NOREPLICAS",
     "BUSY", "UNBLOCKED"}
)  # fmt: skip
#: Older servers wrap what a script's command was answered: "... -OOM command not allowed ...".
_WRAPPED: Final = re.compile(
    r"-(LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|OOM|MISCONF|NOPERM) "
)


class NoMaster(exceptions.ConnectionError):
    """Nobody says which server holds these keys now."""


def code(error: exceptions.RedisError) -> str:
    """The word an error reply begins with, as the server sent it; "" for other errors."""
    if isinstance(error, exceptions.OutOfMemoryError):
        return "OOM"
    sent = getattr(error, "status_code", None)
    wrapped = _WRAPPED.search(str(error))
    if wrapped is not None:
        return wrapped.group(1)
    if isinstance(sent, str):
        return sent
    first = str(error).partition(" ")[0]
    return first if first.isupper() else ""


def passes(error: Exception) -> bool:
    """Whether the same command may succeed in a moment, perhaps at another server."""
    if isinstance(error, exceptions.AuthenticationError):
        return False
    if isinstance(error, TimeoutError | OSError | exceptions.TimeoutError):
        return True
    if isinstance(
        error,
        exceptions.ConnectionError  # the base of BusyLoadingError
        | exceptions.ReadOnlyError
        | exceptions.ClusterDownError  # the base of MasterDownError
        | exceptions.TryAgainError
        | exceptions.AskError,  # the base of MovedError
    ):
        return True
    return isinstance(error, exceptions.ResponseError) and code(error) in _PASSING


def refusal(error: Exception) -> StoreUnavailable:
    """What callers are told of an error that does not pass, or has not in time."""
    if isinstance(error, exceptions.AuthenticationError):
        return StoreUnavailable("Redis refuses the user or password of SKETCHD_STORE")
    if isinstance(error, exceptions.ResponseError):
        word = code(error)
        if word == "OOM":
            return StoreUnavailable("Redis is out of memory (maxmemory reached)", retry_after=5.0)
        if word == "NOPERM":
            return StoreUnavailable(f"the user of SKETCHD_STORE may not do this: {error}")
        if word == "MISCONF":
            return StoreUnavailable(
                "Redis cannot save its data and refuses writes (MISCONF)", retry_after=5.0
            )
        return StoreUnavailable(f"Redis answered with an error: {error}")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return StoreUnavailable("Redis does not answer in time")
    return StoreUnavailable(f"Redis cannot be reached: {error}")
