"""The options of the operator's commands: backup, restore, inspect and doctor.

Apart from what they do, so that `--help` does not wait for it to be imported.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Final

from service.access_ports import DEFAULT_TENANT
from service.settings import Settings, read

_STORE: Final = "URL of the store (default: SKETCHD_STORE, or the service's default)"
#: How the URL of a SQLite store begins; the path follows.
SQLITE: Final = "sqlite:///"


class CannotDo(Exception):
    """The command cannot be carried out; the message is one line for a person."""


def settings_of(url: str | None, *, must_exist: bool = False) -> Settings:
    """The service's settings with this store, one that can be reached from another process.

    must_exist: do not make an empty SQLite file of a misspelt name. Raises CannotDo and
    InvalidSetting.
    """
    settings = read(os.environ, {"store": url})
    if settings.store == "memory://":
        raise CannotDo("memory:// is a store within one service: it cannot be reached from here")
    if must_exist and settings.store.startswith(SQLITE):
        path = Path(settings.store[len(SQLITE) :])
        if not path.is_file():
            raise CannotDo(f"there is no store at {path}")
    return settings


def add_commands(commands: Any) -> None:
    """All of them. commands: what ArgumentParser.add_subparsers returned."""
    backup = commands.add_parser("backup", help="write a tenant's sketches to a file")
    backup.add_argument("--store", metavar="URL", help=_STORE)
    backup.add_argument(
        "--tenant", default=DEFAULT_TENANT, help=f"whose sketches (default {DEFAULT_TENANT})"
    )
    which = backup.add_mutually_exclusive_group()
    which.add_argument("--sketch", metavar="NAME", help="only this one")
    which.add_argument("--prefix", default="", help="only those whose names start so")
    backup.add_argument("--output", metavar="FILE", required=True, help="replaced when whole")
    backup.add_argument(
        "--skip-unreadable", action="store_true",
        help="leave out, and name, sketches that are damaged or of a newer release; exit status 1",
    )  # fmt: skip
    back = commands.add_parser("restore", help="bring sketches back from a backup")
    back.add_argument("--store", metavar="URL", help=_STORE)
    back.add_argument("--input", metavar="FILE", required=True, help="made by sketchd backup")
    back.add_argument("--tenant", metavar="OTHER", help="whose they become (default: the backup's)")
    back.add_argument("--sketch", metavar="NAME", help="only this one")
    back.add_argument("--as", dest="rename", metavar="NEWNAME", help="its new name")
    back.add_argument(
        "--on-conflict", choices=("fail", "skip", "replace"), default="fail",
        help="where a name exists: write nothing at all, leave that sketch, or replace it "
        "(default fail)",
    )  # fmt: skip
    inspect = commands.add_parser("inspect", help="check a backup and print what is in it")
    inspect.add_argument("file", metavar="FILE")
    doctor = commands.add_parser("doctor", help="check a store and how it is configured")
    doctor.add_argument("--store", metavar="URL", help=_STORE)
    doctor.add_argument("--json", action="store_true", help="findings as JSON")
    doctor.add_argument("--strict", action="store_true", help="exit status 1 for warnings")


def run(options: argparse.Namespace) -> int | None:
    """Carry out the command and return its exit status; None for a command of others."""
    if options.command == "doctor":
        from service.cli_doctor import run as doctor

        return doctor(options)
    if options.command in ("backup", "restore", "inspect"):
        from service.cli_backup import run as backup

        return backup(options)
    return None
