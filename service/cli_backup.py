"""`sketchd backup`, `restore` and `inspect`: sketches to a file and back, without a service."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from service.access_ports import AccessStore, Quota, Tenant
from service.backup import Saved, save
from service.backup_file import BackupReader, BackupWriter, Head, InvalidBackup
from service.cli_operations import CannotDo, settings_of
from service.cli_store import Opened, opened_store
from service.errors import ServiceError
from service.restore import Restored, Target, check, restore, verify
from service.settings import InvalidSetting, Settings
from sketch_core.spec import Spec

_BAR: Final = 24


def run(options: argparse.Namespace) -> int:
    """Carry out one of the commands. Returns the exit status."""
    try:
        if options.command == "inspect":
            return _inspect(options.file)
        if options.command == "restore":
            return _restore(options)
        return asyncio.run(_backup(options, settings_of(options.store, must_exist=True)))
    except (CannotDo, InvalidSetting, InvalidBackup) as error:
        reason = str(error)
    except ServiceError as error:
        reason = error.detail
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    print(f"sketchd: {reason}", file=sys.stderr)
    return 1


# Commands


async def _backup(options: argparse.Namespace, settings: Settings) -> int:
    line = ProgressLine()
    async with opened_store(settings) as opened:
        store = opened.store
        quota = await _quota(opened.access, options.tenant)
        head = Head(options.tenant, opened.clock.now(), quota)
        total = (await store.usage(0)).sketches.get(options.tenant, 0) if line.shown else 0
        whole = options.sketch is None and not options.prefix

        def progress(name: str, saved: Saved) -> None:
            share = saved.sketches / total if whole and total else None
            line.show(share, f"{_sketches(saved.sketches)}, {_size(saved.state_bytes)}  {name}")

        with replacing(Path(options.output)) as stream:
            writer = BackupWriter(stream, head)
            saved = await save(
                store, options.tenant, writer, name=options.sketch, prefix=options.prefix,
                skip_unreadable=options.skip_unreadable, progress=progress,
            )  # fmt: skip
            writer.finish()
            size = stream.tell()
    line.clear()
    for reason in saved.left_out.values():
        print(f"sketchd: left out: {reason}", file=sys.stderr)
    print(f"{_sketches(saved.sketches)} of tenant {options.tenant}, {size} bytes: {options.output}")
    return 1 if saved.left_out else 0


def _restore(options: argparse.Namespace) -> int:
    if options.rename is not None and options.sketch is None:
        raise CannotDo("--as needs --sketch: it names one sketch anew")
    settings = settings_of(options.store)
    line = ProgressLine()
    with Path(options.input).open("rb") as stream:
        reader = BackupReader(stream)
        tenant = reader.head.tenant if options.tenant is None else options.tenant
        target = Target(tenant, options.on_conflict, options.sketch, options.rename)
        target.check()
        # Whole and unharmed, before a store is opened at all.
        for sketch in reader.sketches():
            line.show(reader.position / reader.size, f"checking {sketch.name}")
            verify(sketch)
        done = asyncio.run(_write(settings, stream, target, line))
    line.clear()
    left = f", {done.skipped} left as they were" if done.skipped else ""
    print(f"{_sketches(done.written)} restored to tenant {tenant}{left}")
    return 0


async def _write(
    settings: Settings, stream: BinaryIO, target: Target, line: ProgressLine
) -> Restored:
    async with opened_store(settings) as opened:
        await check(opened.store, BackupReader(stream), target)
        reader = BackupReader(stream)
        await _ensure_tenant(opened, target.tenant, reader.head.quota)
        return await restore(
            opened.store, opened.clock, reader, target,
            progress=lambda name, at: line.show(at / reader.size, f"restoring {name}"),
        )  # fmt: skip


def _inspect(file: str) -> int:
    with Path(file).open("rb") as stream:
        reader = BackupReader(stream)
        head = reader.head
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(head.created_at))
        print(f"tenant {head.tenant}, made {made}, quota {'none' if head.quota is None else 'yes'}")
        count = 0
        for sketch in reader.sketches():
            verify(sketch)
            spec = Spec.from_bytes(sketch.spec)
            shape = " ".join(f"{name}={size}" for name, size in spec.shape_json().items())
            ttl = "" if sketch.ttl_seconds is None else f" ttl {sketch.ttl_seconds:g} s"
            sealed = f" sealed {','.join(sorted(sketch.sealed))}" if sketch.sealed else ""
            print(
                f"{sketch.name}  {spec.kind} {shape} {spec.method}  {len(sketch.state)} bytes  "
                f"{sketch.updates} updates{'' if sketch.exact else ' not exact'}{ttl}{sealed}  ok"
            )
            count += 1
        print(f"{_sketches(count)}, {reader.size} bytes, every checksum agrees")
    return 0


# Steps


async def _quota(access: AccessStore, tenant: str) -> Quota | None:
    found = await access.directory(None)
    known = None if found is None else found.tenants.get(tenant)
    return None if known is None else known.quota


async def _ensure_tenant(opened: Opened, name: str, quota: Quota | None) -> None:
    """A tenant that had a quota has one again; one that exists keeps its own."""
    if quota is not None:
        await opened.access.put_tenant(Tenant(name, opened.clock.now(), quota), new=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream that becomes the file at `path` when the block ends well, and vanishes otherwise."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(path)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name too survives a loss of power
        finally:
            os.close(folder)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


class ProgressLine:
    """One line on standard error that is written over, if a person watches; else nothing."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self._next = 0.0

    def show(self, share: float | None, text: str) -> None:
        """share: of the work that is done, from 0 to 1, or None where nobody knows."""
        if not self.shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.1
        bar = ""
        if share is not None:
            filled = min(_BAR, int(_BAR * share))
            bar = f"[{'#' * filled}{' ' * (_BAR - filled)}] {share:4.0%}  "
        print(f"\r\033[K{bar}{text}"[:120], end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line to others."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _sketches(count: int) -> str:
    return f"{count} sketch" if count == 1 else f"{count} sketches"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"
