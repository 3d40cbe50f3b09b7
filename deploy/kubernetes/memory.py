"""What a pod may hold at once by its settings, summed up: `python -m deploy.kubernetes.memory`.

The memory limit in base/deployment.yaml has to be above this sum with room to spare; a test holds
it, and the table in docs/kubernetes.md, to the settings of base/settings.env. After changing
those, run it (another file can be named) and set the limit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from service import settings
from service.settings import Settings

_MIB: Final = 1 << 20
#: Interpreter, libraries and the service at rest: 90 MiB measured, more with gRPC and open
#: connections. Of freed memory the allocator keeps up to 64 MiB (service/cli_serve.py).
_PROCESS_BYTES: Final = 128 * _MIB
_KEPT_BYTES: Final = 64 * _MIB
#: What JSON takes as Python objects, by the byte: 9 for numbers, 21 for a list of empty lists.
_JSON_FACTOR: Final = 24
#: States of the largest size that are in use beside the cache at the same time: loaded, copied to
#: be folded into, frozen for a checkpoint, sent as snapshots. No setting bounds how many are; this
#: many are planned for.
STATES_IN_USE: Final = 6
#: Of the limit, what has to be left beyond the sum: for buffers of sockets, which count too, and
#: for what allocators waste.
MARGIN: Final = 0.1


class Part(NamedTuple):
    """One thing that takes memory. settings: the variables that bound it."""

    what: str
    settings: tuple[str, ...]
    bytes: int


def parts(of: Settings) -> list[Part]:
    """What one process may hold, by cause."""
    messages = of.grpc_arriving_messages + of.grpc_open_streams
    state = max(of.max_sketch_bytes, of.max_dense_bytes)

    def part(what: str, size: int, *names: str) -> Part:
        return Part(what, tuple(settings.variable(name) for name in names), size)

    return [
        Part("the process at rest", (), _PROCESS_BYTES),
        Part("freed, and kept by the allocator", (), _KEPT_BYTES),
        part("folded states in the cache", of.cache_bytes, "cache_bytes"),
        part("tables of hashes and scales", of.table_cache_bytes, "table_cache_bytes"),
        part("bodies of requests", of.max_bodies_bytes, "max_bodies_bytes"),
        part(
            f"JSON being read, {_JSON_FACTOR} bytes for one",
            of.pool_threads * of.max_body_bytes * _JSON_FACTOR,
            "pool_threads", "max_body_bytes",
        ),
        part(
            "messages of gRPC on their way in",
            messages * of.largest_message_bytes,
            "grpc_arriving_messages", "grpc_open_streams", "grpc_max_message_bytes",
        ),
        part(
            f"states in use beside the cache, {STATES_IN_USE} of the largest",
            STATES_IN_USE * state,
            "max_sketch_bytes", "max_dense_bytes",
        ),
    ]  # fmt: skip


def total(of: Settings) -> int:
    """Bytes of a pod: of all its processes."""
    return of.workers * sum(part.bytes for part in parts(of))


def limit_needed(of: Settings) -> int:
    """The least memory limit, in bytes."""
    return int(total(of) / (1 - MARGIN)) + 1


def table(of: Settings) -> str:
    """The parts and their sum, as Markdown."""
    lines = ["| what | bounded by | MiB |", "| --- | --- | --- |"]
    for part in parts(of):
        names = ", ".join(f"`{name}`" for name in part.settings)
        lines.append(f"| {part.what} | {names} | {part.bytes / _MIB:.0f} |")
    workers = f", times `{settings.variable('workers')}`" if of.workers > 1 else ""
    lines.append(f"| **sum{workers}** |  | **{total(of) / _MIB:.0f}** |")
    lines.append(f"| limit needed, {MARGIN:.0%} to spare |  | {limit_needed(of) / _MIB:.0f} |")
    return "\n".join(lines) + "\n"


def environment(text: str) -> Mapping[str, str]:
    """The variables of an env file as kustomize reads it: NAME=value, # for comments."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def main(arguments: list[str]) -> None:
    """Print the table of a file, of base/settings.env where none is named."""
    file = Path(arguments[0]) if arguments else Path(__file__).parent / "base" / "settings.env"
    print(table(settings.read(environment(file.read_text("utf-8")))), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
