"""The command lines about tenants and keys; cli_access does what they say.

Apart from it, because --help should not wait for numpy and a web framework.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from service.access_ports import ROLES
from service.settings import Settings

#: What lifts a limit.
NO_LIMIT: Final = "none"
#: Options of limits: field of Quota -> (metavar, type, what it says).
LIMITS: Final[dict[str, tuple[str, type, str]]] = {
    "sketches": ("N", int, "how many sketches it may have"),
    "state_bytes": ("N", int, "bytes of all their states together"),
    "updates_per_second": ("R", float, "coordinates a second, over all replicas"),
    "requests_per_second": ("R", float, "requests a second, over all replicas"),
    "batch_updates": ("N", int, "coordinates in one batch"),
}


def add_commands(commands: Any) -> None:
    """`tenant` and `key`, to the commands of sketchd."""
    _add_tenant_commands(commands)
    _add_key_commands(commands)


def _add_tenant_commands(commands: Any) -> None:
    tenants = _group(commands, "tenant", "tenants and their quotas")
    add = _command(tenants, "add", "tenant_add", "make a tenant")
    change = _command(tenants, "set", "tenant_set", "change some limits; the others stay")
    for command in (add, change):
        command.add_argument("name", metavar="NAME", help="letters, digits, '.', '_', ':', '-'")
        for name, (metavar, kind, meaning) in LIMITS.items():
            command.add_argument(
                f"--{name.replace('_', '-')}",
                metavar=metavar,
                type=_limit_of(kind),
                help=f"{meaning}, or `none`",
            )
    _command(tenants, "list", "tenant_list", "list tenants with their quotas")
    remove = _command(tenants, "rm", "tenant_rm", "remove a tenant and its keys")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument(
        "--force", action="store_true", help="with its sketches, and the last admin key if need be"
    )


def _add_key_commands(commands: Any) -> None:
    keys = _group(commands, "key", "access keys")
    add = _command(keys, "add", "key_add", "make a key and print it, this once")
    add.add_argument("tenant", metavar="TENANT", help="whose sketches it opens")
    add.add_argument(
        "--role",
        required=True,
        choices=ROLES,
        help="read: sample, estimate, list; write: also create, update, delete; admin: also "
        "tenants and keys",
    )
    add.add_argument("--label", metavar="TEXT", default="", help="to tell keys apart")
    add.add_argument("--expires-in", metavar="DAYS", type=float, help="for ever when absent")
    listing = _command(keys, "list", "key_list", "list keys without their secrets")
    listing.add_argument("--tenant", metavar="TENANT", help="only this tenant's")
    remove = _command(keys, "rm", "key_rm", "remove a key")
    remove.add_argument("id", metavar="ID", help="as `key list` shows it")
    remove.add_argument("--force", action="store_true", help="also the last admin key")


def _group(commands: Any, name: str, what: str) -> Any:
    epilog = "Running services learn of a change within SKETCHD_ACCESS_REFRESH_SECONDS (1)."
    parser = commands.add_parser(name, help=what, description=f"Manage {what}.", epilog=epilog)
    return parser.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")


def _command(group: Any, name: str, act: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=what, description=f"{what}.")
    parser.set_defaults(act=act)
    parser.add_argument(
        "--store", metavar="URL", help=f"(default {Settings().store}) [SKETCHD_STORE]"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _limit_of(kind: type) -> Callable[[str], Any]:
    def read_limit(text: str) -> Any:
        return text if text == NO_LIMIT else kind(text)

    read_limit.__name__ = "whole number" if kind is int else "number"
    return read_limit
