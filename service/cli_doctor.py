"""`sketchd doctor`: is this store fit to keep sketches, and what could it lose?"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

from service import doctor, doctor_redis, doctor_sqlite
from service.app import redis_connection
from service.cli_operations import SQLITE, CannotDo, settings_of
from service.cli_store import opened_store
from service.doctor import Line
from service.errors import ServiceError
from service.redis_url import is_redis, parse, shown
from service.settings import InvalidSetting, Settings

_FAILED: Final = 2


def run(options: argparse.Namespace) -> int:
    """Print the report. Returns 0, 1 for warnings with --strict, 2 for failures."""
    try:
        settings = settings_of(options.store, must_exist=True)
        lines = asyncio.run(report(settings))
    except (CannotDo, InvalidSetting) as error:
        print(f"sketchd: {error}", file=sys.stderr)
        return _FAILED
    print(doctor.as_json(lines) if options.json else doctor.as_text(lines))
    return doctor.status_of(lines, strict=options.strict)


async def report(settings: Settings) -> list[Line]:
    """Every finding about the store of the settings. Raises InvalidSetting for no store's URL."""
    if is_redis(settings.store):
        lines, opens = await _redis(settings)
    elif settings.store.startswith(SQLITE):
        path = Path(settings.store[len(SQLITE) :])
        found = await asyncio.to_thread(doctor_sqlite.gather, path, settings.sqlite_file_bytes)
        lines, opens = doctor.examine(doctor_sqlite.CHECKS, found), found.is_current
    else:
        raise InvalidSetting(f"SKETCHD_STORE: {shown(settings.store)!r} is not a store's URL")
    # Opening a store brings it to this release's format, which is not for doctor to do.
    return lines + await _contents(settings) if opens else lines


async def _redis(settings: Settings) -> tuple[list[Line], bool]:
    """The findings, and whether the store can be opened without a change."""
    connection = redis_connection(settings)
    try:
        await connection.start()
        try:
            facts = await doctor_redis.gather(
                connection,
                clustered=parse(settings.store).mode == "cluster",
                wait_replicas=settings.redis_wait_replicas,
            )
        finally:
            await connection.close()
    except ServiceError as error:
        return [Line("fail", "connection", error.detail)], False
    return doctor.examine(doctor_redis.CHECKS, facts), facts.is_current


async def _contents(settings: Settings) -> list[Line]:
    try:
        async with opened_store(settings) as opened:
            usage = await opened.store.usage(0)
            directory = await opened.access.directory(None)
            facts = doctor.ContentFacts(usage, directory, opened.clock.now())
    except ServiceError as error:
        return [Line("fail", "contents", error.detail)]
    return doctor.examine(doctor.CONTENTS, facts)
