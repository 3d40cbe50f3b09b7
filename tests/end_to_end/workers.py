"""`sketchd serve` with any number of workers, as a process: its address, its log, its metrics."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
_READY = re.compile(r"^sketchd ready: http (https?://\S+) ", flags=re.MULTILINE)
PATIENCE_SECONDS = 60.0


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Scraped:
    """/metrics, parsed. series: value by sample name and labels. types, helps: by family."""

    series: dict[tuple[str, frozenset[tuple[str, str]]], float]
    types: dict[str, str]
    helps: dict[str, str]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the series of this name that have these labels."""
        wanted = labels.items()
        return sum(
            value
            for (sample, own), value in self.series.items()
            if sample == name and wanted <= own
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label takes in the series of this name."""
        return {dict(own)[label] for sample, own in self.series if sample == name}


def parsed(text: str) -> Scraped:
    """Prometheus text. A series may stand there once only."""
    series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    types, helps = {}, {}
    for family in text_string_to_metric_families(text):
        types[family.name], helps[family.name] = family.type, family.documentation
        for sample in family.samples:
            at = (sample.name, frozenset(sample.labels.items()))
            assert at not in series, at
            series[at] = sample.value
    return Scraped(series, types, helps)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready. log: the file of its standard error."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def call(self, method: str, path: str, **options: object) -> httpx.Response:
        """One request on a connection of its own, so that any worker may take it."""
        return httpx.request(method, self.url + path, timeout=30, **options)  # type: ignore[arg-type]

    def scrape(self) -> Scraped:
        """/metrics of whichever worker answers."""
        answer = self.call("GET", "/metrics")
        assert answer.status_code == 200, answer.text
        return parsed(answer.text)

    def workers(self) -> list[int]:
        """The processes that the supervisor has started and that have not ended."""
        return [pid for pid, parent in _processes() if parent == self.process.pid]

    def said(self) -> str:
        """What it has logged so far."""
        return self.log.read_text("utf-8", "replace")


def _processes() -> Iterator[tuple[int, int]]:
    """(process, its parent) of all that run, from /proc where there is one: ps may be missing."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
        ).stdout
        for pid, parent, state in (line.split() for line in listed.splitlines()):
            if state[0] != "Z":
                yield int(pid), int(parent)
        return
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just ended
                continue
            if state != "Z":
                yield int(folder.name), int(parent)


def alive(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    return any(one == pid for one, _ in _processes())


@contextmanager
def serving(
    folder: Path, workers: int, *, port: int = 0, store: str | None = None, **settings: object
) -> Iterator[Service]:
    """Serve until the block ends; what is left then is killed. gRPC only if set.

    port: one that an earlier service had, to come back where it was; else a free one.
    store: a SQLite file in the folder unless said otherwise.
    """
    settings = {"grpc_port": 0, **settings}
    log = folder / "service.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SKETCHD_")
    } | {f"SKETCHD_{name.upper()}": str(value) for name, value in settings.items()}
    arguments = [
        sys.executable, "-m", "service", "serve", "--port", str(port), "--workers", str(workers),
        "--store", store if store is not None else f"sqlite:///{folder / 'store.db'}",
    ]  # fmt: skip
    with log.open("wb") as errors:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        until(
            lambda: process.poll() is not None or bool(_READY.search(log.read_text("utf-8"))),
            "the line that says it is ready",
        )
        found = _READY.search(log.read_text("utf-8"))
        assert found is not None, log.read_text("utf-8")
        yield Service(process, found[1], log)
    finally:
        process.kill()  # workers end with their supervisor
        process.wait()
