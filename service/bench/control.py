"""What a load needs of a service besides the load: making sketches, their counts, removing them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from service.bench.jobs import authority

_PAGE: Final = 500
_CALL_SECONDS: Final = 60.0
#: For so long a service that is busy, or lets in only so many requests, is asked again.
_PATIENCE_SECONDS: Final = 60.0


class Refused(Exception):
    """The service did not do as asked; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the service says of a sketch."""

    updates: int
    state_bytes: int
    log_bytes: int


class Control(Protocol):
    """Every method raises Refused."""

    def create(self, name: str, spec: dict[str, Any]) -> None: ...

    def delete(self, name: str) -> None:
        """Also where it is gone."""
        ...

    def counted(self, prefix: str) -> dict[str, Counted]:
        """All sketches whose names start so."""
        ...

    def process_metrics(self) -> tuple[float, int] | None:
        """Seconds of processor time and bytes of memory, where the service tells."""
        ...

    def close(self) -> None: ...


class HttpControl:
    """Over HTTP."""

    def __init__(self, url: str, access_key: str | None, ca: Path | None) -> None:
        import ssl

        import httpx

        headers = {"Authorization": f"Bearer {access_key}"} if access_key else {}
        verify = ssl.create_default_context(cafile=ca) if ca is not None else True
        self._error = httpx.TransportError
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=_CALL_SECONDS, verify=verify
        )

    def create(self, name: str, spec: dict[str, Any]) -> None:
        """A new sketch."""
        self._ask("PUT", f"/v1/sketches/{name}", json=spec)

    def delete(self, name: str) -> None:
        """One that is gone is deleted."""
        self._ask("DELETE", f"/v1/sketches/{name}", missing=True)

    def counted(self, prefix: str) -> dict[str, Counted]:
        """Page by page."""
        found: dict[str, Counted] = {}
        cursor: str | None = None
        while True:
            asked = {"prefix": prefix, "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
            page = self._ask("GET", "/v1/sketches", params=asked).json()
            for info in page["sketches"]:
                memory = info["memory_bytes"]
                found[info["name"]] = Counted(info["updates"], memory["state"], memory["log"])
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def process_metrics(self) -> tuple[float, int] | None:
        """As Prometheus names them; None where they are missing or not for this key."""
        try:
            answer = self._http.get("/metrics")
        except self._error:
            return None
        values = {
            name: float(value)
            for line in answer.text.splitlines()
            for name, _, value in (line.partition(" "),)
            if name in ("process_cpu_seconds_total", "process_resident_memory_bytes")
        }
        if len(values) < 2:
            return None
        return values["process_cpu_seconds_total"], int(values["process_resident_memory_bytes"])

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _ask(self, method: str, path: str, *, missing: bool = False, **content: Any) -> Any:
        def once() -> tuple[Any, float | None]:
            try:
                answer = self._http.request(method, path, **content)
            except self._error as error:
                raise Refused(f"{method} {path}: {error}") from error
            if answer.status_code in (429, 503):
                return answer, float(answer.headers.get("Retry-After", "1"))
            return answer, None

        answer = _patiently(once)
        if answer.is_error and not (missing and answer.status_code == 404):
            raise Refused(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer


class GrpcControl:
    """Over gRPC."""

    def __init__(
        self, host: str, port: int, access_key: str | None, tls: bool, ca: Path | None
    ) -> None:
        import grpc

        from service.protos.sketchd.v1 import sketchd_pb2, sketchd_pb2_grpc

        self._grpc = grpc
        self._pb = sketchd_pb2
        target = authority(host, port)
        if tls:
            roots = grpc.ssl_channel_credentials(ca.read_bytes() if ca is not None else None)
            self._channel = grpc.secure_channel(target, roots)
        else:
            self._channel = grpc.insecure_channel(target)
        self._stub = sketchd_pb2_grpc.SketchServiceStub(self._channel)  # type: ignore[no-untyped-call,unused-ignore]
        self._metadata = (("authorization", f"Bearer {access_key}"),) if access_key else ()

    def create(self, name: str, spec: dict[str, Any]) -> None:
        """A new sketch."""
        message = self._pb.Spec(kind=spec["kind"], shape=spec["shape"], seed=spec["seed"])
        self._ask("CreateSketch", self._pb.CreateSketchRequest(name=name, spec=message))

    def delete(self, name: str) -> None:
        """One that is gone is deleted."""
        self._ask("DeleteSketch", self._pb.DeleteSketchRequest(name=name), missing=True)

    def counted(self, prefix: str) -> dict[str, Counted]:
        """Page by page."""
        return {
            info.name: Counted(info.updates, info.memory_bytes.state, info.memory_bytes.log)
            for page in self._pages(prefix)
            for info in page.sketches
        }

    def _pages(self, prefix: str) -> Iterator[Any]:
        request = self._pb.ListSketchesRequest(prefix=prefix, limit=_PAGE)
        while True:
            page = self._ask("ListSketches", request)
            yield page
            if not page.HasField("next_cursor"):
                return
            request.cursor = page.next_cursor

    def process_metrics(self) -> None:
        """gRPC has none."""
        return

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def _ask(self, method: str, request: Any, *, missing: bool = False) -> Any:
        codes = self._grpc.StatusCode

        def once() -> tuple[Any, float | None]:
            try:
                call = getattr(self._stub, method)
                return call(request, metadata=self._metadata, timeout=_CALL_SECONDS), None
            except self._grpc.RpcError as error:
                busy = error.code() in (codes.RESOURCE_EXHAUSTED, codes.UNAVAILABLE)
                # In the service's own words; otherwise nobody is there.
                said = re.match(r"[a-z_]+: ", error.details() or "")
                return error, 1.0 if busy and said else None

        answer = _patiently(once)
        if isinstance(answer, self._grpc.RpcError):
            if missing and answer.code() is codes.NOT_FOUND:
                return None
            raise Refused(f"{method} was answered {answer.code().name}: {answer.details()}")
        return answer


def _patiently(once: Callable[[], tuple[Any, float | None]]) -> Any:
    """Ask until the answer is no request to come back later, or patience is at its end."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer, later = once()
        if later is None or time.monotonic() + later > deadline:
            return answer
        time.sleep(later)
