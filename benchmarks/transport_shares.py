"""Who spends the service's processor time, by transport: from the socket to the checkpoint.

    python -m benchmarks.transport_shares [--store sqlite|redis|memory] [--clients N]
        [--sketches N] [--seconds S] [--formats F …] [--batches B …] [--small] [--json FILE]
        [--write]

A run of its own, with a clock around the steps of a request (`measuring/staged_service.py`), the
same without any, which shows what the clocks cost, and the handler that does nothing: what the
transport takes by itself. `rest` is what is left: routing, access, quotas, metrics, tasks and the
way to threads and back.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring.loads import chosen_load
from benchmarks.measuring.processes import serve_nothing
from benchmarks.measuring.report import Benchmark, Column, Findings, Row, Size, Target, run
from benchmarks.measuring.staged_service import FILE_VARIABLE, STAGES
from benchmarks.measuring.stores import opened
from benchmarks.transports import TITLES, Asked, Load, Place, Service
from service.bench.options import parse
from service.bench.processes import Server, free_port, serve

_STEPS: Final = (*STAGES,)
_ANSWER_SECONDS: Final = 30.0


class Staged(Service):
    """The service with clocks. file: where it writes what they say."""

    def __init__(self, server: Server, grpc_port: int, load: Load, seed: int, file: Path) -> None:
        super().__init__(server, grpc_port, load, seed)
        self._pid = server.pid
        self._file = file

    def stages(self) -> dict[str, Any]:
        """What its clocks say now."""
        self._file.unlink(missing_ok=True)
        os.kill(self._pid, signal.SIGUSR1)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not self._file.exists():
            if time.monotonic() > deadline:
                raise AssertionError("the service did not write what its clocks say")
            time.sleep(0.005)
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found


def asked_of(load: Load) -> list[Asked]:
    """Every batch, and samples."""
    batches = sorted(load.batches, reverse=True)
    return [
        *(Asked("update", batch, load.clients) for batch in batches),
        Asked("sample", batches[-1], load.clients),
    ]


@contextmanager
def _service(folder: Path, store: str, load: Load, seed: int, staged: bool) -> Iterator[Service]:
    place = folder / f"{store.replace(' ', '-')}-{staged}"
    place.mkdir()
    file, port = place / "stages.json", free_port()
    os.environ[FILE_VARIABLE] = str(file)
    module = "benchmarks.measuring.staged_service" if staged else "service"
    with (
        opened(store, place) as open_store,
        serve(place, open_store.url, "--grpc-port", str(port), module=module) as server,
    ):
        made = Staged(server, port, load, seed, file) if staged else Service(
            server, port, load, seed
        )  # fmt: skip
        yield made
        made.close()


def _cpu(place: Place, form: str, asked: Asked, load: Load, seed: int) -> tuple[float, int]:
    """Seconds of processor time, and the requests that took it."""
    options = parse([
        "serve", "--format", form, "--batch", str(asked.batch), "--n", str(load.n),
        "--seed", str(seed), "--sketches", str(load.sketches),
    ])  # fmt: skip
    sent, _, cpu = place.ask(form, asked, options)
    requests = sum(sent.answered.values()) + sum(sent.warm.values())
    if sent.lost or sent.refused or not requests:
        raise AssertionError(f"{form}, {asked}: {sent.lost} lost {sent.reasons}, {sent.refused}")
    return cpu, requests


def measure(load: Load, seed: int) -> list[Row]:
    """A row for each store, request and transport."""
    cases = [(asked, form) for asked in asked_of(load) for form in load.formats]
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        floor: dict[tuple[Asked, str], float] = {}
        with serve_nothing(folder) as http, serve_nothing(folder, grpc=True) as rpc:
            nothing = Place(http, rpc, rpc.port, load)
            for asked, form in cases:
                cpu, requests = _cpu(nothing, form, asked, load, seed)
                floor[asked, form] = cpu / requests
        for store in load.stores:
            plain: dict[tuple[Asked, str], float] = {}
            with _service(folder, store, load, seed, staged=False) as service:
                for asked, form in cases:
                    cpu, requests = _cpu(service, form, asked, load, seed)
                    plain[asked, form] = cpu / requests
            with _service(folder, store, load, seed, staged=True) as service:
                assert isinstance(service, Staged)
                for asked, form in cases:
                    before = service.stages()
                    _, requests = _cpu(service, form, asked, load, seed)
                    spent = _between(before, service.stages(), requests)
                    rows.append(
                        _row(store, form, asked, spent, floor[asked, form], plain[asked, form])
                    )
    return rows


def _between(before: dict[str, Any], after: dict[str, Any], requests: int) -> dict[str, float]:
    """Seconds a request, of each step, and `all`, of which `loop` are the event loop's."""
    found = {
        step: (after["stages"].get(step, 0.0) - before["stages"].get(step, 0.0)) / requests
        for step in _STEPS
    }
    whole = {"all": "cpu", "loop": "loop"}
    return found | {
        name: (after[clock] - before[clock]) / requests for name, clock in whole.items()
    }


