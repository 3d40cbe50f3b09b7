"""The demo's view of the service: a process of its own, and the few requests it makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

START_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 30.0


class DemoError(Exception):
    """The demo cannot go on; the message is for the person who started it."""


@contextlib.contextmanager
def started_service() -> Iterator[str]:
    """Run the real service on a free loopback port over a temporary file; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="sketchd-demo-") as folder:
        log = Path(folder) / "service.log"
        # -P and the path: this very package, not what lies in the working directory.
        command = [sys.executable, "-P", "-m", "service", "serve", "--host", "127.0.0.1"]
        command += ["--port", "0", "--grpc-port", "0"]
        command += ["--store", f"sqlite:///{folder}/demo.db"]
        # No setting or key of the surroundings reaches a service of the demo's own.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SKETCHD_")}
        here = str(Path(__file__).resolve().parents[2])
        clean["PYTHONPATH"] = os.pathsep.join(filter(None, [here, clean.get("PYTHONPATH")]))
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=sink, env=clean)
        try:
            yield _wait_until_ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL the service says it is ready at, once it answers there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the service ended at once:\n{_read(log)}")
        said = re.search(r"^sketchd ready: .*?(http://\S+)", _read(log), flags=re.MULTILINE)
        if said:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{said[1]}/readyz", timeout=2.0).status_code == 200:
                    return said[1]
        time.sleep(0.05)
    raise DemoError(f"the service was not ready after {START_SECONDS:.0f} seconds:\n{_read(log)}")


def _read(log: Path) -> str:
    return log.read_text("utf-8", "replace")


class Client:
    """A connection to a service. Every method raises DemoError with what the service said."""

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=120.0)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def create(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a sketch; returns its info."""
        return self._json("PUT", f"/v1/sketches/{name}", json=spec)

    def plan(self, spec: dict[str, Any]) -> dict[str, Any]:
        """What a sketch of this spec would be."""
        return self._json("POST", "/v1/plan", json=spec)

    def info(self, name: str) -> dict[str, Any]:
        """A sketch's info."""
        return self._json("GET", f"/v1/sketches/{name}")

    def names(self) -> list[str]:
        """The names of the service's sketches, a page of them."""
        return [str(item["name"]) for item in self._json("GET", "/v1/sketches")["sketches"]]

    def delete(self, name: str) -> None:
        """Delete a sketch."""
        self._send("DELETE", f"/v1/sketches/{name}")

    def add_rows(
        self,
        name: str,
        rows: npt.NDArray[np.int64],
        values: npt.NDArray[np.float16],
        key: str,
        operand: str = "A",
    ) -> None:
        """Add whole rows to an operand. rows (b,), values (b, d). `key`: a retry counts once."""
        body = save({"row": rows, "values": np.ascontiguousarray(values)}, {"operand": operand})
        headers = {"Content-Type": "application/x-safetensors", "Idempotency-Key": key}
        self._send("POST", f"/v1/sketches/{name}/updates", content=body, headers=headers)

    def sample(
        self, name: str, queries: list[list[float]], count: int, draw: int, replacement: bool
    ) -> list[dict[str, Any]]:
        """One list for each query."""
        body = {"count": count, "replacement": replacement, "draw": draw, "queries": queries}
        answer = self._json("POST", f"/v1/sketches/{name}/samples", json=body)
        return list(answer["results"])

    def sample_pairs(
        self, name: str, x: npt.NDArray[np.float64], count: int, draw: int
    ) -> dict[str, Any]:
        """One list of pairs of a tensor, for an X of shape (d1, d2)."""
        body = {"count": count, "draw": draw, "X": x.tolist()}
        return self._json("POST", f"/v1/sketches/{name}/samples", json=body)

    def norm(self, name: str, x: npt.NDArray[np.float64]) -> float:
        """The norm of a tensor, for an X of shape (d1, d2)."""
        return float(
            self._json("POST", f"/v1/sketches/{name}/norm", json={"X": x.tolist()})["norm"]
        )

    def _json(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        return dict(self._send(method, path, **content).json())

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                response = self._http.request(method, path, **content)
            except httpx.TransportError as error:
                raise DemoError(f"{method} {path}: {error}") from error
            if response.status_code not in (429, 503) or time.monotonic() > deadline:
                break
            time.sleep(float(response.headers.get("Retry-After", "1")))
        if response.is_error:
            raise DemoError(f"{method} {path} answered {response.status_code}: {_said(response)}")
        return response


def _said(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail") or problem)
    except (json.JSONDecodeError, AttributeError):
        return response.text[:500]
