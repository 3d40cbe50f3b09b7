"""The checks of a SQLite store, and the gathering of what they look at."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.doctor import Check, Finding
from service.sqlite_schema import APPLICATION_ID, VERSION, connect

#: Free space below which a store is in trouble, and in danger.
_DANGER_BYTES: Final = 100 << 20
_TROUBLE_BYTES: Final = 1 << 30
#: A WAL that readers keep from starting over.
_LONG_WAL_BYTES: Final = 256 << 20
_SYNCHRONOUS_FULL: Final = 2
#: File systems whose locks or shared memory do not reach other machines.
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "fuse.sshfs",
     "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "lustre", "beegfs"}
)  # fmt: skip
_VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay"})


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    """path: of the file. mode: its permissions. file_system: its type, None where unknown.

    limit_bytes: SKETCHD_SQLITE_FILE_BYTES, 0 for none. problems: what quick_check says, [] for
    nothing. error: why the file could not be read, and then what follows it is not known.
    """

    path: str
    mode: int
    writable: bool
    size: int
    wal_bytes: int
    free_bytes: int
    limit_bytes: int
    file_system: str | None
    error: str = ""
    application_id: int = APPLICATION_ID
    version: int = VERSION
    journal_mode: str = "wal"
    synchronous: int = _SYNCHRONOUS_FULL
    problems: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether it can be opened as it is."""
        ours = self.application_id == APPLICATION_ID and self.version == VERSION
        return ours and self.writable and not self.error


def gather(path: Path, limit_bytes: int, mounts: str | None = None) -> SqliteFacts:
    """Look at a file that exists, without changing it. mounts: as /proc/self/mounts has them."""
    wal = path.with_name(path.name + "-wal")
    known = path.stat()
    facts = SqliteFacts(
        path=str(path),
        mode=stat.S_IMODE(known.st_mode),
        writable=os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK),
        size=known.st_size,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        free_bytes=shutil.disk_usage(path.absolute().parent).free,
        limit_bytes=limit_bytes,
        file_system=file_system(path, _mounts() if mounts is None else mounts),
    )
    try:
        return _ask(path, facts)
    except sqlite3.Error as error:
        return _with(facts, error=str(error))


def _ask(path: Path, facts: SqliteFacts) -> SqliteFacts:
    with closing(connect(str(path), 5.0)) as connection:
        connection.execute("PRAGMA query_only = ON")

        def one(pragma: str) -> str | int:
            row = connection.execute(f"PRAGMA {pragma}").fetchone()
            found: str | int = row[0]
            return found

        problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
        return _with(
            facts,
            application_id=one("application_id"),
            version=one("user_version"),
            journal_mode=one("journal_mode"),
            synchronous=one("synchronous"),
            problems=tuple(line for line in problems if line != "ok"),
        )


def _with(facts: SqliteFacts, **changes: object) -> SqliteFacts:
    values = {name: getattr(facts, name) for name in SqliteFacts.__dataclass_fields__}
    return SqliteFacts(**values | changes)


def _mounts() -> str:
    file = Path("/proc/self/mounts")
    return file.read_text("utf-8", "replace") if sys.platform == "linux" else ""


def file_system(path: Path, mounts: str) -> str | None:
    """The type of the file system a path lies on; None where the mounts do not tell."""
    best, found = "", None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        # Later mounts lie over earlier ones of the same place.
        if path.absolute().is_relative_to(point) and len(point) >= len(best):
            best, found = point, fields[2]
    return found


def _file(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.error:
        yield "fail", f"{facts.path} cannot be read: {facts.error}"
    elif not facts.writable:
        yield "fail", f"{facts.path} or its directory cannot be written by this user"
    elif facts.mode & 0o022:
        yield "warn", f"{facts.path} may be written by others (mode {facts.mode:03o}); chmod 600"
    elif facts.mode & 0o044:
        yield "ok", f"{facts.path}, {facts.size} bytes; others on this machine may read it"
    else:
        yield "ok", f"{facts.path}, {facts.size} bytes, is this user's alone"


def _format(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.error:
        return
    if facts.application_id != APPLICATION_ID:
        yield "fail", "the file is a SQLite database of another application"
    elif facts.version > VERSION:
        yield (
            "fail",
            f"format {facts.version} is newer than {VERSION}, the newest this release reads: "
            "use a newer release",
        )
    elif facts.version < VERSION:
        yield (
            "warn",
            f"format {facts.version}: this release will bring it to {VERSION} when it starts, and "
            "older ones will refuse it then; make a backup first",
        )
    else:
        yield "ok", f"format {facts.version}, the one this release writes"


def _durability(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.error:
        return
    if facts.journal_mode != "wal":
        yield "fail", f"journal mode {facts.journal_mode} in place of wal: writers block readers"
    elif facts.synchronous < _SYNCHRONOUS_FULL:
        yield "fail", "synchronous is below FULL: a loss of power loses acknowledged updates"
    else:
        yield "ok", "wal, synchronous FULL: what was acknowledged is on the disk"


def _integrity(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.error:
        return
    if facts.problems:
        more = f" (and {len(facts.problems) - 1} more)" if len(facts.problems) > 1 else ""
        yield "fail", f"quick_check: {facts.problems[0]}{more}; restore a backup"
    else:
        yield "ok", "quick_check finds nothing wrong"


def _space(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.free_bytes < _DANGER_BYTES:
        yield "fail", f"{facts.free_bytes} bytes are free: writes are about to be answered 503"
    elif facts.free_bytes < max(_TROUBLE_BYTES, facts.size // 2):
        yield "warn", f"{facts.free_bytes} bytes are free beside a file of {facts.size}"
    else:
        yield "ok", f"{facts.free_bytes} bytes are free"
    if facts.limit_bytes and facts.size > 0.8 * facts.limit_bytes:
        yield (
            "fail" if facts.size >= 0.98 * facts.limit_bytes else "warn",
            f"the file has {facts.size} of SKETCHD_SQLITE_FILE_BYTES = {facts.limit_bytes} bytes",
        )


def _wal(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.wal_bytes > _LONG_WAL_BYTES:
        yield (
            "warn",
            f"the write-ahead log has {facts.wal_bytes} bytes: somebody reads without pause, or "
            "a process that held it died",
        )
    else:
        yield "ok", f"the write-ahead log has {facts.wal_bytes} bytes"


def _place(facts: SqliteFacts) -> Iterable[Finding]:
    if facts.file_system in _NETWORK:
        yield (
            "fail",
            f"the file lies on {facts.file_system}, a network file system, which the write-ahead "
            "log does not support: the file will be damaged",
        )
    elif facts.file_system in _VOLATILE:
        yield "warn", f"the file lies on {facts.file_system}: it goes with the machine or container"
    elif facts.file_system is not None:
        yield "ok", f"the file lies on {facts.file_system}"


CHECKS: Final[dict[str, Check[SqliteFacts]]] = {
    "file": _file,
    "format": _format,
    "durability": _durability,
    "integrity": _integrity,
    "space": _space,
    "wal": _wal,
    "file-system": _place,
}