def _row(
    store: str, form: str, asked: Asked, spent: dict[str, float], floor: float, plain: float
) -> Row:
    steps = {"transport": floor} | {step: spent[step] for step in _STEPS}
    steps["rest"] = spent["all"] - sum(steps.values())
    row: Row = {
        "asked": asked.title,
        "store": store,
        "transport_title": TITLES[form],
        "all": 1e6 * spent["all"],
        "unclocked": 1e6 * plain,
        "loop": 1e6 * spent["loop"],
    }
    # What a request does not do has no figure; nor has a rest that noise made negative.
    return row | {step: 1e6 * took if took > 1e-7 else None for step, took in steps.items()}


def targets_of(rows: Sequence[Row]) -> list[Target]:
    """A transport should not be what an update of many costs."""
    largest = rows[0]["asked"]
    return [
        Target(
            f"{row['store']}, {row['transport_title']}, {row['asked']}: the transport's share",
            "", 0.5, (row["transport"] or 0.0) / row["all"],
        )
        for row in rows
        if row["asked"] == largest
    ]  # fmt: skip


def plot(rows: Sequence[Row], path: Path) -> None:
    """A bar for each row, cut into shares."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9.0, 0.32 * len(rows) + 1.4), layout="constrained")
    place = range(len(rows))[::-1]
    left = [0.0] * len(rows)
    for number, step in enumerate(("transport", *_STEPS, "rest")):
        whole = [sum(row[one] or 0.0 for one in ("transport", *_STEPS, "rest")) for row in rows]
        wide = [(row[step] or 0.0) / total for row, total in zip(rows, whole, strict=True)]
        axes.barh(place, wide, left=left, color=f"C{number}", label=step)
        left = [one + more for one, more in zip(left, wide, strict=True)]
    labels = [
        f"{row['asked']}, {row['transport_title']}, {row['store']} ({row['all']:,.0f} µs)"
        for row in rows
    ]
    axes.set_yticks(place, labels, fontsize=7)
    axes.set_xlabel("share of the service's processor time")
    axes.legend(fontsize=7, ncols=9, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    figure.savefig(path, dpi=130)
    plt.close(figure)


COLUMNS: Final = (
    Column("asked", "asked"),
    Column("store", "store"),
    Column("transport", "transport_title"),
    Column("CPU µs a request", "all", "{:,.0f}"),
    Column("without clocks", "unclocked", "{:,.0f}"),
    Column("in the loop's thread", "loop", "{:,.0f}"),
    *(Column(step, step, "{:,.0f}") for step in ("transport", *_STEPS, "rest")),
)


def benchmark(load: Load | None) -> Benchmark:
    """The benchmark of a load; of the usual one, or a small one, for None."""

    def found(size: Size) -> Findings:
        rows = measure(load or (SMALL if size.small else USUAL), size.seed)
        return Findings(rows, targets_of(rows))

    shown = load or USUAL
    return Benchmark(
        name="transport_shares",
        about=(__doc__ or "").splitlines()[0],
        caveats=(
            f"{shown.clients} clients, {shown.sketches} sketches of n = {shown.n:,}, "
            f"{shown.seconds:g} s a row; processor time of the service's process in all its "
            "threads, reading every state back at the end included.",
            "transport is what the handler that does nothing takes, not part of the profile: what "
            "the service does to it (more tasks, longer answers) counts as rest.",
            "append is the way into the store and, of SQLite, the commit of the group; compact is "
            "the state's bytes, their way into the store and trimming. A Redis server's own time "
            "is not in it.",
        ),
        columns=COLUMNS,
        measure=found,
        plot=plot,
        peers=("grpcio", "uvicorn"),
    )


USUAL: Final = Load(("sqlite", "redis, fsync everysec"), 16, 16, 1.5, tuple(TITLES), (100, 10_000))
SMALL: Final = dataclasses.replace(
    USUAL, stores=("sqlite",), clients=4, sketches=2, seconds=0.15, batches=(100,), n=1 << 12
)
BENCHMARK: Final = benchmark(None)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of `python -m benchmarks.transport_shares`."""
    load, rest, shown = chosen_load(arguments, USUAL, SMALL, tuple(TITLES))
    run(BENCHMARK if load is None else benchmark(load), rest, shown)


if __name__ == "__main__":
    main()
