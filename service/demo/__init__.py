"""`sketchd demo`: the main jobs on real input, start to end.

Streams a real attention head into sketches over HTTP, deletes a tenth of its
keys again and compares what is drawn with the exact law and exact samplers:
keys of several queries in proportion to (k_i · q)² (attention), and pairs of
tokens in proportion to (q_i · X k_j)² for an X that changes (pairs). It speaks
to the service as any client does and sees nothing of its inside.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.demo.client import Client

#: The extra `demo` by what is in it, since no index has sketchd.
_EXTRA = "matplotlib tqdm"

PARTS = ("attention", "pairs")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = argparse.ArgumentParser(prog="sketchd demo", description=__doc__.split("\n\n")[1])
    found.add_argument(
        "part", nargs="?", choices=PARTS, help="attention: keys of a query; pairs; default both"
    )
    found.add_argument("--quick", action="store_true", help="a small part of it, in seconds")
    found.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="DIR", help="for plots"
    )
    found.add_argument("--url", help="a running service (default: start one for the demo)")
    found.add_argument(
        "--key",
        default=os.environ.get("SKETCHD_KEY"),
        help="API key of the service at --url (default: SKETCHD_KEY in the environment)",
    )
    found.add_argument("--seed", type=int, default=1, help="of the sketches and the comparison")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. 0: the draws follow the law; 1: they do not, or it could not be run."""
    options = parser().parse_args(arguments)
    try:
        from service.demo.client import DemoError
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}: pip install {_EXTRA}", file=sys.stderr)
        return 1
    try:
        return _run(options)
    except DemoError as error:
        print(f"sketchd demo: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}: pip install {_EXTRA}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    from service.demo.client import Client, started_service

    with contextlib.ExitStack() as stack:
        if options.url:
            url, where = options.url.rstrip("/"), options.url
        else:
            url = stack.enter_context(started_service())
            where = f"{url}, started for this demo on a temporary SQLite file"
        client = stack.enter_context(contextlib.closing(Client(url, options.key)))
        parts = {"attention": _attention, "pairs": _pairs}
        asked = [options.part] if options.part else PARTS
        passed = []
        for position, part in enumerate(asked):
            if position:
                print("\n" + "─" * 92 + "\n")
            passed.append(parts[part](client, options, where))
    return 0 if all(passed) else 1


def _attention(client: Client, options: argparse.Namespace, where: str) -> bool:
    """Keys of several queries; whether they follow the law."""
    from service.demo import plot, report
    from service.demo.findings import find
    from service.demo.input import FULL, QUICK, read_input
    from service.demo.run import Run

    start = time.perf_counter()
    size = QUICK if options.quick else FULL
    data = read_input(size, options.seed)
    print(report.heading(data, size, where), flush=True)
    run = Run(client, data, size, options.seed, progress=True)
    collected = run.collect()
    plans = {n: client.plan(run.single(n)) for n in {size.keys, *report.PLANNED}}
    print("  comparing with exact samplers of as many draws ...", flush=True)
    found = find(data, size, collected.draws, options.seed)
    picture = _picture(options, "attention")
    plot.save(picture, data, collected.draws, found, size.count)
    parts = [
        report.table(found),
        report.memory(data, size, collected, plans),
        report.times(collected, size),
        report.verdict(found, collected),
    ]
    _say(parts, picture, start)
    return found.passed


def _pairs(client: Client, options: argparse.Namespace, where: str) -> bool:
    """Pairs of tokens, before and after changes; whether they follow the law of the moment."""
    from service.demo.pairs import plot, report
    from service.demo.pairs.findings import find
    from service.demo.pairs.input import FULL, QUICK, read_input
    from service.demo.pairs.run import Run
    from service.demo.report import PLANNED

    start = time.perf_counter()
    size = QUICK if options.quick else FULL
    data = read_input(size)
    print(report.heading(data, size, where), flush=True)
    run = Run(client, data, size, options.seed, progress=True)
    collected = run.collect()
    plans = {n: client.plan(run.of_keys(n)) for n in PLANNED}
    print("  comparing with exact samplers of as many draws ...", flush=True)
    found = find(data, collected.drawn, options.seed)
    picture = _picture(options, "pairs")
    plot.save(picture, found)
    parts = [
        report.table(found),
        report.memory(data, size, collected, plans),
        report.times(collected, size),
        report.verdict(found, collected),
    ]
    _say(parts, picture, start)
    return found.passed


def _picture(options: argparse.Namespace, part: str) -> Path:
    options.output.mkdir(parents=True, exist_ok=True)
    return Path(options.output / f"{part}.png")


def _say(parts: Sequence[str], picture: Path, start: float) -> None:
    print("\n" + "\n\n".join(parts))
    print(f"\n  Plot: {picture}  ({time.perf_counter() - start:.0f} s in all)", flush=True)
