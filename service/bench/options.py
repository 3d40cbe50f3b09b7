"""What `sketchd bench serve` can be asked for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

#: Formats, and whether they go over gRPC.
FORMATS: Final = {"json": False, "safetensors": False, "grpc": True, "grpc-stream": True}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "grpc": 50051, "grpcs": 50051}

_ABOUT: Final = """\
Put load on a service and say how it bears it: requests and updates a second, latencies, errors,
processor time and memory. Without --url a service is started for the run."""


class InvalidOption(Exception):
    """An option is not what it can be; the message names it."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where a service is. text: as it was given."""

    text: str
    grpc: bool
    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Options:
    """A load, and what to do with the figures.

    url: None to start a service on `store` (None: a temporary SQLite file) with these settings.
    updates, samples: their shares of the requests, in any unit. batch: increments of an update:
    coordinates of a vector, rows of a matrix. rate: requests a second, or None for a closed
    loop. shared: clients that take turns on one gRPC stream. seconds, warmup: of the load.
    tensors: safetensors inside the messages of gRPC. keys: whether updates carry idempotency
    keys and are tried again.
    """

    url: Url | None
    access_key: str | None
    ca: Path | None
    store: str | None
    settings: dict[str, str]
    sketches: int
    clients: int
    processes: int
    shared: int
    updates: int
    samples: int
    batch: int
    kind: str
    n: int
    d: int
    form: str
    tensors: bool
    seconds: float
    warmup: float
    rate: float | None
    timeout: float
    keys: bool
    json: Path | None
    plot: Path | None
    seed: int
    keep: bool

    @property
    def grpc(self) -> bool:
        """Whether the load goes over gRPC."""
        return FORMATS[self.form]


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = argparse.ArgumentParser(prog="sketchd bench", description="Measure a service.")
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve", help="put load on a service and report how it bears it", description=_ABOUT
    )
    _add_service(serve.add_argument_group("the service"))
    _add_load(serve.add_argument_group("the load"))
    _add_report(serve.add_argument_group("the report"))
    return found


