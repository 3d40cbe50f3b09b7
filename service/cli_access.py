"""The commands about tenants and keys. They work on the store itself, beside a running service
or without one; running replicas learn of a change within SKETCHD_ACCESS_REFRESH_SECONDS.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from service import answer_objects
from service import app as composition
from service.access_admin import Administration
from service.access_ports import Quota, Tenant
from service.cli_access_parser import LIMITS, NO_LIMIT
from service.clock import SystemClock
from service.errors import Conflict, ServiceError
from service.settings import InvalidSetting, Settings, read

Act = Callable[[Administration, argparse.Namespace], Awaitable[None]]

_DAY_SECONDS: Final = 86400.0


def run(options: argparse.Namespace) -> int:
    """Do what was asked. Returns the exit status."""
    try:
        settings = read(os.environ, {"store": options.store})
        asyncio.run(_run(settings, options))
    except InvalidSetting as error:
        return _refuse(str(error))
    except ServiceError as error:
        field = error.pointer.removeprefix("/").replace("_", "-")
        return _refuse(f"{field}: {error.detail}" if field else error.detail)
    return 0


async def _run(settings: Settings, options: argparse.Namespace) -> None:
    if settings.store == "memory://":
        raise InvalidSetting(
            "memory:// ends with its process: name the store of the service (--store URL or "
            "SKETCHD_STORE)"
        )
    clock = SystemClock()
    backend = composition.open_store(settings, clock)
    await backend.store.start()
    try:
        act = ACTS[options.act]
        await act(Administration(backend.store, backend.access, settings, clock), options)
    finally:
        await backend.store.close()


def _refuse(reason: str) -> int:
    print(f"sketchd: {reason}", file=sys.stderr)
    return 1


# What the commands do


async def _tenant_add(administration: Administration, options: argparse.Namespace) -> None:
    made = await administration.add_tenant(options.name, Quota(**_limits(options)))
    if made is None:
        raise Conflict(f"the tenant {options.name!r} exists; change it with `sketchd tenant set`")
    _show_tenant(options, made)


async def _tenant_set(administration: Administration, options: argparse.Namespace) -> None:
    _show_tenant(options, await administration.set_tenant(options.name, _limits(options)))


async def _tenant_list(administration: Administration, options: argparse.Namespace) -> None:
    tenants = await administration.tenants()
    if options.json:
        print(json.dumps({"tenants": [answer_objects.tenant(one) for one in tenants]}))
        return
    names = list(LIMITS)
    _table(
        ["name", "created", *(name.replace("_", "-") for name in names)],
        [
            [one.name, _day(one.created_at), *(_limit(getattr(one.quota, name)) for name in names)]
            for one in tenants
        ],
    )


async def _tenant_rm(administration: Administration, options: argparse.Namespace) -> None:
    await administration.remove_tenant(options.name, force=options.force)


async def _key_add(administration: Administration, options: argparse.Namespace) -> None:
    days = options.expires_in
    issued = await administration.add_key(
        options.tenant, options.role, options.label, None if days is None else days * _DAY_SECONDS
    )
    if options.json:
        print(json.dumps({**answer_objects.key(issued.key), "key": issued.text}))
        return
    print(issued.text)
    until = "" if days is None else f" until {_day(issued.key.expires_at)}"
    print(
        f"This is the key {issued.key.id} of the tenant {options.tenant}, role {options.role}"
        f"{until}.\nIt is not shown again. Send it as: Authorization: Bearer KEY",
        file=sys.stderr,
    )


async def _key_list(administration: Administration, options: argparse.Namespace) -> None:
    keys = await administration.keys(options.tenant)
    if options.json:
        print(json.dumps({"keys": [answer_objects.key(one) for one in keys]}))
        return
    _table(
        ["id", "tenant", "role", "created", "expires", "label"],
        [
            [one.id, one.tenant, one.role, _day(one.created_at), _day(one.expires_at), one.label]
            for one in keys
        ],
    )


async def _key_rm(administration: Administration, options: argparse.Namespace) -> None:
    await administration.remove_key(options.id, force=options.force)


def _limits(options: argparse.Namespace) -> dict[str, Any]:
    """The limits that were named; those that were lifted are None."""
    named = {name: getattr(options, name) for name in LIMITS if getattr(options, name) is not None}
    return {name: None if value == NO_LIMIT else value for name, value in named.items()}


# What they print


def _show_tenant(options: argparse.Namespace, tenant: Tenant) -> None:
    if options.json:
        print(json.dumps(answer_objects.tenant(tenant)))


def _day(seconds: float | None) -> str:
    return (answer_objects.time(seconds) or "never")[:10]


def _limit(value: float | None) -> str:
    return "-" if value is None else f"{value:.12g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    for row in [heads, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


#: Command -> what does it.
ACTS: Final[dict[str, Act]] = {
    "tenant_add": _tenant_add,
    "tenant_set": _tenant_set,
    "tenant_list": _tenant_list,
    "tenant_rm": _tenant_rm,
    "key_add": _key_add,
    "key_list": _key_list,
    "key_rm": _key_rm,
}
