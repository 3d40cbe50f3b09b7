"""What doctor finds: a table of small checks over facts that were gathered before.

A check looks at facts and yields findings; it reads nothing, so that each can be
shown any server there could be. service.doctor_sqlite and service.doctor_redis
have the tables of their stores and gather their facts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeVar

from service.access_ports import Directory
from service.ports import Usage

F = TypeVar("F")

Level = Literal["ok", "warn", "fail"]
#: What a check yields: how bad it is, and a sentence.
Finding = tuple[Level, str]
Check = Callable[[F], Iterable[Finding]]

_STATUS_WARNING: Final = 1
_STATUS_FAILURE: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    level: Level
    check: str
    text: str


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """usage: of the store. directory: of tenants, None where the store keeps none. now: seconds."""

    usage: Usage
    directory: Directory | None
    now: float


def examine(table: Mapping[str, Check[F]], facts: F) -> list[Line]:
    """What every check of a table finds."""
    return [
        Line(level, name, text) for name, check in table.items() for level, text in check(facts)
    ]


def status_of(lines: Iterable[Line], *, strict: bool) -> int:
    """The exit status: 2 for a failure, 1 for a warning if strict, else 0."""
    levels = {line.level for line in lines}
    if "fail" in levels:
        return _STATUS_FAILURE
    return _STATUS_WARNING if strict and "warn" in levels else 0


def as_text(lines: Iterable[Line]) -> str:
    """The report for people, one line a finding."""
    return "\n".join(f"{line.level:<5} {line.check:<12} {line.text}" for line in lines)


def as_json(lines: Iterable[Line]) -> str:
    """The report for programs."""
    return json.dumps({"findings": [asdict(line) for line in lines]}, indent=2)


def _contents(facts: ContentFacts) -> Iterable[Finding]:
    usage = facts.usage
    state = sum(usage.state_bytes.values())
    yield (
        "ok",
        f"sketches: {sum(usage.sketches.values())}, of tenants: {len(usage.sketches)}, bytes of "
        f"states: {state}, updates to be compacted: {usage.backlog}, idempotency keys: "
        f"{usage.idempotency_keys}",
    )


def _access(facts: ContentFacts) -> Iterable[Finding]:
    if facts.directory is None:
        return
    keys = facts.directory.keys.values()
    alive = [key for key in keys if key.expires_at is None or key.expires_at > facts.now]
    admins = sum(key.role == "admin" for key in alive)
    said = f"tenants: {len(facts.directory.tenants)}, keys: {len(alive)}, admin keys: {admins}"
    if not alive:
        yield "warn", f"{said}; whoever reaches the service may do everything: sketchd key add"
    elif not admins:
        yield "warn", f"{said}; nobody can manage keys over HTTP: sketchd key add --role admin"
    else:
        yield "ok", said


#: Of every store.
CONTENTS: Final[dict[str, Check[ContentFacts]]] = {"contents": _contents, "access": _access}
