"""A real Prometheus as a process of a test's own: started, asked, ended with the tests.

It listens on a loopback port the kernel gave, keeps its data in a folder of the test's, and
answers when the constructor returns. Without `prometheus` on the machine the test that asks is
skipped, or fails where CI is set (tests/programs.py).
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.programs import ENDS_WITH_PARENT, needed

JOB: Final = "sketchd"
_LISTENING: Final = re.compile(r'"address":"(127\.0\.0\.1:[1-9]\d*)".*"msg":"Listening on"')
_PATIENCE_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Value:
    """One series of an answer. labels: `__name__` among them where there is a name."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that is active. state: pending or firing."""

    name: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as Prometheus sees it. kind: alerting or recording. trouble: its last error."""

    name: str
    kind: str
    health: str
    trouble: str
    evaluated: bool


def scraping(
    targets: Iterable[str],
    rule_files: Iterable[Path] = (),
    *,
    interval: str = "1s",
    path: str = "/metrics",
    bearer: str | None = None,
) -> dict[str, Any]:
    """A configuration: host:port of services, under the job of deploy/'s own.

    interval: between scrapes, and between evaluations of rules. bearer: an access key.
    """
    job: dict[str, Any] = {
        "job_name": JOB,
        "metrics_path": path,
        "static_configs": [{"targets": list(targets)}],
    }
    if bearer is not None:
        job["authorization"] = {"type": "Bearer", "credentials": bearer}
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(path) for path in rule_files],
        "scrape_configs": [job],
    }


class PrometheusProcess:
    """A Prometheus that is ready.

    config: a whole configuration (JSON is YAML too), see `scraping`. folder: an empty one for its
    file, its data and its log. url: where it listens.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        program = needed("prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "prometheus.log"
        (folder / "prometheus.yml").write_text(json.dumps(config, indent=1))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *ENDS_WITH_PARENT, program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.format=json",
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        atexit.register(self.close)
        try:
            self.until(lambda: not self.alive or self._address() is not None, "it listens")
            self.url = f"http://{self._address()}"
            self.until(lambda: not self.alive or self._ready(), "it is ready")
            assert self.alive, f"Prometheus ended: {self._said()}"
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def query(self, expression: str) -> list[Value]:
        """The answer to an expression now, an instant vector or a scalar.

        Raises AssertionError for an expression that Prometheus does not take.
        """
        data = self._ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [Value({}, float(data["result"][1]))]
        return [Value(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(
        self, expression: str, seconds: float, step: float = 1.0
    ) -> dict[tuple[tuple[str, str], ...], list[float]]:
        """The values of the last `seconds`, by series (its labels, sorted). Raises likewise."""
        now = time.time()
        data = self._ask("query_range", query=expression, start=now - seconds, end=now, step=step)
        return {
            tuple(sorted(one["metric"].items())): [float(value) for _, value in one["values"]]
            for one in data["result"]
        }

    def alerts(self) -> list[Alert]:
        """What is pending or firing."""
        return [
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in self._ask("alerts")["alerts"]
        ]

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {alert.name for alert in self.alerts() if alert.state == "firing"}

    def rules(self) -> list[Rule]:
        """All rules that are loaded."""
        return [
            Rule(
                one["name"], one["type"], one["health"], one.get("lastError", ""),
                not one["lastEvaluation"].startswith("0001-"),
            )
            for group in self._ask("rules")["groups"]
            for one in group["rules"]
        ]  # fmt: skip

    def targets(self) -> dict[str, str]:
        """By the address of each target: `up`, `down` or `unknown`."""
        return {
            one["labels"]["instance"]: one["health"]
            for one in self._ask("targets")["activeTargets"]
        }

    def until(
        self, holds: Callable[[], object], what: str, seconds: float = _PATIENCE_SECONDS
    ) -> None:
        """Wait until something holds. Raises AssertionError with the end of the log."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}; {self._said()}"
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        atexit.unregister(self.close)

    def _address(self) -> str | None:
        found = _LISTENING.search(self.log.read_text("utf-8", "replace"))
        return found[1] if found is not None else None

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=_CALL_SECONDS).status_code == 200
        except httpx.TransportError:
            return False

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:]

    def _ask(self, what: str, **options: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=options, timeout=_CALL_SECONDS)
        body = answer.json()
        assert body["status"] == "success", f"{options}: {body.get('error')}"
        return body["data"]


@contextmanager
def prometheus(config: Mapping[str, Any], folder: Path) -> Iterator[PrometheusProcess]:
    """A Prometheus for the block."""
    process = PrometheusProcess(config, folder)
    try:
        yield process
    finally:
        process.close()
