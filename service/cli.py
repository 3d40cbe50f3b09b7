"""The command line. Options win over SKETCHD_… in the environment, which wins over defaults."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from service import cli_operations
from service.cli_access_parser import add_commands
from service.settings import InvalidSetting, Settings, read, unrecognised

_EPILOG: Final = (
    "Every setting of the service is also a variable SKETCHD_… in the environment; "
    "docs/settings.md lists them."
)

_TLS_FILES: Final = {
    "tls_certificate": "PEM file with the certificate chain: HTTPS instead of HTTP",
    "tls_key": "PEM file with its private key",
    "tls_client_ca": "PEM file with the roots of client certificates, which are then needed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 for a failure, 2 for a wrong command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["demo"]:
        # It has options of its own, --help included.
        from service.demo import main as demo

        return demo(given[1:])
    if given[:1] == ["bench"]:
        from service.bench import main as bench

        return bench(given[1:])
    if given[:1] == ["attention"]:
        from service.attention import main as attention

        return attention(given[1:])
    if given[:1] == ["health"]:
        from service.cli_health import main as health

        return health(given[1:])
    options = _parser().parse_args(given)
    if options.command == "version":
        from service.app import version

        print(f"sketchd {version()}")
        return 0
    if options.command in ("tenant", "key"):
        from service.cli_access import run

        return run(options)
    status = cli_operations.run(options)
    if status is not None:
        return status
    return _serve(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sketchd",
        description="Weighted samples from vectors and matrices too large to store.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the service", epilog=_EPILOG)
    defaults = Settings()
    serve.add_argument(
        "--host",
        help=f"address to listen on; other than loopback it needs a key (default {defaults.host}) "
        "[SKETCHD_HOST]",
    )
    serve.add_argument(
        "--port",
        type=int,
        help=f"port of HTTP, 0 for a free one (default {defaults.port}) [SKETCHD_PORT]",
    )
    serve.add_argument(
        "--grpc-port",
        type=int,
        help=f"port of gRPC, 0 for none (default {defaults.grpc_port}) [SKETCHD_GRPC_PORT]",
    )
    serve.add_argument(
        "--store",
        metavar="URL",
        help=f"sqlite:///relative.db, sqlite:////absolute.db, redis://… and its kin, or memory:// "
        f"(default {defaults.store}) [SKETCHD_STORE]",
    )
    for name, what in _TLS_FILES.items():
        option = name.replace("_", "-")
        serve.add_argument(f"--{option}", metavar="FILE", help=f"{what} [SKETCHD_{name.upper()}]")
    serve.add_argument(
        "--workers",
        type=int,
        help=f"processes that share the ports (default {defaults.workers}) [SKETCHD_WORKERS]",
    )
    add_commands(commands)
    commands.add_parser("health", help="ask a running service whether it is alive or ready")
    commands.add_parser("demo", help="stream real attention keys in, sample, compare, plot")
    commands.add_parser("bench", help="put load on a service and measure it")
    commands.add_parser("attention", help="attention of a real transformer, start to end")
    cli_operations.add_commands(commands)
    commands.add_parser("version", help="print the version")
    return parser


def _serve(options: argparse.Namespace) -> int:
    named = ("host", "port", "grpc_port", "store", "workers", *_TLS_FILES)
    overrides = {name: getattr(options, name) for name in named}
    try:
        settings = read(os.environ, overrides)
    except InvalidSetting as error:
        return _refuse(str(error))
    for name in unrecognised(os.environ):
        print(f"sketchd: {name} is not a setting and has no effect", file=sys.stderr)
    # Read when grpc is imported, here and in workers. Below errors it writes a line of its own, no
    # JSON, for each handshake of TLS that fails: whoever knocks could fill the log.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Imported late: --help and version should not wait for a web framework.
    from service.cli_ports import CannotServe
    from service.cli_serve import run
    from service.cli_workers import supervise

    try:
        if settings.workers > 1:
            supervise(settings)
        else:
            run(settings)
    except CannotServe as error:
        return _refuse(str(error))
    return 0


def _refuse(reason: str) -> int:
    print(f"sketchd: {reason}", file=sys.stderr)
    return 1