def _add_service(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--url", help="http[s]://HOST:PORT or grpc[s]://HOST:PORT (default: start a service)")
    add("--key", default=os.environ.get("SKETCHD_KEY"),
        help="access key for --url, of role write (default: SKETCHD_KEY)")  # fmt: skip
    add("--ca", type=Path, metavar="FILE", help="PEM file with the roots of its certificate")
    add("--store", metavar="URL",
        help="of the service that is started (default: a temporary SQLite file)")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the service that is started, such as workers=2")  # fmt: skip


def _add_load(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument

    def number(name: str, default: int, what: str) -> None:
        add(f"--{name}", type=int, default=default, help=f"{what} (default {default:,})")

    number("sketches", 100, "how many sketches")
    add("--kind", choices=("vector", "matrix"), default="vector")
    number("n", 1 << 20, "coordinates of a vector, rows of a matrix")
    number("d", 64, "columns of a matrix")
    number("clients", 16, "clients, each with one request under way")
    add("--mix", default="90:10", metavar="U:S", help="updates to samples (default 90:10)")
    number("batch", 1000, "increments of an update: coordinates of a vector, rows of a matrix")
    add("--format", choices=FORMATS,
        help="of updates; grpc and grpc-stream with a grpc:// URL, the others with http:// "
        "(default: safetensors, or grpc)")  # fmt: skip
    add("--tensors", action="store_true",
        help="safetensors inside the messages of gRPC instead of columns")  # fmt: skip
    number("shared", 1, "clients that take turns on one stream of gRPC")
    add("--rate", type=float, metavar="R",
        help="requests a second at even times, latency counted from these "
        "(default: each client sends when it has its answer)")  # fmt: skip
    add("--seconds", type=float, default=30.0, help="to measure (default 30)")
    add("--warmup", type=float, default=5.0, help="seconds of the load before (default 5)")
    number("processes", 1, "that send; more when the report says the generator was too slow")
    add("--timeout", type=float, default=30.0, help="seconds for an answer (default 30)")
    add("--no-keys", action="store_true",
        help="updates without idempotency keys, never tried again")  # fmt: skip
    number("seed", 1, "of sketches, increments and the order of requests")


def _add_report(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    group.add_argument("--plot", type=Path, metavar="FILE", help="write a picture there (PNG, SVG)")
    group.add_argument("--keep", action="store_true", help="leave the sketches")


def parse(arguments: Sequence[str] | None) -> Options:
    """The options of a command line. Raises InvalidOption; argparse exits with status 2."""
    given = parser().parse_args(arguments)
    _bounded(given)
    url = _url(given.url) if given.url else None
    grpc = url.grpc if url else FORMATS.get(given.format, False)
    form = given.format or ("grpc" if grpc else "safetensors")
    if FORMATS[form] != grpc:
        raise InvalidOption(
            f"--format {form} needs a {'grpc' if FORMATS[form] else 'http'}:// URL, not {given.url}"
        )
    if url and (given.store or given.set):
        raise InvalidOption("--store and --set are of a service started without --url")
    updates, samples = _mix(given.mix)
    return Options(
        url=url, access_key=given.key if url else None, ca=given.ca,
        store=given.store, settings=dict(map(_setting, given.set)),
        sketches=given.sketches, clients=given.clients,
        processes=min(given.processes, given.clients), shared=given.shared,
        updates=updates, samples=samples, batch=given.batch,
        kind=given.kind, n=given.n, d=given.d,
        form=form, tensors=given.tensors,
        seconds=given.seconds, warmup=given.warmup, rate=given.rate,
        timeout=given.timeout, keys=not given.no_keys,
        json=given.json, plot=given.plot, seed=given.seed, keep=given.keep,
    )  # fmt: skip


#: What the command gives the service it starts, or could not speak to it with.
_OWN: Final = frozenset({
    "folder", "module", "host", "port", "grpc_port", "store", "access", "bootstrap_admin_key",
    "tls_certificate", "tls_key", "tls_client_ca",
})  # fmt: skip
#: Least and most of each number: what one machine can send and hold.
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "sketches": (1, 100_000),
    "clients": (1, 10_000),
    "processes": (1, 64),
    "shared": (1, 1_000),
    "batch": (1, 1_000_000),
    "n": (1, 1 << 62),
    "d": (1, 1 << 16),
    "seconds": (0.1, 3600),
    "warmup": (0, 3600),
    "rate": (0.1, 1e6),
    "timeout": (0.1, 600),
    "seed": (0, (1 << 53) - 1),
}


def _bounded(given: argparse.Namespace) -> None:
    for name, (least, most) in _BOUNDS.items():
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            raise InvalidOption(f"--{name} {value:g}: from {least:g} to {most:g}")
    for name in ("json", "plot"):
        path = getattr(given, name)
        if path is not None and not path.parent.is_dir():
            raise InvalidOption(f"--{name}: there is no folder {path.parent}")
    if given.ca is not None and not given.ca.is_file():
        raise InvalidOption(f"--ca: there is no file {given.ca}")


def _url(text: str) -> Url:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidOption(f"--url {text}: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise InvalidOption(f"--url {text}: http[s]://HOST:PORT or grpc[s]://HOST:PORT")
    return Url(
        text.rstrip("/"),
        parts.scheme.startswith("grpc"),
        parts.scheme.endswith("s"),
        parts.hostname,
        port or _DEFAULT_PORTS[parts.scheme],
    )


def _mix(text: str) -> tuple[int, int]:
    updates, colon, samples = text.partition(":")
    if not (colon and updates.isdecimal() and samples.isdecimal()) or int(updates + samples) == 0:
        raise InvalidOption(f"--mix {text}: two numbers such as 90:10, not both 0")
    return int(updates), int(samples)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    # Never the value: it may be a secret.
    if not equals or not name.isidentifier():
        raise InvalidOption(f"--set {name}: NAME=VALUE, such as workers=2")
    found = name.lower()
    if found in _OWN:
        raise InvalidOption(f"--set {name}: not of a service that is started for the run")
    return found, value
