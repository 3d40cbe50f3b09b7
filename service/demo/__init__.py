"""`sketchd demo`: the main job on real input, start to end.

Streams the keys of a real attention head into sketches over HTTP, deletes a
tenth of them again, draws keys for several queries in proportion to
(k_i · q)², and compares what came with the exact law and with exact samplers.
It speaks to the service as any client does and sees nothing of its inside.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: What `pip install` needs for the demo.
_EXTRA = "sketchd[demo]"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = argparse.ArgumentParser(prog="sketchd demo", description=__doc__.split("\n\n")[1])
    found.add_argument("--quick", action="store_true", help="a small part of it, in seconds")
    found.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="DIR", help="for the plot"
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
        print(f"the demo needs {error.name}: pip install '{_EXTRA}'", file=sys.stderr)
        return 1
    try:
        return _run(options)
    except DemoError as error:
        print(f"sketchd demo: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}: pip install '{_EXTRA}'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    from service.demo import plot, report
    from service.demo.client import Client, started_service
    from service.demo.findings import find
    from service.demo.input import FULL, QUICK, read_input
    from service.demo.run import Run

    start = time.perf_counter()
    size = QUICK if options.quick else FULL
    data = read_input(size, options.seed)
    with contextlib.ExitStack() as stack:
        if options.url:
            url, where = options.url.rstrip("/"), options.url
        else:
            url = stack.enter_context(started_service())
            where = f"{url}, started for this demo on a temporary SQLite file"
        print(report.heading(data, size, where), flush=True)
        client = stack.enter_context(contextlib.closing(Client(url, options.key)))
        run = Run(client, data, size, options.seed, progress=True)
        collected = run.collect()
        plans = {n: client.plan(run.single(n)) for n in {size.keys, *report.PLANNED}}
    print("  comparing with exact samplers of as many draws ...", flush=True)
    found = find(data, size, collected.draws, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    picture = options.output / "attention.png"
    plot.save(picture, data, collected.draws, found, size.count)
    parts = [
        report.table(found),
        report.memory(data, size, collected, plans),
        report.times(collected, size),
        report.verdict(found, collected),
    ]
    print("\n" + "\n\n".join(parts))
    print(f"\n  Plot: {picture}  ({time.perf_counter() - start:.0f} s in all)")
    return 0 if found.passed else 1
